"""Recipient texts: one canonical form for each key, everything else refused."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from docex.core.recipients import (
    HybridRecipient,
    MixedRecipients,
    Recipient,
    RecipientInvalid,
    RsaRecipient,
    X25519Recipient,
    check_mix,
    parse_recipient,
    recipient_id,
)
from docex.errors import UsageError
from keys import bech32
from keys.identity import HybridIdentity, RsaIdentity, X25519Identity

RSA = RsaIdentity.generate(2048)
TEXTS = [X25519Identity.generate().recipient, HybridIdentity.generate().recipient, RSA.recipient]
CLASSES: list[type[Recipient]] = [X25519Recipient, HybridRecipient, RsaRecipient]


@pytest.mark.parametrize(("text", "kind"), list(zip(TEXTS, CLASSES, strict=True)), ids=["X25519", "hybrid", "RSA"])
def test_a_recipient_is_parsed_to_its_type_and_back(text: str, kind: type[Recipient]) -> None:
    recipient = parse_recipient(text)
    assert type(recipient) is kind
    assert recipient.text == str(recipient) == text
    assert recipient == parse_recipient(text)
    assert hash(recipient) == hash(parse_recipient(text))
    assert recipient.post_quantum is (kind is HybridRecipient)


def test_the_prefix_names_the_type() -> None:
    assert [text[: text.rindex("1")] for text in TEXTS] == ["age", "age1pq", "age1docexrsa"]


def test_the_id_of_a_recipient_is_the_digest_of_its_text() -> None:
    text = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
    # printf %s TEXT | openssl sha256 -binary | basenc --base64url
    assert recipient_id(text) == "aoBHc5goQPp-rjhHB5pTsLFA1ngTDcaPHH9yteUIDU8"


@pytest.mark.parametrize("text", TEXTS, ids=["X25519", "hybrid", "RSA"])
def test_every_other_spelling_is_refused(text: str) -> None:
    for other in (text.upper(), text.capitalize(), " " + text, text + "\n", text[:-1], text + "q"):
        with pytest.raises(RecipientInvalid) as caught:
            parse_recipient(other)
        assert caught.value.code == "recipient_invalid"


@pytest.mark.parametrize(
    ("hrp", "public"),
    [
        ("age", bytes(31)),
        ("age", bytes(33)),
        ("age1pq", bytes(1215)),
        ("age1pq", bytes(1217)),
        ("age1docexrsa", b""),
        ("age1docexrsa", b"\x30\x00"),
        ("age1tag", bytes(33)),
        ("age1yubikey", bytes(33)),
        ("AGE-SECRET-KEY-", bytes(range(32))),
    ],
)
def test_a_wrong_size_or_type_is_refused(hrp: str, public: bytes) -> None:
    with pytest.raises(RecipientInvalid):
        parse_recipient(bech32.encode(hrp, public))


def test_a_text_of_any_length_is_refused_without_work() -> None:
    with pytest.raises(RecipientInvalid, match="too long"):
        parse_recipient("age1" + "q" * 10_000_000)


# Points of order 1, 2, 4 and 8: the shared secret would be zero whatever the sender's key.
LOW_ORDER = [
    bytes(32),
    b"\1" + bytes(31),
    b"\xec" + b"\xff" * 30 + b"\x7f",
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
]


@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point.hex()[:6])
def test_a_low_order_point_is_no_recipient(point: bytes) -> None:
    with pytest.raises(RecipientInvalid, match="low-order"):
        X25519Recipient(point)
    good = parse_recipient(TEXTS[1]).public
    with pytest.raises(RecipientInvalid, match="low-order"):
        HybridRecipient(good[:1184] + point)


@pytest.mark.parametrize("point", [2**255 - 19 + 9, 9 + 2**255, 2**256 - 1])
def test_a_point_in_a_second_spelling_is_no_recipient(point: int) -> None:
    assert X25519Recipient((9).to_bytes(32, "little")).public[0] == 9
    with pytest.raises(RecipientInvalid, match="canonical"):
        X25519Recipient(point.to_bytes(32, "little"))


def test_an_even_rsa_modulus_is_no_recipient() -> None:
    numbers = rsa.RSAPublicNumbers(65537, (1 << 2047) + 2)
    public = numbers.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    with pytest.raises(RecipientInvalid):
        RsaRecipient(public)


def test_an_ml_kem_key_outside_its_field_is_no_recipient() -> None:
    good = parse_recipient(TEXTS[1]).public
    with pytest.raises(RecipientInvalid, match="ML-KEM"):
        HybridRecipient(b"\xff" * 384 + good[384:])


def _der(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, form: PublicFormat = PublicFormat.PKCS1) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, form)


def test_an_rsa_recipient_is_a_canonical_key_of_a_safe_size() -> None:
    good = rsa.generate_private_key(65537, 2048)
    assert RsaRecipient(_der(good)).public == _der(good)
    curve = ec.generate_private_key(ec.SECP256R1())
    for public in (
        _der(good, PublicFormat.SubjectPublicKeyInfo),
        _der(curve, PublicFormat.SubjectPublicKeyInfo),
        _der(good) + b"\0",
        _der(rsa.generate_private_key(65537, 1024)),
        _der(rsa.generate_private_key(3, 2048)),
    ):
        with pytest.raises(RecipientInvalid):
            RsaRecipient(public)


def test_wrapping_the_same_file_key_twice_gives_different_stanzas() -> None:
    for text in TEXTS:
        recipient = parse_recipient(text)
        first, second = recipient.wrap(bytes(16)), recipient.wrap(bytes(16))
        assert first.body != second.body
        assert (first.args == second.args) is isinstance(recipient, RsaRecipient)


@pytest.mark.parametrize("same", [[], [True], [False], [True, True], [False, False, False]])
def test_recipients_alike_may_meet(same: list[bool]) -> None:
    check_mix(same)


@pytest.mark.parametrize("mixed", [[True, False], [False, False, True]])
def test_post_quantum_and_other_recipients_do_not_meet_by_accident(mixed: list[bool]) -> None:
    with pytest.raises(MixedRecipients, match="quantum") as caught:
        check_mix(mixed)
    assert caught.value.code == "mixed_recipients"
    assert isinstance(caught.value, UsageError)
