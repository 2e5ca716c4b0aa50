"""The keystore: made once, opened by its passphrase only, and every change to its file noticed."""

import base64
import copy
import json
import os
import pickle
import resource
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from docex.core.recipients import parse_recipient
from keys import (
    KeysError,
    KeystoreExists,
    KeystoreInvalid,
    KeystoreMissing,
    KeystoreTampered,
    KeystoreUnavailable,
    KeysUsageError,
    PassphraseInvalid,
    WrongPassphrase,
    _keystore_file,
    local,
)
from keys.identity import HybridIdentity
from keys.jwk import thumbprint
from keys.recipient import recipient_id
from keys.signer import Ed25519Signer

PASSPHRASE = "korrekt Pferd 電池".encode()
FILE_KEY = b"sixteen byte key"
FAST: dict[str, int] = {"opslimit": 1, "memlimit": 8192}


def create(directory: Path, name: str = "Mine AG", passphrase: bytes = PASSPHRASE) -> local.Keystore:
    return local.create_keystore(directory, name, 31337, passphrase, 1_700_000_000, **FAST)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create(tmp_path / "keys")
    return tmp_path / "keys"


def content(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "keystore.json").read_bytes())
    return loaded


def store(folder: Path, changed: object) -> None:
    (folder / "keystore.json").write_text(json.dumps(changed))


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_keystore_opens_with_the_keys_it_was_made_with(tmp_path: Path) -> None:
    made = create(tmp_path / "deep" / "keys")
    opened = local.open_keystore(str(tmp_path / "deep" / "keys"), PASSPHRASE)
    assert opened.public == made.public == local.read_public(tmp_path / "deep" / "keys")
    assert (opened.name, opened.chain_id, opened.created) == ("Mine AG", 31337, 1_700_000_000)
    assert opened.signer.sign(b"m") == made.signer.sign(b"m")
    assert opened.account.sign_digest(bytes(32)) == made.account.sign_digest(bytes(32))
    assert opened.identity is not None
    assert opened.identity.unwrap([parse_recipient(made.public["recipient"]).wrap(FILE_KEY)]) == FILE_KEY


def test_the_public_half_is_that_of_the_keys(tmp_path: Path) -> None:
    made = create(tmp_path)
    public = made.public
    assert made.identity is not None
    assert public == {
        "name": "Mine AG",
        "account": f"eip155:31337:{made.account.address}",
        "address": made.account.address,
        "signing_key": made.signer.public_jwk,
        "kid": thumbprint(made.signer.public_jwk),
        "recipient": made.identity.recipient,
        "recipient_id": recipient_id(made.identity.recipient),
    }
    public["signing_key"]["x"] = "changed by the caller"
    assert made.public["signing_key"] == made.signer.public_jwk


def test_the_folder_and_the_file_are_the_owners_alone(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "keystore.json").stat().st_mode) == 0o600
    assert names(folder) == ["keystore.json"]


def test_the_file_is_versioned_and_stretches_with_argon2id_by_default(tmp_path: Path) -> None:
    local.create_keystore(tmp_path, "Mine AG", 1, PASSPHRASE, 0)
    found = content(tmp_path)
    assert found["version"] == 1
    assert len(base64.b64decode(found["kdf"].pop("salt"))) == 16
    assert found["kdf"] == {"name": "argon2id", "opslimit": local.OPSLIMIT, "memlimit": local.MEMLIMIT}


def test_two_keystores_share_no_key_and_no_salt(tmp_path: Path) -> None:
    first, second = create(tmp_path / "a"), create(tmp_path / "b")
    assert not {str(v) for v in first.public.values()} & {str(v) for v in second.public.values()} - {"Mine AG"}
    assert content(tmp_path / "a")["kdf"]["salt"] != content(tmp_path / "b")["kdf"]["salt"]


def test_a_keystore_is_never_overwritten(folder: Path) -> None:
    before = (folder / "keystore.json").read_bytes()
    with pytest.raises(KeystoreExists):
        create(folder, "Other GmbH")
    with pytest.raises(KeystoreExists):
        local.check_absent(folder)
    local.check_absent(folder.parent / "other")
    create(folder.parent / "other")
    with pytest.raises(KeystoreExists):
        local.export_without_identity(folder.parent / "other", folder, PASSPHRASE)
    assert (folder / "keystore.json").read_bytes() == before


def test_of_many_that_make_a_keystore_in_one_folder_one_succeeds(tmp_path: Path) -> None:
    def attempt(number: int) -> str:
        try:
            return create(tmp_path / "keys", f"Member {number}").name
        except KeystoreExists:
            return ""

    with ThreadPoolExecutor(8) as pool:
        [winner] = [name for name in pool.map(attempt, range(8)) if name]
    assert local.open_keystore(tmp_path / "keys", PASSPHRASE).name == winner
    assert names(tmp_path / "keys") == ["keystore.json"]


