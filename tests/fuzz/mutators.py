"""Mutations that keep the form of an input, so that what is changed gets past the parser: JSON values, tar entries.

They take turns with libFuzzer's own, which know bytes only (`run.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from random import Random
from types import MappingProxyType
from typing import Any, Final

from docex.core import tar
from tests.fuzz.archives import entries_of

_VALUES: Final[Sequence[Any]] = (
    None,
    True,
    0,
    -1,
    1.5,
    2**32,
    2**63,
    2**64,
    10**30,
    "",
    "\0",
    "\ud800",
    "\u202e",
    "é",
    [],
    {},
    [[]],
    [None],
)
_TYPES: Final = b"05Lgx1\x007S"
_SIZES: Final = (0, 1, 511, 512, 513, 1 << 16, 1 << 33, (1 << 63) - 1, 1 << 63)
_PATHS: Final = ("/", "/..", "/x", ".", "\0", "\u0301", " ")
Slot = tuple[Any, Any]


def mutate_json(data: bytes, rng: Random) -> bytes:
    """Change one value of one of the JSON texts, which line feeds part; as it was where there is none."""
    texts = data.split(b"\n")
    place = rng.randrange(len(texts))
    try:
        value = json.loads(texts[place])
    except (ValueError, RecursionError):
        return data
    root = [value]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if slots := _slots(root):
            _change(*rng.choice(slots), slots, rng)
    text = json.dumps(root[0] if root else None, separators=(",", ":"), ensure_ascii=rng.random() < 0.9)
    texts[place] = text.encode("utf-8", "surrogatepass")
    return b"\n".join(texts)


def _slots(container: Any) -> list[Slot]:
    """Where values stand: each container with each of its keys."""
    keys = list(container) if isinstance(container, dict) else range(len(container))
    found: list[Slot] = []
    for key in keys:
        found.append((container, key))
        if isinstance(container[key], dict | list):
            found += _slots(container[key])
    return found


def _change(container: Any, key: Any, slots: list[Slot], rng: Random) -> None:
    value = container[key]
    other, other_key = rng.choice(slots)
    copied = json.loads(json.dumps(other[other_key]))
    choice = rng.randrange(7)
    if choice == 0:
        container[key] = deepcopy(rng.choice(_VALUES))  # or a list could end up inside itself
    elif choice == 1:
        container[key] = copied
    elif choice == 2:
        container[key] = [value]
    elif choice == 3:
        del container[key]
    elif choice == 4 and isinstance(container, list):
        container.insert(key, copied)
    elif choice == 4:
        container[str(other_key)] = copied
    elif isinstance(value, str):
        container[key] = _respell(value, rng)
    elif type(value) is int:
        container[key] = rng.choice((value + 1, value - 1, -value, value << 32, str(value)))


def _respell(text: str, rng: Random) -> str:
    at = rng.randrange(len(text) + 1)
    piece = rng.choice(("", "", "=", "/", "..", "0", "A", " ", "\0", "é", "\ud800"))
    return rng.choice((text[:at] + piece + text[at + rng.randrange(2) :], text.upper(), text.lower(), text * 2))


def mutate_tar(data: bytes, rng: Random) -> bytes:
    """Copy, drop, move or change whole entries; the checksums will be put right (the first byte is made odd)."""
    entries, rest = entries_of(data[1:])
    how = bytes([(data[0] if data else 0) | 1])
    for _ in range(rng.choice((1, 1, 2, 3))):
        _change_entry(entries, rng)
    return how + b"".join(entries) + rest


def _change_entry(entries: list[bytes], rng: Random) -> None:
    if not entries:
        entries.append(tar.header("document/a", 0))
    at = rng.randrange(len(entries))
    choice = rng.randrange(7)
    if choice == 0:
        entries.insert(rng.randrange(len(entries) + 1), entries[at])
    elif choice == 1:
        del entries[at]
    elif choice == 2:
        entries.append(entries.pop(at))
    elif choice == 3:
        entries.insert(at, _pax(rng))
    elif choice == 4:
        entries[at] = _with(entries[at], 156, bytes([rng.choice(_TYPES)]))
    elif choice == 5:
        entries[at] = _with(entries[at], 124, rng.choice((b"%011o\0", b"%012o")) % rng.choice(_SIZES[:7]))
    else:
        name = entries[at][:100].rstrip(b"\0").decode("utf-8", "replace")
        folder = name.rpartition("/")[0]
        name = rng.choice((name + rng.choice(_PATHS), name.upper(), name + "/" + name, folder, folder + "/x"))
        entries[at] = _with(entries[at], 0, name.encode()[:100].ljust(100, b"\0"))


def _with(entry: bytes, at: int, field: bytes) -> bytes:
    return entry[:at] + field + entry[at + len(field) :]


def _pax(rng: Random) -> bytes:
    """A pax header of a few records, each of the right length."""
    records = b""
    for _ in range(rng.randrange(1, 4)):
        size = rng.choice((*map(str, _SIZES), "-1", "+1", "1e3", "٣", ""))
        path = "document/" + rng.choice(
            ("a", "A", "d", "d/b", "ä", "a\u0308", "../x", "\0", "x" * 300, "statements.jws")
        )
        record = rng.choice((f" size={size}\n", f" path={path}\n", " path=statements.jws\n", " linkpath=a\n")).encode()
        length = len(record)
        while len(str(length)) + len(record) != length:
            length = len(str(length)) + len(record)
        records += str(length).encode() + record
    header = bytearray(tar.header("PaxHeaders/x", len(records)))
    header[156:157] = b"x"
    return bytes(header) + records + tar.padding(len(records))


MUTATORS: Final[Mapping[str, Callable[[bytes, Random], bytes]]] = MappingProxyType(
    {"statement": mutate_json, "proof": mutate_json, "tar": mutate_tar, "archive": mutate_tar}
)
