"""A load generator that does not stop asking while the server is slow.

A closed loop (each client asks again when it was answered) finds the greatest rate; its latencies flatter, since a
stalled server is asked less. The open loop asks by a schedule and counts each latency from the moment at which the
request should have been sent, as wrk2 does.

    python -m benchmarks.loadgen --mode open --rate 2000 --connections 1000 --seconds 20 --mix zipf
"""

import argparse
import asyncio
import json
import math
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

PER_DECADE = 40  # buckets: 6 % wide


@dataclass
class Stats:
    """What came back: counts, and latencies in logarithmic buckets."""

    answered: int = 0
    errors: int = 0  # connections lost, and answers that are not 2xx
    statuses: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0
    buckets: dict[int, int] = field(default_factory=dict)

    def add(self, status: int, latency: float) -> None:
        self.answered += 1
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if not 200 <= status < 300:
            self.errors += 1
        bucket = math.floor(math.log10(max(latency, 1e-6)) * PER_DECADE)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    def quantile(self, q: float) -> float:
        """Seconds that a share q of the requests took at most (upper edge of the bucket)."""
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= q * self.answered:
                return float(10 ** ((bucket + 1) / PER_DECADE))
        return math.nan

    @property
    def rate(self) -> float:
        return self.answered / self.seconds if self.seconds else math.nan

    def __str__(self) -> str:
        quantiles = ", ".join(f"p{q * 100:g} {self.quantile(q) * 1000:.1f} ms" for q in (0.5, 0.99, 0.999))
        return f"{self.rate:,.0f}/s, {self.answered:,} answered, {self.errors:,} errors, {quantiles}, {self.statuses}"


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self, on_answer: Callable[["Connection", int], None], on_lost: Callable[["Connection"], None]) -> None:
        self.on_answer = on_answer
        self.on_lost = on_lost
        self.began = 0.0
        self.busy = False
        self._buffer = b""
        self._missing = 0
        self._status = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self.on_lost(self)

    def send(self, request: bytes, began: float) -> None:
        self.began, self.busy = began, True
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        else:
            self._buffer += data
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._buffer[:end].lower()
            self._status = int(head[9:12])
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            self._missing = length - (len(self._buffer) - end - 4)
            self._buffer = b""
        if self._missing <= 0:
            self._missing = 0
            self.busy = False
            self.on_answer(self, self._status)


def post(body: str) -> bytes:
    data = body.encode()
    head = f"POST /api/analyze HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(data)}"
    return head.encode() + b"\r\n\r\n" + data


def ask(ticker: str) -> bytes:
    return post(json.dumps({"ticker": ticker}))


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


async def connect(
    port: int, count: int, on_answer: Callable[[Connection, int], None], on_lost: Callable[[Connection], None]
) -> list[Connection]:
    """Open connections, some at a time, so that the ramp itself is no flood."""
    loop = asyncio.get_running_loop()
    connections: list[Connection] = []
    while len(connections) < count:
        batch = min(200, count - len(connections))
        made = await asyncio.gather(
            *[loop.create_connection(lambda: Connection(on_answer, on_lost), "127.0.0.1", port) for _ in range(batch)]
        )
        connections += [protocol for _, protocol in made]
    return connections


async def closed_loop(
    port: int, requests: Callable[[], bytes], connections: int, seconds: float, warm_s: float = 0.0
) -> Stats:
    """Let each connection ask again as soon as it was answered."""
    stats, running = Stats(), True
    clock = time.perf_counter
    measure_from = clock() + 1e9

    def answered(connection: Connection, status: int) -> None:
        now = clock()
        if connection.began >= measure_from:
            stats.add(status, now - connection.began)
        if running:
            connection.send(requests(), now)

    def lost(connection: Connection) -> None:
        if running:
            stats.errors += 1

    made = await connect(port, connections, answered, lost)
    measure_from = clock() + warm_s
    for connection in made:
        connection.send(requests(), clock())
    await asyncio.sleep(warm_s + seconds)
    stats.seconds = clock() - measure_from
    running = False
    for connection in made:
        connection.transport.abort()
    await asyncio.sleep(0)
    return stats


async def open_loop(port: int, requests: Callable[[], bytes], connections: int, rate: float, seconds: float) -> Stats:
    """Ask by a schedule; a request that finds no free connection waits, and its wait counts."""
    stats, running = Stats(), True
    clock = time.perf_counter
    due: deque[float] = deque()
    free: list[Connection] = []

    def answered(connection: Connection, status: int) -> None:
        stats.add(status, clock() - connection.began)
        if due:
            connection.send(requests(), due.popleft())
        else:
            free.append(connection)

    def lost(connection: Connection) -> None:
        if running:
            stats.errors += 1

    free += await connect(port, connections, answered, lost)
    made = list(free)
    start = clock()
    sent = 0
    while (elapsed := clock() - start) < seconds:
        while sent < elapsed * rate:
            intended = start + sent / rate
            sent += 1
            if free:
                free.pop().send(requests(), intended)
            else:
                due.append(intended)
        await asyncio.sleep(0.001)
    end = clock() + 10.0
    while (due or any(connection.busy for connection in made)) and clock() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    stats.errors += len(due)
    stats.seconds = seconds
    running = False
    for connection in made:
        connection.transport.abort()
    await asyncio.sleep(0)
    return stats


def mix(name: str, tickers: Sequence[str], seed: int = 1) -> Callable[[], bytes]:
    """Make requests: `hot` (one ticker again and again), `zipf` (few asked often), `list` (twenty), `get`."""
    rng = random.Random(seed)
    weights = [1.0 / (rank + 1) for rank in range(len(tickers))]
    if name == "hot":
        one = ask(tickers[0])
        return lambda: one
    if name == "get":
        path = get(f"/api/analysis/{tickers[0]}")
        return lambda: path
    if name == "zipf":
        drawn = [ask(name) for name in rng.choices(tickers, weights, k=10_000)]
        return lambda: drawn[rng.randrange(len(drawn))]
    if name == "list":
        lists = [post(json.dumps({"tickers": rng.sample(list(tickers), 20)})) for _ in range(500)]
        return lambda: lists[rng.randrange(len(lists))]
    raise ValueError(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--mode", choices=["open", "closed"], default="open")
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--mix", choices=["hot", "get", "zipf", "list"], default="zipf")
    parser.add_argument("--tickers", default=",".join(["AAPL", *(f"SIM{i:03d}" for i in range(1, 100))]))
    options = parser.parse_args()
    requests = mix(options.mix, options.tickers.split(","))
    if options.mode == "open":
        work = open_loop(options.port, requests, options.connections, options.rate, options.seconds)
    else:
        work = closed_loop(options.port, requests, options.connections, options.seconds)
    print(asyncio.run(work))


if __name__ == "__main__":
    main()
