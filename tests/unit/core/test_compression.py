from __future__ import annotations

import io
import random
from collections.abc import Iterable

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from docex.core import compression
from docex.core.compression import FRAME_SIZE, MAX_RATIO, FrameReader, compress_frame, looks_random
from docex.errors import CompressionInvalid, LimitExceeded
from tests.fixtures import stock_tools

pytestmark = stock_tools.needs("zstd")

NOISE = random.Random(1).randbytes(FRAME_SIZE)
TEXT = b"".join(b"%d: the quick brown fox, %d\n" % (number, number * number) for number in range(40_000))[:FRAME_SIZE]
SIZES = [1, 2, 255, 256, 257, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, 1 << 17, (1 << 17) + 1, FRAME_SIZE - 1, FRAME_SIZE]


def stream_of(*chunks: bytes) -> bytes:
    return b"".join(bytes(piece) for chunk in chunks for piece in compress_frame(chunk))


class Trickle:
    """A source that gives a few bytes at a time, so that everything meets a boundary of the buffer."""

    def __init__(self, data: bytes, steps: Iterable[int]) -> None:
        self._data = io.BytesIO(data)
        self._steps = iter(steps)

    def readinto(self, buffer: memoryview, /) -> int:
        return self._data.readinto(buffer[: next(self._steps, len(buffer))])


def read_all(stream: bytes, max_size: int = 1 << 30, steps: Iterable[int] = ()) -> list[bytes]:
    reader = FrameReader(Trickle(stream, steps), max_size)
    return [bytes(reader.decompress(frame)) for frame in reader.frames()]


def zstd(stream: bytes) -> bytes:
    return stock_tools.run("zstd -d -c", stream)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("content", [bytes(FRAME_SIZE), TEXT, NOISE], ids=["zeros", "text", "noise"])
def test_frames_of_every_size_are_read_here_and_by_zstd(content: bytes, size: int) -> None:
    chunk = content[:size]
    stream = stream_of(chunk)
    assert read_all(stream) == [chunk]
    assert zstd(stream) == chunk
    assert len(stream) * MAX_RATIO >= size


def test_a_frame_of_very_many_blocks_is_refused() -> None:
    """Each costs its reader time, even an empty one."""
    empty = [(0, 0, b"")]
    assert read_all(raw_frame(*empty * 255, (0, 1, b"x"), size=1)) == [b"x"]
    with pytest.raises(CompressionInvalid, match="more than 256 blocks"):
        read_all(raw_frame(*empty * 256, (0, 1, b"x"), size=1))


def test_many_frames_are_one_stream() -> None:
    chunks = [TEXT, NOISE, bytes(FRAME_SIZE), TEXT[:5]]
    stream = stream_of(*chunks)
    assert read_all(stream) == chunks
    assert zstd(stream) == b"".join(chunks)


def test_no_frames_are_an_empty_stream() -> None:
    assert read_all(b"") == []


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=200),
    st.sampled_from([TEXT[:70_000], NOISE[:70_000], bytes(70_000)]),
)
def test_boundaries_of_the_buffer_do_not_matter(steps: list[int], chunk: bytes) -> None:
    stream = stream_of(chunk, chunk, chunk[:100])
    assert read_all(stream, steps=steps) == [chunk, chunk, chunk[:100]]


