"""What can go wrong in a store: one root, each error with a stable `code`.

Messages name the path and the cause in this package's own words. They never quote a backend's text,
which may hold an account, a signature or a connection string.
"""

from typing import ClassVar


class StorageError(Exception):
    """Root of every error a store raises; `code` is stable and safe to show to a client."""

    code: ClassVar[str] = "storage_error"


class InvalidPath(StorageError):
    """The path breaks a rule of `storage.paths`, or is too long for the backend."""

    code = "invalid_path"


class InvalidRange(StorageError):
    """A negative offset or length was asked for."""

    code = "invalid_range"


class InvalidSettings(StorageError):
    """The backend's address or credential can't be read."""

    code = "invalid_settings"


class BlobNotFound(StorageError):
    """Nothing is stored under the path."""

    code = "blob_not_found"


class BlobExists(StorageError):
    """Something is already stored under the path; stored content is never replaced."""

    code = "blob_exists"


class PathConflict(StorageError):
    """The path is a folder, or a folder on the way to it is a stored blob."""

    code = "path_conflict"


class StorageFull(StorageError):
    """No space, quota or size allowance is left."""

    code = "storage_full"


class StorageDenied(StorageError):
    """The backend refuses this node's credential or permissions."""

    code = "storage_denied"


class StorageUnavailable(StorageError):
    """The backend does not answer, or failed in a way that may pass: trying again makes sense."""

    code = "storage_unavailable"
