"""The frame of the command line: which commands there are, and how each run ends.

Start-up time counts, so a command's module is imported when the command is used; until then `COMMANDS` stands for it in
the help. A command module has a function ``register(app: typer.Typer)`` that adds its commands.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from docex.cli import coercion, errors, help_text
from docex.core.interrupts import held

coercion.install()

BROKEN_PIPE = 141  # what a shell reports for a command that SIGPIPE ended


@dataclass(frozen=True, slots=True)
class Command:
    """A command as the help lists it, and the module that registers it."""

    name: str
    module: str
    panel: str
    help: str


KEYS, PACKETS, LEDGER, NODE, CHECKS = "Keys", "Packets", "Ledger", "Node", "Checks"

COMMANDS = (
    Command("keygen", "docex.cli.keys", KEYS, "Make a member's keys, and print their public half as JSON."),
    Command("keystore", "docex.cli.keys", KEYS, "Show, export and re-protect a keystore."),
    Command("seal", "docex.cli.packets", PACKETS, "Sign, compress and encrypt documents into one packet."),
    Command("open", "docex.cli.packets", PACKETS, "Open a packet, check all of it, and only then keep its documents."),
    Command("grant", "docex.cli.grant", PACKETS, "Let others open a packet, too, without sealing it again."),
    Command("inspect", "docex.cli.inspect", PACKETS, "Show what a packet says about itself, with keys or without."),
    Command("ledger", "docex.cli.ledger", LEDGER, "Run a development chain; deploy the contracts."),
    Command("network", "docex.cli.network", LEDGER, "Write the files of a consortium's own ledger (Besu, QBFT)."),
    Command("members", "docex.cli.members", LEDGER, "Admit members, publish keys and endpoints, list who is who."),
    Command("serve", "docex.cli.serve", NODE, "Run a member's node."),
    Command("fsck", "docex.cli.fsck", NODE, "Check that a node keeps all that it acknowledged, each once."),
    Command("deposit", "docex.cli.exchange", NODE, "Deposit documents on a node."),
    Command("documents", "docex.cli.exchange", NODE, "List the documents on a node."),
    Command("fetch", "docex.cli.exchange", NODE, "Fetch a document from a node."),
    Command("transfer", "docex.cli.exchange", NODE, "Hand documents to other members."),
    Command("transfers", "docex.cli.transfers", NODE, "List, show and watch transfers."),
    Command("acknowledge", "docex.cli.exchange", NODE, "Open a received packet here and send its signed receipt."),
    Command("proof", "docex.cli.exchange", NODE, "Fetch the proof for a document or a statement."),
    Command("revoke", "docex.cli.revoke", NODE, "Take a document or a statement back, saying why."),
    Command("access", "docex.cli.access", NODE, "Say who may call a node: API keys, roles, folders."),
    Command("verify", "docex.cli.verify", CHECKS, "Check a document and its proof, trusting no one."),
    Command("trust", "docex.cli.trust", CHECKS, "Say which networks your checks rely on."),
    Command("demo", "docex.cli.demo", CHECKS, "Four members exchange certificates, on real nodes and a real chain."),
)


def load(command: Command) -> TyperCommand | TyperGroup:
    """The real command behind an entry of `COMMANDS`."""
    app = typer.Typer()
    with held():
        import_module(command.module).register(app)
    loaded = get_group(app).commands[command.name]
    assert isinstance(loaded, TyperCommand | TyperGroup)
    return loaded


class LazyCommand(TyperCommand):
    """Stands for a command until it is used."""

    def __init__(self, command: Command) -> None:
        super().__init__(command.name, help=command.help, rich_help_panel=command.panel)
        self._command = command

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the real command, which does all the rest."""
        real = load(self._command)
        help_text.polish(real, parent)
        return real.make_context(info_name, args, parent, **extra)


class LazyGroup(TyperGroup):
    """All commands. Ends every run with an exit code and, where it failed, one clear line."""

    debug = False

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for command in COMMANDS:
            self.add_command(LazyCommand(command))

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run and exit: 0, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C, or a command's own code."""
        options["standalone_mode"] = False
        sys.exit(self._guard(lambda: super(LazyGroup, self).main(*args, **options)))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show the help."""
        help_text.polish(self, ctx)
        super().format_help(ctx, formatter)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a reader of our output that has gone is no error."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise typer.Exit(BROKEN_PIPE) from None

    def _guard(self, run: Callable[[], Any]) -> int:
        try:
            code = run()
        except Exception as error:
            if self.debug and not isinstance(error, typer.TyperException):
                raise
            return errors.report(error)
        return code if isinstance(code, int) else 0


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"docex {version('docex')}")
        raise typer.Exit


app = typer.Typer(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})


@app.callback()
def _docex(
    ctx: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="DOCEX_DEBUG", help="Show where in the program an error came from.")
    ] = False,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Exchange documents that only their recipient can read and anyone can check."""
    assert isinstance(ctx.command, LazyGroup)
    ctx.command.debug = debug
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def run() -> NoReturn:
    """Run the command line with the process's arguments."""
    sys.exit(get_command(app)(prog_name="docex"))
