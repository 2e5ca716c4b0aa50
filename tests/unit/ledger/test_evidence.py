"""Storage words, headers and tries: what a standalone proof is made of, against a real chain."""

import asyncio
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import rlp
from eth_hash.auto import keccak

from docex.core import statement as statements
from docex.core.contract_storage import ContractStorage
from docex.core.facts import Facts, Refuted, Trust
from docex.core.ledger_types import KeyUse, Member
from docex.core.proof import MAX_HEADERS, LedgerEvidence, Proof, dump, parse
from docex.core.standalone import ANCHORED, block_to_trust, standalone_facts
from docex.errors import EvidenceInvalid, LedgerError, LedgerUnavailable
from docex.ledger.contracts import load
from docex.ledger.evidence import encode_header, stand_alone
from docex.ledger.rpc import Rpc
from docex.verify import measure, verify
from tests.fixtures.anchored import CONTENT, anchored_proof
from tests.unit.ledger import support
from tests.unit.ledger.support import Network


def storage_of(network: Network) -> ContractStorage:
    async def read(contract: str, slot: int) -> int:
        return int(await network.rpc.call("eth_getStorageAt", contract, f"0x{slot:064x}", "latest"), 16)

    return ContractStorage(network.deployment.directory, network.deployment.notary, read)


def test_the_event_that_the_verifier_looks_for_is_the_notarys() -> None:
    assert load("Notary").topic("Anchored") == ANCHORED


@pytest.mark.parametrize("name", ["M", "x" * 31, "x" * 32, "Mine äöü " * 10, "x" * 128])
async def test_storage_says_what_the_contracts_say(network: Network, name: str) -> None:
    storage, account = storage_of(network), (await support.funded(network.rpc)).address
    await network.consortium.admit(account, name)
    await network.consortium.suspend(account)
    await network.consortium.readmit(account)
    member = await network.directory.member(account)
    assert await storage.member_of(account) == member == replace(member or Member("", "", "", False, 0), endpoint="")
    assert await storage.periods_of(account) == await network.directory.periods(account)
    assert len(await storage.periods_of(account)) == 2


@pytest.mark.parametrize("size", [1, 31, 32, 110, 1959, 4096])
async def test_keys_of_every_length_are_read_from_storage(network: Network, size: int) -> None:
    storage, account = storage_of(network), network.member.address
    use = KeyUse.SIGNING if size % 2 else KeyUse.RECIPIENT
    await network.directory.publish_key(use, b"k" * size)
    (key,) = await network.directory.keys(account)
    assert await storage.key_of(account, key.key_id) == key
    await network.directory.retire_key(key.key_id)
    assert await storage.key_of(account, key.key_id) == await network.directory.key(account, key.key_id)


async def test_what_the_contracts_never_heard_of_is_not_in_storage(network: Network) -> None:
    storage, stranger = storage_of(network), "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    assert await storage.member_of(stranger) is None
    assert await storage.periods_of(stranger) == ()
    assert await storage.key_of(stranger, bytes(32)) is None
    assert await storage.anchor_of(stranger, bytes(32), 1) is None
    assert await storage.revocation_of(stranger, bytes(32)) is None


@pytest.mark.parametrize(
    ("words", "what", "why"),
    [
        ([1 << 40], "periods_of", "more periods"),
        ([0x02 | 1 << 8], "key_of", "a use that there is not"),
        ([1 << 8, 8195], "key_of", "a text that is longer"),
    ],
)
async def test_words_that_the_contracts_can_not_have_written_are_refused(words: list[int], what: str, why: str) -> None:
    left = list(words)

    async def read(_: str, __: int) -> int:
        return left.pop(0)

    account = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    arguments = (account, bytes(32)) if what == "key_of" else (account,)
    with pytest.raises(EvidenceInvalid, match=why):
        await getattr(ContractStorage("", "", read), what)(*arguments)


async def test_a_revocation_is_read_from_storage(network: Network) -> None:
    made = await anchored_proof(network)
    inclusion, digest = made.statement.inclusion, statements.parse(made.statement.token).digest
    assert inclusion is not None
    row = await network.notary.revoke(
        digest,
        b"r" * 32,
        root=inclusion.root,
        size=inclusion.size,
        index=inclusion.index,
        path=inclusion.path,
        effective=12345,
    )
    await network.sender.wait(row.key)
    found = await storage_of(network).revocation_of(network.member.address, digest)
    assert found == await network.notary.revocation_of(network.member.address, digest)
    assert found is not None
    assert (found.effective, found.revocation) == (12345, b"r" * 32)
    facts = await facts_of(network.rpc, made)
    assert facts.revocations[network.member.address, digest] == found


async def facts_of(rpc: Rpc, made: Proof, evidence: LedgerEvidence | None = None) -> Facts:
    if evidence is None:
        made = await stand_alone(rpc, made)
        evidence = made.ledger
    assert evidence is not None
    return await standalone_facts(replace(made, ledger=evidence), made.network, block_to_trust(evidence).hash)


