"""Destinations: URIs that name where a member receives, derived from the Directory; nothing more is published.

``docex://documentstore/m/<CAIP-10 account>/d/<name>``. Each member has one, named ``default``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from docex.core.account import caip10, parse_caip10
from docex.errors import UsageError
from docex.service.node import Node

DEFAULT = "default"
_URI = re.compile(r"docex://documentstore/m/(eip155:[0-9]{1,20}:0x[0-9a-fA-F]{40})/d/([^/?#\s]{1,64})")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a member receives."""

    uri: str
    account: str
    member: str
    own: bool


def uri_of(account: str) -> str:
    """The destination of a member (a CAIP-10 account)."""
    return f"docex://documentstore/m/{account}/d/{DEFAULT}"


def account_of(uri: str) -> str:
    """The member (a CAIP-10 account) that a destination belongs to.

    Raises:
        UsageError: it is not the URI of a destination.
    """
    parts = _URI.fullmatch(uri)
    if parts is None:
        raise UsageError(f"{uri[:200]!a} is not the URI of a destination: {uri_of('<account>')}")
    if parts[2] != DEFAULT:
        raise UsageError(f"each member has one destination, named {DEFAULT}; not {parts[2]!a}")
    return str(parse_caip10(parts[1]))


async def destinations(node: Node) -> Sequence[Destination]:
    """Where active members receive, in the order of their admission.

    Raises:
        LedgerUnavailable: the Directory can't be read now.
    """
    accounts = [
        (caip10(node.network.chain_id, each.account), each.name) for each in await node.ledger.members() if each.active
    ]
    return [Destination(uri_of(account), account, name, account == node.account) for account, name in accounts]
