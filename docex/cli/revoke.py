"""``docex revoke``: take a statement of this member back."""

from __future__ import annotations

from typing import Annotated

import typer

from docex.cli import output
from docex.cli.client import DEFAULT_NODE, NodeOption, TokenOption, connect
from docex.cli.exchange import statement_of
from docex.cli.options import Json
from docex.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add ``revoke`` to the command line."""
    app.command("revoke")(revoke)


def revoke(
    reference: Annotated[
        str, typer.Argument(metavar="DOCUMENT", help="Path on the node, or a statement's digest (sha256:…).")
    ],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why: everyone who checks it reads this.")],
    effective: Annotated[
        str | None,
        typer.Option("--effective", metavar="TIME", help="From when on (ISO 8601 with its zone); else from now on."),
    ] = None,
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="The document's older version; else the newest.")
    ] = None,
    node: NodeOption = DEFAULT_NODE,
    token_file: TokenOption = None,
    as_json: Json = False,
) -> None:
    """Take a document or another statement of yours back, for good: from then on its proofs do not verify.

    Your node signs the revocation, anchors it, and records it with the Notary, where every verifier looks.
    """
    since = None if effective is None else output.parse_time(effective, "--effective")
    if version is not None and reference.startswith("sha256:"):
        raise UsageError("--version goes with a path: a digest names one version already")
    with connect(node, token_file) as client:
        wanted = {"statement": statement_of(client, reference, version), "reason": reason, "effective": since}
        made = client.json("POST", "revocations", json=wanted)
    if as_json:
        output.as_json(made)
        return
    output.line(made["revocation"])
    output.note(f"{made['statement']} is revoked from {made['effective']}: the node brings this to the ledger")
