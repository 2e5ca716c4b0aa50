"""Mallory, with keys and an account of its own, makes packets that shall pass for those of Mine AG."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest

from docex.core import packet
from docex.core.claims import Grant, Link, Transfer
from docex.core.encoding import b64url, b64url_decode
from docex.core.jwk import thumbprint
from docex.core.statement import Statement, issue, verify
from docex.errors import DocexError, SignatureInvalid, StatementInvalid
from tests.attack import forge
from tests.attack.forge import MAKER, MALLORY, MINE

CONTENTS = {"certificate.txt": b"conforms"}
DOCUMENT, PACKET = forge.honest(CONTENTS, MINE, MAKER)
OTHER = forge.document(MINE, "other.txt", b"")
Forgery = Callable[[Statement], str]


def parts(statement: Statement) -> tuple[dict[str, Any], dict[str, Any]]:
    header, payload = (json.loads(b64url_decode(part)) for part in statement.token.split(".")[:2])
    return header, payload


def signing(header: Any = None, payload: Any = None, **header_changes: Any) -> Forgery:
    """The same statement, signed by Mallory, with changes to its parts (dicts are merged, bytes replace them)."""

    def forgery(statement: Statement) -> str:
        old_header, old_payload = parts(statement)
        new_header = header if isinstance(header, bytes) else old_header | (header or {}) | header_changes
        new_payload = payload if isinstance(payload, bytes) else old_payload | (payload or {})
        return forge.token(MALLORY, new_header, new_payload)

    return forgery


def unsigned(statement: Statement) -> str:
    header, payload, _ = statement.token.split(".")
    return f"{header}.{payload}."


def symmetric(statement: Statement) -> str:
    """RS256-to-HS256 confusion: the public key as if it were a shared secret."""
    header, payload = parts(statement)
    signed = ".".join(b64url(json.dumps(part).encode()) for part in (header | {"alg": "HS256"}, payload))
    key = b64url_decode(header["jwk"]["x"])
    return f"{signed}.{b64url(hmac.digest(key, signed.encode(), hashlib.sha256))}"


def repeated_key(part: int, key: str) -> Forgery:
    def forgery(statement: Statement) -> str:
        header, payload = (json.dumps(each).encode() for each in parts(statement))
        doubled = [header, payload]
        doubled[part] = b'{"%s":0,' % key.encode() + doubled[part][1:]
        return forge.token(MALLORY, doubled[0], doubled[1])

    return forgery


OWN = {"jwk": MALLORY.signer.public_jwk, "kid": MALLORY.signer.kid}
WEAK = {"crv": "Ed25519", "kty": "OKP", "x": b64url(b"\1" + bytes(31))}

FORGERIES: list[tuple[str, Forgery, type[DocexError]]] = [
    ("signed by another key", signing(), SignatureInvalid),
    ("signature of another statement", lambda each: each.token[:-86] + OTHER.token[-86:], SignatureInvalid),
    ("kid of Mine AG, key of Mallory", signing(jwk=MALLORY.signer.public_jwk), StatementInvalid),
    ("key of Mine AG, kid of Mallory", signing(kid=MALLORY.signer.kid), StatementInvalid),
    ("key of small order", signing(jwk=WEAK, kid=thumbprint(WEAK)), SignatureInvalid),
    ("no kid", signing(b'{"alg":"Ed25519","typ":"docex+jwt"}'), StatementInvalid),
    ("no signature", unsigned, StatementInvalid),
    ("alg none", lambda each: signing(alg="none", **OWN)(each).rpartition(".")[0] + ".", StatementInvalid),
    ("alg None", signing(alg="None", **OWN), StatementInvalid),
    ("alg HS256 with the public key", symmetric, StatementInvalid),
    ("alg ES256 with an Ed25519 key", signing(alg="ES256", **OWN), StatementInvalid),
    ("alg EdDSA", signing(alg="EdDSA", **OWN), StatementInvalid),
    ("alg a list", signing(alg=["Ed25519"], **OWN), StatementInvalid),
    ("crit", signing(crit=["b64"], b64=False, **OWN), StatementInvalid),
    ("crit of nothing", signing(crit=[], **OWN), StatementInvalid),
    ("jku", signing(jku="https://mallory.example/keys", **OWN), StatementInvalid),
    ("x5c", signing(x5c=["AAAA"], **OWN), StatementInvalid),
    ("typ of another protocol", signing(typ="JWT", **OWN), StatementInvalid),
    ("private key in the jwk", signing(jwk=MALLORY.signer.public_jwk | {"d": b64url(bytes(32))}), StatementInvalid),
    ("alg twice", repeated_key(0, "alg"), StatementInvalid),
    ("iss twice", repeated_key(1, "iss"), StatementInvalid),
    ("unknown type", signing(payload={"type": "order"}, **OWN), StatementInvalid),
    ("unknown claim", signing(payload={"nbf": 0}, **OWN), StatementInvalid),
    ("account that is none", signing(payload={"iss": "Mine AG"}, **OWN), StatementInvalid),
    ("account in another spelling", signing(payload={"iss": MINE.account.lower()}, **OWN), StatementInvalid),
    ("time of a different kind", signing(payload={"iat": "now"}, **OWN), StatementInvalid),
    ("time out of reach", signing(payload={"iat": 1 << 63}, **OWN), StatementInvalid),
    ("claims that are no JSON", signing(payload=b"\xff", **OWN), StatementInvalid),
    ("claims that are nested deeply", signing(payload=b'{"type":' + b"[" * 100_000, **OWN), StatementInvalid),
    ("a huge number", signing(payload=b'{"iat":' + b"9" * 100_000 + b"}", **OWN), StatementInvalid),
    ("padded base64", lambda each: each.token + "==", StatementInvalid),
    ("JSON serialisation", lambda each: json.dumps({"payload": each.token}), StatementInvalid),
    ("five parts", lambda each: each.token + ".a.b", StatementInvalid),
    ("an empty line", lambda _: "", StatementInvalid),
    ("a very long line", lambda _: "A" * (2 << 20), StatementInvalid),
]


def test_the_statements_are_good_before() -> None:
    data = forge.packed(forge.archive(CONTENTS, DOCUMENT, PACKET), MAKER)
    assert forge.open_(data, MAKER)[0].packet == PACKET


@pytest.mark.parametrize(("forgery", "error"), [each[1:] for each in FORGERIES], ids=[each[0] for each in FORGERIES])
def test_a_forged_document_statement(forgery: Forgery, error: type[DocexError]) -> None:
    document = forgery(DOCUMENT)
    digest = "sha256:" + hashlib.sha256(document.encode()).hexdigest()
    binding = forge.binding(MINE, (), MAKER, documents=(digest,))
    forge.refused(forge.packed(forge.archive(CONTENTS, document, binding), MAKER), MAKER, error)


@pytest.mark.parametrize(("forgery", "error"), [each[1:] for each in FORGERIES], ids=[each[0] for each in FORGERIES])
def test_a_forged_packet_statement(forgery: Forgery, error: type[DocexError]) -> None:
    forge.refused(forge.packed(forge.archive(CONTENTS, DOCUMENT, forgery(PACKET)), MAKER), MAKER, error)


def test_every_changed_byte_of_the_statements_sealed_again() -> None:
    whole = forge.lines(DOCUMENT, PACKET)
    for position in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[position] ^= 1
        archive = forge.entry("document/certificate.txt", b"conforms") + forge.entry("statements.jws", bytes(changed))
        forge.refused(forge.packed(archive + forge.END, MAKER), MAKER, (StatementInvalid, SignatureInvalid))


def test_a_sender_that_is_not_the_signer() -> None:
    binding = forge.binding(MALLORY, [DOCUMENT], MAKER, sender=MINE.account)
    data = forge.packed(forge.archive(CONTENTS, DOCUMENT, binding), MAKER)
    forge.refused(data, MAKER, StatementInvalid, "not signed by the sender that it names")


def test_the_account_of_another_under_an_own_key_shows_that_key() -> None:
    """A packet alone can't say whose a key is: `Opened` names it, and the Directory decides (docex.verify)."""
    header = forge.header(MALLORY)
    document = forge.token(MALLORY, header, forge.payload(MINE, DOCUMENT.body))
    binding = forge.binding(MINE, [verify(document)], MAKER)
    packet_ = forge.token(MALLORY, header, forge.payload(MINE, binding.body))
    opened, _ = forge.open_(forge.packed(forge.archive(CONTENTS, document, packet_), MAKER), MAKER)
    assert opened.packet.issuer == MINE.account
    assert {each.kid for each in (*opened.documents, opened.packet)} == {MALLORY.signer.kid}
    assert MALLORY.signer.kid != MINE.signer.kid


