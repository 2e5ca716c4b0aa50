"""A part of one document out of a packet, in constant memory.

A packet holds no index of its frames, so what stands in front of the part is decrypted. But it is not decompressed:
frames state their size, and those that hold nothing of the part are dropped as they are. What stands behind the part
is not read at all.
"""

from __future__ import annotations

from collections.abc import Sequence

from docex.core import compression, tar
from docex.core.age import DecryptingReader
from docex.core.age.streams import Source
from docex.core.packing import DOCUMENT_PREFIX
from docex.core.unpacking import DocumentReader
from docex.errors import NotFound, UsageError
from keys import Unwrapper

_MAX_SIZE = 1 << 62  # nothing but what is asked for is expanded


class _Frames:
    """The archive frame by frame, on the caller's thread; a frame's content is used up when the next is asked for."""

    def __init__(self, reader: compression.FrameReader) -> None:
        self._reader = reader
        self._frames = reader.frames()
        self._used: memoryview | None = None

    def __iter__(self) -> _Frames:
        return self

    def __next__(self) -> memoryview:
        self._recycle()
        self._used = content = self._reader.decompress(next(self._frames))
        return content

    def skip(self, size: int) -> int:
        """Drop the next frames as long as all of one is to be skipped; how many bytes are left to skip."""
        self._recycle()
        while size >= compression.FRAME_SIZE and (frame := next(self._frames, None)) is not None:  # frames are smaller
            self._reader.drop(frame)
            size -= frame.content_size
        return size

    def close(self) -> None:
        """Nothing to end: there are no threads behind it."""

    def _recycle(self) -> None:
        if self._used is not None:
            self._reader.recycle(self._used)
            self._used = None


def open_part(source: Source, identities: Sequence[Unwrapper], path: str, offset: int) -> DocumentReader:
    """One document of a packet as a stream that starts at ``offset`` bytes.

    Every byte is authentic, as the packet's cipher has it; a part can't be held against the document's digest.

    Raises:
        PacketError: (a subclass) the packet is damaged or not for these identities.
        NotFound: the packet has no such document.
        UsageError: the document has fewer bytes than ``offset``.
    """
    frames = _Frames(compression.FrameReader(DecryptingReader(source, identities), _MAX_SIZE))
    archive = tar.TarReader(tar.ChunkReader(frames, frames.skip))
    while entry := archive.next():
        if entry.path == DOCUMENT_PREFIX + path:
            if offset > entry.size:
                raise UsageError(f"{path!r} has {entry.size} bytes: none of them is behind {offset}")
            archive.skip(offset)
            return DocumentReader(frames, archive)
        archive.skip(entry.size)
    raise NotFound(f"the packet has no document {path!r}")
