"""What the server adds to a bare aiohttp handler, how it bears ten thousand clients, and that it computes things once.

    python -m benchmarks.bench_serving [--quick]

Server and generator share the machine, so rates are told as ratios of interleaved rounds, and beside them the CPU time
of the server process for a request, which does not depend on what the generator takes.
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import loadgen

ROOT = Path(__file__).parents[1]
TICKERS = [f"T{i:03d}" for i in range(500)]

BARE = """
import asyncio, sys, uvloop
from aiohttp import web
body = sys.stdin.buffer.read()
async def handler(request):
    await request.read()
    return web.Response(body=body, content_type="application/json")
async def main():
    app = web.Application()
    app.router.add_post("/api/analyze", handler)
    app.router.add_get("/api/analysis/T000", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(sys.argv[1]), backlog=4096).start()
    await asyncio.Event().wait()
uvloop.run(main())
"""

OURS = """
import sys
from bq.config import Settings
from bq.serving.app import build_app
from bq.serving.run import main
from tests.serving.fakes import FakeEngine, FakeMarket
engine, market = FakeEngine(), FakeMarket()
port, state, padding, path = sys.argv[1:]
engine.padding = int(padding)
settings = Settings(
    port=int(port), host="127.0.0.1", state_dir=state, hot_path=path == "hot", soft_ttl_closed_s=3600.0
)
main(settings, lambda: build_app(settings, market, load=engine.load))
"""


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    port: int

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}") as response:
            return bytes(response.read())

    def post(self, body: object) -> bytes:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/analyze",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as response:
            return bytes(response.read())

    def metric(self, name: str) -> float:
        lines = self.get("/metrics").decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split(" ")[0] == name)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def serving(script: str, *arguments: str, stdin: bytes = b"") -> Iterator[Server]:
    port = _free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(port), *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    process.stdin.write(stdin)
    process.stdin.close()
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        time.sleep(0.5)
        yield Server(process, port)
    finally:
        process.terminate()
        process.wait()


def ratio(hot_path: bool, size: int, kind: str, rounds: int) -> None:
    """Tell the rate of stored answers against a bare aiohttp + uvloop handler that returns the same bytes."""
    request = loadgen.mix(kind, TICKERS)
    with tempfile.TemporaryDirectory() as state, serving(OURS, state, str(size), "hot" if hot_path else "cold") as ours:
        ours.post({"ticker": TICKERS[0]})
        bytes_of = ours.get("/api/analysis/T000") if kind == "get" else ours.post({"ticker": TICKERS[0]})
        with serving(BARE, stdin=bytes_of) as bare:
            rates: dict[str, list[float]] = {"ours": [], "bare": []}
            cpu: dict[str, list[float]] = {"ours": [], "bare": []}
            for _ in range(rounds):
                for name, server in (("ours", ours), ("bare", bare)):
                    before = server.cpu_s()
                    stats = asyncio.run(loadgen.closed_loop(server.port, request, 32, 1.0))
                    assert stats.errors == 0, stats
                    rates[name].append(stats.rate)
                    cpu[name].append((server.cpu_s() - before) / stats.answered)
    rate = {name: statistics.median(values) for name, values in rates.items()}
    each = {name: statistics.median(values) * 1e6 for name, values in cpu.items()}
    print(
        f"stored answer, {kind}, {len(bytes_of):,} bytes, hot path {'on' if hot_path else 'off'}: "
        f"{rate['ours'] / rate['bare']:.2f} of the bare handler's rate "
        f"({rate['ours']:,.0f} / {rate['bare']:,.0f} a second), "
        f"CPU {each['ours']:.0f} / {each['bare']:.0f} us a request"
    )


def ten_thousand_clients(count: int, seconds: float) -> None:
    """Tell how keep-alive clients in a closed loop fare, and what a connection costs."""
    with tempfile.TemporaryDirectory() as state, serving(OURS, state, "1400", "hot") as ours:
        ours.post({"tickers": TICKERS})
        for ticker in TICKERS[:100]:
            ours.post({"ticker": ticker})
        before = ours.resident_mib()
        requests = loadgen.mix("zipf", TICKERS[:100])
        stats = asyncio.run(loadgen.closed_loop(ours.port, requests, count, seconds, warm_s=2.0))
        grown = (ours.resident_mib() - before) * 1024 / count
        print(f"{count:,} keep-alive clients, closed loop: {stats}; at most {grown:.1f} KiB a connection")


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


def cold_flood(count: int) -> None:
    """Tell how many analyses so many requests at once for 500 cold tickers cause."""
    with tempfile.TemporaryDirectory() as state, serving(OURS, state, "1400", "hot") as ours:
        stats = asyncio.run(_once(ours.port, count))
        analyses, fetches = ours.metric("bq_computed_tickers_total"), ours.metric("bq_fetched_tickers_total")
        print(
            f"{count:,} cold requests for {len(TICKERS)} tickers: "
            f"{analyses:.0f} analyses, {fetches:.0f} fetches; {stats}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds and clients")
    quick = parser.parse_args().quick
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rounds = 3 if quick else 7
    clients = min(2000 if quick else 10_000, hard - 200)
    for hot_path in (False, True):
        for size, kind in ((1200, "hot"), (45_000, "hot"), (45_000, "get")):
            ratio(hot_path, size, kind, rounds)
    ten_thousand_clients(clients, 4.0 if quick else 10.0)
    cold_flood(clients)


if __name__ == "__main__":
    main()
