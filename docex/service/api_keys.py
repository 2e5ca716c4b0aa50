"""API keys: make them, end them, and tell from one who calls.

A key is ``docex_<id>_<secret>``. Only the SHA-256 of the secret is kept. That needs no slow hash, which is for secrets
that people choose: nobody guesses 256 random bits, however fast the hash. The id is no secret; it finds the row.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from docex.core import age
from docex.core.access import Caller, Folders, Role
from docex.core.recipients import parse_recipient
from docex.core.requests import Once
from docex.core.state import ApiKey
from docex.errors import Conflict, NotFound, Unauthorised, UsageError
from docex.failpoints import Failpoint, reached
from docex.service.node import Node

LAST_TIME: Final = 253_402_300_799  # the end of the year 9999: what calendars can show
COARSE: Final = 60
"""Seconds between two notes of a key's use: one write for each call would make reading as dear as writing."""
MAX_NAME: Final = 200
ID: Final = re.compile("[0-9a-f]{16}")
_KEY: Final = re.compile("docex_([0-9a-f]{16})_([0-9a-f]{64})")
_NOBODY: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made; ``text`` is the key itself, to be shown this once."""

    key: ApiKey
    text: str = field(repr=False)


async def make(
    node: Node,
    name: str,
    roles: Sequence[Role],
    folders: Sequence[str] = (),
    expires: int | None = None,
    *,
    once: Once | None = None,
) -> NewKey:
    """Make a key and keep it; returns once it is durable.

    Args:
        node: whose API it opens.
        name: whose key it is, for people: 1 to `MAX_NAME` printable characters.
        roles: at least one.
        folders: what it is kept to; none for everything.
        expires: seconds since the epoch from which on it does not count; None for never.
        once: the request, where it is to take effect once; then `made_before` gives the key again.

    Raises:
        UsageError: one of these is not as it has to be, or an operator is to be kept to folders.
        NameInvalid: a folder is not a path.
    """
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable() or not name.strip():
        raise UsageError(f"the name of an API key has 1 to {MAX_NAME} printable characters")
    if not roles:
        raise UsageError("an API key needs a role")
    if folders and Role.OPERATOR in roles:
        raise UsageError("an operator can't be kept to folders: it could make itself a key for everything")
    now = node.now()
    if expires is not None and not now < expires <= LAST_TIME:
        raise UsageError("an API key has to expire in the future, by the year 9999")
    secret, key_id = secrets.token_hex(32), secrets.token_hex(8)
    kept = tuple(dict.fromkeys(folders))
    key = ApiKey(key_id, name, frozenset(roles), Folders(kept), _digest(secret), now, expires)
    made = NewKey(key, f"docex_{key_id}_{secret}")
    await node.store.add_api_key(key, once, "" if once is None else _sealed(node, made))
    reached(Failpoint.KEY_KEPT)
    return made


async def made_before(node: Node, effect: str) -> NewKey:
    """The key that an earlier try of a request has made, as it stands now.

    Raises:
        Conflict: this node holds no identity, so nobody can tell the secret again.
    """
    key_id, _, sealed = effect.partition(" ")
    key = await node.store.api_key(key_id)
    if node.identity is None:
        raise Conflict(f"this made the key {key_id}, which is not shown again: revoke it, and make another")
    text = io.BytesIO()
    age.decrypt(io.BytesIO(base64.b64decode(sealed)), text, [node.identity])
    return NewKey(key, text.getvalue().decode())


def _sealed(node: Node, made: NewKey) -> str:
    """What a later try gets. The database has the key's text encrypted to this node alone, and not for long."""
    sealed = io.BytesIO()
    age.encrypt(io.BytesIO(made.text.encode()), sealed, [parse_recipient(node.recipient)])
    return f"{made.key.id} {base64.b64encode(sealed.getvalue()).decode()}"


async def revoke(node: Node, key_id: str) -> ApiKey:
    """End a key for good, from the next call on; doing it again changes nothing. Raises NotFound."""
    if not ID.fullmatch(key_id):
        raise NotFound("there is no API key with this id")  # not repeated: it may be a whole key
    return await node.store.revoke_api_key(key_id, node.now())


async def caller(node: Node, credential: str) -> Caller | None:
    """Who brings this key; None when it has not the form of one.

    Raises:
        Unauthorised: there is no such key, or it is revoked, or has expired. Which one is told only to who has it.
    """
    parts = _KEY.fullmatch(credential)
    if parts is None:
        return None
    key_id, secret = parts.groups()
    try:
        key = await node.store.api_key(key_id)
    except NotFound:
        key = None
    # Digests of equal length, in constant time: what comes back tells nothing about how much of it was right.
    if not hmac.compare_digest(_digest(secret), key.digest if key else _NOBODY) or key is None:
        raise Unauthorised("this API key is not known here")
    now = node.now()
    if key.revoked is not None:
        raise Unauthorised(f"the API key {key.id} is revoked")
    if key.expires is not None and key.expires <= now:
        raise Unauthorised(f"the API key {key.id} has expired")
    if key.last_used is None or key.last_used <= now - COARSE:
        await node.store.use_api_key(key.id, now, COARSE)
    return key.caller


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
