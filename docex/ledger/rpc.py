"""The connection to an EVM node: JSON-RPC 2.0 over HTTP (docs/adr/0010). aiohttp is loaded with the first request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self
from urllib.parse import urlsplit

from docex.errors import LedgerError, LedgerUnavailable, UsageError
from docex.ledger import answers
from docex.ledger.contracts import rejection
from docex.ledger.views import Call, Views

if TYPE_CHECKING:
    from aiohttp import ClientSession

MAX_BATCH: Final = 200
"""Most calls in one JSON-RPC batch: nodes limit them (geth to 1,000)."""


class RpcError(LedgerError):
    """The node answered a call with a JSON-RPC error. ``data`` is a contract's revert data, where there is some."""

    code: ClassVar[str] = "ledger_rpc_error"

    def __init__(self, method: str, number: int, message: str, data: bytes = b"") -> None:
        super().__init__(f"{method}: {message} ({number})")
        self.number = number
        self.message = message
        self.data = data

    def reason(self) -> LedgerError:
        """The contract's own error (LedgerRejected, NotMember) when this is one, else this error itself."""
        return rejection(self.data) or self


class Rpc:
    """One node, by its URL. Use as ``async with``, or call ``aclose``; one instance serves one event loop."""

    def __init__(self, url: str, *, chain_id: int | None = None, timeout: float = 10.0) -> None:
        """``chain_id``: the chain that must answer. ``timeout``: seconds for each request.

        Raises UsageError when the URL is not an HTTP one.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError("the RPC URL must start with http:// or https:// and name a host")
        # Hosted nodes put secrets into the user part, path or query: messages name the host only.
        self.name = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
        self._url = url
        self._timeout = timeout
        self._expected = chain_id
        self._checked = chain_id is None
        self._session: ClientSession | None = None
        self._ids = count()
        self._views = Views(self._view)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def chain_id(self) -> int:
        """The chain id that the node reports."""
        return answers.number(await self.call("eth_chainId"))

    async def call(self, method: str, *params: object) -> Any:
        """The result of one call.

        Raises RpcError when the node answers with an error, LedgerUnavailable when it can't be reached in time or
        answers with something else, LedgerError when it serves another chain than it should.
        """
        (result,) = await self.batch([(method, params)])
        if isinstance(result, RpcError):
            raise result
        return result

    async def batch(self, calls: Sequence[tuple[str, Sequence[object]]]) -> list[Any]:
        """The results of many calls, in their order, in as few requests as ``MAX_BATCH`` allows.

        A call that the node answers with an error has an RpcError in its place: one failure doesn't hide the others'
        results. The node may run them in any order. Otherwise raises as ``call`` does.
        """
        if not self._checked:
            await self._check_chain()
        results: list[Any] = []
        for start in range(0, len(calls), MAX_BATCH):
            results += await self._request(calls[start : start + MAX_BATCH])
        return results

    async def eth_call(self, to: str, data: bytes) -> bytes:
        """What a contract's view returns at the latest block. Raises as ``eth_calls`` and ``batch`` do."""
        (result,) = await self.eth_calls(to, [data])
        return result

    async def eth_calls(self, to: str, calls: Sequence[bytes]) -> list[bytes]:
        """What several views of a contract return.

        Raises LedgerRejected (or NotMember) with the contract's own error when one reverts, and LedgerError when there
        is no contract at the address.
        """
        results = await self._views.answers([(to, data) for data in calls])
        for result in results:
            if isinstance(result, RpcError):
                raise result.reason()
            if result == "0x":
                raise LedgerError(f"there is no contract at {to} on the chain of {self.name}")
        return [answers.data(result) for result in results]

    async def _view(self, calls: Sequence[Call]) -> list[Any]:
        return await self.batch([("eth_call", ({"to": to, "data": "0x" + data.hex()}, "latest")) for to, data in calls])

    async def _check_chain(self) -> None:
        (answer,) = await self._request([("eth_chainId", ())])
        if isinstance(answer, RpcError):
            raise answer
        if (served := answers.number(answer)) != self._expected:
            raise LedgerError(f"{self.name} serves chain {served}, not {self._expected}")
        self._checked = True

    async def _request(self, calls: Sequence[tuple[str, Sequence[object]]]) -> list[Any]:
        import aiohttp

        asked = [
            {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": list(params)}
            for method, params in calls
        ]
        try:
            found = _in_order(asked, await self._post(asked if len(asked) > 1 else asked[0]))
            return [_result(method, answer) for (method, _), answer in zip(calls, found, strict=True)]
        except (
            aiohttp.ClientError,
            OSError,
            ValueError,
            LookupError,
            TypeError,
            OverflowError,
            RecursionError,
        ) as error:
            # Whoever answers after a gap may be another chain: ask again.
            self._checked = self._expected is None
            detail = str(error) if not isinstance(error, aiohttp.ClientResponseError) else f"HTTP {error.status}"
            cause = f"{type(error).__name__}: {detail}".replace(self._url, self.name).replace(" ssl:default", "")
            raise LedgerUnavailable(f"the ledger node {self.name} did not answer ({cause})") from None

    async def _post(self, asked: object) -> Any:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True),  # one kept open may be closed as it is used again
                headers={"content-type": "application/json"},
                raise_for_status=True,
                timeout=aiohttp.ClientTimeout(total=self._timeout),
            )
        async with self._session.post(self._url, data=json.dumps(asked).encode()) as answer:
            return json.loads(await answer.read())


def _in_order(asked: Sequence[dict[str, Any]], answer: Any) -> list[Any]:
    """The answers to a request, in its order: a node may answer a batch in any."""
    if len(asked) == 1:
        return [answer]
    if not isinstance(answer, list) or len(answer) != len(asked):
        raise ValueError("the answer to a batch is not a list of as many answers")
    by_id = {each["id"]: each for each in answer}
    return [by_id[each["id"]] for each in asked]


def _result(method: str, answer: object) -> Any:
    if not isinstance(answer, dict):
        raise ValueError("the answer is not a JSON object")  # noqa: TRY004 - the node's fault, handled as bad JSON is
    error = answer.get("error")
    if error is None:
        return answer["result"]
    if not isinstance(error, dict):
        raise ValueError("the error is not a JSON object")  # noqa: TRY004
    data = error.get("data")
    revert = data if isinstance(data, str) and data.startswith("0x") else "0x"
    return RpcError(method, int(error["code"]), str(error["message"]), bytes.fromhex(revert[2:]))
