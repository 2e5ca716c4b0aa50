"""Keys and packets as a person uses them: the installed command, its own process, real files and a real terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import zstandard

from keys import local
from keys.identity import HybridIdentity
from tests.attack import forge
from tests.attack.forge import Actor
from tests.fixtures import stock_tools
from tests.unit.cli.support import PASSPHRASE, SECRET, Member, make_member, tree

DOCEX = str(Path(sys.executable).with_name("docex"))


def environment(**more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DOCEX_")}
    return clean | {"DOCEX_PASSPHRASE": PASSPHRASE, "NO_COLOR": "1"} | more


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def mine(home: Path) -> Member:
    return make_member(home, "mine")


@pytest.fixture
def maker(home: Path) -> Member:
    return make_member(home, "maker")


def start(*arguments: str, **more: str) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen([DOCEX, *arguments], stdin=pipe, stdout=pipe, stderr=pipe, env=environment(**more))


def docex(*arguments: str, data: bytes = b"", code: int = 0, **more: str) -> tuple[bytes, str]:
    """Standard output and error of a run that must end with ``code``."""
    with start(*arguments, **more) as process:
        output, errors = process.communicate(data, timeout=60)
    assert process.returncode == code, (process.returncode, output[:1000], errors)
    assert not SECRET.search((output + errors).decode(errors="replace"))
    return output, errors.decode()


@contextmanager
def nothing_left(home: Path) -> Iterator[None]:
    before = tree(home)
    yield
    assert tree(home) == before


# --- round trips


def test_from_keys_to_documents(home: Path) -> None:
    """As in the help texts: two keystores, a packet with a folder, opened and checked by its sender."""
    for name in ("mine", "maker"):
        public, note = docex("keygen", name, "--name", f"{name} AG")
        (home / f"{name}.json").write_bytes(public)
        assert json.loads(public)["name"] == f"{name} AG"
        assert note.startswith(f"Made a keystore in {name}.")
    (home / "quality.pdf").write_bytes(b"%PDF quality")
    (home / "scan.bin").write_bytes(os.urandom(3_000_000))
    seal = ("seal", "quality.pdf", "scan.bin", "--to", "maker.json", "-o", "p.docex", "--folder", "lot 7")
    assert docex(*seal, DOCEX_KEYSTORE="mine")[0].startswith(b"Sealed 2 documents into p.docex (3.0 MB)")
    opened, errors = docex("open", "p.docex", "-k", "maker", "--from", "mine.json", "-o", "in/here")
    assert b"mine AG, as expected" in opened
    assert errors == ""
    for name in ("quality.pdf", "scan.bin"):
        assert (home / "in/here/lot 7" / name).read_bytes() == (home / name).read_bytes()
    assert tree(home / "in") == ["here", "here/lot 7", "here/lot 7/quality.pdf", "here/lot 7/scan.bin"]


def test_through_pipes(home: Path, mine: Member, maker: Member) -> None:
    (home / "a.txt").write_bytes(b"first")
    packet, note = docex("seal", "a.txt", "--to", "maker.json", "-k", "mine", "-o", "-")
    assert packet.startswith(b"age-encryption.org/v1\n")
    assert note.startswith("Sealed 1 document into standard output")
    facts = json.loads(docex("inspect", "-", "--json", data=packet)[0])
    with_keys = json.loads(docex("inspect", "-", "-k", "maker", "--json", data=packet)[0])
    assert facts.items() <= with_keys.items()
    assert facts["header_size"] + facts["payload_size"] == len(packet)
    docex("open", "-", "-k", "maker", "-o", "out", data=packet)
    assert (home / "out/a.txt").read_bytes() == b"first"


def test_through_a_named_pipe(home: Path, mine: Member) -> None:
    (home / "a.txt").write_bytes(b"first")
    packet, _ = docex("seal", "a.txt", "--to", "mine.json", "-k", "mine", "-o", "-")
    os.mkfifo(home / "pipe")
    with start("open", "pipe", "-k", "mine", "-o", "out") as process:
        (home / "pipe").write_bytes(packet)
        assert process.wait(60) == 0
    assert (home / "out/a.txt").read_bytes() == b"first"


@stock_tools.needs("age", "age-keygen", "zstd", "tar")
def test_with_the_stock_tools(home: Path, mine: Member) -> None:
    """A recipient with an age key of its own and no docex; and the same key in docex."""
    stock_tools.run("age-keygen -pq -o key.txt 2>/dev/null && age-keygen -y key.txt > recipients.txt", cwd=home)
    (home / "a.txt").write_bytes(b"first")
    docex("seal", "a.txt", "-R", "recipients.txt", "-k", "mine", "-o", "p.docex")
    stock_tools.run("age -d -i key.txt p.docex | zstd -d | tar x", cwd=home)
    assert (home / "document/a.txt").read_bytes() == b"first"
    docex("open", "p.docex", "-i", "key.txt", "-o", "out")
    assert (home / "out/a.txt").read_bytes() == b"first"


def test_a_node_keystore_seals_but_does_not_open(home: Path, mine: Member) -> None:
    docex("keystore", "export", "mine", "--without-identity", "-o", "node")
    (home / "a.txt").write_bytes(b"first")
    docex("seal", "a.txt", "--to", "mine.json", "-k", "node", "-o", "p.docex")
    assert "without its identity" in docex("open", "p.docex", "-k", "node", "-o", "out", code=2)[1]
    docex("open", "p.docex", "-k", "mine", "-o", "out")


# --- hostile and damaged packets


@pytest.fixture
def attacker() -> Actor:
    return forge.MALLORY


@pytest.fixture
def receiver(home: Path) -> Actor:
    """The recipient of what is forged, whose plain identity file is key.txt."""
    seed = bytes(range(32))
    (home / "key.txt").write_text(_identity_text(seed))
    return Actor(forge.MAKER.signer, HybridIdentity(seed), forge.MAKER.account)


def _identity_text(seed: bytes) -> str:
    from keys import bech32

    return bech32.encode("age-secret-key-pq-", seed).upper() + "\n"


CONTENTS = {"a": b"first", "b/c": b"second"}


def flipped(at: int) -> Callable[[Actor, Actor], bytes]:
    def make(attacker: Actor, receiver: Actor) -> bytes:
        data = bytearray(forge.seal(CONTENTS, attacker, receiver))
        data[at] ^= 1
        return bytes(data)

    return make


def wrong_key(attacker: Actor, _: Actor) -> bytes:
    return forge.seal(CONTENTS, attacker, attacker)


def truncated(attacker: Actor, receiver: Actor) -> bytes:
    return forge.seal(CONTENTS, attacker, receiver)[:-17]


def lying_size(attacker: Actor, receiver: Actor) -> bytes:
    said = [forge.document(attacker, "a", b"first", size=6)]
    return forge.packed(forge.archive({"a": b"first"}, *said, forge.binding(attacker, said, receiver)), receiver)


def lying_archive(attacker: Actor, receiver: Actor) -> bytes:
    archive = forge.block("document/a", 1 << 40) + forge.filled(b"first") + forge.END
    return forge.packed(archive, receiver)


def bomb(_: Actor, receiver: Actor) -> bytes:
    archive = forge.block("document/a", 1 << 30)
    frame = zstandard.ZstdCompressor().compress(bytes(1 << 20))
    return forge.encrypt(forge.compress(archive) + frame * 1024, receiver.recipient)


def outside(attacker: Actor, receiver: Actor) -> bytes:
    archive = forge.entry("document/a", b"first") + forge.entry("document/../x", b"x")
    said = forge.honest({"a": b"first"}, attacker, receiver)
    return forge.packed(archive + forge.entry("statements.jws", forge.lines(*said)) + forge.END, receiver)


def readdressed(attacker: Actor, receiver: Actor) -> bytes:
    contents = {"a": b"first"}
    return forge.packed(forge.archive(contents, *forge.honest(contents, forge.MINE, forge.MAKER)), receiver)


def another_letter(attacker: Actor, receiver: Actor) -> bytes:
    """One that is base64, too."""
    packet = bytearray(forge.seal({"a": b"content"}, attacker, receiver))
    packet[1540] = ord("B") if packet[1540] == ord("A") else ord("A")
    return bytes(packet)


ATTACKS = {
    "a wrong key": (wrong_key, "no_matching_identity"),
    "a flipped byte in the version line": (flipped(3), "packet_header_invalid"),
    "a changed letter in a stanza's body": (another_letter, "no_matching_identity"),
    "a flipped byte in the payload": (flipped(-1), "packet_payload_invalid"),
    "a truncated packet": (truncated, "packet_payload_invalid"),
    "a lying size in a statement": (lying_size, "digest_mismatch"),
    "a lying size in the archive": (lying_archive, "packet_archive_invalid"),
    "a decompression bomb": (bomb, "packet_compression_invalid"),
    "a path out of the folder": (outside, "name_invalid"),
    "a packet meant for someone else": (readdressed, "not_addressee"),
}


@pytest.mark.parametrize(("make", "code"), ATTACKS.values(), ids=ATTACKS)
def test_what_does_not_hold_is_one_clear_line_and_nothing_else(
    make: Callable[[Actor, Actor], bytes], code: str, home: Path, attacker: Actor, receiver: Actor
) -> None:
    (home / "evil").write_bytes(make(attacker, receiver))
    with nothing_left(home):
        output, errors = docex("open", "evil", "-i", "key.txt", "-o", "new/out", "--statements", "new/said", code=1)
    assert output == b""
    assert errors.startswith(f"error[{code}]: ")
    assert errors.count("\n") == 1


# --- interruptions


def wait_until(reached: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def interrupted(process: subprocess.Popen[bytes], until: Callable[[], bool], by: signal.Signals) -> tuple[int, bytes]:
    wait_until(until, process)
    process.send_signal(by)
    process.wait(60)  # with standard input open: the rest of a packet never comes
    output, errors = process.communicate()
    assert output == b""
    return process.returncode, errors


@pytest.mark.parametrize(("by", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interrupted_seal_leaves_nothing(by: signal.Signals, code: int, home: Path, mine: Member) -> None:
    with (home / "large").open("wb") as file:
        file.truncate(20 << 30)
    with nothing_left(home), start("seal", "large", "--to", "mine.json", "-k", "mine", "-o", "p") as process:
        assert interrupted(process, lambda: any(home.glob(".docex-*")), by) == (code, b"")


@pytest.mark.parametrize(("by", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interrupted_open_leaves_nothing(
    by: signal.Signals, code: int, home: Path, attacker: Actor, receiver: Actor
) -> None:
    packet = forge.seal({"a": os.urandom(4 << 20)}, attacker, receiver)
    with nothing_left(home), start("open", "-", "-i", "key.txt", "-o", "out") as process:
        assert process.stdin is not None
        process.stdin.write(packet[: 3 << 20])
        process.stdin.flush()
        assert interrupted(process, lambda: any(home.glob("out/.docex-*/0")), by) == (code, b"")


@pytest.mark.parametrize("gap", [0.0, 0.02, 0.1])
def test_a_second_signal_does_not_cut_the_clean_up_short(
    gap: float, home: Path, attacker: Actor, receiver: Actor
) -> None:
    packet = forge.seal({f"{number:04}": os.urandom(2000) for number in range(6000)}, attacker, receiver)
    with nothing_left(home), start("open", "-", "-i", "key.txt", "-o", "out") as process:
        assert process.stdin is not None
        process.stdin.write(packet[:-1])  # so it waits for the rest, with half of the documents written
        process.stdin.flush()
        wait_until(lambda: any(home.glob("out/.docex-*/3000")), process)
        for by in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            process.send_signal(by)
            time.sleep(gap)
        process.wait(60)
        assert process.returncode in (130, 143)


def test_an_ignored_interrupt_stays_ignored(home: Path, attacker: Actor, receiver: Actor) -> None:
    """As in a script's background job."""
    packet = forge.seal({"a": b"first"}, attacker, receiver)
    command = ["bash", "-c", "trap '' INT; exec \"$@\"", "bash", DOCEX, "open", "-", "-i", "key.txt", "-o", "out"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment()) as process:
        assert process.stdin is not None
        process.stdin.write(packet[:-1])
        process.stdin.flush()
        wait_until(lambda: any(home.glob("out/.docex-*")), process)
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        process.communicate(packet[-1:], timeout=60)
    assert process.returncode == 0
    assert (home / "out/a").read_bytes() == b"first"


