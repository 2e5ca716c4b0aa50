from __future__ import annotations

import unicodedata
from itertools import combinations
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docex.core import names
from docex.errors import NameInvalid

ALLOWED = [
    "a",
    "Prüfbericht 2026-07.pdf",
    "品質証明書.pdf",
    "❤\ufe0f.txt",
    ".hidden",
    "...a",
    "a b",
    "a\u00a0b\u3000c",
    "-rf",
    "~",
    "$HOME",
    "con-trol.txt",
    "com10",
    "a" * 255,
    "ä" * 127,
]


@pytest.mark.parametrize("name", ALLOWED)
def test_ordinary_names_are_allowed(name: str) -> None:
    assert names.check_name(name) == name
    assert names.check_path(f"folder/{name}") == f"folder/{name}"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        (".", "ends with a space or a dot"),
        ("..", "ends with a space or a dot"),
        ("a.", "ends with a space or a dot"),
        ("a ", "ends with a space or a dot"),
        (" a", "starts with a space"),
        ("a/b", "one of the characters"),
        ("a\\b", "one of the characters"),
        ("c:", "one of the characters"),
        ("a*", "name 'a\\*' has one of the characters \" \\* / : < > \\? \\\\ \\|"),
        ("a\0", r"U\+0000"),
        ("a\nb", r"U\+000A"),
        ("a\x7f", r"U\+007F"),
        ("a\u202egpj.exe", r"U\+202E"),
        ("a\u200bb", r"U\+200B"),
        ("\ufeffa", r"U\+FEFF"),
        ("a\u2028b", r"U\+2028"),
        ("\ud800", r"U\+D800"),
        ("a\udcff", r"U\+DCFF"),
        ("\ue000", r"U\+E000"),
        ("\u0378", r"U\+0378"),
        ("\U0010ffff", r"U\+10FFFF"),
        ("a" * 256, "longer than 255 bytes"),
        ("ä" * 128, "longer than 255 bytes"),
        ("a\u0308", "NFC"),
        ("\u212b", "NFC"),
        ("con", "device"),
        ("NUL.txt", "device"),
        ("Com1 .tar.gz", "device"),
        ("LPT0", "device"),
        ("com¹.txt", "device"),
        ("CONIN$", "device"),
    ],
)
def test_names_that_some_system_would_trip_over_are_refused(name: str, why: str) -> None:
    with pytest.raises(NameInvalid, match=why) as caught:
        names.check_name(name)
    assert str(caught.value).isprintable()
    if "/" not in name:
        with pytest.raises(NameInvalid):
            names.check_path(f"folder/{name}")


@pytest.mark.parametrize(
    "path",
    ["", "/", "/etc/passwd", "a/", "a//b", "../a", "a/../b", "./a", "a/.", "C:/a", "\\\\server\\share", "\ud800/a"],
)
def test_paths_that_leave_their_folder_are_refused(path: str) -> None:
    with pytest.raises(NameInvalid):
        names.check_path(path)


def test_a_path_is_limited_in_bytes_and_in_depth() -> None:
    longest = "/".join(["ä" * 127] * 4)
    assert len(longest.encode()) == 1019
    assert names.check_path(longest + "/abcd")
    with pytest.raises(NameInvalid, match="longer than 1024 bytes"):
        names.check_path(longest + "/abcde")
    assert names.check_path("/".join("a" * 16))
    with pytest.raises(NameInvalid, match="more than 16 parts"):
        names.check_path("/".join("a" * 17))


def test_a_folder_may_be_the_root() -> None:
    assert names.check_folder("") == ""
    assert names.check_folder("a/b") == "a/b"
    with pytest.raises(NameInvalid):
        names.check_folder("a/")


components = st.one_of(st.sampled_from([*ALLOWED, "..", "", "nul", "A", "ß", "ẞ"]), st.text(max_size=6))
paths = st.lists(components, min_size=1, max_size=4).map("/".join)


@given(paths)
def test_an_allowed_path_stays_inside_its_folder_on_every_system(path: str) -> None:
    try:
        names.check_path(path)
    except NameInvalid:
        return
    for kind in (PurePosixPath, PureWindowsPath):
        joined = kind("base") / path
        assert joined.parts == ("base", *path.split("/"))
        assert joined.is_relative_to("base")
        assert not kind(path).is_absolute()
        assert not kind(path).drive
    assert not PureWindowsPath(path).is_reserved()
    assert path.encode().decode() == unicodedata.normalize("NFC", path)
    folder, name = names.split(path)
    assert names.join(folder, name) == path
    assert names.check_folder(folder) == folder
    assert names.check_name(name) == name


def test_a_path_is_checked_before_it_is_split() -> None:
    with pytest.raises(NameInvalid):
        names.split("../a")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a", "A"),
        ("straße", "STRASSE"),
        ("ß", "ẞ"),
        ("K", "\u212a"),
        ("ı", "I"),
        ("ſ", "s"),
        ("ﬁ", "fi"),
        ("Ａ", "a"),
        ("é", "e\u0301"),
        ("ΐ", "ΐ"),
        ("❤", "❤\ufe0f"),
        ("a", "a\u034f"),
        ("\u3164", "\uffa0"),
        ("σ", "ς"),
    ],
)
def test_names_for_one_place_on_some_file_system_collide(one: str, other: str) -> None:
    assert names.collision_key(one) == names.collision_key(other)
    paths = names.DistinctPaths()
    assert paths.add(f"x/{one}/y")
    assert not paths.add(f"X/{other}/Y")


@pytest.mark.parametrize(("one", "other"), [("a", "b"), ("a", "ä"), ("a", "а"), ("a-b", "a_b"), ("i", "l")])
def test_other_names_do_not(one: str, other: str) -> None:
    assert names.collision_key(one) != names.collision_key(other)


@pytest.mark.parametrize(
    ("first", "second"), [("a", "a/b"), ("a/b", "a"), ("A", "a/b/c"), ("a/b/c", "a/B"), ("a", "a")]
)
def test_a_path_can_not_be_a_document_and_a_folder(first: str, second: str) -> None:
    paths = names.DistinctPaths()
    assert paths.add(first)
    assert not paths.add(second)


def test_neighbours_have_places_of_their_own() -> None:
    paths = names.DistinctPaths()
    assert all(paths.add(path) for path in ("a/b", "a/c", "ab", "b/a", "b/b", "c", "a b/c"))


def naive_clash(one: str, other: str) -> bool:
    keys = [[names.collision_key(name) for name in path.split("/")] for path in (one, other)]
    shorter = min(map(len, keys))
    return keys[0][:shorter] == keys[1][:shorter]


small = st.lists(st.sampled_from(["a", "A", "b", "ß", "ss"]), min_size=1, max_size=3).map("/".join)


@given(st.lists(small, max_size=6))
def test_distinct_paths_are_those_of_which_no_pair_clashes(some: list[str]) -> None:
    paths = names.DistinctPaths()
    taken = [paths.add(path) for path in some]
    assert all(taken) == (not any(naive_clash(one, other) for one, other in combinations(some, 2)))


@given(st.text())
def test_a_collision_key_is_its_own_key(name: str) -> None:
    key = names.collision_key(name)
    assert names.collision_key(key) == key
    assert names.collision_key(name.upper()) == key


def test_printable_text_has_no_character_of_a_forbidden_category() -> None:
    printable = filter(str.isprintable, map(chr, range(0x110000)))
    assert names._FORBIDDEN_CATEGORIES.isdisjoint(map(unicodedata.category, printable))
