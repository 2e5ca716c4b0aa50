"""The one rule for paths, the same on every backend.

A path is `/`-separated components of Unicode text. What is allowed here is what a Linux folder and
Azure Blob
(https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata)
both keep unchanged, so a node can move from one to the other.
"""

import logging
import unicodedata

from storage.errors import InvalidPath

MAX_PATH_BYTES = 1024
MAX_COMPONENT_BYTES = 255
MAX_COMPONENTS = 254  # Azure Blob's limit
RESERVED = ".incoming"
"""First component that is the store's own: a local folder keeps unfinished uploads there."""

# XML, in which Azure lists names, can't hold these two; no text needs them.
_NONCHARACTERS = "\ufffe\uffff"
_logger = logging.getLogger(__name__)


def check_path(path: str) -> tuple[str, ...]:
    """Return the components of a valid path.

    Raises InvalidPath for an empty path or component, `.` and `..`, a leading or trailing slash, a
    backslash, control characters, lone surrogates, text that is not NFC, the reserved first
    component (in any case, for file systems that fold it), and paths over 1,024 bytes, 254
    components or 255 bytes in one component.
    """
    if len(path) > MAX_PATH_BYTES:  # before any work that grows with the length
        raise InvalidPath(f"a path has at most {MAX_PATH_BYTES} bytes")
    parts = tuple(path.split("/"))
    for part in parts:
        _check_component(part)
    if len(path.encode()) > MAX_PATH_BYTES:
        raise InvalidPath(f"a path has at most {MAX_PATH_BYTES} bytes")
    if len(parts) > MAX_COMPONENTS:
        raise InvalidPath(f"a path has at most {MAX_COMPONENTS} components")
    if not unicodedata.is_normalized("NFC", path):
        raise InvalidPath("a path is text in Unicode normalisation form NFC")
    if parts[0].casefold() == RESERVED:
        raise InvalidPath(f"{RESERVED!r} is reserved for the store itself")
    return parts


def check_prefix(prefix: str) -> tuple[str, ...]:
    """Return the components of a folder's path, which may end in a slash; none for the empty one.

    Raises InvalidPath as `check_path` does.
    """
    return check_path(prefix.removesuffix("/")) if prefix else ()


def is_path(path: str) -> bool:
    """Tell whether a name found in a backend is one that `check_path` lets a caller use."""
    try:
        check_path(path)
    except InvalidPath:
        return False
    return True


def warn_of_skipped(count: int) -> None:
    """Log how many entries a listing passed over because their names are no paths."""
    if count:
        _logger.warning("passed over %d entries whose names are no valid paths", count)


def _check_component(part: str) -> None:
    if part in ("", ".", ".."):
        raise InvalidPath("a path has no empty, '.' or '..' component and no slash at its ends")
    for character in part:
        if character == "\\" or character in _NONCHARACTERS:
            raise InvalidPath("a path holds no backslash or noncharacter")
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise InvalidPath("a path holds no control character or lone surrogate")
    if len(part.encode()) > MAX_COMPONENT_BYTES:
        raise InvalidPath(f"a component of a path has at most {MAX_COMPONENT_BYTES} bytes")
