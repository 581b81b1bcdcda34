"""Migrations: from nothing to what the tables say, once, and never over a newer database."""

import threading

import pytest
from alembic import command, config
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from bq.errors import Failure
from bq.scan import migrate
from bq.scan.database import Database
from bq.scan.store import Store
from bq.scan.tables import metadata


@pytest.fixture
def database(url: str):
    database = Database(url)
    yield database
    database.close()


@pytest.mark.parametrize("migrated", [False, True])
def test_an_empty_database_becomes_what_the_tables_say(database: Database, migrated: bool) -> None:
    """All at once, and step by step from a database that has had its first migration only."""
    if migrated:
        settings = config.Config()
        settings.set_main_option("script_location", str(migrate.SCRIPTS))
        with database.write() as connection:
            settings.attributes["connection"] = connection
            command.upgrade(settings, "0001")
    assert migrate.upgrade(database)
    assert not migrate.upgrade(database)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert migrate.revision(connection) == migrate.HEAD


def test_tables_of_somebody_else_are_not_taken_for_an_empty_database(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("CREATE TABLE theirs (x INTEGER)"))
    assert migrate.upgrade(database)
    with database.read() as connection:
        names = set(inspect(connection).get_table_names())
        assert names == {"theirs", "alembic_version", *metadata.tables}


def test_the_revision_that_the_code_wants_is_the_newest() -> None:
    settings = config.Config()
    settings.set_main_option("script_location", str(migrate.SCRIPTS))
    assert ScriptDirectory.from_config(settings).get_current_head() == migrate.HEAD


def test_it_can_be_taken_back_and_made_again(database: Database) -> None:
    migrate.upgrade(database)
    settings = config.Config()
    settings.set_main_option("script_location", str(migrate.SCRIPTS))
    with database.write() as connection:
        settings.attributes["connection"] = connection
        command.downgrade(settings, "base")
    with database.read() as connection:
        assert set(inspect(connection).get_table_names()) == {"alembic_version"}
    assert migrate.upgrade(database)


def test_several_processes_may_open_a_new_database_at_once(url: str) -> None:
    failures = []

    def work() -> None:
        try:
            Store.open(url).close()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_database_of_a_newer_version_is_left_alone(database: Database) -> None:
    migrate.upgrade(database)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Failure, match="revision 9999"):
        migrate.upgrade(database)
