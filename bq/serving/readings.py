"""What the server's parts count, as numbers to be read when somebody asks.

Rules of this file: reading only; the names are those of `docs/` and of dashboards.
"""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bq.market.source import Market, Upstream
from bq.serving.batcher import Batcher
from bq.serving.blackbox import BlackBox
from bq.serving.cache import Cache
from bq.serving.desk import Desk, Key
from bq.serving.flights import Rank
from bq.serving.metrics import Reading
from bq.serving.scans import Scans
from bq.serving.suspects import Suspects

if TYPE_CHECKING:
    from bq.serving.service import Service


def of(service: "Service") -> Iterable[Reading]:
    """Read everything."""
    yield from _cache_readings(service.cache, service.desk)
    yield Reading("bq_variants_bytes", "compressed answers", service.variants.size)
    yield Reading("bq_variants_made_total", "answers compressed", service.variants.made)
    yield Reading("bq_variants_served_total", "answers sent compressed", service.variants.served)
    yield from _batcher_readings(service.batcher)
    yield from _upstream_readings(service.pools.market)
    yield Reading("bq_loop_tasks", "tasks of the event loop", len(asyncio.all_tasks()))
    yield Reading("bq_memory_pressure", "0 none, 1 caches give way, 2 nothing new is begun", service.upkeep.pressure)
    yield Reading("bq_http_in_flight", "requests being answered", service.in_flight)
    yield Reading("bq_jobs", "tasks by state", len(service.jobs.running), "state", "processing")
    yield Reading("bq_job_store_failures_total", "tasks or items that could not be stored", service.jobs.failures)
    yield Reading("bq_archive_failures_total", "reads of stored scans that failed", service.archive.failures)
    yield Reading(
        "bq_recall_failures_total", "look-ups of remembered volatilities that failed", service.recall.failures
    )
    yield Reading("bq_archive_waiting", "reads of stored scans that run or wait", service.archive.waiting)
    yield from _scan_readings(service.scans)
    yield from _death_readings(service.suspects, service.black_box)
    yield Reading("bq_snapshot_failures_total", "snapshots that could not be written", service.snapshot_failures)
    yield Reading("bq_ready", "1 when traffic is welcome", float(service.why_not_ready() is None))
    if service.door is not None:
        yield Reading("bq_connections", "open connections", len(service.door.connections_by_handler))
        for reason, value in (
            ("too_many", service.door.turned_away),
            ("slow_head", service.door.slow_heads),
            ("stalled_reader", service.door.stalled_readers),
        ):
            yield Reading("bq_connections_closed_total", "by us, and why", value, "reason", reason)


def _scan_readings(scans: Scans) -> Iterable[Reading]:
    scanner = scans.current
    yield Reading("bq_scan_running", "1 while a scan runs", float(scanner is not None))
    yield Reading("bq_scan_tickers", "of the scan that runs", scanner.total if scanner else 0, "state", "total")
    yield Reading("bq_scan_tickers", "of the scan that runs", scanner.done if scanner else 0, "state", "done")
    failures = scans.ledger.failures
    yield Reading("bq_scan_store_failures_total", "calls that the database of scans did not answer", failures)


def _death_readings(suspects: Suspects, black_box: BlackBox) -> Iterable[Reading]:
    text = "tickers that were being analysed when the process died"
    yield Reading("bq_suspects", text, len(suspects.known) - suspects.condemned, "state", "apart")
    yield Reading("bq_suspects", text, suspects.condemned, "state", "condemned")
    yield Reading("bq_black_box_failures_total", "records of what is analysed that failed", black_box.failures)


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
        ("bq_computed_tickers_total", "tickers analysed", batcher.bisection.keys),
        ("bq_slices_total", "calls of the engine", batcher.bisection.calls),
        ("bq_bisections_total", "slices that raised and were halved", batcher.bisection.halved),
        ("bq_apart_total", "tickers analysed while nothing else was", tally.apart),
        ("bq_poisoned_total", "tickers that raise on their own", batcher.bisection.poisoned),
        ("bq_lost_wakeups_total", "times that the watchdog found work and nobody at it", tally.lost_wakeups),
        ("bq_stuck_total", "slices and fetches given up", tally.stuck),
        ("bq_batcher_failures_total", "defects survived", tally.pump_failures + tally.delivery_failures),
        ("bq_kernel_cost_seconds_per_ticker", "of the fitted line", batcher.compute_cost.each),
    ):
        yield Reading(name, text, value)
    for rank in Rank:
        backlog = batcher.backlog_s(rank)
        yield Reading("bq_batch_backlog_seconds", "predicted work ahead", backlog, "class", rank.name.lower())
