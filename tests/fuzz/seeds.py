"""Write the seed corpus: `python -m tests.fuzz.seeds`. Small inputs that get as deep as any can, and a few near misses.

They may differ from those that are kept (an age share is random) but do the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from docex.core import compression, statement, tar
from docex.core import proof as proofs
from docex.core.account import caip10, format_address
from docex.core.age import encode_header, parse_recipient
from docex.core.claims import Addressee, Body, Document, Grant, Link, Packet, Receipt, Revocation, Transfer
from docex.core.encoding import b64url, b64url_decode
from docex.core.jwk import thumbprint
from docex.core.packet import key_id
from docex.core.proof import AnchorClaim, Evidence, Inclusion, Network, Proof
from keys.stanza import Stanza
from tests.fuzz.archives import IDENTITY
from tests.fuzz.targets import FILE_KEY, IDENTITIES, SIGNER

CORPUS = Path(__file__).parent / "corpus"
NOW = 1_790_000_000
ADDRESS = format_address(b"\1" * 20)
ACCOUNT = caip10(31337, ADDRESS)
DIGEST = "sha256:" + hashlib.sha256(b"content").hexdigest()
_JTI = b64url(bytes(16))
_ANY_CHECKSUMS = b"\xff"
_OWN_CHECKSUMS = b"\xfe"


def issue(body: Body) -> str:
    return statement.issue(SIGNER, ACCOUNT, body, NOW, _JTI).token


def document(name: str, content: bytes, folder: str = "") -> Document:
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    return Document(digest, len(content), name, "text/plain", folder)


def headers() -> Iterator[tuple[str, bytes]]:
    x25519 = parse_recipient(IDENTITIES[0].recipient).wrap(FILE_KEY)
    yield "x25519", encode_header([x25519], FILE_KEY) + b"payload"
    grease = Stanza("grease", ("a", "b~!"), bytes(48))
    yield "unknown", encode_header([grease, Stanza("x", (), b"")], FILE_KEY)
    yield "scrypt", encode_header([Stanza("scrypt", (b64url(bytes(16)), "18"), bytes(32))], FILE_KEY)
    yield "armour", b"-----BEGIN AGE ENCRYPTED FILE-----\n"
    yield "hybrid-shape", encode_header([Stanza("mlkem768x25519", ("AAAA",), bytes(32))], FILE_KEY)


def statements() -> Iterator[tuple[str, bytes]]:
    to = (Addressee(key_id(IDENTITY.recipient), ACCOUNT), Addressee(b64url(bytes(32))))
    bodies: list[Body] = [
        Document(DIGEST, 7, "Prüfung.pdf", "application/pdf", "2026/lot 7", "quality", DIGEST),
        Packet((DIGEST,), ACCOUNT, to),
        Transfer(DIGEST, 1000, DIGEST, ACCOUNT, to, ACCOUNT, DIGEST, fair=True),
        Receipt(DIGEST, DIGEST, (DIGEST,), "rejected", "because"),
        Grant(DIGEST, to[0]),
        Revocation(DIGEST, "wrong lot", NOW),
        Link("eip155:1/erc721:0x06012c8cf97BEaD5deAe237070F9587f8E7A266d/771769", DIGEST),
    ]
    for body in bodies:
        token = issue(body)
        yield body.TYPE, b"\n" + _part(token, 1)
    yield "token", token.encode()
    yield "with-header", _part(token, 0) + b"\n" + _part(token, 1)
    on_curve = ec.derive_private_key(7, ec.SECP256R1()).public_key().public_numbers()
    yield "ES256", _ec_header("ES256", "P-256", on_curve.x, on_curve.y) + b"\n" + _part(token, 1)
    yield "ES256K-off-curve", _ec_header("ES256K", "secp256k1", 5, 6) + b"\n" + _part(token, 1)


def _ec_header(alg: str, curve: str, x: int, y: int) -> bytes:
    jwk = {"crv": curve, "kty": "EC", "x": b64url(x.to_bytes(32)), "y": b64url(y.to_bytes(32))}
    return json.dumps({"alg": alg, "jwk": jwk, "kid": thumbprint(jwk), "typ": statement.TYP}).encode()


def _part(token: str, number: int) -> bytes:
    return b64url_decode(token.split(".")[number])


def tars() -> Iterator[tuple[str, bytes]]:
    two = _entry("a", b"content") + _entry("b", b"")
    yield "two", _ANY_CHECKSUMS + two + tar.END
    yield "own-checksums", _OWN_CHECKSUMS + two + tar.END
    yield "long-path", _ANY_CHECKSUMS + _entry("d/" + 40 * "ü" + "/" + 40 * "ß", b"x") + tar.END
    sized = b"24 path=" + 15 * b"p" + b"\n10 size=1\n"
    pax = bytearray(tar.header("x", len(sized)))
    pax[156:157] = b"x"
    yield "pax-size", _ANY_CHECKSUMS + bytes(pax) + sized + tar.padding(len(sized)) + _entry("a", b"x") + tar.END
    yield "records", _ANY_CHECKSUMS + _entry("a", b"x") + bytes(5 * tar.BLOCK)


def archives() -> Iterator[tuple[str, bytes]]:
    documents = [(document("a", b"content"), b"content"), (document("b", b"", "d"), b"")]
    tokens = [issue(claim) for claim, _ in documents]
    digests = tuple("sha256:" + hashlib.sha256(token.encode()).hexdigest() for token in tokens)
    tokens.append(issue(Packet(digests, ACCOUNT, (Addressee(key_id(IDENTITY.recipient), ACCOUNT),))))
    inside = b"".join(_entry("document/" + claim.path, content) for claim, content in documents)
    lines = "".join(f"{token}\n" for token in tokens).encode()
    yield "packet", _ANY_CHECKSUMS + inside + _entry("statements.jws", lines) + tar.END
    yield "no-statements", _ANY_CHECKSUMS + inside + tar.END


def _entry(path: str, content: bytes) -> bytes:
    return tar.header(path, len(content)) + content + tar.padding(len(content))


def frames() -> Iterator[tuple[str, bytes]]:
    text = b"".join(b"line %d of a certificate\n" % number for number in range(40))
    yield "text", b"\7" + _frame(text)
    yield "padded", b"\xff" + _frame(bytes(1 << 16)) + _frame(text)
    stored = hashlib.shake_256(b"stored").digest(200)
    yield "stored", b"\1" + b"\x28\xb5\x2f\xfd\xa0" + _le(200, 4) + _le(200 << 3 | 1, 3) + stored
    yield "repeated", b"\1" + b"\x28\xb5\x2f\xfd\xa0" + _le(300, 4) + _le(300 << 3 | 1 << 1 | 1, 3) + b"x"


def _frame(data: bytes) -> bytes:
    return b"".join(bytes(piece) for piece in compression.compress_frame(data))


def _le(number: int, size: int) -> bytes:
    return number.to_bytes(size, "little")


def all_proofs() -> Iterator[tuple[str, bytes]]:
    network = Network(31337, ADDRESS, ADDRESS)
    token = issue(document("a", b"content"))
    digest = "sha256:" + hashlib.sha256(token.encode()).hexdigest()
    revocation = issue(Revocation(digest, "wrong", NOW))
    anchor = AnchorClaim(ADDRESS, b"\4" * 32, 7, b"\5" * 32, NOW)
    anchored = Evidence(token, Inclusion(2, 5, b"\1" * 32, (b"\2" * 32, b"\3" * 32)), anchor)
    yield "anchored", _compact(Proof(network, anchored, (Evidence(revocation),)))
    yield "bare", _compact(Proof(network, Evidence("a.b.c"), (Evidence("d", Inclusion(0, 1, b"\1" * 32, ())),)))


def _compact(proof: Proof) -> bytes:
    return json.dumps(json.loads(proofs.dump(proof)), separators=(",", ":")).encode()


def seeds() -> Mapping[str, Iterator[tuple[str, bytes]]]:
    """The seeds of each target, by name."""
    return {
        "header": headers(),
        "statement": statements(),
        "tar": tars(),
        "archive": archives(),
        "frames": frames(),
        "proof": all_proofs(),
    }


def main() -> None:
    for target, inputs in seeds().items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in inputs:
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
