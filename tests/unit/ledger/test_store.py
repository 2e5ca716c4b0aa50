"""What any TransactionStore does. The database's is checked by the same class: give it a ``store`` fixture."""

import asyncio
from dataclasses import replace

import pytest

from docex.core.transactions import (
    Attempt,
    BlockRef,
    StoredTransaction,
    TransactionRequest,
    TransactionStatus,
    TransactionStore,
)
from docex.errors import NotFound
from docex.ledger.memory import MemoryStore

ACCOUNT = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
OTHER = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"


def request(key: str, *, account: str = ACCOUNT, chain_id: int = 1) -> TransactionRequest:
    return TransactionRequest(key, chain_id, account, OTHER, b"data", 10**20, 21_000)


def attempt(nonce: int, number: int = 0, raw: bytes = b"raw") -> Attempt:
    return Attempt(nonce, number, bytes(32), raw, 2 * 10**30, 10**9, 5)


def block(number: int, *, contract: str | None = None) -> BlockRef:
    return BlockRef(number, bytes([1]) * 32, 1_700_000_000, bytes([2]) * 32, True, 21_000, contract)


class TransactionStoreContract:
    async def test_a_reservation_keeps_the_request_and_allocates_from_the_chain_s_count(
        self, store: TransactionStore
    ) -> None:
        assert await store.find("a") is None
        row = await store.reserve(request("a"), 7)
        assert row == StoredTransaction(request("a"), 7, TransactionStatus.PENDING, (), None)
        assert await store.find("a") == row

    async def test_nonces_are_consecutive_for_each_account_and_chain(self, store: TransactionStore) -> None:
        rows = [await store.reserve(request(key), 0) for key in "abc"]
        assert [row.nonce for row in rows] == [0, 1, 2]
        assert (await store.reserve(request("d", account=OTHER), 0)).nonce == 0
        assert (await store.reserve(request("e", chain_id=2), 0)).nonce == 0
        assert (await store.reserve(request("f"), 9)).nonce == 9
        assert (await store.reserve(request("g"), 3)).nonce == 10

    async def test_a_key_is_reserved_once(self, store: TransactionStore) -> None:
        row = await store.reserve(request("a"), 0)
        assert await store.reserve(replace(request("a"), value=1), 5) == row
        assert await store.reserve_at(replace(request("a"), value=1), 5) == row

    async def test_reservations_at_once_share_no_nonce(self, store: TransactionStore) -> None:
        rows = await asyncio.gather(*(store.reserve(request(f"key {n % 10}"), 0) for n in range(20)))
        assert sorted({row.nonce for row in rows}) == list(range(10))

    async def test_a_nonce_can_be_named_when_nobody_has_it(self, store: TransactionStore) -> None:
        await store.reserve(request("a"), 5)
        assert await store.reserve_at(request("b"), 5) is None
        assert await store.find("b") is None
        filler = await store.reserve_at(request("b"), 3)
        assert filler is not None
        assert filler.nonce == 3
        assert (await store.reserve(request("c"), 0)).nonce == 6

    async def test_a_pending_row_moves_to_a_new_nonce_and_keeps_its_attempts(self, store: TransactionStore) -> None:
        await store.reserve(request("a"), 0)
        await store.add_attempt("a", attempt(0))
        await store.reserve(request("b"), 0)
        moved = await store.renumber("a", 0, 1)
        assert (moved.nonce, moved.attempts, moved.current) == (2, (attempt(0),), ())
        assert await store.renumber("a", 0, 1) == moved
        assert await store.reserve_at(request("c"), 0) is None
        assert (await store.add_attempt("a", attempt(2))).current == (attempt(2),)
        await store.set_block("a", TransactionStatus.MINED, block(1))
        assert (await store.renumber("a", 2, 9)).nonce == 2

    async def test_the_first_bytes_of_an_attempt_are_the_ones_that_are_kept(self, store: TransactionStore) -> None:
        await store.reserve(request("a"), 0)
        first = await store.add_attempt("a", attempt(0, 0, b"first"))
        assert first.attempts == (attempt(0, 0, b"first"),)
        assert await store.add_attempt("a", attempt(0, 0, b"late")) == first
        both = await store.add_attempt("a", attempt(0, 1, b"replacement"))
        assert both.attempts == (attempt(0, 0, b"first"), attempt(0, 1, b"replacement"))
        assert await store.find("a") == both

    async def test_attempts_come_in_the_order_of_their_nonces_and_numbers(self, store: TransactionStore) -> None:
        await store.reserve(request("a"), 0)
        await store.add_attempt("a", replace(attempt(0, 0), block=90))
        # A development chain that starts anew has lower blocks: they are no order.
        row = await store.add_attempt("a", replace(attempt(0, 1), block=2))
        assert [kept.number for kept in row.current] == [0, 1]

    async def test_status_and_block_are_set_and_taken_back(self, store: TransactionStore) -> None:
        await store.reserve(request("a"), 0)
        mined = await store.set_block("a", TransactionStatus.MINED, block(3, contract=OTHER))
        assert (mined.status, mined.block) == (TransactionStatus.MINED, block(3, contract=OTHER))
        assert await store.find("a") == mined
        back = await store.set_block("a", TransactionStatus.PENDING, None)
        assert (back.status, back.block) == (TransactionStatus.PENDING, None)

    async def test_unsettled_rows_come_by_nonce(self, store: TransactionStore) -> None:
        for key, nonce in (("a", 4), ("b", 2), ("c", 3), ("d", 1), ("e", 0)):
            await store.reserve_at(request(key), nonce)
        await store.reserve(request("other", account=OTHER), 0)
        await store.reserve(request("elsewhere", chain_id=2), 0)
        await store.set_block("c", TransactionStatus.MINED, block(2))
        await store.set_block("d", TransactionStatus.FINAL, block(1))
        await store.set_block("e", TransactionStatus.FAILED, block(1))
        assert [row.key for row in await store.unsettled(1, ACCOUNT)] == ["b", "c", "a"]

    async def test_the_newest_settled_row_is_the_one_in_the_highest_block(self, store: TransactionStore) -> None:
        assert await store.newest_settled(1, ACCOUNT) is None
        for key in "abcd":
            await store.reserve(request(key), 0)
        await store.set_block("a", TransactionStatus.FINAL, block(5))
        await store.set_block("b", TransactionStatus.FAILED, block(7))
        await store.set_block("c", TransactionStatus.FINAL, block(6))
        await store.set_block("d", TransactionStatus.MINED, block(9))
        newest = await store.newest_settled(1, ACCOUNT)
        assert newest is not None
        assert newest.key == "b"
        await store.set_block("b", TransactionStatus.PENDING, None)
        newest = await store.newest_settled(1, ACCOUNT)
        assert newest is not None
        assert newest.key == "c"
        assert await store.newest_settled(1, OTHER) is None

    async def test_an_unknown_key_is_an_error(self, store: TransactionStore) -> None:
        with pytest.raises(NotFound, match="no transaction 'a'"):
            await store.set_block("a", TransactionStatus.PENDING, None)
        with pytest.raises(NotFound, match="no transaction 'a'"):
            await store.add_attempt("a", attempt(0))
        with pytest.raises(NotFound, match="no transaction 'a'"):
            await store.renumber("a", 0, 0)


class TestMemoryStore(TransactionStoreContract):
    @pytest.fixture
    def store(self) -> TransactionStore:
        return MemoryStore()
