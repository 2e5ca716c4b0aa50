"""`/api/v1/transfers`, `/statements` and `/proofs`: hand documents to other members and follow what becomes of them."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from pydantic import ValidationError

from docex.api import cursors
from docex.api.access import NodeOf, read_all
from docex.api.cursors import CursorQuery
from docex.api.digests import header_of
from docex.api.download import Stored, send
from docex.api.once import IdempotencyKey, request_once, tell
from docex.api.permissions import CallerOf, People
from docex.api.views import Digest, History, StatementView, TransferPage, TransferRequest, TransferView
from docex.core import proof
from docex.core.digest import sha256
from docex.core.requests import Once
from docex.core.state import Direction, StoredTransfer
from docex.errors import NotFound
from docex.service import proofs, transfers
from docex.service.once import once
from docex.service.parts import read_blob
from docex.service.visible import find_statement

router = APIRouter(prefix="/api/v1", tags=["transfers"], dependencies=[People])


_MAX_REQUEST = 4 << 20
_REQUEST_BODY = {"content": {"application/json": {"schema": TransferRequest.model_json_schema()}}, "required": True}


@router.post("/transfers", status_code=202, openapi_extra={"requestBody": _REQUEST_BODY})
async def create_transfer(
    node: NodeOf, caller: CallerOf, request: Request, response: Response, idempotency_key: IdempotencyKey = None
) -> TransferView:
    """Seal documents to members; delivery goes on in the background until each has the packet.

    Sent again with the same Idempotency-Key, it is answered with the transfer that there is, as it stands now.
    """
    # Read here, and not by the framework: that reads any number of bytes before it looks at who asks.
    content = await read_all(request, _MAX_REQUEST)
    try:
        wanted = TransferRequest.model_validate_json(content)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None

    async def work(once: Once | None) -> StoredTransfer:
        return await transfers.create(
            node,
            wanted.documents,
            wanted.to,
            fair=wanted.fair,
            expires=wanted.expires,
            within=caller.folders,
            once=once,
        )

    named = request_once(request, caller, idempotency_key, content)
    return TransferView.of(tell(await once(node, named, work, node.store.transfer), response))


@router.get("/transfers")
async def list_transfers(
    node: NodeOf,
    caller: CallerOf,
    request: Request,
    response: Response,
    direction: Direction | None = None,
    cursor: CursorQuery = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> TransferPage:
    """Transfers sent and received, newest first."""
    before = cursors.read_time("transfers", cursor)
    found = await node.store.transfers(direction, before, limit, caller.folders)
    more = cursors.write("transfers", found[-1].created, found[-1].id) if len(found) == limit else None
    cursors.link(request, response, more)
    return TransferPage(transfers=[TransferView.of(each) for each in found], next=more)


@router.get("/transfers/{transfer}")
async def read_transfer(node: NodeOf, caller: CallerOf, transfer: Digest) -> TransferView:
    """One transfer and where it stands with each addressee."""
    return TransferView.of(await node.store.transfer(transfer, caller.folders))


@router.get("/transfers/{transfer}/history")
async def read_history(
    node: NodeOf,
    caller: CallerOf,
    transfer: Digest,
    after: Annotated[int, Query(ge=0, lt=1 << 63, description="`next` of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> History:
    """What became of a transfer, step by step, oldest first."""
    found = await node.store.transfer(transfer, caller.folders)
    return History.of(await node.store.events_of(found.id, after, limit), limit)


@router.get("/transfers/{transfer}/packet", response_class=StreamingResponse)
async def read_packet(node: NodeOf, caller: CallerOf, request: Request, transfer: Digest) -> Response:
    """The packet as it travels: for opening it away from the node."""
    found = await node.store.transfer(transfer, caller.folders)
    if found.blob is None:
        what = "packet" if found.ciphertext is None else "header"
        raise NotFound(f"the {what} of this transfer has not arrived yet")
    info = await node.blobs.stat(found.blob)
    # Its transfer has the digest of the payload alone: the tag tells headers of other sizes apart, too.
    stored = Stored(info.size, f"{found.packet}-{info.size}", "application/age")
    return await send(request, stored, partial(read_blob, node, found.blob))


@router.get("/statements/{digest}")
async def read_statement(node: NodeOf, caller: CallerOf, digest: Digest) -> StatementView:
    """A statement that this node holds."""
    found = await find_statement(node, digest, caller.folders)
    if found is None:
        raise NotFound(f"there is no statement with the digest {digest}")
    return StatementView(digest=found.digest, type=found.type, issuer=found.issuer, token=found.token)


@router.get("/proofs/{digest}")
async def read_proof(node: NodeOf, caller: CallerOf, digest: Digest, standalone: bool = False) -> Response:
    """The proof for a statement, or for the newest document with this digest: everything an auditor needs.

    With `standalone`, also what shows without a network, from the latest block's hash on, what the ledger says.
    """
    made = await proofs.build(node, digest, standalone=standalone, within=caller.folders)
    content = proof.dump(made)
    return Response(content, headers={"content-digest": header_of(str(sha256(content)))}, media_type="application/json")
