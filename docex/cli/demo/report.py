"""What is left of the demo: a table of what happened, and a folder from which anyone can check it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import join

from rich.table import Table

from docex.cli.demo.network import Network
from docex.cli.demo.steps import Steps
from docex.cli.demo.story import Story
from docex.core import proof, statement
from docex.core.standalone import block_to_trust
from docex.errors import DocexError
from docex.service import trust

_PORT = 18545


@dataclass(frozen=True, slots=True)
class Audit:
    """The folder for the auditor: a document, its proof, whom to trust, and a script with the commands."""

    folder: Path
    document: Path
    proof: Path
    trust: Path
    script: Path
    block: str = ""
    """The hash of the block from which the proof stands alone."""

    def command(self, document: Path, *more: str) -> list[str]:
        """The command that verifies ``document``, as it can be typed."""
        return [*_docex(), "verify", str(document), "--proof", str(self.proof), "--trust", str(self.trust), *more]


def leave_audit(network: Network, story: Story, steps: Steps) -> Audit:
    """Write the auditor's folder."""
    folder = network.folder / "audit"
    folder.mkdir()
    audited = story.samples[0]
    name = audited.name
    audit = Audit(folder, folder / name, folder / "proof.json", folder / "trust.json", folder / "verify.sh")
    shutil.copyfile(story.file(audited), audit.document)
    with network.members["mine"].client() as client:
        text = client.text(f"proofs/{story.statements[audited.path]}?standalone=true")
    audit.proof.write_text(text)
    evidence = proof.parse(text.encode()).ledger
    assert evidence is not None  # it was asked for
    audit = replace(audit, block=f"0x{block_to_trust(evidence).hash.hex()}")
    made = network.deployment
    trust.TrustStore(audit.trust).add(trust.network("demo", made.chain_id, made.directory, made.notary))
    audit.script.write_text(_script(audit, network.folder / "chain.json"))
    audit.script.chmod(0o755)
    steps.title("An auditor checks one of the certificates, trusting no one")
    return audit


def try_audit(audit: Audit, network: Network, steps: Steps) -> None:
    """Run the commands for real: the document is valid, a changed copy of it is not."""
    _run(steps, audit.command(audit.document, "--rpc", network.chain.url), expected=0)
    changed = audit.folder / f"changed-{audit.document.name}"
    data = bytearray(audit.document.read_bytes())
    data[len(data) // 2] ^= 1
    changed.write_bytes(data)
    steps.title("…once more with no network: all that is trusted is the hash of one block")
    _run(steps, audit.command(audit.document, "--trust-block", audit.block), expected=0)
    steps.title("…and the same document with one byte changed")
    _run(steps, audit.command(changed, "--rpc", network.chain.url), expected=1)
    changed.unlink()


def _run(steps: Steps, command: Sequence[str], *, expected: int) -> None:
    steps.console.print(f"  [bold]$ {join(command)}[/bold]", soft_wrap=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in (done.stdout + done.stderr).splitlines():
        steps.console.print(f"  {line}", markup=False, soft_wrap=True)
    steps.say(f"exit code {done.returncode}")
    if done.returncode != expected:
        raise DocexError(f"verification ended with exit code {done.returncode} instead of {expected}")


def show_table(network: Network, story: Story, steps: Steps) -> None:
    """Every statement about the mine's documents: who signed it, and where each side anchored it."""
    steps.title("What is on record now")
    table = Table("statement", "signed by", "about", "anchored by", "block", box=None, pad_edge=False)
    audited = story.samples[0]
    names = {member.account: member.name for member in network.members.values()}
    for member in network.members.values():
        with member.client() as client:
            found = proof.parse(client.text(f"proofs/{story.statements[audited.path]}").encode())
        for each in (found.statement, *found.related):
            said = statement.parse(each.token)
            assert each.anchor is not None  # the story waited for it
            about = audited.name if said.type == "document" else _about(said, names)
            table.add_row(said.type, names[said.issuer], about, member.name, str(each.anchor.block_number))
    steps.console.print(table)


def _about(said: statement.Statement, names: dict[str, str]) -> str:
    addressees = getattr(said.body, "to", ())
    if addressees:
        return "to " + ", ".join(names.get(each.account, "?") for each in addressees)
    return str(getattr(said.body, "outcome", ""))


def show_addresses(network: Network, steps: Steps) -> None:
    """Where the nodes are, for ``--keep``."""
    steps.title("The nodes are yours until Ctrl-C")
    steps.console.print(f"  chain  {network.chain.url}", soft_wrap=True)
    for member in network.members.values():
        token = member.folder / "node" / "api-token"
        steps.console.print(f"  {member.name:<18} {member.url}  token in {token}", soft_wrap=True)


def show_end(audit: Audit, steps: Steps) -> None:
    """How to go on."""
    steps.title(f"Done in {steps.elapsed:.0f} seconds. Check it yourself, now that everything has stopped:")
    steps.console.print(f"  {audit.script}", soft_wrap=True)
    steps.say("starts the chain again from its file, then runs")
    steps.console.print(f"  {join(_with_rpc(audit))}", soft_wrap=True)
    steps.say("or without any chain")
    steps.console.print(f"  {join(audit.command(audit.document, '--trust-block', audit.block))}", soft_wrap=True)


def _with_rpc(audit: Audit) -> list[str]:
    return audit.command(audit.document, "--rpc", f"http://127.0.0.1:{_PORT}")


def _script(audit: Audit, state: Path) -> str:
    chain = join([*_docex(), "ledger", "dev", "--state", str(state.absolute()), "--port", str(_PORT)])
    absolute = replace(
        audit, document=audit.document.absolute(), proof=audit.proof.absolute(), trust=audit.trust.absolute()
    )
    return f"""#!/bin/sh
# Verify the document after the demo has ended. The chain is started from its file on the loopback interface, and
# stopped again. Exit code: 0 valid, 1 invalid, 2 usage, 3 could not be checked.
said=$(mktemp) || exit 3
{chain} >"$said" 2>&1 &
chain=$!
trap 'kill $chain 2>/dev/null; wait $chain; rm -f "$said"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
until grep -q '^chain .* ends it$' "$said"; do  # it says so once it answers
    kill -0 $chain 2>/dev/null || {{ cat "$said" >&2; exit 3; }}
    sleep 0.2
done
{join(_with_rpc(absolute))}
"""


def _docex() -> list[str]:
    """How this very docex is called, whatever the PATH is."""
    beside = Path(sys.executable).with_name("docex")
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "docex.cli"]
