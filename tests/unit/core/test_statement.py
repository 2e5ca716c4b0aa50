from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import import_key

from docex.core import statement
from docex.core.claims import Addressee, Document, Packet
from docex.core.encoding import b64url, b64url_decode
from docex.core.jwk import thumbprint
from docex.errors import SignatureInvalid, StatementInvalid
from keys.signer import Ed25519Signer

ACCOUNT = "eip155:31337:0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
DOCUMENT = Document("sha256:" + "1" * 64, 3, "Prüfbericht.pdf", "application/pdf")
NOW = 1_780_000_000
SIGNER = Ed25519Signer(bytes(32))


class EcdsaSigner:
    """An EC key of the caller's choice, signing with whichever s comes out, as key vaults do."""

    def __init__(self, alg: str, curve: ec.EllipticCurve) -> None:
        self.alg = alg
        self.key = ec.generate_private_key(curve)
        numbers = self.key.public_key().public_numbers()
        crv = {"ES256": "P-256", "ES256K": "secp256k1"}[alg]
        x, y = (b64url(number.to_bytes(32)) for number in (numbers.x, numbers.y))
        self.public_jwk = {"crv": crv, "kty": "EC", "x": x, "y": y}
        self.kid = thumbprint(self.public_jwk)
        self.signatures: list[bytes] = []

    def sign(self, message: bytes) -> bytes:
        r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(SHA256())))
        self.signatures.append(r.to_bytes(32) + s.to_bytes(32))
        return self.signatures[-1]


ES256 = EcdsaSigner("ES256", ec.SECP256R1())
ES256K = EcdsaSigner("ES256K", ec.SECP256K1())
ORDERS = {
    "ES256": 2**256 - 2**224 + 2**192 - 0x4319055258E8617B0C46353D039CDAAF,
    "ES256K": 2**256 - 0x14551231950B75FC4402DA1732FC9BEBF,
}


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    header, payload, signature = (b64url_decode(part) for part in token.split("."))
    return json.loads(header), json.loads(payload), signature


def join(header: Any, payload: Any, signature: bytes | None = None, signer: Ed25519Signer = SIGNER) -> str:
    signed = ".".join(
        b64url(part if isinstance(part, bytes) else json.dumps(part).encode()) for part in (header, payload)
    )
    return f"{signed}.{b64url(signer.sign(signed.encode()) if signature is None else signature)}"


ISSUED = statement.issue(SIGNER, ACCOUNT, DOCUMENT, NOW, b64url(bytes(16)))
HEADER, PAYLOAD, SIGNATURE = parts(ISSUED.token)


def test_what_is_issued_is_a_compact_jws_with_these_parts() -> None:
    header, payload, _ = parts(ISSUED.token)
    assert header == {"alg": "Ed25519", "jwk": SIGNER.public_jwk, "kid": SIGNER.kid, "typ": "docex+jwt"}
    assert payload == {
        "iss": ACCOUNT,
        "iat": NOW,
        "jti": "AAAAAAAAAAAAAAAAAAAAAA",
        "type": "document",
        "document": {
            "digest": "sha256:" + "1" * 64,
            "size": 3,
            "name": "Prüfbericht.pdf",
            "media_type": "application/pdf",
            "folder": "",
            "kind": "other",
        },
    }
    assert ISSUED.type == "document"
    assert ISSUED.digest == hashlib.sha256(ISSUED.token.encode()).digest()
    assert ISSUED.digest_text == "sha256:" + ISSUED.digest.hex()
    assert statement.verify(ISSUED.token) == ISSUED == statement.parse(ISSUED.token)


@pytest.mark.parametrize("signer", [SIGNER, ES256, ES256K], ids=lambda signer: signer.alg)
def test_another_jose_library_verifies_what_is_issued(signer: Any) -> None:
    issued = statement.issue(signer, ACCOUNT, DOCUMENT, NOW)
    key = import_key(dict(signer.public_jwk))
    assert json.loads(jws.deserialize_compact(issued.token, key, algorithms=[signer.alg]).payload)["iss"] == ACCOUNT
    assert statement.verify(issued.token) == issued
    assert (issued.alg, issued.kid, issued.jwk) == (signer.alg, signer.kid, signer.public_jwk)


