"""The proof file: everything an auditor needs for one statement, as strict JSON. See docs/proof.md.

Reading a proof says nothing about its truth: what it names (network, anchor, times) are claims, which `docex.verify`
holds against the verifier's own settings and the ledger.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

from docex.core.account import require_checksum
from docex.core.digest import SIZE, parse_digest
from docex.core.encoding import load_object
from docex.core.merkle import MAX_SIZE
from docex.core.statement import MAX_TIME, MAX_TOKEN_BYTES
from docex.errors import ProofInvalid, StatementInvalid, UsageError

FORMAT: Final = "docex-proof/1"
MAX_PROOF_BYTES: Final = 16 << 20
"""Longest proof file in bytes."""
MAX_RELATED: Final = 256
"""Most related statements in one proof."""
MAX_PATH: Final = 64
"""Longest inclusion path: trees have at most 2^64 - 1 leaves."""
MAX_TIMESTAMP_BYTES: Final = 64 << 10
"""Longest timestamp in bytes: most are under 8 KiB, certificates included."""
MAX_CHAIN_ID: Final = 2**63 - 1
MAX_HEADERS: Final = 1024
"""Most block headers in one proof's evidence: how far its block may be above an anchor's whose hashes it shows."""
MAX_NODES: Final = 16_384
MAX_NODE_BYTES: Final = 1 << 20
"""Longest trie node in bytes: one can hold a whole transaction or its receipt."""

_DATA = re.compile(r"0x(?:[0-9a-f]{2})+")
_HASH = re.compile(r"0x[0-9a-f]{64}")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Network:
    """Where statements are anchored: a chain and the two contracts on it (EIP-55 addresses)."""

    chain_id: int
    directory: str
    notary: str

    def __str__(self) -> str:
        return f"chain {self.chain_id}, Directory {self.directory}, Notary {self.notary}"


@dataclass(frozen=True, slots=True)
class Inclusion:
    """An RFC 9162 inclusion path: leaf ``index`` of the tree of ``size`` leaves under ``root``, leaf side first.

    ``timestamp`` is an RFC 3161 token over the root (DER), where there is one.
    """

    index: int
    size: int
    root: bytes
    path: tuple[bytes, ...]
    timestamp: bytes | None = None


@dataclass(frozen=True, slots=True)
class AnchorClaim:
    """Where the batch is said to be anchored: by which member, in which transaction and block (time: Unix seconds).

    The Notary knows block and time; a proof that stands alone leaves the two hashes out (None) where the anchor is so
    old that the headers down to it would be too many.
    """

    member: str
    transaction: bytes | None
    block_number: int
    block_hash: bytes | None
    time: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """One statement with its place in a batch and the batch's anchor, as far as there are any yet."""

    token: str
    inclusion: Inclusion | None = None
    anchor: AnchorClaim | None = None


@dataclass(frozen=True, slots=True)
class LedgerEvidence:
    """What shows without a network that the ledger says what the proof claims: see `docex.core.standalone`.

    ``headers``: RLP of block headers, the one to trust first, each the parent of the one before, down to the block of
    the oldest anchor. ``nodes``: RLP of nodes of the first header's state trie and its storage tries, and of the tries
    of transactions and receipts of the anchors' blocks. ``positions``: of each anchor's transaction in its block.
    """

    headers: tuple[bytes, ...]
    nodes: tuple[bytes, ...]
    positions: Mapping[bytes, int]


@dataclass(frozen=True, slots=True)
class Proof:
    """The evidence for one statement, and for statements about it (oldest first)."""

    network: Network
    statement: Evidence
    related: tuple[Evidence, ...] = ()
    ledger: LedgerEvidence | None = None


