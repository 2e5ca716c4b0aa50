"""Packets that come in parts: what was cut off goes on, only the announced packet stays, and few come at once."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from docex.core.state import DeliveryState, StoredTransfer
from docex.errors import (
    DigestMismatch,
    DocexError,
    HeaderInvalid,
    LimitExceeded,
    NodeUnavailable,
    NotFound,
    OffsetMismatch,
    UploadUnderWay,
)
from docex.service import arrivals, transfers
from docex.service.arrivals import AT_ONCE, KEPT, progress, receive, take_packet
from docex.service.node import Node
from docex.service.worker import work_on
from tests.fixtures.paper_nodes import NewNode, Paper, broken, deposited, jobs_due, pieces
from tests.fixtures.stores import DATA, fetched, paths

PART = 64 << 10


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (arrivals, transfers):
        monkeypatch.setattr(module, "PART", PART)


@pytest.fixture
def mine(new_node: NewNode) -> Node:
    return new_node("Mine")


@pytest.fixture
def maker(new_node: NewNode) -> Node:
    return new_node("Maker")


async def announced(mine: Node, maker: Node, size: int = 10 * PART) -> tuple[StoredTransfer, bytes]:
    """A transfer that the maker's node knows of, and its packet."""
    await deposited(mine, f"{random.random()}", DATA[:size])
    documents = await mine.store.documents("", "", 100)
    transfer = await transfers.create(mine, [documents[-1].path], [maker.account])
    stored = await mine.store.statement(transfer.id)
    assert stored is not None
    assert transfer.blob is not None
    await transfers.announced(maker, stored.token)
    return transfer, await fetched(mine.blobs, transfer.blob)


async def cut(maker: Node, transfer: StoredTransfer, data: bytes, start: int, end: int) -> int:
    """Bring a packet from ``start`` on and break off at ``end``; how much of it is there then."""
    with pytest.raises(ConnectionResetError):
        await receive(maker, transfer.id, broken(data[start:end]), start)
    offset, complete = await progress(maker, transfer.id)
    assert not complete
    return offset


@pytest.mark.parametrize("seed", range(6))
async def test_a_packet_that_is_cut_anywhere_goes_on_and_nothing_but_the_part_in_flight_comes_again(
    mine: Node, maker: Node, seed: int
) -> None:
    transfer, data = await announced(mine, maker)
    random_ = random.Random(seed)
    offset = again = 0
    for end in sorted(random_.randrange(len(data)) for _ in range(5)):
        if end > offset:
            reached = await cut(maker, transfer, data, offset, end)
            assert reached == end // PART * PART
            again, offset = max(again, end - reached), reached
    taken = await receive(maker, transfer.id, pieces(data[offset:]), offset)
    assert again < PART
    assert taken.deliveries[0].state is DeliveryState.DELIVERED
    assert taken.blob is not None
    assert await fetched(maker.blobs, taken.blob) == data
    assert await paths(maker.blobs) == [taken.blob]
    assert await progress(maker, transfer.id) == (0, True)


async def test_it_goes_on_only_from_where_it_stopped(mine: Node, maker: Node) -> None:
    transfer, data = await announced(mine, maker)
    offset = await cut(maker, transfer, data, 0, 3 * PART + 5)
    for wrong in (0, PART, offset - 1, offset + 1, len(data)):
        with pytest.raises(OffsetMismatch, match=f"^{offset} bytes of this packet are here: .* not from {wrong}$"):
            await receive(maker, transfer.id, pieces(data[wrong:]), wrong)
    assert await progress(maker, transfer.id) == (offset, False)


async def test_a_small_packet_comes_in_one_piece(mine: Node, maker: Node) -> None:
    transfer, data = await announced(mine, maker, 100)
    with pytest.raises(ConnectionResetError):
        await receive(maker, transfer.id, broken(data[:-1]))
    assert await progress(maker, transfer.id) == (0, False)
    with pytest.raises(OffsetMismatch, match="begin at its start"):
        await receive(maker, transfer.id, pieces(data[1:]), 1)
    assert (await receive(maker, transfer.id, pieces(data))).blob is not None


