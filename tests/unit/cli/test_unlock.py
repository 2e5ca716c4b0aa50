"""Where passphrases and keys come from, in which order, and what is said when there are none."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from docex.cli import unlock
from docex.errors import UsageError
from keys import bech32
from keys.errors import IdentityInvalid, KeystoreMissing, WrongPassphrase
from keys.identity import X25519Identity
from tests.unit.cli.support import PASSPHRASE, make_member

IDENTITY = X25519Identity(bytes(range(32)))
TEXT = bech32.encode("age-secret-key-", bytes(range(32))).upper()


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DOCEX_"):
            monkeypatch.delenv(name)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A terminal whose person answers with these, last one first."""
    answers: list[str] = []
    monkeypatch.setattr(unlock, "_someone_there", lambda: True)
    monkeypatch.setattr(getpass, "getpass", lambda prompt: answers.pop())
    yield answers
    assert answers == []


def test_the_order_of_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    for name in ("option", "variable"):
        (tmp_path / name).write_text(f"from {name}\n")
    asked.append("from prompt")
    assert unlock.read_passphrase(None) == b"from prompt"
    monkeypatch.setenv("DOCEX_PASSPHRASE", "")
    asked.append("from prompt")
    assert unlock.read_passphrase(None) == b"from prompt"
    monkeypatch.setenv("DOCEX_PASSPHRASE", "from text")
    assert unlock.read_passphrase(None) == b"from text"
    monkeypatch.setenv("DOCEX_PASSPHRASE_FILE", str(tmp_path / "variable"))
    assert unlock.read_passphrase(None) == b"from variable"
    assert unlock.read_passphrase(tmp_path / "option") == b"from option"


@pytest.mark.parametrize(
    ("content", "passphrase"),
    [(b"a", b"a"), (b"a\n", b"a"), (b"a\r\n", b"a"), (b"a \n\n", b"a \n"), (b"\xff\x00\n", b"\xff\x00"), (b"", b"")],
)
def test_a_line_feed_at_the_end_is_no_part_of_it(content: bytes, passphrase: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    assert unlock.read_passphrase(tmp_path / "file") == passphrase


@pytest.mark.parametrize("name", ["absent", "folder", "folder/absent", "file/absent"])
def test_a_passphrase_file_that_is_none(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"the passphrase file .* does not exist, or is a folder"):
        unlock.read_passphrase(tmp_path / name)


def test_a_file_of_secrets_is_short(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(UsageError, match="longer than 1 MiB"):
        unlock.read_passphrase(tmp_path / "file")


def test_a_new_passphrase_is_asked_twice(asked: list[str]) -> None:
    asked += ["é", "é"]
    assert unlock.read_passphrase(None, confirm=True) == "é".encode()
    asked += ["a", "b"]
    with pytest.raises(UsageError, match="differ"):
        unlock.read_passphrase(None, confirm=True)


def test_with_nobody_to_ask_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlock, "_someone_there", lambda: False)
    with pytest.raises(UsageError, match="give --passphrase-file, or set DOCEX_PASSPHRASE_FILE or DOCEX_PASSPHRASE"):
        unlock.read_passphrase(None)
    with pytest.raises(UsageError, match="give --new-passphrase-file, or set DOCEX_NEW_PASSPHRASE_FILE or DOCEX_NEW"):
        unlock.read_passphrase(None, variable=unlock.NEW_PASSPHRASE_VARIABLE)


def test_nobody_is_there_under_a_test_runner() -> None:
    assert not unlock._someone_there()


def test_the_keystore_is_named_by_option_or_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="give --keystore DIR or set DOCEX_KEYSTORE"):
        unlock.keystore_folder(None)
    monkeypatch.setenv("DOCEX_KEYSTORE", "/mine")
    assert unlock.keystore_folder(None) == Path("/mine")
    assert unlock.keystore_folder(Path("other")) == Path("other")


def test_opening_a_keystore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    member = make_member(tmp_path, "mine")
    with pytest.raises(KeystoreMissing):  # and nobody is asked for a passphrase
        unlock.open_keystore(tmp_path / "absent", None)
    asked.append("wrong")
    with pytest.raises(WrongPassphrase):
        unlock.open_keystore(member.keystore, None)
    monkeypatch.setenv("DOCEX_PASSPHRASE", PASSPHRASE)
    assert unlock.open_keystore(member.keystore, None).public == member.public


def test_identities_of_files_and_keystores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    member = make_member(tmp_path, "mine")
    monkeypatch.setenv("DOCEX_PASSPHRASE", PASSPHRASE)
    file = tmp_path / "key.txt"
    file.write_text(f"# a comment\n{TEXT}\n")
    recipient = member.public["recipient"]

    def recipients(keystore: Path | None, *files: Path) -> list[str]:
        return [each.recipient for each in unlock.identities(keystore, list(files), None)]

    assert recipients(None, file) == [IDENTITY.recipient]
    assert recipients(member.keystore) == [recipient]
    assert recipients(member.keystore, file, file) == [IDENTITY.recipient, IDENTITY.recipient, recipient]
    monkeypatch.setenv("DOCEX_KEYSTORE", str(member.keystore))
    assert recipients(None) == [recipient]
    assert recipients(None, file) == [IDENTITY.recipient]  # the keystore is not opened when files were named


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"age-encryption.org/v1\n-> scrypt", "is encrypted: decrypt it with age first"),
        (b"-----BEGIN AGE ENCRYPTED FILE-----", "is encrypted: decrypt it with age first"),
        (b"\xff\xfe", "is not text"),
        (b"", "holds no identity"),
        (b"\n" + TEXT[:-1].encode() + b"Q", "line 2: not an age identity"),
    ],
)
def test_what_is_no_identity_file(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "key.txt"
    file.write_bytes(content)
    with pytest.raises(IdentityInvalid, match=f"{file}.*{message}") as caught:
        unlock.identities(None, [file], None)
    assert "SECRET" not in str(caught.value)


def test_a_keystore_without_its_identity_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from keys import local

    member = make_member(tmp_path, "mine")
    local.export_without_identity(member.keystore, tmp_path / "node", PASSPHRASE.encode())
    monkeypatch.setenv("DOCEX_PASSPHRASE", PASSPHRASE)
    with pytest.raises(UsageError, match="without its identity"):
        unlock.identities(tmp_path / "node", [], None)
