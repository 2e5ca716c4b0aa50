"""``docex seal``, ``open`` and ``inspect`` within this process; ``tests/e2e`` runs them as a person does."""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from docex.cli import contents
from docex.core import claims, statement
from keys.identity import RsaIdentity
from keys.recipient import recipient_id
from tests.unit.cli.support import PASSPHRASE, Member, failure, make_member, run, tree


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Member:
    monkeypatch.chdir(tmp_path)
    return make_member(tmp_path, "mine")


@pytest.fixture
def smelter(mine: Member, tmp_path: Path) -> Member:
    return make_member(tmp_path, "smelter")


@pytest.fixture
def packet(mine: Member, smelter: Member, tmp_path: Path) -> Path:
    """Two documents from mine to smelter."""
    (tmp_path / "quality.pdf").write_bytes(b"quality")
    (tmp_path / "carbon.json").write_bytes(b"{}")
    sealed = run("seal", "quality.pdf", "carbon.json", "--to", "smelter.json", "-k", "mine", "-o", "p.docex")
    assert sealed.exit_code == 0, sealed.output
    return tmp_path / "p.docex"


def as_json(*arguments: str | Path, **environment: str) -> dict[str, Any]:
    result = run(*arguments, "--json", **environment)
    assert result.exit_code == 0, result.output
    value: dict[str, Any] = json.loads(result.stdout)
    return value


# --- seal


def test_seal_says_what_it_did(packet: Path, smelter: Member) -> None:
    sealed = run("seal", "quality.pdf", "--to", "smelter.json", "-k", "mine", "-o", "q")
    first, second = sealed.stdout.splitlines()
    assert first.startswith("Sealed 1 document into q (")
    assert second == f"  smelter, {smelter.public['account']}"
    assert sealed.stderr == ""


def test_seal_as_json(packet: Path, mine: Member, smelter: Member) -> None:
    options = ("--kind", "quality", "--folder", "certs/2026", "--to", "smelter.json", "-k", "mine", "-o", "q")
    sealed = as_json("seal", "quality.pdf", *options)
    assert sealed["packet"] == "q"
    assert sealed["size"] == Path("q").stat().st_size
    assert sealed["from"] == {"account": mine.public["account"], "kid": mine.public["kid"]}
    assert sealed["to"] == [{"key": smelter.public["recipient_id"], "account": smelter.public["account"]}]
    (document,) = sealed["documents"]
    statement_digest = document.pop("statement")
    assert document == {
        "path": "certs/2026/quality.pdf",
        "size": 7,
        "digest": f"sha256:{hashlib.sha256(b'quality').hexdigest()}",
        "media_type": "application/pdf",
        "kind": "quality",
        "from": sealed["from"],
    }
    opened = as_json("open", "q", "-k", "smelter", "-o", "out")
    assert opened.pop("folder") == "out"
    assert opened.pop("sender_checked") is False
    assert opened["documents"][0].pop("statement") == statement_digest
    assert opened == {name: value for name, value in sealed.items() if name not in ("packet", "size")}


def test_the_keystore_may_be_named_by_the_environment(packet: Path, smelter: Member) -> None:
    assert as_json("open", packet, "-o", "out", DOCEX_KEYSTORE=str(smelter.keystore))["folder"] == "out"


def test_a_text_and_files_name_recipients(packet: Path, smelter: Member) -> None:
    Path("more.txt").write_text(smelter.public["recipient"])
    sealed = as_json("seal", "carbon.json", "--to", "mine.json", "-R", "more.txt", "-k", "mine", "-o", "q")
    assert [each["account"] is None for each in sealed["to"]] == [False, True]
    shown = run("seal", "carbon.json", "--to", smelter.public["recipient"], "-k", "mine", "-o", "r").stdout
    assert shown.splitlines()[1] == f"  {smelter.public['recipient'][:32]}…"


def test_names_are_sealed_composed(mine: Member, smelter: Member) -> None:
    composed = "Prüfung.txt"
    Path(unicodedata.normalize("NFD", composed)).write_text("a")
    decomposed = unicodedata.normalize("NFD", composed)
    sealed = as_json("seal", decomposed, "--to", "smelter.json", "-k", "mine", "-o", "q")
    assert sealed["documents"][0]["path"] == composed


