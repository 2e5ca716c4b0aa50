"""A packet that comes in parts, on every storage: parts, their order and what becomes of them are the storage's."""

import pytest

from docex.service import arrivals, transfers
from docex.service.arrivals import progress, receive
from storage import BlobStore
from tests.fixtures.paper_nodes import NewNode, broken, pieces
from tests.fixtures.stores import KI, fetched, paths
from tests.unit.service.test_arrivals import announced, cut

PART = 256 * KI


async def test_a_packet_that_is_cut_goes_on_where_it_stopped(
    new_node: NewNode, store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (arrivals, transfers):
        monkeypatch.setattr(module, "PART", PART)
    mine, maker = new_node("Mine"), new_node("Maker", blobs=store)
    transfer, data = await announced(mine, maker, 5 * PART)
    offset = 0
    for end in (PART + 5, 3 * PART - 1, 4 * PART):
        offset = await cut(maker, transfer, data, offset, end)
        assert offset == end // PART * PART
    with pytest.raises(ConnectionResetError):  # nothing of a part that is not whole stays
        await receive(maker, transfer.id, broken(data[offset : offset + 10]), offset)
    taken = await receive(maker, transfer.id, pieces(data[offset:]), offset)
    assert taken.blob is not None
    assert await fetched(store, taken.blob) == data
    assert await paths(store) == [taken.blob]
    assert await progress(maker, transfer.id) == (0, True)
