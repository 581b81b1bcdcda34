"""Torment a server with every kind of client and fault for a while, and say what stayed flat and what broke.

    python -m benchmarks.soak [--seconds 600] [--seed 1]

The server is a process with the real engine on the sample market, wrapped so that fetches are late, fail or raise and
analyses raise, at random from a seed; answers live five seconds and the cache is small, so that all of its life is gone
through. The clients ask for one ticker, lists, streams, tasks and their events, what a cache has already, what does not
exist; they leave in the middle, send rubbish, stall, and do not read. Each answer is checked. The exit code is 1 if a
rule was broken.
"""

import argparse
import asyncio
import collections
import contextlib
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import numpy as np

from benchmarks.contenders import Server, serving

SAMPLE_EVERY_S = 2.0
ANSWER_S = 60.0  # within which a request is answered: its deadline is 20 s, and the machine is shared
STREAM = aiohttp.ClientTimeout(total=None, sock_read=60.0)  # a stream takes as long as its task; it beats every 15 s
WARM_SHARE = 0.25  # of the time, before memory is watched
ALLOWED = {
    "unknown_ticker": 404, "source_failed": 502, "compute_failed": 500, "too_busy": 503, "bad_request": 400,
    "request_timeout": 408, "too_large": 413, "unsupported_media_type": 415, "not_enough_data": 422, "bad_data": 422,
}  # fmt: skip

SERVER = """
import random, sys, threading, time
from bq.config import Settings
from bq.errors import Problem, source_failed
from bq.market.sample import SampleMarket
from bq.serving.app import build_app
from bq.serving.compute import load_engine
from bq.serving.run import main
import datetime as dt

port, state, seed = sys.argv[1:]
rng, lock = random.Random(int(seed)), threading.Lock()

def chance(share):
    with lock:
        return rng.random() < share

class Moody(SampleMarket):
    def fetch(self, tickers):
        if chance(0.02):
            raise RuntimeError("a fault of the market, wanted")
        if chance(0.05):
            time.sleep(0.5)
        answers = super().fetch(tickers)
        return [source_failed(t, "wanted") if chance(0.03) else a for t, a in zip(tickers, answers)]

def load():
    engine = load_engine()
    def analyze(snapshots, details):
        if chance(0.03):
            raise RuntimeError("a fault of the engine, wanted")
        return engine.analyze(snapshots, details)
    return engine._replace(analyze=analyze)

settings = Settings(
    port=int(port), host="127.0.0.1", market="sample", state_dir=state, soft_ttl_closed_s=5.0, cache_mib=8,
    snapshot_s=5.0, body_timeout_s=1.0, header_timeout_s=2.0, write_stall_s=3.0, keepalive_s=20.0,
)
main(settings, lambda: build_app(settings, Moody(lambda: dt.datetime.now(dt.UTC), None), load=load))
"""


class Broken(AssertionError):  # noqa: N818 - a rule is
    """A rule was broken."""


