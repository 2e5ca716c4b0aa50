import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from docex.core.ledger_types import Deployment
from docex.errors import LedgerError, LedgerRejected, UsageError
from docex.ledger import chain
from docex.ledger.deploy import check_deployment, deploy, read_deployment, write_deployment
from docex.ledger.directory import DirectoryClient
from docex.ledger.funding import anvil_set_balance, fund
from docex.ledger.process import LocalChain
from docex.ledger.rpc import Rpc, RpcError
from keys.account import LocalAccount
from tests.fixtures.anvil import NewChain, dev_account
from tests.unit.ledger.support import ETHER, FaultyRpc, Network, funded, sender_of

A = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
B = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"


async def test_a_network_is_deployed_once(rpc: Rpc, tmp_path: Path) -> None:
    record = tmp_path / "network" / "deployment.json"
    sender = sender_of(rpc, await funded(rpc))
    first = await deploy(rpc, sender, record)
    assert json.loads(record.read_text()) == {
        "chain_id": 31337,
        "directory": first.directory,
        "notary": first.notary,
        "block": first.block,
        "assets": first.assets,
    }
    assert list(record.parent.iterdir()) == [record]
    balance = await chain.balance(rpc, sender.account)
    assert await deploy(rpc, sender, record) == first
    assert await chain.balance(rpc, sender.account) == balance


async def test_the_consortium_can_be_another_account(rpc: Rpc, tmp_path: Path) -> None:
    consortium = await funded(rpc)
    deployer = sender_of(rpc, await funded(rpc))
    deployment = await deploy(rpc, deployer, tmp_path / "d.json", consortium=consortium.address)
    await DirectoryClient(rpc, deployment.directory, sender_of(rpc, consortium)).admit(A, "Mine AG")
    with pytest.raises(LedgerRejected, match="OwnableUnauthorizedAccount"):
        await DirectoryClient(rpc, deployment.directory, deployer).admit(B, "Fab GmbH")


async def test_a_chain_without_the_contracts_is_not_deployed_to_by_accident(
    rpc: Rpc, new_chain: NewChain, tmp_path: Path
) -> None:
    record = tmp_path / "d.json"
    deployment = await deploy(rpc, sender_of(rpc, await funded(rpc)), record)
    empty = new_chain()
    async with Rpc(empty.url) as other:
        with pytest.raises(LedgerError, match=f"there is no contract at {deployment.directory}"):
            await deploy(other, sender_of(other, dev_account(0)), record)
    strange = new_chain(chain_id=77)
    async with Rpc(strange.url) as other:
        with pytest.raises(LedgerError, match=r"the contracts are on chain 31337, .* serves chain 77"):
            await deploy(other, sender_of(other, dev_account(0)), record)


async def test_on_another_chain_than_was_meant_nothing_is_deployed(rpc: Rpc, tmp_path: Path) -> None:
    sender = sender_of(rpc, await funded(rpc))
    balance = await chain.balance(rpc, sender.account)
    with pytest.raises(LedgerError, match=r"http://127.0.0.1:\d+ serves chain 31337, not 5: nothing was deployed"):
        await deploy(rpc, sender, tmp_path / "d.json", chain_id=5)
    assert not (tmp_path / "d.json").exists()
    assert await chain.balance(rpc, sender.account) == balance
    assert (await deploy(rpc, sender, tmp_path / "d.json", chain_id=31337)).chain_id == 31337


class FreeRpc(Rpc):
    """Asks for no tip, as Besu does on a free chain; anvil always wants one."""

    async def batch(self, calls: Sequence[tuple[str, Sequence[object]]]) -> list[Any]:
        answers = await super().batch(calls)
        methods = [method for method, _ in calls]
        return [
            "0x0" if each == "eth_maxPriorityFeePerGas" else answer
            for each, answer in zip(methods, answers, strict=True)
        ]


