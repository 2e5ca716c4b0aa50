"""The log."""

import subprocess
import sys

SAY = """
import structlog
from docex.logs import configure
configure()
log = structlog.get_logger("docex")
log.warning("first", number=1)
log.warning("second")
print("goes on", flush=True)
"""


def say(stderr: str) -> tuple[str, str]:
    command = ["bash", "-c", f'"$0" -c "$1" 2>{stderr}', sys.executable, SAY]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout, done.stderr


def test_events_are_lines_of_json_on_standard_error() -> None:
    out, err = say("&2")
    assert out == "goes on\n"
    assert [line.split('"timestamp"')[0] for line in err.splitlines()] == [
        '{"number": 1, "event": "first", "level": "warning", ',
        '{"event": "second", "level": "warning", ',
    ]


def test_a_log_whose_disk_is_full_stops_nothing() -> None:
    assert say("/dev/full")[0] == "goes on\n"
