import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docex.core.digest import Digest, parse_digest, sha256
from docex.errors import UsageError

TEXT = "sha256:" + "ab" * 32


def test_digest_of_known_bytes() -> None:
    # FIPS 180-4's own example.
    assert str(sha256(b"abc")) == ("sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    assert sha256(b"abc").raw == hashlib.sha256(b"abc").digest()
    assert sha256(b"abc").hex == hashlib.sha256(b"abc").hexdigest()


@given(st.binary(min_size=32, max_size=32))
def test_text_form_round_trips(raw: bytes) -> None:
    assert parse_digest(str(Digest(raw))) == Digest(raw)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ab" * 32,
        "sha256:",
        TEXT[:-1],
        TEXT + "0",
        TEXT + "\n",
        " " + TEXT,
        TEXT.upper(),
        "sha256:" + "AB" * 32,
        "SHA256:" + "ab" * 32,
        "sha512:" + "ab" * 32,
        "sha256:" + "g" * 64,
        "sha256:" + "٠" * 64,
    ],
)
def test_any_other_spelling_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a digest"):
        parse_digest(text)


@pytest.mark.parametrize("length", [0, 20, 31, 33, 64])
def test_a_digest_has_32_bytes(length: int) -> None:
    with pytest.raises(UsageError, match=f"32 bytes, not {length}"):
        Digest(bytes(length))


def test_a_digest_can_be_a_key_and_not_be_changed() -> None:
    digest = parse_digest(TEXT)
    assert {digest: 1}[parse_digest(TEXT)] == 1
    with pytest.raises(AttributeError):
        digest.raw = b""  # type: ignore[misc]
