"""The payload of an age file: written and read in constant memory, nothing unauthenticated given out."""

import hashlib
import io
import random
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docex.core import age
from docex.core.age.chunking import TAG
from docex.core.recipients import parse_recipient
from docex.errors import HeaderInvalid, PayloadInvalid, UsageError
from keys.identity import X25519Identity

KI, MI = 1 << 10, 1 << 20
IDENTITY = X25519Identity(bytes(range(32)))
TO = [parse_recipient(IDENTITY.recipient)]
DATA = random.Random(7).randbytes(3 * MI)
EDGES = sorted(
    {0, 1, 15, 16, 17, 2 * MI, 3 * MI}
    | {edge * 64 * KI + delta for edge in (1, 2, 8, 15, 16, 17, 32) for delta in (-1, 0, 1)}
)


def sealed(data: bytes) -> bytes:
    out = io.BytesIO()
    age.encrypt(io.BytesIO(data), out, TO)
    return out.getvalue()


def opened(packet: bytes) -> bytes:
    out = io.BytesIO()
    age.decrypt(io.BytesIO(packet), out, [IDENTITY])
    return out.getvalue()


def payload_start(packet: bytes) -> int:
    return len(age.read_header(io.BytesIO(packet)).raw)


def chunks(packet: bytes) -> tuple[bytes, list[bytes]]:
    """Everything before the first chunk, and the sealed chunks."""
    start = payload_start(packet) + age.NONCE_SIZE
    body = packet[start:]
    return packet[:start], [body[at : at + age.SEALED_CHUNK] for at in range(0, len(body), age.SEALED_CHUNK)]


def refused(packet: bytes) -> bytes:
    """What `decrypt` wrote before it refused the payload."""
    out = io.BytesIO()
    with pytest.raises(PayloadInvalid):
        age.decrypt(io.BytesIO(packet), out, [IDENTITY])
    return out.getvalue()


@pytest.mark.parametrize("size", EDGES)
def test_what_was_sealed_opens_at_every_boundary(size: int) -> None:
    packet = sealed(DATA[:size])
    assert opened(packet) == DATA[:size]
    assert len(packet) - payload_start(packet) == age.sealed_size(size)


