"""What the server adds to a bare handler, how it bears ten thousand clients, and how fast a cold list is: one table.

    python -m benchmarks.bench_serving [--quick] [PART ...]     (make bench-serving runs every part)

Server and generator share the machine, so rates are told as ratios of interleaved rounds, and beside them the CPU time
of the server process for a request, which does not depend on what the generator takes. The parts that are run replace
their lines in README.md.
"""

import argparse
import asyncio
import contextlib
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import contenders, loadgen
from benchmarks.contenders import ROOT, Server
from benchmarks.serving_table import Row, write

TICKERS = [f"T{i:03d}" for i in range(500)]
CLASSIC_SHARE = 24  # tickers that the old way is asked for; it is told per ticker


def sample_tickers() -> list[str]:
    return [f"SIM{i:03d}" for i in range(1, 501)]


@contextlib.contextmanager
def folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        yield name


def cached(quick: bool) -> Iterator[Row]:
    """Compare stored answers with a bare aiohttp + uvloop handler and with Fastify, on the same bytes."""
    for size, kind in ((1200, "hot"), (45_000, "hot"), (45_000, "get")):
        yield from _cached(size, kind, 3 if quick else 7)


def _cached(size: int, kind: str, rounds: int) -> Iterator[Row]:
    request = loadgen.mix(kind, TICKERS)
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(contenders.fake(stack.enter_context(folder()), size))
        cold = stack.enter_context(contenders.fake(stack.enter_context(folder()), size, hot_path=False))
        for server in (ours, cold):
            server.post({"ticker": TICKERS[0]})
        body = ours.get("/api/analysis/T000") if kind == "get" else ours.post({"ticker": TICKERS[0]})
        servers = {"hot": ours, "without": cold, "bare": stack.enter_context(contenders.bare(body))}
        missing = contenders.why_no_fastify()
        if not missing:
            servers["fastify"] = stack.enter_context(contenders.fastify(body))
        rates: dict[str, list[float]] = {name: [] for name in servers}
        cpu: dict[str, list[float]] = {name: [] for name in servers}
        own: list[float] = []
        for _ in range(rounds):
            for name, server in servers.items():
                before, spent = server.cpu_s(), time.process_time()
                stats = asyncio.run(loadgen.closed_loop(server.port, request, 32, 1.0))
                assert stats.errors == 0, (name, stats)
                rates[name].append(stats.rate)
                cpu[name].append((server.cpu_s() - before) / stats.answered * 1e6)
                own.append((time.process_time() - spent) / stats.answered * 1e6)
    rate = {name: statistics.median(values) for name, values in rates.items()}
    each = {name: statistics.median(values) for name, values in cpu.items()}
    fastify = (
        f"{rate['fastify'] / rate['bare']:.2f} of it ({rate['fastify']:,.0f}/s, {each['fastify']:.0f} us)"
        if not missing
        else f"skipped: {missing}"
    )
    what = f"stored answer, {'GET' if kind == 'get' else 'POST'}, {len(body):,} bytes"
    yield Row(
        f"{what}: rate against a bare aiohttp + uvloop handler",
        f"{rate['hot'] / rate['bare']:.2f} ({rate['hot']:,.0f}/s against {rate['bare']:,.0f}/s; CPU {each['hot']:.0f} "
        f"us a request against {each['bare']:.0f}); hot path off {rate['without'] / rate['bare']:.2f}; "
        f"Fastify {fastify}; the generator takes {statistics.median(own):.0f} us a request",
        ">= 0.85; aim: Fastify's",
    )


def clients(quick: bool) -> Iterator[Row]:
    """Hold ten thousand keep-alive clients, each asking again as soon as it was answered."""
    count, seconds = (2000, 4.0) if quick else (10_000, 15.0)
    with folder() as state, contenders.fake(state, 1400) as ours:
        ours.post({"tickers": TICKERS})
        for ticker in TICKERS[:100]:
            ours.post({"ticker": ticker})
        before = ours.resident_mib()
        requests = loadgen.mix("zipf", TICKERS[:100])
        spent, served = time.process_time(), ours.cpu_s()
        stats = asyncio.run(loadgen.closed_loop(ours.port, requests, count, seconds, warm_s=3.0))
        spent, served = time.process_time() - spent, ours.cpu_s() - served
        grown = (ours.resident_mib() - before) * 1024 / count
    yield Row(
        f"{count:,} keep-alive clients, closed loop",
        f"{stats}; {grown:.1f} KiB a connection; CPU server {served:.1f} s, generator {spent:.1f} s",
        "0 errors, p99 < 2.5 s, < 12 KiB a connection",
    )


