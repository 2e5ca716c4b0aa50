"""Public keys as JWK, and their RFC 7638 thumbprint."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping

from keys.errors import KeysUsageError

# RFC 7638 section 3.2 and RFC 8037 section 2: the members that make up each key type, nothing else.
_MEMBERS = {
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
    "RSA": ("e", "kty", "n"),
}


def b64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515 appendix C)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def canonical_jwk(jwk: Mapping[str, str]) -> bytes:
    """The bytes that the thumbprint of ``jwk`` is taken over (RFC 7638 section 3).

    Raises KeysUsageError when the key type is unknown or one of its members is missing.
    """
    members = _MEMBERS.get(jwk.get("kty", ""))
    if members is None:
        raise KeysUsageError("a JWK of an unknown key type")
    if not all(isinstance(jwk.get(member), str) for member in members):
        raise KeysUsageError(f"a JWK without its members {', '.join(members)}")
    required = {member: jwk[member] for member in members}
    return json.dumps(required, sort_keys=True, separators=(",", ":")).encode()


def thumbprint(jwk: Mapping[str, str]) -> str:
    """RFC 7638 SHA-256 thumbprint: base64url, 43 characters. Raises as ``canonical_jwk`` does."""
    return b64url(hashlib.sha256(canonical_jwk(jwk)).digest())
