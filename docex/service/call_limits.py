"""How many calls a minute somebody may make, over all processes of a node.

Counts are kept in memory and settled through the database, so that a call costs no durable write: those who make few
calls cost none at all, the others one a second and process at most. The price is an error with a bound: a process does
not know what another one let through since it last settled, which is a sixteenth of the limit or a second's calls.
Windows are whole minutes: around the turn of one, twice the limit can pass within a minute.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import structlog

from docex.errors import TooManyCalls
from docex.service.ports import CallCounts

WINDOW: Final = 60
"""Seconds."""
INTERVAL: Final = 1.0
"""Seconds between two settlements of a process."""
SHARE: Final = 16
"""What is less than this part of a limit is not settled."""
MAX_TRACKED: Final = 50_000
"""Who are counted apart in a window: those beyond share one count, so that memory has a bound."""

log = structlog.get_logger(__name__)


class Kind(StrEnum):
    """Who is counted."""

    CALLER = "caller"
    """Somebody who said who they are: by API key, access token, or the node's own token."""
    ADDRESS = "address"
    """A client's address, for calls that did not."""
    MEMBER = "member"
    """Another member's node, once a statement has shown that it is."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Calls a minute; 0 for no limit."""

    caller: int = 0
    address: int = 0
    member: int = 0

    def of(self, kind: Kind) -> int:
        """The limit for this kind."""
        return {Kind.CALLER: self.caller, Kind.ADDRESS: self.address, Kind.MEMBER: self.member}[kind]


@dataclass(frozen=True, slots=True)
class Quota:
    """What is left to somebody: ``remaining`` calls in the next ``seconds``."""

    kind: Kind
    limit: int
    remaining: int
    seconds: int


@dataclass(slots=True)
class _Count:
    settled: int = 0  # over all processes, as far as this one knows
    fresh: int = 0  # of this one since


class CallLimits:
    """The counts of one process."""

    def __init__(self, store: CallCounts, rates: Rates, clock: Callable[[], float] = time.time) -> None:
        self._store, self._rates, self._clock = store, rates, clock
        self._window = 0
        self._counts: dict[str, _Count] = {}
        self._due: set[str] = set()
        self._settling: asyncio.Task[None] | None = None
        self._failure = ""

    def take(self, kind: Kind, who: str) -> Quota | None:
        """Count a call; None where there is no limit.

        Raises:
            TooManyCalls: there were as many as may be; says when to come again.
        """
        limit = self._rates.of(kind)
        if not limit:
            return None
        now = self._clock()
        name, count = self._count(kind, who, int(now // WINDOW))
        seconds = WINDOW - int(now % WINDOW)
        if count.settled + count.fresh >= limit:
            raise TooManyCalls(
                f"at most {limit} calls a minute are taken from one {kind}: come again in {seconds} seconds",
                seconds,
            )
        count.fresh += 1
        if count.fresh >= max(1, limit // SHARE):
            self._due.add(name)
            self._settle_soon()
        return Quota(kind, limit, limit - count.settled - count.fresh, seconds)

    def none_left(self, kind: Kind, seconds: int) -> Quota:
        """What a refusal shows."""
        return Quota(kind, self._rates.of(kind), 0, seconds)

    def give_back(self, kind: Kind, who: str) -> None:
        """Take back one that was counted and should not have been."""
        if self._rates.of(kind):
            self._count(kind, who, int(self._clock() // WINDOW))[1].fresh -= 1

    async def settle(self) -> None:
        """Add what is new to the database, and learn what other processes added. A failure costs nothing but that."""
        window, given = self._window, {name: self._counts[name].fresh for name in self._due}
        self._due.clear()
        try:
            totals = await self._store.add_calls(window, given)
        except Exception as error:  # whatever ails the database must not keep callers out
            if self._failure != (text := repr(error)):
                log.warning("calls_not_settled", error=text)
            self._failure = text
            return
        self._failure = ""
        if window == self._window:
            for name, total in totals.items():
                count = self._counts[name]
                count.settled, count.fresh = total, count.fresh - given[name]

    async def close(self) -> None:
        """End a settlement that is under way."""
        if self._settling is not None:
            self._settling.cancel()
            await asyncio.gather(self._settling, return_exceptions=True)

    def _count(self, kind: Kind, who: str, window: int) -> tuple[str, _Count]:
        if window != self._window:
            self._window = window
            self._counts.clear()
            self._due.clear()
        name = _name(kind, who)
        if name not in self._counts and len(self._counts) >= MAX_TRACKED:
            name = _name(kind, "")
        return name, self._counts.setdefault(name, _Count())

    def _settle_soon(self) -> None:
        if self._settling is None or self._settling.done():
            self._settling = asyncio.create_task(self._settle_and_rest())

    async def _settle_and_rest(self) -> None:
        while self._due:
            await self.settle()
            await asyncio.sleep(INTERVAL)


def _name(kind: Kind, who: str) -> str:
    """A digest: neither addresses nor names are kept in the database."""
    return hashlib.sha256(f"{kind}:{who}".encode()).hexdigest()[:32]
