"""Many statements at once in the database; see `docex.service.ports.Store`."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.dialects import postgresql, sqlite

from docex.core.requests import Once
from docex.core.statement import Statement
from docex.db import rows
from docex.db.models import StatementRow
from docex.db.tables import Tables


class StatementTables(Tables):
    """Statements that belong to no document or transfer of this node."""

    async def add_statements(self, statements: Sequence[Statement], once: Once | None = None) -> int:
        """See the protocol."""
        if not statements:
            return 0
        now = int(self._clock())
        values = [rows.statement_values(each, now) for each in statements]
        # In one order, so that two transactions with the same statements never wait for each other (PostgreSQL).
        values.sort(key=lambda each: str(each["digest"]))
        async with self._writing() as session:
            connection = await session.connection()
            insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
            # RETURNING tells on every database which rows are new, and has them sent many to a statement.
            new = insert(StatementRow).on_conflict_do_nothing(index_elements=["digest"]).returning(StatementRow.digest)
            added = len((await connection.execute(new, values)).all())
            await self._take_effect(session, once, str(added))
            return added
