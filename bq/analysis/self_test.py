"""What is checked before a server says that it is ready: golden values of the kernels, and a small batch end to end."""

import datetime as dt
from collections.abc import Sequence
from typing import Final

import numpy as np

from bq.errors import Problem
from bq.market.sample import SampleMarket
from bq.market.source import Snapshot
from bq.schema import Analysis
from kernels import american, black_scholes, implied_vol

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


def _near(name: str, value: float, expected: float, tolerance: float) -> None:
    if not np.isfinite(value) or abs(value - expected) > tolerance:
        raise RuntimeError(f"self-test: {name} is {value}, expected {expected} to {tolerance}")
