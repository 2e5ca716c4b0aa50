"""Timestamps by a time-stamping authority (TSA) over batch roots: RFC 3161. See docs/proof.md, row 5.

What is kept is the token alone (RFC 3161 section 2.4.2, a CMS SignedData): the response around it is not signed. A
timestamp says that the root, and so every statement in its batch, existed by then, whatever the ledger says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import Encoding

from docex.core.proof import MAX_TIMESTAMP_BYTES
from docex.errors import DocexError, UsageError

if TYPE_CHECKING:
    from rfc3161_client import TimeStampResponse

MAX_RESPONSE_BYTES: Final = MAX_TIMESTAMP_BYTES + 1024
"""Longest answer of a TSA in bytes: a token, and in how many words it may refuse one."""
_MAX_TEXT: Final = 200
_SHA256: Final = "2.16.840.1.101.3.4.2.1"
_RSA: Final = "1.2.840.113549.1.1.1"
# By digest algorithm (SHA-256, SHA-384, SHA-512), what a signature over it may call itself: RSA and ECDSA.
_SIGNATURES: Final = {
    _SHA256: (_RSA, "1.2.840.113549.1.1.11", "1.2.840.10045.4.3.2"),
    "2.16.840.1.101.3.4.2.2": (_RSA, "1.2.840.113549.1.1.12", "1.2.840.10045.4.3.3"),
    "2.16.840.1.101.3.4.2.3": (_RSA, "1.2.840.113549.1.1.13", "1.2.840.10045.4.3.4"),
}


class TimestampInvalid(DocexError):
    """A timestamp is malformed, is not by a trusted TSA, or is over something else."""

    code = "timestamp_invalid"


# A token as RFC 5652 sections 3 and 5 and RFC 3161 section 2.4.2 have it, without what no signature covers: lists of
# revoked certificates and unsigned attributes.


@asn1.sequence
class _Algorithm:
    oid: x509.ObjectIdentifier
    parameters: asn1.Null | None


@asn1.sequence
class _Content:
    type: x509.ObjectIdentifier
    data: Annotated[bytes, asn1.Explicit(0)]


@asn1.sequence
class _Signer:
    version: int
    sid: asn1.TLV
    digest: _Algorithm
    attributes: Annotated[asn1.SetOf[asn1.TLV], asn1.Implicit(0)]
    signature_algorithm: _Algorithm
    signature: bytes


@asn1.sequence
class _SignedData:
    version: int
    digests: asn1.SetOf[_Algorithm]
    content: _Content
    certificates: Annotated[asn1.SetOf[asn1.TLV], asn1.Implicit(0)]
    signers: asn1.SetOf[_Signer]


@asn1.sequence
class _Token:
    type: x509.ObjectIdentifier
    data: Annotated[_SignedData, asn1.Explicit(0)]


@dataclass(frozen=True, slots=True)
class Query:
    """A request for a timestamp (RFC 3161 section 2.4.1) in DER; ``nonce`` has to come back in the answer to it."""

    der: bytes
    nonce: int


@dataclass(frozen=True, slots=True)
class Timestamp:
    """What a token that holds says: the time (Unix seconds), the TSA's name, its number for it, and its policy."""

    time: int
    tsa: str
    serial: str
    policy: str


def check_certificate(pem: str) -> str:
    """The one certificate in a PEM text, as PEM of its own; text around it is left out.

    Raises:
        UsageError: there is none or more than one, or it is not the self-signed certificate of a CA, which is where a
            chain has to end.
    """

    try:
        found = x509.load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        raise UsageError("a TSA certificate is one X.509 certificate in PEM") from error
    if len(found) != 1:
        raise UsageError(f"a TSA certificate is one X.509 certificate in PEM, not {len(found)} in one file")
    if not _is_root(found[0]):
        raise UsageError(
            f"the certificate of {found[0].subject.rfc4514_string()[:_MAX_TEXT]!a} is not that of a root CA: "
            "take the one at which the TSA's chain ends"
        )
    return found[0].public_bytes(Encoding.PEM).decode("ascii")


def query(root: bytes) -> Query:
    """A request to timestamp a batch root: SHA-256, a random nonce, and the TSA's certificate wanted in the answer."""
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    made = TimestampRequestBuilder().data(root).hash_algorithm(HashAlgorithm.SHA256).build()
    assert made.nonce is not None
    return Query(made.as_bytes(), made.nonce)


def token_of(response: bytes, asked: Query, root: bytes) -> bytes:
    """The token in a TSA's answer to a query. Who signed it is for the verifier to judge, who brings the certificates.

    Raises:
        TimestampInvalid: the answer is malformed, a refusal, or over another root, or has another query's nonce.
    """
    if len(response) > MAX_RESPONSE_BYTES:
        raise TimestampInvalid(f"the timestamp response is longer than {MAX_RESPONSE_BYTES} bytes")
    with _hostile():
        answer = _decoded(response)
        if answer.status > 1:  # 0 granted, 1 granted with modifications; others come without a token
            words = "; ".join(answer.status_string)[:_MAX_TEXT]
            raise TimestampInvalid(f"the TSA refused with status {answer.status}: {words!a}")
        token, nonce = answer.time_stamp_token(), answer.tst_info.nonce
        if nonce != asked.nonce:
            raise TimestampInvalid("the timestamp has the nonce of another request")
        _require_shape(token)
        _require_root(answer, root)
    return token


