"""Jobs that more than one use case makes; see `docex.service.worker` for what does them."""

from __future__ import annotations

from docex.core.state import Job


def delivery(transfer: str, account: str) -> Job:
    """What brings a transfer to an addressee."""
    return Job(f"deliver:{transfer}:{account}", "deliver", f"{transfer} {account}", peer=account)


def asking(transfer: str, sender: str) -> Job:
    """What asks the sender of a fair transfer for its header."""
    return Job(f"ask:{transfer}", "ask", transfer, peer=sender)


def expiry(transfer: str, seconds: int) -> Job:
    """What gives a transfer up when its time has run out."""
    return Job(f"expire:{transfer}", "expire", transfer, delay=seconds)
