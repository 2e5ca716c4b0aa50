"""API keys in the database; see `docex.service.ports.Store` for what each method promises."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import or_, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from docex.core.access import Folders, Role
from docex.core.requests import Once
from docex.core.state import ApiKey
from docex.db.models import ApiKeyRow
from docex.db.tables import Tables
from docex.errors import Conflict, NotFound


class ApiKeyTables(Tables):
    """Who may call the API."""

    async def add_api_key(self, key: ApiKey, once: Once | None = None, effect: str = "") -> None:
        """See the protocol."""
        row = ApiKeyRow(
            id=key.id,
            name=key.name,
            roles=" ".join(sorted(key.roles)),
            folders=json.dumps(key.folders.names),
            digest=key.digest,
            created=key.created,
            expires=key.expires,
            last_used=key.last_used,
            revoked=key.revoked,
        )
        try:
            async with self._writing() as session:
                session.add(row)
                await session.flush()
                await self._take_effect(session, once, effect)
        except IntegrityError:
            raise Conflict(f"there is an API key {key.id} already") from None

    async def api_key(self, key: str) -> ApiKey:
        """See the protocol."""
        async with self._reading() as session:
            return _value(await session.get(ApiKeyRow, key), key)

    async def api_keys(self, after: tuple[int, str] | None = None, limit: int = 1000) -> Sequence[ApiKey]:
        """See the protocol."""
        query = select(ApiKeyRow).order_by(ApiKeyRow.created, ApiKeyRow.id).limit(limit)
        if after is not None:
            query = query.where(tuple_(ApiKeyRow.created, ApiKeyRow.id) > after)
        async with self._reading() as session:
            return [_value(row, row.id) for row in await session.scalars(query)]

    async def use_api_key(self, key: str, now: int, coarse: int) -> None:
        """See the protocol."""
        long_ago = or_(ApiKeyRow.last_used.is_(None), ApiKeyRow.last_used <= now - coarse)
        async with self._writing() as session:
            await session.execute(update(ApiKeyRow).where(ApiKeyRow.id == key, long_ago).values(last_used=now))

    async def revoke_api_key(self, key: str, now: int) -> ApiKey:
        """See the protocol."""
        async with self._writing() as session:
            await session.execute(
                update(ApiKeyRow).where(ApiKeyRow.id == key, ApiKeyRow.revoked.is_(None)).values(revoked=now)
            )
            return _value(await session.get(ApiKeyRow, key), key)


def _value(row: ApiKeyRow | None, key: str) -> ApiKey:
    if row is None:
        raise NotFound(f"there is no API key {key}")
    return ApiKey(
        row.id,
        row.name,
        frozenset(map(Role, row.roles.split())),
        Folders(tuple(json.loads(row.folders))),
        row.digest,
        row.created,
        row.expires,
        row.last_used,
        row.revoked,
    )
