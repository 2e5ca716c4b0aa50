"""The tar layer of a packet: the few parts of POSIX.1-2001 pax that a packet uses, written and read strictly.

Only regular files, with a pax header where the ustar fields can't hold a path or a size. No links, devices, folders,
global headers or sparse files: a reader refuses them before a byte is written anywhere. The bytes are the same for
the same documents: no times, owners or modes from the machine that sealed them.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from docex.errors import ArchiveInvalid

BLOCK = 512
END = bytes(2 * BLOCK)
MAX_SIZE = (1 << 63) - 1
_MAX_PAX = 64 * 1024
_MAX_TRAILER = 20 * BLOCK  # tar pads its output to records of 20 blocks


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the archive: its path as written, and its size in bytes."""

    path: str
    size: int


def header(path: str, size: int) -> bytes:
    """The header blocks of a regular file of ``size`` bytes."""
    info = tarfile.TarInfo(path)
    info.size = size
    info.mode = 0o644
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def padding(size: int) -> bytes:
    """The zero bytes that fill a file's last block."""
    return bytes(-size % BLOCK)


class ChunkReader:
    """Reads a stream that arrives in chunks, without copying what is larger than a header.

    ``skip`` leaves out chunks that need not be made, up to so many bytes; how many bytes are then left to skip.
    """

    def __init__(self, chunks: Iterator[bytes | memoryview], skip: Callable[[int], int] = lambda size: size) -> None:
        self._chunks = chunks
        self._skip = skip
        self._chunk = memoryview(b"")

    def some(self, limit: int) -> memoryview:
        """Between one and ``limit`` bytes; empty only at the end of the stream."""
        while not self._chunk:
            try:
                self._chunk = memoryview(next(self._chunks))
            except StopIteration:
                break
        data, self._chunk = self._chunk[:limit], self._chunk[limit:]
        return data

    def skip(self, size: int) -> int:
        """Pass over ``size`` bytes; how many there were, fewer only where the stream ends before."""
        held, self._chunk = self._chunk[:size], self._chunk[size:]
        left = size - len(held)
        if left:
            left = self._skip(left)
        while left and (data := self.some(left)):
            left -= len(data)
        return size - left

    def exactly(self, size: int) -> bytes:
        """``size`` bytes, or fewer where the stream ends before."""
        parts = bytearray()
        while len(parts) < size and (data := self.some(size - len(parts))):
            parts += data
        return bytes(parts)


class TarReader:
    """Reads an archive, one entry after the other: call `next`, then `read` until the entry is used up."""

    def __init__(self, source: ChunkReader) -> None:
        self._source = source
        self._left = 0
        self._padding = 0

    def next(self) -> Entry | None:
        """The next file, or None when the archive has ended cleanly.

        Raises:
            ArchiveInvalid: the archive is cut or malformed, or holds anything but regular files.
        """
        if self._left:
            raise ArchiveInvalid("the entry before this one was not read to its end")
        if any(self._take(self._padding)):
            raise ArchiveInvalid("the padding behind a tar entry is not zero")
        self._padding = 0
        block = self._take(BLOCK)
        if not any(block):
            self._end()
            return None
        pax: dict[str, str] = {}
        if block[156:157] == tarfile.XHDTYPE:
            size = _parse(block).size
            if size > _MAX_PAX:
                raise ArchiveInvalid("a pax header is too long")
            pax = _parse_pax(self._take(size))
            if any(self._take(-size % BLOCK)):
                raise ArchiveInvalid("the padding behind a pax header is not zero")
            block = self._take(BLOCK)
        info = _parse(block)
        if info.type != tarfile.REGTYPE:
            raise ArchiveInvalid(f"a packet holds regular files only; {info.name!a} has tar type {info.type!r}")
        size = int(pax["size"]) if "size" in pax else info.size
        if size > MAX_SIZE:
            raise ArchiveInvalid("a tar header states a size that no file can have")
        self._left, self._padding = size, -size % BLOCK
        return Entry(pax["path"] if "path" in pax else _utf8(info.name), size)

    def read(self) -> memoryview:
        """The next bytes of the entry; empty at its end.

        Raises:
            ArchiveInvalid: the archive is cut.
        """
        data = self._source.some(self._left)
        if self._left and not data:
            raise ArchiveInvalid("the tar archive is cut short")
        self._left -= len(data)
        return data

    def skip(self, size: int) -> None:
        """Pass over the next ``size`` bytes of the entry, which has so many.

        Raises:
            ArchiveInvalid: the archive is cut.
        """
        if self._source.skip(size) != size:
            raise ArchiveInvalid("the tar archive is cut short")
        self._left -= size

    def _take(self, size: int) -> bytes:
        data = self._source.exactly(size)
        if len(data) != size:
            raise ArchiveInvalid("the tar archive is cut short")
        return data

    def _end(self) -> None:
        trailer = self._source.exactly(_MAX_TRAILER + 1)
        if len(trailer) > _MAX_TRAILER or any(trailer):
            raise ArchiveInvalid("there is data behind the end of the tar archive")
        if len(trailer) < BLOCK or len(trailer) % BLOCK:
            raise ArchiveInvalid("the tar archive is cut short")


def _parse(block: bytes) -> tarfile.TarInfo:
    try:
        # Not strict: where a pax path replaces it, tools cut the name in the middle of a character.
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError) as error:
        raise ArchiveInvalid(f"a tar header is malformed: {error}") from error
    if info.size < 0:
        raise ArchiveInvalid("a tar header states a negative size")
    if info.linkname:
        raise ArchiveInvalid(f"tar entry {info.name!a} is a link")
    return info


def _utf8(path: str) -> str:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ArchiveInvalid("a tar header has a path that is not UTF-8") from error
    return path


def _parse_pax(data: bytes) -> dict[str, str]:
    """Records of ``<length> <key>=<value>\\n``; a packet uses ``path`` and ``size`` only."""
    result: dict[str, str] = {}
    while data:
        digits, _, _ = data.partition(b" ")
        if not digits.isdigit() or len(digits) > 6 or digits[:1] == b"0" or int(digits) > len(data):
            raise ArchiveInvalid("a pax record is malformed")
        record, data = data[len(digits) + 1 : int(digits)], data[int(digits) :]
        key, equals, value = record[:-1].partition(b"=")
        if record[-1:] != b"\n" or not equals or key not in (b"path", b"size") or key.decode() in result:
            raise ArchiveInvalid(f"a pax record is malformed, repeated or not known: {key[:40]!a}")
        try:
            result[key.decode()] = value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ArchiveInvalid("a pax record is not UTF-8") from error
    size = result.get("size", "0")
    if not (size.isascii() and size.isdigit() and len(size) <= 19):
        raise ArchiveInvalid("a pax size is not a number")
    return result
