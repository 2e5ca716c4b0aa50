"""Keystores that open quickly, and the command line within this process."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from docex.cli.app import app
from keys import local

PASSPHRASE = "correct horse"
SECRET = re.compile(r"AGE-SECRET-KEY|" + PASSPHRASE)


@dataclass(frozen=True, slots=True)
class Member:
    """A keystore and the public file beside it."""

    keystore: Path
    public_file: Path
    public: dict[str, Any]

    def opened(self) -> local.Keystore:
        return local.open_keystore(self.keystore, PASSPHRASE.encode())


def make_member(folder: Path, name: str) -> Member:
    """What ``docex keygen`` makes, but with the least Argon2id work: a passphrase opens it at once."""
    keystore = folder / name
    made = local.create_keystore(keystore, name, 31337, PASSPHRASE.encode(), 1_780_000_000, opslimit=1, memlimit=8192)
    public_file = folder / f"{name}.json"
    public_file.write_text(json.dumps(made.public))
    return Member(keystore, public_file, made.public)


def run(*arguments: str | Path, passphrase: str | None = PASSPHRASE, **environment: str) -> Result:
    """Run a command; no output may hold a secret."""
    clean = dict.fromkeys(("DOCEX_PASSPHRASE_FILE", "DOCEX_KEYSTORE", "DOCEX_DEBUG", "DOCEX_NEW_PASSPHRASE"))
    env: dict[str, str | None] = {**clean, "DOCEX_PASSPHRASE": passphrase, "COLUMNS": "120", **environment}
    result = CliRunner(env=env).invoke(app, [str(each) for each in arguments], prog_name="docex")
    assert not SECRET.search(result.output), result.output
    return result


def failure(result: Result, code: str, status: int = 1) -> str:
    """The message of a run that failed as it should: one line on standard error, nothing on standard output."""
    assert result.exit_code == status, (result.output, result.exception)
    assert result.stdout == ""
    line, rest = result.stderr.split("\n", 1)
    assert rest == ""
    assert line.startswith(f"error[{code}]: "), line
    return line.removeprefix(f"error[{code}]: ")


def tree(folder: Path) -> list[str]:
    """Everything in a folder, hidden or not."""
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*"))
