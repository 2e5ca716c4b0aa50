"""A keystore file that a disk, a crash or a stranger has damaged: an error or the same keys, never others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keys import KeysError, KeystoreExists, KeystoreInvalid, WrongPassphrase, _keystore_file, local

PASSPHRASE = b"correct horse battery staple"
FAST: dict[str, int] = {"opslimit": 1, "memlimit": 8192}
NOISE = st.binary(max_size=8) | st.text('0123456789abcdefAB{}[]",:\\ \n-.eE', max_size=8).map(str.encode)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A keystore that tests read and copy, and never change."""
    folder = tmp_path_factory.mktemp("original")
    local.create_keystore(folder, "Mine AG [µ]", 31337, PASSPHRASE, 1_780_000_000, **FAST)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "keys"))


def opens_as_before_or_not_at_all(folder: Path, raw: bytes, before: local.Keystore) -> bool:
    """Whether the damaged file opened; it may only with the same keys and facts."""
    (folder / "keystore.json").write_bytes(raw)
    try:
        opened = local.open_keystore(folder, PASSPHRASE)
        account = opened.account.address
    except (KeystoreInvalid, WrongPassphrase):
        return False
    assert opened.public == before.public
    assert (opened.name, opened.chain_id, opened.created) == (before.name, before.chain_id, before.created)
    assert (opened.signer.kid, account) == (before.signer.kid, before.account.address)
    assert opened.identity is not None
    assert opened.identity.recipient == before.public["recipient"]
    return True


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80])
def test_a_flipped_bit_in_any_byte_gives_an_error_or_the_same_keys(original: Path, folder: Path, mask: int) -> None:
    raw = (original / "keystore.json").read_bytes()
    before = local.open_keystore(original, PASSPHRASE)
    opened = 0
    for position in range(len(raw)):
        changed = bytearray(raw)
        changed[position] ^= mask
        opened += opens_as_before_or_not_at_all(folder, bytes(changed), before)
    # What still opens: white space for white space, or the unused bits at the end of the seal's base64.
    assert opened <= 1 + raw.count(b"\n") + raw.count(b" ")


def test_a_file_cut_at_any_byte_does_not_open(original: Path, folder: Path) -> None:
    raw = (original / "keystore.json").read_bytes()
    before = local.open_keystore(original, PASSPHRASE)
    whole = len(raw.rstrip())
    for end in range(0, whole, 3):
        assert not opens_as_before_or_not_at_all(folder, raw[:end], before)


@given(st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_replaced_or_inserted_give_an_error_or_the_same_keys(
    original: Path, folder: Path, data: st.DataObject
) -> None:
    raw = (original / "keystore.json").read_bytes()
    before = local.open_keystore(original, PASSPHRASE)
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, min(start + 8, len(raw))))
    opens_as_before_or_not_at_all(folder, raw[:start] + data.draw(NOISE) + raw[end:], before)


# --- crashes --------------------------------------------------------------------------------------------------------

# Each name is a step on the way to the disk; the process ends right before it, as in a power cut.
STEPS = ["os.open", "os.fdopen", "os.fsync", "os.link", "os.rename", "pathlib.Path.unlink"]
CRASH = """
import os, pathlib, sys
from keys import local
owner, _, name = {step!r}.rpartition(".")
target = {{"os": os, "pathlib.Path": pathlib.Path}}[owner]
setattr(target, name, lambda *args, **options: os._exit(42))
if name == "rename":
    pathlib.Path.replace = lambda *args: os._exit(42)
{act}
"""
CREATE = "local.create_keystore({folder!r}, 'Neu', 1, b'new', 0, opslimit=1, memlimit=8192)"
CHANGE = "local.change_passphrase({folder!r}, {old!r}, b'new')"


def crash(step: str, act: str) -> int:
    """Do ``act`` in a process that ends at ``step``; its exit code: 42, or 0 when the step was not on its way."""
    code = CRASH.format(step=step, act=act)
    return subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[3]).returncode


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_while_a_keystore_is_made_leaves_a_whole_one_or_none(tmp_path: Path, step: str) -> None:
    code = crash(step, CREATE.format(folder=str(tmp_path)))
    assert code == (0 if step == "os.rename" else 42)
    made = (tmp_path / "keystore.json").exists()
    assert made is (step in ("os.rename", "pathlib.Path.unlink"))
    if not made:
        local.create_keystore(tmp_path, "Neu", 1, b"new", 0, **FAST)  # nothing is in the way
    assert local.open_keystore(tmp_path, b"new").name == "Neu"


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_while_the_passphrase_is_changed_leaves_the_old_keystore_or_the_new(folder: Path, step: str) -> None:
    before = local.read_public(folder)
    code = crash(step, CHANGE.format(folder=str(folder), old=PASSPHRASE))
    assert code == (0 if step == "os.link" else 42)
    changed = step in ("os.link", "pathlib.Path.unlink")
    assert local.open_keystore(folder, b"new" if changed else PASSPHRASE).public == before
    with pytest.raises(WrongPassphrase):
        local.open_keystore(folder, PASSPHRASE if changed else b"new")


def test_what_a_crash_left_is_the_owners_alone_and_in_nobodys_way(tmp_path: Path) -> None:
    assert crash("os.link", CREATE.format(folder=str(tmp_path))) == 42
    [left] = tmp_path.iterdir()
    assert left.name.startswith(".keystore.json.")
    assert left.stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeysError):
        local.open_keystore(tmp_path, b"new")
    local.create_keystore(tmp_path, "Neu", 1, b"new", 0, **FAST)
    with pytest.raises(KeystoreExists):
        local.create_keystore(tmp_path, "Neu", 1, b"new", 0, **FAST)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_keystore_is_the_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        local.create_keystore(tmp_path / "keys", "Neu", 1, b"new", 0, **FAST)
        local.change_passphrase(tmp_path / "keys", b"new", b"newer")
    finally:
        os.umask(before)
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "keys" / "keystore.json").stat().st_mode & 0o777 == 0o600


# --- what errors say ------------------------------------------------------------------------------------------------


def _wrong(folder: Path) -> None:
    local.open_keystore(folder, PASSPHRASE + b"?")


def _taken(folder: Path) -> None:
    local.create_keystore(folder, "Neu", 1, PASSPHRASE, 0, **FAST)


def _cut(folder: Path) -> None:
    path = folder / "keystore.json"
    path.write_bytes(path.read_bytes()[:-40])
    local.open_keystore(folder, PASSPHRASE)


def _tampered(folder: Path) -> None:
    path = folder / "keystore.json"
    path.write_bytes(path.read_bytes().replace(b"Mine", b"Dein"))
    local.open_keystore(folder, PASSPHRASE)


@pytest.mark.parametrize("fail", [_wrong, _taken, _cut, _tampered], ids=lambda fail: fail.__name__[1:])
def test_an_error_names_no_secret_and_carries_no_other_error(folder: Path, fail: Callable[[Path], None]) -> None:
    sealed = _keystore_file.read(folder)["secrets"].values()
    with pytest.raises(KeysError) as caught:
        fail(folder)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    shown = "".join(traceback.format_exception_only(caught.value)) + repr(caught.value)
    for secret in (PASSPHRASE.decode(), repr(PASSPHRASE), *sealed):
        assert secret not in shown
