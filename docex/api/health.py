"""`/livez` and `/readyz`: is the process alive, and can each of its parts serve."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Response

from docex.api.access import NodeOf
from docex.api.views import Health
from docex.errors import DocexError
from storage import StorageError

router = APIRouter(tags=["health"])

_PATIENCE = 5.0


@router.get("/livez")
async def live() -> Health:
    """The process answers."""
    return Health(status="ok", parts={})


@router.get("/readyz")
async def ready(node: NodeOf, response: Response) -> Health:
    """Whether database, storage and ledger can serve, each by name; 503 when one can't."""
    parts = {
        "database": await _state(node.store.check),
        "storage": await _state(node.blobs.check),
        "ledger": await _state(node.ledger.check),
    }
    healthy = all(state == "ok" for state in parts.values())
    response.status_code = 200 if healthy else 503
    return Health(status="ok" if healthy else "unavailable", parts=parts)


async def _state(check: Callable[[], Awaitable[None]]) -> str:
    try:
        async with asyncio.timeout(_PATIENCE):
            await check()
    except TimeoutError:
        return f"no answer within {_PATIENCE:.0f} seconds"
    except (DocexError, StorageError) as error:
        return f"{error.code}: {error}"
    except Exception as error:  # a database driver's own error: its text may hold the connection string
        return type(error).__name__
    return "ok"
