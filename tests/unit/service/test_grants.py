"""Copying a payload behind a new header, in the kernel and without it."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import random
import threading
from io import FileIO
from pathlib import Path

import pytest

from docex.errors import PayloadInvalid
from docex.service import grants
from docex.service.grants import check_payload_size, copy_payload, hash_payload

DATA = random.Random(3).randbytes(3_000_001)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"header" + DATA)
    return path


def copied(source: Path, target: Path) -> tuple[bytes, int, int]:
    steps: list[int] = []
    with source.open("rb") as stream, FileIO(target, "wb") as file:
        assert stream.readline(3) == b"hea"  # what was read ahead does not matter
        file.write(b"new")
        count = copy_payload(stream, len(b"header"), file, steps.append)
    return target.read_bytes(), count, sum(steps)


def test_a_payload_is_copied_as_it_is(source: Path, tmp_path: Path) -> None:
    assert copied(source, tmp_path / "target") == (b"new" + DATA, len(DATA), len(DATA))


def test_a_payload_is_copied_in_steps(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grants, "_KERNEL_STEP", 1 << 20)
    assert copied(source, tmp_path / "target") == (b"new" + DATA, len(DATA), len(DATA))


def test_a_payload_goes_to_what_the_kernel_does_not_copy_to(source: Path) -> None:
    reader, writer = os.pipe()
    got: list[bytes] = []

    def read() -> None:
        with os.fdopen(reader, "rb") as stream:
            got.append(stream.read())

    thread = threading.Thread(target=read)
    thread.start()
    with source.open("rb") as stream, FileIO(writer, "wb") as file:
        assert copy_payload(stream, len(b"header"), file, lambda _: None) == len(DATA)
    thread.join()
    assert got == [DATA]


def test_a_payload_is_copied_from_where_the_kernel_stopped(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.copy_file_range, []

    def stops(source: int, target: int, count: int, offset: int) -> int:
        calls.append(offset)
        if len(calls) > 1:
            raise OSError(errno.EXDEV, "no further")
        return real(source, target, 1000, offset)

    monkeypatch.setattr(os, "copy_file_range", stops)
    assert copied(source, tmp_path / "target") == (b"new" + DATA, len(DATA), len(DATA))
    assert calls == [6, 1006]


def test_a_disk_that_fails_is_not_passed_over(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> int:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "copy_file_range", full)
    with pytest.raises(OSError, match="no space left"):
        copied(source, tmp_path / "target")


def test_a_digest_is_taken_with_or_without_a_copy() -> None:
    out = io.BytesIO()
    digest = "sha256:" + hashlib.sha256(DATA).hexdigest()
    steps: list[int] = []
    assert hash_payload(io.BytesIO(DATA), out, steps.append) == digest
    assert out.getvalue() == DATA
    assert hash_payload(io.BytesIO(DATA), None, steps.append) == digest
    assert sum(steps) == 2 * len(DATA)


def test_what_is_too_short_for_a_payload() -> None:
    check_payload_size(33)
    for size in (0, 32):
        with pytest.raises(PayloadInvalid, match="ends before its payload"):
            check_payload_size(size)
        with pytest.raises(PayloadInvalid):
            hash_payload(io.BytesIO(bytes(size)), None, lambda _: None)
