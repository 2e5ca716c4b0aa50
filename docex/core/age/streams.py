"""The binary streams that age files are read from and written to: as little as can be asked."""

from __future__ import annotations

from typing import Protocol

from docex.core.age.chunking import CHUNK
from docex.core.age.syntax import LineSource

# 16 chunks a call: the calls' own cost vanishes, and both buffers still fit a core's cache.
BATCH = 16
COPY_SIZE = 4 * CHUNK


class Source(LineSource, Protocol):
    """A binary stream to read from; ``readinto`` is used where it exists."""

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes; empty at the end."""


class Destination(Protocol):
    """A binary stream to write to; a short count (a raw file) is followed by another call."""

    def write(self, data: memoryview, /) -> int | None:
        """Take ``data``, whose memory is reused after the call; return the bytes taken."""


def read_into(source: Source, buffer: memoryview) -> int:
    """Fill ``buffer`` from ``source``, less only at its end; return the bytes read."""
    readinto = getattr(source, "readinto", None)
    filled = 0
    while filled < len(buffer):
        if readinto is not None:
            count = readinto(buffer[filled:])
        else:
            data = source.read(len(buffer) - filled)
            count = len(data)
            buffer[filled : filled + count] = data
        if not count:
            break
        filled += count
    return filled


def write_all(destination: Destination, data: memoryview) -> None:
    """Write all of ``data``, in as many calls as ``destination`` needs."""
    while len(data):
        count = destination.write(data)
        data = data[len(data) if count is None else count :]
