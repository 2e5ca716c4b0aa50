"""``docex grant``: let others open a packet, too."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from docex.cli import output, unlock
from docex.cli.options import Force, IdentityFiles, Json, KeystoreFolder, PassphraseFile
from docex.core.interrupts import held, passing
from docex.errors import DigestMismatch, UsageError

if TYPE_CHECKING:
    from docex.cli.parties import Party
    from docex.core.age import Header
    from docex.core.statement import Statement
    from keys.local import Keystore

_STREAM = Path("-")


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("grant")(grant)


def grant(
    source: Annotated[Path, typer.Argument(metavar="PACKET", help="The packet; - for standard input.")],
    to: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RECIPIENT",
            help="Who may open it, too: a public file of docex keygen, a recipient (age1…), or a file of them. "
            "Repeatable.",
        ),
    ] = None,
    recipients_file: Annotated[
        list[Path] | None,
        typer.Option(
            "--recipients-file", "-R", metavar="FILE", help="A file with a recipient on each line. Repeatable."
        ),
    ] = None,
    keystore: KeystoreFolder = None,
    out: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="OUT", help="The new packet. Without it, only a header: PACKET.header."),
    ] = None,
    header_only: Annotated[
        bool, typer.Option("--header-only", help="Write only the new header to OUT, whatever the packet's size.")
    ] = False,
    statement: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where the signed grants go. By default OUT.grant.jws (or PACKET.grant.jws)."
        ),
    ] = None,
    payload_digest: Annotated[
        str | None,
        typer.Option(metavar="DIGEST", help="The packet's digest, if known (sha256:…): saves reading all of it."),
    ] = None,
    header: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Start from this header, not from the packet's own.")
    ] = None,
    identity: IdentityFiles = None,
    passphrase_file: PassphraseFile = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Let others open a packet that you can open. It is not sealed again: its documents and digest stay as they are.

    The packet's header gets one more entry for each of them, and your keystore signs a grant that says so: they need
    both. Without -o, the packet stays where it is, and only its new header is written. They open it with

    docex open PACKET --header PACKET.header --grant PACKET.grant.jws -o DIR

    Example:  docex grant batch-7.docex --to auditor.json --keystore smelter
    """
    if not to and not recipients_file:
        raise UsageError("name at least one recipient, with --to or -R")
    places = _places(source, out, statement, header_only=header_only)
    _check_places(places, json=json, force=force)
    from docex.cli import granted, parties, streams
    from docex.core.age.streams import write_all
    from docex.core.digest import parse_digest

    digest = None if payload_digest is None else str(parse_digest(payload_digest))
    with streams.opened_source(source, "Granting") as (stream, _):
        keystore_opened = unlock.opening(unlock.keystore_folder(keystore), passphrase_file)
        packet = _packet(stream, regular=source != _STREAM and source.is_file())
        old = packet.header if header is None else granted.read_detached(header)
        named = parties.parties(to or [], recipients_file or [])
        mine = keystore_opened()
        new = _extended(old, mine, identity or [], named)
        with _outputs(places, force=force) as (file, lines), passing():
            write_all(file, memoryview(new))
            with output.Meter("Granting", packet.payload_size) as meter:
                digest = _pass_payload(packet, None if places.header_only else file, digest, meter)
            grants = _issue(mine, digest, named)
            write_all(lines, memoryview("".join(f"{each.token}\n" for each in grants).encode("ascii")))
    if json:
        output.as_json(_to_json(places, digest, len(new), grants))
    else:
        _show(places, named)


@dataclass(frozen=True, slots=True)
class _Places:
    """Where everything is, and goes."""

    source: Path
    out: Path
    statement: Path
    header_only: bool


def _places(source: Path, out: Path | None, statement: Path | None, *, header_only: bool) -> _Places:
    if out is None and source == _STREAM:
        raise UsageError("a packet from standard input needs -o: it has no name to call a header after")
    if statement is None:
        named = source if out is None else out
        if named == _STREAM:
            raise UsageError("with -o -, say where the signed grants go: --statement FILE")
        statement = named.with_name(f"{named.name}.grant.jws")
    header = source.with_name(f"{source.name}.header") if out is None else out
    return _Places(source, header, statement, header_only or out is None)


