"""What is checked before a server says that it is ready: golden values of the kernels, and a small batch end to end."""

import datetime as dt
import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from bq.errors import Problem
from bq.market.sample import SampleMarket
from bq.market.source import Snapshot
from bq.schema import Analysis
from kernels import american, arima, black_scholes, garch, implied_vol

F64 = npt.NDArray[np.float64]

MOMENT: Final = dt.datetime(2026, 6, 30, 21, 0, tzinfo=dt.UTC)
TICKERS: Final = ("AAPL", "MSFT", "SIM001", "SIM002")


def snapshots() -> list[Snapshot]:
    """Take a few names of the sample market at a fixed moment."""
    found = SampleMarket(lambda: MOMENT, as_of=MOMENT).fetch(TICKERS)
    return [s for s in found if isinstance(s, Snapshot)]


def check(answers: Sequence[Analysis | Problem]) -> None:
    """Compare golden values and require an analysis of every ticker.

    Raises
    ------
    RuntimeError
        With what is off.
    """
    for answer in answers:
        if isinstance(answer, Problem):
            raise RuntimeError(f"self-test: {answer.error}")
    one = (100.0, 100.0, 1.0, 0.05, 0.02)
    price = float(black_scholes.price(*one, 0.2, True)[0])
    # Both to 40 digits with mpmath; the American put by QuantLib's QdFp engine, high precision.
    _near("Black-Scholes price", price, 9.227005508154048, 1e-11)
    _near("implied volatility", float(implied_vol.implied_vol(price, *one, True).sigma[0]), 0.2, 1e-12)
    put = float(american.price(100.0, 100.0, 30.0 / 365.0, 0.045, 0.0, 0.25, False).price[0])
    _near("American put", put, 2.6981104330, 5e-4)
    moves = np.array([0.5, -1.0, 0.25, 1.5, -0.75, 2.0, -0.5])
    given = {"mu": 0.1, "omega": 0.2, "alpha": 0.1, "beta": 0.7}
    likelihood = float(garch.loglikelihood(moves, **given, start="sample")[0])
    _near("GARCH likelihood", likelihood, _garch_by_hand(moves, **given), 1e-11)
    levels = np.concatenate([[10.0], 10.0 + np.cumsum(moves)])
    likelihood = float(arima.loglikelihood(levels, [0.5, 0.0, 0.0], np.zeros(3), 0.8)[0])
    _near("ARIMA likelihood", likelihood, _autoregression_by_hand(moves, 0.5, 0.8), 1e-11)


def _garch_by_hand(returns: F64, mu: float, omega: float, alpha: float, beta: float) -> float:
    """Evaluate the normal log-likelihood of a GARCH(1,1) started from the mean square, one observation at a time."""
    shocks = returns - mu
    square = variance = float(np.mean(shocks * shocks))  # before the first
    total = 0.0
    for shock in shocks:
        variance = omega + alpha * square + beta * variance
        square = float(shock * shock)
        total -= 0.5 * (math.log(2.0 * math.pi * variance) + square / variance)
    return total


def _autoregression_by_hand(w: F64, phi: float, variance: float) -> float:
    """Evaluate the exact log-likelihood of a stationary AR(1), in closed form."""
    squares = (1.0 - phi * phi) * w[0] ** 2 + np.sum((w[1:] - phi * w[:-1]) ** 2)
    return float(-0.5 * (w.size * math.log(2.0 * math.pi * variance) - math.log(1.0 - phi * phi) + squares / variance))


def _near(name: str, value: float, expected: float, tolerance: float) -> None:
    if not np.isfinite(value) or abs(value - expected) > tolerance:
        raise RuntimeError(f"self-test: {name} is {value}, expected {expected} to {tolerance}")
