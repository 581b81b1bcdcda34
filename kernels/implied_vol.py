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
from numba import carray

from kernels._arrays import F64, I8, I64, Bool, option_rows
from kernels._blocks import LANES, columns, fill, spill, stack, store, store_block
from kernels._count import COUNT
from kernels._jit import helper, kernel, scalar
from kernels._mills import LOWEST, tail_pair
from kernels.elementary import (
    _LN2,
    _MAGIC,
    _MAGIC_BITS,
    _SQRT_HALF_BITS,
    _bits,
    _float,
    exp_within,
    fma,
    log,
    log_ratio,
)

STEPS: Final = 3
"""Householder steps of fourth order for every row."""
MORE_STEPS: Final = 4
"""Further steps for the rows that need them; 3 were enough for every row of a grid from sd = 1e-7 to 50."""
LARGE_STEP: Final = 2e-4
"""A last step larger than this (relative) means that more are needed. Below it the error left is under 2e-15; with
1e-3 it was 1e-13, with 5e-3 6e-11."""

_SQRT_2 = 1.41421356237309504880
_SQRT_2PI = 2.50662827463100050242
_TINY = 2.2250738585072014e-308
_MAX_EXPONENT = 700.0
_K0 = 0.5641895835
_K1 = 0.36346
_K2 = 1.51784

# Columns of the scratch.
_X, _TARGET, _INVERSE_TARGET, _LOG_REST, _S, _STEP, _STATUS, _C, _REST, _P, _SIGMA = columns(0, 11)
_SIZE = 11 * LANES


@scalar
def _rough_log(x: float) -> float:
    """Logarithm of a normal x > 0 to 5e-5 of itself, without a division: for the start only."""
    bits = _bits(x)
    k = (bits - _SQRT_HALF_BITS) >> 52
    f = _float(bits - (k << 52)) - 1.0
    g = fma(fma(fma(fma(0.1765806, f, -0.2709460), f, 0.3363888), f, -0.4994506), f, 0.9999662)
    return fma(f, g, (_float(k + _MAGIC_BITS) - _MAGIC) * _LN2)


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
    t = math.sqrt(-2.0 * _rough_log(max(p, 1e-300)))
    tail_den = 1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308))
    tail_num = t * tail_den - (2.515517 + t * (0.802853 + t * 0.010328))
    central = p > 0.02425
    return (num if central else tail_num) / (den if central else tail_den)


@scalar
def _prepare(
    w: F64, is_call: Bool, price: F64, spot: F64, strike: F64, tau: F64, rate: F64, dividend: F64, start: int
) -> None:
    """Judge the rows of a block, normalise them, and find where to start."""
    for lane in range(LANES):
        i = np.uint64(lane)
        row = np.uint64(start + lane)
        S = spot[row]
        K = strike[row]
        T = tau[row]
        call = is_call[row]
        left = max(T, 0.0)
        growth = rate[row] * left
        yielded = dividend[row] * left
        free = K < 1e-300 * S  # strike 0: no volatility changes the price
        ok = (abs(price[row]) + S + K + abs(T) < math.inf) & (S >= _TINY) & (K >= 0.0)
        ok &= ((K >= _TINY) | free) & (K < 1e300 * S)
        # A rate that is NaN or infinite makes NaN of these, or infinity, at any time.
        ok &= (abs(growth) <= _MAX_EXPONENT) & (abs(yielded) <= _MAX_EXPONENT)
        forward = S * exp_within(-yielded)
        owed = K * exp_within(-growth)
        low = min(forward, owed)
        high = max(forward, owed)
        ok &= (high < math.inf) & ((low >= _TINY) | free)

        intrinsic = max(forward - owed if call else owed - forward, 0.0)
        extra = price[row] - intrinsic
        missing = (forward if call else owed) - price[row]
        # Discounting rounds the intrinsic value; within that nothing can be said. Undiscounted it is exact.
        blur = (forward if yielded != 0.0 else 0.0) + (owed if growth != 0.0 else 0.0)
        blur = 4.5e-16 * blur if intrinsic > 0.0 else 0.0
        c = extra / low
        code = 3.0 if (extra <= blur) | (c < _TINY) | (left == 0.0) | free else 0.0
        code = 2.0 if (missing <= 0.0) & (extra > blur) else code
        code = 1.0 if extra < -blur else code
        code = code if ok else 5.0

        solvable = code == 0.0
        x = -abs(log_ratio(S, K) + (growth - yielded))
        w[_X + i] = x if solvable else -0.1
        w[_C + i] = c if solvable else 0.1
        w[_REST + i] = missing / low if solvable else 0.9
        w[_P + i] = missing / (low + high) if solvable else 0.4
        w[_STATUS + i] = code
    for lane in range(LANES):
        i = np.uint64(lane)
        x = w[_X + i]
        c = w[_C + i]
        target = log(c) + 0.5 * x
        # The inflection of c lies where d1 = 0, at sqrt(2 |x|); the price there, 0.5 - 0.5 erfcx(m), to 1e-3 of itself.
        m = math.sqrt(-x)
        c_middle = m * fma(_K1, m, _K0) / fma(fma(2.0 * _K1, m, _K2), m, 1.0)
        bound = 2.0 * _minus_inverse_norm_cdf(w[_P + i])  # an upper one, close above the middle
        below = _SQRT_2 * m * math.sqrt(max((_rough_log(max(c_middle, 1e-300)) + 0.5 * x) / target, 0.0))
        w[_TARGET + i] = target
        w[_INVERSE_TARGET + i] = 1.0 / target
        w[_LOG_REST + i] = log(w[_REST + i])
        w[_S + i] = min(below, bound) if c < c_middle else bound


