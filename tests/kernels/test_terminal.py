"""Tables of terminal distributions: against quadrature and each other, and that a search needs no more than them."""

import numpy as np
import pytest
from scipy.special import ndtr

from kernels import butterfly, payoff, smile, terminal
from tests.references import butterfly as reference

STRIKE = np.array([[85.0, 95.0, 100.0, 105.0, 112.5, np.nan]])
KNOWN = STRIKE[0, :5]
MEAN, SD = np.log(100.0) - 0.00245, 0.07
LOW, STEP, POINTS = 60.0, 0.05, 2049
GRID = LOW + STEP * np.arange(POINTS)


@pytest.fixture(scope="module")
def lognormal():
    return terminal.lognormal(STRIKE, LOW, STEP, MEAN, SD, POINTS)


@pytest.fixture(scope="module")
def draws():
    return np.exp(MEAN + SD * np.random.default_rng(3).standard_normal(4096))


def test_lognormal_puts_agree_with_quadrature(lognormal):
    value = [reference.expectation(lambda s, k=k: max(k - s, 0), MEAN, SD, [k]) for k in KNOWN]
    square = [reference.expectation(lambda s, k=k: max(k - s, 0) ** 2, MEAN, SD, [k]) for k in KNOWN]
    np.testing.assert_allclose(lognormal.put_value[0, :5], value, rtol=0, atol=1e-12)
    np.testing.assert_allclose(lognormal.put_square[0, :5], square, rtol=0, atol=1e-10)  # of 1e4
    assert np.isnan(lognormal.put_value[0, 5])


def test_lognormal_distribution_is_scipys(lognormal):
    np.testing.assert_allclose(lognormal.cdf[0], ndtr((np.log(GRID) - MEAN) / SD), rtol=0, atol=1e-14)


def test_prices_at_or_below_zero_have_no_probability():
    assert terminal.lognormal(STRIKE, -10.0, 1.0, MEAN, SD, 12).cdf[0, :11].max() == 0.0


def test_flat_smile_gives_the_lognormal_tables():
    market = terminal.smile(STRIKE, LOW, STEP, smile.flat(SD * SD), 100.0, POINTS)
    same = terminal.lognormal(STRIKE, LOW, STEP, np.log(100) - SD * SD / 2, SD, POINTS)
    np.testing.assert_allclose(market.put_value, same.put_value, rtol=0, atol=1e-12)
    np.testing.assert_allclose(market.cdf, same.cdf, rtol=0, atol=1e-13)
    np.testing.assert_allclose(market.put_square, same.put_square, rtol=1e-9)


