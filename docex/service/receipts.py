"""Receipts: open what was received, check it, and answer with a signed acknowledgement; take the answers of others."""

from __future__ import annotations

import asyncio

from docex.core import names, packet, statement
from docex.core.claims import Document, Receipt, Transfer
from docex.core.packet import Opened
from docex.core.state import DeliveryState, Direction, StoredDocument, StoredTransfer
from docex.core.statement import Statement
from docex.errors import (
    Conflict,
    DatabaseUnavailable,
    DigestMismatch,
    DocexError,
    Forbidden,
    LedgerError,
    StatementInvalid,
)
from docex.failpoints import Failpoint, reached
from docex.service import fair, jobs, preferences
from docex.service.deposits import opened_blob
from docex.service.node import Node, active_member, check_signer, count_member, printable
from docex.service.streams import on_thread
from docex.service.transfers import document_digest

_STATES = {"accepted": DeliveryState.ACCEPTED, "rejected": DeliveryState.REJECTED}


async def open_received(node: Node, transfer_id: str) -> None:
    """Open a received packet, check all of it, and keep a receipt for its sender; doing it again does no harm.

    A node without an identity leaves the packet to a recipient who opens it elsewhere.

    Raises:
        LedgerError, DatabaseUnavailable: the signers can't be checked now (try again).
        StorageError, KeysError: packet or identity can't be reached now.
    """
    transfer = await node.store.transfer(transfer_id)
    await fair.clear(node, transfer)
    if node.identity is None or transfer.deliveries[0].receipt is not None:
        return
    try:
        opened = await _open(node, transfer)
    except (LedgerError, DatabaseUnavailable):  # say nothing about the packet
        raise
    except DocexError as error:
        claim = Receipt(transfer.id, transfer.packet, (), "rejected", printable(f"{error.code}: {error}")[:1000])
    else:
        folder = await preferences.received_folder(node, transfer.peer)
        documents = [_received(node, transfer, folder, each) for each in opened.documents]
        await node.store.add_received(transfer.id, documents, opened.documents)
        reached(Failpoint.RECEIVED_KEPT)
        claim = Receipt(transfer.id, transfer.packet, opened_digests(opened), "accepted")
    await _give(node, transfer, statement.issue(node.signer, node.account, claim, node.now()))


async def _open(node: Node, transfer: StoredTransfer) -> Opened:
    """Open the packet without keeping plaintext, and hold it against its transfer statement and the Directory."""
    assert node.identity is not None
    assert transfer.blob is not None
    identities, limit = [node.identity], node.limits.packet_size
    async with opened_blob(node, transfer.blob) as source:
        opened = await on_thread(lambda: packet.open_packet(source, identities, packet.Discard(), max_size=limit))
    said = await node.store.statement(transfer.id)
    assert said is not None
    claim = statement.parse(said.token).body
    assert isinstance(claim, Transfer)
    if opened.packet.digest_text != claim.statement:
        raise StatementInvalid("the packet is not the one that the transfer statement was made for")
    if opened.packet.issuer != transfer.peer:
        raise Forbidden("the packet was sealed by another member than the one who transferred it")
    # A clock that was put back since the transfer came is no reason to call it dated in the future, and reject it.
    now = max(node.now(), transfer.created)
    # Documents may be old, and signed by someone further up: their own time is all there is here. The verdict uses the
    # time of an anchor.
    await asyncio.gather(
        check_signer(node, opened.packet, transfer.created, by=now),
        *(check_signer(node, document, document.issued_at, by=now) for document in opened.documents),
    )
    return opened


def opened_digests(opened: Opened) -> tuple[str, ...]:
    """The digests of the documents in a packet, each once, in order: what an accepting receipt names."""
    return tuple(dict.fromkeys(document_digest(each) for each in opened.documents))


def _received(node: Node, transfer: StoredTransfer, folder: str, document: Statement) -> StoredDocument:
    claim = document.body
    assert isinstance(claim, Document)
    assert transfer.blob is not None
    return StoredDocument(
        names.join(folder, claim.path),
        0,
        document.digest_text,
        claim.digest,
        claim.size,
        claim.media_type,
        claim.kind,
        document.issuer,
        transfer.blob,
        claim.path,
        node.now(),
    )


async def _give(node: Node, transfer: StoredTransfer, receipt: Statement) -> StoredTransfer:
    claim = receipt.body
    assert isinstance(claim, Receipt)
    job = jobs.giving_back(transfer.id, transfer.peer)
    kept = await node.store.add_receipt(transfer.id, node.account, _STATES[claim.outcome], receipt, [job])
    reached(Failpoint.RECEIPT_KEPT)
    node.wake()
    return kept


async def give_back(node: Node, transfer_id: str) -> None:
    """Bring the receipt of a received transfer to its sender's node; doing it again does no harm.

    Raises:
        NodeUnavailable: the node can't be reached (try again).
        DocexError: the node, or the Directory, refused.
    """
    transfer = await node.store.transfer(transfer_id)
    digest = transfer.deliveries[0].receipt
    assert digest is not None  # the job is made together with the receipt
    receipt = await node.store.statement(digest)
    assert receipt is not None
    sender = await active_member(node, transfer.peer)
    await node.peers.send_receipt(sender.endpoint, receipt.token)
    reached(Failpoint.RECEIPT_RETURNED)
    await node.store.set_returned(transfer_id)
    reached(Failpoint.RECEIPT_NOTED)


async def take(node: Node, token: str) -> StoredTransfer:
    """Take a receipt: an addressee's, for a transfer this node sent, or this member's own, signed away from the node.

    Raises:
        StatementInvalid, SignatureInvalid: it is not a receipt statement that holds.
        NotFound: it is about a transfer that is not known here.
        Forbidden: its signer is not an active member, or not an addressee of the transfer.
        DigestMismatch: it names another packet or other documents than the transfer.
        Conflict: another receipt was given before; a receipt never changes.
    """
    said = statement.verify(token)
    claim = said.body
    if not isinstance(claim, Receipt):
        raise StatementInvalid(f"a receipt statement is needed here, not a {said.type} statement")
    transfer = await node.store.transfer(claim.transfer)
    if all(delivery.account != said.issuer for delivery in transfer.deliveries):
        raise Forbidden(f"{said.issuer} is not an addressee of this transfer")
    if claim.packet != transfer.packet:
        raise DigestMismatch("the receipt names another packet than its transfer")
    await check_signer(node, said, node.now())
    count_member(node, said.issuer)
    if claim.outcome == "received":
        return await fair.take_receipt(node, transfer, said)
    if transfer.direction is Direction.RECEIVED:
        if transfer.blob is None and (claim.outcome == "accepted" or transfer.ciphertext is None):
            raise Conflict("the packet of this transfer, or its header, has not arrived yet")
        return await _give(node, transfer, said)
    sent = await _sent_digests(node, transfer)
    if set(claim.opened) != sent if claim.outcome == "accepted" else not sent.issuperset(claim.opened):
        raise DigestMismatch("the receipt names other documents than the transfer carried")
    kept = await node.store.add_receipt(transfer.id, said.issuer, _STATES[claim.outcome], said, [])
    reached(Failpoint.RECEIPT_TAKEN)
    return kept


async def _sent_digests(node: Node, transfer: StoredTransfer) -> set[str]:
    digests = set()
    for digest in transfer.documents:
        stored = await node.store.statement(digest)
        assert stored is not None
        digests.add(document_digest(statement.parse(stored.token)))
    return digests
