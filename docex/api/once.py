"""``Idempotency-Key``: a request that is sent again takes effect once. See `docex.service.once`."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Header, Request, Response

from docex.api.digests import BadHeader
from docex.core.access import Caller
from docex.service.once import Outcome, T, Wanted, wanted

_KEY = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,255}")
_IN_FINGERPRINT = ("content-type", "content-length", "if-match", "if-none-match")

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="A name of the caller's own for this request: sent again with it, it takes effect once.",
        examples=['"8e03978e-40d5-43dd-bc93-6894a57f9324"'],
    ),
]


def request_once(request: Request, caller: Caller, key: str | None, content: bytes = b"") -> Wanted | None:
    """The request under its idempotency key; None where it has none.

    What was read of its content tells it from others, as do method, path, query and a few headers.

    Raises:
        BadHeader: the key is not 1 to 255 printable ASCII characters, in quotes (a string of RFC 9651) or without.
    """
    if key is None:
        return None
    text = key[1:-1] if len(key) > 1 and key[0] == key[-1] == '"' else key
    if not _KEY.fullmatch(text):
        raise BadHeader('Idempotency-Key is 1 to 255 printable characters of ASCII, in quotes: "…"')
    head = [request.method, request.url.path, request.url.query]
    head += [request.headers.get(name, "") for name in _IN_FINGERPRINT]
    return wanted(caller, text, *(each.encode() for each in head), content)


def tell(outcome: Outcome[T], response: Response) -> T:
    """The outcome's value; the answer says when it is that of an earlier try."""
    if outcome.repeated:
        response.headers["idempotency-replayed"] = "true"
    return outcome.value