@pytest.mark.parametrize(
    ("arguments", "code", "status", "message"),
    [
        (["absent", "-o", "q"], "usage", 2, "absent does not exist"),
        (["quality.pdf/x", "-o", "q"], "usage", 2, "quality.pdf/x does not exist"),
        (["mine", "-o", "q"], "usage", 2, "mine is a folder: name the documents in it"),
        (["pipe", "-o", "q"], "usage", 2, "pipe is not a regular file"),
        (["quality.pdf", "-o", "p.docex"], "already_exists", 1, "p.docex exists already (--force replaces it)"),
        (["quality.pdf", "-o", "dangling"], "already_exists", 1, "dangling exists already"),
        (["quality.pdf", "-o", "quality.pdf", "--force"], "usage", 2, "would be replaced by its own packet"),
        (["quality.pdf", "-o", "mine", "--force"], "conflict", 1, "mine is a folder"),
        (["quality.pdf", "-o", "no/q"], "io_error", 1, "no: No such file or directory"),
        (["quality.pdf", "quality.pdf", "-o", "q"], "usage", 2, "two of the documents are called 'quality.pdf'"),
        (["quality.pdf", "--kind", "nice", "-o", "q"], "usage", 2, "--kind is one of quality, conformity, carbon"),
        (["quality.pdf", "--folder", "../x", "-o", "q"], "name_invalid", 1, "'..' part"),
        (["quality.pdf", "--to", "smelter.json", "-o", "q"], "usage", 2, "the same recipient is named twice"),
        (["quality.pdf", "--to", "nobody", "-o", "q"], "usage", 2, "neither a recipient"),
        (["quality.pdf", "-o", "-", "--json"], "usage", 2, "both want standard output"),
        (["quality.pdf", "-o", "q", "-k", "absent"], "keystore_missing", 1, "no keystore in absent"),
        (["quality.pdf", "-o", "q", "--passphrase-file", "carbon.json"], "wrong_passphrase", 1, "does not open"),
    ],
)
def test_seal_that_fails_leaves_nothing(
    arguments: list[str], code: str, status: int, message: str, packet: Path, tmp_path: Path
) -> None:
    os.mkfifo("pipe")
    Path("dangling").symlink_to("nowhere")
    before = tree(tmp_path), packet.read_bytes()
    failed = run("seal", "--to", "smelter.json", "-k", "mine", *arguments)
    assert message in failure(failed, code, status)
    assert (tree(tmp_path), packet.read_bytes()) == before


def test_seal_needs_a_recipient_and_a_keystore(packet: Path) -> None:
    assert "with --to or -R" in failure(run("seal", "quality.pdf", "-k", "mine", "-o", "q"), "usage", 2)
    assert "DOCEX_KEYSTORE" in failure(run("seal", "quality.pdf", "--to", "mine.json", "-o", "q"), "usage", 2)


def test_post_quantum_and_other_recipients_do_not_mix(packet: Path) -> None:
    other = RsaIdentity.generate(2048).recipient
    failed = run("seal", "quality.pdf", "--to", "smelter.json", "--to", other, "-k", "mine", "-o", "q")
    failure(failed, "mixed_recipients", 2)
    assert not Path("q").exists()


def test_force_replaces_a_packet(packet: Path) -> None:
    before = packet.read_bytes()
    assert run("seal", "carbon.json", "--to", "smelter.json", "-k", "mine", "-o", packet, "--force").exit_code == 0
    assert packet.read_bytes() != before


# --- open


def test_open_says_who_signed_and_that_nobody_checked(packet: Path, mine: Member, smelter: Member) -> None:
    opened = run("open", packet, "-k", "smelter", "-o", "out")
    lines = opened.stdout.splitlines()
    assert lines[0] == "Opened into out"
    assert lines[1:3] == [f"From      {mine.public['account']}", f"Key       {mine.public['kid']}"]
    assert lines[4] == f"To        {smelter.public['account']}  (key {smelter.public['recipient_id']})"
    quality = hashlib.sha256(b"quality").hexdigest()
    assert lines[6] == f"  quality.pdf  7 B  other  sha256:{quality}"
    assert opened.stderr == ("note: the signer's key was not checked against the ledger; use --from or docex verify\n")
    assert Path("out/quality.pdf").read_bytes() == b"quality"
    assert tree(Path("out")) == ["carbon.json", "quality.pdf"]


def test_open_from_the_expected_sender(packet: Path) -> None:
    opened = run("open", packet, "-k", "smelter", "-o", "out", "--from", "mine.json")
    assert opened.stdout.splitlines()[1].endswith("  (mine, as expected)")
    assert opened.stderr == ""
    assert as_json("open", packet, "-k", "smelter", "-o", "o2", "--from", "mine.json")["sender_checked"] is True


def test_open_keeps_the_statements(packet: Path) -> None:
    run("open", packet, "-k", "smelter", "-o", "out", "--statements", "out/said.jws")
    tokens = statement.parse_lines(Path("out/said.jws").read_bytes(), 3)
    assert [statement.verify(token).type for token in tokens] == ["document", "document", "packet"]


def test_a_document_of_someone_else_is_said_to_be_so(
    mine: Member, smelter: Member, capsys: pytest.CaptureFixture[str]
) -> None:
    class Passed:
        """What mine signed, in a packet of smelter."""

        signer = smelter.opened().signer
        body = claims.Document("sha256:" + "0" * 64, 1, "a", "text/plain")
        documents = (statement.issue(mine.opened().signer, mine.public["account"], body, 0),)
        payload_digest = "sha256:" + "0" * 64
        payload_size = 1

        @property
        def packet(self) -> statement.Statement:
            claim = claims.Packet(
                (self.documents[0].digest_text,),
                smelter.public["account"],
                (claims.Addressee(mine.public["recipient_id"]),),
            )
            return statement.issue(self.signer, smelter.public["account"], claim, 0)

    contents.show(Passed())
    shown = capsys.readouterr().out
    assert f"  a was signed by {mine.public['account']}, key {mine.public['kid']}" in shown
    assert f"To        a key without an account  (key {mine.public['recipient_id']})" in shown


