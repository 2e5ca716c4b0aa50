"""What the use cases need from outside, as Protocols and plain values. `docex.wiring` names what stands behind them."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping, Sequence
from typing import Protocol

from docex.core.access import EVERYTHING, Folders
from docex.core.ledger_types import Anchor, Member, PublishedKey, Revocation
from docex.core.proof import Inclusion, Proof
from docex.core.requests import NO_CONDITION, Once, Precondition
from docex.core.state import (
    Anchored,
    ApiKey,
    Batch,
    BatchState,
    DeliveryState,
    Direction,
    Event,
    Figures,
    Job,
    PacketRecord,
    StoredDocument,
    StoredStatement,
    StoredTransfer,
)
from docex.core.statement import Statement
from docex.service.shelf import Shelf


class CallCounts(Protocol):
    """Calls counted over all processes of a node."""

    async def add_calls(self, window: int, counts: Mapping[str, int]) -> Mapping[str, int]:
        """Add to the counts of a window, and forget those before the last one; each count as it is then."""


class Store(Shelf, CallCounts, Protocol):
    """The state of record. Each method is one database transaction, durable when it returns.

    With ``within``, a query sees what lies in those folders as if nothing else were there. A document lies where this
    node shows it, a transfer where all of its documents do; one that was received and not opened lies in its sender's
    folder (`docex.core.access.RECEIVED`).
    """

    async def add_document(
        self,
        document: StoredDocument,
        statements: Sequence[Statement],
        precondition: Precondition = NO_CONDITION,
        once: Once | None = None,
    ) -> StoredDocument:
        """Keep a new version with its statements; the version number is given here and returned.

        The digest of its statement is the effect that is noted.

        Raises PreconditionFailed, and of any number at once that depend on the same version one comes through.
        """

    async def document(self, path: str, version: int | None = None) -> StoredDocument:
        """The newest or the given version, unless it was removed; raises NotFound."""

    async def document_by_digest(self, digest: str, within: Folders = EVERYTHING) -> StoredDocument | None:
        """The newest document whose own digest or whose statement's digest this is; what was removed comes last."""

    async def documents(
        self, folder: str, after: str, limit: int, within: Folders = EVERYTHING
    ) -> Sequence[StoredDocument]:
        """Newest versions under a folder at any depth, by path, those behind ``after``; none that was removed."""

    async def shows(self, statement: str, within: Folders) -> bool:
        """Whether a document with this statement lies in one of the folders."""

    async def statement(self, digest: str) -> StoredStatement | None:
        """The statement with this digest."""

    async def taking_back(self, statements: Sequence[str]) -> Sequence[StoredStatement]:
        """What takes back any of these statements, by the same issuer, oldest first: documents and revocations."""

    async def add_revocation(
        self, statement: str, revocation: Statement, jobs: Sequence[Job], once: Once | None = None
    ) -> None:
        """Keep the revocation of a statement. The first stands: another one by its issuer raises Conflict.

        Its digest is the effect that is noted.
        """

    async def add_statements(self, statements: Sequence[Statement], once: Once | None = None) -> int:
        """Keep statements by themselves, all or none; how many were new. Those that are known stay as they are.

        How many were new is the effect that is noted.
        """

    async def add_transfer(
        self,
        transfer: StoredTransfer,
        statements: Sequence[Statement],
        jobs: Sequence[Job],
        once: Once | None = None,
    ) -> StoredTransfer:
        """Keep a transfer, its statements and what must be done about it. One that is known is returned unchanged.

        The id of a new one is the effect that is noted.
        """

    async def transfer(self, transfer: str, within: Folders = EVERYTHING) -> StoredTransfer:
        """The transfer with this id; raises NotFound."""

    async def transfers(
        self,
        direction: Direction | None,
        before: tuple[int, str] | None,
        limit: int,
        within: Folders = EVERYTHING,
    ) -> Sequence[StoredTransfer]:
        """Transfers, newest first, those older than ``before`` (its creation time and id)."""

    async def transfers_of(self, statement: str, within: Folders = EVERYTHING) -> Sequence[StoredTransfer]:
        """Transfers that carried the document with this statement, in the order in which they came here."""

    async def set_packet(self, transfer: str, blob: str, jobs: Sequence[Job]) -> StoredTransfer:
        """The packet of a received transfer is here, whole: delivered."""

    async def set_delivery(self, transfer: str, account: str, state: DeliveryState, error: str | None) -> None:
        """Note an attempt and its outcome; accepted and rejected are never left.

        A failed one, with ``PENDING`` and its error, changes no state that was reached before.
        """

    async def expire(self, transfer: str) -> None:
        """Give up each delivery of a transfer that has no receipt yet: expired. One of a fair transfer that is
        ``received`` is not: its header is owed.
        """

    async def set_sent(self, transfer: str, account: str, sent: int) -> None:
        """Note how many bytes of the packet have reached an addressee's node so far."""

    async def set_returned(self, transfer: str) -> None:
        """Note that the sender's node has the receipt of a received transfer."""

    async def add_received(
        self, transfer: str, documents: Sequence[StoredDocument], statements: Sequence[Statement]
    ) -> None:
        """Keep the documents of a received packet that was opened and found good. Doing it again changes nothing."""

    async def add_receipt(
        self, transfer: str, account: str, state: DeliveryState, receipt: Statement, jobs: Sequence[Job]
    ) -> StoredTransfer:
        """Keep the receipt of one addressee. The first stands: another one for it raises Conflict."""

    async def add_ciphertext_receipt(
        self, transfer: str, account: str, receipt: Statement, jobs: Sequence[Job], ciphertext: str | None = None
    ) -> StoredTransfer:
        """Keep the receipt for the ciphertext of a fair transfer: received. The first stands: another raises Conflict.
        So does one for a delivery that has expired.

        With ``ciphertext``, that is where this node, the recipient's, has it. Jobs that are there are due at once, also
        when the receipt is given again, until there is a final one.
        """

    async def events(self, after: int, limit: int) -> Sequence[Event]:
        """What became of transfers, in order, behind a sequence number. Who goes on from the last one misses none."""

    async def events_of(self, transfer: str, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """The history of one transfer, in order, behind a sequence number; empty when there is none."""

    async def last_event(self) -> int:
        """The sequence number of the newest event; 0 when there is none."""

    async def batches(self, state: BatchState) -> Sequence[Batch]:
        """Batches in a state, oldest first."""

    async def batch(self, number: int) -> Batch:
        """The batch with this number; raises NotFound."""

    async def make_batch(self, limit: int, now: int) -> Batch | None:
        """Put up to ``limit`` statements that have no batch into a new one; None when there are none."""

    async def batch_leaves(self, number: int) -> Sequence[bytes]:
        """The digests of a batch's statements, by leaf."""

    async def set_batch(self, batch: Batch) -> bool:
        """Keep a batch's state and where it stands on the ledger.

        False, and nothing is kept, when it is to be final by a transaction that is not final in that block any more.
        One that is final goes back to SEALED by itself when its transaction does (`docex.core.transactions`).
        """

    async def timestamp(self, number: int) -> bytes | None:
        """The RFC 3161 token over a batch's root; None while there is none."""

    async def set_timestamp(self, number: int, token: bytes) -> None:
        """Keep a timestamp of a batch, whatever state that is in. The first stands: it is the earliest."""

    async def add_api_key(self, key: ApiKey, once: Once | None = None, effect: str = "") -> None:
        """Keep a new API key and note this effect; raises Conflict when there is a key with its id."""

    async def api_key(self, key: str) -> ApiKey:
        """The API key with this id, whatever its state; raises NotFound."""

    async def api_keys(self, after: tuple[int, str] | None = None, limit: int = 1000) -> Sequence[ApiKey]:
        """API keys, oldest first, those behind ``after`` (a creation time and id)."""

    async def use_api_key(self, key: str, now: int, coarse: int) -> None:
        """Note that a key was used, unless that was noted less than ``coarse`` seconds ago."""

    async def revoke_api_key(self, key: str, now: int) -> ApiKey:
        """End a key for good; one that is revoked stays as it is. Raises NotFound."""

    async def begin(self, once: Once, fingerprint: bytes, now: int, lease: int, keep: int) -> str | None:
        """Begin a request that is to take effect once; the effect of the try that came through, or None: go ahead.

        What does the work takes ``once`` and notes the effect in its own transaction. A try that took longer than
        ``lease`` seconds and was not held loses to the next: its work then raises RequestUnderWay. What began ``keep``
        seconds ago is forgotten.

        Raises:
            IdempotencyKeyReused: the request with this id has another fingerprint.
            RequestUnderWay: another try is at work.
        """

    async def hold(self, once: Once, until: int) -> None:
        """A try takes longer: no other begins before ``until``."""

    async def abandon(self, once: Once) -> None:
        """A try failed: the next may begin at once, with any fingerprint. One that took effect stays."""

    async def forget(self, before: int) -> int:
        """Forget requests that began before a time; how many."""

    async def counts(self) -> dict[str, int]:
        """How many rows of each sort there are, and how many statements have no final anchor."""

    async def figures(self, account: str) -> Figures:
        """What this member's node has done and has to do; reads all deliveries and documents once."""

    async def claim(self, now: float, lease: float, limit: int) -> Sequence[Job]:
        """Take jobs that are due and call no other node, for ``lease`` seconds: nobody else gets them before."""

    async def claim_calls(self, now: float, lease: float, limit: int, each: int) -> Sequence[Job]:
        """`claim` for jobs that call other members' nodes, which it leaves to this one.

        One member has at most ``each`` of them worked on at a time, by whichever workers; those whose first one waits
        longest come first.
        """

    async def wake(self, peer: str) -> None:
        """What was put off because this member's node could not be reached is due now."""

    async def begin_arrival(
        self, transfer: str, sender: str, holder: str, lease: float, at_once: int, jobs: Sequence[Job]
    ) -> bool:
        """A packet is on its way in, for ``lease`` seconds unless its holder keeps it.

        False, and nothing is kept, while it is already, or ``at_once`` of this sender's are. Jobs that are there are
        put off as if they were new.
        """

    async def is_arriving(self, transfer: str, lease: float) -> bool:
        """Whether somebody holds it as on its way; ``lease`` as for `begin_arrival`."""

    async def keep_arrival(self, transfer: str, holder: str, lease: float) -> None:
        """It is still on its way; nobody else begins it before ``lease`` seconds have gone by."""

    async def end_arrival(self, transfer: str, holder: str) -> None:
        """It is not on its way any more."""

    async def keep(self, key: str, until: float) -> None:
        """A claimed job takes longer: nobody else gets it before ``until``."""

    async def finish(self, key: str) -> None:
        """A job is done."""

    async def retry(self, key: str, at: float, error: str) -> None:
        """A job failed; it is due again at ``at``."""

    async def postpone(self, key: str, at: float) -> None:
        """A job has to wait for something until ``at``: it counts as no attempt, so puts off nothing."""

    async def check(self) -> None:
        """Return when the database answers."""


class Ledger(Protocol):
    """What a node needs of the ledger. All raise LedgerUnavailable when it can't be reached."""

    async def member(self, account: str) -> Member | None:
        """The member with this address, active or not."""

    async def members(self) -> Sequence[Member]:
        """All members ever admitted, active or not, in the order of their admission."""

    async def keys(self, account: str) -> Sequence[PublishedKey]:
        """All keys that the member published."""

    async def key(self, account: str, key_id: bytes) -> PublishedKey | None:
        """The key with this id, if the member published it."""

    async def was_active_at(self, account: str, time: int) -> bool:
        """Whether the account was an active member then."""

    async def waits(self) -> bool:
        """Whether what this node has sent to the ledger is waiting to be mined, and with it whatever is sent next."""

    async def anchor(self, root: bytes, size: int) -> Anchored | None:
        """Anchor a batch of this node, or go on doing so; where it stands, once that is final.

        Any number of calls make one anchor for a root and size, whatever happened to the ones before. One that the
        ledger has and this node does not know of (its database is an older copy) is taken over.
        """

    async def revoke(self, statement: bytes, revocation: bytes, effective: int, inclusion: Inclusion) -> bool:
        """Record with the Notary that this node's member revoked a statement, or go on doing so; whether it is final.

        Any number of calls make one record for a statement, whatever happened to the ones before.

        Args:
            statement: digest of what is revoked; ``inclusion`` leads to it in a batch that this member anchored.
            revocation: digest of the statement that says why.
            effective: seconds since the epoch, at least 1.
        """

    async def stand_alone(self, proof: Proof) -> Proof:
        """A proof with what shows, from the latest block on, that the ledger says what it claims.

        Raises LedgerError when the node has no longer what is needed.
        """

    async def poll(self) -> None:
        """Bring what was sent forward: send again, follow blocks, notice reorgs. Run it before asking `anchor`.

        After a reorg deeper than the agreed confirmations, batches that were final are not any more.
        """

    async def check(self) -> None:
        """Return when the ledger answers and this node's account is an active member; raise what is wrong."""


class Timestamper(Protocol):
    """A time-stamping authority."""

    async def timestamp(self, root: bytes) -> bytes:
        """An RFC 3161 token (DER) over a batch root; raises a DocexError when there is none to be had now."""


class Peers(Protocol):
    """Calls to other members' nodes. They raise NodeUnavailable (try again) or what the other node refused with."""

    async def announce(self, endpoint: str, transfer: str) -> bool:
        """Show a transfer statement to the recipient's node; whether it wants the packet (False: it has it)."""

    async def offset(self, endpoint: str, transfer: str) -> int:
        """How many bytes of this transfer's packet the node has, to go on from."""

    async def send_packet(
        self, endpoint: str, transfer: str, size: int, chunks: AsyncIterable[bytes], offset: int = 0
    ) -> None:
        """Send the packet of the transfer with this id: ``size`` bytes, which are all from ``offset`` on."""

    async def send_header(self, endpoint: str, transfer: str, header: bytes, size: int) -> None:
        """Send the header of a fair packet, which has ``size`` bytes behind it there already."""

    async def send_receipt(self, endpoint: str, receipt: str) -> None:
        """Hand over a receipt statement."""


class KeySource(Protocol):
    """Where an OIDC issuer publishes its keys."""

    async def fetch(self) -> bytes:
        """A JWK Set as it stands now, within limits of size and time; raises IssuerUnavailable."""


class Audit(Protocol):
    """The state of record, read from end to end by pages in constant memory, and the little that is mended in it."""

    async def packets_named(self, blobs: Sequence[str]) -> Mapping[str, PacketRecord]:
        """Which of these blobs a document or transfer names, and what is recorded of their packets."""

    async def count_packets(self) -> int:
        """How many different blobs documents and transfers name."""

    async def arriving(self, transfers: Sequence[str]) -> Sequence[str]:
        """Which of these are transfers that were announced to this node and have no packet yet."""

    async def documents_from(self, after: int, limit: int) -> Sequence[tuple[int, StoredDocument, str | None]]:
        """All versions behind a number: the next number, the version, its statement's token."""

    async def paths_misnumbered(self, after: str, limit: int) -> Sequence[str]:
        """Paths behind ``after`` of which not exactly the last version is marked as the newest."""

    async def mark_newest(self, path: str) -> None:
        """Mark the last version of a path as its newest, and no other."""

    async def statements_from(self, after: int, limit: int) -> Sequence[tuple[int, StoredStatement]]:
        """All statements behind a number, in the order of arrival: the next number, the statement."""

    async def receipts_kept(self, receipts: Sequence[str]) -> Sequence[str]:
        """Which of these receipt statements a delivery has, one for each delivery; those of ciphertexts, too."""

    async def batches_from(self, after: int, limit: int) -> Sequence[Batch]:
        """All batches behind a number."""

    async def leaves_of(self, batch: int) -> Sequence[tuple[int | None, str]]:
        """Leaf and digest of a batch's statements, in the order of arrival."""

    async def renumber_leaves(self, batch: int) -> None:
        """Number a batch's leaves in the order of arrival."""

    async def block_of(self, transaction: bytes) -> bytes | None:
        """The hash of the block in which a transaction of this node is final; None when it is not."""

    async def batches_by(self, transaction: bytes) -> int:
        """How many batches name this transaction as the one that anchored them."""

    async def settle(self, transfer: str, account: str, state: DeliveryState) -> None:
        """Set the state of a delivery that has a receipt to what the receipt says."""

    async def undelivered(self, after: tuple[str, str], limit: int) -> Sequence[tuple[str, str]]:
        """Deliveries (transfer, account) that are to be made and that no job makes, behind ``after``."""

    async def unasked(self, after: tuple[str, str], limit: int) -> Sequence[tuple[str, str]]:
        """Received ciphertexts (transfer, account) without a header that no job asks for, behind ``after``."""

    async def unopened(self, after: tuple[str, str], limit: int) -> Sequence[tuple[str, str]]:
        """Received packets (transfer, account) without a receipt that no job opens, behind ``after``."""

    async def unreturned(self, after: tuple[str, str], limit: int) -> Sequence[tuple[str, str]]:
        """Received transfers (transfer, account) whose receipt their sender lacks and no job gives back, behind one."""

    async def unexpired(self, after: tuple[str, str], limit: int) -> Sequence[tuple[str, str]]:
        """Deliveries (transfer, account) without a receipt that expire and that no job gives up, behind ``after``."""

    async def unrecorded(self, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """Revocations behind a digest that no job records with the Notary: it has those already, or never gets them.

        Each with the statement that it revokes.
        """

    async def jobs_among(self, keys: Sequence[str]) -> Sequence[str]:
        """Which of these jobs there are."""

    async def jobs_from(self, after: str, limit: int) -> Sequence[Job]:
        """All jobs behind a key."""

    async def add_jobs(self, jobs: Sequence[Job]) -> None:
        """Add what must be done; a job that is there stays as it is."""


class AuditStore(Store, Audit, Protocol):
    """A store that can be checked as a whole."""


class Anchors(Protocol):
    """What a check asks of the ledger."""

    async def anchor_of(self, member: str, root: bytes, size: int) -> Anchor | None:
        """The one anchor that the Notary has for a member's batch; raises LedgerUnavailable."""

    async def revocation_of(self, member: str, digest: bytes) -> Revocation | None:
        """The Notary's record of a member's revocation of a statement; raises LedgerUnavailable."""
