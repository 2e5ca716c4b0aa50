"""What every store can do, whichever backend is behind it."""

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from storage.errors import InvalidRange


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """What is stored under a path.

    `size` is in bytes; `modified` is when the backend finished storing it (UTC, as precise as the
    backend).
    """

    path: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class BlobReader:
    """An opened blob: iterate it once for its chunks (`bytes`, never empty, 1 MiB at most).

    `info` describes the whole blob, also when only a range of it is read.
    """

    info: BlobInfo
    chunks: AsyncIterator[bytes]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.chunks


class BlobStore(Protocol):
    """Create-only storage of byte streams under `/`-separated paths.

    Paths follow `storage.paths`. A path is either a blob or a folder, never both; folders appear
    and disappear by themselves. Any number of tasks and processes may use one store at the same
    time. Every method raises `StorageError` or one of its subclasses for what goes wrong in the
    backend. Call `close` once nothing else uses the store.
    """

    async def put(self, path: str, chunks: AsyncIterable[bytes]) -> int:
        """Store the stream under a path nothing is stored under yet; return its size in bytes.

        Memory stays constant: the next chunk is asked for only when the backend keeps up. The blob
        appears whole, and only when it is durable. Of several writers of one path exactly one
        succeeds. When the source raises or the call is cancelled, nothing stays behind and that
        exception goes on to the caller unchanged. The caller closes the source.

        Raises: BlobExists (possibly before the source was read), PathConflict, InvalidPath,
        StorageFull, StorageDenied; StorageUnavailable, after which a remote backend that broke off
        may hold the complete blob: asking again then gives BlobExists.
        """
        ...

    def open(self, path: str, offset: int = 0, length: int | None = None) -> AbstractAsyncContextManager[BlobReader]:
        """Read a blob, or the part of it that `data[offset : offset + length]` would be (bytes).

        A range past the end is empty. Raises BlobNotFound, InvalidPath and InvalidRange on
        entering, so an edge can still answer with an error; StorageUnavailable and, where the blob is deleted
        meanwhile, BlobNotFound also while reading.
        """
        ...

    async def stat(self, path: str) -> BlobInfo:
        """Describe a blob. Raises BlobNotFound, InvalidPath."""
        ...

    def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """Yield every blob in a folder, at any depth, in the order of their paths' code points.

        `prefix` names a folder, with or without a final slash: `a/b` covers `a/b/c`, not `a/bc`.
        The empty prefix covers everything; a folder that is not there is empty. Entries that
        another program left under names no path can have are passed over, with one warning in the
        log. Raises: InvalidPath.
        """
        ...

    async def delete(self, path: str) -> None:
        """Remove a blob durably. Raises BlobNotFound, InvalidPath, StorageDenied."""
        ...

    async def check(self) -> None:
        """Return when the store can serve (readiness); raise the StorageError that says why not."""
        ...

    async def close(self) -> None:
        """Release connections, threads and descriptors."""
        ...


def check_range(offset: int, length: int | None) -> None:
    """Raise InvalidRange unless `offset` and `length` (bytes) can name a part of a blob."""
    if offset < 0 or (length is not None and length < 0):
        raise InvalidRange("offset and length can't be negative")
