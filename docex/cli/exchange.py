"""``docex deposit``, ``documents``, ``fetch``, ``transfer``, ``acknowledge``, ``proof``: use a node."""

from __future__ import annotations

import io
import mimetypes
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from docex.cli import output
from docex.cli.client import DEFAULT_NODE, NodeClient, NodeOption, TokenOption, connect
from docex.cli.options import Force, Json, KeystoreFolder, PassphraseFile
from docex.cli.transfers import ENDED, checked_id, show_view
from docex.core.claims import KINDS
from docex.core.digest import parse_digest
from docex.core.interrupts import passing
from docex.core.names import check_folder, check_path
from docex.errors import UsageError

_CHUNK = 1 << 20

OutputOption = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write it.")]


def register(app: typer.Typer) -> None:
    """Add the commands that talk to a node."""
    app.command("deposit")(deposit)
    app.command("documents")(documents)
    app.command("fetch")(fetch)
    app.command("transfer")(transfer)
    app.command("acknowledge")(acknowledge)
    app.command("proof")(proof)


def deposit(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="The documents.")],
    folder: Annotated[str, typer.Option("--folder", help="Folder on the node.")] = "",
    kind: Annotated[str, typer.Option("--kind", help=f"One of {', '.join(KINDS)}.")] = "other",
    supersedes: Annotated[
        str | None,
        typer.Option("--supersedes", metavar="DOCUMENT", help="What this replaces: a path, or a statement's digest."),
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Refuse where there is a document of this name already.")] = False,
    node: NodeOption = DEFAULT_NODE,
    token_file: TokenOption = None,
    as_json: Json = False,
) -> None:
    """Deposit documents: the node signs, compresses, encrypts and keeps them, and anchors their digests."""
    if supersedes is not None and len(files) > 1:
        raise UsageError("--supersedes goes with one document")
    paths = [check_path(f"{folder.strip('/')}/{file.name}".lstrip("/")) for file in files]
    done = []
    with connect(node, token_file) as client:
        query = {"kind": kind} | ({"supersedes": statement_of(client, supersedes)} if supersedes else {})
        for file, path in zip(files, paths, strict=True):
            if not file.is_file():
                raise UsageError(f"{file} is not a file")
            size = file.stat().st_size
            headers = {"content-type": mimetypes.guess_type(file.name)[0] or "application/octet-stream"}
            with output.Meter(file.name, size) as meter:
                headers["content-length"] = str(size)
                if new:
                    headers["if-none-match"] = "*"
                url = f"documents/{quote(path)}"
                done.append(client.json("PUT", url, params=query, headers=headers, content=partial(_read, file, meter)))
    if as_json:
        output.as_json(done)
        return
    for each in done:
        output.line(f"{each['path']} (version {each['version']}, {output.human_size(each['size'])})")
        output.pairs([("document", each["digest"]), ("statement", each["statement"])], indent="  ")


def statement_of(client: NodeClient, reference: str, version: int | None = None) -> str:
    """The digest of a document's statement: that of the newest or given version at a path, or what is a digest already.

    Raises UsageError, NameInvalid: the reference is neither; NodeError: there is no such document.
    """
    if reference.startswith("sha256:"):
        return str(parse_digest(reference))
    check_path(reference)
    params = {"details": "true"} | ({"version": str(version)} if version else {})
    return str(client.json("GET", f"documents/{quote(reference)}", params=params)["statement"])


def _read(file: Path, meter: output.Meter) -> Iterator[bytes]:
    meter.restart()  # it may be sent more than once
    with file.open("rb") as stream:
        while data := stream.read(_CHUNK):
            yield data
            meter(len(data))


def documents(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Only this folder and those below it.")] = "",
    node: NodeOption = DEFAULT_NODE,
    token_file: TokenOption = None,
    as_json: Json = False,
) -> None:
    """List the newest version of each document on your node, those received included."""
    check_folder(folder)
    with connect(node, token_file) as client:
        found = client.all("documents", "documents", folder=folder)
    if as_json:
        output.as_json(found)
    elif not found:
        output.note("no documents here")
    else:
        rows = [("PATH", "VERSION", "SIZE", "KIND", "DIGEST", "")]
        rows += [
            (
                each["path"],
                str(each["version"]),
                output.human_size(each["size"]),
                each["kind"],
                each["digest"],
                _against(each),
            )
            for each in found
        ]
        output.table(rows, indent="")


