"""``docex demo``: the main job, end to end, on real parts, in about half a minute."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Annotated

import typer

from docex.cli import output
from docex.errors import UsageError

_MARKER = ".docex-demo"


def register(app: typer.Typer) -> None:
    """Add ``demo`` to the command line."""
    app.command("demo")(demo)


def demo(
    folder: Annotated[
        Path, typer.Option("--folder", metavar="DIR", help="Where everything is kept; an older demo there is replaced.")
    ] = Path("docex-demo"),
    keep: Annotated[bool, typer.Option("--keep", help="Leave the nodes running until Ctrl-C.")] = False,
) -> None:
    """Four members of a chip supply chain exchange certificates, on real nodes and a real (local) chain.

    A mine, a manufacturer, a distributor and a retailer each run a node. Certificates travel down the chain; only the
    recipient can read them, and anyone can check them. Leaves a folder with a document, its proof and the commands to
    verify it.
    """
    from docex.cli.demo.network import Network
    from docex.cli.demo.report import leave_audit, show_addresses, show_end, show_table, try_audit
    from docex.cli.demo.steps import Steps
    from docex.cli.demo.story import Story, shipped

    _prepare(folder)
    steps = Steps()
    with Network(folder, steps) as network:
        story = Story(network, steps, shipped())
        story.tell()
        audit = leave_audit(network, story, steps)
        try_audit(audit, network, steps)
        show_table(network, story, steps)
        if keep:
            show_addresses(network, steps)
            while True:
                time.sleep(3600)
    show_end(audit, steps)


def _prepare(folder: Path) -> None:
    """An empty folder with our mark; only a folder with the mark is ever emptied."""
    if folder.exists():
        if not (folder / _MARKER).is_file():
            if not folder.is_dir() or any(folder.iterdir()):
                raise UsageError(f"{folder} exists and is no earlier demo: name another one with --folder")
        else:
            shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARKER).write_text("made by `docex demo`, which may delete this folder\n")
    output.note(f"everything is kept in {folder}")
