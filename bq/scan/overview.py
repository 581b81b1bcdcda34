"""What is known of scans as wholes: how far one is, which was the last, what failed, what stands on top.

Rules of this file: reading through a store; blocking, like it.
"""

import datetime as dt
from typing import NamedTuple

from sqlalchemy import func, select

from bq.scan.records import ScanSummary
from bq.scan.store import Store, summary
from bq.scan.tables import results, scans


def find(store: Store, scan_id: str) -> ScanSummary | None:
    """Tell of one scan; None when there is none."""
    with store.database.read() as connection:
        row = connection.execute(select(scans).where(scans.c.scan_id == scan_id)).mappings().first()
        return None if row is None else summary(connection, row)


def last_completed(store: Store, market: str) -> ScanSummary | None:
    """Tell of the scan of a market that was completed last."""
    query = (
        select(scans)
        .where(scans.c.market == market, scans.c.status == "completed")
        .order_by(scans.c.finished_at.desc())
        .limit(1)
    )
    with store.database.read() as connection:
        row = connection.execute(query).mappings().first()
        return None if row is None else summary(connection, row)


def last_start(store: Store, market: str, universe: str) -> dt.datetime | None:
    """Tell when a universe of a market was last begun to be scanned, whatever came of it."""
    query = select(func.max(scans.c.started_at)).where(scans.c.market == market, scans.c.universe == universe)
    with store.database.read() as connection:
        started: dt.datetime | None = connection.execute(query).scalar()
        return started


def failures(store: Store, scan_id: str) -> dict[str, int]:
    """Count the tickers of a scan that came to a problem, by its code, most frequent first."""
    query = (
        select(results.c.error_code, func.count())
        .where(results.c.scan_id == scan_id, results.c.error_code.is_not(None))
        .group_by(results.c.error_code)
        .order_by(func.count().desc(), results.c.error_code)
    )
    with store.database.read() as connection:
        return {code: count for code, count in connection.execute(query)}


class Failed(NamedTuple):
    """A ticker without an analysis, and why."""

    ticker: str
    code: str
    error: str


def failed(store: Store, scan_id: str, limit: int) -> list[Failed]:
    """Give tickers that came to a problem, by code and symbol."""
    query = (
        select(results.c.ticker, results.c.error_code, results.c.error)
        .where(results.c.scan_id == scan_id, results.c.error_code.is_not(None))
        .order_by(results.c.error_code, results.c.ticker)
        .limit(limit)
    )
    with store.database.read() as connection:
        return [Failed(*row) for row in connection.execute(query)]
