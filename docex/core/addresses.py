"""Addresses of clients, and the ranges that settings name."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from docex.errors import UsageError

AddressRange = IPv4Network | IPv6Network


def parse_ranges(text: str) -> tuple[AddressRange, ...]:
    """Address ranges with commas between them, such as ``10.1.0.0/16, ::1``.

    Raises:
        UsageError: one of them is none.
    """
    found = []
    for each in filter(None, (part.strip() for part in text.split(","))):
        try:
            found.append(ip_network(each))
        except ValueError:
            raise UsageError(f"{each[:80]!a} is not an address range like 10.1.0.0/16") from None
    return tuple(found)


def within(text: str, ranges: Iterable[AddressRange]) -> bool:
    """Whether an address is in one of the ranges; what is no address is in none."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address  # how a socket for both shows IPv4
    return any(address.version == each.version and address in each for each in ranges)
