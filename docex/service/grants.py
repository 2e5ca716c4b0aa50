"""What granting access does with a packet's payload: nothing, or copy it as it is."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from io import FileIO
from typing import BinaryIO

from docex.core.age.chunking import NONCE_SIZE, TAG
from docex.core.age.streams import Destination, Source, read_into, write_all
from docex.errors import PayloadInvalid

_BUFFER = 1 << 20
_KERNEL_STEP = 1 << 26
# Not between file systems, to a pipe, in this kernel, on this file system.
_NO_KERNEL_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF)


def check_payload_size(size: int) -> None:
    """Raise PayloadInvalid when so many bytes behind a header can't be the payload of a packet."""
    if size <= NONCE_SIZE + TAG:
        raise PayloadInvalid("the packet ends before its payload")


def hash_payload(source: Source, destination: Destination | None, progress: Callable[[int], object]) -> str:
    """The digest (``sha256:<hex>``) of what is left of ``source``, which goes to ``destination`` on the way.

    Raises PayloadInvalid when that is too little for a payload, OSError.
    """
    hasher, size = hashlib.sha256(), 0
    buffer = memoryview(bytearray(_BUFFER))
    while count := read_into(source, buffer):
        hasher.update(buffer[:count])
        if destination is not None:
            write_all(destination, buffer[:count])
        size += count
        progress(count)
    check_payload_size(size)
    return "sha256:" + hasher.hexdigest()


def copy_payload(source: BinaryIO, offset: int, destination: FileIO, progress: Callable[[int], object]) -> int:
    """Copy a file from ``offset`` on, in the kernel where it can; the bytes copied. Raises OSError."""
    start = offset
    while count := _copy_in_kernel(source, offset, destination):
        offset += count
        progress(count)
    source.seek(offset)
    buffer = memoryview(bytearray(_BUFFER))
    while count := read_into(source, buffer):  # all of it, or nothing any more
        write_all(destination, buffer[:count])
        offset += count
        progress(count)
    return offset - start


def _copy_in_kernel(source: BinaryIO, offset: int, destination: FileIO) -> int:
    try:
        return os.copy_file_range(source.fileno(), destination.fileno(), _KERNEL_STEP, offset)
    except OSError as error:
        if error.errno in _NO_KERNEL_COPY:
            return 0
        raise