def naive(file_key: bytes, nonce: bytes, data: bytes) -> bytes:
    """The payload after its nonce, as the specification words it: the twin of the fast writer."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    cipher = ChaCha20Poly1305(HKDF(SHA256(), 32, nonce, b"payload").derive(file_key))
    pieces = [data[at : at + 65536] for at in range(0, len(data), 65536)] or [b""]
    return b"".join(
        cipher.encrypt(number.to_bytes(11, "big") + bytes([number == len(pieces) - 1]), piece, None)
        for number, piece in enumerate(pieces)
    )


@given(st.sampled_from(EDGES) | st.integers(0, 3 * MI), st.lists(st.integers(0, 200 * KI), max_size=30))
@settings(max_examples=60, deadline=None)
def test_writes_of_any_size_give_the_payload_of_the_specification(size: int, pieces: list[int]) -> None:
    out = io.BytesIO()
    with age.EncryptingWriter(out, TO) as writer:
        at = 0
        for piece in pieces:
            end = min(at + piece, size)
            assert writer.write(DATA[at:end]) == end - at
            at = end
        writer.write(memoryview(DATA)[at:size])
    file_key, _ = age.open_header(age.read_header(io.BytesIO(writer.header)), [IDENTITY])
    payload = out.getvalue()[len(writer.header) :]
    assert payload[16:] == naive(file_key, payload[:16], DATA[:size])
    assert writer.payload_digest == "sha256:" + hashlib.sha256(payload).hexdigest()
    assert writer.payload_size == len(payload)


@given(st.sampled_from(EDGES) | st.integers(0, 3 * MI), st.lists(st.integers(5000, 200 * KI), min_size=1, max_size=9))
@settings(max_examples=60, deadline=None)
def test_reads_of_any_size_give_the_plaintext(size: int, pieces: list[int]) -> None:
    reader = age.DecryptingReader(io.BytesIO(sealed(DATA[:size])), [IDENTITY], hash_payload=True)
    found = bytearray()
    turn = 0
    while part := reader.read(pieces[turn % len(pieces)]):
        found += part
        turn += 1
    assert found == DATA[:size]
    assert reader.read(1) == b""
    assert reader.payload_size == age.sealed_size(size)


@pytest.mark.parametrize("step", [1, 7, 64 * KI - 1, 64 * KI, 64 * KI + 1])
def test_a_read_gives_all_that_was_asked_for_until_the_end(step: int) -> None:
    data = DATA[: 200 * KI] if step > 7 else DATA[: 65 * KI]
    reader = age.DecryptingReader(io.BytesIO(sealed(data)), [IDENTITY])
    for at in range(0, len(data), step):
        assert reader.read(step) == data[at : at + step]
    assert reader.read(step) == b""


class Slow(io.RawIOBase):
    """A raw stream that reads and writes a few bytes a call, as a socket may."""

    def __init__(self, data: bytes = b"", step: int = 977) -> None:
        self.data, self.step, self.at = bytearray(data), step, 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]  # typeshed's WriteableBuffer exists for checkers only
        count = min(len(view), self.step, len(self.data) - self.at)
        view[:count] = self.data[self.at : self.at + count]
        self.at += count
        return count

    def write(self, data: object) -> int:
        view = memoryview(data)[: self.step]  # type: ignore[arg-type]  # as above
        self.data += view
        return len(view)


class OnlyRead:
    """A source without `readinto`."""

    def __init__(self, data: bytes) -> None:
        self._inner = io.BytesIO(data)
        self.read, self.readline = self._inner.read, self._inner.readline


class Blocked:
    """A raw output that would block."""

    def write(self, data: memoryview, /) -> None:
        """Take nothing."""


class Empty:
    """A raw source that would block."""

    def readinto(self, buffer: memoryview, /) -> None:
        """Give nothing."""


class EmptyRead:
    """The same without `readinto`."""

    def read(self, size: int = -1, /) -> None:
        """Give nothing."""


def test_streams_that_take_and_give_little_at_a_time_lose_nothing() -> None:
    data = DATA[: 300 * KI]
    out = Slow()
    age.encrypt(Slow(data), out, TO)
    for source in (Slow(bytes(out.data), step=3001), OnlyRead(bytes(out.data))):
        again = Slow()
        age.decrypt(source, again, [IDENTITY])
        assert again.data == data


def test_streams_that_do_not_wait_are_refused_rather_than_cut() -> None:
    """A raw stream that would block gives None, which is neither everything nor the end."""
    with pytest.raises(BlockingIOError, match="the output is non-blocking and full"):
        age.encrypt(io.BytesIO(DATA), Blocked(), TO)
    for source in (Empty(), EmptyRead()):
        with pytest.raises(BlockingIOError, match="the source is non-blocking"):
            age.encrypt(source, io.BytesIO(), TO)  # type: ignore[arg-type]


def test_the_header_and_the_identity_are_known_before_the_payload() -> None:
    packet = sealed(b"x")
    source = io.BytesIO(packet[: payload_start(packet) + 16])
    reader = age.DecryptingReader(source, [X25519Identity.generate(), IDENTITY])
    assert reader.identity is IDENTITY
    assert reader.header.raw == packet[: payload_start(packet)]
    assert [stanza.type for stanza in reader.header.stanzas] == ["X25519"]
    assert not source.closed


def test_a_reader_is_a_binary_stream() -> None:
    reader = age.DecryptingReader(io.BytesIO(sealed(DATA)), [IDENTITY])
    assert reader.readable()
    assert not reader.writable()
    assert reader.read(0) == b""
    assert reader.readinto(bytearray()) == 0
    assert reader.read(5) == DATA[:5]
    assert reader.readall() == DATA[5:]
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        reader.readinto(bytearray(1))


def test_what_a_writer_writes_after_its_constructor_is_payload() -> None:
    out = io.BytesIO()
    writer = age.EncryptingWriter(out, TO, hash_payload=False)
    assert out.getvalue() == writer.header
    writer.write(DATA)
    writer.close()
    with pytest.raises(UsageError, match="digest"):
        _ = writer.payload_digest
    assert writer.payload_size == len(out.getvalue()) - len(writer.header)


def test_the_readers_digest_is_the_writers_and_comes_at_the_end() -> None:
    out = io.BytesIO()
    with age.EncryptingWriter(out, TO) as writer:
        writer.write(DATA)
        with pytest.raises(UsageError, match="digest"):
            _ = writer.payload_digest
    reader = age.DecryptingReader(io.BytesIO(out.getvalue()), [IDENTITY], hash_payload=True)
    with pytest.raises(UsageError, match="digest"):
        _ = reader.payload_digest
    reader.readall()
    assert reader.payload_digest == writer.payload_digest
    plain = age.DecryptingReader(io.BytesIO(out.getvalue()), [IDENTITY])
    plain.readall()
    with pytest.raises(UsageError, match="digest"):
        _ = plain.payload_digest


def test_a_grant_leaves_the_payloads_digest_as_it_is() -> None:
    packet = sealed(DATA)
    start = payload_start(packet)
    guest = X25519Identity.generate()
    granted = age.rewrap(packet[:start], [IDENTITY], [parse_recipient(guest.recipient)]) + packet[start:]
    out = io.BytesIO()
    age.decrypt(io.BytesIO(granted), out, [guest])
    assert out.getvalue() == opened(granted) == DATA


@pytest.mark.parametrize("written", [0, 1, 64 * KI, 200 * KI, 2 * MI])
def test_an_aborted_packet_never_opens(written: int) -> None:
    out = io.BytesIO()
    writer = age.EncryptingWriter(out, TO)
    writer.write(DATA[:written])
    writer.abort()
    writer.close()
    writer.abort()
    with pytest.raises((PayloadInvalid, HeaderInvalid)):
        opened(out.getvalue())
    with pytest.raises(UsageError, match="aborted"):
        writer.write(b"")


def test_a_pipeline_that_fails_inside_with_aborts() -> None:
    out = io.BytesIO()

    def pipeline() -> None:
        with age.EncryptingWriter(out, TO) as writer:
            writer.write(DATA)
            raise RuntimeError("a later stage failed")

    with pytest.raises(RuntimeError, match="later stage"):
        pipeline()
    given = refused(out.getvalue())
    assert len(given) % (64 * KI) == 0
    assert given == DATA[: len(given)]
    assert len(given) < len(DATA)


class Full:
    """A destination whose disk is full after some bytes."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, data: memoryview, /) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(28, "No space left on device")
        return len(data)


