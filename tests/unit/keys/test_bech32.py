"""Bech32 as C2SP age uses it: BIP 173 without the length limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys import bech32

HRPS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=90)

# BIP 173, "Test vectors".
VALID = [
    "A12UEL5L",
    "a12uel5l",
    "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
    "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw",
    "?1ezyfcl",
]
INVALID = {
    "\x201nwldj5": "human-readable part",
    "\x7f1axkwrx": "human-readable part",
    "\x801eym55h": "human-readable part",
    "pzry9x0s0muk": "no separator",
    "1pzry9x0s0muk": "no separator",
    "x1b4n0q5v": "outside its alphabet",
    "li1dgmt3": "too short",
    "de1lg7wt\xff": "outside its alphabet",
    "A1G7SGD8": "checksum",
    "10a06t8": "no separator",
    "1qzzfhee": "no separator",
    "A12uel5l": "mixed",
    "a12UEL5L": "mixed",
    "aB12uel5l": "mixed",
    "a12uel5m": "checksum",
    # The Kelvin sign, whose lower case is "k".
    "AGE1ZV\u212aYG2LQZRAA2LNJVQEJ32NKUU0UES2S82HZRYE869XEEXVN73EQUNUJWJ": "outside its alphabet",
}


@pytest.mark.parametrize("text", VALID)
def test_the_vectors_of_bip_173_decode_and_encode_again(text: str) -> None:
    hrp, data = bech32.decode(text)
    assert bech32.encode(hrp, data) == text


@pytest.mark.parametrize(("text", "reason"), INVALID.items(), ids=ascii)
def test_a_malformed_text_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        bech32.decode(text)


@given(HRPS, st.binary(max_size=2000))
def test_what_was_encoded_decodes_in_both_cases(hrp: str, data: bytes) -> None:
    lower = bech32.encode(hrp.lower(), data)
    assert bech32.decode(lower) == (hrp.lower(), data)
    assert bech32.decode(lower.upper()) == (hrp.upper(), data)


@given(st.binary(max_size=60), st.data())
def test_one_changed_character_is_always_noticed(data: bytes, draw: st.DataObject) -> None:
    text = bech32.encode("age", data)
    position = draw.draw(st.integers(4, len(text) - 1))
    other = draw.draw(st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7l"))
    changed = text[:position] + other + text[position + 1 :]
    if changed != text:
        with pytest.raises(ValueError, match="checksum"):
            bech32.decode(changed)


def _naive(hrp: str, words: list[int]) -> str:
    """Text with a right checksum over any words: the polynomial of BIP 173, bit by bit."""

    def remainder(values: list[int]) -> int:
        state = 1
        for value in values:
            state = (state << 5) ^ value
            for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
                if state >> (30 + bit) & 1:
                    state ^= generator ^ (1 << (30 + bit))
        return state

    expanded = [ord(c) // 32 for c in hrp] + [0] + [ord(c) % 32 for c in hrp]
    check = remainder(expanded + words + [0] * 6) ^ 1
    words = words + [check // 32**power % 32 for power in range(5, -1, -1)]
    return hrp + "1" + "".join("qpzry9x8gf2tvdw0s3jn54khce6mua7l"[word] for word in words)


@given(st.binary(max_size=100))
def test_it_agrees_with_a_naive_twin(data: bytes) -> None:
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    words = [int(bits[start : start + 5], 2) for start in range(0, len(bits), 5)]
    assert bech32.encode("age", data) == _naive("age", words)


@pytest.mark.parametrize("words", [[0, 1], [31, 31], [0], [0, 0, 0], [1]])
def test_padding_that_is_not_zero_or_too_long_is_refused(words: list[int]) -> None:
    with pytest.raises(ValueError, match="padding"):
        bech32.decode(_naive("age", words))


@pytest.mark.parametrize("hrp", ["", "Age", "a ge", "äge"])
def test_a_bad_human_readable_part_is_not_encoded(hrp: str) -> None:
    with pytest.raises(ValueError, match="Bech32"):
        bech32.encode(hrp, b"")