@pytest.mark.parametrize("out", ["p", "-"])
def test_a_wrong_passphrase_is_known_before_much_is_done(out: str, home: Path, mine: Member) -> None:
    with (home / "large").open("wb") as file:
        file.truncate(1 << 40)
    seal = ("seal", "large", "--to", "mine.json", "-k", "mine", "-o", out)
    with nothing_left(home):
        output, errors = docex(*seal, code=1, DOCEX_PASSPHRASE="wrong")
    assert output == b""
    assert errors == "error[wrong_passphrase]: the passphrase does not open the keystore\n"


ALONE = """
import threading
def refuse(*_):
    raise RuntimeError("can't start new thread")
threading._start_new_thread = refuse
from docex.cli import main
main()
"""


def test_without_another_thread_all_goes_on(home: Path, mine: Member, maker: Member) -> None:
    (home / "a").write_bytes(os.urandom(3 << 20))
    for arguments in (
        ("seal", "a", "--to", "mine.json", "-k", "mine", "-o", "p"),
        ("open", "p", "-k", "mine", "-o", "out"),
        ("grant", "p", "--to", "maker.json", "-k", "mine"),
    ):
        subprocess.run([sys.executable, "-c", ALONE, *arguments], env=environment(), timeout=60, check=True)
    assert (home / "out/a").read_bytes() == (home / "a").read_bytes()


