import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from docex.core.account import (
    Account,
    address_bytes,
    caip10,
    format_address,
    parse_address,
    parse_caip10,
    require_checksum,
)
from docex.errors import UsageError

# The examples of EIP-55 itself.
EIP55 = [
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
]


@pytest.mark.parametrize("address", EIP55)
def test_the_examples_of_eip_55(address: str) -> None:
    assert format_address(bytes.fromhex(address[2:])) == address
    assert parse_address(address) == address
    assert parse_address(address.lower()) == address
    assert parse_address("0x" + address[2:].upper()) == address
    assert require_checksum(address) == address
    assert address_bytes(address) == bytes.fromhex(address[2:])


@given(st.binary(min_size=20, max_size=20))
def test_checksums_agree_with_eth_utils(raw: bytes) -> None:
    assert format_address(raw) == to_checksum_address(raw)


@given(st.integers(1, 2**64), st.binary(min_size=20, max_size=20))
def test_caip10_round_trips(chain_id: int, raw: bytes) -> None:
    text = caip10(chain_id, format_address(raw))
    assert text == f"eip155:{chain_id}:{format_address(raw)}"
    assert parse_caip10(text) == Account(chain_id, format_address(raw))


@pytest.mark.parametrize(
    "text",
    [
        "",
        EIP55[2],
        f"eip155:{EIP55[2]}",
        f"eip155:0:{EIP55[2]}",
        f"eip155:01:{EIP55[2]}",
        f"eip155:-1:{EIP55[2]}",
        f"eip155:١:{EIP55[2]}",
        f"eip155:{'9' * 33}:{EIP55[2]}",
        f"EIP155:1:{EIP55[2]}",
        f"cosmos:1:{EIP55[2]}",
        f"eip155:1:{EIP55[2]}\n",
        f"eip155:1:{EIP55[2][2:]}",
        f"eip155:1:{EIP55[2]}00",
    ],
)
def test_malformed_account_ids_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a CAIP-10 account"):
        parse_caip10(text)


def test_an_account_id_without_its_checksum_is_refused() -> None:
    with pytest.raises(UsageError, match="not in its checksum form"):
        parse_caip10(f"eip155:1:{EIP55[2].lower()}")


def test_a_mistyped_digit_is_caught() -> None:
    with pytest.raises(UsageError, match="does not match its checksum"):
        parse_address(EIP55[2][:-1] + "e")
    with pytest.raises(UsageError, match="does not match its checksum"):
        parse_caip10(f"eip155:1:{EIP55[2][:-1]}e")


@pytest.mark.parametrize("text", ["", "0x", EIP55[2][:-1], EIP55[2] + "0", "0X" + EIP55[2][2:]])
def test_malformed_addresses_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not an address"):
        parse_address(text)


def test_lengths_and_chain_ids_are_checked() -> None:
    with pytest.raises(UsageError, match="20 bytes, not 32"):
        format_address(bytes(32))
    with pytest.raises(UsageError, match="positive number, not 0"):
        Account(0, EIP55[2])
