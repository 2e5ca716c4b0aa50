"""Timestamps over batch roots: what holds, and every way in which one does not. The TSA is `openssl ts`."""

import json
import random
import time
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

from docex.core import proof as proofs
from docex.core import timestamp
from docex.core.proof import MAX_TIMESTAMP_BYTES, Proof
from docex.core.timestamp import TimestampInvalid, check_certificate, query, token_of
from docex.errors import ProofInvalid, UsageError
from tests.fixtures.paper_ledger import Exchange
from tests.fixtures.stock_tools import needs, run
from tests.fixtures.tsa import Authority

pytestmark = needs("openssl")

ROOT = bytes(range(32))
NAME = "CN=Test TSA,O=Clocks"


@pytest.fixture(scope="module")
def token(authority: Authority) -> bytes:
    return authority.token(ROOT)


@pytest.fixture(scope="module")
def rsa_token(other_authority: Authority) -> bytes:
    return other_authority.token(ROOT)


# --- what holds ------------------------------------------------------------------------------------------------------


def test_a_timestamp_by_a_trusted_tsa_says_when_and_by_whom(authority: Authority) -> None:
    before = int(time.time())
    held = timestamp.verify(authority.token(ROOT), ROOT, [authority.ca])
    assert before <= held.time <= time.time()
    assert (held.tsa, held.policy) == (NAME, "1.3.6.1.4.1.99999.1")
    assert int(held.serial, 16) > 0


def test_any_of_several_trusted_certificates_will_do(
    token: bytes, rsa_token: bytes, authority: Authority, other_authority: Authority
) -> None:
    both = [authority.ca, other_authority.ca]
    assert timestamp.verify(token, ROOT, both).tsa == timestamp.verify(rsa_token, ROOT, both).tsa == NAME


def test_the_kept_token_holds_for_openssl_too(token: bytes, authority: Authority) -> None:
    for name, data in (("token.der", token), ("root.bin", ROOT)):
        (authority.folder / name).write_bytes(data)
    said = run("openssl ts -verify -data root.bin -in token.der -token_in -CAfile ca.pem 2>&1", cwd=authority.folder)
    assert b"Verification: OK" in said


# --- what does not ---------------------------------------------------------------------------------------------------


def test_a_tsa_of_the_same_name_by_another_ca_is_not_trusted(token: bytes, other_authority: Authority) -> None:
    with pytest.raises(TimestampInvalid, match="does not hold: Verify error: unable to get local issuer certificate"):
        timestamp.verify(token, ROOT, [other_authority.ca])


def test_a_timestamp_of_another_root_does_not_hold(token: bytes, authority: Authority) -> None:
    with pytest.raises(TimestampInvalid, match="over something else than the batch root"):
        timestamp.verify(token, ROOT[::-1], [authority.ca])


@pytest.mark.parametrize("flip", [0x01, 0x02, 0x20, 0x80, 0xFF])
def test_a_flipped_byte_anywhere_never_passes(token: bytes, authority: Authority, flip: int) -> None:
    passed = [at for at in range(len(token)) if holds(changed(token, at, flip), authority)]
    assert passed == []


def test_a_flipped_bit_in_an_rsa_token_never_passes(rsa_token: bytes, other_authority: Authority) -> None:
    bits = [(at, 1 << bit) for at in range(len(rsa_token)) for bit in range(8)]
    passed = [each for each in random.Random(1).sample(bits, 3000) if holds(changed(rsa_token, *each), other_authority)]
    assert passed == []


def test_a_cut_or_longer_token_never_passes(token: bytes, authority: Authority) -> None:
    for size in range(len(token)):
        assert not holds(token[:size], authority)
    assert not holds(token + b"\0", authority)
    with pytest.raises(TimestampInvalid, match="longer than 65536 bytes"):
        timestamp.verify(token + bytes(MAX_TIMESTAMP_BYTES), ROOT, [authority.ca])