def _against(document: dict[str, Any]) -> str:
    """What its issuer has against a document, for people; nothing when it stands."""
    said = {"revoked from": document.get("revoked_from"), "superseded by": document.get("superseded_by")}
    return ", ".join(f"{what} {value}" for what, value in said.items() if value)


def fetch(
    path: Annotated[str, typer.Argument(metavar="PATH", help="The document's path on the node.")],
    out: OutputOption,
    version: Annotated[int | None, typer.Option("--version", min=1, help="An older version.")] = None,
    force: Force = False,
    node: NodeOption = DEFAULT_NODE,
    token_file: TokenOption = None,
) -> None:
    """Fetch a document from your node, decrypted there; its digest is checked before the file gets its name."""
    from docex.service.folder import new_file

    check_path(path)
    params = {"version": version} if version else {}
    with connect(node, token_file) as client, new_file(out, force=force) as file, passing():
        want = client.json("GET", f"documents/{quote(path)}", params=params | {"details": "true"})
        params["version"] = want["version"]
        with output.Meter(path, want["size"]) as meter:
            for data in client.download(f"documents/{quote(path)}", want["digest"], params=params):
                file.write(data)
                meter(len(data))
    output.note(f"{out}: {want['digest']}")


def transfer(
    refs: Annotated[list[str], typer.Argument(metavar="DOCUMENT…", help="Paths on the node, or digests.")],
    to: Annotated[
        list[str], typer.Option("--to", metavar="ACCOUNT", help="Recipient's account, eip155:… (repeatable).")
    ],
    wait: Annotated[float, typer.Option("--wait", metavar="SECONDS", help="Wait this long for receipts.")] = 0.0,
    fair: Annotated[
        bool, typer.Option("--fair", help="Each recipient signs for the ciphertext before it gets what opens it.")
    ] = False,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="TIME", help="Give up then without a receipt (ISO 8601 with its zone)."),
    ] = None,
    node: NodeOption = DEFAULT_NODE,
    token_file: TokenOption = None,
    as_json: Json = False,
) -> None:
    """Hand documents to other members: one packet that only they can open, delivered to each of their nodes."""
    wanted: dict[str, Any] = {"documents": refs, "to": to, "fair": fair}
    if expires is not None:
        wanted["expires"] = output.parse_time(expires, "--expires")
    with connect(node, token_file) as client:
        made = client.json("POST", "transfers", json=wanted)
        until = time.monotonic() + wait
        while time.monotonic() < until and any(each["state"] not in ENDED for each in made["deliveries"]):
            time.sleep(0.25)
            made = client.json("GET", f"transfers/{made['id']}")
    show_view(made, as_json)


def acknowledge(
    transfer_id: Annotated[str, typer.Argument(metavar="TRANSFER", help="The id of a received transfer.")],
    out: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the documents.")],
    keystore: KeystoreFolder = None,
    passphrase_file: PassphraseFile = None,
    reject: Annotated[
        str | None,
        typer.Option(
            "--reject",
            metavar="REASON",
            help="Open, keep nothing, and sign a rejection; unopened if its header is missing.",
        ),
    ] = None,
    force: Force = False,
    node: NodeOption = DEFAULT_NODE,
    token_file: TokenOption = None,
) -> None:
    """Open a received packet on this machine and send the signed receipt, for an identity that is not on the node."""
    from docex.cli.unlock import keystore_folder, open_keystore
    from docex.core import statement
    from docex.core.claims import Receipt

    transfer_id = checked_id(transfer_id)
    opened_keystore = open_keystore(keystore_folder(keystore), passphrase_file)
    if opened_keystore.identity is None:
        raise UsageError("this keystore was exported without its identity: it can't open packets")
    with connect(node, token_file) as client:
        received = client.json("GET", f"transfers/{transfer_id}")
        if received["direction"] != "received":
            raise UsageError("this transfer was sent by this node: it is for its addressees to acknowledge")
        opened: tuple[str, ...] = ()
        if reject is None or received["arrived"]:  # what its sender withholds can be rejected as it is
            opened = _open(client, received, [opened_keystore.identity], out, keep=reject is None, force=force)
        claim = (
            Receipt(received["id"], received["packet"], opened, "accepted")
            if reject is None
            else Receipt(received["id"], received["packet"], (), "rejected", reject)
        )
        account = str(opened_keystore.public["account"])
        receipt = statement.issue(opened_keystore.signer, account, claim, int(time.time()))
        client.json("POST", "receipts", content=receipt.token.encode())
    output.line(receipt.digest_text)
    output.note(f"{claim.outcome}: the signed receipt is on the node, which anchors it and brings it to the sender")


