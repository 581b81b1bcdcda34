"""Positions under samples: against adding up outcome by outcome, and against the functions that answer one question."""

import numpy as np
import pytest

from kernels import outcomes, prospects
from kernels.bootstrap import block_means

RNG = np.random.default_rng(12)
SAMPLES, PATHS, REACH, PIN = 3, 512, 1.96, 0.005
LOGS = np.sort(RNG.standard_t(5, (SAMPLES, PATHS)) * np.array([[0.03], [0.06], [0.1]]), axis=1)
MEAN = np.array([90.0, 100.0, 250.0])
ERROR, DRIFT = np.array([0.05, 0.2, 0.7]), np.array([0.1, 0.0, 0.3])
LENGTHS = np.array([400, 0, 250])
HISTORY = np.where(np.arange(400) < LENGTHS[:, None], RNG.normal(0.0, 0.06, (SAMPLES, 400)), np.nan)
BLOCK, SEED, DRAWS = np.array([21, 10, 300]), np.array([3, 4, 2**63], dtype=np.uint64), 64

# On every sample, in no order: a long butterfly, one that profits all the way down, one that never does.
SAMPLE = np.array([2, 0, 1, 0, 2, 1, 1, 0, 2])
_LOW, _HIGH = (
    {0: (93, 0, np.nan), 1: (97, 0, np.nan), 2: (235, 0, np.nan)},
    {
        0: (99, 90, np.nan),
        1: (104, np.inf, np.nan),
        2: (266, 251, np.nan),
    },
)
KIND = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
CENTER = MEAN[SAMPLE]
POSITIONS = prospects.Positions(
    lower=0.95 * CENTER,
    center=CENTER,
    upper=CENTER * np.where(KIND == 1, 1.1, 1.05),
    constant=np.where(KIND == 1, -0.05 * CENTER, 0.0),
    discount=np.full(9, 0.99),
    debit=np.where(KIND == 1, -0.02, 0.015) * CENTER,
    max_loss=np.where(KIND == 1, 0.03, 0.015) * CENTER,
    profit_low=np.array([float(_LOW[s][k]) for s, k in zip(SAMPLE, KIND, strict=True)]),
    profit_high=np.array([float(_HIGH[s][k]) for s, k in zip(SAMPLE, KIND, strict=True)]),
)


def under_forecast(chosen: slice | np.ndarray = slice(None)) -> prospects.Forecast[np.ndarray]:
    some = prospects.Positions(*(column[chosen] for column in POSITIONS))
    return prospects.under_forecast(LOGS, MEAN, ERROR, DRIFT, SAMPLE[chosen], some, reach=REACH, pin=PIN)


def under_history(chosen: slice | np.ndarray = slice(None)) -> prospects.History[np.ndarray]:
    some = prospects.Positions(*(column[chosen] for column in POSITIONS))
    ascending = np.sort(HISTORY, axis=1)
    return prospects.under_history(HISTORY, ascending, LENGTHS, MEAN, BLOCK, SEED, DRAWS, SAMPLE[chosen], some)


