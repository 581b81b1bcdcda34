"""What waits: flights (one for each key asked for), waiters (one for each request), lanes, and the line of cost.

Rules of this file: plain objects on one thread; no HTTP, no finance, no threads. `batcher.py` moves them.
"""

import asyncio
import enum
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from typing import Final, Generic, TypeAlias, TypeVar

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
        "refresh", "snapshot", "stage", "ticket", "waiters",
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
        self._owners: OrderedDict[str, OrderedDict[K, Flight[K, S]]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, flight: Flight[K, S]) -> None:
        """Put a flight behind the others of its owner."""
        self._owners.setdefault(flight.owner, OrderedDict())[flight.key] = flight
        self._length += 1

    def pop(self) -> Flight[K, S]:
        """Take the first flight of the owner whose turn it is."""
        owner, flights = next(iter(self._owners.items()))
        _, flight = flights.popitem(last=False)
        if flights:
            self._owners.move_to_end(owner)
        else:
            del self._owners[owner]
        self._length -= 1
        return flight

    def remove(self, flight: Flight[K, S]) -> None:
        """Take a flight out of the middle."""
        flights = self._owners[flight.owner]
        del flights[flight.key]
        if not flights:
            del self._owners[flight.owner]
        self._length -= 1


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

    def take(self, size: int) -> list[Flight[K, S]]:
        """Take up to `size` flights: the leading rank first, the others fill what is left; refreshes only go alone."""
        taken: list[Flight[K, S]] = []
        for rank in self._order():
            if rank is Rank.REFRESH and taken:
                break
            lane = self.lanes[rank]
            while lane and len(taken) < size:
                flight = lane.pop()
                flight.lanes = None
                taken.append(flight)
        return taken

    def _order(self) -> Iterable[Rank]:
        waiting = [rank for rank in Rank if self.lanes[rank]]
        leads = waiting[:1]
        for rank in waiting[1:]:
            self._credit[rank] += self._shares.get(rank, 0.0)
            if self._credit[rank] >= 1.0 and leads == waiting[:1]:
                self._credit[rank] -= 1.0
                leads = [rank]
        return [*leads, *(rank for rank in waiting if rank not in leads)]


class CostLine:
    """Predict the seconds of a batch of n as a + b n, from the batches seen lately.

    Least squares with weights that fade (64 batches), held up by a seed that does not: without variety in n a line
    cannot be fitted, and the first batches are not yet typical.

    Parameters
    ----------
    fixed, each
        The seed: seconds a batch, seconds a row.
    """

    FADE: Final = 1.0 - 1.0 / 64.0
    SEED_WEIGHT: Final = 0.1
    SEED_SIZES: Final = (1.0, 32.0)
    LEAST_EACH: Final = 50e-6  # a batch is never cut as if rows were free

    def __init__(self, fixed: float, each: float) -> None:
        self.fixed = fixed
        self.each = each
        self._sums = [0.0] * 5
        self.seed(fixed, each)

    def seed(self, fixed: float, each: float) -> None:
        """Begin anew from a line that was measured (by the warm-up)."""
        self._seed = (fixed, each)
        self._sums = [0.0] * 5
        self.fixed, self.each = fixed, max(each, self.LEAST_EACH)

    def observe(self, size: int, seconds: float) -> None:
        """Learn from a batch."""
        row = (1.0, size, seconds, size * size, size * seconds)
        self._sums = [self.FADE * old + new for old, new in zip(self._sums, row, strict=True)]
        w, x, y, xx, xy = self._sums
        for n in self.SEED_SIZES:
            value = self._seed[0] + self._seed[1] * n
            w, x, y = w + self.SEED_WEIGHT, x + self.SEED_WEIGHT * n, y + self.SEED_WEIGHT * value
            xx, xy = xx + self.SEED_WEIGHT * n * n, xy + self.SEED_WEIGHT * n * value
        each = (w * xy - x * y) / (w * xx - x * x)
        self.each = max(each, self.LEAST_EACH)
        self.fixed = max((y - self.each * x) / w, 0.0)

    def predict(self, size: int) -> float:
        """Seconds that a batch of `size` will take."""
        return self.fixed + self.each * size if size else 0.0

    def size_within(self, seconds: float) -> int:
        """Cut a batch: as many rows as fit into so many seconds, but enough to be worth the batch's fixed cost.

        Where the fixed cost is more than a fifth, the batch may take up to four times as long: batches of one row would
        bound the latency of each and let the queue grow.
        """
        fitting = (seconds - self.fixed) / self.each
        worthwhile = min(4.0 * self.fixed / self.each, (4.0 * seconds - self.fixed) / self.each)
        return max(int(fitting), int(worthwhile), 1)
