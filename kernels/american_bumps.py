"""Greeks of American options that need other boundaries: differences of the early-exercise premium.

Rule of this file: only the premium (American less European) is differenced; the European part is exact. So an option
that is never exercised early has the European Greeks, and the differences' own error is that of a small term. The
premium is taken as its integral gives it, on both sides of the boundary: cut off there, its error of 3e-4 would be
divided by a step.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from kernels import black_scholes
from kernels._arrays import F64, I8, Bool
from kernels.american_rows import SHORTEST, price_rows
from kernels.american_scheme import SCHEMES
from kernels.black_scholes import Greeks
from kernels.status import AT_BOUND, BAD_INPUT, EXPIRED, IMMEDIATE_EXERCISE

_SIGMA_STEP: Final = 5e-3  # relative: smooth enough for a second difference, whose rounding is 1e-16/step^2
_RATE_STEP: Final = 1e-4
_TAU_STEP: Final = 1e-3  # relative


def _regime(rate: F64, dividend: F64, call: Bool) -> I8:
    """Tell where the premium has a kink in the rate: never exercised (0), one boundary (1), two (2)."""
    own = np.where(call, dividend, rate)
    other = np.where(call, rate, dividend)
    two = (other < own) & (own < 0.0)
    return np.where(two, 2, np.where((own <= 0.0) & (own <= other), 0, 1)).astype(np.int8)


def greeks(call: Bool, columns: Sequence[F64], scheme: str) -> Greeks:
    """Price and differentiate; the columns are spot, strike, tau, rate, dividend, sigma of one length."""
    spot, strike, tau, rate, dividend, sigma = columns
    n = call.size
    with np.errstate(all="ignore"):  # bad rows do what they like: they are masked below
        here = _regime(rate, dividend, call)
        up = np.where(_regime(rate + _RATE_STEP, dividend, call) == here, rate + _RATE_STEP, rate)
        down = np.where(_regime(rate - _RATE_STEP, dividend, call) == here, rate - _RATE_STEP, rate)
        later = tau * (1.0 + _TAU_STEP)
        sooner = np.maximum(tau * (1.0 - _TAU_STEP), np.minimum(tau, SHORTEST))
        more = sigma * (1.0 + _SIGMA_STEP)
        less = sigma * (1.0 - _SIGMA_STEP)
        stacked = [
            np.tile(spot, 7),
            np.tile(strike, 7),
            np.concatenate([tau] * 5 + [later, sooner]),
            np.concatenate([rate] * 3 + [up, down] + [rate] * 2),
            np.tile(dividend, 7),
            np.concatenate([sigma, more, less] + [sigma] * 4),
        ]
        value, delta, gamma, theta, premiums, slopes = (np.empty(7 * n) for _ in range(6))
        status = np.empty(7 * n, np.int8)
        arguments: tuple[Any, ...] = (
            *stacked, np.tile(call, 7), *SCHEMES[scheme], value, delta, gamma, theta, status, premiums, slopes
        )  # fmt: skip
        price_rows(*arguments)
        plain = black_scholes.greeks(spot, strike, tau, rate, dividend, sigma, call)
        premium = premiums.reshape(7, n)
        slope = slopes.reshape(7, n)
        spans = (up - down, later - sooner)
        sigma_span = more - less
        result = [
            value[:n],
            delta[:n],
            gamma[:n],
            plain.vega + (premium[1] - premium[2]) / sigma_span,
            theta[:n],
            plain.rho + (premium[3] - premium[4]) / spans[0],
            plain.vanna + (slope[1] - slope[2]) / sigma_span,
            plain.volga + (premium[1] - 2.0 * premium[0] + premium[2]) / (0.25 * sigma_span * sigma_span),
            plain.charm - (slope[5] - slope[6]) / spans[1],
        ]
    return _exceptions(result, status[:n].copy(), value.reshape(7, n), delta.reshape(7, n), spans)


def _exceptions(result: list[F64], status: I8, value: F64, delta: F64, spans: tuple[F64, F64]) -> Greeks:
    """Put the limits where there is nothing to difference, and NaN where a result is not finite."""
    price, first, gamma, vega, theta, rho, vanna, volga, charm = result
    done = (status == EXPIRED) | (status == IMMEDIATE_EXERCISE)
    still = status == AT_BOUND
    for column in (vega, vanna, volga):
        column[done | still] = 0.0
    rho[done] = 0.0
    charm[done] = 0.0
    # without volatility the European Greeks are undefined, but the limit itself is smooth in rate and time
    rho[still] = (value[3] - value[4])[still] / spans[0][still]
    charm[still] = (delta[6] - delta[5])[still] / spans[1][still]
    columns = (price, first, gamma, vega, theta, rho, vanna, volga, charm)
    with np.errstate(all="ignore"):
        finite = np.isfinite(np.add.reduce([np.abs(column) for column in columns]))
    status[~finite & (status != BAD_INPUT)] = BAD_INPUT
    for column in columns:
        column[~finite] = np.nan
    return Greeks(*columns, status)
