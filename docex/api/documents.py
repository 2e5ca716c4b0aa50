"""`/api/v1/documents`: deposit, list, read."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from docex.api import cursors
from docex.api.access import NodeOf, body, check_whole, content_length
from docex.api.conditions import conditions, quoted
from docex.api.cursors import CursorQuery
from docex.api.download import document_reader, send, stored_document
from docex.api.once import IdempotencyKey, request_once, tell
from docex.api.permissions import CallerOf, People
from docex.api.views import Digest, DocumentPage, DocumentView
from docex.core.access import Permission
from docex.core.claims import KINDS
from docex.core.requests import Once
from docex.core.state import StoredDocument
from docex.service import deposits, revocations
from docex.service.once import once
from docex.service.revocations import TakenBack

router = APIRouter(prefix="/api/v1/documents", tags=["documents"], dependencies=[People])

_DEFAULT_MEDIA_TYPE = "application/octet-stream"
_DEPOSIT_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"description": "`content_digest_mismatch` or `header_invalid`: nothing is kept, here and below"},
    409: {"description": "`request_under_way`: the same request, by its Idempotency-Key, is still being worked on"},
    411: {"description": "`length_required`: there is no Content-Length"},
    412: {"description": "`precondition_failed`: the newest version is not what If-Match or If-None-Match asks for"},
    413: {"description": "`limit_exceeded`: the document is larger than this node takes"},
    415: {"description": "`encoding_unknown`: there is a Content-Encoding"},
    422: {"description": "`name_invalid`, `statement_invalid`, `usage`, `idempotency_key_reused` or `request_invalid`"},
}
_READ_ANSWERS: dict[int | str, dict[str, Any]] = {
    206: {"description": "the part that Range asks for"},
    304: {"description": "If-None-Match names this version"},
    404: {"description": "`not_found`: there is no such document, or not in this version"},
    412: {"description": "`precondition_failed`: If-Match does not name this version"},
    416: {"description": "`range_not_satisfiable`: it has no such part; Content-Range tells its size"},
}


@router.get("")
async def list_documents(
    node: NodeOf,
    caller: CallerOf,
    request: Request,
    response: Response,
    folder: Annotated[str, Query(description="list this folder and those below it")] = "",
    cursor: CursorQuery = "",
    limit: Annotated[int, Query(ge=1, le=deposits.MAX_PAGE)] = 100,
) -> DocumentPage:
    """The newest version of each document in a folder and below it, by path."""
    after = cursors.read("documents", cursor, 1)[0] if cursor else ""
    found = await deposits.documents(node, folder.strip("/"), after, limit, within=caller.folders)
    more = cursors.write("documents", found[-1].path) if len(found) == limit else None
    cursors.link(request, response, more)
    against = await revocations.taken_back(node, [each.statement for each in found])
    views = [DocumentView.of(each, against.get(each.statement, TakenBack())) for each in found]
    return DocumentPage(documents=views, next=more)


@router.put("/{path:path}", status_code=201, responses=_DEPOSIT_PROBLEMS)
async def deposit(
    node: NodeOf,
    caller: CallerOf,
    request: Request,
    response: Response,
    path: str,
    kind: Annotated[str, Query(description=f"one of {', '.join(KINDS)}")] = "other",
    supersedes: Annotated[
        Digest | None, Query(description="digest of the document statement that this replaces")
    ] = None,
    idempotency_key: IdempotencyKey = None,
) -> DocumentView:
    """Deposit a document (the raw request body) under a path; overwriting makes a new version.

    Answered when the document is signed, encrypted and durable. Its statement is anchored soon after. With
    `If-None-Match: *` it is only created, with `If-Match` it only follows the version with that ETag; else 412.
    """
    check_whole(request)
    size, precondition = content_length(request), conditions(request.headers).of_newest
    media_type = request.headers.get("content-type", _DEFAULT_MEDIA_TYPE)
    named = request_once(request, caller, idempotency_key)

    async def work(once: Once | None) -> StoredDocument:
        return await deposits.deposit(
            node,
            path,
            size,
            body(request),
            media_type=media_type,
            kind=kind,
            supersedes=supersedes,
            within=caller.folders,
            precondition=precondition,
            once=once,
        )

    async def again(effect: str) -> StoredDocument:
        return await deposits.deposited_before(node, effect, body(request))

    stored = tell(await once(node, named, work, again), response)
    response.headers["etag"] = quoted(stored.statement)
    return DocumentView.of(stored, TakenBack())


@router.get("/{path:path}", response_class=StreamingResponse, responses=_READ_ANSWERS)
async def read(
    node: NodeOf,
    caller: CallerOf,
    request: Request,
    path: str,
    version: Annotated[int | None, Query(ge=1, lt=1 << 31)] = None,
    details: Annotated[bool, Query(description="describe the document instead of sending it")] = False,
) -> Response:
    """The document itself, decrypted, or with `details=true` what is known about it."""
    if not details:
        caller.require(Permission.READ)
    document = await deposits.find(node, path, version, within=caller.folders)
    if details:
        against = await revocations.taken_back(node, [document.statement])
        view = DocumentView.of(document, against.get(document.statement, TakenBack()))
        return Response(view.model_dump_json(), media_type="application/json")
    return await send(request, stored_document(document), document_reader(node, document))
