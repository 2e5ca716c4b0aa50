"""docex and the age tools read each other's files: age (Go) for both native types, pyrage (Rust) for X25519."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pyrage  # type: ignore[import-untyped]  # its stubs are not marked (no py.typed)
import pytest

from docex.core import age
from docex.errors import HeaderInvalid, HeaderMacInvalid, NoMatchingIdentity, PayloadInvalid
from keys.identity import HybridIdentity, RsaIdentity, X25519Identity, parse_identity_file
from keys.protocols import Unwrapper
from tests.fixtures import stock_tools

KI, MI = 1 << 10, 1 << 20
SIZES = [0, 1, 64 * KI - 1, 64 * KI, 64 * KI + 1, 128 * KI, MI - 1, MI, MI + 1]
NOISE = hashlib.shake_256(b"interoperation").digest(MI + 1)
LARGE = 64 * MI

needs_age = stock_tools.needs("age", "age-keygen")


class Key:
    """An identity of the age tools: its file, and docex's view of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        [self.identity] = parse_identity_file(path.read_text())
        self.recipient = self.identity.recipient
        self.text = path.read_text().splitlines()[-1]


@pytest.fixture(params=["", "-pq"], ids=["X25519", "mlkem768x25519"])
def key(request: pytest.FixtureRequest, tmp_path: Path) -> Key:
    """A key that age-keygen made."""
    stock_tools.run(f"age-keygen {request.param} -o key.txt", cwd=tmp_path)
    return Key(tmp_path / "key.txt")


def sealed(data: bytes, recipient: str) -> bytes:
    out = io.BytesIO()
    age.encrypt(io.BytesIO(data), out, [age.parse_recipient(recipient)])
    return out.getvalue()


def opened(packet: bytes, identity: Unwrapper) -> bytes:
    out = io.BytesIO()
    age.decrypt(io.BytesIO(packet), out, [identity])
    return out.getvalue()


@needs_age
def test_docex_and_age_keygen_agree_on_the_recipient(key: Key) -> None:
    assert stock_tools.run(f"age-keygen -y '{key.path}'").decode().strip() == key.recipient


@needs_age
@pytest.mark.parametrize("size", SIZES)
def test_age_opens_what_docex_sealed(key: Key, size: int) -> None:
    packet = sealed(NOISE[:size], key.recipient)
    assert stock_tools.run(f"age -d -i '{key.path}'", packet) == NOISE[:size]


@needs_age
@pytest.mark.parametrize("size", SIZES)
def test_docex_opens_what_age_sealed(key: Key, size: int) -> None:
    packet = stock_tools.run(f"age -r {key.recipient}", NOISE[:size])
    assert opened(packet, key.identity) == NOISE[:size]


@pytest.mark.parametrize("size", SIZES)
def test_pyrage_opens_what_docex_sealed(size: int) -> None:
    theirs = pyrage.x25519.Identity.generate()
    packet = sealed(NOISE[:size], str(theirs.to_public()))
    assert pyrage.decrypt(packet, [theirs]) == NOISE[:size]


@pytest.mark.parametrize("size", SIZES)
def test_docex_opens_what_pyrage_sealed(size: int) -> None:
    theirs = pyrage.x25519.Identity.generate()
    packet = pyrage.encrypt(NOISE[:size], [theirs.to_public()])
    identity = age.parse_identity(str(theirs))
    assert identity.recipient == str(theirs.to_public())
    assert opened(packet, identity) == NOISE[:size]


class Repeated(io.RawIOBase):
    """64 MiB that no chunk boundary divides evenly, without holding them."""

    def __init__(self) -> None:
        self._left = LARGE
        self._block = NOISE[: MI - 7]
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # io's buffer type is a checker's only
        self._rest = self._rest or memoryview(self._block)
        count = min(len(buffer), len(self._rest), self._left)
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        self._left -= count
        return count


def digest_of(read: Callable[[int], bytes]) -> str:
    hashed = hashlib.sha256()
    for block in blocks(read):
        hashed.update(block)
    return hashed.hexdigest()


