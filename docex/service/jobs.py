"""Jobs that more than one use case makes; see `docex.service.worker` for what does them."""

from __future__ import annotations

from docex.core.state import Job


def delivery(transfer: str, account: str) -> Job:
    """What brings a transfer to an addressee."""
    return Job(f"deliver:{transfer}:{account}", "deliver", f"{transfer} {account}", peer=account)


def opening(transfer: str) -> Job:
    """What opens a received packet and signs its receipt."""
    return Job(f"open:{transfer}", "open", transfer)


def giving_back(transfer: str, sender: str) -> Job:
    """What brings the receipt of a received transfer to its sender."""
    return Job(f"return:{transfer}", "return", transfer, peer=sender)


def cleaning(transfer: str, seconds: float) -> Job:
    """What removes the parts of a packet of which no more came."""
    return Job(f"clean:{transfer}", "clean", transfer, delay=seconds)


def recording(statement: str, revocation: str) -> Job:
    """What has the revocation of a statement recorded with the Notary."""
    return Job(f"revoke:{statement}", "revoke", revocation)


def asking(transfer: str, sender: str) -> Job:
    """What asks the sender of a fair transfer for its header."""
    return Job(f"ask:{transfer}", "ask", transfer, peer=sender)


def expiry(transfer: str, seconds: int) -> Job:
    """What gives a transfer up when its time has run out."""
    return Job(f"expire:{transfer}", "expire", transfer, delay=seconds)
