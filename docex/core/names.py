"""Document names and folder paths: what they may look like, wherever they come from.

Names travel between organisations and end up on other people's disks, so one rule holds for all inputs (an upload
path, a tar entry, a statement): what is allowed here is safe to join to a folder on POSIX and on Windows, and two
allowed names that some file system can't tell apart are never both accepted in one packet.
"""

from __future__ import annotations

import unicodedata

from docex.errors import LimitExceeded, NameInvalid

MAX_COMPONENT_BYTES = 255  # POSIX NAME_MAX
MAX_PATH_BYTES = 1024
MAX_DEPTH = 16  # a path costs its reader something for each of its folders
MAX_FOLDERS = 10_000  # of one packet

_FORBIDDEN = frozenset('/<>:"|?*\\')  # but for the first, forbidden by Windows
_WINDOWS_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$", *(f"{name}{n}" for name in ("com", "lpt") for n in range(10))]
)
# Cc: control, Cf: format (bidi overrides, zero-width), Cs: surrogate, Co/Cn: private or unassigned, Zl/Zp: separators.
_FORBIDDEN_CATEGORIES = frozenset(["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"])
# Allowed (scripts and emoji need them) but invisible: Default_Ignorable_Code_Point of other categories.
_INVISIBLE = dict.fromkeys(
    [0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]
)


def check_name(name: str) -> str:
    """Return ``name`` if it is a valid document name (one path component).

    Raises:
        NameInvalid: it is empty, too long, not NFC, ``.`` or ``..``, or has a character that is not allowed.
    """
    if reason := _refusal(name):
        raise NameInvalid(f"name {name[:80]!a} {reason}")
    return name


def _refusal(name: str) -> str | None:
    """Why a name is not allowed, or None."""
    if not name:
        return "is empty"
    if not _FORBIDDEN.isdisjoint(name):
        return f"has one of the characters {' '.join(sorted(_FORBIDDEN))}"
    for character in "" if name.isprintable() else name:  # printable text has none of these categories
        if unicodedata.category(character) in _FORBIDDEN_CATEGORIES:
            return f"has the character U+{ord(character):04X}, which is not allowed"
    if len(name.encode()) > MAX_COMPONENT_BYTES:
        return f"is longer than {MAX_COMPONENT_BYTES} bytes"
    if not unicodedata.is_normalized("NFC", name):
        return "is not in Unicode normalisation form NFC"
    if name[0] == " " or name[-1] in " .":  # covers "." and ".."
        return "starts with a space or ends with a space or a dot"
    stem = unicodedata.normalize("NFKC", name.split(".", 1)[0])  # COM¹ is a device, too
    if stem.rstrip(" ").casefold() in _WINDOWS_DEVICES:
        return "is the name of a device on Windows"
    return None


def check_path(path: str) -> str:
    """Return ``path`` if it is a valid relative path of names joined by single ``/``.

    Raises:
        NameInvalid: it is empty, absolute, too long or too deep, or one of its names is invalid.
    """
    if len(path.encode("utf-8", "surrogatepass")) > MAX_PATH_BYTES:
        raise NameInvalid(f"a path is longer than {MAX_PATH_BYTES} bytes")
    if path.count("/") >= MAX_DEPTH:
        raise NameInvalid(f"a path has more than {MAX_DEPTH} parts")
    for name in path.split("/"):
        if name in ("", ".", ".."):
            raise NameInvalid(f"path {path!a} has an empty, '.' or '..' part")
        check_name(name)
    return path


def check_folder(folder: str) -> str:
    """Return ``folder`` if it is a valid folder path; the empty string is the root folder.

    Raises:
        NameInvalid: see `check_path`.
    """
    return check_path(folder) if folder else folder


def join(folder: str, name: str) -> str:
    """The path of a document: its folder and name, joined."""
    return f"{folder}/{name}" if folder else name


def split(path: str) -> tuple[str, str]:
    """The folder and the name of a checked path.

    Raises:
        NameInvalid: see `check_path`.
    """
    folder, _, name = check_path(path).rpartition("/")
    return folder, name


def collision_key(name: str) -> str:
    """What two names share when a file system that ignores case, width or the invisible would store them in one place.

    Folding through upper case as well puts the dotless i beside i, as upper-casing file systems do; the second
    normalisation undoes what folding may have decomposed.
    """
    if name.isascii():  # the same, faster
        return name.lower()
    folded = unicodedata.normalize("NFKC", name).translate(_INVISIBLE).upper().casefold()
    return unicodedata.normalize("NFKC", folded)


class DistinctPaths:
    """The paths of one packet: no two may need the same place, nor one be a document where another needs a folder.

    They may need `MAX_FOLDERS` folders in all: each costs a reader more than a small document does.
    """

    def __init__(self) -> None:
        # Hashes in place of the keys: a small hostile packet can hold 10,000 long paths of 16 parts each.
        self._documents: set[int] = set()
        self._folders: set[int] = set()

    def add(self, path: str) -> bool:
        """Take a checked path; whether it has a place of its own beside all before it.

        Raises:
            LimitExceeded: the paths need more than `MAX_FOLDERS` folders.
        """
        *folders, name = path.split("/")
        place = 0
        for folder in folders:
            place = hash((place, collision_key(folder)))
            if place in self._documents:
                return False
            self._folders.add(place)
            if len(self._folders) > MAX_FOLDERS:
                raise LimitExceeded(f"the documents of a packet need at most {MAX_FOLDERS} folders")
        place = hash((place, collision_key(name)))
        free = place not in self._documents and place not in self._folders
        self._documents.add(place)
        return free
