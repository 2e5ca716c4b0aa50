"""Mallory sends little and makes the recipient pay much: memory, time, disk."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from docex.core import packet, tar
from docex.errors import ArchiveInvalid, CompressionInvalid, DocexError, LimitExceeded, StatementInvalid
from tests.attack import forge
from tests.attack.forge import END, MAKER, MALLORY, block, entry

MIB = 1 << 20
MAGIC = b"\x28\xb5\x2f\xfd"
SKIPPABLE = b"\x50\x2a\x4d\x18"
ROOT = Path(__file__).parents[2]


def rle_frame(size: int, stated: int | None = None, byte: bytes = b"\0") -> bytes:
    """A frame of blocks that each repeat one byte: 41 bytes for 1 MiB."""
    made = MAGIC + b"\xa0" + (size if stated is None else stated).to_bytes(4, "little")
    for left in range(size, 0, -(128 << 10)):
        length = min(left, 128 << 10)
        made += (length << 3 | 2 | (left == length)).to_bytes(3, "little") + byte
    return made


def header_then(bomb: bytes) -> bytes:
    """A good start: the header of a document of 1 TiB (a frame of its own that is large enough not to be the last)."""
    head = block("document/a", 1 << 40)
    return zstandard.ZstdCompressor().compress(head + bytes(MIB - len(head))) + bomb


def zstd(data: bytes, **parameters: int) -> bytes:
    made = zstandard.ZstdCompressionParameters.from_level(3, **parameters)
    return zstandard.ZstdCompressor(compression_params=made).compress(data)


def unsized(data: bytes, **parameters: int) -> bytes:
    return zstd(data, write_content_size=False, **parameters)


def deep_paths() -> bytes:
    """Ten thousand documents, each in 15 folders of its own."""
    paths = ("/".join([f"{number:04}{'x' * 58}"] * 16) for number in range(10_000))
    return b"".join(tar.header(f"document/{path}", 0) for path in paths)


def many_lines(line: bytes) -> bytes:
    contents = line * ((16 << 20) // len(line))
    return entry("document/a", b"") + entry("statements.jws", contents) + END


BOMBS: dict[str, tuple[Callable[[], bytes], type[DocexError]]] = {
    "one frame that grows to 1 GiB": (lambda: zstd(bytes(1 << 30)), CompressionInvalid),
    "one frame that grows to 64 MiB and does not say so": (lambda: unsized(bytes(64 * MIB)), CompressionInvalid),
    "many frames": (lambda: header_then(rle_frame(MIB) * 100_000), CompressionInvalid),
    "many frames of 1 byte": (lambda: rle_frame(1) * 100_000, CompressionInvalid),
    "many frames of 0 bytes": (lambda: header_then((MAGIC + b"\xa0\0\0\0\0\1\0\0") * 100_000), CompressionInvalid),
    "many skippable frames": (lambda: header_then((SKIPPABLE + bytes(4)) * 100_000), CompressionInvalid),
    "a skippable frame of 4 GiB": (lambda: header_then(SKIPPABLE + b"\xff" * 4 + bytes(MIB)), CompressionInvalid),
    "many empty blocks": (lambda: MAGIC + b"\xa0" + b"\1\0\0\0" + bytes(3 * 300_000), CompressionInvalid),
    "expanding 257 times": (
        lambda: header_then((rle_frame(MIB) + b"\x50\x2a\x4d\x18\x80\x0f\0\0" + bytes(3968)) * 400),
        CompressionInvalid,
    ),
    "a window of 128 MiB": (lambda: unsized(bytes(MIB), window_log=27), CompressionInvalid),
    "a window of 2 GiB in a small frame": (lambda: MAGIC + b"\x40\xa8\x05\x00" + rle_frame(5)[9:], CompressionInvalid),
    "a stated size of 2^64 - 2": (
        lambda: MAGIC + b"\xe0" + b"\xfe" + b"\xff" * 7 + rle_frame(5)[9:],
        CompressionInvalid,
    ),
    "a stated size of 4 GiB": (lambda: rle_frame(5, 0xFFFFFFFF), CompressionInvalid),
    "a stated size of 1 MiB for 1 byte": (lambda: rle_frame(1, MIB), CompressionInvalid),
    "a stated size of 1 byte for 1 MiB": (lambda: rle_frame(MIB, 1), CompressionInvalid),
    "a stated size of 0 for 1 MiB": (lambda: rle_frame(MIB, 0), CompressionInvalid),
    "9 blocks where 8 are enough": (lambda: rle_frame(MIB + (128 << 10), MIB), CompressionInvalid),
    "a cut frame": (lambda: header_then(rle_frame(MIB)[:-1]), CompressionInvalid),
    "trailing junk": (lambda: header_then(b"junk"), CompressionInvalid),
    "a frame of another format": (lambda: header_then(b"\x1f\x8b\x08\0" + bytes(100)), CompressionInvalid),
    "a dictionary": (lambda: MAGIC + b"\x21\x01\x07" + rle_frame(7)[9:], CompressionInvalid),
    "a document that does not end": (lambda: header_then(b""), ArchiveInvalid),
    "a large pax header": (lambda: forge.compress(block("x", 1 << 32, b"x") + bytes(MIB)), ArchiveInvalid),
    "many pax headers": (lambda: forge.compress(forge.pax(b"") * 100_000), ArchiveInvalid),
    "many deep paths": (lambda: forge.compress(deep_paths()), LimitExceeded),
    "many empty statements": (lambda: forge.compress(many_lines(b"\n")), StatementInvalid),
    "many small statements": (lambda: forge.compress(many_lines(b"a.b.c\n")), StatementInvalid),
    "statements of one line": (lambda: forge.compress(many_lines(b"a" * (16 << 20))), StatementInvalid),
}


@pytest.mark.parametrize(("make", "error"), BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_in_time(make: Callable[[], bytes], error: type[DocexError]) -> None:
    forge.refused(forge.encrypt(make(), MAKER.recipient), MAKER, error)


def statement_bombs() -> dict[str, bytes]:
    """Claims that take much more memory as Python objects than as text: the largest allowed of each kind."""
    size = 900_000
    empty = {"lists": b"[],", "objects": b"{},", "strings": b'"",', "numbers": b"0,", "members": b""}
    made = {name: b'{"a":[' + unit * (size // max(1, len(unit))) + b"0]}" for name, unit in empty.items()}
    members = b",".join(b'"%x":0' % number for number in range(size // 10))
    return made | {"members": b"{" + members + b"}", "depth": b'{"a":' + b"[" * 900 + b"]" * 900 + b"}"}


@pytest.mark.parametrize("kind", ["lists", "objects", "strings", "numbers", "members", "depth"])
def test_claims_of_many_parts(kind: str) -> None:
    claims = statement_bombs()[kind]
    for token in (forge.token(MALLORY, forge.header(MALLORY), claims), forge.token(MALLORY, claims, b"{}")):
        data = forge.packed(forge.archive({"a": b""}, token, token), MAKER)
        forge.refused(data, MAKER, StatementInvalid)


def test_no_more_than_the_caller_allows() -> None:
    data = forge.seal({"a": bytes(64 * MIB)}, MALLORY, MAKER)
    assert len(data) < 300_000
    sink = forge.Memory()
    with pytest.raises(LimitExceeded):
        packet.open_packet(io.BytesIO(data), [MAKER.identity], sink, max_size=10 * MIB)
    assert sum(map(len, sink.contents.values())) <= 10 * MIB


OPENER = """
import sys
from docex.core import packet
from docex.errors import DocexError
from tests.attack import forge

