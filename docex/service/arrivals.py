"""Packets on their way in: taken whole or in parts, so that one that was cut off goes on where it stopped.

A packet of more than `PART` bytes is kept part by part as it comes, under names that say where each begins, and made
one blob once the last part is there. Parts are ordinary blobs, so every storage can do it, and each is created once:
however many bring the same packet, the parts make one chain, whose end is the offset to go on from.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog

from docex.core import statement
from docex.core.age import MAX_HEADER_SIZE, open_header, read_header
from docex.core.age.streams import Destination
from docex.core.claims import Transfer
from docex.core.digest import sha256
from docex.core.state import Direction, StoredTransfer
from docex.errors import DigestMismatch, LimitExceeded, NotFound, OffsetMismatch, PacketError, UploadUnderWay
from docex.failpoints import Failpoint, reached
from docex.service import fair, jobs
from docex.service.node import Node
from docex.service.streams import AsyncSource, on_thread, write_blob
from storage import BlobExists, BlobInfo, BlobNotFound

PART: Final = 8 << 20
"""Bytes that are sent again at most after a cut. A header always ends within the first part."""
KEPT: Final = 3 * 86400
"""Seconds after which parts that got no more are removed."""
LEASE: Final = 20.0
"""Seconds that an upload counts as under way without a sign of life from the process that takes it."""
AT_ONCE: Final = 16
"""Uploads that one member may have under way at a time: they hold threads, and nobody is to take them all."""

_FOLDER: Final = "transfers/arriving/"
_RECEIVED: Final = "transfers/received/"
_CHUNK = 1 << 20

log = structlog.get_logger(__name__)


async def progress(node: Node, transfer_id: str) -> tuple[int, bool]:
    """How many bytes of an announced packet are here to go on from, and whether all of it is here and good.

    Raises:
        NotFound: no such transfer was announced.
        UploadUnderWay: it is being brought: what is here says nothing yet about where to go on.
    """
    transfer = await _announced(node, transfer_id)
    if transfer.wanted and await node.store.is_arriving(transfer_id, LEASE):
        raise UploadUnderWay("this packet is on its way already: ask again later")
    parts = await _parts(node, transfer.id)
    return sum(each.size for each in parts), not transfer.wanted


async def receive(node: Node, transfer_id: str, chunks: AsyncIterator[bytes], offset: int = 0) -> StoredTransfer:
    """`take_packet`, as one of few uploads at a time.

    Raises:
        UploadUnderWay: this packet is on its way already, or its sender brings too many at once.
        What `take_packet` raises.
    """
    transfer = await _announced(node, transfer_id)
    if not transfer.wanted:
        return transfer
    async with _under_way(node, transfer):
        reached(Failpoint.ARRIVAL_BEGUN)
        taken = await take_packet(node, transfer_id, chunks, offset)
        reached(Failpoint.ARRIVAL_TAKEN)
        return taken


async def take_packet(node: Node, transfer_id: str, chunks: AsyncIterator[bytes], offset: int = 0) -> StoredTransfer:
    """Store the packet of an announced transfer; nothing is kept unless it is the one that the transfer names.

    Of a fair one that is the payload alone: it is signed for, and its header comes later.

    Args:
        node: who receives it.
        transfer_id: which one it is.
        chunks: all of the packet from ``offset`` on.
        offset: bytes that are here (`progress`).

    Raises:
        NotFound: no such transfer was announced.
        OffsetMismatch: it does not go on where the packet stopped.
        UploadUnderWay: somebody else is bringing it, too.
        PacketError: it is not an age file, or its header does not open with this node's identity.
        DigestMismatch: digest or size are not those of the transfer.
    """
    transfer = await _announced(node, transfer_id)
    if not transfer.wanted:
        return transfer
    in_parts = transfer.size > PART
    if in_parts:
        await _take_parts(node, transfer, chunks, offset)
    elif offset:
        raise OffsetMismatch("nothing of this packet is here: begin at its start")
    else:
        await _store(node, transfer, chunks)
    taken = await _note(node, transfer)
    if in_parts:
        await _remove(node, transfer_id)
        reached(Failpoint.PARTS_CLEARED)
        await node.store.finish(jobs.cleaning(transfer_id, KEPT).key)
    return taken


async def _note(node: Node, transfer: StoredTransfer) -> StoredTransfer:
    if transfer.fair:
        return await fair.sign_for(node, transfer, _blob(transfer))
    reached(Failpoint.PACKET_STORED)
    kept = await node.store.set_packet(transfer.id, _blob(transfer), [jobs.opening(transfer.id)])
    reached(Failpoint.PACKET_KEPT)
    node.wake()
    return kept


async def clean(node: Node, transfer_id: str) -> float | None:
    """Remove the parts of a packet that is here, or of which none has come for long; else the seconds until then."""
    transfer = await node.store.transfer(transfer_id)
    parts = await _parts(node, transfer_id)
    if transfer.wanted and parts:
        left = max(each.modified.timestamp() for each in parts) + KEPT - node.now()
        if left > 0:
            return left
    await _remove(node, transfer_id)
    return None


def transfer_of(path: str) -> str | None:
    """The transfer that a blob is the packet of, or a part of it; None for a blob that is neither."""
    if path.startswith(_RECEIVED):
        return "sha256:" + path.removeprefix(_RECEIVED).removesuffix(".age").removesuffix(".payload")
    return "sha256:" + path.removeprefix(_FOLDER).partition("/")[0] if path.startswith(_FOLDER) else None


def is_part(path: str) -> bool:
    """Whether a blob is a part of a packet that is on its way."""
    return path.startswith(_FOLDER)


def _blob(transfer: StoredTransfer) -> str:
    return fair.ciphertext_blob(transfer.id) if transfer.fair else fair.received_blob(transfer.id)


async def _announced(node: Node, transfer_id: str) -> StoredTransfer:
    transfer = await node.store.transfer(transfer_id)
    if transfer.direction is not Direction.RECEIVED:
        raise NotFound("no such transfer was announced to this node")
    return transfer


@asynccontextmanager
async def _under_way(node: Node, transfer: StoredTransfer) -> AsyncIterator[None]:
    """Count as an upload that is under way, in the database: other processes of this node take packets, too."""
    holder = secrets.token_hex(16)
    # Set off again by each upload: it comes up when there was none for long.
    cleaning = [jobs.cleaning(transfer.id, KEPT)] if transfer.size > PART else []
    if not await node.store.begin_arrival(transfer.id, transfer.peer, holder, LEASE, AT_ONCE, cleaning):
        raise UploadUnderWay(
            "this packet is on its way already, or its sender brings too many at once: try again later"
        )

    async def renew() -> None:
        while True:
            await asyncio.sleep(LEASE / 3)
            try:
                await node.store.keep_arrival(transfer.id, holder, LEASE)
            except Exception as error:  # at worst another upload of this packet begins, and the chain stays one
                log.warning("arrival_not_kept", transfer=transfer.id, error=repr(error))

    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.wait([renewing])
        await node.store.end_arrival(transfer.id, holder)


async def _take_parts(node: Node, transfer: StoredTransfer, chunks: AsyncIterator[bytes], offset: int) -> None:
    end = sum(each.size for each in await _parts(node, transfer.id))
    if offset != end:
        raise OffsetMismatch(f"{end} bytes of this packet are here: go on from there, and not from {offset}")
    source = _Cut(chunks, transfer.size + MAX_HEADER_SIZE - offset)
    try:
        while await source.more():
            path = f"{_folder(transfer.id)}{offset:020}.part"
            size = await node.blobs.put(path, source.part())
            reached(Failpoint.PART_STORED)
            if offset == 0 and not transfer.fair:
                await _check_first(node, transfer, path)
            offset += size
        await _join(node, transfer)
    except BlobExists:
        raise UploadUnderWay("somebody else is bringing this packet, too: try again later") from None
    except (PacketError, DigestMismatch, LimitExceeded):  # it is not the packet: none of it stays
        await _remove(node, transfer.id)
        raise


class _Cut:
    """A stream of bytes, as parts of `PART` bytes each and a shorter one at its end."""

    def __init__(self, chunks: AsyncIterator[bytes], limit: int) -> None:
        self._chunks = chunks
        self._rest = b""
        self._left = limit

    async def more(self) -> bool:
        """Wait for the next bytes; False at the end. Raises LimitExceeded."""
        while not self._rest:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                return False
            self._left -= len(chunk)
            if self._left < 0:
                raise LimitExceeded("this is more than the packet that the transfer names")
            self._rest = chunk
        return True

    async def part(self) -> AsyncIterator[bytes]:
        wanted = PART
        while wanted and await self.more():
            piece, self._rest = self._rest[:wanted], self._rest[wanted:]
            wanted -= len(piece)
            yield piece


def _folder(transfer_id: str) -> str:
    return f"{_FOLDER}{transfer_id.removeprefix('sha256:')}/"


async def _parts(node: Node, transfer_id: str) -> Sequence[BlobInfo]:
    """The parts that are here and follow on each other, from the start."""
    found: list[BlobInfo] = []
    end = 0
    async for info in node.blobs.list(_folder(transfer_id)):
        if info.path != f"{_folder(transfer_id)}{end:020}.part":
            break
        found.append(info)
        end += info.size
    return found


async def _remove(node: Node, transfer_id: str) -> None:
    """Remove what is here of a packet in parts, the last one first: what is left is a chain at every moment."""
    paths = [info.path async for info in node.blobs.list(_folder(transfer_id))]
    for path in reversed(paths):
        with suppress(BlobNotFound):
            await node.blobs.delete(path)
        reached(Failpoint.PART_REMOVED)


async def _check_first(node: Node, transfer: StoredTransfer, path: str) -> None:
    """See that a packet begins with its header, before the rest is waited for."""
    async with node.blobs.open(path, 0, MAX_HEADER_SIZE) as reader:
        start = b"".join([chunk async for chunk in reader])
    digest = await _header_digest(node, transfer)
    await on_thread(lambda: _take_header(node, io.BytesIO(start), digest))


async def _join(node: Node, transfer: StoredTransfer) -> None:
    """Make the packet of its parts."""
    parts = await _parts(node, transfer.id)

    async def chunks() -> AsyncIterator[bytes]:
        for part in parts:
            async with node.blobs.open(part.path) as reader:
                async for chunk in reader:
                    yield chunk

    await _store(node, transfer, chunks())


async def _store(node: Node, transfer: StoredTransfer, chunks: AsyncIterator[bytes]) -> None:
    raw = AsyncSource(chunks, asyncio.get_running_loop())
    await raw.prime()
    source = io.BufferedReader(raw, _CHUNK)
    header = await _header_digest(node, transfer)

    def copy(destination: Destination) -> None:
        if not transfer.fair:
            destination.write(memoryview(_take_header(node, source, header)))
        _copy_payload(source, destination, transfer)

    with suppress(BlobExists):  # stored whole, and checked, by a delivery that was cut off before it was noted
        await write_blob(node.blobs, _blob(transfer), copy, raw)


async def _header_digest(node: Node, transfer: StoredTransfer) -> str | None:
    stored = await node.store.statement(transfer.id)
    assert stored is not None  # transfers are only kept together with their statements
    said = statement.parse(stored.token).body
    assert isinstance(said, Transfer)
    return said.header


def _take_header(node: Node, source: io.BufferedIOBase, digest: str | None) -> bytes:
    header = read_header(source)
    # Whoever knows the transfer could bring the packet under a header that does not open, ahead of its sender, and have
    # it rejected for good, or never wanted again.
    if digest is not None and str(sha256(header.raw)) != digest:
        raise DigestMismatch("this is not the header that the transfer names")
    if node.identity is not None:
        open_header(header, [node.identity])
    return header.raw


def _copy_payload(source: io.BufferedIOBase, destination: Destination, transfer: StoredTransfer) -> None:
    hasher, size = hashlib.sha256(), 0
    while data := source.read(_CHUNK):
        hasher.update(data)
        size += len(data)
        if size > transfer.size:
            break
        destination.write(memoryview(data))
    if size != transfer.size or "sha256:" + hasher.hexdigest() != transfer.packet:
        raise DigestMismatch("this is not the packet that the transfer names: its size or digest differs")
