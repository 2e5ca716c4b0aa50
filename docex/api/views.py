"""What the API shows of stored things, as JSON models (they make the OpenAPI)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, Field

from docex.core.state import StoredDocument, StoredTransfer

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", examples=["sha256:" + "ab" * 32])]


def when(seconds: int) -> datetime:
    """Seconds since the epoch as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


class DocumentView(BaseModel):
    """A version of a document."""

    path: str
    version: int
    digest: Digest
    size: int
    media_type: str
    kind: str
    issuer: str
    statement: Digest
    created: datetime

    @classmethod
    def of(cls, document: StoredDocument) -> DocumentView:
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
        )


class DocumentPage(BaseModel):
    """A page of documents; ``next`` is the cursor of the page behind it."""

    documents: list[DocumentView]
    next: str | None


class DeliveryView(BaseModel):
    """A transfer seen from one addressee."""

    account: str
    state: str
    attempts: int
    error: str | None
    receipt: Digest | None
    updated: datetime


class TransferView(BaseModel):
    """A transfer; ``id`` is the digest of its statement, ``packet`` that of the ciphertext."""

    id: Digest
    direction: str
    sender: str
    packet: Digest
    size: int
    documents: list[Digest]
    arrived: bool
    created: datetime
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
            arrived=transfer.blob is not None,
            created=when(transfer.created),
            deliveries=[
                DeliveryView(
                    account=each.account,
                    state=each.state,
                    attempts=each.attempts,
                    error=each.error,
                    receipt=each.receipt,
                    updated=when(each.updated),
                )
                for each in transfer.deliveries
            ],
        )


class TransferPage(BaseModel):
    """A page of transfers, newest first; ``next`` is the cursor of the page behind it."""

    transfers: list[TransferView]
    next: str | None


class TransferRequest(BaseModel):
    """Documents (paths, or digests of documents or of their statements) to hand to members (CAIP-10 accounts)."""

    model_config = {"extra": "forbid"}

    documents: list[str] = Field(min_length=1, max_length=10_000)
    to: list[str] = Field(min_length=1, max_length=100)


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
