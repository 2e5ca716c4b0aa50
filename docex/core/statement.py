"""Statements: a member's signed claims, each one compact JWS (RFC 7515). See docs/proof.md.

The protected header is exactly ``alg``, ``jwk``, ``kid`` and ``typ``. The public key travels along, so a signature
can be checked anywhere; that alone says only *which key* signed. Who owns the key is for the Directory to say, and
the verifier (`docex.verify`) asks it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from docex.core import claims as claims_module
from docex.core.account import parse_caip10
from docex.core.claims import Body
from docex.core.encoding import b64url, b64url_decode, load_object
from docex.core.jwk import check_jwk, thumbprint
from docex.errors import SignatureInvalid, StatementInvalid, UsageError
from keys import Signer

TYP = "docex+jwt"
# RFC 9864 retired the polymorphic "EdDSA": a name that leaves the curve open is not accepted.
ALGORITHMS = ("Ed25519", "ES256", "ES256K")
MAX_TOKEN_BYTES = 5 << 18  # room for a packet statement with 10,000 documents and 1,024 addressees
MAX_TIME = (1 << 32) - 1  # what the Notary can store

_MAX_HEADER = 1024  # characters; what is cached must be small
_SIGNATURE_SIZE = 64
_SIGNATURE_PART = 86  # characters
# With s, a signature by ECDSA also holds with n - s. One of the two has to be the statement, or it had two digests.
_ORDERS: Mapping[str, int] = MappingProxyType(
    {
        "ES256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
        "ES256K": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
    }
)
_HEADER_MEMBERS = frozenset(["alg", "jwk", "kid", "typ"])
_CLAIMS = frozenset(["iss", "iat", "jti", "type"])


@dataclass(frozen=True, slots=True)
class Statement:
    """One parsed statement. ``body`` is the typed claim; ``digest`` is SHA-256 over the token's ASCII bytes."""

    token: str
    issuer: str
    issued_at: int
    jti: str
    body: Body
    alg: str
    kid: str
    jwk: Mapping[str, str]

    @property
    def digest(self) -> bytes:
        """SHA-256 of the compact JWS: the data of this statement's leaf (32 bytes)."""
        return hashlib.sha256(self.token.encode("ascii")).digest()

    @property
    def digest_text(self) -> str:
        """`digest` as ``sha256:<hex>``."""
        return "sha256:" + self.digest.hex()

    @property
    def type(self) -> str:
        """The statement type, such as ``document`` or ``receipt``."""
        return self.body.TYPE


def issue(signer: Signer, issuer: str, body: Body, issued_at: int, jti: str | None = None) -> Statement:
    """Sign one claim.

    Args:
        signer: the member's signing key.
        issuer: the member's CAIP-10 account, such as ``eip155:31337:0x…``.
        body: what is claimed.
        issued_at: seconds since the epoch.
        jti: 128 random bits as base64url; made here unless given. They make the digest unguessable.

    Raises:
        StatementInvalid: the claim would not be accepted by a reader.
    """
    header = b64url(_dump({"alg": signer.alg, "jwk": dict(signer.public_jwk), "kid": signer.kid, "typ": TYP}))
    payload = {
        "iat": issued_at,
        "iss": issuer,
        "jti": jti or b64url(secrets.token_bytes(16)),
        "type": body.TYPE,
        body.TYPE: claims_module.to_json(body),
    }
    signing_input = f"{header}.{b64url(_dump(payload))}"
    _check_length(len(signing_input) + 1 + _SIGNATURE_PART)
    read = _read_header(header), _read_payload(payload)  # what a reader would refuse is not signed
    signature = _lower_s(signer.alg, signer.sign(signing_input.encode("ascii")))
    return _statement(f"{signing_input}.{_check_signature(signer.alg, b64url(signature))}", *read)


def parse(token: str) -> Statement:
    """Read a statement strictly, without checking its signature (see `verify`).

    Raises:
        StatementInvalid: it is malformed, too long, or has an unknown type, algorithm, header member or claim.
    """
    _check_length(len(token))
    parts = token.split(".")
    if len(parts) != 3 or not token.isascii():
        raise StatementInvalid("a statement is not a compact JWS (three base64url parts)")
    header = _read_header(parts[0])
    _check_signature(header.alg, parts[2])
    return _statement(token, header, _read_payload(load_object(b64url_decode(parts[1]))))


def verify(token: str) -> Statement:
    """Read a statement and check its signature under the key it carries (RFC 7515 section 5.2).

    Whose key that is, this does not say: compare ``kid`` with the Directory.

    Raises:
        StatementInvalid: see `parse`.
        SignatureInvalid: the signature does not hold.
    """
    statement = parse(token)
    check = _holds_eddsa if statement.alg == "Ed25519" else _holds_ecdsa
    if not check(statement):
        raise SignatureInvalid(f"the signature of the {statement.type} statement does not hold")
    return statement


