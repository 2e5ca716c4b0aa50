"""Range requests (RFC 9110 section 14): one range of bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.datastructures import Headers

from docex.api.conditions import quoted
from docex.errors import DocexError

_RANGE = re.compile(r"bytes=\s*(\d{0,19})-(\d{0,19})\s*", re.ASCII | re.IGNORECASE)


class RangeNotSatisfiable(DocexError):
    """No byte of what was asked for is there."""

    code = "range_not_satisfiable"
    size = 0
    """Bytes that are there."""

    def __init__(self, message: str, size: int) -> None:
        super().__init__(message)
        self.size = size


@dataclass(frozen=True, slots=True)
class Part:
    """``length`` bytes from ``offset`` on, of ``size``; ``length`` is at least 1."""

    offset: int
    length: int
    size: int

    @property
    def content_range(self) -> str:
        """The header that says which part it is."""
        return f"bytes {self.offset}-{self.offset + self.length - 1}/{self.size}"


def part(headers: Headers, size: int, tag: str) -> Part | None:
    """The part of what has this size and entity tag that a request asks for; None for all of it.

    All of it, too, for several ranges, other units, what is malformed (section 14.2 allows or demands each), and where
    ``If-Range`` names something else: a date does, since there is none to compare it with.

    Raises:
        RangeNotSatisfiable: it starts behind the end, or is empty.
    """
    found = _RANGE.fullmatch(headers.get("range", ""))
    if found is None or headers.get("if-range", quoted(tag)).strip() != quoted(tag):
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if first and last and int(last) < int(first):
        return None
    offset = int(first) if first else max(0, size - int(last))
    end = min(int(last) + 1, size) if first and last else size
    if offset >= end:
        raise RangeNotSatisfiable(f"there are {size} bytes: none of them was asked for", size)
    return Part(offset, end - offset, size)
