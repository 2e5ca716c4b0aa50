"""The verifier's reader against a real chain, and against nodes that answer badly."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from docex.core import statement as statements
from docex.core.facts import Block, Trust, collect_facts
from docex.core.proof import AnchorClaim, Inclusion, Network, Proof
from docex.errors import LedgerError, LedgerUnavailable, UsageError
from docex.ledger import chain
from docex.ledger.reader import RpcLedgerReader, open_reader
from docex.ledger.rpc import Rpc
from docex.verify import Outcome, measure, verify
from tests.fixtures.anchored import CONTENT, anchored_proof
from tests.unit.ledger import support

BELOW_FIRST = 10**9


def parts(proof: Proof) -> tuple[Inclusion, AnchorClaim]:
    inclusion, anchor = proof.statement.inclusion, proof.statement.anchor
    assert inclusion is not None
    assert anchor is not None
    return inclusion, anchor


async def test_a_proof_of_a_real_anchor_is_valid_and_stays_so_for_nobody_else(network: support.Network) -> None:
    proof = await anchored_proof(network)
    trust = Trust("anvil", proof.network)
    async with open_reader(network.rpc._url, proof.network) as reader:
        facts = await collect_facts(proof, reader)
    verdict = verify(measure(io.BytesIO(CONTENT)), proof, trust, facts)
    assert verdict.exit_code == 0, verdict
    assert verdict.row(3).details["member"] == "Mine AG"
    assert verdict.row(4).details["confirmations"] == 3
    more = replace(trust, confirmations=4)
    assert verify(measure(io.BytesIO(CONTENT)), proof, more, facts).exit_code == 3


async def test_a_revocation_on_the_chain_is_read(network: support.Network) -> None:
    proof = await anchored_proof(network)
    inclusion, _ = parts(proof)
    digest = statements.parse(proof.statement.token).digest
    row = await network.notary.revoke(
        digest, b"\7" * 32, root=inclusion.root, size=inclusion.size, index=inclusion.index, path=inclusion.path
    )
    info = await network.sender.wait(row.key)
    facts = await collect_facts(proof, RpcLedgerReader(network.rpc, proof.network))
    row_6 = verify(measure(io.BytesIO(CONTENT)), proof, Trust("anvil", proof.network), facts).row(6)
    assert row_6.outcome is Outcome.FAIL
    reader = RpcLedgerReader(network.rpc, proof.network)
    revocation = await reader.revocation_of(network.member.address, digest)
    assert revocation is not None
    assert revocation.time == info.block_time


async def test_what_the_chain_does_not_have_is_known_to_be_absent(network: support.Network) -> None:
    proof = await anchored_proof(network)
    inclusion, anchor = parts(proof)
    reader = RpcLedgerReader(network.rpc, proof.network)
    assert await reader.network() == proof.network
    stranger = (await support.funded(network.rpc)).address
    assert await reader.member_of(stranger) is None
    assert await reader.periods_of(stranger) == ()
    assert await reader.key_of(network.member.address, bytes(32)) is None
    assert await reader.revocation_of(network.member.address, bytes(32)) is None
    assert await reader.anchor_of(stranger, inclusion.root, inclusion.size) is None
    head = await reader.head()
    assert await reader.block(head.number) == head
    assert await reader.block(head.number + BELOW_FIRST) is None
    made = await reader.anchors_made_by(anchor.transaction or b"", anchor.block_number)
    assert made is not None
    assert [(one.member, one.root, one.size, one.block_number, one.time) for one in made] == [
        (network.member.address, inclusion.root, inclusion.size, anchor.block_number, anchor.time)
    ]
    assert await reader.anchors_made_by(anchor.transaction or b"", anchor.block_number + 1) is None
    assert await reader.anchors_made_by(bytes(32), anchor.block_number) is None


async def test_other_events_and_other_contracts_events_are_no_anchors(network: support.Network) -> None:
    proof = await anchored_proof(network)
    inclusion, anchor = parts(proof)
    elsewhere = replace(proof.network, notary=network.deployment.directory)
    assert (
        await RpcLedgerReader(network.rpc, elsewhere).anchors_made_by(anchor.transaction or b"", anchor.block_number)
        == []
    )
    digest = statements.parse(proof.statement.token).digest
    row = await network.notary.revoke(
        digest, b"\7" * 32, root=inclusion.root, size=inclusion.size, index=inclusion.index, path=inclusion.path
    )
    info = await network.sender.wait(row.key)
    reader = RpcLedgerReader(network.rpc, proof.network)
    assert await reader.anchors_made_by(info.transaction, info.block_number) == []


async def test_contracts_that_are_not_there_are_not_read(network: support.Network) -> None:
    stranger = (await support.funded(network.rpc)).address
    reader = RpcLedgerReader(network.rpc, Network(network.deployment.chain_id, stranger, stranger))
    with pytest.raises(LedgerError, match="there is no contract at"):
        await reader.network()


async def test_an_endpoint_that_is_down_is_unavailable_and_a_url_that_is_none_is_usage(
    network: support.Network,
) -> None:
    deployment = network.deployment
    here = Network(deployment.chain_id, deployment.directory, deployment.notary)
    async with open_reader("http://127.0.0.1:9", here) as reader:
        with pytest.raises(LedgerUnavailable, match="did not answer"):
            await reader.network()
    with pytest.raises(UsageError, match="must start with http"):
        async with open_reader("ws://127.0.0.1:9", here):
            raise AssertionError("no reader for such a URL")


class OddRpc(Rpc):
    """A real connection whose node answers some calls with something else."""

    def __init__(self, url: str, odd: Callable[[str, Any], Any]) -> None:
        super().__init__(url)
        self._odd = odd

    async def batch(self, calls: Sequence[tuple[str, Sequence[object]]]) -> list[Any]:
        answers = await super().batch(calls)
        return [self._odd(method, answer) for (method, _), answer in zip(calls, answers, strict=True)]


def dropping(methods: set[str]) -> Callable[[str, Any], Any]:
    return lambda method, answer: None if method in methods else answer


async def test_receipts_that_a_node_has_dropped_are_not_absent(network: support.Network) -> None:
    proof = await anchored_proof(network)
    _, anchor = parts(proof)
    for dropped in ({"eth_getTransactionReceipt"}, {"eth_getTransactionReceipt", "eth_getBlockByNumber"}):
        async with OddRpc(network.rpc._url, dropping(dropped)) as rpc:
            reader = RpcLedgerReader(rpc, proof.network)
            with pytest.raises(LedgerUnavailable, match="has no receipt of the anchor's transaction"):
                await reader.anchors_made_by(anchor.transaction or b"", anchor.block_number)


async def test_a_receipt_from_a_block_that_is_gone_is_no_receipt(network: support.Network) -> None:
    proof = await anchored_proof(network)
    _, anchor = parts(proof)

    def moved(method: str, answer: Any) -> Any:
        return {**answer, "hash": "0x" + "00" * 32} if method == "eth_getBlockByNumber" else answer

    async with OddRpc(network.rpc._url, moved) as rpc:
        reader = RpcLedgerReader(rpc, proof.network)
        assert await reader.anchors_made_by(anchor.transaction or b"", anchor.block_number) is None


@pytest.mark.parametrize("answer", [{}, 7, "0x", "zz", {"number": "0x1", "baseFeePerGas": "0x1"}, []])
async def test_an_answer_that_makes_no_sense_is_the_nodes_failure(network: support.Network, answer: Any) -> None:
    async with OddRpc(network.rpc._url, lambda _, __: answer) as rpc:
        deployment = network.deployment
        reader = RpcLedgerReader(rpc, Network(deployment.chain_id, deployment.directory, deployment.notary))
        for ask in (reader.head, lambda: reader.block(1), lambda: reader.anchors_made_by(bytes(32), 1), reader.network):
            with pytest.raises(LedgerError):
                await ask()


async def test_the_block_is_the_chains(network: support.Network) -> None:
    head = await chain.head(network.rpc)
    deployment = network.deployment
    here = Network(deployment.chain_id, deployment.directory, deployment.notary)
    assert await RpcLedgerReader(network.rpc, here).block(head.number) == Block(head.number, head.hash, head.time)
