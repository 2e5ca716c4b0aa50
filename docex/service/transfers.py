"""Transfers: seal documents to other members, deliver the packet to their nodes, take what they send.

A transfer is named by the digest of its statement, so a delivery that is made twice is one transfer. What must still be
done stands in jobs that are written together with the state they belong to (see `docex.service.worker`).
"""

from __future__ import annotations

import asyncio
import io
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, suppress

from docex.core import packet, statement
from docex.core.access import EVERYTHING, Folders
from docex.core.age.streams import Destination
from docex.core.claims import Document, Packet, Transfer
from docex.core.digest import parse_digest
from docex.core.packet import DocumentReader, DocumentSource
from docex.core.requests import Once
from docex.core.state import Delivery, DeliveryState, Direction, StoredDocument, StoredTransfer
from docex.core.statement import Statement
from docex.errors import (
    Conflict,
    Forbidden,
    LimitExceeded,
    NodeUnavailable,
    NotFound,
    StatementInvalid,
    UploadUnderWay,
    UsageError,
)
from docex.failpoints import Failpoint, reached
from docex.service import deposits, jobs
from docex.service import fair as handover
from docex.service.arrivals import PART
from docex.service.node import CLOCK_SKEW, Node, active_member, address_on, check_signer, count_member, recipient_of
from docex.service.streams import AsyncSource, write_blob
from keys import Unwrapper
from storage import BlobReader, StorageError

MAX_ADDRESSEES = 100
UNDER_WAY_WAIT = 1.0
"""Seconds until a packet is brought again whose last upload still counts as under way, as after a cut."""
NOTED_EVERY = 1.0
"""Seconds between two notes of how far a packet is."""
_CHUNK = 1 << 20


async def create(
    node: Node,
    documents: Sequence[str],
    to: Sequence[str],
    *,
    fair: bool = False,
    expires: int | None = None,
    within: Folders = EVERYTHING,
    once: Once | None = None,
) -> StoredTransfer:
    """Seal documents to members and have the packet delivered to each of their nodes.

    Args:
        documents: paths on this node, or digests of documents or of their statements.
        to: CAIP-10 accounts.
        fair: hold the header back until an addressee has signed for the ciphertext (see docs/adr/0005).
        expires: when (seconds since the epoch) deliveries without a receipt are given up; None for the node's default.
        within: the folders that the caller is kept to.
        once: the request, where it is to take effect once.

    Raises:
        NotFound: there is no such document in these folders.
        NotMember: an addressee is not an active member with a valid recipient key.
        Conflict: this node holds no identity, so it can't open what it stores.
        UsageError: no document, no addressee, one of them twice, or this member itself; a time that is past.
    """
    if expires is not None and expires <= node.now():
        raise UsageError("a transfer expires in the future, or not at all")
    if node.identity is None:
        raise Conflict("this node holds no identity: it can't open its documents to seal them for someone else")
    if not to or len(set(to)) != len(to):
        raise UsageError("name at least one addressee, and each only once")
    if len(to) > MAX_ADDRESSEES:
        raise LimitExceeded(f"a transfer has at most {MAX_ADDRESSEES} addressees")
    if node.account in to:
        raise UsageError("this member has its documents already: name others as addressees")
    stored = [await _find(node, reference, within) for reference in documents]
    sources = [await _source(node, document, node.identity) for document in stored]
    now = _date(node, sources)
    keys = await asyncio.gather(*(recipient_of(node, account) for account in to))
    recipients = list(zip(keys, to, strict=True))
    blob = f"transfers/sent/{secrets.token_hex(16)}.age"

    def seal(destination: Destination) -> packet.Sealed:
        return packet.seal(sources, destination, recipients, signer=node.signer, issuer=node.account, now=now)

    sealed = await write_blob(node.blobs, blob, seal)
    reached(Failpoint.TRANSFER_STORED)
    claim = packet_claim(sealed.packet)
    assert sealed.payload_digest is not None  # asked for
    transfer = statement.issue(
        node.signer,
        node.account,
        Transfer(
            sealed.payload_digest,
            sealed.payload_size,
            sealed.packet.digest_text,
            node.account,
            claim.to,
            node.network.notary_account,
            sealed.header_digest,
            fair=True if fair else None,
        ),
        now,
    )
    row = StoredTransfer(
        transfer.digest_text,
        Direction.SENT,
        node.account,
        sealed.payload_digest,
        sealed.payload_size,
        tuple(each.digest_text for each in sealed.documents),
        now,
        blob,
        tuple(Delivery(transfer.digest_text, account, DeliveryState.PENDING, updated=now) for account in to),
        fair,
        expires=expires or _expiry(node, now),
    )
    work = [jobs.delivery(row.id, account) for account in to]
    if row.expires is not None:
        work.append(jobs.expiry(row.id, max(0, row.expires - now)))
    try:
        kept = await node.store.add_transfer(row, [transfer], work, once)
    except Conflict:  # nothing names the packet
        with suppress(StorageError):
            await node.blobs.delete(blob)
        raise
    reached(Failpoint.TRANSFER_KEPT)
    node.wake()
    return kept


