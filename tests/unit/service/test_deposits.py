"""Deposits: streamed, signed, encrypted and durable before they are acknowledged; read back with digests checked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from docex.core import statement
from docex.core.claims import Document
from docex.core.names import MAX_COMPONENT_BYTES
from docex.errors import (
    Conflict,
    DigestMismatch,
    LimitExceeded,
    NameInvalid,
    NotFound,
    PayloadInvalid,
    StatementInvalid,
    UsageError,
)
from docex.service import deposits
from docex.service.node import Limits, Node
from storage.paths import check_path
from tests.fixtures.paper_nodes import NewNode, Paper, deposited, pieces, whole
from tests.fixtures.statements import digest_of
from tests.fixtures.stores import DATA, fetched, paths


@pytest.fixture
def node(new_node: NewNode) -> Node:
    return new_node("Mine")


async def kept(node: Node) -> tuple[list[str], int, int]:
    """What a refused deposit must not change: blobs, documents, statements."""
    counts = await node.store.counts()
    return await paths(node.blobs), counts["documents"], counts["statements"]


@pytest.mark.parametrize("size", [0, 1, 100_000, (1 << 20) - 1, 1 << 20, 5_000_000])
async def test_a_deposit_comes_back(node: Node, size: int) -> None:
    stored = await deposited(node, "quality/lot 7.bin", DATA[:size])
    assert (stored.path, stored.version, stored.size, stored.entry) == ("quality/lot 7.bin", 1, size, stored.path)
    assert await whole(deposits.read(node, stored)) == DATA[:size]


async def test_a_deposit_is_signed_by_the_member(node: Node, paper: Paper) -> None:
    stored = await deposited(node, "quality/cert.pdf", b"content", media_type="application/pdf", kind="quality")
    kept = await node.store.statement(stored.statement)
    assert kept is not None
    said = statement.verify(kept.token)
    expected = Document(digest_of("content"), 7, "cert.pdf", "application/pdf", "quality", "quality")
    assert (said.body, said.issuer, said.issued_at, said.kid) == (
        expected,
        node.account,
        paper.clock(),
        node.signer.kid,
    )
    assert (stored.digest, stored.media_type, stored.kind) == (expected.digest, "application/pdf", "quality")


async def test_what_is_stored_is_encrypted_and_keeps_the_folder(node: Node) -> None:
    content = b"a secret that must not be found" * 100
    stored = await deposited(node, "quality/cert.pdf", content)
    assert stored.blob.startswith("documents/quality/cert.pdf/")
    data = await fetched(node.blobs, stored.blob)
    assert data.startswith(b"age-encryption.org/v1\n-> mlkem768x25519 ")
    assert b"secret" not in data
    assert b"cert.pdf" not in data


async def test_every_version_can_be_read(node: Node) -> None:
    for n in range(3):
        assert (await deposited(node, "a", f"version {n}".encode())).version == n + 1
    for n in range(3):
        found = await deposits.find(node, "a", n + 1)
        assert await whole(deposits.read(node, found)) == f"version {n}".encode()
    assert (await deposits.find(node, "a")).version == 3
    assert len(await paths(node.blobs)) == 3


async def test_a_document_and_a_folder_of_one_name_live_side_by_side(node: Node) -> None:
    first = await deposited(node, "a", b"document")
    second = await deposited(node, "a/b", b"below")
    assert await whole(deposits.read(node, first)) == b"document"
    assert await whole(deposits.read(node, second)) == b"below"
    assert [each.path for each in await deposits.documents(node, "a", "", 10)] == ["a/b"]


@pytest.mark.parametrize("size", [5, 9])
async def test_other_than_the_announced_size_is_refused(node: Node, size: int) -> None:
    with pytest.raises(DigestMismatch, match="size of"):
        await deposits.deposit(node, "a", size, pieces(b"content"))
    assert await kept(node) == ([], 0, 0)


async def test_more_than_the_node_takes_is_refused_before_the_first_byte(node: Node) -> None:
    async def unread() -> AsyncIterator[bytes]:
        pytest.fail("the body was read")
        yield b""

    small = replace(node, limits=Limits(document_size=6))
    with pytest.raises(LimitExceeded, match="more than 6 bytes"):
        await deposits.deposit(small, "a", 7, unread())
    await deposits.deposit(small, "a", 6, pieces(b"123456"))


@pytest.mark.parametrize(
    "path",
    [
        *["", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", "a\\b", "a\0b", "a\nb", "nul", "a\u202eb", "a:b"],
        *["e\u0301", "x" * (MAX_COMPONENT_BYTES + 1), "/".join("a" * 40), "/".join(["x" * 200] * 5)],
    ],
)
async def test_a_path_that_is_no_name_is_refused(node: Node, path: str) -> None:
    with pytest.raises(NameInvalid):
        await deposited(node, path, b"content")
    assert await kept(node) == ([], 0, 0)


async def test_the_longest_path_has_room_in_the_store(node: Node) -> None:
    longest = "/".join(["ä" * 100] * 5)[: deposits.MAX_PATH_BYTES // 2 - 3]
    longest += "x" * (deposits.MAX_PATH_BYTES - len(longest.encode()))
    assert len(longest.encode()) == deposits.MAX_PATH_BYTES
    stored = await deposited(node, longest, b"content")
    assert await whole(deposits.read(node, stored)) == b"content"
    with pytest.raises(NameInvalid, match="at most 950 bytes"):
        await deposited(node, longest + "x", b"content")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.text(min_size=1, max_size=30))
def test_every_name_that_a_document_may_have_has_a_place_in_the_store(name: str) -> None:
    from docex.core import names

    try:
        names.check_path(name)
    except NameInvalid:
        return
    assert check_path(f"documents/{name}/{'0' * 32}.age")


@pytest.mark.parametrize(
    "options", [{"kind": "novel"}, {"media_type": ""}, {"media_type": "a\nb"}, {"media_type": "x" * 2000}]
)
async def test_what_no_statement_can_say_is_refused(node: Node, options: dict[str, str]) -> None:
    with pytest.raises(StatementInvalid):
        await deposited(node, "a", b"content", **options)
    assert await kept(node) == ([], 0, 0)


async def test_a_document_can_replace_another(node: Node) -> None:
    old = await deposited(node, "old", b"old")
    new = await deposited(node, "new", b"new", supersedes=old.statement)
    found = await node.store.statement(new.statement)
    assert found is not None
    body = statement.parse(found.token).body
    assert isinstance(body, Document)
    assert body.supersedes == old.statement


@pytest.mark.parametrize("old", ["", "old", "sha256:12", "a\0", digest_of("something else")])
async def test_only_a_document_statement_of_this_member_is_replaced(node: Node, old: str) -> None:
    with pytest.raises(UsageError):
        await deposited(node, "new", b"new", supersedes=old)
    assert await kept(node) == ([], 0, 0)


async def test_another_member_s_document_is_not_replaced(node: Node, new_node: NewNode) -> None:
    from tests.fixtures.statements import document_statement, stored_document

    other = document_statement("x")
    await node.store.add_document(stored_document(other), [other])
    with pytest.raises(UsageError, match="can't be superseded"):
        await deposited(node, "new", b"new", supersedes=other.digest_text)


async def test_a_client_that_goes_away_leaves_nothing(node: Node) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield DATA
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await deposits.deposit(node, "a", 2 * len(DATA), chunks())
    assert await kept(node) == ([], 0, 0)


async def test_deposits_at_once_are_all_kept(node: Node) -> None:
    contents = [f"content {n}".encode() for n in range(20)]
    stored = await asyncio.gather(*(deposited(node, f"folder/{n % 5}", each) for n, each in enumerate(contents)))
    assert sorted((each.path, each.version) for each in stored) == [
        (f"folder/{n}", version) for n in range(5) for version in range(1, 5)
    ]
    assert [await whole(deposits.read(node, each)) for each in stored] == contents


# --- listing and finding ---------------------------------------------------------------------------------------------


async def test_lists_come_in_pages(node: Node) -> None:
    for path in ("a/1", "a/2", "b/1"):
        await deposited(node, path, b"content")
    first = await deposits.documents(node, "", "", 2)
    assert [each.path for each in first] == ["a/1", "a/2"]
    assert [each.path for each in await deposits.documents(node, "", "a/2", 2)] == ["b/1"]
    assert [each.path for each in await deposits.documents(node, "b", "", 2)] == ["b/1"]


@pytest.mark.parametrize("limit", [0, -1, deposits.MAX_PAGE + 1])
async def test_a_page_has_a_sensible_length(node: Node, limit: int) -> None:
    with pytest.raises(UsageError, match="limit must be 1 to 1000"):
        await deposits.documents(node, "", "", limit)


async def test_what_no_database_can_be_asked_for_is_not_there(node: Node) -> None:
    for path in ("a\0b", "\ud800", "", "../x"):
        with pytest.raises(NotFound, match="there is no document"):
            await deposits.find(node, path)
    for cursor in ("a\0b", "\udfff"):
        with pytest.raises(UsageError, match="cursor"):
            await deposits.documents(node, "", cursor, 10)
    with pytest.raises(NameInvalid):
        await deposits.documents(node, "..", "", 10)


# --- reading ---------------------------------------------------------------------------------------------------------


async def test_a_node_without_identity_takes_but_can_not_read(new_node: NewNode) -> None:
    node = new_node("Mine", identity=False)
    stored = await deposited(node, "a", b"content")
    with pytest.raises(Conflict, match="holds no identity"):
        await whole(deposits.read(node, stored))


async def collect(chunks: AsyncIterator[bytes], into: list[bytes]) -> None:
    async for chunk in chunks:
        into.append(chunk)


def damage(tmp_path: Path, blob: str, position: int) -> None:
    path = tmp_path / "Mine-packets" / blob
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("position", [-1, -200_000])
async def test_a_stored_packet_that_was_damaged_is_not_handed_out_whole(
    node: Node, tmp_path: Path, position: int
) -> None:
    stored = await deposited(node, "a", DATA[:1_000_000])
    damage(tmp_path, stored.blob, position)
    got: list[bytes] = []
    with pytest.raises(PayloadInvalid):
        await collect(deposits.read(node, stored), got)
    assert len(b"".join(got)) < 1_000_000


@pytest.mark.parametrize("change", [{"digest": digest_of("other")}, {"size": 3_000_001}])
async def test_the_last_bytes_are_held_back_when_the_digest_is_another(node: Node, change: dict[str, object]) -> None:
    stored = await deposited(node, "a", DATA[:3_000_000])
    got: list[bytes] = []
    with pytest.raises(DigestMismatch, match="not as it was stored"):
        await collect(deposits.read(node, replace(stored, **change)), got)
    assert 0 < len(b"".join(got)) < 3_000_000


async def test_a_document_that_its_packet_does_not_hold_is_not_found(node: Node) -> None:
    stored = await deposited(node, "a", b"content")
    with pytest.raises(NotFound, match="no document 'b'"):
        await whole(deposits.read(node, replace(stored, entry="b")))


async def test_a_reader_that_stops_early_leaves_no_thread(node: Node) -> None:
    import threading

    stored = await deposited(node, "a", DATA[:8_000_000])
    async with aclosing(deposits.read(node, stored)) as chunks:
        assert len(await anext(chunks)) > 0
    assert not [each for each in threading.enumerate() if each.name.startswith("docex-crew")]


@pytest.mark.parametrize("moment", [0.0, 0.002, 0.01, 0.03])
async def test_a_reader_that_is_cancelled_at_any_moment_leaves_no_thread(node: Node, moment: float) -> None:
    import threading

    stored = await deposited(node, "a", DATA[:8_000_000])
    reading = asyncio.create_task(whole(deposits.read(node, stored)))
    await asyncio.sleep(moment)
    reading.cancel()
    with suppress(asyncio.CancelledError):  # it may have been done already
        await asyncio.wait_for(reading, 60)
    assert not [each for each in threading.enumerate() if each.name.startswith("docex-crew")]
    assert await whole(deposits.read(node, stored)) == DATA[:8_000_000]
