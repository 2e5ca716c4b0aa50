"""The frame: commands are found and loaded late, and every run ends with an exit code and one clear line."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import pytest
import typer

from docex.cli.app import COMMANDS, Command
from docex.errors import Conflict, LedgerUnavailable, UsageError
from keys.errors import KeysUsageError, WrongPassphrase
from storage.errors import StorageFull
from tests.unit.cli.support import failure, make_member, run

NO_SLOW_IMPORTS = """
import sys
from docex.cli import main
sys.argv = ["docex", *sys.argv[1:]]
try:
    main()
finally:
    slow = {"pydantic", "web3", "fastapi", "sqlalchemy", "httpx", "rich", "dbos", "structlog"}
    print(sorted(slow & sys.modules.keys()), file=sys.stderr)
"""


def test_version() -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"docex {version('docex')}\n", "")


def test_no_command_shows_the_help() -> None:
    assert run().exit_code == 0
    assert run().stdout == run("--help").stdout == run("-h").stdout


def test_the_help_lists_every_command_with_a_line_about_it() -> None:
    shown = run("--help").stdout
    for command in COMMANDS:
        assert f" {command.name} " in shown
        assert command.help in shown


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_each_command_has_a_help(command: Command) -> None:
    result = run(command.name, "--help")
    assert result.exit_code == 0
    assert f"Usage: docex {command.name} " in result.stdout
    assert "<bool>" not in result.stdout


def test_paragraphs_of_a_help_are_wrapped_as_one() -> None:
    assert "without docex, a recipient reads it with" in " ".join(run("seal", "-h").stdout.split())
    assert "\n a \n" not in run("seal", "-h", COLUMNS="110").stdout


def test_a_group_without_a_command_shows_its_help() -> None:
    result = run("keystore")
    assert result.exit_code == 2
    assert "export" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sael"], "No such command 'sael'. Did you mean 'seal'? (see docex --help)"),
        (["keystore", "shwo", "x"], "No such command 'shwo'. Did you mean 'show'? (see docex keystore --help)"),
        (["seal", "x"], "Missing option '--output' / '-o'. (see docex seal --help)"),
        (["seal", "-o", "x"], "Missing argument 'FILE'. (see docex seal --help)"),
        (
            ["open", "x", "-o", "y", "--forse"],
            "No such option: --forse (Possible options: --force, --from) (see docex open --help)",
        ),
        (
            ["keygen", "x", "--name", "n", "--chain-id", "one"],
            "Invalid value for '--chain-id': 'one' is not a whole number (see docex keygen --help)",
        ),
    ],
)
def test_wrong_usage_is_one_line_that_says_where_to_look(arguments: list[str], message: str) -> None:
    assert failure(run(*arguments), "usage", 2) == message


def raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def register(app: typer.Typer) -> None:
        @app.command("seal")
        def seal() -> None:
            raise error

    monkeypatch.setattr("docex.cli.packets.register", register)


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UsageError("no such folder"), 2, "error[usage]: no such folder"),
        (Conflict("taken"), 1, "error[conflict]: taken"),
        (LedgerUnavailable("no answer"), 1, "error[ledger_unavailable]: no answer"),
        (WrongPassphrase("does not open"), 1, "error[wrong_passphrase]: does not open"),
        (KeysUsageError("a name"), 2, "error[keys_usage]: a name"),
        (StorageFull("no room"), 1, "error[storage_full]: no room"),
        (PermissionError(13, "Permission denied", "a.pdf"), 1, "error[io_error]: a.pdf: Permission denied"),
        (OSError("odd"), 1, "error[io_error]: odd"),
        (ValueError("two\nlines\x1b[2J"), 70, r"error[internal]: ValueError: two lines\x1b[2J (a fault in docex;"),
    ],
)
def test_each_kind_of_error_is_one_line_with_its_code(
    error: Exception, status: int, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raising(error, monkeypatch)
    result = run("seal")
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--debug", "seal"], ["seal"]])
def test_debug_shows_the_traceback(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    error = Conflict("taken")
    raising(error, monkeypatch)
    assert run(*arguments, DOCEX_DEBUG="1").exception is error


def test_debug_leaves_wrong_usage_alone() -> None:
    assert failure(run("--debug", "sael"), "usage", 2)


def test_an_interrupt_ends_with_130_and_no_words(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(KeyboardInterrupt(), monkeypatch)
    result = run("seal")
    assert (result.exit_code, result.output) == (130, "")


def test_an_abandoned_prompt_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(EOFError(), monkeypatch)
    result = run("seal")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.strip() == "aborted"


def test_a_command_says_its_own_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(typer.Exit(3), monkeypatch)
    assert run("seal").exit_code == 3


def test_a_reader_that_has_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(BrokenPipeError(32, "Broken pipe"), monkeypatch)
    result = run("seal")
    assert (result.exit_code, result.output) == (141, "")


def test_options_that_typer_must_convert_still_do(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def register(app: typer.Typer) -> None:
        @app.command("seal")
        def seal(
            ratio: float = 1.0,
            count: Annotated[int, typer.Option(min=1, max=3)] = 1,
            names: Annotated[list[str] | None, typer.Option()] = None,
        ) -> None:
            seen.extend([ratio, count, names])

    monkeypatch.setattr("docex.cli.packets.register", register)
    assert run("seal", "--ratio", "2.5", "--count", "3", "--names", "a", "--names", "b").exit_code == 0
    assert seen == [2.5, 3, ["a", "b"]]
    assert "less than or equal to 3" in failure(run("seal", "--count", "4"), "usage", 2)


@pytest.mark.parametrize("arguments", [["--version"], ["seal", "a.txt", "--to", "m.json", "-k", "m", "-o", "p"]])
def test_a_quick_command_loads_nothing_slow(arguments: list[str], tmp_path: Path) -> None:
    make_member(tmp_path, "m")
    (tmp_path / "a.txt").write_text("a")
    done = subprocess.run(
        [sys.executable, "-c", NO_SLOW_IMPORTS, *arguments],
        cwd=tmp_path,
        env=os.environ | {"DOCEX_PASSPHRASE": "correct horse"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == "[]\n"


def completion(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "docex.cli"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_completion_script(shell: str) -> None:
    assert "_DOCEX_COMPLETE" in completion(_DOCEX_COMPLETE=f"source_{shell}")
    assert "--install-completion" in run("--help").stdout


def test_completion_names_commands_and_their_options() -> None:
    def complete(words: str) -> list[str]:
        return completion(_DOCEX_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(words.count(" "))).split()

    assert complete("docex se") == ["seal", "serve"]
    assert complete("docex seal --rec") == ["--recipients-file"]