@pytest.mark.parametrize("attempt", [b"wrong", PASSPHRASE + b"\n", PASSPHRASE[:-1], PASSPHRASE + b"\0"])
def test_a_wrong_passphrase_opens_nothing(folder: Path, attempt: bytes) -> None:
    with pytest.raises(WrongPassphrase) as caught:
        local.open_keystore(folder, attempt)
    assert caught.value.code == "wrong_passphrase"


def test_an_empty_passphrase_is_refused(folder: Path) -> None:
    with pytest.raises(PassphraseInvalid):
        create(folder.parent / "new", passphrase=b"")
    assert not (folder.parent / "new").exists()
    with pytest.raises(PassphraseInvalid):
        local.open_keystore(folder, b"")
    with pytest.raises(PassphraseInvalid):
        local.change_passphrase(folder, PASSPHRASE, b"")
    local.open_keystore(folder, PASSPHRASE)


def test_a_changed_passphrase_replaces_the_old_one_and_keeps_the_keys(folder: Path) -> None:
    before, public = content(folder), local.read_public(folder)
    local.change_passphrase(folder, PASSPHRASE, b"new", opslimit=2, memlimit=16384)
    assert local.open_keystore(folder, b"new").public == public
    with pytest.raises(WrongPassphrase):
        local.open_keystore(folder, PASSPHRASE)
    after = content(folder)
    assert (after["kdf"]["opslimit"], after["kdf"]["memlimit"]) == (2, 16384)
    assert after["kdf"]["salt"] != before["kdf"]["salt"]
    assert names(folder) == ["keystore.json"]
    local.change_passphrase(folder, b"new", b"newer")
    assert (content(folder)["kdf"]["opslimit"], content(folder)["kdf"]["memlimit"]) == (2, 16384)


def test_the_passphrase_is_not_changed_by_someone_who_does_not_know_it(folder: Path) -> None:
    before = (folder / "keystore.json").read_bytes()
    with pytest.raises(WrongPassphrase):
        local.change_passphrase(folder, b"guess", b"mine now")
    assert (folder / "keystore.json").read_bytes() == before


def test_an_export_signs_and_names_its_recipient_but_opens_nothing(folder: Path, tmp_path: Path) -> None:
    exported = local.export_without_identity(folder, tmp_path / "node", PASSPHRASE)
    assert (local.holds_identity(folder), local.holds_identity(tmp_path / "node")) == (True, False)
    opened = local.open_keystore(tmp_path / "node", PASSPHRASE)
    whole = local.open_keystore(folder, PASSPHRASE)
    assert exported.identity is opened.identity is None
    assert exported.public == opened.public == whole.public
    assert opened.signer.sign(b"m") == whole.signer.sign(b"m")
    assert opened.account.address == whole.account.address
    assert set(content(tmp_path / "node")["secrets"]) == {"signing", "account"}
    again = local.export_without_identity(tmp_path / "node", tmp_path / "node2", PASSPHRASE)
    assert again.identity is None


Change = Callable[[dict[str, Any]], object]
OTHER = {
    "recipient": HybridIdentity(bytes(32)).recipient,
    "kid": Ed25519Signer(bytes(32)).kid,
    "signing_key": Ed25519Signer(bytes(32)).public_jwk,
    "address": "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
    "account": "eip155:1:0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
    "recipient_id": recipient_id(HybridIdentity(bytes(32)).recipient),
    "name": "Other GmbH",
}


@pytest.mark.parametrize("member", OTHER)
def test_a_swapped_public_half_is_noticed(folder: Path, member: str) -> None:
    changed = content(folder)
    changed["public"][member] = OTHER[member]
    store(folder, changed)
    assert local.read_public(folder)[member] == OTHER[member]
    with pytest.raises(KeystoreTampered) as caught:
        local.open_keystore(folder, PASSPHRASE)
    assert caught.value.code == "keystore_tampered"
    with pytest.raises(KeystoreTampered):
        local.change_passphrase(folder, PASSPHRASE, b"new")
    with pytest.raises(KeystoreTampered):
        local.export_without_identity(folder, folder.parent / "copy", PASSPHRASE)


@pytest.mark.parametrize(("member", "value"), [("name", "Other GmbH"), ("chain_id", 1), ("created", 0)])
def test_a_changed_fact_is_noticed(folder: Path, member: str, value: object) -> None:
    store(folder, content(folder) | {member: value})
    with pytest.raises(KeystoreTampered):
        local.open_keystore(folder, PASSPHRASE)


