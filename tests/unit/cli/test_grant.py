"""``docex grant``, and ``docex open`` of what was granted."""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from docex.core import statement
from docex.core.age import read_header
from docex.core.claims import Addressee, Grant
from keys import bech32, local
from keys.identity import HybridIdentity, RsaIdentity, X25519Identity
from tests.fixtures import stock_tools
from tests.unit.cli.support import PASSPHRASE, Member, failure, make_member, run, tree

CONTENT = b"conforms: yes\n" * 1000


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Member:
    monkeypatch.chdir(tmp_path)
    return make_member(tmp_path, "mine")


@pytest.fixture
def smelter(mine: Member, tmp_path: Path) -> Member:
    return make_member(tmp_path, "smelter")


@pytest.fixture
def auditor(mine: Member, tmp_path: Path) -> Member:
    return make_member(tmp_path, "auditor")


@pytest.fixture
def packet(mine: Member, smelter: Member, auditor: Member, tmp_path: Path) -> Path:
    """A document from mine to smelter."""
    (tmp_path / "quality.txt").write_bytes(CONTENT)
    sealed = run("seal", "quality.txt", "--to", "smelter.json", "-k", "mine", "-o", "p.docex")
    assert sealed.exit_code == 0, sealed.output
    return tmp_path / "p.docex"


def as_json(*arguments: str | Path) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    value: dict[str, Any] = json.loads(result.stdout)
    return value


def header_size(path: Path) -> int:
    return len(read_header(io.BytesIO(path.read_bytes())).raw)


def payload(path: Path) -> bytes:
    return path.read_bytes()[header_size(path) :]


def digest(path: Path) -> str:
    return "sha256:" + hashlib.sha256(payload(path)).hexdigest()


def opens(*arguments: str | Path) -> None:
    result = run("open", *arguments, "-o", "out")
    assert result.exit_code == 0, result.output
    assert tree(Path("out")) == ["quality.txt"]
    assert Path("out/quality.txt").read_bytes() == CONTENT


# --- granting


def test_a_header_beside_the_packet_lets_someone_else_open_it(packet: Path, auditor: Member) -> None:
    before = packet.read_bytes()
    granted = run("grant", packet, "--to", "auditor.json", "-k", "smelter")
    assert granted.stdout.splitlines() == [
        f"Granted access with the header in {packet}.header, to",
        f"  auditor, {auditor.public['account']}",
        f"They need {packet}.grant.jws, too.",
    ]
    assert granted.stderr == ""
    assert packet.read_bytes() == before
    opens(packet, "--header", "p.docex.header", "--grant", "p.docex.grant.jws", "-k", "auditor")


def test_a_new_packet_has_the_same_payload(packet: Path, smelter: Member, auditor: Member) -> None:
    granted = as_json("grant", packet, "--to", "auditor.json", "-k", "smelter", "-o", "q")
    assert payload(Path("q")) == payload(packet)
    (made,) = granted.pop("grants")
    assert granted == {
        "packet": "q",
        "header_size": header_size(Path("q")),
        "payload_digest": digest(packet),
        "statements": "q.grant.jws",
    }
    (token,) = Path("q.grant.jws").read_text().splitlines()
    said = statement.verify(token)
    key = auditor.public["recipient_id"]
    assert said.body == Grant(digest(packet), Addressee(key, auditor.public["account"]))
    assert (said.issuer, said.kid) == (smelter.public["account"], smelter.public["kid"])
    assert made == {
        "from": {"account": smelter.public["account"], "kid": smelter.public["kid"]},
        "to": {"key": key, "account": auditor.public["account"]},
        "issued_at": said.issued_at,
        "statement": said.digest_text,
    }
    opens("q", "--grant", "q.grant.jws", "-k", "auditor")


def test_a_digest_that_is_known_saves_reading_the_packet(packet: Path) -> None:
    known = ("--payload-digest", digest(packet), "-k", "smelter")
    assert as_json("grant", packet, "--to", "auditor.json", *known)["header"] == f"{packet}.header"
    made = as_json("grant", packet, "--to", "auditor.json", "-o", "q", *known)
    assert made["payload_digest"] == digest(packet)
    assert payload(Path("q")) == payload(packet)
    opens("q", "--grant", "q.grant.jws", "-k", "auditor")


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="this system does not count what a process reads")
def test_it_costs_the_same_for_a_kilobyte_and_a_gigabyte(packet: Path) -> None:
    def read() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])  # rchar: bytes that reading calls gave

    sizes = []
    known = ("--to", "auditor.json", "-k", "smelter", "--payload-digest", digest(packet), "--header-only", "--force")
    for size in (1 << 12, 1 << 12, 1 << 30):  # the first run also reads modules
        with packet.open("r+b") as file:
            file.truncate(size)
        before = read()
        assert run("grant", packet, *known, "-o", "h").exit_code == 0
        sizes.append(read() - before)
    assert abs(sizes[2] - sizes[1]) < 1 << 16, sizes
    assert sizes[2] < 1 << 18


