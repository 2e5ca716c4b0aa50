import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from docex.errors import LedgerUnavailable, UsageError
from docex.ledger import chain, process
from docex.ledger.process import LocalChain, find_anvil
from docex.ledger.rpc import Rpc
from tests.fixtures.anvil import NewChain
from tests.unit.ledger.support import mine

ROOT = Path(__file__).parents[3]


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def ended(pid: int) -> bool:
    """Whether the process ends within ten seconds."""
    for _ in range(500):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


async def test_a_chain_answers_while_it_runs_and_not_afterwards(anvil_binary: Path) -> None:
    with LocalChain(binary=anvil_binary, chain_id=4242) as local:
        pid = local.pid
        assert pid is not None
        async with Rpc(local.url) as rpc:
            assert await rpc.chain_id() == 4242
    assert local.pid is None
    assert not psutil.pid_exists(pid)
    local.stop()  # twice is fine


async def test_the_state_survives_an_orderly_end_and_a_kill(new_chain: NewChain, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    local = new_chain(state=state)
    async with Rpc(local.url) as rpc:
        await mine(rpc, 3)
        local.stop()
        local.start()
        assert (await chain.head(rpc)).number == 3
        await mine(rpc, 2)
        written = state.stat().st_mtime_ns
        while state.stat().st_mtime_ns == written:
            time.sleep(0.05)
        assert local.pid is not None
        os.kill(local.pid, signal.SIGKILL)
        local.stop()
        local.start()
        assert (await chain.head(rpc)).number == 5


def test_a_chain_that_is_ended_at_once_has_written_its_state(new_chain: NewChain, tmp_path: Path) -> None:
    for number in range(20):
        state = tmp_path / f"{number}.json"
        new_chain(state=state).stop()
        assert state.exists()


async def test_blocks_come_by_themselves_when_asked_for(new_chain: NewChain) -> None:
    local = new_chain(block_time=0.05)
    async with Rpc(local.url) as rpc:
        while (await chain.head(rpc)).number < 2:
            time.sleep(0.02)


async def test_old_states_go_to_a_folder_that_ends_with_the_chain(
    new_chain: NewChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default they would lie in the home folder, gigabytes of them once a few chains were killed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    local = new_chain()
    async with Rpc(local.url) as rpc:
        for _ in range(8):
            await rpc.call("anvil_mine", "0x80")
    (folder,) = tmp_path.glob("docex-chain-*")
    assert any(folder.rglob("*"))
    local.stop()
    assert list(tmp_path.iterdir()) == []


def test_it_does_not_start_twice(new_chain: NewChain) -> None:
    with pytest.raises(UsageError, match="runs already"):
        new_chain().start()


def test_a_chosen_port_that_is_taken_is_told(new_chain: NewChain) -> None:
    with pytest.raises(LedgerUnavailable, match=r"anvil did not start: .*in use"):
        new_chain(port=new_chain().port)


def test_the_words_of_a_binary_that_fails_are_told(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match="anvil did not start: no such flag"):
        LocalChain(binary=script(tmp_path / "anvil", "echo no such flag >&2; exit 2")).start()
    with pytest.raises(LedgerUnavailable, match="it said nothing"):
        LocalChain(binary=script(tmp_path / "anvil", "exit 2")).start()


def test_a_binary_that_neither_answers_nor_ends_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_START_SECONDS", 0.3)
    monkeypatch.setattr(process, "_STOP_SECONDS", 0.2)
    pid = tmp_path / "pid"
    deaf = script(tmp_path / "anvil", f"trap '' TERM; echo $$ > {pid}; while :; do sleep 0.05; done")
    with pytest.raises(LedgerUnavailable, match="did not start"):
        LocalChain(binary=deaf).start()
    assert ended(int(pid.read_text()))


def test_an_interrupt_while_it_starts_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(output: object, seconds: float) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(process._Output, "listening", interrupted)
    local = LocalChain(binary=script(tmp_path / "anvil", "exec sleep 60"))
    with pytest.raises(KeyboardInterrupt):
        local.start()
    assert local.pid is None


def test_another_chain_s_answer_is_not_taken_for_its_own(new_chain: NewChain, tmp_path: Path) -> None:
    """Somebody answers on the port while ours is still on its way to find it taken."""
    taken = new_chain()
    late = script(tmp_path / "anvil", f'sleep 0.3; exec "{find_anvil()}" "$@"')
    with pytest.raises(LedgerUnavailable, match="in use"):
        LocalChain(binary=late, port=taken.port).start()


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM])
def test_the_chain_ends_with_its_parent_however_that_dies(anvil_binary: Path, death: signal.Signals) -> None:
    program = (
        "import sys, time; from pathlib import Path; from docex.ledger.process import LocalChain\n"
        f"chain = LocalChain(binary=Path({str(anvil_binary)!r})); chain.start(); print(chain.pid, flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(death)
        parent.wait()
    assert ended(pid)


def test_a_parent_that_is_gone_before_the_launcher_gets_no_chain() -> None:
    command = [sys.executable, "-I", "-S", "-c", process._LAUNCHER, "1", "15", "/bin/true"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (1, "the parent has ended\n")


def test_without_linux_it_is_started_as_it_is(anvil_binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with LocalChain(binary=anvil_binary) as local:
        assert psutil.Process(local.pid).cmdline()[0] == str(anvil_binary)


# --- find_anvil -----------------------------------------------------------------------------------------------------


def test_the_project_s_own_binary_is_found() -> None:
    assert find_anvil().name == "anvil"


def test_a_chosen_binary_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = script(tmp_path / "my-anvil", "")
    monkeypatch.setenv("DOCEX_ANVIL", str(chosen))
    assert find_anvil() == chosen
    monkeypatch.setenv("DOCEX_ANVIL", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="nowhere, which is not there"):
        find_anvil()


def test_the_path_is_the_last_resort_and_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOCEX_ANVIL", raising=False)
    monkeypatch.setattr(platform, "machine", lambda: "pdp11")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="run `make install`"):
        find_anvil()
    found = script(tmp_path / "anvil", "")
    assert find_anvil() == found
