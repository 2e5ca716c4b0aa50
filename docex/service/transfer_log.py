"""Transfers as a log: one line for each document and addressee, with what a client needs to check it by itself.

The two signatures are those of the transfer statement and of the receipt, over the ASCII bytes ``<header>.<payload>``
of each compact JWS (RFC 7515 section 5.2); see docs/kaleido.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from types import MappingProxyType

from docex.core import statement
from docex.core.access import EVERYTHING, Folders
from docex.core.claims import Document
from docex.core.encoding import b64url_decode
from docex.core.state import Delivery, DeliveryState, Direction, Event, EventKind, StoredDocument, StoredTransfer
from docex.core.statement import Statement
from docex.errors import UsageError
from docex.service.destinations import uri_of
from docex.service.node import Node

MAX_LINES = 1000
MAX_OFFSET = 1000
_STATUS: Mapping[str, str] = MappingProxyType(
    {DeliveryState.ACCEPTED: "received", DeliveryState.REJECTED: "failed", EventKind.EXPIRED: "failed"}
)
_EVENTS: Mapping[tuple[Direction, EventKind], str] = MappingProxyType(
    {
        (Direction.SENT, EventKind.SENT): "document_sent",
        (Direction.SENT, EventKind.ACCEPTED): "transfer_acknowledgement",
        (Direction.SENT, EventKind.REJECTED): "transfer_acknowledgement",
        (Direction.SENT, EventKind.EXPIRED): "transfer_acknowledgement",
        (Direction.RECEIVED, EventKind.ACCEPTED): "document_received",
    }
)


@dataclass(frozen=True, slots=True)
class Line:
    """A document on its way to one addressee. ``hash`` and ``document`` are None where the packet was not opened."""

    id: str
    timestamp: str
    sender: str
    recipient: str
    hash: str | None
    document: str | None
    status: str
    statement: Statement
    receipt: Statement | None

    @property
    def transfer_hash(self) -> str | None:
        """SHA-256, in hexadecimal digits, of from, to, hash and timestamp, one behind the other."""
        if self.hash is None:
            return None
        return hashlib.sha256(f"{self.sender}{self.recipient}{self.hash}{self.timestamp}".encode()).hexdigest()


def signature_of(said: Statement) -> bytes:
    """The bytes of a statement's signature."""
    return b64url_decode(said.token.rpartition(".")[2])


def iso(seconds: int) -> str:
    """A time in UTC with milliseconds, as JavaScript writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


async def log(node: Node, offset: int, limit: int, *, within: Folders = EVERYTHING) -> tuple[Sequence[Line], bool]:
    """A part of the log, newest transfers first, and whether there is more behind it.

    Raises:
        UsageError: ``offset`` or ``limit`` is out of bounds.
    """
    if not 0 <= offset <= MAX_OFFSET or not 1 <= limit <= MAX_LINES:
        raise UsageError(f"offset is 0 to {MAX_OFFSET}, limit 1 to {MAX_LINES}")
    transfers = await node.store.transfers(None, None, offset + limit + 1, within)
    wanted = list(islice(_legs(transfers), offset, offset + limit + 1))
    return await _lines(node, wanted[:limit], within), len(wanted) > limit


async def lines_of(node: Node, event: Event, *, within: Folders = EVERYTHING) -> tuple[str | None, Sequence[Line]]:
    """What an event is called for those who listen, None where it is not for them; and what it is about.

    Raises:
        NotFound: the transfer does not lie in these folders.
    """
    transfer = await node.store.transfer(event.transfer, within)
    name = _EVENTS.get((transfer.direction, event.kind))
    if name is None:
        return None, ()
    legs = [leg for leg in islice(_legs([transfer]), MAX_LINES) if leg[1].account == event.account]
    return name, await _lines(node, legs, within, failed=event.kind is EventKind.EXPIRED)


_Leg = tuple[StoredTransfer, Delivery, str | None]


def _legs(transfers: Sequence[StoredTransfer]) -> Iterator[_Leg]:
    for transfer in transfers:
        for delivery in transfer.deliveries:
            for document in transfer.documents or (None,):
                yield transfer, delivery, document


async def _lines(node: Node, legs: Sequence[_Leg], within: Folders, *, failed: bool = False) -> list[Line]:
    documents = list({leg[2]: None for leg in legs if leg[2] is not None})
    digests = {leg[0].id: None for leg in legs} | {leg[1].receipt: None for leg in legs if leg[1].receipt}
    tokens = await node.store.tokens([*digests, *documents])
    said = {digest: statement.parse(token) for digest, token in tokens.items()}
    shown: dict[str, list[StoredDocument]] = {}
    for each in await node.store.shown_as(documents, within):
        shown.setdefault(each.statement, []).append(each)
    return [_line(leg, said, shown.get(leg[2] or "", ()), failed=failed) for leg in legs]


def _line(leg: _Leg, said: Mapping[str, Statement], shown: Sequence[StoredDocument], *, failed: bool) -> Line:
    transfer, delivery, document = leg
    made = said[transfer.id]
    content = None if document is None else said[document].body
    assert content is None or isinstance(content, Document)
    return Line(
        transfer.id,
        iso(made.issued_at),
        uri_of(transfer.peer),
        uri_of(delivery.account),
        None if content is None else content.digest.removeprefix("sha256:"),
        None if content is None else "/" + _path(transfer, content, shown),
        "failed" if failed else _STATUS.get(delivery.state, "sent"),
        made,
        said[delivery.receipt] if delivery.receipt else None,
    )


def _path(transfer: StoredTransfer, content: Document, shown: Sequence[StoredDocument]) -> str:
    """Where this node shows the document; of a received one, where it came with this very packet."""
    received = transfer.direction is Direction.RECEIVED
    here = [each.path for each in shown if not received or each.blob == transfer.blob]
    return here[0] if here else content.path