def _expiry(node: Node, now: int) -> int | None:
    patience = node.limits.transfer_patience
    return None if patience is None else now + patience


def _date(node: Node, documents: Sequence[DocumentSource]) -> int:
    """Now, but never earlier than the documents are dated: their addressees would reject those, and for good."""
    now = latest = node.now()
    for each in documents:
        assert each.statement is not None  # what is kept here is signed
        if each.statement.issued_at > now + CLOCK_SKEW:
            raise Conflict(f"{each.path!r} is dated in the future: this node's clock was put back; try again later")
        latest = max(latest, each.statement.issued_at)
    return latest


def packet_claim(packet_statement: Statement) -> Packet:
    """The claim of a packet statement."""
    claim = packet_statement.body
    assert isinstance(claim, Packet)
    return claim


async def _find(node: Node, reference: str, within: Folders) -> StoredDocument:
    if reference.startswith("sha256:"):
        found = await node.store.document_by_digest(str(parse_digest(reference)), within)
        if found is None or found.removed is not None:
            raise NotFound(f"there is no document with the digest {reference}")
        return found
    return await deposits.find(node, reference, within=within)


async def _source(node: Node, document: StoredDocument, identity: Unwrapper) -> DocumentSource:
    stored = await node.store.statement(document.statement)
    assert stored is not None  # documents are only kept together with their statements
    loop = asyncio.get_running_loop()

    @contextmanager
    def open_on_thread() -> Iterator[DocumentReader]:
        blob = node.blobs.open(document.blob)
        reader = asyncio.run_coroutine_threadsafe(_enter(blob), loop).result()
        try:
            source = io.BufferedReader(AsyncSource(reader.chunks, loop), _CHUNK)
            stream = packet.open_document(source, [identity], document.entry)
            try:
                yield stream
            finally:
                stream.close()
        finally:
            asyncio.run_coroutine_threadsafe(_leave(blob), loop).result()

    return DocumentSource(
        document.entry,
        document.size,
        open_on_thread,
        document.media_type,
        document.kind,
        statement=statement.parse(stored.token),
    )


async def _enter(blob: AbstractAsyncContextManager[BlobReader]) -> BlobReader:
    return await blob.__aenter__()


async def _leave(blob: AbstractAsyncContextManager[BlobReader]) -> None:
    await blob.__aexit__(None, None, None)


async def deliver(node: Node, transfer_id: str, account: str) -> float | None:
    """Bring a transfer to one addressee's node; doing it again does no harm.

    Returns None once it has the packet, else after how many seconds to go on: the addressee of a fair one must sign
    for the ciphertext first, and that receipt must be anchored; and an upload may be under way already.

    Raises:
        NodeUnavailable: the node can't be reached (try again).
        DocexError: the node, or the Directory, refused.
    """
    transfer = await node.store.transfer(transfer_id)
    delivery = handover.delivery_to(transfer, account)
    if delivery.ciphertext_receipt is None:  # who has signed for a ciphertext gets its header, however late
        if delivery.state is DeliveryState.EXPIRED:
            return None
        if transfer.expires is not None and transfer.expires <= node.now():
            await expire(node, transfer_id)
            return None
    if transfer.fair and await handover.must_wait(node, transfer, account):
        return handover.ANCHOR_WAIT
    token = await _token(node, transfer_id)
    member = await active_member(node, account)
    if not member.endpoint:
        raise NotFound(f"{member.name} has published no endpoint yet")
    if await node.peers.announce(member.endpoint, token):
        reached(Failpoint.DELIVERY_ANNOUNCED)
        try:
            await _send(node, transfer, account, member.endpoint)
        except UploadUnderWay:
            return UNDER_WAY_WAIT
        reached(Failpoint.DELIVERY_SENT)
    if transfer.fair:
        return await handover.release(node, transfer, account, member.endpoint)
    await node.store.set_delivery(transfer_id, account, DeliveryState.DELIVERED, None)
    return None


