"""`/transfers` and `/destinations`: hand documents to other members, and the log of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from docex.api.access import NodeOf, read_all
from docex.api.kaleido.views import (
    DestinationsView,
    DestinationView,
    LineView,
    LogView,
    TransferMade,
    TransferWanted,
)
from docex.api.permissions import CallerOf
from docex.errors import UsageError
from docex.service import destinations, transfer_log, transfers

router = APIRouter()

_MAX_REQUEST = 8 << 10
_BODY = {"content": {"application/json": {"schema": TransferWanted.model_json_schema()}}, "required": True}


@router.post("/transfers", openapi_extra={"requestBody": _BODY})
async def create(node: NodeOf, caller: CallerOf, request: Request) -> TransferMade:
    """Hand a document to another member. Delivery goes on in the background."""
    try:
        wanted = TransferWanted.model_validate_json(await read_all(request, _MAX_REQUEST))
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None
    if destinations.account_of(wanted.sender) != node.account:
        raise UsageError(f"from is not the destination of this member: {destinations.uri_of(node.account)}")
    to = destinations.account_of(wanted.to)
    made = await transfers.create(node, [wanted.document.removeprefix("/")], [to], within=caller.folders)
    return TransferMade(transfer_id=made.id)


@router.get("/transfers")
async def list_transfers(
    node: NodeOf,
    caller: CallerOf,
    offset: Annotated[int, Query(ge=0, le=transfer_log.MAX_OFFSET)] = 0,
    limit: Annotated[int, Query(ge=1, le=transfer_log.MAX_LINES)] = 100,
) -> LogView:
    """Documents sent and received, newest first: a line for each document and addressee."""
    lines, more = await transfer_log.log(node, offset, limit, within=caller.folders)
    return LogView(transfers=[LineView.of(each) for each in lines], is_truncated=more)


@router.get("/destinations")
async def list_destinations(node: NodeOf, caller: CallerOf) -> DestinationsView:  # noqa: ARG001 - the Directory is public
    """Where members receive, by the Directory."""
    found = await destinations.destinations(node)
    views = [DestinationView(uri=each.uri, member=each.member, account=each.account, own=each.own) for each in found]
    return DestinationsView(destinations=views)
