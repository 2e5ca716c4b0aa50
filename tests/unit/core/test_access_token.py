"""Access tokens: what holds, and what people try. No answer repeats anything of a token."""

import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc.jwk import ECKey, OctKey

from docex.core.access import EVERYTHING, Caller, Folders, Role
from docex.core.access_token import MAX_KEYS, MAX_TOKEN, SKEW, KeySetInvalid, Rules, check, read, read_keys
from docex.core.encoding import b64url
from docex.errors import Unauthorised
from tests.fixtures.issuer import AUDIENCE, Key, claims_of, key_for, public, signed, unsigned

ISSUER = "https://login.example/realms/trade"
RULES = Rules(ISSUER, AUDIENCE)
NOW = 1_800_000_000
KEY = key_for("ES256")
KEYS = json.dumps({"keys": [public(KEY, "k1")]}).encode()


def claims(**changed: Any) -> dict[str, Any]:
    return claims_of(ISSUER, NOW, **changed)


def caller(token: str, rules: Rules = RULES, keys: bytes = KEYS, now: float = NOW) -> Caller:
    presented = read(token)
    assert presented is not None
    return check(presented, read_keys(keys)[presented.kid], rules, now)


def refused(token: str, rules: Rules = RULES, keys: bytes = KEYS, now: float = NOW) -> str:
    with pytest.raises(Unauthorised) as caught:
        caller(token, rules, keys, now)
    message = str(caught.value)
    assert message.startswith("the access token ")
    assert not any(len(part) > 7 and part in message for part in token.split("."))
    return message


@pytest.mark.parametrize(
    "alg", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"]
)
def test_tokens_by_each_algorithm_hold_and_no_bit_of_them_can_change(alg: str) -> None:
    key = key_for("RS" if alg.startswith(("RS", "PS")) else alg)
    keys = json.dumps({"keys": [public(key, "k1")]}).encode()
    token = signed(key, claims(roles=["docex-auditor"]), alg)
    assert caller(token, keys=keys) == Caller(f"ann of {ISSUER}", frozenset([Role.AUDITOR]), EVERYTHING)
    head, payload, signature = token.split(".")
    other = signed(key, claims(roles=["docex-operator"]), alg).split(".")[1]
    assert "signature that does not hold" in refused(f"{head}.{other}.{signature}", keys=keys)
    flipped = ("B" if signature[5] == "A" else "A").join([signature[:5], signature[6:]])
    assert "signature that does not hold" in refused(f"{head}.{payload}.{flipped}", keys=keys)


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "application/at+jwt", None])
def test_types_that_issuers_write(typ: str | None) -> None:
    assert caller(signed(KEY, claims(), typ=typ)).roles == frozenset()


@pytest.mark.parametrize("typ", ["docex+jwt", "logout+jwt", "dpop+jwt", ["JWT"], 7])
def test_tokens_that_are_for_something_else(typ: object) -> None:
    header = {"alg": "ES256", "kid": "k1", "typ": typ}
    assert "another type (typ)" in refused(unsigned(header, claims()))


@pytest.mark.parametrize("alg", ["none", "None", "", "HS256", "HS512", "ES256K", "Ed448", "RSA1_5", None, ["ES256"], 1])
def test_algorithms_outside_the_list(alg: object) -> None:
    for signature in (b"", b"\0" * 64):
        token = unsigned({"alg": alg, "kid": "k1", "typ": "JWT"}, claims(), signature)
        assert "algorithm that is not one of RS256" in refused(token)


def test_a_public_key_is_no_shared_secret() -> None:
    for secret in (KEY.as_pem(private=False), json.dumps(public(KEY, "k1")).encode(), KEYS):
        input_ = unsigned({"alg": "HS256", "kid": "k1"}, claims()).rstrip(".")
        forged = f"{input_}.{b64url(hmac.digest(secret, input_.encode(), 'sha256'))}"
        assert "algorithm that is not one of" in refused(forged)


def test_shared_secrets_in_the_key_set_are_left_out() -> None:
    secret = OctKey.import_key(b"s" * 32).as_dict()
    assert read_keys(json.dumps({"keys": [{**secret, "kid": "k1"}]}).encode()) == {}


def test_another_key_under_the_same_name() -> None:
    assert "signature that does not hold" in refused(signed(key_for("ES256", 1), claims()))


def test_keys_and_addresses_in_the_header_are_not_looked_at() -> None:
    own = key_for("ES256", 2)
    header: dict[str, Any] = {
        "jwk": own.as_dict(private=False),
        "jku": "http://127.0.0.1:1/keys",
        "x5u": "http://127.0.0.1:1/x5u",
        "x5c": ["MII="],
    }
    assert "signature that does not hold" in refused(signed(own, claims(), **header))
    assert caller(signed(KEY, claims(), **header)).name == f"ann of {ISSUER}"  # nor do they spoil what holds


