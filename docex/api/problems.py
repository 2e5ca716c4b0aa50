"""Errors as RFC 9457 problem documents. ``type`` is stable: ``urn:docex:problem:<code of the error>``."""

from __future__ import annotations

import json

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from docex import errors
from docex.api.access import EncodingUnknown, TooSlow
from docex.api.digests import BadHeader, ContentDigestMismatch
from docex.api.permissions import methods_of
from docex.api.ranges import RangeNotSatisfiable
from docex.errors import DocexError
from keys import KeysError
from storage import InvalidPath, PathConflict, StorageError

log = structlog.get_logger(__name__)

# The first class that an error belongs to decides.
_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (errors.Unauthorised, 401),
    (errors.Forbidden, 403),
    (errors.NotAddressee, 403),
    (errors.NotFound, 404),
    (TooSlow, 408),
    (errors.LengthRequired, 411),
    (errors.Conflict, 409),
    (errors.PreconditionFailed, 412),
    (PathConflict, 409),
    (errors.LimitExceeded, 413),
    (errors.TooManyCalls, 429),
    (errors.LedgerUnavailable, 503),
    (errors.NodeUnavailable, 503),
    (errors.IssuerUnavailable, 503),
    (errors.DatabaseUnavailable, 503),
    (errors.NotMember, 422),
    (errors.LedgerError, 502),
    (BadHeader, 400),
    (EncodingUnknown, 415),
    (ContentDigestMismatch, 400),
    (RangeNotSatisfiable, 416),
    (DocexError, 422),
    (InvalidPath, 422),
    (StorageError, 503),
    (KeysError, 503),
)


def problem(status: int, code: str, detail: str, **members: object) -> Response:
    """A problem document."""
    body = {"type": f"urn:docex:problem:{code}", "title": code.replace("_", " "), "status": status, "detail": detail}
    # ASCII: a client's text may hold what UTF-8 can't (half of a surrogate pair).
    data = json.dumps(body | members).encode("ascii")
    headers = {"www-authenticate": 'Bearer realm="docex"'} if status == 401 else {}
    return Response(data, status, headers, media_type="application/problem+json")


async def _expected(_: Request, error: Exception) -> Response:
    assert isinstance(error, DocexError | StorageError | KeysError)
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    if status >= 500:
        log.warning("request_failed", code=error.code, error=repr(error))
    answer = problem(status, error.code, str(error))
    if isinstance(error, RangeNotSatisfiable):
        answer.headers["content-range"] = f"bytes */{error.size}"
    if isinstance(error, errors.RequestUnderWay | errors.UploadUnderWay):
        answer.headers["retry-after"] = "1"
    if isinstance(error, errors.TooManyCalls):
        answer.headers["retry-after"] = str(error.seconds)
    if isinstance(error, EncodingUnknown):
        answer.headers["accept-encoding"] = "identity"
    return answer


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http")
    answer = problem(error.status_code, code, error.detail)
    answer.headers.update(error.headers or {})
    if error.status_code == 405:
        answer.headers["allow"] = ", ".join(methods_of(request.url.path))
    return answer


async def _validation(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [{"where": ".".join(map(str, each["loc"])), "fault": each["msg"]} for each in error.errors()]
    return problem(422, "request_invalid", "the request does not have the form that is asked for", faults=faults)


async def _gone(_: Request, error: Exception) -> Response:
    log.info("client_gone", error=type(error).__name__)
    return problem(400, "client_gone", "the client went away")  # nobody reads it


async def _unexpected(_: Request, error: Exception) -> Response:
    log.error("request_crashed", error=repr(error))
    return problem(500, "internal", "something went wrong on this node; its log says what")


def install(app: FastAPI) -> None:
    """Answer every error with a problem document."""
    for kind in (DocexError, StorageError, KeysError):
        app.add_exception_handler(kind, _expected)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _unexpected)
