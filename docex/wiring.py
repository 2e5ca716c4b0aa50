"""The one place that names concrete backends: puts a node together from its settings."""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from docex.core.access_token import Rules
from docex.core.account import parse_caip10
from docex.core.addresses import parse_ranges
from docex.core.ledger_types import Deployment
from docex.core.proof import Network as LedgerNetwork
from docex.db.engine import make_engine, upgrade
from docex.db.store import SqlStore
from docex.db.transactions import SqlTransactionStore
from docex.errors import DatabaseUnavailable, LedgerError, UsageError
from docex.failpoints import Failpoint, reached
from docex.ledger.deploy import check_deployment, read_deployment
from docex.ledger.node import NodeLedger
from docex.ledger.process import CHAIN_ID
from docex.ledger.reader import open_reader
from docex.ledger.rpc import Rpc
from docex.ledger.sender import Sender
from docex.oidc import key_source
from docex.outbound import Reach, reach
from docex.peers import HttpPeers
from docex.service import timestamps
from docex.service.access_tokens import AccessTokens
from docex.service.call_limits import CallLimits, Rates
from docex.service.fsck import Keeping
from docex.service.node import Limits, Network, Node
from docex.settings import MIN_TOKEN, NodeSettings
from docex.tsa import HttpTsa
from keys import KeysError
from keys.local import Keystore, holds_identity, open_keystore
from storage import BlobStore


@asynccontextmanager
async def running_node(settings: NodeSettings, passphrase: bytes) -> AsyncIterator[Node]:
    """A node with everything behind it connected; closed at the end of the block.

    Raises:
        KeysError: the keystore can't be opened.
        UsageError: settings, keystore and ledger do not fit together.
        LedgerError: the ledger can't be reached, or is another one.
        Conflict: the database belongs to another member, or to another network.
    """
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    keystore = open_keystore(settings.keystore, passphrase)
    deployment = read_deployment(settings.deployment)
    _check_chain(keystore, deployment)
    async with AsyncExitStack() as stack:
        tsa = None
        if settings.tsa is not None:
            tsa = HttpTsa(settings.tsa, ca_file=settings.ca_file)
            stack.push_async_callback(tsa.close)
        rpc = await stack.enter_async_context(Rpc(settings.rpc, chain_id=deployment.chain_id))
        await check_deployment(rpc, deployment)
        await upgrade(settings.database_url)
        reached(Failpoint.NODE_MIGRATED)
        engine = make_engine(settings.database_url)
        stack.push_async_callback(engine.dispose)
        store = SqlStore(engine, batch_jobs=() if tsa is None else (timestamps.JOB,))
        await store.belong_to(f"{keystore.public['account']} {deployment.directory} {deployment.notary}")
        reached(Failpoint.NODE_OWNED)
        blobs = _blobs(settings)
        stack.push_async_callback(blobs.close)
        peers = HttpPeers(_reach(settings, deployment), ca_file=settings.ca_file)
        stack.push_async_callback(peers.close)
        calls = CallLimits(store, Rates(settings.rate_caller, settings.rate_address, settings.rate_member))
        stack.push_async_callback(calls.close)
        transactions = SqlTransactionStore(engine)
        sender = Sender(
            rpc,
            keystore.account,
            transactions,
            chain_id=deployment.chain_id,
            confirmations=settings.confirmations,
        )
        yield Node(
            address=keystore.account.address,
            network=Network(deployment.chain_id, deployment.directory, deployment.notary),
            signer=keystore.signer,
            recipient=keystore.public["recipient"],
            identity=keystore.identity,
            store=store,
            blobs=blobs,
            ledger=NodeLedger(rpc, deployment.directory, deployment.notary, sender, transactions),
            peers=peers,
            tsa=tsa,
            access_tokens=_access_tokens(settings, stack),
            calls=calls,
            limits=Limits(
                document_size=settings.max_document_size,
                header_patience=settings.header_patience,
                transfer_patience=settings.transfer_patience,
                remember_requests=settings.remember_requests,
                scrapers=parse_ranges(settings.metrics_networks),
                proxies=parse_ranges(settings.proxies),
            ),
        )


def _access_tokens(settings: NodeSettings, stack: AsyncExitStack) -> AccessTokens | None:
    if settings.oidc_issuer is None:
        return None
    if settings.oidc_audience is None:  # a token for any other application of the same issuer would do
        raise UsageError("setting oidc_audience: with an issuer, say what its tokens' audience has to be")
    rules = Rules(
        settings.oidc_issuer,
        settings.oidc_audience,
        settings.oidc_roles_claim,
        settings.oidc_roles,
        settings.oidc_folders_claim,
    )
    source = key_source(settings.oidc_issuer, settings.oidc_jwks, settings.ca_file)
    stack.push_async_callback(source.close)
    tokens = AccessTokens(rules, source)
    stack.push_async_callback(tokens.close)
    return tokens


