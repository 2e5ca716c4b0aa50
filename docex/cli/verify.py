"""``docex verify``: the verdict on a document and its proof."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from docex.cli import options, output
from docex.core import proof as proofs
from docex.core.verdict import Outcome, Row, Verdict, iso
from docex.errors import UsageError
from docex.service.trust import ENVIRONMENT, TrustedNetwork, TrustStore, choose, default_path
from docex.verify import Content, Facts, collect_facts, measure, standalone_facts, verify

if TYPE_CHECKING:
    from rich.text import Text

_UNWRAPPED: Final = 100_000
_MARKS: Final = {Outcome.PASS: ("✓", "green"), Outcome.FAIL: ("✗", "red"), Outcome.NOT_CHECKED: ("–", "yellow")}

TrustOption = Annotated[
    Path | None,
    typer.Option("--trust", metavar="FILE", envvar=ENVIRONMENT, help="Trust settings to use instead of your own."),
]


def register(app: typer.Typer) -> None:
    """Add ``verify`` to the command line."""
    app.command("verify")(verify_command)


def verify_command(
    proof_file: Annotated[Path, typer.Option("--proof", metavar="PROOF", help="The proof file (JSON).")],
    document: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The document. Leave it out to check a statement alone.")
    ] = None,
    rpc: Annotated[
        str | None,
        typer.Option("--rpc", metavar="URL", help="Where to read the ledger; else as in your trust settings."),
    ] = None,
    trust: TrustOption = None,
    network: Annotated[
        str | None, typer.Option("--network", metavar="NAME", help="The trusted network to hold the proof against.")
    ] = None,
    trust_block: Annotated[
        str | None,
        typer.Option(
            "--trust-block", metavar="HASH", help="Use no network: the proof's own evidence, from this block (0x…)."
        ),
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="Decide as of this time (ISO 8601 with its zone).")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Check a document and its proof against the ledger that you trust.

    Exits 0 when the proof is valid, 1 when it is not, 2 when the command is wrong, 3 when it could not be checked.
    """
    as_of, block = None if at is None else output.parse_time(at, "--at"), _block_hash(trust_block)
    if block is not None and rpc is not None:
        raise UsageError("--trust-block uses no network, so it does not go with --rpc")
    proof = proofs.parse(_read(proof_file, proofs.MAX_PROOF_BYTES + 1))
    trusted = choose(trust_store(trust).networks(), proof.network, network)
    content = None if document is None else _measure(document)
    facts = _facts(proof, trusted, rpc) if block is None else _standalone(proof, trusted, block)
    verdict = verify(content, proof, None if trusted is None else trusted.trust, facts, as_of)
    if as_json:
        output.as_json(verdict.to_json())
    else:
        _print(verdict, document)
    raise typer.Exit(verdict.exit_code)


def trust_store(path: Path | None) -> TrustStore:
    """The verifier's settings: those named, or the person's own."""
    return TrustStore(default_path(os.environ) if path is None else path)


def _facts(proof: proofs.Proof, trusted: TrustedNetwork | None, rpc: str | None) -> Facts | None:
    """What the trusted ledger says, if there is one to ask and the proof is about it."""
    url = rpc if rpc is not None or trusted is None else trusted.rpc
    if url is None or trusted is None or trusted.trust.network != proof.network:
        return None
    return asyncio.run(_collect(proof, url))


def _standalone(proof: proofs.Proof, trusted: TrustedNetwork | None, block: bytes) -> Facts | None:
    """What the proof's own evidence shows, from the block that the verifier trusts."""
    if trusted is None or trusted.trust.network != proof.network:
        return None
    return asyncio.run(standalone_facts(proof, trusted.trust.network, block))


async def _collect(proof: proofs.Proof, url: str) -> Facts:
    from docex.ledger.reader import open_reader

    async with open_reader(url, proof.network) as reader:
        return await collect_facts(proof, reader)


def _block_hash(text: str | None) -> bytes | None:
    if text is None:
        return None
    if re.fullmatch(r"0x[0-9a-fA-F]{64}", text) is None:
        raise UsageError(f"--trust-block {text[:80]!a} is not a block hash: 0x and 64 hexadecimal digits")
    return bytes.fromhex(text[2:])


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from error


def _measure(path: Path) -> Content:
    try:
        with path.open("rb") as stream, output.Meter("reading the document", path.stat().st_size) as meter:
            return measure(stream, meter)
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from error


def _print(verdict: Verdict, document: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in verdict.rows:
        table.add_row(*_cells(row))
    # Piped output is for other programs: its lines are not wrapped.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _UNWRAPPED)
    console.print(table)
    console.print(_summary(verdict, document), soft_wrap=True)


def _cells(row: Row) -> tuple[Text, ...]:
    # Text, not str: rich would read markup in a str, and some of this was written by others.
    from rich.text import Text

    mark, colour = _MARKS[row.outcome]
    said = row.reason if row.outcome is Outcome.PASS else f"{row.outcome}: {row.reason}"
    name = row.name if row.required else f"{row.name} (optional)"
    return Text(mark, style=colour), Text(str(row.number)), Text(name), Text(output.printable(said))


def _summary(verdict: Verdict, document: Path | None) -> Text:
    from rich.text import Text

    colour = {0: "bold green", 1: "bold red"}.get(verdict.exit_code, "bold yellow")
    parts = []
    if (claim := verdict.subject.get("document")) is not None:
        parts.append(claim["name"])
    elif verdict.subject:
        parts.append(f"{verdict.subject['type']} statement {verdict.subject['statement']}")
    elif document is not None:
        parts.append(document.name)
    if verdict.subject:
        signer = verdict.subject.get("signer")
        parts.append(f"signed by {signer}" if signer else f"says it is by {verdict.subject['issuer']}")
        parts.append(f"issued {iso(verdict.subject['issued_at'])}")
    if (time := verdict.row(4).details.get("time")) is not None:
        parts.append(f"anchored {iso(time)}")
    return Text.assemble((verdict.overall.value, colour), ": ", output.printable(" · ".join(parts)))
