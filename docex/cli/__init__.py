"""The command line: one module for each group of commands, imported when its command is used."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn


def main() -> NoReturn:
    """Run the command that the process's arguments name, and exit (the console script ``docex``)."""
    # These end the process through its cleanup, as Ctrl-C does: nothing half-written stays behind.
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # the terminal has gone; `nohup` has it ignored
        signal.signal(signal.SIGHUP, _terminate)
    from docex.core.interrupts import held

    try:
        with held():  # half-imported modules make errors of their own
            from docex.cli.app import run
        run()
    except KeyboardInterrupt:  # beside the commands, which end themselves
        sys.exit(128 + signal.SIGINT)


def _terminate(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
