"""Parts of what this node stores: of documents, decrypted, and of packets, as they are."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from docex.core.part import open_part
from docex.core.state import StoredDocument
from docex.core.unpacking import DocumentReader
from docex.errors import Conflict, DigestMismatch
from docex.service.deposits import opened_blob
from docex.service.node import Node
from docex.service.streams import on_thread

_CHUNK = 1 << 18


async def read_part(node: Node, document: StoredDocument, offset: int, length: int) -> AsyncGenerator[bytes, None]:
    """``length`` bytes of a stored version's plaintext from ``offset`` on.

    Close it (`contextlib.aclosing`) when it is not read to its end: it holds the blob.

    Raises:
        Conflict: this node does not hold the identity that opens it.
        PacketError, DigestMismatch: the stored packet was damaged.
    """
    if node.identity is None:
        raise Conflict("this node holds no identity: download the packet and open it where the identity is")
    identity = node.identity
    async with opened_blob(node, document.blob) as source:
        stream = await on_thread(
            lambda: open_part(source, [identity], document.entry, offset), undo=DocumentReader.close
        )
        while length:
            want = min(length, _CHUNK)
            data = await on_thread(lambda want=want: stream.read(want))  # type: ignore[misc]
            if not data:
                raise DigestMismatch(f"{document.path!r} is not as it was stored: it ends too early")
            length -= len(data)
            yield data


async def read_blob(node: Node, blob: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
    """A stored packet or a part of it, as it is; raises as `storage.BlobStore.open` does."""
    async with node.blobs.open(blob, offset, length) as reader:
        async for chunk in reader:
            yield chunk
