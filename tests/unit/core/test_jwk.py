from __future__ import annotations

import json
from typing import Any

import pytest

from docex.core.encoding import b64url
from docex.core.jwk import algorithm_of, canonical, check_jwk, thumbprint
from docex.errors import StatementInvalid
from keys.jwk import thumbprint as keys_thumbprint
from keys.signer import Ed25519Signer

# RFC 8037 appendix A.2 and A.3.
RFC8037 = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
X, Y = b64url(bytes(31) + b"\1"), b64url(bytes(31) + b"\2")
KEYS = {
    "Ed25519": RFC8037,
    "ES256": {"kty": "EC", "crv": "P-256", "x": X, "y": Y},
    "ES256K": {"kty": "EC", "crv": "secp256k1", "x": X, "y": Y},
}


def test_the_thumbprint_is_that_of_rfc_8037() -> None:
    assert thumbprint(RFC8037) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert canonical(RFC8037) == (b'{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}')


@pytest.mark.parametrize("alg", KEYS)
def test_both_sides_compute_the_same_thumbprint(alg: str) -> None:
    assert thumbprint(KEYS[alg]) == keys_thumbprint(KEYS[alg])


@pytest.mark.parametrize("alg", KEYS)
def test_a_public_key_is_for_its_algorithm_only(alg: str) -> None:
    assert check_jwk(KEYS[alg], alg) == KEYS[alg]
    assert algorithm_of(KEYS[alg]) == alg
    for other in KEYS.keys() - {alg}:
        with pytest.raises(StatementInvalid):
            check_jwk(KEYS[alg], other)


def test_a_signers_key_passes() -> None:
    signer = Ed25519Signer.generate()
    assert thumbprint(check_jwk(signer.public_jwk, signer.alg)) == signer.kid


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"d": X}, "exactly the members crv, kty, x"),
        ({"kid": "a"}, "exactly the members"),
        ({"x": None}, "exactly the members"),
        ({"crv": "Ed448"}, "crv must be Ed25519"),
        ({"kty": "EC"}, "kty must be OKP"),
        ({"kty": ["OKP"]}, "kty must be OKP"),
        ({"x": b64url(bytes(31))}, "x must be 32 bytes"),
        ({"x": b64url(bytes(33))}, "x must be 32 bytes"),
        ({"x": 1}, "x must be 32 bytes"),
        ({"x": ["a"]}, "x must be 32 bytes"),
        ({"x": X + "="}, "canonical"),
        ({"x": X[:-1] + "F"}, "canonical"),
    ],
)
def test_a_key_with_another_shape_is_refused(change: dict[str, Any], why: str) -> None:
    jwk = {name: value for name, value in (RFC8037 | change).items() if value is not None}
    with pytest.raises(StatementInvalid, match=why):
        check_jwk(jwk, "Ed25519")


@pytest.mark.parametrize("jwk", [None, [], "", 1, [RFC8037], {}, {"crv": []}, {"crv": "P-384"}, {"crv": {"a": 1}}])
def test_what_is_no_known_key_has_no_algorithm(jwk: Any) -> None:
    with pytest.raises(StatementInvalid, match="not an Ed25519, P-256 or secp256k1 public key"):
        algorithm_of(jwk)
    with pytest.raises(StatementInvalid):
        check_jwk(jwk, "Ed25519")


def test_a_curve_alone_does_not_make_a_key() -> None:
    with pytest.raises(StatementInvalid, match="exactly the members"):
        algorithm_of(json.loads('{"crv":"P-256"}'))
