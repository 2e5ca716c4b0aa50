"""The rule for paths, against a naive twin of it."""

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage import InvalidPath, check_path, check_prefix
from storage.paths import is_path
from tests.fixtures.blob_paths import INVALID_PATHS, VALID_PATHS, valid_paths

odd_text = st.text(
    st.one_of(st.sampled_from("ab/.\\\0\n\x7f\x85é\u0308\u212b\ud800\ufffe"), st.characters()),
    max_size=300,
)


def short(path: str) -> str:
    return ascii(path)[:40]


def twin(path: str) -> bool:
    """Say the same as `check_path`, slowly and in other words."""
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return False
    if re.search(r"[\x00-\x1f\x7f-\x9f\\\ufffe\uffff]", path):
        return False
    parts = encoded.split(b"/")
    return (
        len(encoded) <= 1024
        and len(parts) <= 254
        and not {b"", b".", b".."} & set(parts)
        and max(map(len, parts)) <= 255
        and unicodedata.normalize("NFC", path) == path
        and parts[0].lower() != b".incoming"
    )


@pytest.mark.parametrize("path", VALID_PATHS, ids=short)
def test_a_valid_path_gives_its_components(path: str) -> None:
    assert twin(path)
    assert "/".join(check_path(path)) == path
    assert check_prefix(path) == check_prefix(path + "/") == check_path(path)
    assert is_path(path)


@pytest.mark.parametrize("path", INVALID_PATHS, ids=short)
def test_an_invalid_path_is_refused(path: str) -> None:
    assert not twin(path)
    assert not is_path(path)
    with pytest.raises(InvalidPath):
        check_path(path)


@given(valid_paths)
def test_every_generated_path_is_valid(path: str) -> None:
    assert "/".join(check_path(path)) == path


@given(odd_text)
@example("/".join(["é" * 127] * 4) + "/abcd")
@example("/".join(["é" * 127] * 4) + "/abcde")
def test_the_twin_agrees(path: str) -> None:
    assert is_path(path) == twin(path)


def test_the_empty_prefix_covers_everything() -> None:
    assert check_prefix("") == ()


@pytest.mark.parametrize("prefix", ["/", "//", "a//", "/a/", "..", "../", "a/../", ".incoming/"])
def test_a_prefix_is_a_path_of_a_folder(prefix: str) -> None:
    with pytest.raises(InvalidPath):
        check_prefix(prefix)
