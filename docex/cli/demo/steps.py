"""What the demo shows while it works: a line for each step, with a spinner, and a bar where bytes move."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TransferSpeedColumn


class Steps:
    """Prints the story as it happens."""

    def __init__(self) -> None:
        self.console = Console(stderr=False, highlight=False)
        self._start = time.monotonic()

    def title(self, text: str) -> None:
        """A new chapter."""
        self.console.print(f"\n[bold]{text}[/bold]")

    def say(self, text: str) -> None:
        """A line about what was seen."""
        self.console.print(f"    {text}", style="dim", markup=False, soft_wrap=True)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Show a step while it runs, and how long it took."""
        start = time.monotonic()
        with self.console.status(f"  {text}"):
            yield
        self.console.print(f"  [green]✓[/green] {text} [dim]{time.monotonic() - start:.1f} s[/dim]")

    @contextmanager
    def upload(self, text: str, size: int) -> Iterator[Progress]:
        """Show a step that moves ``size`` bytes; advance the one task of what is yielded."""
        start = time.monotonic()
        text_column, speed = TextColumn("{task.description}"), TransferSpeedColumn()
        columns = (SpinnerColumn(), text_column, BarColumn(), DownloadColumn(), speed)
        with Progress(*columns, console=self.console, transient=True) as progress:
            progress.add_task(text, total=size)
            yield progress
        self.console.print(f"  [green]✓[/green] {text} [dim]{time.monotonic() - start:.1f} s[/dim]")

    @property
    def elapsed(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self._start
