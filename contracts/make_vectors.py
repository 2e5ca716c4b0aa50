"""Write the vectors that Solidity and Python both read, or check that the committed ones are these.

Usage: make_vectors.py [--check]

One scenario a file in `tests/vectors/ledger/`. The trees here follow the recursive definitions of
RFC 9162 (sections 2.1.1 and 2.1.3.1); the contracts and docex verify by the iterative algorithm of
section 2.1.3.2, so the two only agree when both are right. In each case `fault` is the custom error
that the contract raises, empty for "holds". All byte strings are 0x-prefixed hexadecimal.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak

TARGET = Path(__file__).resolve().parents[1] / "tests" / "vectors" / "ledger"
SIZES = (*range(1, 10), 13, 16, 17, 31, 32, 33, 100, 255, 256, 257, 1000)
Case = dict[str, Any]


def digests(size: int) -> list[bytes]:
    """The digests of `size` made-up statements: digest i is SHA-256("statement i")."""
    return [sha256(f"statement {i}".encode()).digest() for i in range(size)]


def split_of(size: int) -> int:
    """The largest power of two smaller than `size`."""
    return 1 << (size - 1).bit_length() - 1


def root_of(leaves: list[bytes]) -> bytes:
    """MTH(D[n]), RFC 9162 section 2.1.1."""
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    split = split_of(len(leaves))
    return sha256(b"\x01" + root_of(leaves[:split]) + root_of(leaves[split:])).digest()


def path_of(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH(m, D[n]), RFC 9162 section 2.1.3.1, leaf side first."""
    if len(leaves) == 1:
        return []
    split = split_of(len(leaves))
    if index < split:
        return [*path_of(index, leaves[:split]), root_of(leaves[split:])]
    return [*path_of(index - split, leaves[split:]), root_of(leaves[:split])]


def sides_of(index: int, size: int) -> str:
    """The side each sibling of leaf `index` stands on, leaf side first: the path's shape."""
    if size == 1:
        return ""
    split = split_of(size)
    if index < split:
        return sides_of(index, split) + "R"
    return sides_of(index - split, size - split) + "L"


def case_of(index: int, size: int) -> Case:
    """A case that holds."""
    leaves = digests(size)
    return {
        "name": f"leaf {index} of {size}",
        "fault": "",
        "size": size,
        "index": index,
        "digest": leaves[index],
        "root": root_of(leaves),
        "path": path_of(index, leaves),
    }


