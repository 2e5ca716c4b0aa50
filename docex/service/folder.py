"""Documents and packets on disk: nothing gets its final name before it is whole, checked and durable.

Packets come from other organisations. So their documents are written to a hidden folder inside the target first (mode
0700, the same file system), and moved only when the whole packet was found good; no move follows a symbolic link out of
the target; and whatever goes wrong, what this module made is removed again.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from docex.core import names
from docex.core.age.streams import Source, write_all
from docex.core.grant import Grants
from docex.core.interrupts import held, passing
from docex.core.packet import DEFAULT_MAX_SIZE, Opened, open_packet
from docex.errors import Conflict, PacketError
from docex.service.files import (
    DIRECTORY,
    NEW,
    AlreadyExists,
    check_file,
    check_name,
    claim,
    mode_of,
    new_file,
)
from keys import Unwrapper

__all__ = ["AlreadyExists", "FolderSink", "Sender", "SenderMismatch", "folder_sink", "new_file", "open_into"]

NO_GRANTS = Grants()


class SenderMismatch(PacketError):
    """The packet is sound, but another key or account than the expected one signed it."""

    code = "sender_mismatch"


@dataclass(frozen=True, slots=True)
class Sender:
    """Whom a packet must come from: CAIP-10 account and the key id (RFC 7638 thumbprint) of the signing key."""

    account: str
    kid: str


def open_into(
    source: Source,
    identities: Sequence[Unwrapper],
    target: Path,
    *,
    sender: Sender | None = None,
    grants: Grants = NO_GRANTS,
    statements: Path | None = None,
    force: bool = False,
    max_size: int = DEFAULT_MAX_SIZE,
    hash_payload: bool = True,
    durable: bool = True,
    progress: Callable[[int], object] = lambda _: None,
) -> Opened:
    """Open a packet into the folder ``target``, which is made when it is missing: all documents, or none.

    Args:
        source: the packet's bytes.
        identities: the keys to try.
        target: the folder for the documents; their own folders are made inside it.
        sender: whose signature to insist on.
        grants: grants of access that let keys open it which are no addressees'.
        statements: a file to write the packet's statements to, one compact JWS a line.
        force: replace files that have the documents' names.
        max_size: the largest number of plaintext bytes to accept.
        hash_payload: take the payload's digest too.
        durable: wait until the disk has everything.
        progress: called with the number of document bytes of each step.

    Raises:
        AlreadyExists: a name is taken. Nothing was moved.
        Conflict: a folder on the way is a symbolic link or not a folder.
        SenderMismatch: the packet is not from ``sender``.
        GrantInvalid: one of the ``grants`` is not for this packet, or not from someone who could give access.
        OSError: the disk failed or is full.
        DocexError: whatever `docex.core.packet.open_packet` raises.
    """
    with folder_sink(target, force=force, durable=durable) as sink, ExitStack() as undo:
        if statements is not None:
            check_file(statements, force=force)
        with passing():
            opened = open_packet(
                source,
                identities,
                sink,
                max_size=max_size,
                granted=grants.keys,
                hash_payload=hash_payload or bool(grants.statements),
                progress=progress,
            )
            opened = grants.check(opened)
        if sender is not None:
            _check_sender(opened, sender)
        if statements is not None:
            lines = "".join(f"{each.token}\n" for each in (*opened.documents, opened.packet))
            with new_file(statements, force=force, durable=durable) as file:
                write_all(file, memoryview(lines.encode("ascii")))
            undo.callback(statements.unlink)
        sink.commit()
        undo.pop_all()
    return opened


def _check_sender(opened: Opened, sender: Sender) -> None:
    packet = opened.packet
    if packet.issuer != sender.account:
        raise SenderMismatch(f"the packet is signed for {packet.issuer}, not for {sender.account}")
    if packet.kid != sender.kid:
        raise SenderMismatch(f"the packet is signed by key {packet.kid}, which is not the expected {sender.kid}")


@contextmanager
def folder_sink(target: Path, *, force: bool = False, durable: bool = True) -> Iterator[FolderSink]:
    """A sink for `open_packet` over a folder. Without `FolderSink.commit` the block leaves nothing behind.

    No signal comes in between (`docex.core.interrupts`); what may take long in the block opens a window.

    Raises:
        Conflict: ``target`` is not a folder.
    """
    with held(), ExitStack() as cleanup:
        _make_folders(target, cleanup)
        root = os.open(target, DIRECTORY)
        cleanup.callback(os.close, root)
        name = f".docex-{secrets.token_hex(8)}"
        os.mkdir(name, 0o700, dir_fd=root)
        cleanup.callback(shutil.rmtree, name, ignore_errors=True, dir_fd=root)
        staging = os.open(name, DIRECTORY, dir_fd=root)
        cleanup.callback(os.close, staging)
        with closing(FolderSink(target, root, staging, force=force, durable=durable)) as sink:
            yield sink


class FolderSink:
    """Takes documents into a hidden folder; `commit` gives them their names. Made by `folder_sink`."""

    def __init__(self, target: Path, root: int, staging: int, *, force: bool, durable: bool) -> None:
        self._target = target
        self._root = root
        self._staging = staging
        self._force = force
        self._durable = durable
        self._paths: list[str] = []
        self._file: FileIO | None = None

    def begin(self, path: str, size: int) -> Callable[[memoryview], object]:  # noqa: ARG002 - the protocol's names
        """Start the next document. Raises AlreadyExists and Conflict early: most names are taken from the start."""
        self._finish()
        self._check_free(path)
        number = len(self._paths)
        self._paths.append(path)
        file = self._file = FileIO(os.open(str(number), NEW, 0o666, dir_fd=self._staging), "wb")
        return lambda data: write_all(file, data)

    def commit(self) -> None:
        """Move the documents to their names: all of them, or none.

        Raises:
            AlreadyExists: a name is taken.
            Conflict: a folder on the way is a symbolic link or not a folder.
        """
        self._finish()
        for path in self._paths:
            self._check_free(path)
        with ExitStack() as undo:
            for number, path in enumerate(self._paths):
                self._move(str(number), path, undo)
            if self._durable:
                for folder in {names.split(path)[0] for path in self._paths} | {""}:
                    self._sync(folder)
                _sync(self._target.absolute().parent)
            undo.pop_all()

    def close(self) -> None:
        """Close the document that is being written, if any."""
        if self._file is not None:
            self._file.close()

    def _finish(self) -> None:
        if self._file is not None:
            if self._durable:
                os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def _check_free(self, path: str) -> None:
        folder, name = names.split(path)
        try:
            with self._folder(folder) as parent:
                check_name(name, parent, self._target / path, force=self._force)
        except FileNotFoundError:
            pass  # no such folder yet, so nothing is in it

    def _move(self, staged: str, path: str, undo: ExitStack) -> None:
        folder, name = names.split(path)
        with self._folder(folder, undo) as parent:
            if self._force and mode_of(name, parent) is not None:
                old = f"{staged}.old"
                _keep(name, parent, old, self._staging)
                undo.callback(os.replace, old, path, src_dir_fd=self._staging, dst_dir_fd=self._root)
                os.replace(staged, name, src_dir_fd=self._staging, dst_dir_fd=parent)
            else:
                claim(staged, self._staging, name, parent, self._target / path)
                undo.callback(os.unlink, path, dir_fd=self._root)

    @contextmanager
    def _folder(self, folder: str, undo: ExitStack | None = None) -> Iterator[int]:
        """A folder inside the target, reached without following links; with ``undo`` it is made when missing."""
        current = os.dup(self._root)
        walked = ""
        try:
            for part in filter(None, folder.split("/")):
                walked = names.join(walked, part)
                if undo is not None and mode_of(part, current) is None:
                    os.mkdir(part, dir_fd=current)
                    undo.callback(_remove_folder, walked, self._root)
                try:
                    inner = os.open(part, DIRECTORY | os.O_NOFOLLOW, dir_fd=current)
                except NotADirectoryError:  # what Linux says about a link here, too
                    raise Conflict(f"{self._target / walked} is a symbolic link or not a folder") from None
                os.close(current)
                current = inner
            yield current
        finally:
            os.close(current)

    def _sync(self, folder: str) -> None:
        with self._folder(folder) as descriptor:
            os.fsync(descriptor)


def _keep(name: str, folder: int, kept: str, kept_folder: int) -> None:
    """Keep what is about to be replaced, in case a later step fails."""
    try:
        os.link(name, kept, src_dir_fd=folder, dst_dir_fd=kept_folder, follow_symlinks=False)
    except OSError:
        os.rename(name, kept, src_dir_fd=folder, dst_dir_fd=kept_folder)


def _make_folders(target: Path, cleanup: ExitStack) -> None:
    """Make ``target`` and the folders above it that are missing; ``cleanup`` removes them if they are empty then."""
    if not os.path.lexists(target):
        _make_folders(target.parent, cleanup)
        target.mkdir()
        cleanup.callback(_remove_folder, target)
    if not target.is_dir():
        raise Conflict(f"{target} is not a folder")


def _remove_folder(folder: Path | str, root: int | None = None) -> None:
    with suppress(OSError):  # not empty: someone else uses it by now
        os.rmdir(folder, dir_fd=root)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
