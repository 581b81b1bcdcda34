"""The server's parts, put together: what handlers are given, how it boots, what it does every second, how it ends.

Rules of this file: no routes and no answers. Every part is made here once; time and chance are arguments.
"""

import asyncio
import datetime as dt
import logging
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from bq.config import VERSION, Settings
from bq.errors import Failure, Problem
from bq.market.source import Edited, Market, Snapshot
from bq.scan.database import parse, url_of
from bq.scan.ledger import Ledger
from bq.scan.recall import Recall
from bq.scan.store import Store
from bq.serving import memory, readings, snapshot
from bq.serving.admission import Limits
from bq.serving.archive import Archive
from bq.serving.batcher import Batcher, Ran
from bq.serving.blackbox import BlackBox
from bq.serving.cache import Cache, Entry
from bq.serving.compute import Engine, Pools, code_fingerprint
from bq.serving.desk import Desk, Key
from bq.serving.hot import HotPath
from bq.serving.jobs import Jobs
from bq.serving.limits import Proxies, TokenBuckets
from bq.serving.logs import leave
from bq.serving.metrics import Metrics
from bq.serving.protocol import Door
from bq.serving.scans import Scans
from bq.serving.suspects import Suspects
from bq.serving.upkeep import STUCK_EXIT, Upkeep
from bq.serving.variants import Variants

_log = logging.getLogger(__name__)

BEAT_S: Final = 1.0
HEARTBEAT_MAX_S: Final = 2.0  # an older heartbeat of the batcher means not ready
LAG_MAX_S: Final = 1.0
REFRESH_S: Final = 0.25  # between looks for answers that are due for refreshing ahead
LONGEST_DEADLINE_S: Final = 25.0  # Heroku's router gives up after 30

NOT_READY: Final = Problem("not_ready", "The server is starting: its kernels are being compiled or loaded.", 5.0)
DRAINING: Final = Problem("not_ready", "The server is shutting down.", 5.0)


