"""Samples of outcomes against the sums that define them."""

import numpy as np
import pytest
from scipy.stats import gaussian_kde

from kernels import outcomes

RNG = np.random.default_rng(5)
LOGS = np.sort(RNG.standard_t(5, 4096) * 0.06)


@pytest.mark.parametrize("factor", [1.0, 0.7, 1.3, 0.0])
def test_levels_have_their_mean_and_their_shape(factor: float) -> None:
    prices, sums = outcomes.levels(LOGS, 123.0, factor)
    stretched = LOGS[2048] + factor * (LOGS - LOGS[2048])
    growth = np.exp(stretched)
    np.testing.assert_allclose(prices, 123.0 * growth / growth.mean(), rtol=1e-13)
    np.testing.assert_allclose(sums, np.concatenate(([0.0], np.cumsum(prices))), rtol=1e-13)
    assert prices.mean() == pytest.approx(123.0, rel=1e-13)


@pytest.mark.parametrize("n", [2, 3, 255, 4096])
def test_put_values_and_distribution_are_those_of_the_sample(n: int) -> None:
    prices, sums = outcomes.levels(LOGS[:n].copy(), 100.0)
    at = np.sort([0.0, prices[0], prices[n // 2], 99.5, 100.0, prices[-1], 500.0, np.inf])
    finite = at[:-1]
    puts = outcomes.put_value(prices, sums, finite)
    np.testing.assert_allclose(puts, np.maximum(finite[:, None] - prices, 0.0).mean(axis=1), rtol=1e-12, atol=1e-11)
    p = outcomes.cdf(prices, at)
    share = (prices[None, :] <= at[:, None]).mean(axis=1)
    assert (np.abs(p - share) <= 1.0 / n + 1e-15).all()
    assert (np.diff(p) >= 0.0).all()
    assert (p[0], p[-1]) == (0.0, 1.0)


def test_the_density_is_the_kernel_estimate_of_scipy() -> None:
    """scipy's estimate with the same bandwidth, of the unbinned sample: binning moves it by a per cent of the peak."""
    prices, _ = outcomes.levels(LOGS, 100.0)
    logs = np.log(prices)
    quarter = logs.size // 4
    spread = min(logs.std(), (logs[-1 - quarter] - logs[quarter]) / 1.349)
    width = 0.9 * spread * logs.size**-0.2
    grid = 100.0 * np.exp(np.linspace(-0.3, 0.3, 61))
    expected = gaussian_kde(logs, bw_method=width / logs.std(ddof=1))(np.log(grid)) / grid
    found = outcomes.density(LOGS, grid, float(logs[0] - LOGS[0]))
    np.testing.assert_allclose(found, expected, atol=0.012 * expected.max())
    # and the estimate of the binned sample, each bin at its middle, to the last digits
    counts, edges = np.histogram(logs, outcomes.BINS)
    z = (np.log(grid)[:, None] - 0.5 * (edges[1:] + edges[:-1])) / width
    binned = (counts * np.exp(-0.5 * z * z)).sum(axis=1) / (logs.size * width * np.sqrt(2.0 * np.pi)) / grid
    np.testing.assert_allclose(found, binned, rtol=1e-9)
    wide = 100.0 * np.exp(np.linspace(-2.0, 2.0, 4001))
    mass = np.trapezoid(outcomes.density(LOGS, wide, float(logs[0] - LOGS[0])), wide)
    assert mass == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("strikes", "constant"), [((95.0, 100.0, 105.0), 0.0), ((90.0, 102.0, 108.0), -5.0)])
def test_the_profit_of_a_butterfly_is_that_of_every_outcome(
    strikes: tuple[float, float, float], constant: float
) -> None:
    prices, _ = outcomes.levels(LOGS, 100.0)
    low, mid, high = strikes
    discount, debit, worst = 0.99, 1.3, 6.0
    payoff = np.maximum(low - prices, 0) - 2 * np.maximum(mid - prices, 0) + np.maximum(high - prices, 0) + constant
    pnl = discount * payoff - debit
    found = outcomes.profit(prices, strikes, constant, discount, debit, worst)
    assert found.sd == pytest.approx(pnl.std(), rel=1e-10)
    assert found.tail == pytest.approx(np.sort(pnl)[: prices.size // 20].mean(), rel=1e-12)
    assert found.at_worst == np.mean(pnl <= -0.98 * worst)
    assert found.losing_half == np.mean(pnl < -0.5 * worst)


@pytest.mark.parametrize("edge", [-0.02, 0.0, 0.03, 0.4, 3.0])
def test_kelly_is_the_share_at_which_the_capital_grows_fastest(edge: float) -> None:
    from scipy.optimize import minimize_scalar

    profits = np.maximum(LOGS * 10.0 + edge, -2.0)
    found = outcomes.kelly(profits, 2.0)
    if profits.mean() <= 0.0:
        assert found == 0.0
        return
    best = minimize_scalar(
        lambda f: -np.log1p(f * profits / 2.0).mean(), bounds=(0.0, 0.999), method="bounded", options={"xatol": 1e-10}
    ).x
    assert found == pytest.approx(best, abs=1e-5)
