"""Who may do what at a node: roles, what each of them permits, and the folders that a caller is kept to."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from docex.core.names import check_path
from docex.errors import Forbidden, UsageError

MAX_FOLDERS = 64
"""Of one caller: each of them is a condition of its queries."""
RECEIVED = "received"
"""The folder of what others sent: below it one folder for each sender, named by its address."""


class Permission(StrEnum):
    """What a call needs its caller to have."""

    SEE = "see"
    """Details of documents and transfers, statements and proofs: never a document itself."""
    READ = "read"
    """The documents themselves, and the packets that they travel in."""
    DEPOSIT = "deposit"
    TRANSFER = "transfer"
    REVOKE = "revoke"
    NOTARISE = "notarise"
    MANAGE_KEYS = "manage_keys"
    CONFIGURE = "configure"
    """What holds for the node as a whole."""
    OBSERVE = "observe"
    """Metrics, and what is wrong with a part of the node."""


class Role(StrEnum):
    """What somebody is to a node."""

    SUPPLIER = "supplier"
    RECIPIENT = "recipient"
    AUDITOR = "auditor"
    OPERATOR = "operator"


_P = Permission
PERMITS = MappingProxyType(
    {
        Role.SUPPLIER: frozenset([_P.SEE, _P.DEPOSIT, _P.TRANSFER, _P.REVOKE, _P.NOTARISE]),
        Role.RECIPIENT: frozenset([_P.SEE, _P.READ]),
        Role.AUDITOR: frozenset([_P.SEE]),
        Role.OPERATOR: frozenset(_P),
    }
)
_WHOLE = frozenset([_P.MANAGE_KEYS, _P.CONFIGURE])


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders that somebody is kept to, with all below them; none means no bounds.

    Raises:
        NameInvalid: one is not a path.
        UsageError: there are more than `MAX_FOLDERS`.
    """

    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.names) > MAX_FOLDERS:
            raise UsageError(f"at most {MAX_FOLDERS} folders can be named")
        for each in self.names:
            check_path(each)

    @property
    def everything(self) -> bool:
        """Whether there are no bounds."""
        return not self.names

    def __contains__(self, path: str) -> bool:
        """Whether the document at a path lies in one of them: whole parts count, so ``a`` does not hold ``ab/c``."""
        return self.everything or any(path.startswith(f"{each}/") for each in self.names)


EVERYTHING = Folders()


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who is known: what every way of authenticating ends in.

    ``name`` is for people and logs; ``roles`` and ``folders`` decide.
    """

    name: str
    roles: frozenset[Role]
    folders: Folders = EVERYTHING

    def require(self, permission: Permission) -> None:
        """See that the caller may do this.

        Raises:
            Forbidden: none of its roles permits it (the message names those that would), or its folders do not.
        """
        if not any(permission in PERMITS[role] for role in self.roles):
            needed = " or ".join(role for role in Role if permission in PERMITS[role])
            raise Forbidden(f"this needs the role {needed}; {self.name} has {describe(self.roles)}")
        if permission in _WHOLE and not self.folders.everything:
            # Else a key for everything could be made with one for a folder.
            raise Forbidden("only an operator who is kept to no folders does this")


def describe(roles: Collection[Role]) -> str:
    """Roles for people, always in one order."""
    return " and ".join(role for role in Role if role in roles) or "none"
