"""The ledger as a proof itself shows it, from one trusted block hash: no network needed. See docs/proof.md.

The trusted block's header commits to the whole state (EIP-1186 storage proofs lead from it to the words of the Notary
and the Directory) and to the headers before it, and so to the blocks of the anchors, whose tries hold the transactions
that made them and their receipts. Every byte of the evidence is named by a hash that starts from the trusted one, and
nothing may be in it that was not needed, so no change of it goes unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Final

from docex.core import statement as statements
from docex.core.account import address_bytes, format_address
from docex.core.contract_storage import ContractStorage
from docex.core.evidence import Checker, Failed, NotChecked
from docex.core.facts import Block, Facts, Refuted, Trust, collect_facts
from docex.core.keccak import keccak
from docex.core.ledger_types import Anchor
from docex.core.proof import LedgerEvidence, Network, Proof
from docex.errors import DocexError, EvidenceInvalid

# Places in a header (Yellow Paper section 4.3) and in an account of the state trie (section 4.1).
_PARENT, _STATE, _TRANSACTIONS, _RECEIPTS, _NUMBER, _TIME = 0, 3, 4, 5, 8, 11
_STORAGE: Final = 2
_LOGS: Final = 3
ANCHORED: Final = keccak(b"Anchored(address,bytes32,uint64)")
"""The first topic of the Notary's event."""


async def standalone_facts(proof: Proof, network: Network, trusted_block: bytes) -> Facts:
    """What a proof's own evidence shows about its statements, as `collect_facts` would have read it.

    Args:
        proof: the proof; its ``ledger`` is the evidence.
        network: the chain and contracts that the verifier trusts.
        trusted_block: the hash of a block of that chain, from a source the verifier trusts (32 bytes).

    Nothing is raised: evidence that does not hold is a fact that is ``Refuted``.
    """
    if proof.ledger is None:
        refuted = Refuted("the proof brings none: fetch it with `docex proof --standalone`")
        return Facts(refuted, refuted)
    reader = EvidenceReader(proof.ledger, network, trusted_block)
    facts = await collect_facts(proof, reader)
    # One broken part spoils the whole: whoever made the proof had all of it, for the related statements too.
    broken = next((fact for fact in all_facts(facts) if isinstance(fact, Refuted)), None)
    broken = broken or _contradiction(proof, facts)
    if broken is None and (surplus := reader.surplus()):
        broken = Refuted(f"it holds {surplus}, which nothing needs")
    return facts if broken is None else Facts(broken, broken)


def _contradiction(proof: Proof, facts: Facts) -> Refuted | None:
    """What the proof says of an anchor and its evidence does not, if anything."""
    assert isinstance(facts.network, Network)
    checker = Checker(proof.network, Trust("", facts.network), facts)
    for evidence in (proof.statement, *proof.related):
        with suppress(DocexError, NotChecked):
            statement = statements.verify(evidence.token)
            if evidence.anchor is None:
                return Refuted(f"the {statement.type} statement {statement.digest_text} has no anchor in the proof")
            try:
                checker.anchor(statement, evidence, {})
            except Failed as stop:
                return Refuted(f"{stop} ({statement.type} statement {statement.digest_text})")
    return None


def block_to_trust(evidence: LedgerEvidence) -> Block:
    """The block that a verifier has to trust for this evidence to count, as the evidence itself says.

    Raises:
        EvidenceInvalid: the first header is none.
    """
    import rlp

    raw = evidence.headers[0]
    with _reading():
        fields = rlp.decode(raw)
        return Block(int.from_bytes(fields[_NUMBER]), keccak(raw), int.from_bytes(fields[_TIME]))


def all_facts(facts: Facts) -> Iterator[object]:
    """Every fact that was asked for."""
    yield from (facts.network, facts.head)
    for answers in (facts.blocks, facts.anchors, facts.transactions, facts.members, facts.periods, facts.keys):
        yield from answers.values()
    yield from facts.revocations.values()