def flood(quick: bool) -> Iterator[Row]:
    """Ask for 500 cold tickers with ten thousand requests at once."""
    count = 2000 if quick else 10_000
    with folder() as state, contenders.fake(state, 1400) as ours:
        stats = asyncio.run(_once(ours.port, count))
        analyses, fetches = ours.metric("bq_computed_tickers_total"), ours.metric("bq_fetched_tickers_total")
    yield Row(
        f"{count:,} cold requests for {len(TICKERS)} tickers at once",
        f"{analyses:.0f} analyses, {fetches:.0f} fetches; {stats}",
        "exactly 500 analyses",
    )


async def _once(port: int, count: int) -> loadgen.Stats:
    stats = loadgen.Stats()
    done = asyncio.Event()
    clock = time.perf_counter

    def answered(connection: loadgen.Connection, status: int) -> None:
        stats.add(status, clock() - connection.began)
        if stats.answered == count:
            done.set()

    connections = await loadgen.connect(port, count, answered, lambda connection: None)
    began = clock()
    for i, connection in enumerate(connections):
        connection.send(loadgen.ask(TICKERS[i % len(TICKERS)]), began)
    await asyncio.wait_for(done.wait(), 60)
    stats.seconds = clock() - began
    for connection in connections:
        connection.transport.abort()
    return stats


def cold_list(quick: bool) -> Iterator[Row]:
    """Send 500 cold tickers over HTTP to the real engine, and the same prices to the old way, in turns.

    Both have the prices in memory. The quotes, which the old way knows nothing of, are then added and measured apart.
    """
    tickers = sample_tickers()
    turns = range(1 if quick else 5)
    ours: list[Cold] = []
    old: list[Cold] = []
    with folder() as state:
        closes, bars = Path(state) / "closes.npz", Path(state) / "bars"
        _write_prices(bars, closes, tickers)
        with contenders.old_way(closes) as classic:
            for turn in turns:
                ours.append(_ask_cold(tickers, f"{state}/{turn}", BQ_MARKET=f"files:{bars}"))
                spent = classic.cpu_s()
                seconds = _four_clients(classic, tickers[:CLASSIC_SHARE])
                old.append(Cold(CLASSIC_SHARE / seconds, (classic.cpu_s() - spent) / CLASSIC_SHARE * 1e3, 0.0))
        quoted = [_ask_cold(tickers, f"{state}/quoted-{turn}") for turn in turns]
    one, many, two = (Cold(*map(statistics.median, zip(*runs, strict=True))) for runs in (old, ours, quoted))
    yield Row(
        "500-ticker list over HTTP, cold, against the old way on the same prices",
        f"{many.rate / one.rate:,.0f} times: {many.rate:,.0f} analyses a second against {one.rate:.2f} (Flask, "
        f"4 gunicorn workers, {CLASSIC_SHARE} tickers, BLAS threads pinned); {one.cpu_ms / many.cpu_ms:,.0f} times "
        f"by CPU time ({many.cpu_ms:.1f} ms a ticker, all that the server does included, not {one.cpu_ms:.0f})",
        ">= 150 times",
    )
    yield Row(
        "500-ticker list over HTTP, cold, with the chains of the sample market (574 quotes each)",
        f"{two.rate:,.0f} analyses a second, {two.cpu_ms:.1f} ms of CPU time a ticker; {two.rate / one.rate:,.0f} "
        f"times the old way, which reads no quotes; {two.resident_mib:.0f} MiB resident afterwards",
        "",
    )


class Cold(NamedTuple):
    """What a cold list took."""

    rate: float  # tickers a second
    cpu_ms: float  # a ticker, of the server process
    resident_mib: float


