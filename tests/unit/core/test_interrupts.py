"""A signal whose handler raises: at every instruction, twice, swallowed, in windows and outside."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

import pytest

from docex.core import interrupts, pipeline
from docex.core.interrupts import check, held, hurry, passing
from docex.core.pipeline import Crew
from docex.service import files, folder

SIGNAL = signal.SIGUSR1
Site = tuple[CodeType, int]


class Raised(Exception):
    """What the handler raises."""


@pytest.fixture(autouse=True)
def calls() -> Iterator[list[int]]:
    """The calls of a handler that raises."""
    called: list[int] = []

    def raises(number: int, frame: FrameType | None) -> None:
        called.append(number)
        raise Raised

    before = signal.signal(SIGNAL, raises)
    yield called
    with held():
        pass  # mends what an interrupted end has left
    assert signal.signal(SIGNAL, before) is raises


@contextlib.contextmanager
def interrupted() -> Iterator[None]:
    """A block out of which comes what the handler raised."""
    try:
        yield
    except Raised:
        return
    pytest.fail("nothing was raised")


def send() -> None:
    signal.raise_signal(SIGNAL)


def test_a_signal_waits_for_the_end_of_the_block() -> None:
    done = []
    with interrupted(), held():
        send()
        with held():
            send()
        done.append(True)
    assert done == [True]


def test_a_window_lets_in_what_waits_and_what_comes() -> None:
    with interrupted(), held():
        send()
        with passing():
            pytest.fail("not reached")
    with interrupted(), held(), passing():
        send()
        pytest.fail("not reached")


def test_after_a_window_all_is_held_again_whatever_is_sent() -> None:
    cleaned = []
    with interrupted(), held():
        try:
            with passing():
                send()
        finally:
            send()
            with held():
                send()
            cleaned.append(True)
    assert cleaned == [True]


def test_windows_and_blocks_nest() -> None:
    done = []
    with interrupted(), held():
        with passing():
            with passing(), held():
                send()
                done.append(1)
            pytest.fail("not reached")
        pytest.fail("not reached")
    assert done == [1]


def test_a_window_of_a_window_does_not_shut_it() -> None:
    with interrupted(), held(), passing():
        with passing():
            pass
        with held():
            pass
        send()
        pytest.fail("not reached")


def test_once_a_handler_raised_no_window_opens() -> None:
    reached: list[bool] = []
    with interrupted(), held():
        with interrupted(), passing():
            send()
        with interrupted(), passing():
            pytest.fail("not reached")
        with interrupted():
            check()
        reached.append(True)
    assert reached == [True]


def test_what_somebody_caught_is_raised_again() -> None:
    reached: list[bool] = []
    with interrupted(), held():
        for _ in range(2):
            with interrupted(), passing():
                send()
        reached.append(True)
    assert reached == [True]


def test_another_error_does_not_hide_it() -> None:
    with interrupted(), held():
        try:
            with passing():
                send()
        finally:
            raise ValueError
    with interrupted(), held():
        send()
        raise ValueError


def test_handlers_that_do_not_raise_are_called_once_for_each_signal() -> None:
    seen: list[int] = []
    before = signal.signal(SIGNAL, lambda number, _: seen.append(number))
    try:
        with held():
            send()
            send()
            assert seen == []
            check()
            assert len(seen) == 2
            with passing():
                send()
                send()
                assert len(seen) == 4
            send()
            hurry()
            assert len(seen) == 4
            send()
            hurry()
            assert len(seen) == 6
            send()
        assert seen == [SIGNAL] * 7
    finally:
        signal.signal(SIGNAL, before)


def test_while_it_waits_for_an_event_signals_are_let_in() -> None:
    event = threading.Event()
    with interrupted(), held():
        send()
        interrupts.wait(event)
    threading.Timer(0.05, event.set).start()
    with held():
        interrupts.wait(event)


def test_on_other_threads_nothing_is_held() -> None:
    seen: list[object] = []

    def work() -> None:
        with held(), passing():
            check()
            hurry()
            seen.append(signal.getsignal(SIGNAL))

    def run() -> None:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    run()
    with held():
        run()
    assert seen == [signal.getsignal(SIGNAL), interrupts._arrive]


def test_a_handler_that_was_set_in_the_block_stays() -> None:
    def mine(number: int, frame: FrameType | None) -> None:
        raise AssertionError

    raises = signal.getsignal(SIGNAL)
    with held():
        signal.signal(SIGNAL, mine)
    assert signal.signal(SIGNAL, raises) is mine


def test_a_second_signal_does_not_wait_for_what_blocks(calls: list[int]) -> None:
    """The first waits for a helper that reads; the second leaves it behind."""
    release, taken = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        while threading.current_thread() is threading.main_thread():
            yield 0
        taken.set()
        assert release.wait(60)

    def twice() -> None:
        assert taken.wait(60)
        os.kill(os.getpid(), SIGNAL)
        while not calls:
            time.sleep(0.01)
        os.kill(os.getpid(), SIGNAL)

    crew = Crew(1)
    sender = threading.Thread(target=twice)
    sender.start()
    with interrupted(), held(), crew:
        list(crew.map(str, items()))
    sender.join()
    release.set()
    for thread in crew._threads:
        thread.join()


def test_what_an_interrupted_end_leaves_calls_the_handler_at_once() -> None:
    interrupts._replace_handlers()
    with interrupted():
        send()


def test_a_signal_that_comes_while_a_window_opens_is_not_overlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    def check_before_it_comes() -> None:
        check()
        monkeypatch.undo()
        send()

    with interrupted(), held():
        monkeypatch.setattr(interrupts, "check", check_before_it_comes)
        with passing():
            pytest.fail("not reached")


def test_a_ctrl_c_beside_the_commands_ends_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    from docex import cli
    from docex.cli import app

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(app, "run", interrupt)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 130


# --- at every instruction


class _Steps:
    """Counts the main thread's instructions in some modules, and sends a signal before one of them, the n-th time."""

    def __init__(self, files: set[str], at: Site | None = None, time: int = 0) -> None:
        self.seen: Counter[Site] = Counter()
        self._files = files
        self._at = at
        self._time = time

    def __enter__(self) -> _Steps:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename not in self._files:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            site = (frame.f_code, frame.f_lasti)
            self.seen[site] += 1
            if site == self._at and self.seen[site] == self._time:
                send()
        return self._trace


