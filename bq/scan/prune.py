"""What the store forgets: whole answers first, then rows of numbers, last the surface.

Rules of this file: it deletes, one scan a transaction, and says what. The latest complete scan of each universe, which
is a ranking, stays whatever its age; so does one that runs.
"""

import datetime as dt
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select

from bq.scan.database import Database
from bq.scan.records import Keep
from bq.scan.tables import answers, iv_levels, results, scans, surfaces


class Pruned(NamedTuple):
    """What was deleted, or would be."""

    answers: int
    answer_bytes: int
    scans: int
    rows: int
    surface_rows: int


def prune(database: Database, now: dt.datetime, keep: Keep, *, dry_run: bool = False) -> Pruned:
    """Delete what is older than it is to be kept.

    Parameters
    ----------
    now : datetime
        Aware.
    dry_run : bool
        Only count.
    """
    day = dt.timedelta(days=1)
    with database.read() as connection:
        rankings = _rankings(connection)
        old = [one for one in _older(connection, now - keep.rows * day) if one not in rankings]
        dull = [one for one in _older(connection, now - keep.answers * day) if one not in rankings]
        count, size = _answers(connection, dull)
        rows = sum(_rows(connection, one) for one in old)
        before = (now - keep.surface * day).date()
        surface = sum(
            connection.execute(select(func.count()).select_from(table).where(table.c.day < before)).scalar_one()
            for table in (surfaces, iv_levels)
        )
    if not dry_run:
        for scan_id in dull:
            with database.write() as connection:
                connection.execute(delete(answers).where(answers.c.scan_id == scan_id))
        for scan_id in old:
            with database.write() as connection:
                connection.execute(delete(scans).where(scans.c.scan_id == scan_id))  # and its rows with it
        with database.write() as connection:
            for table in (surfaces, iv_levels):
                connection.execute(delete(table).where(table.c.day < before))
        _give_back(database)
    return Pruned(count, size, len(old), rows, surface)


def _rankings(connection: Connection) -> set[str]:
    """Name the latest complete scan of each market and universe."""
    query = (
        select(scans.c.market, scans.c.universe, scans.c.scan_id)
        .where(scans.c.status == "completed", scans.c.data_at.is_not(None))
        .order_by(scans.c.data_at, scans.c.started_at, scans.c.scan_id)
    )
    return set({(row.market, row.universe): row.scan_id for row in connection.execute(query)}.values())


def _older(connection: Connection, moment: dt.datetime) -> list[str]:
    """Name the scans that ended before a moment, oldest first."""
    ended = scans.c.finished_at
    query = select(scans.c.scan_id).where(scans.c.status != "running", ended < moment).order_by(ended, scans.c.scan_id)
    return list(connection.execute(query).scalars())


def _answers(connection: Connection, scan_ids: list[str]) -> tuple[int, int]:
    count = size = 0
    for scan_id in scan_ids:
        query = select(func.count(), func.coalesce(func.sum(func.length(answers.c.body)), 0))
        one, packed = connection.execute(query.where(answers.c.scan_id == scan_id)).one()
        count, size = count + one, size + int(packed)
    return count, size


def _rows(connection: Connection, scan_id: str) -> int:
    return connection.execute(
        select(func.count()).select_from(results).where(results.c.scan_id == scan_id)
    ).scalar_one()


def _give_back(database: Database) -> None:
    """Let SQLite's file shrink; PostgreSQL sees to itself."""
    if database.is_sqlite:
        connection = database.engine.raw_connection()  # VACUUM stands in no transaction
        try:
            for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                connection.cursor().execute(statement).fetchall()
        finally:
            connection.close()
