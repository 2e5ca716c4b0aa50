"""The Zstandard layer of a packet (RFC 8878): independent 1 MiB frames, read back under strict limits.

Each frame states its size. Independent frames decode as one stream with any Zstandard tool, and both directions can
work on several at once; since a frame is small and says so, it is decompressed in one bounded step. No frame of a
packet expands more than `MAX_RATIO` times: a writer follows a frame that would with a skippable frame (RFC 8878
section 3.1.2, ignored by every decoder), and a reader refuses a stream that does. So a decompression bomb can never
cost the reader more than `MAX_RATIO` times the bytes that its sender had to send, however large the sizes it claims.
For the same reason a frame may be small only at the end, and skippable frames do not follow each other: each has a
price for the reader.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import zstandard

from docex.core.pipeline import Buffers
from docex.errors import CompressionInvalid, LimitExceeded

FRAME_SIZE = 1 << 20
# Level 2 with a hash table of half the size, which fits a core's cache better: docs/adr/0003-compression-level.md
PARAMETERS = zstandard.ZstdCompressionParameters(
    strategy=zstandard.STRATEGY_FAST,
    window_log=20,
    chain_log=15,
    hash_log=15,
    search_log=1,
    min_match=6,
    target_length=0,
)
MAX_RATIO = 256

# A frame is counted before its own bytes and the skippable frame behind it are.
_RATIO_ALLOWANCE = 2 * FRAME_SIZE
_MIN_FRAME_SIZE = 1 << 16
_MAX_FRAME_HEADER = 18
_MAX_FRAME = FRAME_SIZE + (1 << 16)
_STORED_HEADER = b"\x28\xb5\x2f\xfd\xa0"  # magic number; single segment, 4 bytes of content size, nothing else
_SKIPPABLE_MAGIC = 0x184D2A50
_READ_SIZE = 1 << 18
_BLOCK_SIZE = 1 << 17  # the largest block of RFC 8878 section 3.1.1.2.4
_MAX_BLOCKS = 256  # of a frame; 8 are enough, and encoders split some
_SAMPLE_SIZE = 1 << 14
_SAMPLED_FROM = 1 << 18  # of what is shorter, samples cost more than the compressor itself takes to see it
_local = threading.local()


class SupportsReadinto(Protocol):
    """A binary stream to read from."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill up to ``len(buffer)`` bytes and return how many; 0 only at the end."""


