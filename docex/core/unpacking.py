"""Unpacking: the tar stream of a packet becomes documents again, hashed on the way. See docs/packet.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from docex.core import names, tar
from docex.core.interrupts import held, passing
from docex.core.packing import DOCUMENT_PREFIX, MAX_DOCUMENTS, MAX_STATEMENTS_BYTES, STATEMENTS_NAME
from docex.core.pipeline import Crew, Hasher
from docex.errors import ArchiveInvalid, LimitExceeded


class DocumentSink(Protocol):
    """Takes the documents of a packet as they come out of it, unchecked until `open_packet` returns."""

    def begin(self, path: str, size: int) -> Callable[[memoryview], object]:
        """A document starts; returns what takes its bytes, whose memory is used again after each call.

        ``path`` is safe to join to a folder.
        """


@dataclass(frozen=True, slots=True)
class Discard:
    """A sink for checking a packet without keeping its documents."""

    def begin(self, path: str, size: int) -> Callable[[memoryview], object]:  # noqa: ARG002 - the protocol's names
        """Ignore the document."""
        return len


@dataclass(frozen=True, slots=True)
class Found:
    """A document as it came out of a packet."""

    path: str
    size: int
    digest: str


def unpack(
    archive: tar.TarReader, sink: DocumentSink, progress: Callable[[int], object], crew: Crew
) -> tuple[list[Found], bytes]:
    """Hand every document to the sink; return what was found, and the statements at the end.

    A chunk of ``archive`` must stay as it is until `pipeline.LAG` more have been taken: ``crew`` hashes it meanwhile.

    Raises:
        ArchiveInvalid: the archive is malformed or holds what a packet may not hold.
        NameInvalid: a path is not allowed.
        LimitExceeded: there are too many documents or statements.
    """
    found: list[Found] = []
    paths = names.DistinctPaths()
    while entry := archive.next():
        if entry.path == STATEMENTS_NAME:
            if entry.size > MAX_STATEMENTS_BYTES:
                raise LimitExceeded(f"the statements of the packet are longer than {MAX_STATEMENTS_BYTES} bytes")
            lines = b"".join(map(bytes, iter(archive.read, b"")))  # copies: the chunks' buffers are used again
            if archive.next() is not None:
                raise ArchiveInvalid("there are entries behind the statements of the packet")
            return found, lines
        if not entry.path.startswith(DOCUMENT_PREFIX):
            raise ArchiveInvalid(f"a packet does not hold {entry.path[:200]!a}")
        path = names.check_path(entry.path.removeprefix(DOCUMENT_PREFIX))
        if len(found) == MAX_DOCUMENTS:
            raise LimitExceeded(f"a packet holds at most {MAX_DOCUMENTS} documents")
        if not paths.add(path):
            raise ArchiveInvalid(f"{path!r} and another document would be in each other's place on some systems")
        take, hasher = sink.begin(path, entry.size), Hasher(crew)
        while data := archive.read():
            hasher.update(data)
            with passing():
                take(data)
                progress(len(data))
        found.append(Found(path, entry.size, hasher.digest()))
    raise ArchiveInvalid("the packet has no statements")


class Closable(Protocol):
    """Where a document's bytes come from."""

    def close(self) -> None:
        """End what works behind it."""


class DocumentReader:
    """Reads one document out of a packet; close it to end the thread behind it."""

    def __init__(self, chunks: Closable, archive: tar.TarReader) -> None:
        self._chunks = chunks
        self._archive = archive
        self._rest = memoryview(b"")

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill up to ``len(buffer)`` bytes; 0 only at the document's end."""
        if not self._rest:
            with held():
                self._rest = self._archive.read()
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def read(self, limit: int) -> bytes:
        """Up to ``limit`` bytes; empty only at the document's end."""
        with held():
            data, self._rest = (self._rest or self._archive.read()), memoryview(b"")
        data, self._rest = data[:limit], data[limit:]
        return bytes(data)

    def close(self) -> None:
        """End the thread that reads ahead."""
        with held():
            self._chunks.close()
