"""The block bootstrap: its mean, its spread under dependence, and that it can be repeated."""

import numpy as np
import pytest

from kernels.bootstrap import block_means


def test_a_constant_stays_itself() -> None:
    assert np.ptp(block_means(np.full(100, 0.25), 21, seed=1, draws=200)) < 1e-12


def test_draws_can_be_repeated_and_do_not_depend_on_how_many_follow() -> None:
    values = np.random.default_rng(2).normal(size=300)
    few, many = (block_means(values, 21, seed=9, draws=n) for n in (50, 200))
    np.testing.assert_array_equal(few, many[:50])
    assert not np.array_equal(few, block_means(values, 21, seed=10, draws=50))


def test_the_spread_is_the_standard_error_of_a_dependent_mean() -> None:
    """AR(1) of 0.6: the long-run variance is 1 / 0.4^2; blocks of 40 find most of it, single values a quarter."""
    rng = np.random.default_rng(3)
    n, ratios, naive = 2000, [], []
    for seed in range(40):
        x = np.empty(n)
        x[0], noise = 0.0, rng.normal(size=n)
        for t in range(1, n):
            x[t] = 0.6 * x[t - 1] + noise[t]
        truth = 1.0 / 0.4 / np.sqrt(n)
        ratios.append(block_means(x, 40, seed=seed, draws=400).std() / truth)
        naive.append(block_means(x, 1, seed=seed, draws=400).std() / truth)
    assert np.mean(ratios) == pytest.approx(0.96, abs=0.05)
    assert np.mean(naive) == pytest.approx(0.5, abs=0.03)


def test_every_block_is_drawn_alike() -> None:
    """Indicators of single positions: position i lies in min(i + 1, b, n - i) of the n - b + 1 blocks."""
    n, block = 12, 3
    for i in (0, 1, 5, 11):
        share = block_means(np.arange(n) == i, block, seed=4, draws=40_000).mean() * n
        assert share == pytest.approx(min(i + 1, block, n - i) / (n - block + 1) / block * n, rel=0.02)


def test_a_block_longer_than_the_series_is_the_whole_and_nothing_is_an_error() -> None:
    assert block_means([1.0, 2.0, 6.0], 10, seed=1, draws=2).tolist() == [3.0, 3.0]
    with pytest.raises(ValueError, match="no values"):
        block_means([], 2, seed=1, draws=2)
