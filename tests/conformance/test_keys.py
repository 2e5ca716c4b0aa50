"""One suite for every Signer, Unwrapper and AccountSigner: what `keys.protocols` promises, on each backend.

A backend joins by one more entry in the lists below; nothing here knows how it holds its keys.
"""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from coincurve import PublicKey
from joserfc import jws
from joserfc.jwk import import_key

from docex.core.recipients import parse_recipient
from keys import AccountSigner, KeysError, KeysUsageError, Signer, Stanza, StanzaInvalid, Unwrapper
from keys.account import LocalAccount
from keys.identity import HybridIdentity, RsaIdentity, X25519Identity
from keys.jwk import thumbprint
from keys.local import Keystore, create_keystore, export_without_identity, open_keystore
from keys.recipient import FILE_KEY_SIZE
from keys.signer import Ed25519Signer

PASSPHRASE = b"of the conformance suite"
FILE_KEY = b"sixteen byte key"
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
MEMBERS = {"Ed25519": {"crv", "kty", "x"}, "ES256": {"crv", "kty", "x", "y"}, "ES256K": {"crv", "kty", "x", "y"}}

Made = Callable[[Path], Keystore]


def keystore(folder: Path) -> Keystore:
    create_keystore(folder / "keys", "Mine AG", 31337, PASSPHRASE, 1_700_000_000, opslimit=1, memlimit=8192)
    return open_keystore(folder / "keys", PASSPHRASE)


def exported(folder: Path) -> Keystore:
    keystore(folder)
    return export_without_identity(folder / "keys", folder / "node", PASSPHRASE)


def identity_of(opened: Keystore) -> Unwrapper:
    assert opened.identity is not None
    return opened.identity


SIGNERS: dict[str, Callable[[Path], Signer]] = {
    "ed25519": lambda _: Ed25519Signer.generate(),
    "keystore": lambda folder: keystore(folder).signer,
    "exported keystore": lambda folder: exported(folder).signer,
}
UNWRAPPERS: dict[str, Callable[[Path], Unwrapper]] = {
    "X25519": lambda _: X25519Identity.generate(),
    "mlkem768x25519": lambda _: HybridIdentity.generate(),
    "rsa-oaep-256": lambda _: RsaIdentity.generate(2048),
    "keystore": lambda folder: identity_of(keystore(folder)),
}
ACCOUNTS: dict[str, Callable[[Path], AccountSigner]] = {
    "secp256k1": lambda _: LocalAccount.generate(),
    "keystore": lambda folder: keystore(folder).account,
    "exported keystore": lambda folder: exported(folder).account,
}


@pytest.fixture(params=SIGNERS)
def signer(request: pytest.FixtureRequest, tmp_path: Path) -> Signer:
    return SIGNERS[request.param](tmp_path)


@pytest.fixture(params=UNWRAPPERS)
def unwrapper(request: pytest.FixtureRequest, tmp_path: Path) -> Unwrapper:
    return UNWRAPPERS[request.param](tmp_path)


@pytest.fixture(params=ACCOUNTS)
def account(request: pytest.FixtureRequest, tmp_path: Path) -> AccountSigner:
    return ACCOUNTS[request.param](tmp_path)


def test_a_signer_has_the_members_of_its_protocol(signer: Signer) -> None:
    assert isinstance(signer, Signer)


def test_an_unwrapper_has_the_members_of_its_protocol(unwrapper: Unwrapper) -> None:
    assert isinstance(unwrapper, Unwrapper)


def test_an_account_has_the_members_of_its_protocol(account: AccountSigner) -> None:
    assert isinstance(account, AccountSigner)


def test_a_signer_publishes_its_algorithm_key_and_thumbprint(signer: Signer) -> None:
    assert set(signer.public_jwk) == MEMBERS[signer.alg]
    assert signer.kid == thumbprint(signer.public_jwk)
    assert len(signer.kid) == 43


@pytest.mark.parametrize("payload", [b"", b"statement", bytes(range(256)) * 40])
def test_a_signature_is_one_that_another_jose_library_accepts(signer: Signer, payload: bytes) -> None:
    def b64(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    signing_input = b64(json.dumps({"alg": signer.alg}).encode()) + "." + b64(payload)
    signature = signer.sign(signing_input.encode())
    assert len(signature) == 64
    key = import_key({**signer.public_jwk})
    token = f"{signing_input}.{b64(signature)}"
    assert jws.deserialize_compact(token, key, algorithms=[signer.alg]).payload == payload


def test_what_a_caller_does_to_the_public_key_stays_with_the_caller(signer: Signer) -> None:
    signer.public_jwk["x"] = "changed"
    assert signer.kid == thumbprint(signer.public_jwk)


def test_an_unwrapper_opens_what_was_wrapped_for_its_recipient(unwrapper: Unwrapper) -> None:
    recipient = parse_recipient(unwrapper.recipient)
    assert recipient.text == unwrapper.recipient
    assert unwrapper.unwrap([recipient.wrap(FILE_KEY)]) == FILE_KEY
    assert len(FILE_KEY) == FILE_KEY_SIZE


def test_an_unwrapper_finds_its_stanza_wherever_it_stands(unwrapper: Unwrapper) -> None:
    others = [parse_recipient(make(Path()).recipient).wrap(bytes(16)) for make in list(UNWRAPPERS.values())[:3]]
    unknown = Stanza("example.com/enigma", ("a",), b"b")
    mine = parse_recipient(unwrapper.recipient).wrap(FILE_KEY)
    assert unwrapper.unwrap([unknown, *others, mine]) == FILE_KEY
    assert unwrapper.unwrap((mine, *others, unknown)) == FILE_KEY
    assert unwrapper.unwrap([unknown, *others]) is None
    assert unwrapper.unwrap([]) is None


def test_an_unwrapper_gives_nothing_for_a_changed_body(unwrapper: Unwrapper) -> None:
    stanza = parse_recipient(unwrapper.recipient).wrap(FILE_KEY)
    body = bytes([stanza.body[0] ^ 1]) + stanza.body[1:]
    assert unwrapper.unwrap([Stanza(stanza.type, stanza.args, body)]) is None


def test_an_unwrapper_refuses_a_malformed_stanza_of_its_own_type(unwrapper: Unwrapper) -> None:
    stanza = parse_recipient(unwrapper.recipient).wrap(FILE_KEY)
    for args, body in (
        ((), stanza.body),
        ((*stanza.args, "more"), stanza.body),
        (stanza.args, stanza.body + b"\0"),
        (stanza.args, b""),
    ):
        with pytest.raises(StanzaInvalid) as caught:
            unwrapper.unwrap([Stanza(stanza.type, args, body)])
        assert isinstance(caught.value, KeysError)


@pytest.mark.parametrize("digest", [bytes(32), b"\xff" * 32, bytes(range(32))], ids=["0", "max", "any"])
def test_an_account_signs_digests_that_recover_its_address(account: AccountSigner, digest: bytes) -> None:
    r, s, parity = account.sign_digest(digest)
    assert 0 < r < ORDER
    assert 0 < s <= ORDER // 2
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([parity])
    point = PublicKey.from_signature_and_message(signature, digest, hasher=None).format(compressed=False)
    from eth_utils.address import to_checksum_address
    from eth_utils.crypto import keccak

    assert account.address == to_checksum_address(keccak(point[1:])[-20:])


def test_an_account_signs_nothing_but_a_digest(account: AccountSigner) -> None:
    with pytest.raises(KeysUsageError):
        account.sign_digest(b"a message")
