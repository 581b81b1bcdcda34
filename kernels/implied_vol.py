"""Implied volatility of European options (Black-Scholes-Merton), a whole batch in packed code.

Rule of this file: a row is the out-of-the-money call on a unit forward, c(s) = Phi(d1) - e^|x| Phi(d2), where
x = -|ln(F/K)|, s = sigma sqrt(tau) and d1 = x/s + s/2. Its logarithm comes from Mills ratios alone (`kernels._mills`),
so nothing underflows, no step needs an exponential, and prices of 1e-300 are like any others.

Every row takes the same STEPS; the rows whose last step was still large (1 % of a market, 6 % of everything a double
can say) are gathered into blocks of their own and take MORE_STEPS.
"""

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels._arrays import F64, I8, I64, Bool, option_rows
from kernels._blocks import LANES, columns, load, store
from kernels._jit import helper, kernel, scalar
from kernels._mills import LOWEST, erfcx_pair
from kernels.elementary import erfcx, exp, fma, log

STEPS: Final = 3
"""Householder steps of fourth order for every row."""
MORE_STEPS: Final = 4
"""Further steps for the rows that need them; 3 were enough for every row of a grid from sd = 1e-7 to 50."""
LARGE_STEP: Final = 2e-4
"""A last step larger than this (relative) means that more are needed. Below it the error left is under 2e-15; with
1e-3 it was 1e-13, with 5e-3 6e-11."""

_SQRT_HALF = 0.70710678118654752440
_SQRT_2PI = 2.50662827463100050242
_TINY = 2.2250738585072014e-308
_MAX_EXPONENT = 700.0
_ABOVE_MIDDLE = -LOWEST / _SQRT_HALF

# Columns of the scratch.
_PRICE, _SPOT, _STRIKE, _TAU, _RATE, _DIVIDEND, _IS_CALL = columns(0, 7)
_X, _LOG_C, _LOG_REST, _S, _STEP, _STATUS, _SIGMA = columns(7, 14)


@scalar
def _minus_inverse_norm_cdf(p: float) -> float:
    """-Phi^-1(p) for 0 < p <= 1/2, to three digits; relatively so near 1/2 (Acklam; Abramowitz & Stegun 26.2.23)."""
    u = 0.5 - p
    w = u * u
    num = -3.969683028665376e01 * w + 2.209460984245205e02
    num = (num * w - 2.759285104469687e02) * w + 1.383577518672690e02
    num = ((num * w - 3.066479806614716e01) * w + 2.506628277459239e00) * u
    den = -5.447609879822406e01 * w + 1.615858368580409e02
    den = (den * w - 1.556989798598866e02) * w + 6.680131188771972e01
    den = (den * w - 1.328068155288572e01) * w + 1.0
    t = math.sqrt(-2.0 * log(max(p, 1e-300)))
    tail = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308)))
    return num / den if p > 0.02425 else tail


@helper
def _prepare(w: F64) -> None:
    """Judge the rows of a block, normalise them, and find where to start."""
    for lane in range(LANES):
        i = np.uint64(lane)
        price = w[_PRICE + i]
        spot = w[_SPOT + i]
        strike = w[_STRIKE + i]
        rate = w[_RATE + i]
        dividend = w[_DIVIDEND + i]
        is_call = w[_IS_CALL + i] > 0.5
        left = max(w[_TAU + i], 0.0)
        growth = rate * left
        yielded = dividend * left
        ratio = spot / strike
        free = ratio > 1e300  # strike 0: no volatility changes the price
        total = abs(price) + spot + strike + abs(w[_TAU + i]) + abs(rate) + abs(dividend)
        ok = (total < math.inf) & (spot >= _TINY) & (strike >= 0.0) & (ratio > 1e-300)
        ok &= max(abs(growth), abs(yielded)) <= _MAX_EXPONENT
        forward = spot * exp(-yielded)
        owed = strike * exp(-growth)
        low = min(forward, owed)
        ok &= (max(forward, owed) < math.inf) & ((low >= _TINY) | free)

        intrinsic = max(forward - owed if is_call else owed - forward, 0.0)
        extra = price - intrinsic
        missing = (forward if is_call else owed) - price
        # Discounting rounds the intrinsic value; within that nothing can be said. Undiscounted it is exact.
        blur = (forward if yielded != 0.0 else 0.0) + (owed if growth != 0.0 else 0.0)
        blur = 4.5e-16 * blur if intrinsic > 0.0 else 0.0
        c = extra / low
        code = 3.0 if (extra <= blur) | (c < _TINY) | (left == 0.0) | free else 0.0
        code = 2.0 if (missing <= 0.0) & (extra > blur) else code
        code = 1.0 if extra < -blur else code
        code = code if ok else 5.0

        solvable = code == 0.0
        lost = fma(-ratio, strike, spot) / spot
        x = -abs(log(ratio) + (growth - yielded + lost))
        x = x if solvable else -0.1
        c = c if solvable else 0.1
        rest = missing / low if solvable else 0.9
        log_c = log(c)
        middle = math.sqrt(-2.0 * x)  # where c has its inflection, d1 = 0
        c_middle = 0.5 - 0.5 * erfcx(middle * _SQRT_HALF)
        bound = 2.0 * _minus_inverse_norm_cdf(rest / (1.0 + exp(-x)))  # an upper one, close above the middle
        below = middle * math.sqrt(max((log(max(c_middle, 1e-300)) + 0.5 * x) / (log_c + 0.5 * x), 0.0))
        w[_X + i] = x
        w[_LOG_C + i] = log_c
        w[_LOG_REST + i] = log(rest)
        w[_S + i] = min(below, bound) if c < c_middle else bound
        w[_STATUS + i] = code