def test_several_recipients_of_all_kinds_of_names(packet: Path, auditor: Member) -> None:
    other, listed = HybridIdentity.generate(), HybridIdentity.generate()
    Path("list.txt").write_text(f"# others\n{listed.recipient}\n")
    to = ("--to", "auditor.json", "--to", other.recipient, "-R", "list.txt")
    granted = run("grant", packet, *to, "-k", "smelter", "-o", "q")
    assert granted.stdout.splitlines()[2:4] == [f"  {each.recipient[:32]}…" for each in (other, listed)]
    assert len(read_header(io.BytesIO(Path("q").read_bytes())).stanzas) == 4
    opens("q", "--grant", "q.grant.jws", "-k", "auditor")


def test_a_packet_in_place(packet: Path) -> None:
    before = payload(packet)
    granted = run("grant", packet, "--to", "auditor.json", "-k", "smelter", "-o", packet, "--force")
    assert granted.exit_code == 0, granted.output
    assert payload(packet) == before
    opens(packet, "--grant", f"{packet}.grant.jws", "-k", "auditor")


def test_from_one_header_to_the_next(packet: Path, tmp_path: Path) -> None:
    """Auditor, who has no other header than the one it was given, grants on; all grants go along."""
    make_member(tmp_path, "bank")
    run("grant", packet, "--to", "auditor.json", "-k", "smelter")
    refused = run("grant", packet, "--to", "bank.json", "-k", "auditor", "-o", "q")
    failure(refused, "no_matching_identity")
    run("grant", packet, "--header", "p.docex.header", "--to", "bank.json", "-k", "auditor", "-o", "q")
    refused = run("open", "q", "--grant", "q.grant.jws", "-k", "bank", "-o", "out")
    assert "and no grant given here leads there" in failure(refused, "grant_invalid")
    opens("q", "--grant", "q.grant.jws", "--grant", "p.docex.grant.jws", "-k", "bank")
    shown = run("open", "q", "--grant", "q.grant.jws", "--grant", "p.docex.grant.jws", "-k", "bank", "-o", "o2")
    assert [line[:18] for line in shown.stdout.splitlines()].count("Granted   by eip15") == 2


def identity_file(name: str, hrp: str = "age-secret-key-") -> str:
    """Write an identity to a file; its recipient."""
    secret = hashlib.sha256(name.encode()).digest()
    Path(name).write_text(bech32.encode(hrp, secret).upper() + "\n")
    return (X25519Identity if hrp == "age-secret-key-" else HybridIdentity)(secret).recipient


def test_an_identity_file_opens_and_the_keystore_signs(packet: Path, mine: Member) -> None:
    """Also a keystore without its identity."""
    local.export_without_identity(mine.keystore, "node", PASSPHRASE.encode())
    refused = run("grant", packet, "--to", "auditor.json", "-k", "node", "-o", "q")
    assert "name one that opens the packet, with -i" in failure(refused, "usage", 2)
    run("seal", "quality.txt", "--to", identity_file("key"), "-k", "mine", "-o", "r")
    granted = run("grant", "r", "--to", identity_file("other"), "-k", "node", "-i", "key", "-o", "q")
    assert granted.exit_code == 0, granted.output
    opens("q", "--grant", "q.grant.jws", "-i", "other")


def piped(command: str, folder: Path, data: bytes = b"") -> bytes:
    """A command of the shell with docex as a process of its own, which has streams of bytes."""
    docex = f"docex() {{ DOCEX_PASSPHRASE='{PASSPHRASE}' '{sys.executable}' -m docex.cli \"$@\"; }}"
    return stock_tools.run(f"{docex}; {command}", data, folder)