class EvidenceReader(ContractStorage):
    """The ``LedgerReader`` over a proof's evidence. Every method raises EvidenceInvalid where that does not hold."""

    def __init__(self, evidence: LedgerEvidence, network: Network, trusted_block: bytes) -> None:
        super().__init__(network.directory, network.notary, self._word)
        self._evidence = evidence
        self._network = network
        self._trusted = trusted_block
        self._nodes = _Nodes(evidence.nodes)
        self._storage_roots: dict[str, bytes] = {}
        self._lowest: int | None = None
        self._positions: set[bytes] = set()

    async def network(self) -> Network:
        """The verifier's own: the trusted hash stands for the chain, and the state holds what is at the addresses."""
        assert self._headers
        return self._network

    async def head(self) -> Block:
        """The trusted block."""
        return self._block(self._headers[0])

    async def block(self, number: int) -> Block | None:
        """A block at or below the trusted one."""
        header = self._header(number)
        return None if header is None else self._block(header)

    async def anchors_made_by(self, transaction: bytes, block_number: int) -> Sequence[Anchor] | None:
        """The anchors that a transaction of this block made at the Notary."""
        header = self._header(block_number)
        position = self._evidence.positions.get(transaction)
        if header is None or position is None:
            raise EvidenceInvalid(f"it does not show transaction 0x{transaction.hex()} in block {block_number}")
        self._positions.add(transaction)
        with _reading():
            import rlp

            key = rlp.encode(position)
            if keccak(self._nodes.get(header[_TRANSACTIONS], key)) != transaction:
                raise EvidenceInvalid(f"another transaction is at position {position} of block {block_number}")
            receipt = self._nodes.get(header[_RECEIPTS], key)
            # EIP-2718: a type byte in front, unless it is a legacy one, which is a list at once.
            logs = rlp.decode(receipt if receipt[0] >= 0xC0 else receipt[1:])[_LOGS]
            block = self._block(header)
            return [_anchor(topics, data, block) for address, topics, data in logs if self._is_anchor(address, topics)]

    def needed(self) -> LedgerEvidence:
        """The part of the evidence that was looked at so far."""
        raw = self._evidence
        nodes = tuple(node for node in raw.nodes if keccak(node) in self._nodes.used)
        positions = {transaction: raw.positions[transaction] for transaction in self._positions}
        return LedgerEvidence(raw.headers[: self._depth()], nodes, positions)

    def surplus(self) -> str:
        """What of the evidence was never needed, in words; empty when all of it was."""
        if extra := len(self._evidence.headers) - self._depth():
            return f"{extra} block headers"
        if extra := len(self._evidence.nodes) - len(self._nodes.used):
            return f"{extra} trie nodes"
        if extra := len(self._evidence.positions) - len(self._positions):
            return f"the positions of {extra} transactions"
        return ""

    def _depth(self) -> int:
        """How many headers were needed."""
        return 1 if self._lowest is None else int.from_bytes(self._headers[0][_NUMBER]) - self._lowest + 1

    @cached_property
    def _headers(self) -> tuple[Sequence[bytes], ...]:
        """The headers' fields: the first is the trusted block's, each further one the parent of that before."""
        import rlp

        expected = self._trusted
        found: list[Sequence[bytes]] = []
        for raw in self._evidence.headers:
            if keccak(raw) != expected:
                which = "the trusted block" if not found else "the parent of the one before"
                raise EvidenceInvalid(f"block header {len(found)} is not that of {which}, 0x{expected.hex()}")
            with _reading():  # its hash is the trusted one: this is a header, not something an attacker wrote
                fields = rlp.decode(raw)
                found.append(fields)
                expected = fields[_PARENT]
        return tuple(found)

    def _header(self, number: int) -> Sequence[bytes] | None:
        depth = int.from_bytes(self._headers[0][_NUMBER]) - number
        if depth < 0:
            return None
        if depth >= len(self._headers):
            raise EvidenceInvalid(f"its headers do not reach down to block {number}")
        self._lowest = number if self._lowest is None else min(self._lowest, number)
        return self._headers[depth]

    def _block(self, header: Sequence[bytes]) -> Block:
        number, time = int.from_bytes(header[_NUMBER]), int.from_bytes(header[_TIME])
        return Block(number, self._hash_of(number), time)

    def _hash_of(self, number: int) -> bytes:
        depth = int.from_bytes(self._headers[0][_NUMBER]) - number
        return self._trusted if depth == 0 else bytes(self._headers[depth - 1][_PARENT])

    def _is_anchor(self, address: bytes, topics: Sequence[bytes]) -> bool:
        return format_address(address) == self._network.notary and bool(topics) and topics[0] == ANCHORED

    async def _word(self, contract: str, slot: int) -> int:
        import rlp

        with _reading():
            value = self._nodes.get(self._storage_root(contract), keccak(slot.to_bytes(32)))
            return int.from_bytes(rlp.decode(value)) if value else 0

    def _storage_root(self, contract: str) -> bytes:
        if contract not in self._storage_roots:
            import rlp

            account = self._nodes.get(self._headers[0][_STATE], keccak(address_bytes(contract)))
            if not account:
                raise EvidenceInvalid(f"there is no contract at {contract} in the trusted block")
            self._storage_roots[contract] = rlp.decode(account)[_STORAGE]
        return self._storage_roots[contract]


class _Nodes:
    """The trie nodes of the evidence by their hashes, and which of them were looked at."""

    def __init__(self, nodes: Sequence[bytes]) -> None:
        self._by_hash = _Recording({keccak(node): node for node in nodes})

    @property
    def used(self) -> set[bytes]:
        return self._by_hash.used

    def get(self, root: bytes, key: bytes) -> bytes:
        """The value at ``key``, empty when the trie has none. Raises EvidenceInvalid when a node on the way lacks."""
        from trie.exceptions import MissingTrieNode
        from trie.hexary import HexaryTrie

        try:
            return bytes(HexaryTrie(self._by_hash, root).get(key))
        except MissingTrieNode as error:
            raise EvidenceInvalid(f"trie node 0x{bytes(error.missing_node_hash).hex()} is missing") from None


class _Recording(dict[bytes, bytes]):
    def __init__(self, nodes: Mapping[bytes, bytes]) -> None:
        super().__init__(nodes)
        self.used: set[bytes] = set()

    def __getitem__(self, key: bytes) -> bytes:
        value = super().__getitem__(key)
        self.used.add(key)
        return value


def _anchor(topics: Sequence[bytes], data: bytes, block: Block) -> Anchor:
    _, member, root = topics
    return Anchor(format_address(member[12:]), root, int.from_bytes(data), block.number, block.time)


@contextmanager
def _reading() -> Iterator[None]:
    """What a library makes of bytes that are something else than they should be."""
    from eth_utils.exceptions import ValidationError
    from rlp.exceptions import RLPException

    try:
        yield
    except (RLPException, ValidationError, ValueError, TypeError, IndexError, KeyError, RecursionError) as error:
        raise EvidenceInvalid(f"a part of it is malformed ({type(error).__name__})") from error
