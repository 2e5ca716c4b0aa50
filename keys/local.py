"""The keystore: a folder whose ``keystore.json`` holds a member's keys under one passphrase.

The public half stands in clear. Each secret (signing key, identity, account) is sealed on its own,
so that a node can run from a copy that leaves the identity out:

    passphrase --Argon2id(salt, opslimit, memlimit)--> master key
    master key --BLAKE2b, keyed, personalised by purpose--> one key for each purpose
    secret     --SecretBox (XSalsa20-Poly1305) under its purpose's key--> sealed, base64

``seal`` is a SecretBox over the digest of everything else in the file. So a wrong passphrase and a
changed file (another recipient, kid or name in the clear part, a secret swapped or removed) are told
apart, and neither opens.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from keys import _keystore_file as form
from keys._secret import Secret
from keys.account import LocalAccount
from keys.errors import KeystoreTampered
from keys.identity import HybridIdentity
from keys.protocols import AccountSigner, Signer, Unwrapper
from keys.recipient import recipient_id
from keys.signer import Ed25519Signer

# 46 MiB is OWASP's memory for Argon2id, where it asks for one pass; sealing then stays within 64 MiB. Twelve passes
# took 0.19 s on a core of a server (minimum of 25; one pass 0.03 s), libsodium's MODERATE (3 passes, 256 MiB) 0.42 s.
# Every keystore carries its own figures, so older ones open.
OPSLIMIT = 12
MEMLIMIT = 46 << 20


class Keystore(Secret):
    """An opened keystore. It gives the use of its keys, never the keys."""

    __slots__ = ("_account", "_identity", "_public", "_signer", "chain_id", "created", "name")

    def __init__(self, document: dict[str, Any], opened: dict[str, bytes]) -> None:
        """Take a checked document and the secrets of its boxes; ``open_keystore`` is the way here.

        Raises KeystoreTampered when the secrets are not those of the public half.
        """
        self.name: str = document["name"]
        self.chain_id: int = document["chain_id"]
        self.created: int = document["created"]
        self._public: dict[str, Any] = document["public"]
        self._signer = Ed25519Signer(opened["signing"])
        self._account = LocalAccount(opened["account"])
        self._identity = HybridIdentity(opened["identity"]) if "identity" in opened else None
        recipient = self._identity.recipient if self._identity else self._public["recipient"]
        address = self._public["address"]  # compared when the account is used: Keccak loads slowly
        self._check(public_half(self.name, self.chain_id, self._signer, address, recipient))

    @property
    def signer(self) -> Signer:
        """Signs the member's statements."""
        return self._signer

    @property
    def identity(self) -> Unwrapper | None:
        """Opens packets for the member; None in a keystore exported without its identity."""
        return self._identity

    @property
    def account(self) -> AccountSigner:
        """Signs for the member's ledger account.

        Raises KeystoreTampered when the public half names another one.
        """
        self._check(self._public | {"address": self._account.address})
        return self._account

    @property
    def public(self) -> dict[str, Any]:
        """The public half, as ``read_public`` gives it."""
        return form.copy_public(self._public)

    def _check(self, expected: dict[str, Any]) -> None:
        if expected != self._public:
            raise KeystoreTampered("the keystore's public half does not belong to its keys")

    def __repr__(self) -> str:
        return f"Keystore(name={self.name!r}, account={self._public['account']!r})"


def public_half(name: str, chain_id: int, signer: Signer, address: str, recipient: str) -> dict[str, Any]:
    """The public half as JSON: what ``docex keygen`` prints and a Directory publishes."""
    return {
        "name": name,
        "account": f"eip155:{chain_id}:{address}",
        "address": address,
        "signing_key": signer.public_jwk,
        "kid": signer.kid,
        "recipient": recipient,
        "recipient_id": recipient_id(recipient),
    }


