"""The connection to an EVM node: JSON-RPC over HTTP through web3.py's asynchronous provider.

web3.py takes over a second to import, so it is loaded with the first request. What is used of it is its transport
(0.6 ms a call and 16 us a call in a batch here, against 0.8 ms and 13 us over httpx): middleware, contract objects and
filters are left out, since the sender must know which bytes are sent, when, and how often.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, cast
from urllib.parse import urlsplit

from docex.errors import LedgerError, LedgerUnavailable, UsageError
from docex.ledger import kept_recursion_limit
from docex.ledger.contracts import rejection

if TYPE_CHECKING:
    from web3 import AsyncHTTPProvider
    from web3.types import RPCEndpoint, RPCResponse

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
        self._provider: AsyncHTTPProvider | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections."""
        if self._provider is not None:
            await self._provider.disconnect()
            self._provider = None

    async def chain_id(self) -> int:
        """The chain id that the node reports."""
        return self._number(await self.call("eth_chainId"))

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
        requests = [("eth_call", ({"to": to, "data": "0x" + data.hex()}, "latest")) for data in calls]
        results = await self.batch(requests)
        for result in results:
            if isinstance(result, RpcError):
                raise result.reason()
            if result == "0x":
                raise LedgerError(f"there is no contract at {to} on the chain of {self.name}")
        return [self._data(result) for result in results]

    def _data(self, answer: object) -> bytes:
        try:
            return bytes.fromhex(str(answer)[2:])
        except ValueError:
            raise LedgerUnavailable(f"{self.name} answers a call with no data: it is not a ledger node") from None

    def _number(self, answer: object) -> int:
        try:
            return int(str(answer), 16)
        except ValueError:
            raise LedgerUnavailable(f"{self.name} answers with no number: it is not a ledger node") from None

    async def _check_chain(self) -> None:
        (answer,) = await self._request([("eth_chainId", ())])
        if isinstance(answer, RpcError):
            raise answer
        if (served := self._number(answer)) != self._expected:
            raise LedgerError(f"{self.name} serves chain {served}, not {self._expected}")
        self._checked = True

    async def _request(self, calls: Sequence[tuple[str, Sequence[object]]]) -> list[Any]:
        import aiohttp

        with kept_recursion_limit():
            from web3.exceptions import Web3Exception

        provider = self._connect()
        try:
            if len(calls) == 1:
                method, params = calls[0]
                answers = [await provider.make_request(cast("RPCEndpoint", method), params)]
            else:
                answers = await _batch(provider, calls)
            return [_result(method, answer) for (method, _), answer in zip(calls, answers, strict=True)]
        except (
            aiohttp.ClientError,
            OSError,
            Web3Exception,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
        ) as error:
            # The last four: web3.py sorts and unpacks whatever JSON came back without looking at its types.
            # Whoever answers after a gap may be another chain: ask again.
            self._checked = self._expected is None
            detail = str(error) if not isinstance(error, aiohttp.ClientResponseError) else f"HTTP {error.status}"
            cause = f"{type(error).__name__}: {detail}".replace(self._url, self.name).replace(" ssl:default", "")
            raise LedgerUnavailable(f"the ledger node {self.name} did not answer ({cause})") from None

    def _connect(self) -> AsyncHTTPProvider:
        if self._provider is None:
            import aiohttp

            with kept_recursion_limit():
                from web3 import AsyncHTTPProvider

            # The provider's own retries are off: what is repeated, and when, is the caller's decision.
            self._provider = AsyncHTTPProvider(
                self._url,
                request_kwargs={"timeout": aiohttp.ClientTimeout(total=self._timeout)},
                exception_retry_configuration=None,
            )
        return self._provider


async def _batch(provider: AsyncHTTPProvider, calls: Sequence[tuple[str, Sequence[object]]]) -> list[RPCResponse]:
    answers = await provider.make_batch_request([(cast("RPCEndpoint", method), params) for method, params in calls])
    if not isinstance(answers, list) or len(answers) != len(calls):
        raise ValueError("the answer to a batch is not a list of as many answers")
    return answers


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
