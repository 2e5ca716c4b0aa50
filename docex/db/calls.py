"""Calls counted over all processes; see `docex.service.ports.CallCounts`."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import delete
from sqlalchemy.dialects import postgresql, sqlite

from docex.db.models import CallRow
from docex.db.tables import Tables

_AT_ONCE = 500  # rows in one command


class CallTables(Tables):
    """Who called how often in a window."""

    async def add_calls(self, window: int, counts: Mapping[str, int]) -> Mapping[str, int]:
        """See the protocol."""
        rows = [{"window": window, "who": who, "calls": calls} for who, calls in sorted(counts.items())]
        totals: dict[str, int] = {}
        async with self._writing() as session:
            connection = await session.connection()
            insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
            await session.execute(delete(CallRow).where(CallRow.window < window - 1))
            for start in range(0, len(rows), _AT_ONCE):  # in order: two processes must not wait for each other
                new = insert(CallRow).values(rows[start : start + _AT_ONCE])
                added = new.on_conflict_do_update(
                    index_elements=["window", "who"], set_={"calls": CallRow.calls + new.excluded.calls}
                )
                for who, calls in await session.execute(added.returning(CallRow.who, CallRow.calls)):
                    totals[who] = calls
        return totals