def test_statements_of_the_same_claim_differ() -> None:
    tokens = {statement.issue(SIGNER, ACCOUNT, DOCUMENT, NOW).jti for _ in range(20)}
    assert len(tokens) == 20
    assert all(len(b64url_decode(jti)) == 16 for jti in tokens)


@pytest.mark.parametrize("signer", [ES256, ES256K], ids=lambda signer: signer.alg)
def test_an_ecdsa_statement_has_one_signature_only(signer: EcdsaSigner) -> None:
    raised = 0
    for _ in range(20):
        issued = statement.issue(signer, ACCOUNT, DOCUMENT, NOW)
        header, payload, signature = issued.token.split(".")
        r, s = b64url_decode(signature)[:32], int.from_bytes(b64url_decode(signature)[32:])
        assert s <= ORDERS[signer.alg] // 2
        raised += signer.signatures[-1] != b64url_decode(signature)
        twin = f"{header}.{payload}.{b64url(r + (ORDERS[signer.alg] - s).to_bytes(32))}"
        jws.deserialize_compact(twin, import_key(dict(signer.public_jwk)), algorithms=[signer.alg])
        with pytest.raises(StatementInvalid, match="the lower s"):
            statement.verify(twin)
    assert raised > 0


@pytest.mark.parametrize("alg", ["ES256", "ES256K"])
@pytest.mark.parametrize("signature", [bytes(64), b"\xff" * 64, bytes(32) + bytes(31) + b"\1"])
def test_an_impossible_ecdsa_signature_does_not_hold(alg: str, signature: bytes) -> None:
    signer = ES256 if alg == "ES256" else ES256K
    header = HEADER | {"alg": alg, "jwk": signer.public_jwk, "kid": signer.kid}
    with pytest.raises(SignatureInvalid):
        statement.verify(join(header, PAYLOAD, signature))


def test_a_key_off_its_curve_verifies_nothing() -> None:
    jwk = ES256.public_jwk | {"y": b64url(bytes(32))}
    token = join(HEADER | {"alg": "ES256", "jwk": jwk, "kid": thumbprint(jwk)}, PAYLOAD, b"\1" * 64)
    assert statement.parse(token).alg == "ES256"
    with pytest.raises(SignatureInvalid, match="the signature of the document statement does not hold"):
        statement.verify(token)


@pytest.mark.parametrize("size", [0, 1, 63, 65, 128])
def test_a_signature_has_64_bytes(size: int) -> None:
    with pytest.raises(StatementInvalid, match="64 bytes"):
        statement.parse(join(HEADER, PAYLOAD, bytes(size)))


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("", "not a compact JWS"),
        ("a.b", "not a compact JWS"),
        (ISSUED.token + ".", "not a compact JWS"),
        (ISSUED.token + "\n", "base64url"),
        (" " + ISSUED.token, "base64url"),
        (ISSUED.token + "=", "base64url"),
        ("ä" + ISSUED.token, "not a compact JWS"),
        (ISSUED.token.replace(".", "..", 1), "not a compact JWS"),
        ("." + ISSUED.token.split(".", 1)[1], "not valid JSON"),
        (join([], PAYLOAD), "not a JSON object"),
        (join(HEADER, []), "not a JSON object"),
        ("a" * (statement.MAX_TOKEN_BYTES + 1), "longer than 1310720 bytes"),
    ],
)
def test_what_is_no_compact_jws_is_refused(token: str, why: str) -> None:
    with pytest.raises(StatementInvalid, match=why):
        statement.parse(token)


def without(made: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in made.items() if key != name}


