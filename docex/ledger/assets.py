"""The Assets contract's client: goods as tokens, who has custody of each, and the events of their history."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from docex.core.account import require_checksum
from docex.core.assets import AnchoredStatement, Asset, AssetEvent, AssetKind, AssetSpec, Offer, Part
from docex.core.transactions import StoredTransaction
from docex.errors import NotFound, UsageError
from docex.ledger import answers, chain
from docex.ledger.asset_events import NAMES, optional, to_event, to_kind, to_state, unit_text
from docex.ledger.contracts import load
from docex.ledger.notary import RANGE
from docex.ledger.rpc import Rpc
from docex.ledger.sender import Sender

_ZERO: Final = bytes(32)
_UNIT: Final = re.compile("[0-9A-Z]{1,3}")
_KINDS: Final = tuple(AssetKind)
_NOBODY: Final = "0x" + "0" * 40


class AssetsClient:
    """Reads the Assets contract; with a ``sender``, writes to it as the sender's account.

    Reading raises LedgerUnavailable when the node can't be reached. Writing returns as ``Sender.submit`` does: kept and
    sent, not yet mined; ``made_by`` then tells the ids. It happens once for each ``key``, which the caller keeps with
    what it wants done: the same goods may go to and fro. Raises LedgerRejected with the contract's reason
    (``NotHolder``, ``OfferIsOpen``, ``MassExceeded``…), NotMember, and UsageError for what no contract could take.

    An id is final when the asset's beginning is: act on it then, since a reorg may give it to another asset.
    """

    def __init__(self, rpc: Rpc, address: str, sender: Sender | None = None) -> None:
        """``address``: the contract's, with its checksum (UsageError otherwise)."""
        self.address = require_checksum(address)
        self._rpc = rpc
        self._sender = sender
        self._contract = load("Assets")

    # --- reading -----------------------------------------------------------------------------------------------------

    async def asset(self, number: int) -> Asset | None:
        """The asset with this id; None when there never was one."""
        (found,) = await self._read("assetOf", number)
        maker, kind, state, recalled, levels, unit, quantity, mass, bundle = found
        if (known := to_state(state)) is None:
            return None
        text = unit_text(unit)
        return Asset(number, maker, to_kind(kind), known, recalled, levels, text, quantity, mass, bundle or None)

    async def holder(self, asset: int) -> str | None:
        """Who has custody, up to the outermost bundle; None for what is not there, or no more."""
        (holder,) = await self._read("holderOf", asset)
        return None if holder == _NOBODY else str(holder)

    async def offer_of(self, asset: int) -> Offer | None:
        """The open offer of an asset."""
        to, transfer = await self._read("offerOf", asset)
        return None if to == _NOBODY else Offer(to, optional(transfer))

    async def children(self, asset: int) -> tuple[int, ...]:
        """What is in a bundle; nothing when it has ended."""
        (children,) = await self._read("childrenOf", asset)
        return tuple(children)

    async def is_linked(self, asset: int, issuer: str, digest: bytes) -> bool:
        """Whether this statement, as anchored by this issuer, was linked to the asset."""
        return bool((await self._read("isLinked", asset, issuer, digest))[0])

    async def recall_of(self, asset: int, by: str) -> bytes | None:
        """The digest of the statement by which an account recalled an asset; None when it did not."""
        return optional((await self._read("recallOf", asset, by))[0])

    async def count(self) -> int:
        """How many assets ever began: the last id."""
        return int((await self._read("assetCount"))[0])

    async def notary(self) -> str:
        """The address of the Notary that evidence is checked by."""
        return str((await self._read("notary"))[0])

    async def events(self, first_block: int, last_block: int) -> tuple[AssetEvent, ...]:
        """Everything that happened in these blocks, both included, in its order."""
        found: list[AssetEvent] = []
        topics = [["0x" + self._contract.topic(name).hex() for name in NAMES]]
        for start in range(first_block, last_block + 1, RANGE):
            end = min(start + RANGE - 1, last_block)
            question = {"address": self.address, "fromBlock": hex(start), "toBlock": hex(end), "topics": topics}
            found += self._events(await self._rpc.call("eth_getLogs", question))
        return tuple(sorted(found, key=lambda event: event.at))

    async def made_by(self, transaction: bytes) -> tuple[AssetEvent, ...]:
        """What a mined transaction, by its hash, did to assets; nothing when it failed.

        Raises NotFound when the chain does not have it.
        """
        receipt = await self._rpc.call("eth_getTransactionReceipt", "0x" + transaction.hex())
        if receipt is None:
            raise NotFound(f"the chain has no transaction 0x{transaction.hex()}")
        return tuple(self._events(answers.field(receipt, "logs")))

    # --- writing -----------------------------------------------------------------------------------------------------

    async def create(self, specs: Sequence[AssetSpec], evidence: AnchoredStatement, *, key: str) -> StoredTransaction:
        """Creates 1 to 128 lots and components that one anchored statement is about."""
        return await self._write(key, "create", [_spec(each) for each in specs], _evidence(evidence))

    async def link(self, ids: Sequence[int], evidence: AnchoredStatement, *, key: str) -> StoredTransaction:
        """Links one more anchored statement to assets of the sender's account, in bundles or not."""
        return await self._write(key, "link", list(ids), _evidence(evidence))

    async def offer(self, asset: int, to: str, transfer: bytes | None = None, *, key: str) -> StoredTransaction:
        """Offers an asset to a member. ``transfer``: the digest of the statement for the packets that go with it."""
        return await self._write(key, "offer", asset, to, transfer or _ZERO)

    async def accept(
        self, asset: int, transfer: bytes | None = None, receipt: bytes | None = None, *, key: str
    ) -> StoredTransaction:
        """Takes custody of an asset offered with this ``transfer``, which a ``receipt`` then answers."""
        return await self._write(key, "accept", asset, transfer or _ZERO, receipt or _ZERO)

    async def reject(
        self, asset: int, transfer: bytes | None = None, receipt: bytes | None = None, *, key: str
    ) -> StoredTransaction:
        """Refuses an asset offered with this ``transfer``, which a ``receipt`` then answers."""
        return await self._write(key, "reject", asset, transfer or _ZERO, receipt or _ZERO)

    async def withdraw(self, asset: int, *, key: str) -> StoredTransaction:
        """Takes the open offer of an asset back."""
        return await self._write(key, "withdraw", asset)

    async def split(self, asset: int, parts: Sequence[Part], *, key: str) -> StoredTransaction:
        """Splits a lot into 2 to 128 parts."""
        return await self._write(key, "split", asset, [(part.quantity, part.mass) for part in parts])

    async def transform(self, inputs: Sequence[int], outputs: Sequence[AssetSpec], *, key: str) -> StoredTransaction:
        """Consumes 1 to 128 lots and components and makes as many others of them."""
        return await self._write(key, "transform", list(inputs), [_spec(each) for each in outputs])

    async def bundle(self, children: Sequence[int], place: str, *, key: str) -> StoredTransaction:
        """Puts 1 to 128 assets into a new bundle that begins at ``place``, 1 to 256 bytes of UTF-8."""
        return await self._write(key, "bundle", list(children), place)

    async def unbundle(self, asset: int, *, key: str) -> StoredTransaction:
        """Ends a bundle; what is in it is the holder's again."""
        return await self._write(key, "unbundle", asset)

    async def recall(self, asset: int, statement: bytes, *, key: str) -> StoredTransaction:
        """Recalls an asset for good, as its maker or holder. ``statement``: the digest of the one that says why."""
        return await self._write(key, "recall", asset, statement)

    # --- both --------------------------------------------------------------------------------------------------------

    async def _read(self, function: str, *arguments: object) -> tuple[Any, ...]:
        data = await self._rpc.eth_call(self.address, self._contract.encode(function, *arguments))
        return self._contract.decode(function, data)

    async def _write(self, key: str, function: str, *arguments: object) -> StoredTransaction:
        if self._sender is None:
            raise UsageError("this client of the Assets has no account to write with")
        return await self._sender.submit(key, self.address, self._contract.encode(function, *arguments))

    def _events(self, logs: object) -> list[AssetEvent]:
        found = [chain.to_log(each) for each in answers.items(logs)]
        events = [to_event(self._contract, log) for log in found if log.address == self.address]
        return [event for event in events if event is not None]


def _spec(spec: AssetSpec) -> tuple[int, bytes, int, int]:
    if not _UNIT.fullmatch(spec.unit):
        raise UsageError(
            f"{spec.unit!r} is no unit: its code has 1 to 3 digits and capital letters, such as KGM or H87"
        )
    return _KINDS.index(spec.kind), spec.unit.encode().ljust(3, b"\0"), spec.quantity, spec.mass


def _evidence(evidence: AnchoredStatement) -> tuple[object, ...]:
    return evidence.issuer, evidence.root, evidence.size, evidence.index, evidence.digest, list(evidence.path)