def _reach(settings: NodeSettings, deployment: Deployment) -> Reach:
    """Where other members' nodes are called.

    The chain tells a trial on one machine, which has to work at once, from a network with strangers in it. Where this
    node listens would not: one on loopback may well stand behind a proxy, for all the world.
    """
    trial = deployment.chain_id == CHAIN_ID
    return reach(settings.peer_networks or ("any" if trial else "public"), settings.peer_schemes)


def _check_chain(keystore: Keystore, deployment: Deployment) -> None:
    account = str(keystore.public["account"])
    if account.split(":")[1] != str(deployment.chain_id):
        raise UsageError(f"the keystore's account {account} is not on chain {deployment.chain_id} of the deployment")


@asynccontextmanager
async def kept_by_node(settings: NodeSettings, *, ledger: bool = False) -> AsyncIterator[Keeping]:
    """What a node keeps, for a check of all of it, whether the node runs or not. No key is opened for it.

    With ``ledger``, the Notary is asked at the settings' RPC URL.

    Raises:
        UsageError: there is no database of a node, or it is one of another version of docex.
        LedgerError: the ledger can't be reached, or is another one.
    """
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite" and not os.path.isfile(url.database or ""):  # noqa: PTH113, ASYNC240 - once
        raise UsageError(f"there is no database at {url.database}: name the node's data folder or database")
    async with AsyncExitStack() as stack:
        engine = make_engine(settings.database_url)
        stack.push_async_callback(engine.dispose)
        store = SqlStore(engine)
        account, directory, notary = (await _owner(store, engine)).split(" ")
        parsed = parse_caip10(account)
        network = LedgerNetwork(parsed.chain_id, directory, notary)
        reader = None
        if ledger:
            reader = await stack.enter_async_context(open_reader(settings.rpc, network))
            if (found := await reader.network()) != network:
                raise LedgerError(f"the node works with {network}; at the RPC URL there is {found}")
        blobs = _blobs(settings)
        stack.push_async_callback(blobs.close)
        yield Keeping(store, blobs, parsed.address, _opens(settings), lambda: int(time.time()), reader)


async def _owner(store: SqlStore, engine: AsyncEngine) -> str:
    where = engine.url.render_as_string(hide_password=True)
    try:
        owner = await store.owner()
        await store.documents_from(0, 1)  # the tables have the columns of this version
    except (SQLAlchemyError, DatabaseUnavailable) as error:
        raise UsageError(
            f"{where} is no node's database of this version, or does not answer ({type(error).__name__}): "
            "start the node once"
        ) from None
    if owner is None:
        raise UsageError(f"no node has used {where} yet")
    return owner


def _opens(settings: NodeSettings) -> bool:
    """Whether the node's keystore opens packets. Where it is not at hand a packet may wait for its receipt."""
    try:
        return holds_identity(settings.keystore)
    except KeysError:
        return False


def _blobs(settings: NodeSettings) -> BlobStore:
    if settings.azure_storage is not None:
        from storage.azure import AzureStore, Patience

        connection, patience = settings.azure_storage.get_secret_value(), Patience(read=settings.azure_timeout)
        return AzureStore.from_connection_string(connection, settings.azure_container, patience)
    from storage.local import LocalStore

    return LocalStore(settings.data / "packets")


@dataclass(frozen=True, slots=True)
class ApiToken:
    """The token that people's requests carry, and where it is kept (None: it came from the settings)."""

    value: str
    path: Path | None


def api_token(settings: NodeSettings) -> ApiToken:
    """The API token of the settings, or the one kept in the data folder, made at first use (mode 0600).

    Raises:
        UsageError: the folder's file holds none.
    """
    if settings.api_token is not None:
        return ApiToken(settings.api_token.get_secret_value(), None)
    path = settings.data / "api-token"
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        _write_token(path)
    token = path.read_text(encoding="utf-8").strip()
    if len(token) < MIN_TOKEN or not token.isascii():
        raise UsageError(f"{path} holds no API token: delete it, and a new one is made")
    return ApiToken(token, path)


def _write_token(path: Path) -> None:
    """Write a new token, whole or not at all; where another process has just done so, its token stays."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".api-token-", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
        file.flush()
        os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(file.name, path)
