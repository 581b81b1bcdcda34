"""The rate limit and the breaker, on a clock that the tests move."""

import random
from pathlib import Path

import pytest

from bq.market.breaker import Breaker, Outcome, TokenBucket


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Even(random.Random):
    """No jitter: always the middle."""

    def random(self) -> float:
        return 0.5


@pytest.fixture
def clock() -> Clock:
    return Clock()


def breaker(clock: Clock, path: Path | None = None) -> Breaker:
    return Breaker(clock, path, Even())


def refuse(each: Breaker, times: int = 3) -> None:
    for _ in range(times):
        each.record(Outcome.THROTTLED)


def probe(each: Breaker, outcome: Outcome) -> None:
    assert each.wait(take=True) == 0.0
    each.record(outcome)


def test_a_bucket_lets_a_burst_through_and_then_the_rate(clock: Clock) -> None:
    bucket = TokenBucket(1.0, 3.0, clock)
    assert [bucket.reserve(10.0) for _ in range(5)] == [(True, 0.0), (True, 0.0), (True, 0.0), (True, 1.0), (True, 2.0)]


def test_a_bucket_refuses_what_would_wait_too_long_and_takes_nothing_for_it(clock: Clock) -> None:
    bucket = TokenBucket(1.0, 1.0, clock)
    bucket.reserve(0.0)
    assert bucket.reserve(0.5) == (False, 1.0)
    assert bucket.reserve(1.0) == (True, 1.0)


def test_a_bucket_fills_with_time_and_no_further_than_its_burst(clock: Clock) -> None:
    bucket = TokenBucket(2.0, 3.0, clock)
    for _ in range(3):
        bucket.reserve(0.0)
    clock.now += 100.0
    assert [bucket.reserve(0.0)[0] for _ in range(4)] == [True, True, True, False]


def test_a_clock_set_back_leaves_a_bucket_as_it_is(clock: Clock) -> None:
    bucket = TokenBucket(1.0, 2.0, clock)
    clock.now -= 3600.0
    assert [bucket.reserve(0.0)[0] for _ in range(3)] == [True, True, False]


def test_five_hundred_requests_keep_to_the_rate(clock: Clock) -> None:
    bucket = TokenBucket(1.0, 10.0, clock)
    sent = [clock.now + bucket.reserve(1000.0)[1] for _ in range(500)]
    assert sent[-1] - sent[0] == 490.0  # ten at once, one a second after


def test_three_refusals_in_a_row_open_it_for_a_minute(clock: Clock) -> None:
    each = breaker(clock)
    refuse(each, 2)
    assert each.wait() == 0.0
    refuse(each, 1)
    assert each.wait() == 60.0


def test_an_answer_between_refusals_starts_the_count_again(clock: Clock) -> None:
    each = breaker(clock)
    refuse(each, 2)
    each.record(Outcome.OK)
    refuse(each, 2)
    assert not each.is_open


def test_half_of_twenty_failures_open_it(clock: Clock) -> None:
    each = breaker(clock)
    for _ in range(9):
        each.record(Outcome.OK)
        each.record(Outcome.FAILED)
    each.record(Outcome.OK)
    assert not each.is_open
    each.record(Outcome.FAILED)
    assert each.is_open


def test_a_few_failures_do_not_open_it(clock: Clock) -> None:
    each = breaker(clock)
    for _ in range(19):
        each.record(Outcome.FAILED)
    assert not each.is_open  # not yet twenty


def test_one_probe_goes_when_the_time_is_over_and_no_second_beside_it(clock: Clock) -> None:
    each = breaker(clock)
    refuse(each)
    clock.now += 60.0
    assert each.wait(take=True) == 0.0
    assert each.wait(take=True) == 60.0


def test_looking_takes_no_probe(clock: Clock) -> None:
    each = breaker(clock)
    refuse(each)
    clock.now += 60.0
    assert each.wait() == each.wait() == each.wait(take=True) == 0.0


def test_a_good_probe_closes_it(clock: Clock) -> None:
    each = breaker(clock)
    refuse(each)
    clock.now += 60.0
    probe(each, Outcome.OK)
    assert not each.is_open
    refuse(each, 2)
    assert not each.is_open


def test_bad_probes_double_the_wait_up_to_a_quarter_of_an_hour(clock: Clock) -> None:
    each = breaker(clock)
    refuse(each)
    waits = []
    for _ in range(6):
        waits.append(each.wait())
        clock.now += each.wait()
        probe(each, Outcome.FAILED)
    assert waits == [60.0, 120.0, 240.0, 480.0, 900.0, 900.0]


def test_a_probe_that_never_reports_is_given_up(clock: Clock) -> None:
    each = breaker(clock)
    refuse(each)
    clock.now += 60.0
    each.wait(take=True)
    clock.now += 60.0
    assert each.wait(take=True) == 0.0


def test_a_probe_that_tells_nothing_makes_way_for_the_next(clock: Clock) -> None:
    each = breaker(clock)
    refuse(each)
    clock.now += 60.0
    each.wait(take=True)
    each.release()
    assert each.wait(take=True) == 0.0


def test_stragglers_neither_close_nor_lengthen_it(clock: Clock) -> None:
    each = breaker(clock)
    refuse(each)
    each.record(Outcome.OK)
    each.record(Outcome.THROTTLED)
    assert each.wait() == 60.0


def test_the_source_may_ask_for_longer(clock: Clock) -> None:
    each = breaker(clock)
    refuse(each, 2)
    each.record(Outcome.THROTTLED, retry_after=300.0)
    assert each.wait() == 300.0


def test_jitter_is_a_fifth(clock: Clock) -> None:
    waits = set()
    for seed in range(200):
        each = Breaker(clock, None, random.Random(seed))
        refuse(each)
        waits.add(each.wait())
    assert 48.0 <= min(waits) < 50.0
    assert 70.0 < max(waits) <= 72.0


def test_an_open_breaker_outlives_a_restart(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "state" / "breaker.json"
    refuse(breaker(clock, path))
    clock.now += 20.0
    again = breaker(clock, path)
    assert again.wait() == 40.0
    clock.now += 40.0
    probe(again, Outcome.THROTTLED)
    assert breaker(clock, path).wait() == 120.0


def test_a_closed_breaker_is_closed_after_a_restart(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "breaker.json"
    each = breaker(clock, path)
    refuse(each)
    clock.now += 60.0
    probe(each, Outcome.OK)
    assert not breaker(clock, path).is_open


def test_a_clock_set_back_does_not_lock_it_for_ever(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "breaker.json"
    refuse(breaker(clock, path))
    clock.now -= 1e6
    assert breaker(clock, path).wait() <= 900.0 * 1.2


@pytest.mark.parametrize("text", ["", "nonsense", "[]", '{"open_s": "x", "until": 1}', '{"open_s": 1e99, "until": 1}'])
def test_a_spoilt_state_counts_as_none(clock: Clock, tmp_path: Path, text: str) -> None:
    path = tmp_path / "breaker.json"
    path.write_text(text)
    assert not breaker(clock, path).is_open


def test_a_state_that_cannot_be_written_stops_nothing(clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    each = breaker(clock, tmp_path / "file" / "breaker.json")
    refuse(each)
    assert each.wait() == 60.0
