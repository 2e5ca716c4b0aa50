"""Packets as streams: a file, or standard input and output as ``-``."""

from __future__ import annotations

import io
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from io import FileIO
from pathlib import Path
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING, BinaryIO

from docex.cli import output
from docex.errors import UsageError
from docex.service.folder import new_file

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

STANDARD = Path("-")
_STEP = 0.1  # seconds from a signal to the end of a read


@contextmanager
def opened_source(path: Path, title: str) -> Iterator[tuple[BinaryIO, output.Meter]]:
    """A packet to read, and a meter that follows how far it was read.

    Raises:
        UsageError: there is no such file, or it is a folder.
    """
    if path == STANDARD:
        with _patient(FileIO(sys.stdin.fileno(), closefd=False)) as stream:
            yield stream, output.Meter(title, None)
        return
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a packet")
    if not path.exists():
        raise UsageError(f"{path} does not exist")
    if not path.is_file():
        with _patient(FileIO(path)) as stream:
            yield stream, output.Meter(title, None)
        return
    with path.open("rb") as file:
        yield file, output.Meter(title, os.fstat(file.fileno()).st_size or None, file.tell)


@contextmanager
def _patient(file: FileIO) -> Iterator[BinaryIO]:
    """A pipe or a terminal to read, on any thread, until its end or until a signal ends the command."""
    stop = Event()
    with ExitStack() as cleanup:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if callable(before := signal.getsignal(number)):
                signal.signal(number, partial(_stop, stop, before))
                cleanup.callback(signal.signal, number, before)
        yield cleanup.enter_context(io.BufferedReader(_Patient(file, stop)))


def _stop(stop: Event, then: Callable[[int, FrameType | None], object], number: int, frame: FrameType | None) -> None:
    stop.set()
    then(number, frame)


class _Patient(io.RawIOBase):
    """Waits for bytes in short steps, as only the main thread would be woken by a signal."""

    def __init__(self, file: FileIO, stop: Event) -> None:
        super().__init__()
        self._file = file
        self._stop = stop

    def readable(self) -> bool:
        """True, as for every reader."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        """Some bytes; 0 at the end, or when the command is to end."""
        while not select.select([self._file], [], [], _STEP)[0]:
            if self._stop.is_set():
                return 0
        return self._file.readinto(buffer)

    def close(self) -> None:
        """Close the file, too."""
        self._file.close()
        super().close()


@contextmanager
def opened_destination(path: Path, *, force: bool) -> Iterator[FileIO]:
    """Where to write a packet: a file that gets its name at the end, or standard output.

    Raises:
        UsageError: standard output is a terminal.
    """
    if path != STANDARD:
        with new_file(path, force=force, durable=force) as file:  # the system writes a new file out in its own time
            yield file
        return
    if sys.stdout.isatty():
        raise UsageError("a packet is binary, so it is not written to a terminal: redirect the output")
    sys.stdout.flush()
    with FileIO(sys.stdout.fileno(), "wb", closefd=False) as file:
        yield file
