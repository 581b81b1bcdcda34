"""The threads: a small pool that fetches, and one that computes at a lower priority than the event loop.

Rules of this file: the only place in `bq.serving` that starts threads. Nothing here touches the cache or a flight.
"""

import asyncio
import contextlib
import gzip
import hashlib
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from bq.errors import Problem, source_failed
from bq.market.source import Market, Snapshot
from bq.serving.bisection import Worked
from bq.serving.desk import Key
from bq.serving.turns import Patience, Turns

T = TypeVar("T")

_log = logging.getLogger(__name__)

NICENESS: Final = 5
"""How much the computing threads give way to the loop. Triton's batcher does the same to its own threads."""


class Engine(NamedTuple):
    """What turns snapshots into bytes. `analyze` and `encode` are pure; all of it runs in a computing thread."""

    version: str
    analyze: Callable[[Sequence[Snapshot], Sequence[Any], Callable[[], None]], Sequence[Any | Problem]]
    """Snapshots, and the detail that each is asked for, to analyses. Calls its third argument between two stages."""
    encode: Callable[[Any, Any], bytes]
    """An analysis and a detail to the `data` of its item."""
    warm_up: Callable[[], tuple[float, float] | None]
    """Compile or load what is needed and check golden values (raising when they are off); the cost of a slice that it
    saw, as seconds a slice and seconds a ticker, or None."""
    p_value: Callable[[Any], float] = lambda _: math.nan
    """Of an analysis: what the false-discovery rate of a list is made from."""
    weigh: Callable[[Snapshot], int] = lambda _: 1
    """How many ordinary tickers the analysis of a snapshot is worth."""
    load_the_rest: Callable[[], None] = lambda: None
    """Load what only some analyses need: after the start, so that neither it nor the first of those waits."""


def load_engine() -> Engine:
    """Import the engine, which compiles its kernels or loads them compiled."""
    from kernels import warm

    warm.ahead_of_import()
    from bq import schema
    from bq.analysis import engine
    from bq.analysis.weight import weigh

    def encode(written: schema.Written, detail: schema.Detail) -> bytes:
        return schema.encode(written.analysis, detail)

    def cycle_p(written: schema.Written) -> float:
        return written.cycle_p

    return Engine(engine.ENGINE_VERSION, engine.answer, encode, engine.warm_up, cycle_p, weigh, engine.load_the_rest)


def _give_way() -> None:
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
    except OSError as error:  # a container may forbid it; the loop then competes on equal terms
        _log.warning("computing threads keep their priority: %s", error)