def verify(token: bytes, root: bytes, certificates: Sequence[str]) -> Timestamp:
    """Check that a token timestamps a batch root, signed by a TSA that chains to one of the certificates (PEM).

    The TSA's certificate, and those between it and the trusted one, come in the token and have to be valid at its time.

    Raises:
        TimestampInvalid: one of that does not hold.
        UsageError: a certificate is none.
    """
    from rfc3161_client import VerifierBuilder

    roots = [x509.load_pem_x509_certificate(check_certificate(pem).encode("ascii")) for pem in certificates]
    with _hostile():
        _require_shape(token)
        answer = _decoded(_response(token))
        _require_root(answer, root)
        signer, info = _signer(answer), answer.tst_info
        VerifierBuilder(roots=roots).build().verify_message(answer, root)
        return Timestamp(
            int(info.gen_time.timestamp()),
            signer.subject.rfc4514_string()[:_MAX_TEXT],
            hex(info.serial_number),
            info.policy.dotted_string,
        )


@contextmanager
def _hostile() -> Iterator[None]:
    """Where bytes of others are read: they make the libraries raise more than these say, and at any of their parts."""
    try:
        yield
    except DocexError:
        raise
    except Exception as error:
        raise TimestampInvalid(f"the timestamp does not hold: {_reason(error)}") from error


def _is_root(certificate: x509.Certificate) -> bool:

    try:
        certificate.verify_directly_issued_by(certificate)
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False


def _require_shape(token: bytes) -> None:
    """That a token has nothing in it that no signature covers, as far as that is not signed it has one value only.

    OpenSSL, which checks the signature, passes over some of these fields (RFC 5652 sections 5.1 and 5.3).
    """
    if len(token) > MAX_TIMESTAMP_BYTES:
        raise TimestampInvalid(f"the timestamp is longer than {MAX_TIMESTAMP_BYTES} bytes")
    data = asn1.decode_der(_Token, token).data
    signers, digests = data.signers.as_list(), data.digests.as_list()
    if (data.version, [each.version for each in signers]) != (3, [1]):
        raise TimestampInvalid("the timestamp is not version 3 with one signer of version 1")
    digest, signature = signers[0].digest.oid.dotted_string, signers[0].signature_algorithm.oid.dotted_string
    if [each.oid.dotted_string for each in digests] != [digest]:
        raise TimestampInvalid("the timestamp names more or other digest algorithms than its signer")
    if signature not in _SIGNATURES.get(digest, ()):
        raise TimestampInvalid(f"the timestamp's algorithms ({digest}, {signature}) are not taken")


def _require_root(answer: TimeStampResponse, root: bytes) -> None:
    imprint = answer.tst_info.message_imprint
    if imprint.hash_algorithm.dotted_string != _SHA256:
        raise TimestampInvalid("the timestamp is not over a SHA-256 digest")
    if imprint.message != hashlib.sha256(root).digest():
        raise TimestampInvalid("the timestamp is over something else than the batch root")


def _signer(answer: TimeStampResponse) -> x509.Certificate:
    """The TSA's certificate: that of the one signer.

    No two certificates in the token may go by one issuer and serial number: the signature might be checked with the
    one and the purpose with the other.
    """

    found = [x509.load_der_x509_certificate(der) for der in answer.signed_data.certificates]
    named = {(each.issuer, each.serial_number): each for each in found}
    if len(named) != len(found):
        raise TimestampInvalid("the timestamp has two certificates of one issuer and serial number")
    signer = answer.signed_data.signer_infos.pop()
    if (signer.issuer, signer.serial_number) not in named:
        raise TimestampInvalid("the timestamp does not have the certificate of its signer")
    return named[signer.issuer, signer.serial_number]


def _response(token: bytes) -> bytes:
    """A token in the response that the library reads: its status is "granted" (RFC 3161 section 2.4.2)."""
    body = b"\x30\x03\x02\x01\x00" + token
    size = len(body).to_bytes(3, "big")
    return b"\x30\x83" + size + body if size[0] else b"\x30\x82" + size[1:] + body


def _decoded(response: bytes) -> TimeStampResponse:
    from rfc3161_client import decode_timestamp_response

    return decode_timestamp_response(response)


def _reason(error: Exception) -> str:
    """The library's words, without the state of OpenSSL that it appends."""
    text = str(error)
    _, found, detail = text.rpartition('data: "')
    return (detail.partition('"')[0] if found else text.partition(": ErrorStack")[0])[:_MAX_TEXT]
