"""The store of scans: what was asked, what came of each ticker, and what is not done yet.

Rules of this file: writing, and what a scanner needs to go on. Blocking: call it from a worker thread, never from the
event loop; one store may be used from several threads. What was recorded is on disk when the call returns, and
recording the same rows again changes nothing. A database that does not answer raises `Failure` with `storage_failed`;
nothing of that call was written then. Reading for people: `rankings.py`, `history.py`, `export.py`.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Table, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from bq.errors import Failure, Problem
from bq.scan import migrate, standings
from bq.scan.database import Database
from bq.scan.packing import CODEC, pack
from bq.scan.records import FinalStatus, ScanRow, ScanSpec, ScanSummary, ScanTicker
from bq.scan.surface import iv_level_rows, surface_rows
from bq.scan.tables import answers, iv_levels, results, scans, surfaces
from bq.scan.wide import moment, wide_row


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Store:
    """Scans in a database.

    Parameters
    ----------
    database
        Open, and up to date: `Store.open` sees to both.
    now
        The present, aware.
    """

    def __init__(self, database: Database, now: Callable[[], dt.datetime] = _now) -> None:
        self.database = database
        self._now = now

    @classmethod
    def open(cls, url: str, now: Callable[[], dt.datetime] = _now) -> "Store":
        """Open a database and bring it up to date.

        Parameters
        ----------
        url
            `sqlite:///FILE` (made when it is missing) or `postgresql://...` (also `postgres://`).

        Raises
        ------
        Failure
            `bad_request` for a URL that cannot be read, `storage_failed` when the database does not answer.
        """
        database = Database(url)
        try:
            migrate.upgrade(database)
        except BaseException:
            database.close()
            raise
        return cls(database, now)

    def close(self) -> None:
        """Close the connections."""
        self.database.close()

    def begin(self, scan: ScanSpec) -> None:
        """Note that a scan has begun. The same scan again changes nothing, also when it is finished."""
        row = {
            "scan_id": scan.scan_id,
            "universe": scan.universe,
            "market": scan.market,
            "as_of": scan.as_of,
            "tickers": msgspec.json.encode(scan.tickers).decode(),
            "total": len(scan.tickers),
            "status": "running",
            "started_at": scan.started_at,
        }
        with self.database.write() as connection:
            connection.execute(self.insert(scans).on_conflict_do_nothing(), row)

    def record(self, scan_id: str, rows: Sequence[ScanRow]) -> None:
        """Store what came of some tickers, all or nothing; a ticker's later row replaces its earlier one.

        Raises
        ------
        Failure
            `not_found` for a scan that has not begun, `conflict` for one that is finished: its rows stay as they are.
        ValueError
            For a ticker that the scan was not asked for.
        """
        now = self._now()
        wide = [_result_row(row, now) for row in rows]
        packed = [_answer_row(row) for row in rows if row.data is not None]
        analyses = [row.analysis for row in rows if row.analysis is not None]
        surface = [one for analysis in analyses for one in surface_rows(analysis)]
        iv = [one for analysis in analyses for one in iv_level_rows(analysis)]
        with self.database.write() as connection:
            tags = self._tags_of_running(connection, scan_id)
            for row in wide:
                if row["ticker"] not in tags:
                    raise ValueError(f"{row['ticker']} is not in scan {scan_id}")
                row |= {"scan_id": scan_id, "tags": join_tags(tags[row["ticker"]])}
            self.upsert(connection, results, wide)
            failed = [row["ticker"] for row in wide if row["error_code"] is not None]
            connection.execute(delete(answers).where(answers.c.scan_id == scan_id, answers.c.ticker.in_(failed)))
            self.upsert(connection, answers, [{"scan_id": scan_id, **row} for row in packed])
            self.upsert(connection, surfaces, surface, newest="quoted_at")
            self.upsert(connection, iv_levels, iv, newest="quoted_at")

    def finish(self, scan_id: str, status: FinalStatus, finished_at: dt.datetime) -> None:
        """Note that a scan has ended, and rank what it found; its rows stay as they are from now on.

        The same again changes nothing.
        """
        with self.database.read() as connection:  # the long part, before anything is locked
            closes = standings.closes_of(connection, scan_id)
        with self.database.write() as connection:
            data_at = select(func.max(results.c.analysis_at)).where(results.c.scan_id == scan_id).scalar_subquery()
            ended = connection.execute(
                update(scans)
                .where(scans.c.scan_id == scan_id, scans.c.status == "running")
                .values(status=status, finished_at=finished_at, data_at=data_at)
            )
            if ended.rowcount:
                standings.write(connection, scan_id, closes)

    def spec(self, scan_id: str) -> ScanSpec | None:
        """Give a scan as it was asked for, whatever came of it; None when there is none."""
        with self.database.read() as connection:
            row = connection.execute(select(scans).where(scans.c.scan_id == scan_id)).mappings().first()
            return None if row is None else _spec(row)

    def unfinished(self) -> list[ScanSpec]:
        """Give the scans that have begun and not ended, oldest first."""
        query = select(scans).where(scans.c.status == "running").order_by(scans.c.started_at, scans.c.scan_id)
        with self.database.read() as connection:
            return [_spec(row) for row in connection.execute(query).mappings()]

    def done(self, scan_id: str) -> set[str]:
        """Give the tickers of a scan that have their row, be it an analysis or a problem."""
        with self.database.read() as connection:
            return set(connection.execute(select(results.c.ticker).where(results.c.scan_id == scan_id)).scalars())

    def latest(self) -> ScanSummary | None:
        """Tell of the scan that began last, whatever became of it; what was imported was never begun here."""
        query = (
            select(scans)
            .where(scans.c.status != "imported")
            .order_by(scans.c.started_at.desc(), scans.c.scan_id.desc())
            .limit(1)
        )
        with self.database.read() as connection:
            row = connection.execute(query).mappings().first()
            return None if row is None else summary(connection, row)

    # --- what other modules of this folder write with ----------------------------------------------------------------

    def insert(self, table: Table) -> Any:
        """Begin an INSERT that may say ON CONFLICT."""
        return (sqlite if self.database.is_sqlite else postgresql).insert(table)

    def upsert(
        self, connection: Connection, table: Table, rows: Sequence[dict[str, Any]], newest: str | None = None
    ) -> None:
        """Insert rows, or replace those with the same primary key (unless what is there has a later `newest`)."""
        if not rows:
            return
        statement = self.insert(table)
        key = [column.name for column in table.primary_key]
        changes = {name: statement.excluded[name] for name in rows[0] if name not in key}
        where = None if newest is None else statement.excluded[newest] >= table.c[newest]
        connection.execute(statement.on_conflict_do_update(index_elements=key, set_=changes, where=where), rows)

    def _tags_of_running(self, connection: Connection, scan_id: str) -> dict[str, tuple[str, ...]]:
        """Read a running scan's tickers, and keep it from being finished until this transaction ends."""
        query = select(scans.c.status, scans.c.tickers).where(scans.c.scan_id == scan_id).with_for_update(read=True)
        found = connection.execute(query).first()
        if found is None:
            raise Failure(Problem("not_found", f"There is no scan {scan_id}."))
        if found.status != "running":
            raise Failure(Problem("conflict", f"Scan {scan_id} is {found.status}: its rows stay as they are."))
        return {one.ticker: one.tags for one in _tickers(found.tickers)}


