"""The verifier's own settings: which networks it trusts, in one small JSON file. Nothing in a proof can change them."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from docex.core import proof as proofs
from docex.core.account import parse_address, require_checksum
from docex.core.encoding import load_object
from docex.core.facts import DEFAULT_CONFIRMATIONS, Trust
from docex.core.proof import Network
from docex.core.timestamp import check_certificate
from docex.errors import Conflict, DocexError, NotFound, UsageError

FORMAT: Final = "docex-trust/1"
MAX_FILE_BYTES: Final = 1 << 20
MAX_CONFIRMATIONS: Final = 1_000_000
MAX_CERTIFICATES: Final = 16
"""Most TSA certificates of one network."""
ENVIRONMENT: Final = "DOCEX_TRUST"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_REQUIRED: Final = frozenset(["name", "chain_id", "directory", "notary", "confirmations"])


@dataclass(frozen=True, slots=True)
class TrustedNetwork:
    """One network of the settings: what is trusted, and optionally the RPC URL where it is read."""

    trust: Trust
    rpc: str | None = None

    def __post_init__(self) -> None:
        """Raises UsageError when a value is not allowed."""
        if _NAME.fullmatch(self.trust.name) is None:
            raise UsageError("a network's name is 1 to 64 letters, digits, dots, dashes or underscores")
        network = self.trust.network
        if not 1 <= network.chain_id <= proofs.MAX_CHAIN_ID:
            raise UsageError(f"a chain id is a whole number from 1 to {proofs.MAX_CHAIN_ID}")
        require_checksum(network.directory)
        require_checksum(network.notary)
        if not 0 <= self.trust.confirmations <= MAX_CONFIRMATIONS:
            raise UsageError(f"confirmations are a whole number from 0 to {MAX_CONFIRMATIONS}")
        if self.rpc is not None and not _is_http(self.rpc):
            raise UsageError("an RPC URL starts with http:// or https:// and names a host")
        certificates = self.trust.tsa_certificates
        if len(certificates) > MAX_CERTIFICATES:
            raise UsageError(f"a network has at most {MAX_CERTIFICATES} TSA certificates")
        if any(check_certificate(pem) != pem for pem in certificates):
            raise UsageError("a TSA certificate is kept without any text around it")

    def to_json(self) -> dict[str, Any]:
        """The network as JSON values; ``rpc`` and ``tsa_certificates`` only when there are any."""
        network = self.trust.network
        value: dict[str, Any] = {
            "name": self.trust.name,
            "chain_id": network.chain_id,
            "directory": network.directory,
            "notary": network.notary,
            "confirmations": self.trust.confirmations,
        }
        if self.rpc is not None:
            value["rpc"] = self.rpc
        if certificates := self.trust.tsa_certificates:
            value["tsa_certificates"] = list(certificates)
        return value


def network(
    name: str,
    chain_id: int,
    directory: str,
    notary: str,
    rpc: str | None = None,
    confirmations: int | None = None,
    tsa_certificates: Sequence[str] = (),
) -> TrustedNetwork:
    """A network as a person names it: addresses may lack their checksum's capitals, certificates have text around them.

    Raises:
        UsageError: a value is not allowed.
    """
    contracts = Network(chain_id, parse_address(directory), parse_address(notary))
    depth = DEFAULT_CONFIRMATIONS if confirmations is None else confirmations
    return TrustedNetwork(Trust(name, contracts, depth, tuple(check_certificate(pem) for pem in tsa_certificates)), rpc)


def default_path(environment: Mapping[str, str]) -> Path:
    """Where the settings are: ``$DOCEX_TRUST``, else ``$XDG_CONFIG_HOME/docex/trust.json`` (XDG base directories)."""
    if named := environment.get(ENVIRONMENT):
        return Path(named)
    base = environment.get("XDG_CONFIG_HOME", "")
    # The XDG specification has relative paths ignored.
    folder = Path(base) if base.startswith("/") else Path(environment.get("HOME") or Path.home()) / ".config"
    return folder / "docex" / "trust.json"


def choose(networks: tuple[TrustedNetwork, ...], claimed: Network, name: str | None = None) -> TrustedNetwork | None:
    """The trusted network to hold a proof against; None when none is trusted.

    With ``name``, that one. Otherwise the one that the proof names, if it is trusted; else the first, so that the
    verdict says what differs.

    Raises:
        UsageError: there is no network ``name``.
    """
    if name is not None:
        try:
            return _named(networks, name)
        except NotFound as error:
            raise UsageError(str(error)) from error
    # What a proof claims only picks among networks that the verifier trusts already.
    return next((one for one in networks if one.trust.network == claimed), networks[0] if networks else None)


class TrustStore:
    """The settings in one file, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def networks(self) -> tuple[TrustedNetwork, ...]:
        """The trusted networks, in the order they were added.

        Raises:
            UsageError: the file can't be read or is not well-formed settings; the message names it and the member.
        """
        try:
            with self.path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise UsageError(f"the trust settings {self.path} can't be read: {error.strerror}") from error
        try:
            return _parse(data)
        except DocexError as error:
            raise UsageError(f"the trust settings {self.path} are not valid: {error}") from error

    def add(self, new: TrustedNetwork, *, replace: bool = False) -> None:
        """Trust one more network.

        Raises:
            Conflict: there is a network of this name, or with the same chain and contracts, and ``replace`` is false.
            UsageError: the settings can't be read or written.
        """
        networks = self.networks()
        same = [one for one in networks if _same(one, new)]
        if same and not replace:
            raise Conflict(f"{same[0].trust.name} ({same[0].trust.network}) is trusted already: use --replace")
        self._write((*(one for one in networks if one not in same), new))

    def remove(self, name: str) -> TrustedNetwork:
        """Trust a network no longer; returns what it was.

        Raises:
            NotFound: there is no network ``name``.
            UsageError: the settings can't be read or written.
        """
        networks = self.networks()
        removed = _named(networks, name)
        self._write(tuple(one for one in networks if one is not removed))
        return removed

    def _write(self, networks: tuple[TrustedNetwork, ...]) -> None:
        """Replace the file in one step, readable by its owner only: an RPC URL may hold a secret."""
        value = {"format": FORMAT, "networks": [one.to_json() for one in networks]}
        data = json.dumps(value, indent=2).encode("ascii") + b"\n"
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A file of mkstemp has mode 0600.
            handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).replace(self.path)
            except OSError:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise UsageError(f"the trust settings {self.path} can't be written: {error.strerror}") from error


