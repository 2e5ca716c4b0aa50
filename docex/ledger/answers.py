"""A ledger node's answers, taken apart: whatever has another form than it must have is no answer (`LedgerUnavailable`).

Numbers and data as the Ethereum JSON-RPC API has them: ``0x`` and hexadecimal digits. Numbers have a bound, since what
nobody could have meant must reach neither the database nor a transaction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from docex.errors import LedgerUnavailable

COUNT: Final = 63
"""Bits of what is counted: blocks, seconds, gas, nonces. The database's numbers have as many."""
WORD: Final = 256
"""Bits of the largest number there is on the chain."""

_NUMBER = re.compile("0x[0-9a-fA-F]{1,64}")
_DATA = re.compile("0x(?:[0-9a-fA-F]{2})*")


def number(answer: object, bits: int = COUNT) -> int:
    """A number of at most so many bits."""
    if isinstance(answer, str) and _NUMBER.fullmatch(answer) and (value := int(answer, 16)).bit_length() <= bits:
        return value
    raise no_answer(answer, f"a number of at most {bits} bits")


def data(answer: object, size: int | None = None) -> bytes:
    """Bytes; with ``size``, exactly so many."""
    if isinstance(answer, str) and _DATA.fullmatch(answer) and size in (None, len(answer) // 2 - 1):
        return bytes.fromhex(answer[2:])
    raise no_answer(answer, "data" if size is None else f"{size} bytes of data")


def fields(answer: object) -> Mapping[str, Any]:
    """An object; see `field` for what it has."""
    if isinstance(answer, Mapping):
        return answer
    raise no_answer(answer, "an object")


def field(answer: object, name: str) -> Any:
    """A member of an object, which has to have it."""
    found = fields(answer)
    if name not in found:
        raise no_answer(sorted(found), f"an object with {name!r}")
    return found[name]


def items(answer: object) -> Sequence[Any]:
    """A list."""
    if isinstance(answer, list):
        return answer
    raise no_answer(answer, "a list")


def no_answer(answer: object, wanted: str) -> LedgerUnavailable:
    """What to raise where a node answered with something else than was asked for."""
    return LedgerUnavailable(f"the ledger node's answer makes no sense: {wanted} was asked for, not {answer!r:.80}")
