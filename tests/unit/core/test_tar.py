from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docex.core import tar
from docex.core.tar import BLOCK, END, ChunkReader, Entry, TarReader
from docex.errors import ArchiveInvalid
from tests.fixtures import stock_tools


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def entry(path: str, content: bytes) -> bytes:
    return tar.header(path, len(content)) + content + tar.padding(len(content))


def archive(entries: dict[str, bytes]) -> bytes:
    return b"".join(entry(path, content) for path, content in entries.items()) + END


def read_all(data: bytes, size: int = 1 << 16) -> dict[str, bytes]:
    reader = TarReader(ChunkReader(pieces(data, size)))
    found: dict[str, bytes] = {}
    while (each := reader.next()) is not None:
        assert each.path not in found
        found[each.path] = b"".join(bytes(part) for part in iter(reader.read, b""))
        assert len(found[each.path]) == each.size
    return found


def naive_twin(data: bytes) -> dict[str, bytes]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as reader:
        for member in reader:
            assert member.isreg()
            content = reader.extractfile(member)
            assert content is not None
            found[member.name] = content.read()
    return found


paths = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=300).map("d/{}".format)


@settings(max_examples=60)
@given(st.dictionaries(paths, st.binary(max_size=1100), max_size=4), st.integers(1, 2000))
def test_what_is_written_is_read_here_and_by_tarfile(entries: dict[str, bytes], size: int) -> None:
    data = archive(entries)
    assert len(data) % BLOCK == 0
    assert read_all(data, size) == entries == naive_twin(data)


NAMES = [
    "document/a",
    "document/-rf",
    "document/a b",
    "document/" + "a" * 91,
    "document/" + "a" * 92,
    "document/" + "a" * 255,
    "document/Prüfbericht.pdf",
    "document/" + "ä" * 46,
    "document/品質" * 5,
    "document/" + "/".join(["b" * 100] * 9),
    "statements.jws",
]


@stock_tools.needs("tar")
def test_stock_tar_extracts_the_same(tmp_path: Path) -> None:
    entries = {name: name.encode() * number for number, name in enumerate(NAMES)}
    stock_tools.run("tar x", archive(entries), tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in NAMES} == entries
    assert {path.stat().st_mode & 0o133 for path in tmp_path.rglob("*") if path.is_file()} == {0}


@stock_tools.needs("tar")
@pytest.mark.parametrize(
    "options", ["--format=pax --pax-option=delete=atime,delete=ctime,delete=mtime", "--format=ustar"]
)
def test_what_stock_tar_makes_of_regular_files_is_read(tmp_path: Path, options: str) -> None:
    entries = {name: name.encode() * number for number, name in enumerate(NAMES)}
    for name, content in entries.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(content)
    listed = "\n".join(NAMES if "pax" in options else NAMES[:4]).encode()
    data = stock_tools.run(f"tar c {options} --mtime=@0 --no-recursion --verbatim-files-from -T -", listed, tmp_path)
    assert read_all(data) == {name: entries[name] for name in listed.decode().split("\n")}


def test_the_same_documents_are_the_same_bytes() -> None:
    assert tar.header("document/a", 5) == tar.header("document/a", 5)
    info = tarfile.TarInfo.frombuf(tar.header("document/a", 5), "utf-8", "strict")
    assert (info.name, info.size, info.mode, info.uid, info.gid, info.mtime) == ("document/a", 5, 0o644, 0, 0, 0)
    assert (info.uname, info.gname, info.type, info.linkname) == ("", "", tarfile.REGTYPE, "")


@pytest.mark.parametrize("size", [0, 1, (8 << 30) - 1, 8 << 30, 1 << 40, (1 << 63) - 1])
def test_sizes_of_any_file_are_written(size: int) -> None:
    header = tar.header("document/a", size)
    assert len(header) == (BLOCK if size < 8 << 30 else 3 * BLOCK)
    assert (b" size=%d\n" % size in header) == (size >= 8 << 30)
    assert TarReader(ChunkReader(iter([header]))).next() == Entry("document/a", size)
    with tarfile.open(fileobj=io.BytesIO(header)) as twin:
        member = twin.next()
    assert member is not None
    assert member.size == size


def test_padding_fills_a_block() -> None:
    assert [len(tar.padding(size)) for size in (0, 1, 511, 512, 513)] == [0, 511, 1, 0, 511]


def test_an_empty_archive_has_no_entries() -> None:
    assert read_all(END) == {}


def test_large_entries_are_handed_on_without_a_copy() -> None:
    chunk = bytes(1 << 16)
    reader = TarReader(ChunkReader(iter([tar.header("a", len(chunk)), chunk, END])))
    reader.next()
    assert reader.read().obj is chunk
    assert not reader.read()


def test_an_entry_must_be_used_up_before_the_next() -> None:
    reader = TarReader(ChunkReader(iter([archive({"a": b"123"})])))
    reader.next()
    with pytest.raises(ArchiveInvalid, match="not read to its end"):
        reader.next()


def block(kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "", path: str = "a") -> bytes:
    info = tarfile.TarInfo(path)
    info.type, info.size, info.linkname = kind, size, link
    return info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")


def patched(offset: int, value: bytes, base: bytes | None = None) -> bytes:
    """A header with other bytes in it and its checksum made right."""
    made = bytearray(base or block())
    made[offset : offset + len(value)] = value
    made[148:156] = b" " * 8
    made[148:156] = b"%06o\0 " % sum(made)
    return bytes(made)


