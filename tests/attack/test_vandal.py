"""Someone on the way changes a packet: has no key at all, but every byte."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterable

import pytest

from docex.core.age import NONCE_SIZE, SEALED_CHUNK, encode_header, read_header
from docex.core.age.syntax import _encode_stanza
from docex.errors import HeaderInvalid, HeaderMacInvalid, NoMatchingIdentity, PayloadInvalid
from keys.stanza import Stanza
from tests.attack import forge
from tests.attack.forge import MAKER, MALLORY, MINE, Actor

HYBRID = forge.actor("Retail", hybrid=True)
DOCUMENTS = {"certificate.txt": b"conforms"}
SMALL = forge.seal(DOCUMENTS, MINE, MAKER)
SMALL_HYBRID = forge.seal(DOCUMENTS, MINE, HYBRID)
HEADER_ERRORS = (HeaderInvalid, HeaderMacInvalid, NoMatchingIdentity)


def header_size(data: bytes) -> int:
    return len(read_header(io.BytesIO(data)).raw)


def every(data: bytes) -> Iterable[int]:
    return range(len(data))


def some(data: bytes) -> Iterable[int]:
    return sorted(random.Random(7).sample(range(len(data)), 150))


CASES = [(SMALL, MAKER, every), (SMALL_HYBRID, HYBRID, some)]
Offsets = Callable[[bytes], Iterable[int]]
cases = pytest.mark.parametrize(("data", "receiver", "offsets"), CASES, ids=["X25519", "hybrid"])


def test_the_packets_are_good_before() -> None:
    for data, receiver, _ in CASES:
        assert forge.open_(data, receiver)[1] == DOCUMENTS


@cases
@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80])
def test_a_flipped_bit_anywhere(data: bytes, receiver: Actor, offsets: Offsets, mask: int) -> None:
    start = header_size(data)
    for offset in offsets(data):
        changed = bytearray(data)
        changed[offset] ^= mask
        forge.refused(bytes(changed), receiver, HEADER_ERRORS if offset < start else PayloadInvalid)


@cases
def test_a_cut_anywhere(data: bytes, receiver: Actor, offsets: Offsets) -> None:
    payload = header_size(data) + NONCE_SIZE
    for size in offsets(data):
        forge.refused(data[:size], receiver, HeaderInvalid if size < payload else PayloadInvalid)


@cases
@pytest.mark.parametrize("more", [b"\0", b"\n", b"A"])
def test_a_byte_more_anywhere(data: bytes, receiver: Actor, offsets: Offsets, more: bytes) -> None:
    start = header_size(data)
    for offset in (*offsets(data), len(data)):
        changed = data[:offset] + more + data[offset:]
        forge.refused(changed, receiver, PayloadInvalid if changed.startswith(data[:start]) else HEADER_ERRORS)


@cases
def test_a_byte_less_anywhere(data: bytes, receiver: Actor, offsets: Offsets) -> None:
    start = header_size(data)
    for offset in offsets(data):
        changed = data[:offset] + data[offset + 1 :]
        forge.refused(changed, receiver, HEADER_ERRORS if offset < start else PayloadInvalid)


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"age-encryption.org/v1", b"age-encryption.org/v1\n", b"PK\x03\x04", b"\n" * 999]
)
def test_what_is_no_packet(data: bytes) -> None:
    forge.refused(data, MAKER, HeaderInvalid)


def test_a_packet_twice() -> None:
    forge.refused(SMALL + SMALL, MAKER, PayloadInvalid)


# --- chunks of the payload -------------------------------------------------------------------------------------------

NOISE = random.Random(3).randbytes(5 * (64 << 10))
LARGE = forge.seal({"noise": NOISE}, MINE, MAKER)
OTHER = forge.seal({"noise": NOISE}, MINE, MAKER)


def split(data: bytes) -> tuple[bytes, list[bytes]]:
    start = header_size(data) + NONCE_SIZE
    return data[:start], [data[at : at + SEALED_CHUNK] for at in range(start, len(data), SEALED_CHUNK)]


def joined(change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    head, chunks = split(LARGE)
    assert len(chunks) == 6
    return head + b"".join(change(chunks))


@pytest.mark.parametrize(
    "change",
    [
        lambda chunks: [chunks[1], chunks[0], *chunks[2:]],
        lambda chunks: [*chunks[:-2], chunks[-1], chunks[-2]],
        lambda chunks: chunks[1:],
        lambda chunks: chunks[:-1],
        lambda chunks: chunks[:2] + chunks[3:],
        lambda chunks: [chunks[0], *chunks],
        lambda chunks: [*chunks, chunks[-1]],
        lambda chunks: [*chunks[:-1], chunks[-2], chunks[-1]],
        lambda chunks: [*chunks, b"\0" * 16],
        lambda chunks: chunks[-1:],
        lambda chunks: [],
        lambda chunks: split(OTHER)[1],
        lambda chunks: [split(OTHER)[1][0], *chunks[1:]],
        lambda chunks: [*chunks[:-1], split(OTHER)[1][-1]],
    ],
    ids=range(14),
)
def test_chunks_swapped_dropped_repeated_or_from_another_packet(change: Callable[[list[bytes]], list[bytes]]) -> None:
    assert forge.open_(joined(lambda chunks: chunks), MAKER)[1] == {"noise": NOISE}
    forge.refused(joined(change), MAKER, PayloadInvalid)


def test_the_payload_of_another_packet() -> None:
    forge.refused(LARGE[: header_size(LARGE)] + OTHER[header_size(OTHER) :], MAKER, PayloadInvalid)


# --- stanzas of the header -------------------------------------------------------------------------------------------

SHARED = forge.seal(DOCUMENTS, MINE, MAKER, MALLORY)


def with_stanzas(change: Callable[[list[Stanza]], list[Stanza]]) -> bytes:
    """Other stanzas under the old MAC: the file key is what a new one would take."""
    header = read_header(io.BytesIO(SHARED))
    mac_line = header.raw[header.raw.rindex(b"---") :]
    made = b"age-encryption.org/v1\n" + b"".join(map(_encode_stanza, change(list(header.stanzas)))) + mac_line
    return made + SHARED[len(header.raw) :]


GREASE = Stanza("x9-grease", ("a", "b"), bytes(100))
PASSPHRASE = Stanza("scrypt", ("A" * 22, "18"), bytes(32))
FOREIGN = read_header(io.BytesIO(SMALL)).stanzas[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda stanzas: stanzas[::-1],
        lambda stanzas: stanzas[:1],
        lambda stanzas: [*stanzas, stanzas[0]],
        lambda stanzas: [GREASE, *stanzas],
        lambda stanzas: [*stanzas, GREASE],
        lambda stanzas: [*stanzas, FOREIGN],
        lambda stanzas: [FOREIGN],
    ],
    ids=range(7),
)
def test_stanzas_swapped_stripped_added_or_from_another_packet(change: Callable[[list[Stanza]], list[Stanza]]) -> None:
    assert forge.open_(with_stanzas(lambda stanzas: stanzas), MAKER)[1] == DOCUMENTS
    forge.refused(with_stanzas(change), MAKER, HeaderMacInvalid)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda stanzas: [], HeaderInvalid),
        (lambda stanzas: stanzas[1:], NoMatchingIdentity),
        (lambda stanzas: [GREASE], NoMatchingIdentity),
        (lambda stanzas: [*stanzas, PASSPHRASE], HeaderInvalid),
        (lambda stanzas: [*stanzas, Stanza("X25519", (), bytes(32))], HeaderInvalid),
        (lambda stanzas: [Stanza("X25519", ("A" * 43,), bytes(32)), *stanzas], HeaderInvalid),
        (lambda stanzas: [*stanzas, Stanza("X25519", ("A" * 42,), bytes(32))], HeaderInvalid),
        (lambda stanzas: [*stanzas, Stanza("X25519", ("A" * 43,), bytes(31))], HeaderInvalid),
        (lambda stanzas: [*stanzas, *[GREASE] * 1023], HeaderInvalid),
        (lambda stanzas: [*stanzas, Stanza("x", ("a",), bytes(2 << 20))], HeaderInvalid),
    ],
    ids=range(10),
)
def test_stanzas_that_no_header_may_have(
    change: Callable[[list[Stanza]], list[Stanza]], error: type[HeaderInvalid | NoMatchingIdentity]
) -> None:
    forge.refused(with_stanzas(change), MAKER, error)


def test_a_header_made_again_without_the_file_key() -> None:
    header = read_header(io.BytesIO(SMALL))
    made = encode_header(header.stanzas, bytes(16))
    forge.refused(made + SMALL[len(header.raw) :], MAKER, HeaderMacInvalid)