@pytest.mark.parametrize(
    "act", [lambda writer: writer.write(DATA), lambda writer: writer.close()], ids=["write", "close"]
)
def test_a_writer_whose_destination_failed_does_not_go_on(act: Callable[[age.EncryptingWriter], object]) -> None:
    destination = Full(400)
    writer = age.EncryptingWriter(destination, TO)
    writer.write(DATA[:1000])
    with pytest.raises(OSError, match="No space"):
        act(writer)
    destination.room = MI * 10
    before = destination.room
    writer.close()
    assert destination.room == before
    with pytest.raises(UsageError):
        writer.write(b"x")


def test_a_source_that_fails_leaves_nothing_that_opens() -> None:
    class Broken(io.BytesIO):
        def readinto(self, buffer: object) -> int:
            if self.tell():
                raise OSError(5, "Input/output error")
            return super().readinto(buffer)  # type: ignore[arg-type]  # as in Slow

    out = io.BytesIO()
    with pytest.raises(OSError, match="Input/output"):
        age.encrypt(Broken(DATA), out, TO)
    with pytest.raises((PayloadInvalid, HeaderInvalid)):
        opened(out.getvalue())


def test_a_closed_writer_takes_nothing_more() -> None:
    out = io.BytesIO()
    writer = age.EncryptingWriter(out, TO)
    writer.close()
    size = len(out.getvalue())
    writer.close()
    assert len(out.getvalue()) == size
    with pytest.raises(UsageError, match="closed"):
        writer.write(b"x")


# --- attacks on the payload -------------------------------------------------------------------------------------


SMALL = sealed(DATA[:100])
LARGE = sealed(DATA[: 200 * KI])


@pytest.mark.parametrize("packet", [SMALL, LARGE], ids=["one chunk", "four chunks"])
def test_a_flipped_bit_anywhere_in_the_payload_is_noticed(packet: bytes) -> None:
    start = payload_start(packet)
    rng = random.Random(1)
    positions = (
        range(start, len(packet))
        if len(packet) < KI
        else [start, len(packet) - 1, *rng.sample(range(start, len(packet)), 40)]
    )
    for position in positions:
        changed = bytearray(packet)
        changed[position] ^= 1 << rng.randrange(8)
        given = refused(bytes(changed))
        assert given == DATA[: len(given)]
        assert len(given) <= max(0, position - start - age.NONCE_SIZE)