def test_a_reader_that_goes_is_no_error(home: Path, mine: Member) -> None:
    (home / "large").write_bytes(os.urandom(2 << 20))
    with nothing_left(home), start("seal", "large", "--to", "mine.json", "-k", "mine", "-o", "-") as process:
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(60) == 141
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_output_that_can_not_be_written(home: Path, mine: Member) -> None:
    command = [DOCEX, "keystore", "show", "mine"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment(), timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, b"error[io_error]: No space left on device\n")


# --- passphrases


def at_terminal(answers: Sequence[tuple[str, str]], *arguments: str) -> tuple[int, str]:
    """Run on a terminal of its own, answering each prompt; the exit code, and all that was shown."""
    process, terminal = pty.fork()
    if process == 0:
        clean = {name: value for name, value in environment().items() if not name.startswith("DOCEX_")}
        os.execve(DOCEX, [DOCEX, *arguments], clean)
    shown, waiting = "", list(answers)
    while select.select([terminal], [], [], 30)[0]:
        try:
            shown += os.read(terminal, 4096).decode()
        except OSError:  # how Linux reports that the other side has closed
            break
        if waiting and shown.endswith(waiting[0][0]):
            os.write(terminal, waiting.pop(0)[1].encode())
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), shown


def test_a_new_passphrase_is_asked_for_twice_and_not_shown(home: Path) -> None:
    answers = [("for the new keystore: ", PASSPHRASE + "\n"), ("The same again: ", PASSPHRASE + "\n")]
    code, shown = at_terminal(answers, "keygen", "mine", "--name", "Mine AG")
    assert code == 0
    assert not SECRET.search(shown)
    assert local.open_keystore("mine", PASSPHRASE.encode()).name == "Mine AG"


