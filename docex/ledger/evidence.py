"""Makes a proof stand alone: block headers, storage proofs (EIP-1186) and the tries of the anchors' blocks.

It asks the same questions as the verifier does, keeps what answers them, and then verifies the result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Final

import rlp
from trie.hexary import HexaryTrie

from docex.core.account import address_bytes
from docex.core.contract_storage import ContractStorage
from docex.core.facts import Block, Facts, Refuted, Unread, collect_facts
from docex.core.keccak import keccak
from docex.core.ledger_types import Anchor
from docex.core.proof import MAX_HEADERS, Evidence, LedgerEvidence, Network, Proof
from docex.core.standalone import EvidenceReader, all_facts
from docex.errors import LedgerError, LedgerUnavailable, UsageError
from docex.ledger import answers
from docex.ledger.chain import to_log
from docex.ledger.rpc import Rpc

_HEADER: Final = (
    "parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom", "difficulty",
    "number", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce",
)  # fmt: skip
# Each fork added one behind the others: London, Shanghai, Cancun (two, EIP-4788), Prague.
_LATER: Final = (
    "baseFeePerGas", "withdrawalsRoot", "blobGasUsed", "excessBlobGas", "parentBeaconBlockRoot", "requestsHash",
)  # fmt: skip
_NUMBERS: Final = {
    "difficulty", "number", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas", "blobGasUsed", "excessBlobGas",
}  # fmt: skip
_EXTRA: Final = _HEADER.index("extraData")
_PAGE: Final = 200


async def stand_alone(rpc: Rpc, proof: Proof, block: int | None = None) -> Proof:
    """A proof with the evidence of what the ledger says about its statements, as of a block.

    Of an anchor that lies `MAX_HEADERS` blocks or more before, the proof then names no transaction and no block hash:
    the Notary's entry, which the block's state holds, has all the rest.

    Args:
        rpc: a node of the chain; it must still have the block's state (most keep the last 128, archives all).
        proof: the proof; what it claims about network and anchors is what is looked up.
        block: the number of the block that the verifier will have to trust; the latest unless given.

    Raises:
        UsageError: the block is not there yet, or lies before an anchor.
        LedgerUnavailable: the node can't be reached, or no longer has what is needed.
        LedgerError: its answers do not fit together.
    """
    answer = await rpc.call("eth_getBlockByNumber", "latest" if block is None else hex(block), False)
    if answer is None and block is not None:
        raise UsageError(f"there is no block {block} yet")
    top = answers.fields(answer)
    number = _number(top)
    shown = [_shortened(each, number) for each in (proof.statement, *proof.related)]
    proof = replace(proof, statement=shown[0], related=tuple(shown[1:]))
    recorder = _Recorder(rpc, proof.network, top)
    _require_read(await collect_facts(proof, recorder))
    everything = LedgerEvidence(tuple(recorder.headers), tuple(recorder.nodes.values()), recorder.positions)
    reader = EvidenceReader(everything, proof.network, answers.data(top["hash"]))
    _require_read(await collect_facts(replace(proof, ledger=everything), reader))
    return replace(proof, ledger=reader.needed())


def _shortened(evidence: Evidence, top: int) -> Evidence:
    anchor = evidence.anchor
    if anchor is None or top - anchor.block_number < MAX_HEADERS:
        if anchor is not None and anchor.block_number > top:
            raise UsageError(f"the anchor's block {anchor.block_number} comes after the block to trust: {top}")
        return evidence
    return replace(evidence, anchor=replace(anchor, transaction=None, block_hash=None))


def _require_read(facts: Facts) -> None:
    for fact in all_facts(facts):
        if isinstance(fact, Unread):
            raise (LedgerError if isinstance(fact, Refuted) else LedgerUnavailable)(fact.reason)


class _Recorder(ContractStorage):
    """A ``LedgerReader`` as of one block that keeps what proves its answers."""

    def __init__(self, rpc: Rpc, network: Network, top: Mapping[str, Any]) -> None:
        super().__init__(network.directory, network.notary, self._word)
        self.headers = [encode_header(top)]
        self.nodes: dict[bytes, bytes] = {}
        self.positions: dict[bytes, int] = {}
        self._rpc = rpc
        self._network = network
        self._blocks = [top]
        self._words: dict[tuple[str, int], int] = {}
        self._extending = asyncio.Lock()

    async def network(self) -> Network:
        """See the protocol."""
        return self._network

    async def head(self) -> Block:
        """See the protocol."""
        return _block(self._blocks[0])

    async def block(self, number: int) -> Block | None:
        """See the protocol."""
        return _block(await self._down_to(number))

    async def anchors_made_by(self, transaction: bytes, block_number: int) -> Sequence[Anchor] | None:
        """See the protocol; what the receipt says is for the verifier."""
        block = await self._down_to(block_number)
        transactions = answers.items(answers.field(block, "transactions"))
        hashes = [answers.data(each, 32) for each in transactions]
        if transaction not in hashes:
            raise LedgerError(f"block {block_number} holds no transaction 0x{transaction.hex()}: was there a reorg?")
        self.positions[transaction] = hashes.index(transaction)
        raw = [await self._raw(each) for each in transactions]
        receipts = answers.items(await self._rpc.call("eth_getBlockReceipts", block["number"]))
        for values, root in ((raw, "transactionsRoot"), ([_receipt(each) for each in receipts], "receiptsRoot")):
            self._keep_trie(values, answers.data(block[root]), hashes.index(transaction))
        return []

    async def _down_to(self, number: int) -> Mapping[str, Any]:
        """The block with this number; the headers down to it are kept."""
        async with self._extending:  # the reads of a statement are made at once
            return await self._extended_to(number)

    async def _extended_to(self, number: int) -> Mapping[str, Any]:
        depth = _number(self._blocks[0]) - number
        while len(self._blocks) <= depth:
            lowest = _number(self._blocks[-1])
            wanted = range(lowest - 1, max(number, lowest - _PAGE) - 1, -1)
            for each in await self._rpc.batch([("eth_getBlockByNumber", (hex(one), False)) for one in wanted]):
                if not isinstance(each, Mapping):
                    raise LedgerUnavailable(f"{self._rpc.name} does not have the blocks from {number} on")
                self.headers.append(encode_header(each))
                self._blocks.append(each)
        return self._blocks[depth]

    async def _word(self, contract: str, slot: int) -> int:
        if (contract, slot) not in self._words:
            answer = await self._rpc.call("eth_getProof", contract, [f"0x{slot:064x}"], self._blocks[0]["number"])
            slots = answers.items(answers.field(answer, "storageProof"))
            if len(slots) != 1:
                raise answers.no_answer(slots, "the proof of one word")
            nodes = [answers.field(answer, "accountProof"), answers.field(slots[0], "proof")]
            for node in chain.from_iterable(map(answers.items, nodes)):
                self._keep(answers.data(node))
            self._words[contract, slot] = answers.number(answers.field(slots[0], "value"), answers.WORD)
        return self._words[contract, slot]

    async def _raw(self, transaction: str) -> bytes:
        """A transaction as it is hashed (EIP-2718). Nodes name this call differently."""
        for method in ("eth_getRawTransactionByHash", "debug_getRawTransaction"):
            try:
                answer = await self._rpc.call(method, transaction)
            except LedgerError:
                continue
            if answer is not None and keccak(raw := answers.data(answer)) == answers.data(transaction):
                return raw
        raise LedgerUnavailable(f"{self._rpc.name} does not give the raw transaction {transaction}")

    def _keep_trie(self, values: Sequence[bytes], root: bytes, position: int) -> None:
        trie = HexaryTrie({})
        for index, value in enumerate(values):
            trie[rlp.encode(index)] = value
        if trie.root_hash != root:
            raise LedgerError(f"the transactions that {self._rpc.name} gives are not those of the block's header")
        path: Sequence[Any] = trie.get_proof(rlp.encode(position))  # type: ignore[no-untyped-call]
        for node in path:
            self._keep(rlp.encode(node))

    def _keep(self, node: bytes) -> None:
        self.nodes[keccak(node)] = node


def encode_header(block: Mapping[str, Any]) -> bytes:
    """The RLP of a block's header, from the answer of ``eth_getBlockByNumber``; its Keccak-256 is the block's hash.

    Raises:
        LedgerError: it is not, so this chain's headers have a form that is not known here.
    """
    names = [*_HEADER, *(name for name in _LATER if block.get(name) is not None)]
    read = [(name, answers.field(block, name)) for name in names]
    fields = [answers.number(value, answers.WORD) if name in _NUMBERS else answers.data(value) for name, value in read]
    expected = answers.data(answers.field(block, "hash"))
    if keccak(raw := rlp.encode(fields)) == expected:
        return bytes(raw)
    fields[_EXTRA] = _without_seals(answers.data(block["extraData"]))
    if keccak(raw := rlp.encode(fields)) == expected:
        return bytes(raw)
    raise LedgerError(f"the header of block {_number(block)} does not have the block's hash")


def _without_seals(extra: bytes) -> bytes:
    """QBFT hashes a header with round 0 and no commit seals in its extra data, as validators add those afterwards."""
    try:
        vanity, validators, vote, _, _ = rlp.decode(extra)
    except (rlp.exceptions.RLPException, ValueError, TypeError):
        return extra
    return bytes(rlp.encode([vanity, validators, vote, 0, []]))


def _receipt(answer: object) -> bytes:
    """A transaction receipt as the block's trie has it (EIP-658, EIP-2718)."""
    logs = [
        [address_bytes(log.address), list(log.topics), log.data]
        for log in map(to_log, answers.items(answers.field(answer, "logs")))
    ]
    status, gas = (answers.number(answers.field(answer, name)) for name in ("status", "cumulativeGasUsed"))
    fields = [status, gas, answers.data(answers.field(answer, "logsBloom")), logs]
    kind = answers.number(answers.fields(answer).get("type", "0x0"), 7)  # EIP-2718: one byte, up to 0x7f
    return (bytes([kind]) if kind else b"") + bytes(rlp.encode(fields))


def _block(answer: Mapping[str, Any]) -> Block:
    # Headers that were kept have a hash, a number and a time: `encode_header` has read them.
    return Block(_number(answer), answers.data(answer["hash"]), answers.number(answer["timestamp"]))


def _number(block: Mapping[str, Any]) -> int:
    return answers.number(answers.field(block, "number"))
