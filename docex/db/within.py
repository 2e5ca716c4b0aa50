"""Conditions that keep a query to some folders; see `docex.service.ports.Store` for what lies where."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, SQLColumnExpression, and_, false, not_, or_, select, true
from sqlalchemy.orm import aliased

from docex.core.access import RECEIVED, Folders
from docex.core.state import Direction
from docex.db.models import DocumentRow, TransferDocumentRow, TransferRow


def inside(folder: str) -> ColumnElement[bool]:
    """A document lies in this folder or below it."""
    # A range, not a pattern: it uses the index and needs no escaping ("0" follows "/").
    return and_(DocumentRow.path > folder + "/", DocumentRow.path < folder + "0")


def documents(within: Folders) -> ColumnElement[bool]:
    """A document lies in one of the folders."""
    return true() if within.everything else or_(*(inside(each) for each in within.names))


@dataclass(frozen=True, slots=True)
class Stretch:
    """Paths that follow each other: those below ``root`` (all where that is empty, else it ends in a slash)."""

    root: str
    after: str = ""

    @property
    def low(self) -> str:
        """All of them are behind it."""
        return max(self.root, self.after)

    @property
    def high(self) -> str | None:
        """All of them are before it; None for the end."""
        return self.root[:-1] + "0" if self.root else None

    def holds(self, path: SQLColumnExpression[str]) -> ColumnElement[bool]:
        """A path is one of them."""
        # One bound below: of two, SQLite may take the lower, and read everything before this page.
        return path > self.low if self.high is None else and_(path > self.low, path < self.high)


def stretches(within: Folders, folder: str = "", after: str = "") -> list[Stretch]:
    """Where the documents of a folder lie that somebody may see, behind a path, in order.

    A query for each of them reads what it shows. One for all, in order, would read everything between them too.
    """
    prefix, roots = f"{folder}/" if folder else "", list[str]()
    for each in sorted(f"{name}/" for name in within.names) or [""]:
        if not roots or not each.startswith(roots[-1]):
            roots.append(each)
    shown = [max(root, prefix, key=len) for root in roots if root.startswith(prefix) or prefix.startswith(root)]
    return [each for each in (Stretch(root, after) for root in shown) if each.high is None or each.low < each.high]


def transfers(within: Folders) -> ColumnElement[bool]:
    """All documents of a transfer lie in the folders; of one that was not opened yet, the folder of its sender."""
    if within.everything:
        return true()
    part = aliased(TransferDocumentRow)  # under a name of its own: the query around may be about such rows, too
    carried = select(part.transfer).where(part.transfer == TransferRow.id)
    shown = select(DocumentRow.number).where(DocumentRow.statement == part.statement, documents(within))
    hidden = carried.where(not_(shown.correlate(part).exists()))
    all_shown = and_(carried.correlate(TransferRow).exists(), not_(hidden.correlate(TransferRow).exists()))
    return or_(all_shown, and_(TransferRow.direction == Direction.RECEIVED, _sender(within)))


def _sender(within: Folders) -> ColumnElement[bool]:
    """The whole folder of what the sender sends is among the folders."""
    if RECEIVED in within.names:
        return true()
    senders = [each.removeprefix(f"{RECEIVED}/") for each in within.names if each.startswith(f"{RECEIVED}/")]
    ends = [TransferRow.peer.endswith(f":{each}", autoescape=True) for each in senders if "/" not in each]
    return or_(false(), *ends)
