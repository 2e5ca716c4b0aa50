"""`/livez` and `/readyz`: is the process alive, and can each of its parts serve."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from docex.api.permissions import may_observe
from docex.api.views import Health
from docex.service.readiness import Readiness

router = APIRouter(tags=["health"])


@router.get("/livez")
async def live() -> Health:
    """The process answers."""
    return Health(status="ok", parts={})


@router.get("/readyz")
async def ready(request: Request, response: Response) -> Health:
    """Whether database, storage, RPC and keys can serve, each by name; 503 when one can't.

    What is wrong with one is told to an operator: texts of errors name hosts, paths and accounts.
    """
    readiness: Readiness = request.app.state.readiness
    parts = await readiness.look()
    healthy = all(part.serves for part in parts.values())
    told = await may_observe(request)
    states = {name: part.state if told or part.serves else "unavailable" for name, part in parts.items()}
    response.status_code = 200 if healthy else 503
    return Health(status="ok" if healthy else "unavailable", parts=states)
