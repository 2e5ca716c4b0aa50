"""Parts of documents out of packets, whoever made them."""

from __future__ import annotations

import io
import random

import pytest

from docex.core import compression
from docex.core.part import open_part
from docex.errors import ArchiveInvalid, CompressionInvalid, NoMatchingIdentity, NotFound, PayloadInvalid, UsageError
from tests.attack import forge
from tests.attack.forge import MAKER, MALLORY, MINE

MIB = 1 << 20
RANDOM = random.Random(7).randbytes(5 * MIB + 17)  # stored in raw blocks
TEXT = (b"%d," % 7 * 4 * MIB)[: 5 * MIB + 9]  # compressed
DOCUMENTS = {"first": TEXT, "a/second": RANDOM, "empty": b"", "long/" + "é" * 100: RANDOM[:70_000] + TEXT}
PACKET = forge.seal(DOCUMENTS, MINE, MAKER)


def read(path: str, offset: int, length: int, data: bytes = PACKET) -> bytes:
    stream = open_part(io.BytesIO(data), [MAKER.identity], path, offset)
    found = b""
    while len(found) < length and (more := stream.read(length - len(found))):
        found += more
    stream.close()
    return found


@pytest.mark.parametrize("path", DOCUMENTS)
@pytest.mark.parametrize("offset", [0, 1, 511, 512, MIB - 512, MIB - 1, MIB, MIB + 1, 3 * MIB + 5, 5 * MIB])
def test_a_part_is_what_a_slice_would_be(path: str, offset: int) -> None:
    content = DOCUMENTS[path]
    offset = min(offset, len(content))
    for length in (1, 1000, 2 * MIB):
        assert read(path, offset, length) == content[offset : offset + length]


def test_the_end_of_a_document_is_the_end_of_its_parts() -> None:
    for path, content in DOCUMENTS.items():
        assert read(path, max(0, len(content) - 3), 1 << 30) == content[-3:]
        assert read(path, len(content), 10) == b""
        with pytest.raises(UsageError):
            read(path, len(content) + 1, 1)


def test_what_is_before_a_part_is_not_expanded_and_what_is_behind_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    expanded = []
    whole = compression.FrameReader.decompress

    def counted(self: compression.FrameReader, frame: compression.Frame) -> memoryview:
        expanded.append(frame.content_size)
        return whole(self, frame)

    monkeypatch.setattr(compression.FrameReader, "decompress", counted)
    source = io.BytesIO(forge.seal({"a": RANDOM * 3}, MINE, MAKER))
    open_part(source, [MAKER.identity], "a", 8 * MIB).read(1000)
    assert len(expanded) <= 2  # the archive's first frame, with the header, and the part's
    assert source.tell() < 12 * MIB < len(source.getvalue())


def test_what_is_not_there_or_not_for_this_key() -> None:
    with pytest.raises(NotFound):
        read("second", 0, 1)
    with pytest.raises(NoMatchingIdentity):
        open_part(io.BytesIO(PACKET), [MALLORY.identity], "first", 0)


def test_a_damaged_packet_gives_no_wrong_bytes() -> None:
    changed = bytearray(PACKET)
    changed[len(PACKET) // 2] ^= 1  # in front of the last document, and of what is behind in "a/second"
    with pytest.raises((PayloadInvalid, CompressionInvalid)):
        read("long/" + "é" * 100, 0, 1, bytes(changed))
    with pytest.raises((PayloadInvalid, CompressionInvalid, ArchiveInvalid)):
        read("first", 5 * MIB, 1, PACKET[: len(PACKET) // 400])
