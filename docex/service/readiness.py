"""Whether each part of a node can serve, and how long it takes to say so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from docex.errors import DocexError
from docex.service.node import Node
from keys import KeysError
from storage import StorageError

PATIENCE: Final = 5.0
"""Seconds that a part may take for its answer."""
OK: Final = "ok"
_PROBE: Final = b"docex looks whether this key signs"  # no signing input of a JWS: it has no dot


@dataclass(frozen=True, slots=True)
class Part:
    """``state`` is `OK`, or what is wrong; ``seconds``: what the look took."""

    state: str
    seconds: float

    @property
    def serves(self) -> bool:
        """Whether it can."""
        return self.state == OK


class Readiness:
    """Looks at the parts of a node, once for all who ask at the same time: strangers may ask as often as they like."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._looking: asyncio.Task[Mapping[str, Part]] | None = None

    async def look(self) -> Mapping[str, Part]:
        """Each part by its name."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(self._looking)  # who goes away does not end it for the others

    async def _look(self) -> Mapping[str, Part]:
        node = self._node
        checks = {
            "database": node.store.check,
            "storage": node.blobs.check,
            "rpc": node.ledger.check,
            "keys": lambda: _check_keys(node),
        }
        found = await asyncio.gather(*map(_part, checks.values()))
        return dict(zip(checks, found, strict=True))


async def _part(check: Callable[[], Awaitable[None]]) -> Part:
    start = time.perf_counter()
    state = await _state(check)
    return Part(state, time.perf_counter() - start)


async def _state(check: Callable[[], Awaitable[None]]) -> str:
    try:
        async with asyncio.timeout(PATIENCE):
            await check()
    except TimeoutError:
        return f"no answer within {PATIENCE:g} seconds"
    except (DocexError, StorageError, KeysError) as error:
        return f"{error.code}: {error}"
    except Exception as error:  # a database driver's own error: its text may hold the connection string
        return type(error).__name__
    return OK


async def _check_keys(node: Node) -> None:
    """That the signer signs, and that an identity (some nodes hold none, on purpose) is that of the recipient."""
    await asyncio.to_thread(node.signer.sign, _PROBE)  # a key elsewhere is asked over a network
    if node.identity is not None and node.identity.recipient != node.recipient:
        raise DocexError("the identity is not that of the recipient that this node publishes")
