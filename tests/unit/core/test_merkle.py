import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pymerkle  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docex.core import merkle
from docex.core.merkle import (
    EMPTY_ROOT,
    MAX_SIZE,
    Tree,
    inclusion_path,
    leaf_hash,
    node_hash,
    root,
    verify_inclusion,
)
from docex.errors import InclusionInvalid, UsageError

CASES = Path(__file__).parents[3] / "../shared/data/merkle"
digests = st.binary(min_size=32, max_size=32)


def numbered(count: int) -> list[bytes]:
    return [leaf_hash(number.to_bytes(32, "big")) for number in range(count)]


# --- the naive twin: RFC 9162 sections 2.1.1, 2.1.3.1 and 2.1.3.2 to the letter ---------------------


def split(n: int) -> int:
    """The largest power of two smaller than n."""
    return 1 << (n - 1).bit_length() - 1


def naive_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(m: int, leaves: list[bytes]) -> tuple[bytes, ...]:
    if len(leaves) == 1:
        return ()
    k = split(len(leaves))
    if m < k:
        return (*naive_path(m, leaves[:k]), naive_root(leaves[k:]))
    return (*naive_path(m - k, leaves[k:]), naive_root(leaves[:k]))


def naive_holds(leaf: bytes, index: int, size: int, path: tuple[bytes, ...], root: bytes) -> bool:
    if index >= size:
        return False
    fn, sn, r = index, size - 1, leaf
    for p in path:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            r = hashlib.sha256(b"\x01" + p + r).digest()
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = hashlib.sha256(b"\x01" + r + p).digest()
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == root


def holds(leaf: bytes, index: int, size: int, path: tuple[bytes, ...], root: bytes) -> bool:
    try:
        verify_inclusion(leaf, index, size, path, root)
    except InclusionInvalid:
        return False
    return True


# --- public test vectors ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "case", [pytest.param(p, id=f"{p.parent.name}-{p.stem}") for p in sorted(CASES.rglob("*.json"))]
)
def test_public_vector(case: Path) -> None:
    vector: dict[str, Any] = json.loads(case.read_text())
    leaf, expected = (base64.b64decode(vector[name] or "") for name in ("leafHash", "root"))
    path = tuple(base64.b64decode(step) for step in vector["proof"] or ())
    arguments = (leaf, vector["leafIdx"], vector["treeSize"], path, expected)
    assert holds(*arguments) is not vector["wantErr"]


# --- against the twin and a second implementation ---------------------------------------------------


@pytest.mark.parametrize("size", range(1, 70))
def test_every_path_of_small_trees_is_the_naive_one_and_holds(size: int) -> None:
    leaves = numbered(size)
    tree = Tree(leaves)
    assert tree.size == size
    assert tree.root == root(leaves) == naive_root(leaves)
    for index, leaf in enumerate(leaves):
        path = tree.inclusion_path(index)
        assert path == naive_path(index, leaves)
        verify_inclusion(leaf, index, size, path, tree.root)


@given(st.lists(digests, min_size=1, max_size=40), st.data())
def test_pymerkle_agrees(batch: list[bytes], data: st.DataObject) -> None:
    peer = pymerkle.InmemoryTree(algorithm="sha256")
    for digest in batch:
        peer.append_entry(digest)
    index = data.draw(st.integers(0, len(batch) - 1))
    leaves = [leaf_hash(digest) for digest in batch]
    assert root(leaves) == peer.get_root()
    # pymerkle counts from 1 and puts the leaf itself in front of the path.
    theirs = peer.prove_inclusion(index + 1, len(batch)).serialize()["path"]
    assert [leaves[index].hex(), *(step.hex() for step in inclusion_path(leaves, index))] == theirs


@given(size=st.integers(1, 300), index=st.integers(0, 310), claimed=st.integers(0, 310), data=st.data())
def test_verdict_is_the_naive_one_whatever_size_and_index_are_claimed(
    size: int, index: int, claimed: int, data: st.DataObject
) -> None:
    leaves = numbered(size)
    true_index = data.draw(st.integers(0, size - 1))
    path = inclusion_path(leaves, true_index)
    arguments = (leaves[true_index], index, claimed, path, root(leaves))
    assert holds(*arguments) is naive_holds(*arguments)


@given(size=st.integers(1, 80), bit=st.integers(0, 255), data=st.data())
def test_a_flipped_bit_anywhere_is_caught(size: int, bit: int, data: st.DataObject) -> None:
    leaves = numbered(size)
    index = data.draw(st.integers(0, size - 1))
    parts = [leaves[index], root(leaves), *inclusion_path(leaves, index)]
    hit = data.draw(st.integers(0, len(parts) - 1))
    flipped = (int.from_bytes(parts[hit], "big") ^ (1 << bit)).to_bytes(32, "big")
    parts[hit] = flipped
    with pytest.raises(InclusionInvalid, match="leads to the root"):
        verify_inclusion(parts[0], index, size, parts[2:], parts[1])


