"""Bech32 (BIP 173) without its length limit, as C2SP age uses it for recipients and identities.

Error messages never repeat the text: it may be a private key.
"""

from __future__ import annotations

from collections.abc import Iterable

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def encode(hrp: str, data: bytes) -> str:
    """Bech32 text of ``data``: all upper case when ``hrp`` is, else lower case.

    Raises ValueError when ``hrp`` is empty, mixes cases or holds characters outside 33 to 126.
    """
    _check_hrp(hrp)
    lower = hrp.lower()
    words = _regroup(data, 8, 5, pad=True)
    checksum = _polymod([*_expand(lower), *words, 0, 0, 0, 0, 0, 0]) ^ 1
    words += [(checksum >> 5 * (5 - position)) & 31 for position in range(6)]
    text = lower + "1" + "".join(_ALPHABET[word] for word in words)
    return text.upper() if hrp != lower else text


def decode(text: str) -> tuple[str, bytes]:
    """The human-readable part (in the text's own case) and the data of ``text``.

    Raises ValueError on mixed case, a bad character, a bad checksum, or padding that is not zero.
    """
    separator = text.rfind("1")
    if separator < 1 or len(text) - separator < 7:
        raise ValueError("not Bech32: no separator, or too short")
    hrp = text[:separator]
    _check_hrp(hrp)
    if text not in (text.lower(), text.upper()):
        raise ValueError("not Bech32: upper and lower case mixed")
    try:
        # In ASCII: the lower case of the Kelvin sign is "k".
        words = [_VALUES[chr(byte)] for byte in text[separator + 1 :].encode("ascii").lower()]
    except (KeyError, UnicodeEncodeError):
        raise ValueError("not Bech32: a character outside its alphabet") from None
    if _polymod([*_expand(hrp.lower()), *words]) != 1:
        raise ValueError("not Bech32: the checksum does not hold (a typing error?)")
    return hrp, bytes(_regroup(words[:-6], 5, 8, pad=False))


def _check_hrp(hrp: str) -> None:
    if not hrp or not all(33 <= ord(character) <= 126 for character in hrp):
        raise ValueError("not Bech32: a bad human-readable part")
    if hrp not in (hrp.lower(), hrp.upper()):
        raise ValueError("not Bech32: upper and lower case mixed")


def _expand(hrp: str) -> list[int]:
    return [ord(c) >> 5 for c in hrp] + [0] + [ord(c) & 31 for c in hrp]


def _polymod(values: Iterable[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                checksum ^= generator
    return checksum


def _regroup(values: Iterable[int], from_bits: int, to_bits: int, *, pad: bool) -> list[int]:
    """The same bits in words of another size (BIP 173, "Segwit address format")."""
    accumulator = bits = 0
    words = []
    for value in values:
        accumulator = accumulator << from_bits | value
        bits += from_bits
        while bits >= to_bits:
            bits -= to_bits
            words.append(accumulator >> bits)
            accumulator &= (1 << bits) - 1
    if pad and bits:
        words.append(accumulator << (to_bits - bits))
    elif not pad and (bits >= from_bits or accumulator):
        raise ValueError("not Bech32: padding is not canonical")
    return words