def blocks(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while block := read(MI):
        yield block


@needs_age
def test_64_mib_go_through_docex_and_age_both_ways(key: Key, tmp_path: Path) -> None:
    plain, ours, theirs = tmp_path / "plain", tmp_path / "ours.age", tmp_path / "theirs.age"
    with plain.open("wb") as out:
        for block in blocks(Repeated().read):
            out.write(block)
    with plain.open("rb") as source, ours.open("wb") as out:
        age.encrypt(source, out, [age.parse_recipient(key.recipient)])
    stock_tools.run(f"age -d -i '{key.path}' -o back ours.age && cmp plain back && rm back", cwd=tmp_path)
    stock_tools.run(f"age -r {key.recipient} -o '{theirs}' '{plain}'")
    with theirs.open("rb") as source:
        reader = age.DecryptingReader(source, [key.identity])
        assert digest_of(reader.read) == digest_of(Repeated().read)
    assert ours.stat().st_size == theirs.stat().st_size


def test_64_mib_go_through_docex_and_pyrage_both_ways(tmp_path: Path) -> None:
    theirs = pyrage.x25519.Identity.generate()
    sealed_by_docex, back, sealed_by_pyrage = tmp_path / "ours.age", tmp_path / "back", tmp_path / "theirs.age"
    with sealed_by_docex.open("wb") as out:
        age.encrypt(Repeated(), out, [age.parse_recipient(str(theirs.to_public()))])
    pyrage.decrypt_file(str(sealed_by_docex), str(back), [theirs])
    with back.open("rb") as plain:
        assert digest_of(plain.read) == digest_of(Repeated().read)
    pyrage.encrypt_file(str(back), str(sealed_by_pyrage), [theirs.to_public()])
    with sealed_by_pyrage.open("rb") as source:
        reader = age.DecryptingReader(source, [age.parse_identity(str(theirs))])
        assert digest_of(reader.read) == digest_of(Repeated().read)


@needs_age
def test_one_file_for_many_opens_for_each_with_either_tool(tmp_path: Path) -> None:
    identities = [HybridIdentity.generate() for _ in range(3)]
    options = " ".join(f"-r {identity.recipient}" for identity in identities)
    packet = stock_tools.run(f"age {options}", b"for three")
    assert [opened(packet, identity) for identity in identities] == [b"for three"] * 3

    stock_tools.run("age-keygen -pq -o a.txt && age-keygen -pq -o b.txt", cwd=tmp_path)
    both = [Key(tmp_path / "a.txt"), Key(tmp_path / "b.txt")]
    out = io.BytesIO()
    age.encrypt(io.BytesIO(b"for two"), out, [age.parse_recipient(each.recipient) for each in both])
    for each in both:
        assert stock_tools.run(f"age -d -i '{each.path}'", out.getvalue()) == b"for two"


@needs_age
def test_a_recipient_added_later_opens_the_file_with_age(key: Key, tmp_path: Path) -> None:
    owner = HybridIdentity.generate() if isinstance(key.identity, HybridIdentity) else X25519Identity.generate()
    packet = stock_tools.run(f"age -r {owner.recipient}", NOISE)
    header = age.read_header(io.BytesIO(packet)).raw
    longer = age.rewrap(header, [owner], [age.parse_recipient(key.recipient)])
    granted = longer + packet[len(header) :]
    assert stock_tools.run(f"age -d -i '{key.path}'", granted) == NOISE
    assert opened(granted, owner) == NOISE


@needs_age
def test_age_skips_the_stanza_of_a_key_vault(tmp_path: Path) -> None:
    stock_tools.run("age-keygen -o key.txt", cwd=tmp_path)
    mine = Key(tmp_path / "key.txt")
    vault = RsaIdentity.generate(2048)
    out = io.BytesIO()
    age.encrypt(io.BytesIO(b"both"), out, [age.parse_recipient(each) for each in (vault.recipient, mine.recipient)])
    assert stock_tools.run(f"age -d -i '{mine.path}'", out.getvalue()) == b"both"
    assert opened(out.getvalue(), vault) == b"both"


def faults(packet: bytes) -> dict[str, tuple[bytes, type[Exception]]]:
    """Damage that both readers must refuse, and what docex calls it."""
    header = len(age.read_header(io.BytesIO(packet)).raw)
    first = header + age.NONCE_SIZE
    flipped = bytearray(packet)
    flipped[first] ^= 1
    stanza = packet.index(b"\n-> ") + 1
    return {
        "cut in the header": (packet[: header - 1], HeaderInvalid),
        "no nonce": (packet[: header + 15], HeaderInvalid),
        "cut at a chunk": (packet[: first + age.SEALED_CHUNK], PayloadInvalid),
        "cut in a chunk": (packet[:-1], PayloadInvalid),
        "extended": (packet + b"\0", PayloadInvalid),
        "flipped": (bytes(flipped), PayloadInvalid),
        "chunks swapped": (
            packet[:first]
            + packet[first + age.SEALED_CHUNK : first + 2 * age.SEALED_CHUNK]
            + packet[first : first + age.SEALED_CHUNK]
            + packet[first + 2 * age.SEALED_CHUNK :],
            PayloadInvalid,
        ),
        "a stanza added": (packet[:stanza] + b"-> x\n\n" + packet[stanza:], HeaderMacInvalid),
    }


@needs_age
def test_what_docex_refuses_age_refuses_too(key: Key) -> None:
    packet = sealed(NOISE[: 200 * KI], key.recipient)
    assert stock_tools.run(f"age -d -i '{key.path}'", packet) == opened(packet, key.identity)
    for fault, (damaged, error) in faults(packet).items():
        with pytest.raises(error):
            opened(damaged, key.identity)
        status = stock_tools.run(f"age -d -i '{key.path}' > {os.devnull} 2>&1; echo $?", damaged)
        assert status == b"1\n", fault


@needs_age
def test_a_stranger_opens_nothing_with_either_tool(key: Key, tmp_path: Path) -> None:
    stock_tools.run("age-keygen -o stranger.txt", cwd=tmp_path)
    packet = sealed(b"secret", key.recipient)
    with pytest.raises(NoMatchingIdentity):
        opened(packet, Key(tmp_path / "stranger.txt").identity)
    said = stock_tools.run("age -d -i stranger.txt 2>&1 || true", packet, tmp_path)
    assert b"no identity matched" in said