def compress_frame(data: bytes | bytearray | memoryview, *, random: bool | None = None) -> list[bytes | memoryview]:
    """One Zstandard frame holding ``data`` (at most `FRAME_SIZE` bytes) with its padding, as pieces to write in order.

    Data that does not compress is stored in raw blocks, without a copy: its pieces are views into ``data``. ``random``
    says whether it is such data, for a caller who asked `looks_random` before.
    """
    if looks_random(data) if random is None else random:
        return _stored_frame(memoryview(data))
    frame = _compressor().compress(data)
    pieces: list[bytes | memoryview] = [frame]
    missing = -(-len(data) // MAX_RATIO) - len(frame)
    if missing > 0:
        padding = bytes(max(0, missing - 8))
        pieces.append(_SKIPPABLE_MAGIC.to_bytes(4, "little") + len(padding).to_bytes(4, "little") + padding)
    return pieces


def looks_random(data: bytes | bytearray | memoryview) -> bool:
    """Whether three samples of ``data`` hardly shrink at the fastest level: compressing it all would be in vain."""
    view = memoryview(data)
    if len(view) < _SAMPLED_FROM:
        return False
    fast = _fast_compressor()
    for start in (0, len(view) // 2, len(view) - _SAMPLE_SIZE):
        if len(fast.compress(view[start : start + _SAMPLE_SIZE])) < _SAMPLE_SIZE * 0.97:
            return False
    return True


def _stored_frame(view: memoryview) -> list[bytes | memoryview]:
    """A frame of raw blocks: magic number, single-segment header with 4 bytes of content size, blocks (RFC 8878)."""
    pieces: list[bytes | memoryview] = [_STORED_HEADER + len(view).to_bytes(4, "little")]
    for start in range(0, len(view), _BLOCK_SIZE):
        block = view[start : start + _BLOCK_SIZE]
        last = start + _BLOCK_SIZE >= len(view)
        pieces.append(((len(block) << 3) | last).to_bytes(3, "little"))
        pieces.append(block)
    return pieces


def _compressor() -> zstandard.ZstdCompressor:
    if not hasattr(_local, "compressor"):  # a compressor may not be shared between threads
        _local.compressor = zstandard.ZstdCompressor(compression_params=PARAMETERS)
    return _local.compressor  # type: ignore[no-any-return]


def _fast_compressor() -> zstandard.ZstdCompressor:
    if not hasattr(_local, "fast"):
        _local.fast = zstandard.ZstdCompressor(level=1)
    return _local.fast  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a stream, whole and within its limits, at the start of a buffer from `FrameReader.buffers`."""

    buffer: memoryview
    length: int
    content_size: int
    stored: bool
    """It is as `_stored_frame` makes it: raw blocks only."""


class FrameReader:
    """The frames of a packet's Zstandard stream, one at a time, each complete and within its limits.

    `frames` cuts the stream (RFC 8878 section 3.1.1: the headers of a frame and its blocks give its length),
    `decompress` turns one frame into plaintext. They are apart so that the second can run on another thread. Who is
    done with a content gives its buffer back to `buffers`, or lets go of it.
    """

    def __init__(self, source: SupportsReadinto, max_size: int) -> None:
        self.buffers = Buffers(_MAX_FRAME + _READ_SIZE)
        self._source = source
        self._max_size = max_size
        self._buffer = self.buffers.take()
        self._held = 0
        self._expanded = 0
        self._consumed = 0
        self._ending = False

    def frames(self) -> Iterator[Frame]:
        """Yield each frame; skippable frames are read and dropped.

        Raises:
            CompressionInvalid: the stream is malformed, cut, wants more memory, or expands more than it may.
            LimitExceeded: the frames state more than ``max_size`` bytes in all.
        """
        skipped = True  # what a skippable frame pads stands before it
        while self._fill(4) >= 4:
            if self._number(0, 4) & ~0xF == _SKIPPABLE_MAGIC:
                if skipped:
                    raise CompressionInvalid("a skippable frame does not follow a frame with content")
                self._skip()
                skipped = True
                continue
            frame = self._measure()
            self._count(frame.content_size)
            self._drop(frame.length, self.buffers.take())
            yield frame
            skipped = False
        if self._fill(1):
            raise CompressionInvalid("the Zstandard stream ends in the middle of a frame")

    def decompress(self, frame: Frame) -> memoryview:
        """The content of a frame, at the start of a buffer; on any thread. The frame's own buffer is used up.

        Raises:
            CompressionInvalid: it is damaged or does not have the size that it states.
        """
        if frame.stored:
            return _close_up(frame)
        content = self.buffers.take()[: frame.content_size]
        _decompress(frame.buffer[: frame.length], content)
        self.buffers.give(frame.buffer)
        return content

    def recycle(self, content: memoryview) -> None:
        """Use the buffer of a content again."""
        assert isinstance(content.obj, bytearray)
        self.buffers.give(memoryview(content.obj))

    def drop(self, frame: Frame) -> None:
        """Use the buffer of a frame again whose content nobody wants."""
        self.buffers.give(frame.buffer)

    def _skip(self) -> None:
        length = self._number(4, 4)
        if length > FRAME_SIZE:
            raise CompressionInvalid("a skippable frame is longer than 1 MiB")
        self._need(8 + length)
        self._drop(8 + length, self._buffer)

    def _measure(self) -> Frame:
        """The frame that comes next."""
        self._fill(_MAX_FRAME_HEADER)
        head = bytes(self._buffer[: min(self._held, _MAX_FRAME_HEADER)])
        try:
            parameters = zstandard.get_frame_parameters(head)
            position = zstandard.frame_header_size(head)
        except zstandard.ZstdError as error:
            raise CompressionInvalid("the Zstandard stream is damaged: no frame where one should start") from error
        # The decompressor would not look at the blocks of a frame that states 0 bytes.
        if not 0 < parameters.content_size <= FRAME_SIZE:
            raise CompressionInvalid("a Zstandard frame states no size, 0, or more than 1 MiB")
        if parameters.window_size > FRAME_SIZE or parameters.dict_id:
            raise CompressionInvalid("a Zstandard frame wants a larger window than 1 MiB, or a dictionary")
        position, raw = self._after_blocks(position)
        if parameters.has_checksum:
            position, raw = position + 4, None
        self._need(position)
        stored = raw == parameters.content_size and head.startswith(_STORED_HEADER)
        return Frame(self._buffer, position, parameters.content_size, stored)

    def _after_blocks(self, position: int) -> tuple[int, int | None]:
        """Where the blocks end that start at ``position``, and how much they hold if all of them are raw."""
        raw: int | None = 0
        for _ in range(_MAX_BLOCKS):  # each takes time, an empty one too
            header = self._number(position, 3)
            last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
            if size > _BLOCK_SIZE or kind == 3:
                raise CompressionInvalid("a Zstandard block is malformed")
            position += 3 + (1 if kind == 1 else size)  # kind 1 repeats one byte
            if position > _MAX_FRAME:
                raise CompressionInvalid("a Zstandard frame is longer than its content can need")
            raw = raw + size if raw is not None and kind == 0 else None
            if last:
                return position, raw
        raise CompressionInvalid(f"a Zstandard frame has more than {_MAX_BLOCKS} blocks")

    def _count(self, content_size: int) -> None:
        if self._ending:
            raise CompressionInvalid("a Zstandard frame of less than 64 KiB is not the last")
        self._ending = content_size < _MIN_FRAME_SIZE
        self._expanded += content_size
        if self._expanded > self._max_size:
            raise LimitExceeded(f"the packet expands to more than the limit of {self._max_size} bytes")
        if self._expanded > self._consumed * MAX_RATIO + _RATIO_ALLOWANCE:
            raise CompressionInvalid(f"the packet expands more than {MAX_RATIO} times: a decompression bomb")

    def _fill(self, size: int) -> int:
        """Read until ``size`` bytes are at hand or the source ends; how many are."""
        while self._held < size:
            count = self._source.readinto(self._buffer[self._held : self._held + _READ_SIZE])
            if not count:
                break
            self._held += count
        return self._held

    def _need(self, size: int) -> None:
        if self._fill(size) < size:
            raise CompressionInvalid("the Zstandard stream ends in the middle of a frame")

    def _number(self, position: int, length: int) -> int:
        """The little-endian number at ``position`` of the frame that comes next."""
        self._need(position + length)
        return int.from_bytes(self._buffer[position : position + length], "little")

    def _drop(self, length: int, buffer: memoryview) -> None:
        """What stands behind the first ``length`` bytes comes next, at the start of ``buffer``."""
        rest = self._buffer[length : self._held]
        buffer[: len(rest)] = rest
        self._buffer, self._held = buffer, len(rest)
        self._consumed += length


def _close_up(frame: Frame) -> memoryview:
    """The content of raw blocks, moved together in the frame's own buffer: much less work than decompressing it."""
    buffer = frame.buffer
    position, size, last = len(_STORED_HEADER) + 4, 0, False
    while not last:
        header = int.from_bytes(buffer[position : position + 3], "little")
        last, length = bool(header & 1), header >> 3
        buffer[size : size + length] = buffer[position + 3 : position + 3 + length]
        position, size = position + 3 + length, size + length
    return buffer[:size]


def _decompress(frame: memoryview, content: memoryview) -> None:
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    try:
        with _local.decompressor.stream_reader(frame) as reader:
            size = reader.readinto(content)
            more = reader.read(1)  # only now a checksum has been compared
    except zstandard.ZstdError as error:
        raise CompressionInvalid(f"the Zstandard stream is damaged: {error}") from error
    if size != len(content) or more:
        raise CompressionInvalid("a Zstandard frame does not have the size that it states")
