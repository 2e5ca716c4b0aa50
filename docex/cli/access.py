"""``docex access``: who may call your node's API."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from docex.cli import output
from docex.cli.client import DEFAULT_NODE, NodeOption, TokenOption, connect
from docex.cli.options import Json
from docex.core.access import Role
from docex.core.names import check_path
from docex.errors import UsageError

_ID = re.compile("[0-9a-f]{16}")


def register(app: typer.Typer) -> None:
    """Add ``access add``, ``access list`` and ``access revoke`` to the command line."""
    group = typer.Typer(no_args_is_help=True, help="Who may call your node: API keys, their roles and folders.")
    group.command("add")(add)
    group.command("list")(list_command)
    group.command("revoke")(revoke)
    app.add_typer(group, name="access")


def add(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    roles: Annotated[list[Role], typer.Option("--role", help="What it may do. Repeatable.")],
    folders: Annotated[
        list[str] | None,
        typer.Option("--folder", metavar="FOLDER", help="Keep it to this folder and those below. Repeatable."),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="TIME", help="Until when (ISO 8601 with its zone); else until revoked."),
    ] = None,
    node: NodeOption = DEFAULT_NODE,
    token_file: TokenOption = None,
    as_json: Json = False,
) -> None:
    """Make an API key and print it: this once, since the node keeps only a digest of it.

    supplier: deposit, transfer, revoke, notarise. recipient: fetch documents and packets. auditor: details, statements
    and proofs, never a document. These three see what is there. operator: everything, keys included.
    """
    kept_to = [check_path(each.strip("/")) for each in folders or ()]
    until = None if expires is None else output.parse_time(expires, "--expires")
    wanted = {"name": name, "roles": [str(each) for each in roles], "folders": kept_to, "expires": until}
    with connect(node, token_file) as client:
        made = client.json("POST", "keys", json=wanted)
    if as_json:
        output.as_json(made)
        return
    output.line(made["key"])
    output.note(f"key {made['id']} of {made['name']} is not shown again; give it as DOCEX_API_TOKEN or in a file")


def list_command(
    node: NodeOption = DEFAULT_NODE,
    token_file: TokenOption = None,
    as_json: Json = False,
) -> None:
    """List the API keys, those that ended included."""
    with connect(node, token_file) as client:
        found = client.all("keys", "keys")
    if as_json:
        output.as_json(found)
    elif not found:
        output.note("no API keys: only the API token of the node's data folder opens it")
    else:
        rows = [("ID", "NAME", "ROLES", "FOLDERS", "LAST USED", "")]
        rows += [
            (
                each["id"],
                each["name"],
                ", ".join(each["roles"]),
                ", ".join(each["folders"]) or "(all)",
                each["last_used"] or "never",
                _end(each),
            )
            for each in found
        ]
        output.table(rows, indent="")


def _end(key: dict[str, Any]) -> str:
    if key["revoked"]:
        return f"revoked {key['revoked']}"
    return f"expires {key['expires']}" if key["expires"] else ""


def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as listed.")],
    node: NodeOption = DEFAULT_NODE,
    token_file: TokenOption = None,
    as_json: Json = False,
) -> None:
    """End an API key for good, from the next call on."""
    if not _ID.fullmatch(key_id):  # it would go into a URL, and from there into logs: it may be a whole key
        raise UsageError("an API key's id is the 16 digits that `docex access list` shows, not the key itself")
    with connect(node, token_file) as client:
        ended = client.json("DELETE", f"keys/{key_id}")
    if as_json:
        output.as_json(ended)
        return
    output.note(f"key {ended['id']} of {ended['name']} is revoked")