def parse(data: bytes) -> Proof:
    """Read a proof file strictly; the statements in it stay as they are (see `docex.core.statement.parse`).

    Raises:
        ProofInvalid: it is too long, not JSON, or a member is missing, not known or of the wrong form; the message
            names the member.
    """
    if len(data) > MAX_PROOF_BYTES:
        raise ProofInvalid(f"the proof is longer than {MAX_PROOF_BYTES} bytes")
    try:
        value = load_object(data)
    except StatementInvalid as error:
        raise ProofInvalid(f"the proof is unreadable: {error}") from error
    members = _members(value, "", ("format", "network", "statement", "related"), ("ledger",))
    if members["format"] != FORMAT:
        _refuse("format", f"is not {FORMAT}")
    proof = Proof(
        _network(members["network"], "network"),
        _evidence(members["statement"], "statement"),
        _list(members["related"], "related", MAX_RELATED, _evidence),
        _ledger(members["ledger"], "ledger") if "ledger" in members else None,
    )
    tokens = [proof.statement.token, *(evidence.token for evidence in proof.related)]
    if len(set(tokens)) != len(tokens):
        _refuse("related", "has the same statement twice")
    return proof


def dump(proof: Proof) -> bytes:
    """The proof file's bytes: indented JSON in ASCII with its members in a fixed order, ended by a line feed.

    Raises:
        ProofInvalid: `parse` would not accept them.
    """
    network = proof.network
    value: dict[str, Any] = {
        "format": FORMAT,
        "network": {"chain_id": network.chain_id, "directory": network.directory, "notary": network.notary},
        "statement": _evidence_json(proof.statement),
        "related": [_evidence_json(evidence) for evidence in proof.related],
    }
    if (ledger := proof.ledger) is not None:
        value["ledger"] = {
            "headers": [f"0x{header.hex()}" for header in ledger.headers],
            "nodes": [f"0x{node.hex()}" for node in ledger.nodes],
            "positions": {f"0x{transaction.hex()}": index for transaction, index in ledger.positions.items()},
        }
    data = json.dumps(value, indent=2).encode("ascii") + b"\n"
    parse(data)
    return data


def _evidence_json(evidence: Evidence) -> dict[str, Any]:
    inclusion, anchor = evidence.inclusion, evidence.anchor
    return {
        "token": evidence.token,
        "inclusion": inclusion and _inclusion_json(inclusion),
        "anchor": anchor
        and {
            "member": anchor.member,
            "transaction": anchor.transaction and f"0x{anchor.transaction.hex()}",
            "block_number": anchor.block_number,
            "block_hash": anchor.block_hash and f"0x{anchor.block_hash.hex()}",
            "time": anchor.time,
        },
    }


def _inclusion_json(inclusion: Inclusion) -> dict[str, Any]:
    value = {
        "index": inclusion.index,
        "size": inclusion.size,
        "root": f"sha256:{inclusion.root.hex()}",
        "path": [f"sha256:{node.hex()}" for node in inclusion.path],
    }
    if inclusion.timestamp is not None:
        value["timestamp"] = b64encode(inclusion.timestamp).decode("ascii")
    return value


def _network(value: Any, where: str) -> Network:
    members = _members(value, where, ("chain_id", "directory", "notary"))
    return Network(
        _whole(members["chain_id"], f"{where}.chain_id", 1, MAX_CHAIN_ID),
        _address(members["directory"], f"{where}.directory"),
        _address(members["notary"], f"{where}.notary"),
    )


def _evidence(value: Any, where: str) -> Evidence:
    members = _members(value, where, ("token", "inclusion", "anchor"))
    token = members["token"]
    if not isinstance(token, str) or not token.isascii() or not 0 < len(token) <= MAX_TOKEN_BYTES:
        _refuse(f"{where}.token", f"must be a compact JWS of at most {MAX_TOKEN_BYTES} bytes")
    inclusion = _optional(members["inclusion"], f"{where}.inclusion", _inclusion)
    anchor = _optional(members["anchor"], f"{where}.anchor", _anchor)
    if anchor is not None and inclusion is None:
        _refuse(f"{where}.inclusion", "is missing: an anchor without it says nothing about the statement")
    return Evidence(token, inclusion, anchor)


def _inclusion(value: Any, where: str) -> Inclusion:
    members = _members(value, where, ("index", "size", "root", "path"), ("timestamp",))
    size = _whole(members["size"], f"{where}.size", 1, MAX_SIZE)
    return Inclusion(
        _whole(members["index"], f"{where}.index", 0, size - 1),
        size,
        _digest(members["root"], f"{where}.root"),
        _list(members["path"], f"{where}.path", MAX_PATH, _digest),
        _timestamp(members["timestamp"], f"{where}.timestamp") if "timestamp" in members else None,
    )


