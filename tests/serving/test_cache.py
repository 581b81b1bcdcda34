"""The cache alone: no event loop, a clock that moves when told to."""

import random

import pytest

from bq.errors import Problem
from bq.serving.cache import ENTRY_OVERHEAD, Cache, Entry, Lives
from tests.serving.clock import FakeClock

NO_JITTER = Lives(grace=600.0, hard=86_400.0, jitter=0.0)
SOURCE = Problem("source_failed", "A: the source is down")
UNKNOWN = Problem("unknown_ticker", "A: no such ticker")


def make(
    clock: FakeClock, lives: Lives = NO_JITTER, budget: int = 1 << 20, soft: float = 60.0, seed: int = 1
) -> Cache[str]:
    return Cache(clock, budget=budget, soft=lambda: soft, lives=lives, rng=random.Random(seed))


def put(cache: Cache[str], key: str, data: bytes = b"{}") -> Entry:
    return cache.put(key, data, 0.0, cache.draw_ticket())


def test_a_new_key_is_not_there():
    assert make(FakeClock()).get("A") is None


def test_what_was_put_comes_back_with_its_tag():
    cache = make(FakeClock())
    put(cache, "A", b"answer")
    entry = cache.get("A")

    assert entry is not None
    assert (entry.data, len(entry.tag)) == (b"answer", 16)


def test_equal_data_have_equal_tags_and_others_have_not():
    cache = make(FakeClock())

    assert put(cache, "A", b"x").tag == put(cache, "B", b"x").tag != put(cache, "C", b"y").tag


def test_an_entry_is_fresh_then_stale_then_kept_then_gone():
    clock = FakeClock()
    cache = make(clock)
    put(cache, "A")
    entry = cache.get("A")
    assert entry is not None
    start = clock.now

    assert (entry.soft_until - start, entry.grace_until - start, entry.hard_until - start) == (60.0, 660.0, 86_460.0)
    clock.tick(86_459.0)
    assert cache.get("A") is not None
    clock.tick(2.0)
    assert cache.get("A") is None


def test_the_byte_budget_holds_and_the_least_recently_used_goes_first():
    cache = make(FakeClock(), budget=3 * (100 + ENTRY_OVERHEAD))
    for key in "ABC":
        put(cache, key, b"x" * 100)
    cache.get("A")
    put(cache, "D", b"x" * 100)

    assert [key for key in "ABCD" if cache.get(key)] == ["A", "C", "D"]
    assert cache.counts().size <= 3 * (100 + ENTRY_OVERHEAD)


def test_an_answer_larger_than_the_budget_is_given_but_not_kept():
    cache = make(FakeClock(), budget=2000)
    entry = put(cache, "A", b"x" * 5000)

    assert len(entry.data) == 5000
    assert (cache.get("A"), cache.too_large) == (None, 1)


def test_jitter_spreads_the_soft_lives_within_a_tenth():
    clock = FakeClock()
    cache = make(clock, Lives(jitter=0.1))
    lives = [put(cache, str(i)).soft_until - clock.now for i in range(200)]

    assert 54.0 <= min(lives) < 56.0 < 64.0 < max(lives) <= 66.0


@pytest.mark.parametrize(
    ("code", "seconds"), [("unknown_ticker", 600), ("source_failed", 10), ("compute_failed", 60), ("bad_data", 60)]
)
def test_a_problem_stands_in_for_its_own_time(code, seconds):
    clock = FakeClock()
    cache = make(clock)
    cache.fail("A", Problem(code, "A: no"), cache.draw_ticket())

    clock.tick(seconds - 0.1)
    assert cache.refusal("A") is not None
    clock.tick(0.2)
    assert cache.refusal("A") is None


@pytest.mark.parametrize("code", ["too_busy", "too_many_requests", "not_ready"])
def test_a_lack_of_capacity_is_never_remembered(code):
    cache = make(FakeClock())
    cache.fail("A", Problem(code, "later"), cache.draw_ticket())

    assert cache.refusal("A") is None


def test_a_failed_refresh_keeps_the_old_answer_and_says_stale():
    clock = FakeClock()
    cache = make(clock)
    put(cache, "A", b"old")
    clock.tick(700.0)
    answer = cache.fail("A", SOURCE, cache.draw_ticket())

    assert isinstance(answer, Entry)
    assert (answer.data, answer.stale, answer.soft_until - clock.now) == (b"old", True, 15.0)


def test_a_ticker_that_ceased_to_exist_replaces_the_old_answer():
    cache = make(FakeClock())
    put(cache, "A", b"old")

    assert cache.fail("A", UNKNOWN, cache.draw_ticket()) == UNKNOWN
    assert cache.get("A") is None


def test_an_answer_clears_the_refusal():
    cache = make(FakeClock())
    cache.fail("A", SOURCE, cache.draw_ticket())
    put(cache, "A")

    assert cache.refusal("A") is None