def test_two_new_passphrases_that_differ(home: Path) -> None:
    answers = [("for the new keystore: ", "one\n"), ("The same again: ", "two\n")]
    with nothing_left(home):
        code, shown = at_terminal(answers, "keygen", "mine", "--name", "Mine AG")
    assert code == 2
    assert "the two passphrases differ" in shown


@pytest.mark.parametrize(("key", "last"), [("\x03", ""), ("\x04", "aborted")])
def test_a_prompt_that_is_abandoned(key: str, last: str, home: Path) -> None:
    with nothing_left(home):
        code, shown = at_terminal([("for the new keystore: ", key)], "keygen", "mine", "--name", "Mine AG")
    assert code == 130
    assert shown.strip().endswith(last or "for the new keystore:") or shown.strip().endswith("^C")
    assert "Traceback" not in shown


def test_an_existing_passphrase_is_asked_for_once(home: Path, mine: Member) -> None:
    (home / "a").write_bytes(b"a")
    seal = ("seal", "a", "--to", "mine.json", "-k", "mine", "-o", "p")
    assert "error[wrong_passphrase]" in at_terminal([("Passphrase of mine: ", "wrong\n")], *seal)[1]
    assert at_terminal([("Passphrase of mine: ", PASSPHRASE + "\n")], *seal)[0] == 0


