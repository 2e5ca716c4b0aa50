"""The demo as a newcomer runs it: it ends well, what it leaves verifies afterwards, and Ctrl-C leaves nothing."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from docex.cli.demo import report
from docex.cli.demo.network import Member, Network, _wait_ready
from docex.cli.demo.report import Audit, leave_audit, show_addresses, try_audit
from docex.cli.demo.steps import Steps
from docex.cli.demo.story import Sample, Story
from docex.errors import NodeUnavailable
from tests.fixtures.network import new_organisation
from tests.fixtures.processes import unmeasured

pytestmark = pytest.mark.timeout(420)

# The demo itself is measured (coverage has started by then), and not its nodes: that slows them by half.
ALONE = """
import os
for name in [each for each in os.environ if each.startswith("COVERAGE_")]:
    del os.environ[name]
from docex.cli import main
main()
"""
CERTIFICATES = Path(__file__).parents[2] / "../shared/data/certificates"
MEDIA = "application/json"


def command(folder: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "docex.cli", "demo", "--folder", str(folder), *more]


def children_of(folder: Path) -> list[str]:
    """Processes that have the demo's folder on their command line: its nodes and its chain."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(folder) in line and process.pid != os.getpid():
            found.append(line)
    return found


def test_demo_ends_well_and_its_folder_verifies_after_everything_stopped(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    measured = [sys.executable, "-c", ALONE, *command(folder)[3:]]
    done = subprocess.run(measured, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "error[no_matching_identity]" in done.stdout
    assert "error[packet_payload_invalid]" in done.stdout
    assert "What is on record now" in done.stdout
    assert children_of(folder) == []
    audit = folder / "audit"
    verified = subprocess.run([audit / "verify.sh"], capture_output=True, text=True, timeout=60)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "valid: quality-certificate.pdf" in verified.stdout
    assert children_of(folder) == []
    offline = [sys.executable, "-m", "docex.cli", "verify", str(audit / "quality-certificate.pdf")]
    offline += ["--proof", str(audit / "proof.json"), "--trust", str(audit / "trust.json")]
    assert subprocess.run(offline, capture_output=True, timeout=60).returncode == 3
    block = re.findall(r"--trust-block (0x[0-9a-f]{64})", done.stdout)[-1]
    assert subprocess.run([*offline, "--trust-block", block], capture_output=True, timeout=60).returncode == 0


def test_verify_says_at_once_why_the_chain_did_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / 'it\'s $HOME; a "folder"'
    folder.mkdir()
    audit = Audit(folder, folder / "a.pdf", folder / "proof.json", folder / "trust.json", folder / "verify.sh")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(report, "_PORT", taken.getsockname()[1])
        audit.script.write_text(report._script(audit, folder / "chain.json"))
        environment = os.environ | {"TMPDIR": str(tmp_path)}
        done = subprocess.run(
            ["/bin/sh", audit.script], capture_output=True, text=True, timeout=60, env=environment, check=False
        )
    assert done.returncode == 3
    assert "error[ledger_unavailable]: anvil did not start" in done.stderr
    assert done.stdout == ""
    assert sorted(each.name for each in tmp_path.iterdir()) == [folder.name]
    assert [each.name for each in folder.iterdir()] == ["verify.sh"]
    assert children_of(folder) == []


@pytest.mark.parametrize("arguments", [(), ("--keep",)])
def test_ctrl_c_leaves_no_process_behind(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    folder = tmp_path / "demo"
    waited = "The nodes are yours" if arguments else "Down the chain"
    process = subprocess.Popen(
        command(folder, *arguments),
        env=unmeasured(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        shown = ""
        for line in process.stdout:
            shown += line
            if waited in line:
                break
        assert waited in shown
        assert len(children_of(folder)) >= 5  # a chain, four nodes, and the demo itself
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert children_of(folder) == []


def test_killed_demo_takes_its_nodes_and_chain_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with subprocess.Popen(
        command(folder), env=unmeasured(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "The mine deposits" in line:
                break
        process.kill()
    until = time.monotonic() + 60
    while children_of(folder) and time.monotonic() < until:
        time.sleep(0.1)
    assert children_of(folder) == []


def test_a_node_that_ends_is_named_at_once_with_its_log(tmp_path: Path) -> None:
    made = new_organisation(tmp_path / "keystore", "Mine AG")
    member = Member("mine", "Mine AG", tmp_path, made.keystore, "http://127.0.0.1:1")
    with subprocess.Popen([sys.executable, "-c", ""]) as node:
        node.wait()
        with pytest.raises(NodeUnavailable, match=r"Mine AG's node did not start: no answer \(see .*/node\.log\)$"):
            _wait_ready(member, node)


def test_demo_refuses_a_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    done = subprocess.run(command(tmp_path), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "error[usage]" in done.stderr
    assert (tmp_path / "precious.txt").read_text() == "mine"


def read_whole(file: Path) -> list[bytes]:
    return [file.read_bytes()]


def real_certificates() -> list[Sample]:
    kinds = {"pact": "carbon", "untp-dcc": "conformity"}
    samples = []
    for file in sorted(CERTIFICATES.glob("*.json")):
        kind = next((kind for start, kind in kinds.items() if file.name.startswith(start)), "other")
        samples.append(Sample(f"certificates/{file.name}", kind, MEDIA, partial(read_whole, file)))
    return samples


def test_real_certificates_travel_from_mine_to_retailer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = real_certificates()
    if not samples:
        pytest.skip("the shared folder with certificates made elsewhere is not on this machine")
    for name in os.environ.keys() - unmeasured().keys():
        monkeypatch.delenv(name)
    steps = Steps()
    with Network(tmp_path, steps) as network:
        story = Story(network, steps, samples)
        story.tell()
        assert [made["deliveries"][0]["state"] for _, _, made in story.transfers] == ["accepted"] * 3
        with network.members["retailer"].client() as client:
            for sample in samples:
                received = f"received/{network.members['distributor'].account.rpartition(':')[2]}/{sample.path}"
                assert client.text(f"documents/{received}").encode() == b"".join(sample.chunks())
        try_audit(leave_audit(network, story, steps), network, steps)
        capsys.readouterr()
        show_addresses(network, steps)
        shown = capsys.readouterr().out
        assert [member.url in shown for member in network.members.values()] == [True] * 4
