"""What an attacker can make: packets from parts, for any recipient, signed with any key or not at all.

An attacker has the recipient's public key, a signing key of its own and all of docex; what it lacks is other members'
private keys. Each layer can be made apart, so that one fault at a time can be put into it.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from docex.core import account, claims, compression, packet, statement, tar
from docex.core.age import EncryptingWriter, parse_recipient
from docex.core.claims import Addressee, Document, Packet
from docex.core.encoding import b64url
from docex.core.statement import Statement
from docex.errors import DocexError
from keys.identity import HybridIdentity, X25519Identity
from keys.signer import Ed25519Signer

NOW = 1_780_000_000
END = tar.END


@dataclass(frozen=True, slots=True)
class Actor:
    """Someone with keys of their own: a member, or an attacker."""

    signer: Ed25519Signer
    identity: X25519Identity | HybridIdentity
    account: str

    @property
    def recipient(self) -> str:
        return self.identity.recipient

    @property
    def addressee(self) -> Addressee:
        return Addressee(packet.key_id(self.recipient), self.account)


def actor(name: str, *, hybrid: bool = False) -> Actor:
    """The same keys for the same name: failures can be repeated."""
    seed = hashlib.sha256(name.encode()).digest()
    identity = HybridIdentity(seed) if hybrid else X25519Identity(seed)
    return Actor(Ed25519Signer(seed), identity, account.caip10(31337, account.format_address(seed[:20])))


MINE = actor("Mine AG")
MAKER = actor("Maker SE")
MALLORY = actor("Mallory")


def encrypt(plain: bytes, *recipients: str) -> bytes:
    """An age file with any plaintext."""
    out = io.BytesIO()
    with EncryptingWriter(out, [parse_recipient(text) for text in recipients]) as writer:
        writer.write(plain)
    return out.getvalue()


def compress(archive: bytes) -> bytes:
    """Frames as docex makes them, of any content."""
    size = compression.FRAME_SIZE
    chunks = (archive[start : start + size] for start in range(0, len(archive), size))
    return b"".join(bytes(piece) for chunk in chunks for piece in compression.compress_frame(chunk))


def block(path: str, size: int, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    """The header of a tar entry of any kind."""
    info = tarfile.TarInfo(path)
    info.size, info.type, info.linkname = size, kind, link
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def pax(records: bytes) -> bytes:
    """A pax header with any records, well-formed or not."""
    return block("././@PaxHeader", len(records), tarfile.XHDTYPE) + filled(records)


def filled(content: bytes) -> bytes:
    return content + tar.padding(len(content))


def entry(path: str, content: bytes = b"") -> bytes:
    return block(path, len(content)) + filled(content)


def token(actor: Actor, header: Mapping[str, Any] | bytes, payload: Mapping[str, Any] | bytes) -> str:
    """A JWS with any header and payload, signed by the actor's key."""
    signed = ".".join(b64url(part if isinstance(part, bytes) else _json(part)) for part in (header, payload))
    return f"{signed}.{b64url(actor.signer.sign(signed.encode()))}"


def header(actor: Actor, **changes: Any) -> dict[str, Any]:
    """The protected header that docex would make, with changes; None takes a member away."""
    made = {"alg": "Ed25519", "jwk": actor.signer.public_jwk, "kid": actor.signer.kid, "typ": statement.TYP, **changes}
    return {name: value for name, value in made.items() if value is not None}


def payload(actor: Actor, body: claims.Body, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"iss": actor.account, "iat": NOW, "jti": b64url(bytes(16)), "type": body.TYPE}
    made |= {body.TYPE: claims.to_json(body)} | changes
    return {name: value for name, value in made.items() if value is not None}


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def document(sender: Actor, path: str, content: bytes, **changes: Any) -> Statement:
    """A document statement; with changes, one that does not fit the content."""
    folder, _, name = path.rpartition("/")
    made: dict[str, Any] = {
        "digest": "sha256:" + hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "name": name,
    }
    body = Document(**({"media_type": "text/plain", "folder": folder, **made} | changes))
    return statement.issue(sender.signer, sender.account, body, NOW)


def binding(signed_by: Actor, bound: Sequence[Statement], /, *to: Actor, **changes: Any) -> Statement:
    """A packet statement; with changes, a false one."""
    made: dict[str, Any] = {"documents": tuple(each.digest_text for each in bound), "sender": signed_by.account}
    body = Packet(**(made | {"to": tuple(each.addressee for each in to)} | changes))
    return statement.issue(signed_by.signer, signed_by.account, body, NOW)


def lines(*tokens: Statement | str) -> bytes:
    return b"".join((each if isinstance(each, str) else each.token).encode() + b"\n" for each in tokens)


def archive(contents: Mapping[str, bytes], *tokens: Statement | str) -> bytes:
    """A whole tar archive: documents, statements, end."""
    documents = b"".join(entry(packet.DOCUMENT_PREFIX + path, content) for path, content in contents.items())
    return documents + entry(packet.STATEMENTS_NAME, lines(*tokens)) + tar.END


def honest(contents: Mapping[str, bytes], sender: Actor, *to: Actor) -> list[Statement]:
    """The statements of a packet without a fault."""
    documents = [document(sender, path, content) for path, content in contents.items()]
    return [*documents, binding(sender, documents, *to)]


def packed(archive: bytes, *to: Actor) -> bytes:
    """A packet with any archive."""
    return encrypt(compress(archive), *(each.recipient for each in to))


def source(path: str, content: bytes, **more: Any) -> packet.DocumentSource:
    return packet.DocumentSource(path, len(content), lambda: closing(io.BytesIO(content)), **more)


def seal(contents: Mapping[str, bytes], sender: Actor, *to: Actor) -> bytes:
    """A packet as docex seals it."""
    out = io.BytesIO()
    packet.seal(
        [source(path, content) for path, content in contents.items()],
        out,
        [(parse_recipient(each.recipient), each.account) for each in to],
        signer=sender.signer,
        issuer=sender.account,
        now=NOW,
    )
    return out.getvalue()


class Memory:
    """A sink that keeps documents in memory, in the order in which they came."""

    def __init__(self) -> None:
        self.contents: dict[str, bytearray] = {}

    def begin(self, path: str, size: int) -> Callable[[memoryview], object]:
        assert path not in self.contents
        self.contents[path] = content = bytearray()
        return content.extend


def open_(data: bytes, receiver: Actor, **options: Any) -> tuple[packet.Opened, dict[str, bytes]]:
    """What docex makes of a packet."""
    sink = Memory()
    opened = packet.open_packet(io.BytesIO(data), [receiver.identity], sink, **options)
    return opened, {path: bytes(content) for path, content in sink.contents.items()}


# Seconds; measuring coverage makes Python several times slower.
_ALLOWED = 1.0 if sys.gettrace() is None else 4.0


def refused(
    data: bytes, receiver: Actor, error: type[DocexError] | tuple[type[DocexError], ...], why: str = "."
) -> None:
    """See that opening a packet raises exactly this kind of error, in time."""
    started = time.process_time()  # of all threads; other processes do not count
    with pytest.raises(DocexError, match=why) as caught:
        open_(data, receiver)
    assert caught.type in (error if isinstance(error, tuple) else (error,)), caught.value
    assert len(str(caught.value)) < 1000
    assert time.process_time() - started < _ALLOWED
