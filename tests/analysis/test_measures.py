"""Put values and probabilities of samples, against the sums that define them."""

import numpy as np
import pytest

from bq.analysis.measures import Sample, overlapping_returns, quantiles
from bq.analysis.risk import touch
from bq.analysis.strategy import Curve, Strategy

RNG = np.random.default_rng(11)


def test_a_sample_has_the_mean_it_was_given() -> None:
    sample = Sample.of(RNG.normal(0.0, 0.2, 4096), 123.0)
    assert sample.prices.mean() == pytest.approx(123.0, rel=1e-12)


def test_put_values_are_exact_for_the_sample() -> None:
    sample = Sample.of(RNG.normal(0.0, 0.2, 500), 100.0)
    strikes = np.array([0.0, 60.0, 99.5, 100.0, 140.0, 500.0])
    expected = [np.maximum(k - sample.prices, 0.0).mean() for k in strikes]
    np.testing.assert_allclose(sample.put_value(strikes), expected, rtol=1e-12, atol=1e-12)


def test_the_distribution_function_is_the_share_below() -> None:
    sample = Sample.of(RNG.normal(0.0, 0.2, 4096), 100.0)
    for price in (80.0, 100.0, 125.0):
        # Linear between the middles of the steps: half a step of 1/4096 is the most that it can be off.
        assert float(sample.cdf(price)[0]) == pytest.approx(np.mean(sample.prices <= price), abs=1.0 / 4096)


def test_the_lognormal_butterfly_of_the_golden_table() -> None:
    """ln S ~ N(ln 100 - 0.00245, 0.07), K 95, 100, 105, debit 1.60: E[payoff] 1.367216983893, PoP 0.372839915913."""
    u = (np.arange(400_000) + 0.5) / 400_000
    from scipy.special import ndtri

    sample = Sample.of(0.07 * ndtri(u), 100.0)
    curve = Curve.of_options(np.array([95.0, 100.0, 105.0]), np.full(3, True), np.array([1.0, -2.0, 1.0]))
    strategy = Strategy(curve, 1.60, 1.0, 20)
    assert strategy.expected_value(sample, 100.0) == pytest.approx(-0.232783016107, abs=2e-5)
    assert strategy.probability(sample) == pytest.approx(0.372839915913, abs=1e-5)


def test_scaling_widens_around_the_same_mean() -> None:
    sample = Sample.of(RNG.normal(0.0, 0.2, 4096), 100.0)
    wide = sample.scaled(1.1)
    assert wide.prices.mean() == pytest.approx(100.0, rel=1e-12)
    assert np.std(np.log(wide.prices)) == pytest.approx(1.1 * np.std(np.log(sample.prices)), rel=1e-9)


def test_overlapping_returns_keep_their_order() -> None:
    np.testing.assert_allclose(overlapping_returns(np.array([0.0, 1.0, 3.0, 6.0]), 2), [3.0, 5.0])


def test_touching_is_certain_at_the_spot_and_rarer_further_out() -> None:
    at = [touch(100.0, level, 0.1) for level in (100.0, 105.0, 110.0, 120.0)]
    assert at[0] == pytest.approx(1.0)
    assert at == sorted(at, reverse=True)


def test_touching_agrees_with_simulated_paths() -> None:
    sigma, steps = 0.1, 2000
    walk = np.cumsum(RNG.normal(-0.5 * sigma**2 / steps, sigma / steps**0.5, (4000, steps)), axis=1)
    for level in (95.0, 108.0):
        b = np.log(level / 100.0)
        share = np.mean((walk.max(axis=1) >= b) if b > 0 else (walk.min(axis=1) <= b))
        # 0.8 % of sampling error, and a discrete path misses touches between its steps.
        assert touch(100.0, level, sigma) == pytest.approx(share, abs=0.035)


def test_quantiles_are_those_of_numpy() -> None:
    for n in (1, 2, 3, 200, 256):
        values = RNG.normal(size=n)
        levels = (0.0, 0.025, 0.5, 0.975, 1.0)
        np.testing.assert_allclose(quantiles(values, levels), np.quantile(values, levels), rtol=1e-13, atol=1e-15)
