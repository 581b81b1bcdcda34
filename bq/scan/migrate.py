"""Bringing a database up to date, in one transaction; what is up to date already costs one query and no import.

Rules of this file: it runs what stands in `migrations/versions`; `tables.py` says what must come of it.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from bq.errors import Failure, Problem
from bq.scan.database import Database

HEAD: Final = "0002"
"""The revision that this version of the code wants; a test compares it with the newest migration."""
SCRIPTS: Final = Path(__file__).parent / "migrations"
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
        if revision(connection) == HEAD:
            return False
    from alembic import command, config, script

    settings = config.Config()
    settings.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    known = {one.revision for one in script.ScriptDirectory.from_config(settings).walk_revisions()}
    with database.write() as connection:
        if not database.is_sqlite:  # several processes may start at once; SQLite's transaction has the lock already
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        found = revision(connection)
        if found is not None and found not in known:
            text_ = (
                f"The database of scans has revision {found}, which this version does not know. Install a newer one."
            )
            raise Failure(Problem("storage_failed", text_))
        settings.attributes["connection"] = connection
        command.upgrade(settings, "head")
    return True