def peak():
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("VmHWM:")).split()[1]) << 10

def open_(path):
    with open(path, "rb") as source:
        packet.open_packet(source, [forge.MAKER.identity], packet.Discard())

open_(sys.argv[1])
idle = peak()
try:
    open_(sys.argv[2])
except DocexError as error:
    print(type(error).__name__)
else:
    print("opened")
print(peak() - idle)
"""


def measured(tmp_path: Path, data: bytes) -> tuple[str, int]:
    """How a process of its own opens a packet, and by how many bytes its peak memory grew over a small packet's."""
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(forge.seal({"a": b""}, MALLORY, MAKER))
    large.write_bytes(data)
    command = [sys.executable, "-c", OPENER, str(small), str(large)]
    outcome, grown = subprocess.run(
        command, capture_output=True, check=True, text=True, cwd=ROOT, timeout=60
    ).stdout.split()
    return outcome, int(grown)


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")


@needs_proc
@pytest.mark.parametrize(("make", "error"), BOMBS.values(), ids=BOMBS)
def test_a_bomb_takes_less_than_64_mib(make: Callable[[], bytes], error: type[DocexError], tmp_path: Path) -> None:
    outcome, grown = measured(tmp_path, forge.encrypt(make(), MAKER.recipient))
    assert outcome == error.__name__
    assert grown < 64 * MIB


@needs_proc
def test_claims_of_many_parts_take_less_than_64_mib(tmp_path: Path) -> None:
    for name, claims in statement_bombs().items():
        token = forge.token(MALLORY, forge.header(MALLORY), claims)
        outcome, grown = measured(tmp_path, forge.packed(forge.archive({"a": b""}, token, token), MAKER))
        assert outcome == "StatementInvalid"
        assert grown < 64 * MIB, name


@needs_proc
@pytest.mark.parametrize("content", [b"\0", b"text, "], ids=["zeros", "text"])
def test_a_large_packet_takes_less_than_64_mib(content: bytes, tmp_path: Path) -> None:
    data = forge.seal({"a": content * (300 * MIB // len(content))}, MALLORY, MAKER)
    outcome, grown = measured(tmp_path, data)
    assert outcome == "opened"
    assert grown < 64 * MIB


@needs_proc
def test_the_most_documents_take_less_than_64_mib(tmp_path: Path) -> None:
    data = forge.seal({f"folder/{number:05}.json": b"{}" for number in range(10_000)}, MALLORY, MAKER)
    outcome, grown = measured(tmp_path, data)
    assert outcome == "opened"
    assert grown < 64 * MIB
