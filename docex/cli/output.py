"""What commands print: data on standard output, everything else on standard error."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from fractions import Fraction
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer

from docex.errors import UsageError

if TYPE_CHECKING:
    from rich.progress import Progress

_REFRESH = 0.1  # seconds
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(i)?)?B?", re.ASCII | re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def line(text: str = "") -> None:
    """Print a line of data."""
    typer.echo(printable(text))


def as_json(value: object) -> None:
    """Print data as JSON, for programs."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def note(text: str) -> None:
    """Tell the person something beside the data."""
    typer.echo(printable(text), err=True)


def warning(text: str) -> None:
    """Tell the person something that must not be overlooked."""
    typer.echo(_styled("note:", "yellow") + " " + printable(text), err=True)


def failure(code: str, message: str) -> None:
    """Print an error: always one line, its code in front."""
    typer.echo(_styled(f"error[{code}]:", "red") + " " + printable(" ".join(message.split())), err=True)


def pairs(rows: Iterable[tuple[str, str]], indent: str = "") -> None:
    """Print labels and values, the values under each other where the labels are short."""
    for label, value in rows:
        line(f"{indent}{label:<9} {value}")


def table(rows: Sequence[Sequence[str]], indent: str = "  ") -> None:
    """Print columns, each as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        line(indent + "  ".join(cells).rstrip())


def printable(text: str) -> str:
    """``text`` without what could steer a terminal: names come from other people."""
    return "".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text)


def human_size(size: int) -> str:
    """A size in bytes for people: ``1.4 MB`` (powers of 1000)."""
    value, unit = float(size), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    digits = 1 if unit and value < 9.95 else 0
    return f"{value:.{digits}f} {_UNITS[unit]}"


def parse_time(text: str, option: str) -> int:
    """Seconds since the epoch of a time that a person typed. Raises UsageError, naming the option."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise UsageError(f"{option} {text[:40]!a} is not an ISO 8601 time with its zone, such as 2026-01-31T12:00:00Z")
    if (seconds := int(time.timestamp())) < 1:
        raise UsageError(f"{option} {text[:40]!a} lies before 1970")
    return seconds


def parse_size(text: str) -> int:
    """The bytes that a person means by ``500MB``, ``2 GiB`` or ``1000``; K, M, G and T alone are powers of 1024.

    Raises UsageError.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"not a size: {text!r} (for example 500MB, 2GiB or a number of bytes)")
    number, unit, binary = match.groups()
    decimal = bool(unit) and not binary and text.strip()[-1] in "bB"
    return int(Fraction(number) * (1000 if decimal else 1024) ** _POWERS[(unit or "").upper()])


def moment(seconds: int) -> str:
    """A time in seconds since the epoch, for people."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _styled(text: str, colour: str) -> str:
    return text if os.environ.get("NO_COLOR") else typer.style(text, fg=colour, bold=True)


class Meter:
    """Shows progress on a terminal, once the work has taken a while; elsewhere it shows nothing.

    Call it with the bytes of each step, or with the number of things where ``unit`` names them. With ``position``, that
    tells how far the work is instead.
    """

    def __init__(
        self,
        title: str,
        total: int | None,
        position: Callable[[], int] | None = None,
        *,
        patience: float = 1.0,
        unit: str | None = None,
    ) -> None:
        self._title = title
        self._total = total
        self._position = position
        self._unit = unit
        self._done = 0
        self._start = time.monotonic() + patience
        self._watched = sys.stderr.isatty()
        self._next = 0.0
        self._progress: Progress | None = None
        self._task: Any = None

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, count: int) -> None:
        """Note that ``count`` more bytes are done."""
        self._done += count
        if not self._watched or time.monotonic() < self._start:
            return
        done = self._done
        if self._position is not None:
            with suppress(OSError, ValueError):  # a pipe has no position
                done = self._position()
        if self._progress is None:
            self._progress = self._show(done)
        if (now := time.monotonic()) >= self._next:
            self._next = now + _REFRESH
            self._progress.update(self._task, completed=done, refresh=True)

    def restart(self) -> None:
        """Begin anew: what was done has to be done again."""
        self._done = 0

    def _show(self, done: int) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

        amount: ProgressColumn = DownloadColumn()
        if self._unit is not None:
            amount = TextColumn("{task.completed:.0f}/{task.total:.0f} " + self._unit)
        columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
        # Not by a thread of its own: there may be none to be had.
        progress = Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)
        self._task = progress.add_task(self._title, total=self._total, completed=done)
        progress.start()
        return progress
