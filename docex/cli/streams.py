"""Packets as streams: a file, or standard input and output as ``-``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from docex.cli import output
from docex.errors import UsageError
from docex.service.folder import new_file

STANDARD = Path("-")


@contextmanager
def opened_source(path: Path, title: str) -> Iterator[tuple[BinaryIO, output.Meter]]:
    """A packet to read, and a meter that follows how far it was read.

    Raises:
        UsageError: there is no such file, or it is a folder.
    """
    if path == STANDARD:
        yield sys.stdin.buffer, output.Meter(title, None)
        return
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a packet")
    if not path.exists():
        raise UsageError(f"{path} does not exist")
    with path.open("rb") as file:
        yield file, output.Meter(title, os.fstat(file.fileno()).st_size or None, file.tell)


@contextmanager
def opened_destination(path: Path, *, force: bool) -> Iterator[FileIO]:
    """Where to write a packet: a file that gets its name at the end, or standard output.

    Raises:
        UsageError: standard output is a terminal.
    """
    if path != STANDARD:
        with new_file(path, force=force, durable=False) as file:  # the system writes it out in its own time
            yield file
        return
    if sys.stdout.isatty():
        raise UsageError("a packet is binary, so it is not written to a terminal: redirect the output")
    sys.stdout.flush()
    with FileIO(sys.stdout.fileno(), "wb", closefd=False) as file:
        yield file