def _holds_eddsa(statement: Statement) -> bool:
    """RFC 8032 by libsodium, which also refuses keys of small order: with one, a signature fits many messages."""
    from nacl.exceptions import BadSignatureError  # vendors are imported where they are used: start-up time counts
    from nacl.signing import VerifyKey

    signing_input, _, signature = statement.token.rpartition(".")
    try:
        VerifyKey(b64url_decode(statement.jwk["x"])).verify(signing_input.encode("ascii"), b64url_decode(signature))
    except BadSignatureError:
        return False
    return True


def _holds_ecdsa(statement: Statement) -> bool:
    from joserfc import jws
    from joserfc.errors import JoseError
    from joserfc.jwk import import_key

    try:
        key = import_key(dict(statement.jwk))
        jws.deserialize_compact(statement.token, key, algorithms=[statement.alg])
    except (JoseError, ValueError):  # ValueError: the point is not on the curve
        return False
    return True


def _lower_s(alg: str, signature: bytes) -> bytes:
    """The one of two ECDSA signatures that a statement may have; signatures by other algorithms as they are."""
    order = _ORDERS.get(alg)
    if order is None or len(signature) != _SIGNATURE_SIZE:
        return signature
    s = int.from_bytes(signature[32:])
    return signature[:32] + (order - s).to_bytes(32) if order // 2 < s < order else signature


def _check_length(length: int) -> None:
    if length > MAX_TOKEN_BYTES:
        raise StatementInvalid(f"a statement is longer than {MAX_TOKEN_BYTES} bytes")


def _check_signature(alg: str, part: str) -> str:
    signature = b64url_decode(part)
    if len(signature) != _SIGNATURE_SIZE or _lower_s(alg, signature) != signature:
        raise StatementInvalid("the signature of a statement has 64 bytes and, with ECDSA, the lower s")
    return part


class _Header(NamedTuple):
    alg: str
    kid: str
    jwk: Mapping[str, str]


@lru_cache(256)  # a packet of a thousand statements has one header a thousand times
def _read_header(part: str) -> _Header:
    if len(part) > _MAX_HEADER:
        raise StatementInvalid(f"the header of a statement is longer than {_MAX_HEADER} characters")
    header = load_object(b64url_decode(part))
    # This also refuses "crit": no extension is known (RFC 7515 section 4.1.11).
    if extra := sorted(header.keys() ^ _HEADER_MEMBERS):
        raise StatementInvalid(f"statement header members missing or not known: {', '.join(map(ascii, extra))[:200]}")
    if header["typ"] != TYP:
        raise StatementInvalid(f"statement typ must be {TYP}")
    if header["alg"] not in ALGORITHMS:
        raise StatementInvalid(f"statement alg {ascii(header['alg'])[:80]} is not one of {', '.join(ALGORITHMS)}")
    if thumbprint(check_jwk(header["jwk"], header["alg"])) != header["kid"]:
        raise StatementInvalid("kid is not the RFC 7638 thumbprint of the statement's jwk")
    return _Header(header["alg"], header["kid"], MappingProxyType(header["jwk"]))


class _Payload(NamedTuple):
    issuer: str
    issued_at: int
    jti: str
    body: Body


def _read_payload(payload: Mapping[str, Any]) -> _Payload:
    if not isinstance(kind := payload.get("type"), str) or kind not in claims_module.TYPES:
        raise StatementInvalid(f"unknown statement type {ascii(kind)[:80]}")
    if extra := sorted(payload.keys() ^ (_CLAIMS | {kind})):
        raise StatementInvalid(f"statement claims missing or not known: {', '.join(map(ascii, extra))[:200]}")
    issuer, issued_at, jti = payload["iss"], payload["iat"], payload["jti"]
    if not isinstance(issuer, str) or not isinstance(jti, str):
        raise StatementInvalid("iss and jti must be strings")
    try:
        parse_caip10(issuer)
    except UsageError as error:
        raise StatementInvalid(f"iss: {error}") from error
    if type(issued_at) is not int or not 0 <= issued_at <= MAX_TIME:
        raise StatementInvalid("iat must be whole seconds since the epoch")
    if len(b64url_decode(jti)) != 16:
        raise StatementInvalid("jti must be 128 bits in base64url")
    return _Payload(issuer, issued_at, jti, claims_module.from_json(kind, payload[kind]))


def _statement(token: str, header: _Header, payload: _Payload) -> Statement:
    return Statement(token, *payload, *header)


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def parse_lines(text: bytes, limit: int) -> list[str]:
    """Split ``statements.jws`` into tokens: one a line, each line ended by LF.

    Raises:
        StatementInvalid: not ASCII, no final LF, or more than ``limit`` lines.
    """
    if not text.isascii() or not text.endswith(b"\n"):
        raise StatementInvalid("statements.jws must be ASCII lines, each ended by a line feed")
    if text.count(b"\n") > limit:
        raise StatementInvalid(f"more than {limit} statements in one packet")
    return text[:-1].decode("ascii").split("\n")
