"""Documents that other programs put into the container, in clear: taken in as deposits (docs/adr/0006).

What lies under ``incoming/`` in this node's storage is no document of the node yet: nobody signed or encrypted it.
Taking it in deposits it under the rest of its path and then removes it there.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

from docex.core.access import EVERYTHING, Folders
from docex.core.state import StoredDocument
from docex.errors import DocexError, NotFound
from docex.service import deposits
from docex.service.node import Node
from storage import BlobInfo, BlobNotFound, InvalidPath

PREFIX = "incoming"
MAX_TOLD = 100
"""Of what could not be taken in: how much of it an answer tells."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """What could not be taken in, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Synced:
    """How many documents were taken in, and (up to `MAX_TOLD`) what was not."""

    taken: int
    skipped: tuple[Skipped, ...]


async def hash_of(node: Node, path: str, *, within: Folders = EVERYTHING) -> StoredDocument:
    """The document under a path: what was put into the container for it is taken in first.

    Raises:
        NotFound: there is neither.
        DocexError: whatever `deposits.deposit` raises.
    """
    deposits.check_place(path, within)
    try:
        info = await node.blobs.stat(f"{PREFIX}/{path}")
    except (BlobNotFound, InvalidPath):
        return await deposits.find(node, path, within=within)
    return await _take(node, path, info, within)


async def sync(node: Node, *, within: Folders = EVERYTHING) -> Synced:
    """Take in everything that was put into the container; what can't be taken stays there, and is told."""
    taken = 0
    skipped: list[Skipped] = []
    async for info in node.blobs.list(PREFIX):
        path = info.path.removeprefix(f"{PREFIX}/")
        if path not in within:
            continue
        try:
            await _take(node, path, info, within)
        except DocexError as error:
            if len(skipped) < MAX_TOLD:
                skipped.append(Skipped(path, f"{error.code}: {error}"))
        except BlobNotFound:
            continue  # another call has just taken it
        else:
            taken += 1
    return Synced(taken, tuple(skipped))


async def _take(node: Node, path: str, info: BlobInfo, within: Folders) -> StoredDocument:
    document = await _taken_before(node, path, info)
    if document is None:
        async with node.blobs.open(info.path) as reader:
            document = await deposits.deposit(node, path, reader.info.size, _chunks(reader.chunks), within=within)
    with suppress(BlobNotFound):
        await node.blobs.delete(info.path)
    return document


async def _taken_before(node: Node, path: str, info: BlobInfo) -> StoredDocument | None:
    """The newest version where it has these very bytes: whoever took them in was cut off before removing them."""
    try:
        newest = await deposits.find(node, path)
    except NotFound:
        return None
    if newest.size != info.size:
        return None
    hasher = hashlib.sha256()
    async with node.blobs.open(info.path) as reader:
        async for chunk in reader:
            hasher.update(chunk)
    return newest if newest.digest == "sha256:" + hasher.hexdigest() else None


async def _chunks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        yield chunk
