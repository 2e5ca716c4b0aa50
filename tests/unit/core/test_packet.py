from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docex.core import packet
from docex.core.age import DecryptingReader, parse_recipient, read_header, rewrap
from docex.core.claims import Addressee, Link, Packet
from docex.core.compression import FrameReader
from docex.core.packet import DocumentSource, Sealed
from docex.core.recipients import MixedRecipients
from docex.core.statement import issue
from docex.errors import (
    DigestMismatch,
    HeaderInvalid,
    LimitExceeded,
    NameInvalid,
    NoMatchingIdentity,
    NotAddressee,
    NotFound,
    PayloadInvalid,
    StatementInvalid,
    UsageError,
)
from keys import KeysError
from tests.attack import forge
from tests.attack.forge import MAKER, MALLORY, MINE, Actor

MIB = 1 << 20
HYBRID = forge.actor("Retail", hybrid=True)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert not [each for each in threading.enumerate() if each.name.startswith("docex-") and each not in before]


def seal(documents: list[DocumentSource], destination: Any, *to: Actor, **options: Any) -> Sealed:
    asked: dict[str, Any] = {"signer": MINE.signer, "issuer": MINE.account, "now": forge.NOW}
    recipients = [(parse_recipient(each.recipient), each.account) for each in to]
    return packet.seal(documents, destination, recipients, **(asked | options))


def assert_never_opens(left: bytes) -> None:
    with pytest.raises((HeaderInvalid, PayloadInvalid)):  # the first where not even the payload's nonce was written
        forge.open_(left, MAKER)


def content(size: int) -> bytes:
    return (b"%d," % size * (size // 2 + 1))[:size]


contents = st.dictionaries(
    st.lists(st.sampled_from(["a", "b", "Prüfung", "x" * 120]), min_size=1, max_size=3).map("/".join),
    st.binary(max_size=2000) | st.integers(0, 3 * MIB).map(content),
    min_size=1,
    max_size=4,
).filter(lambda some: not any(other.startswith(path + "/") for path in some for other in some))


@settings(max_examples=25, deadline=None)
@given(contents, st.sampled_from([MAKER, HYBRID]))
def test_what_is_sealed_is_opened(documents: dict[str, bytes], receiver: Actor) -> None:
    opened, found = forge.open_(forge.seal(documents, MINE, receiver), receiver)
    assert found == documents
    assert list(found) == list(documents)
    assert opened.addressee == receiver.addressee


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, MIB - 1537, MIB - 1536, MIB - 512, MIB, MIB + 1, 2 * MIB + 5])
def test_documents_around_the_boundaries_of_blocks_and_frames(size: int) -> None:
    documents = {"one": content(size), "two": b"", "three": content(size)}
    assert forge.open_(forge.seal(documents, MINE, MAKER), MAKER)[1] == documents


def test_an_archive_that_fills_its_last_frame() -> None:
    """As long as a frame to the byte: no empty frame may follow."""

    def sealed(size: int) -> tuple[bytes, int]:
        data, read = forge.seal({"a": bytes(size)}, MINE, MAKER), [0]
        with closing(DecryptingReader(io.BytesIO(data), [MAKER.identity])) as reader:
            frames = FrameReader(reader, 1 << 30)
            for frame in frames.frames():
                read.append(len(frames.decompress(frame)))
        return data, sum(read)

    _, length = sealed(512 * 1700)
    data, length = sealed(512 * 1700 + MIB - length)
    assert length == MIB
    assert len(forge.open_(data, MAKER)[1]["a"]) > 512 * 1700


