"""Storage of byte streams: the BlobStore protocol, its errors and its paths.

The backends are imported by name (`storage.local`, `storage.azure`), so that what only needs the
protocol never loads a vendor's library.
"""

from storage.errors import (
    BlobExists,
    BlobNotFound,
    InvalidPath,
    InvalidRange,
    InvalidSettings,
    PathConflict,
    StorageDenied,
    StorageError,
    StorageFull,
    StorageUnavailable,
)
from storage.paths import check_path, check_prefix
from storage.protocol import BlobInfo, BlobReader, BlobStore

__all__ = [
    "BlobExists",
    "BlobInfo",
    "BlobNotFound",
    "BlobReader",
    "BlobStore",
    "InvalidPath",
    "InvalidRange",
    "InvalidSettings",
    "PathConflict",
    "StorageDenied",
    "StorageError",
    "StorageFull",
    "StorageUnavailable",
    "check_path",
    "check_prefix",
]
