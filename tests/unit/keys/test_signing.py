"""The local signing key and account, and JWK thumbprints."""

import base64
import copy
import hashlib
import pickle

import pytest
from coincurve import PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from keys import KeysUsageError
from keys.account import LocalAccount, checksum_address
from keys.jwk import canonical_jwk, thumbprint
from keys.signer import Ed25519Signer

SEED = bytes(range(32))
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def test_the_thumbprint_is_that_of_rfc_8037() -> None:
    # RFC 8037 appendix A.1 to A.3.
    seed = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    signer = Ed25519Signer(seed)
    assert signer.public_jwk == {"crv": "Ed25519", "kty": "OKP", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert signer.kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    # RFC 7638 section 3.1; members beyond the required ones do not count.
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknj"
        "hMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQ"
        "vRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzK"
        "nqDKgw"
    )
    jwk = {"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
    assert thumbprint(jwk) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_the_material_of_an_elliptic_key_is_its_canonical_json() -> None:
    jwk = {"y": "Y", "x": "X", "kty": "EC", "crv": "P-256", "use": "sig"}
    assert canonical_jwk(jwk) == b'{"crv":"P-256","kty":"EC","x":"X","y":"Y"}'


@pytest.mark.parametrize(
    "jwk", [{}, {"kty": "oct", "k": "AA"}, {"kty": "EC", "crv": "P-256", "x": "X"}, {"kty": "OKP"}]
)
def test_a_key_without_its_members_has_no_thumbprint(jwk: dict[str, str]) -> None:
    with pytest.raises(KeysUsageError):
        thumbprint(jwk)


@given(st.binary(max_size=300))
def test_a_signature_is_the_one_another_library_makes(message: bytes) -> None:
    signature = Ed25519Signer(SEED).sign(message)
    assert signature == Ed25519PrivateKey.from_private_bytes(SEED).sign(message)
    public = base64.urlsafe_b64decode(Ed25519Signer(SEED).public_jwk["x"] + "=")
    Ed25519PublicKey.from_public_bytes(public).verify(signature, message)


def test_an_account_is_the_address_known_for_its_key() -> None:
    # The first account of every local development chain (its mnemonic is "test test … junk").
    secret = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
    assert LocalAccount(secret).address == "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"


@pytest.mark.parametrize(
    "address",
    [
        # EIP-55, "Test Cases".
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0xde709f2102306220921060314715629080e2fb77",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ],
)
def test_an_address_has_the_checksum_of_eip_55(address: str) -> None:
    assert checksum_address(bytes.fromhex(address[2:])) == address


@given(st.binary(min_size=32, max_size=32))
def test_a_digest_signature_recovers_the_account_with_the_lower_s(digest: bytes) -> None:
    account = LocalAccount(SEED)
    r, s, parity = account.sign_digest(digest)
    assert 0 < r < ORDER
    assert 0 < s <= ORDER // 2
    assert parity in (0, 1)
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([parity])
    public = PublicKey.from_signature_and_message(signature, digest, hasher=None)
    assert public.format() == PublicKey.from_secret(SEED).format()
    assert account.sign_digest(digest) == (r, s, parity)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_wrong_sizes_are_refused(size: int) -> None:
    with pytest.raises(KeysUsageError, match="32 bytes"):
        Ed25519Signer(bytes(size))
    with pytest.raises(KeysUsageError, match="32 bytes"):
        LocalAccount(bytes(size))
    with pytest.raises(KeysUsageError, match="32 bytes"):
        LocalAccount(SEED).sign_digest(bytes(size))


@pytest.mark.parametrize("secret", [0, ORDER, 2**256 - 1])
def test_a_secret_outside_the_curves_range_is_refused(secret: int) -> None:
    with pytest.raises(KeysUsageError, match="range"):
        LocalAccount(secret.to_bytes(32, "big"))


def test_new_keys_differ() -> None:
    assert Ed25519Signer.generate().kid != Ed25519Signer.generate().kid
    assert LocalAccount.generate().address != LocalAccount.generate().address


@pytest.mark.parametrize("key", [Ed25519Signer(SEED), LocalAccount(SEED)], ids=lambda key: type(key).__name__)
def test_a_private_half_is_not_shown_pickled_or_copied(key: Ed25519Signer | LocalAccount) -> None:
    for shown in (repr(key), str(key)):
        assert SEED.hex() not in shown
        assert repr(SEED) not in shown
    assert hashlib.sha256(SEED).hexdigest() not in repr(key)
    assert not hasattr(key, "__dict__")
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="private key"):
            leave(key)
