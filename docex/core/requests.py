"""What comes with a request besides what it asks for: that it fits what is there, and that it is done once."""

from __future__ import annotations

from dataclasses import dataclass

from docex.errors import PreconditionFailed

ANY = frozenset(["*"])
"""Stands for every version that there may be."""


@dataclass(frozen=True, slots=True)
class Precondition:
    """What must hold of a document's newest version so that another may follow it (RFC 9110 section 13.1).

    Versions are named by their statements' digests; None does not ask. ``one_of``: the newest is one of these (`ANY`:
    there is one). ``none_of``: it is none of these (`ANY`: there is none yet).
    """

    one_of: frozenset[str] | None = None
    none_of: frozenset[str] | None = None

    def check(self, newest: str | None) -> None:
        """See that it holds, given the newest version's statement (None: there is none yet).

        Raises:
            PreconditionFailed: it does not.
        """
        if self.one_of is not None and not _among(newest, self.one_of):
            found = "there is none yet" if newest is None else f"the newest version is {newest}"
            raise PreconditionFailed(f"the document is not as it was seen: {found}")
        if self.none_of is not None and _among(newest, self.none_of):
            raise PreconditionFailed(f"there is a version of this document already: {newest}")


def _among(newest: str | None, named: frozenset[str]) -> bool:
    return newest is not None and (named == ANY or newest in named)


NO_CONDITION = Precondition()


@dataclass(frozen=True, slots=True)
class Once:
    """One try of a request that is to take effect once, however often it is sent.

    ``id`` names the request for all of its tries, ``attempt`` this one.
    """

    id: str
    attempt: str
