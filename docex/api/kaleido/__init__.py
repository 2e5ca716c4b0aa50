"""The document store API that clients of Kaleido's document exchange know, beside this node's own (docs/kaleido.md).

Its routes are at the root. Clients that put ``/api/v1`` before every path, which the node's own API has already, find
the same routes under `prefix.PREFIX`.
"""

from __future__ import annotations

from fastapi import APIRouter

from docex.api.kaleido import documents, settings, transfers
from docex.api.permissions import People

HEADS = frozenset(["documents", "search", "sync_hashes", "transfers", "destinations", "preferences"])

router = APIRouter(tags=["document store"], dependencies=[People])
for _module in (documents, transfers, settings):
    router.include_router(_module.router)
