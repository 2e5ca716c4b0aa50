"""`docex serve` as a process forked from one that has loaded everything, on a clock that a test can set.

Nothing here is part of a node: a life runs the command line as a person would, with its arguments and environment.
"""

import ctypes
import importlib
import mmap
import os
import signal
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_real = time.time
_jump: mmap.mmap | None = None


def _time() -> float:
    return _real() + (struct.unpack_from("d", _jump)[0] if _jump is not None else 0.0)


@dataclass(frozen=True, slots=True)
class Life:
    """A command line with its environment (``DOCEX_…`` only), where its words go, and the file of its clock's error."""

    arguments: tuple[str, ...]
    environment: dict[str, str]
    log: str
    clock: str | None = None


def run(life: Life) -> None:
    """Live; returns only by an exception, as the command does."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no life outlives its test
    log = os.open(life.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    for name in [each for each in os.environ if each.startswith("DOCEX_")]:
        del os.environ[name]
    os.environ.update(life.environment)
    if life.clock is not None:
        global _jump
        with Path(life.clock).open("r+b") as file:
            _jump = mmap.mmap(file.fileno(), 8)
    sys.argv = ["docex", *life.arguments]
    from docex.cli import main

    main()


def load_everything() -> None:
    """What a node loads when it first needs it: here once, instead of in every life."""
    time.time = _time  # before docex is there: it keeps the function in the defaults of some arguments
    for name in (
        "aiohttp",
        "docex.api.app",
        "docex.cli.app",
        "docex.cli.serve",
        "docex.wiring",
        "rlp",
        "sqlalchemy.dialects.postgresql.psycopg",
        "sqlalchemy.dialects.sqlite.aiosqlite",
        "storage.local",
        "uvicorn.lifespan.on",
        "uvicorn.loops.auto",
        "uvicorn.protocols.http.auto",
        "uvicorn.protocols.websockets.auto",
    ):
        importlib.import_module(name)
    from docex.ledger.contracts import load

    load("Directory")
    load("Notary").encode("anchor", bytes(32), 1)


if os.environ.get("DOCEX_TEST_FORKS"):  # in the process that forks, not in the one that runs the tests
    load_everything()
