"""Roles, permissions and folders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docex.core.access import EVERYTHING, MAX_FOLDERS, PERMITS, Caller, Folders, Permission, Role, describe
from docex.errors import Forbidden, NameInvalid, UsageError

PATHS = st.lists(st.sampled_from(["a", "ab", "b", "ä"]), min_size=1, max_size=4).map("/".join)


@given(PATHS, st.lists(PATHS, max_size=3))
def test_a_document_lies_in_a_folder_by_whole_parts(path: str, names: list[str]) -> None:
    parts = path.split("/")
    parents = {"/".join(parts[:count]) for count in range(1, len(parts))}
    assert (path in Folders(tuple(names))) == (not names or not parents.isdisjoint(names))


def test_no_folders_are_no_bounds() -> None:
    assert EVERYTHING.everything
    assert "anything" in EVERYTHING
    assert not Folders(("a",)).everything


@pytest.mark.parametrize("name", ["", "/a", "a/", "..", "a//b", "a\0"])
def test_a_folder_has_to_be_a_path(name: str) -> None:
    with pytest.raises(NameInvalid):
        Folders((name,))


def test_folders_are_limited() -> None:
    Folders(("a",) * MAX_FOLDERS)
    with pytest.raises(UsageError, match="at most 64"):
        Folders(("a",) * (MAX_FOLDERS + 1))


def test_what_each_role_permits() -> None:
    assert {role: sorted(PERMITS[role]) for role in Role} == {
        Role.SUPPLIER: ["deposit", "notarise", "revoke", "see", "transfer"],
        Role.RECIPIENT: ["read", "see"],
        Role.AUDITOR: ["see"],
        Role.OPERATOR: sorted(Permission),
    }


def test_a_refusal_names_the_roles_that_would_do() -> None:
    caller = Caller("key 1", frozenset([Role.AUDITOR, Role.SUPPLIER]))
    caller.require(Permission.DEPOSIT)
    with pytest.raises(Forbidden, match=r"^this needs the role recipient or operator; key 1 has supplier and auditor$"):
        caller.require(Permission.READ)
    with pytest.raises(Forbidden, match=r"has none$"):
        Caller("key 1", frozenset()).require(Permission.SEE)
    assert describe([]) == "none"


def test_an_operator_kept_to_folders_makes_no_keys() -> None:
    """It could make one for everything. No key is such; another way of authenticating may say so."""
    caller = Caller("x", frozenset([Role.OPERATOR]), Folders(("a",)))
    caller.require(Permission.READ)
    with pytest.raises(Forbidden, match="kept to no folders"):
        caller.require(Permission.MANAGE_KEYS)


def test_whoever_is_no_operator_is_told_the_role_whatever_its_folders() -> None:
    with pytest.raises(Forbidden, match="needs the role operator; x has supplier"):
        Caller("x", frozenset([Role.SUPPLIER]), Folders(("a",))).require(Permission.MANAGE_KEYS)
