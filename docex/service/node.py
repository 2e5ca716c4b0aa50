"""What one node consists of, and the few rules that several use cases share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from docex.core.account import caip10, parse_caip10
from docex.core.addresses import AddressRange
from docex.core.encoding import b64url_decode
from docex.core.ledger_types import KeyUse, Member
from docex.core.recipients import Recipient, RecipientInvalid, parse_recipient
from docex.core.statement import Statement
from docex.errors import Forbidden, NotMember, StatementInvalid, UsageError
from docex.service.access_tokens import AccessTokens
from docex.service.call_limits import CallLimits, Kind
from docex.service.ports import Ledger, Peers, Store, Timestamper
from keys import Signer, Unwrapper
from storage import BlobStore

CLOCK_SKEW = 300  # seconds that another member's clock may be ahead


def _now() -> int:
    return int(time.time())


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of what a node takes. Sizes are bytes of plaintext or packet."""

    document_size: int = 16 << 30
    packet_size: int = 16 << 30
    batch_size: int = 10_000
    remember_requests: int = 24 * 3600
    """Seconds for which a request with an idempotency key is remembered."""
    transfer_patience: int | None = None
    header_patience: int = 7 * 24 * 3600
    """Seconds for which the header of a fair transfer is asked for."""
    proxies: tuple[AddressRange, ...] = ()
    """Whose X-Forwarded-For counts."""
    scrapers: tuple[AddressRange, ...] = ()
    """Where metrics are read from without a credential."""


@dataclass(frozen=True, slots=True)
class Network:
    """The ledger contracts this node works with."""

    chain_id: int
    directory: str
    notary: str

    @property
    def notary_account(self) -> str:
        """The Notary as a CAIP-10 account: what a transfer names, so that it counts on this network alone."""
        return caip10(self.chain_id, self.notary)


class Wake:
    """Has this process's worker look for work at once: a hint, no more. Those of others look when their time comes."""

    def __init__(self) -> None:
        self._sleepers: set[asyncio.Event] = set()

    def __call__(self) -> None:
        """There is work now."""
        for sleeper in self._sleepers:
            sleeper.set()

    @contextmanager
    def waking(self, sleeper: asyncio.Event) -> Iterator[None]:
        """Set an event whenever there is work."""
        self._sleepers.add(sleeper)
        try:
            yield
        finally:
            self._sleepers.remove(sleeper)


@dataclass(frozen=True, slots=True)
class Node:
    """One member's node.

    ``identity`` is None where the member opens packets elsewhere; ``tsa``, ``access_tokens`` and ``calls`` (limits of
    calls a minute) where it has none.
    """

    address: str
    network: Network
    signer: Signer
    recipient: str
    identity: Unwrapper | None
    store: Store
    blobs: BlobStore
    ledger: Ledger
    peers: Peers
    limits: Limits = Limits()
    now: Callable[[], int] = _now
    tsa: Timestamper | None = None
    access_tokens: AccessTokens | None = None
    calls: CallLimits | None = None
    wake: Wake = field(default_factory=Wake)

    @property
    def account(self) -> str:
        """This member's CAIP-10 account: the issuer of its statements."""
        return caip10(self.network.chain_id, self.address)


def count_member(node: Node, account: str) -> None:
    """Count a call of another member's node, once it is known to be that. Raises TooManyCalls."""
    if node.calls is not None:
        node.calls.take(Kind.MEMBER, account)


def printable(text: str) -> str:
    """A text for a statement or the database, with ``?`` for what neither takes (other nodes' words may hold it)."""
    return "".join(character if character.isprintable() else "?" for character in text)


def address_on(node: Node, account: str) -> str:
    """The address of a CAIP-10 account on this node's chain.

    Raises:
        UsageError: the account is malformed or on another chain.
    """
    parsed = parse_caip10(account)
    if parsed.chain_id != node.network.chain_id:
        raise UsageError(
            f"{account} is on chain {parsed.chain_id}; this node's ledger is chain {node.network.chain_id}"
        )
    return parsed.address


async def active_member(node: Node, account: str) -> Member:
    """The active member with this CAIP-10 account.

    Raises:
        NotMember: the Directory does not know it, or it is suspended.
    """
    member = await node.ledger.member(address_on(node, account))
    if member is None or not member.active:
        state = "not known to" if member is None else "suspended in"
        raise NotMember(f"{account} is {state} the Directory")
    return member


async def recipient_of(node: Node, account: str) -> Recipient:
    """The newest recipient key that a member published and that is valid now.

    Raises:
        NotMember: it is not an active member, or published no recipient key that is valid and can be used.
    """
    address = address_on(node, account)
    member, keys = await asyncio.gather(active_member(node, account), node.ledger.keys(address))
    valid = [key for key in keys if key.use is KeyUse.RECIPIENT and key.valid_at(node.now())]
    if not valid:
        raise NotMember(f"{member.name} ({account}) has published no recipient key that is valid now")
    newest = max(enumerate(valid), key=lambda each: (each[1].valid_from, each[0]))[1]
    try:
        return parse_recipient(newest.material.decode("ascii"))
    except (UnicodeDecodeError, RecipientInvalid) as error:
        raise NotMember(f"the recipient key that {member.name} ({account}) published is none: {error}") from None


async def check_signer(node: Node, statement: Statement, at: int, *, by: int | None = None) -> None:
    """Check with the Directory that the issuer was a member with this signing key at a time.

    The statement must not be dated later than ``by``, or than now where that is None.

    Raises:
        Forbidden: it was not.
        StatementInvalid: the statement is from the future.
    """
    address = address_on(node, statement.issuer)
    if statement.issued_at > (node.now() if by is None else by) + CLOCK_SKEW:
        raise StatementInvalid(f"the {statement.type} statement is dated in the future")
    active, key = await asyncio.gather(
        node.ledger.was_active_at(address, at), node.ledger.key(address, b64url_decode(statement.kid))
    )
    if not active:
        raise Forbidden(f"{statement.issuer} was not an active member at the time of its {statement.type} statement")
    if key is None or key.use is not KeyUse.SIGNING or not key.valid_at(at):
        raise Forbidden(f"the key of the {statement.type} statement is not a valid signing key of {statement.issuer}")
