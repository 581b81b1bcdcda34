"""Tables of return samples: against sums over the sample, finite differences, and the lognormal's closed forms."""

import numpy as np
import pytest
from scipy.special import ndtr

from kernels import terminal, terminal_returns

STRIKES = np.linspace(70.0, 135.0, 27)
FORWARD = 101.0


def sample(n: int = 4096, seed: int = 1, sd: float = 0.09) -> np.ndarray:
    return sd * np.random.default_rng(seed).standard_t(5, n) * np.sqrt(3 / 5)


def tables(logs: np.ndarray, strikes: np.ndarray = STRIKES, points: int = 1025) -> terminal_returns.ReturnTables:
    return terminal_returns.tabulate(logs, FORWARD, strikes, 40.0, 140.0 / (points - 1), points)


def put(logs: np.ndarray, strikes: np.ndarray, power: int = 1) -> np.ndarray:
    prices = np.exp(logs)
    prices *= FORWARD / prices.mean()
    return (np.maximum(strikes[:, None] - prices, 0.0) ** power).mean(axis=1)


def test_values_and_squares_are_the_sample_s_own() -> None:
    logs = sample()
    got = tables(logs)
    assert got.put_value[0] == pytest.approx(put(logs, STRIKES), abs=1e-11)
    assert got.put_square[0] == pytest.approx(put(logs, STRIKES, 2), abs=1e-9)


def test_moved_samples_have_the_values_of_moved_samples() -> None:
    logs = sample()
    got = terminal_returns.tabulate(logs, FORWARD, STRIKES, 40.0, 0.1, 1025, stretch=0.08)
    assert got.put_wider[0] == pytest.approx(put(1.08 * logs, STRIKES), abs=1e-11)
    assert got.put_narrower[0] == pytest.approx(put(0.92 * logs, STRIKES), abs=1e-11)
    assert (tables(logs).put_wider == tables(logs).put_value).all()
    h = 1e-7
    prices = np.exp(logs) * FORWARD / np.exp(logs).mean()
    up, down = (np.maximum(STRIKES[:, None] - prices * (1.0 + sign * h), 0.0).mean(axis=1) for sign in (1, -1))
    # A sample's put value has kinks where a price crosses the strike: the difference may see one of them.
    assert got.by_mean[0] == pytest.approx((up - down) / (2 * h), abs=2e-3)


def test_the_derivative_by_the_mean_is_what_the_prices_below_the_strike_are_worth() -> None:
    logs = sample()
    prices = np.exp(logs) * FORWARD / np.exp(logs).mean()
    below = -np.where(prices < STRIKES[:, None], prices, 0.0).mean(axis=1)
    assert tables(logs).by_mean[0] == pytest.approx(below, abs=1e-10)


def test_the_distribution_is_the_smoothed_one_of_the_prices() -> None:
    logs = sample()
    got = tables(logs)
    prices = np.exp(logs) * FORWARD / np.exp(logs).mean()
    spread = min(prices.std(), np.subtract(*np.percentile(prices, [75, 25])) / 1.34)
    grid = 40.0 + 140.0 / 1024 * np.arange(1025)
    smooth = ndtr((grid[:, None] - prices) / (0.3 * spread * 4096**-0.2)).mean(axis=1)
    # Quartiles by another rule move the width by 1e-3, which makes 1e-5; a width 10 % off makes 2e-4. What lies beyond
    # the grid counts at its ends, half of it there.
    np.testing.assert_allclose(got.cdf[0, 50:-50], smooth[50:-50], rtol=0, atol=5e-5)


def test_a_normal_sample_is_a_lognormal_price() -> None:
    n = 400_000
    logs = 0.08 * np.random.default_rng(2).standard_normal(n)
    got = tables(logs)
    exact = terminal.lognormal(STRIKES, 40.0, 140.0 / 1024, np.log(FORWARD) - 0.0032, 0.08, points=1025)
    assert got.put_value[0] == pytest.approx(exact.put_value[0], abs=0.04)
    assert got.put_square[0] == pytest.approx(exact.put_square[0], rel=0.01, abs=0.1)
    assert got.cdf[0] == pytest.approx(exact.cdf[0], abs=4e-3)


def test_rows_of_different_lengths_and_bad_ones_do_not_meet() -> None:
    logs = np.stack([sample(500, seed) for seed in range(4)])
    lengths = np.array([500, 260, 500, 0])
    alone = [tables(logs[i, : lengths[i]]) for i in (0, 1)]
    logs[2, 17] = np.nan
    got = terminal_returns.tabulate(logs, FORWARD, np.tile(STRIKES, (4, 1)), 40.0, 140.0 / 1024, 1025, lengths=lengths)
    for i in (0, 1):
        for name in ("put_value", "put_square", "put_wider", "by_mean", "cdf"):
            assert (getattr(got, name)[i] == getattr(alone[i], name)[0]).all(), name
    for i in (2, 3):
        assert np.isnan(got.put_value[i]).all()
        assert np.isnan(got.cdf[i]).all()


def test_padding_strikes_stay_nan() -> None:
    strikes = np.append(STRIKES[:5], [np.nan, np.nan])
    got = tables(sample(), strikes)
    assert np.isnan(got.put_value[0]).tolist() == [False] * 5 + [True] * 2


def test_shapes_that_do_not_fit_raise() -> None:
    with pytest.raises(ValueError, match="strikes of shape"):
        terminal_returns.tabulate(np.zeros((2, 10)), FORWARD, STRIKES[None, :], 40.0, 0.1, 11)
