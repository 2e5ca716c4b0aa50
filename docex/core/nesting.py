"""How deep JSON may be nested: parsers recurse, and at some depth the process ends rather than the parsing.

CPython's recursion limit would be a guard, but it belongs to the whole process, and libraries raise it: with py_ecc's
100,000, 100 kB of ``[`` in ``json.loads`` overflow the C stack and kill the interpreter.
"""

from __future__ import annotations

import re
from typing import Final

from docex.errors import StatementInvalid

MAX_DEPTH: Final = 32
"""Objects and arrays inside one another. What docex signs and reads has at most 5."""

# A whole string, or one bracket. Possessive, so that a string without its end is not tried in every way.
_PIECES = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)


def require_shallow(data: bytes) -> None:
    """That JSON text is not nested deeper than `MAX_DEPTH`, before a parser sees it.

    Raises:
        StatementInvalid: it is.
    """
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return  # nearly always
    depth = 0
    for piece in _PIECES.finditer(data):
        opened = piece[0]
        if opened in (b"[", b"{"):
            depth += 1
            if depth > MAX_DEPTH:
                raise StatementInvalid(f"JSON is nested more than {MAX_DEPTH} deep")
        elif opened in (b"]", b"}"):
            depth -= 1
