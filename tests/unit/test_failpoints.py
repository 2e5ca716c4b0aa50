"""Failpoints: a closed list, each at one place, inert unless armed."""

import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from docex import failpoints
from docex.errors import UsageError
from docex.failpoints import Failpoint, arm, reached
from tests.e2e.faults import test_failpoints, test_idempotency
from tests.unit.ledger import test_sender_crashes

SOURCES = Path(failpoints.__file__).parent


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    arm("")


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    made: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *arguments: made.append(arguments))
    return made


def test_each_point_stands_at_one_place() -> None:
    found = Counter(
        name
        for path in SOURCES.rglob("*.py")
        for name in re.findall(r"\breached\(Failpoint\.(\w+)\)", path.read_text())
    )
    assert found == Counter(point.name for point in Failpoint)


def test_each_point_is_crossed_by_a_test() -> None:
    crossed = {*test_failpoints.CROSSED, *test_idempotency.CROSSED, *test_sender_crashes.CROSSED}
    assert crossed == set(Failpoint)


def test_nothing_happens_at_a_point_that_is_not_armed(kills: list[tuple[int, int]]) -> None:
    assert arm("") == frozenset()
    assert arm(" deposit.stored, job.done ,") == {Failpoint.DEPOSIT_STORED, Failpoint.JOB_DONE}
    reached(Failpoint.DEPOSIT_KEPT)
    assert kills == []


def test_the_process_is_killed_at_an_armed_point_and_says_where(
    kills: list[tuple[int, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    arm("deposit.stored")
    reached(Failpoint.DEPOSIT_STORED)
    assert kills == [(os.getpid(), signal.SIGKILL)]
    assert capsys.readouterr().err == "failpoint deposit.stored\n"


def test_a_name_that_is_none_is_refused_with_the_list() -> None:
    with pytest.raises(UsageError, match=r"'deposit' is not a valid Failpoint; there are node\.migrated, "):
        arm("deposit")