def test_a_packet_is_not_written_to_a_terminal(home: Path, mine: Member) -> None:
    (home / "a").write_bytes(b"a")
    seal = ("seal", "a", "--to", "mine.json", "-k", "mine", "-o", "-")
    code, shown = at_terminal([("Passphrase of mine: ", PASSPHRASE + "\n")], *seal)
    assert code == 2
    assert "it is not written to a terminal" in shown


def test_nobody_to_ask(home: Path, mine: Member) -> None:
    (home / "a").write_bytes(b"a")
    seal = ("seal", "a", "--to", "mine.json", "-k", "mine", "-o", "p")
    _, errors = docex(*seal, code=2, DOCEX_PASSPHRASE="")
    assert errors.startswith("error[usage]: no passphrase, and no terminal to ask on: give --passphrase-file")


def test_passphrases_from_files(home: Path, mine: Member) -> None:
    (home / "a").write_bytes(b"a")
    (home / "secret").write_text(PASSPHRASE + "\n")
    seal = ("seal", "a", "--to", "mine.json", "-k", "mine")
    docex(*seal, "-o", "p1", "--passphrase-file", "secret", DOCEX_PASSPHRASE="wrong")
    docex(*seal, "-o", "p2", DOCEX_PASSPHRASE_FILE="secret", DOCEX_PASSPHRASE="wrong")


def test_a_traceback_only_when_asked_for(home: Path) -> None:
    assert "Traceback" not in docex("keystore", "show", "absent", code=1)[1]
    assert "Traceback" in docex("--debug", "keystore", "show", "absent", code=1)[1]
    assert "Traceback" in docex("keystore", "show", "absent", code=1, DOCEX_DEBUG="1")[1]


# --- how long a person waits (benchmarks/packet.py says it in seconds)


@pytest.mark.parametrize("command", [["--version"], ["seal", "a", "--to", "mine.json", "-k", "mine", "-o", "p"]])
def test_a_short_command_loads_no_vendor_it_does_not_need(home: Path, mine: Member, command: list[str]) -> None:
    (home / "a").write_bytes(bytes(1000))
    script = (
        "import sys\n"
        "from docex.cli import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    heavy = {'web3', 'eth_account', 'aiohttp', 'sqlalchemy', 'fastapi', 'pydantic', 'httpx', 'azure'}\n"
        "    sys.exit(f'loaded {heavy & set(sys.modules)}' if heavy & set(sys.modules) else end.code)\n"
    )
    environment = os.environ | {"DOCEX_PASSPHRASE": PASSPHRASE}
    done = subprocess.run([sys.executable, "-c", script, *command], cwd=home, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
