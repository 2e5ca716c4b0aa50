"""The ledger of a consortium of its own: Besu nodes that agree by QBFT. Node keys and the genesis block.

Sources: Besu's documentation ("Configure QBFT consensus", "Configure free gas networks", "Genesis file items") and its
`QbftExtraDataCodec`, which reads what `extra_data` writes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import rlp
from coincurve import PrivateKey

from docex.core.account import address_bytes, format_address, parse_address
from docex.core.keccak import keccak
from docex.core.proof import MAX_CHAIN_ID
from docex.errors import UsageError

MAX_VALIDATORS: Final = 32
"""More would only make agreement slower: each block takes messages from every validator to every other."""
P2P_PORT: Final = 30303
RPC_PORT: Final = 8545
RPC_NODE: Final = "rpc"
"""The node that takes transactions and answers questions: no validator, and the only one with an open RPC."""
BLOCK_SECONDS: Final = 2
GAS_LIMIT: Final = 30_000_000
FUNDS: Final = 1_000_000 * 10**18
"""Wei for each funded account."""
BASE_FEE: Final = 10**9
"""Of the first block, in wei; from there it follows EIP-1559, which on a chain that is never full is down to 7."""

# Besu reads this in the mix hash and then treats the block as one of a BFT chain ("ctical byzantine fault tolerance").
_BFT_MIX_HASH: Final = "0x63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365"
_VANITY: Final = bytes(32)
_FORKS_BY_BLOCK: Final = (
    *("homestead", "eip150", "eip155", "eip158", "byzantium", "constantinople", "petersburg", "istanbul", "berlin"),
    "london",
)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a consortium decides about its ledger."""

    name: str
    """Of the compose project, hence lowercase."""
    chain_id: int
    validators: int = 4
    funded: tuple[str, ...] = ()
    """Addresses that own `FUNDS` from the start: the account that deploys the contracts, above all."""
    zero_base_fee: bool = False

    def __post_init__(self) -> None:
        """Raises UsageError when a value is not allowed, or when nobody could ever send a transaction."""
        if _NAME.fullmatch(self.name) is None:
            raise UsageError("a network's name is 1 to 31 lowercase letters, digits and dashes")
        if not 1 <= self.chain_id <= MAX_CHAIN_ID:
            raise UsageError(f"a chain id is a whole number from 1 to {MAX_CHAIN_ID}")
        if not 1 <= self.validators <= MAX_VALIDATORS:
            raise UsageError(f"a network has 1 to {MAX_VALIDATORS} validators")
        if len({parse_address(each) for each in self.funded}) != len(self.funded):
            raise UsageError("an account to be funded is named twice")
        if not self.funded and not self.zero_base_fee:
            raise UsageError("nobody could pay for a transaction: name an account to fund, or choose a zero base fee")

    @property
    def tolerated(self) -> int:
        """How many validators may fail or lie before the chain stands still: fewer than a third."""
        return (self.validators - 1) // 3


@dataclass(frozen=True, slots=True)
class NodeKey:
    """A Besu node: its host name and its secp256k1 key. ``secret`` is for its key file and nothing else."""

    name: str
    secret: bytes = field(repr=False)

    @property
    def address(self) -> str:
        """Of the key; a validator is known by it."""
        return format_address(keccak(self._point)[-20:])

    @property
    def enode(self) -> str:
        """Where others find it. ``discport=0``: peers come from the static list, not from discovery."""
        return f"enode://{self._point.hex()}@{self.name}:{P2P_PORT}?discport=0"

    @property
    def _point(self) -> bytes:
        """The public key without the byte that says how it is encoded."""
        return PrivateKey(self.secret).public_key.format(compressed=False)[1:]


def new_nodes(validators: int) -> tuple[NodeKey, ...]:
    """New keys: ``validators`` validators, and then the transaction-only node."""
    names = [*(f"validator-{number}" for number in range(1, validators + 1)), RPC_NODE]
    return tuple(NodeKey(name, PrivateKey().secret) for name in names)


def extra_data(validators: Sequence[str]) -> bytes:
    """The first block's extra data: RLP of vanity, validators, no vote, round 0, no seals.

    Sorted by address, which is the order that Besu keeps them in.
    """
    addresses = sorted(address_bytes(each) for each in validators)
    return bytes(rlp.encode([_VANITY, addresses, [], b"", []]))


def genesis(plan: Plan, validators: Sequence[str], time: int) -> dict[str, Any]:
    """The genesis file's JSON: QBFT from the first block on, and the EVM as of Cancun, which the contracts need.

    ``time``: Unix seconds of the first block.
    """
    forks = {f"{name}Block": 0 for name in _FORKS_BY_BLOCK} | {"shanghaiTime": 0, "cancunTime": 0}
    # Besu's documentation advises twice the block period for the first round's time-out.
    rounds = {"blockperiodseconds": BLOCK_SECONDS, "epochlength": 30_000, "requesttimeoutseconds": 2 * BLOCK_SECONDS}
    free = {"zeroBaseFee": True} if plan.zero_base_fee else {}
    return {
        "config": {"chainId": plan.chain_id, **forks, **free, "qbft": rounds},
        "nonce": "0x0",
        "timestamp": hex(time),
        "extraData": "0x" + extra_data(validators).hex(),
        "gasLimit": hex(GAS_LIMIT),
        "difficulty": "0x1",
        "mixHash": _BFT_MIX_HASH,
        "coinbase": "0x" + bytes(20).hex(),
        "baseFeePerGas": hex(0 if plan.zero_base_fee else BASE_FEE),
        "alloc": {parse_address(each).lower(): {"balance": hex(FUNDS)} for each in plan.funded},
    }