def _tickers(text: str) -> tuple[ScanTicker, ...]:
    return msgspec.json.decode(text, type=tuple[ScanTicker, ...])


def _spec(row: Any) -> ScanSpec:
    return ScanSpec(
        scan_id=row["scan_id"],
        universe=row["universe"],
        tickers=_tickers(row["tickers"]),
        as_of=row["as_of"],
        started_at=row["started_at"],
        market=row["market"],
    )


def summary(connection: Connection, row: Any) -> ScanSummary:
    """Tell of a scan how far it is."""
    counted = select(func.count(), func.count(results.c.error_code)).where(results.c.scan_id == row["scan_id"])
    done, failed = connection.execute(counted).one()
    return ScanSummary(
        scan_id=row["scan_id"],
        universe=row["universe"],
        market=row["market"],
        as_of=row["as_of"],
        status=row["status"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        total=row["total"],
        done=done,
        failed=failed,
    )


def join_tags(tags: Sequence[str]) -> str:
    """Write tags so that one can be looked for: "|NASDAQ|SP500|"; nothing for none."""
    return f"|{'|'.join(tags)}|" if tags else ""


def split_tags(text: str) -> list[str]:
    """Read what `join_tags` wrote."""
    return [tag for tag in text.split("|") if tag]


EMPTY: Final[dict[str, Any]] = {
    column.name: None for column in results.c if column.name not in ("scan_id", "ticker", "tags")
}


def _result_row(row: ScanRow, now: dt.datetime) -> dict[str, Any]:
    """Make the wide row; every column is named, so that a later row clears what an earlier one had."""
    base = EMPTY | {"ticker": row.ticker, "recorded_at": now}
    if row.problem is not None:
        return base | {"error_code": row.problem.code, "error": row.problem.error}
    assert row.analysis is not None
    return base | wide_row(row.analysis) | {"analysis_at": moment(row.analysis)}


def _answer_row(row: ScanRow) -> dict[str, Any]:
    assert row.data is not None
    return {"ticker": row.ticker, "codec": CODEC, "size": len(row.data), "body": pack(row.data)}
