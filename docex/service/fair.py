"""Receipt before key: the header of a fair packet leaves only for who has signed for its ciphertext. See docs/adr/0005.

The sender's side is part of the `deliver` job, the recipient's is the `ask` job; both may run twice from any step.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from docex.core import statement
from docex.core.claims import Receipt, Transfer
from docex.core.digest import sha256
from docex.core.state import BatchState, Delivery, DeliveryState, Direction, StoredTransfer
from docex.core.statement import Statement
from docex.errors import Conflict, DigestMismatch, DocexError, NotFound
from docex.failpoints import Failpoint, reached
from docex.service import jobs
from docex.service.node import Node, active_member, check_signer, printable
from storage import BlobExists, BlobNotFound

FIRST_WAIT: Final = 5.0
"""Seconds until the other side is asked again; as long again as it has been waited, up to `LAST_WAIT`."""
LAST_WAIT: Final = 3600.0
ANCHOR_WAIT: Final = 2.0
"""Seconds between two looks at whether an anchor is final."""

_CHUNK = 1 << 20


def _pause(waited: int) -> float:
    return max(FIRST_WAIT, min(LAST_WAIT, waited))


def delivery_to(transfer: StoredTransfer, account: str) -> Delivery:
    """The delivery to an addressee. Raises NotFound when it is none."""
    for each in transfer.deliveries:
        if each.account == account:
            return each
    raise NotFound(f"{account} is not an addressee of transfer {transfer.id}")


# --- the sender's node -----------------------------------------------------------------------------------------------


async def must_wait(node: Node, transfer: StoredTransfer, account: str) -> bool:
    """Whether an addressee has signed for the ciphertext, and this node's anchor of that receipt is not final yet."""
    signed = delivery_to(transfer, account).ciphertext_receipt
    return signed is not None and await _anchored_at(node, signed) is None


async def _anchored_at(node: Node, receipt: str) -> int | None:
    """The time of this node's final anchor of a receipt."""
    stored = await node.store.statement(receipt)
    assert stored is not None  # a delivery has it
    batch = None if stored.batch is None else await node.store.batch(stored.batch)
    return batch.block_time if batch is not None and batch.state is BatchState.FINAL else None


async def release(node: Node, transfer: StoredTransfer, account: str, endpoint: str) -> float | None:
    """Bring the header to an addressee that has signed for the ciphertext; else after how many seconds to look.

    Raises:
        NodeUnavailable: the node can't be reached (try again).
        Forbidden: the receipt is worthless: at the time of its anchor its key, or its member, did not count any more.
        DocexError: the node, or the Directory, refused.
    """
    transfer = await node.store.transfer(transfer.id)
    delivery = delivery_to(transfer, account)
    if delivery.receipt is not None:
        return None
    if delivery.ciphertext_receipt is None:
        return _pause(node.now() - transfer.created)
    if (anchored_at := await _anchored_at(node, delivery.ciphertext_receipt)) is None:
        return ANCHOR_WAIT
    receipt = await node.store.statement(delivery.ciphertext_receipt)
    assert receipt is not None
    # What an auditor will ask. Who retires the key between receipt and anchor would else have header and no receipt.
    await check_signer(node, statement.parse(receipt.token), anchored_at)
    assert transfer.blob is not None  # what was sealed here is here
    size = await header_size(node, transfer)
    async with node.blobs.open(transfer.blob, 0, size) as reader:
        header = b"".join([chunk async for chunk in reader])
    await node.peers.send_header(endpoint, transfer.id, header, transfer.size)
    reached(Failpoint.HEADER_SENT)
    await node.store.set_delivery(transfer.id, account, DeliveryState.DELIVERED, None)
    return None


async def header_size(node: Node, transfer: StoredTransfer) -> int:
    """How many bytes of a packet that was sealed here stand before its payload."""
    assert transfer.blob is not None
    return (await node.blobs.stat(transfer.blob)).size - transfer.size


async def take_receipt(node: Node, transfer: StoredTransfer, said: Statement) -> StoredTransfer:
    """Keep an addressee's receipt of the ciphertext, so that its header is released; given again, it asks for that.

    Raises:
        Conflict: the transfer is not a fair one, has expired, or the addressee gave another receipt before.
    """
    if not transfer.fair:
        raise Conflict("the transfer is not a fair one: its receipt is for what was opened")
    if transfer.direction is Direction.RECEIVED:
        raise Conflict("this node itself signs for the ciphertexts that it receives")
    job = jobs.delivery(transfer.id, said.issuer)
    kept = await node.store.add_ciphertext_receipt(transfer.id, said.issuer, said, [job])
    reached(Failpoint.CIPHERTEXT_RECEIPT_TAKEN)
    return kept


# --- the recipient's node --------------------------------------------------------------------------------------------


def received_blob(transfer: str) -> str:
    """Where a received packet is stored."""
    return f"transfers/received/{transfer.removeprefix('sha256:')}.age"


