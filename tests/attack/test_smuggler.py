"""Mallory is a sender in its own right and hides in the archive what shall land outside the folder, or unsigned.

Its statements are its own and hold; nothing but the archive is at fault.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable

import pytest

from docex.core import tar
from docex.errors import ArchiveInvalid, DigestMismatch, DocexError, LimitExceeded, NameInvalid, StatementInvalid
from tests.attack import forge
from tests.attack.forge import END, MAKER, MALLORY, block, entry, filled, pax

CONTENTS = {"a": b"first"}
STATEMENTS = entry("statements.jws", forge.lines(*forge.honest(CONTENTS, MALLORY, MAKER)))
A = entry("document/a", b"first")


def refused(archive: bytes, error: type[DocexError], why: str = ".") -> None:
    forge.refused(forge.packed(archive, MAKER), MAKER, error, why)


def test_the_archive_is_good_before() -> None:
    assert forge.open_(forge.packed(A + STATEMENTS + END, MAKER), MAKER)[1] == CONTENTS


KINDS = {
    "hard link": tarfile.LNKTYPE,
    "symbolic link": tarfile.SYMTYPE,
    "character device": tarfile.CHRTYPE,
    "block device": tarfile.BLKTYPE,
    "folder": tarfile.DIRTYPE,
    "pipe": tarfile.FIFOTYPE,
    "contiguous file": tarfile.CONTTYPE,
    "GNU sparse file": tarfile.GNUTYPE_SPARSE,
    "old regular file": tarfile.AREGTYPE,
    "global header": tarfile.XGLTYPE,
    "unknown": b"Q",
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("target", ["", "/etc/passwd", "../../x", "document/a"])
def test_entries_that_are_no_regular_files(kind: bytes, target: str) -> None:
    for path in ("document/b", "document/a", "x"):
        hidden = block(path, 0, kind, target)
        refused(hidden + A + STATEMENTS + END, ArchiveInvalid, "is a link|regular files only")
        refused(A + hidden + STATEMENTS + END, ArchiveInvalid, "is a link|regular files only")
        refused(A + STATEMENTS + hidden + END, ArchiveInvalid, "is a link|regular files only")


def test_a_regular_file_that_names_a_target() -> None:
    refused(
        block("document/a", 5, link="/etc/passwd") + filled(b"first") + STATEMENTS + END, ArchiveInvalid, "is a link"
    )


PATHS = [
    "/etc/passwd",
    "../a",
    "document/../../a",
    "document/../document/a",
    "document/x/../a",
    "document//a",
    "document/./a",
    "document/",
    "document/a/",
    "document//etc/passwd",
    "document/C:/a",
    "document/C:a",
    "document/\\\\server\\share",
    "document/..\\a",
    "document/a\n",
    "document/a:stream",
    "document/CON",
    "document/nul.txt",
    "document/a.",
    "document/a ",
    "document/a\u202egpj.exe",
    "document/e\u0301",
    "document/\ue000",
    "document/" + "x" * 256,
    "document/" + "/".join(["x" * 100] * 11),
    "document/" + "/".join("x" * 17),
]


@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
def test_paths_that_leave_the_folder_or_trip_a_system(path: str) -> None:
    error = NameInvalid if path.startswith("document/") else ArchiveInvalid
    refused(entry(path) + A + STATEMENTS + END, error)
    refused(A + entry(path) + STATEMENTS + END, error)
    record = b" path=" + path.encode() + b"\n"
    length = next(size for size in range(len(record), len(record) + 8) if len(str(size)) + len(record) == size)
    hidden = pax(str(length).encode() + record) + block("document/b", 0)
    refused(A + hidden + STATEMENTS + END, error)


@pytest.mark.parametrize(
    "path", ["a", "documents/a", "Document/a", "statements.jws/a", "Statements.jws", "./statements.jws", "."]
)
def test_entries_that_are_neither_documents_nor_statements(path: str) -> None:
    refused(A + entry(path) + STATEMENTS + END, ArchiveInvalid, "a packet does not hold")


def test_paths_that_are_not_utf8() -> None:
    refused(A + block("document/\udcff", 0) + STATEMENTS + END, ArchiveInvalid)
    refused(A + pax(b"19 path=document/\xff\n") + block("x", 0) + STATEMENTS + END, ArchiveInvalid, "not UTF-8")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a", "a"),
        ("a", "A"),
        ("x/a", "X/a"),
        ("straße", "STRASSE"),
        ("ﬁle", "file"),
        ("Å", "å"),
        ("K", "Ｋ"),
        ("ı", "I"),
        ("a", "a\ufe0f"),
        ("a", "a/b"),
        ("a/b", "a"),
        ("a/b/c", "A/B"),
    ],
)
def test_two_documents_for_one_place(one: str, other: str) -> None:
    """On some system the second would overwrite the first, or not both could be written."""
    archive = entry(f"document/{one}", b"1") + entry(f"document/{other}", b"2")
    statements = [forge.document(MALLORY, one, b"1"), forge.document(MALLORY, other, b"2")]
    lines = forge.lines(*statements, forge.binding(MALLORY, statements, MAKER))
    refused(archive + entry("statements.jws", lines) + END, ArchiveInvalid, "in each other's place")


@pytest.mark.parametrize(
    ("archive", "error"),
    [
        (A + STATEMENTS + END + b"junk", ArchiveInvalid),
        (A + STATEMENTS + END + bytes(1 << 16), ArchiveInvalid),
        (A + STATEMENTS + END + A + STATEMENTS + END, ArchiveInvalid),
        (A + STATEMENTS + END[:512], ArchiveInvalid),
        (A + STATEMENTS, ArchiveInvalid),
        (A + STATEMENTS[:-1], ArchiveInvalid),
        (A + END + STATEMENTS + END, ArchiveInvalid),
        (A + END, ArchiveInvalid),
        (END, ArchiveInvalid),
        (b"", ArchiveInvalid),
        (b"\0", ArchiveInvalid),
        (b"junk" * 1000, ArchiveInvalid),
        (STATEMENTS + END, StatementInvalid),
        (entry("statements.jws", b"") + END, StatementInvalid),
    ],
    ids=range(14),
)
def test_archives_that_end_elsewhere(archive: bytes, error: type[DocexError]) -> None:
    refused(archive, error)


LYING: dict[str, Callable[[], bytes]] = {
    "more than there is": lambda: block("document/a", 1 << 40) + filled(b"first") + STATEMENTS + END,
    "the statements as well": lambda: block("document/a", 512 + len(STATEMENTS)) + filled(b"first") + STATEMENTS + END,
    "less than there is": lambda: block("document/a", 0) + filled(b"first") + STATEMENTS + END,
    "one less": lambda: block("document/a", 4) + filled(b"first") + STATEMENTS + END,
    "the largest file": lambda: block("document/a", (1 << 63) - 1) + filled(b"first") + STATEMENTS + END,
    "more than any file": lambda: (
        pax(b"28 size=9223372036854775808\n") + block("document/a", 5) + A[512:] + STATEMENTS + END
    ),
    "less than nothing": lambda: pax(b"11 size=-5\n") + block("document/a", 5) + A[512:] + STATEMENTS + END,
    "twice": lambda: pax(b"10 size=5\n10 size=9\n") + block("document/a", 5) + A[512:] + STATEMENTS + END,
    "in a sparse map": lambda: pax(b"22 GNU.sparse.size=99\n") + block("document/a", 5) + A[512:] + STATEMENTS + END,
}


@pytest.mark.parametrize("make", LYING.values(), ids=LYING)
def test_sizes_that_lie(make: Callable[[], bytes]) -> None:
    refused(make(), ArchiveInvalid)


def test_a_size_that_lies_within_the_padding_does_not_match_the_statement() -> None:
    data = forge.packed(block("document/a", 6) + filled(b"first\0") + STATEMENTS + END, MAKER)
    forge.refused(data, MAKER, DigestMismatch)


def test_statements_of_more_than_16_mib() -> None:
    refused(A + block("statements.jws", (16 << 20) + 1), LimitExceeded, "longer than 16777216 bytes")


def test_more_than_ten_thousand_documents() -> None:
    many = b"".join(tar.header(f"document/{number}", 0) for number in range(10_001))
    refused(many + STATEMENTS + END, LimitExceeded, "at most 10000 documents")