@pytest.mark.parametrize("kid", ["../../dev/null", "k1' OR 1=1 --", "k1\0", "http://127.0.0.1/", "K1", "ü" * 999])
def test_a_kid_is_looked_up_and_nothing_else(kid: str) -> None:
    presented = read(signed(KEY, claims(), kid=kid))
    assert presented is not None
    assert read_keys(KEYS).get(presented.kid) is None


@pytest.mark.parametrize("kid", [None, "", 1, ["k1"], {"k1": 1}])
def test_a_token_that_does_not_name_its_key(kid: object) -> None:
    header = {"alg": "ES256", "kid": kid} if kid is not None else {"alg": "ES256"}
    assert "does not name its key" in refused(unsigned(header, claims()))


@pytest.mark.parametrize("member", [{"crit": ["exp"]}, {"crit": []}, {"b64": False}])
def test_headers_that_have_to_be_understood(member: dict[str, Any]) -> None:
    assert "crit" in refused(unsigned({"alg": "ES256", "kid": "k1", **member}, claims()))


def test_an_algorithm_that_is_not_the_keys() -> None:
    keys = {"keys": [public(key_for("RS"), "k1", alg="RS256"), public(key_for("ES256"), "k2")]}
    data = json.dumps(keys).encode()
    assert "another algorithm than its key is for" in refused(signed(key_for("RS"), claims(), "PS256"), keys=data)
    assert "another algorithm than its key is for" in refused(
        signed(key_for("ES384"), claims(), "ES384", "k2"), keys=data
    )
    assert "another algorithm than its key is for" in refused(signed(key_for("RS"), claims(), "RS256", "k2"), keys=data)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"iss": "https://login.example/realms/other"}, "another issuer"),
        ({"iss": ISSUER + "/"}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"iss": [ISSUER]}, "another issuer"),
        ({"aud": "other"}, "another audience"),
        ({"aud": ["other", "account"]}, "another audience"),
        ({"aud": None}, "another audience"),
        ({"aud": {AUDIENCE: 1}}, "another audience"),
        ({"aud": AUDIENCE + "-2"}, "another audience"),
        ({"exp": NOW - SKEW}, "has expired"),
        ({"exp": 0}, "has expired"),
        ({"exp": None}, "when it expires"),
        ({"exp": str(NOW + 9)}, "not a number (exp)"),
        ({"exp": True}, "not a number (exp)"),
        ({"exp": 10**400}, "not a number (exp)"),
        ({"nbf": NOW + SKEW + 1}, "not valid yet"),
        ({"nbf": []}, "not a number (nbf)"),
        ({"iat": NOW + SKEW + 1}, "from the future"),
        ({"at_hash": "x"}, "ID token"),
        ({"typ": "ID"}, "ID token"),
        ({"typ": "Refresh"}, "refresh token"),
        ({"sub": None}, "no subject"),
        ({"sub": ""}, "no subject"),
        ({"sub": "x" * 256}, "no subject"),
        ({"sub": "a\nb"}, "no subject"),
        ({"sub": 7}, "no subject"),
    ],
    ids=str,
)
def test_claims_that_do_not_hold(changed: dict[str, Any], reason: str) -> None:
    assert reason in refused(signed(KEY, claims(**changed)))


def test_clocks_may_differ_a_little_and_times_have_fractions() -> None:
    late = claims(exp=NOW - SKEW + 0.5, nbf=NOW + SKEW, iat=NOW + SKEW)
    assert caller(signed(KEY, late)).name.startswith("ann")
    assert caller(signed(KEY, claims(nbf=None, iat=None, aud=["account", AUDIENCE], typ="Bearer"))).name


@pytest.mark.parametrize("payload", [b"[]", b"x", b'{"iss":1,"iss":2}', b'{"exp":NaN}', b"[" * 9000, b"\xff"])
def test_claims_that_are_no_json_object(payload: bytes) -> None:
    assert "malformed" in refused(signed(KEY, payload))
    assert "malformed" in refused(unsigned(b'{"al' + payload, claims()))


def test_deep_json_ends_nothing() -> None:
    assert "malformed" in refused(signed(KEY, b'{"a":' * 1500 + b"1" + b"}" * 1500))


def test_a_huge_token_is_not_read() -> None:
    assert f"longer than {MAX_TOKEN}" in refused(signed(KEY, claims(groups=["g" * 20] * 2000)))


