"""What other members' nodes call. Each call is authenticated by the statement that it brings or refers to."""

from __future__ import annotations

from fastapi import APIRouter, Request

from docex.api.access import NodeOf, body, content_length, read_all, read_statement
from docex.api.views import AnnouncementView, Digest, TransferView
from docex.core.age import MAX_HEADER_SIZE
from docex.errors import Conflict, LimitExceeded
from docex.service import fair, receipts, transfers

router = APIRouter(prefix="/api/v1", tags=["between nodes"])

_AT_ONCE = 16


@router.post("/deliveries", status_code=201)
async def announce(node: NodeOf, request: Request) -> AnnouncementView:
    """Announce a transfer: the body is the transfer statement (a compact JWS) of a member of the Directory."""
    transfer = await transfers.announced(node, await read_statement(request))
    return AnnouncementView(id=transfer.id, wanted=transfer.wanted)


@router.put("/deliveries/{transfer}/packet", status_code=201)
async def take_packet(node: NodeOf, request: Request, transfer: Digest) -> AnnouncementView:
    """Bring the packet of an announced transfer; anything but that very packet is refused and not kept.

    Of a fair transfer bring the payload alone: its recipient signs for that, and its header is brought afterwards.
    """
    if content_length(request) > node.limits.packet_size + MAX_HEADER_SIZE:
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


@router.put("/deliveries/{transfer}/header", status_code=201)
async def take_header(node: NodeOf, request: Request, transfer: Digest) -> AnnouncementView:
    """Bring the header of a fair transfer, whose payload is here and signed for. Any other header is refused."""
    taken = await fair.take_header(node, transfer, await read_all(request, MAX_HEADER_SIZE))
    return AnnouncementView(id=taken.id, wanted=False)


@router.post("/receipts", status_code=201)
async def take_receipt(node: NodeOf, request: Request) -> TransferView:
    """Hand over a receipt statement: an addressee's, or this member's own, signed away from the node."""
    return TransferView.of(await receipts.take(node, await read_statement(request)))
