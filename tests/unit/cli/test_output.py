"""Sizes, times and tables for people; progress only where someone watches."""

from __future__ import annotations

import os
import pty
import select
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docex.cli import output
from docex.errors import UsageError


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_449_000, "1.4 MB"),
        (9_960_000, "10 MB"),
        (999_600, "1.0 MB"),
        (53_000_000_000, "53 GB"),
        (10**18, "1000 PB"),
    ],
)
def test_human_sizes(size: int, text: str) -> None:
    assert output.human_size(size) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1000", 1000),
        ("12B", 12),
        ("1k", 1024),
        ("500MB", 500_000_000),
        ("500 mb", 500_000_000),
        ("2GiB", 2 << 30),
        ("2 G", 2 << 30),
        ("1.5K", 1536),
        ("1TiB", 1 << 40),
    ],
)
def test_sizes_as_people_write_them(text: str, size: int) -> None:
    assert output.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "1e3", "1 X", "1MBB", "1iB", "0x10", "١", "1.", ".5", "1 2"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="not a size"):
        output.parse_size(text)


@given(st.integers(0, 1 << 60))
def test_a_number_of_bytes_is_a_size(size: int) -> None:
    assert output.parse_size(str(size)) == size


def test_moments_are_in_utc() -> None:
    assert output.moment(1_780_000_000) == "2026-05-28 20:26:40 UTC"


def test_a_table_has_columns_as_wide_as_needed(capsys: pytest.CaptureFixture[str]) -> None:
    output.table([("a", "b"), ("long", "")])
    assert capsys.readouterr().out == "  a     b\n  long\n"


def test_what_others_wrote_can_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output.line("a\x1b[2Jb\u202ec\rd")
    assert capsys.readouterr().out == "a\\x1b[2Jb\\u202ec\\rd\n"


class Terminal:
    """Standard error as a terminal, within a test: pytest puts its own in place before each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __enter__(self) -> Terminal:
        self._master, slave = pty.openpty()
        self._stream = open(slave, "w")  # noqa: PTH123 - a descriptor, closed below
        self._monkeypatch.setattr(sys, "stderr", self._stream)
        return self

    def __exit__(self, *_: object) -> None:
        self._monkeypatch.undo()
        self._stream.close()
        os.close(self._master)

    def shown(self) -> str:
        """All that has come until nothing has for a moment."""
        data = b""
        while select.select([self._master], [], [], 0.2)[0]:
            data += os.read(self._master, 1 << 16)
        return data.decode()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal(monkeypatch)


def test_colours_are_for_terminals(terminal: Terminal) -> None:
    with terminal:
        output.warning("one")
        output.failure("code", "two")
        assert terminal.shown() == "\x1b[33m\x1b[1mnote:\x1b[0m one\r\n\x1b[31m\x1b[1merror[code]:\x1b[0m two\r\n"


def test_colours_can_be_refused(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with terminal:
        output.failure("code", "two")
        assert terminal.shown() == "error[code]: two\r\n"


def test_a_meter_shows_work_that_takes_a_while(terminal: Terminal) -> None:
    with terminal:
        with output.Meter("Sealing", 2_000_000, patience=0) as meter:
            meter(1_000_000)
        shown = terminal.shown()
    assert "Sealing" in shown
    assert "1.0/2.0 MB" in shown


def test_a_meter_can_count_things(terminal: Terminal) -> None:
    with terminal:
        with output.Meter("Checking", 4_000, unit="rows", patience=0) as meter:
            meter(3_000)
        assert "3000/4000 rows" in terminal.shown()


def test_a_meter_can_follow_a_position(terminal: Terminal) -> None:
    with terminal:
        with output.Meter("Opening", 4_000_000, lambda: 3_000_000, patience=0) as meter:
            meter(1)
            meter(1)
        assert "3.0/4.0 MB" in terminal.shown()


def test_a_meter_falls_back_on_what_was_done_where_there_is_no_position(terminal: Terminal) -> None:
    def no_position() -> int:
        raise OSError(29, "Illegal seek")

    with terminal:
        with output.Meter("Opening", None, no_position, patience=0) as meter:
            meter(5_000_000)
        assert "5.0/? MB" in terminal.shown()


def test_a_meter_is_silent_when_work_is_short(terminal: Terminal) -> None:
    with terminal:
        with output.Meter("Sealing", 10) as meter:
            meter(10)
        assert terminal.shown() == ""


def test_a_meter_is_silent_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with output.Meter("Sealing", 10, patience=0) as meter:
        meter(10)
    assert capsys.readouterr() == ("", "")