def test_a_cut_anywhere_is_noticed() -> None:
    start = payload_start(SMALL)
    for end in range(len(SMALL)):
        with pytest.raises(HeaderInvalid if end < start + age.NONCE_SIZE else PayloadInvalid):
            opened(SMALL[:end])


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_a_cut_between_chunks_is_noticed_and_named(kept: int) -> None:
    prefix, body = chunks(LARGE)
    cut = prefix + b"".join(body[:kept])
    assert refused(cut) == DATA[: kept * 64 * KI]
    with pytest.raises(PayloadInvalid, match="final chunk is missing"):
        opened(cut)


@pytest.mark.parametrize("extra", [b"\0", bytes(15), bytes(16), bytes(age.SEALED_CHUNK), bytes(MI)], ids=len)
@pytest.mark.parametrize("size", [0, 100, 64 * KI, 128 * KI])
def test_bytes_after_the_end_are_noticed(size: int, extra: bytes) -> None:
    given = refused(sealed(DATA[:size]) + extra)
    assert given == DATA[: len(given)]


def test_bytes_after_a_full_final_chunk_are_named() -> None:
    with pytest.raises(PayloadInvalid, match="bytes follow"):
        opened(sealed(DATA[: 64 * KI]) + b"x")


@pytest.mark.parametrize("how", ["swapped", "dropped", "doubled", "first of all", "from another packet"])
def test_chunks_moved_dropped_or_doubled_are_noticed(how: str) -> None:
    prefix, body = chunks(LARGE)
    _, other = chunks(sealed(DATA[: 200 * KI]))
    changed = {
        "swapped": [body[1], body[0], *body[2:]],
        "dropped": [body[0], *body[2:]],
        "doubled": [body[0], body[0], *body[1:]],
        "first of all": [body[-1], *body],
        "from another packet": [body[0], other[1], *body[2:]],
    }[how]
    given = refused(prefix + b"".join(changed))
    assert given == DATA[: len(given)]
    assert len(given) in (0, 64 * KI)


def test_a_payload_under_another_header_does_not_open() -> None:
    other = sealed(DATA[:100])
    assert refused(other[: payload_start(other)] + SMALL[payload_start(SMALL) :]) == b""


def test_an_empty_final_chunk_ends_only_an_empty_payload() -> None:
    header, file_key = age.make_header(TO)
    nonce = bytes(16)
    encryptor = age.ChunkEncryptor(file_key, nonce)
    out = bytearray(age.SEALED_CHUNK + TAG)
    written = encryptor.encrypt_into(memoryview(DATA)[: 64 * KI], memoryview(out))
    written += encryptor.encrypt_into(memoryview(b""), memoryview(out)[written:], final=True)
    with pytest.raises(PayloadInvalid, match="empty chunk"):
        opened(header + nonce + out[:written])
    assert opened(sealed(b"")) == b""


def test_a_buffer_never_keeps_plaintext_that_was_not_authenticated() -> None:
    changed = bytearray(LARGE)
    changed[-1] ^= 1
    reader = age.DecryptingReader(io.BytesIO(bytes(changed)), [IDENTITY])
    buffer = bytearray(b"\xaa" * (320 * KI))
    assert reader.readinto(buffer) == 192 * KI
    assert bytes(buffer[: 192 * KI]) == DATA[: 192 * KI]
    assert set(buffer[192 * KI :]) <= {0, 0xAA}
    for _ in range(2):
        with pytest.raises(PayloadInvalid):
            reader.readinto(buffer)
    with pytest.raises(PayloadInvalid):
        reader.read(1)


def test_memory_does_not_grow_with_the_document() -> None:
    class Zeros(io.RawIOBase):
        left = 40 * MI

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: object) -> int:
            count = min(memoryview(buffer).nbytes, self.left)  # type: ignore[arg-type]  # as in Slow
            self.left -= count
            return count

    packet = sealed(bytes(40 * MI))
    tracemalloc.start()
    try:
        age.encrypt(Zeros(), Full(50 * MI), TO)
        age.decrypt(io.BytesIO(packet), Full(50 * MI), [IDENTITY])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MI
