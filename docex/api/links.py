"""Links of the OpenAPI: which answer names what another route asks for (OpenAPI 3.1, Link Object)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_Route = tuple[str, str]

_DOCUMENTS: Final = "/api/v1/documents"
_DOCUMENT: Final = "/api/v1/documents/{path}"
_TRANSFERS: Final = "/api/v1/transfers"
_TRANSFER: Final = "/api/v1/transfers/{transfer}"
_SHELVED: Final = "/documents/{path}"


@dataclass(frozen=True, slots=True)
class _Link:
    """From the success of one route to a call of another; names and places are runtime expressions."""

    source: _Route
    target: _Route
    parameters: Mapping[str, str]
    body: Any = None


def _answer(pointer: str) -> str:
    return f"$response.body#/{pointer}"


def _of_document(source: _Route, where: str) -> list[_Link]:
    path, statement = _answer(f"{where}path"), _answer(f"{where}statement")
    return [
        _Link(source, ("GET", _DOCUMENT), {"path": path}),
        _Link(source, ("PUT", _DOCUMENT), {"path": path, "supersedes": statement}),
        _Link(source, ("GET", "/api/v1/statements/{digest}"), {"digest": statement}),
        _Link(source, ("GET", "/api/v1/proofs/{digest}"), {"digest": statement}),
        _Link(source, ("POST", "/api/v1/revocations"), {}, {"statement": statement, "reason": "replaced"}),
        _Link(source, ("POST", _TRANSFERS), {}, {"documents": [path], "to": [_answer(f"{where}issuer")]}),
        *(_Link(source, (method, _SHELVED), {"path": path}) for method in ("GET", "PATCH", "DELETE")),
    ]


def _of_transfer(source: _Route, id_: str) -> list[_Link]:
    routes = [_TRANSFER, f"{_TRANSFER}/history", f"{_TRANSFER}/packet"]
    return [
        *(_Link(source, ("GET", route), {"transfer": _answer(id_)}) for route in routes),
        _Link(source, ("GET", "/api/v1/proofs/{digest}"), {"digest": _answer(id_)}),
    ]


def _of_shelved(method: str) -> list[_Link]:
    where = {"path": "$request.path.path"}
    targets = [(each, _SHELVED) for each in ("GET", "PUT", "PATCH", "DELETE")] + [("GET", _DOCUMENT)]
    return [_Link((method, _SHELVED), target, where) for target in targets]


_LINKS: Final = (
    *_of_document(("GET", _DOCUMENTS), "documents/0/"),
    *_of_document(("PUT", _DOCUMENT), ""),
    *_of_transfer(("GET", _TRANSFERS), "transfers/0/id"),
    *_of_transfer(("POST", _TRANSFERS), "id"),
    *_of_transfer(("POST", "/transfers"), "transfer_id"),
    *_of_shelved("POST"),
    *_of_shelved("PUT"),
    *(
        _Link(("GET", path), ("GET", path), {"cursor": _answer("next")})
        for path in (_DOCUMENTS, _TRANSFERS, "/api/v1/keys")
    ),
    _Link(
        ("GET", f"{_TRANSFER}/history"),
        ("GET", f"{_TRANSFER}/history"),
        {"transfer": "$request.path.transfer", "after": _answer("next")},
    ),
    _Link(("POST", "/api/v1/revocations"), ("GET", "/api/v1/statements/{digest}"), {"digest": _answer("revocation")}),
    _Link(("POST", "/api/v1/keys"), ("DELETE", "/api/v1/keys/{key}"), {"key": _answer("id")}),
)


def add_links(made: dict[str, Any]) -> None:
    """Put the links under the answers that they start from."""
    for link in _LINKS:
        operations = made["paths"]
        target = operations[link.target[1]][link.target[0].lower()]["operationId"]
        responses = operations[link.source[1]][link.source[0].lower()]["responses"]
        success = next(response for status, response in responses.items() if status.startswith("2"))
        described: dict[str, Any] = {"operationId": target}
        if link.parameters:
            described["parameters"] = dict(link.parameters)
        if link.body is not None:
            described["requestBody"] = link.body
        success.setdefault("links", {})[target] = described
