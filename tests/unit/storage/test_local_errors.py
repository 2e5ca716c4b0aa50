"""The system's errors in the store's own words."""

import errno

import pytest

from storage import InvalidPath, StorageDenied, StorageError, StorageFull, StorageUnavailable
from storage.folder import translate


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ENOSPC, StorageFull, "storage_full"),
        (errno.EDQUOT, StorageFull, "storage_full"),
        (errno.EFBIG, StorageFull, "storage_full"),
        (errno.EACCES, StorageDenied, "storage_denied"),
        (errno.EPERM, StorageDenied, "storage_denied"),
        (errno.EROFS, StorageDenied, "storage_denied"),
        (errno.ENAMETOOLONG, InvalidPath, "invalid_path"),
        (errno.EILSEQ, InvalidPath, "invalid_path"),
        (errno.EIO, StorageUnavailable, "storage_unavailable"),
        (None, StorageUnavailable, "storage_unavailable"),
    ],
)
def test_each_system_error_has_its_kind(number: int | None, kind: type[StorageError], code: str) -> None:
    error = OSError() if number is None else OSError(number, "in the system's words")
    translated = translate(error, "a/b")
    assert (type(translated), translated.code) == (kind, code)
    assert str(translated).startswith("'a/b': ")
    assert "in the system's words" not in str(translated)