@helper
def _refine(w: F64, steps: int) -> None:
    """Take Householder steps of fourth order on a whole block: iterations outside, lanes inside.

    Above the middle (d1 > 0) for the root of ln(1 - c) - ln(1 - price), below for that of 1/ln b - 1/ln beta, where
    b = c e^(x/2); both objectives g are multiplied out, so that a step has four divisions.
    """
    for _ in range(steps):
        for lane in range(LANES):
            i = np.uint64(lane)
            x = w[_X + i]
            s = w[_S + i]
            inverse_s = 1.0 / s
            h = x * inverse_s
            t = 0.5 * s
            d1 = h + t
            middle = d1 > -LOWEST
            gap = t - h - d1 if middle else s
            near, far, difference = tail_pair(min(d1 if middle else -d1, 1e20), min(t - h, 1e20), gap)
            # Above the middle the small number is 1 - c = Phi(-d1) + e^|x| Phi(d2), below it c.
            tails = near + far if middle else difference
            value = log(tails) - 0.5 * d1 * d1
            hs = h * inverse_s
            curve = h * hs - 0.5 * t  # second derivative of c over the first
            bend = curve * curve - 3.0 * hs * hs - 0.25  # third over the first
            log_b = value + 0.5 * x
            share = (w[_TARGET + i] - log_b) * w[_INVERSE_TARGET + i]
            g = value - w[_LOG_REST + i] if middle else share * log_b
            p = g if middle else -share * (log_b + 2.0)
            square = g * g if middle else g * g + 3.0 * share * (g + share)
            step = g * _SQRT_2PI * tails  # over the slope of the logarithm
            bent = step * curve
            third = step * step * bend + 3.0 * bent * p + 2.0 * square
            step *= (1.0 + 0.5 * (bent + p)) / (1.0 + (bent + p) + third * (1.0 / 6.0))
            step = min(max(step, -0.7 * s), 4.0 * s)
            w[_S + i] = s + step
            w[_STEP + i] = abs(step) * inverse_s


@helper
def _finish(hard: F64, row: I64, waiting: int, tau: F64, sigma: F64, status: I8) -> None:
    """Refine a block of gathered rows and put them back where they belong."""
    _refine(hard, MORE_STEPS)
    for lane in range(waiting):
        j = np.uint64(lane)
        done = hard[_STEP + j] < LARGE_STEP
        sigma[row[lane]] = hard[_S + j] / math.sqrt(tau[row[lane]]) if done else math.nan
        status[row[lane]] = 0 if done else 6


@helper
def _solve_blocks(
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
    """Solve the whole blocks of a batch."""
    w = carray(stack(_SIZE), _SIZE)
    hard = np.ones(_SIZE)
    row = np.zeros(LANES, np.int64)
    waiting = COUNT
    for block in range(price.size // LANES):
        start = block * LANES
        _prepare(w, is_call, price, spot, strike, tau, rate, dividend, start)
        _refine(w, STEPS)
        for lane in range(LANES):
            i = np.uint64(lane)
            solved = w[_STATUS + i] == 0.0
            w[_SIGMA + i] = w[_S + i] / math.sqrt(tau[np.uint64(start + lane)]) if solved else math.nan
        store_block(sigma, np.uint64(start), w, np.uint64(10))
        store(status, start, LANES, w, 6)
        for lane in range(LANES):
            i = np.uint64(lane)
            if w[_STATUS + i] == 0.0 and not w[_STEP + i] < LARGE_STEP:
                if waiting == 0:
                    for place in range(_SIZE):  # lanes that stay free have something harmless to work on
                        hard[place] = w[place]
                j = np.uint64(waiting)
                hard[_X + j] = w[_X + i]
                hard[_TARGET + j] = w[_TARGET + i]
                hard[_INVERSE_TARGET + j] = w[_INVERSE_TARGET + i]
                hard[_LOG_REST + j] = w[_LOG_REST + i]
                hard[_S + j] = w[_S + i]
                row[waiting] = start + lane
                waiting += 1
                if waiting == LANES:
                    _finish(hard, row, waiting, tau, sigma, status)
                    waiting = COUNT
    if waiting > 0:
        _finish(hard, row, waiting, tau, sigma, status)


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
    _solve_blocks(is_call, status, sigma, price, spot, strike, tau, rate, dividend)
    whole = price.size // LANES * LANES
    if whole < price.size:
        flags = np.zeros(LANES, np.bool_)
        codes = np.empty(LANES, np.int8)
        fill(flags, is_call, whole)
        t = np.zeros((7, LANES))
        fill(t[0], price, whole)
        fill(t[1], spot, whole)
        fill(t[2], strike, whole)
        fill(t[3], tau, whole)
        fill(t[4], rate, whole)
        fill(t[5], dividend, whole)
        _solve_blocks(flags, codes, t[6], t[0], t[1], t[2], t[3], t[4], t[5])
        spill(sigma, whole, t[6])
        spill(status, whole, codes)


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