class Torment:
    """The clients, and what they have seen.

    Parameters
    ----------
    server
        Whom to ask.
    rng
        Decides what is asked.
    """

    def __init__(self, server: Server, rng: random.Random) -> None:
        self.server = server
        self.rng = rng
        self.url = f"http://127.0.0.1:{server.port}"
        self.count: collections.Counter[str] = collections.Counter()
        self.broken: list[str] = []
        self.tags: dict[str, str] = {}
        names = [f"SIM{i:03d}" for i in range(1, 301)]
        self.names = [*names, "AAPL", "MSFT"]

    async def client(self, until: float) -> None:
        """Do one thing after another until it is time to stop."""
        deeds = [
            self.one,
            self.one,
            self.many,
            self.stream,
            self.cached,
            self.task,
            self.leave,
            self.rubbish,
            self.slow,
        ]
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ANSWER_S)) as session:
            while time.monotonic() < until:
                deed = self.rng.choice(deeds)
                try:
                    await deed(session)
                    self.count[deed.__name__] += 1
                except Broken as error:
                    self.broken.append(f"{deed.__name__}: {error}")
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    self.broken.append(f"{deed.__name__}: {error!r}")
                await asyncio.sleep(self.rng.uniform(0.0, 0.3))

    async def one(self, session: aiohttp.ClientSession) -> None:
        name = self.rng.choice([*self.names, "NOSUCH"])
        async with session.post(f"{self.url}/api/analyze", json={"ticker": name}) as response:
            body = await response.json()
            self.check(response.status, body)
            if response.status == 200 and body["data"]["ticker"] != name:
                raise Broken(f"asked for {name}, got {body['data']['ticker']}")

    async def many(self, session: aiohttp.ClientSession) -> None:
        names = [*self.rng.sample(self.names, self.rng.randint(1, 20)), "NOSUCH", "a b"]
        async with session.post(f"{self.url}/api/analyze", json={"tickers": names}) as response:
            body = await response.json()
            self.check(response.status, body)
            if response.status == 200:
                self.check_items(names, body["data"])

    async def stream(self, session: aiohttp.ClientSession) -> None:
        names = self.rng.sample(self.names, self.rng.randint(1, 20))
        headers = {"Accept": "application/x-ndjson"}
        async with session.post(f"{self.url}/api/analyze", json={"tickers": names}, headers=headers) as response:
            text = await response.read()
        if response.status != 200:
            return self.check(response.status, json.loads(text))
        items = {item["ticker"]: item for item in map(json.loads, text.splitlines())}
        return self.check_items(names, [items[name] for name in names])

    async def cached(self, session: aiohttp.ClientSession) -> None:
        name = self.rng.choice(self.names[:20])
        headers = {"If-None-Match": self.tags[name]} if name in self.tags else {}
        async with session.get(f"{self.url}/api/analysis/{name}", headers=headers) as response:
            text = await response.read()
            if response.status == 304:
                if text:
                    raise Broken("a 304 with a body")
            elif response.status == 200:
                self.tags[name] = response.headers["ETag"]
                if json.loads(text)["ticker"] != name:
                    raise Broken(f"asked for {name}")
            else:
                self.check(response.status, json.loads(text))

    async def task(self, session: aiohttp.ClientSession) -> None:
        names = self.rng.sample(self.names, self.rng.randint(1, 40))
        headers = {"Prefer": "respond-async"}
        async with session.post(f"{self.url}/api/analyze", json={"tickers": names}, headers=headers) as response:
            body = await response.json()
            if response.status != 202:
                return self.check(response.status, body)
            location = response.headers["Location"]
        if self.rng.random() < 0.2:
            return None  # nobody comes to fetch it
        async with session.get(f"{self.url}{location}/events", timeout=STREAM) as response:
            events = (await response.read()).split(b"\n\n")
        last = [event.partition(b"data: ")[2] for event in events if b"data: " in event][-1]
        return self.check_items(names, json.loads(last)["result"]["data"])

    async def leave(self, session: aiohttp.ClientSession) -> None:
        body = json.dumps({"tickers": self.rng.sample(self.names, 30), "detail": "full"}).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        writer.write(b"POST /api/analyze HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await asyncio.sleep(self.rng.uniform(0.0, 0.1))
        if self.rng.random() < 0.3:
            await reader.read(100)
        writer.transport.abort()

    async def rubbish(self, session: aiohttp.ClientSession) -> None:
        rubbish = self.rng.choice([b"[" * 5000, b"\xff\xfe", b'{"ticker": 5}', b"", b'{"tickers": []}', b"x" * 70_000])
        async with session.post(f"{self.url}/api/analyze", data=rubbish) as response:
            body = await response.json()
            if not 400 <= response.status < 500:
                raise Broken(f"{response.status} for {rubbish[:20]!r}")
            self.check(response.status, body)

    async def slow(self, session: aiohttp.ClientSession) -> None:
        """Stall in the head, in the body, or in reading: each is shown the door."""
        said = self.rng.choice(
            [
                b"POST /api/an",
                b"POST /api/analyze HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{",
                b"GET /healthz\r\n",
            ]
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        writer.write(said)
        try:
            async with asyncio.timeout(25.0):
                with contextlib.suppress(ConnectionError):
                    await reader.read(-1)
        except TimeoutError:
            raise Broken(f"{said[:20]!r} was not shown the door in 25 s") from None
        finally:
            writer.close()

    def check(self, status: int, body: dict) -> None:
        """Check an answer's envelope."""
        if status == 200:
            if body["success"] is not True:
                raise Broken(f"200 and {body}")
        elif body["success"] is not False or ALLOWED.get(body["code"]) != status:
            raise Broken(f"{status} and {body}")
        else:
            self.count[body["code"]] += 1

    def check_items(self, names: list[str], items: list[dict]) -> None:
        """Check that each ticker has its own data or its own error."""
        if [item["ticker"] for item in items] != [name.upper() for name in names]:
            raise Broken(f"asked for {names}, got {[item['ticker'] for item in items]}")
        for item in items:
            if item["status"] == "ok":
                if item["data"]["ticker"] != item["ticker"]:
                    raise Broken(f"{item['ticker']} has the data of {item['data']['ticker']}")
                self.count["stale items"] += item.get("stale", False)
            elif item["status"] == "error" and item["code"] not in ALLOWED:
                raise Broken(str(item))


async def watch(server: Server, until: float) -> np.ndarray:
    """Sample seconds, resident MiB, descriptors, tasks and flights."""
    rows = []
    began = time.monotonic()
    while time.monotonic() < until:
        text = (await asyncio.to_thread(server.get, "/metrics")).decode()
        gauges = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        descriptors = len(os.listdir(f"/proc/{server.process.pid}/fd"))
        figures = [float(gauges[name]) for name in ("bq_loop_tasks", "bq_flights")]
        rows.append([time.monotonic() - began, server.resident_mib(), descriptors, *figures])
        await asyncio.sleep(SAMPLE_EVERY_S)
    return np.array(rows)


def loop_lag(server: Server) -> str:
    """Tell how late the server's own timers were: what no fault of the server's explains was the machine's."""
    lines = [line for line in server.get("/metrics").decode().splitlines() if line.startswith("bq_loop_lag_seconds_b")]
    below = {line.split('"')[1]: float(line.split()[-1]) for line in lines}
    late = ", ".join(f"{below['+Inf'] - below[edge]:.0f} over {edge} s" for edge in ("0.025", "0.1", "1.0"))
    return f"of {below['+Inf']:.0f} timers {late}"


def slope_per_ten_minutes(seconds: np.ndarray, values: np.ndarray) -> float:
    """Fit a line by medians of pairs (Theil-Sen), which a few spikes do not move."""
    i, j = np.triu_indices(seconds.size, 1)
    return float(np.median((values[j] - values[i]) / (seconds[j] - seconds[i]))) * 600.0


async def soak(server: Server, seconds: float, seed: int, clients: int = 16) -> tuple[dict[str, object], list[str]]:
    """Torment a server; give the figures, and what is wrong."""
    torment = Torment(server, random.Random(seed))
    await asyncio.sleep(2.0)
    rest = await watch(server, time.monotonic() + 0.1)
    end = time.monotonic() + seconds
    watching = asyncio.create_task(watch(server, end))
    await asyncio.gather(*[torment.client(end) for _ in range(clients)])
    rows = await watching
    quiet = 0
    for _ in range(180):  # let flights end, tasks be done and slow connections be closed
        await asyncio.sleep(1.0)
        flights, jobs, connections = (server.metric(f"bq_{name}") for name in ("flights", "jobs", "connections"))
        quiet = quiet + 1 if (flights, jobs) == (0.0, 0.0) and connections <= 1 else 0
        if quiet == 3:  # not a moment between two refreshes ahead
            break
    after = await watch(server, time.monotonic() + 0.1)
    warm = rows[rows[:, 0] > WARM_SHARE * seconds]
    slope = slope_per_ten_minutes(warm[:, 0], warm[:, 1])
    broken = list(torment.broken)
    for name, most in (("bq_batcher_failures_total", 0), ("bq_lost_wakeups_total", 0), ("bq_stuck_total", 0)):
        if (value := server.metric(name)) > most:
            broken.append(f"{name} is {value:.0f}")
    if after[0, 2] > rest[0, 2] + 8:
        broken.append(f"descriptors: {rest[0, 2]:.0f} at rest before, {after[0, 2]:.0f} after")
    if after[0, 3] > rest[0, 3] + 4 or after[0, 4]:
        broken.append(f"tasks {rest[0, 3]:.0f} before and {after[0, 3]:.0f} after, flights {after[0, 4]:.0f}")
    figures = {
        "seconds": seconds,
        "deeds": sum(torment.count[d] for d in ("one", "many", "stream", "cached", "task", "leave", "rubbish", "slow")),
        "counts": dict(torment.count),
        "resident MiB": f"{rest[0, 1]:.0f} at rest, {warm[:, 1].min():.0f} to {warm[:, 1].max():.0f} after warming up",
        "resident MiB in ten minutes": round(slope, 2),
        "descriptors": f"{rest[0, 2]:.0f} at rest, {rows[:, 2].max():.0f} at most, {after[0, 2]:.0f} afterwards",
        "tasks": f"{rest[0, 3]:.0f} at rest, {rows[:, 3].max():.0f} at most, {after[0, 3]:.0f} afterwards",
        "loop lag": loop_lag(server),
        "flights": f"{rows[:, 4].max():.0f} at most, {after[0, 4]:.0f} afterwards",
        "analyses": server.metric("bq_computed_tickers_total"),
        "bisections": server.metric("bq_bisections_total"),
        "snapshots that failed": server.metric("bq_snapshot_failures_total"),
    }
    return figures, broken


def run(seconds: float, seed: int) -> tuple[dict[str, object], list[str]]:
    """Start a server, torment it, end it; its exit code must be 0."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as state:
        command = [sys.executable, "-c", SERVER, "{port}", str(Path(state)), str(seed)]
        with serving(command, ready="/readyz", within_s=600.0) as server:
            figures, broken = asyncio.run(soak(server, seconds, seed))
        if server.process.returncode != 0:
            broken.append(f"the server ended with {server.process.returncode}")
    return figures, broken


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    figures, broken = run(options.seconds, options.seed)
    for name, value in figures.items():
        print(f"{name}: {value}")
    print(f"rules broken: {len(broken)}")
    for text in broken[:50]:
        print(f"  {text}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
