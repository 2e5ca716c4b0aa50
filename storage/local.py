"""BlobStore in a local folder, also one that several processes share."""

import asyncio
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import TypeVar

from storage.errors import BlobExists, BlobNotFound, PathConflict, StorageError, StorageUnavailable
from storage.folder import Folder, Parts, describe, translate
from storage.paths import check_path, check_prefix
from storage.protocol import BlobInfo, BlobReader, check_range
from storage.streams import gathered, uninterrupted

T = TypeVar("T")

BLOCK_SIZE = 1 << 20
"""Bytes written or read in one thread hop."""
_LIST_BATCH = 256
_LINK_ATTEMPTS = 100
_THREADS = 8  # they mostly wait for the disk


class LocalStore:
    """A folder as a BlobStore: the blob `a/b` is the file `a/b` below it, for its owner alone.

    A put writes and syncs a file in the reserved area `.incoming` and then links it to its path,
    which fails where something is already; the folder's entry and those above it are synced before
    the put returns. The file system has to support hard links and `flock`; `check` finds out.
    """

    def __init__(self, root: Path) -> None:
        """Open the folder, create it if it is missing, and clear what crashed writers left in it.

        Blocks for a moment; meant for the start of a process. Raises StorageError.
        """
        self._name = str(root)
        try:
            self._folder = Folder(root)
            self._folder.clean()
        except OSError as error:
            raise translate(error, self._name) from None
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="storage")

    async def put(self, path: str, chunks: AsyncIterable[bytes]) -> int:
        """See BlobStore.put."""
        draft = _Draft(self._folder, check_path(path))
        try:
            last = b""  # written and published in one thread hop: most blobs have one block
            async with aclosing(gathered(chunks, BLOCK_SIZE // 2)) as stream:
                async for block in stream:
                    if last:
                        await self._run(path, partial(draft.write, last))
                    last = block
            await self._run(path, partial(draft.publish, last))
        except BaseException:
            await self._run(path, draft.discard)
            raise
        return draft.size

    @asynccontextmanager
    async def open(self, path: str, offset: int = 0, length: int | None = None) -> AsyncIterator[BlobReader]:
        """See BlobStore.open."""
        parts = check_path(path)
        check_range(offset, length)
        descriptor, status = await self._run(
            path, partial(self._folder.open, parts), undo=lambda opened: os.close(opened[0])
        )
        end = status.st_size if length is None else min(status.st_size, offset + length)
        # A file object, not the number: read after its end it fails instead of reading a stranger's
        # file.
        with FileIO(descriptor) as file:
            async with aclosing(self._read(path, file, offset, end)) as chunks:
                yield BlobReader(describe(parts, status), chunks)

    async def stat(self, path: str) -> BlobInfo:
        """See BlobStore.stat."""
        parts = check_path(path)
        return describe(parts, await self._run(path, partial(self._folder.stat, parts)))

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """See BlobStore.list."""
        found = self._folder.walk(check_prefix(prefix))
        try:
            while batch := await self._run(prefix, lambda: tuple(islice(found, _LIST_BATCH))):
                for info in batch:
                    yield info
        finally:
            found.close()

    async def delete(self, path: str) -> None:
        """See BlobStore.delete."""
        parts = check_path(path)
        await self._run(path, partial(self._folder.delete, parts))

    async def check(self) -> None:
        """See BlobStore.check; stores and removes a file of a few bytes."""
        await self._run(self._name, self._folder.probe)

    async def close(self) -> None:
        """See BlobStore.close; waits for what is being written."""
        await asyncio.to_thread(self._pool.shutdown)
        self._folder.close()

    async def _read(self, path: str, file: FileIO, offset: int, end: int) -> AsyncGenerator[bytes, None]:
        while offset < end:
            wanted = min(BLOCK_SIZE, end - offset)
            chunk = await self._run(path, partial(os.pread, file.fileno(), wanted, offset))
            if not chunk:
                raise StorageUnavailable(f"{path!r}: was cut short by another program")
            offset += len(chunk)
            yield chunk

    async def _run(self, what: str, step: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
        """Run a blocking step in a thread, to its end even if cancelled; then `undo` its result."""
        work = asyncio.get_running_loop().run_in_executor(self._pool, step)
        try:
            return await uninterrupted(work)
        except OSError as error:
            raise translate(error, what) from None
        except asyncio.CancelledError:
            if undo is not None and not work.exception():
                undo(work.result())
            raise


class _Draft:
    """A blob on its way in; its steps run one after the other, in any thread."""

    def __init__(self, folder: Folder, parts: Parts) -> None:
        self.size = 0
        self._folder = folder
        self._parts = parts
        self._name = secrets.token_hex(16)
        self._file: FileIO | None = None
        self._linked = False

    def write(self, block: bytes) -> None:
        """Append a block; the first one is refused where the path is taken already."""
        file = self._file or self._begin()
        rest = memoryview(block)
        while rest:
            rest = rest[file.write(rest) :]
        self.size += len(block)

    def publish(self, last: bytes) -> None:
        """Append the last block; make the blob durable, then visible, then its visibility durable."""
        self.write(last)
        file = self._file
        assert file is not None
        os.fsync(file.fileno())
        for _ in range(_LINK_ATTEMPTS):
            try:
                self._link()
            except FileNotFoundError:
                continue  # a delete removed the folder, empty as it was until now
            except FileExistsError:
                self._folder.clear_way(self._parts)
            except NotADirectoryError:
                raise PathConflict(f"{'/'.join(self._parts)!r}: a blob is on the way") from None
            else:
                self._end(file)
                return
        raise StorageUnavailable(f"{'/'.join(self._parts)!r}: its folder keeps vanishing")

    def discard(self) -> None:
        """Remove every trace, also of a blob published just before its writer was cancelled."""
        if self._linked:
            with suppress(OSError, StorageError):
                self._folder.delete(self._parts)
        if self._file is not None:
            self._folder.prune(self._parts[:-1])
            self._end(self._file)

    def _begin(self) -> FileIO:
        with suppress(BlobNotFound):
            self._folder.stat(self._parts)
            raise BlobExists(f"{'/'.join(self._parts)!r}: something is stored here already")
        self._file = FileIO(self._folder.create(self._name), "w")
        return self._file

    def _link(self) -> None:
        with self._folder.entered(self._parts[:-1], create=True) as parent:
            os.link(
                self._name,
                self._parts[-1],
                src_dir_fd=self._folder.incoming,
                dst_dir_fd=parent,
                follow_symlinks=False,
            )
            self._linked = True
            os.fsync(parent)

    def _end(self, file: FileIO) -> None:
        with suppress(OSError):  # gone already; or the next start removes it
            os.unlink(self._name, dir_fd=self._folder.incoming)
        file.close()
