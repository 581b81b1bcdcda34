"""The server's parts, put together: what handlers are given, how it boots, what it does every second, how it ends.

Rules of this file: no routes and no answers. Every part is made here once; time and chance are arguments.
"""

import asyncio
import contextlib
import datetime as dt
import faulthandler
import logging
import math
import random
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from bq.config import VERSION, Settings
from bq.errors import Failure, Problem
from bq.market.source import Edited, Market, Snapshot, Upstream
from bq.scan.database import parse, url_of
from bq.scan.ledger import Ledger
from bq.scan.recall import Recall
from bq.scan.store import Store
from bq.serving import memory, snapshot
from bq.serving.archive import Archive
from bq.serving.batcher import Batcher, Limits, Ran
from bq.serving.cache import Cache, Entry
from bq.serving.compute import Engine, Pools, code_fingerprint
from bq.serving.desk import Desk, Key
from bq.serving.flights import Rank
from bq.serving.hot import HotPath
from bq.serving.jobs import Jobs
from bq.serving.limits import Proxies, TokenBuckets
from bq.serving.logs import leave
from bq.serving.memory import Pressure
from bq.serving.metrics import Metrics, Reading
from bq.serving.protocol import Door
from bq.serving.scans import Scans
from bq.serving.variants import Variants

_log = logging.getLogger(__name__)

BEAT_S: Final = 1.0
HEARTBEAT_MAX_S: Final = 2.0  # an older heartbeat of the batcher means not ready
LAG_MAX_S: Final = 1.0
REFRESH_S: Final = 0.25  # between looks for answers that are due for refreshing ahead
STUCK_GRACE_S: Final = 15.0  # between finding a slice stuck and leaving the process to its supervisor
STUCK_EXIT: Final = 70  # EX_SOFTWARE
LONGEST_DEADLINE_S: Final = 25.0  # Heroku's router gives up after 30

TRIM_PAUSE_S: Final = 10.0  # between two times that freed memory is given back to the system
SHRINK_PAUSE_S: Final = 10.0  # between two times that stored answers give way to a shortage of memory

