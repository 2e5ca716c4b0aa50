"""`/documents`, `/search` and `/sync_hashes`: documents in folders."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from docex.api import cursors
from docex.api.access import NodeOf, body, content_length
from docex.api.download import document_reader, send, stored_document
from docex.api.kaleido import forms
from docex.api.kaleido.views import (
    EntryView,
    FolderView,
    FoundView,
    Hashed,
    SearchView,
    SkippedView,
    Success,
    SyncView,
    hex_of,
)
from docex.api.permissions import CallerOf
from docex.core.access import Caller, Permission
from docex.core.names import split
from docex.core.requests import ANY, NO_CONDITION, Precondition
from docex.core.state import Entry, StoredDocument
from docex.errors import Conflict, NotFound, PreconditionFailed
from docex.service import deposits, incoming, listing, uploads
from docex.service.node import Node

router = APIRouter()

_UNSAID = ("", "application/x-www-form-urlencoded")  # the second is what clients say who were told nothing
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM = {"schema": {"type": "object", "properties": {forms.FIELD: _BINARY["schema"]}, "required": [forms.FIELD]}}
_BODY: dict[str, Any] = {
    "requestBody": {"content": {forms.MEDIA_TYPE: _FORM, forms.DEFAULT_MEDIA_TYPE: _BINARY}, "required": True}
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    409: {"description": "`conflict`: there is a document under this path"},
    413: {"description": "`limit_exceeded`: larger than this node takes"},
    422: {"description": "`name_invalid` or `usage`: the path is not allowed, or the form is malformed"},
}
_PARTS: dict[int | str, dict[str, Any]] = {
    206: {"description": "the part that Range asks for"},
    304: {"description": "If-None-Match names this version"},
}
Offset = Annotated[int, Query(ge=0, le=listing.MAX_OFFSET, description="entries to pass over")]
Limit = Annotated[int, Query(ge=1, le=listing.MAX_ENTRIES, description="entries to show at most")]


@router.get("/documents")
async def list_root(node: NodeOf, caller: CallerOf, offset: Offset = 0, limit: Limit = 100) -> FolderView:
    """What stands in the root folder."""
    return await _folder(node, caller, "", offset, limit)


@router.get("/documents/{path:path}", response_class=StreamingResponse, responses=_PARTS)
async def read(
    node: NodeOf,
    caller: CallerOf,
    request: Request,
    path: str,
    details_only: Annotated[bool, Query(description="describe the document instead of sending it")] = False,
    offset: Offset = 0,
    limit: Limit = 100,
) -> Response:
    """A document, what is known about it (`details_only=true`), or what stands in a folder.

    Where a document and a folder have one name, a final slash asks for the folder.
    """
    if path and not path.endswith("/"):
        try:
            document = await deposits.find(node, path, within=caller.folders)
        except NotFound:
            document = None
        if document is not None:
            if details_only:
                return _json(EntryView.of(Entry(split(path)[1], document)))
            caller.require(Permission.READ)
            return await send(request, stored_document(document), document_reader(node, document))
    folder = path.removesuffix("/")
    found = await _folder(node, caller, folder, offset, limit)
    return _json(EntryView.of(Entry(folder.rpartition("/")[2], None)) if details_only else found)


async def _folder(node: Node, caller: Caller, folder: str, offset: int, limit: int) -> FolderView:
    found = await listing.entries(node, folder, offset, limit, within=caller.folders)
    return FolderView(is_truncated=found.more, entries=[EntryView.of(each) for each in found.entries])


def _json(view: EntryView | FolderView) -> Response:
    return Response(view.model_dump_json(), media_type="application/json")


@router.put("/documents/{path:path}", openapi_extra=_BODY, responses=_PROBLEMS)
async def put(node: NodeOf, caller: CallerOf, request: Request, path: str) -> Hashed:
    """Store a document: the raw body, or the field `document` of a form. What is there gets a new version."""
    return Hashed(hash=hex_of(await _store(node, caller, request, path, NO_CONDITION)))


@router.post("/documents/{path:path}", openapi_extra=_BODY, responses=_PROBLEMS)
async def post(node: NodeOf, caller: CallerOf, request: Request, path: str) -> Hashed:
    """Store a document where there is none yet."""
    try:
        return Hashed(hash=hex_of(await _store(node, caller, request, path, Precondition(none_of=ANY))))
    except PreconditionFailed:
        raise Conflict(f"there is a document {path!a} already") from None


async def _store(node: Node, caller: Caller, request: Request, path: str, precondition: Precondition) -> StoredDocument:
    media_type = request.headers.get("content-type", "")
    chunks: AsyncIterator[bytes] = body(request)
    if media_type.lower().startswith(forms.MEDIA_TYPE):
        deposits.check_place(path, caller.folders)
        media_type, chunks = await forms.document_in(media_type, chunks)
    elif "transfer-encoding" not in request.headers:
        return await deposits.deposit(
            node,
            path,
            content_length(request),
            chunks,
            media_type=forms.DEFAULT_MEDIA_TYPE if media_type in _UNSAID else media_type,
            precondition=precondition,
            within=caller.folders,
        )
    return await uploads.deposit(
        node,
        path,
        chunks,
        media_type=forms.DEFAULT_MEDIA_TYPE if media_type in _UNSAID else media_type,
        precondition=precondition,
        within=caller.folders,
    )


@router.patch("/documents/{path:path}")
async def patch(node: NodeOf, caller: CallerOf, path: str) -> Hashed:
    """The hash of a document, which is taken in first where another program put it into the container."""
    return Hashed(hash=hex_of(await incoming.hash_of(node, path, within=caller.folders)))


@router.delete("/documents/{path:path}")
async def delete(node: NodeOf, caller: CallerOf, path: str) -> Success:
    """Show a document no more. Its versions and statements are kept as evidence."""
    await deposits.remove(node, path, within=caller.folders)
    return Success()


@router.get("/search")
async def search(
    node: NodeOf,
    caller: CallerOf,
    request: Request,
    response: Response,
    query: Annotated[str, Query(min_length=1, max_length=listing.MAX_QUERY, description="a part of the path")],
    by_hash: Annotated[bool, Query(description="`query` is a SHA-256 in hexadecimal digits")] = False,
    cursor: cursors.CursorQuery = "",
) -> SearchView:
    """Documents by a part of their path or by their hash, 100 at most; `next` leads to what may be behind them."""
    after = cursors.read("search", cursor, 1)[0] if cursor else ""
    found = await listing.search(node, query, after, by_digest=by_hash, within=caller.folders)
    following = None if found.stopped is None else cursors.write("search", found.stopped)
    cursors.link(request, response, following)
    return SearchView(documents=[FoundView.of(each) for each in found.documents], next=following)


@router.post("/sync_hashes")
async def sync_hashes(
    node: NodeOf,
    caller: CallerOf,
    reset: Annotated[bool, Query(description="taken for compatibility: hashes are signed, and never change")] = False,  # noqa: ARG001
) -> SyncView:
    """Take in every document that another program put into the container."""
    done = await incoming.sync(node, within=caller.folders)
    skipped = [SkippedView(path=each.path, reason=each.reason) for each in done.skipped]
    return SyncView(hashes_calculated=done.taken, skipped=skipped)
