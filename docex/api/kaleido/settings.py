"""`/preferences`: what an operator sets for a node while it runs."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from docex.api.access import NodeOf, read_all
from docex.api.kaleido.views import PreferenceWanted, Success
from docex.service import preferences

router = APIRouter()

_MAX_REQUEST = 8 << 10
_BODY = {"content": {"application/json": {"schema": PreferenceWanted.model_json_schema()}}, "required": True}


@router.get("/preferences")
async def read(node: NodeOf) -> dict[str, str]:
    """All preferences."""
    return dict(await preferences.preferences(node))


@router.put("/preferences", openapi_extra={"requestBody": _BODY})
async def write(node: NodeOf, request: Request) -> Success:
    """Set a preference, for what is received from then on."""
    try:
        wanted = PreferenceWanted.model_validate_json(await read_all(request, _MAX_REQUEST))
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None
    await preferences.set_preference(node, wanted.key, wanted.value)
    return Success()