@pytest.mark.parametrize(
    "body",
    [
        PACKET.body,
        Transfer("sha256:" + "0" * 64, 1, PACKET.digest_text, MINE.account, (MAKER.addressee,), MINE.account),
        Grant("sha256:" + "0" * 64, MAKER.addressee),
        Link("eip155:1/erc721:0x0/1", DOCUMENT.digest_text),
    ],
    ids=lambda body: body.TYPE,
)
def test_a_good_statement_of_another_type(body: Any) -> None:
    other = issue(MINE.signer, MINE.account, body, forge.NOW)
    binding = forge.binding(MINE, [other], MAKER)
    data = forge.packed(forge.archive(CONTENTS, other, binding), MAKER)
    forge.refused(data, MAKER, StatementInvalid, "stands where one about 'certificate.txt' should")
    if body is not PACKET.body:
        data = forge.packed(forge.archive(CONTENTS, DOCUMENT, other), MAKER)
        forge.refused(data, MAKER, StatementInvalid, "the last statement of a packet must be its packet statement")


def test_a_document_statement_in_place_of_the_packets() -> None:
    data = forge.packed(forge.archive(CONTENTS, DOCUMENT, DOCUMENT), MAKER)
    forge.refused(data, MAKER, StatementInvalid, "the last statement")


def test_ten_thousand_statements_for_one_document_cost_no_signature_check() -> None:
    data = forge.packed(forge.archive(CONTENTS, *[DOCUMENT] * 10_000, PACKET), MAKER)
    forge.refused(data, MAKER, StatementInvalid, "the packet has 1 documents but 10001 statements")
    data = forge.packed(forge.archive(CONTENTS, *[DOCUMENT] * 10_001, PACKET), MAKER)
    forge.refused(data, MAKER, StatementInvalid, "more than 10001 statements")


def test_key_ids_are_those_of_the_recipients_text() -> None:
    assert packet.key_id(MAKER.recipient) == b64url(hashlib.sha256(MAKER.recipient.encode()).digest())
