"""How fast a ranking and a history come out of a store that holds a hundred thousand rows, and how fast rows go in.

    python -m benchmarks.bench_store [--rows 100000]

On SQLite, and on PostgreSQL where Debian's server is installed. What is timed is the work of the reading thread: query,
rows to structs, JSON. Milliseconds depend on the machine; the ratio to a store with one scan does less so.
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

from bq import schema
from bq.analysis import engine
from bq.market import calendar
from bq.market.sample import SampleMarket
from bq.scan import history, rankings
from bq.scan.rankings import Query
from bq.scan.records import ScanRow, ScanSpec, ScanTicker
from bq.scan.store import Store
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


def fill(store: Store, templates: list[Analysis], scans: int) -> tuple[float, float]:
    """Store scans, a session each; give the seconds of recording and of finishing all of them."""
    rng = np.random.default_rng(1)
    days = calendar.sessions_between(dt.date(2020, 1, 1), MOMENT.date())[-scans:]
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
            assert template.extended is not schema.UNSET
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
            rows.append(ScanRow(name, one, schema.encode(one, "full") if number == scans - 1 else b"{}"))
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


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Give median and 95th percentile, in milliseconds."""
    work()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        times.append(1000.0 * (time.perf_counter() - began))
    return statistics.median(times), sorted(times)[int(0.95 * REPEATS)]


def measure(name: str, url: str, rows: int, templates: list[Analysis]) -> None:
    """Fill a store and time its questions, with one scan and with all."""
    store = Store.open(url)
    scans = max(rows // NAMES, 2)
    recording, finishing = fill(store, templates, scans)
    print(f"\n{name}: {scans} scans of {NAMES} names")
    print(f"  {scans * NAMES / recording:,.0f} rows a second recorded (in transactions of 32, each on disk)")
    print(f"  {1000.0 * finishing / scans:.0f} ms to rank a scan when it ends")
    for text, query in QUERIES.items():

        def ask(query: Query = query) -> bytes:
            with store.database.read() as connection:
                return msgspec.json.encode(rankings.rank_rows(connection, "sample", query))

        median, high = timed(ask)
        print(f"  {median:6.2f} ms ({high:.2f} at 95 %)  {text}, {len(ask()) / 1024:.0f} KiB")

    def again() -> object:
        with store.database.read() as connection:
            return rankings.source(connection, "sample", Query()).name

    median, high = timed(again)
    print(f"  {median:6.2f} ms ({high:.2f} at 95 %)  the same again: which scans it is made of, the bytes are kept")

    def past() -> bytes:
        with store.database.read() as connection:
            level = history.level(connection, "T250", "sample")
            return msgspec.json.encode((level, history.past_rows(connection, "T250", "sample", 100)))

    median, high = timed(past)
    print(f"  {median:6.2f} ms ({high:.2f} at 95 %)  history of a name, 100 rows with its level of volatility")
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
