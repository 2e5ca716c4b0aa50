"""The Azure backend against a real Azurite: what the network and other writers may do to it."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobBlock
from azure.storage.blob.aio import ContainerClient

from storage import BlobExists, BlobNotFound, BlobStore, StorageError, StorageUnavailable
from storage.azure import AzureStore, Patience
from tests.fixtures.azurite import ACCOUNT, Azurite, connection_string
from tests.fixtures.proxy import Fault, Proxy, running_proxy
from tests.fixtures.stores import DATA, MI, fetched, paths, source

HASTY = Patience(connect=2, read=0.4, retries=0)
SIZES = [10, 9 * MI]


@pytest.fixture
async def proxy(azurite: Azurite) -> AsyncIterator[Proxy]:
    async with running_proxy(f"http://127.0.0.1:{azurite.port}") as running:
        yield running


@pytest.fixture
def container() -> str:
    return f"test-{uuid.uuid4()}"


@pytest.fixture
async def direct(azurite: Azurite, container: str) -> AsyncIterator[BlobStore]:
    store = AzureStore.from_connection_string(azurite.connection_string, container)
    await store.check()
    yield store
    await store.close()


def settings(proxy: Proxy) -> str:
    return connection_string(f"{proxy.url}/{ACCOUNT}")


@pytest.fixture
async def patient(proxy: Proxy, direct: BlobStore, container: str) -> AsyncIterator[BlobStore]:
    patience = Patience(read=5, retries=1, pause=0)
    store = AzureStore.from_connection_string(settings(proxy), container, patience)
    yield store
    await store.close()


@pytest.fixture
async def hasty(proxy: Proxy, direct: BlobStore, container: str) -> AsyncIterator[BlobStore]:
    store = AzureStore.from_connection_string(settings(proxy), container, HASTY)
    yield store
    await store.close()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fault", [Fault.CUT, Fault.BUSY, Fault.LOSE_ANSWER, Fault.BUSY_BUT_DONE])
async def test_a_fault_that_passes_is_not_noticed(
    patient: BlobStore, proxy: Proxy, direct: BlobStore, fault: Fault, size: int
) -> None:
    proxy.fail(fault)  # the first block, or the only request
    assert await patient.put("a/first", source(DATA[:size])) == size
    proxy.fail(fault, query="comp=blocklist" if size > MI else "")
    assert await patient.put("a/last", source(DATA[:size])) == size
    for path in ("a/first", "a/last"):
        assert await fetched(direct, path) == DATA[:size]
    proxy.fail(fault, method="GET", query="")
    assert await fetched(patient, "a/first") == DATA[:size]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fault", [Fault.CUT, Fault.BUSY, Fault.LOSE_ANSWER, Fault.BUSY_BUT_DONE])
async def test_a_fault_that_stays_fails_the_put_and_leaves_nothing(
    hasty: BlobStore, proxy: Proxy, direct: BlobStore, fault: Fault, size: int
) -> None:
    for query in ("", "comp=blocklist" if size > MI else ""):
        proxy.fail(fault, 99, query=query)
        with pytest.raises(StorageUnavailable) as caught:
            await hasty.put("a/blob", source(DATA[:size]))
        assert caught.value.code == "storage_unavailable"
        assert await paths(direct) == []


async def test_a_service_that_hangs_is_given_up(hasty: BlobStore, proxy: Proxy, direct: BlobStore) -> None:
    await direct.put("blob", source(b"content"))
    for method, call in (
        ("HEAD", hasty.stat("blob")),
        ("GET", fetched(hasty, "blob")),
        ("GET", paths(hasty)),
        ("GET", hasty.check()),
        ("PUT", hasty.put("other", source(b"content"))),
        ("DELETE", hasty.delete("blob")),
    ):
        proxy.fail(Fault.HOLD_ANSWER, method=method)
        with pytest.raises(StorageUnavailable):
            await asyncio.wait_for(call, 60)


async def test_a_service_that_is_not_there_is_unavailable(container: str) -> None:
    nobody = connection_string(f"http://127.0.0.1:1/{ACCOUNT}")
    store = AzureStore.from_connection_string(nobody, container, HASTY)
    with pytest.raises(StorageUnavailable, match="the service did not answer"):
        await store.check()
    with pytest.raises(StorageUnavailable):
        await store.put("blob", source(b"content"))
    await store.close()


async def test_an_answer_of_another_kind_is_an_error(hasty: BlobStore, proxy: Proxy) -> None:
    proxy.fail(Fault.BAD)
    with pytest.raises(StorageError, match=r"^'blob': the service answered 400$") as caught:
        await hasty.put("blob", source(b"content"))
    assert caught.value.code == "storage_error"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("cancels", [1, 3])
async def test_a_put_cancelled_while_the_service_publishes_leaves_nothing(
    patient: BlobStore, proxy: Proxy, direct: BlobStore, size: int, cancels: int
) -> None:
    proxy.fail(Fault.HOLD_ANSWER, query="comp=blocklist" if size > MI else "")
    put = asyncio.create_task(patient.put("blob", source(DATA[:size])))
    await asyncio.wait_for(proxy.held.wait(), 10)
    assert await paths(direct) == ["blob"]  # the service has done its part
    for _ in range(cancels):
        put.cancel()
        await asyncio.sleep(0.01)
    assert not put.done()
    proxy.release.set()
    with pytest.raises(asyncio.CancelledError):
        await put
    assert await paths(direct) == []


@pytest.mark.parametrize("size", SIZES)
async def test_a_put_cancelled_as_another_writer_wins_spares_that_one(
    patient: BlobStore, proxy: Proxy, direct: BlobStore, size: int
) -> None:
    async def overtaken() -> AsyncIterator[bytes]:
        yield DATA[:size]
        await direct.put("blob", source(b"the winner's"))

    proxy.fail(Fault.HOLD_ANSWER, query="comp=blocklist" if size > MI else "")
    put = asyncio.create_task(patient.put("blob", overtaken()))
    await asyncio.wait_for(proxy.held.wait(), 10)
    put.cancel()
    proxy.release.set()
    with suppress(BlobExists, asyncio.CancelledError):
        await put
    assert await fetched(direct, "blob") == b"the winner's"


@pytest.mark.parametrize("size", SIZES)
async def test_a_put_that_fails_as_another_writer_wins_spares_that_one(
    hasty: BlobStore, proxy: Proxy, direct: BlobStore, size: int
) -> None:
    async def overtaken() -> AsyncIterator[bytes]:
        yield DATA[:size]
        await direct.put("blob", source(b"the winner's"))

    proxy.fail(Fault.BUSY, query="comp=blocklist" if size > MI else "")
    with pytest.raises(StorageUnavailable):
        await hasty.put("blob", overtaken())
    assert await fetched(direct, "blob") == b"the winner's"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("other", SIZES)
async def test_a_writer_that_is_overtaken_is_told_so(
    direct: BlobStore, patient: BlobStore, size: int, other: int
) -> None:
    async def overtaken() -> AsyncIterator[bytes]:
        yield DATA[:size]
        await patient.put("blob", source(DATA[:other][::-1]))

    with pytest.raises(BlobExists):
        await direct.put("blob", overtaken())
    assert await fetched(direct, "blob") == DATA[:other][::-1]


async def staged(azurite: Azurite, container: str) -> None:
    """Wait until the first block of a put is in the service: the next is held back."""
    async with (
        ContainerClient.from_connection_string(azurite.connection_string, container) as client,
        asyncio.timeout(60),
    ):
        blocks: list[BlobBlock] = []
        while not blocks:
            with suppress(ResourceNotFoundError):
                _, blocks = await client.get_blob_client("blob").get_block_list("uncommitted")
            await asyncio.sleep(0.02)


async def test_blocks_dropped_by_a_writer_that_came_and_went_can_be_sent_again(
    direct: BlobStore, patient: BlobStore, azurite: Azurite, container: str
) -> None:
    overtaken = asyncio.Event()

    async def disturbed() -> AsyncIterator[bytes]:
        yield DATA
        await staged(azurite, container)
        assert await patient.put("blob", source(b"short-lived")) == 11
        await patient.delete("blob")
        overtaken.set()

    with pytest.raises(StorageUnavailable, match="another writer came and went"):
        await direct.put("blob", disturbed())
    assert overtaken.is_set()
    assert await direct.put("blob", source(DATA)) == len(DATA)


async def test_two_processes_may_create_the_container(azurite: Azurite, container: str) -> None:
    stores = [AzureStore.from_connection_string(azurite.connection_string, container) for _ in range(4)]
    await asyncio.gather(stores[0].check(), *(s.put("a", source(b"x")) for s in stores[1:2]))
    await asyncio.gather(*(s.check() for s in stores))
    assert await paths(stores[3]) == ["a"]
    await asyncio.gather(*(s.close() for s in stores))


async def test_foreign_names_are_passed_over_with_a_warning(
    direct: BlobStore, azurite: Azurite, container: str, caplog: pytest.LogCaptureFixture
) -> None:
    await direct.put("a/b", source(b"content"))
    async with ContainerClient.from_connection_string(azurite.connection_string, container) as client:
        for name in ("a//b", "u\u0308", ".incoming/x"):
            await client.upload_blob(name, b"foreign")
    assert await paths(direct) == ["a/b"]
    assert "passed over 3 entries whose names are no valid paths" in caplog.text


async def test_a_blob_deleted_while_read_is_gone(direct: BlobStore) -> None:
    await direct.put("blob", source(DATA))
    async with direct.open("blob") as reader:
        await anext(reader.chunks)
        await direct.delete("blob")
        with pytest.raises(BlobNotFound):
            _ = [chunk async for chunk in reader]


@pytest.mark.parametrize("size", [0, 10])
async def test_blocks_of_a_put_that_failed_are_in_nobodys_way(
    direct: BlobStore, azurite: Azurite, container: str, size: int
) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield DATA
        await staged(azurite, container)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await direct.put("blob", failing())
    assert await direct.put("blob", source(DATA[:size])) == size
    assert await fetched(direct, "blob") == DATA[:size]
