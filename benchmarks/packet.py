"""Sealing and opening beside the tools people would use instead: whole processes, in turn, on the same input.

    python -m benchmarks.packet [--size MIB] [--rounds N] [--only seal-random,open-text,…]

Each round runs every tool once, one after the other and starting with another, so that a drifting machine slows all
alike; what counts is the ratio of the medians. What a tool wrote the round before is removed first, off the clock. Peak
memory is that of the largest single process. The "two-core limit" is half the sum of what the stages of sealing cost on
one thread, measured in the same run. Files are made in TMPDIR: on a disk its speed counts too, so /dev/shm (5 GiB free)
gives the clearer figures.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCEX = [sys.executable, "-m", "docex.cli"]
AGE, AGE_KEYGEN = ROOT / ".tools/bin/age", ROOT / ".tools/bin/age-keygen"
MIB = 1 << 20


@dataclass
class Tool:
    """One command of a comparison and what its runs took."""

    name: str
    command: str
    output: str
    seconds: list[float] = field(default_factory=list)
    peak: int = 0

    def run(self, folder: Path) -> None:
        run("rm", "-rf", self.output, cwd=folder)
        start = time.perf_counter()
        process = subprocess.Popen(["bash", "-euo", "pipefail", "-c", self.command], cwd=folder)
        _, status, usage = os.wait4(process.pid, 0)
        self.seconds.append(time.perf_counter() - start)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{self.name} failed: {self.command}")
        self.peak = max(self.peak, usage.ru_maxrss)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def text(size: int) -> Iterator[bytes]:
    """Text that `zstd -3` shrinks 2.9 times, as logs and reports do."""
    dice = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(dice.choices(letters, k=dice.randint(2, 9))) for _ in range(20_000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    while size > 0:
        data = " ".join(dice.choices(words, weights, k=200_000)).encode()[:size]
        yield data
        size -= len(data)


def noise(size: int) -> Iterator[bytes]:
    for start in range(0, size, MIB):
        yield os.urandom(min(MIB, size - start))


def write(path: Path, chunks: Iterator[bytes]) -> None:
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)


def run(*command: object, cwd: Path) -> str:
    return subprocess.run([str(word) for word in command], cwd=cwd, check=True, capture_output=True, text=True).stdout


def prepare(folder: Path) -> dict[str, str]:
    """Keys for every tool; the words that the commands use."""
    os.environ["DOCEX_PASSPHRASE"] = "benchmark"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # compiling docex again and again is not what is measured
    run(*DOCEX, "keygen", "keys", "--name", "Benchmark", cwd=folder)
    run(AGE_KEYGEN, "-pq", "-o", "pq.txt", cwd=folder)
    (folder / "recipient.txt").write_text(run(AGE_KEYGEN, "-y", "pq.txt", cwd=folder))
    run("openssl", "req", "-x509", "-newkey", "rsa:3072", "-nodes", "-keyout", "key.pem", "-out", "cert.pem",
        "-subj", "/CN=benchmark", "-days", "2", cwd=folder)  # fmt: skip
    home = folder / "gnupg"
    home.mkdir(mode=0o700)
    os.environ["GNUPGHOME"] = str(home)
    if shutil.which("gpg"):
        for usage in ("sign", "encr"):
            algorithm = {"sign": "ed25519", "encr": "cv25519"}[usage]
            if usage == "sign":
                run("gpg", "--batch", "--passphrase", "", "--quick-gen-key", "bench", algorithm, usage, cwd=folder)
            else:
                fingerprint = run("gpg", "--list-keys", "--with-colons", cwd=folder).split("fpr:")[1].split(":")[8]
                run("gpg", "--batch", "--passphrase", "", "--quick-add-key", fingerprint, algorithm, usage, cwd=folder)
    return {"docex": shlex.join(DOCEX), "age": str(AGE)}


def seal_tools(words: dict[str, str], name: str) -> list[Tool]:
    age, docex = words["age"], words["docex"]
    seal = f"{docex} seal {name} -R recipient.txt --keystore keys -o {name}.docex >/dev/null"
    tools = [
        Tool("docex seal", seal, f"{name}.docex"),
        Tool("zstd -3 -T0 | age", f"zstd -3 -T0 -q -c {name} | {age} -R recipient.txt > {name}.age", f"{name}.age"),
        Tool("age", f"{age} -R recipient.txt {name} > {name}.plain.age", f"{name}.plain.age"),
        Tool(
            "openssl cms, sign and encrypt",
            f"openssl cms -sign -binary -nodetach -stream -signer cert.pem -inkey key.pem -in {name} -outform DER |"
            f" openssl cms -encrypt -binary -stream -aes-256-gcm -outform DER -out {name}.cms cert.pem",
            f"{name}.cms",
        ),
    ]
    if shutil.which("gpg"):
        gpg = "gpg --batch --yes --trust-model always --pinentry-mode loopback --passphrase ''"
        sign = f"{gpg} -u bench -r bench -s -e -o {name}.gpg {name} 2>/dev/null"
        tools.append(Tool("gpg, sign and encrypt", sign, f"{name}.gpg"))
    return tools


def open_tools(words: dict[str, str], name: str) -> list[Tool]:
    age, docex = words["age"], words["docex"]
    return [
        Tool("docex open", f"{docex} open {name}.docex -i pq.txt -o out >/dev/null 2>&1", "out"),
        Tool("age -d | zstd -d", f"{age} -d -i pq.txt {name}.age | zstd -d -q -c > {name}.out", f"{name}.out"),
        Tool("age -d", f"{age} -d -i pq.txt {name}.plain.age > {name}.out", f"{name}.out"),
    ]


def compare(title: str, tools: list[Tool], folder: Path, size: int, rounds: int) -> None:
    for tool in tools:  # once for the page cache and the import caches
        tool.run(folder)
        tool.seconds.clear()
    for number in range(rounds):
        first = number % len(tools)  # what runs after a slow one finds other caches: each is in each place in turn
        for tool in tools[first:] + tools[:first]:
            tool.run(folder)
    ours = tools[0]
    print(f"\n### {title}\n")
    print("| tool | median s | min | max | MB/s | docex is | peak MiB |")
    print("|---|---|---|---|---|---|---|")
    for tool in tools:
        print(
            f"| {tool.name} | {tool.median:.2f} | {min(tool.seconds):.2f} | {max(tool.seconds):.2f} "
            f"| {size / tool.median / 1e6:.0f} | {tool.median / ours.median:.2f}x | {tool.peak / 1024:.0f} |",
            flush=True,
        )


def two_core_limit(path: Path, words: dict[str, str], folder: Path, rounds: int) -> None:
    """Half of what the stages of sealing cost one after the other on one thread, beside what sealing takes.

    Sealing takes a whole process; so the start of one (what 1,000 bytes take: the interpreter, imports, the passphrase)
    is a stage, too. Without it the figure is given as well.
    """
    size = path.stat().st_size
    write(folder / "short", noise(1000))
    tool, start = seal_tools(words, path.name)[0], seal_tools(words, "short")[0]
    sums = []
    for _ in range(rounds):
        sums.append(sum(stages(path, folder)))
        tool.run(folder)
        start.run(folder)
    print(f"\ntwo-core limit for {path.name}; docex seal {tool.median:.2f} s, its start {start.median:.2f} s")
    for what, limit in (
        ("stages", statistics.median(sums) / 2),
        ("stages and start", (statistics.median(sums) + start.median) / 2),
    ):
        print(
            f"  half of {what}: {limit:.2f} s ({size / limit / 1e6:.0f} MB/s), {limit / tool.median:.2f} of it",
            flush=True,
        )


def stages(path: Path, folder: Path) -> tuple[float, ...]:
    """Seconds on one thread for: read, hash, compress, encrypt, write."""
    from docex.core import compression
    from docex.core.age.chunking import CHUNK, TAG, ChunkEncryptor

    spent = [0.0] * 5
    buffer = memoryview(bytearray(MIB))
    out = memoryview(bytearray(MIB + 32 * TAG))
    hasher, encryptor = hashlib.sha256(), ChunkEncryptor(b"k" * 16, b"n" * 16)

    def timed(stage: int, work: Callable[[], object]) -> object:
        start = time.perf_counter()
        result = work()
        spent[stage] += time.perf_counter() - start
        return result

    with path.open("rb", buffering=0) as source, (folder / "stages.out").open("wb", buffering=0) as target:
        pending = bytearray()
        while count := timed(0, lambda: source.readinto(buffer)):
            assert isinstance(count, int)
            chunk = buffer[:count]
            timed(1, lambda chunk=chunk: hasher.update(chunk))  # type: ignore[misc]
            pieces = timed(2, lambda chunk=chunk: compression.compress_frame(chunk))  # type: ignore[misc]
            assert isinstance(pieces, list)
            pending += b"".join(pieces)
            whole = min(len(pending), MIB) // CHUNK * CHUNK
            plain = memoryview(bytes(pending[:whole]))
            del pending[:whole]
            written = timed(3, lambda plain=plain: encryptor.encrypt_into(plain, out))  # type: ignore[misc]
            timed(4, lambda written=written: target.write(out[:written]))  # type: ignore[misc]
    return tuple(spent)


def seal_many(count: int) -> tuple[float, float]:
    """When it began and ended to seal ``count`` documents of 100 KB, each in a packet of its own, in one process."""
    from docex.core import packet
    from docex.core.recipients import parse_recipient
    from keys.identity import HybridIdentity
    from keys.signer import Ed25519Signer

    signer = Ed25519Signer.generate()
    recipient = parse_recipient(HybridIdentity.generate().recipient)
    data = b"".join(text(100_000))
    start = time.perf_counter()
    for number in range(count):
        source = packet.DocumentSource(f"{number}.txt", len(data), lambda: BytesIO(data))
        packet.seal([source], BytesIO(), [(recipient, None)], signer=signer, issuer=ISSUER, now=1)
    return start, time.perf_counter()


ISSUER = "eip155:31337:0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


def many_small(count: int, rounds: int) -> None:
    one, two = [], []
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(seal_many, [10, 10]))
        for _ in range(rounds):
            start, end = seal_many(count)
            one.append(count / (end - start))
            times = list(pool.map(seal_many, [count, count]))  # the clock is one for all processes
            two.append(2 * count / (max(end for _, end in times) - min(start for start, _ in times)))
    print("\n### 100 KB documents sealed by the library, one packet each\n")
    print("| processes | documents/s (median) | min | max |\n|---|---|---|---|")
    for processes, rates in ((1, one), (2, two)):
        print(f"| {processes} | {statistics.median(rates):.0f} | {min(rates):.0f} | {max(rates):.0f} |")
    print(f"\ntwo processes: {statistics.median(two) / statistics.median(one):.2f}x one", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, metavar="MIB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="start,random,text,documents,small")
    options = parser.parse_args()
    wanted = options.only.split(",")
    size = options.size * MIB
    print(json.dumps({"cores": os.cpu_count(), "size": size, "rounds": options.rounds}))
    with tempfile.TemporaryDirectory(prefix="docex-benchmark-") as name:
        folder = Path(name)
        words = prepare(folder)
        if "start" in wanted:
            short_commands(folder, words, options.rounds)
        for kind, make in (("random", noise), ("text", text)):
            if kind in wanted:
                write(folder / kind, make(size))
                compare(f"seal {options.size} MiB, {kind}", seal_tools(words, kind), folder, size, options.rounds)
                compare(f"open {options.size} MiB, {kind}", open_tools(words, kind), folder, size, options.rounds)
                two_core_limit(folder / kind, words, folder, options.rounds)
        if "documents" in wanted:
            documents(folder, words, options.rounds)
        if "small" in wanted:
            many_small(1000, options.rounds)


def short_commands(folder: Path, words: dict[str, str], rounds: int) -> None:
    """How long a person waits for a command that has hardly anything to do."""
    write(folder / "short", noise(1000))
    version = Tool("docex --version", f"{words['docex']} --version >/dev/null", "none")
    tools = [version, Tool("age --version", f"{words['age']} --version >/dev/null", "none")]
    compare("the version", tools, folder, 0, rounds)
    compare("seal 1 KB", seal_tools(words, "short"), folder, 1000, rounds)


def documents(folder: Path, words: dict[str, str], rounds: int) -> None:
    """1,000 documents of 100 KB in one packet, beside tar | zstd | age."""
    many = folder / "many"
    many.mkdir()
    for number in range(1000):
        write(many / f"{number:04}.txt", text(100_000) if number % 2 else noise(100_000))
    seal = f"{words['docex']} seal many/* -R recipient.txt --keystore keys -o many.docex >/dev/null"
    peer = f"tar c many | zstd -3 -T0 -q | {words['age']} -R recipient.txt > many.age"
    tools = [Tool("docex seal", seal, "many.docex"), Tool("tar | zstd -3 -T0 | age", peer, "many.age")]
    compare("seal 1,000 documents of 100 KB into one packet", tools, folder, 100_000_000, rounds)
    opening = [
        Tool("docex open", f"{words['docex']} open many.docex -i pq.txt -o out >/dev/null 2>&1", "out"),
        Tool(
            "age -d | zstd -d | tar",
            f"mkdir out && {words['age']} -d -i pq.txt many.age | zstd -d -q | tar x -C out",
            "out",
        ),
    ]
    compare("open 1,000 documents of 100 KB", opening, folder, 100_000_000, rounds)


if __name__ == "__main__":
    main()
