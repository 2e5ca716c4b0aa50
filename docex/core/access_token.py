"""OIDC access tokens: which key one was signed with, whether it holds, and who it says calls (RFC 7519, RFC 9068).

Pure: keys and time are given. Nothing in a token says where keys are: ``jku``, ``jwk``, ``x5u`` and ``x5c`` are never
looked at, and ``kid`` is looked up among the issuer's keys and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from docex.core.access import EVERYTHING, Caller, Folders, Role
from docex.core.encoding import b64url_decode, load_object
from docex.errors import DocexError, StatementInvalid, Unauthorised

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    PublicKey = ECKey | OKPKey | RSAKey

MAX_TOKEN: Final = 16 << 10
"""Characters. Tokens with hundreds of groups in them have some thousands."""
MAX_KEYS: Final = 64
SKEW: Final = 60
"""Seconds that the issuer's clock and this node's may differ."""
# Closed: no "none", and nothing with a shared secret, for which a public key could be taken.
ALGORITHMS: Final = MappingProxyType(
    {
        **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
        "ES256": ("EC", "P-256"),
        "ES384": ("EC", "P-384"),
        "ES512": ("EC", "P-521"),
        "Ed25519": ("OKP", "Ed25519"),
        "EdDSA": ("OKP", "Ed25519"),
    }
)
DEFAULT_ROLES: Final = MappingProxyType({f"docex-{role}": role for role in Role})

_TYPES: Final = ("jwt", "at+jwt", "application/at+jwt")  # RFC 9068 section 4; many issuers still say JWT, or nothing
_MAX_NAME: Final = 255  # OpenID Connect Core section 2: "sub"
_LAST_TIME: Final = 1 << 53
_RSA_BYTES: Final = range(256, 1025)  # of the modulus: 2048 to 8192 bits


class KeySetInvalid(DocexError):
    """What should be an issuer's keys is no JWK Set."""

    code = "key_set_invalid"


@dataclass(frozen=True, slots=True)
class Rules:
    """What this node asks of a token.

    ``roles_claim`` and ``folders_claim`` are names, or paths with dots between; ``roles`` says which value is which
    role.
    """

    issuer: str
    audience: str
    roles_claim: str = "roles"
    roles: Mapping[str, Role] = field(default_factory=lambda: DEFAULT_ROLES)
    folders_claim: str | None = None


@dataclass(frozen=True, slots=True)
class Presented:
    """A token whose form is right; nothing of it has been checked."""

    text: str = field(repr=False)
    alg: str
    kid: str
    claims: Mapping[str, Any] = field(repr=False)


def read(credential: str) -> Presented | None:
    """Take a token apart; None when the credential is not a JWT at all.

    Raises:
        Unauthorised: it is one, and not such as this node takes. No message repeats anything of it.
    """
    if not credential.startswith("eyJ") or credential.count(".") not in (2, 4):
        return None
    if len(credential) > MAX_TOKEN:
        _refuse(f"is longer than {MAX_TOKEN} characters")
    parts = credential.split(".")
    if len(parts) != 3:
        _refuse("is encrypted; this node takes signed ones")
    try:
        header, claims = (load_object(b64url_decode(part), fractions=True) for part in parts[:2])
    except StatementInvalid:
        _refuse("is malformed: its header or its claims are not base64url of a JSON object")
    alg, kid, typ = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(alg, str) or alg not in ALGORITHMS:
        _refuse(f"is signed with an algorithm that is not one of {', '.join(ALGORITHMS)}")
    if "crit" in header or "b64" in header:
        _refuse("has a header that has to be understood and is not (crit)")
    if not isinstance(typ, str) or typ.casefold() not in _TYPES:
        _refuse("is of another type (typ) than JWT or at+jwt")
    if not isinstance(kid, str) or not kid:
        _refuse("does not name its key (kid)")
    return Presented(credential, alg, kid, claims)


def read_keys(data: bytes) -> Mapping[str, PublicKey]:
    """The keys of a JWK Set (RFC 7517 section 5) that can sign tokens, by ``kid``; others are left out.

    Raises:
        KeySetInvalid: it is none, or has more than `MAX_KEYS` keys.
    """
    try:
        given = load_object(data, fractions=True).get("keys")
    except StatementInvalid as error:
        raise KeySetInvalid(f"the key set is {error}") from None
    if not isinstance(given, list) or len(given) > MAX_KEYS:
        raise KeySetInvalid(f"a key set has a list of at most {MAX_KEYS} keys")
    found: dict[str, PublicKey] = {}
    for each in given:
        if isinstance(each, dict) and isinstance(kid := each.get("kid"), str):
            key = _public_key(each)
            if key is not None:
                found.setdefault(kid, key)
    return MappingProxyType(found)