def test_sample_puts_are_the_samples_means(draws):
    table = terminal.sample(STRIKE, LOW, STEP, draws[None], POINTS)
    loss = np.maximum(KNOWN - draws[:, None], 0)
    np.testing.assert_allclose(table.put_value[0, :5], loss.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(table.put_square[0, :5], (loss**2).mean(axis=0), rtol=1e-12)


def test_sample_distribution_is_the_smoothed_one(draws):
    table = terminal.sample(STRIKE, LOW, STEP, draws[None], POINTS)
    spread = min(draws.std(), np.subtract(*np.percentile(draws, [75, 25])) / 1.34)
    smooth = ndtr((GRID[:, None] - draws) / (0.3 * spread * 4096**-0.2)).mean(axis=1)
    # quartiles by another rule move the width by 1e-3; a draw is shared between two points 0.05 apart. A width 10 % off
    # makes 2e-4
    np.testing.assert_allclose(table.cdf[0], smooth, rtol=0, atol=5e-5)
    assert np.diff(table.cdf[0]).min() >= -1e-15


def test_sample_distribution_is_near_the_true_one(draws):
    table = terminal.sample(STRIKE, LOW, STEP, draws[None], POINTS)
    # Kolmogorov's 99.9 % point
    assert abs(table.cdf[0] - ndtr((np.log(GRID) - MEAN) / SD)).max() < 1.95 / np.sqrt(4096)


def test_draws_outside_the_grid_count_at_its_ends():
    table = terminal.sample(STRIKE, LOW, STEP, [[10.0, 20.0, 500.0, 600.0]], POINTS)
    assert table.cdf[0, 1000] == pytest.approx(0.5, abs=0.01)  # smoothed over 30
    assert table.put_value[0, 2] == pytest.approx((90 + 80) / 4, abs=1e-13)


def test_equal_draws_are_a_step():
    table = terminal.sample(STRIKE, LOW, STEP, np.full((1, 50), 100.0), POINTS)
    np.testing.assert_allclose(table.cdf[0, [790, 810]], [0, 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0])
def test_a_bad_row_is_nan_and_alone(draws, bad):
    rows = np.stack([draws, draws[::-1] * 1.01])
    strike = np.repeat(STRIKE, 2, axis=0)
    clean = terminal.sample(strike, LOW, STEP, rows, POINTS)
    spoiled = rows.copy()
    spoiled[0, 7] = bad
    tables = terminal.sample(strike, LOW, STEP, spoiled, POINTS)
    for after, before in zip(tables, clean, strict=True):
        assert np.isnan(after[0]).all()
        np.testing.assert_array_equal(after[1], before[1])
    parameters = terminal.lognormal(strike, LOW, STEP, MEAN, [bad, SD], POINTS)
    assert np.isnan(parameters.cdf[0]).all()
    np.testing.assert_array_equal(parameters.cdf[1], terminal.lognormal(STRIKE, LOW, STEP, MEAN, SD, POINTS).cdf[0])


def test_same_bits_in_any_company(draws):
    rows = np.stack([draws * f for f in (1, 1.01, 0.97)])
    together = terminal.sample(np.repeat(STRIKE, 3, axis=0), LOW, STEP, rows, POINTS)
    for i in range(3):
        for a, b in zip(terminal.sample(STRIKE, LOW, STEP, rows[i : i + 1], POINTS), together, strict=True):
            np.testing.assert_array_equal(a[0], b[i])


def test_search_on_tables_gives_the_printed_lognormal_butterfly(lognormal):
    # E = 1.367216983893, P&L and probability at debit 1.60: quadrature with 40 digits
    quotes = butterfly.Quotes(*(np.array([row]) for row in ([95.0, 100, 105], *[[0, 0, 0]] * 4)))
    put_ask, put_bid = np.array([[1.0, 3.0, 5.6]]), np.array([[0.9, 2.5, 5.5]])
    quotes = quotes._replace(put_bid=put_bid, put_ask=put_ask, call_ask=np.full((1, 3), np.nan))
    table = terminal.lognormal([[95.0, 100, 105]], LOW, STEP, MEAN, SD, POINTS)
    measures = butterfly.Measures(table.put_value[None], table.cdf[None], [LOW], [STEP], None, table.put_square[None])
    fly = butterfly.evaluate(quotes, measures, [[[0, 1, 2]]], 0.0)
    assert fly.cost[0, 0] == pytest.approx(1.6, abs=1e-14)
    assert fly.ev[0, 0, 0] == pytest.approx(-0.232783016107, abs=1e-12)
    assert fly.pop[0, 0, 0] == pytest.approx(0.372839915913, abs=2e-6)  # the grid's linear interpolation
    np.testing.assert_allclose([fly.break_even_low[0, 0], fly.break_even_high[0, 0]], [96.6, 103.4], atol=1e-12)
    assert fly.max_profit[0, 0] == pytest.approx(3.4, abs=1e-12)
    whole = payoff.payoff_statistics(95, 100, 105, 1.6, log_mean=MEAN, log_sd=SD)
    assert fly.pnl_sd[0, 0, 0] == pytest.approx(whole.sd[0], rel=1e-10)


def test_tables_are_good_to_a_ten_thousandth_of_the_wing():
    svi = smile.fit(np.linspace(-0.3, 0.3, 9), 0.01 + 0.002 * np.linspace(-1, 1, 9) ** 2, 1.0, 0.1)
    strike = np.array([[90.0, 100.0, 115.0]])
    table = terminal.smile(strike, 30.0, 0.1, svi, 100.0, 2049)
    exact = np.interp(97.3, 30 + 0.1 * np.arange(2049), table.cdf[0])
    fine = terminal.smile(strike, 97.3, 1.0, svi, 100.0, 2).cdf[0, 0]
    assert exact == pytest.approx(fine, abs=1e-4)


def test_shapes_that_do_not_fit_raise(draws):
    with pytest.raises(ValueError, match="prices"):
        terminal.sample(np.repeat(STRIKE, 3, axis=0), LOW, STEP, np.stack([draws, draws]))
    with pytest.raises(ValueError, match="shape"):
        terminal.lognormal(STRIKE, LOW, STEP, np.zeros(3), SD)
