"""A recipient stanza: an age file's key, wrapped for one recipient (C2SP age)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stanza:
    """One stanza: its type (the first argument on the line), the further arguments, and the body.

    A plain value: syntax is checked where headers are read and written (``docex.core.age``).
    """

    type: str
    args: tuple[str, ...]
    body: bytes
