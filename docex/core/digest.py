"""Digests: an algorithm and its bytes. docex knows one algorithm, SHA-256 (FIPS 180-4)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from docex.errors import UsageError

ALGORITHM: Final = "sha256"
SIZE: Final = 32
"""Length of a digest in bytes."""

_TEXT = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A SHA-256 digest; ``str()`` gives its one text form, ``sha256:<64 lowercase hexadecimal digits>``."""

    raw: bytes

    def __post_init__(self) -> None:
        """Raises UsageError when ``raw`` does not have 32 bytes."""
        if len(self.raw) != SIZE:
            raise UsageError(f"a SHA-256 digest has {SIZE} bytes, not {len(self.raw)}")

    @property
    def hex(self) -> str:
        """The bytes in hexadecimal, without the algorithm: for places that say the algorithm themselves."""
        return self.raw.hex()

    def __str__(self) -> str:
        return f"{ALGORITHM}:{self.raw.hex()}"


def parse_digest(text: str) -> Digest:
    """The digest that ``text`` writes.

    Strict, so that a digest has one spelling and texts can be compared: capitals, blanks, another algorithm or a bare
    hexadecimal number raise UsageError.
    """
    if _TEXT.fullmatch(text) is None:
        raise UsageError(f"not a digest: {text[:100]!r} (expected sha256:<64 lowercase hexadecimal digits>)")
    return Digest(bytes.fromhex(text[len(ALGORITHM) + 1 :]))


def sha256(data: bytes) -> Digest:
    """The SHA-256 digest of ``data``."""
    return Digest(hashlib.sha256(data).digest())
