"""Digests in HTTP headers (RFC 9530): of what a client sends, checked; of what it gets, stated."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping

from starlette.datastructures import Headers

from docex.core.digest import parse_digest
from docex.errors import DigestMismatch, DocexError

_ALGORITHMS: Mapping[str, str] = {"sha-256": "sha256", "sha-512": "sha512"}
_MEMBER = re.compile(r"([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/]*={0,2}):(?:;.*)?")


class BadHeader(DocexError):
    """A header does not have the form that its specification gives it."""

    code = "header_invalid"


class ContentDigestMismatch(DigestMismatch):
    """What arrived does not have the digest that the request states for it."""

    code = "content_digest_mismatch"


class ContentCheck:
    """Holds a request's content, as it comes, against its ``Content-Digest`` and ``Repr-Digest``.

    Both are of the same bytes here: no request is a part, or encoded. Algorithms other than SHA-256 and SHA-512 are
    left unchecked, as RFC 9530 section 5 has it for those that a recipient does not know.

    Raises:
        BadHeader: one is malformed.
    """

    def __init__(self, headers: Headers) -> None:
        self._stated = [
            (name, hashlib.new(_ALGORITHMS[algorithm]), value)
            for name in ("content-digest", "repr-digest")
            for algorithm, value in _members(name, ",".join(headers.getlist(name))).items()
        ]

    def update(self, data: bytes) -> None:
        """The next bytes."""
        for _, hasher, _ in self._stated:
            hasher.update(data)

    def finish(self) -> None:
        """See that the content has the digests that were stated, if any.

        Raises:
            ContentDigestMismatch: it has not.
        """
        for name, hasher, value in self._stated:
            if not hmac.compare_digest(hasher.digest(), value):
                raise ContentDigestMismatch(f"what arrived does not have the {name.title()} that was stated for it")


def _members(name: str, text: str) -> dict[str, bytes]:
    """The digests of known algorithms in a header: a dictionary of byte sequences (RFC 9651 section 3.2)."""
    found: dict[str, bytes] = {}
    for member in filter(None, (each.strip(" \t") for each in text.split(","))):
        parts = _MEMBER.fullmatch(member)
        if parts is None:
            raise BadHeader(f"{name.title()} has the form sha-256=:<base64>: (RFC 9530)")
        if (algorithm := parts[1]) in _ALGORITHMS:
            found[algorithm] = _value(name, algorithm, parts[2])
    return found


def _value(name: str, algorithm: str, text: str) -> bytes:
    try:
        value = base64.b64decode(text, validate=True)
    except binascii.Error:
        value = b""
    if len(value) != hashlib.new(_ALGORITHMS[algorithm]).digest_size:
        raise BadHeader(f"the {algorithm} in {name.title()} is not the base64 of a digest")
    return value


def header_of(digest: str) -> str:
    """A digest (``sha256:<hex>``) as the value of a header."""
    return f"sha-256=:{base64.b64encode(parse_digest(digest).raw).decode()}:"
