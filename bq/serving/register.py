"""The flights under way: each in exactly one place, counted by rank, and answered once.

Rules of this file: everything happens in the tick in which it is asked for; nothing here waits, fetches or computes.

The cache is written before a flight is forgotten. The other order has this schedule: flight forgotten; a request misses
the cache, finds no flight and starts a second one; cache written.
"""

import dataclasses
import logging
import math
from collections.abc import Callable, Collection, Sequence
from typing import Generic

from bq.errors import Problem
from bq.serving.admission import Backlog, Limits
from bq.serving.cache import Cache
from bq.serving.flights import Flight, K, Lanes, Rank, S, Stage, Waiter

_log = logging.getLogger(__name__)


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
    apart: int = 0  # slices of one suspect
    lost_wakeups: int = 0  # times the watchdog found work and nobody at it
    pump_failures: int = 0
    delivery_failures: int = 0
    stuck: int = 0  # slices and fetches given up by the watchdog


class Register(Generic[K, S]):
    """Flights by key, and the lanes in which they wait.

    Parameters
    ----------
    cache
        Written before a flight is forgotten.
    wall
        Seconds since 1970, only to say when an answer was made.
    """

    def __init__(self, cache: Cache[K], wall: Callable[[], float], limits: Limits) -> None:
        self.flights: dict[K, Flight[K, S]] = {}
        self.tally = Tally()
        self.load = dict.fromkeys(Rank, 0)  # flights by rank
        self.weights = dict.fromkeys(Rank, 0)  # what they weigh
        self.waits = 0  # slots of requests that wait
        self.waiting: Lanes[K, S] = Lanes(limits.shares())  # for being fetched
        self.ready: Lanes[K, S] = Lanes(limits.shares())  # for being computed
        self.apart: Lanes[K, S] = Lanes(limits.shares())  # for being computed while nothing else is
        self._cache = cache
        self._wall = wall

    def start(self, key: K, rank: Rank, owner: str, now: float, refresh: bool) -> Flight[K, S]:
        """Begin a flight: it waits for being fetched."""
        flight: Flight[K, S] = Flight(key, rank, owner, self._cache.draw_ticket(), now, refresh)
        self.flights[key] = flight
        self._count(flight, 1)
        self.waiting.push(flight)
        return flight

    def move(self, flight: Flight[K, S], rank: Rank, owner: str) -> None:
        """Give a flight another rank, wherever it is."""
        lanes = flight.lanes
        if lanes is not None:
            lanes.remove(flight)
        self._count(flight, -1)
        flight.rank, flight.owner = rank, owner
        self._count(flight, 1)
        if lanes is not None:
            lanes.push(flight)

    def make_ready(self, flight: Flight[K, S], snapshot: S, weight: int, now: float, apart: bool) -> None:
        """Let a flight that was fetched wait for being computed."""
        self._count(flight, -1)
        flight.snapshot, flight.weight = snapshot, weight
        self._count(flight, 1)
        flight.stage = Stage.READY
        flight.begun = now
        (self.apart if apart else self.ready).push(flight)

    def leave(self, waiter: Waiter[K, S], keep: bool, most_refreshes: int) -> None:
        """Give up a wait: flights that nobody else wants are dropped, or with `keep` go on when there is time."""
        waiter.close()
        self.waits -= len(waiter.waiting)
        for flight in waiter.waiting.values():
            flight.waiters.pop(waiter, None)
            if flight.waiters or flight.refresh or flight.stage is Stage.DONE:
                continue
            if keep and self.load[Rank.REFRESH] < most_refreshes:
                flight.refresh = flight.keep = True
                self.move(flight, Rank.REFRESH, "")
            elif flight.lanes is not None:
                self.drop(flight)
        waiter.waiting.clear()

    def drop(self, flight: Flight[K, S]) -> None:
        """Give up a flight that nobody waits for."""
        self.tally.dropped += 1
        self._forget(flight)

    def settle(
        self, flight: Flight[K, S], answer: bytes | Problem, stale: bool = False, p_value: float = math.nan
    ) -> None:
        """End a flight: the cache is written, then it is forgotten, then whoever waits is answered."""
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

    def lost(self, batches: Collection[Sequence[Flight[K, S]]]) -> list[Flight[K, S]]:
        """List the flights that are in no lane and in none of the batches under way."""
        lanes = (self.waiting, self.ready, self.apart)
        if sum(map(len, lanes)) + sum(map(len, batches)) >= len(self.flights):
            return []
        held = {flight for batch in batches for flight in batch}
        return [flight for flight in self.flights.values() if flight.lanes is None and flight not in held]

    def waiters(self) -> set[Waiter[K, S]]:
        """List whoever waits."""
        return {waiter for flight in self.flights.values() for waiter in flight.waiters}

    def backlog(self) -> Backlog:
        """Say what waits and runs."""
        return Backlog(self.load, self.weights, {rank: len(lane) for rank, lane in self.waiting.lanes.items()})

    def _count(self, flight: Flight[K, S], by: int) -> None:
        self.load[flight.rank] += by
        self.weights[flight.rank] += by * flight.weight

    def _forget(self, flight: Flight[K, S]) -> None:
        if flight.lanes is not None:
            flight.lanes.remove(flight)
        flight.stage = Stage.DONE
        flight.snapshot = None
        if self.flights.get(flight.key) is flight:
            del self.flights[flight.key]
            self._count(flight, -1)
