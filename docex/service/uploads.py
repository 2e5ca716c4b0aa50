"""Deposits of which nobody says beforehand how many bytes they have: chunked bodies, and forms.

A packet states a document's size before its bytes, so these go through the storage once more: first encrypted to a key
that only this call has, in memory, then sealed as every other deposit. No plaintext is ever written down, and what a
crash leaves opens to nobody; `docex fsck --repair` removes it.
"""

from __future__ import annotations

import asyncio
import io
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress

from docex.core.access import EVERYTHING, Folders
from docex.core.age import DecryptingReader, encrypt
from docex.core.age.streams import Destination
from docex.core.recipients import parse_recipient
from docex.core.requests import NO_CONDITION, Precondition
from docex.core.state import StoredDocument
from docex.errors import LimitExceeded
from docex.failpoints import Failpoint, reached
from docex.service import deposits
from docex.service.deposits import opened_blob
from docex.service.node import Node
from docex.service.streams import AsyncSource, on_thread, write_blob
from keys.identity import HybridIdentity
from storage import BlobNotFound

PREFIX = "uploads"
_CHUNK = 1 << 20


async def deposit(
    node: Node,
    path: str,
    chunks: AsyncIterator[bytes],
    *,
    media_type: str = "application/octet-stream",
    precondition: Precondition = NO_CONDITION,
    within: Folders = EVERYTHING,
) -> StoredDocument:
    """Take a document of any size that this node takes; returns its new version, once durable.

    Raises:
        LimitExceeded: it grew larger than this node takes.
        DocexError: whatever `deposits.deposit` raises; what can be told from the path, before anything is read.
    """
    deposits.check_place(path, within)
    await deposits.check_precondition(node, path, precondition)
    identity = HybridIdentity.generate()
    blob = f"{PREFIX}/{secrets.token_hex(16)}.age"
    counted = _Counted(chunks, node.limits.document_size)
    raw = AsyncSource(aiter(counted), asyncio.get_running_loop())
    await raw.prime()
    source = io.BufferedReader(raw, _CHUNK)

    def keep(destination: Destination) -> None:
        encrypt(source, destination, [parse_recipient(identity.recipient)])

    await write_blob(node.blobs, blob, keep, raw)
    reached(Failpoint.UPLOAD_STORED)
    try:
        async with aclosing(_again(node, blob, identity)) as plain:
            return await deposits.deposit(
                node,
                path,
                counted.size,
                plain,
                media_type=media_type,
                precondition=precondition,
                within=within,
            )
    finally:
        with suppress(BlobNotFound):
            await node.blobs.delete(blob)


class _Counted:
    """Counts the bytes of a stream as they pass, up to a limit."""

    def __init__(self, chunks: AsyncIterator[bytes], limit: int) -> None:
        self.size = 0
        self._chunks = chunks
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            self.size += len(chunk)
            if self.size > self._limit:
                raise LimitExceeded(f"documents of more than {self._limit} bytes are not taken")
            yield chunk


async def _again(node: Node, blob: str, identity: HybridIdentity) -> AsyncGenerator[bytes, None]:
    async with opened_blob(node, blob) as source:
        reader = await on_thread(lambda: DecryptingReader(source, [identity]))
        while data := await on_thread(lambda: reader.read(_CHUNK)):
            yield data