def _swap(secrets: dict[str, str]) -> None:
    secrets["signing"], secrets["account"] = secrets["account"], secrets["signing"]


SECRET_CHANGES: dict[str, Callable[[dict[str, str]], object]] = {
    "swapped": _swap,
    "removed": lambda secrets: secrets.pop("identity"),
    "replaced": lambda secrets: secrets.update(signing=secrets["identity"]),
    "flipped": lambda secrets: secrets.update(signing=secrets["signing"][:-4] + "AAAA"),
}


@pytest.mark.parametrize("how", SECRET_CHANGES)
def test_a_changed_secret_is_noticed(folder: Path, how: str) -> None:
    changed = content(folder)
    SECRET_CHANGES[how](changed["secrets"])
    store(folder, changed)
    with pytest.raises(KeystoreTampered):
        local.open_keystore(folder, PASSPHRASE)


def test_parts_of_another_keystore_with_the_same_passphrase_do_not_fit(folder: Path) -> None:
    create(folder.parent / "other")
    mine, other = content(folder), content(folder.parent / "other")
    for member in ("secrets", "public"):
        store(folder, mine | {member: other[member]})
        with pytest.raises(KeystoreTampered):
            local.open_keystore(folder, PASSPHRASE)
    for member in ("seal", "kdf"):
        store(folder, mine | {member: other[member]})
        with pytest.raises(WrongPassphrase):
            local.open_keystore(folder, PASSPHRASE)


@pytest.mark.parametrize("own_seal", [True, False])
def test_a_public_half_that_is_not_the_secrets_is_noticed_even_under_a_good_seal(folder: Path, own_seal: bool) -> None:
    # What a faulty writer that knows the passphrase could leave.
    document = content(folder)
    master = _keystore_file.derive(PASSPHRASE, document["kdf"])
    opened = _keystore_file.unseal(document, master)
    facts = {key: document[key] for key in ("version", "name", "chain_id", "created", "public", "kdf")}
    facts["public"]["kid" if own_seal else "address"] = OTHER["kid" if own_seal else "address"]
    if not own_seal:
        facts["public"]["account"] = f"eip155:31337:{OTHER['address']}"
    store(folder, _keystore_file.seal(facts, opened, master))
    with pytest.raises(KeystoreTampered, match="does not belong"):
        local.open_keystore(folder, PASSPHRASE).account  # noqa: B018 - the account is compared when used


MALFORMED: dict[str, Change] = {
    "a list": lambda c: [c],
    "a member more": lambda c: c | {"extra": 1},
    "no seal": lambda c: {k: v for k, v in c.items() if k != "seal"},
    "version 2": lambda c: c | {"version": 2},
    "version true": lambda c: c | {"version": True},
    "a name that is a number": lambda c: c | {"name": 5},
    "a public member less": lambda c: c["public"].pop("kid") and c,
    "a signing key of numbers": lambda c: c["public"]["signing_key"].update(x=1) or c,
    "another derivation": lambda c: c["kdf"].update(name="scrypt") or c,
    "100 GiB": lambda c: c["kdf"].update(memlimit=100 << 30) or c,
    "no memory": lambda c: c["kdf"].update(memlimit=0) or c,
    "a million passes": lambda c: c["kdf"].update(opslimit=1_000_000) or c,
    "no pass": lambda c: c["kdf"].update(opslimit=0) or c,
    "a short salt": lambda c: c["kdf"].update(salt="AAAA") or c,
    "a salt that is not base64": lambda c: c["kdf"].update(salt="!" * 24) or c,
    "a secret less": lambda c: c["secrets"].pop("account") and c,
    "a secret more": lambda c: c["secrets"].update(other=c["seal"]) or c,
    "a secret that is a number": lambda c: c["secrets"].update(account=7) or c,
    "a short secret": lambda c: c["secrets"].update(account="AAAA") or c,
    "a long seal": lambda c: c | {"seal": c["seal"] + "AAAA"},
}


@pytest.mark.parametrize("how", MALFORMED)
def test_a_malformed_keystore_is_refused_before_any_work(folder: Path, how: str) -> None:
    store(folder, MALFORMED[how](content(folder)))
    with pytest.raises(KeystoreInvalid) as caught:
        local.read_public(folder)
    assert caught.value.code == "keystore_invalid"
    with pytest.raises(KeystoreInvalid):
        local.open_keystore(folder, PASSPHRASE)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff", b"[" * 60_000, b'{"version": 1, "version": 1}', b" " * 70_000],
    ids=["empty", "cut", "not text", "deep", "a name twice", "large"],
)
def test_a_file_that_is_no_keystore_is_refused(folder: Path, raw: bytes) -> None:
    (folder / "keystore.json").write_bytes(raw)
    with pytest.raises(KeystoreInvalid):
        local.read_public(folder)