# --- what errors say --------------------------------------------------------------------------------


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5), (0, -1), (0, MAX_SIZE + 1), (MAX_SIZE, MAX_SIZE)])
def test_an_index_outside_the_tree_is_refused(index: int, size: int) -> None:
    leaf = numbered(1)[0]
    with pytest.raises(InclusionInvalid, match=f"a tree of {size} leaves has no leaf {index}$") as error:
        verify_inclusion(leaf, index, size, (), leaf)
    assert error.value.code == "inclusion_invalid"


def test_the_largest_tree_has_a_path_of_64() -> None:
    leaf = numbered(1)[0]
    with pytest.raises(InclusionInvalid, match="has 64 hashes, not 0"):
        verify_inclusion(leaf, 0, MAX_SIZE, (), leaf)


def test_a_path_too_short_or_too_long_is_named() -> None:
    leaves = numbered(5)
    path, top = inclusion_path(leaves, 4), root(leaves)
    assert len(path) == 1
    with pytest.raises(InclusionInvalid, match="leaf 4 in a tree of 5 leaves has 1 hashes, not 0"):
        verify_inclusion(leaves[4], 4, 5, (), top)
    with pytest.raises(InclusionInvalid, match="has 1 hashes, not 2"):
        verify_inclusion(leaves[4], 4, 5, (*path, top), top)


def test_a_hash_of_the_wrong_length_is_named() -> None:
    leaves = numbered(2)
    path, top = inclusion_path(leaves, 0), root(leaves)
    with pytest.raises(InclusionInvalid, match="the leaf hash has 31 bytes, not 32"):
        verify_inclusion(leaves[0][:31], 0, 2, path, top)
    with pytest.raises(InclusionInvalid, match="the root has 0 bytes, not 32"):
        verify_inclusion(leaves[0], 0, 2, path, b"")
    with pytest.raises(InclusionInvalid, match="hash 0 of the path has 33 bytes, not 32"):
        verify_inclusion(leaves[0], 0, 2, (path[0] + b"\0",), top)


def test_a_root_mismatch_names_both_roots() -> None:
    leaves = numbered(3)
    with pytest.raises(InclusionInvalid, match=f"the root {root(leaves).hex()}, not to {'00' * 32}$"):
        verify_inclusion(leaves[1], 1, 3, inclusion_path(leaves, 1), bytes(32))


def test_an_inner_node_cannot_pass_for_a_leaf() -> None:
    leaves = numbered(4)
    inner = node_hash(leaves[0], leaves[1])
    # The pair's hash sits one level up: at size 2 it is a "leaf hash", but no 32-byte digest has it.
    verify_inclusion(inner, 0, 2, (node_hash(leaves[2], leaves[3]),), root(leaves))
    with pytest.raises(InclusionInvalid, match="has 2 hashes, not 1"):
        verify_inclusion(inner, 0, 4, (node_hash(leaves[2], leaves[3]),), root(leaves))
    with pytest.raises(UsageError, match="a digest of 32 bytes, not 64"):
        leaf_hash(leaves[0] + leaves[1])


def test_the_empty_tree_has_the_root_of_the_rfc_and_no_path() -> None:
    assert root([]) == Tree([]).root == EMPTY_ROOT == hashlib.sha256(b"").digest()
    with pytest.raises(UsageError, match="a tree of 0 leaves has no leaf 0"):
        Tree([]).inclusion_path(0)


@pytest.mark.parametrize("index", [-1, 3])
def test_no_path_for_a_leaf_that_is_not_there(index: int) -> None:
    with pytest.raises(UsageError, match=f"a tree of 3 leaves has no leaf {index}"):
        inclusion_path(numbered(3), index)


def test_leaf_hashes_of_the_wrong_length_build_no_tree() -> None:
    for build in (root, Tree):
        with pytest.raises(UsageError, match="leaf hash 1 has 4 bytes, not 32"):
            build([bytes(32), b"oops"])


def test_hashes_have_the_prefixes_of_the_rfc() -> None:
    a, b = bytes(32), bytes([1]) * 32
    assert leaf_hash(a) == hashlib.sha256(b"\x00" + a).digest()
    assert node_hash(a, b) == hashlib.sha256(b"\x01" + a + b).digest()
    assert leaf_hash(a) != merkle.root([a])
