from __future__ import annotations

import base64
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docex.core.encoding import b64url, b64url_decode, load_object
from docex.errors import StatementInvalid


@given(st.binary())
def test_base64url_round_trip(data: bytes) -> None:
    text = b64url(data)
    assert text == base64.urlsafe_b64encode(data).decode().rstrip("=")
    assert b64url_decode(text) == data


@pytest.mark.parametrize(
    "text", ["A", "AAAAA", "AA==", "AAA=", "AB", "AAB", "A+", "+/", "AA A", "AA\n", "AA.A", "\u00e4A", "\ud800", "ＡＡ"]
)
def test_other_spellings_of_base64url_are_refused(text: str) -> None:
    with pytest.raises(StatementInvalid, match="base64url"):
        b64url_decode(text)


@given(st.text(st.characters(codec="ascii"), max_size=8))
def test_what_base64url_accepts_it_writes_the_same(text: str) -> None:
    try:
        data = b64url_decode(text)
    except StatementInvalid:
        return
    assert b64url(data) == text


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), values, max_size=4), st.booleans())
def test_an_object_without_floats_is_read_as_written(value: dict[str, object], escaped: bool) -> None:
    assert load_object(json.dumps(value, ensure_ascii=escaped).encode()) == value


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"{} {}", "not valid JSON"),
        (b"\xff{}", "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        ("{}".encode("utf-16"), "not valid JSON"),
        (b'{"a":1,}', "not valid JSON"),
        (b"{'a':1}", "not valid JSON"),
        (b'{"a":"\n"}', "not valid JSON"),
        (b'{"a":' * 100_000, "nested more than 32 deep"),
        (b'{"a":' + b"[" * 100_000, "nested more than 32 deep"),
        (b'{"a":' + b"9" * 5000 + b"}", "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b'"a"', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"a":1,"a":1}', "same key twice"),
        (b'{"a":1,"\\u0061":2}', "same key twice"),
        (b'{"b":{"a":1,"a":2}}', "same key twice"),
        (b'{"a":1.0}', "1.0 is not a whole number"),
        (b'{"a":1e3}', "1e3 is not a whole number"),
        (b'{"a":NaN}', "NaN is not a whole number"),
        (b'{"a":-Infinity}', "-Infinity is not a whole number"),
    ],
)
def test_anything_but_one_unambiguous_object_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(StatementInvalid, match=why):
        load_object(data)


@given(st.binary(max_size=40))
def test_any_bytes_are_an_object_or_refused(data: bytes) -> None:
    with suppress(StatementInvalid):
        assert isinstance(load_object(data), dict)
