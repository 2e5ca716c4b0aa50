"""The sender of transactions: none lost, none doubled.

``submit`` asks the node for gas and fees, reserves a nonce together with the whole request, signs, keeps the signed
bytes and sends them. ``poll`` is run again and again: it goes on from whatever it finds, so a crash at any point, a
node that forgets, a reorg or a second worker change nothing in the end. Its rules, in its order:

1. A settled row whose block is gone was hit by a reorg deeper than the agreed confirmations: alarm, back to pending,
   and with it, in the same database transaction, the batch that was final because of it.
2. An unsettled row stands where the chain says; a mined one whose block is gone is pending again.
3. A pending row without signed bytes (a crash after its nonce was reserved) is signed.
4. A pending row whose nonce was used by a transaction that is not ours, as deep as final, gets a new nonce.
5. A nonce that no row has, and that keeps later ones waiting, is filled with an empty transaction to ourselves.
6. All that is pending is sent again: the same bytes, those that were replaced too.
7. The next row to be mined, when it is stuck, is replaced with higher fees, ``MAX_REPLACEMENTS`` times at most, or
   with ones that have halved since where the account can't pay those.

``adopt`` takes in a transaction of ours that the chain has and the database lost (restored from an older copy).

"Stuck" is counted in blocks, not seconds: when the chain stands still, higher fees don't help. It is counted from when
the row was first seen pending, so that one that a reorg put back gets its time anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from docex.core.ledger_types import TransactionInfo
from docex.core.transactions import (
    SETTLED,
    BlockRef,
    StoredTransaction,
    TransactionRequest,
    TransactionStatus,
    TransactionStore,
)
from docex.errors import Conflict, LedgerUnavailable, NotFound
from docex.failpoints import Failpoint, reached
from docex.ledger import answers, broadcast, follow, market, prepare
from docex.ledger.market import Fees, Market
from docex.ledger.rpc import Rpc, RpcError
from docex.ledger.signing import rebuild, sign
from keys.protocols import AccountSigner

MAX_REPLACEMENTS: Final = 3
MAX_GAPS: Final = 64
"""Most missing nonces that one poll fills."""
_TRANSFER_GAS: Final = 21_000


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that a person should know. ``kind`` is stable: reorg, nonce_taken, gap, stuck, fee, funds, refused."""

    kind: str
    key: str
    message: str


@dataclass(frozen=True, slots=True)
class Poll:
    """What one poll found: the rows whose block or status changed, as they are now, and alarms.

    Whoever needs to be certain asks the store for the state of a key: a crash may swallow a poll.
    """

    changed: tuple[StoredTransaction, ...]
    alarms: tuple[Alarm, ...]


