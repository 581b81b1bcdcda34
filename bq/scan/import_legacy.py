"""Taking the results of ButterQuant v4.1 into the store: a scan a day, marked as imported, every row counted.

Rules of this file: what may be believed is for `legacy.py` to say. An imported scan is never the ranking, nor what a
ranking is compared with: its scores mean something else. Importing the same file again changes nothing.
"""

import datetime as dt
import zlib
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bq.market import calendar
from bq.scan import legacy, standings
from bq.scan.legacy import Found
from bq.scan.packing import LEGACY, LEVEL
from bq.scan.records import ScanTicker
from bq.scan.store import EMPTY, Store, join_tags
from bq.scan.tables import answers, results, scans

BATCH = 64
MARKET = "yahoo"


class Imported(NamedTuple):
    """What came of the rows of a file."""

    rows: int
    taken: int
    scans: int
    skipped: Counter[str]
    """By reason of `legacy.REASONS`."""


def import_file(store: Store, path: Path, zone: dt.tzinfo, now: dt.datetime) -> Imported:
    """Import a file; it is read twice, so that no more than a batch of results is in memory.

    Raises
    ------
    Failure
        As `legacy.read`, and `storage_failed`.
    """
    skipped: Counter[str] = Counter()
    chosen: dict[tuple[str, dt.date], Found] = {}
    rows = 0
    for found in legacy.read(path, zone):
        rows += 1
        if found.reason is not None or found.at is None:
            skipped[found.reason or "unreadable"] += 1
            continue
        key = (found.ticker, found.at.astimezone(zone).date())
        other = chosen.get(key)
        if other is None:
            chosen[key] = found._replace(row=None, original=None)
        else:
            skipped["same_result" if other.at == found.at and other.table != found.table else "superseded"] += 1
            if found.at > other.at:  # type: ignore[operator]
                chosen[key] = found._replace(row=None, original=None)
    days = _days(chosen)
    wanted = {(one.table, one.number) for one in chosen.values()}
    for day, tickers in days.items():
        _begin(store, day, tickers)
    believed = (one for one in legacy.read(path, zone) if (one.table, one.number) in wanted)
    while batch := list(islice(believed, BATCH)):
        _write(store, batch, zone, now)
    for day in days:
        with store.database.write() as connection:
            standings.write(connection, _scan_id(day), {})
    return Imported(rows, len(chosen), len(days), skipped)


def _days(chosen: dict[tuple[str, dt.date], Found]) -> dict[dt.date, list[Found]]:
    days: dict[dt.date, list[Found]] = {}
    for (_, day), found in sorted(chosen.items(), key=lambda one: (one[0][1], one[0][0])):
        days.setdefault(day, []).append(found)
    return days


def _scan_id(day: dt.date) -> str:
    return f"v4.1-{day.isoformat()}"


def _begin(store: Store, day: dt.date, tickers: Iterable[Found]) -> None:
    found = list(tickers)
    moments = [one.at for one in found if one.at is not None]
    row = {
        "scan_id": _scan_id(day),
        "universe": "v4.1",
        "market": MARKET,
        "as_of": "",
        "tickers": msgspec.json.encode([ScanTicker(one.ticker, one.tags) for one in found]).decode(),
        "total": len(found),
        "status": "imported",
        "started_at": min(moments),
        "finished_at": max(moments),
        "data_at": max(moments),
    }
    with store.database.write() as connection:
        store.upsert(connection, scans, [row])


def _write(store: Store, batch: list[Found], zone: dt.tzinfo, now: dt.datetime) -> None:
    wide: list[dict[str, Any]] = []
    packed: list[dict[str, Any]] = []
    for one in batch:
        assert one.at is not None
        assert one.row is not None
        key = {"scan_id": _scan_id(one.at.astimezone(zone).date()), "ticker": one.ticker}
        marks = {"source": MARKET, "engine_version": "4.1", "day": calendar.as_date(calendar.session_at(one.at))}
        wide.append(
            EMPTY | key | {"tags": join_tags(one.tags), "recorded_at": now, "analysis_at": one.at} | marks | one.row
        )
        if one.original is not None:
            body = zlib.compress(one.original, LEVEL)
            packed.append(key | {"codec": LEGACY, "size": len(one.original), "body": body})
    with store.database.write() as connection:
        store.upsert(connection, results, wide)
        store.upsert(connection, answers, packed)