def _check_places(places: _Places, *, json: bool, force: bool) -> None:
    """Refuse what can't be written before anyone types a passphrase."""
    if json and places.out == _STREAM:
        raise UsageError("--json and -o - both want standard output")
    if places.statement == _STREAM:
        raise UsageError("--statement names a file")
    if _same(places.statement, places.out) or _same(places.statement, places.source):
        raise UsageError("the signed grants would replace the packet: name another file with --statement")
    if places.header_only and _same(places.out, places.source):
        raise UsageError("the packet would be replaced by its header: name another file with -o")
    for path in (places.out, places.statement):
        if not force and path != _STREAM and os.path.lexists(path):
            from docex.service.files import AlreadyExists

            raise AlreadyExists(f"{path} exists already")


def _same(one: Path, other: Path) -> bool:
    return one == other or (one.exists() and other.exists() and one.samefile(other))


@dataclass(frozen=True, slots=True)
class _Packet:
    """A packet that was read past its header; its payload's size is None where only reading tells."""

    stream: BinaryIO
    header: Header
    payload_size: int | None


def _packet(stream: BinaryIO, *, regular: bool) -> _Packet:
    from docex.core.age import read_header
    from docex.service.grants import check_payload_size

    header = read_header(stream)
    if not regular:
        return _Packet(stream, header, None)
    size = os.fstat(stream.fileno()).st_size - len(header.raw)
    check_payload_size(size)
    return _Packet(stream, header, size)


def _extended(old: Header, mine: Keystore, files: list[Path], named: Sequence[Party]) -> bytes:
    from docex.core.grant import extend_header

    identities = unlock.identities(None, files, None) if files else []
    if mine.identity is not None:
        identities.append(mine.identity)
    if not identities:
        raise UsageError("this keystore was exported without its identity: name one that opens the packet, with -i")
    return extend_header(old, identities, [each.recipient for each in named])


@contextmanager
def _outputs(places: _Places, *, force: bool) -> Iterator[tuple[FileIO, FileIO]]:
    """Where to write packet (or header) and grants: both get their names at the end, or neither, as with `new_file`."""
    from docex.cli.streams import opened_destination
    from docex.service.files import new_file

    with held(), ExitStack() as undo:
        with opened_destination(places.out, force=force) as file:
            with new_file(places.statement, force=force, durable=force) as lines:
                yield file, lines
            undo.callback(places.statement.unlink)
        undo.pop_all()


def _pass_payload(packet: _Packet, file: FileIO | None, digest: str | None, meter: output.Meter) -> str:
    """Take the payload where it belongs, if anywhere, and read it only if need be; its digest."""
    from docex.service.grants import copy_payload, hash_payload

    if digest is not None and file is None:
        return digest
    if digest is not None and file is not None and packet.payload_size is not None:
        copy_payload(packet.stream, len(packet.header.raw), file, meter)
        return digest
    found = hash_payload(packet.stream, file, meter)
    if digest not in (None, found):
        raise DigestMismatch(f"the packet's digest is {found}, not the one given with --payload-digest")
    return found


def _issue(mine: Keystore, digest: str, named: Sequence[Party]) -> tuple[Statement, ...]:
    from docex.core.claims import Addressee
    from docex.core.grant import issue_grants
    from docex.core.recipients import recipient_id

    to = [Addressee(recipient_id(each.recipient.text), each.account) for each in named]
    return issue_grants(mine.signer, mine.public["account"], digest, to, int(time.time()))


def _to_json(places: _Places, digest: str, header_size: int, grants: Sequence[Statement]) -> dict[str, Any]:
    from docex.cli import granted

    return {
        "header" if places.header_only else "packet": str(places.out),
        "header_size": header_size,
        "payload_digest": digest,
        "statements": str(places.statement),
        "grants": [granted.grant_json(each) for each in grants],
    }


def _show(places: _Places, named: Sequence[Party]) -> None:
    write = output.note if places.out == _STREAM else output.line
    out = "standard output" if places.out == _STREAM else str(places.out)
    write(f"Granted access with {'the header' if places.header_only else 'the packet'} in {out}, to")
    for each in named:
        write(f"  {each.name}, {each.account}" if each.name else f"  {each.recipient.text[:32]}…")
    write(f"They need {places.statement}, too.")
