"""The binary streams that age files are read from and written to: as little as can be asked."""

from __future__ import annotations

import errno
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
    """A blocking binary stream to write to; a short count (a raw file) is followed by another call."""

    def write(self, data: memoryview, /) -> int | None:
        """Take ``data``, whose memory is reused after the call; return the bytes taken, at least one."""


def read_into(source: Source, buffer: memoryview) -> int:
    """Fill ``buffer`` from ``source``, less only at its end; return the bytes read.

    Raises BlockingIOError when the source is non-blocking and has nothing yet: that is not its end.
    """
    readinto = getattr(source, "readinto", None)
    filled = 0
    while filled < len(buffer):
        if readinto is not None:
            count = readinto(buffer[filled:])
            if count is None:
                raise BlockingIOError(errno.EAGAIN, "the source is non-blocking: give one that waits")
        else:
            data = source.read(len(buffer) - filled)
            if data is None:  # what raw streams give, whatever the protocol says
                raise BlockingIOError(errno.EAGAIN, "the source is non-blocking: give one that waits")
            count = len(data)
            buffer[filled : filled + count] = data
        if not count:
            break
        filled += count
    return filled


def write_all(destination: Destination, data: memoryview) -> None:
    """Write all of ``data``, in as many calls as ``destination`` needs.

    Raises BlockingIOError when it is non-blocking and full: what it did not take would be lost.
    """
    while len(data):
        count = destination.write(data)
        if count is None:
            raise BlockingIOError(errno.EAGAIN, "the output is non-blocking and full: give one that waits")
        data = data[count:]