async def test_a_packet_that_is_all_here_and_was_not_put_together_needs_no_byte_more(mine: Node, maker: Node) -> None:
    """A crash between the last part and the packet, or between the packet and its note."""
    transfer, data = await announced(mine, maker)
    for start in range(0, len(data), PART):
        name = f"transfers/arriving/{transfer.id[7:]}/{start:020}.part"
        await maker.blobs.put(name, pieces(data[start : start + PART]))
    assert await progress(maker, transfer.id) == (len(data), False)
    await maker.blobs.put(f"transfers/received/{transfer.id[7:]}.age", pieces(data))
    taken = await receive(maker, transfer.id, pieces(b""), len(data))
    assert await paths(maker.blobs) == [taken.blob]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda data: b"not age at all\n" + data, HeaderInvalid),
        (lambda data: data.replace(b"\n--- ", b"\n-> x\n\n--- ", 1), DigestMismatch),
        (lambda data: data[:-1], DigestMismatch),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), DigestMismatch),
        (lambda data: data[: 2 * PART] + b"x" + data[2 * PART :], DigestMismatch),
        (lambda data: data + bytes(3 << 20), LimitExceeded),
    ],
)
async def test_what_is_not_the_packet_is_refused_and_no_part_of_it_stays(
    mine: Node, maker: Node, change: object, error: type[DocexError]
) -> None:
    transfer, data = await announced(mine, maker)
    assert callable(change)
    with pytest.raises(error):
        await receive(maker, transfer.id, pieces(change(data)))
    assert await paths(maker.blobs) == []
    assert (await receive(maker, transfer.id, pieces(data))).blob is not None


async def test_a_stranger_s_part_costs_the_sender_one_more_try_and_no_more(mine: Node, maker: Node) -> None:
    transfer, data = await announced(mine, maker)
    offset = await cut(maker, transfer, data, 0, PART)
    assert offset == PART
    with pytest.raises(ConnectionResetError):
        await receive(maker, transfer.id, broken(bytes(len(data) + PART)), offset)
    await expect_delivered(mine, maker, transfer)


async def expect_delivered(mine: Node, maker: Node, transfer: StoredTransfer) -> None:
    with pytest.raises(DigestMismatch):
        await transfers.deliver(mine, transfer.id, maker.account)
    await transfers.deliver(mine, transfer.id, maker.account)
    assert (await maker.store.transfer(transfer.id)).blob is not None


async def test_of_uploads_of_one_packet_one_is_let_in(mine: Node, maker: Node) -> None:
    transfer, data = await announced(mine, maker)
    waiting = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield data[:PART]
        await waiting.wait()
        yield data[PART:]

    first = asyncio.create_task(receive(maker, transfer.id, slow()))
    while not await paths(maker.blobs):
        await asyncio.sleep(0.01)
    for second in (progress(maker, transfer.id), receive(maker, transfer.id, pieces(data[PART:]), PART)):
        with pytest.raises(UploadUnderWay, match="on its way already"):
            await second
    waiting.set()
    assert (await first).blob is not None
    assert (await receive(maker, transfer.id, pieces(b""))).blob is not None  # known: nothing is read


async def test_two_that_bring_it_past_the_lease_make_one_chain(mine: Node, maker: Node) -> None:
    """The lease ran out while its process was stopped, and another began: a part is created once."""
    transfer, data = await announced(mine, maker)
    both = asyncio.Barrier(2)

    async def together() -> AsyncIterator[bytes]:
        await both.wait()
        yield data

    outcomes = await asyncio.gather(
        *(take_packet(maker, transfer.id, together()) for _ in range(2)), return_exceptions=True
    )
    assert len([each for each in outcomes if isinstance(each, UploadUnderWay)]) <= 1
    assert (await maker.store.transfer(transfer.id)).blob is not None