@pytest.mark.parametrize(
    ("arguments", "code", "status", "message"),
    [
        (["absent"], "usage", 2, "absent does not exist"),
        (["mine"], "usage", 2, "mine is a folder, not a packet"),
        (["quality.pdf"], "packet_header_invalid", 1, "or is not an age file"),
        (["p.docex", "-k", "mine"], "no_matching_identity", 1, "no stanza of the packet is for this identity"),
        (["p.docex", "--from", "smelter.json"], "sender_mismatch", 1, "the packet is signed for"),
        (["p.docex", "--from", "carbon.json"], "usage", 2, "is not a public file"),
        (["p.docex", "--max-size", "1kB"], "limit_exceeded", 1, "more than the limit of 1000 bytes"),
        (["p.docex", "--max-size", "big"], "usage", 2, "not a size: 'big'"),
        (["p.docex", "--statements", "mine.json"], "already_exists", 1, "mine.json exists already (--force"),
        (["p.docex", "-o", "."], "already_exists", 1, "quality.pdf exists already (--force replaces it)"),
        (["p.docex", "-o", "p.docex"], "conflict", 1, "p.docex is not a folder"),
        (["p.docex", "-i", "carbon.json"], "identity_invalid", 1, "carbon.json: line 1: not an age identity"),
    ],
)
def test_open_that_fails_leaves_nothing(
    arguments: list[str], code: str, status: int, message: str, packet: Path, tmp_path: Path
) -> None:
    before = tree(tmp_path)
    assert message in failure(run("open", "-o", "out", "-k", "smelter", *arguments), code, status)
    assert tree(tmp_path) == before


# --- inspect


def test_inspect_without_keys(packet: Path) -> None:
    facts = as_json("inspect", packet)
    data = packet.read_bytes()
    payload = data[facts["header_size"] :]
    assert facts == {
        "format": "age-encryption.org/v1",
        "recipients": [{"type": "mlkem768x25519", "key": None}],
        "header_size": data.index(b"\n--- ") + 1 + 4 + 43 + 1,
        "payload_size": len(payload),
        "payload_digest": f"sha256:{hashlib.sha256(payload).hexdigest()}",
    }
    shown = run("inspect", packet)
    assert "Sealed to 1 x mlkem768x25519" in shown.stdout
    assert facts["payload_digest"] in shown.stdout
    assert "--keystore or -i shows them" in shown.stderr


def test_inspect_names_the_keys_of_rsa_recipients(packet: Path) -> None:
    recipients = [RsaIdentity.generate(2048).recipient for _ in range(2)]
    to = [word for each in recipients for word in ("--to", each)]
    assert run("seal", "quality.pdf", *to, "-k", "mine", "-o", "rsa").exit_code == 0
    ids = [recipient_id(each) for each in recipients]
    assert [each["key"] for each in as_json("inspect", "rsa")["recipients"]] == ids
    lines = run("inspect", "rsa").stdout.splitlines()
    assert lines[1:4] == ["Sealed to 2 x docex.io/rsa-oaep-256", *(f"          key {each}" for each in ids)]


def test_inspect_with_keys(packet: Path, mine: Member) -> None:
    facts = as_json("inspect", packet, "-k", "smelter")
    without = as_json("inspect", packet)
    assert {name: facts[name] for name in without} == without
    assert facts["from"] == {"account": mine.public["account"], "kid": mine.public["kid"]}
    assert [each["path"] for each in facts["documents"]] == ["quality.pdf", "carbon.json"]
    shown = run("inspect", packet, "-k", "smelter")
    assert "quality.pdf" in shown.stdout
    assert "docex verify does that" in shown.stderr


def test_inspect_of_what_is_damaged_or_no_packet(packet: Path) -> None:
    failure(run("inspect", "quality.pdf"), "packet_header_invalid")
    failure(run("inspect", packet, "-k", "mine"), "no_matching_identity")
    damaged = packet.with_name("damaged")
    damaged.write_bytes(packet.read_bytes()[:-1])
    failure(run("inspect", damaged, "-k", "smelter"), "packet_payload_invalid")
    assert as_json("inspect", damaged)["payload_size"] == as_json("inspect", packet)["payload_size"] - 1


def test_no_passphrase_in_the_output_of_a_failure(packet: Path) -> None:
    failed = run("open", packet, "-k", "smelter", "-o", "out", passphrase=PASSPHRASE + "x")
    failure(failed, "wrong_passphrase")