def _same(one: TrustedNetwork, other: TrustedNetwork) -> bool:
    return one.trust.name == other.trust.name or one.trust.network == other.trust.network


def _named(networks: tuple[TrustedNetwork, ...], name: str) -> TrustedNetwork:
    for one in networks:
        if one.trust.name == name:
            return one
    names = ", ".join(one.trust.name for one in networks) or "none"
    raise NotFound(f"no network {name[:64]!a} is trusted (trusted: {names})")


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and url.isascii() and url.isprintable()
    except ValueError:
        return False


def _parse(data: bytes) -> tuple[TrustedNetwork, ...]:
    if len(data) > MAX_FILE_BYTES:
        raise UsageError(f"longer than {MAX_FILE_BYTES} bytes")
    value = load_object(data)
    if value.keys() != {"format", "networks"} or value["format"] != FORMAT:
        raise UsageError(f"expected the members format ({FORMAT}) and networks, and no other")
    if not isinstance(value["networks"], list):
        raise UsageError("networks must be a list")
    networks: list[TrustedNetwork] = []
    for position, item in enumerate(value["networks"]):
        try:
            one = _network(item)
        except DocexError as error:
            raise UsageError(f"networks[{position}]: {error}") from error
        if any(_same(one, other) for other in networks):
            raise UsageError(f"networks[{position}]: {one.trust.name} is there twice, by name or by its contracts")
        networks.append(one)
    return tuple(networks)


def _network(value: Any) -> TrustedNetwork:
    if not isinstance(value, dict) or value.keys() - {"rpc", "tsa_certificates"} != _REQUIRED:
        required = ", ".join(sorted(_REQUIRED))
        raise UsageError(f"expected an object with {required} and optionally rpc and tsa_certificates")
    for name, kind in _KINDS.items():
        if name in value and type(value[name]) is not kind:
            raise UsageError(f"{name} must be {_NAMES[kind]}")
    certificates = value.get("tsa_certificates", [])
    if not all(isinstance(pem, str) for pem in certificates):
        raise UsageError("tsa_certificates must be a list of text")
    contracts = Network(value["chain_id"], value["directory"], value["notary"])
    return TrustedNetwork(
        Trust(value["name"], contracts, value["confirmations"], tuple(certificates)), value.get("rpc")
    )


_NAMES: Final[Mapping[Callable[..., Any], str]] = {str: "text", int: "a whole number", list: "a list of text"}
_KINDS: Mapping[str, Callable[..., Any]] = {
    "name": str,
    "chain_id": int,
    "directory": str,
    "notary": str,
    "confirmations": int,
    "rpc": str,
    "tsa_certificates": list,
}
