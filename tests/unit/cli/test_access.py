"""``docex access`` against a node on a socket: what is printed, what is sent, and what is never shown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from tests.unit.cli.conftest import TOKEN
from tests.unit.cli.support import failure, run


def access(url: str, *words: str, token: str = TOKEN) -> Result:
    return run("access", *words, "--node", url, DOCEX_API_TOKEN=token, DOCEX_API_TOKEN_FILE="")


def test_a_key_is_made_used_listed_and_ended(url: str) -> None:
    assert "no API keys" in access(url, "list").stderr
    made = access(url, "add", "Ann", "--role", "supplier", "--role", "auditor", "--folder", "lots/17/", "--folder", "b")
    assert made.exit_code == 0, made.output
    key = made.stdout.removesuffix("\n")
    assert re.fullmatch(r"docex_[0-9a-f]{16}_[0-9a-f]{64}", key)  # alone on standard output: for a file
    key_id = key.split("_")[1]
    assert made.stderr.startswith(f"key {key_id} of Ann is not shown again")
    assert run("documents", "--node", url, DOCEX_API_TOKEN=key).exit_code == 0
    assert "needs the role operator" in failure(access(url, "list", token=key), "forbidden")
    header, row = access(url, "list").stdout.splitlines()
    assert header.split() == ["ID", "NAME", "ROLES", "FOLDERS", "LAST", "USED"]
    assert re.fullmatch(rf"{key_id}  Ann   supplier, auditor  lots/17, b  2026-09-21T14:30:00Z", row)
    assert access(url, "revoke", key_id).stderr == f"key {key_id} of Ann is revoked\n"
    assert failure(run("documents", "--node", url, DOCEX_API_TOKEN=key), "unauthorised").endswith("is revoked")
    assert access(url, "list").stdout.splitlines()[1].endswith("revoked 2026-09-21T14:30:00Z")


def test_as_json(url: str) -> None:
    words = ("add", "Bob", "--role", "operator", "--expires", "2027-01-31T12:00:00Z", "--json")
    made: dict[str, Any] = json.loads(access(url, *words).stdout)
    key = made.pop("key")
    assert (made["name"], made["roles"], made["folders"]) == ("Bob", ["operator"], [])
    assert made["expires"] == "2027-01-31T12:00:00Z"
    assert "expires 2027-01-31T12:00:00Z" in access(url, "list").stdout
    assert "(all)" in access(url, "list").stdout
    assert json.loads(access(url, "list", "--json", token=key).stdout)[0]["id"] == made["id"]
    ended = json.loads(access(url, "revoke", made["id"], "--json").stdout)
    assert ended["revoked"] == "2026-09-21T14:30:00Z"


@pytest.mark.parametrize(
    ("words", "code", "status"),
    [
        (("add", "Ann"), "usage", 2),
        (("add", "Ann", "--role", "root"), "usage", 2),
        (("add", "Ann", "--role", "auditor", "--folder", "../x"), "name_invalid", 1),
        (("add", "Ann", "--role", "auditor", "--expires", "tomorrow"), "usage", 2),
        (("revoke", "docex_0123456789abcdef_" + "5ecre7" * 10 + "5ecr"), "usage", 2),
    ],
)
def test_what_can_not_be_meant_is_not_sent(words: tuple[str, ...], code: str, status: int) -> None:
    result = access("http://127.0.0.1:1", *words)
    assert result.exit_code == status
    assert result.stdout == ""
    assert "5ecre7" not in result.output
    assert "node_unavailable" not in result.stderr
    assert code == "usage" or f"error[{code}]" in result.stderr
    assert "Value error" not in result.stderr


def test_the_node_s_refusals_are_shown(url: str) -> None:
    past = access(url, "add", "Ann", "--role", "auditor", "--expires", "2020-01-01T00:00:00Z")
    assert "expire in the future" in failure(past, "usage")
    both = access(url, "add", "Ann", "--role", "operator", "--folder", "a")
    assert "operator can't be kept to folders" in failure(both, "usage")
    assert "no API key" in failure(access(url, "revoke", "0" * 16), "not_found")
    wrong = "docex_" + "0" * 16 + "_" + "5ecre7" * 10 + "5ecr"
    assert "5ecre7" not in failure(access(url, "list", token=wrong), "unauthorised")


def test_a_name_can_not_steer_the_terminal(url: str, tmp_path: Path) -> None:
    result = access(url, "add", "A\x1b[31m", "--role", "auditor")
    assert "\x1b" not in result.output
    assert result.exit_code == 1
