"""BlobStore in an Azure Blob container (needs the extra `azure`).

REST reference: https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from azure.core import MatchConditions
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import BlobProperties
from azure.storage.blob.aio import BlobClient, ContainerClient, LinearRetry

from storage.azure_errors import readable_settings, translated
from storage.azure_upload import BLOCK_SIZE, SINGLE_SIZE, Upload
from storage.errors import BlobExists, PathConflict
from storage.paths import check_path, check_prefix, is_path, warn_of_skipped
from storage.protocol import BlobInfo, BlobReader, check_range
from storage.streams import blocks

_CHUNK_SIZE = 1 << 20


@dataclass(frozen=True, slots=True)
class Patience:
    """What to bear with: seconds to connect, seconds without a byte, retries, seconds between.

    A request that fails may so take `(read + pause) * (retries + 1)` seconds to say so.
    """

    connect: float = 10.0
    read: float = 60.0
    retries: int = 3
    pause: int = 1


class AzureStore:
    """A container as a BlobStore; it is created when it is missing.

    Blobs up to 1 MiB take one Put Blob, larger ones staged blocks and one Put Block List, either
    with `If-None-Match: *`. Blocks of a put that failed are never visible; the service drops them
    within a week and no request can do so earlier without touching the path. That a path is no
    folder at the same time is checked before the upload, so two puts at the same instant, of `a`
    and of `a/b`, may both succeed. The service orders a listing, which may be by UTF-16 where that
    differs (characters above U+FFFF against U+E000 to U+FFFF).
    """

    def __init__(self, container: ContainerClient) -> None:
        """Take a client that this store will close; see the two constructors below."""
        self._container = container

    @classmethod
    def from_connection_string(
        cls, connection_string: str, container: str, patience: Patience | None = None
    ) -> "AzureStore":
        """Return a store for a connection string as the Azure portal shows it.

        No request is made yet. Raises InvalidSettings, which does not quote the string.
        """
        make = ContainerClient.from_connection_string
        with readable_settings():
            return cls(make(connection_string, container, **_options(patience)))

    @classmethod
    def from_account_url(
        cls,
        url: str,
        container: str,
        credential: AsyncTokenCredential | str | None = None,
        patience: Patience | None = None,
    ) -> "AzureStore":
        """Return a store for `https://<account>.blob.core.windows.net`.

        `credential` is an account key, a SAS or a token credential, which its owner closes; none is
        needed if the URL holds a SAS. No request is made yet. Raises InvalidSettings, which quotes
        none of them.
        """
        with readable_settings():
            return cls(ContainerClient(url, container, credential, **_options(patience)))

    async def put(self, path: str, chunks: AsyncIterable[bytes]) -> int:
        """See BlobStore.put."""
        await self._refuse_taken(check_path(path))
        upload = Upload(self._container.get_blob_client(path), path)
        try:
            async with aclosing(blocks(chunks, BLOCK_SIZE)) as stream:
                async for block in stream:
                    await upload.add(block)
            await upload.publish()
        except BaseException:
            await upload.discard()
            raise
        return upload.size

    @asynccontextmanager
    async def open(self, path: str, offset: int = 0, length: int | None = None) -> AsyncIterator[BlobReader]:
        """See BlobStore.open."""
        check_path(path)
        check_range(offset, length)
        blob = self._container.get_blob_client(path)
        with translated(path):
            properties = await blob.get_blob_properties()
        info = _describe(properties, path)
        end = info.size if length is None else min(info.size, offset + length)
        async with aclosing(_read(blob, path, properties.etag, offset, end)) as chunks:
            yield BlobReader(info, chunks)

    async def stat(self, path: str) -> BlobInfo:
        """See BlobStore.stat."""
        check_path(path)
        with translated(path):
            blob = self._container.get_blob_client(path)
            return _describe(await blob.get_blob_properties(), path)

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """See BlobStore.list."""
        start = "".join(part + "/" for part in check_prefix(prefix)) or None
        skipped = 0
        with translated(prefix), suppress(ResourceNotFoundError):  # no container yet: no blobs
            async for properties in self._container.list_blobs(name_starts_with=start):
                if is_path(properties.name):
                    yield _describe(properties, properties.name)
                else:
                    skipped += 1
        warn_of_skipped(skipped)

    async def delete(self, path: str) -> None:
        """See BlobStore.delete."""
        check_path(path)
        with translated(path):
            await self._container.get_blob_client(path).delete_blob(delete_snapshots="include")

    async def check(self) -> None:
        """See BlobStore.check; reads the container's properties, or creates it."""
        with translated(self._container.container_name):
            try:
                await self._container.get_container_properties()
            except ResourceNotFoundError:
                await self._create_container()

    async def close(self) -> None:
        """See BlobStore.close."""
        await self._container.close()

    async def _refuse_taken(self, parts: tuple[str, ...]) -> None:
        """Raise BlobExists or PathConflict where the path can't become a blob."""
        path = "/".join(parts)
        above = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
        with translated(path):
            taken, is_folder, *in_the_way = await asyncio.gather(
                self._container.get_blob_client(path).exists(),
                self._holds_any(path + "/"),
                *(self._container.get_blob_client(folder).exists() for folder in above),
            )
        if taken:
            raise BlobExists(f"{path!r}: something is stored here already")
        if is_folder or any(in_the_way):
            raise PathConflict(f"{path!r}: a folder is here, or a blob on the way")

    async def _holds_any(self, start: str) -> bool:
        pages = self._container.list_blobs(name_starts_with=start, results_per_page=1)
        try:
            async for _ in pages:
                return True
        except ResourceNotFoundError:
            await self._create_container()
        return False

    async def _create_container(self) -> None:
        with suppress(ResourceExistsError):  # another process was as quick
            await self._container.create_container()


async def _read(blob: BlobClient, path: str, etag: str, offset: int, end: int) -> AsyncGenerator[bytes, None]:
    if offset >= end:
        return
    with translated(path):
        body = await blob.download_blob(offset, end - offset, etag=etag, match_condition=MatchConditions.IfNotModified)
        async for chunk in body.chunks():
            for start in range(0, len(chunk), _CHUNK_SIZE):
                yield chunk[start : start + _CHUNK_SIZE]


def _describe(properties: BlobProperties, path: str) -> BlobInfo:
    return BlobInfo(path, properties.size, properties.last_modified)


def _options(patience: Patience | None) -> dict[str, Any]:
    patience = patience or Patience()
    return {
        "max_single_put_size": SINGLE_SIZE,
        "max_single_get_size": BLOCK_SIZE,
        "max_chunk_get_size": BLOCK_SIZE,
        "connection_timeout": patience.connect,
        "read_timeout": patience.read,
        # Somewhere between none and twice the pause, so that many nodes do not come back at once.
        "retry_policy": LinearRetry(patience.pause, patience.retries, random_jitter_range=patience.pause),
    }
