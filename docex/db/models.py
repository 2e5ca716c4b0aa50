"""The tables of a node. Times are seconds since the epoch; digests are kept as text (``sha256:<hex>``)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Float, ForeignKey, Index, Integer, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Digest = String(71)
Caip10 = String(96)
# SQLite only numbers rows by itself when the column is its own INTEGER.
Number = BigInteger().with_variant(Integer, "sqlite")
# Folders are ranges of paths, so paths sort by their code points, whatever the database's own order is.
Path = String(1200).with_variant(String(1200, collation="C"), "postgresql")


class Base(DeclarativeBase):
    """Root of the mapped classes."""


class StatementRow(Base):
    """A statement held here. ``sequence`` is the order of arrival, which is the order of leaves.

    ``takes_back``: the statement that a newer document supersedes, or a revocation revokes.
    """

    __tablename__ = "statements"
    __table_args__ = (
        UniqueConstraint("batch", "leaf"),
        Index("statements_waiting", "batch", "sequence"),
    )

    sequence: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    digest: Mapped[str] = mapped_column(Digest, unique=True)
    token: Mapped[str] = mapped_column(Text)
    type: Mapped[str] = mapped_column(String(16))
    issuer: Mapped[str] = mapped_column(Caip10)
    created: Mapped[int] = mapped_column(BigInteger)
    takes_back: Mapped[str | None] = mapped_column(Digest, index=True)
    batch: Mapped[int | None] = mapped_column(ForeignKey("batches.number"))
    leaf: Mapped[int | None] = mapped_column(BigInteger)


class BatchRow(Base):
    """Statements anchored together."""

    __tablename__ = "batches"

    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    root: Mapped[bytes] = mapped_column(LargeBinary(32))
    size: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(16), index=True)
    created: Mapped[int] = mapped_column(BigInteger)
    transaction: Mapped[bytes | None] = mapped_column(LargeBinary(32), index=True)
    block_number: Mapped[int | None] = mapped_column(BigInteger)
    block_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    block_time: Mapped[int | None] = mapped_column(BigInteger)
    timestamp: Mapped[bytes | None] = mapped_column(LargeBinary)


class DocumentRow(Base):
    """A version of a document. Paths are also indexed by their parts, see `docex.db.parts`."""

    __tablename__ = "documents"
    __table_args__ = (
        UniqueConstraint("path", "version"),
        Index("documents_listed", "newest", "path"),
        Index("documents_with_digest", "digest", "newest", "path"),
    )

    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    path: Mapped[str] = mapped_column(Path)
    version: Mapped[int] = mapped_column(Integer)
    newest: Mapped[bool]
    statement: Mapped[str] = mapped_column(ForeignKey("statements.digest"), index=True)
    digest: Mapped[str] = mapped_column(Digest)
    size: Mapped[int] = mapped_column(BigInteger)
    media_type: Mapped[str] = mapped_column(String(1024))
    kind: Mapped[str] = mapped_column(String(16))
    issuer: Mapped[str] = mapped_column(Caip10)
    blob: Mapped[str] = mapped_column(String(1400), index=True)
    entry: Mapped[str] = mapped_column(String(1200))
    created: Mapped[int] = mapped_column(BigInteger)
    packet: Mapped[str | None] = mapped_column(Digest)
    packet_size: Mapped[int | None] = mapped_column(BigInteger)
    removed: Mapped[int | None] = mapped_column(BigInteger)


class TransferRow(Base):
    """A transfer sent or received."""

    __tablename__ = "transfers"
    __table_args__ = (Index("transfers_page", "created", "id"),)

    id: Mapped[str] = mapped_column(ForeignKey("statements.digest"), primary_key=True)
    direction: Mapped[str] = mapped_column(String(16))
    peer: Mapped[str] = mapped_column(Caip10)
    packet: Mapped[str] = mapped_column(Digest)
    size: Mapped[int] = mapped_column(BigInteger)
    created: Mapped[int] = mapped_column(BigInteger)
    blob: Mapped[str | None] = mapped_column(String(1400), index=True)
    fair: Mapped[bool]
    ciphertext: Mapped[str | None] = mapped_column(String(1400), index=True)
    expires: Mapped[int | None] = mapped_column(BigInteger)


class TransferDocumentRow(Base):
    """Which document statements a transfer carried, in the order of the packet."""

    __tablename__ = "transfer_documents"

    transfer: Mapped[str] = mapped_column(ForeignKey("transfers.id"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    statement: Mapped[str] = mapped_column(ForeignKey("statements.digest"), index=True)


class DeliveryRow(Base):
    """A transfer seen from one addressee. ``returned``: the sender's node has the receipt that was given here."""

    __tablename__ = "deliveries"

    transfer: Mapped[str] = mapped_column(ForeignKey("transfers.id"), primary_key=True)
    account: Mapped[str] = mapped_column(Caip10, primary_key=True)
    position: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(Integer)
    sent: Mapped[int] = mapped_column(BigInteger)
    error: Mapped[str | None] = mapped_column(Text)
    receipt: Mapped[str | None] = mapped_column(ForeignKey("statements.digest"), index=True)
    ciphertext_receipt: Mapped[str | None] = mapped_column(ForeignKey("statements.digest"), index=True)
    returned: Mapped[bool]
    updated: Mapped[int] = mapped_column(BigInteger)


