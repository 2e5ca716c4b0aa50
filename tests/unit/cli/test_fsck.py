"""``docex fsck`` as people and programs see it."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from docex.cli import fsck as command
from docex.db.engine import make_engine
from docex.db.store import SqlStore
from docex.service.fsck import Code, Finding, Report
from docex.settings import NodeSettings
from docex.wiring import kept_by_node
from storage.local import LocalStore
from tests.fixtures.databases import NewSqlite
from tests.fixtures.paper_nodes import NETWORK, account_of
from tests.fixtures.postgres import Postgres
from tests.fixtures.statements import document_statement, stored_document
from tests.fixtures.stores import source
from tests.unit.cli.support import failure, make_member, run

OWNER = f"{account_of('Mine')} {NETWORK.directory} {NETWORK.notary}"


@pytest.fixture
def data(tmp_path: Path, new_sqlite: NewSqlite) -> Path:
    """A node's data folder with one document."""
    folder = tmp_path / "data"
    folder.mkdir()
    url = new_sqlite(folder / "docex.db")

    async def fill() -> None:
        engine = make_engine(url)
        store = SqlStore(engine)
        await store.belong_to(OWNER)
        said = document_statement("a.txt")
        stored = await store.add_document(stored_document(said), [said])
        blobs = LocalStore(folder / "packets")
        await blobs.put(stored.blob, source(b"packet"))
        await blobs.close()
        await engine.dispose()

    asyncio.run(fill())
    return folder


def fsck(data: Path, *arguments: str) -> Result:
    return run("fsck", "--data", data, "--keystore", data / "none", *arguments)


def damage(data: Path, sql: str) -> None:
    with closing(sqlite3.connect(data / "docex.db")) as connection, connection:
        connection.execute(sql)


def test_a_sound_node(data: Path) -> None:
    result = fsck(data)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "  documents          1",
        "  packets            1",
        "  statements         1",
        "  statements queued  1",
        "All that was acknowledged is stored, and anchored or queued.",
    ]
    report = json.loads(fsck(data, "--json").stdout)
    assert report["counts"] == {"documents": 1, "packets": 1, "statements": 1, "statements_queued": 1}
    assert (report["found"], report["repaired"], report["findings"], report["remaining"]) == ({}, {}, [], 0)


def test_an_empty_node(data: Path) -> None:
    for table in ("documents", "statements"):
        damage(data, f"DELETE FROM {table}")
    result = fsck(data)
    assert result.exit_code == 0
    assert "packets_just_stored" in json.loads(fsck(data, "--json").stdout)["counts"]


def test_findings_end_in_1_and_a_repair_that_leaves_none_in_0(data: Path) -> None:
    damage(data, "UPDATE documents SET newest = 0")
    result = fsck(data)
    assert result.exit_code == 1
    assert result.stdout.startswith("newest_version: a.txt: not exactly the last version is marked as the newest\n\n")
    assert result.stdout.endswith("1 findings, 0 of them repaired.\n")
    assert result.stderr == "--repair makes again what can be derived.\n"
    result = fsck(data, "--repair")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("repaired: newest_version: a.txt: ")
    assert fsck(data).exit_code == 0


def test_what_can_t_be_derived_stays(data: Path) -> None:
    for packet in (data / "packets" / "documents").rglob("*.age"):
        packet.unlink()
    result = fsck(data, "--repair")
    assert result.exit_code == 1
    assert result.stdout.startswith("packet_missing: a.txt version 1: its packet ")
    report = json.loads(fsck(data, "--json").stdout)
    assert report["findings"][0] == {
        "code": "packet_missing",
        "subject": "a.txt version 1",
        "message": report["findings"][0]["message"],
        "repaired": False,
        "repairable": False,
    }


def test_findings_beyond_those_that_are_listed_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    command._show(Report({}, {"job": 5}, {}, (Finding(Code.JOB, "job \x1b[2J", "why"),)), repair=False)
    assert capsys.readouterr().out == "job: job \\x1b[2J: why\n… and 4 more\n\n5 findings, 0 of them repaired.\n"


def test_where_there_is_no_node(tmp_path: Path, data: Path) -> None:
    assert "there is no database at" in failure(fsck(tmp_path / "nowhere"), "usage", 2)
    assert not (tmp_path / "nowhere").exists()
    damage(data, "DELETE FROM owner")
    assert "no node has used" in failure(fsck(data), "usage", 2)
    damage(data, "ALTER TABLE documents DROP COLUMN packet_size")
    assert "is no node's database of this version" in failure(fsck(data), "usage", 2)
    assert "setting port" in failure(run("fsck", "--data", data, DOCEX_PORT="none"), "usage", 2)


def test_a_ledger_that_is_away(data: Path) -> None:
    failure(fsck(data, "--ledger", "--rpc", "http://127.0.0.1:1"), "ledger_unavailable")


async def kept(**settings: Any) -> bool:
    async with kept_by_node(NodeSettings(**settings)) as node:
        return node.opens


async def test_whether_a_node_opens_packets_shows_in_its_keystore(data: Path, tmp_path: Path) -> None:
    member = make_member(tmp_path, "Mine")
    assert await kept(data=data, keystore=member.keystore)
    assert not await kept(data=data, keystore=tmp_path / "none")


async def test_no_database_password_is_shown(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.url(postgres.create())
    result = await asyncio.to_thread(
        lambda: run("fsck", "--data", tmp_path, DOCEX_DATABASE=url.replace("@/", ":a-secret@/", 1))
    )
    assert "is no node's database of this version" in failure(result, "usage", 2)
    assert ":***@" in result.stderr
    assert "a-secret" not in result.output
