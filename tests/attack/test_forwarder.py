"""Maker SE, to whom Mine AG addressed packets, makes new ones of what it opened: for others, or with other contents."""

from __future__ import annotations

import io

import pytest

from docex.core import packet
from docex.core.age import parse_recipient, read_header, rewrap
from docex.core.statement import Statement
from docex.errors import ArchiveInvalid, DigestMismatch, DocexError, NotAddressee, StatementInvalid
from tests.attack import forge
from tests.attack.forge import MAKER, MINE

THIRD = forge.actor("Third Ltd")
ONE = {"a": b"first", "b": b"other"}
TWO = {"a": b"later", "c": b"third"}
A, B, PACKET = forge.honest(ONE, MINE, MAKER)
A2, C, PACKET2 = forge.honest(TWO, MINE, MAKER)


def test_sealed_again_to_a_third_party() -> None:
    """The third party must not take it for Mine AG's own transfer."""
    data = forge.packed(forge.archive(ONE, A, B, PACKET), THIRD)
    forge.refused(data, THIRD, NotAddressee, f"its sender {MINE.account} did not address it to this key")


def test_sealed_again_to_a_third_party_and_the_addressee() -> None:
    data = forge.packed(forge.archive(ONE, A, B, PACKET), THIRD, MAKER)
    forge.refused(data, THIRD, NotAddressee)
    assert forge.open_(data, MAKER)[1] == ONE


def test_access_given_on_without_a_grant() -> None:
    data = forge.seal(ONE, MINE, MAKER)
    raw = read_header(io.BytesIO(data)).raw
    more = rewrap(raw, [MAKER.identity], [parse_recipient(THIRD.recipient)]) + data[len(raw) :]
    forge.refused(more, THIRD, NotAddressee)
    opened, _ = forge.open_(more, THIRD, granted=[packet.key_id(THIRD.recipient)])
    assert opened.addressee.account is None


def test_a_packet_statement_of_its_own_names_the_forwarder() -> None:
    """Forwarding in one's own name is honest: the documents stay Mine AG's, the packet is Maker SE's."""
    data = forge.packed(forge.archive(ONE, A, B, forge.binding(MAKER, [A, B], THIRD)), THIRD)
    opened, _ = forge.open_(data, THIRD)
    assert [each.issuer for each in opened.documents] == [MINE.account] * 2
    assert opened.packet.issuer == MAKER.account


def test_addressees_of_its_own_choice_in_the_name_of_the_sender() -> None:
    binding = forge.binding(MAKER, [A, B], THIRD, sender=MINE.account)
    data = forge.packed(forge.archive(ONE, A, B, binding), THIRD)
    forge.refused(data, THIRD, StatementInvalid, "not signed by the sender")


MIXES: list[tuple[str, dict[str, bytes], tuple[Statement, ...], type[DocexError]]] = [
    ("packet statement of another packet", ONE, (A, B, PACKET2), StatementInvalid),
    ("documents of another packet", TWO, (A, B, PACKET), DigestMismatch),
    ("documents and their statements of another packet", TWO, (A2, C, PACKET), StatementInvalid),
    ("one document and its statement of another packet", ONE | {"a": TWO["a"]}, (A2, B, PACKET), StatementInvalid),
    ("one statement of another packet", ONE, (A2, B, PACKET), DigestMismatch),
    ("a document left out", {"a": ONE["a"]}, (A, PACKET), StatementInvalid),
    ("a document left out, not its statement", {"a": ONE["a"]}, (A, B, PACKET), StatementInvalid),
    ("a statement left out", ONE, (A, PACKET), StatementInvalid),
    ("the packet statement left out", ONE, (A, B), StatementInvalid),
    ("no statement", ONE, (), StatementInvalid),
    ("no document", {}, (PACKET,), StatementInvalid),
    ("a document added", ONE | {"c": TWO["c"]}, (A, B, C, PACKET), StatementInvalid),
    ("a document added without a statement", ONE | {"d": b""}, (A, B, PACKET), StatementInvalid),
    ("a statement added", ONE, (A, B, C, PACKET), StatementInvalid),
    ("a statement twice", ONE, (A, B, B, PACKET), StatementInvalid),
    ("a statement twice in place of another", ONE, (A, A, PACKET), StatementInvalid),
    ("the packet statement twice", ONE, (A, B, PACKET, PACKET), StatementInvalid),
    ("the packet statement first", ONE, (PACKET, A, B), StatementInvalid),
    ("two packet statements", ONE, (A, B, PACKET, PACKET2), StatementInvalid),
    ("statements in another order", ONE, (B, A, PACKET), StatementInvalid),
    ("documents in another order", {"b": ONE["b"], "a": ONE["a"]}, (A, B, PACKET), StatementInvalid),
    ("both in another order", {"b": ONE["b"], "a": ONE["a"]}, (B, A, PACKET), StatementInvalid),
    ("contents swapped", {"a": ONE["b"], "b": ONE["a"]}, (A, B, PACKET), DigestMismatch),
    ("a document renamed", {"x": ONE["a"], "b": ONE["b"]}, (A, B, PACKET), StatementInvalid),
    ("a document moved", {"x/a": ONE["a"], "b": ONE["b"]}, (A, B, PACKET), StatementInvalid),
    ("a byte changed", {"a": b"First", "b": ONE["b"]}, (A, B, PACKET), DigestMismatch),
    ("a byte added", {"a": b"first!", "b": ONE["b"]}, (A, B, PACKET), DigestMismatch),
    ("a document emptied", {"a": b"", "b": ONE["b"]}, (A, B, PACKET), DigestMismatch),
]


@pytest.mark.parametrize(("contents", "tokens", "error"), [each[1:] for each in MIXES], ids=[each[0] for each in MIXES])
def test_parts_of_two_packets_mixed(
    contents: dict[str, bytes], tokens: tuple[Statement, ...], error: type[DocexError]
) -> None:
    archive = b"".join(forge.entry(f"document/{path}", content) for path, content in contents.items())
    archive += forge.entry("statements.jws", forge.lines(*tokens)) + forge.END
    forge.refused(forge.packed(archive, MAKER), MAKER, error)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1],
        lambda text: text + b"\n",
        lambda text: b"\n" + text,
        lambda text: text.replace(b"\n", b"\r\n"),
    ],
)
def test_statements_on_other_lines(change: object) -> None:
    assert callable(change)
    text = change(forge.lines(A, B, PACKET))
    archive = b"".join(forge.entry(f"document/{path}", content) for path, content in ONE.items())
    forge.refused(
        forge.packed(archive + forge.entry("statements.jws", text) + forge.END, MAKER), MAKER, StatementInvalid
    )


@pytest.mark.parametrize("place", ["first", "middle", "twice", "missing"])
def test_statements_in_another_place(place: str) -> None:
    a, b = (forge.entry(f"document/{path}", content) for path, content in ONE.items())
    statements = forge.entry("statements.jws", forge.lines(A, B, PACKET))
    made = {
        "first": statements + a + b,
        "middle": a + statements + b,
        "twice": a + b + statements + statements,
        "missing": a + b,
    }[place]
    forge.refused(
        forge.packed(made + forge.END, MAKER), MAKER, ArchiveInvalid, "statements of the packet|no statements"
    )