class Pools:
    """The threads, and the two functions that the batcher awaits.

    Parameters
    ----------
    compute_threads
        Slices at a time that nobody waits for, and as many beside them that somebody waits for; 0 for one a core.
    """

    def __init__(self, compute_threads: int, fetch_threads: int) -> None:
        self.market: Market | None = None
        self.compute_threads = compute_threads or available_cores()
        self.fetch_threads = fetch_threads
        self.engine: Engine | None = None
        self.under_way: Callable[[Sequence[str]], contextlib.AbstractContextManager[None]] = _unrecorded
        """Records the tickers that a thread analyses, as long as it does."""
        self.recall: Callable[[Sequence[Snapshot | Problem]], list[Snapshot | Problem]] = list
        """Adds to the market's answers what a store remembers; called in a fetching thread."""
        self._computers: set[int] = set()  # native ids of the threads that compute
        self._fetching = ThreadPoolExecutor(fetch_threads, "fetch")
        self._turns = Turns(time.perf_counter)
        self._computing = ThreadPoolExecutor(2 * self.compute_threads, "compute", initializer=self._begin_computing)
        self._beside = ThreadPoolExecutor(self.compute_threads, "beside", initializer=_give_way)
        self._aside = ThreadPoolExecutor(1, "aside", initializer=_give_way)

    async def load(self, load: Callable[[], Engine], open_market: Callable[[], Market]) -> tuple[float, float] | None:
        """Import, compile, warm up and check the engine in a computing thread; give the cost it saw.

        The market is opened there too: the simulated one uses kernels, which may have to be compiled.
        """
        loop = asyncio.get_running_loop()
        engine = await loop.run_in_executor(self._computing, load)
        self.market = await loop.run_in_executor(self._computing, open_market)
        cost = await loop.run_in_executor(self._computing, engine.warm_up)
        self.engine = engine
        return cost

    async def fetch(self, keys: Sequence[Key]) -> list[Snapshot | Problem]:
        """Have the market answer each key's ticker, each ticker once."""
        return await asyncio.get_running_loop().run_in_executor(self._fetching, self._fetch, keys)

    async def compute(self, keys: Sequence[Key], snapshots: Sequence[Snapshot], hurried: bool) -> Worked:
        """Analyse and encode in a computing thread; while one is hurried, the others pause."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._computing, self._compute, keys, snapshots, hurried)

    async def in_compute(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run other work that somebody waits for (pricing, a caller's legs) in threads like those that compute.

        Not in the same: a slice that waited there for a queue of other work would be taken for one that hangs.
        """
        return await asyncio.get_running_loop().run_in_executor(self._beside, self._in_a_hurry, work, *arguments)

    def _in_a_hurry(self, work: Callable[..., T], *arguments: Any) -> T:
        with self._turns.hurried():
            return work(*arguments)

    def starved_s(self) -> float:
        """Add up the seconds for which the computing threads have waited for a core (Linux; 0 elsewhere).

        On a machine that is shared a slice may wait longer than it runs, and hangs as little as the machine does.
        """
        return sum(map(_waited_for_a_core, tuple(self._computers)))

    def paused_s(self) -> float:
        """Add up the seconds for which slices that nobody waits for have paused."""
        return self._turns.paused_s

    def _begin_computing(self) -> None:
        _give_way()
        self._computers.add(threading.get_native_id())

    def weigh(self, snapshot: Snapshot) -> int:
        """Say how many ordinary tickers the analysis of a snapshot is worth."""
        return 1 if self.engine is None else self.engine.weigh(snapshot)

    async def in_fetch(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run other blocking input or output in a fetching thread."""
        return await asyncio.get_running_loop().run_in_executor(self._fetching, work, *arguments)

    async def compress(self, body: bytes) -> bytes:
        """Make a gzip stream of an answer (level 6, no time in it: equal answers have equal streams)."""
        return await self.aside(_gzip, body)

    def aside(self, work: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """Run housekeeping in a thread of its own, where neither a fetch nor a slice waits behind it."""
        return asyncio.get_running_loop().run_in_executor(self._aside, work, *arguments)

    def close(self) -> None:
        """Take no more work; what runs is not waited for."""
        self._fetching.shutdown(wait=False, cancel_futures=True)
        self._computing.shutdown(wait=False, cancel_futures=True)
        self._beside.shutdown(wait=False, cancel_futures=True)
        self._aside.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, keys: Sequence[Key]) -> list[Snapshot | Problem]:
        market = self.market
        if market is None:
            raise RuntimeError("the market is not open")
        tickers = list(dict.fromkeys(key[0] for key in keys))
        answers = self.recall(market.fetch(tickers))
        if len(answers) != len(tickers):
            raise RuntimeError(f"the {market.name} market gave {len(answers)} answers to {len(tickers)} tickers")
        found = dict(zip(tickers, answers, strict=True))
        return [found.get(key[0]) or source_failed(key[0], "no answer") for key in keys]

    def _compute(self, keys: Sequence[Key], snapshots: Sequence[Snapshot], hurried: bool) -> Worked:
        engine = self.engine
        if engine is None:
            raise RuntimeError("the engine is not loaded")
        with self.under_way([key[0] for key in keys]):
            if hurried:
                return self._in_a_hurry(_analyzed, engine, keys, snapshots, lambda: None)
            patience = Patience(self._turns)
            return _analyzed(engine, keys, snapshots, patience.give_way)._replace(paused_s=patience.paused_s)


def _waited_for_a_core(thread: int) -> float:
    try:
        return int(Path(f"/proc/self/task/{thread}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def _unrecorded(tickers: Sequence[str]) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def _analyzed(
    engine: Engine, keys: Sequence[Key], snapshots: Sequence[Snapshot], give_way: Callable[[], None]
) -> Worked:
    analyses = engine.analyze(snapshots, [key[1] for key in keys], give_way)
    if len(analyses) != len(keys):
        raise RuntimeError(f"{len(analyses)} analyses of {len(keys)} snapshots")
    began = time.perf_counter()
    answers = [
        analysis if isinstance(analysis, Problem) else engine.encode(analysis, key[1])
        for key, analysis in zip(keys, analyses, strict=True)
    ]
    p_values = [math.nan if isinstance(analysis, Problem) else engine.p_value(analysis) for analysis in analyses]
    return Worked(answers, time.perf_counter() - began, p_values)


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, 6, mtime=0)


def code_fingerprint() -> str:
    """Name the code that makes answers (hex, 16 digits): other code, other answers, whatever the version says."""
    root = Path(__file__).parents[2]
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(p for folder in ("bq", "kernels") for p in (root / folder).rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def available_cores() -> int:
    """Count the cores that this process may run on."""
    return len(os.sched_getaffinity(0))