class EventRow(Base):
    """A step in the history of a transfer; see `docex.db.events` for the order."""

    __tablename__ = "events"
    __table_args__ = (Index("events_of_transfer", "transfer", "sequence"),)

    sequence: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(16))
    transfer: Mapped[str] = mapped_column(ForeignKey("transfers.id"))
    account: Mapped[str] = mapped_column(Caip10)
    at: Mapped[int] = mapped_column(BigInteger)
    detail: Mapped[str | None] = mapped_column(Text)


class ArrivalRow(Base):
    """A packet that ``sender`` is bringing. ``until`` is when it counts as broken off, unless ``holder`` renews it."""

    __tablename__ = "arrivals"

    transfer: Mapped[str] = mapped_column(ForeignKey("transfers.id"), primary_key=True)
    sender: Mapped[str] = mapped_column(Caip10, index=True)
    holder: Mapped[str] = mapped_column(String(32))
    until: Mapped[float] = mapped_column(Float)


class JobRow(Base):
    """Work to do. ``due`` is when it may be claimed: in the future while somebody works on it or after a failure.

    ``peer``: see `docex.core.state.Job`. ``running``: somebody works on it, or did when its process died.
    ``since`` is when it was added or last claimed: where that is to come yet, the clock was put back.
    """

    __tablename__ = "jobs"
    __table_args__ = (Index("jobs_due", "peer", "due"), Index("jobs_running", "running", "peer"))

    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    argument: Mapped[str] = mapped_column(String(400))
    attempts: Mapped[int] = mapped_column(Integer)
    peer: Mapped[str] = mapped_column(Caip10)
    running: Mapped[bool]
    due: Mapped[float] = mapped_column(Float)
    since: Mapped[float] = mapped_column(Float, index=True)
    error: Mapped[str | None] = mapped_column(Text)


class OwnerRow(Base):
    """Whose database this is: one row, written by the first node that uses it."""

    __tablename__ = "owner"

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    owner: Mapped[str] = mapped_column(String(400))


class PreferenceRow(Base):
    """What the operator set for this node, other than in its settings."""

    __tablename__ = "preferences"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class TransactionRow(Base):
    """A ledger transaction and its nonce; see `docex.core.transactions`."""

    __tablename__ = "transactions"
    __table_args__ = (UniqueConstraint("chain_id", "account", "nonce"),)

    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    chain_id: Mapped[int] = mapped_column(BigInteger)
    account: Mapped[str] = mapped_column(String(42))
    nonce: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(String(16), index=True)
    to: Mapped[str | None] = mapped_column(String(42))
    data: Mapped[bytes] = mapped_column(LargeBinary)
    value: Mapped[str] = mapped_column(String(78))
    gas: Mapped[int] = mapped_column(BigInteger)
    block_number: Mapped[int | None] = mapped_column(BigInteger)
    block_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    block_time: Mapped[int | None] = mapped_column(BigInteger)
    mined: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    succeeded: Mapped[bool | None]
    gas_used: Mapped[int | None] = mapped_column(BigInteger)
    contract: Mapped[str | None] = mapped_column(String(42))


class AttemptRow(Base):
    """Signed bytes of a transaction, kept before they are sent."""

    __tablename__ = "attempts"

    key: Mapped[str] = mapped_column(ForeignKey("transactions.key"), primary_key=True)
    nonce: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    transaction: Mapped[bytes] = mapped_column(LargeBinary(32), index=True)
    raw: Mapped[bytes] = mapped_column(LargeBinary)
    max_fee: Mapped[str] = mapped_column(String(78))
    tip: Mapped[str] = mapped_column(String(78))
    block: Mapped[int] = mapped_column(BigInteger)


class RetiredNonceRow(Base):
    """Nonces that a renumbered transaction left: they are not given out again."""

    __tablename__ = "retired_nonces"

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    account: Mapped[str] = mapped_column(String(42), primary_key=True)
    nonce: Mapped[int] = mapped_column(BigInteger, primary_key=True)


class RequestRow(Base):
    """A request that is to take effect once. ``effect`` tells what came of it, ``until`` how long a try may take.

    ``id`` is a digest of caller and idempotency key: neither can be read here.
    """

    __tablename__ = "requests"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary(32))
    attempt: Mapped[str] = mapped_column(String(32))
    until: Mapped[int] = mapped_column(BigInteger)
    created: Mapped[int] = mapped_column(BigInteger, index=True)
    effect: Mapped[str | None] = mapped_column(Text)


class CallRow(Base):
    """How often somebody called in a window; ``who`` is a digest. Kept for a minute or two."""

    __tablename__ = "calls"

    window: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    who: Mapped[str] = mapped_column(String(32), primary_key=True)
    calls: Mapped[int] = mapped_column(BigInteger)


class ApiKeyRow(Base):
    """A key to the API: of its secret only the SHA-256. ``roles`` with spaces between, ``folders`` as JSON."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    roles: Mapped[str] = mapped_column(String(100))
    folders: Mapped[str] = mapped_column(Text)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    created: Mapped[int] = mapped_column(BigInteger)
    expires: Mapped[int | None] = mapped_column(BigInteger)
    last_used: Mapped[int | None] = mapped_column(BigInteger)
    revoked: Mapped[int | None] = mapped_column(BigInteger)
