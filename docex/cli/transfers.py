"""``docex transfers``: what was sent and received, where it stands, and how it goes on."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from docex.cli import output
from docex.cli.client import DEFAULT_NODE, NodeClient, NodeOption, TokenOption, connect
from docex.cli.options import Json
from docex.core.digest import parse_digest
from docex.errors import DocexError, UsageError

ENDED = ("accepted", "rejected", "expired", "withheld")
_INTERVAL = 0.5
_AWAY = ("node_unavailable", "database_unavailable", "too_many_calls")

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The transfer's id, sha256:….")]


class _ListByDefault(TyperGroup):
    """``docex transfers`` alone lists them, and with an id it shows that one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in the command that is meant where none is named."""
        asks_for_help = bool({"-h", "--help"} & set(args[:1]))
        if not ctx.resilient_parsing and not asks_for_help and (not args or args[0] not in self.commands):
            named = any(each.startswith("sha256:") for each in args)
            if named or not args or args[0].startswith("-"):
                args = ["show" if named else "list", *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add ``transfers list``, ``transfers show`` and ``transfers watch`` to the command line."""
    group = typer.Typer(cls=_ListByDefault, help="What was sent and received, and where it stands.")
    group.command("list")(list_command)
    group.command("show")(show)
    group.command("watch")(watch)
    app.add_typer(group, name="transfers")


def list_command(node: NodeOption = DEFAULT_NODE, token_file: TokenOption = None, as_json: Json = False) -> None:
    """List the newest transfers, sent and received, and where they stand."""
    with connect(node, token_file) as client:
        found = client.json("GET", "transfers")["transfers"]
    if as_json:
        output.as_json(found)
    elif not found:
        output.note("no transfers yet")
    else:
        rows = [("CREATED", "DIRECTION", "WITH", "STATE", "ID")]
        rows += [
            (each["created"], each["direction"], partner(each, to), to["state"], each["id"])
            for each in found
            for to in each["deliveries"]
        ]
        output.table(rows, indent="")


def checked_id(transfer_id: str) -> str:
    """A transfer's id, which becomes a part of a URL. Raises UsageError where it can't be one."""
    try:
        return str(parse_digest(transfer_id))
    except UsageError:
        message = f"{transfer_id[:80]!a} is no transfer's id (sha256:…): `docex transfers list` shows them"
        raise UsageError(message) from None


def show(
    transfer_id: IdArgument, node: NodeOption = DEFAULT_NODE, token_file: TokenOption = None, as_json: Json = False
) -> None:
    """Show one transfer: where it stands with each addressee, and what became of it step by step."""
    with connect(node, token_file) as client:
        view = client.json("GET", f"transfers/{checked_id(transfer_id)}")
        show_view(view, as_json)
        if not as_json:
            _show_history(client, view)


def _show_history(client: NodeClient, view: dict[str, Any]) -> None:
    after: int | None = 0
    while after is not None:
        page = client.json("GET", f"transfers/{view['id']}/history", params={"after": after})
        for each in page["events"]:
            detail = f" ({each['detail']})" if each["detail"] else ""
            output.line(f"  {each['at']}  {each['kind']:<10} {each['account']}{detail}")
        after = page["next"]


def watch(
    transfer_ids: Annotated[list[str], typer.Argument(metavar="ID…", help="Transfers, by id.")],
    node: NodeOption = DEFAULT_NODE,
    token_file: TokenOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON for each change, for programs.")] = False,
) -> None:
    """Follow transfers until each addressee has accepted or rejected them, or their time ran out.

    Ends with 0 when all have accepted, else with 1. Where your node goes away meanwhile, it is waited for.
    """
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    wanted = [checked_id(each) for each in transfer_ids]
    with connect(node, token_file) as client, _Bars(shown=not as_json) as bars:
        while True:
            for view in _look(client, wanted, first=not seen):
                for delivery in view["deliveries"]:
                    bars.show(view, delivery)
                    key = view["id"], partner(view, delivery)
                    _tell(view, delivery, seen.get(key), as_json)
                    seen[key] = delivery
            if all(each["state"] in ENDED for each in seen.values()):
                break
            time.sleep(_INTERVAL)
    if any(each["state"] != "accepted" for each in seen.values()):
        raise typer.Exit(1)


def _look(client: NodeClient, transfer_ids: list[str], *, first: bool) -> list[dict[str, Any]]:
    """The transfers as they stand; a node that went away since the first look may come back."""
    told = False
    while True:
        try:
            return [client.json("GET", f"transfers/{each}") for each in transfer_ids]
        except DocexError as error:
            if first or error.code not in _AWAY:
                raise
            if not told:
                output.note(f"{error}: still watching")
            told = True
        time.sleep(4 * _INTERVAL)


def _tell(view: dict[str, Any], delivery: dict[str, Any], before: dict[str, Any] | None, as_json: bool) -> None:
    told = ("state", "error", "sent") if as_json else ("state", "error")
    if before is not None and all(before[each] == delivery[each] for each in told):
        return
    if as_json:
        shown = {"transfer": view["id"], "size": view["size"], **delivery}
        typer.echo(json.dumps(shown, ensure_ascii=False))
        return
    error = f" ({delivery['error']})" if delivery["error"] else ""
    output.line(f"{view['id']} {partner(view, delivery)}: {delivery['state']}{error}")


class _Bars:
    """On a terminal, how many bytes each addressee of what was sent has; elsewhere nothing."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown and sys.stderr.isatty()
        self._progress: Any = None
        self._tasks: dict[tuple[str, str], Any] = {}

    def __enter__(self) -> _Bars:
        if self._shown:
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
            self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def show(self, view: dict[str, Any], delivery: dict[str, Any]) -> None:
        """Draw where a delivery stands."""
        if self._progress is None or view["direction"] != "sent":
            return
        key = view["id"], delivery["account"]
        if key not in self._tasks:
            self._tasks[key] = self._progress.add_task(delivery["account"], total=view["size"])
        self._progress.update(self._tasks[key], completed=delivery["sent"])


def partner(view: dict[str, Any], delivery: dict[str, Any]) -> str:
    """The other side of a delivery."""
    return str(delivery["account"] if view["direction"] == "sent" else view["sender"])


def show_view(view: dict[str, Any], as_json: bool) -> None:
    """Print a transfer."""
    if as_json:
        output.as_json(view)
        return
    output.pairs([("transfer", view["id"]), ("packet", view["packet"]), ("size", output.human_size(view["size"]))])
    if view["expires"]:
        output.pairs([("expires", view["expires"])])
    for each in view["deliveries"]:
        output.line(f"{each['account']}: {each['state']}" + (f" ({each['error']})" if each["error"] else ""))
        if each["ciphertext_receipt"]:
            output.pairs([("receipt of the ciphertext", each["ciphertext_receipt"])], indent="  ")
        if each["receipt"]:
            output.pairs([("receipt", each["receipt"])], indent="  ")
