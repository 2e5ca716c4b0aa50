"""What the document store API shows, with the names that its clients know."""

from __future__ import annotations

import base64
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from docex.core.state import Entry, StoredDocument
from docex.service.transfer_log import Line, iso, signature_of


class Success(BaseModel):
    """It is done."""

    result: str = "success"


class Hashed(Success):
    """A document is stored; ``hash`` is its SHA-256 in hexadecimal digits."""

    hash: str


class EntryView(BaseModel):
    """What stands in a folder. Of a folder, only its name is known."""

    name: str
    is_directory: bool
    size: int | None
    last_modified: str | None
    hash: str | None

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """The view of an entry."""
        document = entry.document
        if document is None:
            return cls(name=entry.name, is_directory=True, size=None, last_modified=None, hash=None)
        return cls(
            name=entry.name,
            is_directory=False,
            size=document.size,
            last_modified=iso(document.created),
            hash=hex_of(document),
        )


class FolderView(BaseModel):
    """A part of a folder's entries; ``is_truncated``: there are others behind them."""

    is_truncated: bool
    entries: list[EntryView]


class FoundView(BaseModel):
    """A document that was looked for."""

    full_path: str
    last_modified: str
    hash: str
    size: int

    @classmethod
    def of(cls, document: StoredDocument) -> Self:
        """The view of a version."""
        return cls(
            full_path=document.path,
            last_modified=iso(document.created),
            hash=hex_of(document),
            size=document.size,
        )


class SearchView(BaseModel):
    """Documents that were found, 100 at most; ``next`` is the cursor of those behind them."""

    documents: list[FoundView]
    next: str | None = Field(None, exclude_if=lambda value: value is None)


class SkippedView(BaseModel):
    """What could not be taken in from the container, and why."""

    path: str
    reason: str


class SyncView(BaseModel):
    """How many documents were taken in from the container, and some of those that were not."""

    hashes_calculated: int
    skipped: list[SkippedView]


class TransferWanted(BaseModel):
    """A document to hand to another member: URIs of destinations, and a path."""

    model_config = ConfigDict(extra="forbid")

    sender: str = Field(alias="from", max_length=300)
    to: str = Field(max_length=300)
    document: str = Field(max_length=1100)


class TransferMade(BaseModel):
    """A transfer is on its way."""

    result: str = "Document sent."
    transfer_id: str


class LineView(BaseModel):
    """A document on its way to one addressee; status: sent, received or failed.

    Signatures are over the statements behind them up to the last dot, in base64.
    """

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    id: str
    timestamp: str
    sender: str = Field(alias="from")
    to: str
    hash: str | None
    document: str | None
    status: str
    transfer_hash: str | None = Field(alias="transferHash")
    sender_signature: str = Field(alias="senderSignature")
    sender_statement: str = Field(alias="senderStatement")
    recipient_signature: str | None = Field(None, alias="recipientSignature", exclude_if=lambda value: value is None)
    recipient_statement: str | None = Field(None, alias="recipientStatement", exclude_if=lambda value: value is None)

    @classmethod
    def of(cls, line: Line) -> Self:
        """The view of a line of the log."""
        receipt = line.receipt
        return cls(
            id=line.id,
            timestamp=line.timestamp,
            sender=line.sender,
            to=line.recipient,
            hash=line.hash,
            document=line.document,
            status=line.status,
            transfer_hash=line.transfer_hash,
            sender_signature=base64.b64encode(signature_of(line.statement)).decode(),
            sender_statement=line.statement.token,
            recipient_signature=base64.b64encode(signature_of(receipt)).decode() if receipt else None,
            recipient_statement=receipt.token if receipt else None,
        )


class LogView(BaseModel):
    """Transfers, newest first; ``is_truncated``: there are older ones behind them."""

    transfers: list[LineView]
    is_truncated: bool


class DestinationView(BaseModel):
    """Where a member receives; ``own``: it is this node's."""

    uri: str
    member: str
    account: str
    own: bool


class DestinationsView(BaseModel):
    """Where members receive."""

    destinations: list[DestinationView]


class PreferenceWanted(BaseModel):
    """A preference to set."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field(max_length=64)
    value: str = Field(max_length=1024)


def hex_of(document: StoredDocument) -> str:
    """The SHA-256 of a document in hexadecimal digits."""
    return document.digest.removeprefix("sha256:")
