"""Pages of lists: cursors that say where the next one starts, and the links to it (RFC 8288).

A cursor holds the sort key of a page's last entry. So pages stay in step while entries are added: none comes twice, and
none that was there is left out. What it holds is nobody's business but this node's, and may change.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query, Request, Response

from docex.core.encoding import b64url, b64url_decode
from docex.errors import StatementInvalid, UsageError

CursorQuery = Annotated[str, Query(max_length=4096, description="`next` of the page before")]


class CursorInvalid(UsageError):
    """A cursor is not one that this list gave out."""

    code = "cursor_invalid"


def write(kind: str, *parts: str | int) -> str:
    """The cursor of a sort key. ``kind`` names the list: the cursor of another is none of this one."""
    return b64url("\n".join([kind, *map(str, parts)]).encode())


def read(kind: str, cursor: str, count: int) -> tuple[str, ...]:
    """The ``count`` parts of the sort key in a cursor that is not empty.

    Raises:
        CursorInvalid: it is not one of this list.
    """
    try:
        found, *parts = b64url_decode(cursor).decode().split("\n")
    except (ValueError, StatementInvalid):
        raise CursorInvalid("this cursor is not one of this list") from None
    if found != kind or len(parts) != count or any("\0" in each for each in parts):
        raise CursorInvalid("this cursor is not one of this list")
    return tuple(parts)


def read_time(kind: str, cursor: str) -> tuple[int, str] | None:
    """The sort key of a list by time and id; None for the empty cursor, which stands before the first page.

    Raises:
        CursorInvalid: it is not one of this list.
    """
    if not cursor:
        return None
    time, name = read(kind, cursor, 2)
    if not (time.isascii() and time.isdigit() and len(time) <= 12):
        raise CursorInvalid("this cursor is not one of this list")
    return int(time), name


def link(request: Request, response: Response, cursor: str | None) -> None:
    """Add the links to the first page and the one behind this, relative to the request's own URL."""
    query = [each for each in request.query_params.multi_items() if each[0] != "cursor"]
    links = [f'<?{urlencode(query)}>; rel="first"']
    if cursor is not None:
        links.append(f'<?{urlencode([*query, ("cursor", cursor)])}>; rel="next"')
    response.headers["link"] = ", ".join(links)