def test_work_that_was_overtaken_does_not_overwrite():
    cache = make(FakeClock())
    early, late = cache.draw_ticket(), cache.draw_ticket()
    cache.put("A", b"new", 0.0, late)
    served = cache.put("A", b"old", 0.0, early)
    entry = cache.get("A")

    assert entry is not None
    assert (entry.data, served.data, cache.overtaken) == (b"new", b"old", 1)


def test_work_begun_before_an_invalidation_is_not_stored():
    cache = make(FakeClock())
    ticket, other = cache.draw_ticket(), cache.draw_ticket()
    cache.invalidate("A")
    cache.put("A", b"old", 0.0, ticket)
    cache.put("B", b"fine", 0.0, other)

    assert cache.get("A") is None
    assert cache.get("B") is not None


def test_invalidating_all_bars_all_earlier_work():
    cache = make(FakeClock())
    ticket = cache.draw_ticket()
    put(cache, "A")
    cache.invalidate_all()
    cache.put("B", b"old", 0.0, ticket)

    assert (cache.get("A"), cache.get("B")) == (None, None)


def test_a_second_hit_in_the_last_fifth_makes_an_entry_due_once():
    clock = FakeClock()
    cache = make(clock)
    put(cache, "A")
    cache.get("A")
    assert cache.take_due(10) == []
    clock.tick(50.0)
    cache.get("A")

    assert cache.take_due(10) == ["A"]
    assert cache.take_due(10) == []


def test_a_single_late_hit_is_not_enough():
    clock = FakeClock()
    cache = make(clock)
    put(cache, "A")
    clock.tick(50.0)
    cache.get("A")

    assert cache.take_due(10) == []


def test_saved_answers_come_back_with_the_life_they_had_left():
    clock = FakeClock()
    old = make(clock)
    put(old, "A", b"answer")
    clock.tick(20.0)
    saved = dict(old.dump())
    young = make(clock)

    assert young.restore("A", saved["A"], age=30.0)
    entry = young.get("A")
    assert entry is not None
    assert (entry.data, entry.soft_until - clock.now) == (b"answer", 10.0)


def test_saved_answers_past_their_hard_life_stay_away():
    clock = FakeClock()
    old = make(clock)
    put(old, "A")

    assert not make(clock).restore("A", dict(old.dump())["A"], age=90_000.0)


def test_shrinking_gives_up_the_least_recently_used():
    cache = make(FakeClock())
    for name in "ABCD":
        cache.put(name, b"x" * 1000, 0.0, cache.draw_ticket())
    cache.get("A")
    cache.shrink(cache.counts().size // 2)

    assert [name for name in "ABCD" if cache.get(name)] == ["A", "D"]


def test_an_answer_that_stood_in_stays_marked_when_it_is_saved():
    cache = make(FakeClock())
    cache.put("A", b"old", 0.0, cache.draw_ticket(), stale=True)
    other = make(FakeClock())
    for key, saved in cache.dump():
        other.restore(key, saved, 0.0)

    assert other.get("A").stale


def test_bulk_fills_do_not_expire_together():
    """T16: the refreshes of 2,000 entries filled within a second spread over a fifth of their life."""
    clock = FakeClock()
    cache = make(clock, Lives(jitter=0.1))
    for i in range(2000):
        put(cache, str(i))
        clock.tick(1.0 / 2000)
    ends = sorted(entry.soft_until for i in range(2000) if (entry := cache.get(str(i))))
    per_second = [sum(1 for end in ends if low <= end < low + 1) for low in range(int(ends[0]), int(ends[-1]) + 1)]

    assert max(per_second) < 3 * sum(per_second) / len(per_second)


def test_a_snapshot_leaves_the_order_of_use_as_it_is():
    """Reading each answer for the disk counted as using it: every minute the cache forgot what was asked for."""
    cache = make(FakeClock())
    for name in "ABCD":
        cache.put(name, b"x" * 1000, 0.0, cache.draw_ticket())
    cache.get("A")
    assert [key for key, _ in cache.dump()] == ["B", "C", "D", "A"]  # the least recently used first: so it is restored
    cache.shrink(cache.counts().size // 2)

    assert [name for name in "ABCD" if cache.get(name)] == ["A", "D"]


def test_what_has_grown_stale_meanwhile_is_not_refreshed_ahead():
    """On a server that was busy for long: nobody asked for it since, and whoever does has it refreshed."""
    clock = FakeClock()
    cache = make(clock, Lives(jitter=0.0))
    for name in "AB":
        put(cache, name)
    clock.tick(55.0)
    for name in "AABB":
        cache.get(name)
    clock.tick(4.0)
    assert cache.take_due(1) == ["A"]
    clock.tick(2.0)
    assert cache.take_due(10) == []
