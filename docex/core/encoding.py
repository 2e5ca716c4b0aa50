"""Strict readers for the encodings of signed data: unpadded base64url (RFC 4648 section 5) and JSON (RFC 8259)."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, NoReturn

from docex.core.nesting import require_shallow
from docex.errors import StatementInvalid


def b64url(data: bytes) -> str:
    """Base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def b64url_decode(text: str) -> bytes:
    """Decode unpadded base64url; only the one canonical spelling of the bytes is accepted.

    Raises:
        StatementInvalid: ``text`` has padding, foreign characters, or stray bits in its last character.
    """
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise StatementInvalid("not base64url") from error
    if b64url(data) != text:
        raise StatementInvalid("not canonical unpadded base64url")
    return data


def load_object(data: bytes, *, fractions: bool = False) -> dict[str, Any]:
    """Parse a JSON object; duplicate keys, NaN, deep nesting and, without ``fractions``, floats are refused.

    Raises:
        StatementInvalid: the bytes are not such an object.
    """
    require_shallow(data)
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_no_duplicates,
            parse_constant=_refuse_number,
            parse_float=float if fractions else _refuse_number,
        )
    except StatementInvalid:
        raise
    except ValueError as error:
        raise StatementInvalid("not valid JSON") from error
    if not isinstance(value, dict):
        raise StatementInvalid("not a JSON object")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise StatementInvalid("a JSON object has the same key twice")
    return result


def _refuse_number(text: str) -> NoReturn:
    raise StatementInvalid(f"the JSON number {text[:40]} is not a whole number")
