"""Where an implied volatility stands in its own past: its value at 30 days, its rank and percentile.

Rules of this file: numbers in, numbers out. Volatilities of different expiries are compared at one time to
expiry: total variance is interpolated between the two expiries around 30 days, and the volatility is kept flat outside.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

DAYS: Final = 30  # to expiry
TAU: Final = DAYS / 365.0
LEAST: Final = 60  # sessions before the past is one to compare with
YEAR: Final = dt.timedelta(days=365)
FARTHEST: Final = 0.6
"""An expiry at most so much (in the logarithm) from 30 days may stand alone for it: 17 to 54 days."""


def at_30_days(tau: Sequence[float], iv: Sequence[float]) -> float | None:
    """Interpolate the volatility at 30 days to expiry; None where no expiry is near enough.

    Examples
    --------
    >>> round(at_30_days([20 / 365, 40 / 365], [0.2, 0.3]), 4)
    0.2708
    """
    order = np.argsort(tau)
    t, v = np.asarray(tau, np.float64)[order], np.asarray(iv, np.float64)[order]
    if t.size and t[0] <= TAU <= t[-1]:
        return float(np.sqrt(np.interp(TAU, t, v * v * t) / TAU))
    near = [i for i in range(t.size) if abs(np.log(t[i] / TAU)) <= FARTHEST]
    return float(v[min(near, key=lambda i: abs(np.log(t[i] / TAU)))]) if near else None


class Standing(NamedTuple):
    """A value in its past, both 0 to 100."""

    rank: float
    percentile: float


def standing(value: float, past: Sequence[float]) -> Standing | None:
    """Place a value in its past; None before there are 60 days of it.

    The rank is the place between lowest and highest, the value among them; the percentile the share of the past that
    is lower, a half of what is equal counted.
    """
    if len(past) < LEAST:
        return None
    values = np.asarray(past, np.float64)
    low, high = min(float(values.min()), value), max(float(values.max()), value)
    rank = 50.0 if high == low else 100.0 * (value - low) / (high - low)
    percentile = 100.0 * float(np.mean(values < value) + 0.5 * np.mean(values == value))
    return Standing(rank, percentile)
