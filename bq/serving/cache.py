"""Encoded answers by key: fresh for a while, stale for a while longer, kept in case the source fails.

Rules of this file: no asyncio, no HTTP, no finance; time and chance are arguments. Everything runs on one thread.

An entry's life::

    put ──► FRESH ──soft──► STALE ──grace──► KEPT ──hard──► gone
              │ asked for again in its last fifth: due for refreshing ahead, while it is still fresh
              ▼
            served at once; a STALE one is served at once too, and refreshed behind the caller's back;
            a KEPT one is served only if the attempt to replace it fails

The key holds everything that changes the answer. Answers are put with the ticket that was drawn when their work began:
an answer whose ticket is older than what the entry holds, or than the last invalidation of its key, is discarded, so
work that was overtaken can never overwrite what overtook it.
"""

import math
import random
from collections.abc import Callable, Hashable, Mapping
from hashlib import blake2b
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec
from cachetools import Cache as BaseCache
from cachetools import TLRUCache, TTLCache

from bq.errors import Problem

K = TypeVar("K", bound=Hashable)

ENTRY_OVERHEAD: Final = 900
"""Bytes that an entry costs besides its data: key, entry, tag, and the slots in the cache's dictionaries and heap."""

REFUSAL_SECONDS: Final[Mapping[str, float]] = {
    "unknown_ticker": 600.0,
    "not_enough_data": 600.0,
    "bad_data": 60.0,
    "source_failed": 10.0,
    "compute_failed": 60.0,  # quarantine: a poisonous ticker does not get at the pool again at once
}
"""How long a problem stands in for an answer. What is not listed (a full queue, a 429 of the source) is not kept."""

FINAL: Final = frozenset({"unknown_ticker", "not_enough_data"})
"""Problems that replace an older answer. All others leave it in place: an error never replaces what was good."""


class Lives(msgspec.Struct, frozen=True):
    """How long answers live, in seconds."""

    grace: float = 600.0  # stale, but served while it is being replaced
    hard: float = 86_400.0  # kept this long in case the source fails
    retry: float = 15.0  # after a failed refresh, how long the old answer counts as fresh
    jitter: float = 0.1  # soft lives differ by up to this share, so that what came together does not expire together
    ahead: float = 0.2  # the last share of the soft life in which a hit asks for a refresh
    ahead_hits: int = 2  # with at least so many hits


class Entry(msgspec.Struct, gc=False):
    """One encoded answer and its times (seconds of the injected clock, but for `as_of`)."""

    data: bytes
    tag: bytes  # blake2b-16 of the data
    as_of: float  # wall clock: when the answer was made
    ticket: int
    ahead_at: float
    soft_until: float
    grace_until: float
    hard_until: float
    hits: int = 0
    stale: bool = False  # the source failed, and this stood in
    used: int = 0  # when it was last used, by the count of uses
    p_value: float = math.nan  # what the false-discovery rate of a list takes from this answer


class Refusal(msgspec.Struct, frozen=True):
    """A problem that stands in for an answer for a while."""

    problem: Problem
    until: float


class Saved(msgspec.Struct, frozen=True, array_like=True):
    """What outlives the process of an entry: times as seconds left."""

    data: bytes
    as_of: float
    soft_left: float
    grace_left: float
    hard_left: float
    stale: bool = False
    p_value: float = math.nan


class Counts(NamedTuple):
    """What the cache holds."""

    entries: int
    size: int  # bytes
    refusals: int


def tag_of(data: bytes) -> bytes:
    """Fingerprint an answer (blake2b, 16 bytes)."""
    return blake2b(data, digest_size=16).digest()


def _entry_size(entry: Entry) -> int:
    return len(entry.data) + ENTRY_OVERHEAD


def _entry_end(_key: object, entry: Entry, _now: float) -> float:
    return entry.hard_until


def _saved(entry: Entry, now: float) -> Saved:
    left = (entry.soft_until - now, entry.grace_until - now, entry.hard_until - now)
    return Saved(entry.data, entry.as_of, *left, entry.stale, entry.p_value)


def _refusal_end(_key: object, refusal: Refusal, _now: float) -> float:
    return refusal.until


