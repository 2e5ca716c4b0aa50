"""Between the rows of the database and the values that the use cases work with."""

from __future__ import annotations

from collections.abc import Sequence

from docex.core.claims import Body, Document, Revocation
from docex.core.state import (
    Batch,
    BatchState,
    Delivery,
    DeliveryState,
    Direction,
    Job,
    StoredDocument,
    StoredStatement,
    StoredTransfer,
)
from docex.core.statement import Statement
from docex.db.models import BatchRow, DeliveryRow, DocumentRow, JobRow, StatementRow, TransferRow


def statement(row: StatementRow) -> StoredStatement:
    """A statement."""
    return StoredStatement(row.digest, row.token, row.type, row.issuer, row.created, row.batch, row.leaf)


def statement_values(statement: Statement, now: int) -> dict[str, object]:
    """The columns of a statement that is kept for the first time."""
    return {
        "digest": statement.digest_text,
        "token": statement.token,
        "type": statement.type,
        "issuer": statement.issuer,
        "created": now,
        "takes_back": _taken_back(statement.body),
    }


def _taken_back(body: Body) -> str | None:
    if isinstance(body, Revocation):
        return body.statement
    return body.supersedes if isinstance(body, Document) else None


def document(row: DocumentRow) -> StoredDocument:
    """A version of a document."""
    return StoredDocument(
        row.path,
        row.version,
        row.statement,
        row.digest,
        row.size,
        row.media_type,
        row.kind,
        row.issuer,
        row.blob,
        row.entry,
        row.created,
        row.packet,
        row.packet_size,
        row.removed,
    )


def document_values(document: StoredDocument, version: int) -> dict[str, object]:
    """The columns of a new version."""
    return {
        "path": document.path,
        "version": version,
        "newest": True,
        "statement": document.statement,
        "digest": document.digest,
        "size": document.size,
        "media_type": document.media_type,
        "kind": document.kind,
        "issuer": document.issuer,
        "blob": document.blob,
        "entry": document.entry,
        "created": document.created,
        "packet": document.packet,
        "packet_size": document.packet_size,
    }


def batch(row: BatchRow) -> Batch:
    """A batch."""
    return Batch(
        row.number,
        row.root,
        row.size,
        BatchState(row.state),
        row.created,
        row.transaction,
        row.block_number,
        row.block_hash,
        row.block_time,
    )


def transfer(row: TransferRow, documents: Sequence[str], deliveries: Sequence[DeliveryRow]) -> StoredTransfer:
    """A transfer with its documents and deliveries in order."""
    return StoredTransfer(
        row.id,
        Direction(row.direction),
        row.peer,
        row.packet,
        row.size,
        tuple(documents),
        row.created,
        row.blob,
        deliveries=tuple(
            Delivery(
                each.transfer,
                each.account,
                DeliveryState(each.state),
                each.attempts,
                each.error,
                each.receipt,
                each.updated,
                each.ciphertext_receipt,
                each.sent,
            )
            for each in deliveries
        ),
        fair=row.fair,
        ciphertext=row.ciphertext,
        expires=row.expires,
    )


def job(row: JobRow) -> Job:
    """A job."""
    return Job(row.key, row.kind, row.argument, row.attempts, row.peer)


def job_row(job: Job, now: float) -> JobRow:
    """The row of a new job."""
    due = now + job.delay
    kept = {"key": job.key, "kind": job.kind, "argument": job.argument, "peer": job.peer}
    return JobRow(**kept, attempts=0, running=False, due=due, since=now)