def test_parts_of_two_tokens_do_not_go_together(token: bytes, authority: Authority) -> None:
    ours, other = decoded(token), decoded(authority.token(ROOT[::-1]))
    for part in ("content", "signers"):
        assert not holds(token_with(ours, **{part: getattr(other, part)}), authority)


def test_certificates_that_go_by_one_name_are_refused(token: bytes, authority: Authority) -> None:
    """Or the signature is checked with one that the CA gave out for something else, the purpose with a forged one."""
    real = x509.load_pem_x509_certificate(authority.own_certificate.encode())
    double = certificate(real.subject, real.issuer, real.serial_number)
    ours = decoded(token)
    added = asn1.SetOf([*ours.certificates.as_list(), asn1.decode_der(asn1.TLV, double)])
    with pytest.raises(TimestampInvalid, match="two certificates of one issuer and serial number"):
        timestamp.verify(token_with(ours, certificates=added), ROOT, [authority.ca])


def test_a_token_without_its_certificate_is_refused(token: bytes, authority: Authority) -> None:
    none: asn1.SetOf[asn1.TLV] = asn1.SetOf([])
    with pytest.raises(TimestampInvalid, match="does not have the certificate of its signer"):
        timestamp.verify(token_with(decoded(token), certificates=none), ROOT, [authority.ca])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 1}, "not version 3"),
        ({"signers": asn1.SetOf([])}, "one signer"),
        ({"digests": asn1.SetOf([])}, "more or other digest algorithms"),
    ],
)
def test_what_no_signature_covers_has_one_value(
    token: bytes, authority: Authority, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(TimestampInvalid, match=message):
        timestamp.verify(token_with(decoded(token), **changes), ROOT, [authority.ca])


def test_hostile_bytes_end_in_a_named_error(token: bytes, authority: Authority) -> None:
    dice = random.Random(2)
    for _ in range(2000):
        data = bytearray(token)
        for _ in range(dice.randint(1, 6)):
            start = dice.randrange(len(data))
            data[start : start + dice.randint(0, 9)] = dice.randbytes(dice.randint(0, 9))
        assert bytes(data) == token or not holds(bytes(data), authority)


# --- answers of a TSA ------------------------------------------------------------------------------------------------


def test_an_answer_to_another_request_is_refused(authority: Authority) -> None:
    first, second = query(ROOT), query(ROOT)
    assert first.nonce != second.nonce
    reply = authority.reply(first.der)
    with pytest.raises(TimestampInvalid, match="nonce of another request"):
        token_of(reply, second, ROOT)


def test_an_answer_over_another_root_is_refused(authority: Authority) -> None:
    asked = query(ROOT)
    with pytest.raises(TimestampInvalid, match="over something else"):
        token_of(authority.reply(asked.der), asked, ROOT[::-1])


def test_an_answer_over_another_digest_is_refused(authority: Authority) -> None:
    settings = authority.folder / "settings"
    made = TimestampRequestBuilder().data(ROOT).hash_algorithm(HashAlgorithm.SHA512).build()
    assert made.nonce is not None
    wrong = settings.with_name("any-digest")
    wrong.write_text(settings.read_text().replace("digests = sha256", "digests = sha256, sha512"))
    reply = run(
        f"openssl ts -reply -queryfile /dev/stdin -signer tsa.pem -inkey tsa.key -config {wrong.name}",
        made.as_bytes(),
        cwd=authority.folder,
    )
    with pytest.raises(TimestampInvalid, match="not over a SHA-256 digest"):
        token_of(reply, timestamp.Query(made.as_bytes(), made.nonce), ROOT)


def test_a_refusal_says_why(authority: Authority) -> None:
    made = TimestampRequestBuilder().data(ROOT).hash_algorithm(HashAlgorithm.SHA512).build()
    with pytest.raises(TimestampInvalid, match=r"refused with status 2: 'Message digest algorithm is not supported\.'"):
        token_of(authority.reply(made.as_bytes()), query(ROOT), ROOT)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "does not hold: .*ASN.1"),
        (b"<html>busy</html>", "does not hold: .*ASN.1"),
        (bytes(MAX_TIMESTAMP_BYTES + 1025), "longer than 66560 bytes"),
        (b"\x30\x05\x30\x03\x02\x01\x00", "does not hold"),
    ],
)
def test_an_answer_that_is_none_is_refused(answer: bytes, message: str) -> None:
    with pytest.raises(TimestampInvalid, match=message):
        token_of(answer, query(ROOT), ROOT)


