"""Members whose nodes are processes."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.e2e.faults.nodes import Member
from tests.fixtures.network import Consortium


class NewMember(Protocol):
    """Admits a member that has published its endpoint; its node does not run yet."""

    async def __call__(self, name: str, *, endpoint: str | None = None, **fields: Any) -> Member: ...


@pytest.fixture
async def new_member(consortium: Consortium, tmp_path: Path) -> AsyncIterator[NewMember]:
    members: list[Member] = []

    async def make(name: str, *, endpoint: str | None = None, **fields: Any) -> Member:
        organisation = await consortium.join(tmp_path / f"{name}-keystore", name)
        member = Member(consortium, organisation, fields.pop("folder", tmp_path / name), **fields)
        members.append(member)
        await consortium.set_endpoint(organisation, endpoint or member.url)
        return member

    yield make
    for member in members:
        await member.kill()
        await member.client.aclose()
