"""Ranks, their intervals, ties and clusters, against what can be said without the code."""

import math

import numpy as np
import pytest

from bq.scan.clusters import LEAST, clusters
from bq.scan.ranks import NORMAL, rank, ranked


def test_equal_scores_share_a_rank_and_the_next_one_is_left_out() -> None:
    assert rank(np.array([10.0, 30.0, 30.0, 20.0, 30.0])).tolist() == [5, 1, 1, 4, 1]
    assert rank(np.array([])).size == 0


def test_exact_scores_have_exact_ranks() -> None:
    scores = np.array([50.0, 70.0, 50.0, 10.0])
    found = ranked(scores, scores, scores, seed=1)
    assert found.rank.tolist() == found.low.tolist() == found.high.tolist() == [2, 1, 2, 4]
    assert found.tier.tolist() == [2, 1, 2, 3]


def test_scores_that_cannot_be_told_apart_have_the_same_wide_intervals() -> None:
    n = 20
    scores = np.linspace(50.0, 50.1, n)
    found = ranked(scores, scores - 10.0, scores + 10.0, seed=1)
    assert set(found.tier.tolist()) == {1}
    # Of n exchangeable names each rank is equally likely: 95 % of 1..20 leaves out at most one at each end.
    assert found.low.max() <= 2
    assert found.high.min() >= n - 1


def test_the_interval_of_a_rank_is_what_two_normal_scores_say() -> None:
    """Of two names the better has rank 2 with probability Phi(-d / sqrt(2) / se): above 2.5 % the interval holds it."""
    for gap, certain in ((2.5, False), (3.2, True)):  # Phi(-2.5 / sqrt 2) = 3.9 %, Phi(-3.2 / sqrt 2) = 1.2 %
        assert (0.5 * math.erfc(gap / 2.0) < 0.025) is certain
        scores = np.array([50.0 + gap, 50.0])
        found = ranked(scores, scores - NORMAL, scores + NORMAL, seed=3)
        assert (found.high.tolist(), found.low.tolist()) == (([1, 2], [1, 2]) if certain else ([2, 2], [1, 1]))


def test_a_tier_ends_where_the_difference_to_its_best_is_significant() -> None:
    # Standard errors of 1: a difference counts from 1.96 sqrt(2) = 2.77 on.
    scores = np.array([60.0, 58.0, 57.3, 57.1, 54.6, 54.0])
    found = ranked(scores, scores - NORMAL, scores + NORMAL, seed=1)
    assert found.tier.tolist() == [1, 1, 1, 2, 2, 3]


def test_intervals_that_end_at_a_bound_stay_there() -> None:
    scores = np.array([0.0, 0.0, 0.0, 5.0])
    low, high = np.zeros(4), np.array([0.0, 0.0, 0.0, 30.0])
    found = ranked(scores, low, high, seed=1)
    assert found.rank.tolist() == [2, 2, 2, 1]
    assert found.high.tolist() == [2, 2, 2, 1]


def test_the_same_seed_gives_the_same_intervals_whatever_the_order() -> None:
    rng = np.random.default_rng(5)
    scores = rng.uniform(0.0, 100.0, 40)
    one, two = (ranked(scores, scores - 8.0, scores + 8.0, seed=9) for _ in range(2))
    assert one.low.tolist() == two.low.tolist()
    assert ((one.low <= one.rank) & (one.rank <= one.high)).all()


def test_an_unknown_error_makes_no_interval() -> None:
    scores = np.array([2.0, 1.0])
    found = ranked(scores, np.array([1.0, np.nan]), scores + 1.0, seed=1)
    assert found.rank.tolist() == [1, 2]
    assert found.low is found.high is found.tier is None


def series(returns: np.ndarray) -> dict[str, float]:
    return {f"{i:03d}": float(value) for i, value in enumerate(100.0 * np.exp(np.cumsum(returns)))}


def test_names_that_share_a_factor_are_one_cluster() -> None:
    rng = np.random.default_rng(2)
    factors = rng.standard_normal((3, 119)) * 0.01
    owner = [0, 1, 0, 2, 1, 2, 0]
    names = [series(factors[k] + 0.004 * rng.standard_normal(119)) for k in owner]
    assert clusters(names).tolist() == [1, 2, 1, 3, 2, 3, 1]
    assert clusters(names[::-1]).tolist() == [1, 2, 3, 2, 1, 3, 1]


def test_noise_makes_no_cluster() -> None:
    rng = np.random.default_rng(4)
    found = clusters([series(0.01 * rng.standard_normal(119)) for _ in range(60)])
    assert found.tolist() == list(range(1, 61))


def test_dates_are_matched_and_too_few_common_ones_say_nothing() -> None:
    rng = np.random.default_rng(6)
    whole = series(0.01 * rng.standard_normal(119))
    late = {day: whole[day] for day in list(whole)[119 - LEAST - 1 :]}  # LEAST returns
    shorter = {day: whole[day] for day in list(late)[1:]}
    gone = dict.fromkeys(whole, 100.0)  # nothing moves
    assert clusters([whole, late, shorter, gone, {}]).tolist() == [1, 1, 2, 3, 4]


@pytest.mark.parametrize("count", [0, 1])
def test_none_and_one_need_no_clustering(count: int) -> None:
    assert clusters([{"1": 1.0}] * count).tolist() == [1] * count
