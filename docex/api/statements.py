"""`POST /api/v1/statements`: notarise statements that were signed elsewhere with this member's keys."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from docex.api.access import NodeOf, read_all
from docex.api.once import IdempotencyKey, request_once, tell
from docex.api.permissions import CallerOf, People
from docex.api.views import Digest
from docex.core.digest import sha256
from docex.core.requests import Once
from docex.errors import LimitExceeded, UsageError
from docex.service import notarise
from docex.service.notarise import Notarised
from docex.service.once import once

router = APIRouter(prefix="/api/v1", tags=["statements"], dependencies=[People])

_MAX_REQUEST = 8 << 20
_BODY = {
    "content": {"application/jsonl": {"schema": {"type": "string", "example": '"eyJ…"\n"eyJ…"\n'}}},
    "required": True,
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    403: {"description": "`forbidden`: a statement is another member's, or its key is not valid"},
    413: {"description": f"`limit_exceeded`: more than {notarise.MAX_STATEMENTS} statements, or {_MAX_REQUEST} bytes"},
    422: {"description": "`usage`, `statement_invalid` or `signature_invalid`: the detail tells which statement"},
}


class NotarisedView(BaseModel):
    """The statements' digests, in the order of the request: what proofs are asked for by."""

    statements: list[Digest]
    new: Annotated[int, Field(description="how many of them were not known here")]


@router.post("/statements", status_code=201, responses=_PROBLEMS, openapi_extra={"requestBody": _BODY})
async def add(
    node: NodeOf, caller: CallerOf, request: Request, response: Response, idempotency_key: IdempotencyKey = None
) -> NotarisedView:
    """Notarise document and link statements that were signed elsewhere with this member's keys.

    The body is JSON Lines: each line a JSON string with one statement (a compact JWS). All are taken or none. Answered
    when they are durable; they are anchored soon after. Sending them again changes nothing.
    """
    content = await read_all(request, _MAX_REQUEST)
    lines = content.splitlines()
    if len(lines) > notarise.MAX_STATEMENTS:  # before anything is made of them
        raise LimitExceeded(f"at most {notarise.MAX_STATEMENTS} statements are taken at once")
    tokens = [_token(*each) for each in enumerate(lines, 1)]

    async def work(once: Once | None) -> Notarised:
        return await notarise.notarise(node, tokens, within=caller.folders, once=once)

    async def again(effect: str) -> Notarised:
        return Notarised(tuple(str(sha256(token.encode())) for token in tokens), int(effect))

    named = request_once(request, caller, idempotency_key, content)
    taken = tell(await once(node, named, work, again), response)
    return NotarisedView(statements=list(taken.digests), new=taken.new)


def _token(number: int, line: bytes) -> str:
    try:
        token = json.loads(line) if line.lstrip().startswith(b'"') else None  # nothing that nests is even parsed
    except ValueError:
        token = None
    if not isinstance(token, str):
        raise UsageError(f"line {number} is not a JSON string with a statement")
    return token
