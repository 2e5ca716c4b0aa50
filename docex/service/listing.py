"""Documents as people look for them: by folder, by a part of the name, by digest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from docex.core import names
from docex.core.access import EVERYTHING, Folders
from docex.core.digest import parse_digest
from docex.core.state import Entry, Found
from docex.errors import NotFound, UsageError
from docex.service.node import Node

MAX_FOUND = 100
MAX_ENTRIES = 1000
MAX_OFFSET = 1_000_000
MAX_QUERY = 1024


@dataclass(frozen=True, slots=True)
class Listing:
    """A part of a folder's entries; ``more``: there are others behind them."""

    entries: Sequence[Entry]
    more: bool


async def entries(
    node: Node, folder: str, offset: int = 0, limit: int = MAX_ENTRIES, *, within: Folders = EVERYTHING
) -> Listing:
    """What stands in a folder, by name; folders are there while documents are in them, the root always.

    Raises:
        NotFound: there is no such folder, or nothing of it in the folders that the caller is kept to.
        NameInvalid: it is not a path.
        UsageError: ``offset`` or ``limit`` is out of bounds.
    """
    if not 0 <= offset <= MAX_OFFSET or not 1 <= limit <= MAX_ENTRIES:
        raise UsageError(f"offset is 0 to {MAX_OFFSET}, limit 1 to {MAX_ENTRIES}")
    found = await node.store.entries(names.check_folder(folder), offset, limit + 1, within)
    if folder and not found and not (offset and await node.store.entries(folder, 0, 1, within)):
        raise NotFound(f"there is no document or folder {folder!a}")
    return Listing(found[:limit], len(found) > limit)


async def search(
    node: Node, text: str, after: str = "", *, by_digest: bool = False, within: Folders = EVERYTHING
) -> Found:
    """The newest versions, by path, whose path holds a text, or with a digest; those behind ``after``.

    Raises:
        UsageError: there is nothing to look for, or it is no SHA-256 digest in hexadecimal digits.
    """
    if not 1 <= len(text) <= MAX_QUERY or "\0" in text or any("\ud800" <= each <= "\udfff" for each in text):
        raise UsageError(f"look for 1 to {MAX_QUERY} characters")
    if not by_digest:
        return await node.store.search(text, after, MAX_FOUND, within)
    digest = str(parse_digest("sha256:" + text.removeprefix("sha256:").lower()))
    found = await node.store.documents_with(digest, after, MAX_FOUND, within)
    return Found(found, found[-1].path if len(found) == MAX_FOUND else None)
