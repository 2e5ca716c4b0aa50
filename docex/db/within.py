"""Conditions that keep a query to some folders; see `docex.service.ports.Store` for what lies where."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, false, not_, or_, select, true
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