def crew_threads() -> set[str]:
    return {each.name for each in threading.enumerate() if each.name == "docex-crew"}


def apart(work: Callable[[], object]) -> Iterator[object]:
    """Some work in a generator, which has an error that is being handled for itself: where a handler raises among the
    last instructions of an ``except``, CPython 3.11 holds that error for still being handled, ever after."""
    yield work()


def interrupted_everywhere(work: Callable[[], object], after: Callable[[], None], *modules: ModuleType) -> int:
    """Do some work again and again with a signal before each of its instructions, the first and the last time that it
    comes there; how often the handler's error came out."""
    raised = 0
    files = {str(module.__file__) for module in (interrupts, contextlib, *modules)}
    with _Steps(files) as steps:
        next(apart(work))
    after()
    for site, times in steps.seen.items():
        for time_ in {1, times}:
            with _Steps(files, site, time_):
                try:
                    next(apart(work))
                except Raised:
                    raised += 1
            assert crew_threads() == set()
            after()
    assert sys.exc_info() == (None, None, None)  # later tests look at what errors carry
    return raised


def test_a_crew_interrupted_at_any_instruction_ends_and_leaves_no_thread() -> None:
    def work() -> None:
        with held(), Crew(1) as crew:
            task = crew.in_order(int)
            for item in crew.map(int, iter(range(3))):
                with passing():
                    assert item < 3
            crew.result(task)

    assert interrupted_everywhere(work, lambda: None, pipeline) > 500


def test_a_new_file_interrupted_at_any_instruction_is_there_or_is_not(tmp_path: Path) -> None:
    def work() -> None:
        with files.new_file(tmp_path / "new", durable=False) as file, passing():
            file.write(b"all")

    def after() -> None:
        for each in tmp_path.iterdir():
            assert (each.name, each.read_bytes()) == ("new", b"all")
            each.unlink()

    assert interrupted_everywhere(work, after, files) > 300


def test_a_folder_interrupted_at_any_instruction_gets_all_or_nothing(tmp_path: Path) -> None:
    def work() -> None:
        with folder.folder_sink(tmp_path / "new/out", durable=False) as sink:
            take = sink.begin("a", 3)
            with passing():
                take(memoryview(b"all"))
            sink.commit()

    def after() -> None:
        if (tmp_path / "new").exists():
            assert sorted(each.name for each in tmp_path.rglob("*")) == ["a", "new", "out"]
            shutil.rmtree(tmp_path / "new")
        assert list(tmp_path.iterdir()) == []

    assert interrupted_everywhere(work, after, folder) > 300