async def test_an_anchor_among_other_transactions_of_its_block(network: Network) -> None:
    """Legacy and typed ones, so that the tries have branches and the anchor is not the first."""
    rpc, payers = network.rpc, [(await support.funded(network.rpc)).address for _ in range(20)]
    for payer in payers:
        await rpc.call("anvil_impersonateAccount", payer)
    await rpc.call("evm_setAutomine", False)
    try:
        for number, payer in enumerate(payers):
            price = {"gasPrice": hex(200 * 10**9)} if number % 2 else {}
            await rpc.call("eth_sendTransaction", {"from": payer, "to": payers[0], "value": "0x1"} | price)
        making = asyncio.create_task(anchored_proof(network, confirmations=0))
        while not making.done():
            await rpc.call("evm_mine")
            await asyncio.sleep(0.05)
        made = await making
    finally:
        await rpc.call("evm_setAutomine", True)
    facts = await facts_of(rpc, made)
    assert not isinstance(facts.network, Refuted), facts.network


async def header(rpc: Rpc) -> dict[str, Any]:
    return dict(await rpc.call("eth_getBlockByNumber", "latest", False))


async def test_a_header_has_its_blocks_hash(network: Network) -> None:
    block = await header(network.rpc)
    assert keccak(encode_header(block)) == bytes.fromhex(block["hash"][2:])
    with pytest.raises(LedgerError, match="does not have the block's hash"):
        encode_header(block | {"gasUsed": hex(int(block["gasUsed"], 16) + 1)})


def qbft_extra(round_: int, seals: Sequence[bytes]) -> bytes:
    return bytes(rlp.encode([bytes(32), [b"v" * 20] * 4, [], round_, list(seals)]))


async def test_a_qbft_header_is_hashed_without_its_seals(network: Network) -> None:
    """Besu: round 0 and no seals (QbftExtraDataCodec.encodeWithoutCommitSealsAndRoundNumber)."""
    block = await header(network.rpc)
    plain = rlp.decode(encode_header(block))
    plain[12] = qbft_extra(0, [])
    sealed = block | {
        "extraData": "0x" + qbft_extra(3, [b"s" * 65] * 3).hex(),
        "hash": "0x" + keccak(rlp.encode(plain)).hex(),
    }
    assert encode_header(sealed) == rlp.encode(plain)


class Failing(Rpc):
    """A node that answers some methods otherwise."""

    def __init__(self, url: str, answers: Mapping[str, Any]) -> None:
        super().__init__(url)
        self._answers = answers

    async def batch(self, calls: Sequence[tuple[str, Sequence[object]]]) -> list[Any]:
        found = await super().batch(calls)
        return [self._answers.get(method, answer) for (method, _), answer in zip(calls, found, strict=True)]


@pytest.mark.parametrize(
    ("answers", "error", "why"),
    [
        ({"eth_getBlockReceipts": []}, LedgerError, "are not those of the block's header"),
        (
            {"eth_getRawTransactionByHash": "0x00", "debug_getRawTransaction": None},
            LedgerUnavailable,
            "does not give the raw transaction",
        ),
    ],
)
async def test_a_node_that_gives_something_else_is_noticed(
    network: Network, answers: Mapping[str, Any], error: type[LedgerError], why: str
) -> None:
    made = await anchored_proof(network)
    async with Failing(network.rpc._url, answers) as rpc:
        with pytest.raises(error, match=why):
            await stand_alone(rpc, made)


async def test_evidence_that_is_no_evidence(network: Network) -> None:
    made = await anchored_proof(network)
    evidence = (await stand_alone(network.rpc, made)).ledger
    assert evidence is not None
    for headers in ((b"\xc1" * 3000,), (b"\x80",), (evidence.headers[0][:-1],), (b"\xc0",)):
        broken = replace(evidence, headers=headers)
        facts = await standalone_facts(replace(made, ledger=broken), made.network, keccak(headers[0]))
        assert isinstance(facts.network, Refuted)
    with pytest.raises(EvidenceInvalid, match="malformed"):
        block_to_trust(replace(evidence, headers=(b"\x80",)))


async def test_an_anchor_of_long_ago_stands_alone_by_the_notarys_entry(network: Network) -> None:
    made = await anchored_proof(network)
    await support.mine(network.rpc, MAX_HEADERS)
    alone = parse(dump(await stand_alone(network.rpc, made)))
    anchor, was = alone.statement.anchor, made.statement.anchor
    assert anchor is not None
    assert was is not None
    assert anchor == replace(was, transaction=None, block_hash=None)
    assert alone.ledger is not None
    assert len(alone.ledger.headers) == 1
    block = block_to_trust(alone.ledger).hash
    trust = Trust("test", made.network)
    content = measure(io.BytesIO(CONTENT))
    assert verify(content, alone, trust, await standalone_facts(alone, made.network, block)).exit_code == 0
    for number, time in ((was.block_number + 1, was.time), (was.block_number, was.time + 1)):
        other = replace(alone.statement, anchor=replace(anchor, block_number=number, time=time))
        forged = replace(alone, statement=other)
        assert verify(content, forged, trust, await standalone_facts(forged, made.network, block)).exit_code == 1