def create_keystore(
    directory: Path | str,
    name: str,
    chain_id: int,
    passphrase: bytes,
    created: int,
    *,
    opslimit: int = OPSLIMIT,
    memlimit: int = MEMLIMIT,
) -> Keystore:
    """Make new keys and store them in ``directory`` (made with mode 0700 when it is missing).

    ``created`` is the time in seconds since 1970; ``opslimit`` and ``memlimit`` (bytes) are
    Argon2id's, by default 12 and 46 MiB: about 0.2 s for every guess.
    Raises KeystoreExists, PassphraseInvalid, KeysUsageError (name, chain id, time, limits).
    """
    form.check_facts(name, chain_id, created)
    form.check_absent(Path(directory))  # before the passphrase is stretched for nothing
    kdf = form.new_kdf(opslimit, memlimit)
    opened = {purpose: secrets.token_bytes(32) for purpose in form.PURPOSES}
    public = public_half(
        name,
        chain_id,
        Ed25519Signer(opened["signing"]),
        LocalAccount(opened["account"]).address,
        HybridIdentity(opened["identity"]).recipient,
    )
    document = {
        "version": form.VERSION,
        "name": name,
        "chain_id": chain_id,
        "created": created,
        "public": public,
        "kdf": kdf,
    }
    sealed = form.seal(document, opened, form.derive(passphrase, kdf))
    form.write_new(Path(directory), sealed)
    return Keystore(sealed, opened)


def check_absent(directory: Path | str) -> None:
    """Raise KeystoreExists when ``directory`` holds a keystore: before a passphrase is asked for."""
    form.check_absent(Path(directory))


def open_keystore(directory: Path | str, passphrase: bytes) -> Keystore:
    """Open the keystore in ``directory``.

    Raises KeystoreMissing, KeystoreInvalid (malformed, or its key derivation asks for more than
    1 GiB or 16 passes), PassphraseInvalid, WrongPassphrase, KeystoreTampered.
    """
    return Keystore(*_open(Path(directory), passphrase))


def read_public(directory: Path | str) -> dict[str, Any]:
    """The public half in clear: nothing vouches for it until ``open_keystore`` has passed.

    Raises KeystoreMissing, KeystoreInvalid.
    """
    return form.copy_public(form.read(Path(directory))["public"])


def holds_identity(directory: Path | str) -> bool:
    """Whether the keystore has an identity, which opens packets; no passphrase is needed to see that.

    Raises KeystoreMissing, KeystoreInvalid.
    """
    return "identity" in form.read(Path(directory))["secrets"]


def export_without_identity(source: Path | str, target: Path | str, passphrase: bytes) -> Keystore:
    """Write a keystore like ``source`` without its identity to ``target``, same passphrase.

    A node runs from it: signs, anchors, names its recipient, but can't open a packet. Raises as
    ``open_keystore`` does, and KeystoreExists.
    """
    form.check_absent(Path(target))
    document, opened = _open(Path(source), passphrase)
    opened.pop("identity", None)
    sealed = _seal_afresh(document, opened, passphrase)
    form.write_new(Path(target), sealed)
    return Keystore(sealed, opened)


def change_passphrase(
    directory: Path | str,
    old: bytes,
    new: bytes,
    *,
    opslimit: int | None = None,
    memlimit: int | None = None,
) -> None:
    """Seal the keystore's secrets under ``new``, with a fresh salt; the keys stay the same.

    The file is replaced at once: a crash leaves the old or the new one. Argon2id's limits stay as
    they are unless given. Raises as ``open_keystore`` does, and PassphraseInvalid.
    """
    document, opened = _open(Path(directory), old)
    sealed = _seal_afresh(document, opened, new, opslimit, memlimit)
    form.replace(Path(directory), sealed)


def _open(directory: Path, passphrase: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    document = form.read(directory)
    return document, form.unseal(document, form.derive(passphrase, document["kdf"]))


def _seal_afresh(
    document: dict[str, Any],
    opened: dict[str, bytes],
    passphrase: bytes,
    opslimit: int | None = None,
    memlimit: int | None = None,
) -> dict[str, Any]:
    kdf = form.new_kdf(opslimit or document["kdf"]["opslimit"], memlimit or document["kdf"]["memlimit"])
    facts = {key: document[key] for key in ("version", "name", "chain_id", "created", "public")}
    return form.seal(facts | {"kdf": kdf}, opened, form.derive(passphrase, kdf))
