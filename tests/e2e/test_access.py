"""People with keys of their own at a real node, as they work on the command line."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from tests.fixtures.network import Join, StartNode


async def docex(url: str, token: str, *words: str, code: int = 0, output: bool = False) -> str:
    """Standard output; of a call that is refused standard error, unless told otherwise."""
    environment = os.environ | {"DOCEX_NODE": url, "DOCEX_API_TOKEN": token, "DOCEX_API_TOKEN_FILE": ""}
    command = [sys.executable, "-m", "docex.cli", *words]
    done = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True, timeout=90)
    assert done.returncode == code, done.stdout + done.stderr
    return str(done.stderr if code and not output else done.stdout).strip()


async def test_a_supplier_and_an_auditor_each_with_a_key(join: Join, start_node: StartNode, tmp_path: Path) -> None:
    node = await start_node(await join("Mine AG"))
    (tmp_path / "cert.pdf").write_bytes(b"%PDF-1.7")
    file, out = str(tmp_path / "cert.pdf"), str(tmp_path / "out")
    supplier = await docex(node.url, node.token, "access", "add", "Ann", "--role", "supplier", "--folder", "lots")
    auditor = await docex(node.url, node.token, "access", "add", "Bob", "--role", "auditor")
    await docex(node.url, supplier, "deposit", file, "--folder", "lots/17")
    refused = await docex(node.url, supplier, "deposit", file, "--folder", "other", code=1)
    assert refused.startswith("error[not_found]: ")
    assert "lots/17/cert.pdf" in await docex(node.url, auditor, "documents")
    await docex(node.url, auditor, "proof", "lots/17/cert.pdf", "-o", out, "--wait", "60")
    for key in (supplier, auditor):
        refused = await docex(node.url, key, "fetch", "lots/17/cert.pdf", "-o", out + "2", code=1)
        assert refused.startswith("error[forbidden]: this needs the role recipient or operator")
    await docex(node.url, node.token, "access", "revoke", supplier.split("_")[1])
    assert "is revoked" in await docex(node.url, supplier, "documents", code=1)
