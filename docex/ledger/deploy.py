"""Deploys the contracts of a network once, and keeps where they are in a JSON file."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict
from pathlib import Path
from typing import Any

from docex.core.account import require_checksum
from docex.core.ledger_types import Deployment, TransactionInfo
from docex.errors import DocexError, LedgerError, UsageError
from docex.ledger.assets import AssetsClient
from docex.ledger.contracts import load
from docex.ledger.notary import NotaryClient
from docex.ledger.rpc import Rpc
from docex.ledger.sender import Sender


async def deploy(
    rpc: Rpc, sender: Sender, record: Path, *, consortium: str | None = None, chain_id: int | None = None
) -> Deployment:
    """Deploys Directory, Notary and Assets as the sender's account, or returns what ``record`` says was deployed.

    ``consortium``: the account that will admit members, the sender's own by default. ``chain_id``: the chain that the
    caller means; on another one nothing is sent.

    Raises LedgerError when the chain is not the one that was meant, and when the record is of another chain or its
    contracts are not there: a network is not deployed anew by accident. Raises LedgerRejected when the account can't
    pay, UsageError when the record is malformed, LedgerUnavailable when the node can't be reached.
    """
    if chain_id is not None and sender.chain_id != chain_id:
        raise LedgerError(f"{rpc.name} serves chain {sender.chain_id}, not {chain_id}: nothing was deployed")
    deployment = _recorded(record)
    if deployment is not None:
        await check_deployment(rpc, deployment)
        return deployment
    purpose = f"deploy:{secrets.token_hex(16)}"
    directory = await _create(sender, f"{purpose}:directory", load("Directory").creation(consortium or sender.account))
    notary = await _create(sender, f"{purpose}:notary", load("Notary").creation(directory.contract))
    assets = await _create(sender, f"{purpose}:assets", load("Assets").creation(notary.contract))
    deployment = Deployment(
        chain_id=sender.chain_id,
        directory=str(directory.contract),
        notary=str(notary.contract),
        block=directory.block_number,
        assets=str(assets.contract),
    )
    write_deployment(record, deployment)
    return deployment


async def check_deployment(rpc: Rpc, deployment: Deployment) -> None:
    """Checks that a deployment's contracts are on the chain that answers.

    Raises LedgerError when the chain is another one, a contract is missing, its Notary follows another Directory, or
    its Assets, where it has such, another Notary.
    """
    chain_id = await rpc.chain_id()
    if chain_id != deployment.chain_id:
        raise LedgerError(f"the contracts are on chain {deployment.chain_id}, {rpc.name} serves chain {chain_id}")
    for address in filter(None, (deployment.directory, deployment.notary, deployment.assets)):
        if await rpc.call("eth_getCode", address, "latest") == "0x":
            raise LedgerError(f"there is no contract at {address} on the chain of {rpc.name}")
    directory = await NotaryClient(rpc, deployment.notary).directory()
    if directory != deployment.directory:
        raise LedgerError(f"the Notary at {deployment.notary} follows the Directory {directory}")
    if deployment.assets is not None:
        notary = await AssetsClient(rpc, deployment.assets).notary()
        if notary != deployment.notary:
            raise LedgerError(f"the Assets at {deployment.assets} follow the Notary {notary}")


def read_deployment(record: Path) -> Deployment:
    """The deployment in a JSON file. Raises UsageError when the file is missing or malformed."""
    try:
        fields: Any = json.loads(record.read_text(encoding="utf-8"))
        deployment = Deployment(
            chain_id=fields["chain_id"],
            directory=require_checksum(fields["directory"]),
            notary=require_checksum(fields["notary"]),
            block=fields["block"],
            assets=None if fields.get("assets") is None else require_checksum(fields["assets"]),
        )
    except (OSError, ValueError, KeyError, TypeError, DocexError) as error:
        raise UsageError(f"{record} is not a deployment record: {type(error).__name__}: {error}") from None
    if type(deployment.chain_id) is not int or type(deployment.block) is not int:
        raise UsageError(f"{record} is not a deployment record: chain_id and block are whole numbers")
    return deployment


def write_deployment(record: Path, deployment: Deployment) -> None:
    """Writes the JSON file, whole or not at all."""
    record.parent.mkdir(parents=True, exist_ok=True)
    temporary = record.with_name(record.name + ".new")
    temporary.write_text(json.dumps(asdict(deployment), indent=2) + "\n", encoding="utf-8")
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    temporary.replace(record)


def _recorded(record: Path) -> Deployment | None:
    return read_deployment(record) if record.exists() else None


async def _create(sender: Sender, key: str, data: bytes) -> TransactionInfo:
    await sender.submit(key, None, data)
    return await sender.wait(key)
