"""The ledger: clients of the Directory and the Notary, and the sender of transactions. web3 is loaded on first use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_recursion_limit() -> Iterator[None]:
    """Keep Python's recursion limit while vendors are imported: a library behind web3 raises it to 100,000.

    With that limit, deeply nested JSON from anyone ends the process instead of raising RecursionError.
    """
    limit = sys.getrecursionlimit()
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