# --- trusted certificates --------------------------------------------------------------------------------------------


def test_only_a_root_can_be_trusted_and_is_kept_alone(authority: Authority, other_authority: Authority) -> None:
    assert check_certificate(f"Our CA\n{authority.ca}\nthat was it") == authority.ca
    with pytest.raises(UsageError, match=r"certificate of 'CN=Test TSA,O=Clocks' is not that of a root CA"):
        check_certificate(authority.own_certificate)
    with pytest.raises(UsageError, match="not 2 in one file"):
        check_certificate(authority.ca + other_authority.ca)
    for text in ("", "no certificate", "é"):
        with pytest.raises(UsageError, match=r"one X\.509 certificate in PEM"):
            check_certificate(text)


def test_a_self_signed_certificate_that_is_no_ca_is_refused() -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Nobody")])
    pem = x509.load_der_x509_certificate(certificate(name, name, 7)).public_bytes(Encoding.PEM).decode()
    with pytest.raises(UsageError, match="not that of a root CA"):
        check_certificate(pem)


# --- in the proof file -----------------------------------------------------------------------------------------------


def proof_with(token: bytes | None) -> Proof:
    proof = Exchange().proof
    assert proof.statement.inclusion is not None
    inclusion = replace(proof.statement.inclusion, timestamp=token)
    return replace(proof, statement=replace(proof.statement, inclusion=inclusion))


def test_a_proof_keeps_its_timestamp_and_one_without_has_no_member_for_it(token: bytes) -> None:
    proof = proof_with(token)
    assert proofs.parse(proofs.dump(proof)) == proof
    assert json.loads(proofs.dump(proof))["statement"]["inclusion"]["timestamp"] == b64encode(token).decode()
    assert "timestamp" not in json.loads(proofs.dump(proof_with(None)))["statement"]["inclusion"]


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        "",
        "YQ",
        "YQ==\n",
        "YR==",
        "Y Q==",
        "_-==",
        "é",
        "A" * 4 * (MAX_TIMESTAMP_BYTES // 3 + 1),
        "AAAA" * 99_999,
    ],
)
def test_a_timestamp_of_another_form_is_refused(value: object) -> None:
    text = proofs.dump(proof_with(b"a")).decode().replace('"YQ=="', json.dumps(value))
    with pytest.raises(ProofInvalid, match=r"statement\.inclusion\.timestamp must be"):
        proofs.parse(text.encode())


# --- helpers ---------------------------------------------------------------------------------------------------------


def holds(token: bytes, authority: Authority) -> bool:
    try:
        timestamp.verify(token, ROOT, [authority.ca])
    except TimestampInvalid:
        return False
    return True


def changed(data: bytes, at: int, flip: int) -> bytes:
    return data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]


def decoded(token: bytes) -> "timestamp._SignedData":
    return asn1.decode_der(timestamp._Token, token).data


def token_with(data: "timestamp._SignedData", **changes: Any) -> bytes:
    signed_data = x509.ObjectIdentifier("1.2.840.113549.1.7.2")
    return asn1.encode_der(timestamp._Token(type=signed_data, data=replace(data, **changes)))


def certificate(subject: x509.Name, issuer: x509.Name, serial: int) -> bytes:
    """One that its own key signed, for timestamping."""
    key, now = generate_private_key(SECP256R1()), datetime.now(UTC)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), serial, now, now + timedelta(days=1))
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
    made = builder.add_extension(purpose, critical=True).sign(key, SHA256())
    return made.public_bytes(Encoding.DER)