def test_noise_between_three_quiet_places_is_stored_as_it_is_compressed() -> None:
    """The samples decide only how a frame is made: mostly wrong about this one, it is still a good frame."""
    mixed = bytearray(FRAME_SIZE)
    for start in (0, FRAME_SIZE // 2, FRAME_SIZE - (1 << 14)):
        mixed[start : start + (1 << 14)] = NOISE[: 1 << 14]
    assert looks_random(mixed)
    stream = stream_of(bytes(mixed))
    assert len(stream) == FRAME_SIZE + 9 + 8 * 3
    assert read_all(stream * 3) == [mixed] * 3
    assert zstd(stream) == mixed


def test_what_is_short_or_shrinks_is_not_taken_for_random() -> None:
    assert not looks_random(b"")
    assert not looks_random(NOISE[: (1 << 18) - 1])
    assert looks_random(NOISE[: 1 << 18])
    assert not looks_random(TEXT)
    assert not looks_random(NOISE[: FRAME_SIZE // 2] + bytes(FRAME_SIZE // 2))
    assert not looks_random(bytes(1 << 14) + NOISE[: 1 << 19])


def test_stored_frames_are_not_copied() -> None:
    chunk = bytearray(NOISE)
    views = [piece for piece in compress_frame(memoryview(chunk)) if isinstance(piece, memoryview)]
    assert [len(view) for view in views] == [1 << 17] * 8
    assert all(view.obj is chunk for view in views)


# --- frames that a packet may not have -------------------------------------------------------------------------------

MAGIC = b"\x28\xb5\x2f\xfd"
SKIPPABLE = b"\x50\x2a\x4d\x18"


def frame(content: bytes, level: int = 3, **parameters: int) -> bytes:
    made = zstandard.ZstdCompressionParameters.from_level(level, **parameters)
    return zstandard.ZstdCompressor(compression_params=made).compress(content)


def raw_frame(*blocks: tuple[int, int, bytes], size: int, last: bool = True) -> bytes:
    """A single-segment frame of blocks (kind, size, body) that states ``size`` bytes."""
    made = MAGIC + b"\xa0" + size.to_bytes(4, "little")
    for number, (kind, length, body) in enumerate(blocks, 1):
        made += (length << 3 | kind << 1 | (last and number == len(blocks))).to_bytes(3, "little") + body
    return made


def skippable(size: int, kind: int = 0) -> bytes:
    return bytes([0x50 + kind]) + SKIPPABLE[1:] + size.to_bytes(4, "little") + bytes(size)


GOOD = frame(TEXT[: 1 << 16])


@pytest.mark.parametrize(
    "stream",
    [
        frame(b"x" * 1000, write_checksum=True),
        frame(TEXT, level=1),
        frame(TEXT, level=19),
        frame(NOISE, write_checksum=True),
        raw_frame((1, 1000, b"x"), size=1000),
        raw_frame((0, 0, b""), (0, 1, b"x"), (0, 0, b""), size=1),
        GOOD + skippable(0),
        GOOD + skippable(5, 15) + GOOD,
    ],
    ids=range(8),
)
def test_any_encoder_may_make_the_frames(stream: bytes) -> None:
    assert b"".join(read_all(stream)) == zstd(stream)


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        (b"\0", "middle of a frame"),
        (b"\0\0\0\0", "no frame where one should start"),
        (MAGIC, "no frame where one should start"),
        (b"\x27" + GOOD[1:], "no frame where one should start"),
        (GOOD + b"\0\0\0", "middle of a frame"),
        (GOOD + b"junk", "no frame where one should start"),
        (GOOD + SKIPPABLE, "middle of a frame"),
        (GOOD + skippable(100)[:-1], "middle of a frame"),
        (GOOD + skippable(FRAME_SIZE + 1), "longer than 1 MiB"),
        (GOOD + SKIPPABLE + b"\xff\xff\xff\xff", "longer than 1 MiB"),
        (skippable(0) + GOOD, "does not follow"),
        (GOOD + skippable(1) + skippable(1), "does not follow"),
        (frame(b"x", write_content_size=False), "states no size"),
        (frame(b""), "states no size, 0"),
        (raw_frame((0, 1, b"x"), size=0), "states no size, 0"),
        (frame(bytes(FRAME_SIZE + 1)), "more than 1 MiB"),
        (raw_frame((0, 1, b"x"), size=0xFFFFFFFF), "more than 1 MiB"),
        (MAGIC + b"\xe0" + b"\xff" * 8, "no size, 0, or more than 1 MiB"),
        (MAGIC + b"\x40\x58\x00\x01\x01\x00\x00", "larger window than 1 MiB"),
        (MAGIC + b"\x40\xff\x00\x01", "no frame where one should start"),
        (MAGIC + b"\x21\x01\x07" + b"\x09\0\0x", "or a dictionary"),
        (raw_frame((3, 0, b""), size=1), "block is malformed"),
        (raw_frame((0, (1 << 17) + 1, bytes((1 << 17) + 1)), size=FRAME_SIZE), "block is malformed"),
        (raw_frame(*[(0, 1 << 17, NOISE[: 1 << 17])] * 9, size=FRAME_SIZE), "longer than its content can need"),
        (raw_frame((0, 1, b"x"), size=1, last=False), "middle of a frame"),
        (frame(b"a") + GOOD, "less than 64 KiB is not the last"),
        (frame(TEXT[: (1 << 16) - 1]) * 2, "less than 64 KiB is not the last"),
    ],
)
def test_a_stream_outside_the_limits_is_refused(stream: bytes, why: str) -> None:
    with pytest.raises(CompressionInvalid, match=why):
        read_all(stream)


@pytest.mark.parametrize(
    "stream",
    [
        raw_frame((0, 1, b"x"), size=2),
        raw_frame((0, 2, b"xy"), size=1),
        raw_frame((1, 1 << 17, b"x"), size=1),
        raw_frame(*[(1, 1 << 17, b"x")] * 9, size=FRAME_SIZE),
        raw_frame((2, 3, b"abc"), size=3),
        frame(b"x" * 1000, write_checksum=True)[:-1] + b"!",
    ],
    ids=range(6),
)
def test_a_frame_that_lies_about_its_content_is_refused(stream: bytes) -> None:
    with pytest.raises(CompressionInvalid, match="the Zstandard stream is damaged: "):
        read_all(stream)


@pytest.mark.parametrize(
    "stream", [stream_of(TEXT[:2000]), stream_of(bytes(70_000)), frame(b"abc", write_checksum=True)]
)
def test_a_cut_anywhere_is_noticed(stream: bytes) -> None:
    whole = read_all(stream)
    ends = {0, len(frame(bytes(70_000)))}
    for size in range(len(stream)):
        if size in ends:
            continue
        with pytest.raises(CompressionInvalid):
            assert read_all(stream[:size]) == whole


def test_the_sum_of_stated_sizes_is_limited_before_anything_is_decompressed() -> None:
    stream = stream_of(TEXT, TEXT)
    assert len(read_all(stream, 2 * FRAME_SIZE)) == 2
    frames = FrameReader(io.BytesIO(stream), 2 * FRAME_SIZE - 1).frames()
    next(frames)
    with pytest.raises(LimitExceeded, match="more than the limit of 2097151 bytes"):
        next(frames)


def test_expanding_more_than_256_times_is_refused_after_two_frames() -> None:
    bomb = raw_frame(*[(1, 1 << 17, b"x")] * 8, size=FRAME_SIZE)
    assert FRAME_SIZE / len(bomb) > 20_000
    frames = FrameReader(io.BytesIO(bomb * 100), 1 << 40).frames()
    assert len([next(frames), next(frames)]) == 2
    with pytest.raises(CompressionInvalid, match="more than 256 times: a decompression bomb"):
        next(frames)


def test_the_padding_keeps_a_writer_just_within_the_ratio() -> None:
    stream = stream_of(*[bytes(FRAME_SIZE)] * 30, bytes(1000))
    assert read_all(stream) == [bytes(FRAME_SIZE)] * 30 + [bytes(1000)]
    assert MAX_RATIO * 0.99 < 30 * FRAME_SIZE / len(stream) <= MAX_RATIO


class Endless:
    """A source that never ends."""

    def __init__(self, unit: bytes) -> None:
        self._unit = unit * (1 + (1 << 18) // len(unit))
        self.given = 0

    def readinto(self, buffer: memoryview, /) -> int:
        count = min(len(buffer), len(self._unit))
        self.given += count
        assert self.given < 8 << 20, "nothing stops the reader"
        buffer[:count] = self._unit[:count]
        return count


@pytest.mark.parametrize(
    "unit", [b"\0", SKIPPABLE + bytes(4), MAGIC + b"\xa0\1\0\0\0" + bytes(3), frame(b"a"), b"\xff"]
)
def test_an_endless_source_is_given_up_soon(unit: bytes) -> None:
    reader = FrameReader(Endless(unit), 1 << 40)
    with pytest.raises(CompressionInvalid):
        list(map(reader.decompress, reader.frames()))


@given(st.binary(max_size=200), st.sampled_from([b"", MAGIC, GOOD[:20], SKIPPABLE, GOOD]))
def test_any_bytes_are_frames_or_refused(data: bytes, start: bytes) -> None:
    try:
        contents = read_all(start + data)
    except CompressionInvalid:
        return
    assert not contents or zstd(start + data) == b"".join(contents)  # the tool wants at least one frame


@settings(max_examples=200)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_what_passes_with_a_changed_byte_is_what_zstd_makes_of_it(position: int, change: int) -> None:
    stream = bytearray(frame(TEXT[:3000], write_checksum=True) + skippable(10))
    stream[position % len(stream)] ^= change
    try:
        contents = read_all(bytes(stream))
    except CompressionInvalid:
        return
    assert zstd(bytes(stream)) == b"".join(contents)


def test_a_block_is_at_most_what_the_frame_format_allows() -> None:
    assert compression._BLOCK_SIZE == 128 << 10
