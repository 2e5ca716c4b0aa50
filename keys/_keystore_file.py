"""The keystore's file: its format, its limits, and how it reaches the disk (see ``keys.local``)."""

from __future__ import annotations

import base64
import contextlib
import copy
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nacl import pwhash
from nacl.exceptions import CryptoError
from nacl.exceptions import RuntimeError as NaClRuntimeError
from nacl.secret import SecretBox

from keys.errors import (
    KeystoreExists,
    KeystoreInvalid,
    KeystoreMissing,
    KeystoreTampered,
    KeystoreUnavailable,
    KeysUsageError,
    PassphraseInvalid,
    WrongPassphrase,
)

FILE_NAME = "keystore.json"
VERSION = 1

PURPOSES = ("signing", "identity", "account")
_FACTS = {"version": int, "name": str, "chain_id": int, "created": int, "public": dict}
_PUBLIC = {
    "name": str,
    "account": str,
    "address": str,
    "signing_key": dict,
    "kid": str,
    "recipient": str,
    "recipient_id": str,
}
_KDF = {"name": str, "opslimit": int, "memlimit": int, "salt": str}
_MAX_FILE = 64 << 10
# Parsers recurse, and some libraries lift the limit that would stop them before the stack ends.
_MAX_BRACKETS = 512
_MAX_NAME = 200
_MAX_INT = (1 << 53) - 1  # what every JSON reader keeps exact
# A file that asks for more would let whoever wrote it stop the node.
_MAX_MEMLIMIT = pwhash.argon2id.MEMLIMIT_SENSITIVE
_MAX_OPSLIMIT = 16
_SALT_SIZE = pwhash.argon2id.SALTBYTES
_BOX_SIZE = 32 + SecretBox.NONCE_SIZE + SecretBox.MACBYTES  # each holds 32 bytes


def check_facts(name: str, chain_id: int, created: int) -> None:
    """Raise KeysUsageError unless a keystore can carry these."""
    if not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
        raise KeysUsageError(f"a name has 1 to {_MAX_NAME} printable characters")
    if not 1 <= chain_id <= _MAX_INT:
        raise KeysUsageError("a chain id is a positive integer below 2**53")
    if not 0 <= created <= _MAX_INT:
        raise KeysUsageError("a time is in seconds since 1970")


def new_kdf(opslimit: int, memlimit: int) -> dict[str, Any]:
    """Argon2id's parameters with a fresh salt. Raises KeysUsageError outside the limits."""
    if not _kdf_allowed(opslimit, memlimit):
        raise KeysUsageError("Argon2id's limits are 1 to 16 passes and 8 KiB to 1 GiB")
    salt = _text(secrets.token_bytes(_SALT_SIZE))
    return {"name": "argon2id", "opslimit": opslimit, "memlimit": memlimit, "salt": salt}


def derive(passphrase: bytes, kdf: dict[str, Any]) -> bytes:
    """The master key.

    Raises PassphraseInvalid when the passphrase is empty, KeystoreUnavailable without the memory.
    """
    if not passphrase:
        raise PassphraseInvalid("a keystore needs a passphrase that is not empty")
    salt = _bytes(kdf["salt"])
    try:
        return pwhash.argon2id.kdf(SecretBox.KEY_SIZE, passphrase, salt, kdf["opslimit"], kdf["memlimit"])
    except NaClRuntimeError:
        raise KeystoreUnavailable(f"the passphrase needs {kdf['memlimit'] >> 20} MiB of memory to be checked") from None


def seal(document: dict[str, Any], opened: dict[str, bytes], master: bytes) -> dict[str, Any]:
    """The file's content: ``document`` with its sealed secrets and the seal over all of it."""
    boxes = {purpose: _text(_box(master, purpose).encrypt(secret)) for purpose, secret in opened.items()}
    content = document | {"secrets": boxes}
    return content | {"seal": _text(_box(master, "seal").encrypt(_digest(content)))}


def unseal(content: dict[str, Any], master: bytes) -> dict[str, bytes]:
    """The secrets by purpose. Raises WrongPassphrase, KeystoreTampered."""
    try:
        sealed = _box(master, "seal").decrypt(_bytes(content["seal"]))
    except CryptoError:
        raise WrongPassphrase("the passphrase does not open the keystore") from None
    if not secrets.compare_digest(sealed, _digest({k: v for k, v in content.items() if k != "seal"})):
        raise KeystoreTampered("the keystore file was changed since it was written")
    return {purpose: _box(master, purpose).decrypt(_bytes(box)) for purpose, box in content["secrets"].items()}


def copy_public(public: dict[str, Any]) -> dict[str, Any]:
    """A copy that the caller may change."""
    return copy.deepcopy(public)


