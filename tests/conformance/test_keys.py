"""What docex relies on in every key, whatever holds it: one suite for each Protocol, run on each backend."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from coincurve import PublicKey
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from eth_hash.auto import keccak
from joserfc import jws
from joserfc.jwk import import_key

from docex.core.recipients import parse_recipient
from keys import AccountSigner, KeysUsageError, Signer, Stanza, StanzaInvalid, Unwrapper
from keys.account import LocalAccount, checksum_address
from keys.identity import HybridIdentity, RsaIdentity, X25519Identity
from keys.local import Keystore, create_keystore, export_without_identity, open_keystore
from keys.signer import Ed25519Signer

FILE_KEY = b"a file key of 16"
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

PASSPHRASE = b"of the conformance suite"


def keystore(*, identity: bool = True) -> Keystore:
    """A keystore that was written to disk and opened again."""
    with TemporaryDirectory() as folder:
        made, node = Path(folder, "made"), Path(folder, "node")
        create_keystore(made, "Mine AG", 31337, PASSPHRASE, 1_700_000_000, opslimit=1, memlimit=8192)
        return open_keystore(made, PASSPHRASE) if identity else export_without_identity(made, node, PASSPHRASE)


def keystore_identity() -> Unwrapper:
    identity = keystore().identity
    assert identity is not None
    return identity


SIGNERS: dict[str, Callable[[], Signer]] = {
    "local Ed25519": Ed25519Signer.generate,
    "keystore": lambda: keystore().signer,
    "keystore without identity": lambda: keystore(identity=False).signer,
}
UNWRAPPERS: dict[str, Callable[[], Unwrapper]] = {
    "local X25519": X25519Identity.generate,
    "local mlkem768x25519": HybridIdentity.generate,
    "local RSA": lambda: RsaIdentity.generate(2048),
    "keystore": keystore_identity,
}
ACCOUNTS: dict[str, Callable[[], AccountSigner]] = {
    "local": LocalAccount.generate,
    "keystore": lambda: keystore().account,
    "keystore without identity": lambda: keystore(identity=False).account,
}


@pytest.fixture(params=list(SIGNERS.values()), ids=list(SIGNERS))
def signer(request: pytest.FixtureRequest) -> Signer:
    made: Signer = request.param()
    return made


@pytest.fixture(params=list(UNWRAPPERS.values()), ids=list(UNWRAPPERS))
def make_unwrapper(request: pytest.FixtureRequest) -> Callable[[], Unwrapper]:
    make: Callable[[], Unwrapper] = request.param
    return make


@pytest.fixture(params=list(ACCOUNTS.values()), ids=list(ACCOUNTS))
def account(request: pytest.FixtureRequest) -> AccountSigner:
    made: AccountSigner = request.param()
    return made


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def verify(signer: Signer, signature: bytes, message: bytes) -> None:
    """Check a signature by another library than the one that made it; raise InvalidSignature."""
    assert signer.alg == "Ed25519"  # a backend of another algorithm adds its check here
    assert len(signature) == 64
    Ed25519PublicKey.from_public_bytes(decode(signer.public_jwk["x"])).verify(signature, message)


# --- Signer ---------------------------------------------------------------------------------------------------------


def test_a_signer_is_recognised_as_one(signer: Signer) -> None:
    assert isinstance(signer, Signer)
    assert not isinstance(object(), Signer)


@pytest.mark.parametrize("message", [b"", b"a", bytes(range(256)) * 300], ids=len)
def test_a_signature_holds_for_its_message_only(signer: Signer, message: bytes) -> None:
    signature = signer.sign(message)
    verify(signer, signature, message)
    with pytest.raises(InvalidSignature):
        verify(signer, signature, message + b"\0")
    with pytest.raises(InvalidSignature):
        verify(signer, signature[:-1] + bytes([signature[-1] ^ 1]), message)


@pytest.mark.parametrize("payload", [b"", b"a statement"], ids=len)
def test_another_jose_library_takes_the_algorithm_the_key_and_the_signature(signer: Signer, payload: bytes) -> None:
    header = json.dumps({"alg": signer.alg}).encode()
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload))
    token = signed + b"." + base64.urlsafe_b64encode(signer.sign(signed)).rstrip(b"=")
    parsed = jws.deserialize_compact(token, import_key({**signer.public_jwk}), algorithms=[signer.alg])
    assert parsed.payload == payload


def test_the_public_key_has_the_members_of_its_thumbprint_only(signer: Signer) -> None:
    required = {"OKP": {"crv", "kty", "x"}, "EC": {"crv", "kty", "x", "y"}}
    assert signer.public_jwk.keys() == required[signer.public_jwk["kty"]]
    canonical = json.dumps(signer.public_jwk, sort_keys=True, separators=(",", ":")).encode()
    assert decode(signer.kid) == hashlib.sha256(canonical).digest()
    assert len(signer.kid) == 43


def test_a_caller_can_not_change_a_signers_public_key(signer: Signer) -> None:
    before = dict(signer.public_jwk)
    signer.public_jwk["x"] = "changed"
    assert signer.public_jwk == before


# --- Unwrapper ------------------------------------------------------------------------------------------------------


def test_an_unwrapper_is_recognised_as_one(make_unwrapper: Callable[[], Unwrapper]) -> None:
    assert isinstance(make_unwrapper(), Unwrapper)
    assert not isinstance(object(), Unwrapper)


def test_an_unwrapper_opens_what_its_recipient_wrapped(make_unwrapper: Callable[[], Unwrapper]) -> None:
    identity = make_unwrapper()
    stanza = parse_recipient(identity.recipient).wrap(FILE_KEY)
    assert identity.unwrap([stanza]) == FILE_KEY
    assert parse_recipient(identity.recipient).text == identity.recipient


def test_an_unwrapper_finds_its_stanza_in_any_place(make_unwrapper: Callable[[], Unwrapper]) -> None:
    identity = make_unwrapper()
    mine = parse_recipient(identity.recipient).wrap(FILE_KEY)
    others = [parse_recipient(make().recipient).wrap(b"another file key") for make in UNWRAPPERS.values()]
    others.append(Stanza("example.com/unknown", ("x", "y", "z"), b"body"))
    for place in range(len(others) + 1):
        assert identity.unwrap([*others[:place], mine, *others[place:]]) == FILE_KEY


def test_an_unwrapper_has_nothing_to_say_about_the_stanzas_of_others(make_unwrapper: Callable[[], Unwrapper]) -> None:
    others = [parse_recipient(make().recipient).wrap(FILE_KEY) for make in UNWRAPPERS.values()]
    others.append(Stanza("example.com/unknown", (), b""))
    assert make_unwrapper().unwrap(others) is None
    assert make_unwrapper().unwrap([]) is None


def test_a_damaged_body_is_not_for_this_identity(make_unwrapper: Callable[[], Unwrapper]) -> None:
    identity = make_unwrapper()
    stanza = parse_recipient(identity.recipient).wrap(FILE_KEY)
    for position in (0, len(stanza.body) // 2, len(stanza.body) - 1):
        body = bytearray(stanza.body)
        body[position] ^= 0x10
        assert identity.unwrap([Stanza(stanza.type, stanza.args, bytes(body))]) is None


def test_a_malformed_stanza_of_the_own_type_spoils_the_header(make_unwrapper: Callable[[], Unwrapper]) -> None:
    identity = make_unwrapper()
    good = parse_recipient(identity.recipient).wrap(FILE_KEY)
    for args, body in (
        ((), good.body),
        ((*good.args, "more"), good.body),
        ((good.args[0][:-1],), good.body),
        (good.args, good.body[:-1]),
        (good.args, good.body + b"\0"),
        (good.args, b""),
    ):
        with pytest.raises(StanzaInvalid):
            identity.unwrap([good, Stanza(good.type, args, body)])


def test_a_file_key_of_another_size_is_never_given(make_unwrapper: Callable[[], Unwrapper]) -> None:
    identity = make_unwrapper()
    for size in (15, 17, 32):
        stanza = parse_recipient(identity.recipient).wrap(bytes(size))
        with pytest.raises(StanzaInvalid):
            identity.unwrap([stanza])


# --- AccountSigner --------------------------------------------------------------------------------------------------


def test_an_account_is_recognised_as_one(account: AccountSigner) -> None:
    assert isinstance(account, AccountSigner)
    assert not isinstance(object(), AccountSigner)


@pytest.mark.parametrize("digest", [bytes(32), b"\xff" * 32, hashlib.sha256(b"a").digest()], ids=["0", "ff", "sha256"])
def test_the_account_can_be_recovered_from_its_signature(account: AccountSigner, digest: bytes) -> None:
    r, s, parity = account.sign_digest(digest)
    assert 0 < r < CURVE_ORDER
    assert 0 < s <= CURVE_ORDER // 2
    assert parity in (0, 1)
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([parity])
    point = PublicKey.from_signature_and_message(signature, digest, hasher=None).format(compressed=False)
    assert checksum_address(keccak(point[1:])[-20:]) == account.address


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_an_account_signs_nothing_but_a_digest(account: AccountSigner, size: int) -> None:
    with pytest.raises(KeysUsageError):
        account.sign_digest(bytes(size))
