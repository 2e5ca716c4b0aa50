"""A node with one of everything, and a call that succeeds for each of its routes."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.routing import APIRoute

from docex.core import statement
from docex.core.access import Role
from docex.core.claims import Document, Receipt
from docex.core.state import StoredDocument, StoredTransfer
from docex.service import api_keys, transfers
from docex.service.anchoring import anchor_waiting
from docex.service.destinations import uri_of
from docex.service.node import Node
from tests.fixtures.paper_nodes import deposited
from tests.fixtures.statements import digest_of
from tests.fixtures.stores import fetched

Route = tuple[str, str]
INSIDE = "lots/17"


def routes_of(app: FastAPI) -> list[Route]:
    """Every route of an application, however deep it was included."""
    found: list[Route] = []
    pending: list[Any] = list(app.routes)
    while pending:
        route = pending.pop()
        inner = getattr(route, "original_router", None) or getattr(route, "routes", None)
        if isinstance(route, APIRoute):
            found += [(method, route.path) for method in route.methods or ()]
        elif inner:
            pending += list(getattr(inner, "routes", inner))
    return sorted(found)


@dataclass(frozen=True)
class Stage:
    """What there is: a document that is final and was handed to Maker, and a packet from Maker on its way here."""

    node: Node
    maker: Node
    document: StoredDocument
    sent: StoredTransfer
    incoming: StoredTransfer
    incoming_token: str
    packet: bytes
    key_id: str


async def stage(node: Node, maker: Node, path: str = f"{INSIDE}/a.pdf") -> Stage:
    document = await deposited(node, path, path.encode())
    sent = await transfers.create(node, [path], [maker.account])
    for _ in range(3):
        await anchor_waiting(node)
    await deposited(maker, "m.pdf", b"theirs")
    incoming = await transfers.create(maker, ["m.pdf"], [node.account])
    stored = await maker.store.statement(incoming.id)
    assert stored is not None
    assert incoming.blob is not None
    made = await api_keys.make(node, "spare", [Role.AUDITOR])
    packet = await fetched(maker.blobs, incoming.blob)
    return Stage(node, maker, document, sent, incoming, stored.token, packet, made.key.id)


def own_statement(node: Node, path: str, **fields: Any) -> str:
    """A document statement of the node's member, signed elsewhere."""
    folder, _, name = path.rpartition("/")
    claim = Document(digest_of(path), 7, name, "text/plain", folder, **fields)
    return statement.issue(node.signer, node.account, claim, node.now()).token


def receipt(maker: Node, transfer: StoredTransfer, digests: Sequence[str]) -> str:
    claim = Receipt(transfer.id, transfer.packet, tuple(digests), "accepted")
    return statement.issue(maker.signer, maker.account, claim, maker.now()).token


def call(it: Stage, route: Route) -> tuple[str, dict[str, Any]]:
    """The URL and the body of a call to a route that succeeds where it is permitted."""
    path = route[1]
    bodies: dict[Route, dict[str, Any]] = {
        ("POST", "/api/v1/deliveries"): {"content": it.incoming_token},
        ("PUT", "/api/v1/deliveries/{transfer}/packet"): {"content": it.packet},
        ("PUT", "/api/v1/deliveries/{transfer}/header"): {"content": it.packet[:100]},
        ("PATCH", "/api/v1/deliveries/{transfer}/packet"): {"headers": {"upload-offset": "0"}, "content": it.packet},
        ("POST", "/api/v1/receipts"): {"content": receipt(it.maker, it.sent, [it.document.digest])},
        ("PUT", "/api/v1/documents/{path:path}"): {"content": b"new"},
        ("POST", "/api/v1/transfers"): {"json": {"documents": [it.document.path], "to": [it.maker.account]}},
        ("POST", "/api/v1/statements"): {"content": json.dumps(own_statement(it.node, f"{INSIDE}/n"))},
        ("POST", "/api/v1/revocations"): {"json": {"statement": it.document.statement, "reason": "wrong"}},
        ("POST", "/api/v1/keys"): {"json": {"name": "new", "roles": ["supplier"]}},
        ("PUT", "/documents/{path:path}"): {"content": b"new"},
        ("POST", "/documents/{path:path}"): {"content": b"new"},
        ("POST", "/transfers"): {
            "json": {
                "from": uri_of(it.node.account),
                "to": uri_of(it.maker.account),
                "document": f"/{it.document.path}",
            }
        },
        ("PUT", "/preferences"): {"json": {"key": "receivedDocumentsPath", "value": "/in/${sender_org}"}},
    }
    values = {"path": it.document.path, "digest": it.document.statement, "key": it.key_id}
    values["transfer"] = it.incoming.id if "/deliveries/" in path else it.sent.id
    if route[1] == "/documents/{path:path}" and route[0] in ("POST", "DELETE"):
        values["path"] += ".new"  # where there is none yet; and that one goes again
    body = bodies.get(route, {})
    if route[1] == "/search":
        path += "?query=a"
    return re.sub(r"\{(\w+)(:path)?\}", lambda found: values[found[1]], path), body


async def key_for(node: Node, *roles: Role, folders: Sequence[str] = ()) -> str:
    """An API key."""
    return (await api_keys.make(node, "for a test", roles, folders)).text


def bearing(url: str, credential: str | None) -> httpx.AsyncClient:
    """A client that brings this credential, or none."""
    headers = {} if credential is None else {"authorization": f"Bearer {credential}"}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=60, trust_env=False)