def test_a_name_full_of_brackets_is_a_name(tmp_path: Path) -> None:
    assert create(tmp_path, "[{" * 100).name == local.open_keystore(tmp_path, PASSPHRASE).name == "[{" * 100


def test_a_missing_keystore_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for directory in (tmp_path, tmp_path / "none", tmp_path / "file"):
        with pytest.raises(KeystoreMissing, match=str(directory)):
            local.open_keystore(directory, PASSPHRASE)


def test_what_can_not_be_read_or_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "keystore.json").mkdir()
    with pytest.raises(KeystoreUnavailable, match="read"):
        local.read_public(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(KeystoreUnavailable, match="written"):
        create(tmp_path / "file" / "keys")


@pytest.mark.parametrize(
    ("name", "chain_id", "created"),
    [
        ("", 1, 0),
        (" ", 1, 0),
        ("a\nb", 1, 0),
        ("a\x1b[31m", 1, 0),
        ("\ud800", 1, 0),
        ("x" * 201, 1, 0),
        ("x", 0, 0),
        ("x", -1, 0),
        ("x", 1 << 53, 0),
        ("x", 1, -1),
        ("x", 1, 1 << 53),
    ],
)
def test_facts_that_no_keystore_can_carry_are_refused(tmp_path: Path, name: str, chain_id: int, created: int) -> None:
    with pytest.raises(KeysUsageError):
        local.create_keystore(tmp_path / "keys", name, chain_id, PASSPHRASE, created, **FAST)
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize(("opslimit", "memlimit"), [(0, 8192), (17, 8192), (1, 8191), (1, (1 << 30) + 1)])
def test_derivation_limits_that_could_not_be_read_again_are_not_written(
    tmp_path: Path, opslimit: int, memlimit: int
) -> None:
    with pytest.raises(KeysUsageError):
        local.create_keystore(tmp_path, "x", 1, PASSPHRASE, 0, opslimit=opslimit, memlimit=memlimit)


def test_nothing_secret_is_in_the_file_in_clear(folder: Path) -> None:
    document = content(folder)
    opened = _keystore_file.unseal(document, _keystore_file.derive(PASSPHRASE, document["kdf"]))
    raw = (folder / "keystore.json").read_bytes()
    assert {len(secret) for secret in opened.values()} == {32}
    for secret in [*opened.values(), PASSPHRASE]:
        for spelled in (secret, secret.hex().encode(), base64.b64encode(secret), base64.urlsafe_b64encode(secret)[:-1]):
            assert spelled not in raw


def test_a_keystore_is_not_shown_pickled_or_copied(folder: Path) -> None:
    keystore = local.open_keystore(folder, PASSPHRASE)
    document = content(folder)
    opened = _keystore_file.unseal(document, _keystore_file.derive(PASSPHRASE, document["kdf"]))
    for secret in opened.values():
        assert secret.hex() not in repr(keystore)
        assert repr(secret) not in repr(keystore)
    assert repr(keystore) == f"Keystore(name='Mine AG', account='{keystore.public['account']}')"
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="private key"):
            leave(keystore)


def test_a_crash_before_the_new_file_is_whole_leaves_the_old_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (folder / "keystore.json").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeystoreUnavailable, match="No space left"):
        local.change_passphrase(folder, PASSPHRASE, b"new")
    with pytest.raises(KeystoreUnavailable, match="No space left"):
        create(folder.parent / "other")
    assert (folder / "keystore.json").read_bytes() == before
    assert names(folder) == ["keystore.json"]
    assert names(folder.parent / "other") == []


def test_a_folder_without_hard_links_holds_a_keystore_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    create(tmp_path / "keys")
    assert local.open_keystore(tmp_path / "keys", PASSPHRASE).name == "Mine AG"
    assert names(tmp_path / "keys") == ["keystore.json"]
    monkeypatch.setattr(_keystore_file, "check_absent", lambda _: None)  # another process was a moment faster
    with pytest.raises(KeystoreExists):
        create(tmp_path / "keys", "Other GmbH")
    assert local.read_public(tmp_path / "keys")["name"] == "Mine AG"


def test_a_machine_without_the_memory_for_the_passphrase_says_so(folder: Path) -> None:
    document = content(folder)
    document["kdf"]["memlimit"] = 1 << 30
    store(folder, document)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), hard))
    try:
        with pytest.raises(KeystoreUnavailable, match="1024 MiB"):
            local.open_keystore(folder, PASSPHRASE)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_every_error_has_a_code_of_its_own() -> None:
    classes: list[type[KeysError]] = [KeysError, *KeysError.__subclasses__(), *KeystoreInvalid.__subclasses__()]
    assert len({error.code for error in classes}) == len(classes)
