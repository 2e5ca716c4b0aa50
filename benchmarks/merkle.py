"""Merkle trees: ours beside pymerkle, in one run. ``python -m benchmarks.merkle`` prints a table of medians."""

from __future__ import annotations

import hashlib
import platform
import statistics
import time
from collections.abc import Callable

from docex.core import merkle

LEAVES = 1_000_000
SAMPLE = 100_000
PEER_LEAVES = 2**12
PEER_SAMPLE = 500
ROUNDS = 3


def _median(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def _digests(count: int) -> list[bytes]:
    return [hashlib.sha256(str(number).encode()).digest() for number in range(count)]


def _ours(digests: list[bytes], sample: int) -> tuple[float, float, float]:
    """Seconds for the root (leaf hashes included), and paths and verifications a second."""
    size = len(digests)
    to_root = _median(lambda: merkle.root(map(merkle.leaf_hash, digests)))
    tree = merkle.Tree(map(merkle.leaf_hash, digests))
    root = tree.root
    indexes = [number * 7_919 % size for number in range(sample)]
    to_paths = _median(lambda: [tree.inclusion_path(index) for index in indexes])
    work = [(merkle.leaf_hash(digests[i]), i, size, tree.inclusion_path(i), root) for i in indexes]

    def verify_all() -> None:
        for case in work:
            merkle.verify_inclusion(*case)

    to_verify = _median(verify_all)
    return to_root, sample / to_paths, sample / to_verify


def _pymerkle(digests: list[bytes], sample: int) -> tuple[float, float, float]:
    """The same figures for pymerkle."""
    from pymerkle import InmemoryTree, verify_inclusion  # type: ignore[import-untyped]

    def build() -> InmemoryTree:
        tree = InmemoryTree(algorithm="sha256")
        for digest in digests:
            tree.append_entry(digest)
        tree.get_root()
        return tree

    to_root = _median(build)
    tree = build()
    state, size = tree.get_root(), len(digests)
    indexes = [number * 7_919 % size + 1 for number in range(sample)]
    to_paths = _median(lambda: [tree.prove_inclusion(index, size) for index in indexes])
    work = [(tree.get_leaf(i), state, tree.prove_inclusion(i, size)) for i in indexes]
    to_verify = _median(lambda: [verify_inclusion(*case) for case in work])
    return to_root, sample / to_paths, sample / to_verify


def main() -> None:
    """Prints the table."""
    print(f"Merkle, one process, medians of {ROUNDS}; Python {platform.python_version()}")
    print(f"{'':10} {'leaves':>9} {'root, s':>9} {'paths/s':>10} {'verified/s':>10}")
    rows = (
        ("docex", LEAVES, _ours(_digests(LEAVES), SAMPLE)),
        ("docex", PEER_LEAVES, _ours(_digests(PEER_LEAVES), PEER_LEAVES)),
        ("pymerkle", PEER_LEAVES, _pymerkle(_digests(PEER_LEAVES), PEER_SAMPLE)),
    )
    for name, leaves, (to_root, paths, verified) in rows:
        print(f"{name:10} {leaves:>9,} {to_root:>9.3f} {paths:>10,.0f} {verified:>10,.0f}")


if __name__ == "__main__":
    main()
