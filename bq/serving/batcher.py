"""Gather questions into batches, ask each question once, and let nobody's failure be another's.

Rules of this file: everything runs on the event loop's thread, so there are no locks; it knows neither HTTP nor finance
nor threads. Fetching and computing are two awaitable functions that answer each key, in order, with a value or a
problem; whether they use threads is their affair.

Theory of operation
-------------------
`ask` turns every key that is not in flight into a flight and lets it wait in a lane for fetching. `kick` arms the pump
for the end of the loop's present tick, so that a burst shares a batch. The pump starts fetches while a fetch slot is
free and slices while a compute slot is free; whatever comes while all slots are busy waits, and is the next batch.
There is no waiting window: with a cost of a + b n it could only help while there is capacity to spare.

A slice is cut by the milliseconds that it is predicted to take. A slice that raises is halved until the poisonous key
is alone; that key gets a problem, which the cache remembers for a minute, and its neighbours get their answers.

The cache is written before a flight is forgotten. The other order has this schedule: flight forgotten; a request misses
the cache, finds no flight and starts a second one; cache written. `ask` must be called in the tick of the cache's miss,
or the same schedule runs between the two.

A flight that nobody waits for is dropped in the tick in which the last waiter leaves, key and lane at once, so that no
newcomer can join it; a flight that is being fetched or computed always finishes and is cached.
"""

import asyncio
import dataclasses
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple

import msgspec

from bq.errors import Problem
from bq.serving.cache import Cache
from bq.serving.flights import CostLine, Flight, K, Lanes, Rank, S, Stage, Waiter