async def expire(node: Node, transfer_id: str) -> float | None:
    """Give up what has no receipt of a transfer whose time has run out. A receipt that comes later is still taken.

    Returns after how many seconds to look again where it has not run out yet, or a header is still owed.
    """
    expires = (await node.store.transfer(transfer_id)).expires
    if expires is not None and expires > node.now():  # the clock was put back since the job became due
        return expires - node.now()
    await node.store.expire(transfer_id)
    reached(Failpoint.TRANSFER_EXPIRED)
    deliveries = (await node.store.transfer(transfer_id)).deliveries
    return handover.LAST_WAIT if any(each.state is DeliveryState.RECEIVED for each in deliveries) else None


async def _send(node: Node, transfer: StoredTransfer, account: str, endpoint: str) -> None:
    """Send a packet; a large one goes on where it was cut off, at once for as long as it gets further each time."""
    assert transfer.blob is not None  # what was sealed here is here
    start = await handover.header_size(node, transfer) if transfer.fair else 0
    offset = await node.peers.offset(endpoint, transfer.id) if transfer.size > PART else 0
    while True:
        try:
            async with node.blobs.open(transfer.blob, start + offset) as reader:
                chunks = _told(node, transfer.id, account, reader.chunks, offset)
                # Somebody else may have brought more than all of it: without a byte more it is refused and thrown away.
                left = max(0, reader.info.size - start - offset)
                await node.peers.send_packet(endpoint, transfer.id, left, chunks, offset)
            return
        except NodeUnavailable:
            if transfer.size <= PART:
                raise
            before, offset = offset, await node.peers.offset(endpoint, transfer.id)
            if offset <= before:
                raise


async def _told(
    node: Node, transfer_id: str, account: str, chunks: AsyncIterator[bytes], sent: int
) -> AsyncIterator[bytes]:
    """The same chunks; how far they are is noted now and then."""
    noted = time.monotonic()
    async for chunk in chunks:
        yield chunk
        sent += len(chunk)
        if time.monotonic() - noted > NOTED_EVERY:
            await node.store.set_sent(transfer_id, account, sent)
            noted = time.monotonic()


async def announced(node: Node, token: str) -> StoredTransfer:
    """Another member says that it has a packet for this one. A transfer that is known is returned as it stands.

    Raises:
        StatementInvalid, SignatureInvalid: it is not a transfer statement that holds.
        Forbidden: its signer is not an active member, or it is not addressed to this member, or not on this network.
        LimitExceeded: the packet is larger than this node takes.
    """
    said = statement.verify(token)
    claim = said.body
    if not isinstance(claim, Transfer):
        raise StatementInvalid(f"a transfer statement is needed here, not a {said.type} statement")
    if claim.sender != said.issuer:
        raise Forbidden("the transfer is not signed by the sender that it names")
    if all(addressee.account != node.account for addressee in claim.to):
        raise Forbidden(f"the transfer is not addressed to {node.account}")
    if claim.notary != node.network.notary_account:
        raise Forbidden(f"the transfer was made for the Notary {claim.notary}, not {node.network.notary_account}")
    if claim.size > node.limits.packet_size:
        raise LimitExceeded(f"packets of more than {node.limits.packet_size} bytes are not taken")
    address_on(node, said.issuer)
    # The one time that it is checked at and kept with: were the clock put back in between, it would be from the future.
    now = node.now()
    await check_signer(node, said, now, by=now)
    count_member(node, said.issuer)
    await node.store.wake(said.issuer)
    reached(Failpoint.PEER_WOKEN)
    row = StoredTransfer(
        said.digest_text,
        Direction.RECEIVED,
        said.issuer,
        claim.packet,
        claim.size,
        (),
        now,
        None,
        (Delivery(said.digest_text, node.account, DeliveryState.PENDING, updated=now),),
        bool(claim.fair),
    )
    kept = await node.store.add_transfer(row, [said], [])
    reached(Failpoint.ANNOUNCEMENT_KEPT)
    if kept.fair:
        await handover.announced_again(node, kept)
    return kept


async def _token(node: Node, digest: str) -> str:
    stored = await node.store.statement(digest)
    assert stored is not None  # transfers are only kept together with their statements
    return stored.token


def document_digest(document: Statement) -> str:
    """The digest of the document that a document statement is about."""
    claim = document.body
    assert isinstance(claim, Document)
    return claim.digest
