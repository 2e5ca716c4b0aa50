"""Whom the command line means by --to, -R and --from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from docex.cli.parties import parties, read_public
from docex.core.recipients import RecipientInvalid
from docex.errors import UsageError
from keys.identity import HybridIdentity, X25519Identity
from tests.unit.cli.support import Member, make_member

CLASSIC = X25519Identity(bytes(32)).recipient
HYBRID = HybridIdentity(bytes(32)).recipient


@pytest.fixture
def member(tmp_path: Path) -> Member:
    return make_member(tmp_path, "mine")


def test_texts_public_files_and_lists(member: Member, tmp_path: Path) -> None:
    listed = tmp_path / "listed.txt"
    listed.write_text(f"# ours\n\n {HYBRID} \r\n{CLASSIC}")
    found = parties([CLASSIC, str(member.public_file), str(listed)], [listed, member.public_file])
    assert [each.recipient.text for each in found] == [
        CLASSIC,
        member.public["recipient"],
        HYBRID,
        CLASSIC,
        HYBRID,
        CLASSIC,
        member.public["recipient"],
    ]
    assert [each.account for each in found] == [None, member.public["account"], *[None] * 4, member.public["account"]]
    assert found[1].name == "mine"


def test_a_file_may_look_like_a_recipient(member: Member, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    member.public_file.rename("age1-friends.json")
    assert parties(["age1-friends.json"], [])[0].account == member.public["account"]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("age1qqq", RecipientInvalid, "not an age recipient"),
        ("nobody", UsageError, "--to 'nobody' is neither a recipient"),
        ("AGE-SECRET-KEY-1ABC", UsageError, "--to was given a secret key"),
    ],
)
def test_what_names_nobody(text: str, error: type[UsageError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        parties([text], [])
    assert "1ABC" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "names no recipient"),
        (b"# nobody\n", "names no recipient"),
        (CLASSIC.encode() + b"\nage1x\n", "line 2: not an age recipient"),
        (b"\xff\xff", "line 1: not an age recipient"),
        (b"{", "is not a public file of docex keygen: not valid JSON"),
    ],
)
def test_what_is_no_file_of_recipients(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "listed.txt"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=f"{file}.*{message}"):
        parties([], [file])


def test_a_file_of_recipients_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the recipients file .* does not exist"):
        parties([], [tmp_path / "absent"])


def test_a_public_file_is_read(member: Member) -> None:
    public = read_public(member.public_file)
    expected = {name: member.public[name] for name in ("name", "account", "kid", "recipient")}
    assert (public.name, public.account, public.kid, public.recipient.text) == tuple(expected.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"account": None}, "account is missing"),
        ({"kid": 7}, "kid is missing"),
        ({"account": "eip155:1:0x00"}, "not a CAIP-10 account"),
        ({"recipient": CLASSIC}, "recipient_id does not belong to recipient"),
        ({"recipient": "age1"}, "not an age recipient"),
        ({"kid": "x" * 43}, "kid does not belong to signing_key"),
        ({"signing_key": None}, "not an Ed25519, P-256 or secp256k1 public key"),
        ({"signing_key": {"crv": "Ed25519", "kty": "OKP", "x": ""}}, "must be 32 bytes"),
        ({"signing_key": {"crv": "Ed25519", "kty": "OKP", "x": "", "d": ""}}, "must have exactly the members"),
    ],
)
def test_a_public_file_whose_parts_do_not_fit(changes: dict[str, Any], message: str, member: Member) -> None:
    changed = {name: value for name, value in (member.public | changes).items() if value is not None}
    member.public_file.write_text(json.dumps(changed))
    with pytest.raises(UsageError, match=f"is not a public file of docex keygen: .*{message}"):
        read_public(member.public_file)
