"""Merkle trees over SHA-256 as RFC 9162 section 2.1 has them; a leaf's data is the 32-byte digest of a statement.

Pure functions over leaf *hashes* (``leaf_hash`` of the digests). ``Tree`` keeps every level, so that the inclusion
paths of a whole batch cost one look-up a level each. The contract ``Rfc9162.sol`` does the same checks on-chain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from docex.errors import InclusionInvalid, UsageError

HASH_SIZE: Final = 32
"""Length of every hash in bytes."""
MAX_SIZE: Final = 2**64 - 1
"""Most leaves of a tree: the Notary counts them in 64 bits."""
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""Root of the tree without leaves (RFC 9162 section 2.1.1)."""

_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"
_sha256 = hashlib.sha256


def leaf_hash(digest: bytes) -> bytes:
    """SHA-256(0x00 || digest): the hash of the leaf that holds a statement's 32-byte digest.

    Raises UsageError when the digest does not have 32 bytes.
    """
    if len(digest) != HASH_SIZE:
        raise UsageError(f"a leaf holds a digest of {HASH_SIZE} bytes, not {len(digest)}")
    return _sha256(_LEAF + digest).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right): the hash of an inner node."""
    return _sha256(_NODE + left + right).digest()


def root(leaf_hashes: Iterable[bytes]) -> bytes:
    """The root of the tree with these leaves, in this order (RFC 9162 section 2.1.1: MTH).

    Raises UsageError when a leaf hash does not have 32 bytes.
    """
    level = _checked(leaf_hashes)
    if not level:
        return EMPTY_ROOT
    while len(level) > 1:
        level = _level_above(level)
    return level[0]


def inclusion_path(leaf_hashes: Iterable[bytes], index: int) -> tuple[bytes, ...]:
    """The inclusion path of one leaf; for the paths of many leaves, build a ``Tree`` once.

    Raises UsageError as ``Tree`` and ``Tree.inclusion_path`` do.
    """
    return Tree(leaf_hashes).inclusion_path(index)


class Tree:
    """A built tree: all its levels, from the leaves to the root. It takes about 170 bytes a leaf."""

    __slots__ = ("_levels",)

    def __init__(self, leaf_hashes: Iterable[bytes]) -> None:
        """Builds the tree; raises UsageError when a leaf hash does not have 32 bytes."""
        self._levels = [_checked(leaf_hashes)]
        while len(self._levels[-1]) > 1:
            self._levels.append(_level_above(self._levels[-1]))

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return len(self._levels[0])

    @property
    def root(self) -> bytes:
        """The tree's root."""
        return self._levels[-1][0] if self._levels[-1] else EMPTY_ROOT

    def inclusion_path(self, index: int) -> tuple[bytes, ...]:
        """The inclusion path of leaf ``index``, leaf side first (RFC 9162 section 2.1.3.1).

        Raises UsageError when the tree has no such leaf.
        """
        if not 0 <= index < self.size:
            raise UsageError(f"a tree of {self.size} leaves has no leaf {index}")
        path = []
        for level in self._levels[:-1]:
            sibling = index ^ 1
            # The last node of an odd level has no sibling: it is promoted as it is and adds nothing to the path.
            if sibling < len(level):
                path.append(level[sibling])
            index >>= 1
        return tuple(path)


def verify_inclusion(leaf_hash: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Checks that leaf ``index`` of the tree of ``size`` leaves under ``root`` is ``leaf_hash`` (RFC 9162, 2.1.3.2).

    Raises InclusionInvalid, saying what is wrong: the index, a hash's length, the path's length, or the root.

    The path of a leaf falls in two: as long as the leaf's node is not the last of its level (the ``inner`` lowest
    levels), each level adds one hash, left or right by the index's bit; above, the node is the right border of the
    tree, and only levels with a bit set add a hash, always on the left. This is the RFC's loop with its ``fn = sn`` and
    ``LSB(fn)`` tests worked out beforehand, and it gives the exact path length before anything is hashed.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise InclusionInvalid(f"a tree of {size} leaves has no leaf {index}")
    inner = (index ^ (size - 1)).bit_length()
    length = inner + (index >> inner).bit_count()
    if len(path) != length:
        raise InclusionInvalid(
            f"the path of leaf {index} in a tree of {size} leaves has {length} hashes, not {len(path)}"
        )
    for what, value in (("leaf hash", leaf_hash), ("root", root)):
        if len(value) != HASH_SIZE:
            raise InclusionInvalid(f"the {what} has {len(value)} bytes, not {HASH_SIZE}")
    computed = leaf_hash
    for level, sibling in enumerate(path):
        if len(sibling) != HASH_SIZE:
            raise InclusionInvalid(f"hash {level} of the path has {len(sibling)} bytes, not {HASH_SIZE}")
        if level >= inner or (index >> level) & 1:
            computed = _sha256(_NODE + sibling + computed).digest()
        else:
            computed = _sha256(_NODE + computed + sibling).digest()
    if computed != root:
        raise InclusionInvalid(f"the path leads to the root {computed.hex()}, not to {root.hex()}")


def _checked(leaf_hashes: Iterable[bytes]) -> list[bytes]:
    leaves = list(leaf_hashes)
    for position, leaf in enumerate(leaves):
        if len(leaf) != HASH_SIZE:
            raise UsageError(f"leaf hash {position} has {len(leaf)} bytes, not {HASH_SIZE}")
    return leaves


def _level_above(level: list[bytes]) -> list[bytes]:
    pairs = iter(level)
    above = [_sha256(_NODE + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]
    if len(level) % 2:
        above.append(level[-1])
    return above
