"""A node with a time-stamping authority, on a real chain, and what `docex verify` says of its proofs in row 5."""

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from docex.cli.serve import node_settings
from docex.errors import UsageError
from docex.settings import NodeSettings
from docex.wiring import running_node
from tests.fixtures.network import PASSPHRASE, Consortium, Join, StartNode
from tests.fixtures.stock_tools import needs
from tests.fixtures.tsa import Authority, LocalTsa

pytestmark = needs("openssl")

DOCUMENT = b"certificate"


@dataclass(frozen=True, slots=True)
class Auditor:
    """Runs docex in a folder, with trust settings by name."""

    folder: Path
    consortium: Consortium

    async def run(self, *words: str, trust: str, code: int = 0) -> str:
        """Standard output and standard error together, once the exit code is as it should be."""
        environment = os.environ | {"DOCEX_TRUST": str(self.folder / f"{trust}.json"), "NO_COLOR": "1"}
        command = [sys.executable, "-m", "docex.cli", *words]
        done = await asyncio.to_thread(
            subprocess.run, command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=90
        )
        assert done.returncode == code, done.stdout + done.stderr
        return str(done.stdout + done.stderr)

    async def trust(self, name: str, *certificates: Path) -> str:
        network = ("--from", str(self.consortium.record), "--rpc", self.consortium.chain.url, "--confirmations", "1")
        files = [word for path in certificates for word in ("--tsa-cert", str(path))]
        return await self.run("trust", "add", "tests", *network, *files, trust=name)

    async def row_5(self, trust: str) -> str:
        """The line of a verification that is valid as a whole: row 5 never decides."""
        said = await self.run("verify", "cert.pdf", "--proof", "proof.json", trust=trust)
        assert "\nvalid: " in said
        return next(line.rstrip() for line in said.splitlines() if "independent time" in line)


async def test_a_timestamp_comes_once_the_tsa_is_back_and_verify_shows_it(
    join: Join,
    start_node: StartNode,
    consortium: Consortium,
    tsa: LocalTsa,
    authority: Authority,
    other_authority: Authority,
    tmp_path: Path,
) -> None:
    auditor = Auditor(tmp_path, consortium)
    await auditor.trust("bare")
    added = await auditor.trust("stamped", other_authority.ca_file, authority.ca_file)
    assert ", 2 TSA certificates\n" in added
    await auditor.trust("other", other_authority.ca_file)
    tsa.fail()
    node = await start_node(await join("Mine AG"), tsa=tsa.url)
    digest = (await node.deposit("cert.pdf", DOCUMENT))["digest"]
    (tmp_path / "cert.pdf").write_bytes(DOCUMENT)

    async def proof(done: Any) -> None:
        await node.until(f"proofs/{digest}", done, within=120)
        (tmp_path / "proof.json").write_bytes((await node.client.get(f"/api/v1/proofs/{digest}")).content)

    await proof(lambda made: made["statement"]["anchor"])
    line = await auditor.row_5("stamped")
    assert line.startswith("– 5 independent time (optional)")
    assert line.endswith("not checked: no independent timestamp in the proof")
    tsa.recover()
    await proof(lambda made: "timestamp" in (made["statement"]["inclusion"] or {}))
    assert (await auditor.row_5("stamped")).startswith("✓ 5 independent time (optional)")
    assert (await auditor.row_5("stamped")).endswith("Z, says CN=Test TSA,O=Clocks")
    assert "not checked: no time-stamping authority is trusted here" in await auditor.row_5("bare")
    untrusted = await auditor.row_5("other")
    assert untrusted.startswith("✗ 5")
    assert "fail: the timestamp does not hold: Verify error: unable to get local issuer certificate" in untrusted
    assert node.node.tsa is not None


async def test_certificates_that_are_no_roots_are_not_trusted(
    consortium: Consortium, authority: Authority, tmp_path: Path
) -> None:
    auditor = Auditor(tmp_path, consortium)
    (tmp_path / "long.pem").write_bytes(bytes((1 << 20) + 1))
    for path, message in [
        (authority.folder / "tsa.pem", "not that of a root CA"),
        (tmp_path / "nowhere.pem", "nowhere.pem can't be read: No such file or directory"),
        (tmp_path / "long.pem", "long.pem is longer than 1048576 bytes"),
    ]:
        words = ("--from", str(consortium.record), "--tsa-cert", str(path))
        said = await auditor.run("trust", "add", "tests", *words, trust="none", code=2)
        assert message in said
    assert not (tmp_path / "none.json").exists()


async def test_the_tsa_is_a_setting_and_an_address(
    join: Join, consortium: Consortium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCEX_TSA", "https://tsa.example/tsr")
    assert node_settings({}).tsa == "https://tsa.example/tsr"
    assert node_settings({"tsa": "https://other.example/"}).tsa == "https://other.example/"
    keystore = (await join("Mine AG", publish=False)).folder
    wrong = NodeSettings(data=tmp_path / "data", keystore=keystore, deployment=consortium.record, tsa="tsa.example")
    with pytest.raises(UsageError, match="the TSA's URL starts with http"):
        async with running_node(wrong, PASSPHRASE):
            raise AssertionError("unreachable")
