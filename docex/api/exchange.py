"""What other members' nodes call. Each call is authenticated by the statement that it brings or refers to."""

from __future__ import annotations

from fastapi import APIRouter, Request

from docex.api.access import NodeOf, body, content_length, read_statement
from docex.api.views import AnnouncementView, Digest, TransferView
from docex.errors import Conflict, LimitExceeded
from docex.service import receipts, transfers

router = APIRouter(prefix="/api/v1", tags=["between nodes"])

_MAX_HEADER = 2 << 20
_AT_ONCE = 16


@router.post("/deliveries", status_code=201)
async def announce(node: NodeOf, request: Request) -> AnnouncementView:
    """Announce a transfer: the body is the transfer statement (a compact JWS) of a member of the Directory."""
    transfer = await transfers.announced(node, await read_statement(request))
    return AnnouncementView(id=transfer.id, wanted=transfer.blob is None)


@router.put("/deliveries/{transfer}/packet", status_code=201)
async def take_packet(node: NodeOf, request: Request, transfer: Digest) -> AnnouncementView:
    """Bring the packet of an announced transfer. Anything but that very packet is refused and not kept."""
    if content_length(request) > node.limits.packet_size + _MAX_HEADER:
        raise LimitExceeded(f"packets of more than {node.limits.packet_size} bytes are not taken")
    arriving: dict[str, str] = request.app.state.arriving
    sender = (await node.store.transfer(transfer)).peer
    # Uploads hold threads: one for a transfer and a few for a member, so that nobody can take them all.
    if transfer in arriving or list(arriving.values()).count(sender) >= _AT_ONCE:
        raise Conflict("this packet is on its way already, or its sender brings too many at once: try again later")
    arriving[transfer] = sender
    try:
        taken = await transfers.take_packet(node, transfer, body(request))
    finally:
        del arriving[transfer]
    return AnnouncementView(id=taken.id, wanted=False)


@router.post("/receipts", status_code=201)
async def take_receipt(node: NodeOf, request: Request) -> TransferView:
    """Hand over a receipt statement: an addressee's, or this member's own, signed away from the node."""
    return TransferView.of(await receipts.take(node, await read_statement(request)))
