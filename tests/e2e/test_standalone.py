"""A proof that stands alone: made by a real node on a real chain, checked with nothing but a block hash."""

import asyncio
import copy
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from docex.cli.app import app
from docex.core import proof
from docex.core.facts import Trust
from docex.core.proof import Network, Proof
from docex.core.standalone import block_to_trust
from docex.core.verdict import Outcome, Overall, Verdict
from docex.errors import ProofInvalid, UsageError
from docex.ledger.evidence import stand_alone
from docex.ledger.rpc import Rpc
from docex.verify import Content, standalone_facts, verify
from tests.fixtures.network import Consortium, Join, StartNode

CONTENT = b"%PDF-1.7 quality certificate"
DOCUMENT = Content("sha256:" + hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


@dataclass(frozen=True, slots=True)
class Made:
    """A standalone proof with a receipt, as its JSON, and whom to trust."""

    value: Any
    network: Network
    block: bytes

    @property
    def proof(self) -> Proof:
        return proof.parse(json.dumps(self.value).encode())


async def make(join: Join, start_node: StartNode, consortium: Consortium) -> Made:
    mine, maker = await join("Mine AG"), await join("Maker Ltd")
    sender, _ = await start_node(mine), await start_node(maker)
    document = await sender.deposit("quality/cert.pdf", CONTENT)
    await sender.transfer(["quality/cert.pdf"], maker)
    path = f"proofs/{document['digest']}"
    await sender.until(
        path, lambda it: len(it["related"]) == 2 and all(each["anchor"] for each in (it["statement"], *it["related"]))
    )
    value = await sender.get(path, params={"standalone": "true"})
    deployment = consortium.deployment
    ledger = proof.parse(json.dumps(value).encode()).ledger
    assert ledger is not None
    network = Network(deployment.chain_id, deployment.directory, deployment.notary)
    return Made(value, network, block_to_trust(ledger).hash)


@pytest.fixture(scope="module")
def kept() -> list[Made]:
    return []


@pytest.fixture
async def made(kept: list[Made], join: Join, start_node: StartNode, consortium: Consortium) -> Made:
    """The same for all tests: nobody changes it."""
    if not kept:
        kept.append(await make(join, start_node, consortium))
    return kept[0]


def judged(made: Proof, network: Network, block: bytes) -> Verdict:
    facts = asyncio.run(standalone_facts(made, network, block))
    return verify(DOCUMENT, made, Trust("test", network, confirmations=1), facts)


def reasons(verdict: Verdict) -> str:
    return "\n".join(f"{row.number} {row.outcome}: {row.reason}" for row in verdict.rows)


def leaves(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in JSON that holds no others, and of every list and object."""
    if at:
        yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from leaves(item, (*at, key))


def changes(value: Any) -> Iterator[Any]:
    """Other values of the same kind."""
    if isinstance(value, str):
        for position in {len(value) // 2, len(value) - 2}:
            yield value[:position] + ("1" if value[position] != "1" else "2") + value[position + 1 :]
    elif isinstance(value, int):
        yield value + 1
        if value:
            yield value - 1
    elif isinstance(value, list) and value:
        yield value[1:]
        yield value[:-1]
        yield [*value, value[0]]
        if len(value) > 1:
            yield [value[1], value[0], *value[2:]]
    elif isinstance(value, dict) and value:
        yield {}
    yield None


def changed(value: Any, at: tuple[Any, ...], to: Any) -> Any:
    value = copy.deepcopy(value)
    inner = value
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = to
    return value


def found(value: Any, at: tuple[Any, ...]) -> Any:
    for key in at:
        value = value[key]
    return value


def says_the_same(at: tuple[Any, ...], before: Any, after: Any) -> bool:
    """Trie nodes may stand in any order, related statements too, and a proof may leave some of those out."""
    if at == ("ledger",):
        return after is None  # a proof that doesn't claim to stand alone
    if at == ("related",):
        return after is not None and len(after) <= len(before)
    return at == ("ledger", "nodes") and after is not None and sorted(before) == sorted(after)


async def test_every_required_row_passes_with_no_network_and_no_change_of_any_field_does(made: Made) -> None:
    verdict = await asyncio.to_thread(judged, made.proof, made.network, made.block)
    assert verdict.overall is Overall.VALID, reasons(verdict)
    assert verdict.row(7).outcome is Outcome.PASS
    tried = 0
    for at in leaves(made.value):
        before = found(made.value, at)
        for after in changes(before):
            if says_the_same(at, before, after):
                continue
            tried += 1
            try:
                tampered = proof.parse(json.dumps(changed(made.value, at, after)).encode())
            except ProofInvalid:
                continue
            verdict = await asyncio.to_thread(judged, tampered, made.network, made.block)
            failed = [row for row in verdict.rows if row.outcome is Outcome.FAIL]
            assert failed, f"{at} became {str(after)[:100]}: {reasons(verdict)}"
            assert verdict.overall is Overall.INVALID
    assert tried > 200


async def test_only_the_trusted_block_counts(made: Made) -> None:
    verdict = await asyncio.to_thread(judged, made.proof, made.network, bytes(32))
    assert [row.outcome for row in verdict.rows[2:4]] == [Outcome.FAIL, Outcome.FAIL]
    assert "block header 0 is not that of the trusted block, 0x0000" in verdict.row(4).reason


async def test_contracts_that_are_not_the_trusted_ones_show_nothing(made: Made) -> None:
    elsewhere = replace(made.network, notary="0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")
    verdict = await asyncio.to_thread(judged, replace(made.proof, network=elsewhere), elsewhere, made.block)
    assert verdict.overall is Overall.INVALID
    assert "the proof's evidence of the ledger does not hold" in verdict.row(4).reason


async def test_a_proof_without_evidence_says_where_to_get_it(made: Made) -> None:
    verdict = await asyncio.to_thread(judged, replace(made.proof, ledger=None), made.network, made.block)
    assert verdict.overall is Overall.INVALID
    assert "fetch it with `docex proof --standalone`" in verdict.row(4).reason


async def test_evidence_as_of_a_chosen_block(join: Join, start_node: StartNode, consortium: Consortium) -> None:
    made = await make(join, start_node, consortium)  # of late: a node keeps the states of a while only
    anchor = made.proof.statement.anchor
    assert anchor is not None
    async with Rpc(consortium.chain.url) as rpc:
        alone = replace(made.proof, related=(), ledger=None)
        shown = await stand_alone(rpc, alone, anchor.block_number)
        assert shown.ledger is not None
        assert anchor.block_hash is not None
        assert block_to_trust(shown.ledger).hash == anchor.block_hash
        assert len(shown.ledger.headers) == 1
        facts = await standalone_facts(shown, made.network, anchor.block_hash)
        verdict = verify(DOCUMENT, shown, Trust("test", made.network, 1), facts)
        assert verdict.row(4).outcome is Outcome.NOT_CHECKED
        assert "0 of the 1 confirmations" in verdict.row(4).reason
        with pytest.raises(UsageError, match="comes after the block to trust"):
            await stand_alone(rpc, alone, anchor.block_number - 1)
        with pytest.raises(UsageError, match="there is no block"):
            await stand_alone(rpc, alone, 1 << 40)


async def test_the_command_line_needs_no_network(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "cert.pdf").write_bytes(CONTENT)
    (tmp_path / "proof.json").write_text(json.dumps(made.value))

    def run(*arguments: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            get_command(app)(args=[str(each) for each in arguments], prog_name="docex")
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out + printed.err

    named = ("--directory", made.network.directory, "--notary", made.network.notary)
    await asyncio.to_thread(run, "trust", "add", "main", "--chain-id", made.network.chain_id, *named)
    check: Callable[..., tuple[int, str]] = lambda *more: run("verify", "cert.pdf", "--proof", "proof.json", *more)  # noqa: E731
    code, out = await asyncio.to_thread(check, "--trust-block", f"0x{made.block.hex()}", "--json")
    rows = json.loads(out)["rows"]
    confirmations = rows[3]["details"]["confirmations"]
    assert code == (0 if confirmations >= 3 else 3), out
    code, out = await asyncio.to_thread(check, "--trust-block", "0x12")
    assert (code, "is not a block hash" in out) == (2, True)
    code, out = await asyncio.to_thread(check, "--trust-block", "0x" + 64 * "0", "--rpc", "http://127.0.0.1:1")
    assert (code, "does not go with --rpc" in out) == (2, True)