def test_streams(packet: Path, tmp_path: Path) -> None:
    to = "--to auditor.json -k smelter --statement"
    data = packet.read_bytes()
    Path("q").write_bytes(piped(f"docex grant - {to} q.jws -o - | cat", tmp_path, data))
    assert payload(Path("q")) == payload(packet)
    opens("q", "--grant", "q.jws", "-k", "auditor")
    known = f"--payload-digest {digest(packet)}"
    made = piped(f"docex grant - {to} h.jws -o h --header-only {known} --json", tmp_path, data)
    assert json.loads(made)["header"] == "h"
    Path("out/quality.txt").unlink()
    piped("docex open - --header h --grant h.jws -k auditor -o out", tmp_path, data)
    assert Path("out/quality.txt").read_bytes() == CONTENT
    piped(f"docex grant - {to} r.jws -o r {known}", tmp_path, data)
    assert payload(Path("r")) == payload(packet)


def test_a_pipe_that_has_a_name(packet: Path, tmp_path: Path) -> None:
    """What is not a regular file has no size that could be trusted."""
    piped("docex grant <(cat p.docex) --to auditor.json -k smelter -o q", tmp_path)
    opens("q", "--grant", "q.grant.jws", "-k", "auditor")


@stock_tools.needs("age", "zstd", "tar")
@pytest.mark.parametrize("hrp", ["age-secret-key-", "age-secret-key-pq-"])
def test_the_stock_tools_open_what_was_granted(packet: Path, tmp_path: Path, hrp: str) -> None:
    run("seal", "quality.txt", "--to", identity_file("first", hrp), "-k", "mine", "-o", "packet.age")
    to = ("--to", identity_file("key.txt", hrp), "-k", "mine", "-i", "first")
    for out in (["-o", "q"], []):
        granted = run("grant", "packet.age", *to, *out)
        assert granted.exit_code == 0, granted.output
    for key in ("first", "key.txt"):
        stock_tools.run(f"mkdir {key}.out && age -d -i {key} q | zstd -d | tar x -C {key}.out", cwd=tmp_path)
        assert Path(f"{key}.out/document/quality.txt").read_bytes() == CONTENT
    page = (Path(__file__).parents[3] / "docs/packet.md").read_text()
    (command,) = re.findall(r"^ {4}(\{ cat packet\.age\.header; .*)$", page, re.MULTILINE)
    stock_tools.run(command, cwd=tmp_path)
    assert Path("document/quality.txt").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("arguments", "code", "status", "message"),
    [
        (["absent"], "usage", 2, "absent does not exist"),
        (["mine"], "usage", 2, "mine is a folder, not a packet"),
        (["quality.txt"], "packet_header_invalid", 1, "not an age file"),
        (["cut"], "packet_payload_invalid", 1, "the packet ends before its payload"),
        (["-"], "usage", 2, "a packet from standard input needs -o"),
        (["p.docex", "-o", "-"], "usage", 2, "say where the signed grants go: --statement FILE"),
        (["p.docex", "-o", "-", "--statement", "s", "--json"], "usage", 2, "both want standard output"),
        (["p.docex", "--statement", "-"], "usage", 2, "--statement names a file"),
        (["p.docex", "-o", "taken"], "already_exists", 1, "taken exists already (--force replaces it)"),
        (["p.docex", "--statement", "taken"], "already_exists", 1, "taken exists already (--force replaces it)"),
        (["p.docex", "-o", "dangling"], "already_exists", 1, "dangling exists already"),
        (["p.docex", "-o", "p.docex"], "already_exists", 1, "p.docex exists already (--force"),
        (["p.docex", "-o", "p.docex", "--header-only", "--force"], "usage", 2, "would be replaced by its header"),
        (["p.docex", "-o", "linked", "--header-only", "--force"], "usage", 2, "would be replaced by its header"),
        (["p.docex", "--statement", "p.docex", "--force"], "usage", 2, "the signed grants would replace the packet"),
        (["p.docex", "-o", "q", "--statement", "q"], "usage", 2, "the signed grants would replace the packet"),
        (["p.docex", "-o", "no/q"], "io_error", 1, "no: No such file or directory"),
        (["p.docex", "-o", "q", "--statement", "no/q"], "io_error", 1, "no: No such file or directory"),
        (["p.docex", "--payload-digest", "abc"], "usage", 2, "not a digest: 'abc'"),
        (["p.docex", "--header", "absent"], "usage", 2, "the header absent does not exist"),
        (["p.docex", "--header", "mine"], "usage", 2, "the header mine does not exist, or is a folder"),
        (["p.docex", "--header", "taken"], "packet_header_invalid", 1, "taken: the file ends inside its header"),
        (["p.docex", "--header", "p.docex"], "packet_header_invalid", 1, "p.docex: there is more than a header"),
        (["p.docex", "--to", "auditor.json"], "usage", 2, "the same recipient is named twice"),
        (["p.docex", "--to", "smelter.json"], "already_recipient", 2, "can be opened with age1pq1"),
        (["p.docex", "--to", "nobody"], "usage", 2, "neither a recipient"),
        (["p.docex", "--to", "rsa"], "mixed_recipients", 2, "seal two packets"),
        (["p.docex", "-k", "mine"], "no_matching_identity", 1, "no stanza of the packet is for this identity"),
        (["p.docex", "-k", "absent"], "keystore_missing", 1, "no keystore in absent"),
        (["p.docex", "--passphrase-file", "taken"], "wrong_passphrase", 1, "does not open"),
    ],
)
def test_a_grant_that_fails_leaves_nothing(
    arguments: list[str], code: str, status: int, message: str, packet: Path, tmp_path: Path
) -> None:
    Path("taken").write_text("taken")
    Path("dangling").symlink_to("nowhere")
    Path("linked").hardlink_to(packet)
    Path("cut").write_bytes(packet.read_bytes()[: header_size(packet) + 32])
    Path("rsa").write_text(RsaIdentity.generate(2048).recipient)
    before = tree(tmp_path), packet.read_bytes()
    assert message in failure(run("grant", "--to", "auditor.json", "-k", "smelter", *arguments), code, status)
    assert (tree(tmp_path), packet.read_bytes(), Path("taken").read_text()) == (*before, "taken")


