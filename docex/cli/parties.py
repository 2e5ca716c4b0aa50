"""The other parties as the command line names them: recipients to seal to, senders to insist on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docex.cli.unlock import read_small
from docex.core.account import parse_caip10
from docex.core.encoding import load_object
from docex.core.jwk import algorithm_of, thumbprint
from docex.core.recipients import Recipient, RecipientInvalid, parse_recipient, recipient_id
from docex.errors import DocexError, UsageError


@dataclass(frozen=True, slots=True)
class Party:
    """A recipient key and, where it came with a public file, the member behind it."""

    recipient: Recipient
    account: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class PublicFile:
    """The public half of a keystore, as ``docex keygen`` prints it, checked against itself."""

    name: str
    account: str
    kid: str
    recipient: Recipient


def read_public(path: Path) -> PublicFile:
    """Read a public file. Raises UsageError when it is not one, or its parts do not belong together."""
    return _public(path, read_small(path, "the public file"))


def parties(to: Sequence[str], files: Sequence[Path]) -> list[Party]:
    """Whom ``--to`` and ``-R`` name: recipient texts, public files, or files with a recipient on each line.

    Raises:
        UsageError: something is none of these.
    """
    found: list[Party] = []
    for text in to:
        if text.startswith("age1") and text.isalnum():
            found.append(Party(parse_recipient(text)))
        elif text.startswith("AGE-SECRET-KEY-"):
            raise UsageError("--to was given a secret key: keep it to yourself, and name its public half (age1…)")
        else:
            found += _from_file(Path(text), f"--to {text!r} is neither a recipient (age1…) nor a file")
    for path in files:
        found += _from_file(path, f"the recipients file {path} does not exist")
    return found


def _from_file(path: Path, missing: str) -> Iterator[Party]:
    if not path.exists():
        raise UsageError(missing)
    data = read_small(path, "the recipients file")
    if data.lstrip()[:1] == b"{":
        public = _public(path, data)
        yield Party(public.recipient, public.account, public.name)
        return
    count = 0
    for number, raw in enumerate(data.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith(b"#"):
            continue
        count += 1
        try:
            yield Party(parse_recipient(line.decode("ascii", "replace")))
        except RecipientInvalid as error:
            raise RecipientInvalid(f"{path}, line {number}: {error}") from None
    if not count:
        raise UsageError(f"{path} names no recipient")


def _public(path: Path, data: bytes) -> PublicFile:
    try:
        value: dict[str, Any] = load_object(data)
        members = {name: _text(value, name) for name in ("name", "account", "kid", "recipient", "recipient_id")}
        parse_caip10(members["account"])
        recipient = parse_recipient(members["recipient"])
        if recipient_id(members["recipient"]) != members["recipient_id"]:
            raise UsageError("recipient_id does not belong to recipient")
        signing_key = value.get("signing_key", {})
        algorithm_of(signing_key)
        if thumbprint(signing_key) != members["kid"]:
            raise UsageError("kid does not belong to signing_key")
    except DocexError as error:
        raise UsageError(f"{path} is not a public file of docex keygen: {error}") from None
    return PublicFile(members["name"], members["account"], members["kid"], recipient)


def _text(value: dict[str, Any], name: str) -> str:
    text = value.get(name)
    if not isinstance(text, str):
        raise UsageError(f"{name} is missing")
    return text