class Service:
    """One server's state. Handlers and feature modules reach everything through it.

    Parameters
    ----------
    settings
        What to serve.
    open_market, load_engine
        Give the market and the engine; blocking, called in a computing thread, since both may compile kernels.
    session_open
        Tells whether the exchange is open, for the life of answers; None where prices do not move.
    clock, wall, rng
        Monotonic seconds, seconds since 1970, and chance.
    leave
        Ends the process with a code, when computing hangs beyond hope.
    """

    def __init__(
        self,
        settings: Settings,
        open_market: Callable[[], Market],
        load_engine: Callable[[], Engine],
        *,
        session_open: Callable[[dt.datetime], bool] | None = None,
        clock: Callable[[], float],
        wall: Callable[[], float],
        rng: random.Random | None = None,
        leave: Callable[[int], object] = leave,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.wall = wall
        self.metrics = Metrics(lambda: readings.of(self), VERSION)
        self.pools = Pools(settings.compute_threads, settings.fetch_threads)
        self.suspects = Suspects(lambda key: str(key[0]), self._keep_suspects)
        self.black_box = BlackBox(Path(settings.state_dir))
        self.pools.under_way = self.black_box.under_way
        self.cache: Cache[Key] = Cache(clock, budget=settings.cache_mib << 20, soft=self.soft_life, rng=rng)
        self.batcher: Batcher[Key, Snapshot] = Batcher(
            self.cache,
            self.pools.fetch,
            self.pools.compute,
            clock=clock,
            wall=wall,
            limits=Limits(
                compute_slots=self.pools.compute_threads,
                fetch_slots=settings.fetch_threads,
                max_flights=settings.max_flights,
                max_backlog_s=settings.max_backlog_s,
            ),
            is_stale=lambda snapshot: snapshot.stale,
            weigh=self.pools.weigh,
            starved=self.pools.starved_s,
            paused=self.pools.paused_s,
            suspects=self.suspects,
            on_ran=self._note,
        )
        self.desk = Desk(self.cache, self.batcher, clock)
        self.variants = Variants(self.pools.compress)
        self.hot = HotPath(self.desk, self.variants, settings.list_limit, wall, self.max_age, self._is_open_to_all)
        self.jobs = Jobs(Path(settings.state_dir) / "tasks.db", self.desk, clock, wall)
        self.recall = self.pools.recall = Recall(lambda: Store.open(url_of(settings)), clock)
        self.archive = Archive(lambda: Store.open(url_of(settings)), clock)
        self.scans = Scans(
            settings,
            self.desk,
            Ledger(lambda: Store.open(url_of(settings))),
            lambda: self.market,
            self.pools.in_fetch,
            clock,
            wall,
        )
        self.buckets = TokenBuckets(clock, settings.client_rate, settings.client_burst)
        self.proxies = Proxies(settings.trusted_proxy)
        self.door: Door | None = None  # set by whoever listens
        self.engine_version = ""
        self.draining = False
        self.in_flight = 0
        self.snapshot_failures = 0
        self.boot_failure: BaseException | None = None
        limit = memory.limit_bytes(settings.memory_mib)
        self.upkeep = Upkeep(
            self.cache, self.variants, self.batcher, self.pools, limit, clock, self._leave_stuck, leave
        )
        self._ready = False
        self._lag_s = 0.0
        self._is_open = False
        self._session_open = session_open
        self._open_market = open_market
        self._load_engine = load_engine
        self._leave = leave
        # A write goes on in its thread when its keeper is cancelled, and the last one goes to the same file.
        self._writing = threading.Lock()
        self._keepers: list[asyncio.Task[None]] = []
        self.boot_task: asyncio.Task[None] | None = None

    # --- being ready ------------------------------------------------------------------------------------------------

    def require_ready(self) -> None:
        """Let a request for numbers pass.

        Raises
        ------
        Failure
            `not_ready` while kernels compile and while shutting down.
        """
        if not self._ready:
            raise Failure(DRAINING if self.draining else NOT_READY)

    @property
    def market(self) -> Market:
        """The market.

        Raises
        ------
        Failure
            `not_ready` while it is being opened.
        """
        if self.pools.market is None:
            raise Failure(NOT_READY)
        return self.pools.market

    @property
    def loaded(self) -> bool:
        """Tell whether the engine is loaded, warm and checked."""
        return self._ready

    def _is_open_to_all(self) -> bool:
        """Tell whether the hot path may answer: not where clients are counted, nor while connections are to close."""
        return self._ready and not self.draining and not self.buckets.is_on

    def why_not_ready(self) -> str | None:
        """Say what stands against sending traffic here; the upstream never does."""
        if self.draining:
            return "draining"
        if not self._ready:
            return "starting"
        if self.batcher.is_stuck:
            return "stuck"
        if self.clock() - self.batcher.last_beat > HEARTBEAT_MAX_S:
            return "no heartbeat"
        if self._lag_s > LAG_MAX_S:
            return "lagging"
        return None

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to boot and to keep time; `boot_task` ends when the service is ready."""
        self._keepers = [
            asyncio.create_task(self._every(BEAT_S, self._beat)),
            asyncio.create_task(self._every(REFRESH_S, self._refresh_ahead)),
        ]
        if self.settings.snapshot_s:
            self._keepers.append(asyncio.create_task(self._keep_snapshots()))
        self.boot_task = asyncio.create_task(self._boot())

    async def stop(self, patience_s: float = 3.0) -> None:
        """Finish what runs, write down what would be lost, and let go of everything."""
        self.drain()
        if self.boot_task is not None and not self.boot_task.done():
            self.boot_task.cancel()
            await asyncio.wait((self.boot_task,))
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(self.jobs.close(), self.scans.close(), self.archive.close())
        self.recall.close()
        await self.batcher.close(patience_s)
        if self._ready:
            await self.save_cache()
        self.black_box.close(clean=not self.batcher.is_stuck)
        self.pools.close()
        if self.pools.market is not None:
            self.pools.market.close()

    def drain(self) -> None:
        """Welcome no more traffic: readiness says no, answers close their connections, streams come to their end."""
        self.draining = True
        self.jobs.wake()
        self.scans.stop_asking()

    async def save_cache(self) -> None:
        """Write the cache to disk; a failure is counted and costs nothing else."""
        taken = snapshot.take(self.cache, self.desk.world, self.wall())
        try:
            await asyncio.to_thread(self._write, taken)
        except OSError as error:
            self.snapshot_failures += 1
            _log.warning("the cache could not be written: %s", error)

    def _write(self, taken: snapshot.Snapshot) -> None:
        with self._writing:
            snapshot.write(self._snapshot_path, taken)

    @property
    def _snapshot_path(self) -> Path:
        return Path(self.settings.state_dir) / "cache.snapshot"

    async def _boot(self) -> None:
        try:
            parse(url_of(self.settings))  # a wrong DATABASE_URL is told at once, not by the first scan
            cost = await self.pools.load(self._load_engine, self._open_market)
            self.batcher.limits = msgspec.structs.replace(self.batcher.limits, fetch_group=self.market.group)
            if cost is not None:
                self.batcher.compute_cost.seed(*cost)
            assert self.pools.engine is not None
            self.engine_version = self.pools.engine.version
            edition = self.market.edition if isinstance(self.market, Edited) else ""
            code = await asyncio.to_thread(code_fingerprint)
            self.desk.world = "/".join(
                (
                    self.settings.market,
                    edition,
                    self.settings.as_of,
                    f"{self.settings.rate:g}",
                    self.engine_version,
                    code,
                )
            )
            await asyncio.to_thread(self._learn_from_deaths)
            saved = await asyncio.to_thread(snapshot.read, self._snapshot_path)
            if saved is not None:
                count = snapshot.restore(self.cache, saved, self.desk.world, self.wall())
                _log.info("%d answers were taken from the snapshot", count)
            self._ready = True
            self._keepers.append(asyncio.create_task(self._load_the_rest(self.pools.engine.load_the_rest)))
            await self.jobs.open()
            self.scans.open()
            _log.info("ready")
        except Exception as error:
            self.boot_failure = error
            if isinstance(error, Failure):  # a setting that will not do: its text says which
                _log.critical("%s", error.problem.error)
            else:
                _log.critical("the engine cannot be used", exc_info=True)
            self._leave(STUCK_EXIT)

    async def _load_the_rest(self, load: Callable[[], None]) -> None:
        try:
            await self.pools.aside(load)
        except Exception:  # whoever needs it tries again, and then it is that ticker's problem
            _log.exception("a part of the engine could not be loaded")

    def _learn_from_deaths(self) -> None:
        """Find out what was being computed when the process last died, before anything is computed (blocking)."""
        kept, under_way = self.black_box.read(self.desk.world, self.wall())
        self.suspects.accuse(kept, under_way, self.wall())
        self.black_box.keep(self.desk.world, self.suspects.known)
        self.black_box.open()
        if self.suspects.known:
            names = ", ".join(sorted(self.suspects.known)[:20])
            _log.warning("%d tickers were being analysed when the process died: %s", len(self.suspects.known), names)

    def _leave_stuck(self, code: int) -> None:
        self.black_box.confess("a slice hung")
        self._leave(code)

    def _keep_suspects(self) -> None:
        self.pools.aside(self.black_box.keep, self.desk.world, dict(self.suspects.known))

    async def _every(self, seconds: float, work: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + seconds
            await asyncio.sleep(seconds)
            self._lag_s = max(loop.time() - due, 0.0)
            self.metrics.loop_lag.observe(self._lag_s)
            try:
                work()
            except Exception:  # whatever it is, the next beat must come
                _log.exception("%s failed", work.__name__)

    def _beat(self) -> None:
        self.batcher.beat()
        if self.door is not None:
            self.door.sweep()
        if self._session_open is not None and self._ready:
            self._is_open = self._session_open(dt.datetime.fromtimestamp(self.wall(), dt.UTC))
        self.upkeep.beat()

    def _refresh_ahead(self) -> None:
        if self._ready and not self.draining and self.batcher.flights == 0:
            self.batcher.refresh(self.cache.take_due(self.batcher.limits.max_slice))

    async def _keep_snapshots(self) -> None:
        while True:
            await asyncio.sleep(self.settings.snapshot_s)
            if self._ready:
                await self.save_cache()

    def soft_life(self) -> float:
        """Seconds for which what was found is fresh."""
        return self.settings.soft_ttl_s if self._is_open else self.settings.soft_ttl_closed_s

    # --- numbers ----------------------------------------------------------------------------------------------------

    def max_age(self, entry: Entry) -> int:
        """Whole seconds for which an answer is fresh."""
        return max(int(entry.soft_until - self.clock()), 0)

    def deadline(self, seconds: float | None) -> float:
        """Turn a request's deadline into a moment of the clock."""
        return self.clock() + min(seconds or self.settings.deadline_s, LONGEST_DEADLINE_S)

    def metrics_text(self) -> bytes:
        """Write the metrics down; what the hot path served is counted in now (it is in no histogram of durations)."""
        count = self.metrics.requests.labels
        count("/api/analyze", "200").inc(self.hot.served_post)
        for code, served in self.hot.served_get.items():
            count("/api/analysis/{ticker}", str(code)).inc(served)
            self.hot.served_get[code] = 0
        self.hot.served_post = 0
        return self.metrics.text()

    def shed(self, problem: Problem) -> None:
        """Count a request that was turned away."""
        self.metrics.shed.labels(problem.code).inc()

    def _note(self, ran: Ran) -> None:
        self.metrics.batch_size.observe(ran.size)
        self.metrics.batch_wait.labels(ran.rank.name.lower()).observe(ran.wait_s)
        self.metrics.batch_duration.observe(ran.seconds)