async def test_where_the_base_fee_is_0_an_account_without_coins_deploys(new_chain: NewChain, tmp_path: Path) -> None:
    free = new_chain("--block-base-fee-per-gas", "0", "--disable-min-priority-fee")
    async with FreeRpc(free.url) as rpc:
        sender = sender_of(rpc, LocalAccount.generate())
        deployment = await deploy(rpc, sender, tmp_path / "d.json", chain_id=31337)
        await check_deployment(rpc, deployment)
        assert await chain.balance(rpc, sender.account) == 0
        assert (await chain.head(rpc)).base_fee == 0
        await DirectoryClient(rpc, deployment.directory, sender).admit(A, "Mine AG")


async def test_an_account_that_cannot_pay_is_told_what_it_lacks(rpc: Rpc, tmp_path: Path) -> None:
    poor = await funded(rpc, 1000)
    with pytest.raises(LedgerRejected, match=rf"the account {poor.address} has 1000 wei, the transaction may take \d+"):
        await deploy(rpc, sender_of(rpc, poor), tmp_path / "d.json")
    assert not (tmp_path / "d.json").exists()


async def test_contracts_that_do_not_belong_together_are_told(network: Network, tmp_path: Path) -> None:
    rpc, ours = network.rpc, network.deployment
    theirs = await deploy(rpc, sender_of(rpc, await funded(rpc)), tmp_path / "d.json")
    mixed = Deployment(31337, ours.directory, theirs.notary, ours.block)
    with pytest.raises(LedgerError, match=f"the Notary at {theirs.notary} follows the Directory {theirs.directory}"):
        await check_deployment(rpc, mixed)
    mixed = replace(ours, assets=theirs.assets)
    with pytest.raises(LedgerError, match=f"the Assets at {theirs.assets} follow the Notary {theirs.notary}"):
        await check_deployment(rpc, mixed)


async def test_a_network_without_assets_goes_on(network: Network, tmp_path: Path) -> None:
    record = tmp_path / "d.json"
    fields = json.loads(json.dumps(asdict(network.deployment)))
    del fields["assets"]
    record.write_text(json.dumps(fields))
    older = await deploy(network.rpc, network.sender, record)
    assert older == replace(network.deployment, assets=None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        json.dumps({"chain_id": 1, "directory": A, "notary": B}),
        json.dumps({"chain_id": 1, "directory": A.lower(), "notary": B, "block": 1}),
        json.dumps({"chain_id": 1, "directory": None, "notary": B, "block": 1}),
        json.dumps({"chain_id": "1", "directory": A, "notary": B, "block": 1}),
        json.dumps({"chain_id": 1, "directory": A, "notary": B, "block": True}),
        json.dumps({"chain_id": 1, "directory": A, "notary": B, "block": 1, "assets": A.lower()}),
        json.dumps({"chain_id": 1, "directory": A, "notary": B, "block": 1, "assets": 5}),
    ],
)
def test_a_malformed_record_is_refused(text: str, tmp_path: Path) -> None:
    record = tmp_path / "d.json"
    record.write_text(text)
    with pytest.raises(UsageError, match=r"d\.json is not a deployment record"):
        read_deployment(record)


def test_a_missing_record_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"d\.json is not a deployment record: FileNotFoundError"):
        read_deployment(tmp_path / "d.json")


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    for deployment in (Deployment(5, A, B, 12), Deployment(5, A, B, 12, A)):
        write_deployment(tmp_path / "d.json", deployment)
        assert read_deployment(tmp_path / "d.json") == deployment


async def test_an_account_is_funded_by_a_transfer(rpc: Rpc) -> None:
    target = LocalAccount.generate().address
    sender = sender_of(rpc, await funded(rpc))
    info = await fund(sender, target, 3 * ETHER)
    assert info.succeeded
    await fund(sender, target, 1, key="once")
    await fund(sender, target, 1, key="once")
    assert await chain.balance(rpc, target) == 3 * ETHER + 1


async def test_a_development_chain_gives_ether_out_of_nothing(anvil: LocalChain) -> None:
    target = LocalAccount.generate().address
    async with FaultyRpc(anvil.url) as rpc:
        await anvil_set_balance(rpc, target, 5)
        assert await chain.balance(rpc, target) == 5
        with pytest.raises(UsageError, match="not in its checksum form"):
            await anvil_set_balance(rpc, target.lower(), 5)
        with pytest.raises(RpcError):
            await rpc.call("no_such_setBalance", target, "0x5")
