"""What statements say: one frozen class for each statement type, read strictly from JSON. See docs/proof.md.

Digests are kept in their text form (``sha256:<hex>``), since that is what is signed and compared. A key of a
recipient is named by its key id: SHA-256 over the recipient text, base64url.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, ClassVar, get_args

from docex.core import names
from docex.core.account import parse_caip10
from docex.core.digest import parse_digest
from docex.core.encoding import b64url_decode
from docex.errors import DocexError, NameInvalid, StatementInvalid

MAX_TEXT = 1024
MAX_LIST = 10_000
KINDS = ("quality", "conformity", "carbon", "material", "recycled", "other")
OUTCOMES = ("received", "accepted", "rejected")


@dataclass(frozen=True, slots=True)
class Addressee:
    """Whom a packet is for: the recipient key it was sealed to and, where known, the member behind it."""

    key: str
    account: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """The issuer vouches for a document: these bytes, under this name."""

    TYPE: ClassVar[str] = "document"
    digest: str
    size: int
    name: str
    media_type: str
    folder: str = ""
    kind: str = "other"
    supersedes: str | None = None

    @property
    def path(self) -> str:
        """Folder and name, joined."""
        return names.join(self.folder, self.name)


@dataclass(frozen=True, slots=True)
class Packet:
    """(Inside the packet) the sender binds these document statements to these addressees."""

    TYPE: ClassVar[str] = "packet"
    documents: tuple[str, ...]
    sender: str
    to: tuple[Addressee, ...]


@dataclass(frozen=True, slots=True)
class Transfer:
    """(Outside the packet) the sender hands a packet to its addressees. ``packet`` is the ciphertext digest.

    ``notary`` is the contract on whose network it is meant, as a CAIP-10 account: nobody can have it, or a receipt for
    it, count on another. ``header`` is the digest of the header it was sent under: a node that can't open the packet
    knows by it that nobody put another header in front. ``fair`` (``True`` or left out): the header follows only
    against a receipt of the ciphertext.
    """

    TYPE: ClassVar[str] = "transfer"
    packet: str
    size: int
    statement: str
    sender: str
    to: tuple[Addressee, ...]
    notary: str
    header: str | None = None
    fair: bool | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """The recipient acknowledges a transfer, naming what was opened.

    The outcome ``received`` is about the ciphertext of a fair transfer alone: nothing of it could be opened yet.
    """

    TYPE: ClassVar[str] = "receipt"
    transfer: str
    packet: str
    opened: tuple[str, ...]
    outcome: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """The holder of a packet lets one more recipient key open it."""

    TYPE: ClassVar[str] = "grant"
    packet: str
    to: Addressee


@dataclass(frozen=True, slots=True)
class Revocation:
    """The issuer takes one of its statements back from a point in time."""

    TYPE: ClassVar[str] = "revocation"
    statement: str
    reason: str
    effective: int


@dataclass(frozen=True, slots=True)
class Link:
    """A document statement belongs to an asset (CAIP-19 asset id)."""

    TYPE: ClassVar[str] = "link"
    asset: str
    statement: str


Body = Document | Packet | Transfer | Receipt | Grant | Revocation | Link
TYPES: Mapping[str, type[Body]] = types.MappingProxyType({body.TYPE: body for body in get_args(Body)})

# "from" is a Python keyword; on the wire the sender is "from".
_WIRE_NAMES = {"sender": "from"}


# The members of each claim by their names on the wire, and those that it must have.
_FIELDS: Mapping[type[Any], Mapping[str, Field[Any]]] = {
    cls: {_WIRE_NAMES.get(field.name, field.name): field for field in fields(cls)}
    for cls in (Addressee, *TYPES.values())
}
_REQUIRED = {
    cls: {name for name, field in members.items() if field.default is MISSING} for cls, members in _FIELDS.items()
}


def to_json(body: Body | Addressee) -> dict[str, Any]:
    """The claim as JSON values; members that are ``None`` are left out."""
    result: dict[str, Any] = {}
    for wire, field in _FIELDS[type(body)].items():
        value = getattr(body, field.name)
        if value is None:
            continue
        if isinstance(value, Addressee):
            value = to_json(value)
        elif isinstance(value, tuple):
            value = [to_json(item) if isinstance(item, Addressee) else item for item in value]
        result[wire] = value
    return result


def from_json(kind: str, value: Any) -> Body:
    """Read the claim of a statement of type ``kind`` (one of `TYPES`).

    Raises:
        StatementInvalid: members are missing, not known, or of the wrong form; the message names the member.
    """
    body: Body = _read(TYPES[kind], value, kind)
    if isinstance(body, Document):
        try:
            names.check_path(body.path)  # folder and name may each be allowed, and be too long together
        except NameInvalid as error:
            raise StatementInvalid(f"document: {error}") from error
    if isinstance(body, Transfer) and body.fair and body.header is None:
        raise StatementInvalid("transfer: a fair one names the header that it holds back")
    if isinstance(body, Receipt) and body.outcome == "received" and (body.opened or body.reason is not None):
        raise StatementInvalid("receipt: of a ciphertext nothing was opened, and there is no reason to give")
    return body


def _read(cls: type[Any], value: Any, where: str) -> Any:
    """Build ``cls`` from a JSON object, each member through the check that `_MEMBERS` names for it."""
    if not isinstance(value, dict):
        raise StatementInvalid(f"{where} must be an object")
    known = _FIELDS[cls]
    if extra := sorted((value.keys() - known.keys()) | (_REQUIRED[cls] - value.keys())):
        raise StatementInvalid(f"{where}: members missing or not known: {', '.join(map(ascii, extra))[:200]}")
    arguments = {}
    for name, item in value.items():
        try:
            arguments[known[name].name] = _MEMBERS[cls, name](item)
        except DocexError as error:
            raise StatementInvalid(f"{where}.{name}: {error}") from error
    return cls(**arguments)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT or not value.isprintable():
        raise StatementInvalid(f"must be printable text of 1 to {MAX_TEXT} characters")
    return value


def _string(check: Callable[[str], object]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str):
            raise StatementInvalid("must be a string")
        check(value)
        return value

    return read


def _one_of(values: tuple[str, ...]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in values:
            raise StatementInvalid(f"must be one of {', '.join(values)}")
        return str(value)

    return read


def _list_of(read_item: Callable[[Any], Any], *, empty: bool = False) -> Callable[[Any], tuple[Any, ...]]:
    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) > MAX_LIST or not (value or empty):
            raise StatementInvalid(f"must be a list of {'0' if empty else '1'} to {MAX_LIST} items")
        items = tuple(read_item(item) for item in value)
        if len(set(items)) != len(items):
            raise StatementInvalid("the same item stands twice in the list")
        return items

    return read


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise StatementInvalid("must be a whole number, zero or more")
    return value


def _true(value: Any) -> bool:
    if value is not True:
        raise StatementInvalid("must be true, or left out")
    return True


def _key_id(value: str) -> None:
    if len(b64url_decode(value)) != 32:
        raise StatementInvalid("must be a key id: 32 bytes in base64url")


def _addressee(value: Any) -> Addressee:
    addressee: Addressee = _read(Addressee, value, "to")
    return addressee


_digest = _string(parse_digest)
_account = _string(parse_caip10)

_MEMBERS: Mapping[tuple[type[Any], str], Callable[[Any], Any]] = types.MappingProxyType(
    {
        (Addressee, "key"): _string(_key_id),
        (Addressee, "account"): _account,
        (Document, "digest"): _digest,
        (Document, "size"): _whole,
        (Document, "name"): _string(names.check_name),
        (Document, "media_type"): _text,
        (Document, "folder"): _string(names.check_folder),
        (Document, "kind"): _one_of(KINDS),
        (Document, "supersedes"): _digest,
        (Packet, "documents"): _list_of(_digest),
        (Packet, "from"): _account,
        (Packet, "to"): _list_of(_addressee),
        (Transfer, "packet"): _digest,
        (Transfer, "size"): _whole,
        (Transfer, "statement"): _digest,
        (Transfer, "from"): _account,
        (Transfer, "notary"): _account,
        (Transfer, "header"): _digest,
        (Transfer, "fair"): _true,
        (Transfer, "to"): _list_of(_addressee),
        (Receipt, "transfer"): _digest,
        (Receipt, "packet"): _digest,
        (Receipt, "opened"): _list_of(_digest, empty=True),
        (Receipt, "outcome"): _one_of(OUTCOMES),
        (Receipt, "reason"): _text,
        (Grant, "packet"): _digest,
        (Grant, "to"): _addressee,
        (Revocation, "statement"): _digest,
        (Revocation, "reason"): _text,
        (Revocation, "effective"): _whole,
        (Link, "asset"): _text,
        (Link, "statement"): _digest,
    }
)