def test_what_sealing_gives_is_what_opening_gives() -> None:
    out = io.BytesIO()
    documents = [
        forge.source(
            "2026/a.pdf", b"abc", media_type="application/pdf", kind="quality", supersedes="sha256:" + "0" * 64
        ),
        forge.source("b", b""),
    ]
    sealed = seal(documents, out, MAKER, MALLORY)
    data = out.getvalue()
    payload = data[sealed.header_size :]
    assert read_header(io.BytesIO(data)).raw == data[: sealed.header_size]
    assert sealed.payload_digest == "sha256:" + hashlib.sha256(payload).hexdigest()
    assert sealed.payload_size == len(payload)
    opened, _ = forge.open_(data, MALLORY)
    assert (opened.documents, opened.packet) == (sealed.documents, sealed.packet)
    assert (opened.payload_digest, opened.payload_size) == (sealed.payload_digest, sealed.payload_size)
    assert opened.addressee == MALLORY.addressee
    first = opened.documents[0]
    assert (first.issuer, first.issued_at, first.kid) == (MINE.account, forge.NOW, MINE.signer.kid)
    assert first.body == documents[0].claim("sha256:" + hashlib.sha256(b"abc").hexdigest())
    assert opened.packet.body == Packet(
        tuple(each.digest_text for each in opened.documents), MINE.account, (MAKER.addressee, MALLORY.addressee)
    )


def test_progress_counts_the_bytes_of_documents() -> None:
    out, sealed, opened = io.BytesIO(), [0], [0]
    documents = [forge.source("a", content(700_000)), forge.source("b", content(MIB))]
    seal(documents, out, MAKER, progress=sealed.append)
    forge.open_(out.getvalue(), MAKER, progress=opened.append)
    assert sum(sealed) == sum(opened) == 700_000 + MIB
    assert len(sealed) - 1 == 3  # a step for each document in each frame


def test_a_recipient_without_an_account_is_an_addressee_by_key() -> None:
    out = io.BytesIO()
    recipients = [(parse_recipient(MAKER.recipient), None)]
    packet.seal([forge.source("a", b"")], out, recipients, signer=MINE.signer, issuer=MINE.account, now=0)
    assert forge.open_(out.getvalue(), MAKER)[0].addressee == Addressee(packet.key_id(MAKER.recipient))


def test_checking_a_packet_needs_no_place_for_its_documents() -> None:
    data = forge.seal({"a": content(MIB)}, MINE, MAKER)
    assert packet.open_packet(io.BytesIO(data), [MAKER.identity], packet.Discard()).documents[0].type == "document"


# --- sealing what can not be sealed ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("documents", "error", "why"),
    [
        ([], UsageError, "at least one document"),
        ([forge.source("a", b"")] * 2, UsageError, "each other's place"),
        ([forge.source("a", b""), forge.source("A", b"")], UsageError, "each other's place"),
        ([forge.source("a", b""), forge.source("a/b", b"")], UsageError, "each other's place"),
        ([forge.source("../a", b"")], NameInvalid, "'..' part"),
        ([forge.source("\ud800", b"")], NameInvalid, "U\\+D800"),
        ([replace(forge.source("a", b""), size=-1)], StatementInvalid, "size"),
        ([replace(forge.source("a", b""), size=1 << 63)], StatementInvalid, "size"),
        ([forge.source("a", b"", kind="secret")], StatementInvalid, "kind"),
        ([forge.source("a", b"", media_type="")], StatementInvalid, "media_type"),
        ([forge.source("a", b"", supersedes="x")], StatementInvalid, "supersedes"),
        ([forge.source(str(number), b"") for number in range(10_001)], LimitExceeded, "at most 10000 documents"),
    ],
)
def test_documents_that_no_packet_can_hold_are_refused_before_a_byte_is_written(
    documents: list[DocumentSource], error: type[Exception], why: str
) -> None:
    out = io.BytesIO()
    with pytest.raises(error, match=why):
        seal(documents, out, MAKER)
    assert out.getvalue() == b""


def test_recipients_are_checked_before_a_byte_is_written() -> None:
    out, documents = io.BytesIO(), [forge.source("a", b"")]
    with pytest.raises(UsageError, match="at least one recipient"):
        seal(documents, out)
    with pytest.raises(UsageError, match="named twice"):
        seal(documents, out, MAKER, MALLORY, MAKER)
    with pytest.raises(UsageError, match="named twice"):
        seal(documents, out, MAKER, replace(MAKER, account=MALLORY.account))
    with pytest.raises(UsageError, match="not a CAIP-10 account"):
        seal(documents, out, replace(MAKER, account="acme"))
    with pytest.raises(UsageError, match="not a CAIP-10 account"):
        seal(documents, out, MAKER, issuer="acme")
    with pytest.raises(MixedRecipients):
        seal(documents, out, MAKER, HYBRID)
    assert out.getvalue() == b""


