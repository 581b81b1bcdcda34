"""How fast a ranking and a history come out of a store that holds a hundred thousand rows, and how fast rows go in.

    python -m benchmarks.bench_store [--rows 100000]

On SQLite, and on PostgreSQL where Debian's server is installed. What is timed is the work of the reading thread: query,
rows to structs, JSON; beside it the thread's own time on a core, which other load on the machine disturbs less.
"""

import argparse
import datetime as dt
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from msgspec.structs import replace
from sqlalchemy import func, insert, literal, select

from bq import schema
from bq.analysis import engine
from bq.market import calendar
from bq.market.sample import SampleMarket
from bq.scan import history, rankings
from bq.scan.rankings import Query
from bq.scan.records import ScanRow, ScanSpec, ScanTicker
from bq.scan.store import Store
from bq.scan.tables import iv_levels, results, scans
from bq.schema import Analysis
from tests.scan.postgres import NoServer, Server

NAMES = 500
REPEATS = 40
MOMENT = dt.datetime(2026, 6, 30, 21, tzinfo=dt.UTC)
QUERIES = {
    "ranking, 500 rows": Query(limit=1000),
    "ranking, the first 20": Query(limit=20),
    "filtered by tag and score, sorted by chance": Query(tag="NASDAQ", min_score=50.0, sort="-prob_profit"),
    "one a cluster, 20": Query(per_cluster=1, limit=20),
    "sorted by change, page 5 of 50": Query(sort="-change", limit=50, offset=200),
}


def fill(store: Store, templates: list[Analysis], count: int) -> tuple[float, float]:
    """Store scans, a session each; give the seconds of recording and of finishing all of them."""
    rng = np.random.default_rng(1)
    days = calendar.sessions_between(dt.date(2020, 1, 1), MOMENT.date())[-count:]
    tickers = [f"T{i:03d}" for i in range(NAMES)]
    recording = finishing = 0.0
    for number, day in enumerate(days):
        at = calendar.session_close(day)
        spec = ScanSpec(
            scan_id=f"scan{number:04d}",
            universe="bench",
            tickers=tuple(ScanTicker(name, ("NASDAQ",) if i % 5 == 0 else ()) for i, name in enumerate(tickers)),
            as_of="",
            started_at=at,
            market="sample",
        )
        store.begin(spec)
        rows = []
        for i, name in enumerate(tickers):
            template = templates[i % len(templates)]
            total = round(float(rng.uniform(0.0, 100.0)), 2)
            assert template.extended is not msgspec.UNSET
            parts = replace(
                template.extended.score, interval=schema.ScoreInterval(max(total - 9, 0), min(total + 9, 100))
            )
            one = replace(
                template,
                ticker=name,
                analysis_date=at.strftime("%Y-%m-%d %H:%M:%S"),
                score=replace(template.score, total=total),
                extended=replace(template.extended, score=parts),
            )
            # The whole answer is stored for the last scan only: it is not read here, and takes most of the disk.
            rows.append(ScanRow(name, one, schema.encode(one, "full") if number == count - 1 else b"{}"))
        began = time.perf_counter()
        for start in range(0, NAMES, 32):
            store.record(spec.scan_id, rows[start : start + 32])
        recorded = time.perf_counter()
        store.finish(spec.scan_id, "completed", at)
        recording += recorded - began
        finishing += time.perf_counter() - recorded
        if sys.stderr.isatty():
            print(f"\r{(number + 1) * NAMES} rows", end="", file=sys.stderr)
    return recording, finishing


def copy(store: Store, count: int) -> None:
    """Copy the first scan to earlier sessions, inside of the database: as many rows, without the time to make them."""
    days = calendar.sessions_between(dt.date(2015, 1, 1), MOMENT.date())[-count - 2 : -2]
    moments = {"started_at", "finished_at", "data_at", "analysis_at", "recorded_at", "quoted_at"}
    with store.database.write() as connection:
        for number, day in enumerate(days):
            at = calendar.session_close(day)
            changed = {**dict.fromkeys(moments, at), "scan_id": f"copy{number:04d}", "day": calendar.as_date(day)}
            for table in (scans, results, iv_levels):
                columns = [
                    literal(changed[one.name], one.type).label(one.name) if one.name in changed else one
                    for one in table.columns
                ]
                if "scan_id" in table.c:
                    first = table.c.scan_id == "scan0000"
                else:
                    first = (
                        table.c.day
                        == select(func.min(results.c.day)).where(results.c.scan_id == "scan0000").scalar_subquery()
                    )
                connection.execute(insert(table).from_select(table.columns.keys(), select(*columns).where(first)))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Give the medians of the time and of this thread's own time on a core, in milliseconds."""
    work()
    times, busy = [], []
    for _ in range(REPEATS):
        began, worked = time.perf_counter(), time.thread_time()
        work()
        times.append(1000.0 * (time.perf_counter() - began))
        busy.append(1000.0 * (time.thread_time() - worked))
    return statistics.median(times), statistics.median(busy)


def measure(name: str, url: str, rows: int, templates: list[Analysis]) -> None:
    """Fill a store and time its questions, with one scan and with all."""
    store = Store.open(url)
    recording, finishing = fill(store, templates, 2)
    copy(store, rows // NAMES - 2)
    with store.database.read() as connection:
        stored = connection.execute(select(func.count()).select_from(results)).scalar_one()
    print(f"\n{name}: {stored:,} rows, scans of {NAMES} names")
    print(f"  {2 * NAMES / recording:,.0f} rows a second recorded (in transactions of 32, each on disk)")
    print(f"  {1000.0 * finishing / 2:.0f} ms to rank a scan when it ends")
    for text, query in QUERIES.items():

        def ask(query: Query = query) -> bytes:
            with store.database.read() as connection:
                return msgspec.json.encode(rankings.rank_rows(connection, "sample", query))

        median, busy = timed(ask)
        print(f"  {median:6.2f} ms ({busy:.2f} on a core)  {text}, {len(ask()) / 1024:.0f} KiB")

    def again() -> object:
        with store.database.read() as connection:
            return rankings.source(connection, "sample", Query()).name

    median, busy = timed(again)
    print(f"  {median:6.2f} ms ({busy:.2f} on a core)  the same again: which scans it is made of, the bytes are kept")

    def past() -> bytes:
        with store.database.read() as connection:
            level = history.level(connection, "T250", "sample")
            return msgspec.json.encode((level, history.past_rows(connection, "T250", "sample", 100)))

    median, busy = timed(past)
    print(f"  {median:6.2f} ms ({busy:.2f} on a core)  history of a name, 100 rows with its level of volatility")
    store.close()


def main() -> None:
    """Run both databases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    names = ("AAPL", "MSFT", "NVDA", "SPY", *(f"SIM{i:03d}" for i in range(1, 13)))
    found = engine.analyze(SampleMarket(lambda: MOMENT, as_of=MOMENT).fetch(names))
    templates = [one for one in found if isinstance(one, Analysis)]
    with tempfile.TemporaryDirectory() as folder:
        measure("SQLite", f"sqlite:///{Path(folder) / 'scans.db'}", rows, templates)
    try:
        server = Server()
    except NoServer as reason:
        print(f"PostgreSQL: {reason}")
        return
    server.start()
    try:
        measure("PostgreSQL", server.create("bench"), rows, templates)
    finally:
        server.remove()


if __name__ == "__main__":
    main()
