"""One create-only upload to Azure Blob, by Put Blob or by Put Block and Put Block List.

REST reference: https://learn.microsoft.com/rest/api/storageservices/put-block-list
"""

import asyncio
import secrets
from collections import deque
from contextlib import suppress
from io import BytesIO
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.storage.blob import BlobBlock
from azure.storage.blob.aio import BlobClient

from storage.azure_errors import service_code, translated
from storage.errors import BlobExists, StorageUnavailable
from storage.streams import uninterrupted

BLOCK_SIZE = 4 << 20
"""Bytes in one request. A blob has at most 50,000 blocks: 195 GiB."""
SINGLE_SIZE = 1 << 20
"""Bytes up to which a blob takes one request in all; aiohttp would send larger ones in one go."""
_PARALLEL = 3
_MARK = "upload"  # the metadata that tells this put's blob from another writer's

# A conditional commit fails with one of these where another writer was first. The latter two: a
# commit drops the blocks that others have staged under its path.
_TAKEN = ("BlobAlreadyExists", "ConditionNotMet", "InvalidBlockList", "InvalidBlobOrBlock")


class Upload:
    """One put: blocks are sent a few at a time, then made a blob by one conditional request."""

    def __init__(self, blob: BlobClient, path: str) -> None:
        self.size = 0
        self._blob = blob
        self._path = path
        self._id = secrets.token_hex(16)
        self._held = b""  # whether it is the only block shows with the next one
        self._in_blocks = False
        self._staged: list[BlobBlock] = []
        self._running: deque[asyncio.Task[Any]] = deque()
        self._may_be_visible = False

    async def add(self, block: bytes) -> None:
        """Take the next block; wait while enough are on their way. Raises StorageError."""
        await self._stage_held()
        self._held = block
        self.size += len(block)

    async def publish(self) -> None:
        """Make the blob visible. Raises BlobExists and other StorageErrors."""
        if self._in_blocks or len(self._held) > SINGLE_SIZE:
            await self._stage_held()
        with translated(self._path):
            await self._drain()
            self._may_be_visible = True
            await uninterrupted(asyncio.ensure_future(self._commit()))

    async def discard(self) -> None:
        """Stop what is running, and remove the blob if it became visible nevertheless."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._may_be_visible:
            await uninterrupted(asyncio.ensure_future(self._withdraw()))

    async def _stage_held(self) -> None:
        if not self._held:
            return
        if len(self._running) == _PARALLEL:
            with translated(self._path):
                await self._running.popleft()
        # The id keeps apart the blocks of several writers; under one path all have one length.
        name = f"{self._id}-{len(self._staged):06}"
        request = self._blob.stage_block(name, BytesIO(self._held), len(self._held))
        self._running.append(asyncio.ensure_future(request))
        self._staged.append(BlobBlock(name))
        self._in_blocks, self._held = True, b""

    async def _drain(self) -> None:
        while self._running:
            await self._running.popleft()

    async def _commit(self) -> None:
        while True:
            try:
                await self._send()
                return
            except HttpResponseError as error:
                if service_code(error) not in _TAKEN:
                    raise
            # The client repeats a request whose answer was lost, and then finds its own work.
            if await self._is_there():
                return
            if self._in_blocks:
                raise StorageUnavailable(f"{self._path!r}: another writer came and went")
            # Azurite holds unfinished blocks of other writers against a Put Blob, the service
            # does not; a Put Block List passes in both.
            await self._stage_held()
            await self._drain()
            self._in_blocks = True

    async def _send(self) -> None:
        metadata = {_MARK: self._id}
        if self._in_blocks:
            await self._blob.commit_block_list(
                self._staged, metadata=metadata, match_condition=MatchConditions.IfMissing
            )
        else:
            await self._blob.upload_blob(self._held, metadata=metadata)

    async def _is_there(self) -> bool:
        """Tell whether this put's blob is under the path. Raises BlobExists if another one is."""
        try:
            properties = await self._blob.get_blob_properties()
        except ResourceNotFoundError:
            return False
        if properties.metadata.get(_MARK) == self._id:
            return True
        self._may_be_visible = False
        raise BlobExists(f"{self._path!r}: something is stored here already")

    async def _withdraw(self) -> None:
        with suppress(AzureError, OSError):
            properties = await self._blob.get_blob_properties(retry_total=0)
            if properties.metadata.get(_MARK) == self._id:
                await self._blob.delete_blob(
                    etag=properties.etag,
                    match_condition=MatchConditions.IfNotModified,
                    retry_total=0,
                )
