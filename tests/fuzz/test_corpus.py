"""Every input that is kept still gets through its target; what the fuzzers once found stays found."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.fuzz import run
from tests.fuzz.mutators import MUTATORS
from tests.fuzz.targets import MAX_INPUT, TARGETS, check

CORPUS = Path(__file__).parent / "corpus"
INPUTS = sorted(path for path in CORPUS.glob("*/*"))


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_kept_input_is_accepted_or_refused_in_time(path: Path) -> None:
    data = path.read_bytes()
    assert len(data) <= MAX_INPUT
    check(path.parent.name, data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_reaches_what_lies_behind_acceptance(name: str) -> None:
    assert any(check(name, path.read_bytes()) for path in INPUTS if path.parent.name == name)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_anything(name: str) -> None:
    assert not check(name, b"\0\xff")


def test_the_corpus_is_small_and_has_no_other_folder() -> None:
    assert {path.parent.name for path in INPUTS} == set(TARGETS)
    assert sum(path.stat().st_size for path in INPUTS) <= 64 << 10


def test_the_runner_knows_every_target_and_no_dictionary_lies_idle() -> None:
    assert set(run.MUTATED) == set(MUTATORS)
    assert set(run.NAMES) == set(TARGETS) == {path.stem for path in run.HERE.glob("*.dict")}


@pytest.mark.parametrize("name", MUTATORS)
def test_a_mutator_gives_inputs_that_a_target_takes(name: str) -> None:
    rng = Random(7)
    for path in (path for path in INPUTS if path.parent.name == name):
        data = path.read_bytes()
        for _ in range(20):
            check(name, data := MUTATORS[name](data, rng)[:MAX_INPUT])
        for _ in range(200):
            data = MUTATORS[name](data, rng)[:MAX_INPUT]
    assert MUTATORS[name](b"", rng)[:1] in (b"", b"\1")
