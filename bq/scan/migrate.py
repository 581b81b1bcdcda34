"""Bringing a database up to date, in one transaction; an empty or a current one without the machinery of migrations.

Rules of this file: it runs what stands in `migrations/versions`; `tables.py` says what must come of it.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, text

from bq.errors import Failure, Problem
from bq.scan.database import Database
from bq.scan.tables import metadata

HEAD: Final = "0002"
"""The revision that this version of the code wants; a test compares it with the newest migration."""
SCRIPTS: Final = Path(__file__).parent / "migrations"
_VERSION: Final = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
_LOCK: Final = 0x6271_7363_616E  # of PostgreSQL: "bqscan"


def revision(connection: Connection) -> str | None:
    """Read which revision a database has; None when it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def upgrade(database: Database) -> bool:
    """Bring a database up to date; say whether there was anything to do.

    Raises
    ------
    Failure
        `storage_failed`, when a newer version has written it: it is left as it is.
    """
    with database.read() as connection:
        found = revision(connection)
    if found == HEAD:
        return False
    if found is None and _make(database):
        return True
    from alembic import command, config, script

    settings = config.Config()
    settings.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    known = {one.revision for one in script.ScriptDirectory.from_config(settings).walk_revisions()}
    with database.write() as connection:
        _lock(database, connection)
        found = revision(connection)
        if found is not None and found not in known:
            text_ = (
                f"The database of scans has revision {found}, which this version does not know. Install a newer one."
            )
            raise Failure(Problem("storage_failed", text_))
        settings.attributes["connection"] = connection
        command.upgrade(settings, "head")
    return True


def _make(database: Database) -> bool:
    """Make all tables in an empty database, as the migrations would (a test compares), in half a second less."""
    with database.write() as connection:
        _lock(database, connection)
        if inspect(connection).get_table_names():  # another process was faster, or these tables are not ours
            return False
        metadata.create_all(connection)
        _VERSION.create(connection)
        connection.execute(_VERSION.insert().values(version_num=HEAD))
    return True


def _lock(database: Database, connection: Connection) -> None:
    """Let one process at a time change the tables; SQLite's transaction has the lock already."""
    if not database.is_sqlite:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
