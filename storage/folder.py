"""The blocking half of the local backend: blobs in a folder, durable and never outside of it.

Every step down the tree opens one component relative to its parent's descriptor and follows no
symlink, so neither a link planted in the folder nor one swapped in mid-way leads out of it.
"""

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from storage.errors import (
    BlobExists,
    BlobNotFound,
    InvalidPath,
    PathConflict,
    StorageDenied,
    StorageError,
    StorageFull,
    StorageUnavailable,
)
from storage.paths import RESERVED, is_path, warn_of_skipped
from storage.protocol import BlobInfo

Parts = tuple[str, ...]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a planted named pipe would hang the thread.
_REGULAR = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# How the system says "no such blob": gone, a file or a symlink on the way, a symlink or a socket at
# the end.
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
_CAUSES: dict[int, tuple[type[StorageError], str]] = {
    errno.ENOSPC: (StorageFull, "no space is left"),
    errno.EDQUOT: (StorageFull, "the quota is used up"),
    errno.EFBIG: (StorageFull, "the size limit for one file is reached"),
    errno.EACCES: (StorageDenied, "permission denied"),
    errno.EPERM: (StorageDenied, "operation not permitted"),
    errno.EROFS: (StorageDenied, "the file system is read-only"),
    errno.ENAMETOOLONG: (InvalidPath, "the file system takes no name this long"),
    errno.EILSEQ: (InvalidPath, "the file system does not take this name"),
}


def translate(error: OSError, what: str) -> StorageError:
    """Return the store's own error for a system call that failed on `what` (a path or the root)."""
    kind, cause = _CAUSES.get(error.errno or 0, (StorageUnavailable, f"input/output failed (errno {error.errno})"))
    return kind(f"{what!r}: {cause}")


def describe(parts: Parts, status: os.stat_result) -> BlobInfo:
    """Return what the store tells of a file."""
    return BlobInfo("/".join(parts), status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))