@helper
def _refine(w: F64, steps: int) -> None:
    """Take Householder steps of fourth order on a whole block: iterations outside, lanes inside."""
    for _ in range(steps):
        for lane in range(LANES):
            i = np.uint64(lane)
            x = w[_X + i]
            s = w[_S + i]
            inverse_s = 1.0 / s
            h = x * inverse_s
            t = 0.5 * s
            d1 = h + t
            middle = d1 > _ABOVE_MIDDLE
            a = _SQRT_HALF * min(abs(d1) if middle else -d1, 1e20)
            b = _SQRT_HALF * min(t - h, 1e20)
            ea, eb, difference = erfcx_pair(a, b, s * _SQRT_HALF)
            # Above the middle the small number is 1 - c = Phi(-d1) + e^|x| Phi(d2), below it c.
            mills = ea + eb if middle else difference
            value = log(0.5 * mills) - 0.5 * d1 * d1
            inverse_slope = 0.5 * _SQRT_2PI * mills  # of that logarithm
            hs = h * inverse_s
            curve = h * hs - 0.5 * t  # second derivative of c over the first
            bend = curve * curve - 3.0 * hs * hs - 0.25  # third over the first
            k = inverse_slope * curve
            kk = inverse_slope * inverse_slope * bend
            # Above, the root of ln(1 - c) - ln(1 - price); below, of 1/ln b - 1/ln beta, where b = c e^(x/2).
            log_b = value + 0.5 * x
            inverse_log_b = 1.0 / log_b
            target = w[_LOG_C + i] + 0.5 * x
            p = 1.0 + 2.0 * inverse_log_b
            g = value - w[_LOG_REST + i] if middle else (target - log_b) * log_b / target
            second = g * (k + 1.0 if middle else k - p)
            third_low = kk + 2.0 * (1.0 + 3.0 * inverse_log_b * (1.0 + inverse_log_b)) - 3.0 * k * p
            third = g * g * (kk + 3.0 * k + 2.0 if middle else third_low)
            step = g * inverse_slope * (1.0 + 0.5 * second) / (1.0 + second + third * (1.0 / 6.0))
            step = min(max(step, -0.7 * s), 4.0 * s)
            w[_S + i] = s + step
            w[_STEP + i] = abs(step) * inverse_s


@helper
def _finish(hard: F64, row: I64, waiting: int, sigma: F64, status: I8) -> None:
    """Refine a block of gathered rows and put them back where they belong."""
    _refine(hard, MORE_STEPS)
    for lane in range(waiting):
        j = np.uint64(lane)
        done = hard[_STEP + j] < LARGE_STEP
        sigma[row[lane]] = hard[_S + j] / math.sqrt(hard[_TAU + j]) if done else math.nan
        status[row[lane]] = 0 if done else 6


