"""The simulated prices: GARCH paths with Student t shocks, a cycle where one is planted, quarterly cash dividends.

Every path starts on the same fixed day and only grows, so a bar, once there, never changes: tomorrow's history is
today's with one bar more, and a symbol's bars do not depend on which others are asked for.
"""

import datetime as dt
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bq.market import calendar
from bq.market.sample_truth import Truth, generator
from bq.market.source import F64, Bars, Days, Dividend

FIRST_DAY: Final = dt.date(2020, 1, 2)
"""The first session of the simulation."""
SESSIONS: Final = 750
"""How many bars a symbol shows: about three years."""
DIVIDENDS_AHEAD_DAYS: Final = 400


class Path(NamedTuple):
    """One symbol's history and what it knows about the next sessions."""

    bars: Bars
    next_variance: float  # of the next session's return, per cent squared
    dividends: tuple[Dividend, ...]  # after the last bar; the first is declared, later ones expected


def simulate(seed: int, truths: Sequence[Truth], last: np.datetime64) -> list[Path]:
    """Simulate the symbols up to and including the session `last`.

    Raises
    ------
    ValueError
        If `last` lies before the first session of the simulation.
    """
    days = calendar.sessions_between(FIRST_DAY, last)
    if days.size == 0:
        raise ValueError(f"the simulation starts on {FIRST_DAY}; {last} is earlier")
    n, t = len(truths), days.size
    z = np.empty((n, t))
    noise = np.empty((n, t, 4))
    for row, truth in enumerate(truths):
        z[row] = generator(seed, truth.ticker, "shocks").standard_t(truth.nu, t) * math.sqrt((truth.nu - 2) / truth.nu)
        noise[row] = generator(seed, truth.ticker, "bars").standard_normal((t, 4))
    sigma2, next_variance = _variances(truths, z)
    level = _levels(truths, np.sqrt(sigma2[:, :-1]) * z)
    return [
        _path(truth, days, level[row], sigma2[row], noise[row], float(next_variance[row]))
        for row, truth in enumerate(truths)
    ]


def _column(truths: Sequence[Truth], field: str) -> F64:
    return np.array([getattr(truth, field) for truth in truths], np.float64)[:, None]


def _variances(truths: Sequence[Truth], z: F64) -> tuple[F64, F64]:
    """Give the variance of each session and, apart, of the one after the last."""
    # omega + alpha e^2 + beta sigma2 with e = z sqrt(sigma2) is linear in sigma2: only that much is a loop.
    squares = z * z
    growth = _column(truths, "alpha") * squares
    growth += _column(truths, "gamma") * np.where(z < 0.0, squares, 0.0)
    growth += _column(truths, "beta")
    by_time = np.ascontiguousarray(growth.T)  # lanes innermost: one vector operation a session
    omega = _column(truths, "omega")[:, 0]
    sigma2 = np.empty((z.shape[1] + 1, z.shape[0]))
    sigma2[0] = [truth.variance for truth in truths]
    for time in range(z.shape[1]):
        np.multiply(by_time[time], sigma2[time], out=sigma2[time + 1])
        sigma2[time + 1] += omega
    return np.ascontiguousarray(sigma2.T), sigma2[-1].copy()


def _levels(truths: Sequence[Truth], shocks: F64) -> F64:
    """Give the value of one share with its dividends reinvested: the series that models are fitted to."""
    t = shocks.shape[1]
    log_level = np.cumsum((shocks + _column(truths, "mu")) / 100.0, axis=1)
    for row, truth in enumerate(truths):
        if truth.cycle_amplitude > 0.0:
            angle = 2.0 * np.pi / truth.cycle_period * np.arange(t) + truth.cycle_phase
            log_level[row] += truth.cycle_amplitude * np.sin(angle)
    return _column(truths, "first_price") * np.exp(log_level)


def _path(truth: Truth, days: Days, level: F64, sigma2: F64, noise: F64, next_variance: float) -> Path:
    paid, following = _pay(truth, days, level)
    close = level * paid
    keep = slice(max(days.size - SESSIONS, 0), None)
    return Path(_bars(days, level, close, sigma2, noise, keep), next_variance, following)


def _pay(truth: Truth, days: Days, level: F64) -> tuple[F64, tuple[Dividend, ...]]:
    """Take the dividends out of a reinvested path.

    Each is announced, in whole cents, on the ex-date of the one before, so what is declared is what will be paid.

    Returns
    -------
    paid : what is left of each session's level after all dividends so far
    following : the dividends after the last session
    """
    paid = np.ones(level.size)
    quarter = 0.25 * truth.dividend_yield
    cash = round(quarter * truth.first_price, 2)
    if quarter == 0.0:
        return paid, ()
    ex_days = ex_dates(truth.dividend_month, truth.dividend_day, int(days[-1].astype(np.int64)))
    ex_rows = np.searchsorted(days, ex_days)
    left = 1.0
    for row in ex_rows[(ex_rows > 0) & (ex_rows < days.size)].tolist():
        before = float(level[row - 1]) * left
        left *= max(before - cash, 0.5 * before) / before
        paid[row:] = left
        cash = round(quarter * float(level[row]) * left, 2)
    future = ex_days[ex_rows == days.size]
    following = tuple(
        Dividend(ex_date=day, cash=cash, declared=number == 0) for number, day in enumerate(future.astype(object))
    )
    return paid, following if cash > 0.0 else ()


@lru_cache(maxsize=64)
def ex_dates(month: int, day: int, last: int) -> Days:
    """List the quarterly ex-dates from the start of the simulation to 400 days after a day (since 1970)."""
    begin = np.datetime64(f"{FIRST_DAY.year}-{month:02d}", "M")
    end = np.datetime64(last + DIVIDENDS_AHEAD_DAYS, "D")
    months = np.arange(begin, end.astype("datetime64[M]") + 1, 3)
    wanted = months.astype("datetime64[D]") + (day - 1)
    days = np.array([calendar.next_session(each) for each in wanted], "datetime64[D]")
    return days[(days > np.datetime64(FIRST_DAY)) & (days <= end)]


def _bars(days: Days, level: F64, close: F64, sigma2: F64, noise: F64, keep: slice) -> Bars:
    before = np.concatenate([close[:1], close[:-1]])
    move = np.sqrt(sigma2[: days.size]) / 100.0
    opening = before * np.exp(0.4 * move * noise[:, 0])
    high = np.maximum(opening, close) * np.exp(0.4 * move * np.abs(noise[:, 1]))
    low = np.minimum(opening, close) * np.exp(-0.4 * move * np.abs(noise[:, 2]))
    volume = 2e8 / close * np.exp(0.35 * noise[:, 3] + 8.0 * move)

    def cents(prices: F64) -> npt.NDArray[np.float64]:
        return np.round(prices[keep], 2)

    return Bars(
        date=days[keep].copy(),
        open=cents(opening),
        high=cents(high),
        low=cents(low),
        close=cents(close),
        volume=np.round(volume[keep]),
        # As the vendors do it: equal to the close at the end, so that a model's forecast is a forecast of the price.
        adj_close=level[keep] * (close[-1] / level[-1]),
    )