class Counted(io.BytesIO):
    """A document whose stream knows whether it was closed."""

    open_streams = 0

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        Counted.open_streams += 1

    def close(self) -> None:
        Counted.open_streams -= not self.closed
        super().close()


def stating(size: int, actual: bytes) -> DocumentSource:
    return DocumentSource("changing", size, lambda: Counted(actual))


@pytest.mark.parametrize("before", [0, 3 * MIB])
@pytest.mark.parametrize(
    ("document", "why"),
    [
        (stating(5, b"1234"), "'changing' ended 1 bytes before its size of 5"),
        (stating(5, b""), "ended 5 bytes before"),
        (stating(5, b"123456"), "'changing' has more bytes than its size of 5"),
        (stating(0, b"1"), "has more bytes"),
        (stating(4 * MIB, bytes(4 * MIB - 1)), "ended 1 bytes before"),
        (stating(4 * MIB, bytes(4 * MIB + 1)), "has more bytes"),
        (stating(1 << 40, bytes(4 * MIB)), "ended 1099507433472 bytes before"),
    ],
)
def test_a_document_that_changes_while_it_is_sealed_leaves_nothing_that_opens(
    document: DocumentSource, why: str, before: int
) -> None:
    out = io.BytesIO()
    with pytest.raises(DigestMismatch, match=why):
        seal([forge.source("before", content(before)), document], out, MAKER)
    assert_never_opens(out.getvalue())
    assert Counted.open_streams == 0


class Trouble(Exception):
    pass