def _ask_cold(tickers: list[str], state: str, **settings: str) -> Cold:
    with contenders.real(state, BQ_SNAPSHOT_S="0", **settings) as ours:
        began, spent = time.perf_counter(), ours.cpu_s()
        ask_for_all(ours, tickers, "summary")  # as a list is answered unless it asks for more
        seconds = time.perf_counter() - began
        cpu_ms = (ours.cpu_s() - spent) / len(tickers) * 1e3
        return Cold(len(tickers) / seconds, cpu_ms, ours.resident_mib())


def ask_for_all(server: Server, tickers: list[str], detail: str) -> None:
    """Ask for a list until every ticker is there: again where a deadline cut it short."""
    while True:
        answer = server.post({"tickers": tickers, "detail": detail, "deadline_ms": 25_000})
        found = re.search(rb'\],"count":\d+,"failed":(\d+),"pending":(\d+)[,}]', answer)
        if found is None or found[1] != b"0":
            raise RuntimeError(f"some of the list failed: {answer[-200:]!r}")
        if found[2] == b"0":
            return


def _write_prices(bars: Path, closes: Path, tickers: list[str]) -> None:
    """Write the sample market's bars as a folder of files, and the closes of some as the old way reads them."""
    import datetime as dt

    import pandas as pd

    from bq.market.sample import SampleMarket
    from bq.market.source import Snapshot

    found = [s for s in SampleMarket(lambda: dt.datetime.now(dt.UTC), None).fetch(tickers) if isinstance(s, Snapshot)]
    names = ("date", "open", "high", "low", "close", "volume")
    frames = [pd.DataFrame({"ticker": s.ticker, **{name: getattr(s.bars, name) for name in names}}) for s in found]
    bars.mkdir()
    pd.concat(frames).to_parquet(bars / "bars.parquet")
    np.savez(closes, **{s.ticker: s.bars.model_close for s in found[:CLASSIC_SHARE]})


def _four_clients(old: Server, tickers: list[str]) -> float:
    """Keep all four workers busy, each with its share of the list; seconds until the last has answered."""
    shares = [threading.Thread(target=old.post, args=({"tickers": tickers[i::4]},)) for i in range(4)]
    began = time.perf_counter()
    for share in shares:
        share.start()
    for share in shares:
        share.join()
    return time.perf_counter() - began


def busy(quick: bool) -> Iterator[Row]:
    """Ask for single cold tickers, and for a mere sign of life, while a large list is analysed again and again."""
    seconds = 5.0 if quick else 15.0
    tickers = sample_tickers()
    # A cache of one mebibyte forgets a list of 500 full answers (50 MB) while it is made: all are cold, always.
    with folder() as state, contenders.real(state, BQ_CACHE_MIB="1", BQ_SNAPSHOT_S="0") as ours:
        ours.post({"ticker": "AAPL"})
        stop, lists = threading.Event(), [0]

        def large_lists() -> None:
            while not stop.is_set():
                ours.post({"tickers": tickers, "detail": "full"})
                lists[0] += 1

        idle = asyncio.run(loadgen.open_loop(ours.port, _singles(tickers), 50, 10.0, seconds / 3))
        lister = threading.Thread(target=large_lists)
        lister.start()
        before = ours.metric("bq_computed_tickers_total")
        single = asyncio.run(loadgen.open_loop(ours.port, _singles(tickers), 50, 10.0, seconds))
        alive = asyncio.run(loadgen.open_loop(ours.port, lambda: loadgen.get("/healthz"), 50, 200.0, seconds))
        rate = (ours.metric("bq_computed_tickers_total") - before) / (2 * seconds)
        stop.set()
        lister.join()
    yield Row(
        "one cold ticker, 10 a second, while a 500-ticker list of full answers runs again and again",
        f"{_tail(single)}; {_tail(idle)} on the idle server; {lists[0]} lists ended meanwhile, {rate:.0f} analyses/s",
        "p99 < 150 ms, no error",
    )
    yield Row(
        "loop lag while the pool is full: GET /healthz 200 times a second, counted from the intended moment",
        _tail(alive),
        "p99 < 10 ms",
    )


def _singles(tickers: list[str]) -> Callable[[], bytes]:
    turn = iter(range(10**9))
    return lambda: loadgen.ask(tickers[(7 * next(turn)) % len(tickers)])


