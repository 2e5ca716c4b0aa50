"""The compiled contracts: their calls, answers and custom errors, by the Contract ABI specification (eth_abi)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, ClassVar, Final

from docex.core.account import format_address
from docex.errors import LedgerError, LedgerRejected, LedgerUnavailable, NotMember, UsageError

NAMES: Final = ("Directory", "Notary", "Assets")


class ContractRejected(LedgerRejected):
    """A contract refused the call with one of its custom errors."""

    code: ClassVar[str] = LedgerRejected.code

    def __init__(self, name: str, arguments: Mapping[str, object]) -> None:
        super().__init__(_text(name, arguments))
        self.name = name
        self.arguments = dict(arguments)


class Contract:
    """One compiled contract. Arguments and results are in the ABI's order; addresses are EIP-55 text."""

    def __init__(self, artifact: Mapping[str, Any]) -> None:
        """``artifact``: the parsed JSON of ``docex/ledger/artifacts``."""
        self.bytecode = bytes.fromhex(artifact["bytecode"][2:])
        self._entries: dict[tuple[str, str], Any] = {
            (entry["type"], entry.get("name", "")): entry for entry in artifact["abi"]
        }

    def encode(self, function: str, *arguments: object) -> bytes:
        """Call data: the function's selector and its arguments."""
        from eth_utils.abi import function_abi_to_4byte_selector

        entry = self._entries["function", function]
        return function_abi_to_4byte_selector(entry) + _encode(entry["inputs"], arguments)

    def decode(self, function: str, data: bytes) -> tuple[Any, ...]:
        """What a function returned. Raises LedgerUnavailable when the node's answer is not of its types."""
        return _decode(self._entries["function", function]["outputs"], data)

    def creation(self, *arguments: object) -> bytes:
        """The data of the transaction that deploys the contract."""
        return self.bytecode + _encode(self._entries["constructor", ""]["inputs"], arguments)

    @cached_property
    def _events(self) -> dict[bytes, Any]:
        return {self.topic(name): entry for (kind, name), entry in self._entries.items() if kind == "event"}

    def topic(self, event: str) -> bytes:
        """The first topic of an event's logs."""
        from eth_utils.abi import event_abi_to_log_topic

        return event_abi_to_log_topic(self._entries["event", event])

    def decode_log(self, topics: Sequence[bytes], data: bytes) -> tuple[str, dict[str, Any]] | None:
        """An event's name and its arguments by their names; None when the contract has no such event.

        Raises LedgerUnavailable when the node's answer is not of the event's types.
        """
        entry = self._events.get(topics[0]) if topics else None
        if entry is None:
            return None
        indexed = [item for item in entry["inputs"] if item["indexed"]]
        others = [item for item in entry["inputs"] if not item["indexed"]]
        values = _decode(indexed, b"".join(topics[1:])) + _decode(others, data)
        return entry["name"], dict(zip((item["name"] for item in indexed + others), values, strict=True))

    def errors(self) -> dict[bytes, Any]:
        """The ABI entries of the contract's custom errors, by their selectors."""
        from eth_utils.abi import abi_to_signature, function_signature_to_4byte_selector

        return {
            function_signature_to_4byte_selector(abi_to_signature(entry)): entry
            for (kind, _), entry in self._entries.items()
            if kind == "error"
        }


@cache
def load(name: str) -> Contract:
    """The contract ``Directory``, ``Notary`` or ``Assets``, as committed."""
    text = (files("docex.ledger") / "artifacts" / f"{name}.json").read_text(encoding="utf-8")
    return Contract(json.loads(text))


def rejection(data: bytes) -> LedgerError | None:
    """The error that revert data states, or None when there is none.

    ``NotActiveMember`` becomes NotMember, any other custom error of our contracts ContractRejected with its name and
    arguments; ``Error(string)`` of a ``require`` and unknown errors become LedgerRejected.
    """
    if not data:
        return None
    entry = _errors().get(data[:4])
    if entry is None:
        return LedgerRejected(f"the contract refused the call (revert data 0x{data[:68].hex()})")
    names = [item["name"] for item in entry["inputs"]]
    arguments = dict(zip(names, _decode(entry["inputs"], data[4:]), strict=True))
    if entry["name"] == "NotActiveMember":
        return NotMember(f"{arguments['account']} is not an active member ({_text('NotActiveMember', arguments)})")
    return ContractRejected(entry["name"], arguments)


@cache
def _errors() -> dict[bytes, Any]:
    from eth_utils.abi import function_signature_to_4byte_selector

    message = {"name": "Error", "inputs": [{"name": "message", "type": "string"}]}
    merged: dict[bytes, Any] = {function_signature_to_4byte_selector("Error(string)"): message}
    for name in NAMES:
        merged |= load(name).errors()
    return merged


def _text(name: str, arguments: Mapping[str, object]) -> str:
    return f"{name}({', '.join(f'{key}={_shown(value)}' for key, value in arguments.items())})"


def _shown(value: object) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)


def _types(parameters: Any) -> list[str]:
    from eth_utils.abi import collapse_if_tuple

    return [collapse_if_tuple(parameter) for parameter in parameters]


def _encode(parameters: Any, arguments: tuple[object, ...]) -> bytes:
    from eth_abi.abi import encode
    from eth_abi.exceptions import EncodingError

    try:
        return encode(_types(parameters), arguments)
    except EncodingError as error:
        raise UsageError(f"a contract takes no such value: {error}") from None


def _decode(parameters: Any, data: bytes) -> tuple[Any, ...]:
    from eth_abi.abi import decode
    from eth_abi.exceptions import DecodingError

    # Text is what some member wrote, and contracts don't check it: what is not UTF-8 must not hinder who reads on.
    types = [kind.replace("string", "bytes") for kind in _types(parameters)]
    try:
        values = decode(types, data)
    except (DecodingError, OverflowError) as error:
        raise LedgerUnavailable(f"the ledger node answered with something else than was asked: {error}") from None
    return tuple(_readable(parameter, value) for parameter, value in zip(parameters, values, strict=True))


def _readable(parameter: Any, value: Any) -> Any:
    kind = parameter["type"]
    if kind.endswith("[]"):
        item = {**parameter, "type": kind[:-2]}
        return tuple(_readable(item, each) for each in value)
    if kind == "tuple":
        return tuple(_readable(item, each) for item, each in zip(parameter["components"], value, strict=True))
    if kind == "string":
        return value.decode("utf-8", "replace")
    return format_address(bytes.fromhex(value[2:])) if kind == "address" else value