class Failing:
    """A stream that fails after some calls."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def _count(self) -> None:
        self.calls -= 1
        if self.calls < 0:
            raise Trouble

    def readinto(self, buffer: memoryview, /) -> int:
        self._count()
        return len(buffer)

    def write(self, data: memoryview, /) -> int:
        self._count()
        return len(data)

    def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize("calls", [0, 1, 2, 5, 20])
def test_a_document_that_fails_is_reported(calls: int) -> None:
    out = io.BytesIO()
    with pytest.raises(Trouble):
        seal([DocumentSource("a", 1 << 40, lambda: closing(Failing(calls)))], out, MAKER)
    assert_never_opens(out.getvalue())


@pytest.mark.parametrize("calls", [0, 1, 2, 5])
def test_a_destination_that_fails_ends_the_work(calls: int) -> None:
    @contextmanager
    def endless() -> Iterator[Failing]:
        Counted.open_streams += 1
        yield Failing(1 << 40)
        Counted.open_streams -= 1

    noise = DocumentSource("a", 1 << 40, lambda: endless())
    with pytest.raises(Trouble):
        seal([noise], Failing(calls), MAKER)
    Counted.open_streams = 0


def test_a_document_left_half_read_is_closed() -> None:
    with pytest.raises(Trouble):
        seal([stating(64 * MIB, bytes(64 * MIB))], Failing(1), MAKER)
    assert Counted.open_streams == 0


def test_a_signer_that_fails_is_reported() -> None:
    class Refusing:
        alg, kid, public_jwk = MINE.signer.alg, MINE.signer.kid, MINE.signer.public_jwk

        def sign(self, message: bytes) -> bytes:
            raise KeysError("no")

    out = io.BytesIO()
    with pytest.raises(KeysError):
        seal([forge.source("a", b"")], out, MAKER, signer=Refusing())
    assert_never_opens(out.getvalue())


def test_a_progress_display_that_fails_ends_the_work() -> None:
    def fail(_: int) -> None:
        raise Trouble

    with pytest.raises(Trouble):
        seal([forge.source("a", b"1")], io.BytesIO(), MAKER, progress=fail)
    with pytest.raises(Trouble):
        forge.open_(forge.seal({"a": b"1"}, MINE, MAKER), MAKER, progress=fail)


def test_statements_that_no_reader_would_take_are_not_sealed() -> None:
    folder = "/".join(["f" * 190] * 4)
    documents = [forge.source(f"{folder}/{number}", b"", media_type="m" * 1024) for number in range(5_600)]
    out = io.BytesIO()
    with pytest.raises(LimitExceeded, match="statements of the packet are longer than 16777216 bytes"):
        seal(documents, out, MAKER)
    assert_never_opens(out.getvalue())


# --- documents that are signed already -------------------------------------------------------------------------------


def test_a_statement_of_someone_else_travels_along() -> None:
    stated = forge.document(MAKER, "x/a", b"abc")
    out = io.BytesIO()
    sealed = seal([forge.source("x/a", b"abc", statement=stated), forge.source("b", b"")], out, MALLORY)
    assert sealed.documents[0] == stated
    opened, _ = forge.open_(out.getvalue(), MALLORY)
    assert [each.issuer for each in opened.documents] == [MAKER.account, MINE.account]
    assert opened.packet.issuer == MINE.account


@pytest.mark.parametrize(
    ("path", "data", "error", "why"),
    [
        ("x/b", b"abc", UsageError, "about something else"),
        ("a", b"abc", UsageError, "about something else"),
        ("x/a", b"abcd", UsageError, "about something else"),
        ("x/a", b"abd", DigestMismatch, "does not have the digest in its statement"),
    ],
)
def test_a_statement_about_other_bytes_is_refused(path: str, data: bytes, error: type[Exception], why: str) -> None:
    stated = forge.document(MAKER, "x/a", b"abc")
    with pytest.raises(error, match=why):
        seal([forge.source(path, data, statement=stated)], io.BytesIO(), MALLORY)


def test_a_statement_of_another_type_is_refused() -> None:
    link = issue(MINE.signer, MINE.account, Link("eip155:1/erc721:0x0/1", "sha256:" + "0" * 64), 0)
    with pytest.raises(UsageError, match="about something else"):
        seal([forge.source("a", b"", statement=link)], io.BytesIO(), MAKER)


# --- who may open ----------------------------------------------------------------------------------------------------

SMALL = forge.seal({"a": b"abc"}, MINE, MAKER)


def granted(data: bytes, *to: Actor) -> bytes:
    raw = read_header(io.BytesIO(data)).raw
    return rewrap(raw, [MAKER.identity], [parse_recipient(each.recipient) for each in to]) + data[len(raw) :]


def test_other_keys_open_nothing() -> None:
    for identities in ([], [MALLORY.identity], [HYBRID.identity, MALLORY.identity]):
        with pytest.raises(NoMatchingIdentity):
            packet.open_packet(io.BytesIO(SMALL), identities, packet.Discard())


def test_a_key_that_was_granted_access_opens() -> None:
    data = granted(SMALL, MALLORY)
    with pytest.raises(NotAddressee, match=f"its sender {MINE.account} did not address it to this key"):
        forge.open_(data, MALLORY)
    key = packet.key_id(MALLORY.recipient)
    with pytest.raises(NotAddressee):
        forge.open_(data, MALLORY, granted=[packet.key_id(HYBRID.recipient)])
    assert forge.open_(data, MALLORY, granted=[key])[0].addressee == Addressee(key)
    assert forge.open_(data, MAKER)[0].payload_digest == forge.open_(SMALL, MAKER)[0].payload_digest


def test_one_addressed_key_among_those_that_open_is_enough() -> None:
    data = granted(SMALL, MALLORY)
    third = forge.actor("third").identity
    for identities in ([MALLORY.identity, MAKER.identity], [third, MALLORY.identity, third, MAKER.identity]):
        opened = packet.open_packet(io.BytesIO(data), identities, packet.Discard())
        assert opened.addressee == MAKER.addressee
    with pytest.raises(NotAddressee):
        packet.open_packet(io.BytesIO(data), [MALLORY.identity, third], packet.Discard())


def test_a_key_that_can_not_be_reached_is_no_addressee() -> None:
    class Unreachable:
        recipient = MAKER.recipient

        def unwrap(self, stanzas: object) -> bytes:
            raise KeysError("the vault is closed")

    with pytest.raises(NotAddressee):
        packet.open_packet(io.BytesIO(granted(SMALL, MALLORY)), [MALLORY.identity, Unreachable()], packet.Discard())
    with pytest.raises(KeysError, match="the vault is closed"):
        packet.open_packet(io.BytesIO(SMALL), [Unreachable()], packet.Discard())


def test_the_callers_limit_holds() -> None:
    data = forge.seal({"a": content(3 * MIB)}, MINE, MAKER)
    with pytest.raises(LimitExceeded):
        forge.open_(data, MAKER, max_size=3 * MIB)
    assert forge.open_(data, MAKER, max_size=3 * MIB + 8192)


# --- streams that fail while opening ---------------------------------------------------------------------------------

LARGE = forge.seal({"a": b"\0" * MIB + forge.MINE.signer.kid.encode() * 100_000, "b": b"x"}, MINE, MAKER)


class Source(io.BytesIO):
    fails_at = 1 << 60

    def readinto(self, buffer: Any, /) -> int:
        if self.tell() >= self.fails_at:
            raise Trouble
        return super().readinto(buffer)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 1.0])
def test_a_source_that_fails_is_reported(part: float) -> None:
    source = Source(LARGE)
    source.fails_at = int(part * len(LARGE))
    with pytest.raises(Trouble):
        packet.open_packet(source, [MAKER.identity], packet.Discard())


@pytest.mark.parametrize("calls", [0, 1, 2])
def test_a_sink_that_fails_ends_the_work(calls: int) -> None:
    class Sink:
        left = calls

        def begin(self, path: str, size: int) -> Callable[[memoryview], object]:
            self.take(memoryview(b""))
            return self.take

        def take(self, data: memoryview) -> None:
            self.left -= 1
            if self.left < 0:
                raise Trouble

    with pytest.raises(Trouble):
        packet.open_packet(io.BytesIO(LARGE), [MAKER.identity], Sink())


# --- one document ----------------------------------------------------------------------------------------------------


def test_one_document_is_read_without_the_others() -> None:
    documents = {"a": content(2 * MIB), "x/b": content(MIB), "c": b""}
    data = forge.seal(documents, MINE, MAKER)
    for path, expected in documents.items():
        with closing(packet.open_document(io.BytesIO(data), [MAKER.identity], path)) as reader:
            assert b"".join(iter(lambda: reader.read(100_000), b"")) == expected
            assert reader.read(1) == b""
        with closing(packet.open_document(io.BytesIO(data), [MAKER.identity], path)) as reader:
            buffer = bytearray(len(expected) + 1)
            filled = 0
            while count := reader.readinto(memoryview(buffer)[filled : filled + 77_777]):
                filled += count
            assert buffer[:filled] == expected


def test_a_document_may_be_left_unread() -> None:
    data = forge.seal({"a": content(9 * MIB)}, MINE, MAKER)
    with closing(packet.open_document(io.BytesIO(data), [MAKER.identity], "a")) as reader:
        assert reader.read(3) == content(9 * MIB)[:3]


@pytest.mark.parametrize("path", ["b", "", "../a", "statements.jws", "document/a"])
def test_a_document_that_is_not_there_is_not_found(path: str) -> None:
    with pytest.raises(NotFound):
        packet.open_document(io.BytesIO(SMALL), [MAKER.identity], path)


def test_a_damaged_packet_gives_no_document() -> None:
    with pytest.raises(PayloadInvalid):
        packet.open_document(io.BytesIO(SMALL[:-1]), [MAKER.identity], "a")
    with pytest.raises(NoMatchingIdentity):
        packet.open_document(io.BytesIO(SMALL), [MALLORY.identity], "a")
    cut = LARGE[: len(LARGE) // 2]
    with pytest.raises(PayloadInvalid):
        packet.open_document(io.BytesIO(cut), [MAKER.identity], "b")


def test_damage_is_noticed_at_the_latest_while_the_document_is_read() -> None:
    data = forge.seal({"a": content(2 * MIB), "b": content(5 * MIB)}, MINE, MAKER)

    def read() -> None:
        with closing(packet.open_document(io.BytesIO(data[:-1]), [MAKER.identity], "b")) as reader:
            list(iter(lambda: reader.read(MIB), b""))

    with pytest.raises(PayloadInvalid):
        read()
