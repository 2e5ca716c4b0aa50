"""A node put together from its settings, and the token that people need for it."""

import json
import sqlite3
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from docex.errors import Conflict, LedgerError, LedgerUnavailable, NotMember, UsageError
from docex.outbound import AddressRefused
from docex.settings import NodeSettings
from docex.wiring import api_token, kept_by_node, running_node
from keys import WrongPassphrase
from keys.local import create_keystore, export_without_identity
from storage.azure import AzureStore
from storage.local import LocalStore
from tests.fixtures.azurite import Azurite
from tests.fixtures.network import PASSPHRASE, Consortium, Organisation, new_organisation
from tests.fixtures.paper_nodes import deposited
from tests.fixtures.postgres import Postgres


@pytest.fixture
def organisation(tmp_path: Path) -> Organisation:
    return new_organisation(tmp_path / "keystore", "Mine AG")


@pytest.fixture
def settings(consortium: Consortium, organisation: Organisation, tmp_path: Path) -> NodeSettings:
    given: dict[str, Any] = {
        "data": tmp_path / "new" / "data",
        "keystore": organisation.folder,
        "rpc": consortium.chain.url,
        "deployment": consortium.record,
    }
    return NodeSettings(**given)


async def test_a_node_is_what_its_settings_say(
    settings: NodeSettings, organisation: Organisation, consortium: Consortium
) -> None:
    changed = settings.model_copy(update={"max_document_size": 1000})
    async with running_node(changed, PASSPHRASE) as node:
        assert node.account == organisation.account
        assert (node.signer.kid, node.recipient) == (
            organisation.keystore.signer.kid,
            organisation.keystore.public["recipient"],
        )
        assert node.identity is not None
        assert (node.network.directory, node.network.notary) == (
            consortium.deployment.directory,
            consortium.deployment.notary,
        )
        assert isinstance(node.blobs, LocalStore)
        assert node.limits.document_size == 1000
        await node.store.check()
        await node.blobs.check()
        with pytest.raises(NotMember, match="ask the consortium to admit it"):
            await node.ledger.check()
        await deposited(node, "a", b"content")
    assert stat.S_IMODE(settings.data.stat().st_mode) == 0o700
    async with running_node(settings, PASSPHRASE) as node:
        assert (await node.store.document("a")).size == 7


async def test_a_node_can_run_without_its_identity(settings: NodeSettings, tmp_path: Path) -> None:
    export_without_identity(settings.keystore, tmp_path / "server", PASSPHRASE)
    changed = settings.model_copy(update={"keystore": tmp_path / "server"})
    async with running_node(changed, PASSPHRASE) as node:
        assert node.identity is None
        assert node.recipient.startswith("age1pq1")


async def test_azure_and_postgresql_take_the_place_of_folder_and_sqlite(
    settings: NodeSettings, azurite: Azurite, postgres: Postgres
) -> None:
    given = settings.model_dump() | {
        "azure_storage": azurite.connection_string,
        "azure_container": f"test-{time.time_ns()}",
        "database": postgres.url(postgres.create()),
    }
    async with running_node(NodeSettings(**given), PASSPHRASE) as node:
        assert isinstance(node.blobs, AzureStore)
        stored = await deposited(node, "a", b"content")
        assert (await node.blobs.stat(stored.blob)).size > 7
    assert not (settings.data / "docex.db").exists()


async def started(settings: NodeSettings, passphrase: bytes = PASSPHRASE) -> None:
    async with running_node(settings, passphrase):
        pytest.fail("it started")


async def test_what_does_not_fit_together_does_not_start(settings: NodeSettings, tmp_path: Path) -> None:
    with pytest.raises(WrongPassphrase):
        await started(settings, b"wrong")
    with pytest.raises(UsageError, match="not a deployment record"):
        await started(settings.model_copy(update={"deployment": tmp_path / "none.json"}))
    with pytest.raises(LedgerUnavailable):
        await started(settings.model_copy(update={"rpc": "http://127.0.0.1:1"}))
    create_keystore(tmp_path / "elsewhere", "Mine", 1, PASSPHRASE, 0, opslimit=1, memlimit=8 << 20)
    with pytest.raises(UsageError, match="is not on chain 31337"):
        await started(settings.model_copy(update={"keystore": tmp_path / "elsewhere"}))
    record = tmp_path / "other.json"
    fields = json.loads(settings.deployment.read_text())
    fields["directory"], fields["notary"] = fields["notary"], fields["directory"]
    record.write_text(json.dumps(fields))
    with pytest.raises(LedgerError):
        await started(settings.model_copy(update={"deployment": record}))


