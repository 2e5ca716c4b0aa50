"""`/api/v1/revocations`: take statements of this member back."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from docex.api.access import NodeOf, read_all
from docex.api.once import IdempotencyKey, request_once, tell
from docex.api.permissions import CallerOf, People
from docex.api.views import RevocationRequest, RevocationView, when
from docex.core import statement
from docex.core.claims import Revocation
from docex.core.requests import Once
from docex.core.statement import Statement
from docex.service import revocations
from docex.service.once import once

router = APIRouter(prefix="/api/v1", tags=["revocations"], dependencies=[People])

_MAX_REQUEST = 64 << 10
_REQUEST_BODY = {"content": {"application/json": {"schema": RevocationRequest.model_json_schema()}}, "required": True}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    403: {"description": "`forbidden`: somebody else issued the statement"},
    404: {"description": "`not_found`: there is no statement with this digest here"},
    409: {"description": "`conflict`: it is revoked already, or not final on the ledger yet"},
    422: {"description": "`request_invalid`, `statement_invalid` or `usage`: not of the form, or a revocation itself"},
}


@router.post("/revocations", status_code=201, responses=_PROBLEMS, openapi_extra={"requestBody": _REQUEST_BODY})
async def revoke(
    node: NodeOf, caller: CallerOf, request: Request, response: Response, idempotency_key: IdempotencyKey = None
) -> RevocationView:
    """Revoke a statement that this member issued, for good.

    Answered when the revocation is signed and durable. It is anchored and recorded with the Notary soon after.
    """
    # Read here, and not by the framework: that reads any number of bytes before it looks at who asks.
    content = await read_all(request, _MAX_REQUEST)
    try:
        wanted = RevocationRequest.model_validate_json(content)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None

    async def work(once: Once | None) -> Statement:
        asked = wanted.statement, wanted.reason, wanted.effective
        return await revocations.revoke(node, *asked, within=caller.folders, once=once)

    async def again(effect: str) -> Statement:
        stored = await node.store.statement(effect)
        assert stored is not None  # statements are never removed
        return statement.parse(stored.token)

    made = tell(await once(node, request_once(request, caller, idempotency_key, content), work, again), response)
    claim = made.body
    assert isinstance(claim, Revocation)
    return RevocationView(
        revocation=made.digest_text,
        statement=claim.statement,
        reason=claim.reason,
        effective=when(claim.effective),
    )
