"""Part of `docex.service.fsck`: documents, and the packets that they and the transfers name."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Final

from docex.core import statement
from docex.core.age import MAX_HEADER_SIZE, read_header
from docex.core.claims import Document
from docex.core.state import PacketRecord, StoredDocument
from docex.errors import DocexError, HeaderInvalid
from docex.service import jobs, uploads
from docex.service.arrivals import KEPT, is_part, transfer_of
from docex.service.findings import Code, Findings
from docex.service.ports import Audit, AuditStore
from storage import BlobInfo, BlobNotFound, BlobStore

PAGE: Final = 1000
GRACE: Final = 3600
"""Seconds after which a packet that no row names is an orphan, and not one that is about to be committed."""
PREFIXES: Final = ("documents", "transfers", uploads.PREFIX)
_AT_ONCE = 16
_USUAL_HEADER = 1 << 16


async def check_documents(store: Audit, findings: Findings) -> None:
    """See that every version has its statement, and every path one newest version."""
    last = 0
    while page := await store.documents_from(last, PAGE):
        for number, document, token in page:
            last = number
            if (wrong := _contradiction(document, token)) is not None:
                await findings.add(Code.DOCUMENT_STATEMENT, f"{document.path} version {document.version}", wrong)
        findings.saw("documents", len(page))
    after = ""
    while paths := await store.paths_misnumbered(after, PAGE):
        for path in paths:
            message = "not exactly the last version is marked as the newest"
            await findings.add(Code.NEWEST_VERSION, path, message, partial(store.mark_newest, path))
        after = paths[-1]


def _contradiction(document: StoredDocument, token: str | None) -> str | None:
    if token is None:
        return f"its statement {document.statement} is not kept"
    try:
        said = statement.parse(token)
    except DocexError as error:
        return f"its statement can't be read: {error}"
    claim = said.body
    if not isinstance(claim, Document):
        return f"its statement is a {said.type} statement"
    if (claim.digest, claim.size, claim.path, said.issuer) != (
        document.digest,
        document.size,
        document.entry,
        document.issuer,
    ):
        return "its statement is about other content, or by another issuer"
    return None


async def check_packets(
    store: AuditStore, blobs: BlobStore, findings: Findings, *, deep: bool, now: Callable[[], int]
) -> None:
    """See that every packet belongs to something and is as recorded, and that none is missing.

    The listing comes first: it costs one request for many packets. Only where it shows fewer packets than the rows name
    is each of those asked for by itself.
    """
    named = 0
    for prefix in PREFIXES:
        async for page in _pages(blobs.list(prefix)):
            records = await store.packets_named([each.path for each in page])
            for info in page:
                if (record := records.get(info.path)) is not None:
                    named += await _check_packet(blobs, findings, info, record, deep=deep)
            strays = [info for info in page if info.path not in records]
            await _check_strays(store, blobs, findings, strays, now())
            findings.saw("packets", len(page))
    if named != await store.count_packets():
        await _find_missing(store, blobs, findings)


async def _pages(listing: AsyncIterator[BlobInfo]) -> AsyncIterator[list[BlobInfo]]:
    page: list[BlobInfo] = []
    async for info in listing:
        page.append(info)
        if len(page) == PAGE:
            yield page
            page = []
    if page:
        yield page


async def _check_packet(
    blobs: BlobStore, findings: Findings, info: BlobInfo, record: PacketRecord, *, deep: bool
) -> bool:
    """Check one packet against what is recorded of it; False when it was removed since it was listed."""
    if record.size is not None and info.size != record.size:
        message = f"the packet has {info.size} bytes, and {record.size} are recorded"
        await findings.add(Code.PACKET_SIZE, info.path, message)
        return True
    if not deep and (record.payload_size is None or record.headless):
        return True
    try:
        header, digest = await _measure(blobs, info, whole=deep, headless=record.headless)
    except HeaderInvalid as error:
        await findings.add(Code.PACKET_HEADER, info.path, str(error))
    except BlobNotFound:
        return False
    else:
        if record.payload_size is not None and info.size - header != record.payload_size:
            message = f"the payload has {info.size - header} bytes, and {record.payload_size} are recorded"
            await findings.add(Code.PACKET_SIZE, info.path, message)
        elif deep and record.payload is not None and digest != record.payload:
            message = f"the payload's digest is {digest}, and {record.payload} is recorded"
            await findings.add(Code.PACKET_DIGEST, info.path, message)
    return True


async def _measure(blobs: BlobStore, info: BlobInfo, *, whole: bool, headless: bool) -> tuple[int, str]:
    """The bytes of a packet's header and, with ``whole``, the digest of its payload. Raises HeaderInvalid."""
    header = 0 if headless else await _header_size(blobs, info)
    hasher = hashlib.sha256()
    if whole:
        async with blobs.open(info.path, header) as reader:
            async for chunk in reader:
                hasher.update(chunk)
    return header, "sha256:" + hasher.hexdigest()


