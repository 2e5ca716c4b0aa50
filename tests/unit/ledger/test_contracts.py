import pytest
from eth_abi.abi import encode

from docex.errors import LedgerRejected, LedgerUnavailable, NotMember, UsageError
from docex.ledger.broadcast import Problem, classify
from docex.ledger.contracts import NAMES, ContractRejected, load, rejection

ADDRESS = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


def revert(selector: str, types: list[str], *values: object) -> bytes:
    return bytes.fromhex(selector) + encode(types, values)


def test_no_revert_data_is_no_rejection() -> None:
    assert rejection(b"") is None


def test_custom_errors_are_told_by_name_with_their_arguments() -> None:
    # keccak256("EmptyBatch()") and the like, by `cast sig`.
    error = rejection(load("Notary").encode("anchor", bytes(32), 1)[:0] + selector("EmptyBatch"))
    assert isinstance(error, ContractRejected)
    assert (str(error), error.name, error.arguments, error.code) == (
        "EmptyBatch()",
        "EmptyBatch",
        {},
        "ledger_rejected",
    )
    error = rejection(selector("IndexOutOfRange") + encode(["uint64", "uint64"], (5, 3)))
    assert str(error) == "IndexOutOfRange(index=5, size=3)"
    error = rejection(selector("RootMismatch") + encode(["bytes32", "bytes32"], (bytes(32), b"\xff" * 32)))
    assert str(error) == f"RootMismatch(computed=0x{'00' * 32}, expected=0x{'ff' * 32})"


def selector(name: str) -> bytes:
    (found,) = {key for c in NAMES for key, e in load(c).errors().items() if e["name"] == name}
    return found


def test_a_stranger_is_told_as_not_a_member() -> None:
    error = rejection(selector("NotActiveMember") + encode(["address"], (ADDRESS,)))
    assert isinstance(error, NotMember)
    assert str(error) == f"{ADDRESS} is not an active member (NotActiveMember(account={ADDRESS}))"


def test_a_require_message_is_told() -> None:
    error = rejection(revert("08c379a0", ["string"], "paused"))
    assert isinstance(error, LedgerRejected)
    assert str(error) == "Error(message=paused)"


def test_an_unknown_error_is_told_by_its_data() -> None:
    error = rejection(bytes.fromhex("deadbeef00"))
    assert isinstance(error, LedgerRejected)
    assert str(error) == "the contract refused the call (revert data 0xdeadbeef00)"


@pytest.mark.parametrize("data", [b"\x00" * 31, b"\xff" * 64, b""])
def test_an_answer_of_other_types_is_the_node_s_fault(data: bytes) -> None:
    with pytest.raises(LedgerUnavailable, match="answered with something else"):
        load("Notary").decode("anchorOf", data)


def test_text_that_is_not_utf_8_hinders_nobody_who_reads_it() -> None:
    # Contracts don't check it: one member's could stop every node otherwise.
    data = encode(["(bytes,bytes,bool,uint64)"], ((b"Mine\xff", b"", True, 1),))
    assert load("Directory").decode("memberOf", data) == (("Mine\ufffd", "", True, 1),)


def test_a_value_that_no_contract_takes_is_told() -> None:
    with pytest.raises(UsageError, match=r"a contract takes no such value: .*1844674407370955161[56]"):
        load("Notary").encode("anchor", bytes(32), 2**64)


def test_an_event_is_told_with_all_its_arguments() -> None:
    notary = load("Notary")
    member = bytes.fromhex(ADDRESS[2:]).rjust(32, b"\0")
    topics = [notary.topic("Anchored"), member, b"\x01" * 32]
    name, arguments = notary.decode_log(topics, encode(["uint64"], (5,))) or ("", {})
    assert (name, arguments) == ("Anchored", {"member": ADDRESS, "root": b"\x01" * 32, "size": 5})
    assert notary.decode_log([b"\x02" * 32], b"") is None
    assert notary.decode_log([], b"") is None
    with pytest.raises(LedgerUnavailable, match="answered with something else"):
        notary.decode_log(topics[:2], encode(["uint64"], (5,)))
    with pytest.raises(LedgerUnavailable, match="answered with something else"):
        notary.decode_log(topics, b"")


def test_addresses_are_told_with_their_checksums() -> None:
    data = encode(["address[]"], ([ADDRESS.lower()],))
    assert load("Directory").decode("members", data) == ((ADDRESS,),)
    asset = (ADDRESS.lower(), 0, 1, False, 0, b"KGM", 5, 5, 0)
    data = encode(["(address,uint8,uint8,bool,uint8,bytes3,uint128,uint128,uint256)"], (asset,))
    assert load("Assets").decode("assetOf", data) == ((ADDRESS, *asset[1:]),)
    assert load("Notary").decode("directory", encode(["address"], (ADDRESS.lower(),))) == (ADDRESS,)


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("already known", None),
        ("ALREADY_EXISTS: already known", None),
        ("Known transaction", None),
        ("AlreadyKnown", None),
        ("transaction already imported", None),
        ("nonce too low: next nonce 5, tx nonce 4", None),
        ("Transaction nonce is too low", None),
        ("OldNonce", None),
        ("replacement transaction underpriced", None),
        ("Transaction replacement underpriced", None),
        ("ReplacementNotAllowed", None),
        ("insufficient funds for gas * price + value: balance 0, tx cost 1", Problem.FUNDS),
        ("InsufficientFunds, Account balance: 0", Problem.FUNDS),
        ("Upfront cost exceeds account balance", Problem.FUNDS),
        ("max fee per gas less than block base fee", Problem.FEE),
        ("transaction underpriced: gas tip cap 0, minimum needed 1", Problem.FEE),
        ("Gas price below configured minimum gas price", Problem.FEE),
        ("FeeTooLow, MaxFeePerGas too low", Problem.FEE),
        ("intrinsic gas too low", Problem.REFUSED),
        ("exceeds block gas limit", Problem.REFUSED),
        ("invalid sender", Problem.REFUSED),
    ],
)
def test_what_nodes_say_when_they_take_no_transaction(message: str, problem: Problem | None) -> None:
    assert classify(message) is problem
