"""Connections and migrations."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from docex.db import one_hop, parts
from docex.db.engine import Sessions, make_engine, upgrade
from docex.db.models import Base, JobRow
from docex.errors import DatabaseUnavailable
from tests.fixtures.postgres import Postgres


def synchronous(url: str) -> str:
    return url.replace("+aiosqlite", "")


def test_the_migrations_make_what_the_models_say(database_url: str) -> None:
    engine = create_engine(synchronous(database_url))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": parts.mapped})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_the_first_migration_can_be_taken_back(database_url: str) -> None:
    from importlib import import_module, resources

    from alembic.operations import Operations

    assert resources.files("docex.db.migrations.versions")
    initial = import_module("docex.db.migrations.versions.0001_initial_tables")
    engine = create_engine(synchronous(database_url))
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        initial.downgrade()
        assert inspect(connection).get_table_names() == ["alembic_version"]
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        folder = tmp_path / "Müller & 100% ä b"
        folder.mkdir()
        yield f"sqlite+aiosqlite:///{folder / 'docex.db'}"
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        yield postgres.url(postgres.create())


async def test_an_upgrade_from_several_processes_at_once_is_one(empty_url: str) -> None:
    code = "import asyncio, sys; from docex.db.engine import upgrade; asyncio.run(upgrade(sys.argv[1]))"
    others = [subprocess.Popen([sys.executable, "-c", code, empty_url]) for _ in range(2)]
    await asyncio.gather(*(upgrade(empty_url) for _ in range(3)))
    assert [each.wait(60) for each in others] == [0, 0]
    engine = make_engine(empty_url)
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT version_num FROM alembic_version"))).all() == [("0001",)]
        tables = await connection.run_sync(lambda it: set(inspect(it).get_table_names()))
        assert set(Base.metadata.tables) <= tables
    await engine.dispose()


async def test_an_upgrade_of_what_is_current_changes_nothing(database_url: str) -> None:
    await upgrade(database_url)


# --- sessions --------------------------------------------------------------------------------------------------------


def job(key: str) -> JobRow:
    return JobRow(key=key, kind="open", argument="", attempts=0, peer="", running=False, due=0.0, since=0.0)


async def test_readers_do_not_wait_for_a_writer_and_see_what_was_committed(engine: AsyncEngine) -> None:
    sessions = Sessions(engine)
    async with sessions.writing() as writer:
        writer.add(job("a"))
        await writer.flush()
        async with asyncio.timeout(60), sessions.reading() as reader:
            assert (await reader.scalars(select(JobRow.key))).all() == []
    async with sessions.reading() as reader:
        assert (await reader.scalars(select(JobRow.key))).all() == ["a"]


async def test_nothing_of_a_failed_transaction_is_kept(engine: AsyncEngine) -> None:
    sessions = Sessions(engine)

    async def fail() -> None:
        async with sessions.writing() as session:
            session.add(job("a"))
            await session.flush()
            await session.execute(text("INSERT INTO jobs SELECT * FROM jobs"))

    with pytest.raises(IntegrityError):
        await fail()
    async with sessions.writing() as session:  # the turn was given back
        assert (await session.scalars(select(JobRow.key))).all() == []


async def test_what_can_not_be_committed_is_undone_before_the_connection_is_used_again(engine: AsyncEngine) -> None:
    sessions = Sessions(engine)
    delivery = "INSERT INTO deliveries (transfer, account, position, state, attempts, sent, updated) "
    row = delivery + "VALUES ('nothing', 'nobody', 0, 'pending', 0, 0, 0)"

    async def fail() -> None:
        async with sessions.writing() as session:
            if engine.dialect.name == "sqlite":
                await session.execute(text("PRAGMA defer_foreign_keys = ON"))  # the COMMIT itself is what fails
            await session.execute(text(row))

    with pytest.raises(IntegrityError):
        await fail()
    async with sessions.writing() as session:
        assert await session.scalar(text("SELECT count(*) FROM deliveries")) == 0


async def test_each_transaction_that_reads_sees_what_was_committed_before_it(engine: AsyncEngine) -> None:
    sessions = Sessions(engine)
    for number in range(3):
        async with sessions.writing() as session:
            session.add(job(str(number)))
        async with sessions.reading() as reader:
            assert len((await reader.scalars(select(JobRow.key))).all()) == number + 1
            if engine.dialect.name == "sqlite":  # PostgreSQL reads what is committed, statement by statement
                async with sessions.writing() as session:
                    session.add(job(f"meanwhile {number}"))
                assert len((await reader.scalars(select(JobRow.key))).all()) == number + 1
                async with sessions.writing() as session:
                    await session.execute(text(f"DELETE FROM jobs WHERE key = 'meanwhile {number}'"))


async def test_a_transaction_without_a_statement_is_none(engine: AsyncEngine) -> None:
    sessions = Sessions(engine)
    for use in (sessions.writing, sessions.reading):
        async with use() as session:
            await session.connection()
    async with sessions.writing() as session, asyncio.timeout(60):
        session.add(job("a"))
    async with sessions.reading() as session:
        assert await session.scalar(select(JobRow.key)) == "a"


async def test_writers_that_are_cancelled_give_their_turn_back(engine: AsyncEngine) -> None:
    sessions = Sessions(engine)
    entered = asyncio.Event()

    async def hold() -> None:
        async with sessions.writing() as session:
            session.add(job("a"))
            await session.flush()
            entered.set()
            await asyncio.sleep(60)

    holding = asyncio.create_task(hold())
    await entered.wait()
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    async with asyncio.timeout(60), sessions.writing() as session:
        assert (await session.scalars(select(JobRow.key))).all() == []


def test_a_connection_that_is_given_up_when_its_loop_ends_is_no_error(tmp_path: Path) -> None:
    """pytest makes an error of an exception that a thread ends with."""
    left = []

    async def give_up() -> None:
        connection = await one_hop.connect(str(tmp_path / "db"))
        began, go = threading.Event(), threading.Event()

        def block() -> None:
            began.set()
            go.wait(60)

        connection._tx.put((None, block))
        connection.stop()  # its answer comes when the loop is closed
        left.append((connection._thread, go))
        assert began.wait(60)

    asyncio.run(give_up())
    ((thread, go),) = left
    go.set()
    thread.join(60)
    assert not thread.is_alive()


async def test_writers_of_several_stores_on_one_engine_take_turns(database_url: str) -> None:
    """In SQLite a second writer would wait in the driver; here it waits in line, whichever store it belongs to."""
    engine = make_engine(database_url)
    first, second = Sessions(engine), Sessions(engine)

    async def write(sessions: Sessions, key: str) -> None:
        async with sessions.writing() as session:
            session.add(job(key))

    await asyncio.gather(*(write(first if n % 2 else second, str(n)) for n in range(40)))
    async with first.reading() as session:
        assert len((await session.scalars(select(JobRow.key))).all()) == 40
    await engine.dispose()


async def test_sqlite_is_set_up_to_survive_a_power_cut_and_to_keep_references(new_sqlite_engine: AsyncEngine) -> None:
    async with AsyncSession(new_sqlite_engine) as session:
        pragmas = [
            (await session.execute(text(f"PRAGMA {name}"))).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert pragmas == ["wal", 2, 1]


@pytest.fixture
async def new_sqlite_engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    made = make_engine(f"sqlite+aiosqlite:///{tmp_path / 'x.db'}")
    yield made
    await made.dispose()


async def test_a_database_that_fails_is_said_to_be_unavailable_without_what_it_was_to_keep(tmp_path: Path) -> None:
    (tmp_path / "docex.db").mkdir()
    engine = make_engine(f"sqlite+aiosqlite:///{tmp_path / 'docex.db'}")
    sessions = Sessions(engine)

    async def write() -> None:
        async with sessions.writing() as session:
            session.add(job("secret"))

    async def read() -> None:
        async with sessions.reading() as session:
            await session.execute(text("SELECT 'secret'"))

    for use in (write, read):
        with pytest.raises(DatabaseUnavailable) as caught:
            await use()
        assert str(caught.value) == "the database does not answer, or takes nothing now: try again later"
        assert caught.value.args[1] == "OperationalError: unable to open database file"
    await engine.dispose()