def pax(records: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    return block(kind, len(records)) + records + tar.padding(len(records))


def record(key: str, value: str) -> bytes:
    rest = f" {key}={value}\n".encode()
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.AREGTYPE,
        tarfile.LNKTYPE,
        tarfile.SYMTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.DIRTYPE,
        tarfile.FIFOTYPE,
        tarfile.CONTTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
        tarfile.GNUTYPE_SPARSE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        b"Z",
        b"\xff",
    ],
)
def test_anything_but_a_regular_file_is_refused(kind: bytes) -> None:
    for data in (block(kind), pax(record("path", "a")) + block(kind)):
        with pytest.raises(ArchiveInvalid, match="regular files only"):
            read_all(data + END)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (block(link="b") + END, "is a link"),
        (b"\1" + block()[1:] + END, "bad checksum"),
        (b"x" * BLOCK + END, "malformed"),
        (patched(0, b"\xff") + END, "a path that is not UTF-8"),
        (patched(345, b"\xff") + END, "a path that is not UTF-8"),
        (patched(124, b"-0000000001\0") + END, "negative size"),
        (patched(124, b"\xff" * 12) + END, "negative size"),
        (patched(124, b"abcdefghijk\0") + END, "malformed"),
        (patched(124, b"\x80" + b"\xff" * 11) + END, "a size that no file can have"),
        (patched(124, b"\x80" + (1 << 63).to_bytes(11)) + END, "a size that no file can have"),
        (pax(record("size", "9223372036854775808")) + block() + END, "a size that no file can have"),
        (block(size=5) + b"12345" + b"\1" * 507 + END, "padding behind a tar entry is not zero"),
        (pax(record("path", "b")) + pax(record("path", "c")) + block() + END, "regular files only"),
        (pax(record("path", "b")) + END, "malformed"),
        (pax(record("path", "b"))[:-1] + b"\1" + block() + END, "padding behind a pax header is not zero"),
        (block(tarfile.XHDTYPE, (64 << 10) + 1) + END, "pax header is too long"),
        (patched(124, b"\x80" + b"\xff" * 11, block(tarfile.XHDTYPE)) + END, "pax header is too long"),
        (END + b"\1", "data behind the end"),
        (END + entry("a", b""), "data behind the end"),
        (END + bytes(20 * BLOCK), "data behind the end"),
        (END[:BLOCK] + entry("a", b""), "data behind the end"),
        (END + bytes(1), "cut short"),
    ],
)
def test_a_malformed_archive_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ArchiveInvalid, match=why):
        read_all(data)


@pytest.mark.parametrize(
    "records",
    [
        record("linkpath", "/etc/passwd"),
        record("GNU.sparse.major", "1"),
        record("GNU.sparse.name", "b"),
        record("hdrcharset", "BINARY"),
        record("mtime", "1.5"),
        record("uid", "0"),
        record("path", "b") * 2,
        record("path", "b") + record("size", "1") + record("path", "c"),
        record("PATH", "b"),
        record("", "b"),
        b"9 path=b\n0",
        b"8 path=b\n",
        b"09 path=b\n",
        b"-9 path=b\n",
        b"9path=b\n",
        b"9  path=b\n",
        b"0 path=b\n",
        b"1 path=b\n",
        b"2 path=b\n",
        b" path=b\n",
        b"9999999 path=b\n",
        b"path=b\n",
        b"8 pathb\n",
        b"\n",
        b"\0",
        "９ path=b\n".encode(),
        b"10 path=\xff\n",
        record("size", ""),
        record("size", "-1"),
        record("size", "1_0"),
        record("size", " 1"),
        record("size", "1e3"),
        record("size", "٣"),
        record("size", "1" * 20),
    ],
)
def test_a_pax_record_that_is_not_of_path_or_size_is_refused(records: bytes) -> None:
    with pytest.raises(ArchiveInvalid, match="a pax "):
        read_all(pax(records) + block(size=1) + b"1" + tar.padding(1) + END)


def test_a_pax_header_goes_before_the_fields_it_replaces() -> None:
    data = pax(record("size", "3") + record("path", "x\ny=z")) + block(size=0) + b"123" + tar.padding(3) + END
    assert read_all(data) == {"x\ny=z": b"123"}
    assert read_all(pax(b"") + block() + END) == {"a": b""}


@pytest.mark.parametrize("trailing", range(0, 20 * BLOCK, BLOCK))
def test_the_record_that_tar_fills_up_is_no_trailing_data(trailing: int) -> None:
    assert read_all(entry("a", b"1") + END + bytes(min(trailing, 19 * BLOCK))) == {"a": b"1"}


def test_a_cut_anywhere_is_noticed() -> None:
    data = archive({"document/a": b"12345", "document/" + "b" * 120: b"", "statements.jws": bytes(600)})
    for size in range(len(data)):
        with pytest.raises(ArchiveInvalid):
            read_all(data[:size], 512)


def test_every_changed_byte_of_a_header_is_noticed() -> None:
    header = tar.header("document/a", 0)
    for position in range(BLOCK):
        changed = header[:position] + bytes([header[position] ^ 1]) + header[position + 1 :]
        if 148 <= position < 156:  # the checksum's own field may be written in more than one way
            continue
        with pytest.raises(ArchiveInvalid):
            read_all(changed + END)


@given(st.binary(max_size=600), st.integers(0, 2))
def test_any_bytes_are_an_archive_or_refused(noise: bytes, start: int) -> None:
    data = [b"", entry("a", b"1"), pax(record("path", "x"))][start] + noise
    with pytest.raises(ArchiveInvalid):
        assert read_all(data) == naive_twin(data)


@settings(max_examples=300)
@given(st.integers(0, 147), st.binary(min_size=1, max_size=12))
def test_a_header_with_a_right_checksum_is_read_as_tarfile_reads_it_or_refused(offset: int, value: bytes) -> None:
    data = patched(offset, value) + END
    try:
        found = read_all(data)
    except ArchiveInvalid:
        return
    assert found == naive_twin(data)
