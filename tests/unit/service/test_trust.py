import json
import stat
from pathlib import Path
from typing import Any

import pytest

from docex.core.account import format_address
from docex.core.facts import Trust
from docex.core.proof import Network
from docex.errors import Conflict, NotFound, UsageError
from docex.service.trust import TrustedNetwork, TrustStore, choose, default_path, network

DIRECTORY, NOTARY, OTHER = (format_address(bytes([n]) * 20) for n in (0xAA, 0xBB, 0xCC))
LOCAL = network("local", 31337, DIRECTORY, NOTARY)
LIVE = network("live", 1337, DIRECTORY, OTHER, "https://rpc.example/key", 12)


@pytest.fixture
def store(tmp_path: Path) -> TrustStore:
    return TrustStore(tmp_path / "config" / "docex" / "trust.json")


def test_networks_are_kept_in_the_order_they_were_added(store: TrustStore) -> None:
    assert store.networks() == ()
    store.add(LOCAL)
    store.add(LIVE)
    assert store.networks() == (LOCAL, LIVE)
    assert json.loads(store.path.read_text()) == {
        "format": "docex-trust/1",
        "networks": [
            {"name": "local", "chain_id": 31337, "directory": DIRECTORY, "notary": NOTARY, "confirmations": 3},
            {
                "name": "live",
                "chain_id": 1337,
                "directory": DIRECTORY,
                "notary": OTHER,
                "confirmations": 12,
                "rpc": "https://rpc.example/key",
            },
        ],
    }


def test_only_the_owner_reads_the_settings_and_nothing_else_is_left_beside_them(store: TrustStore) -> None:
    store.add(LOCAL)
    store.add(LIVE)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert [path.name for path in store.path.parent.iterdir()] == ["trust.json"]


def test_a_network_is_trusted_once_by_name_and_by_contracts(store: TrustStore) -> None:
    store.add(LOCAL)
    for again in (network("local", 1, DIRECTORY, NOTARY), network("other", 31337, DIRECTORY, NOTARY)):
        with pytest.raises(Conflict, match=r"local .* is trusted already"):
            store.add(again)
    assert store.networks() == (LOCAL,)
    replaced = network("local", 1, DIRECTORY, NOTARY)
    store.add(replaced, replace=True)
    assert store.networks() == (replaced,)


def test_replacing_what_is_not_there_adds_it(store: TrustStore) -> None:
    store.add(LOCAL, replace=True)
    assert store.networks() == (LOCAL,)


def test_a_network_can_be_removed(store: TrustStore) -> None:
    store.add(LOCAL)
    store.add(LIVE)
    assert store.remove("local") == LOCAL
    assert store.networks() == (LIVE,)
    with pytest.raises(NotFound, match=r"no network 'local' is trusted \(trusted: live\)"):
        store.remove("local")
    store.remove("live")
    with pytest.raises(NotFound, match="trusted: none"):
        store.remove("live")


def test_a_person_may_type_addresses_without_their_capitals() -> None:
    assert network("local", 31337, DIRECTORY.lower(), NOTARY.lower()) == LOCAL


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "a network's name"),
        ({"name": "a b"}, "a network's name"),
        ({"name": "a" * 65}, "a network's name"),
        ({"chain_id": 0}, "a chain id is"),
        ({"chain_id": 2**63}, "a chain id is"),
        ({"directory": "0x12"}, "not an address"),
        ({"notary": DIRECTORY[:-1] + "b"}, "does not match its checksum"),
        ({"confirmations": -1}, "confirmations are"),
        ({"confirmations": 1_000_001}, "confirmations are"),
        ({"rpc": "ftp://host"}, "an RPC URL"),
        ({"rpc": "http://"}, "an RPC URL"),
        ({"rpc": "http://[::1"}, "an RPC URL"),
        ({"rpc": "http://host/\x1b[2J"}, "an RPC URL"),
    ],
)
def test_values_that_make_no_sense_are_refused(change: dict[str, Any], message: str) -> None:
    values = {"name": "x", "chain_id": 1, "directory": DIRECTORY, "notary": NOTARY, "rpc": None, "confirmations": 3}
    with pytest.raises(UsageError, match=message):
        network(**{**values, **change})