@pytest.mark.parametrize("text", ["", "docex_1_2", "eyJ", "eyJ.x", "a.b.c", "eyJa.b.c.d", "x" * 20000])
def test_what_is_no_jwt_is_left_to_others(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize(("text", "reason"), [("eyJh.b.c.d.e", "encrypted"), ("eyJh=.b.c", "malformed")])
def test_what_is_a_jwt_of_another_kind(text: str, reason: str) -> None:
    assert reason in refused(text)


@pytest.mark.parametrize(
    ("claim", "given", "roles"),
    [
        ("roles", {"roles": ["docex-supplier", "docex-auditor", "other", 7, None]}, {Role.SUPPLIER, Role.AUDITOR}),
        ("roles", {"roles": "docex-supplier other"}, {Role.SUPPLIER}),
        ("roles", {"roles": ["supplier", "Docex-supplier", "operator"]}, set()),
        ("roles", {"roles": {"docex-operator": True}}, set()),
        ("roles", {}, set()),
        ("realm_access.roles", {"realm_access": {"roles": ["docex-operator"]}}, {Role.OPERATOR}),
        ("realm_access.roles", {"realm_access": ["roles"]}, set()),
        ("https://x.example/roles", {"https://x.example/roles": ["docex-recipient"]}, {Role.RECIPIENT}),
        ("scope", {"scope": "openid docex-recipient"}, {Role.RECIPIENT}),
    ],
)
def test_roles_come_from_a_claim(claim: str, given: dict[str, Any], roles: set[Role]) -> None:
    assert caller(signed(KEY, claims(**given)), Rules(ISSUER, AUDIENCE, claim)).roles == roles


def test_values_are_roles_by_the_nodes_own_map() -> None:
    rules = Rules(ISSUER, AUDIENCE, "groups", {"7b1c": Role.SUPPLIER})
    assert caller(signed(KEY, claims(groups=["7b1c", "docex-operator"])), rules).roles == {Role.SUPPLIER}


@pytest.mark.parametrize(
    ("given", "folders"),
    [
        (["/lots/17", "lots/18/"], Folders(("lots/17", "lots/18"))),
        ("lots/17", Folders(("lots/17",))),
        (["/"], EVERYTHING),
        (["lots", "/", "lots"], EVERYTHING),
        (["lots", "/lots"], Folders(("lots",))),
    ],
)
def test_folders_come_from_a_claim(given: object, folders: Folders) -> None:
    rules = Rules(ISSUER, AUDIENCE, folders_claim="docex.folders")
    assert caller(signed(KEY, claims(docex={"folders": given})), rules).folders == folders


@pytest.mark.parametrize(
    "given", [None, [], "", [""], ["//"], ["a", 7], {"a": 1}, ["../a"], [f"f{i}" for i in range(65)]]
)
def test_folders_that_are_missing_or_wrong_keep_out(given: object) -> None:
    rules = Rules(ISSUER, AUDIENCE, folders_claim="folders")
    assert "folders" in refused(signed(KEY, claims(folders=given)), rules)


def jwk(key: Key, **members: Any) -> dict[str, Any]:
    return public(key, "k") | members


@pytest.mark.parametrize(
    "entry",
    [
        jwk(KEY, use="enc"),
        jwk(KEY, alg="ES384"),
        jwk(KEY, alg="ECDH-ES"),
        jwk(KEY, crv="P-999"),
        jwk(KEY, x="AA"),
        jwk(KEY, x=7),
        jwk(KEY, kty="oct", k="c2VjcmV0"),
        jwk(KEY, kid=7),
        {"kty": "EC", "crv": "P-256", "kid": "k"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "k"},
        jwk(ECKey.generate_key("secp256k1")),
        "key",
        None,
    ],
)
def test_keys_that_can_not_sign_are_left_out(entry: object) -> None:
    assert list(read_keys(json.dumps({"keys": [entry, public(KEY, "good")]}).encode())) == ["good"]


def test_short_rsa_keys_are_left_out() -> None:
    weak = rsa.generate_private_key(65537, 1024).public_key().public_numbers()
    entry = {"kty": "RSA", "n": b64url(weak.n.to_bytes(128)), "e": "AQAB", "kid": "k"}
    assert read_keys(json.dumps({"keys": [entry]}).encode()) == {}


def test_private_halves_are_not_kept() -> None:
    data = json.dumps({"keys": [{**KEY.as_dict(private=True), "kid": "k"}]}).encode()
    assert not read_keys(data)["k"].is_private


def test_the_first_key_of_a_name_stands() -> None:
    data = json.dumps({"keys": [public(KEY, "k1"), public(key_for("ES256", 1), "k1")]}).encode()
    assert caller(signed(KEY, claims()), keys=data).name


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[' + b"[" * 99, b'{"keys":[],"keys":[]}']
)
def test_what_is_no_key_set(data: bytes) -> None:
    with pytest.raises(KeySetInvalid):
        read_keys(data)


def test_a_key_set_has_a_limit() -> None:
    keys = [public(KEY, f"k{number}") for number in range(MAX_KEYS + 1)]
    assert len(read_keys(json.dumps({"keys": keys[1:]}).encode())) == MAX_KEYS
    with pytest.raises(KeySetInvalid, match="at most 64"):
        read_keys(json.dumps({"keys": keys}).encode())
