"""Grants: whoever can open a packet lets others open it too, without sealing it again. See docs/packet.md.

The header gets one more stanza for each new recipient and a new MAC; the payload, and so the digest that statements
name, stays. A `grant` statement for each says who did it. A packet then opens for a key that is no addressee only where
grants lead from its sender or its addressees to that key.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from docex.core import statement
from docex.core.age.composition import rewrap
from docex.core.age.streams import Source, read_into
from docex.core.age.syntax import MAX_STANZAS, Header, read_header
from docex.core.claims import Addressee, Grant, Packet
from docex.core.packet import Opened
from docex.core.recipients import Recipient, recipient_id
from docex.core.statement import Statement
from docex.errors import HeaderInvalid, StatementInvalid, UsageError
from keys import Signer, Unwrapper
from keys.recipient import RSA

MAX_GRANTS = MAX_STANZAS
"""How many grants are read for one packet: no header has room for more recipients."""


class GrantInvalid(StatementInvalid):
    """A grant is about another packet, or by someone who had no access to give."""

    code = "grant_invalid"


class AlreadyRecipient(UsageError):
    """A packet can be opened with this key as it is."""

    code = "already_recipient"


# --- granting --------------------------------------------------------------------------------------------------------


def extend_header(header: Header, identities: Sequence[Unwrapper], recipients: Sequence[Recipient]) -> bytes:
    """The header with a stanza more for each of ``recipients``, made with an identity that opens the packet.

    Stanzas do not say whom they are for, those of RSA keys excepted; so of the recipients that a packet has already,
    only RSA keys and ``identities`` themselves are noticed.

    Raises:
        UsageError: no recipient, or one of them twice.
        AlreadyRecipient: the packet can be opened with that key already.
        MixedRecipients: post-quantum and other recipients would meet.
        LimitExceeded: the header would have more than 1,024 stanzas, or 2 MiB.
        NoMatchingIdentity, HeaderInvalid, HeaderMacInvalid: as `docex.core.age.open_header` raises them.
        KeysError: from an identity.
    """
    keys = {recipient_id(each.text): each.text for each in recipients}
    if len(keys) != len(recipients):
        raise UsageError("the same recipient is named twice")
    extended = rewrap(header.raw, identities, recipients)
    present = {each.args[0] for each in header.stanzas if each.type == RSA and each.args}
    for identity in identities:
        key = recipient_id(identity.recipient)
        if key in keys and identity.unwrap(header.stanzas) is not None:
            present.add(key)
    for key in keys.keys() & present:
        raise AlreadyRecipient(f"the packet can be opened with {keys[key][:32]}… already")
    return extended


def issue_grants(
    signer: Signer, issuer: str, payload_digest: str, to: Sequence[Addressee], now: int
) -> tuple[Statement, ...]:
    """A signed `grant` statement for each of ``to``.

    Args:
        signer: the granter's signing key.
        issuer: the granter's CAIP-10 account.
        payload_digest: the packet's digest, ``sha256:<hex>``.
        to: the new recipients.
        now: seconds since the epoch.

    Raises:
        StatementInvalid: a digest or account is not one that a statement can have.
        KeysError: from the signer.
    """
    return tuple(statement.issue(signer, issuer, Grant(payload_digest, each), now) for each in to)


# --- headers apart from their packets --------------------------------------------------------------------------------


def read_detached(source: Source) -> Header:
    """Read a header that stands alone. Raises HeaderInvalid when it is none, cut, or followed by something."""
    header = read_header(source)
    if source.read(1):
        raise HeaderInvalid("there is more than a header in it")
    return header


class Reheaded:
    """A packet as a stream, with another header in place of its own, which it has been read past."""

    def __init__(self, header: bytes, payload: Source) -> None:
        self._header = io.BytesIO(header)
        self._payload = payload

    def readline(self, limit: int = -1, /) -> bytes:
        """The next line of the header, which a payload never continues."""
        return self._header.readline(limit)

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes, first what is left of the header."""
        return self._header.read(size) or self._payload.read(size)

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill ``buffer``; less only at the end of the header or of the packet."""
        return self._header.readinto(buffer) or read_into(self._payload, buffer)


# --- opening with grants ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Granter:
    """A member whose keys the reader knows: account, key id of its signing key, key id of its recipient key."""

    account: str
    kid: str
    key: str


def parse_grants(text: bytes) -> tuple[Statement, ...]:
    """Read `grant` statements, with white space between them, and check their signatures.

    Raises:
        GrantInvalid: there is none, there are too many, or a statement is of another type.
        StatementInvalid, SignatureInvalid: one is malformed, or its signature does not hold.
    """
    tokens = text.decode("ascii", "replace").split()
    if not 0 < len(tokens) <= MAX_GRANTS:
        raise GrantInvalid(f"not one to {MAX_GRANTS} grant statements")
    grants = tuple(map(statement.verify, tokens))
    for each in grants:
        if not isinstance(each.body, Grant):
            raise GrantInvalid(f"a {each.type} statement stands where a grant should")
    return grants


@dataclass(frozen=True, slots=True)
class Grants:
    """The grants that a reader was handed, and the granters whose keys it knows. Without grants, everything passes.

    Whose signing keys are whose is for the Directory to say. Here, a grant in the name of a known granter must be
    signed with the key it is known by, and one in the name of the packet's sender with the key that signed the packet;
    other keys are taken as the grants have them (see `unchecked`).
    """

    statements: tuple[Statement, ...] = ()
    granters: tuple[Granter, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The key ids that the grants name: what `open_packet` takes as ``granted``."""
        return tuple(_claim(each).to.key for each in self.statements)

    def check(self, opened: Opened) -> Opened:
        """See that every grant is about this packet and by someone who had access to it.

        Returns what was opened, with the account that a grant gives to the key that opened it.

        Raises:
            GrantInvalid: a grant is about another packet; by someone who is neither its sender, nor an addressee, nor
                named by a grant that holds; or signed with another key than the granter's.
            UsageError: the packet was opened without taking its payload's digest.
        """
        chain = self.chain(opened)
        return replace(opened, addressee=_claim(chain[-1]).to) if chain else opened

    def chain(self, opened: Opened) -> tuple[Statement, ...]:
        """The grants that lead from the sender or an addressee to the key that opened; none for an addressee.

        Raises as `check` does.
        """
        if not self.statements:
            return ()
        if opened.payload_digest is None:
            raise UsageError("grants can't be checked without the payload's digest")
        for each in self.statements:
            if _claim(each).packet != opened.payload_digest:
                raise GrantInvalid(f"the grant by {each.issuer} is about another packet")
            self._check_key(each, opened.packet)
        chains = self._chains(opened.packet)
        addressed = {each.key for each in _packet(opened.packet).to}
        if opened.addressee.key in addressed:
            return ()
        if opened.addressee.key not in chains:
            raise GrantInvalid("none of the grants names the key that opened the packet")
        return chains[opened.addressee.key]

    def unchecked(self, chain: Sequence[Statement], packet: Statement) -> tuple[Statement, ...]:
        """The grants of a chain whose signing key stands for nothing but itself."""
        known = {packet.issuer, *(each.account for each in self.granters)}
        return tuple(each for each in chain if each.issuer not in known)

    def _check_key(self, grant: Statement, packet: Statement) -> None:
        kids = {each.kid for each in self.granters if each.account == grant.issuer}
        if not kids and grant.issuer == packet.issuer:
            kids = {packet.kid}
        if kids and grant.kid not in kids:
            raise GrantInvalid(f"the grant in the name of {grant.issuer} is signed by key {grant.kid}, not by its own")

    def _chains(self, packet: Statement) -> Mapping[str, tuple[Statement, ...]]:
        """For each granted key, the grants that lead to it: from those with access, on until nothing is added."""
        claim = _packet(packet)
        accounts: dict[str, tuple[Statement, ...]] = {claim.sender: ()}
        for addressee in claim.to:
            accounts |= dict.fromkeys(self._accounts(addressee), ())
        keys: dict[str, tuple[Statement, ...]] = {}
        pending = list(self.statements)
        while reached := [each for each in pending if each.issuer in accounts]:
            pending = [each for each in pending if each.issuer not in accounts]
            for each in reached:
                to, chain = _claim(each).to, (*accounts[each.issuer], each)
                keys.setdefault(to.key, chain)
                for account in self._accounts(to):
                    accounts.setdefault(account, chain)
        for each in pending:
            raise GrantInvalid(
                f"the grant is by {each.issuer}, who is neither the packet's sender nor one of its addressees, "
                "and no grant given here leads there"
            )
        return keys

    def _accounts(self, holder: Addressee) -> Iterator[str]:
        """The accounts behind a key: the one stated for it, and known granters whose key it is."""
        if holder.account is not None:
            yield holder.account
        yield from (each.account for each in self.granters if each.key == holder.key)


def _claim(grant: Statement) -> Grant:
    assert isinstance(grant.body, Grant)
    return grant.body


def _packet(packet: Statement) -> Packet:
    assert isinstance(packet.body, Packet)
    return packet.body
