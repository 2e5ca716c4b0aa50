"""Age identities over local keys: what they unwrap, ignore and refuse, and what they never show."""

import base64
import copy
import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from docex.core.recipients import parse_recipient
from keys import IdentityInvalid, RecipientInvalid, Stanza, StanzaInvalid, bech32
from keys.identity import HybridIdentity, RsaIdentity, X25519Identity, parse_identity, parse_identity_file
from keys.recipient import recipient_id

SECRET = bytes(range(32))
FILE_KEY = b"sixteen byte key"
RSA_KEY = rsa.generate_private_key(65537, 2048)
Native = X25519Identity | HybridIdentity
Local = Native | RsaIdentity
NATIVE: list[Native] = [X25519Identity(SECRET), HybridIdentity(SECRET)]
ALL: list[Local] = [*NATIVE, RsaIdentity(RSA_KEY)]

# The examples of C2SP age.md.
SPEC_X25519 = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"
SPEC_HYBRID = "AGE-SECRET-KEY-PQ-1XX76JRALNLXDMEW0CRK45QMCCH4X06SE84UN3VPM33W6HWDX0H3SK3ZQFR"


def kind(identity: object) -> str:
    return type(identity).__name__


def wrapped(identity: Local) -> Stanza:
    return parse_recipient(identity.recipient).wrap(FILE_KEY)


def text_of(hrp: str, secret: bytes = SECRET) -> str:
    return bech32.encode(hrp, secret)


def test_the_examples_of_the_specification_give_its_recipients() -> None:
    assert parse_identity(SPEC_X25519).recipient == "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
    hybrid = parse_identity(SPEC_HYBRID).recipient
    assert len(hybrid) == 1959
    assert hybrid.startswith("age1pq1x34nzsvr0rxjsgdn8zgyhfe8j7ceq5r9rdelkjuh3y235jzxshfg87pzf5zrqtzdxz95paef6")
    assert hybrid.endswith("dkmhh6gjtqmwze9pyyzk3tlhl53k2ykx3qheyty7saeq0d3fzv49zc0k")


@pytest.mark.parametrize("identity", ALL, ids=kind)
def test_an_identity_finds_its_stanza_among_others(identity: Local) -> None:
    others = [
        wrapped(other) for other in (X25519Identity.generate(), HybridIdentity.generate(), RsaIdentity.generate(2048))
    ]
    grease = Stanza("x-grease", ("a", "b"), b"\0" * 7)
    assert identity.unwrap([grease, *others, wrapped(identity), wrapped(identity), *others]) == FILE_KEY


@pytest.mark.parametrize("identity", ALL, ids=kind)
def test_an_identity_finds_nothing_in_the_stanzas_of_others(identity: Local) -> None:
    others = [
        wrapped(other) for other in (X25519Identity.generate(), HybridIdentity.generate(), RsaIdentity.generate(2048))
    ]
    assert identity.unwrap([]) is None
    assert identity.unwrap([*others, Stanza("scrypt", ("c2FsdA", "1"), b"")]) is None


@pytest.mark.parametrize("identity", ALL, ids=kind)
def test_a_changed_body_is_for_nobody(identity: Local) -> None:
    stanza = wrapped(identity)
    for position in (0, len(stanza.body) - 1):
        body = bytearray(stanza.body)
        body[position] ^= 1
        assert identity.unwrap([Stanza(stanza.type, stanza.args, bytes(body))]) is None


@pytest.mark.parametrize("identity", ALL, ids=kind)
def test_a_stanza_of_another_case_is_another_type(identity: Local) -> None:
    stanza = wrapped(identity)
    assert identity.unwrap([Stanza(stanza.type.swapcase(), stanza.args, stanza.body)]) is None


@pytest.mark.parametrize("identity", ALL, ids=kind)
@pytest.mark.parametrize("change", ["no argument", "an argument more", "a short body", "a long body"])
def test_an_own_stanza_of_a_wrong_shape_is_refused(identity: Local, change: str) -> None:
    stanza = wrapped(identity)
    malformed = {
        "no argument": Stanza(stanza.type, (), stanza.body),
        "an argument more": Stanza(stanza.type, (*stanza.args, "x"), stanza.body),
        "a short body": Stanza(stanza.type, stanza.args, stanza.body[:-1]),
        "a long body": Stanza(stanza.type, stanza.args, stanza.body + b"\0"),
    }[change]
    with pytest.raises(StanzaInvalid):
        identity.unwrap([malformed])
    with pytest.raises(StanzaInvalid):
        identity.unwrap([stanza, malformed])


@pytest.mark.parametrize("identity", NATIVE, ids=kind)
@pytest.mark.parametrize("change", ["short", "long", "padded", "not canonical", "not base64", "url-safe"])
def test_a_share_that_is_not_canonical_base64_of_its_size_is_refused(identity: Native, change: str) -> None:
    stanza = wrapped(identity)
    size = {"X25519": 32, "mlkem768x25519": 1120}[stanza.type]
    share = base64.b64decode(stanza.args[0] + "=" * (-len(stanza.args[0]) % 4))
    unpadded = base64.b64encode(share).decode().rstrip("=")
    spelled = {
        "short": base64.b64encode(share[:-1]).decode().rstrip("="),
        "long": base64.b64encode(share + b"\0").decode().rstrip("="),
        "padded": base64.b64encode(share).decode(),
        # The last character's lowest bits carry no data; only zero bits are canonical.
        "not canonical": unpadded[:-1] + chr(ord("A") + 1),
        "not base64": "!" + unpadded[1:],
        "url-safe": "-" + unpadded[1:],
    }[change]
    assert len(share) == size
    with pytest.raises(StanzaInvalid):
        identity.unwrap([Stanza(stanza.type, (spelled,), stanza.body)])


