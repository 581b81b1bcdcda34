"""What waits: flights (one for each key asked for), waiters (one for each request), and lanes.

Rules of this file: plain objects on one thread; no HTTP, no finance, no threads. `batcher.py` moves them.
"""

import asyncio
import enum
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Generic, TypeAlias, TypeVar

from bq.errors import Problem
from bq.serving.cache import Entry

K = TypeVar("K", bound=Hashable)
S = TypeVar("S")

Answer: TypeAlias = Entry | Problem


class Rank(enum.IntEnum):
    """Who goes first."""

    INTERACTIVE = 0
    SCAN = 1
    REFRESH = 2


class Stage(enum.IntEnum):
    """Where a flight is; it is in exactly one place."""

    WAITING = 0  # in a lane, for fetching
    FETCHING = 1
    READY = 2  # in a lane, for computing
    COMPUTING = 3
    DONE = 4


class Flight(Generic[K, S]):
    """The work for one key, however many requests wait for it."""

    __slots__ = (
        "batch", "begun", "compute_s", "encode_s", "fetch_s", "keep", "key", "lanes", "owner", "queue_s", "rank",
        "refresh", "snapshot", "stage", "ticket", "waiters", "weight",
    )  # fmt: skip

    def __init__(self, key: K, rank: Rank, owner: str, ticket: int, now: float, refresh: bool) -> None:
        self.key = key
        self.rank = rank
        self.owner = owner
        self.ticket = ticket
        self.refresh = refresh  # wanted by the cache itself: lives without waiters
        self.keep = refresh  # whether the cache keeps the answer: when anybody who asked wants it to
        self.stage = Stage.WAITING
        self.lanes: Lanes[K, S] | None = None  # where it waits, if it does
        self.waiters: dict[Waiter[K, S], int] = {}
        self.snapshot: S | None = None
        self.begun = now  # of the present stage
        self.queue_s = self.fetch_s = self.compute_s = self.encode_s = 0.0
        self.batch = 0
        self.weight = 1  # of its computation, in ordinary keys; known once it is fetched

    def wanted(self, now: float) -> bool:
        """Tell whether anybody still waits whose time is not up."""
        return self.refresh or any(now < waiter.deadline for waiter in self.waiters)


