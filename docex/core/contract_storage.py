"""What the Directory and the Notary say, read from their storage words. See docs/ledger.md, "Storage".

The same code finds out which words a proof needs (`docex.ledger.evidence`) and reads them from the proof
(`docex.core.standalone`), so the one never holds less than the other asks for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from docex.core.account import address_bytes
from docex.core.keccak import keccak
from docex.core.ledger_types import Anchor, KeyUse, Member, MembershipPeriod, PublishedKey, Revocation
from docex.errors import EvidenceInvalid

ReadWord = Callable[[str, int], Awaitable[int]]
"""Reads one storage word of a contract: its EIP-55 address, the slot; 0 where nothing was ever written."""

_ANCHORS, _REVOCATIONS = 0, 1  # slots of the Notary
_MEMBERS, _PERIODS, _KEYS = 2, 3, 4  # slots of the Directory, behind the two of Ownable2Step
_USES: Final = (KeyUse.SIGNING, KeyUse.RECIPIENT)
_MAX_TEXT: Final = 4096  # bytes: the longest key material
_MAX_PERIODS: Final = 4096
_WORD: Final = 32


class ContractStorage:
    """Reads both contracts of a network word by word.

    Every method raises what ``read`` raises, and EvidenceInvalid for words that the contracts can't have written.
    """

    def __init__(self, directory: str, notary: str, read: ReadWord) -> None:
        self._directory = directory
        self._notary = notary
        self._read = read

    async def anchor_of(self, member: str, root: bytes, size: int) -> Anchor | None:
        """The anchor that ``member`` made of this batch; None when it made none."""
        slot = _entry(size.to_bytes(_WORD), _entry(root, _entry(_account(member), _ANCHORS)))
        number, time = _pair(await self._read(self._notary, slot))
        return Anchor(member, root, size, number, time) if number else None

    async def revocation_of(self, member: str, digest: bytes) -> Revocation | None:
        """What ``member`` recorded about revoking the statement with this digest; None when nothing."""
        slot = _entry(digest, _entry(_account(member), _REVOCATIONS))
        effective, time = _pair(await self._read(self._notary, slot))
        if not time:
            return None
        statement = (await self._read(self._notary, slot + 1)).to_bytes(_WORD)
        return Revocation(member, digest, effective, time, statement)

    async def member_of(self, account: str) -> Member | None:
        """The member behind an account, its endpoint left out; None for an account never admitted."""
        slot = _entry(_account(account), _MEMBERS)
        state = await self._read(self._directory, slot + 2)
        if not (admitted_at := state >> 8):
            return None
        name = (await self._bytes(self._directory, slot)).decode("utf-8", "replace")
        return Member(account, name, "", bool(state & 0xFF), admitted_at)

    async def periods_of(self, account: str) -> tuple[MembershipPeriod, ...]:
        """The periods of an account's membership, oldest first; none for an account never admitted."""
        slot = _entry(_account(account), _PERIODS)
        count = await self._read(self._directory, slot)
        if count > _MAX_PERIODS:
            raise EvidenceInvalid("more periods of membership than can be")
        first = int.from_bytes(keccak(slot.to_bytes(_WORD)))
        pairs = [_pair(await self._read(self._directory, _slot(first + number))) for number in range(count)]
        return tuple(MembershipPeriod(since, until or None) for since, until in pairs)

    async def key_of(self, account: str, key_id: bytes) -> PublishedKey | None:
        """The key that an account published under this id; None when it published none."""
        slot = _entry(key_id, _entry(_account(account), _KEYS))
        word = await self._read(self._directory, slot)
        since, until = _pair(word >> 8)
        if not since:
            return None
        if word & 0xFF >= len(_USES):
            raise EvidenceInvalid("a key of a use that there is not")
        material = await self._bytes(self._directory, slot + 1)
        return PublishedKey(key_id, _USES[word & 0xFF], material, since, until or None)

    async def _bytes(self, contract: str, slot: int) -> bytes:
        """A ``bytes`` or ``string``: up to 31 bytes in the word itself, else behind the hash of its slot."""
        word = await self._read(contract, slot)
        if not word & 1:
            return word.to_bytes(_WORD)[: (word & 0xFF) // 2]
        if (length := word >> 1) > _MAX_TEXT:
            raise EvidenceInvalid("a text that is longer than can be")
        first = int.from_bytes(keccak(slot.to_bytes(_WORD)))
        words = [
            (await self._read(contract, _slot(first + number))).to_bytes(_WORD) for number in range(-(-length // _WORD))
        ]
        return b"".join(words)[:length]


def _account(address: str) -> bytes:
    return address_bytes(address).rjust(_WORD, b"\0")


def _entry(key: bytes, slot: int) -> int:
    """The slot of a mapping's entry: keccak256(key . slot)."""
    return int.from_bytes(keccak(key + slot.to_bytes(_WORD)))


def _slot(number: int) -> int:
    return number % (1 << 256)


def _pair(word: int) -> tuple[int, int]:
    """Two 64-bit fields, the lower one first."""
    return word & (1 << 64) - 1, word >> 64 & (1 << 64) - 1
