"""``docex seal`` and ``docex open``: documents into packets, and back."""

from __future__ import annotations

import mimetypes
import stat
import time
import unicodedata
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from docex.cli import output, unlock
from docex.cli.options import Force, IdentityFiles, Json, KeystoreFolder, PassphraseFile
from docex.core.interrupts import held
from docex.errors import UsageError

if TYPE_CHECKING:
    from docex.cli.parties import Party
    from docex.core.packet import DocumentSource

_STREAM = Path("-")
_DEFAULT_MEDIA_TYPE = "application/octet-stream"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("seal")(seal)
    app.command("open")(open_)


Files = Annotated[list[Path], typer.Argument(metavar="FILE", help="The documents, one or more.")]
Out = Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="The packet to write; - for standard output.")]
Kind = Annotated[str, typer.Option(metavar="KIND", help="quality, conformity, carbon, material, recycled or other.")]
Folder = Annotated[str, typer.Option(metavar="PATH", help="A folder for the documents, inside the packet.")]
To = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RECIPIENT",
        help="Who may open it: a public file of docex keygen, a recipient (age1…), or a file of them. Repeatable.",
    ),
]
RecipientFiles = Annotated[
    list[Path] | None,
    typer.Option("--recipients-file", "-R", metavar="FILE", help="A file with a recipient on each line. Repeatable."),
]


def seal(
    files: Files,
    out: Out,
    to: To = None,
    recipients_file: RecipientFiles = None,
    keystore: KeystoreFolder = None,
    kind: Kind = "other",
    folder: Folder = "",
    passphrase_file: PassphraseFile = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Sign, compress and encrypt documents into one packet that only its recipients can open.

    You are not among the recipients unless you name yourself. The packet is a standard age file: without docex, a
    recipient reads it with  age -d -i KEYFILE PACKET | zstd -d | tar x

    Example:  docex seal quality.pdf carbon.json --to smelter.json --keystore mine -o batch-7.docex
    """
    if json and out == _STREAM:
        raise UsageError("--json and -o - both want standard output")
    if not to and not recipients_file:
        raise UsageError("name at least one recipient, with --to or -R")
    _check_files(files, out, force=force)
    store = unlock.keystore_folder(keystore)
    with held():
        keystore_opened = unlock.opening(store, passphrase_file)  # which goes on until the first signature
        from docex.cli import contents, parties, streams
        from docex.core import packet
        from keys import local

        named = parties.parties(to or [], recipients_file or [])
        documents = [_document(file, folder, kind) for file in files]
        total = sum(document.size for document in documents)
        if out == _STREAM:
            keystore_opened()  # what is written there can't be taken back

        def progress(count: int) -> None:
            keystore_opened.check()  # a wrong passphrase ends it at once, not at the first signature
            meter(count)

        with streams.opened_destination(out, force=force) as file, output.Meter("Sealing", total) as meter:
            sealed = packet.seal(
                documents,
                file,
                [(party.recipient, party.account) for party in named],
                signer=unlock.LateSigner(keystore_opened),
                issuer=local.read_public(store)["account"],
                now=int(time.time()),
                hash_payload=json,
                progress=progress,
            )
    size = sealed.header_size + sealed.payload_size
    if json:
        output.as_json({"packet": str(out), "size": size, **contents.to_json(sealed)})
    else:
        _show_sealed(len(files), size, out, named)


def _check_files(files: Sequence[Path], out: Path, *, force: bool) -> None:
    """Refuse what can't be sealed before anyone types a passphrase."""
    if not force and out.exists():
        from docex.service.folder import AlreadyExists

        raise AlreadyExists(f"{out} exists already")
    names: set[str] = set()
    for file in files:
        if file.name in names:
            raise UsageError(f"two of the documents are called {file.name!r}: rename one, or seal them apart")
        names.add(file.name)
        try:
            mode = file.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            raise UsageError(f"{file} does not exist") from None
        if stat.S_ISDIR(mode):
            raise UsageError(f"{file} is a folder: name the documents in it")
        if not stat.S_ISREG(mode):
            raise UsageError(f"{file} is not a regular file: a packet states each document's size before its bytes")
        if out.exists() and out.samefile(file):
            raise UsageError(f"{file} would be replaced by its own packet")


def _document(file: Path, folder: str, kind: str) -> DocumentSource:
    from docex.core import claims, names, packet

    if kind not in claims.KINDS:
        raise UsageError(f"--kind is one of {', '.join(claims.KINDS)}, not {kind!r}")
    name = unicodedata.normalize("NFC", file.name)  # some systems hand out decomposed names
    path = names.check_path(names.join(names.check_folder(folder.strip("/")), name))
    media_type = mimetypes.guess_type(name)[0] or _DEFAULT_MEDIA_TYPE
    return packet.DocumentSource(path, file.stat().st_size, lambda: FileIO(file), media_type, kind)


def _show_sealed(count: int, size: int, out: Path, named: Sequence[Party]) -> None:
    streamed = out == _STREAM
    write = output.note if streamed else output.line
    what = f"{count} documents" if count > 1 else "1 document"
    write(f"Sealed {what} into {'standard output' if streamed else out} ({output.human_size(size)}), for")
    for each in named:
        write(f"  {each.name}, {each.account}" if each.name else f"  {each.recipient.text[:32]}…")


Source = Annotated[Path, typer.Argument(metavar="PACKET", help="The packet; - for standard input.")]
Target = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder for the documents.")]
SenderFile = Annotated[
    Path | None,
    typer.Option("--from", metavar="PUBLIC.json", help="Insist on this sender: a public file of docex keygen."),
]
StatementsFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Also write the signed statements of the packet to a file.")
]
GrantFiles = Annotated[
    list[Path] | None,
    typer.Option("--grant", metavar="FILE", help="A grant that lets your key open it: see docex grant. Repeatable."),
]
GrantedBy = Annotated[
    list[Path] | None,
    typer.Option(metavar="PUBLIC.json", help="Who granted: insist on the key in this public file. Repeatable."),
]
HeaderFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A header of docex grant, to use in place of the packet's own.")
]
MaxSize = Annotated[str, typer.Option(metavar="SIZE", help="Refuse to unpack more than this, such as 500MB or 2GiB.")]


