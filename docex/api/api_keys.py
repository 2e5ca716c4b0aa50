"""`/api/v1/keys`: who may call this API."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError

from docex.api import cursors
from docex.api.access import NodeOf, read_all
from docex.api.cursors import CursorQuery
from docex.api.once import IdempotencyKey, request_once, tell
from docex.api.permissions import CallerOf, People
from docex.api.views import when
from docex.core.access import MAX_FOLDERS, Role
from docex.core.requests import Once
from docex.core.state import ApiKey
from docex.service import api_keys
from docex.service.once import once

router = APIRouter(prefix="/api/v1/keys", tags=["keys"], dependencies=[People])

_MAX_REQUEST = 256 << 10


class KeyRequest(BaseModel):
    """A key to make. No folders: it is kept to none. ``expires``: seconds since the epoch, or null for never."""

    model_config = {"extra": "forbid"}

    name: str = Field(min_length=1, max_length=api_keys.MAX_NAME)
    roles: list[Role] = Field(min_length=1, max_length=len(Role))
    folders: list[str] = Field(default=[], max_length=MAX_FOLDERS)
    expires: int | None = Field(default=None, ge=1, le=api_keys.LAST_TIME, strict=True)


class KeyView(BaseModel):
    """A key without its secret; ``last_used`` is right to a minute."""

    id: str
    name: str
    roles: list[Role]
    folders: list[str]
    created: datetime
    expires: datetime | None
    last_used: datetime | None
    revoked: datetime | None

    @classmethod
    def of(cls, kept: ApiKey, **more: str) -> Self:
        """The view of a kept key."""
        times = {"created": kept.created, "expires": kept.expires, "last_used": kept.last_used, "revoked": kept.revoked}
        return cls.model_validate(
            {
                "id": kept.id,
                "name": kept.name,
                "roles": [role for role in Role if role in kept.roles],
                "folders": list(kept.folders.names),
                **{name: None if time is None else when(time) for name, time in times.items()},
                **more,
            }
        )


class NewKeyView(KeyView):
    """A key just made, with the key itself: it is shown this once, and kept nowhere."""

    key: Annotated[str, Field(examples=["docex_…"])]


class KeyPage(BaseModel):
    """A page of keys, oldest first; ``next`` is the cursor of the page behind it."""

    keys: list[KeyView]
    next: str | None


_BODY = {"content": {"application/json": {"schema": KeyRequest.model_json_schema()}}, "required": True}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    422: {"description": "`request_invalid`, `usage` or `name_invalid`: the detail tells what can't be as it is"}
}


@router.post("", status_code=201, responses=_PROBLEMS, openapi_extra={"requestBody": _BODY})
async def make(
    node: NodeOf, caller: CallerOf, request: Request, response: Response, idempotency_key: IdempotencyKey = None
) -> NewKeyView:
    """Make a key. The answer alone holds it: this node keeps a digest of its secret.

    With an Idempotency-Key the secret is kept as long as that, too, encrypted to this node's identity: who sends the
    request again gets the same key.
    """
    content = await read_all(request, _MAX_REQUEST)
    try:
        wanted = KeyRequest.model_validate_json(content)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None

    async def work(once: Once | None) -> api_keys.NewKey:
        return await api_keys.make(node, wanted.name, wanted.roles, wanted.folders, wanted.expires, once=once)

    named = request_once(request, caller, idempotency_key, content)
    made = tell(await once(node, named, work, partial(api_keys.made_before, node)), response)
    response.headers["cache-control"] = "no-store"
    return NewKeyView.of(made.key, key=made.text)


@router.get("")
async def list_keys(
    node: NodeOf,
    request: Request,
    response: Response,
    cursor: CursorQuery = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> KeyPage:
    """All keys, oldest first, those that ended included."""
    found = await node.store.api_keys(cursors.read_time("keys", cursor), limit)
    more = cursors.write("keys", found[-1].created, found[-1].id) if len(found) == limit else None
    cursors.link(request, response, more)
    return KeyPage(keys=[KeyView.of(each) for each in found], next=more)


@router.delete("/{key}", responses={404: {"description": "`not_found`: there is no key with this id"}})
async def revoke(node: NodeOf, key: str) -> KeyView:
    """End a key for good, from the next call on. It stays in the list."""
    return KeyView.of(await api_keys.revoke(node, key))
