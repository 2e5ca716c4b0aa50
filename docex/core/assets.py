"""The goods as the Assets contract has them: what an asset is, and the events that all of history is rebuilt from.

Accounts are EIP-55 addresses, ids count from 1, digests are 32 raw bytes (None: there is none). Quantities are whole
numbers of 0.000001 of their unit, masses of milligrams (0: not stated). See docs/ledger.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

QUANTITY_STEPS: Final = 1_000_000
"""Steps of a quantity in one of its unit."""
MAX_COUNT: Final = 128
"""Most assets in one call."""


class AssetKind(StrEnum):
    """A lot can be split; a component can't; a bundle is made of other assets."""

    LOT = "lot"
    COMPONENT = "component"
    BUNDLE = "bundle"


class AssetState(StrEnum):
    """Whether an asset is there, and else how it ended."""

    LIVE = "live"
    SPLIT = "split"
    TRANSFORMED = "transformed"
    UNBUNDLED = "unbundled"


@dataclass(frozen=True, slots=True)
class AssetSpec:
    """What a lot or a component is. ``unit``: its UN/CEFACT Recommendation 20 code, such as ``KGM`` or ``H87``."""

    kind: AssetKind
    unit: str
    quantity: int
    mass: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """One of the parts that a lot is split into, in the lot's unit; it states a mass if the lot does."""

    quantity: int
    mass: int = 0


@dataclass(frozen=True, slots=True)
class AnchoredStatement:
    """That ``issuer`` anchored a statement: leaf ``index`` of its batch (root, size), by ``path``, leaf side first."""

    issuer: str
    root: bytes
    size: int
    index: int
    digest: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Asset:
    """An asset as it is now, or as it was when it ended. A bundle has no unit (empty text), quantity or mass.

    ``levels``: of bundles, 0 for a lot or component. ``bundle``: the one that it is in.
    """

    id: int
    maker: str
    kind: AssetKind
    state: AssetState
    recalled: bool
    levels: int
    unit: str
    quantity: int
    mass: int
    bundle: int | None


@dataclass(frozen=True, slots=True)
class Offer:
    """An open offer. ``transfer``: the digest of the transfer statement for the packets that go with the goods."""

    to: str
    transfer: bytes | None


@dataclass(frozen=True, slots=True, order=True)
class LogPosition:
    """Where an event stands on the chain; ordered as the events happened."""

    block_number: int
    log_index: int
    block_hash: bytes
    transaction: bytes


@dataclass(frozen=True, slots=True)
class Created:
    """A member created an asset."""

    at: LogPosition
    id: int
    maker: str
    spec: AssetSpec


@dataclass(frozen=True, slots=True)
class Linked:
    """The holder ``by`` linked a statement, which is ``issuer``'s if its signature says so."""

    at: LogPosition
    id: int
    issuer: str
    digest: bytes
    by: str


@dataclass(frozen=True, slots=True)
class Offered:
    """The holder offered an asset."""

    at: LogPosition
    id: int
    sender: str
    to: str
    transfer: bytes | None


@dataclass(frozen=True, slots=True)
class Accepted:
    """``to`` holds the asset from here on; ``receipt``: the digest of its receipt statement."""

    at: LogPosition
    id: int
    sender: str
    to: str
    transfer: bytes | None
    receipt: bytes | None


@dataclass(frozen=True, slots=True)
class Rejected:
    """``to`` refused the asset; ``receipt``: the digest of its receipt statement, which says why."""

    at: LogPosition
    id: int
    sender: str
    to: str
    transfer: bytes | None
    receipt: bytes | None


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The holder took its offer back."""

    at: LogPosition
    id: int
    sender: str
    to: str
    transfer: bytes | None


@dataclass(frozen=True, slots=True)
class Split:
    """A lot ended; its parts have the ids from ``first`` on, its kind, unit and maker, and its holder."""

    at: LogPosition
    id: int
    holder: str
    first: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Transformed:
    """The inputs ended; the outputs have the ids from ``first`` on and ``maker`` for maker and holder.

    ``loss``: the stated mass that is gone.
    """

    at: LogPosition
    maker: str
    first: int
    inputs: tuple[int, ...]
    outputs: tuple[AssetSpec, ...]
    loss: int


@dataclass(frozen=True, slots=True)
class Bundled:
    """The children are in the bundle ``id`` now, which begins at ``place``; ``maker`` holds it."""

    at: LogPosition
    id: int
    maker: str
    children: tuple[int, ...]
    place: str


@dataclass(frozen=True, slots=True)
class Unbundled:
    """A bundle ended; what was in it is ``holder``'s."""

    at: LogPosition
    id: int
    holder: str


@dataclass(frozen=True, slots=True)
class Recalled:
    """The maker or the holder recalled an asset; ``statement``: the digest of the one that says why."""

    at: LogPosition
    id: int
    by: str
    statement: bytes


AssetEvent = (
    Created | Linked | Offered | Accepted | Rejected | Withdrawn | Split | Transformed | Bundled | Unbundled | Recalled
)
