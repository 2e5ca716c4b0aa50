"""``docex inspect``: what a packet says about itself."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from docex.cli import output, unlock
from docex.cli.options import IdentityFiles, Json, KeystoreFolder, PassphraseFile

if TYPE_CHECKING:
    from docex.core.age import Header
    from docex.core.age.streams import Source

_READ_SIZE = 1 << 20


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("inspect")(inspect)


def inspect(
    source: Annotated[Path, typer.Argument(metavar="PACKET", help="The packet; - for standard input.")],
    keystore: KeystoreFolder = None,
    identity: IdentityFiles = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Show what a packet says about itself, with keys or without.

    Without keys: for what types of recipients it was sealed, its size, and the digest that statements about it name.
    With --keystore or -i the packet is opened and checked as docex open does it, and its sender, addressees and
    documents are listed; nothing is written.

    Example:  docex inspect batch-7.docex
    """
    from docex.cli import contents
    from docex.cli.streams import opened_source
    from docex.core.age import read_header

    with opened_source(source, "Reading") as (stream, meter):
        header = read_header(stream)
        facts = _header_json(header)
        if keystore is None and not identity:
            with meter:
                facts |= _payload_json(stream, meter)
            opened = None
        else:
            from docex.core.packet import Discard, open_packet

            keys = unlock.identities(keystore, identity or [], passphrase_file)
            with meter:
                opened = open_packet(_Rewound(header, stream), keys, Discard(), progress=meter)
            facts |= {"payload_size": opened.payload_size, "payload_digest": opened.payload_digest}
            facts |= contents.to_json(opened)
    if json:
        output.as_json(facts)
        return
    _show(facts)
    if opened is not None:
        contents.show(opened)
        output.warning("the signer's key was not checked against the ledger; docex verify does that")
    else:
        output.note("Sender and documents are inside: --keystore or -i shows them, to a recipient.")


def _header_json(header: Header) -> dict[str, Any]:
    from keys.recipient import RSA

    stanzas = [
        {"type": each.type, "key": each.args[0] if each.type == RSA and each.args else None} for each in header.stanzas
    ]
    return {"format": "age-encryption.org/v1", "recipients": stanzas, "header_size": len(header.raw)}


def _payload_json(stream: Source, meter: output.Meter) -> dict[str, Any]:
    hasher, size = hashlib.sha256(), 0
    while data := stream.read(_READ_SIZE):
        hasher.update(data)
        size += len(data)
        meter(len(data))
    return {"payload_size": size, "payload_digest": f"sha256:{hasher.hexdigest()}"}


def _show(facts: dict[str, Any]) -> None:
    kinds = Counter(each["type"] for each in facts["recipients"])
    rows = [
        ("Format", f"age file ({facts['format']})"),
        ("Sealed to", ", ".join(f"{count} x {kind}" for kind, count in kinds.items())),
        *(("", f"key {each['key']}") for each in facts["recipients"] if each["key"]),
        ("Header", output.human_size(facts["header_size"])),
        ("Payload", output.human_size(facts["payload_size"])),
        ("Digest", f"{facts['payload_digest']}  (of the payload)"),
    ]
    output.pairs(rows)


class _Rewound:
    """A stream whose header was read, from its start again: standard input can't be read twice."""

    def __init__(self, header: Header, rest: Source) -> None:
        self._header = io.BytesIO(header.raw)
        self._rest = rest

    def readline(self, limit: int = -1, /) -> bytes:
        """The next line of the header, which a payload never continues."""
        return self._header.readline(limit)

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes of the payload."""
        return self._rest.read(size)
