"""The textual header of an age file: strict reading, canonical writing (C2SP age, "Header")."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from docex.errors import HeaderInvalid, HeaderMacInvalid, LimitExceeded
from keys.stanza import Stanza

MAX_HEADER_SIZE = 2 << 20
MAX_STANZAS = 1024

_VERSION_LINE = b"age-encryption.org/v1\n"
_COLUMNS = 64
_VERSION_LIMIT = 128
_MAC_SIZE = 32
_MAC_LINE_SIZE = len("--- ") + 43 + len("\n")
_VCHAR = frozenset(range(0x21, 0x7F))


class LineSource(Protocol):
    """A binary stream that can give one line and read no further, as every BinaryIO can."""

    def readline(self, limit: int = -1, /) -> bytes:
        """The bytes up to and including the next line feed, at most ``limit``; empty at the end."""


@dataclass(frozen=True, slots=True)
class Header:
    """A parsed header. Nothing in it is authentic until ``check_mac`` has passed."""

    stanzas: tuple[Stanza, ...]
    mac: bytes
    raw: bytes

    def check_mac(self, file_key: bytes) -> None:
        """Raise HeaderMacInvalid unless the header was made by someone who knew ``file_key``."""
        covered = self.raw[: -_MAC_LINE_SIZE + len("---")]
        if not hmac.compare_digest(_mac(file_key, covered), self.mac):
            raise HeaderMacInvalid("the packet's header was changed: its MAC does not hold")


def encode_header(stanzas: Sequence[Stanza], file_key: bytes) -> bytes:
    """The header with ``stanzas`` in order and its MAC, in the one canonical form.

    Raises LimitExceeded when readers would refuse it: more than 1,024 stanzas, or 2 MiB.
    """
    if len(stanzas) > MAX_STANZAS:
        raise LimitExceeded(f"a packet has at most {MAX_STANZAS} stanzas")
    covered = _VERSION_LINE + b"".join(map(_encode_stanza, stanzas)) + b"---"
    header = covered + b" " + _encode_base64(_mac(file_key, covered)) + b"\n"
    if len(header) > MAX_HEADER_SIZE:
        raise LimitExceeded(f"a packet's header has at most {MAX_HEADER_SIZE} bytes")
    return header


def read_header(source: LineSource) -> Header:
    """Read one header from ``source`` and leave it at the payload's first byte.

    Raises HeaderInvalid when the header is not exactly what the specification's ABNF allows, or
    has more than 1,024 stanzas or 2 MiB.
    """
    lines = _Lines(source)
    _check_version(lines.next(_VERSION_LIMIT))
    stanzas: list[Stanza] = []
    while True:
        line = lines.next()
        if line.startswith(b"---"):
            break
        if len(stanzas) == MAX_STANZAS:
            raise HeaderInvalid(f"the packet's header has more than {MAX_STANZAS} stanzas")
        stanzas.append(_read_stanza(line, lines.next))
    if not line.startswith(b"--- "):
        raise HeaderInvalid("the header's MAC line is malformed")
    mac = _decode_base64(line[4:-1])
    if len(mac) != _MAC_SIZE:
        raise HeaderInvalid("the header's MAC has a wrong size")
    _check_composition(stanzas)
    return Header(tuple(stanzas), mac, bytes(lines.raw))


class _Lines:
    """Lines of a header, counted against its size limit and kept for the MAC."""

    def __init__(self, source: LineSource) -> None:
        self._source = source
        self.raw = bytearray()

    def next(self, limit: int = MAX_HEADER_SIZE) -> bytes:
        line = self._source.readline(min(limit, MAX_HEADER_SIZE - len(self.raw) + 1))
        self.raw += line
        if len(self.raw) > MAX_HEADER_SIZE:
            raise HeaderInvalid(f"the packet's header has more than {MAX_HEADER_SIZE} bytes")
        if not line.endswith(b"\n"):
            raise HeaderInvalid("the file ends inside its header, or is not an age file")
        return line


def _check_version(line: bytes) -> None:
    if line == _VERSION_LINE:
        return
    if line.startswith(b"-----BEGIN AGE ENCRYPTED FILE-----"):
        raise HeaderInvalid("an ASCII-armoured age file: remove the armour first")
    if line.startswith(b"age-encryption.org/"):
        raise HeaderInvalid("an age file of an unknown version")
    raise HeaderInvalid("not an age file")


def _check_composition(stanzas: Sequence[Stanza]) -> None:
    if not stanzas:
        raise HeaderInvalid("the header has no stanza")
    if len(stanzas) > 1 and any(stanza.type == "scrypt" for stanza in stanzas):
        raise HeaderInvalid("a passphrase (scrypt) stanza must be the only one")


def _read_stanza(line: bytes, next_line: Callable[[], bytes]) -> Stanza:
    arguments = line[3:-1].split(b" ")
    if not line.startswith(b"-> ") or not all(map(_is_argument, arguments)):
        raise HeaderInvalid("a stanza's first line is malformed")
    body = bytearray()
    while True:
        text = next_line()[:-1]
        if len(text) > _COLUMNS:
            raise HeaderInvalid("a line of a stanza's body is too long")
        body += _decode_base64(text)
        if len(text) < _COLUMNS:
            break
    kind, *args = (argument.decode("ascii") for argument in arguments)
    return Stanza(kind, tuple(args), bytes(body))


def _encode_stanza(stanza: Stanza) -> bytes:
    arguments = [argument.encode("ascii") for argument in (stanza.type, *stanza.args)]
    if not all(map(_is_argument, arguments)):
        raise ValueError("a stanza argument is empty or holds a space")
    body = _encode_base64(stanza.body)
    # The last line is always shorter than 64 columns: empty when the body fills its lines.
    lines = [body[start : start + _COLUMNS] for start in range(0, len(body) + 1, _COLUMNS)]
    return b"-> " + b" ".join(arguments) + b"\n" + b"\n".join(lines) + b"\n"


def _is_argument(argument: bytes) -> bool:
    return bool(argument) and _VCHAR.issuperset(argument)


def _encode_base64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _decode_base64(text: bytes) -> bytes:
    """Unpadded canonical base64: encoding again catches every other spelling."""
    try:
        data = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise HeaderInvalid("the header holds a line that is not base64") from None
    if _encode_base64(data) != text:
        raise HeaderInvalid("the header holds base64 that is not canonical")
    return data


def _mac(file_key: bytes, covered: bytes) -> bytes:
    key = HKDF(SHA256(), 32, salt=None, info=b"header").derive(file_key)
    return hmac.digest(key, covered, hashlib.sha256)
