"""How failures of the Azure client become the store's own errors, without a word of theirs.

The client's messages may quote a URL with its signature, a string to sign or an account.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
)

from storage.errors import (
    BlobNotFound,
    InvalidSettings,
    StorageDenied,
    StorageError,
    StorageUnavailable,
)


@contextmanager
def readable_settings() -> Iterator[None]:
    """Raise InvalidSettings where the client's constructor can't read what it was given."""
    try:
        yield
    except (ValueError, TypeError, KeyError):
        # Not the library's own words: they may quote what they could not read.
        raise InvalidSettings("the storage account's address or credential is malformed") from None


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise the store's own error where a request concerning `what` (a path) fails."""
    try:
        yield
    except (AzureError, OSError) as error:
        raise _translate(error, what) from None


def _translate(error: AzureError | OSError, what: str) -> StorageError:
    """Return the store's own error, with the service's code but none of its words."""
    status = error.status_code if isinstance(error, HttpResponseError) else None
    if isinstance(error, ResourceNotFoundError):
        return BlobNotFound(f"{what!r}: nothing is stored here")
    if status == 412:  # reading goes on only with the entity tag it began with
        return BlobNotFound(f"{what!r}: was removed or replaced meanwhile")
    detail = f"{what!r}: the service answered {status} {service_code(error)}".rstrip()
    if isinstance(error, ClientAuthenticationError) or status in (401, 403):
        return StorageDenied(detail)
    if status is None:
        return StorageUnavailable(f"{what!r}: the service did not answer ({type(error).__name__})")
    if status in (408, 429) or status >= 500:
        return StorageUnavailable(detail)
    return StorageError(detail)


def service_code(error: Exception) -> str:
    """Return the service's error code (a word as `BlobAlreadyExists`), or nothing."""
    response = getattr(error, "response", None)
    code = response.headers.get("x-ms-error-code", "") if response is not None else ""
    return code if code.isalnum() and len(code) < 80 else ""