async def _header_size(blobs: BlobStore, info: BlobInfo) -> int:
    start = await _read(blobs, info.path, min(_USUAL_HEADER, info.size))
    try:
        return len(read_header(io.BytesIO(start)).raw)
    except HeaderInvalid:
        if info.size <= _USUAL_HEADER:
            raise
        return len(read_header(io.BytesIO(await _read(blobs, info.path, MAX_HEADER_SIZE))).raw)


async def _read(blobs: BlobStore, path: str, length: int) -> bytes:
    async with blobs.open(path, 0, length) as reader:
        return b"".join([chunk async for chunk in reader])


async def _check_strays(
    store: AuditStore, blobs: BlobStore, findings: Findings, strays: Sequence[BlobInfo], now: int
) -> None:
    """Packets that no row names: arriving, just stored, or left behind."""
    transfers = {info.path: transfer_of(info.path) for info in strays}
    arriving_parts = [each for path, each in transfers.items() if each is not None and is_part(path)]
    await _check_cleaning(store, findings, arriving_parts)
    # A delivery that was cut off, before its end or before it was noted: the next one takes over what is here.
    arriving = await store.arriving(list({each for each in transfers.values() if each is not None}))
    for info in strays:
        if transfers[info.path] in arriving:
            findings.counts["packets_arriving"] += 1
        elif now - info.modified.timestamp() <= GRACE:
            findings.counts["packets_just_stored"] += 1
        else:
            message = f"nothing names this packet of {info.size} bytes, stored {info.modified:%Y-%m-%d %H:%M:%S} UTC"
            await findings.add(Code.ORPHAN, info.path, message, partial(_remove, store, blobs, info.path))


async def _check_cleaning(store: AuditStore, findings: Findings, transfers: Sequence[str]) -> None:
    """See that parts of which no more come will be removed. Jobs first: they end after the packet is here."""
    wanted = {transfer: jobs.cleaning(transfer, KEPT) for transfer in transfers}
    there = await store.jobs_among([job.key for job in wanted.values()])
    for transfer in await store.arriving(list(wanted)):
        if wanted[transfer].key not in there:
            mend = partial(store.add_jobs, [wanted[transfer]])
            await findings.add(Code.STUCK, f"transfer {transfer}", "no job removes its parts if no more come", mend)


async def _remove(store: AuditStore, blobs: BlobStore, path: str) -> None:
    if not await store.packets_named([path]):  # asked again: nothing that a row names is ever removed
        await blobs.delete(path)


async def _find_missing(store: AuditStore, blobs: BlobStore, findings: Findings) -> None:
    last = 0
    while page := await store.documents_from(last, PAGE):
        last = page[-1][0]
        wanted = [(document.blob, f"{document.path} version {document.version}") for _, document, _ in page]
        await _ask_for(blobs, findings, wanted)
    before = None
    while transfers := await store.transfers(None, before, PAGE):
        before = transfers[-1].created, transfers[-1].id
        named = [(blob, f"transfer {each.id}") for each in transfers for blob in (each.blob, each.ciphertext) if blob]
        await _ask_for(blobs, findings, named)


async def _ask_for(blobs: BlobStore, findings: Findings, wanted: Sequence[tuple[str, str]]) -> None:
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        there = await asyncio.gather(*(_is_there(blobs, blob) for blob, _ in some))
        for (blob, subject), found in zip(some, there, strict=True):
            if not found:
                await findings.add(Code.PACKET_MISSING, subject, f"its packet {blob} is not stored")


async def _is_there(blobs: BlobStore, blob: str) -> bool:
    try:
        await blobs.stat(blob)
    except BlobNotFound:
        return False
    return True