def test_zero_confirmations_are_a_choice_and_not_the_default() -> None:
    assert network("x", 1, DIRECTORY, NOTARY, confirmations=0).trust.confirmations == 0
    assert network("x", 1, DIRECTORY, NOTARY).trust.confirmations == 3


GOOD = LIVE.to_json()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "not valid JSON"),
        ([], "not a JSON object"),
        ({"format": "docex-trust/1"}, "expected the members format"),
        ({"format": "docex-trust/2", "networks": []}, "expected the members format"),
        ({"format": "docex-trust/1", "networks": [], "x": 1}, "expected the members format"),
        ({"format": "docex-trust/1", "networks": {}}, "networks must be a list"),
        ([1], r"networks\[0\]: expected an object"),
        ([{**GOOD, "x": 1}], r"networks\[0\]: expected an object with"),
        ([{k: v for k, v in GOOD.items() if k != "notary"}], r"networks\[0\]: expected an object with"),
        ([{**GOOD, "chain_id": True}], r"networks\[0\]: chain_id must be a whole number"),
        ([{**GOOD, "rpc": None}], r"networks\[0\]: rpc must be text"),
        ([{**GOOD, "directory": DIRECTORY.lower()}], r"networks\[0\]: the address .* checksum form"),
        ([GOOD, GOOD], r"networks\[1\]: live is there twice"),
        ([GOOD, {**GOOD, "name": "again"}], r"networks\[1\]: again is there twice"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_settings_that_are_not_to_the_letter_are_refused(store: TrustStore, value: Any, message: str) -> None:
    if isinstance(value, list) and value:
        value = {"format": "docex-trust/1", "networks": value}
    store.path.parent.mkdir(parents=True)
    store.path.write_text(value if isinstance(value, str) else json.dumps(value))
    with pytest.raises(UsageError, match=message) as caught:
        store.networks()
    assert str(store.path) in str(caught.value)


def test_settings_that_are_too_long_are_refused(store: TrustStore) -> None:
    store.path.parent.mkdir(parents=True)
    store.path.write_text(" " * ((1 << 20) + 1))
    with pytest.raises(UsageError, match="longer than"):
        store.networks()


def test_a_folder_in_the_files_place_is_refused(store: TrustStore) -> None:
    store.path.mkdir(parents=True)
    with pytest.raises(UsageError, match="can't be read: Is a directory"):
        store.networks()


def test_a_failed_write_leaves_the_old_settings_and_nothing_else(
    store: TrustStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add(LOCAL)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UsageError, match="can't be written: No space left"):
        store.add(LIVE)
    assert store.networks() == (LOCAL,)
    assert [path.name for path in store.path.parent.iterdir()] == ["trust.json"]


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({"DOCEX_TRUST": "/a/t.json", "XDG_CONFIG_HOME": "/x", "HOME": "/h"}, "/a/t.json"),
        ({"DOCEX_TRUST": "", "XDG_CONFIG_HOME": "/x", "HOME": "/h"}, "/x/docex/trust.json"),
        ({"XDG_CONFIG_HOME": "relative", "HOME": "/h"}, "/h/.config/docex/trust.json"),
        ({"HOME": "/h"}, "/h/.config/docex/trust.json"),
    ],
)
def test_where_the_settings_are(environment: dict[str, str], path: str) -> None:
    assert default_path(environment) == Path(path)


def test_without_a_home_in_the_environment_the_users_own_is_taken() -> None:
    assert default_path({}) == Path.home() / ".config/docex/trust.json"


def test_a_proof_picks_only_among_networks_that_are_trusted() -> None:
    both = (LOCAL, LIVE)
    assert choose(both, LIVE.trust.network) is LIVE
    assert choose(both, LOCAL.trust.network) is LOCAL
    elsewhere = Network(1, OTHER, OTHER)
    assert choose(both, elsewhere) is LOCAL
    assert choose((), elsewhere) is None


def test_the_verifier_may_say_which_network() -> None:
    assert choose((LOCAL, LIVE), LOCAL.trust.network, "live") is LIVE
    with pytest.raises(UsageError, match="no network 'x' is trusted"):
        choose((LOCAL, LIVE), LOCAL.trust.network, "x")


def test_a_trusted_network_is_checked_however_it_is_made() -> None:
    with pytest.raises(UsageError, match="checksum form"):
        TrustedNetwork(Trust("x", Network(1, DIRECTORY.lower(), NOTARY)))
