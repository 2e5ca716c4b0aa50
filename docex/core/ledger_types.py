"""What the ledger says, as plain values: the layers above see these and never a ledger library.

Accounts are EIP-55 addresses, times are Unix seconds, digests, roots, key ids and hashes are 32 raw bytes. All periods
are half-open, ``[from, until)``; None means open-ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class KeyUse(StrEnum):
    """What a published key is for."""

    SIGNING = "signing"
    RECIPIENT = "recipient"


@dataclass(frozen=True, slots=True)
class Member:
    """An organisation that the Directory knows. ``active`` says whether it is a member now."""

    account: str
    name: str
    endpoint: str
    active: bool
    admitted_at: int


@dataclass(frozen=True, slots=True)
class MembershipPeriod:
    """A period of membership: from an admission or re-admission to the suspension that ended it."""

    since: int
    until: int | None


@dataclass(frozen=True, slots=True)
class PublishedKey:
    """A key that a member published. ``key_id`` is SHA-256 of ``material``: canonical JWK, or age recipient text."""

    key_id: bytes
    use: KeyUse
    material: bytes
    valid_from: int
    valid_until: int | None

    def valid_at(self, time: int) -> bool:
        """Whether the key's own period holds ``time`` (the publisher's membership is a question apart)."""
        return self.valid_from <= time and (self.valid_until is None or time < self.valid_until)


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where a batch stands on-chain: ``member`` anchored ``size`` statements under ``root`` in this block."""

    member: str
    root: bytes
    size: int
    block_number: int
    time: int


@dataclass(frozen=True, slots=True)
class Revocation:
    """A member revoked a statement as of ``effective``; ``revocation`` is the digest of the statement that says why."""

    member: str
    digest: bytes
    effective: int
    time: int
    revocation: bytes


@dataclass(frozen=True, slots=True)
class Deployment:
    """The contracts of one network; ``block`` is where the first of them was made, the start for reading events.

    A network may do without ``assets``.
    """

    chain_id: int
    directory: str
    notary: str
    block: int
    assets: str | None = None


@dataclass(frozen=True, slots=True)
class TransactionInfo:
    """A mined transaction. ``confirmations`` counts the blocks on top of its own; ``contract`` is one it created."""

    transaction: bytes
    block_number: int
    block_hash: bytes
    block_time: int
    confirmations: int
    succeeded: bool
    gas_used: int
    contract: str | None = None
