"""Public signing keys as JSON Web Keys (RFC 7517), with exactly the members that RFC 7638 thumbprints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from docex.core.encoding import b64url, b64url_decode
from docex.errors import StatementInvalid

# alg -> required members with their fixed value, or the byte length of a coordinate (RFC 8037, RFC 7518, RFC 8812).
_SHAPES: Mapping[str, Mapping[str, str | int]] = MappingProxyType(
    {
        "Ed25519": {"crv": "Ed25519", "kty": "OKP", "x": 32},
        "ES256": {"crv": "P-256", "kty": "EC", "x": 32, "y": 32},
        "ES256K": {"crv": "secp256k1", "kty": "EC", "x": 32, "y": 32},
    }
)


def check_jwk(jwk: Any, alg: str) -> dict[str, str]:
    """Return ``jwk`` if it is a public key for ``alg`` with only its required members.

    Raises:
        StatementInvalid: members are missing, foreign (a private ``d`` included) or of the wrong form.
    """
    shape = _SHAPES[alg]
    if not isinstance(jwk, dict) or jwk.keys() != shape.keys():
        raise StatementInvalid(f"the jwk must have exactly the members {', '.join(shape)}")
    for member, want in shape.items():
        value = jwk[member]
        if isinstance(want, str):
            if value != want:
                raise StatementInvalid(f"jwk {member} must be {want} for {alg}")
        elif not isinstance(value, str) or len(b64url_decode(value)) != want:
            raise StatementInvalid(f"jwk {member} must be {want} bytes in base64url")
    return jwk


def canonical(jwk: Mapping[str, str]) -> bytes:
    """The JWK as RFC 7638 section 3 has it: required members, sorted, no white space."""
    return json.dumps(dict(jwk), separators=(",", ":"), sort_keys=True).encode("ascii")


def thumbprint(jwk: Mapping[str, str]) -> str:
    """The RFC 7638 SHA-256 thumbprint of a checked public JWK, base64url (43 characters)."""
    return b64url(hashlib.sha256(canonical(jwk)).digest())


def algorithm_of(jwk: Any) -> str:
    """The ``alg`` that a public JWK is for.

    Raises:
        StatementInvalid: the curve is not one that docex signs with.
    """
    curve = jwk.get("crv") if isinstance(jwk, dict) else None
    for alg, shape in _SHAPES.items():
        if shape["crv"] == curve:
            check_jwk(jwk, alg)
            return alg
    raise StatementInvalid("the jwk is not an Ed25519, P-256 or secp256k1 public key")
