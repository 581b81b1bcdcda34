"""A market and an engine that record what they are asked, and a server around them on a real port."""

import asyncio
import contextlib
import datetime as dt
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import numpy as np
from aiohttp import web

from bq.config import Settings
from bq.errors import Problem, unknown_ticker
from bq.market.source import Bars, Listing, RateCurve, Snapshot
from bq.serving.app import SERVICE, build_app
from bq.serving.compute import Engine
from bq.serving.run import serve
from bq.serving.service import Service

NOTHING = np.empty(0)


def snapshot(ticker: str, stale: bool = False) -> Snapshot:
    bars = Bars(NOTHING.astype("datetime64[D]"), NOTHING, NOTHING, NOTHING, NOTHING, NOTHING)
    now = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
    return Snapshot(ticker, ticker, "fake", now, bars, 100.0, RateCurve.flat(0.04), stale=stale)


class FakeMarket:
    """Every ticker exists but those that begin with NO; thread-safe."""

    name = "fake"
    group = 1000

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.calls = 0
        self.delay_s = 0.0
        self.failing: Problem | None = None
        self.stale = False
        self._lock = threading.Lock()

    def fetch(self, tickers: Sequence[str]) -> list[Snapshot | Problem]:
        with self._lock:
            self.calls += 1
            self.fetched += tickers
        time.sleep(self.delay_s)
        if self.failing is not None:
            return [self.failing] * len(tickers)
        return [unknown_ticker(t, self.name) if t.startswith("NO") else snapshot(t, stale=self.stale) for t in tickers]

    def popular(self) -> list[Listing]:
        return [Listing("AAPL", "Apple"), Listing("MSFT", "Microsoft")]

    def universe(self) -> list[Listing] | None:
        return None

    def close(self) -> None:
        pass


class FakeEngine:
    """Analyses are small dictionaries; tickers that begin with BAD raise; thread-safe."""

    def __init__(self) -> None:
        self.analyzed: list[str] = []
        self.calls = 0
        self.delay_s = 0.0
        self.padding = 0
        self.p_values: dict[str, float] = {}
        self.gate: threading.Event | None = None
        self.load_gate: threading.Event | None = None
        self._lock = threading.Lock()

    def load(self) -> Engine:
        if self.load_gate is not None:
            self.load_gate.wait()
        return Engine("fake-1", self.analyze, self.encode, lambda: (0.0003, 0.0001), self.p_value)

    def analyze(self, snapshots: Sequence[Snapshot], details: Sequence[str], give_way: Callable[[], None]) -> list[Any]:
        with self._lock:
            self.calls += 1
            self.analyzed += [one.ticker for one in snapshots]
        if self.gate is not None:
            self.gate.wait()
        time.sleep(self.delay_s)
        if any(one.ticker.startswith("BAD") for one in snapshots):
            raise ValueError("poison")
        return [{"ticker": one.ticker, "current_price": one.spot, "padding": "x" * self.padding} for one in snapshots]

    def p_value(self, analysis: Any) -> float:
        return self.p_values.get(analysis["ticker"], math.nan)

    def encode(self, analysis: Any, detail: str) -> bytes:
        return msgspec.json.encode({**analysis, "detail": detail})


class Server:
    """A running server and a client that talks to it."""

    def __init__(self, app: web.Application, market: FakeMarket, engine: FakeEngine) -> None:
        self.app = app
        self.market = market
        self.engine = engine
        self.port = 0
        self.client: aiohttp.ClientSession
        self.stop = asyncio.Event()

    @property
    def service(self) -> Service:
        return self.app[SERVICE]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def post(self, body: Any, path: str = "/api/analyze", **headers: str) -> tuple[int, Any]:
        async with self.client.post(self.url(path), json=body, headers=headers) as response:
            return response.status, msgspec.json.decode(await response.read())

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        async with self.client.get(self.url(path), headers=headers) as response:
            return response.status, msgspec.json.decode(await response.read())

    async def raw(self, data: bytes, until: bytes = b"") -> bytes:
        """Send bytes as they are; give what comes back until the server closes (or `until` was seen)."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        received = b""
        with contextlib.suppress(ConnectionError):
            while not (until and until in received) and (part := await reader.read(65536)):
                received += part
        writer.close()
        return received


@contextlib.asynccontextmanager
async def running(
    state_dir: Path,
    *,
    engine: FakeEngine | None = None,
    market: FakeMarket | None = None,
    ready: bool = True,
    options: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[Server]:
    """Serve on a free port until the block ends."""
    engine, market = engine or FakeEngine(), market or FakeMarket()
    settings = {"port": 0, "host": "127.0.0.1", "state_dir": str(state_dir), "compute_threads": 2, **settings}
    configured = Settings(**settings)
    app = build_app(configured, market, load=engine.load, **{"leave": lambda code: None, **(options or {})})
    server = Server(app, market, engine)
    listening = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(app, configured, server.stop, listening.set_result))
    await asyncio.wait((task, listening), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    server.port = listening.result()
    if ready:
        await server.service.boot_task
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as server.client:
            yield server
    finally:
        for held in (engine.gate, engine.load_gate):
            if held is not None:
                held.set()
        server.stop.set()
        await task


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Let the server work until something is so; fail when it takes too long."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
