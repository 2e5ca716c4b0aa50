"""A node that answers with something else than it must: that is no answer, whatever was asked and whatever came."""

import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from typing import Any

import pytest

from docex.core.transactions import Attempt, StoredTransaction, TransactionRequest, TransactionStatus
from docex.errors import LedgerError, LedgerUnavailable, NotFound
from docex.ledger import answers, chain, follow, market, prepare
from docex.ledger.directory import DirectoryClient
from docex.ledger.evidence import stand_alone
from docex.ledger.memory import MemoryStore
from docex.ledger.notary import NotaryClient
from docex.ledger.reader import RpcLedgerReader
from docex.ledger.rpc import Rpc
from tests.fixtures.anchored import anchored_proof
from tests.unit.ledger.steps import TO
from tests.unit.ledger.support import Network, sender_of

ODD: tuple[object, ...] = (
    None,
    "",
    "0x",
    "7",
    "garbage",
    "0x" + "f" * 64,
    "0x" + "f" * 65,
    "0x-1",
    "0x0_1",
    7,
    True,
    [],
    {},
)
INSIDE: tuple[object, ...] = (None, "0x", "garbage", "0x" + "f" * 64, {}, ...)
"""What a part of an answer is replaced by; ``...``: it is left out."""


def test_a_number_is_hexadecimal() -> None:
    assert [answers.number(each) for each in ("0x0", "0x0F", "0x000f")] == [0, 15, 15]
    assert answers.number("0x" + "f" * 64, answers.WORD) == 2**256 - 1


@pytest.mark.parametrize("answer", [*ODD, "0x" + "0" * 65, hex(2**63), " 0x1", "0x1\n", "1x1", 0.5])
def test_what_is_no_number_is_no_answer(answer: object) -> None:
    with pytest.raises(LedgerUnavailable, match="a number of at most 63 bits was asked for, not") as error:
        answers.number(answer)
    assert error.value.code == "ledger_unavailable"
    assert len(str(error.value)) < 200


def test_data_has_whole_bytes_and_the_size_that_it_must_have() -> None:
    assert answers.data("0x") == b""
    assert answers.data("0x0aFF") == answers.data("0x0aFF", 2) == b"\n\xff"
    for answer in (None, "", "0", "0x0", "0xzz", "0x00\n", 7, b"0x00"):
        with pytest.raises(LedgerUnavailable, match="data was asked for"):
            answers.data(answer)
    with pytest.raises(LedgerUnavailable, match="3 bytes of data was asked for, not '0x0aFF'"):
        answers.data("0x0aFF", 3)


def test_objects_have_their_fields_and_lists_are_lists() -> None:
    assert answers.field({"a": None}, "a") is None
    assert answers.items([1]) == [1]
    with pytest.raises(LedgerUnavailable, match="an object with 'b' was asked for"):
        answers.field({"a": 1}, "b")
    wrong: tuple[object, ...] = (None, "a", [1])
    for answer in wrong:
        with pytest.raises(LedgerUnavailable, match="an object was asked for"):
            answers.field(answer, "a")
    wrong = (None, "a", {})
    for answer in wrong:
        with pytest.raises(LedgerUnavailable, match="a list was asked for"):
            answers.items(answer)


# --- whatever is asked -----------------------------------------------------------------------------------------------

Ask = Callable[[Rpc], Awaitable[object]]
Path = tuple[str | int, ...]


class Recorded(Rpc):
    """A node whose answers are kept, and given again with one thing in them changed."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.kept: dict[str, Any] = {}
        self.spoil: tuple[str, Path, object] | None = None

    async def batch(self, calls: Sequence[tuple[str, Sequence[object]]]) -> list[Any]:
        names = [json.dumps(call) for call in calls]
        if self.spoil is None:
            self.kept |= zip(names, await super().batch(calls), strict=True)
        found = [self.kept.get(name) for name in names]
        return [self._spoilt(name, answer) for name, answer in zip(names, found, strict=True)]

    def _spoilt(self, name: str, answer: Any) -> Any:
        if self.spoil is None or self.spoil[0] != name:
            return answer
        _, path, value = self.spoil
        return _changed(deepcopy(answer), path, value)


def _changed(answer: Any, path: Path, value: object) -> Any:
    if not path:
        return value
    if len(path) == 1 and value is ...:
        del answer[path[0]]
    else:
        answer[path[0]] = _changed(answer[path[0]], path[1:], value)
    return answer


def _places(answer: Any, path: Path = ()) -> Iterator[Path]:
    """Everything in an answer that can be changed; of lists the first thing stands for all."""
    yield path
    some = answer.items() if isinstance(answer, dict) else enumerate(answer[:1]) if isinstance(answer, list) else ()
    for name, inner in some:
        yield from _places(inner, (*path, name))


@pytest.fixture
async def asks(network: Network) -> dict[str, Ask]:
    """What docex asks, all of it with an answer."""
    proof = await anchored_proof(network)
    made = proof.statement.anchor
    assert made is not None
    assert made.transaction is not None
    transaction, number = made.transaction, made.block_number
    deployment, account = network.deployment, network.member.address
    (anchor,) = await network.notary.anchors_of(account, number, number)
    attempt = Attempt(0, 0, transaction, b"", 0, 0, 0)
    request = TransactionRequest("a", deployment.chain_id, account, TO, b"", 1, 0)
    row = StoredTransaction(request, 0, TransactionStatus.PENDING, (attempt,), None)
    return {
        "chain_id": lambda rpc: rpc.chain_id(),
        "transaction": lambda rpc: chain.transaction(rpc, transaction),
        "balance": lambda rpc: chain.balance(rpc, account),
        "market": lambda rpc: market.read(rpc, account),
        "prepare": lambda rpc: prepare.request(rpc, request),
        "observe": lambda rpc: follow.observe(rpc, [row]),
        "members": lambda rpc: DirectoryClient(rpc, deployment.directory).members(),
        "keys": lambda rpc: DirectoryClient(rpc, deployment.directory).keys(account),
        "anchors": lambda rpc: NotaryClient(rpc, deployment.notary).anchors_of(account, number, number),
        "anchoring": lambda rpc: NotaryClient(rpc, deployment.notary).anchoring_transaction(anchor),
        "made_by": lambda rpc: RpcLedgerReader(rpc, proof.network).anchors_made_by(transaction, number),
        "adopt": lambda rpc: sender_of(rpc, network.member, MemoryStore()).adopt("a", transaction),
        "alone": lambda rpc: stand_alone(rpc, proof),
    }


async def test_no_answer_however_odd_is_anything_but_an_error_of_the_ledger(
    network: Network, asks: dict[str, Ask]
) -> None:
    async with Recorded(network.rpc._url) as rpc:
        for name, ask in asks.items():
            rpc.kept, rpc.spoil = {}, None
            assert await ask(rpc) is not None, name
            seen: set[tuple[str, Path]] = set()
            for call, answer in list(rpc.kept.items()):
                for path in _places(answer):
                    if (kind := (json.loads(call)[0], path)) in seen:
                        continue
                    seen.add(kind)
                    for value in INSIDE if path else ODD:
                        rpc.spoil = call, path, value
                        try:
                            with suppress(LedgerError, NotFound):
                                await ask(rpc)
                        except Exception as error:
                            raise AssertionError(f"{name}: {rpc.spoil}: {error!r}") from error
