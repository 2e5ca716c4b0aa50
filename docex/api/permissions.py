"""Who calls, and what each route needs of them: one closed table. A route that is not in it opens to nobody."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Annotated, Final
from urllib.parse import unquote_to_bytes

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from starlette.requests import HTTPConnection
from starlette.routing import compile_path

from docex.api.limits import count, count_stranger
from docex.core.access import Caller, Permission, Role
from docex.core.addresses import within
from docex.errors import DocexError, Forbidden, NameInvalid, Unauthorised
from docex.service import api_keys
from docex.service.call_limits import Kind
from docex.service.node import Node

OPEN: Final = None
"""Anyone may call: it tells nothing, or the statement in its body says who calls."""

HEALTH: Final = frozenset([("GET", "/livez"), ("GET", "/readyz")])

_P = Permission
NEEDS: Mapping[tuple[str, str], Permission | None] = MappingProxyType(
    {
        ("GET", "/livez"): OPEN,
        ("GET", "/readyz"): OPEN,
        ("GET", "/metrics"): _P.OBSERVE,
        ("POST", "/api/v1/deliveries"): OPEN,
        ("PUT", "/api/v1/deliveries/{transfer}/packet"): OPEN,
        ("PUT", "/api/v1/deliveries/{transfer}/header"): OPEN,
        ("GET", "/api/v1/deliveries/{transfer}/packet"): OPEN,
        ("PATCH", "/api/v1/deliveries/{transfer}/packet"): OPEN,
        ("POST", "/api/v1/receipts"): OPEN,
        ("GET", "/api/v1/documents"): _P.SEE,
        ("PUT", "/api/v1/documents/{path:path}"): _P.DEPOSIT,
        ("GET", "/api/v1/documents/{path:path}"): _P.SEE,  # for its details; for the document itself also READ
        ("POST", "/api/v1/transfers"): _P.TRANSFER,
        ("GET", "/api/v1/transfers"): _P.SEE,
        ("GET", "/api/v1/transfers/{transfer}"): _P.SEE,
        ("GET", "/api/v1/transfers/{transfer}/history"): _P.SEE,
        ("GET", "/api/v1/transfers/{transfer}/packet"): _P.READ,
        ("POST", "/api/v1/statements"): _P.NOTARISE,
        ("GET", "/api/v1/statements/{digest}"): _P.SEE,
        ("GET", "/api/v1/proofs/{digest}"): _P.SEE,
        ("POST", "/api/v1/revocations"): _P.REVOKE,
        ("POST", "/api/v1/keys"): _P.MANAGE_KEYS,
        ("GET", "/api/v1/keys"): _P.MANAGE_KEYS,
        ("DELETE", "/api/v1/keys/{key}"): _P.MANAGE_KEYS,
        ("GET", "/documents"): _P.SEE,
        ("GET", "/documents/{path:path}"): _P.SEE,  # for details and folders; for the document itself also READ
        ("PUT", "/documents/{path:path}"): _P.DEPOSIT,
        ("POST", "/documents/{path:path}"): _P.DEPOSIT,
        ("PATCH", "/documents/{path:path}"): _P.DEPOSIT,
        ("DELETE", "/documents/{path:path}"): _P.DEPOSIT,
        ("GET", "/search"): _P.SEE,
        ("POST", "/sync_hashes"): _P.DEPOSIT,
        ("GET", "/transfers"): _P.SEE,
        ("POST", "/transfers"): _P.TRANSFER,
        ("GET", "/destinations"): _P.SEE,
        ("GET", "/preferences"): _P.SEE,
        ("PUT", "/preferences"): _P.CONFIGURE,
    }
)

_PATTERNS: Final = tuple((method, compile_path(path)[0]) for method, path in NEEDS)


def methods_of(path: str) -> list[str]:
    """What can be done at a path, in all routes that lead there."""
    methods = {method for method, pattern in _PATTERNS if pattern.match(path)}
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


Authenticator = Callable[[str], Awaitable[Caller | None]]
"""A way to tell from a bearer credential who calls.

