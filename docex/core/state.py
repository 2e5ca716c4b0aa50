"""What a node keeps, as plain values: the use cases and the database both speak in these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from docex.core.access import Caller, Folders, Role
from docex.core.ledger_types import Anchor


class Direction(StrEnum):
    """Whether this node sent a transfer or received it."""

    SENT = "sent"
    RECEIVED = "received"


class DeliveryState(StrEnum):
    """Where a transfer stands for one addressee. Accepted and rejected never change."""

    PENDING = "pending"
    """Not yet (or, on the recipient's node, not wholly) at the recipient's node."""
    RECEIVED = "received"
    """Of a fair transfer: the recipient has signed for the ciphertext, and waits for the header."""
    WITHHELD = "withheld"
    """Of a fair transfer, on the recipient's node: the header was asked for in vain. It may still come."""
    DELIVERED = "delivered"
    """The recipient's node has the packet; no receipt yet."""
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    EXPIRED = "expired"
    """On the sender's node: its time ran out before a receipt came, and it is not delivered any more. A receipt that
    comes late is kept all the same, and says what became of it: what was signed is evidence."""


class BatchState(StrEnum):
    """Where a batch stands on the ledger."""

    SEALED = "sealed"
    """Its leaves are fixed; the anchor is not final yet."""
    FINAL = "final"


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A version of a document on this node. Times are seconds since the epoch; digests are ``sha256:<hex>``.

    ``entry`` is the document's path inside the packet at ``blob``: that of its statement, while ``path`` is where this
    node shows it. ``packet`` and ``packet_size`` are the payload's digest and the bytes of the whole packet, where this
    node sealed it for itself; of a received one its transfer knows. ``removed``: since when it is not shown any more.
    """

    path: str
    version: int
    statement: str
    digest: str
    size: int
    media_type: str
    kind: str
    issuer: str
    blob: str
    entry: str
    created: int
    packet: str | None = None
    packet_size: int | None = None
    removed: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands in a folder under a name: a document, or (None) a folder, which is there while it has documents."""

    name: str
    document: StoredDocument | None


@dataclass(frozen=True, slots=True)
class Found:
    """What a search has found so far, by path; ``stopped``: the path behind which it goes on, None at the end."""

    documents: Sequence[StoredDocument]
    stopped: str | None


@dataclass(frozen=True, slots=True)
class StoredStatement:
    """A statement this node holds, and its leaf once it is in a batch."""

    digest: str
    token: str
    type: str
    issuer: str
    created: int
    batch: int | None = None
    leaf: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Statements anchored together. The block fields are set once the anchor is final."""

    number: int
    root: bytes
    size: int
    state: BatchState
    created: int
    transaction: bytes | None = None
    block_number: int | None = None
    block_hash: bytes | None = None
    block_time: int | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A transfer seen from one of its addressees; ``sent`` is how many bytes of the packet are known to be there."""

    transfer: str
    account: str
    state: DeliveryState
    attempts: int = 0
    error: str | None = None
    receipt: str | None = None
    updated: int = 0
    ciphertext_receipt: str | None = None
    sent: int = 0


@dataclass(frozen=True, slots=True)
class StoredTransfer:
    """A transfer sent or received; ``id`` is the digest of its statement. ``blob`` is set once the packet is here.

    Of a ``fair`` one that was received, ``ciphertext`` is where the payload is until its header comes. ``expires`` is
    when one that was sent is given up.
    """

    id: str
    direction: Direction
    peer: str
    packet: str
    size: int
    documents: tuple[str, ...]
    created: int
    blob: str | None = None
    deliveries: tuple[Delivery, ...] = ()
    fair: bool = False
    ciphertext: str | None = None
    expires: int | None = None

    @property
    def wanted(self) -> bool:
        """Whether the packet, or the ciphertext of a fair one, is still to come."""
        return self.blob is None and self.ciphertext is None


class EventKind(StrEnum):
    """What became of a transfer. Each is written together with the state that it tells of."""

    SENT = "sent"
    """Sealed here, and to be brought to the addressee."""
    FAILED = "failed"
    """An attempt to deliver it failed, for another reason than the one before; it is tried again."""
    DELIVERED = "delivered"
    """The addressee's node has the packet."""
    ANNOUNCED = "announced"
    """Its sender told this node of it; the packet is not here yet."""
    CIPHERTEXT = "ciphertext"
    """The addressee has signed for the ciphertext of a fair transfer, on both sides."""
    WITHHELD = "withheld"
    """The header of a fair transfer was asked for in vain."""
    RECEIVED = "received"
    """The packet is here."""
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    """The addressee's receipt, on both sides. Documents of an accepted one that is opened here are here before it."""
    EXPIRED = "expired"
    """Its time ran out before a receipt came."""


@dataclass(frozen=True, slots=True)
class Event:
    """One step in the history of a transfer.

    ``sequence`` grows in the order in which they can be read: whoever has read up to one has missed none before it.
    ``account`` is the addressee, also where that is this node's own member. ``detail`` is the reason of a failure or of
    a rejection.
    """

    sequence: int
    kind: EventKind
    transfer: str
    account: str
    at: int
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """Work that must survive a crash. ``key`` names it: adding it again is the same job.

    ``peer`` is the account of the member whose node it calls, empty where it calls none; ``delay`` the seconds before a
    new one is due.
    """

    key: str
    kind: str
    argument: str
    attempts: int = 0
    peer: str = ""
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Anchored:
    """A final anchor and the transaction that made it."""

    anchor: Anchor
    transaction: bytes
    block_hash: bytes


@dataclass(frozen=True, slots=True)
class PacketRecord:
    """What is recorded of a stored packet: its payload's digest and size, or the bytes of all of it. None: unknown.

    ``headless``: it is a payload that waits for its header.
    """

    payload: str | None
    payload_size: int | None
    size: int | None
    headless: bool = False


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that opens the node's API to somebody. Its secret is not kept, only that one's SHA-256.

    ``last_used`` is coarse: it is noted once a minute at most.
    """

    id: str
    name: str
    roles: frozenset[Role]
    folders: Folders
    digest: bytes = field(repr=False)
    created: int
    expires: int | None = None
    last_used: int | None = None
    revoked: int | None = None

    @property
    def caller(self) -> Caller:
        """Who brings it."""
        return Caller(f"key {self.id}", self.roles, self.folders)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a node has done and has to do, counted over all of its processes. Times are seconds since the epoch."""

    deposits: int
    deliveries: Mapping[tuple[Direction, str], int]
    not_anchored: int
    not_anchored_since: int | None
    anchored_at: int | None
    jobs: Mapping[str, int]
    jobs_due_since: float | None
