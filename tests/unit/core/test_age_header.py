"""The header of an age file: exactly what the specification's grammar allows, read no further than it goes."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docex.core import age
from docex.core.recipients import MixedRecipients, Recipient, parse_recipient
from docex.errors import DocexError, HeaderInvalid, HeaderMacInvalid, LimitExceeded, NoMatchingIdentity, UsageError
from keys import Stanza, Unwrapper
from keys.identity import HybridIdentity, RsaIdentity, X25519Identity

IDENTITY = X25519Identity(bytes(range(32)))
HYBRID = HybridIdentity(bytes(range(32)))
RSA = RsaIdentity.generate(2048)
KEY = b"sixteen byte key"
MAC = b"--- " + b"A" * 43 + b"\n"
VERSION = b"age-encryption.org/v1\n"


def to(*identities: X25519Identity | HybridIdentity | RsaIdentity) -> list[Recipient]:
    return [parse_recipient(identity.recipient) for identity in identities]


def read(raw: bytes) -> age.Header:
    return age.read_header(io.BytesIO(raw))


WORDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=80)
STANZAS = st.builds(
    Stanza,
    WORDS.filter(lambda word: word != "scrypt"),
    st.lists(WORDS, max_size=4).map(tuple),
    st.binary(max_size=200) | st.sampled_from([b"x" * 48, b"x" * 96, b"x" * 47, b"x" * 49]),
)


@given(st.lists(STANZAS, min_size=1, max_size=5), st.binary(max_size=20))
def test_what_was_encoded_is_read_and_the_payload_is_left(stanzas: list[Stanza], payload: bytes) -> None:
    raw = age.encode_header(stanzas, KEY)
    source = io.BytesIO(raw + payload)
    header = age.read_header(source)
    assert header.stanzas == tuple(stanzas)
    assert header.raw == raw
    assert source.read() == payload
    header.check_mac(KEY)
    with pytest.raises(HeaderMacInvalid):
        header.check_mac(bytes(16))


def test_the_specifications_example_is_read() -> None:
    raw = (
        b"age-encryption.org/v1\n"
        b"-> X25519 XEl0dJ6y3C7KZkgmgWUicg63EyXJiwBJW8PdYJ/cYBE\n"
        b"qRS0AMjdjPvZ/WT08U2KL4G+PIooA3hy38SvLpvaC1E\n"
        b"--- HK2NmOBN9Dpq0Gw6xMCuhFcQlQLvZ/wQUi/2scLG75s\n"
    )
    [stanza] = read(raw).stanzas
    assert (stanza.type, stanza.args, len(stanza.body)) == (
        "X25519",
        ("XEl0dJ6y3C7KZkgmgWUicg63EyXJiwBJW8PdYJ/cYBE",),
        32,
    )


MALFORMED = {
    "nothing": b"",
    "another format": b"PK\x03\x04" + bytes(500),
    "another version": b"age-encryption.org/v2\n-> a\n\n" + MAC,
    "no line feed after the version": b"age-encryption.org/v1",
    "a carriage return after the version": b"age-encryption.org/v1\r\n-> a\n\n" + MAC,
    "an armoured file": b"-----BEGIN AGE ENCRYPTED FILE-----\n",
    "a space after the version": b"age-encryption.org/v1 \n-> a\n\n" + MAC,
    "no stanza": VERSION + MAC,
    "a stanza without arguments": VERSION + b"->\n\n" + MAC,
    "a stanza with an empty argument": VERSION + b"-> a  b\n\n" + MAC,
    "a stanza with a space at its end": VERSION + b"-> a \n\n" + MAC,
    "a stanza without a space": VERSION + b"->a\n\n" + MAC,
    "a stanza that starts otherwise": VERSION + b"=> a\n\n" + MAC,
    "a control character in an argument": VERSION + b"-> a\tb\n\n" + MAC,
    "a byte above 126 in an argument": VERSION + b"-> \xc3\xa4\n\n" + MAC,
    "a carriage return in a stanza": VERSION + b"-> a\r\n\n" + MAC,
    "no body": VERSION + b"-> a\n" + MAC,
    "no last short line": VERSION + b"-> a\n" + b"A" * 64 + b"\n" + MAC,
    "a line of 65 columns": VERSION + b"-> a\n" + b"A" * 65 + b"\n\n" + MAC,
    "two short lines": VERSION + b"-> a\nAAAA\nAAAA\n" + MAC,
    "padding in a body": VERSION + b"-> a\nAA==\n" + MAC,
    "base64 that is not canonical": VERSION + b"-> a\nAB\n" + MAC,
    "a length no base64 has": VERSION + b"-> a\nAAAAA\n" + MAC,
    "base64 of the URL alphabet": VERSION + b"-> a\nAA-_\n" + MAC,
    "a space in a body": VERSION + b"-> a\nAA AA\n" + MAC,
    "no MAC": VERSION + b"-> a\n\n",
    "an empty MAC line": VERSION + b"-> a\n\n---\n",
    "a MAC without a space": VERSION + b"-> a\n\n---" + b"A" * 43 + b"\n",
    "a MAC after two spaces": VERSION + b"-> a\n\n---  " + b"A" * 43 + b"\n",
    "a short MAC": VERSION + b"-> a\n\n--- " + b"A" * 42 + b"\n",
    "a MAC that is not canonical": VERSION + b"-> a\n\n--- " + b"A" * 42 + b"B\n",
    "a MAC with padding": VERSION + b"-> a\n\n--- " + b"A" * 43 + b"=\n",
    "a MAC with a space at its end": VERSION + b"-> a\n\n--- " + b"A" * 43 + b" \n",
    "a MAC without a line feed": VERSION + b"-> a\n\n--- " + b"A" * 43,
    "scrypt beside another": VERSION + b"-> scrypt AA 1\n\n-> a\n\n" + MAC,
    "scrypt twice": VERSION + b"-> scrypt AA 1\n\n-> scrypt AA 1\n\n" + MAC,
    "1,025 stanzas": VERSION + b"-> a\n\n" * 1025 + MAC,
    "an argument of 2 MiB": VERSION + b"-> " + b"a" * (2 << 20) + b"\n\n" + MAC,
    "a body of 2 MiB": VERSION + b"-> a\n" + (b"A" * 64 + b"\n") * 40_000 + b"\n" + MAC,
}


@pytest.mark.parametrize("how", MALFORMED)
def test_a_malformed_header_is_refused(how: str) -> None:
    with pytest.raises(HeaderInvalid):
        read(MALFORMED[how])


def test_a_header_without_end_is_not_read_beyond_its_limit() -> None:
    class Endless(io.RawIOBase):
        taken = 0

        def readable(self) -> bool:
            return True

        def readline(self, limit: int | None = -1, /) -> bytes:
            assert limit is not None
            assert limit > 0
            line = VERSION if not self.taken else b"-> " + b"a" * (limit - 3)
            self.taken += len(line)
            return line

    source = Endless()
    with pytest.raises(HeaderInvalid, match="more than"):
        age.read_header(source)
    assert source.taken <= age.MAX_HEADER_SIZE + 1


def test_as_many_stanzas_as_are_read_are_written_and_no_more() -> None:
    stanza = Stanza("a", (), b"")
    assert len(read(age.encode_header([stanza] * age.MAX_STANZAS, KEY)).stanzas) == age.MAX_STANZAS
    with pytest.raises(LimitExceeded, match="1024 stanzas"):
        age.encode_header([stanza] * (age.MAX_STANZAS + 1), KEY)
    with pytest.raises(LimitExceeded, match="bytes"):
        age.encode_header([Stanza("a", (), bytes(age.MAX_HEADER_SIZE))], KEY)


@pytest.mark.parametrize("argument", ["", "a b", "a\n", "\x7f"])
def test_an_argument_that_would_break_the_line_is_not_written(argument: str) -> None:
    with pytest.raises(ValueError, match="argument"):
        age.encode_header([Stanza("a", (argument,), b"")], KEY)


def test_a_file_key_is_fresh_for_every_header() -> None:
    recipients = to(IDENTITY)
    (first, one), (second, two) = age.make_header(recipients), age.make_header(recipients)
    assert first != second
    assert one != two
    assert len(one) == 16


@pytest.mark.parametrize("identity", [IDENTITY, HYBRID, RSA], ids=lambda identity: type(identity).__name__)
def test_the_first_identity_that_matches_opens_the_header(
    identity: X25519Identity | HybridIdentity | RsaIdentity,
) -> None:
    raw, key = age.make_header(to(X25519Identity.generate(), identity), allow_mixed=True)
    assert age.open_header(read(raw), [X25519Identity.generate(), identity, IDENTITY]) == (key, identity)


def test_no_matching_identity_is_told_from_a_damaged_header() -> None:
    raw, _ = age.make_header(to(IDENTITY))
    nobody: list[list[Unwrapper]] = [[], [X25519Identity.generate(), HYBRID, RSA]]
    for strangers in nobody:
        with pytest.raises(NoMatchingIdentity):
            age.open_header(read(raw), strangers)


def test_an_identity_that_gives_a_file_key_of_another_size_is_not_believed() -> None:
    class Faulty:
        recipient = "age1…"

        def unwrap(self, stanzas: object) -> bytes:
            return bytes(15)

    raw, _ = age.make_header(to(IDENTITY))
    with pytest.raises(HeaderInvalid, match="16-byte"):
        age.open_header(read(raw), [Faulty()])


def test_a_malformed_stanza_of_ones_own_type_damages_the_header() -> None:
    stanza = to(IDENTITY)[0].wrap(KEY)
    raw = age.encode_header([Stanza(stanza.type, (*stanza.args, "more"), stanza.body)], KEY)
    with pytest.raises(HeaderInvalid, match="two arguments"):
        age.open_header(read(raw), [IDENTITY])
    with pytest.raises(NoMatchingIdentity):
        age.open_header(read(raw), [HYBRID])


def test_a_packet_needs_a_recipient() -> None:
    with pytest.raises(UsageError, match="at least one"):
        age.make_header([])


@pytest.mark.parametrize("other", [IDENTITY, RSA], ids=["X25519", "RSA"])
def test_weaker_recipients_join_post_quantum_ones_only_when_asked_to(other: X25519Identity | RsaIdentity) -> None:
    with pytest.raises(MixedRecipients):
        age.make_header(to(HYBRID, other))
    raw, key = age.make_header(to(HYBRID, other), allow_mixed=True)
    for identity in (HYBRID, other):
        assert age.open_header(read(raw), [identity]) == (key, identity)


def test_recipients_that_are_equally_weak_may_be_mixed() -> None:
    raw, _ = age.make_header(to(IDENTITY, RSA))
    assert [stanza.type for stanza in read(raw).stanzas] == ["X25519", "docex.io/rsa-oaep-256"]


def test_access_is_granted_by_a_new_header_with_one_more_stanza() -> None:
    raw, key = age.make_header(to(HYBRID))
    guest = HybridIdentity.generate()
    granted = age.rewrap(raw, [HYBRID], to(guest))
    assert read(granted).stanzas[:1] == read(raw).stanzas
    assert age.open_header(read(granted), [guest]) == (key, guest)
    assert age.open_header(read(granted), [HYBRID]) == (key, HYBRID)
    again = age.rewrap(granted, [guest], to(HybridIdentity.generate()))
    assert len(read(again).stanzas) == 3


def test_who_can_not_open_a_packet_can_not_grant_access_to_it() -> None:
    raw, _ = age.make_header(to(HYBRID))
    with pytest.raises(NoMatchingIdentity):
        age.rewrap(raw, [HybridIdentity.generate()], to(HybridIdentity.generate()))


def test_a_grant_checks_the_header_it_is_given() -> None:
    raw, _ = age.make_header(to(HYBRID))
    changed = raw.replace(b"\n---", b"\n-> grease\n\n---")
    for bad, error in ((changed, HeaderMacInvalid), (raw + b"x", HeaderInvalid), (raw[:-1], HeaderInvalid)):
        with pytest.raises(error):
            age.rewrap(bad, [HYBRID], to(HybridIdentity.generate()))
    with pytest.raises(UsageError, match="recipient to add"):
        age.rewrap(raw, [HYBRID], [])


def test_a_grant_does_not_weaken_a_packet_by_accident() -> None:
    raw, _ = age.make_header(to(HYBRID))
    with pytest.raises(MixedRecipients):
        age.rewrap(raw, [HYBRID], to(IDENTITY))
    with pytest.raises(MixedRecipients):
        age.rewrap(age.make_header(to(RSA))[0], [RSA], to(HYBRID))
    assert len(read(age.rewrap(raw, [HYBRID], to(IDENTITY), allow_mixed=True)).stanzas) == 2


def test_stanzas_of_unknown_types_survive_a_grant_and_do_not_count_as_mixed() -> None:
    stanza = to(HYBRID)[0].wrap(KEY)
    grease = Stanza("x-grease", ("a",), b"b")
    raw = age.encode_header([grease, stanza], KEY)
    granted = age.rewrap(raw, [HYBRID], to(HybridIdentity.generate()))
    assert read(granted).stanzas[:2] == (grease, stanza)


@pytest.mark.parametrize("position", range(0, 220, 3))
def test_a_flipped_byte_anywhere_in_a_header_is_noticed(position: int) -> None:
    raw, _ = age.make_header(to(IDENTITY))
    changed = bytearray(raw)
    changed[position % len(raw)] ^= 1
    with pytest.raises(DocexError):
        age.open_header(read(bytes(changed)), [IDENTITY])


@pytest.mark.parametrize("how", ["added", "stripped", "doubled", "reordered"])
def test_stanzas_added_stripped_or_moved_break_the_mac(how: str) -> None:
    raw, _ = age.make_header(to(IDENTITY, X25519Identity.generate()))
    first, second = read(raw).stanzas
    changed = {
        "added": [first, second, Stanza("x", (), b"")],
        "stripped": [first],
        "doubled": [first, first, second],
        "reordered": [second, first],
    }[how]
    forged = age.encode_header(changed, bytes(16))
    mac_line = raw[-48:]
    with pytest.raises(HeaderMacInvalid):
        age.open_header(read(forged[:-48] + mac_line), [IDENTITY])


def test_parse_identity_maps_the_error_of_keys() -> None:
    text = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"
    assert age.parse_identity(text).recipient.startswith("age1zvkyg2")
    with pytest.raises(age.IdentityInvalid) as caught:
        age.parse_identity(text[:-1])
    assert (caught.value.code, isinstance(caught.value, UsageError)) == ("identity_invalid", True)
    assert text[16:30] not in str(caught.value)
