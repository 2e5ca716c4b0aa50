"""What the API shows of stored things, as JSON models (they make the OpenAPI)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, Field

from docex.core.state import Delivery, DeliveryState, Event, EventKind, StoredDocument, StoredTransfer
from docex.service.revocations import LAST_TIME, TakenBack

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", examples=["sha256:" + "ab" * 32])]


def when(seconds: int) -> datetime:
    """Seconds since the epoch as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def _is_none(value: object) -> bool:
    return value is None


class DocumentView(BaseModel):
    """A version of a document; ``superseded_by`` and ``revoked_from`` are there when its issuer took it back."""

    path: str
    version: int
    digest: Digest
    size: int
    media_type: str
    kind: str
    issuer: str
    statement: Digest
    created: datetime
    superseded_by: Digest | None = Field(default=None, exclude_if=_is_none)
    revoked_from: datetime | None = Field(default=None, exclude_if=_is_none)

    @classmethod
    def of(cls, document: StoredDocument, taken_back: TakenBack) -> DocumentView:
        """The view of a stored version."""
        return cls(
            path=document.path,
            version=document.version,
            digest=document.digest,
            size=document.size,
            media_type=document.media_type,
            kind=document.kind,
            issuer=document.issuer,
            statement=document.statement,
            created=when(document.created),
            superseded_by=taken_back.superseded_by,
            revoked_from=None if taken_back.revoked_from is None else when(taken_back.revoked_from),
        )


class DocumentPage(BaseModel):
    """A page of documents; ``next`` is the cursor of the page behind it."""

    documents: list[DocumentView]
    next: str | None


class DeliveryView(BaseModel):
    """A transfer seen from one addressee. ``ciphertext_receipt``: what it signed before it got a fair one's header."""

    account: str
    state: str
    attempts: int
    sent: int
    error: str | None
    receipt: Digest | None
    ciphertext_receipt: Digest | None
    updated: datetime


class TransferView(BaseModel):
    """A transfer; ``id`` is the digest of its statement, ``packet`` that of the ciphertext.

    Of a ``fair`` one, each addressee gets the header only against its signed receipt of the ciphertext.
    """

    id: Digest
    direction: str
    sender: str
    packet: Digest
    size: int
    documents: list[Digest]
    fair: bool
    arrived: bool
    created: datetime
    expires: datetime | None
    deliveries: list[DeliveryView]

    @classmethod
    def of(cls, transfer: StoredTransfer) -> TransferView:
        """The view of a stored transfer."""
        return cls(
            id=transfer.id,
            direction=transfer.direction,
            sender=transfer.peer,
            packet=transfer.packet,
            size=transfer.size,
            documents=list(transfer.documents),
            fair=transfer.fair,
            arrived=transfer.blob is not None,
            created=when(transfer.created),
            expires=None if transfer.expires is None else when(transfer.expires),
            deliveries=[
                DeliveryView(
                    account=each.account,
                    state=each.state,
                    attempts=each.attempts,
                    sent=_sent(transfer, each),
                    error=each.error,
                    receipt=each.receipt,
                    ciphertext_receipt=each.ciphertext_receipt,
                    updated=when(each.updated),
                )
                for each in transfer.deliveries
            ],
        )


def _sent(transfer: StoredTransfer, delivery: Delivery) -> int:
    """Bytes of the packet that are known to be with the addressee, not counting its header."""
    on_its_way = delivery.state in (DeliveryState.PENDING, DeliveryState.EXPIRED)
    return min(delivery.sent, transfer.size) if on_its_way else transfer.size


class TransferPage(BaseModel):
    """A page of transfers, newest first; ``next`` is the cursor of the page behind it."""

    transfers: list[TransferView]
    next: str | None


class EventView(BaseModel):
    """A step in the history of a transfer; ``detail`` is the reason of a failure or of a rejection."""

    sequence: int
    kind: EventKind
    account: str
    at: datetime
    detail: str | None


class History(BaseModel):
    """What became of a transfer, oldest first; ``next`` is what to give as ``after`` for what comes behind."""

    events: list[EventView]
    next: int | None

    @classmethod
    def of(cls, events: Sequence[Event], limit: int) -> History:
        """The view of a page with up to ``limit`` events."""
        return cls(
            events=[
                EventView(
                    sequence=each.sequence, kind=each.kind, account=each.account, at=when(each.at), detail=each.detail
                )
                for each in events
            ],
            next=events[-1].sequence if len(events) == limit else None,
        )


class TransferRequest(BaseModel):
    """Documents (paths, or digests of documents or of their statements) to hand to members (CAIP-10 accounts).

    With ``fair``, each member signs for the ciphertext before it gets what opens it. ``expires``: seconds since the
    epoch, when deliveries without a receipt are given up.
    """

    model_config = {"extra": "forbid"}

    documents: list[str] = Field(min_length=1, max_length=10_000)
    to: list[str] = Field(min_length=1, max_length=100)
    fair: bool = False
    expires: int | None = Field(default=None, ge=1, le=LAST_TIME, strict=True)


class RevocationRequest(BaseModel):
    """A statement of this member to revoke; ``effective``: seconds since the epoch, past or future, or null for now."""

    model_config = {"extra": "forbid"}

    statement: Digest
    reason: str = Field(min_length=1, max_length=1024)
    effective: int | None = Field(default=None, ge=1, le=LAST_TIME, strict=True)


class RevocationView(BaseModel):
    """A revocation; ``revocation`` is the digest of its own statement."""

    revocation: Digest
    statement: Digest
    reason: str
    effective: datetime


class StatementView(BaseModel):
    """A statement as it was signed."""

    digest: Digest
    type: str
    issuer: str
    token: str


class AnnouncementView(BaseModel):
    """The answer to an announced transfer: whether its packet is still wanted."""

    id: Digest
    wanted: bool


class Health(BaseModel):
    """The parts of a node and whether each can serve: ``ok``, or what is wrong."""

    status: str
    parts: dict[str, str]
