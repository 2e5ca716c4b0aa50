"""Tell from an OIDC access token who calls; the issuer's keys are kept, and fetched again with restraint.

A key that is known goes on working while the issuer is down, for a day. One that is not known makes this node ask for
the keys, but once a minute at most, whatever strangers put into ``kid``.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import structlog

from docex.core import access_token
from docex.core.access import Caller
from docex.core.access_token import KeySetInvalid, Rules
from docex.errors import IssuerUnavailable, Unauthorised
from docex.service.ports import KeySource

if TYPE_CHECKING:
    from docex.core.access_token import PublicKey

REFRESH: Final = 600.0
"""Seconds after which the keys are asked for again beside the calls, so that one that was taken back ends."""
PAUSE: Final = 60.0
"""Seconds between two fetches."""
FIRST_PAUSE: Final = 5.0
"""The same while there are no keys at all, such as after a start while the issuer is down."""
STALE: Final = 86_400.0
"""Seconds after which keys that could not be fetched again count no more."""

log = structlog.get_logger(__name__)


class AccessTokens:
    """One issuer's tokens. Keys are per process: another one fetches its own."""

    def __init__(self, rules: Rules, source: KeySource, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules, self._source, self._clock = rules, source, clock
        self._keys: Mapping[str, PublicKey] = {}
        self._fetched = self._tried = -math.inf
        self._failed = False
        self._fetching = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None

    async def caller(self, credential: str, now: float) -> Caller | None:
        """Who brings this token; None when it is no JWT.

        Raises:
            Unauthorised: it does not hold, or its key is none of the issuer's.
            IssuerUnavailable: that can't be told, since the issuer's keys can't be had.
        """
        token = access_token.read(credential)
        if token is None:
            return None
        return access_token.check(token, await self._key(token.kid), self._rules, now)

    async def close(self) -> None:
        """End a fetch that is under way."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)

    async def _key(self, kid: str) -> PublicKey:
        key = self._known(kid)
        if key is not None:
            if self._clock() - self._fetched > REFRESH and self._may_fetch() and not self._fetching.locked():
                self._refreshing = asyncio.create_task(self._refresh())
            return key
        await self._refresh()  # one for all who wait
        key = self._known(kid)
        if key is not None:
            return key
        if self._failed:
            raise IssuerUnavailable("the issuer's keys can't be had now, so no token with a new key can be checked")
        raise Unauthorised("the access token is signed with a key that the issuer does not have")

    def _known(self, kid: str) -> PublicKey | None:
        return self._keys.get(kid) if self._clock() - self._fetched <= STALE else None

    def _may_fetch(self) -> bool:
        return self._clock() - self._tried >= (PAUSE if self._keys else FIRST_PAUSE)

    async def _refresh(self) -> None:
        async with self._fetching:
            if not self._may_fetch():
                return
            self._tried = self._clock()
            try:
                self._keys = access_token.read_keys(await self._source.fetch())
            except (IssuerUnavailable, KeySetInvalid) as error:
                self._failed = True
                log.warning("issuer_keys_not_fetched", code=error.code, error=str(error))
            else:
                self._failed, self._fetched = False, self._clock()