class Waiter(Generic[K, S]):
    """One request's wait for several keys: answers by slot, and one future however many there are."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock_now: float, deadline: float) -> None:
        self.deadline = deadline
        self.answers: dict[int, Answer] = {}
        self.waiting: dict[int, Flight[K, S]] = {}
        self.expired = False
        self.queue_s = self.fetch_s = self.compute_s = self.encode_s = 0.0  # the worst of its flights
        self.batch = 0
        self._loop = loop
        self._arrived: list[int] = []
        self._future: asyncio.Future[None] | None = None
        self._eager = False
        self._timer = loop.call_later(max(deadline - clock_now, 0.0), self.expire)

    def fill(self, slot: int, answer: Answer, flight: Flight[K, S]) -> None:
        """Take the answer of one slot; wake the request if that is what it waits for."""
        del self.waiting[slot]
        self.answers[slot] = answer
        self._arrived.append(slot)
        self.queue_s = max(self.queue_s, flight.queue_s)
        self.fetch_s = max(self.fetch_s, flight.fetch_s)
        self.compute_s = max(self.compute_s, flight.compute_s)
        self.encode_s = max(self.encode_s, flight.encode_s)
        self.batch = max(self.batch, flight.batch)
        if self._eager or not self.waiting:
            self._wake()

    async def all(self) -> None:
        """Wait until every slot is filled or time is up."""
        while self.waiting and not self.expired:
            await self._sleep(eager=False)
        self._timer.cancel()

    async def some(self) -> list[int]:
        """Wait for the next slots to be filled; an empty list says that there will be no more in time."""
        while self.waiting and not self.expired and not self._arrived:
            await self._sleep(eager=True)
        if not self.waiting:
            self._timer.cancel()
        slots, self._arrived = self._arrived, []
        return slots

    def close(self) -> None:
        """Stop the clock of a wait that was given up."""
        self._timer.cancel()

    async def _sleep(self, eager: bool) -> None:
        self._eager = eager
        self._future = self._loop.create_future()
        await self._future

    def _wake(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def expire(self) -> None:
        """End the wait now, with what there is."""
        self.expired = True
        self._wake()


class Lane(Generic[K, S]):
    """Flights of one rank in order, owners in turns: a giant list does not hold up the list behind it."""

    def __init__(self) -> None:
        self.weight = 0
        self._owners: OrderedDict[str, OrderedDict[K, Flight[K, S]]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, flight: Flight[K, S]) -> None:
        """Put a flight behind the others of its owner."""
        self._owners.setdefault(flight.owner, OrderedDict())[flight.key] = flight
        self._count(flight, 1)

    def first(self) -> Flight[K, S]:
        """Show the flight that `pop` would take."""
        return next(iter(next(iter(self._owners.values())).values()))

    def pop(self) -> Flight[K, S]:
        """Take the first flight of the owner whose turn it is."""
        owner, flights = next(iter(self._owners.items()))
        _, flight = flights.popitem(last=False)
        if flights:
            self._owners.move_to_end(owner)
        else:
            del self._owners[owner]
        self._count(flight, -1)
        return flight

    def remove(self, flight: Flight[K, S]) -> None:
        """Take a flight out of the middle."""
        flights = self._owners[flight.owner]
        del flights[flight.key]
        if not flights:
            del self._owners[flight.owner]
        self._count(flight, -1)

    def _count(self, flight: Flight[K, S], by: int) -> None:
        self._length += by
        self.weight += by * flight.weight


class Lanes(Generic[K, S]):
    """The lanes of one stage. Interactive first, then scans, then refreshes; but each of the later is promised a share.

    Parameters
    ----------
    shares
        The share of the batches that a rank leads while flights of an earlier rank wait as well.
    """

    def __init__(self, shares: Mapping[Rank, float]) -> None:
        self.lanes: dict[Rank, Lane[K, S]] = {rank: Lane() for rank in Rank}
        self._shares = shares
        self._credit = dict.fromkeys(Rank, 0.0)

    def __len__(self) -> int:
        return sum(map(len, self.lanes.values()))

    def push(self, flight: Flight[K, S]) -> None:
        """Let a flight wait in the lane of its rank."""
        flight.lanes = self
        self.lanes[flight.rank].push(flight)

    def remove(self, flight: Flight[K, S]) -> None:
        """Take a flight out that need not wait any longer."""
        flight.lanes = None
        self.lanes[flight.rank].remove(flight)

    def lead(self) -> Rank:
        """Tell whose turn the next batch is; one flight must wait."""
        first, *later = self._waiting()
        return next((rank for rank in later if self._credit[rank] + self._shares.get(rank, 0.0) >= 1.0), first)

    def _waiting(self) -> list[Rank]:
        return [rank for rank in Rank if self.lanes[rank]]

    def take(self, rank: Rank, size: float, most: int) -> list[Flight[K, S]]:
        """Take flights of one rank, of a weight of up to `size`, but one at least: a heavy one goes by itself.

        The others do not fill what is left: whoever sits and waits would wait for them, too.

        Parameters
        ----------
        most
            How many flights may be taken, whatever they weigh.
        """
        first, *later = self._waiting()
        for other in later:
            self._credit[other] += self._shares.get(other, 0.0)
        if rank is not first:
            self._credit[rank] -= 1.0
        taken: list[Flight[K, S]] = []
        lane = self.lanes[rank]
        while lane and len(taken) < most and (not taken or lane.first().weight <= size):
            size -= lane.first().weight
            flight = lane.pop()
            flight.lanes = None
            taken.append(flight)
        return taken
