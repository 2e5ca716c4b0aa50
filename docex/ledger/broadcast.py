"""Sends signed bytes, and sorts what nodes say about them.

Sending the same bytes again is harmless and is how a lost transaction gets back into the pool, so answers that mean "I
have this, or its nonce is used" are no problem: what really happened is read from transaction receipts. JSON-RPC has no
codes for these answers; the words below are those of anvil, geth, Besu, Nethermind, Erigon and reth.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from docex.core.transactions import StoredTransaction
from docex.ledger.rpc import Rpc, RpcError


class Problem(StrEnum):
    """Why a node did not take a transaction into its pool."""

    FEE = "fee"
    FUNDS = "funds"
    REFUSED = "refused"


Refusal = tuple[Problem, str]
"""Why, and in the node's words."""

_HARMLESS = (
    "already known",
    "already imported",
    "alreadyknown",
    "known transaction",
    "nonce too low",
    "nonce_too_low",
    "nonce is too low",
    "oldnonce",
    "replacement transaction underpriced",
    "transaction replacement underpriced",
    "replacementnotallowed",
    "replacement not allowed",
)
_FUNDS = ("insufficient funds", "insufficientfunds", "upfront cost exceeds")
_FEE = ("base fee", "fee cap", "basefee", "feetoolow", "underpriced", "gas price below", "tip too low")


def classify(message: str) -> Problem | None:
    """What an answer to ``eth_sendRawTransaction`` means; None when it is harmless."""
    words = message.lower()
    # The order matters: "replacement transaction underpriced" is harmless, "transaction underpriced" isn't.
    for problem, phrases in ((None, _HARMLESS), (Problem.FUNDS, _FUNDS), (Problem.FEE, _FEE)):
        if any(phrase in words for phrase in phrases):
            return problem
    return Problem.REFUSED


async def send(rpc: Rpc, rows: Sequence[StoredTransaction]) -> dict[str, Refusal]:
    """Sends every attempt of each row, by ascending nonce and the oldest attempt first, in batches.

    The older ones, too: a node may have lost them and refuse the newest, which the account can't pay for, say. It keeps
    the best that it takes.

    Returns the newest attempt's problem, with the node's words, by the keys of the rows of which no attempt was taken.
    Raises LedgerUnavailable when the node can't be reached: then any number of them may have arrived.
    """
    attempts = [(row.key, each) for row in sorted(rows, key=lambda row: row.nonce) for each in row.current]
    answers = await rpc.batch([("eth_sendRawTransaction", ("0x" + each.raw.hex(),)) for _, each in attempts])
    problems: dict[str, Refusal] = {}
    taken: set[str] = set()
    for (key, _), answer in zip(attempts, answers, strict=True):
        problem = classify(answer.message) if isinstance(answer, RpcError) else None
        if isinstance(answer, RpcError) and problem is not None:
            problems[key] = (problem, answer.message)
        else:
            taken.add(key)
    return {key: problem for key, problem in problems.items() if key not in taken}