SHORT_OF_MEMORY: Final = Problem("too_busy", "The server is short of memory.", 10.0)
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
        self.metrics = Metrics(self._readings, VERSION)
        self.pools = Pools(settings.compute_threads, settings.fetch_threads)
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
        self.memory_limit = memory.limit_bytes(settings.memory_mib)
        self.pressure = Pressure.NONE
        self._shrunk_at = self._trimmed_at = -math.inf
        self._computed_at_trim = -1
        self._ready = False
        self._lag_s = 0.0
        self._is_open = False
        self._session_open = session_open
        self._open_market = open_market
        self._load_engine = load_engine
        self._leave = leave
        self._stuck_since: float | None = None
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
            await asyncio.to_thread(snapshot.write, self._snapshot_path, taken)
        except OSError as error:
            self.snapshot_failures += 1
            _log.warning("the cache could not be written: %s", error)

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
            saved = await asyncio.to_thread(snapshot.read, self._snapshot_path)
            if saved is not None:
                count = snapshot.restore(self.cache, saved, self.desk.world, self.wall())
                _log.info("%d answers were taken from the snapshot", count)
            self._ready = True
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
        self._look_for_stuck_slices()
        self._watch_memory()
        self._trim_when_idle()

    def _watch_memory(self) -> None:
        """Make room when memory runs short, and begin nothing new when that is not enough; hits are always served."""
        before, self.pressure = self.pressure, memory.pressure(memory.resident_bytes(), self.memory_limit)
        self.batcher.refusal = SHORT_OF_MEMORY if self.pressure is Pressure.REFUSE else None
        now = self.clock()
        if self.pressure is Pressure.NONE or now - self._shrunk_at < SHRINK_PAUSE_S:
            return
        self._shrunk_at = now
        self.variants.clear()
        self.cache.shrink(self.cache.counts().size // 2)
        self.pools.aside(memory.trim)
        if before is not self.pressure:
            _log.warning("memory is short (%s): stored answers were given up", self.pressure.name.lower())

    def _trim_when_idle(self) -> None:
        """Give back what analyses have freed: the allocator keeps 50 MB of it, and small dynos have 512 MB."""
        now, computed = self.clock(), self.batcher.tally.computed
        if self.batcher.flights or computed == self._computed_at_trim or now - self._trimmed_at < TRIM_PAUSE_S:
            return
        self._trimmed_at, self._computed_at_trim = now, computed
        self.pools.aside(memory.trim)

    def _look_for_stuck_slices(self) -> None:
        """Give a hanging slice some time, then leave: a thread cannot be killed, but a process can be replaced."""
        if not self.batcher.is_stuck:
            self._stuck_since = None
            return
        now = self.clock()
        if self._stuck_since is None:
            self._stuck_since = now
            with contextlib.suppress(OSError, ValueError, AttributeError):  # standard error may be no real file
                faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
        elif now - self._stuck_since > STUCK_GRACE_S:
            _log.critical("computing hangs; leaving")
            self._leave(STUCK_EXIT)

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

    def _scan_readings(self) -> Iterable[Reading]:
        scanner = self.scans.current
        yield Reading("bq_scan_running", "1 while a scan runs", float(scanner is not None))
        yield Reading("bq_scan_tickers", "of the scan that runs", scanner.total if scanner else 0, "state", "total")
        yield Reading("bq_scan_tickers", "of the scan that runs", scanner.done if scanner else 0, "state", "done")
        failures = self.scans.ledger.failures
        yield Reading("bq_scan_store_failures_total", "calls that the database of scans did not answer", failures)

    def _readings(self) -> Iterable[Reading]:
        yield from _cache_readings(self.cache, self.desk)
        yield Reading("bq_variants_bytes", "compressed answers", self.variants.size)
        yield Reading("bq_variants_made_total", "answers compressed", self.variants.made)
        yield Reading("bq_variants_served_total", "answers sent compressed", self.variants.served)
        yield from _batcher_readings(self.batcher)
        yield from _upstream_readings(self.pools.market)
        yield Reading("bq_loop_tasks", "tasks of the event loop", len(asyncio.all_tasks()))
        yield Reading("bq_memory_pressure", "0 none, 1 caches give way, 2 nothing new is begun", self.pressure)
        yield Reading("bq_http_in_flight", "requests being answered", self.in_flight)
        yield Reading("bq_jobs", "tasks by state", len(self.jobs.running), "state", "processing")
        yield Reading("bq_job_store_failures_total", "tasks or items that could not be stored", self.jobs.failures)
        yield Reading("bq_archive_failures_total", "reads of stored scans that failed", self.archive.failures)
        yield Reading(
            "bq_recall_failures_total", "look-ups of remembered volatilities that failed", self.recall.failures
        )
        yield Reading("bq_archive_waiting", "reads of stored scans that run or wait", self.archive.waiting)
        yield from self._scan_readings()
        yield Reading("bq_snapshot_failures_total", "snapshots that could not be written", self.snapshot_failures)
        yield Reading("bq_ready", "1 when traffic is welcome", float(self.why_not_ready() is None))
        if self.door is not None:
            yield Reading("bq_connections", "open connections", len(self.door.connections_by_handler))
            for reason, value in (
                ("too_many", self.door.turned_away),
                ("slow_head", self.door.slow_heads),
                ("stalled_reader", self.door.stalled_readers),
            ):
                yield Reading("bq_connections_closed_total", "by us, and why", value, "reason", reason)


def _cache_readings(cache: Cache[Key], desk: Desk) -> Iterable[Reading]:
    for result in desk.lookups.__slots__:
        value = getattr(desk.lookups, result)
        yield Reading("bq_cache_lookups_total", "tickers looked up in the cache", value, "result", result)
    counts = cache.counts()
    yield Reading("bq_cache_bytes", "answers and their overhead", counts.size)
    yield Reading("bq_cache_entries", "answers", counts.entries)
    yield Reading("bq_cache_refusals", "problems that stand in for answers", counts.refusals)
    yield Reading("bq_cache_overtaken_total", "answers discarded because newer ones were there", cache.overtaken)


def _upstream_readings(market: Market | None) -> Iterable[Reading]:
    """Read what a market that asks somebody else counts; the others have nothing to tell."""
    if not isinstance(market, Upstream):
        return
    for outcome, count in sorted(market.requests_by_outcome().items()):
        yield Reading("bq_upstream_requests_total", "real requests to the source", count, "outcome", outcome)
    state = float(market.holds_back())
    yield Reading("bq_upstream_breaker_state", "1 while the breaker is open", state)


def _batcher_readings(batcher: Batcher[Key, Any]) -> Iterable[Reading]:
    tally = batcher.tally
    yield Reading("bq_flights", "tickers being fetched, computed, or waiting for it", batcher.flights)
    for name, text, value in (
        ("bq_flight_leads_total", "flights started for a request", tally.leads),
        ("bq_flight_joins_total", "tickers that found their flight under way", tally.joins),
        ("bq_flight_refreshes_total", "flights started by the cache", tally.refreshes),
        ("bq_flight_dropped_total", "flights that nobody waited for any more", tally.dropped),
        ("bq_fetched_tickers_total", "tickers asked of the market", tally.fetched),
        ("bq_computed_tickers_total", "tickers analysed", tally.computed),
        ("bq_slices_total", "calls of the engine", tally.slices),
        ("bq_bisections_total", "slices that raised and were halved", tally.bisections),
        ("bq_poisoned_total", "tickers that raise on their own", tally.poisoned),
        ("bq_lost_wakeups_total", "times that the watchdog found work and nobody at it", tally.lost_wakeups),
        ("bq_stuck_total", "slices and fetches given up", tally.stuck),
        ("bq_batcher_failures_total", "defects survived", tally.pump_failures + tally.delivery_failures),
        ("bq_kernel_cost_seconds_per_ticker", "of the fitted line", batcher.compute_cost.each),
    ):
        yield Reading(name, text, value)
    for rank in Rank:
        backlog = batcher.backlog_s(rank)
        yield Reading("bq_batch_backlog_seconds", "predicted work ahead", backlog, "class", rank.name.lower())