def _tail(stats: loadgen.Stats) -> str:
    quantiles = ", ".join(f"p{q * 100:g} {stats.quantile(q) * 1000:.1f} ms" for q in (0.5, 0.99, 1.0))
    return f"{quantiles}, {stats.errors} errors of {stats.answered}"


def memory(quick: bool) -> Iterator[Row]:
    """Hold 500 full-size single answers on a machine of 512 MB, where stored answers give way above 80 % of it."""
    tickers = sample_tickers()
    with folder() as state, contenders.real(state, BQ_SNAPSHOT_S="0", BQ_MEMORY_MIB="512") as ours:
        at_start = ours.resident_mib()
        ask_for_all(ours, tickers, "default")
        time.sleep(15.0)  # freed memory is given back when the server has been idle
        held, resident = ours.metric("bq_cache_bytes") / 2**20, ours.resident_mib()
        stored = ours.post({"tickers": tickers, "detail": "default"}).count(b'"status":"ok","from_cache":true')
    if stored != len(tickers):
        raise RuntimeError(f"only {stored} of {len(tickers)} answers were still stored, at {resident:.0f} MiB resident")
    yield Row(
        "resident memory, warm, 500 tickers cached (detail: default), with BQ_MEMORY_MIB=512",
        f"{resident:.0f} MiB ({at_start:.0f} at the start; {stored} answers of {held:.0f} MiB came from the cache)",
        "<= 400 MB; aim: 250",
    )


def start(quick: bool) -> Iterator[Row]:
    """Start with the compiled cache, five times, and once without it, in a copy of the tree."""
    times = []
    with folder() as state:
        for turn in range(2 if quick else 5):
            began = time.perf_counter()
            with contenders.real(f"{state}/{turn}", BQ_SNAPSHOT_S="0"):
                times.append(time.perf_counter() - began)
    yield Row("ready after start, compiled cache", f"{statistics.median(times):.1f} s", "< 5 s; aim: 2")
    if quick:
        return
    with folder() as tree:
        files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(
            ["tar", "-C", str(ROOT), "--null", "-T", "-", "-cf", f"{tree}/tree.tar"], input=files, check=True
        )
        subprocess.run(["tar", "-C", tree, "-xf", f"{tree}/tree.tar"], check=True)
        began = time.perf_counter()
        with contenders.real(f"{tree}/state", Path(tree), BQ_SNAPSHOT_S="0"):
            cold = time.perf_counter() - began
    yield Row("ready after start, nothing compiled", f"{cold:.0f} s", "< 60 s")


def environment(quick: bool) -> Iterator[Row]:
    """Install requirements.txt into an empty environment and compress it."""
    with folder() as place:
        subprocess.run([sys.executable, "-m", "venv", f"{place}/venv"], check=True)
        pip = [f"{place}/venv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", str(ROOT / "requirements.txt")], check=True, stderr=subprocess.DEVNULL)
        packed = _compressed(Path(place) / "venv")
        kernels = _compressed(ROOT / "kernels" / ".cache")
    yield Row(
        "installed run-time environment, compressed (tar.gz)",
        f"{packed / 1e6:.0f} MB, and {kernels / 1e6:.0f} MB of compiled kernels",
        "<= 350 MB; aim: 250",
    )


def _compressed(path: Path) -> int:
    tar = subprocess.Popen(["tar", "-C", str(path), "-cz", "."], stdout=subprocess.PIPE)
    assert tar.stdout is not None
    size = 0
    while part := tar.stdout.read(1 << 20):
        size += len(part)
    if tar.wait():
        raise RuntimeError(f"tar of {path} failed")
    return size


PARTS: dict[str, Callable[[bool], Iterator[Row]]] = {
    part.__name__: part for part in (cached, clients, flood, cold_list, busy, memory, start, environment)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds and clients; README.md is left alone")
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="those to run; all when none is named")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < 10_200:
        raise SystemExit(f"ten thousand clients need more descriptors than {hard}: raise the hard limit (ulimit -Hn)")
    os.environ.pop("BQ_TEST_DATA", None)
    for name in options.parts or PARTS:
        rows = []
        for row in PARTS[name](options.quick):
            rows.append(row)
            print(f"{name}: {row.what}: {row.figure}  [{row.must_reach}]", flush=True)
        if not options.quick:
            write(name, rows)


if __name__ == "__main__":
    main()
