"""The parts of the server that analyse, without the server: for a command that has a long list.

Rules of this file: the same threads, cache, batcher and desk as `Service` has, wired the same; no HTTP, no tasks.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Final

import msgspec

from bq.config import Settings
from bq.market.source import Market
from bq.serving.admission import Limits
from bq.serving.batcher import Batcher, Ran
from bq.serving.cache import Cache
from bq.serving.compute import Engine, Pools
from bq.serving.desk import Desk, Key

BEAT_S: Final = 1.0
CACHE_BYTES: Final = 1 << 20  # a scan keeps nothing
STUCK_S: Final = 600.0
"""No caller waits, so a slice may take its time: a fund with 40 expiries on a busy machine is slow and not stuck."""
FETCH_TIMEOUT_S: Final = 300.0


class Local:
    """An engine at work in this process, from `async with` to its end.

    Parameters
    ----------
    open_market, load
        Give the market and the engine; blocking, called in a computing thread.
    clock, wall
        Monotonic seconds; seconds since 1970.
    """

    def __init__(
        self,
        settings: Settings,
        open_market: Callable[[], Market],
        load: Callable[[], Engine],
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.pools = Pools(settings.compute_threads, settings.fetch_threads)
        self.compute_s = 0.0  # in slices, so far
        cache: Cache[Key] = Cache(clock, budget=CACHE_BYTES, soft=lambda: settings.soft_ttl_s)
        limits = Limits(
            compute_slots=self.pools.compute_threads,
            fetch_slots=settings.fetch_threads,
            stuck_s=STUCK_S,
            fetch_timeout_s=FETCH_TIMEOUT_S,
        )
        self._batcher = Batcher(
            cache, self.pools.fetch, self.pools.compute, clock=clock, wall=wall, limits=limits, on_ran=self._note
        )
        self.desk = Desk(cache, self._batcher, clock)
        self._open_market = open_market
        self._load = load
        self._beats: asyncio.Task[None] | None = None

    @property
    def market(self) -> Market:
        """The market, once it is open."""
        assert self.pools.market is not None
        return self.pools.market

    async def __aenter__(self) -> "Local":
        """Open the market, load and check the engine."""
        cost = await self.pools.load(self._load, self._open_market)
        if cost is not None:
            self._batcher.compute_cost.seed(*cost)
        self._batcher.limits = msgspec.structs.replace(self._batcher.limits, fetch_group=self.market.group)
        self._beats = asyncio.get_running_loop().create_task(self._beat())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of everything; slices that run are waited for."""
        if self._beats is not None:
            self._beats.cancel()
        await self._batcher.close()
        self.pools.close()
        if self.pools.market is not None:
            self.pools.market.close()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            self._batcher.beat()

    def _note(self, ran: Ran) -> None:
        self.compute_s += ran.seconds