@kernel(
    "void(boolean[::1],int8[::1],float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],"
    "float64[::1])"
)
def _implied_vol(
    is_call: Bool,
    status: I8,
    sigma: F64,
    price: F64,
    spot: F64,
    strike: F64,
    tau: F64,
    rate: F64,
    dividend: F64,
) -> None:
    w = np.zeros(14 * LANES)
    hard = np.zeros(14 * LANES)
    row = np.zeros(LANES, np.int64)
    waiting = 0
    for start in range(0, price.size, LANES):
        count = min(LANES, price.size - start)
        load(w, 0, price, start, count)
        load(w, 1, spot, start, count)
        load(w, 2, strike, start, count)
        load(w, 3, tau, start, count)
        load(w, 4, rate, start, count)
        load(w, 5, dividend, start, count)
        load(w, 6, is_call, start, count)
        _prepare(w)
        _refine(w, STEPS)
        for lane in range(LANES):
            i = np.uint64(lane)
            solved = w[_STATUS + i] == 0.0
            w[_SIGMA + i] = w[_S + i] / math.sqrt(w[_TAU + i]) if solved else math.nan
        store(sigma, start, count, w, 13)
        store(status, start, count, w, 12)
        for lane in range(count):
            i = np.uint64(lane)
            if w[_STATUS + i] == 0.0 and not w[_STEP + i] < LARGE_STEP:
                if waiting == 0:
                    hard[:] = w  # lanes that stay free have something harmless to work on
                j = np.uint64(waiting)
                hard[_X + j] = w[_X + i]
                hard[_LOG_C + j] = w[_LOG_C + i]
                hard[_LOG_REST + j] = w[_LOG_REST + i]
                hard[_S + j] = w[_S + i]
                hard[_TAU + j] = w[_TAU + i]
                row[waiting] = start + lane
                waiting += 1
                if waiting == LANES:
                    _finish(hard, row, waiting, sigma, status)
                    waiting = 0
    if waiting > 0:
        _finish(hard, row, waiting, sigma, status)


class ImpliedVol(NamedTuple):
    """Volatility, (n,) float64 per year, 0.2 is 20 %; `status`, (n,) int8 of `kernels.status`."""

    sigma: F64
    status: I8


def implied_vol(
    price: npt.ArrayLike,
    spot: npt.ArrayLike,
    strike: npt.ArrayLike,
    tau: npt.ArrayLike,
    rate: npt.ArrayLike,
    dividend: npt.ArrayLike,
    is_call: npt.ArrayLike,
) -> ImpliedVol:
    """Find the volatility at which Black-Scholes gives the price of each European option.

    Parameters
    ----------
    price, spot, strike : array_like
        Scalars or (n,) float64 in one currency, broadcast with the others: spot > 0, strike >= 0.
    tau : array_like
        Years of 365 days to expiry.
    rate, dividend : array_like
        Continuously compounded rate and yield per year, of either sign: 0.05 is 5 %.
    is_call : array_like of bool
        Call or put.

    Returns
    -------
    ImpliedVol
        `sigma`, NaN where `status` is not OK: BELOW_INTRINSIC, the discounted one; NO_TIME_VALUE where the price equals
        it (where it had to be discounted: to its rounding), and, for any price between intrinsic value and maximum,
        where tau <= 0 or strike is 0, since no volatility changes the value then; ABOVE_MAXIMUM for a call at or above
        the discounted forward, a put at or above the discounted strike; BAD_INPUT for NaN, infinity and what
        `black_scholes.price` refuses. Ticks and spreads are the caller's business: nothing here knows one.

        The error is that of the inputs: 3e-15 of sigma for out-of-the-money prices of any size; for others add what
        the rounding of the price itself, divided by vega, amounts to.

    Raises
    ------
    ValueError
        If the shapes do not fit or `is_call` is neither true nor false. Never for a bad row.

    Notes
    -----
    The objectives and the fourth-order step are Jaeckel's [1]_; instead of his four-way rational start, which does not
    vectorise, this starts from Tehranchi's bound [2]_ or a square-root rule below the inflection, and takes one step
    more. The divided difference of Mills ratios replaces his expansions for small volatility and far strikes.

    References
    ----------
    .. [1] P. Jaeckel (2015), Let's be rational, Wilmott 75, 40-53.
    .. [2] M. R. Tehranchi (2016), Uniform bounds for Black-Scholes implied volatility, SIAM J. Financial Math. 7.

    Examples
    --------
    >>> implied_vol(2.1333684449162, 60.0, 65.0, 0.25, 0.08, 0.0, True).sigma.round(12)
    array([0.3])
    """
    call, inputs = option_rows(is_call, price, spot, strike, tau, rate, dividend)
    out = ImpliedVol(np.empty(call.size), np.empty(call.size, np.int8))
    _implied_vol(call, out.status, out.sigma, *inputs)
    return out
