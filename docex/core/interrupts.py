"""Signals wait while something must not be cut short, and come where an exception does no harm.

A signal's handler that raises (Ctrl-C's `KeyboardInterrupt`, a `SystemExit` for SIGTERM, an alarm's error) does so
between any two instructions of the main thread: with a lock taken and its ``with`` not begun, with a file made of which
nobody knows yet, at the first instruction of a clean-up. No ``try`` helps against that. So handlers wait while a `held`
block runs, except in windows (`passing`) around what may take long: reading, computing, writing.

Why nothing is cut short:

1. Handlers are called on the main thread alone, between its instructions. `held` puts `_arrive` in their place, which
   calls none while ``holding`` is set: it notes the signal.
2. A `held` block begins with one store, ``holding = True``: before it nothing has happened that needs undoing. After it
   only a window clears ``holding``, and the outermost block's end, when all is done that had to be.
3. A window shuts before a handler is called in it, and stays shut when that raises: all clean-up on the way out is held
   again, whatever is sent meanwhile. What the handler raised is kept until the outermost block ends, and raised there
   and at the next window should somebody have caught it, or another error have taken its place.
4. A window looks for signals that wait once more after ``holding`` is cleared: none is overlooked before it blocks.

On other threads no handler is called, so there is nothing to hold.
"""

from __future__ import annotations

import _signal  # signal's own functions, which that slows down 20 times by turning handlers into enums and back
import signal
import threading
from collections.abc import Callable
from threading import get_ident
from types import FrameType, TracebackType
from typing import Any

STEP = 0.1
"""Seconds after which whoever waits on the main thread looks for signals."""

_Handler = Callable[[int, FrameType | None], Any]
# Those that handlers are written for; a handler of any other is not known to raise.
_SIGNALS = tuple(
    int(number)
    for name in ("INT", "TERM", "HUP", "QUIT", "ALRM", "VTALRM", "PROF", "USR1", "USR2", "XCPU", "BREAK")
    if (number := getattr(signal, f"SIG{name}", None)) is not None
)


class _State:
    """Of the main thread, which alone changes it; ``depth`` counts the held blocks that it is in."""

    __slots__ = ("before", "depth", "error", "holding", "owner", "waiting")

    def __init__(self) -> None:
        self.before: dict[int, _Handler] = {}
        self.depth = 0
        self.error: BaseException | None = None
        self.holding = False
        self.owner = 0
        self.waiting: list[int] = []


_state = _State()


class held:  # noqa: N801 - reads like a function
    """A block that no handler interrupts, but in its windows. Blocks nest, also in windows of others.

    What a handler raised in the block comes out of the outermost one in any case.
    """

    __slots__ = ("_mine", "_outer")

    def __enter__(self) -> None:
        self._mine = _state.owner == get_ident() if _state.depth else _on_main_thread()
        if self._mine:
            if not _state.depth:
                _state.owner, _state.error = get_ident(), None
                _state.waiting.clear()
                _replace_handlers()
            self._outer = _state.holding
            _state.holding = True
            _state.depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._mine:
            return
        _state.depth -= 1
        if not _state.depth:
            _release(error)
        elif _state.error is None and not self._outer:
            _open_window()


class passing:  # noqa: N801
    """A window in a held block: handlers run in it as ever, those of signals that waited at its start."""

    __slots__ = ("_outer",)

    def __enter__(self) -> None:
        self._outer: bool | None = None
        if _mine():
            self._outer = _state.holding
            if self._outer:
                _open_window()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._outer:
            _state.holding = True


def check() -> None:
    """In a held block: raise what a handler raised before, or have handlers called for the signals that wait."""
    if _mine():
        if _state.error is not None:
            raise _state.error
        _call_handlers()


def hurry() -> None:
    """In a clean-up that waits for others: the first signal waits for it, too, and a second does not."""
    if _mine() and len(_state.waiting) + (_state.error is not None) > 1:
        _call_handlers()


def wait(event: threading.Event) -> None:
    """In a held block: wait for an event, and look for signals meanwhile."""
    while not event.wait(STEP):
        check()


def _call_handlers() -> None:
    while _state.waiting:
        _handle(_state.waiting.pop(0), None)


def _on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _mine() -> bool:
    return _state.depth > 0 and _state.owner == get_ident()


def _arrive(number: int, frame: FrameType | None) -> None:
    """Stands for a handler."""
    if _state.holding:
        _state.waiting.append(number)
    elif not _state.depth:
        _state.before[number](number, frame)
    else:
        _state.holding = True
        _handle(number, frame)
        _state.holding = False


def _handle(number: int, frame: FrameType | None) -> None:
    try:
        _state.before[number](number, frame)
    except BaseException as error:
        _state.error = error
        raise


def _open_window() -> None:
    while True:
        check()
        _state.holding = False
        if not _state.waiting:  # one may have come since it was looked for
            return
        _state.holding = True


def _release(error: BaseException | None) -> None:
    """End the outermost block, with ``depth`` at 0 already."""
    _state.holding = False
    kept, _state.error = _state.error, None
    waiting = _state.waiting.copy()
    _restore_handlers()
    if kept is None:
        for number in waiting:
            signal.raise_signal(number)
    elif kept is not error:
        raise kept


def _replace_handlers() -> None:
    for number in _SIGNALS:
        handler = _signal.getsignal(number)
        if callable(handler) and handler is not _arrive:
            _state.before[number] = handler
            _signal.signal(number, _arrive)


def _restore_handlers() -> None:
    """Interrupted, it leaves `_arrive` in places, which calls the handlers at once then: the next block mends it."""
    for number, handler in list(_state.before.items()):
        if _signal.getsignal(number) is _arrive:
            _signal.signal(number, handler)
        del _state.before[number]