def indices(size: int) -> list[int]:
    """Every index of a small tree; of a larger one its edges and the edges of its halves."""
    if size <= 9:
        return list(range(size))
    split = split_of(size)
    return sorted({0, 1, size // 3, split - 1, min(split, size - 1), size - 2, size - 1})


def valid() -> Iterator[Case]:
    """Paths that hold."""
    for size in SIZES:
        yield from (case_of(index, size) for index in indices(size))


def changed(case: Case, name: str, error: str, **changes: Any) -> Case:
    """A copy of a case with one fault."""
    return {**case, **changes, "name": f"{case['name']}, {name}", "fault": error}


def error_of(index: int, size: int, shape: str) -> str:
    """What a path of that shape gives for another index or size."""
    if index >= size:
        return "IndexOutOfRange"
    sides = sides_of(index, size)
    if len(sides) != len(shape):
        return "WrongPathLength"
    return "" if sides == shape else "RootMismatch"


def bases() -> Iterator[Case]:
    """The cases that the faulty ones are made of."""
    yield from (case_of(i, n) for n in (1, 2, 3, 5, 7, 8, 33) for i in indices(n))


def wrong_index() -> Iterator[Case]:
    """The right path for another position."""
    for case in bases():
        shape = sides_of(case["index"], case["size"])
        others = {case["index"] ^ 1, case["index"] + 1, case["size"], 2**64 - 1}
        for index in sorted(others):
            yield changed(case, f"index {index}", error_of(index, case["size"], shape), index=index)


def wrong_size() -> Iterator[Case]:
    """The right path for another tree size, where the two differ in shape."""
    for case in bases():
        shape = sides_of(case["index"], case["size"])
        others = {0, case["size"] - 1, case["size"] + 1, case["size"] * 2, 2**64 - 1}
        for size in sorted(others):
            if error := error_of(case["index"], size, shape):
                yield changed(case, f"size {size}", error, size=size)


def size_not_bound() -> Iterator[Case]:
    """Other sizes for which the same path holds: only the anchor binds the size, never the path."""
    for case in bases():
        shape = sides_of(case["index"], case["size"])
        for size in sorted({case["index"] + 1, case["size"] + 1, 2 * case["size"] - 1} - {case["size"]}):
            if not error_of(case["index"], size, shape):
                yield changed(case, f"as of {size}", "", size=size)


def wrong_length() -> Iterator[Case]:
    """Paths with a hash too many or too few."""
    extra = sha256(b"garbage").digest()
    for case in bases():
        path, leaf = case["path"], sha256(b"\x00" + case["digest"]).digest()
        longer = {
            "garbage after": [*path, extra],
            "garbage before": [extra, *path],
            "root after": [*path, case["root"]],
            "leaf hash before": [leaf, *path],
        }
        for name, other in (longer | ({"first missing": path[1:], "last missing": path[:-1]} if path else {})).items():
            yield changed(case, name, "WrongPathLength", path=other)


def flip(value: bytes, bit: int) -> bytes:
    """The bytes with one bit turned over."""
    return (int.from_bytes(value, "big") ^ (1 << bit)).to_bytes(len(value), "big")


def tampered() -> Iterator[Case]:
    """One bit of one value turned over, and hashes that stand in for others."""
    for case in bases():
        for field in ("digest", "root"):
            yield changed(case, f"{field} bit", "RootMismatch", **{field: flip(case[field], 7)})
        for i, node in enumerate(case["path"]):
            path = [*case["path"][:i], flip(node, 255), *case["path"][i + 1 :]]
            yield changed(case, f"path[{i}] bit", "RootMismatch", path=path)
        leaf = sha256(b"\x00" + case["digest"]).digest()
        yield changed(case, "leaf hash as digest", "RootMismatch", digest=leaf)
        yield changed(case, "root of nothing", "RootMismatch", root=sha256().digest())
        yield changed(case, "zero root", "RootMismatch", root=bytes(32))
        if len(set(case["path"])) > 1:
            yield changed(case, "path reversed", "RootMismatch", path=case["path"][::-1])


def roots() -> Iterator[Case]:
    """Roots of the first n digests."""
    for size in (*range(1, 34), 100, 255, 256, 257, 1000):
        yield {"name": f"{size} leaves", "size": size, "root": root_of(digests(size))}


def word(value: int | bytes) -> bytes:
    """A value as one 32-byte word."""
    return value.to_bytes(32, "big") if isinstance(value, int) else value.rjust(32, b"\x00")


def slot_in(position: int | bytes, *keys: int | bytes) -> bytes:
    """The slot of an entry of nested mappings: keccak256(key . slot), from the outside in."""
    slot = word(position)
    for key in keys:
        slot = keccak(word(key) + slot)
    return slot


def plus(slot: bytes, offset: int) -> bytes:
    """The slot `offset` after another."""
    return word(int.from_bytes(slot, "big") + offset)


ACCOUNT = keccak(b"mine")[12:]
TIMES = (1_700_000_000, 1_700_000_010, 1_700_000_020)
MATERIAL = b"age1example"


def slots() -> Iterator[Case]:
    """Where entries stand in storage and how they are packed (docs/ledger.md, "Storage").

    The story: at the first time the account is admitted and publishes a signing key for ever and a
    recipient key until the third time; in block 77, at the second time, it anchors a batch of one
    and revokes its statement as of the first; then it is suspended, and at the third re-admitted.
    """
    first, second, third = TIMES
    digest, reason = digests(1)[0], sha256(b"reason").digest()
    signing, recipient = sha256(b"{}").digest(), sha256(MATERIAL).digest()
    member, revocation = slot_in(2, ACCOUNT), slot_in(1, ACCOUNT, digest)
    periods = slot_in(3, ACCOUNT)
    entries: dict[str, tuple[bytes, int | bytes]] = {
        "Notary anchor": (slot_in(0, ACCOUNT, root_of([digest]), 1), 77 | second << 64),
        "Notary no anchor": (slot_in(0, ACCOUNT, root_of([digest]), 2), 0),
        "Notary revocation times": (revocation, first | second << 64),
        "Notary revocation statement": (plus(revocation, 1), reason),
        "Directory member": (plus(member, 2), 1 | first << 8),
        "Directory periods length": (periods, 2),
        "Directory period 0": (keccak(periods), first | second << 64),
        "Directory period 1": (plus(keccak(periods), 1), third),
        "Directory signing key": (slot_in(4, ACCOUNT, signing), 0 | first << 8),
        "Directory recipient key": (slot_in(4, ACCOUNT, recipient), 1 | first << 8 | third << 72),
        "Directory no key": (slot_in(4, ACCOUNT, bytes(32)), 0),
    }
    for name, (slot, value) in entries.items():
        contract, entry = name.split(" ", 1)
        yield {"name": entry, "contractName": contract, "slot": slot, "value": word(value)}


RSA_JWK = (
    '{"e":"AQAB","kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zw'
    "u1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h"
    "4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrd"
    'kt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}'
)
ED25519_JWK = '{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'


def key_ids() -> Iterator[Case]:
    """Key material and its id. The two JWKs and their thumbprints are those of the RFCs."""
    for name, material in (
        ("RFC 7638 section 3.1, thumbprint NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", RSA_JWK),
        (
            "RFC 8037 appendix A.3, thumbprint kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            ED25519_JWK,
        ),
        (
            "an X25519 age recipient",
            "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kudvthvsqq4cp7p",
        ),
    ):
        yield {"name": name, "material": material, "keyId": sha256(material.encode()).digest()}


SCENARIOS: dict[str, Callable[[], Iterator[Case]]] = {
    "inclusion-valid": valid,
    "inclusion-wrong-index": wrong_index,
    "inclusion-wrong-size": wrong_size,
    "inclusion-wrong-length": wrong_length,
    "inclusion-tampered": tampered,
    "inclusion-size-not-bound": size_not_bound,
    "roots": roots,
    "storage-slots": slots,
    "key-ids": key_ids,
}


def text_of(scenario: Callable[[], Iterator[Case]]) -> str:
    """A scenario as the text of its file, one case a line."""
    lines = [json.dumps(case, default=lambda value: "0x" + bytes(value).hex()) for case in scenario()]
    about = " ".join((scenario.__doc__ or "").split())
    return f'{{"about": {json.dumps(about)},\n"cases": [\n' + ",\n".join(lines) + "\n]}\n"


def main(arguments: list[str]) -> int:
    """Write the files, or with --check say which differ (exit code 1)."""
    parser = argparse.ArgumentParser(description="Write the ledger's vectors.")
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args(arguments).check
    stale = []
    for name, scenario in SCENARIOS.items():
        path, text = TARGET / f"{name}.json", text_of(scenario)
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            stale.append(path.name)
        elif not check:
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.stderr.write(f"not what contracts/make_vectors.py writes: {', '.join(stale)}\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
