"""What must be kept of a ledger transaction so that it is neither lost nor doubled; see docex/ledger/sender.py.

The database implements ``TransactionStore``; the sender drives it. The order that makes it safe is: reserve the nonce
together with the whole request, sign, keep the signed bytes, and only then send. A crash between any two of these
leaves a row from which the next run goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class TransactionStatus(StrEnum):
    """Where a transaction stands. A reorg leads back from each of the last three to PENDING."""

    PENDING = "pending"
    """Not in a block as far as is known; signed when it has attempts."""
    MINED = "mined"
    """In a block that is not deep enough yet."""
    FINAL = "final"
    """In a block with enough confirmations."""
    FAILED = "failed"
    """As FINAL, but the transaction reverted: it had no effect beyond its nonce and its fee."""


SETTLED = frozenset({TransactionStatus.FINAL, TransactionStatus.FAILED})
"""States that the sender follows no longer, but for a reorg deeper than the agreed confirmations."""


@dataclass(frozen=True, slots=True)
class TransactionRequest:
    """What is to be done, once. ``key`` names the purpose: asking again with the same key never makes a second one.

    ``to`` is None for the creation of a contract. ``value`` is in wei.
    """

    key: str
    chain_id: int
    account: str
    to: str | None
    data: bytes
    value: int
    gas: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One set of signed bytes for a request. ``number`` is 0 for the first and counts the replacements.

    ``block`` is the chain's head when the attempt was made: what "stuck" is measured from. Fees are in wei.
    """

    nonce: int
    number: int
    transaction: bytes
    raw: bytes
    max_fee: int
    tip: int
    block: int


@dataclass(frozen=True, slots=True)
class BlockRef:
    """The block that holds a transaction, and which attempt's bytes it holds (``transaction`` is its hash)."""

    number: int
    hash: bytes
    time: int
    transaction: bytes
    succeeded: bool
    gas_used: int
    contract: str | None


@dataclass(frozen=True, slots=True)
class StoredTransaction:
    """A request with its nonce, its attempts (those under an earlier nonce included) and its state.

    ``block`` is set exactly when the status is not PENDING.
    """

    request: TransactionRequest
    nonce: int
    status: TransactionStatus
    attempts: tuple[Attempt, ...]
    block: BlockRef | None

    @property
    def key(self) -> str:
        """The request's key."""
        return self.request.key

    @property
    def current(self) -> tuple[Attempt, ...]:
        """The attempts under the present nonce, by their numbers: the last pays the most."""
        present = (attempt for attempt in self.attempts if attempt.nonce == self.nonce)
        return tuple(sorted(present, key=lambda attempt: attempt.number))


class TransactionStore(Protocol):
    """Durable rows of transactions. Each method is one database transaction, committed when it returns.

    Several workers may call at once. Unique: ``key``; (chain, account, nonce); (key, nonce, attempt number).
    """

    async def find(self, key: str) -> StoredTransaction | None:
        """The transaction for ``key``, or None."""

    async def reserve(self, request: TransactionRequest, first_nonce: int) -> StoredTransaction:
        """Allocates a nonce for a new request and keeps both, PENDING and without attempts.

        A key that exists already: returns its row unchanged (the request is ignored). Otherwise the nonce is the
        larger of ``first_nonce`` and one more than the highest kept for the request's chain and account.
        """

    async def reserve_at(self, request: TransactionRequest, nonce: int) -> StoredTransaction | None:
        """As ``reserve``, at exactly ``nonce``; None when another row of the account has that nonce."""

    async def adopt(self, request: TransactionRequest, attempt: Attempt) -> StoredTransaction | None:
        """Keeps a transaction that the chain has and the store has not, PENDING at the attempt's nonce.

        A key that exists already: returns its row unchanged. None when another row stands at the nonce; that one was
        there before and left (``renumber``) is no hindrance.
        """

    async def renumber(self, key: str, nonce: int, first_nonce: int) -> StoredTransaction:
        """Gives a PENDING row that stands at ``nonce`` a new one, allocated as ``reserve`` does.

        Its attempts are kept, and ``nonce`` is not given out again. A row that is not PENDING or stands elsewhere by
        now is returned unchanged.
        """

    async def add_attempt(self, key: str, attempt: Attempt) -> StoredTransaction:
        """Keeps signed bytes. The first for its (key, nonce, number) wins: later ones are dropped.

        Returns the row, and what it holds is what may be sent.
        """

    async def set_block(self, key: str, status: TransactionStatus, block: BlockRef | None) -> StoredTransaction:
        """Sets the status and its block (None for PENDING, and only for it).

        Where batches are kept beside the transactions, one that was final because of this transaction in a block that
        it is no longer final in goes back to be anchored again, at the same moment.
        """

    async def unsettled(self, chain_id: int, account: str) -> Sequence[StoredTransaction]:
        """The account's rows that are PENDING or MINED, by ascending nonce."""

    async def newest_settled(self, chain_id: int, account: str) -> StoredTransaction | None:
        """Of the account's FINAL and FAILED rows the one in the highest block, or None."""
