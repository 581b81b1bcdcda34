"""The right to scan into a database: one process at a time, and none that has died.

Rules of this file: blocking, like the store. Two processes that scanned at once would do the same work twice (a server
that takes up what a command is doing); nothing would be lost by it, so a claim that a failing database let go of is
only missed, not an error.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from bq.scan.database import Database

_KEY: Final = 0x62715F7363616E  # "bq_scan": of the advisory lock


class Claim:
    """A claim that was taken; it ends with `release` or with the process, however that ends."""

    def __init__(self, release: Callable[[], None]) -> None:
        self._release = release

    @classmethod
    def take(cls, database: Database) -> "Claim | None":
        """Take the claim, or give None where another process has it.

        A lock on a file beside an SQLite database, an advisory lock in PostgreSQL: both go with whoever held them.

        Raises
        ------
        Failure
            `storage_failed`, when the database does not answer.
        """
        if database.is_sqlite:
            return _locked_file(Path(f"{database.engine.url.database}.scanning"))
        with database.read():  # so that a database that is down is told of as everywhere
            pass
        return _advisory_lock(database.engine.connect())

    def release(self) -> None:
        """Let another process scan."""
        self._release()


def _locked_file(path: Path) -> Claim | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return Claim(lambda: os.close(descriptor))


def _advisory_lock(connection: Connection) -> Claim | None:
    taken = connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _KEY}).scalar()
    connection.commit()
    if not taken:
        connection.close()
        return None

    def release() -> None:
        try:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _KEY})
            connection.commit()
        except SQLAlchemyError:
            connection.invalidate()  # the server is gone, and the lock with it
        connection.close()

    return Claim(release)