None: it is not of this kind (the next one is asked). Raises Unauthorised: it is, and does not hold.
"""


def ways_to_authenticate(node: Node, token: str) -> Sequence[Authenticator]:
    """The ways that a node knows, in the order in which they are asked."""
    return (partial(_operator, token), partial(api_keys.caller, node), partial(_bearer_of_token, node))


async def _bearer_of_token(node: Node, credential: str) -> Caller | None:
    """Whoever the OIDC issuer says, where the node has one."""
    return None if node.access_tokens is None else await node.access_tokens.caller(credential, node.now())


async def _operator(token: str, credential: str) -> Caller | None:
    """The operator, by the token of the node's data folder."""
    # Digests of equal length: the comparison tells nothing about the token, its length included.
    given, kept = (hashlib.sha256(text.encode()).digest() for text in (credential, token))
    return Caller("the API token", frozenset([Role.OPERATOR])) if hmac.compare_digest(given, kept) else None


def _check_readable(request: Request) -> None:
    # The server puts U+FFFD for what is no UTF-8 (overlong forms, surrogates): many paths would be one.
    try:
        unquote_to_bytes(request.scope.get("raw_path") or b"").decode()
    except UnicodeDecodeError:
        raise NameInvalid("the path is not UTF-8") from None


async def check_caller(request: Request) -> None:
    """Let a request pass whose caller has what its route needs; `caller_of` then tells who that is.

    Raises:
        Unauthorised: it does not say who calls, or nobody here knows them.
        Forbidden: they lack a role, or the route is not in the table.
        TooManyCalls: they, or their address, made as many calls as may be made in a minute.
    """
    _check_readable(request)
    route = request.method, request.scope["route"].path
    if route not in NEEDS:
        raise Forbidden("this route is not open to anyone")
    needed = NEEDS[route]
    if route in HEALTH or (needed is _P.OBSERVE and is_scraper(request)):
        return  # never limited: what restarts a node that does not answer comes through a proxy, too
    if needed is None:
        count_stranger(request)
        return
    caller = await counted_caller(request, request.app.state.authenticators)
    caller.require(needed)
    request.state.caller = caller


def is_scraper(request: Request) -> bool:
    """Whether the connection comes from an address that may read the metrics without more.

    Not through a proxy, whatever that is set to: everybody who calls through it has its address.
    """
    client = request.client
    if client is None or any(header in request.headers for header in ("forwarded", "x-forwarded-for", "via")):
        return False
    return within(client.host, request.app.state.scrapers)


async def may_observe(request: Request) -> bool:
    """Whether somebody calls who is told what is wrong; on an open route, nobody has to say who they are."""
    try:
        (await authenticate(request, request.app.state.authenticators)).require(_P.OBSERVE)
    except DocexError:
        return is_scraper(request)
    return True


def _credential(authorization: str) -> str:
    """What an Authorization header brings: a bearer credential, or one as the password of any user (RFC 7617)."""
    scheme, _, credential = authorization.partition(" ")
    credential = credential.strip()
    if scheme.lower() == "bearer":
        return credential
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(credential, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


async def authenticate(request: HTTPConnection, authenticators: Sequence[Authenticator]) -> Caller:
    """Who calls, by the first way that knows the credential. Raises Unauthorised."""
    credential = _credential(request.headers.get("authorization", ""))
    # An empty one would be right where, by some mistake, the node's own token is empty.
    if credential:
        for authenticator in authenticators:
            caller = await authenticator(credential)
            if caller is not None:
                return caller
    raise Unauthorised("this needs an access token, an API key, or the node's API token: Authorization: Bearer …")


async def counted_caller(request: HTTPConnection, authenticators: Sequence[Authenticator]) -> Caller:
    """`authenticate`, and count the call: as the caller's, or as one of their address. Raises TooManyCalls, too."""
    try:
        caller = await authenticate(request, authenticators)
    except Unauthorised:
        count_stranger(request)
        raise
    count(request, Kind.CALLER, caller.name)
    return caller


async def caller_of(request: Request) -> Caller:  # FastAPI runs what is not async on a thread
    """Who calls, on a route that is not open."""
    caller = request.state.caller
    assert isinstance(caller, Caller)
    return caller


CallerOf = Annotated[Caller, Depends(caller_of)]
# Only tells the OpenAPI what to send: `check_caller`, which every route has, decides.
People = Depends(
    HTTPBearer(auto_error=False, description="an OIDC access token, an API key, or the token in the node's data folder")
)