def ciphertext_blob(transfer: str) -> str:
    """Where the payload of a fair packet waits for its header."""
    return f"transfers/received/{transfer.removeprefix('sha256:')}.payload"


async def sign_for(node: Node, transfer: StoredTransfer, blob: str) -> StoredTransfer:
    """Sign for the ciphertext of a fair transfer, which is stored and has the right digest, and ask for its header."""
    reached(Failpoint.CIPHERTEXT_STORED)
    claim = Receipt(transfer.id, transfer.packet, (), "received")
    receipt = statement.issue(node.signer, node.account, claim, node.now())
    job = jobs.asking(transfer.id, transfer.peer)
    with suppress(Conflict):  # signed for already, by a delivery at the same time
        kept = await node.store.add_ciphertext_receipt(transfer.id, node.account, receipt, [job], blob)
        reached(Failpoint.CIPHERTEXT_SIGNED)
        return kept
    return await node.store.transfer(transfer.id)


async def ask(node: Node, transfer_id: str) -> float | None:
    """Ask the sender for the header, by giving it the receipt of the ciphertext; after how many seconds to ask again.

    None once the header is here, or when there is no use in asking any more: then the transfer is ``withheld``.

    Raises:
        NodeUnavailable: the node can't be reached (try again).
        DocexError: the node, or the Directory, refused.
    """
    transfer = await node.store.transfer(transfer_id)
    delivery = transfer.deliveries[0]
    if transfer.blob is not None or delivery.receipt is not None:
        return None
    assert delivery.ciphertext_receipt is not None  # the job is made together with the receipt
    receipt = await node.store.statement(delivery.ciphertext_receipt)
    assert receipt is not None
    waited = node.now() - receipt.created
    patient = waited <= node.limits.header_patience
    reason = "the sender has the receipt of the ciphertext, and did not bring the header"
    try:
        sender = await active_member(node, transfer.peer)
        await node.peers.send_receipt(sender.endpoint, receipt.token)
    except DocexError as error:
        if patient:
            raise
        reason = printable(f"the header did not come; last: {error.code}: {error}")[:500]
    reached(Failpoint.HEADER_ASKED)
    if not patient:
        await node.store.set_delivery(transfer.id, node.account, DeliveryState.WITHHELD, reason)
        return None
    if delivery.error is not None:
        await node.store.set_delivery(transfer.id, node.account, DeliveryState.RECEIVED, None)
    return _pause(waited)


async def announced_again(node: Node, transfer: StoredTransfer) -> None:
    """The sender is there: give it the receipt at once that it could not be given, or may have lost."""
    delivery = transfer.deliveries[0]
    if delivery.ciphertext_receipt is None or (delivery.error is None and delivery.state is not DeliveryState.WITHHELD):
        return
    receipt = await node.store.statement(delivery.ciphertext_receipt)
    assert receipt is not None  # a delivery has it
    job = jobs.asking(transfer.id, transfer.peer)
    said = statement.parse(receipt.token)
    await node.store.add_ciphertext_receipt(transfer.id, node.account, said, [job])


async def take_header(node: Node, transfer_id: str, header: bytes) -> StoredTransfer:
    """Put the header of a fair packet before its payload. Taking it again does no harm.

    Raises:
        NotFound: no such transfer was announced.
        Conflict: its header comes with the packet, or its ciphertext is not here yet.
        DigestMismatch: it is not the header that the transfer names.
    """
    transfer = await node.store.transfer(transfer_id)
    if transfer.direction is not Direction.RECEIVED:
        raise NotFound("no such transfer was announced to this node")
    if transfer.blob is not None:
        return transfer
    if transfer.ciphertext is None:
        raise Conflict("the ciphertext of this transfer is not here: a header is taken behind it")
    stored = await node.store.statement(transfer.id)
    assert stored is not None
    claim = statement.parse(stored.token).body
    assert isinstance(claim, Transfer)
    if str(sha256(header)) != claim.header:
        raise DigestMismatch("this is not the header that the transfer names")
    blob = received_blob(transfer.id)
    with suppress(BlobExists):  # stored whole by a call that was cut off before it was noted
        await node.blobs.put(blob, _joined(node, header, transfer.ciphertext))
    reached(Failpoint.HEADER_STORED)
    kept = await node.store.set_packet(transfer.id, blob, [jobs.opening(transfer.id)])
    reached(Failpoint.HEADER_KEPT)
    return kept


async def _joined(node: Node, header: bytes, payload: str) -> AsyncIterator[bytes]:
    for start in range(0, len(header), _CHUNK):
        yield header[start : start + _CHUNK]
    async with node.blobs.open(payload) as reader:
        async for chunk in reader:
            yield chunk


async def clear(node: Node, transfer: StoredTransfer) -> None:
    """Remove the payload that was kept by itself, once it stands behind its header."""
    if transfer.fair:
        with suppress(BlobNotFound):
            await node.blobs.delete(ciphertext_blob(transfer.id))
            reached(Failpoint.CIPHERTEXT_CLEARED)