_log = logging.getLogger(__name__)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much may run and wait."""

    compute_slots: int = 1
    fetch_slots: int = 4
    fetch_group: int = 32  # keys a fetch
    slice_s: float = 0.025  # predicted seconds of a slice
    max_slice: int = 128
    max_flights: int = 20_000
    max_refreshes: int = 2_000
    max_backlog_s: float = 5.0  # predicted work ahead of an interactive request
    max_waits: int = 500_000  # slots of requests that wait, whoever else waits for the same: some 200 bytes each
    scan_share: float = 0.2  # of the batches, while interactive flights wait as well
    refresh_share: float = 0.05  # of the batches, while anything else waits
    stuck_s: float = 5.0  # a slice is stuck after this long, or four times what was predicted
    fetch_timeout_s: float = 30.0


@dataclasses.dataclass
class Tally:
    """What happened, counted since the start."""

    leads: int = 0  # flights started for a request
    joins: int = 0  # keys that found their flight under way
    refreshes: int = 0  # flights started by the cache
    dropped: int = 0  # flights given up because nobody waited any more
    refused: int = 0  # requests turned away
    fetches: int = 0  # calls of fetch
    fetched: int = 0  # keys in them
    slices: int = 0  # calls of compute
    computed: int = 0  # keys in them
    bisections: int = 0  # slices that raised and were halved
    poisoned: int = 0  # keys that raised alone
    lost_wakeups: int = 0  # times the watchdog found work and nobody at it
    pump_failures: int = 0
    delivery_failures: int = 0
    stuck: int = 0  # slices and fetches given up by the watchdog


class Ran(NamedTuple):
    """One finished slice, for whoever keeps statistics."""

    size: int
    wait_s: float  # of its oldest flight, since it was ready
    seconds: float
    rank: Rank  # of the flight that leads it


class Worked(NamedTuple):
    """What a call of compute came to: an answer for each key, in order, and how long encoding them took."""

    answers: Sequence[bytes | Problem]
    encode_s: float
    p_values: Sequence[float] = ()
    """Of the answers, in order, where they have any: stored beside them."""


def _joined(first: Worked, second: Worked) -> Worked:
    halves = (first, second)
    p_values = [p for half in halves for p in half.p_values or [math.nan] * len(half.answers)]
    return Worked([*first.answers, *second.answers], first.encode_s + second.encode_s, p_values)


class Running(Generic[K, S]):
    """A fetch or a slice that was begun."""

    def __init__(self, flights: list[Flight[K, S]], began: float, limit: float, is_slice: bool) -> None:
        self.flights = flights
        self.began = began
        self.limit = limit  # seconds after which it is stuck
        self.is_slice = is_slice
        self.given_up = False


class Batcher(Generic[K, S]):
    """Coalesce equal keys, gather distinct ones into slices, and answer each waiter.

    Parameters
    ----------
    cache
        Written before a flight is forgotten; also remembers poisonous keys.
    fetch
        Keys to snapshots or problems, in order.
    compute
        Keys and their snapshots to encoded answers or problems, in order.
    clock, wall
        Monotonic seconds; seconds since 1970, only to say when an answer was made.
    is_stale
        Tells whether a snapshot is older than it should be, since the source failed.
    on_ran
        Told of every finished slice.
    """

    def __init__(
        self,
        cache: Cache[K],
        fetch: Callable[[Sequence[K]], Awaitable[Sequence[S | Problem]]],
        compute: Callable[[Sequence[K], Sequence[S]], Awaitable[Worked]],
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        limits: Limits | None = None,
        is_stale: Callable[[S], bool] = lambda snapshot: False,
        on_ran: Callable[[Ran], None] = lambda ran: None,
    ) -> None:
        self.limits = limits or Limits()
        self.tally = Tally()
        self.compute_cost = CostLine(fixed=0.3e-3, each=3e-3)
        self.fetch_cost = CostLine(fixed=5e-3, each=1e-3)
        self.last_beat = clock()
        self._cache = cache
        self._fetch = fetch
        self._compute = compute
        self._clock = clock
        self._wall = wall
        self._is_stale = is_stale
        self._on_ran = on_ran
        self._flights: dict[K, Flight[K, S]] = {}
        self.load = dict.fromkeys(Rank, 0)  # flights by rank; for reading
        self.refusal: Problem | None = None  # stands against anything new, when memory is short
        self.waits = 0  # slots that wait
        self._shares = {Rank.SCAN: self.limits.scan_share, Rank.REFRESH: self.limits.refresh_share}
        self._waiting: Lanes[K, S] = Lanes(self._shares)
        self._ready: Lanes[K, S] = Lanes(self._shares)
        self._running: set[Running[K, S]] = set()
        self._busy = {False: 0, True: 0}  # slots taken: fetches, slices
        self._tasks: set[asyncio.Task[None]] = set()
        self._armed = False
        self._closed = False

    # --- asking -----------------------------------------------------------------------------------------------------

    def ask(
        self,
        wanted: Mapping[int, K],
        *,
        deadline: float,
        rank: Rank = Rank.INTERACTIVE,
        owner: str = "",
        keep: bool = True,
    ) -> Waiter[K, S] | Problem:
        """Wait for the answers to distinct keys, by slot; or say why not.

        Parameters
        ----------
        wanted
            The keys that the cache did not have in this very tick.
        deadline
            By the clock; the waiter wakes then with what there is.
        owner
            Whose turn it is among scans: a client or a task.
        keep
            False for answers that go into another store, and would push what is asked for again out of the cache.
        """
        new = sum(1 for key in wanted.values() if key not in self._flights)
        if (problem := self._refuse(new, len(wanted), deadline, rank)) is not None:
            self.tally.refused += 1
            return problem
        self.waits += len(wanted)
        now = self._clock()
        waiter: Waiter[K, S] = Waiter(asyncio.get_running_loop(), now, deadline)
        for slot, key in wanted.items():
            flight = self._flights.get(key)
            if flight is None:
                self.tally.leads += 1
                flight = self._start(key, rank, owner, now, refresh=False)
            else:
                self.tally.joins += 1
                if rank < flight.rank:
                    self._move(flight, rank, owner)
            flight.keep |= keep
            flight.waiters[waiter] = slot
            waiter.waiting[slot] = flight
        self.kick()
        return waiter

    def refresh(self, keys: Iterable[K]) -> None:
        """Replace answers behind their readers' backs, when there is nothing else to do."""
        now = self._clock()
        for key in keys:
            if self._closed or self.refusal is not None or self.load[Rank.REFRESH] >= self.limits.max_refreshes:
                return
            if key not in self._flights:
                self.tally.refreshes += 1
                self._start(key, Rank.REFRESH, "", now, refresh=True)
        self.kick()

    def leave(self, waiter: Waiter[K, S], keep: bool = False) -> None:
        """Give up a wait: flights that nobody else wants are dropped, or with `keep` go on when there is time."""
        waiter.close()
        self.waits -= len(waiter.waiting)
        for flight in waiter.waiting.values():
            flight.waiters.pop(waiter, None)
            if flight.waiters or flight.refresh or flight.stage is Stage.DONE:
                continue
            if keep and self.load[Rank.REFRESH] < self.limits.max_refreshes:
                flight.refresh = flight.keep = True
                self._move(flight, Rank.REFRESH, "")
            elif flight.lanes is not None:
                self._drop(flight)
        waiter.waiting.clear()

    def backlog_s(self, rank: Rank) -> float:
        """Predict the seconds until everything is done that would go before a newcomer of this rank."""
        ahead = sum(self.load[other] for other in Rank if other <= rank)
        unfetched = sum(len(self._waiting.lanes[other]) for other in Rank if other <= rank)
        share = 1.0 - sum(self._shares[other] for other in Rank if other > rank and self.load[other])
        fetching = self.fetch_cost.each * unfetched / self.limits.fetch_slots
        return (self.compute_cost.each * ahead / self.limits.compute_slots + fetching) / share

    @property
    def flights(self) -> int:
        """How many keys are in flight."""
        return len(self._flights)

    @property
    def is_stuck(self) -> bool:
        """Tell whether a slice that the watchdog gave up is still running."""
        return any(running.given_up and running.is_slice for running in self._running)

    def hurry(self) -> None:
        """End every wait now, with what there is: the process is about to go, and no answer at all would be worse."""
        for waiter in {waiter for flight in self._flights.values() for waiter in flight.waiters}:
            waiter.expire()

    # --- the pump ---------------------------------------------------------------------------------------------------

    def kick(self) -> None:
        """See to it that the pump runs at the end of this tick."""
        if not self._armed and not self._closed:
            self._armed = True
            asyncio.get_running_loop().call_soon(self._pump)

    def beat(self) -> None:
        """Look after the pump; to be called every second. A lost wake-up becomes a count, not an outage."""
        now = self.last_beat = self._clock()
        if not self._armed and (self._can_fetch() or self._can_compute()):
            self.tally.lost_wakeups += 1
            self.kick()
        self._find_lost()
        for running in list(self._running):
            if not running.given_up and now - running.began > running.limit:
                self._give_up(running)

    async def close(self, patience_s: float | None = None) -> None:
        """Answer whoever is still in a lane that the server is going away; wait for what runs."""
        self._closed = True
        for flight in list(self._flights.values()):
            if flight.lanes is not None:
                self._settle(flight, Problem("not_ready", "The server is shutting down.", 5.0))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience_s)

    def _find_lost(self) -> None:
        """Free whoever waits for a flight that is in no lane and in no batch: a defect, but no reason to hang."""
        under_way = sum(len(running.flights) for running in self._running if not running.given_up)
        if len(self._waiting) + len(self._ready) + under_way >= len(self._flights):
            return
        for flight in list(self._flights.values()):
            if flight.lanes is None and flight.stage in (Stage.WAITING, Stage.READY):
                self.tally.pump_failures += 1
                self._settle(flight, Problem("internal", "This request was lost. Try again.", 1.0))

    def _can_fetch(self) -> bool:
        return bool(self._waiting) and self._busy[False] < self.limits.fetch_slots

    def _can_compute(self) -> bool:
        return bool(self._ready) and self._busy[True] < self.limits.compute_slots

    def _pump(self) -> None:
        self._armed = False
        try:
            while self._can_fetch():
                self._launch(self._pick_group(), is_slice=False)
            while self._can_compute():
                self._launch(self._pick_slice(), is_slice=True)
        except Exception:
            # Whatever it was, the next pump must come: Ray Serve's batching queue died of three different exceptions.
            self.tally.pump_failures += 1
            _log.exception("the pump failed")
            asyncio.get_running_loop().call_later(0.05, self.kick)

    def _pick_group(self) -> list[Flight[K, S]]:
        free = self.limits.fetch_slots - self._busy[False]
        size = min(self.limits.fetch_group, -(-len(self._waiting) // free))
        return self._waiting.take(size)

    def _pick_slice(self) -> list[Flight[K, S]]:
        free = self.limits.compute_slots - self._busy[True]
        size = min(self.compute_cost.size_within(self.limits.slice_s), self.limits.max_slice)
        return self._ready.take(min(size, -(-len(self._ready) // free)))

    def _launch(self, picked: list[Flight[K, S]], is_slice: bool) -> None:
        now = self._clock()
        flights = []
        for flight in picked:
            if flight.wanted(now):
                flights.append(flight)
            else:
                self._drop(flight)
        if not flights:
            return
        for flight in flights:
            flight.stage = Stage.COMPUTING if is_slice else Stage.FETCHING
            flight.queue_s += now - flight.begun
        if is_slice:
            limit = max(4.0 * self.compute_cost.predict(len(flights)), self.limits.stuck_s)
        else:
            limit = self.limits.fetch_timeout_s
        running = Running(flights, now, limit, is_slice)
        self._running.add(running)
        self._busy[is_slice] += 1
        self._spawn(self._run(running))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, running: Running[K, S]) -> None:
        try:
            if running.is_slice:
                await self._run_slice(running)
            else:
                await self._run_fetch(running)
        except Exception:
            _log.exception("a batch failed outside of its work")
            for flight in running.flights:
                if flight.stage is not Stage.DONE:
                    self._settle(flight, Problem("internal", "This batch failed. Try again."))
        finally:
            self._running.discard(running)
            self._busy[running.is_slice] -= 1
            self.kick()

    # --- fetching ---------------------------------------------------------------------------------------------------

    async def _run_fetch(self, running: Running[K, S]) -> None:
        keys = [flight.key for flight in running.flights]
        self.tally.fetches += 1
        self.tally.fetched += len(keys)
        answers: Sequence[S | Problem]
        try:
            answers = await self._fetch(keys)
            if len(answers) != len(keys):
                raise RuntimeError(f"{len(answers)} snapshots for {len(keys)} keys")
        except Exception:
            _log.exception("a fetch of %d keys failed", len(keys))
            answers = [Problem("source_failed", "The market failed to answer.", 10.0)] * len(keys)
        now = self._clock()
        if not running.given_up:
            self.fetch_cost.observe(len(keys), now - running.began)
        for flight, answer in zip(running.flights, answers, strict=True):
            flight.fetch_s = now - running.began
            self._fetched(flight, answer, now)

    def _fetched(self, flight: Flight[K, S], answer: S | Problem, now: float) -> None:
        if flight.stage is not Stage.FETCHING:
            return  # given up meanwhile: too late for its waiters, and not yet an answer for the cache
        if isinstance(answer, Problem):
            self._settle(flight, answer)
        elif not flight.wanted(now):
            self._drop(flight)
        else:
            flight.snapshot = answer
            flight.stage = Stage.READY
            flight.begun = now
            self._ready.push(flight)

    # --- computing --------------------------------------------------------------------------------------------------

    async def _run_slice(self, running: Running[K, S]) -> None:
        flights = running.flights
        bisections = self.tally.bisections
        work = await self._work([f.key for f in flights], [f.snapshot for f in flights])  # type: ignore[misc]
        seconds = self._clock() - running.began
        if bisections == self.tally.bisections and not running.given_up:
            self.compute_cost.observe(len(flights), seconds)
        self._on_ran(Ran(len(flights), max(running.began - f.begun for f in flights), seconds, flights[0].rank))
        p_values = work.p_values or [math.nan] * len(flights)
        for flight, answer, p_value in zip(flights, work.answers, p_values, strict=True):
            flight.compute_s, flight.encode_s, flight.batch = seconds - work.encode_s, work.encode_s, len(flights)
            stale = flight.snapshot is not None and self._is_stale(flight.snapshot)
            self._settle(flight, answer, stale, p_value)

    async def _work(self, keys: Sequence[K], snapshots: Sequence[S]) -> Worked:
        self.tally.slices += 1
        self.tally.computed += len(keys)
        try:
            work = await self._compute(keys, snapshots)
            if len(work.answers) != len(keys):
                raise RuntimeError(f"{len(work.answers)} answers to {len(keys)} keys")
        except Exception as error:
            if len(keys) == 1:
                self.tally.poisoned += 1
                _log.exception("%r is poisonous", keys[0])
                name = type(error).__name__
                return Worked([Problem("compute_failed", f"The analysis failed: {name}. This is a defect.")], 0.0)
            self.tally.bisections += 1
            half = len(keys) // 2
            first = await self._work(keys[:half], snapshots[:half])
            second = await self._work(keys[half:], snapshots[half:])
            return _joined(first, second)
        return work

    # --- the life of a flight ---------------------------------------------------------------------------------------

    def _refuse(self, new: int, slots: int, deadline: float, rank: Rank) -> Problem | None:
        if self.waits + slots > self.limits.max_waits:
            return Problem("too_busy", "Too many requests wait for their tickers already.", 5.0)
        if not new:
            return None  # whoever only joins costs nothing
        if self._closed:
            return Problem("not_ready", "The server is shutting down.", 5.0)
        if self.refusal is not None:
            return self.refusal
        wait = self.backlog_s(rank)
        if len(self._flights) + new > self.limits.max_flights:
            return Problem("too_busy", f"{len(self._flights)} tickers are waiting already.", max(round(wait), 1.0))
        if rank is Rank.INTERACTIVE and wait > self.limits.max_backlog_s:
            return Problem("too_busy", f"There are {wait:.0f} s of work ahead of this request.", round(wait))
        if wait > deadline - self._clock():
            return Problem(
                "too_busy", f"The deadline cannot be met: {wait:.1f} s of work ahead.", max(round(wait), 1.0)
            )
        return None

    def _start(self, key: K, rank: Rank, owner: str, now: float, refresh: bool) -> Flight[K, S]:
        flight: Flight[K, S] = Flight(key, rank, owner, self._cache.draw_ticket(), now, refresh)
        self._flights[key] = flight
        self.load[rank] += 1
        self._waiting.push(flight)
        return flight

    def _move(self, flight: Flight[K, S], rank: Rank, owner: str) -> None:
        lanes = flight.lanes
        if lanes is not None:
            lanes.remove(flight)
        self.load[flight.rank] -= 1
        flight.rank, flight.owner = rank, owner
        self.load[rank] += 1
        if lanes is not None:
            lanes.push(flight)

    def _forget(self, flight: Flight[K, S]) -> None:
        if flight.lanes is not None:
            flight.lanes.remove(flight)
        flight.stage = Stage.DONE
        flight.snapshot = None
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
            self.load[flight.rank] -= 1

    def _drop(self, flight: Flight[K, S]) -> None:
        self.tally.dropped += 1
        self._forget(flight)

    def _settle(
        self, flight: Flight[K, S], answer: bytes | Problem, stale: bool = False, p_value: float = math.nan
    ) -> None:
        late = flight.stage is Stage.DONE  # the watchdog answered its waiters; the work may still be worth keeping
        if late and isinstance(answer, Problem):
            return
        if isinstance(answer, Problem):
            served = self._cache.fail(flight.key, answer, flight.ticket)
        else:
            stored = (flight.key, answer, self._wall(), flight.ticket)
            served = self._cache.put(*stored, stale=stale, keep=flight.keep, p_value=p_value)
        self._forget(flight)
        waiters, flight.waiters = flight.waiters, {}
        self.waits -= len(waiters)
        for waiter, slot in waiters.items():
            try:
                waiter.fill(slot, served, flight)
            except Exception:
                self.tally.delivery_failures += 1
                _log.exception("an answer could not be delivered")

    def _give_up(self, running: Running[K, S]) -> None:
        running.given_up = True
        self.tally.stuck += 1
        problem = (
            Problem("too_busy", "The computation hangs.", 30.0)
            if running.is_slice
            else Problem("source_failed", f"The market did not answer within {running.limit:.0f} s.", 10.0)
        )
        _log.error("stuck: %s of %d", "slice" if running.is_slice else "fetch", len(running.flights))
        for flight in running.flights:
            if flight.stage is not Stage.DONE:
                self._settle(flight, problem)
