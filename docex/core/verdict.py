"""The verdict on a proof: rows that passed, failed or were not checked, and what follows. See docs/proof.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

FORMAT: Final = "docex-verdict/1"
_LAST_TIME: Final = 253_402_300_799  # 9999-12-31T23:59:59Z, where ISO 8601 years of four digits end

Details = Mapping[str, Any]


class Outcome(StrEnum):
    """What became of one check."""

    PASS = "pass"  # noqa: S105 - not a password
    FAIL = "fail"
    NOT_CHECKED = "not checked"


class Overall(StrEnum):
    """What the rows say together."""

    VALID = "valid"
    INVALID = "invalid"
    UNCHECKED = "could not be checked"


_EXIT_CODES: Final = MappingProxyType({Overall.VALID: 0, Overall.INVALID: 1, Overall.UNCHECKED: 3})


@dataclass(frozen=True, slots=True)
class Row:
    """One row. ``number`` and ``name`` never change their meaning; ``details`` are JSON values, times in Unix seconds.

    The ``required`` rows alone decide: one that failed makes the verdict invalid, one that was not checked keeps it
    from being valid. The others only inform.
    """

    number: int
    name: str
    outcome: Outcome
    required: bool
    reason: str
    details: Details = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The rows in their order, and what they are about: ``subject`` describes the statement (JSON values)."""

    rows: tuple[Row, ...]
    subject: Details = field(default_factory=dict)

    @property
    def overall(self) -> Overall:
        """Of the required rows: invalid when one failed, else unchecked when one was not checked, else valid."""
        outcomes = {row.outcome for row in self.rows if row.required}
        if Outcome.FAIL in outcomes:
            return Overall.INVALID
        if Outcome.NOT_CHECKED in outcomes:
            return Overall.UNCHECKED
        return Overall.VALID

    @property
    def exit_code(self) -> int:
        """0 valid, 1 invalid, 3 could not be checked (2 is for usage errors)."""
        return _EXIT_CODES[self.overall]

    def row(self, number: int) -> Row:
        """The row with this number (1 to 7)."""
        return self.rows[number - 1]

    def to_json(self) -> dict[str, Any]:
        """The verdict as JSON values."""
        return {
            "format": FORMAT,
            "overall": self.overall.value,
            "exit_code": self.exit_code,
            "subject": dict(self.subject),
            "rows": [
                {
                    "number": row.number,
                    "name": row.name,
                    "outcome": row.outcome.value,
                    "required": row.required,
                    "reason": row.reason,
                    "details": dict(row.details),
                }
                for row in self.rows
            ],
        }


def iso(time: int) -> str:
    """A time in Unix seconds as ISO 8601 in UTC; past the year 9999, the number itself."""
    if not 0 <= time <= _LAST_TIME:
        return f"{time} s"
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
