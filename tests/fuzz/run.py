"""Run the fuzzers: `make fuzz [SECONDS=600]`. See docs/fuzzing.md.

Without a target's name each target runs in turn, in a process of its own, for its share of the seconds.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Final

HERE: Final = Path(__file__).parent
WORK: Final = HERE.parents[1] / ".cache" / "fuzz"
NAMES: Final = ("header", "statement", "tar", "frames", "proof", "archive")
MUTATED: Final = ("statement", "tar", "proof", "archive")
_SLOW: Final = 10  # seconds, whole: far more than targets.check allows, but a loop never comes back to be checked
_MEMORY: Final = 512  # MiB


def main() -> int:
    """0 when nothing was found, else the exit code of the first fuzzer that found something."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="for all targets together")
    parser.add_argument("--only", choices=NAMES, help="one target")
    parser.add_argument("--in-process", action="store_true", help="do not start another process; needs --only")
    arguments = parser.parse_args()
    if arguments.in_process:
        _fuzz(arguments.only, arguments.seconds)
    chosen = [arguments.only] if arguments.only else NAMES
    codes = [_start(name, max(1, arguments.seconds // len(chosen))) for name in chosen]
    return next(filter(None, codes), 0)


def _start(name: str, seconds: int) -> int:
    print(f"== {name}: {seconds} s", flush=True)
    command = [sys.executable, "-m", "tests.fuzz.run", "--in-process", "--only", name, "--seconds", str(seconds)]
    return subprocess.run(command, check=False).returncode


def _fuzz(name: str, seconds: int) -> None:
    """Fuzz one target in this process, which ends with it."""
    atheris = importlib.import_module("atheris")  # in an environment of its own: neither mypy nor the tests have it
    with atheris.instrument_imports(include=["docex", "keys", "tarfile"]):
        targets = importlib.import_module("tests.fuzz.targets")
    found = WORK / name
    found.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={targets.MAX_INPUT}",
        f"-timeout={_SLOW}",
        f"-rss_limit_mb={_MEMORY}",
        f"-artifact_prefix={WORK}/{name}-",
        "-print_final_stats=1",
    ]
    if (words := HERE / f"{name}.dict").exists():
        options.append(f"-dict={words}")
    # New inputs go to the first folder; the second is only read.
    arguments = [sys.argv[0], *options, str(found), str(HERE / "corpus" / name)]
    mutator = {"custom_mutator": _mutator(atheris, name)} if name in MUTATED else {}
    atheris.Setup(arguments, lambda data: targets.check(name, data) and None, **mutator)
    atheris.Fuzz()


def _mutator(atheris: ModuleType, name: str) -> Callable[[bytes, int, int], bytes]:
    """The target's own mutator, libFuzzer's, or one after the other."""
    own = importlib.import_module("tests.fuzz.mutators").MUTATORS[name]

    def mutate(data: bytes, limit: int, seed: int) -> bytes:
        rng = Random(seed)
        changed = own(data, rng) if rng.random() < 0.6 else data
        if changed == data or len(changed) > limit or rng.random() < 0.2:
            changed = atheris.Mutate(changed[:limit], limit)
        return bytes(changed)

    return mutate


if __name__ == "__main__":
    sys.exit(main())
