"""What the ledger's tests share: funded accounts, deployed contracts, and a connection that can fail."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docex.core.ledger_types import Deployment
from docex.core.transactions import TransactionStore
from docex.errors import LedgerUnavailable
from docex.ledger.deploy import deploy
from docex.ledger.directory import DirectoryClient
from docex.ledger.funding import anvil_set_balance
from docex.ledger.memory import MemoryStore
from docex.ledger.notary import NotaryClient
from docex.ledger.process import CHAIN_ID
from docex.ledger.rpc import Rpc
from docex.ledger.sender import Sender
from keys.account import LocalAccount

ETHER = 10**18


async def funded(rpc: Rpc, wei: int = 100 * ETHER) -> LocalAccount:
    """A new account with ether."""
    account = LocalAccount.generate()
    await anvil_set_balance(rpc, account.address, wei)
    return account


def sender_of(
    rpc: Rpc,
    account: LocalAccount,
    store: TransactionStore | None = None,
    *,
    confirmations: int = 0,
    stuck_after: int = 2,
) -> Sender:
    return Sender(
        rpc,
        account,
        store or MemoryStore(),
        chain_id=CHAIN_ID,
        confirmations=confirmations,
        stuck_after=stuck_after,
        interval=0.02,
    )


@dataclass(frozen=True, slots=True)
class Network:
    rpc: Rpc
    deployment: Deployment
    consortium: DirectoryClient
    member: LocalAccount
    directory: DirectoryClient
    notary: NotaryClient
    sender: Sender

    def as_account(self, account: LocalAccount) -> tuple[DirectoryClient, NotaryClient, Sender]:
        sender = sender_of(self.rpc, account)
        return (
            DirectoryClient(self.rpc, self.deployment.directory, sender),
            NotaryClient(self.rpc, self.deployment.notary, sender),
            sender,
        )


async def deployed(rpc: Rpc) -> Network:
    consortium = sender_of(rpc, await funded(rpc))
    with tempfile.TemporaryDirectory() as folder:
        deployment = await deploy(rpc, consortium, Path(folder) / "deployment.json")
    member = await funded(rpc)
    admin = DirectoryClient(rpc, deployment.directory, consortium)
    await admin.admit(member.address, "Mine AG")
    sender = sender_of(rpc, member)
    return Network(
        rpc=rpc,
        deployment=deployment,
        consortium=admin,
        member=member,
        directory=DirectoryClient(rpc, deployment.directory, sender),
        notary=NotaryClient(rpc, deployment.notary, sender),
        sender=sender,
    )


async def mine(rpc: Rpc, blocks: int = 1) -> None:
    await rpc.call("anvil_mine", hex(blocks))


class FaultyRpc(Rpc):
    """A real connection that keeps what was sent, and that can be made to fail before or after the node is asked."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.sent: list[bytes] = []
        self.before: Callable[[str], bool] = lambda method: False
        self.after: Callable[[str], bool] = lambda method: False

    async def batch(self, calls: Sequence[tuple[str, Sequence[object]]]) -> list[Any]:
        methods = [method for method, _ in calls]
        if any(map(self.before, methods)):
            raise LedgerUnavailable("the connection was cut before the request")
        self.sent += [bytes.fromhex(str(p[0])[2:]) for method, p in calls if method == "eth_sendRawTransaction"]
        results = await super().batch(calls)
        if any(map(self.after, methods)):
            raise LedgerUnavailable("the connection was cut before the answer")
        return results