class Sender:
    """Sends the transactions of one account on one chain."""

    def __init__(
        self,
        rpc: Rpc,
        signer: AccountSigner,
        store: TransactionStore,
        *,
        chain_id: int,
        confirmations: int = 3,
        stuck_after: int = 6,
        interval: float = 1.0,
    ) -> None:
        """``confirmations``: blocks on top of a final one; ``stuck_after``: blocks; ``interval``: seconds."""
        self.account = signer.address
        self.chain_id = chain_id
        self._rpc = rpc
        self._signer = signer
        self._store = store
        self._confirmations = confirmations
        self._stuck_after = stuck_after
        self._interval = interval
        self._since: dict[str, int] = {}

    async def submit(
        self, key: str, to: str | None, data: bytes = b"", *, value: int = 0, gas: int | None = None
    ) -> StoredTransaction:
        """Sends a transaction, once for each ``key``, and returns when it is kept for good (not when it is mined).

        ``to`` None creates a contract. ``value`` in wei; ``gas`` is estimated unless given, and the estimate runs the
        transaction: a contract that refuses raises LedgerRejected or NotMember here, before a nonce is spent.

        Raises LedgerUnavailable when the node can't be reached before the nonce is reserved (nothing is kept then);
        afterwards the next ``poll`` sends. Raises LedgerRejected when the account can't pay, Conflict when ``key`` was
        used for something else.
        """
        row, now = await self._store.find(key), None
        if row is None:
            request, now = await prepare.request(
                self._rpc, TransactionRequest(key, self.chain_id, self.account, to, data, value, gas or 0)
            )
            row = await self._store.reserve(request, now.count)
            reached(Failpoint.TRANSACTION_RESERVED)
        if (row.request.to, row.request.data, row.request.value) != (to, data, value):
            raise Conflict(f"the key {key!r} belongs to another transaction")
        if row.status is TransactionStatus.PENDING:
            try:
                row = await self._signed(row, now or await market.read(self._rpc, self.account))
                await broadcast.send(self._rpc, [row])
                reached(Failpoint.TRANSACTION_SENT)
            except LedgerUnavailable:
                return await self._found(key)
        return row

    async def adopt(self, key: str, transaction: bytes) -> StoredTransaction | None:
        """Takes in a transaction of this account that is on the chain, as if it had been submitted for ``key``.

        From then on it is followed, and sent again after a reorg, as any other. Returns None while another row stands
        at its nonce, which that row can't use: ``poll`` moves it (rule 4).

        Raises NotFound when the chain does not have it, LedgerError when it is none that a Sender makes.
        """
        answer = await self._rpc.call("eth_getTransactionByHash", "0x" + transaction.hex())
        if answer is None:
            raise NotFound(f"the chain has no transaction 0x{transaction.hex()}")
        request, attempt = rebuild(answer, key, self.chain_id, self.account)
        row = await self._store.adopt(request, attempt)
        reached(Failpoint.TRANSACTION_ADOPTED)
        return row

    async def poll(self) -> Poll:
        """Brings every row forward by the rules above; see the module.

        Raises LedgerUnavailable when the node can't be reached, KeysError when the signer can't: the next poll goes on.
        """
        changed: dict[str, StoredTransaction] = {}
        now = await market.read(self._rpc, self.account)
        alarms: list[Alarm] = []
        rows = await self._observed(changed, alarms)
        pending = await self._update(rows, now, changed)
        self._since = {row.key: min(self._since.get(row.key, now.head), now.head) for row in pending}
        pending = [await self._signed(row, now) for row in pending]
        pending = [await self._renumbered(row, now, alarms) for row in pending]
        pending += await self._fill_gaps([row for row, _ in rows], pending, now, alarms)
        problems = await broadcast.send(self._rpc, pending)
        for row in pending:
            await self._unstick(row, now, problems.get(row.key), alarms)
        return Poll(tuple(changed.values()), tuple(alarms))

    async def wait(self, key: str, *, final: bool = False, within: float = 60.0) -> TransactionInfo:
        """Polls until the transaction for ``key`` is mined (or final), and says where.

        Raises LedgerRejected when it reverted, NotFound when there is none, and LedgerUnavailable when ``within``
        seconds pass, whether the node could not be reached or has not mined it: it may still be mined later.
        """
        loop = asyncio.get_running_loop()
        deadline, cause = loop.time() + within, ""
        while True:
            row = await self._found(key)
            if row.block is not None and (row.status in SETTLED or not final):
                return await follow.outcome(self._rpc, row, row.block)
            if loop.time() > deadline:
                raise LedgerUnavailable(f"the transaction {key!r} was not mined in {within:g} seconds{cause}")
            try:
                poll = await self.poll()
                progress, cause = bool(poll.changed), "".join(f": {a.message}" for a in poll.alarms if a.key == key)
            except LedgerUnavailable as error:
                progress, cause = False, f": {error}"
            if not progress:
                await asyncio.sleep(self._interval)

    # --- submit ------------------------------------------------------------------------------------------------------

    async def _signed(self, row: StoredTransaction, now: Market) -> StoredTransaction:
        if row.current:
            return row
        return await self._attempt(row, now, now.fees, 0)

    async def _attempt(self, row: StoredTransaction, now: Market, fees: Fees, number: int) -> StoredTransaction:
        attempt = await sign(self._signer, row.request, row.nonce, number=number, fees=fees, block=now.head)
        kept = await self._store.add_attempt(row.key, attempt)
        reached(Failpoint.TRANSACTION_SIGNED)
        return kept

    async def _found(self, key: str) -> StoredTransaction:
        row = await self._store.find(key)
        if row is None:
            raise NotFound(f"there is no transaction {key!r}")
        return row

    # --- poll --------------------------------------------------------------------------------------------------------

    async def _observed(
        self, changed: dict[str, StoredTransaction], alarms: list[Alarm]
    ) -> list[tuple[StoredTransaction, BlockRef | None]]:
        """Rule 1. Returns the unsettled rows, each with the block that the chain has it in."""
        rows = {row.key: row for row in await self._store.unsettled(self.chain_id, self.account)}
        blocks = await follow.observe(self._rpc, list(rows.values()))
        back: dict[str, StoredTransaction] = {}
        for before, row in await follow.drop_lost(self._rpc, self._store, self.chain_id, self.account):
            back[row.key] = row
            number, known = (before.block.number, before.block.hash.hex()) if before.block else (0, "")
            message = f"block {number} (0x{known}) was final and is gone: a reorg deeper than agreed"
            alarms.append(Alarm("reorg", row.key, message))
        blocks |= await follow.observe(self._rpc, list(back.values()))
        changed |= back
        return [(row, blocks[key]) for key, row in (rows | back).items()]

    async def _update(
        self,
        rows: Sequence[tuple[StoredTransaction, BlockRef | None]],
        now: Market,
        changed: dict[str, StoredTransaction],
    ) -> list[StoredTransaction]:
        """Rule 2. Returns the rows that are pending now."""
        pending: list[StoredTransaction] = []
        for row, block in rows:
            status = follow.status_of(block, now.head, self._confirmations)
            if (status, block) != (row.status, row.block):
                changed[row.key] = await self._store.set_block(row.key, status, block)
                reached(Failpoint.TRANSACTION_MOVED)
            if block is None:
                pending.append(changed.get(row.key, row))
        return pending

    async def _renumbered(self, row: StoredTransaction, now: Market, alarms: list[Alarm]) -> StoredTransaction:
        """Rule 4. Whether the nonce is used is asked first and the receipts again afterwards: not the other way."""
        if row.nonce >= now.count:
            return row
        # One block deep at least: a node may count a transaction of its newest block before it has the receipt.
        depth = hex(max(now.head - max(self._confirmations, 1), 0))
        try:
            deep_count = answers.number(await self._rpc.call("eth_getTransactionCount", self.account, depth))
        except RpcError:
            return row  # A node that restarted may lack that block's state: the next polls will tell.
        if row.nonce >= deep_count or (await follow.observe(self._rpc, [row]))[row.key] is not None:
            return row
        moved = await self._store.renumber(row.key, row.nonce, now.count)
        reached(Failpoint.TRANSACTION_RENUMBERED)
        message = f"nonce {row.nonce} was used by another transaction of {self.account}; now {moved.nonce}"
        alarms.append(Alarm("nonce_taken", row.key, message))
        return await self._signed(moved, now)

    async def _fill_gaps(
        self, rows: Sequence[StoredTransaction], pending: Sequence[StoredTransaction], now: Market, alarms: list[Alarm]
    ) -> list[StoredTransaction]:
        """Rule 5. Waits as for a stuck row: somebody else's transaction or a late answer may close the gap."""
        waiting = [row for row in pending if row.nonce > now.count and self._waited(row, now)]
        nonces = {row.nonce for row in (*rows, *pending)}
        until = max((row.nonce for row in waiting), default=now.count)
        missing = [nonce for nonce in range(now.count, until) if nonce not in nonces][:MAX_GAPS]
        fillers: list[StoredTransaction] = []
        for nonce in missing:
            key = f"gap:{self.chain_id}:{self.account}:{nonce}"
            request = TransactionRequest(key, self.chain_id, self.account, self.account, b"", 0, _TRANSFER_GAS)
            filler = await self._store.reserve_at(request, nonce)
            if filler is not None:
                reached(Failpoint.TRANSACTION_FILLED)
                fillers.append(await self._signed(filler, now))
                alarms.append(Alarm("gap", key, f"no transaction has nonce {nonce}: an empty one fills it"))
        return fillers

    async def _unstick(
        self, row: StoredTransaction, now: Market, problem: broadcast.Refusal | None, alarms: list[Alarm]
    ) -> None:
        """Rule 7, and alarms for what other fees do not cure."""
        kind = problem[0] if problem else None
        dear = kind is broadcast.Problem.FUNDS and 2 * now.fees.max_fee < row.current[-1].max_fee
        if problem is not None and not dear and kind is not broadcast.Problem.FEE:
            alarms.append(Alarm(problem[0].value, row.key, problem[1]))
        elif row.nonce == now.count and (problem is not None or self._waited(row, now)):
            if len(row.current) <= MAX_REPLACEMENTS:
                fees = now.fees if dear else now.fees.raised_from(row.current[-1])
                row = await self._attempt(row, now, fees, len(row.current))
                await broadcast.send(self._rpc, [row])
            else:
                message = f"not mined after {MAX_REPLACEMENTS} replacements (nonce {row.nonce})"
                alarms.append(Alarm("stuck", row.key, message))

    def _waited(self, row: StoredTransaction, now: Market) -> bool:
        since = self._since.get(row.key, now.head)
        made = row.current[-1].block
        # A chain that started anew has lower blocks than the one for which the attempt was made.
        return now.head - (max(since, made) if made <= now.head else since) >= self._stuck_after