def prices_of(row: int, by: float = 0.0) -> np.ndarray:
    middle = LOGS[row, PATHS // 2]
    grown = np.exp(middle + max(1.0 + by, 0.0) * (LOGS[row] - middle))
    return MEAN[row] * grown / grown.mean()


def profit(p: int, prices: np.ndarray) -> np.ndarray:
    low, mid, high, constant, d, debit, *_ = (column[p] for column in POSITIONS)
    payoff = np.maximum(low - prices, 0) - 2 * np.maximum(mid - prices, 0) + np.maximum(high - prices, 0)
    return d * (payoff + constant) - debit


def chance(p: int, prices: np.ndarray, low: float, high: float) -> float:
    if np.isnan(low):
        return 0.0
    return float(np.mean((prices > low) & (prices <= high)))


@pytest.mark.parametrize("p", range(9))
def test_a_position_under_the_forecast_is_what_its_outcomes_say(p: int) -> None:
    found = prospects.Forecast[float](*(float(column[p]) for column in under_forecast()))
    row = int(SAMPLE[p])
    prices, growth = prices_of(row), np.exp(DRIFT[row] * LOGS[row].std())
    tight = {"rel": 1e-9, "abs": 1e-9 * MEAN[row]}
    pnl = profit(p, prices)
    assert found.ev == pytest.approx(pnl.mean(), **tight)
    assert found.ev_narrower == pytest.approx(profit(p, prices_of(row, -ERROR[row])).mean(), **tight)
    assert found.ev_wider == pytest.approx(profit(p, prices_of(row, ERROR[row])).mean(), **tight)
    assert found.ev_lower == pytest.approx(profit(p, prices / growth).mean(), **tight)
    assert found.ev_higher == pytest.approx(profit(p, prices * growth).mean(), **tight)
    assert found.sd == pytest.approx(pnl.std(), **tight)
    assert found.tail == pytest.approx(np.sort(pnl)[: PATHS // 20].mean(), **tight)
    assert found.at_worst == np.mean(pnl <= -0.98 * POSITIONS.max_loss[p])
    assert found.losing_half == np.mean(pnl < -0.5 * POSITIONS.max_loss[p])
    ends = POSITIONS.profit_low[p], POSITIONS.profit_high[p]
    step = 2.0 / PATHS  # the function is linear between the middles of the steps
    assert found.pop == pytest.approx(chance(p, prices, *ends), abs=step)
    assert found.pop_narrowest == pytest.approx(chance(p, prices_of(row, -REACH * ERROR[row]), *ends), abs=step)
    assert found.pop_widest == pytest.approx(chance(p, prices_of(row, REACH * ERROR[row]), *ends), abs=step)
    pin = chance(p, prices, POSITIONS.center[p] * (1 - PIN), POSITIONS.center[p] * (1 + PIN))
    assert found.pin == pytest.approx(pin, abs=step)


@pytest.mark.parametrize("p", range(9))
def test_a_position_under_history_is_what_past_returns_say(p: int) -> None:
    found = prospects.History[float](*(float(column[p]) for column in under_history()))
    row = int(SAMPLE[p])
    n = int(LENGTHS[row])
    if n == 0:
        assert np.isnan(found).all()
        return
    path = HISTORY[row, :n]
    prices = MEAN[row] * np.exp(path) / np.exp(path).mean()
    assert found.ev == pytest.approx(profit(p, prices).mean(), rel=1e-9, abs=1e-9 * MEAN[row])
    low, high = POSITIONS.profit_low[p], POSITIONS.profit_high[p]
    ascending = np.sort(prices)
    if np.isnan(low):
        assert (found.pop, found.pop_low, found.pop_high) == (0.0, 0.0, 0.0)
        return
    whole = outcomes.cdf(ascending, np.array([high]))[0] if np.isfinite(high) else 1.0
    below = outcomes.cdf(ascending, np.array([low]))[0] if low > 0.0 else 0.0
    assert found.pop == pytest.approx(whole - below, abs=1e-12)
    inside = ((prices > low) & (prices <= high)).astype(np.float64)
    means = block_means(inside, int(BLOCK[row]), int(SEED[row]), DRAWS)
    np.testing.assert_allclose([found.pop_low, found.pop_high], np.quantile(means, [0.025, 0.975]), atol=1e-12)


def test_a_position_has_the_same_bits_in_any_company() -> None:
    for under in (under_forecast, under_history):
        together = np.stack(under())
        for p in range(9):
            np.testing.assert_array_equal(np.stack(under(np.array([p])))[:, 0], together[:, p])
        turned = np.arange(9)[::-1]
        np.testing.assert_array_equal(np.stack(under(turned)), together[:, turned])


def test_no_positions_are_no_answers() -> None:
    assert under_forecast(slice(0, 0)).ev.size == 0
    assert under_history(slice(0, 0)).ev.size == 0
