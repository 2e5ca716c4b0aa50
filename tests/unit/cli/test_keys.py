"""``docex keygen`` and ``docex keystore``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keys import local
from keys.errors import WrongPassphrase
from tests.unit.cli.support import PASSPHRASE, Member, failure, make_member, run, tree


@pytest.fixture
def member(tmp_path: Path) -> Member:
    return make_member(tmp_path, "mine")


def test_keygen_prints_the_public_half_of_what_it_made(tmp_path: Path) -> None:
    result = run("keygen", tmp_path / "new/mine", "--name", "Mine AG", "--chain-id", "5")
    assert result.exit_code == 0
    public = json.loads(result.stdout)
    assert public == local.read_public(tmp_path / "new/mine")
    assert public["name"] == "Mine AG"
    assert public["account"] == f"eip155:5:{public['address']}"
    assert public["recipient"].startswith("age1pq1")
    assert "nobody can recover them" in result.stderr
    opened = local.open_keystore(tmp_path / "new/mine", PASSPHRASE.encode())
    assert opened.identity is not None
    assert opened.identity.recipient == public["recipient"]


def test_keygen_never_touches_a_keystore(member: Member, tmp_path: Path) -> None:
    before = (member.keystore / "keystore.json").read_bytes()
    message = failure(run("keygen", member.keystore, "--name", "Other", passphrase=None), "keystore_exists")
    assert message == f"{member.keystore} holds a keystore already"  # before a passphrase is asked for
    assert (member.keystore / "keystore.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "passphrase", "code", "status"),
    [
        (["--name", ""], PASSPHRASE, "keys_usage", 2),
        (["--name", "a\x1b[2J"], PASSPHRASE, "keys_usage", 2),
        (["--name", "Mine", "--chain-id", "0"], PASSPHRASE, "keys_usage", 2),
        (["--name", "Mine"], None, "usage", 2),
        (["--name", "Mine", "--passphrase-file", "empty"], None, "passphrase_invalid", 1),
        (["--name", "Mine", "--passphrase-file", "absent"], None, "usage", 2),
        ([], PASSPHRASE, "usage", 2),
    ],
)
def test_keygen_that_fails_leaves_nothing(
    arguments: list[str],
    passphrase: str | None,
    code: str,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").touch()
    failure(run("keygen", "new", *arguments, passphrase=passphrase), code, status)
    assert tree(tmp_path) == ["empty"]


def test_keygen_refuses_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    message = failure(run("keygen", "", "--name", "Mine"), "usage", 2)
    assert message == "DIR is empty: name the folder to make the keystore in"
    assert tree(tmp_path) == []


@pytest.mark.parametrize("json_option", [[], ["--json"]])
def test_show_needs_no_passphrase(json_option: list[str], member: Member) -> None:
    result = run("keystore", "show", member.keystore, *json_option, passphrase=None)
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == member.public


@pytest.mark.parametrize("command", ["show", "export", "passphrase"])
def test_where_there_is_no_keystore(command: str, tmp_path: Path) -> None:
    arguments = ["--without-identity", "-o", str(tmp_path / "copy")] if command == "export" else []
    message = failure(run("keystore", command, tmp_path, *arguments, passphrase=None), "keystore_missing")
    assert message == f"no keystore in {tmp_path}"
    assert tree(tmp_path) == []


def test_export_without_the_identity(member: Member, tmp_path: Path) -> None:
    result = run("keystore", "export", member.keystore, "--without-identity", "-o", tmp_path / "node")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == member.public
    assert "signs for mine but opens no packets" in result.stderr
    copy = local.open_keystore(tmp_path / "node", PASSPHRASE.encode())
    assert copy.identity is None
    assert copy.signer.kid == member.public["kid"]


def test_export_says_what_it_does(member: Member, tmp_path: Path) -> None:
    message = failure(run("keystore", "export", member.keystore, "-o", tmp_path / "node"), "usage", 2)
    assert message.startswith("say --without-identity")
    assert not (tmp_path / "node").exists()


def test_export_never_touches_a_keystore(member: Member) -> None:
    result = run("keystore", "export", member.keystore, "--without-identity", "-o", member.keystore)
    failure(result, "keystore_exists")


def test_a_wrong_passphrase(member: Member, tmp_path: Path) -> None:
    export = ("keystore", "export", member.keystore, "--without-identity", "-o", tmp_path / "node")
    assert failure(run(*export, passphrase="wrong"), "wrong_passphrase").endswith("does not open the keystore")
    assert not (tmp_path / "node").exists()


def test_the_passphrase_changes_and_the_keys_stay(member: Member, tmp_path: Path) -> None:
    (tmp_path / "new").write_text("battery staple\n")
    result = run("keystore", "passphrase", member.keystore, "--new-passphrase-file", tmp_path / "new")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Copies made before still have the old one" in result.stderr
    assert local.open_keystore(member.keystore, b"battery staple").public == member.public
    with pytest.raises(WrongPassphrase):
        local.open_keystore(member.keystore, PASSPHRASE.encode())


def test_the_new_passphrase_from_the_environment(member: Member) -> None:
    assert run("keystore", "passphrase", member.keystore, DOCEX_NEW_PASSPHRASE="new").exit_code == 0
    assert local.open_keystore(member.keystore, b"new").public == member.public


def test_no_new_passphrase_changes_nothing(member: Member) -> None:
    assert "DOCEX_NEW_PASSPHRASE" in failure(run("keystore", "passphrase", member.keystore), "usage", 2)
    assert member.opened().public == member.public