DEEP: Any = json.loads("[" * 100 + "]" * 100)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        *((without(HEADER, name), f"members missing or not known: '{name}'") for name in HEADER),
        (HEADER | {"crit": ["exp"]}, "not known: 'crit'"),
        (HEADER | {"crit": []}, "not known: 'crit'"),
        (HEADER | {"b64": False}, "not known: 'b64'"),
        (HEADER | {"jku": "https://example.com"}, "not known: 'jku'"),
        (HEADER | {"alg": "none"}, "alg 'none' is not one of Ed25519, ES256, ES256K"),
        (HEADER | {"alg": "NONE"}, "is not one of"),
        (HEADER | {"alg": "HS256"}, "is not one of"),
        (HEADER | {"alg": "EdDSA"}, "is not one of"),
        (HEADER | {"alg": "ed25519"}, "is not one of"),
        (HEADER | {"alg": ["Ed25519"]}, "is not one of"),
        (HEADER | {"alg": DEEP}, "nested more than"),
        (HEADER | {"alg": None}, "is not one of"),
        (HEADER | {"alg": "ES256"}, "must have exactly the members"),
        (HEADER | {"typ": "JWT"}, "typ must be"),
        (HEADER | {"typ": DEEP}, "nested more than"),
        (HEADER | {"kid": "a"}, "kid is not"),
        (HEADER | {"kid": DEEP}, "nested more than"),
        (HEADER | {"jwk": Ed25519Signer.generate().public_jwk}, "kid is not"),
        (HEADER | {"jwk": HEADER["jwk"] | {"d": "AAAA"}}, "exactly the members"),
        (HEADER | {"jwk": DEEP}, "nested more than"),
        (HEADER | {"typ": " " * 1000}, "header of a statement is longer than 1024 characters"),
    ],
)
def test_a_header_that_says_anything_else_is_refused(header: dict[str, Any], why: str) -> None:
    with pytest.raises(StatementInvalid, match=why):
        statement.parse(join(header, PAYLOAD))


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (without(PAYLOAD, "type"), "unknown statement type None"),
        *((without(PAYLOAD, name), f"missing or not known: '{name}'") for name in PAYLOAD if name != "type"),
        (PAYLOAD | {"exp": NOW}, "not known: 'exp'"),
        (PAYLOAD | {"packet": {}}, "not known: 'packet'"),
        (PAYLOAD | {"type": "packet"}, "missing or not known: 'document', 'packet'"),
        (PAYLOAD | {"type": "order"}, "unknown statement type 'order'"),
        (PAYLOAD | {"type": DEEP}, "nested more than"),
        (PAYLOAD | {"type": ["document"]}, "unknown statement type"),
        (PAYLOAD | {"iss": "acme"}, "iss: not a CAIP-10 account"),
        (PAYLOAD | {"iss": ACCOUNT.lower()}, "iss: the address"),
        (PAYLOAD | {"iss": "\ud800"}, "iss: not a CAIP-10 account"),
        (PAYLOAD | {"iss": 1}, "iss and jti must be strings"),
        (PAYLOAD | {"jti": 1}, "iss and jti must be strings"),
        (PAYLOAD | {"jti": "AAAA"}, "128 bits"),
        (PAYLOAD | {"jti": "A" * 22 + "=="}, "base64url"),
        (PAYLOAD | {"jti": "\ud800"}, "base64url"),
        (PAYLOAD | {"iat": -1}, "iat"),
        (PAYLOAD | {"iat": 1 << 32}, "iat"),
        (PAYLOAD | {"iat": True}, "iat"),
        (PAYLOAD | {"iat": str(NOW)}, "iat"),
        (PAYLOAD | {"document": DEEP}, "nested more than"),
        (PAYLOAD | {"document": {}}, "document: members missing"),
    ],
)
def test_claims_that_say_anything_else_are_refused(payload: dict[str, Any], why: str) -> None:
    with pytest.raises(StatementInvalid, match=why):
        statement.parse(join(HEADER, payload))


def test_duplicate_keys_are_refused_wherever_they_are() -> None:
    for position in (0, 1):
        both: list[Any] = [json.dumps(HEADER).encode(), json.dumps(PAYLOAD).encode()]
        both[position] = b'{"typ":1,"type":1,' + both[position][1:]
        with pytest.raises(StatementInvalid, match="same key twice"):
            statement.parse(join(both[0], both[1]))


