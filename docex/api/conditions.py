"""Conditional requests (RFC 9110 section 13): entity tags, and what a request makes itself depend on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.datastructures import Headers

from docex.api.digests import BadHeader
from docex.core.requests import ANY, Precondition

_TAGS = re.compile(r'\s*(?:(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"\s*(?:,\s*|$))+')
_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


def quoted(tag: str) -> str:
    """A strong entity tag as it stands in a header."""
    return f'"{tag}"'


@dataclass(frozen=True, slots=True)
class Conditions:
    """The entity tags that a request names; None where the header is not there."""

    match: frozenset[str] | None
    none_match: frozenset[str] | None

    def failed(self, tag: str) -> bool:
        """Whether what has this tag is not what ``If-Match`` asks for."""
        return self.match is not None and self.match != ANY and tag not in self.match

    def known(self, tag: str) -> bool:
        """Whether ``If-None-Match`` says that the caller has what has this tag."""
        return self.none_match is not None and (self.none_match == ANY or tag in self.none_match)

    @property
    def of_newest(self) -> Precondition:
        """What they ask of a document's newest version: its tag is its statement's digest."""
        return Precondition(self.match, self.none_match)


def conditions(headers: Headers) -> Conditions:
    """What a request's ``If-Match`` and ``If-None-Match`` say.

    Raises:
        BadHeader: one is malformed; passing over it could overwrite what its sender wanted to keep.
    """
    # Strong comparison for the first, which weak tags never pass; weak comparison for the second (section 8.8.3.2).
    return Conditions(_tags(headers, "if-match", weak=False), _tags(headers, "if-none-match", weak=True))


def _tags(headers: Headers, name: str, *, weak: bool) -> frozenset[str] | None:
    if name not in headers:
        return None
    text = ",".join(headers.getlist(name)).strip()
    if text == "*":
        return ANY
    if not _TAGS.fullmatch(text):
        raise BadHeader(f'{name.title()} is * or a list of entity tags in quotes: "…", "…" (RFC 9110)')
    return frozenset(tag for mark, tag in _TAG.findall(text) if weak or not mark)
