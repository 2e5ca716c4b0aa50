"""A PostgreSQL server for benchmarks: as the tests', but it writes through to the disk, which theirs does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.fixtures.postgres import Postgres, programs


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL of our own that writes through to the disk (that of the tests does not)."""
    found = programs()
    assert found is not None, "PostgreSQL is not installed: run `make tools`"
    root = os.getuid() == 0
    folder = Path(tempfile.mkdtemp(prefix="docex-pg-"))
    as_server = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if root else []
    if root:
        shutil.chown(folder, "postgres", "postgres")
    libraries = found.parents[3].glob("lib/*-linux-gnu*")
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "LD_LIBRARY_PATH": ":".join(map(str, libraries))}
    data = str(folder / "data")
    options: dict[str, Any] = {"env": environment, "cwd": folder, "stdout": subprocess.DEVNULL}
    try:
        initdb = [*as_server, str(found / "initdb"), "-D", data, "-U", "docex", "-A", "trust", "--encoding=UTF8"]
        subprocess.run(initdb, check=True, stderr=subprocess.DEVNULL, **options)
        start = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}"]
        command = [*as_server, str(found / "postgres"), "-D", data, *start]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(command, stderr=log, **options)
        try:
            running = Postgres(folder, command, server)
            _wait_for(running)
            yield running
        finally:
            server.send_signal(2)
            server.wait(timeout=60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(server: Postgres) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            server.execute("SELECT 1")
            return
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, (server.folder / "log").read_text()
            time.sleep(0.1)
