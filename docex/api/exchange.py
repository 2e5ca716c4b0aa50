"""What other members' nodes call. Each call is authenticated by the statement that it brings or refers to."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from docex.api.access import NodeOf, body, content_length, read_all, read_statement
from docex.api.limits import count, known_after_all
from docex.api.views import AnnouncementView, Digest, TransferView
from docex.core.age import MAX_HEADER_SIZE
from docex.errors import LimitExceeded, UsageError
from docex.service import arrivals, fair, receipts, transfers
from docex.service.call_limits import Kind
from docex.service.node import Node

router = APIRouter(prefix="/api/v1", tags=["between nodes"])


@router.post("/deliveries", status_code=201)
async def announce(node: NodeOf, request: Request) -> AnnouncementView:
    """Announce a transfer: the body is the transfer statement (a compact JWS) of a member of the Directory."""
    transfer = await transfers.announced(node, await read_statement(request))
    known_after_all(request)
    return AnnouncementView(id=transfer.id, wanted=transfer.wanted)


@router.put("/deliveries/{transfer}/packet", status_code=201)
async def take_packet(node: NodeOf, request: Request, transfer: Digest) -> AnnouncementView:
    """Bring the packet of an announced transfer; anything but that very packet is refused and not kept.

    Of a fair transfer bring the payload alone: its recipient signs for that, and its header is brought afterwards.
    What came of a large one before the connection broke is kept for some days: ask with `HEAD`, go on with `PATCH`.
    """
    _check_length(node, request, 0)
    await _count_sender(node, request, transfer)
    taken = await arrivals.receive(node, transfer, body(request))
    return AnnouncementView(id=taken.id, wanted=False)


@router.get("/deliveries/{transfer}/packet", status_code=204)
async def packet_offset(node: NodeOf, request: Request, transfer: Digest) -> Response:
    """How many bytes of a packet are here to go on from (`Upload-Offset`), and whether it is done (`Upload-Complete`).

    Meant for `HEAD`: there is no content. While an upload is under way, or a broken one may be, the answer is 409.
    """
    await _count_sender(node, request, transfer)
    offset, complete = await arrivals.progress(node, transfer)
    headers = {"upload-offset": str(offset), "upload-complete": f"?{complete:d}", "cache-control": "no-store"}
    return Response(status_code=204, headers=headers)


@router.patch("/deliveries/{transfer}/packet", status_code=201)
async def go_on(
    node: NodeOf,
    request: Request,
    transfer: Digest,
    upload_offset: Annotated[int, Header(ge=0, lt=1 << 50, description="what `HEAD` says")],
    upload_complete: Annotated[str, Header(description="`?1`: all of the rest is brought")] = "?1",
) -> AnnouncementView:
    """Bring the rest of a packet (draft-ietf-httpbis-resumable-upload), all from the offset on that `HEAD` says."""
    if upload_complete != "?1":
        raise UsageError("bring all of the rest in one request (Upload-Complete: ?1); what comes of it is kept")
    _check_length(node, request, upload_offset)
    await _count_sender(node, request, transfer)
    taken = await arrivals.receive(node, transfer, body(request), upload_offset)
    return AnnouncementView(id=taken.id, wanted=False)


@router.put("/deliveries/{transfer}/header", status_code=201)
async def take_header(node: NodeOf, request: Request, transfer: Digest) -> AnnouncementView:
    """Bring the header of a fair transfer, whose payload is here and signed for. Any other header is refused."""
    await _count_sender(node, request, transfer)
    taken = await fair.take_header(node, transfer, await read_all(request, MAX_HEADER_SIZE))
    return AnnouncementView(id=taken.id, wanted=False)


def _check_length(node: Node, request: Request, offset: int) -> None:
    if offset + content_length(request) > node.limits.packet_size + MAX_HEADER_SIZE:
        raise LimitExceeded(f"packets of more than {node.limits.packet_size} bytes are not taken")


async def _count_sender(node: Node, request: Request, transfer: str) -> None:
    """Count a call as that of the member who announced the transfer: nobody else knows its id. Raises NotFound."""
    sender = (await node.store.transfer(transfer)).peer
    known_after_all(request)
    count(request, Kind.MEMBER, sender)


@router.post("/receipts", status_code=201)
async def take_receipt(node: NodeOf, request: Request) -> TransferView:
    """Hand over a receipt statement: an addressee's, or this member's own, signed away from the node."""
    transfer = await receipts.take(node, await read_statement(request))
    known_after_all(request)
    return TransferView.of(transfer)
