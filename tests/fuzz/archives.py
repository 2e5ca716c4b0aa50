"""The targets that read tar archives: the reader alone, and all of a packet's inside.

An input is one byte that says how to read it and the archive. Its checksums can be put right first (they guard against
accidents, not against people): left as they are, nearly every mutation would end at the first of them.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from typing import Final

from docex.core import compression, names, statement, tar
from docex.core.age import EncryptingWriter, parse_recipient
from docex.core.packet import MAX_DOCUMENTS, open_packet
from docex.core.packing import DOCUMENT_PREFIX, STATEMENTS_NAME
from docex.core.pipeline import Crew
from docex.core.unpacking import Discard, Found, unpack
from docex.errors import (
    ArchiveInvalid,
    DigestMismatch,
    LimitExceeded,
    NameInvalid,
    PacketError,
    StatementInvalid,
)
from keys.identity import X25519Identity

IDENTITY: Final = X25519Identity(b"\2" * 32)
_CHECKSUM: Final = slice(148, 156)
Read = tuple[str | None, list[tuple[str, bytes]]]


def fuzz_tar(data: bytes) -> bool:
    """A tar archive. Accepted: tarfile finds the same files in it, and it is the same once written again."""
    archive, step = _archive_of(data)
    stop, entries = _read(tar.ChunkReader(iter([archive])))
    assert _read(_in_pieces(archive, step)) == (stop, entries), "where the chunks are cut must not matter"
    # Other paths are for the layer above to refuse, before anyone asks where they lead.
    if stop is not None or not all(_is_path(path) for path, _ in entries):
        return False
    assert _read_by_tarfile(archive) == entries
    assert _read(tar.ChunkReader(iter([_write(entries)]))) == (None, entries)
    return True


def fuzz_archive(data: bytes) -> bool:
    """The inside of a packet. Accepted: it opens as a packet, with a statement that holds for each of its documents."""
    archive, step = _archive_of(data)
    stop, documents, found, lines = outcome = _unpack(archive, step)
    assert _unpack(archive, len(archive) or 1) == outcome, "where the chunks are cut must not matter"
    if stop is not None:
        return False
    assert [(each.path, each.size) for each in found] == [(path, len(content)) for path, content in documents]
    _check_places([each.path for each in found])
    again = _write([(DOCUMENT_PREFIX + path, content) for path, content in documents] + [(STATEMENTS_NAME, lines)])
    assert _unpack(again, step) == outcome
    return _opens(archive, found, lines)


def _unpack(archive: bytes, step: int) -> tuple[str | None, list[tuple[str, bytes]], list[Found], bytes]:
    """What stopped it (None: the end), what the sink got, what was found, and the statements."""
    sink = _Keep()
    try:
        with Crew(0) as crew:
            found, lines = unpack(tar.TarReader(_in_pieces(archive, step)), sink, lambda _: None, crew)
    except (ArchiveInvalid, NameInvalid, LimitExceeded) as error:
        return repr(error), sink.documents(), [], b""
    return None, sink.documents(), found, lines


def _check_places(paths: list[str]) -> None:
    """Each document can be written, on a disk that ignores case, too."""
    assert all(map(_is_path, paths))
    folded = [path.casefold() for path in paths]
    folders = {path[:at] for path in folded for at, character in enumerate(path) if character == "/"}
    assert len(set(folded)) == len(folded)
    assert folders.isdisjoint(folded)


def _opens(archive: bytes, found: list[Found], lines: bytes) -> bool:
    """Whether the archive opens as a packet; if so, there is a statement that holds for each of its documents."""
    sealed = io.BytesIO()
    with EncryptingWriter(sealed, [parse_recipient(IDENTITY.recipient)]) as writer:
        for start in range(0, len(archive), compression.FRAME_SIZE):
            for piece in compression.compress_frame(archive[start : start + compression.FRAME_SIZE]):
                writer.write(piece)
    sealed.seek(0)
    try:
        opened = open_packet(sealed, [IDENTITY], Discard())
    except (PacketError, StatementInvalid, DigestMismatch, LimitExceeded):
        return False
    tokens = statement.parse_lines(lines, MAX_DOCUMENTS + 1)
    assert [each.token for each in (*opened.documents, opened.packet)] == tokens
    assert len(opened.documents) == len(found)
    return True


class _Keep:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self._parts: list[tuple[str, bytearray]] = []

    def begin(self, path: str, size: int) -> Callable[[memoryview], object]:
        content = bytearray()
        self._parts.append((path, content))
        return content.extend

    def documents(self) -> list[tuple[str, bytes]]:
        return [(path, bytes(content)) for path, content in self._parts]


def _archive_of(data: bytes) -> tuple[bytes, int]:
    """The archive, and the size of the pieces to read it in. An odd first byte: with its checksums put right."""
    how = data[0] if data else 0
    return (with_checksums(data[1:]) if how & 1 else data[1:]), 1 + (how >> 1) * 8


def with_checksums(archive: bytes) -> bytes:
    """The archive with the right checksum in each header, as far as headers can be found."""
    entries, rest = entries_of(archive)
    return b"".join(map(_with_checksum, entries)) + rest


def _with_checksum(entry: bytes) -> bytes:
    header = bytearray(entry[: tar.BLOCK])
    header[_CHECKSUM] = b" " * 8
    header[_CHECKSUM] = b"%06o\0 " % sum(header)
    return bytes(header) + entry[tar.BLOCK :]


def entries_of(archive: bytes) -> tuple[list[bytes], bytes]:
    """The archive cut in front of each header (whether they are right or not), and what follows the last entry."""
    entries: list[bytes] = []
    start = 0
    while len(block := archive[start : start + tar.BLOCK]) == tar.BLOCK and any(block):
        try:
            size = max(0, tarfile.nti(block[124:136]))  # type: ignore[attr-defined]
        except tarfile.HeaderError:
            size = 0
        end = start + tar.BLOCK + size + -size % tar.BLOCK
        entries.append(archive[start:end])
        start = end
    return entries, archive[start:]


def _in_pieces(archive: bytes, step: int) -> tar.ChunkReader:
    return tar.ChunkReader(archive[start : start + step] for start in range(0, len(archive), step))


def _read(source: tar.ChunkReader) -> Read:
    """What stopped the reader (None: the end), and the files before."""
    entries: list[tuple[str, bytes]] = []
    reader = tar.TarReader(source)
    try:
        while entry := reader.next():
            content = b"".join(iter(reader.read, b""))
            assert len(content) == entry.size
            entries.append((entry.path, content))
    except ArchiveInvalid as error:
        return repr(error), entries
    return None, entries


def _read_by_tarfile(archive: bytes) -> list[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as reader:
        return [(member.name, _content(reader, member)) for member in reader]


def _content(reader: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    assert member.isreg()
    content = reader.extractfile(member)
    assert content is not None
    return content.read()


def _write(entries: list[tuple[str, bytes]]) -> bytes:
    parts = [tar.header(path, len(content)) + content + tar.padding(len(content)) for path, content in entries]
    return b"".join(parts) + tar.END


def _is_path(path: str) -> bool:
    try:
        names.check_path(path)
    except NameInvalid:
        return False
    return True