def _timestamp(value: Any, where: str) -> bytes:
    text = _string(value, where)
    try:
        # What is too long to be kept is not decoded.
        data = b64decode(text[: 2 * MAX_TIMESTAMP_BYTES], validate=True)
    except ValueError:
        data = b""
    # Of several spellings of the same bytes, one counts: stray bits, and padding, are not signed by anybody.
    if not 0 < len(data) <= MAX_TIMESTAMP_BYTES or b64encode(data).decode("ascii") != text:
        _refuse(where, f"must be 1 to {MAX_TIMESTAMP_BYTES} bytes in canonical base64 with padding")
    return data


def _anchor(value: Any, where: str) -> AnchorClaim:
    members = _members(value, where, ("member", "transaction", "block_number", "block_hash", "time"))
    if (members["transaction"] is None) != (members["block_hash"] is None):
        _refuse(where, "has one of transaction and block_hash, but not the other")
    return AnchorClaim(
        _address(members["member"], f"{where}.member"),
        _optional(members["transaction"], f"{where}.transaction", _hash),
        # The Notary stores block numbers in 64 bits, and 0 means "never anchored" there.
        _whole(members["block_number"], f"{where}.block_number", 1, 2**64 - 1),
        _optional(members["block_hash"], f"{where}.block_hash", _hash),
        _whole(members["time"], f"{where}.time", 0, MAX_TIME),
    )


def _ledger(value: Any, where: str) -> LedgerEvidence:
    members = _members(value, where, ("headers", "nodes", "positions"))
    positions = members["positions"]
    if not isinstance(positions, dict) or len(positions) > MAX_RELATED + 1:
        _refuse(f"{where}.positions", f"must be an object with at most {MAX_RELATED + 1} members")
    headers = _list(members["headers"], f"{where}.headers", MAX_HEADERS, _data)
    if not headers:
        _refuse(f"{where}.headers", "must name a block")
    return LedgerEvidence(
        headers,
        _list(members["nodes"], f"{where}.nodes", MAX_NODES, _data),
        {
            _hash(transaction, f"{where}.positions"): _whole(index, f"{where}.positions", 0, 1 << 32)
            for transaction, index in positions.items()
        },
    )


def _data(value: Any, where: str) -> bytes:
    text = _string(value, where)
    if len(text) > 2 + 2 * MAX_NODE_BYTES or _DATA.fullmatch(text) is None:
        _refuse(where, f"must be 0x and at most {MAX_NODE_BYTES} bytes in lowercase hexadecimal")
    return bytes.fromhex(text[2:])


def _members(value: Any, where: str, names: Sequence[str], optional: Sequence[str] = ()) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        _refuse(where, "must be an object")
    if wrong := sorted((value.keys() - set(optional)) ^ set(names)):
        _refuse(where, f"has members missing or not known: {', '.join(map(ascii, wrong))[:200]}")
    return value


def _optional(value: Any, where: str, read: Callable[[Any, str], T]) -> T | None:
    return None if value is None else read(value, where)


def _list(value: Any, where: str, most: int, read: Callable[[Any, str], T]) -> tuple[T, ...]:
    if not isinstance(value, list) or len(value) > most:
        _refuse(where, f"must be a list of at most {most} items")
    return tuple(read(item, f"{where}[{position}]") for position, item in enumerate(value))


def _whole(value: Any, where: str, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        _refuse(where, f"must be a whole number from {least} to {most}")
    return value


def _address(value: Any, where: str) -> str:
    try:
        return require_checksum(_string(value, where))
    except UsageError as error:
        _refuse(where, f"is wrong: {error}")


def _digest(value: Any, where: str) -> bytes:
    try:
        return parse_digest(_string(value, where)).raw
    except UsageError as error:
        _refuse(where, f"is wrong: {error}")


def _hash(value: Any, where: str) -> bytes:
    text = _string(value, where)
    if _HASH.fullmatch(text) is None:
        _refuse(where, f"must be 0x and {2 * SIZE} lowercase hexadecimal digits")
    return bytes.fromhex(text[2:])


def _string(value: Any, where: str) -> str:
    if not isinstance(value, str):
        _refuse(where, "must be a string")
    return value


def _refuse(where: str, what: str) -> NoReturn:
    raise ProofInvalid(f"the proof's {where} {what}" if where else f"the proof {what}")