def test_a_grant_needs_a_recipient_and_a_keystore(packet: Path) -> None:
    assert "with --to or -R" in failure(run("grant", packet, "-k", "smelter"), "usage", 2)
    assert "DOCEX_KEYSTORE" in failure(run("grant", packet, "--to", "auditor.json"), "usage", 2)


def test_a_digest_that_is_not_the_packets_is_noticed_where_all_of_it_is_read(packet: Path, tmp_path: Path) -> None:
    command = f"docex grant - --to auditor.json -k smelter -o q --payload-digest sha256:{'0' * 64} 2>&1 || true"
    said = piped(command, tmp_path, packet.read_bytes()).decode()
    assert said.startswith(f"error[digest_mismatch]: the packet's digest is {digest(packet)}")
    assert not Path("q").exists()
    assert not Path("q.grant.jws").exists()


def test_grants_without_their_packet_are_taken_back(packet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packet's name is taken by someone else at the last moment."""
    before = tree(Path())
    issue = statement.issue

    def slow(*arguments: Any) -> statement.Statement:
        Path("q").write_text("someone else's")
        return issue(*arguments)

    monkeypatch.setattr(statement, "issue", slow)
    failure(run("grant", packet, "--to", "auditor.json", "-k", "smelter", "-o", "q"), "already_exists")
    assert tree(Path()) == sorted([*before, "q"])
    assert Path("q").read_text() == "someone else's"


# --- opening


@pytest.fixture
def granted(packet: Path) -> Path:
    """The packet of mine that smelter let auditor open."""
    made = run("grant", packet, "--to", "auditor.json", "-k", "smelter", "-o", "q")
    assert made.exit_code == 0, made.output
    return Path("q")


def test_without_the_grant_opening_says_how(granted: Path) -> None:
    message = failure(run("open", granted, "-k", "auditor", "-o", "out"), "not_addressee")
    assert message.rstrip().endswith("(if it was granted: --grant FILE)")
    assert not Path("out").exists()


def test_without_the_header_opening_says_how(packet: Path, granted: Path) -> None:
    refused = run("open", packet, "--grant", "q.grant.jws", "-k", "auditor", "-o", "out")
    assert "(a header came with the grant? --header FILE)" in failure(refused, "no_matching_identity")
    refused = run("open", packet, "-k", "auditor", "-o", "out")
    assert "--header" not in failure(refused, "no_matching_identity")


def test_open_says_who_granted(granted: Path, smelter: Member) -> None:
    opened = run("open", granted, "--grant", "q.grant.jws", "-k", "auditor", "-o", "out", "--from", "mine.json")
    row = f"Granted   by {smelter.public['account']}  (key {smelter.public['kid']}), "
    assert sum(line.startswith(row) for line in opened.stdout.splitlines()) == 1
    account = smelter.public["account"]
    assert opened.stderr == f"note: the key of {account}, who granted access, was not checked; use --granted-by\n"
    known = ("--grant", "q.grant.jws", "--granted-by", "smelter.json", "-k", "auditor", "--from", "mine.json")
    assert run("open", granted, *known, "-o", "o2").stderr == ""


def test_open_says_who_granted_as_json(granted: Path, smelter: Member, auditor: Member) -> None:
    options = ("--grant", "q.grant.jws", "-k", "auditor")
    opened = as_json("open", granted, *options, "-o", "out")
    assert opened["granters_checked"] is False
    (way,) = opened["granted"]
    assert way["from"] == {"account": smelter.public["account"], "kid": smelter.public["kid"]}
    assert way["to"] == {"key": auditor.public["recipient_id"], "account": auditor.public["account"]}
    opened = as_json("open", granted, *options, "--granted-by", "smelter.json", "-o", "o2")
    assert opened["granters_checked"] is True


def test_an_addressee_needs_no_grant(granted: Path) -> None:
    opened = as_json("open", granted, "--grant", "q.grant.jws", "-k", "smelter", "-o", "out")
    assert (opened["granted"], opened["granters_checked"]) == ([], True)
    assert "granted" not in as_json("open", granted, "-k", "smelter", "-o", "o2")


@pytest.mark.parametrize(
    ("arguments", "code", "status", "message"),
    [
        (["--grant", "absent"], "usage", 2, "the grant absent does not exist"),
        (["--grant", "quality.txt"], "grant_invalid", 1, "quality.txt: not one to 1024 grant statements"),
        (["--grant", "p.docex"], "statement_invalid", 1, "p.docex: a statement is not a compact JWS"),
        (["--grant", "changed"], "signature_invalid", 1, "changed: the signature of the grant statement"),
        (["--grant", "said"], "grant_invalid", 1, "said: a document statement stands where a grant should"),
        (["--grant", "another"], "grant_invalid", 1, "is about another packet"),
        (["--grant", "to-mine"], "not_addressee", 1, "(no grant given here names this key)"),
        (["--grant", "by-auditor"], "grant_invalid", 1, "who is neither the packet's sender nor one of its addressees"),
        (["--grant", "in-the-name"], "grant_invalid", 1, "not by its own"),
        (["--grant", "q.grant.jws", "--granted-by", "changed"], "usage", 2, "is not a public file"),
        (["--grant", "q.grant.jws", "--granted-by", "absent"], "usage", 2, "absent does not exist"),
        (["--grant", "q.grant.jws", "--header", "absent"], "usage", 2, "the header absent does not exist"),
        (["--grant", "q.grant.jws", "--header", "q"], "packet_header_invalid", 1, "q: there is more than a header"),
        (["--grant", "q.grant.jws", "--header", "cut"], "packet_header_invalid", 1, "cut: the file ends inside"),
        (["--grant", "q.grant.jws", "--header", "o.header"], "packet_payload_invalid", 1, "is the header of another"),
    ],
)
def test_a_grant_that_does_not_hold_leaves_nothing(
    arguments: list[str],
    code: str,
    status: int,
    message: str,
    granted: Path,
    tmp_path: Path,
    mine: Member,
    smelter: Member,
    auditor: Member,
) -> None:
    key = Addressee(auditor.public["recipient_id"])

    def write(
        name: str, by: Member, to: Addressee = key, of: str = digest(granted), named: Member | None = None
    ) -> str:
        issuer = (named or by).public["account"]
        token = statement.issue(by.opened().signer, issuer, Grant(of, to), 1_780_000_000).token
        Path(name).write_text(token + "\n")
        return token

    token = write("another", smelter, of="sha256:" + "0" * 64)
    Path("changed").write_text(token[:-20] + ("A" if token[-20] != "A" else "B") + token[-19:])
    write("to-mine", smelter, Addressee(mine.public["recipient_id"]))
    write("by-auditor", auditor)
    write("in-the-name", auditor, named=mine)
    run("open", granted, "-k", "smelter", "-o", "o2", "--statements", "said")
    run("seal", "quality.txt", "--to", "smelter.json", "-k", "mine", "-o", "o")
    run("grant", "o", "--to", "auditor.json", "-k", "smelter")
    Path("cut").write_bytes(Path("o.header").read_bytes()[:-1])
    before = tree(tmp_path)
    assert message in failure(run("open", granted, "-k", "auditor", "-o", "out", *arguments), code, status)
    assert tree(tmp_path) == before


def test_a_damaged_packet_is_not_blamed_on_a_header(granted: Path) -> None:
    data = bytearray(granted.read_bytes())
    data[-1] ^= 1
    granted.write_bytes(data)
    refused = run("open", granted, "--grant", "q.grant.jws", "-k", "auditor", "-o", "out")
    assert "header" not in failure(refused, "packet_payload_invalid")
