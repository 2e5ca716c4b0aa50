"""The events of the Assets contract, from a ledger node's logs to plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from docex.core.assets import (
    Accepted,
    AssetEvent,
    AssetKind,
    AssetSpec,
    AssetState,
    Bundled,
    Created,
    Linked,
    LogPosition,
    Offered,
    Part,
    Recalled,
    Rejected,
    Split,
    Transformed,
    Unbundled,
    Withdrawn,
)
from docex.ledger import answers
from docex.ledger.chain import Log
from docex.ledger.contracts import Contract

_KINDS: Final = tuple(AssetKind)
"""In the order of ``IAssets.Kind``."""
_STATES: Final[tuple[AssetState | None, ...]] = (None, *AssetState)
"""In the order of ``IAssets.State``."""
_Arguments = Mapping[str, Any]


def to_event(contract: Contract, log: Log) -> AssetEvent | None:
    """The event that a log of the contract tells of; None for one of ERC-721, which repeats what ours say.

    Raises LedgerUnavailable when the log is not of its event's types.
    """
    decoded = contract.decode_log(log.topics, log.data)
    if decoded is None or decoded[0] not in _MAKERS:
        return None
    name, arguments = decoded
    return _MAKERS[name](LogPosition(log.block_number, log.index, log.block_hash, log.transaction), arguments)


def to_kind(number: int) -> AssetKind:
    """The kind that the contract has under this number."""
    if number >= len(_KINDS):
        raise answers.no_answer(number, "the kind of an asset")
    return _KINDS[number]


def to_state(number: int) -> AssetState | None:
    """The state that the contract has under this number; None: there is no such asset."""
    if number >= len(_STATES):
        raise answers.no_answer(number, "the state of an asset")
    return _STATES[number]


def unit_text(unit: bytes) -> str:
    """A unit's code; empty for a bundle, which has none."""
    return unit.rstrip(b"\0").decode("ascii", "replace")


def optional(digest: bytes) -> bytes | None:
    """A digest; None for the contract's zero."""
    return digest if any(digest) else None


def _spec(values: tuple[Any, ...]) -> AssetSpec:
    kind, unit, quantity, mass = values
    return AssetSpec(to_kind(kind), unit_text(unit), quantity, mass)


def _offer(values: _Arguments) -> tuple[int, str, str, bytes | None]:
    return values["id"], values["from"], values["to"], optional(values["transfer"])


def _split(at: LogPosition, values: _Arguments) -> Split:
    parts = tuple(Part(*part) for part in values["parts"])
    return Split(at, values["id"], values["holder"], values["first"], parts)


def _transformed(at: LogPosition, values: _Arguments) -> Transformed:
    outputs = tuple(map(_spec, values["outputs"]))
    return Transformed(at, values["maker"], values["first"], values["inputs"], outputs, values["loss"])


_MAKERS: Final[Mapping[str, Callable[[LogPosition, _Arguments], AssetEvent]]] = {
    "Created": lambda at, values: Created(at, values["id"], values["maker"], _spec(values["spec"])),
    "Linked": lambda at, values: Linked(at, values["id"], values["issuer"], values["digest"], values["by"]),
    "Offered": lambda at, values: Offered(at, *_offer(values)),
    "Accepted": lambda at, values: Accepted(at, *_offer(values), optional(values["receipt"])),
    "Rejected": lambda at, values: Rejected(at, *_offer(values), optional(values["receipt"])),
    "Withdrawn": lambda at, values: Withdrawn(at, *_offer(values)),
    "Split": _split,
    "Transformed": _transformed,
    "Bundled": lambda at, values: Bundled(at, values["id"], values["maker"], values["children"], values["place"]),
    "Unbundled": lambda at, values: Unbundled(at, values["id"], values["holder"]),
    "Recalled": lambda at, values: Recalled(at, values["id"], values["by"], values["statement"]),
}
NAMES: Final = tuple(_MAKERS)
"""The names of the events, as the contract has them."""