def _open(
    client: NodeClient, received: dict[str, Any], identities: list[Any], out: Path, *, keep: bool, force: bool
) -> tuple[str, ...]:
    """Open the transfer's packet into ``out`` and hold it against the transfer; the digests of its documents."""
    from docex.core import packet, statement
    from docex.core.claims import Transfer
    from docex.errors import DigestMismatch
    from docex.service.folder import folder_sink
    from docex.service.receipts import opened_digests

    token = client.json("GET", f"statements/{received['id']}")["token"]
    said = statement.verify(token)
    claim = said.body
    if not isinstance(claim, Transfer) or said.digest_text != received["id"]:
        raise DigestMismatch("the node shows another statement than the transfer's")
    chunks = client.download(f"transfers/{received['id']}/packet")
    with closing(chunks), folder_sink(out, force=force) as sink:
        source = io.BufferedReader(_ResponseStream(chunks), _CHUNK)
        with passing(), output.Meter("opening", claim.size) as meter:
            opened = packet.open_packet(source, identities, sink if keep else packet.Discard(), progress=meter)
        if opened.payload_digest != claim.packet or opened.packet.digest_text != claim.statement:
            raise DigestMismatch("the packet is not the one that the sender signed the transfer for")
        if opened.packet.issuer != said.issuer:
            raise DigestMismatch("the packet was sealed by another member than the one who transferred it")
        if keep:
            sink.commit()
    for each in opened.documents:
        output.note(f"{each.body.path} from {each.issuer}")  # type: ignore[union-attr]  # document statements only
    return opened_digests(opened)


class _ResponseStream(io.RawIOBase):
    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _proof(client: NodeClient, digest: str, *, standalone: bool = False) -> bytes:
    query = "?standalone=true" if standalone else ""
    return client.text(f"proofs/{quote(digest)}{query}", media_type="application/json").encode()


def proof(
    reference: Annotated[str, typer.Argument(metavar="DOCUMENT", help="Path on the node, or a digest (sha256:…).")],
    out: OutputOption,
    wait: Annotated[float, typer.Option("--wait", metavar="SECONDS", help="Wait this long for final anchors.")] = 0.0,
    standalone: Annotated[
        bool, typer.Option("--standalone", help="With block headers and storage proofs: checked without a network.")
    ] = False,
    force: Force = False,
    node: NodeOption = DEFAULT_NODE,
    token_file: TokenOption = None,
) -> None:
    """Fetch the proof for a document or a statement: all that an auditor needs besides the document itself.

    A --standalone one is checked with  docex verify FILE --proof PROOF --trust-block HASH  and no network at all.
    """
    from docex.core import proof as proofs
    from docex.service.folder import new_file

    with connect(node, token_file) as client:
        digest = statement_of(client, reference)
        until = time.monotonic() + wait
        while True:
            data = _proof(client, digest)
            found = proofs.parse(data)
            waiting = sum(each.anchor is None for each in (found.statement, *found.related))
            if not waiting or time.monotonic() > until:
                break
            time.sleep(0.5)
        if standalone:
            data = _proof(client, digest, standalone=True)
            found = proofs.parse(data)
    with new_file(out, force=force) as file:
        file.write(data)
    output.note(f"{out}: the statement and {len(found.related)} about it")
    if found.ledger is not None:
        from docex.core.standalone import block_to_trust

        block = block_to_trust(found.ledger)
        output.note(f"it stands alone for who trusts block {block.number}: --trust-block 0x{block.hash.hex()}")
    if waiting:
        output.warning(f"{waiting} of them are not final on the ledger yet: fetch the proof again later (or --wait)")