async def test_a_database_belongs_to_one_member(settings: NodeSettings, tmp_path: Path) -> None:
    """Else one member's queued statements would be anchored, and its documents overwritten, by another."""
    async with running_node(settings, PASSPHRASE):
        pass
    async with running_node(settings, PASSPHRASE):
        pass
    create_keystore(tmp_path / "other", "Other", 31337, PASSPHRASE, 0, opslimit=1, memlimit=8 << 20)
    with pytest.raises(Conflict, match="this database belongs to"):
        await started(settings.model_copy(update={"keystore": tmp_path / "other"}))


async def test_a_check_asks_the_ledger_that_the_node_works_with(settings: NodeSettings) -> None:
    async with running_node(settings, PASSPHRASE) as node:
        account = node.account
    async with kept_by_node(settings, ledger=True) as kept:
        assert kept.anchors is not None
        assert (account.endswith(kept.address), kept.opens) == (True, True)
        assert await kept.anchors.anchor_of(kept.address, bytes(32), 1) is None
    async with kept_by_node(settings) as kept:
        assert kept.anchors is None


async def test_another_ledger_than_the_node_s_is_not_asked(settings: NodeSettings) -> None:
    async with running_node(settings, PASSPHRASE):
        pass
    with closing(sqlite3.connect(settings.data / "docex.db")) as connection, connection:
        connection.execute("UPDATE owner SET owner = replace(owner, 'eip155:31337:', 'eip155:1:')")
    with pytest.raises(LedgerError, match="the node works with chain 1, "):
        async with kept_by_node(settings, ledger=True):
            pytest.fail("it was asked")


# --- the API token ---------------------------------------------------------------------------------------------------


def test_a_token_is_made_once_and_kept_to_its_owner(settings: NodeSettings) -> None:
    first = api_token(settings)
    assert first.path == settings.data / "api-token"
    assert len(first.value) >= 43
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o600
    assert api_token(settings) == first
    assert [each.name for each in settings.data.iterdir()] == ["api-token"]


def test_of_tokens_made_at_once_one_stands(settings: NodeSettings) -> None:
    with ThreadPoolExecutor(8) as pool:
        tokens = {each.value for each in pool.map(lambda _: api_token(settings), range(32))}
    assert len(tokens) == 1
    assert [each.name for each in settings.data.iterdir()] == ["api-token"]


def test_a_token_from_the_settings_is_written_nowhere(settings: NodeSettings) -> None:
    given = api_token(NodeSettings(**(settings.model_dump() | {"api_token": "x" * 20})))
    assert (given.value, given.path) == ("x" * 20, None)
    assert not settings.data.exists()


@pytest.mark.parametrize("content", ["", "\n", "short\n", "ü" * 40])
def test_a_file_without_a_token_does_not_open_the_node(settings: NodeSettings, content: str) -> None:
    settings.data.mkdir(parents=True)
    (settings.data / "api-token").write_text(content)
    with pytest.raises(UsageError, match="holds no API token"):
        api_token(settings)


async def test_an_issuer_needs_an_audience(settings: NodeSettings) -> None:
    changed = settings.model_copy(update={"oidc_issuer": "https://login.example"})
    with pytest.raises(UsageError, match="what its tokens' audience has to be"):
        async with running_node(changed, PASSPHRASE):
            pass
    async with running_node(changed.model_copy(update={"oidc_audience": "docex"}), PASSPHRASE) as node:
        assert node.access_tokens is not None


async def test_where_peers_are_called_is_a_setting(settings: NodeSettings) -> None:
    with pytest.raises(UsageError, match="intranet"):
        async with running_node(settings.model_copy(update={"peer_networks": "intranet"}), PASSPHRASE):
            pass
    async with running_node(settings.model_copy(update={"peer_networks": "public"}), PASSPHRASE) as node:
        with pytest.raises(AddressRefused):
            await node.peers.announce("http://127.0.0.1:8080", "a.b.c")
