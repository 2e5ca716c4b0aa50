"""The OpenAPI, with what every route can answer: errors as problem documents (RFC 9457), by rule and not by route."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from docex.api.links import add_links
from docex.api.permissions import HEALTH, NEEDS

_SAYS: Final = {
    400: "a header is malformed, or the content is not what the request states",
    401: "nobody here knows who calls",
    403: "the caller may not do this",
    404: "it is not here, or the caller may not see it",
    405: "the path has other methods",
    408: "the content came too slowly",
    409: "it contradicts what is stored, or is under way",
    411: "a Content-Length is missing",
    412: "a condition of the request does not hold",
    413: "it is larger than this node takes",
    415: "the content comes in an encoding that this node does not undo",
    416: "no byte of the range is there",
    422: "the request does not have the form that is asked for",
    429: "too many calls: Retry-After says how long to wait",
    502: "the ledger answered with an error",
    503: "something that the node needs can't be reached",
}
_WITH_BODY: Final = (408, 409, 411, 412, 413, 415, 502)
_PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "pattern": "^urn:docex:problem:[a-z0-9_]+$"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}
_CONTENT: Final = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def describing(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """What makes an application's OpenAPI, once."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            _complete(made)
            add_links(made)
            app.openapi_schema = made
        return app.openapi_schema

    return openapi


def _complete(made: dict[str, Any]) -> None:
    needs = {(method, path.replace(":path}", "}")): needed for (method, path), needed in NEEDS.items()}
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = _PROBLEM
    for unused in ("HTTPValidationError", "ValidationError"):  # the framework's own form, which this API never sends
        schemas.pop(unused, None)
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            route = method.upper(), path
            responses = operation["responses"]
            responses.pop("422", None) if _framework(responses.get("422")) else None
            for status in _errors(route, is_open=needs.get(route) is None):
                responses.setdefault(str(status), {"description": _SAYS[status]})
            for status, response in responses.items():
                if int(status) >= 400:
                    # A node that is not ready says what of it can't serve, in the form of one that is.
                    response["content"] = responses["200"]["content"] if route in HEALTH else _CONTENT


def _framework(response: Any) -> bool:
    return response is not None and response.get("description") == "Validation Error"


def _errors(route: tuple[str, str], *, is_open: bool) -> Iterator[int]:
    if route in HEALTH:
        yield 503
        return
    yield from (400, 422, 429, 503)
    yield from (403, 404) if is_open else (401, 403)
    if "{" in route[1]:
        yield from (404, 409)
    if route[0] != "GET":
        yield from (404, *_WITH_BODY)
    elif "{" in route[1]:
        yield from (412, 416, 502)
