"""``docex fsck``: whether a node keeps all that it acknowledged."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from docex.cli import output
from docex.cli.options import Json

if TYPE_CHECKING:
    from docex.service.fsck import Report
    from docex.settings import NodeSettings

FOUND = 1


def register(app: typer.Typer) -> None:
    """Add ``fsck`` to the command line."""
    app.command("fsck")(fsck)


def fsck(
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="The node's data folder.")] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Read every packet and compare its digest, too.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make again what can be derived; remove packets that nothing names.")
    ] = False,
    ledger: Annotated[
        bool, typer.Option("--ledger", help="Ask the Notary for anchors and revocations, too (--rpc or DOCEX_RPC).")
    ] = False,
    keystore: Annotated[Path | None, typer.Option("--keystore", metavar="DIR", help="The member's keystore.")] = None,
    rpc: Annotated[str | None, typer.Option("--rpc", metavar="URL", help="JSON-RPC URL of a ledger node.")] = None,
    as_json: Json = False,
) -> None:
    """Check that all a node acknowledged is stored, and anchored or queued: nothing missing, nothing twice.

    Finds database and packets as `docex serve` does, by its settings, and needs no passphrase. It may run while the
    node does, with --repair as well: what the node is just writing is left alone, and only packets that are older than
    an hour and that nothing names are removed. Put a database and its packets back from backups of the same time
    before you repair: a packet that is newer than the database looks like one that nothing names.

    Exit codes: 0 all is well (or was repaired), 1 something is not, 2 wrong usage.
    """
    from docex.cli.serve import node_settings

    settings = node_settings({"data": data, "keystore": keystore, "rpc": rpc})
    report = asyncio.run(_check(settings, deep=deep, repair=repair, ledger=ledger))
    if as_json:
        output.as_json(asdict(report) | {"remaining": report.remaining})
    else:
        _show(report, repair=repair)
    if report.remaining:
        raise typer.Exit(FOUND)


async def _check(settings: NodeSettings, *, deep: bool, repair: bool, ledger: bool) -> Report:
    from docex.service.fsck import check
    from docex.wiring import kept_by_node

    async with kept_by_node(settings, ledger=ledger) as node:
        counts = await node.store.counts()
        seen = ("statements", "batches", "documents", "documents", "transfers", "jobs")  # a document and its packet
        with output.Meter("Checking", sum(counts[each] for each in seen), unit="rows and packets") as meter:
            return await check(node, deep=deep, repair=repair, step=meter)


def _show(report: Report, *, repair: bool) -> None:
    for each in report.findings:
        done = "repaired: " if each.repaired else ""
        output.line(f"{done}{each.code}: {each.subject}: {each.message}")
    total = sum(report.found.values())
    if total > len(report.findings):
        output.line(f"… and {total - len(report.findings)} more")
    if report.findings:
        output.line()
    if report.counts:
        output.table([(name.replace("_", " "), str(count)) for name, count in sorted(report.counts.items())])
    if not total:
        output.line("All that was acknowledged is stored, and anchored or queued.")
        return
    output.line(f"{total} findings, {sum(report.repaired.values())} of them repaired.")
    if not repair and any(each.repairable for each in report.findings):
        output.note("--repair makes again what can be derived.")