class Cache(Generic[K]):
    """Encoded answers and refusals by key, within a budget of bytes.

    Parameters
    ----------
    clock
        Monotonic seconds.
    budget
        Bytes that the answers may take, overhead included; the least recently used go first.
    soft
        Seconds that an answer put now counts as fresh (it may depend on whether the exchange is open).
    lives, rng
        The other durations, and the chance behind the jitter.
    max_refusals
        How many refusals are kept.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        budget: int,
        soft: Callable[[], float],
        lives: Lives | None = None,
        rng: random.Random | None = None,
        max_refusals: int = 10_000,
    ) -> None:
        self.clock = clock
        self.lives = lives or Lives()
        self._soft = soft
        self._rng = rng or random.Random()
        self._entries: TLRUCache[K, Entry] = TLRUCache(budget, _entry_end, clock, _entry_size)
        self._refusals: TLRUCache[K, Refusal] = TLRUCache(max_refusals, _refusal_end, clock)
        self._tickets = 0
        self._uses = 0
        self._oldest_valid = 0  # tickets up to this one were invalidated for every key
        self._invalidated: TTLCache[K, int] = TTLCache(100_000, self.lives.grace, clock)
        self._due: dict[K, None] = {}
        self.too_large = 0  # answers that did not fit the budget at all
        self.overtaken = 0  # answers discarded because of their ticket

    def get(self, key: K) -> Entry | None:
        """Look up an answer, fresh, stale or kept, and count the hit; None when there is none."""
        try:
            entry: Entry = self._entries[key]
        except KeyError:
            return None
        entry.hits += 1
        self._uses = entry.used = self._uses + 1
        now = self.clock()
        if entry.ahead_at <= now < entry.soft_until and entry.hits >= self.lives.ahead_hits:
            self._due[key] = None
        return entry

    def refusal(self, key: K) -> Refusal | None:
        """Look up the problem that stands in for an answer."""
        try:
            found: Refusal = self._refusals[key]
        except KeyError:
            return None
        return found

    def draw_ticket(self) -> int:
        """Give the work that begins now its number; `put` and `fail` want it back."""
        self._tickets += 1
        return self._tickets

    def put(
        self,
        key: K,
        data: bytes,
        as_of: float,
        ticket: int,
        stale: bool = False,
        keep: bool = True,
        p_value: float = math.nan,
    ) -> Entry:
        """Store an answer, unless it was overtaken, and give the entry that its waiters are to be served.

        One that is `stale` from the start, since the source failed and older data stood in, is soon tried again.
        One that is not to be kept only goes to its waiters.
        """
        now = self.clock()
        soft = self._soft() * self._rng.uniform(1.0 - self.lives.jitter, 1.0 + self.lives.jitter)
        if stale:
            soft = min(soft, self.lives.retry)
        entry = self._entry(data, as_of, ticket, now, soft, soft + self.lives.grace, soft + self.lives.hard)
        entry.stale, entry.p_value = stale, p_value
        if self._overtaken(key, ticket):
            self.overtaken += 1
            return entry
        if not keep:
            return entry
        self._refusals.pop(key, None)
        self._store(key, entry)
        return entry

    def fail(self, key: K, problem: Problem, ticket: int) -> Entry | Problem:
        """Note that the work for a key came to nothing; give the older answer if one may stand in, else the problem."""
        entry: Entry | None = self._entries.get(key)
        seconds = REFUSAL_SECONDS.get(problem.code, 0.0)
        if entry is not None and problem.code not in FINAL:
            entry.stale = True
            entry.soft_until = max(entry.soft_until, self.clock() + max(self.lives.retry, seconds))
            entry.ahead_at = entry.soft_until
            entry.grace_until = max(entry.grace_until, entry.soft_until)
            return entry
        if seconds and not self._overtaken(key, ticket):
            self._entries.pop(key, None)
            self._refusals[key] = Refusal(problem, self.clock() + seconds)
        return problem

    def invalidate(self, key: K) -> None:
        """Forget a key; answers whose work began before now will not be stored."""
        self._invalidated[key] = self.draw_ticket()
        self._entries.pop(key, None)
        self._refusals.pop(key, None)

    def invalidate_all(self) -> None:
        """Forget everything; answers whose work began before now will not be stored."""
        self._oldest_valid = self.draw_ticket()
        self._entries.clear()
        self._refusals.clear()
        self._due.clear()

    def shrink(self, size: int) -> None:
        """Give up the least recently used answers until the others take no more than `size` bytes."""
        while self._entries and self._entries.currsize > size:
            self._entries.popitem()

    def take_due(self, limit: int) -> list[K]:
        """Take up to `limit` keys that were asked for in the last part of their soft life, and are still fresh.

        What grew stale before there was time is forgotten here: it is refreshed when somebody asks for it.
        """
        keys: list[K] = []
        now = self.clock()
        while self._due and len(keys) < limit:
            key = next(iter(self._due))
            del self._due[key]
            if key in self._entries and now < BaseCache.__getitem__(self._entries, key).soft_until:
                keys.append(key)
        return keys

    def counts(self) -> Counts:
        """Say what the cache holds; expired entries are dropped first."""
        return Counts(len(self._entries), int(self._entries.currsize), len(self._refusals))

    def dump(self) -> list[tuple[K, Saved]]:
        """List every answer with the seconds it has left, the least recently used first; this is no use of them."""
        now = self.clock()
        # The base class looks up without noting a use; the time-aware one would put the last one listed first.
        entries: list[tuple[K, Entry]] = [(key, BaseCache.__getitem__(self._entries, key)) for key in self._entries]
        entries.sort(key=lambda pair: pair[1].used)
        return [(key, _saved(entry, now)) for key, entry in entries]

    def restore(self, key: K, saved: Saved, age: float) -> bool:
        """Take back an answer saved `age` seconds ago, unless its time is up or a newer one is here."""
        if saved.hard_left <= age or key in self._entries:
            return False
        left = (saved.soft_left - age, saved.grace_left - age, saved.hard_left - age)
        entry = self._entry(saved.data, saved.as_of, self.draw_ticket(), self.clock(), *left)
        entry.stale, entry.p_value = saved.stale, saved.p_value
        self._store(key, entry)
        return True

    def _entry(
        self, data: bytes, as_of: float, ticket: int, now: float, soft: float, grace: float, hard: float
    ) -> Entry:
        ahead_at = now + soft * (1.0 - self.lives.ahead)
        return Entry(data, tag_of(data), as_of, ticket, ahead_at, now + soft, now + grace, now + hard)

    def _store(self, key: K, entry: Entry) -> None:
        self._uses = entry.used = self._uses + 1
        try:
            self._entries[key] = entry
        except ValueError:  # larger than the whole budget: it is served to those who wait, and not kept
            self.too_large += 1
            self._entries.pop(key, None)

    def _overtaken(self, key: K, ticket: int) -> bool:
        if ticket <= max(self._oldest_valid, self._invalidated.get(key, 0)):
            return True
        entry: Entry | None = self._entries.get(key)
        return entry is not None and entry.ticket > ticket
