"""Forms (multipart/form-data, RFC 7578) read as they come: the document in them goes on at once, nothing is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from docex.errors import LimitExceeded, UsageError

FIELD = "document"
MEDIA_TYPE = "multipart/form-data"
DEFAULT_MEDIA_TYPE = "application/octet-stream"
_MAX_OTHER = 64 << 10
"""Bytes of all other fields: they are passed over."""


async def document_in(content_type: str, chunks: AsyncIterator[bytes]) -> tuple[str, AsyncIterator[bytes]]:
    """The media type of a form's document, and its bytes as they come.

    Raises (the bytes, too):
        UsageError: it is not a form with one field named document, or ends too early.
        LimitExceeded: there is too much beside the document.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != MEDIA_TYPE.encode() or not boundary:
        raise UsageError("a form has the content type multipart/form-data with a boundary")
    form = _Form(boundary)
    async for chunk in chunks:
        form.feed(chunk)
        if form.media_type is not None:
            return form.media_type, _bytes(form, chunks)
    raise UsageError(f"the form has no field named {FIELD}")


async def _bytes(form: _Form, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for piece in form.take():
        yield piece
    async for chunk in chunks:
        form.feed(chunk)
        for piece in form.take():
            yield piece
    if not form.ended:
        raise UsageError("the form ends before its last boundary")


class _Form:
    """What was read of a form. ``media_type`` is set once the document begins."""

    def __init__(self, boundary: bytes) -> None:
        self.media_type: str | None = None
        self.ended = False
        self._pieces: list[bytes] = []
        self._headers: dict[bytes, bytes] = {}
        self._name, self._value = bytearray(), bytearray()
        self._inside = False
        self._other = 0
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._headers.clear,
                "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._header_ends,
                "on_headers_finished": self._part_begins,
                "on_part_data": self._data,
                "on_end": self._ends,
            },
        )

    def feed(self, chunk: bytes) -> None:
        """Read on."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise UsageError(f"the form is malformed: {error}") from None

    def take(self) -> list[bytes]:
        """What came of the document since the last call."""
        pieces, self._pieces = self._pieces, []
        return pieces

    def _header_ends(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _part_begins(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._inside = options.get(b"name") == FIELD.encode()
        if self._inside:
            if self.media_type is not None:
                raise UsageError(f"the form has two fields named {FIELD}")
            self.media_type = self._headers.get(b"content-type", b"").decode("latin-1") or DEFAULT_MEDIA_TYPE

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._inside:
            self._pieces.append(data[start:end])
            return
        self._other += end - start
        if self._other > _MAX_OTHER:
            raise LimitExceeded(f"beside the document, a form has at most {_MAX_OTHER} bytes")

    def _ends(self) -> None:
        self.ended = True
