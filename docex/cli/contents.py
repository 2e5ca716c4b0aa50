"""What a packet holds, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from docex.cli import output
from docex.core.claims import Document, Packet
from docex.core.statement import Statement


class Contents(Protocol):
    """What is known of a packet that was sealed here, or that opened."""

    @property
    def documents(self) -> Sequence[Statement]:
        """The document statements, in order."""

    @property
    def packet(self) -> Statement:
        """The packet statement."""

    @property
    def payload_digest(self) -> str | None:
        """Digest of the payload (the packet without its header), if it was taken."""

    @property
    def payload_size(self) -> int:
        """Size of the payload, in bytes."""


def to_json(contents: Contents) -> dict[str, Any]:
    """Sender, addressees and documents of a packet as JSON values; digests name their algorithm."""
    packet = contents.packet
    return {
        "from": {"account": packet.issuer, "kid": packet.kid},
        "to": [_addressee(each.key, each.account) for each in _claim(packet).to],
        "issued_at": packet.issued_at,
        "documents": [_document(each) for each in contents.documents],
        "statement": packet.digest_text,
        "payload_digest": contents.payload_digest,
        "payload_size": contents.payload_size,
    }


def show(contents: Contents, checked: str = "") -> None:
    """Print the same for people; ``checked`` says what is known of the signer."""
    packet = contents.packet
    rows = [("From", packet.issuer + (f"  ({checked})" if checked else "")), ("Key", packet.kid)]
    rows.append(("Signed", output.moment(packet.issued_at)))
    rows += [("To", f"{each.account or 'a key without an account'}  (key {each.key})") for each in _claim(packet).to]
    output.pairs(rows)
    output.line("Documents")
    output.table([_row(each) for each in contents.documents])
    for each in contents.documents:  # passed on: someone else vouches for it
        if each.kid != packet.kid:
            claim = _document_claim(each)
            output.line(f"  {claim.path} was signed by {each.issuer}, key {each.kid}")


def _claim(packet: Statement) -> Packet:
    assert isinstance(packet.body, Packet)
    return packet.body


def _document_claim(statement: Statement) -> Document:
    assert isinstance(statement.body, Document)
    return statement.body


def _addressee(key: str, account: str | None) -> dict[str, Any]:
    return {"key": key, "account": account}


def _document(statement: Statement) -> dict[str, Any]:
    claim = _document_claim(statement)
    return {
        "path": claim.path,
        "size": claim.size,
        "digest": claim.digest,
        "media_type": claim.media_type,
        "kind": claim.kind,
        "statement": statement.digest_text,
        "from": {"account": statement.issuer, "kid": statement.kid},
    }


def _row(statement: Statement) -> tuple[str, ...]:
    claim = _document_claim(statement)
    return claim.path, output.human_size(claim.size), claim.kind, claim.digest
