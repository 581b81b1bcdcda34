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

Whoever sits and waits does not wait for the slices of a list: its own begins at once, beside them, and they pause
meanwhile (`turns.py`). A slice holds flights of one rank. What may begin, and what it takes, `slots.py` decides.

A slice is cut by the milliseconds that it is predicted to take (`admission.py`, `cost.py`). A slice that raises is
halved until the poisonous key is alone (`bisection.py`); that key gets a problem, which the cache remembers for a
minute, and its neighbours get their answers. A key that was being computed when the process last died is computed
while nothing else is, and not at all once that has happened too often (`suspects.py`).

`ask` must be called in the tick of the cache's miss, or a flight could end between the two and be started again.

A flight that nobody waits for is dropped in the tick in which the last waiter leaves, key and lane at once, so that no
newcomer can join it; a flight that is being fetched or computed always finishes and is cached (`register.py`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple

from bq.errors import Problem
from bq.serving.admission import Limits, refuse, seconds_ahead
from bq.serving.bisection import Bisection, Worked
from bq.serving.cache import Cache
from bq.serving.cost import CostLine
from bq.serving.flights import Flight, K, Rank, S, Stage, Waiter
from bq.serving.register import Register, Tally
from bq.serving.slots import Slots
from bq.serving.suspects import Suspects

_log = logging.getLogger(__name__)


class Ran(NamedTuple):
    """One finished slice, for whoever keeps statistics."""

    size: int
    wait_s: float  # of its oldest flight, since it was ready
    seconds: float
    rank: Rank  # of the flight that leads it


class Running(Generic[K, S]):
    """A fetch or a slice that was begun."""

    def __init__(
        self,
        flights: list[Flight[K, S]],
        began: float,
        starved: float,
        paused: float,
        limit: float,
        is_slice: bool,
        hurried: bool,
        alone: bool,
    ) -> None:
        self.flights = flights
        self.began = began
        self.starved = starved  # seconds for which computing threads had waited for a core by then
        self.paused = paused  # and for which they had given way
        self.limit = limit  # seconds after which it is stuck
        self.is_slice = is_slice
        self.hurried = hurried  # a slice that somebody sits and waits for
        self.alone = alone  # nothing else may be computed meanwhile
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
        Keys, their snapshots, and whether somebody sits and waits for them, to encoded answers or problems, in order.
    clock, wall
        Monotonic seconds; seconds since 1970, only to say when an answer was made.
    is_stale
        Tells whether a snapshot is older than it should be, since the source failed.
    weigh
        How many ordinary keys the computation of a snapshot is worth.
    starved
        Seconds for which the threads that compute have waited for a core so far, added up: not theirs to answer for.
    paused
        Seconds for which those have given way so far whose slices nobody sits and waits for, added up.
    suspects
        Which keys are to be computed apart, or not at all.
    on_ran
        Told of every finished slice.
    """

    def __init__(
        self,
        cache: Cache[K],
        fetch: Callable[[Sequence[K]], Awaitable[Sequence[S | Problem]]],
        compute: Callable[[Sequence[K], Sequence[S], bool], Awaitable[Worked]],
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        limits: Limits | None = None,
        is_stale: Callable[[S], bool] = lambda snapshot: False,
        weigh: Callable[[S], int] = lambda snapshot: 1,
        starved: Callable[[], float] = lambda: 0.0,
        paused: Callable[[], float] = lambda: 0.0,
        suspects: Suspects | None = None,
        on_ran: Callable[[Ran], None] = lambda ran: None,
    ) -> None:
        limits = limits or Limits()
        self.compute_cost = CostLine(fixed=0.3e-3, each=3e-3)
        self.fetch_cost = CostLine(fixed=5e-3, each=1e-3)
        self.last_beat = clock()
        self.bisection: Bisection[K, S] = Bisection(compute)
        self.register: Register[K, S] = Register(cache, wall, limits)
        self.slots: Slots[K, S] = Slots(self.register, self.compute_cost, limits)
        self.refusal: Problem | None = None  # stands against anything new, when memory is short
        self._fetch = fetch
        self._clock = clock
        self._is_stale = is_stale
        self._weigh = weigh
        self._starved = starved
        self._paused = paused
        self._suspects = suspects or Suspects()
        self._on_ran = on_ran
        self._running: set[Running[K, S]] = set()
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
        register = self.register
        new = sum(1 for key in wanted.values() if key not in register.flights)
        if (problem := self._refuse(new, len(wanted), deadline, rank)) is not None:
            self.tally.refused += 1
            return problem
        register.waits += len(wanted)
        now = self._clock()
        waiter: Waiter[K, S] = Waiter(asyncio.get_running_loop(), now, deadline)
        for slot, key in wanted.items():
            flight = register.flights.get(key)
            if flight is None:
                self.tally.leads += 1
                flight = register.start(key, rank, owner, now, refresh=False)
            else:
                self.tally.joins += 1
                if rank < flight.rank:
                    register.move(flight, rank, owner)
            flight.keep |= keep
            flight.waiters[waiter] = slot
            waiter.waiting[slot] = flight
        self.kick()
        return waiter

    def refresh(self, keys: Iterable[K]) -> None:
        """Replace answers behind their readers' backs, when there is nothing else to do."""
        register, now = self.register, self._clock()
        for key in keys:
            if self._closed or self.refusal is not None or register.load[Rank.REFRESH] >= self.limits.max_refreshes:
                return
            if key not in register.flights:
                self.tally.refreshes += 1
                register.start(key, Rank.REFRESH, "", now, refresh=True)
        self.kick()

    def leave(self, waiter: Waiter[K, S], keep: bool = False) -> None:
        """Give up a wait: flights that nobody else wants are dropped, or with `keep` go on when there is time."""
        self.register.leave(waiter, keep, self.limits.max_refreshes)

    def backlog_s(self, rank: Rank) -> float:
        """Predict the seconds until everything is done that would go before a newcomer of this rank."""
        return seconds_ahead(rank, self.register.backlog(), self.compute_cost, self.fetch_cost, self.limits)

    @property
    def limits(self) -> Limits:
        """How much may run and wait."""
        return self.slots.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self.slots.limits = limits

    @property
    def tally(self) -> Tally:
        """What happened since the start."""
        return self.register.tally

    @property
    def flights(self) -> int:
        """How many keys are in flight."""
        return len(self.register.flights)

    @property
    def is_stuck(self) -> bool:
        """Tell whether a slice that the watchdog gave up is still running."""
        return any(running.given_up and running.is_slice for running in self._running)

    @property
    def cut_off_s(self) -> float:
        """Seconds for which no fetch could begin, each slot being held by one that was given up; 0 if one is free."""
        given_up = [running.began for running in self._running if running.given_up and not running.is_slice]
        return self._clock() - max(given_up) if len(given_up) >= self.limits.fetch_slots else 0.0

    def hurry(self) -> None:
        """End every wait now, with what there is: the process is about to go, and no answer at all would be worse."""
        for waiter in self.register.waiters():
            waiter.expire()

    def _refuse(self, new: int, slots: int, deadline: float, rank: Rank) -> Problem | None:
        if self.register.waits + slots > self.limits.max_waits:
            return Problem("too_busy", "Too many requests wait for their tickers already.", 5.0)
        if not new:
            return None  # whoever only joins costs nothing
        if self._closed:
            return Problem("not_ready", "The server is shutting down.", 5.0)
        if self.refusal is not None:
            return self.refusal
        return refuse(self.flights, new, self.backlog_s(rank), deadline - self._clock(), rank, self.limits)

    # --- the pump ---------------------------------------------------------------------------------------------------

    def kick(self) -> None:
        """See to it that the pump runs at the end of this tick."""
        if not self._armed and not self._closed:
            self._armed = True
            asyncio.get_running_loop().call_soon(self._pump)

    def beat(self) -> None:
        """Look after the pump; to be called every second. A lost wake-up becomes a count, not an outage."""
        now = self.last_beat = self._clock()
        if not self._armed and (self.slots.can_fetch() or self.slots.can_compute()):
            self.tally.lost_wakeups += 1
            self.kick()
        self._find_lost()
        starved, paused = self._starved(), self._paused()
        for running in list(self._running):
            excused = 0.0  # a share of what all like it have waited
            if running.is_slice:
                excused += (starved - running.starved) / self.slots.slices
            if running.is_slice and not running.hurried:
                excused += (paused - running.paused) / self.slots.patient
            if not running.given_up and now - running.began - excused > running.limit:
                self._give_up(running)

    async def close(self, patience_s: float | None = None) -> None:
        """Answer whoever is still in a lane that the server is going away; wait for what runs."""
        self._closed = True
        for flight in list(self.register.flights.values()):
            if flight.lanes is not None:
                self.register.settle(flight, Problem("not_ready", "The server is shutting down.", 5.0))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience_s)

    def _find_lost(self) -> None:
        """Free whoever waits for a flight that is in no lane and in no batch: a defect, but no reason to hang."""
        for flight in self.register.lost([running.flights for running in self._running if not running.given_up]):
            self.tally.pump_failures += 1
            self.register.settle(flight, Problem("internal", "This request was lost. Try again.", 1.0))

    def _pump(self) -> None:
        self._armed = False
        try:
            while self.slots.can_fetch():
                self._launch(self.slots.pick_group(), is_slice=False)
            while self.slots.can_compute():
                self._launch(self.slots.pick_slice(), is_slice=True)
        except Exception:
            # Whatever it was, the next pump must come: Ray Serve's batching queue died of three different exceptions.
            self.tally.pump_failures += 1
            _log.exception("the pump failed")
            asyncio.get_running_loop().call_later(0.05, self.kick)

    def _launch(self, picked: list[Flight[K, S]], is_slice: bool) -> None:
        now = self._clock()
        flights = []
        for flight in picked:
            if flight.wanted(now):
                flights.append(flight)
            else:
                self.register.drop(flight)
        if not flights:
            return
        for flight in flights:
            flight.stage = Stage.COMPUTING if is_slice else Stage.FETCHING
            flight.queue_s += now - flight.begun
        alone = is_slice and any(self._suspects.suspects(flight.key) for flight in flights)
        # Everybody waits for a suspect, whoever asked for it.
        hurried = is_slice and (alone or any(flight.rank is Rank.INTERACTIVE for flight in flights))
        limit = self.limits.fetch_timeout_s
        if is_slice:
            limit = self.limits.stuck_after(self.compute_cost.predict(_weight(flights)), hurried)
        running = Running(flights, now, self._starved(), self._paused(), limit, is_slice, hurried, alone)
        self.tally.apart += alone
        self._running.add(running)
        self.slots.take(is_slice, hurried, alone)
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
                    self.register.settle(flight, Problem("internal", "This batch failed. Try again."))
        finally:
            self._running.discard(running)
            self.slots.take(running.is_slice, running.hurried, running.alone, by=-1)
            self.kick()

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
                self.register.settle(flight, problem)

    # --- fetching and computing -------------------------------------------------------------------------------------

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
            self.register.settle(flight, answer)
        elif not flight.wanted(now):
            self.register.drop(flight)
        elif (verdict := self._suspects.verdict(flight.key)) is not None:
            self.register.settle(flight, verdict)
        else:
            apart = self._suspects.suspects(flight.key)
            self.register.make_ready(flight, answer, max(self._weigh(answer), 1), now, apart)

    async def _run_slice(self, running: Running[K, S]) -> None:
        flights = running.flights
        keys, snapshots = [f.key for f in flights], [f.snapshot for f in flights]
        halved = self.bisection.halved
        work = await self.bisection.work(keys, snapshots, running.hurried)  # type: ignore[arg-type]
        seconds = self._clock() - running.began - work.paused_s
        if halved == self.bisection.halved and not running.given_up:
            self.compute_cost.observe(_weight(flights), seconds)
        self._on_ran(Ran(len(flights), max(running.began - f.begun for f in flights), seconds, flights[0].rank))
        for position, (flight, answer) in enumerate(zip(flights, work.answers, strict=True)):
            flight.compute_s, flight.encode_s, flight.batch = seconds - work.encode_s, work.encode_s, len(flights)
            stale = flight.snapshot is not None and self._is_stale(flight.snapshot)
            self.register.settle(flight, answer, stale, work.p_value(position))
        self._suspects.acquit(keys)


def _weight(flights: Iterable[Flight[K, S]]) -> int:
    return sum(flight.weight for flight in flights)