def open_(
    source: Source,
    target: Target,
    keystore: KeystoreFolder = None,
    identity: IdentityFiles = None,
    sender_file: SenderFile = None,
    grant: GrantFiles = None,
    granted_by: GrantedBy = None,
    header: HeaderFile = None,
    statements: StatementsFile = None,
    max_size: MaxSize = "1TiB",
    passphrase_file: PassphraseFile = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Open a packet, check all of it, and only then keep its documents.

    Either every document of the packet is written, or none: a wrong key, a changed byte, a cut file or a document that
    is not the one its sender signed leaves nothing behind.

    Example:  docex open batch-7.docex --keystore smelter --from mine.json -o received
    """
    limit = output.parse_size(max_size)
    from docex.cli import contents, granted, parties, streams

    with streams.opened_source(source, "Opening") as (stream, meter), held():
        grants = granted.read_grants(grant or [], granted_by or [])
        public = parties.read_public(sender_file) if sender_file else None
        keys = unlock.identities(keystore, identity or [], passphrase_file)
        from docex.service import folder

        sender = folder.Sender(public.account, public.kid) if public else None
        with meter, granted.explained(grants, header):
            opened = folder.open_into(
                granted.reheaded(stream, header),
                keys,
                target,
                sender=sender,
                grants=grants,
                statements=statements,
                force=force,
                max_size=limit,
                hash_payload=json,
                durable=force,
                progress=meter,
            )
    if json:
        facts = {"folder": str(target), "sender_checked": public is not None, **contents.to_json(opened)}
        output.as_json(facts | granted.to_json(grants, opened))
    else:
        output.line(f"Opened into {target}")
        contents.show(opened, f"{public.name}, as expected" if public else "")
        granted.show(grants, opened)
    if public is None:
        output.warning("the signer's key was not checked against the ledger; use --from or docex verify")
