"""The Directory's client: who is a member, with which keys, since when and until when."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final

from docex.core.account import require_checksum
from docex.core.ledger_types import KeyUse, Member, MembershipPeriod, PublishedKey, TransactionInfo
from docex.errors import UsageError
from docex.ledger import answers
from docex.ledger.contracts import load
from docex.ledger.rpc import Rpc
from docex.ledger.sender import Sender

PAGE: Final = 100
_USES: Final = (KeyUse.SIGNING, KeyUse.RECIPIENT)
"""In the order of ``IDirectory.KeyUse``."""


class DirectoryClient:
    """Reads the Directory; with a ``sender``, writes to it as the sender's account.

    Reading raises LedgerUnavailable when the node can't be reached. Writing returns when the transaction is mined and
    raises LedgerRejected or NotMember when the contract refuses. A ``key`` makes a write happen once, however often it
    is asked for (see ``Sender.submit``); without one each call is a transaction of its own.
    """

    def __init__(self, rpc: Rpc, address: str, sender: Sender | None = None) -> None:
        """``address``: the contract's, with its checksum (UsageError otherwise)."""
        self.address = require_checksum(address)
        self._rpc = rpc
        self._sender = sender
        self._contract = load("Directory")

    # --- reading -----------------------------------------------------------------------------------------------------

    async def member(self, account: str) -> Member | None:
        """The member with this account; None when it was never admitted."""
        (member,) = await self._members([account])
        return member if member.admitted_at else None

    async def members(self) -> tuple[Member, ...]:
        """All members ever admitted, in the order of their admission."""
        found: list[Member] = []
        while True:
            (accounts,) = await self._read("members", len(found), PAGE)
            found += await self._members(accounts)
            if len(accounts) < PAGE:
                return tuple(found)

    async def periods(self, account: str) -> tuple[MembershipPeriod, ...]:
        """The periods of an account's membership, oldest first."""
        (periods,) = await self._read("periodsOf", account)
        return tuple(MembershipPeriod(since, until or None) for since, until in periods)

    async def is_active(self, account: str) -> bool:
        """Whether the account is a member now."""
        return bool((await self._read("isActive", account))[0])

    async def was_active_at(self, account: str, time: int) -> bool:
        """Whether the account was a member at ``time``."""
        return bool((await self._read("wasActiveAt", account, time))[0])

    async def keys(self, account: str) -> tuple[PublishedKey, ...]:
        """All keys that an account ever published, oldest first."""
        (key_ids,) = await self._read("keyIdsOf", account)
        return await self._keys(account, key_ids)

    async def key(self, account: str, key_id: bytes) -> PublishedKey | None:
        """One key of an account; None when the account never published it."""
        (key,) = await self._keys(account, [key_id])
        return key if key.valid_from else None

    async def key_valid_at(self, account: str, key_id: bytes, time: int) -> bool:
        """Whether the key's own period holds ``time``; membership is asked apart."""
        return bool((await self._read("keyValidAt", account, key_id, time))[0])

    # --- writing -----------------------------------------------------------------------------------------------------

    async def admit(self, account: str, name: str, *, key: str | None = None) -> TransactionInfo:
        """Admits a member. Only the consortium."""
        return await self._write(key, "admit", account, name)

    async def suspend(self, account: str, *, key: str | None = None) -> TransactionInfo:
        """Suspends a member. Only the consortium."""
        return await self._write(key, "suspend", account)

    async def readmit(self, account: str, *, key: str | None = None) -> TransactionInfo:
        """Admits a suspended member again. Only the consortium."""
        return await self._write(key, "readmit", account)

    async def publish_key(
        self, use: KeyUse, material: bytes, *, since: int = 0, until: int | None = None, key: str | None = None
    ) -> TransactionInfo:
        """Publishes a key of the sender's account. ``since`` 0: from the transaction's block on."""
        return await self._write(key, "publishKey", _USES.index(use), material, since, until or 0)

    async def retire_key(self, key_id: bytes, *, until: int = 0, key: str | None = None) -> TransactionInfo:
        """Ends the validity of a key of the sender's account. ``until`` 0: with the transaction's block."""
        return await self._write(key, "retireKey", key_id, until)

    async def set_endpoint(self, endpoint: str, *, key: str | None = None) -> TransactionInfo:
        """Sets where the node of the sender's account is reached."""
        return await self._write(key, "setEndpoint", endpoint)

    # --- both --------------------------------------------------------------------------------------------------------

    async def _read(self, function: str, *arguments: object) -> tuple[Any, ...]:
        data = await self._rpc.eth_call(self.address, self._contract.encode(function, *arguments))
        return self._contract.decode(function, data)

    async def _members(self, accounts: Sequence[str]) -> list[Member]:
        calls = [self._contract.encode("memberOf", account) for account in accounts]
        members: list[Member] = []
        for account, data in zip(accounts, await self._rpc.eth_calls(self.address, calls), strict=True):
            ((name, endpoint, active, admitted_at),) = self._contract.decode("memberOf", data)
            members.append(Member(account, name, endpoint, active, admitted_at))
        return members

    async def _keys(self, account: str, key_ids: Sequence[bytes]) -> tuple[PublishedKey, ...]:
        calls = [self._contract.encode("keyOf", account, key_id) for key_id in key_ids]
        keys: list[PublishedKey] = []
        for key_id, data in zip(key_ids, await self._rpc.eth_calls(self.address, calls), strict=True):
            ((use, since, until, material),) = self._contract.decode("keyOf", data)
            if use >= len(_USES):
                raise answers.no_answer(use, "the use of a key")
            keys.append(PublishedKey(key_id, _USES[use], material, since, until or None))
        return tuple(keys)

    async def _write(self, key: str | None, function: str, *arguments: object) -> TransactionInfo:
        if self._sender is None:
            raise UsageError("this client of the Directory has no account to write with")
        key = key or f"directory:{function}:{secrets.token_hex(16)}"
        await self._sender.submit(key, self.address, self._contract.encode(function, *arguments))
        return await self._sender.wait(key)