@pytest.mark.parametrize(
    "point", [bytes(32), b"\1" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"], ids=["0", "1", "-1"]
)
def test_a_low_order_point_is_refused(point: bytes) -> None:
    stanza = Stanza("X25519", (base64.b64encode(point).decode().rstrip("="),), bytes(32))
    with pytest.raises(StanzaInvalid, match="low-order"):
        NATIVE[0].unwrap([stanza])
    hybrid = wrapped(NATIVE[1])
    share = base64.b64decode(hybrid.args[0] + "==")[:1088] + point
    stanza = Stanza(hybrid.type, (base64.b64encode(share).decode().rstrip("="),), hybrid.body)
    with pytest.raises(StanzaInvalid, match="low-order"):
        NATIVE[1].unwrap([stanza])


@pytest.mark.parametrize("key_id", ["", "A" * 42, "A" * 44])
def test_an_rsa_stanza_whose_key_id_has_a_wrong_size_is_refused(key_id: str) -> None:
    with pytest.raises(StanzaInvalid, match="key id"):
        ALL[2].unwrap([Stanza("docex.io/rsa-oaep-256", (key_id,), bytes(256))])


def test_an_rsa_stanza_must_hold_a_16_byte_file_key() -> None:
    stanza = parse_recipient(ALL[2].recipient).wrap(b"seventeen bytes!!")
    with pytest.raises(StanzaInvalid, match="16-byte"):
        ALL[2].unwrap([stanza])


def test_an_rsa_stanza_names_the_recipients_thumbprint() -> None:
    stanza = wrapped(ALL[2])
    assert (stanza.type, stanza.args) == ("docex.io/rsa-oaep-256", (recipient_id(ALL[2].recipient),))
    assert len(stanza.body) == 256


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_secret_of_another_size_is_refused(size: int) -> None:
    for hrp in ("AGE-SECRET-KEY-", "AGE-SECRET-KEY-PQ-"):
        with pytest.raises(IdentityInvalid, match="32 bytes"):
            parse_identity(text_of(hrp, bytes(size)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AGE-SECRET-KEY-1",
        SPEC_X25519.lower(),
        SPEC_HYBRID.lower(),
        SPEC_X25519[:-1],
        SPEC_X25519 + "\n",
        SPEC_X25519[:20] + "B" + SPEC_X25519[21:],
        text_of("AGE-PLUGIN-YUBIKEY-"),
        text_of("age"),
        "A" * 10_000,
    ],
)
def test_a_text_that_is_no_identity_is_refused_and_never_repeated(text: str) -> None:
    with pytest.raises(IdentityInvalid) as caught:
        parse_identity(text)
    assert not text or text[:40] not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_identity_file_has_comments_and_several_identities() -> None:
    file = f"# created: today\r\n\n  {SPEC_X25519}  \n# public key: …\n{SPEC_HYBRID}"
    assert [kind(identity) for identity in parse_identity_file(file)] == ["X25519Identity", "HybridIdentity"]


@pytest.mark.parametrize("file", ["", "# nothing\n\n"])
def test_an_identity_file_without_identities_is_refused(file: str) -> None:
    with pytest.raises(IdentityInvalid, match="no identity"):
        parse_identity_file(file)


def test_a_bad_line_of_an_identity_file_is_named_not_shown() -> None:
    with pytest.raises(IdentityInvalid, match="line 3") as caught:
        parse_identity_file(f"{SPEC_X25519}\n\n{SPEC_X25519[:-1]}Q\n")
    assert SPEC_X25519[16:40] not in str(caught.value)


def test_a_pem_rsa_key_is_an_identity_file_too() -> None:
    pem = RSA_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    [identity] = parse_identity_file("\n" + pem.decode())
    assert identity.recipient == ALL[2].recipient


def test_a_pem_key_that_does_not_fit_is_refused() -> None:
    encrypted = RSA_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pw"))
    assert RsaIdentity.from_pem(encrypted, b"pw").recipient == ALL[2].recipient
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for pem, passphrase in [(b"-----BEGIN X", None), (encrypted, None), (encrypted, b"other"), (curve, None)]:
        with pytest.raises(IdentityInvalid):
            RsaIdentity.from_pem(pem, passphrase)


def test_a_weak_rsa_key_is_refused() -> None:
    for key in (rsa.generate_private_key(65537, 1024), rsa.generate_private_key(3, 2048)):
        with pytest.raises(RecipientInvalid, match="2048"):
            RsaIdentity(key)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with pytest.raises(IdentityInvalid, match="2048"):
            RsaIdentity.from_pem(pem)


@pytest.mark.parametrize("identity", ALL, ids=kind)
def test_a_private_half_is_not_shown_pickled_or_copied(identity: Local) -> None:
    secrets = [SECRET.hex(), repr(SECRET), text_of("AGE-SECRET-KEY-"), str(RSA_KEY.private_numbers().d)]
    for shown in (repr(identity), str(identity)):
        assert not any(secret in shown for secret in secrets)
    assert not hasattr(identity, "__dict__")
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="private key"):
            leave(identity)
