"""A batcher with a market and an engine that record what they are asked, on a loop whose clock jumps."""

import asyncio
import random
from collections.abc import Sequence

import msgspec

from bq.errors import Problem
from bq.serving.admission import Limits
from bq.serving.batcher import Batcher
from bq.serving.bisection import Worked
from bq.serving.cache import Cache, Entry, Lives
from bq.serving.flights import Rank, Waiter
from bq.serving.suspects import Suspects
from tests.serving.loop import run

LIMITS = Limits(fetch_slots=1, fetch_group=1000, slice_s=100.0, patient_least=1, max_backlog_s=1e9)
UNKNOWN = Problem("unknown_ticker", "no such ticker")


class Room:
    """A batcher with a recording market and engine: a fetch takes 1 s, a slice of n takes n times `each_s`."""

    def __init__(self, suspects: Suspects | None = None, **limits: float) -> None:
        loop = asyncio.get_running_loop()
        self.fetches: list[tuple[float, list[str]]] = []
        self.slices: list[tuple[float, list[str]]] = []
        self.unknown: set[str] = set()
        self.poison: set[str] = set()
        self.hang = 0.0
        self.starved = self.paused = 0.0
        self.fetch_s = 1.0
        self.each_s = 0.1
        self.cache: Cache[str] = Cache(
            loop.time, budget=1 << 20, soft=lambda: 60.0, lives=Lives(jitter=0.0), rng=random.Random(1)
        )
        self.suspects = suspects or Suspects()
        self.weights: dict[str, int] = {}
        self.batcher: Batcher[str, str] = Batcher(
            self.cache,
            self.fetch,
            self.compute,
            clock=loop.time,
            wall=loop.time,
            weigh=lambda snapshot: self.weights.get(snapshot.removeprefix("snapshot of "), 1),
            starved=lambda: self.starved,
            paused=lambda: self.paused,
            suspects=self.suspects,
            limits=msgspec.structs.replace(LIMITS, **limits),
        )
        self.batcher.compute_cost.seed(0.0, 0.1)
        self.batcher.fetch_cost.seed(1.0, 0.0)

    async def fetch(self, keys: Sequence[str]) -> list[str | Problem]:
        self.fetches.append((asyncio.get_running_loop().time(), list(keys)))
        await asyncio.sleep(self.fetch_s)
        return [UNKNOWN if key in self.unknown else f"snapshot of {key}" for key in keys]

    async def compute(self, keys: Sequence[str], snapshots: Sequence[str], hurried: bool) -> Worked:
        self.slices.append((asyncio.get_running_loop().time(), list(keys)))
        await asyncio.sleep(self.each_s * sum(self.weights.get(key, 1) for key in keys) + self.hang)
        assert list(snapshots) == [f"snapshot of {key}" for key in keys]
        if self.poison.intersection(keys):
            raise ValueError("poison")
        return Worked([str(key).lower().encode() for key in keys], 0.0)

    def ask(self, keys: str | Sequence[str], rank: Rank = Rank.INTERACTIVE, deadline: float = 1e6, owner: str = ""):
        return self.batcher.ask(dict(enumerate(keys)), deadline=deadline, rank=rank, owner=owner)

    async def answers(self, keys: str | Sequence[str], **options) -> list[object]:
        waiter = self.ask(keys, **options)
        assert isinstance(waiter, Waiter)
        await waiter.all()
        return [
            answer.data.decode() if isinstance(answer, Entry) else answer and answer.code
            for answer in (waiter.answers.get(slot) for slot in range(len(keys)))
        ]


async def beats(batcher):
    while True:
        batcher.beat()
        await asyncio.sleep(1)


def room_test(body):
    """Run an async test of a Room on the jumping loop."""

    def test():
        async def main():
            room = Room()
            await body(room)

        run(main())

    test.__name__ = body.__name__
    test.__doc__ = body.__doc__
    return test