def test_a_signature_by_another_key_does_not_hold() -> None:
    other = Ed25519Signer.generate()
    with pytest.raises(SignatureInvalid, match="the signature of the document statement does not hold"):
        statement.verify(join(HEADER, PAYLOAD, signer=other))


def test_a_second_scalar_of_a_signature_does_not_hold() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    scalar = int.from_bytes(SIGNATURE[32:], "little") + order
    header, payload, _ = ISSUED.token.split(".")
    with pytest.raises(SignatureInvalid):
        statement.verify(f"{header}.{payload}.{b64url(SIGNATURE[:32] + scalar.to_bytes(32, 'little'))}")


@pytest.mark.parametrize("point", [b"\1" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f", bytes(32)])
def test_a_key_of_small_order_signs_nothing(point: bytes) -> None:
    """Under such a key one signature holds for many messages, so its owner could deny having signed any of them."""
    jwk = {"crv": "Ed25519", "kty": "OKP", "x": b64url(point)}
    for number in range(16):  # an eighth of them at least would hold
        token = join(HEADER | {"jwk": jwk, "kid": thumbprint(jwk)}, PAYLOAD | {"iat": number}, b"\1" + bytes(63))
        with pytest.raises(SignatureInvalid):
            statement.verify(token)


def test_every_changed_character_of_a_token_is_noticed() -> None:
    for position, character in enumerate(ISSUED.token):
        changed = ISSUED.token[:position] + ("A" if character != "A" else "B") + ISSUED.token[position + 1 :]
        with pytest.raises(StatementInvalid):
            statement.verify(changed)


@pytest.mark.parametrize("change", [{"issued_at": -1}, {"issuer": "acme"}, {"jti": "short"}])
def test_what_no_reader_would_accept_is_not_issued(change: dict[str, Any]) -> None:
    asked: dict[str, Any] = {"signer": SIGNER, "issuer": ACCOUNT, "body": DOCUMENT, "issued_at": NOW}
    with pytest.raises(StatementInvalid):
        statement.issue(**(asked | change))


def test_the_largest_packet_statement_fits() -> None:
    to = tuple(Addressee(b64url(number.to_bytes(32)), f"eip155:{10**32 - 1}:{ACCOUNT[-42:]}") for number in range(1024))
    digests = tuple(f"sha256:{number:064x}" for number in range(10_000))
    issued = statement.issue(SIGNER, ACCOUNT, Packet(digests, ACCOUNT, to), NOW)
    assert 1_150_000 < len(issued.token) < statement.MAX_TOKEN_BYTES


def test_lines_are_tokens_each_ended_by_a_line_feed() -> None:
    assert statement.parse_lines(b"a\nb\n", 2) == ["a", "b"]
    assert statement.parse_lines(b"\n", 2) == [""]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "line feed"),
        (b"a", "line feed"),
        (b"a\nb", "line feed"),
        (b"\xc3\xa4\n", "ASCII"),
        (b"a\nb\nc\n", "more than 2 statements"),
    ],
)
def test_other_lines_are_refused(text: bytes, why: str) -> None:
    with pytest.raises(StatementInvalid, match=why):
        statement.parse_lines(text, 2)


@given(st.text(st.sampled_from("abAB.{}[]\"':,=-_ \n0")) | st.text())
def test_any_text_is_a_statement_or_refused(text: str) -> None:
    with pytest.raises(StatementInvalid):
        statement.verify(text)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_json_parts_are_refused(header: bytes, payload: bytes) -> None:
    token = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (header, payload, bytes(64)))
    with pytest.raises(StatementInvalid):
        statement.verify(token)


def test_headers_are_remembered_read_only() -> None:
    first, second = statement.parse(ISSUED.token), statement.parse(ISSUED.token)
    with pytest.raises(TypeError):
        first.jwk["x"] = "another"  # type: ignore[index]
    assert second.jwk == HEADER["jwk"]
