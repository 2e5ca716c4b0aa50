"""anvil, the development chain, as a child process that never outlives its parent."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self, cast

from docex.errors import LedgerUnavailable, UsageError

HOST: Final = "127.0.0.1"
CHAIN_ID: Final = 31337
_OLD_STATES: Final = 500
_START_SECONDS: Final = 20.0
_STOP_SECONDS: Final = 10.0
_LISTENING: Final = b"Listening on "
# Linux ends the child with its parent, however that dies: prctl(PR_SET_PDEATHSIG = 1, signal), kept across exec.
# A launcher sets it and then becomes anvil, since code between fork and exec is unsafe in a process with threads. Its
# third line closes the race with a parent that died before.
_LAUNCHER: Final = """import ctypes, os, sys
ctypes.CDLL(None).prctl(1, int(sys.argv[2]))
os.getppid() == int(sys.argv[1]) or sys.exit("the parent has ended")
os.execv(sys.argv[3], sys.argv[3:])"""


def bound_to_parent(command: Sequence[str], ending: signal.Signals = signal.SIGTERM) -> list[str]:
    """``command`` (its first word a path), wrapped so that on Linux it gets a signal when this process ends."""
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), str(int(ending)), *command]


def find_anvil() -> Path:
    """The native anvil binary: ``$DOCEX_ANVIL``, or the project's ``node_modules``, or ``anvil`` on the PATH.

    Raises UsageError, saying how to get it.
    """
    chosen = os.environ.get("DOCEX_ANVIL")
    if chosen is not None:
        if not Path(chosen).is_file():
            raise UsageError(f"DOCEX_ANVIL names {chosen}, which is not there")
        return Path(chosen)
    # The npm package's own wrapper is a Node script that starts the binary: a process more to end.
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    package = f"node_modules/@foundry-rs/anvil-{sys.platform}-{machine}/bin/anvil"
    for folder in (Path.cwd(), Path(__file__).parents[2]):
        if (folder / package).is_file():
            return folder / package
    found = shutil.which("anvil")
    if found is None:
        raise UsageError(
            "anvil, the development chain, was not found: run `make install` in the project's folder, install Foundry, "
            "or set DOCEX_ANVIL to the binary"
        )
    return Path(found)


class LocalChain:
    """A development chain on the loopback interface. Use as ``with``, or call ``start`` and ``stop``.

    On Linux the chain also ends when the *thread* that started it ends. It is in a session of its own: Ctrl-C reaches
    the parent only, which then stops it in order.
    """

    def __init__(
        self,
        *,
        state: Path | None = None,
        port: int | None = None,
        chain_id: int = CHAIN_ID,
        block_time: float | None = None,
        arguments: Sequence[str] = (),
        binary: Path | None = None,
    ) -> None:
        """``state``: file that the chain is kept in, written each second and at its end.

        ``port``: None takes a free one. ``block_time``: seconds between blocks; None makes one for each transaction.
        ``arguments``: more of anvil's own.
        """
        self.chain_id = chain_id
        self.port = port or 0
        self._binary = binary
        self._arguments = ["--host", HOST, "--chain-id", str(chain_id), *arguments]
        if state is not None:
            self._arguments += ["--state", str(state), "--state-interval", "1"]
        if block_time is not None:
            self._arguments += ["--block-time", f"{block_time:g}"]
        self._process: subprocess.Popen[bytes] | None = None
        self._states: str | None = None

    @property
    def url(self) -> str:
        """Its RPC URL."""
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The id of its process while it runs."""
        return None if self._process is None else self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the chain and returns when it listens. Starting again after ``stop`` keeps the port.

        Raises LedgerUnavailable with anvil's own words when it does not come up, UsageError when there is no anvil or
        the chain runs already.
        """
        if self._process is not None:
            raise UsageError("the chain runs already")
        binary = str(self._binary or find_anvil())
        # Old states go to disk: in ~/.foundry, by default, where a chain that is killed leaves them for good. All of
        # them, half a megabyte a block, fill a disk in a day: beside the newest 500, in memory, so many stay.
        self._states = tempfile.mkdtemp(prefix="docex-chain-")
        states = ["--cache-path", self._states, "--max-persisted-states", str(_OLD_STATES)]
        command = [binary, "--port", str(self.port), *states, *self._arguments]
        with tempfile.TemporaryFile() as words:
            self._process = subprocess.Popen(
                bound_to_parent(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=words,
                start_new_session=True,
            )
            try:
                output = _Output(cast("IO[bytes]", self._process.stdout))
                port = output.listening(_START_SECONDS)
            except BaseException:
                self.stop()
                raise
            if port is None:
                self.stop()
                words.seek(0)
                reason = words.read(2000).decode(errors="replace").strip()
                raise LedgerUnavailable(f"anvil did not start: {reason or 'it said nothing'}")
        self.port = port
        if "--state" in self._arguments:
            # Anvil listens before it minds SIGTERM: ended in between, it would not write its state.
            until = time.monotonic() + _START_SECONDS
            while not _minds_sigterm(self._process) and time.monotonic() < until:
                time.sleep(0.002)

    def stop(self) -> None:
        """Ends the chain and returns when it has ended and, with ``state``, written its file. Safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._states is not None:
            shutil.rmtree(self._states, ignore_errors=True)


def _minds_sigterm(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process has a handler for SIGTERM (proc_pid_status(5)), or has ended; yes where nothing tells."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return True
    if process.poll() is not None:
        return True
    return bool(int(status.split("SigCgt:")[1].split()[0], 16) >> (signal.SIGTERM - 1) & 1)


class _Output(threading.Thread):
    """Reads what anvil writes: first the port it listens on, then everything else, so that its pipe never fills.

    The port comes from anvil's own words, since whoever answers on a port that we chose may be another process.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(name="anvil-output", daemon=True)
        self._stream = stream
        self._port: int | None = None
        self._known = threading.Event()
        self.start()

    def listening(self, seconds: float) -> int | None:
        """The port, as soon as it is known; None when anvil ended before, or the time is over."""
        self._known.wait(seconds)
        return self._port

    def run(self) -> None:
        """Reads until anvil ends."""
        with self._stream:
            for line in self._stream:
                if self._port is None and line.startswith(_LISTENING):
                    self._port = int(line.rsplit(b":", 1)[1])
                    self._known.set()
        self._known.set()
