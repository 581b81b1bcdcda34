"""The front desk: what is stored is answered at once, what is missing is asked for once, whoever asks.

Rules of this file: it joins the cache and the batcher and knows neither HTTP nor finance. `look` never waits; `wait`
must follow in the same tick, or another request could start the same work.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from bq.errors import Problem
from bq.serving.batcher import Batcher
from bq.serving.cache import FINAL, Cache, Entry
from bq.serving.flights import Rank, Waiter

Key: TypeAlias = tuple[str, str, str]
"""Ticker, detail, and the world: market, its data, its moment, the rate, the code. All that changes the answer."""

INTERACTIVE_MISSES: Final = 20  # a request that misses more counts as a scan


class Looked:
    """The answers to one request, by position: those found, and room for those to come."""

    __slots__ = ("answers", "cached", "kept", "missing", "waiter")

    def __init__(self, answers: list[Entry | Problem | None], cached: list[bool]) -> None:
        self.answers = answers  # None: not yet
        self.cached = cached  # stored bytes existed when the request arrived
        self.missing: dict[int, Key] = {}
        self.kept: dict[int, Entry] = {}  # too old to be served, unless replacing them fails or takes too long
        self.waiter: Waiter[Key, Any] | None = None

    def take(self, answers: Mapping[int, Entry | Problem]) -> None:
        """Put answers that came into their places."""
        for slot, answer in answers.items():
            self.answers[slot] = answer
            self.cached[slot] = answer is self.kept.get(slot, False)

    def fall_back(self) -> None:
        """Where there is no answer in time, let a kept one stand in."""
        for slot, entry in self.kept.items():
            answer = self.answers[slot]
            if answer is None or (isinstance(answer, Problem) and answer.code not in FINAL):
                entry.stale = True
                self.answers[slot] = entry
                self.cached[slot] = True

    @property
    def failed(self) -> int:
        """How many positions hold a problem."""
        return sum(1 for answer in self.answers if isinstance(answer, Problem))

    @property
    def pending(self) -> int:
        """How many positions hold nothing yet."""
        return self.answers.count(None)

    @property
    def stored(self) -> list[Entry] | None:
        """The answers, if every one of them was stored when the request arrived; None if not."""
        if not all(self.cached):
            return None
        return [answer for answer in self.answers if isinstance(answer, Entry)]


class Lookups:
    """What the cache was asked and had, counted since the start."""

    __slots__ = ("hit", "miss", "negative", "stale")

    def __init__(self) -> None:
        self.hit = self.stale = self.miss = self.negative = 0


class Desk:
    """Answer tickers from the cache, and have the batcher find what is missing."""

    def __init__(self, cache: Cache[Key], batcher: Batcher[Key, Any], clock: Callable[[], float]) -> None:
        self.cache = cache
        self.batcher = batcher
        self.lookups = Lookups()
        self.world = ""
        self._clock = clock

    def find(self, ticker: str, detail: str) -> Entry | None:
        """Give a stored answer for one ticker if there is one to be served at once: the hot path."""
        key = (ticker, detail, self.world)
        entry = self.cache.get(key)
        if entry is None:
            return None
        now = self._clock()
        if now < entry.soft_until:
            self.lookups.hit += 1
            return entry
        if now < entry.grace_until:
            self.lookups.stale += 1
            self.batcher.refresh((key,))
            return entry
        return None

    def find_all(self, tickers: Sequence[str], detail: str) -> list[Entry] | None:
        """Give the stored answers of several tickers if all are there to be served at once; count nothing if not."""
        now = self._clock()
        found: list[Entry] = []
        late: list[Key] = []
        for ticker in tickers:
            key = (ticker, detail, self.world)
            entry = self.cache.get(key)
            if entry is None or now >= entry.grace_until:
                return None
            if now >= entry.soft_until:
                late.append(key)
            found.append(entry)
        self.lookups.hit += len(found) - len(late)
        if late:
            self.lookups.stale += len(late)
            self.batcher.refresh(late)
        return found

    def look(self, tickers: Sequence[str], detail: str, problems: dict[int, Problem]) -> Looked:
        """Look up each ticker; `problems` are those that need no looking up, by position."""
        looked = Looked([None] * len(tickers), [False] * len(tickers))
        for slot, ticker in enumerate(tickers):
            if slot in problems:
                looked.answers[slot] = problems[slot]
            elif (entry := self.find(ticker, detail)) is not None:
                looked.answers[slot] = entry
                looked.cached[slot] = True
            else:
                self._miss(looked, slot, (ticker, detail, self.world))
        return looked

    def _miss(self, looked: Looked, slot: int, key: Key) -> None:
        refusal = self.cache.refusal(key)
        if refusal is not None:
            self.lookups.negative += 1
            looked.answers[slot] = refusal.problem
            return
        self.lookups.miss += 1
        looked.missing[slot] = key
        kept = self.cache.get(key)
        if kept is not None:
            looked.kept[slot] = kept

    def begin(
        self, looked: Looked, deadline: float, owner: str, rank: Rank | None = None, keep: bool = True
    ) -> Problem | None:
        """Ask for what is missing (`keep`: see `Batcher.ask`); the problem says why that cannot be."""
        if rank is None:
            rank = Rank.INTERACTIVE if len(looked.missing) <= INTERACTIVE_MISSES else Rank.SCAN
        asked = self.batcher.ask(looked.missing, deadline=deadline, rank=rank, owner=owner, keep=keep)
        if isinstance(asked, Waiter):
            looked.waiter = asked
            return None
        for slot in looked.missing:
            looked.answers[slot] = asked
        looked.fall_back()
        return asked

    async def wait(
        self, looked: Looked, deadline: float, owner: str, rank: Rank | None = None, keep: bool = True
    ) -> Problem | None:
        """Ask for what is missing and wait for it, at most until the deadline (by the clock)."""
        if (problem := self.begin(looked, deadline, owner, rank, keep)) is not None:
            return problem
        waiter = looked.waiter
        assert waiter is not None
        try:
            await waiter.all()
            looked.take(waiter.answers)
            looked.fall_back()
        finally:
            self.batcher.leave(waiter, keep=waiter.expired)
        return None