def check(token: Presented, key: PublicKey, rules: Rules, now: float) -> Caller:
    """Who brings this token.

    Raises:
        Unauthorised: the signature or a claim does not hold; says which, without repeating anything of it.
    """
    _check_signature(token, key)
    claims = token.claims
    if claims.get("iss") != rules.issuer:
        _refuse("is from another issuer (iss)")
    audience = claims.get("aud")
    if rules.audience not in (audience if isinstance(audience, list) else [audience]):
        _refuse("is for another audience (aud)")
    _check_times(claims, now)
    # An ID token says who logged in somewhere; it is not made for being sent to an API (RFC 9068 section 5).
    if "at_hash" in claims or "c_hash" in claims or claims.get("typ", "Bearer") in ("ID", "Refresh", "Offline"):
        _refuse("is an ID token or a refresh token; send the access token")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= _MAX_NAME or not subject.isprintable():
        _refuse("has no subject (sub) that can be shown")
    return Caller(f"{subject} of {rules.issuer}", _roles(claims, rules), _folders(claims, rules))


def _public_key(jwk: Mapping[str, Any]) -> PublicKey | None:
    from joserfc.errors import JoseError
    from joserfc.jwk import OctKey, import_key

    kty, crv = jwk.get("kty"), jwk.get("crv")
    fits = [alg for alg, (kind, curve) in ALGORITHMS.items() if kind == kty and curve in (None, crv)]
    if not fits or jwk.get("use", "sig") != "sig" or jwk.get("alg", fits[0]) not in fits:
        return None
    public = {name: jwk[name] for name in ("kty", "crv", "x", "y", "n", "e", "alg") if isinstance(jwk.get(name), str)}
    try:
        if kty == "RSA" and len(b64url_decode(public["n"]).lstrip(b"\0")) not in _RSA_BYTES:
            return None
        key = import_key(public)
    except (JoseError, StatementInvalid, ValueError, KeyError):
        return None
    assert not isinstance(key, OctKey)  # no algorithm here has such
    return key


def _check_signature(token: Presented, key: PublicKey) -> None:
    from joserfc import jws
    from joserfc.errors import JoseError

    kind, curve = ALGORITHMS[token.alg]
    said = key.as_dict(private=False)
    if said["kty"] != kind or curve not in (None, said.get("crv")) or said.get("alg", token.alg) != token.alg:
        _refuse("is signed with another algorithm than its key is for")
    signing_input, _, signature = token.text.rpartition(".")
    # joserfc warns of EdDSA, a name that leaves the curve open (RFC 9864); the key has said which it is.
    algorithm = jws.JWSRegistry.algorithms["Ed25519" if token.alg == "EdDSA" else token.alg]
    try:
        holds = algorithm.verify(signing_input.encode(), b64url_decode(signature), key)
    except (JoseError, StatementInvalid, ValueError):
        holds = False
    if not holds:
        _refuse("has a signature that does not hold")


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    expires, not_before, issued = (_time(claims, name) for name in ("exp", "nbf", "iat"))
    if expires is None:
        _refuse("does not say when it expires (exp)")
    if expires <= now - SKEW:
        _refuse("has expired (exp)")
    if not_before is not None and not_before > now + SKEW:
        _refuse("is not valid yet (nbf)")
    if issued is not None and issued > now + SKEW:
        _refuse("is from the future (iat)")


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LAST_TIME:
        _refuse(f"has a time that is not a number ({name})")
    return value


def _roles(claims: Mapping[str, Any], rules: Rules) -> frozenset[Role]:
    value = _claim(claims, rules.roles_claim)
    given = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
    return frozenset(rules.roles[each] for each in given if isinstance(each, str) and each in rules.roles)


def _folders(claims: Mapping[str, Any], rules: Rules) -> Folders:
    if rules.folders_claim is None:
        return EVERYTHING
    value = _claim(claims, rules.folders_claim)
    given = [value] if isinstance(value, str) else value
    # One that does not say is kept out, not let in everywhere: only "/" means that.
    if not isinstance(given, list) or not given or not all(isinstance(each, str) for each in given):
        _refuse("names no folders in the claim that has to")
    if "/" in given:
        return EVERYTHING
    try:
        return Folders(tuple(dict.fromkeys(each.strip("/") for each in given)))
    except DocexError:
        _refuse("names folders that can't be ones, or too many")


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """A claim by its name, which may have dots in it, or by the path to it."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _refuse(reason: str) -> NoReturn:
    raise Unauthorised(f"the access token {reason}")
