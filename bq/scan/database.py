"""Opening a database: SQLite with a write-ahead log, or PostgreSQL with a pool; the same transactions on both.

Rules of this file: it knows no table. A database that does not answer is `storage_failed`, whatever the driver calls
it; the log says what the driver said.
"""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url

from bq.config import Settings
from bq.errors import Failure, Problem, bad_request

_log = logging.getLogger(__name__)

FILE: Final = "scans.db"  # in the state directory
WAIT_S: Final = 10  # for the lock of another writer, for a connection, and for the pool to have one free
STATEMENT_S: Final = 60  # after which PostgreSQL gives a statement up
POOL: Final = 5  # connections that are kept
OVERFLOW: Final = 5  # and more at a time

UNREACHABLE: Final = "The database of scans does not answer at the moment; analyses go on without it."
_UNAVAILABLE: Final = (exc.OperationalError, exc.InterfaceError, exc.TimeoutError)


def url_of(settings: Settings) -> str:
    """Give the database that the settings name: `DATABASE_URL`, or a file in the state directory."""
    return settings.database_url or f"sqlite:///{Path(settings.state_dir) / FILE}"


def parse(url: str) -> URL:
    """Read a database's URL; Heroku's `postgres://` is understood.

    Raises
    ------
    Failure
        With `bad_request`, when it cannot be read or names another kind of database. The text never holds the URL:
        it may hold a password.
    """
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        raise Failure(
            bad_request("The database's URL cannot be read; sqlite:///FILE or postgresql://... can.")
        ) from None
    if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        if not parsed.database or parsed.database == ":memory:":
            raise Failure(bad_request("The database's URL names no file: sqlite:///FILE does."))
        return parsed.set(drivername="sqlite+pysqlite")
    raise Failure(bad_request(f"The database is {parsed.drivername!r}; sqlite and postgresql are known."))


class Database:
    """A pool of connections and the transactions on them; may be used from several threads."""

    def __init__(self, url: str) -> None:
        parsed = parse(url)
        self.is_sqlite = parsed.drivername.startswith("sqlite")
        self.engine = _sqlite(parsed) if self.is_sqlite else _postgresql(parsed)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads: what it sees does not change while it lasts (SQLite)."""
        with _translated(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that writes; it is on disk when the block ends, and nothing is if the block raises."""
        with (
            _translated(),
            self.engine.connect().execution_options(writes=True) as connection,
            connection.begin(),
        ):
            yield connection

    def close(self) -> None:
        """Close the connections that are not in use."""
        self.engine.dispose()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except exc.SQLAlchemyError as error:
        # A plain DatabaseError is what sqlite3 calls a file that is damaged or none of its own.
        if not isinstance(error, _UNAVAILABLE) and type(error) is not exc.DatabaseError:
            raise
        _log.warning("the database failed: %s", str(getattr(error, "orig", None) or error).strip().splitlines()[0])
        raise Failure(Problem("storage_failed", UNREACHABLE, 5.0)) from error


def _sqlite(url: URL) -> Engine:
    assert url.database is not None
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _log.warning("the folder of the database cannot be made: %s", error)
        raise Failure(Problem("storage_failed", UNREACHABLE, 5.0)) from error
    engine = create_engine(url, connect_args={"timeout": WAIT_S}, pool_size=POOL, max_overflow=OVERFLOW)

    @event.listens_for(engine, "connect")
    def connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver begins no transaction of its own
        # FULL: a commit is on the disk when it returns, which is what "recorded" promises.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={WAIT_S * 1000}"):
            connection.execute(f"PRAGMA {pragma}").fetchall()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads before it writes cannot wait for another writer unless it took the lock at once.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(url: URL) -> Engine:
    try:
        engine = create_engine(
            url,
            pool_size=POOL,
            max_overflow=OVERFLOW,
            pool_timeout=WAIT_S,
            pool_pre_ping=True,  # a server that was restarted costs nobody an error
            pool_recycle=1800,
            # Poolers in front that hand connections out by transaction know no prepared statements.
            connect_args={"connect_timeout": WAIT_S, "application_name": "butterquant", "prepare_threshold": None},
        )
    except ImportError as error:
        text = "PostgreSQL needs psycopg: pip install 'psycopg[binary]'."
        raise Failure(Problem("storage_failed", text)) from error

    @event.listens_for(engine, "connect")
    def connect(connection: Any, record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET statement_timeout = '{STATEMENT_S}s'")
        connection.commit()

    return engine