def read(directory: Path) -> dict[str, Any]:
    """The file's content, its shape and limits checked.

    Raises KeystoreMissing, KeystoreUnavailable, KeystoreInvalid.
    """
    try:
        with (directory / FILE_NAME).open("rb") as file:
            raw = file.read(_MAX_FILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise KeystoreMissing(f"no keystore in {directory}") from None
    except OSError as error:
        raise KeystoreUnavailable(f"the keystore can't be read: {error.strerror}") from None
    if len(raw) > _MAX_FILE:
        raise KeystoreInvalid("the keystore file is too large")
    if raw.count(b"[") + raw.count(b"{") > _MAX_BRACKETS:
        raise KeystoreInvalid("the keystore file is nested too deeply")
    try:
        content = json.loads(raw, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):
        raise KeystoreInvalid("the keystore file is not JSON") from None
    return _checked(content)


def check_absent(directory: Path) -> None:
    """Raise KeystoreExists when the directory holds a keystore."""
    if os.path.lexists(directory / FILE_NAME):
        raise KeystoreExists(f"{directory} holds a keystore already")


def write_new(directory: Path, content: dict[str, Any]) -> None:
    """Write a new keystore: whole or not at all, never over another.

    Raises KeystoreExists, KeystoreUnavailable.
    """
    final = directory / FILE_NAME
    with _unavailable_on_error():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _temporary(directory, content) as temporary:
            try:
                _publish(temporary, final)
            except FileExistsError:
                raise KeystoreExists(f"{directory} holds a keystore already") from None
        _sync(directory)


def _publish(temporary: Path, final: Path) -> None:
    """Give the durable file its name. Raises FileExistsError when the name is taken."""
    try:
        os.link(temporary, final)
    except FileExistsError:
        raise
    except OSError:  # no hard links here (a USB stick): looking first is the best that is left
        if os.path.lexists(final):
            raise FileExistsError from None
        temporary.replace(final)


def replace(directory: Path, content: dict[str, Any]) -> None:
    """Put ``content`` in the place of the keystore that is there, at once.

    Raises KeystoreUnavailable.
    """
    with _unavailable_on_error():
        with _temporary(directory, content) as temporary:
            temporary.replace(directory / FILE_NAME)
        _sync(directory)


@contextlib.contextmanager
def _temporary(directory: Path, content: dict[str, Any]) -> Iterator[Path]:
    """A durable file with ``content`` beside the keystore; gone afterwards unless renamed."""
    path = directory / f".{FILE_NAME}.{secrets.token_hex(8)}"
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _unavailable_on_error() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise KeystoreUnavailable(f"the keystore can't be written: {error.strerror}") from None


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name stands twice")
    return members


def _checked(content: object) -> dict[str, Any]:
    """``content`` if it has the members of a keystore, with their types and within limits."""
    kinds = _FACTS | {"kdf": dict, "secrets": dict, "seal": str}
    document = _members(content, kinds, "keystore")
    if document["version"] != VERSION:
        raise KeystoreInvalid("a keystore of an unknown version")
    public = _members(document["public"], _PUBLIC, "public half")
    if not all(isinstance(value, str) for value in public["signing_key"].values()):
        raise KeystoreInvalid("the keystore's signing key is malformed")
    kdf = _members(document["kdf"], _KDF, "key derivation")
    if kdf["name"] != "argon2id" or not _kdf_allowed(kdf["opslimit"], kdf["memlimit"]):
        raise KeystoreInvalid("the keystore's key derivation is unknown or beyond its limits")
    boxes = document["secrets"]
    if not {"signing", "account"} <= boxes.keys() <= set(PURPOSES):
        raise KeystoreInvalid("the keystore's secrets are not those of a keystore")
    if len(_bytes(kdf["salt"])) != _SALT_SIZE:
        raise KeystoreInvalid("the keystore's salt has a wrong size")
    for box in (document["seal"], *boxes.values()):
        if len(_bytes(box)) != _BOX_SIZE:
            raise KeystoreInvalid("a sealed part of the keystore has a wrong size")
    return document


def _members(content: object, kinds: Mapping[str, type], what: str) -> dict[str, Any]:
    if not isinstance(content, dict) or content.keys() != kinds.keys():
        raise KeystoreInvalid(f"the {what} does not have the members it should")
    if any(type(content[member]) is not kind for member, kind in kinds.items()):
        raise KeystoreInvalid(f"the {what} has a member of a wrong type")
    return content


def _kdf_allowed(opslimit: int, memlimit: int) -> bool:
    return (
        pwhash.argon2id.OPSLIMIT_MIN <= opslimit <= _MAX_OPSLIMIT
        and pwhash.argon2id.MEMLIMIT_MIN <= memlimit <= _MAX_MEMLIMIT
    )


def _box(master: bytes, purpose: str) -> SecretBox:
    person = f"docex {purpose}".encode()
    return SecretBox(hashlib.blake2b(key=master, person=person, digest_size=32).digest())


def _digest(content: dict[str, Any]) -> bytes:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: object) -> bytes:
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except ValueError:
        raise KeystoreInvalid("a part of the keystore is not base64") from None