class Folder:
    """A folder tree of blobs, with the reserved area `.incoming` for those still on their way in.

    Raises OSError where the system fails and StorageError where the store's own rules do.
    """

    def __init__(self, root: Path) -> None:
        _make_durable(root)
        # Kept open: what is done later is done in this very folder, whatever becomes of its name.
        self.root = os.open(root, _DIRECTORY & ~os.O_NOFOLLOW)
        try:
            with suppress(FileExistsError):
                os.mkdir(RESERVED, 0o700, dir_fd=self.root)
            self.incoming = os.open(RESERVED, _DIRECTORY, dir_fd=self.root)
        except OSError:
            os.close(self.root)
            raise

    def close(self) -> None:
        """Release both descriptors; later calls fail, and never reach a stranger's descriptor."""
        os.close(self.incoming)
        os.close(self.root)
        self.root = self.incoming = -1

    def clean(self) -> int:
        """Remove uploads whose writer is gone (its lock died with it); return how many."""
        removed = 0
        for name in self._drafts():
            try:
                descriptor = os.open(name, os.O_RDWR | _REGULAR, dir_fd=self.incoming)
            except OSError:
                continue  # finished meanwhile, or nothing of ours
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(name, dir_fd=self.incoming)
                removed += 1
            except OSError:
                continue  # its writer is alive, or has just finished
            finally:
                os.close(descriptor)
        return removed

    def _drafts(self) -> tuple[str, ...]:
        with os.scandir(self.incoming) as entries:
            return tuple(entry.name for entry in entries)

    def probe(self) -> None:
        """Do once what storing a blob needs: create, lock, sync and link."""
        name = secrets.token_hex(16)
        descriptor = self.create(name)
        try:
            os.write(descriptor, b"probe")
            os.fsync(descriptor)
            os.link(name, name + ".link", src_dir_fd=self.incoming, dst_dir_fd=self.incoming)
            os.unlink(name + ".link", dir_fd=self.incoming)
        finally:
            os.unlink(name, dir_fd=self.incoming)
            os.close(descriptor)

    def create(self, name: str) -> int:
        """Create a file in the incoming area, locked while it is open; return its descriptor."""
        while True:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | _REGULAR
            descriptor = os.open(name, flags, 0o600, dir_fd=self.incoming)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if os.fstat(descriptor).st_nlink:
                    return descriptor
                # Between the two calls a starting node took it for a dead one's: make it anew.
            except OSError:
                os.unlink(name, dir_fd=self.incoming)
                os.close(descriptor)
                raise
            os.close(descriptor)

    @contextmanager
    def entered(self, parts: Parts, *, create: bool = False) -> Iterator[int]:
        """Give the descriptor of a folder, made durable on the way down where `create` is set."""
        descriptor = os.dup(self.root)
        try:
            for name in parts:
                if create:
                    with suppress(FileExistsError):
                        os.mkdir(name, 0o700, dir_fd=descriptor)
                    # Also when it was there: whoever made it may not have come to this yet.
                    os.fsync(descriptor)
                child = os.open(name, _DIRECTORY, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = child
            yield descriptor
        finally:
            os.close(descriptor)

    def open(self, parts: Parts) -> tuple[int, os.stat_result]:
        """Return a descriptor for reading a blob, and its status. Raises BlobNotFound."""
        with _absence(parts), self.entered(parts[:-1]) as parent:
            descriptor = os.open(parts[-1], os.O_RDONLY | _REGULAR, dir_fd=parent)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise BlobNotFound(f"{'/'.join(parts)!r}: nothing is stored here")
        return descriptor, status

    def stat(self, parts: Parts) -> os.stat_result:
        """Return a blob's status. Raises BlobNotFound."""
        with _absence(parts), self.entered(parts[:-1]) as parent:
            return _regular(parts[-1], parent)

    def delete(self, parts: Parts) -> None:
        """Remove a blob durably, and the folders it leaves empty. Raises BlobNotFound."""
        with _absence(parts), self.entered(parts[:-1]) as parent:
            _regular(parts[-1], parent)
            os.unlink(parts[-1], dir_fd=parent)
            os.fsync(parent)
        self.prune(parts[:-1])

    def prune(self, parts: Parts) -> None:
        """Remove a folder and those above it as far as they are empty."""
        for depth in range(len(parts), 0, -1):
            try:
                with self.entered(parts[: depth - 1]) as parent:
                    os.rmdir(parts[depth - 1], dir_fd=parent)
            except FileNotFoundError:  # another delete was first, or it was never made
                continue
            except OSError:  # not empty
                return

    def clear_way(self, parts: Parts) -> None:
        """Return if a name that was taken is free now, else raise BlobExists or PathConflict.

        A crash may leave folders with nothing stored in them; these are removed, as no caller sees
        them.
        """
        with suppress(FileNotFoundError), self.entered(parts[:-1]) as parent:
            mode = os.stat(parts[-1], dir_fd=parent, follow_symlinks=False).st_mode
            if stat.S_ISREG(mode):
                raise BlobExists(f"{'/'.join(parts)!r}: something is stored here already")
            if not (stat.S_ISDIR(mode) and _remove_hollow(parent, parts[-1])):
                raise PathConflict(f"{'/'.join(parts)!r}: a folder is here")

    def walk(self, parts: Parts) -> Generator[BlobInfo, None, None]:
        """Yield the blobs below a folder in the order of their paths."""
        skipped = 0
        levels: list[tuple[int, Parts, Iterator[str]]] = []
        try:
            with suppress(FileNotFoundError, NotADirectoryError), self.entered(parts) as top:
                levels.append(_level(os.dup(top), parts))
            while levels:
                descriptor, base, names = levels[-1]
                name = next(names, None)
                if name is None:
                    levels.pop()
                    os.close(descriptor)
                elif name.endswith("/"):
                    with suppress(FileNotFoundError, NotADirectoryError):  # removed meanwhile
                        child = os.open(name[:-1], _DIRECTORY, dir_fd=descriptor)
                        levels.append(_level(child, (*base, name[:-1])))
                elif not is_path("/".join((*base, name))):
                    skipped += 1
                else:
                    with suppress(FileNotFoundError):  # removed meanwhile
                        yield describe((*base, name), _regular(name, descriptor))
        finally:
            for descriptor, _, _ in levels:
                os.close(descriptor)
        warn_of_skipped(skipped)


def _level(descriptor: int, base: Parts) -> tuple[int, Parts, Iterator[str]]:
    """List one folder for `walk`, which owns the descriptor; the names of folders end in a slash.

    With that slash they sort as the paths below them do: "a-b" comes before "a/b".
    """
    try:
        with os.scandir(descriptor) as entries:
            names = [
                entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name
                for entry in entries
                if entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)
            ]
    except OSError:
        os.close(descriptor)
        raise
    return descriptor, base, iter(sorted(n for n in names if base or n != RESERVED + "/"))


@contextmanager
def _absence(parts: Parts) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        raise BlobNotFound(f"{'/'.join(parts)!r}: nothing is stored here") from None


def _regular(name: str, parent: int) -> os.stat_result:
    """Return the status of a regular file; anything else counts as absent (FileNotFoundError)."""
    status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode):
        raise FileNotFoundError(errno.ENOENT, "not a regular file")
    return status


def _remove_hollow(parent: int, name: str) -> bool:
    """Remove a folder that holds nothing but folders; return False where it holds more."""
    descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        with os.scandir(descriptor) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        if not all(is_dir and _remove_hollow(descriptor, child) for child, is_dir in found):
            return False
    finally:
        os.close(descriptor)
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError:  # filled meanwhile
        return False
    return True


def _make_durable(root: Path) -> None:
    """Create the root and what is missing above it, each entry synced before the next one."""
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
