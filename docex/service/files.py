"""New files that replace nothing by accident: made under a hidden name beside their own, which they get at the end.

Folders are held as open descriptors, so that a folder that is moved or replaced meanwhile leads nowhere else.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from docex.core.interrupts import held, passing
from docex.errors import Conflict

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY


class AlreadyExists(Conflict):
    """Something has the name already, and replacing it was not asked for."""

    code = "already_exists"


@contextmanager
def new_file(path: Path, *, force: bool = False, durable: bool = True) -> Iterator[FileIO]:
    """A file to write that gets its name when the block ends well, and leaves nothing behind otherwise.

    With ``durable`` the disk has it by then. No signal comes in between (`docex.core.interrupts`), so what may take
    long in the block opens a window: ``with new_file(…) as file, passing():``.

    Raises:
        AlreadyExists: ``path`` exists (checked first, and again at the end) and ``force`` is not set.
        Conflict: ``path`` is a folder.
    """
    with held():
        check_file(path, force=force)
        folder = os.open(path.parent, DIRECTORY)
        temporary = f".docex-{secrets.token_hex(8)}"
        try:
            with _errors_about(path):
                descriptor = os.open(temporary, NEW, 0o666, dir_fd=folder)
            with FileIO(descriptor, "wb") as file:
                yield file
                if durable:
                    with passing():
                        os.fsync(file.fileno())
            with _errors_about(path):
                if force:
                    os.replace(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
                else:
                    claim(temporary, folder, path.name, folder, path)
            if durable:
                os.fsync(folder)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
            os.close(folder)


@contextmanager
def _errors_about(path: Path) -> Iterator[None]:
    """Errors of the system name the file that the user asked for: its hidden name would tell them nothing."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def check_file(path: Path, *, force: bool) -> None:
    """Raise AlreadyExists or Conflict unless a new file may have this name."""
    folder = os.open(path.parent, DIRECTORY)
    try:
        check_name(path.name, folder, path, force=force)
    finally:
        os.close(folder)


def check_name(name: str, folder: int, shown: Path, *, force: bool) -> None:
    """The same for a name in a folder that is open; ``shown`` is how messages call it."""
    mode = mode_of(name, folder)
    if mode is not None and stat.S_ISDIR(mode):
        raise Conflict(f"{shown} is a folder")
    if mode is not None and not force:
        raise AlreadyExists(f"{shown} exists already")


def mode_of(name: str, folder: int) -> int | None:
    """The type and mode of what has this name, be it a link; None when nothing has it."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None


def claim(source: str, source_folder: int, name: str, folder: int, shown: Path) -> None:
    """Give a file a name that nothing has: a link fails where a rename would replace. Raises AlreadyExists."""
    try:
        try:
            os.link(source, name, src_dir_fd=source_folder, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            raise
        except OSError:  # this file system has no hard links: claim the name, then rename over the claim
            os.close(os.open(name, NEW, dir_fd=folder))
            os.replace(source, name, src_dir_fd=source_folder, dst_dir_fd=folder)
    except FileExistsError:
        raise AlreadyExists(f"{shown} exists already") from None