async def test_a_sender_brings_a_few_at_a_time(mine: Node, maker: Node) -> None:
    transfer, data = await announced(mine, maker)
    others = [(await announced(mine, maker, 10))[0] for _ in range(AT_ONCE)]
    for other in others:
        assert await maker.store.begin_arrival(other.id, mine.account, "x", arrivals.LEASE, AT_ONCE, [])
    with pytest.raises(UploadUnderWay, match="brings too many at once"):
        await receive(maker, transfer.id, pieces(data))
    await maker.store.end_arrival(others[0].id, "x")
    assert (await receive(maker, transfer.id, pieces(data))).blob is not None


async def test_an_upload_keeps_its_lease_for_as_long_as_it_takes(
    mine: Node, maker: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "LEASE", 0.05)
    transfer, data = await announced(mine, maker)
    kept = 0
    told = asyncio.Event()
    original = type(maker.store).keep_arrival

    async def keep(*arguments: object) -> None:
        nonlocal kept
        kept += 1
        if kept == 1:
            raise ConnectionError("the database is away")
        await original(*arguments)  # type: ignore[arg-type]
        told.set()

    monkeypatch.setattr(type(maker.store), "keep_arrival", keep)

    async def slow() -> AsyncIterator[bytes]:
        await told.wait()
        yield data

    assert (await receive(maker, transfer.id, slow())).blob is not None
    assert kept >= 2


async def test_what_was_not_announced_or_was_sent_has_no_progress(mine: Node, maker: Node) -> None:
    transfer, _ = await announced(mine, maker)
    with pytest.raises(NotFound, match="no such transfer was announced"):
        await progress(mine, transfer.id)
    with pytest.raises(NotFound):
        await progress(maker, "sha256:" + "0" * 64)


# --- sending ---------------------------------------------------------------------------------------------------------


async def test_a_delivery_goes_on_at_once_while_it_gets_further(mine: Node, maker: Node, paper: Paper) -> None:
    transfer, data = await announced(mine, maker)
    paper.wire.ends = [PART + 1, 4 * PART, 4 * PART + 7]
    with pytest.raises(NodeUnavailable):  # the third got no further
        await transfers.deliver(mine, transfer.id, maker.account)
    calls = [call for call, _ in paper.wire.calls]
    assert calls == ["announce", "offset", *["send_packet", "offset"] * 3]
    await transfers.deliver(mine, transfer.id, maker.account)
    arrived = await maker.store.transfer(transfer.id)
    assert arrived.blob is not None
    assert await fetched(maker.blobs, arrived.blob) == data


# --- cleaning --------------------------------------------------------------------------------------------------------


async def test_parts_that_get_no_more_are_removed_after_some_days(mine: Node, maker: Node, paper: Paper) -> None:
    paper.clock.time = int(datetime.now(UTC).timestamp())  # of the storage, too
    transfer, data = await announced(mine, maker)
    await cut(maker, transfer, data, 0, 3 * PART)
    assert [job.kind for job in await jobs_due(maker.store, paper.clock() + KEPT - 1)] == []
    (job,) = await jobs_due(maker.store, paper.clock() + KEPT)
    left = await arrivals.clean(maker, transfer.id)
    assert left is not None
    assert KEPT - 60 < left < KEPT + 60
    assert await progress(maker, transfer.id) == (3 * PART, False)
    paper.clock.time += KEPT + 60
    await work_on(maker, job, paper.clock)
    assert await progress(maker, transfer.id) == (0, False)
    assert (await maker.store.counts())["jobs"] == 0
    assert (await receive(maker, transfer.id, pieces(data))).blob is not None


async def test_parts_of_a_packet_that_is_here_are_removed(mine: Node, maker: Node) -> None:
    """A crash between the note and the removal."""
    transfer, data = await announced(mine, maker)
    taken = await receive(maker, transfer.id, pieces(data))
    await maker.blobs.put(f"transfers/arriving/{transfer.id[7:]}/{0:020}.part", pieces(data[:PART]))
    assert await arrivals.clean(maker, transfer.id) is None
    assert await paths(maker.blobs) == [taken.blob]
