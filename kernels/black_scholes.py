"""Black-Scholes-Merton: European prices and their Greeks, a whole batch in packed code.

Rule of this file: every row is the out-of-the-money option of its forward, and its price is one density times the
difference of two Mills ratios (`kernels._mills`), so that it keeps its digits however small it is; the in-the-money
option is that plus the discounted difference of forward and strike. One exponential serves both tails, because
F phi(d1) = K phi(d2). A put with F > K is the call whose forward is K and whose strike is F.

For other kernels (compiled code): `black`, the undiscounted price and its slope in sd = sigma sqrt(tau).
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels._arrays import F64, I8, Bool, option_rows
from kernels._blocks import LANES, columns, load, store
from kernels._jit import helper, kernel, scalar
from kernels._mills import LOWEST, erfcx_pair
from kernels.elementary import exp, fma, log

_SQRT_HALF = 0.70710678118654752440
_INV_SQRT_2PI = 0.39894228040143267794
_TINY = 2.2250738585072014e-308
_LEAST_SD = 1e-300
_MAX_EXPONENT = 700.0
_ABOVE_MIDDLE = -LOWEST / _SQRT_HALF

# Columns of the scratch.
_SPOT, _STRIKE, _TAU, _RATE, _DIVIDEND, _SIGMA, _IS_CALL = columns(0, 7)
_PRICE, _DELTA, _GAMMA, _VEGA, _THETA, _RHO, _VANNA, _VOLGA, _CHARM, _STATUS = columns(7, 17)


@scalar
def _out_of_the_money(low: float, d1: float, d2: float, sd: float) -> tuple[float, float, float, float]:
    """Evaluate the out-of-the-money call on the smaller of forward and strike, `low`; d1 and d2 are its own.

    Returns its price, low Phi(d1), high Phi(d2) and low exp(-d1^2/2).
    """
    middle = d1 > _ABOVE_MIDDLE  # here -d1 is too negative for the pair, and 1 - Phi(-d1) loses nothing
    a = _SQRT_HALF * min(abs(d1) if middle else -d1, 1e20)
    b = _SQRT_HALF * min(-d2, 1e20)
    ea, eb, difference = erfcx_pair(a, b, _SQRT_HALF * sd)
    g = low * exp(-0.5 * d1 * d1)
    half = 0.5 * g
    value = low - half * (ea + eb) if middle else half * difference
    return value, (low - half * ea if middle else half * ea), half * eb, g


@scalar
def black(forward: float, strike: float, sd: float, is_call: bool) -> tuple[float, float]:
    """Undiscounted price and its slope in sd = sigma sqrt(tau), for positive normal forward, strike and sd."""
    ratio = forward / strike
    x = -abs(log(ratio) + fma(-ratio, strike, forward) / forward)
    d1 = x / sd + 0.5 * sd
    value, _, _, g = _out_of_the_money(min(forward, strike), d1, d1 - sd, sd)
    return value + max(forward - strike if is_call else strike - forward, 0.0), _INV_SQRT_2PI * g


@scalar
def _row(spot: float, strike: float, tau: float, rate: float, dividend: float, sigma: float) -> tuple[Any, ...]:
    """Judge a row and put it into the terms of its out-of-the-money option.

    Returns whether the inputs are sound, whether the option still moves, 1/spot, sqrt(tau), sd, 1/sd, the discounted
    forward and strike, whether the call is the one out of the money, and that option's d1 and d2.
    """
    left = max(tau, 0.0)
    growth = rate * left
    yielded = dividend * left
    ratio = spot / strike
    free = ratio > 1e300  # strike 0, or so small beside the spot that the option is a forward
    total = spot + strike + abs(tau) + abs(rate) + abs(dividend) + abs(sigma)  # one test for NaN and infinity
    ok = (total < math.inf) & (spot >= _TINY) & (strike >= 0.0) & (ratio > 1e-300)
    ok &= max(abs(growth), abs(yielded)) <= _MAX_EXPONENT
    inverse_spot = 1.0 / spot
    root = math.sqrt(left)
    sd = sigma * root
    moves = sd >= _LEAST_SD
    sd = sd if moves else 1.0
    inverse_sd = 1.0 / sd
    # What the ratio lost to rounding: without it the price at sd = 1e-3 has an error of 1e-13 of itself.
    lost = fma(-ratio, strike, spot) * inverse_spot
    x = log(1.0 if free else ratio) + (growth - yielded + (0.0 if free else lost))
    call_side = (x <= 0.0) & (not free)
    d1 = 0.5 * sd - abs(x) * inverse_sd
    d1 = -1e20 if free else max(d1, -1e20)
    forward = spot * exp(-yielded)
    return ok, moves, inverse_spot, root, sd, inverse_sd, forward, strike * exp(-growth), call_side, d1, d1 - sd


@kernel("void(boolean[::1],float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],float64[::1])")
def _price(is_call: Bool, price: F64, spot: F64, strike: F64, tau: F64, rate: F64, dividend: F64, sigma: F64) -> None:
    w = np.zeros(8 * LANES)
    for start in range(0, spot.size, LANES):
        count = min(LANES, spot.size - start)
        load(w, 0, spot, start, count)
        load(w, 1, strike, start, count)
        load(w, 2, tau, start, count)
        load(w, 3, rate, start, count)
        load(w, 4, dividend, start, count)
        load(w, 5, sigma, start, count)
        load(w, 6, is_call, start, count)
        for lane in range(LANES):
            i = np.uint64(lane)
            h = 2.0 * w[_IS_CALL + i] - 1.0
            T = w[_TAU + i]
            v = w[_SIGMA + i]
            ok, moves, _, _, sd, _, fs, kd, _, d1, d2 = _row(
                w[_SPOT + i], w[_STRIKE + i], T, w[_RATE + i], w[_DIVIDEND + i], v
            )
            value, _, _, _ = _out_of_the_money(min(fs, kd), d1, d2, sd)
            value = (value if moves else 0.0) + max(h * (fs - kd), 0.0)
            ok &= (value < math.inf) & ((v >= 0.0) | (T <= 0.0))
            w[_PRICE + i] = value if ok else math.nan
        store(price, start, count, w, 7)


@helper
def _greeks_of_block(w: F64) -> None:
    """Compute all results of a block in its scratch."""
    for lane in range(LANES):
        i = np.uint64(lane)
        S = w[_SPOT + i]
        K = w[_STRIKE + i]
        T = w[_TAU + i]
        r = w[_RATE + i]
        q = w[_DIVIDEND + i]
        v = w[_SIGMA + i]
        h = 2.0 * w[_IS_CALL + i] - 1.0
        ok, moves, inverse_S, root, sd, inverse_sd, fs, kd, call_side, low_d1, low_d2 = _row(S, K, T, r, q, v)
        out, near, far, g = _out_of_the_money(min(fs, kd), low_d1, low_d2, sd)
        d1 = low_d1 if call_side else -low_d2
        d2 = low_d2 if call_side else -low_d1
        spot_part = near if call_side else far
        strike_part = far if call_side else near
        outside = call_side == (h > 0.0)
        n1 = spot_part if outside else fs - spot_part
        n2 = strike_part if outside else kd - strike_part
        inverse_T = 1.0 / T
        inverse_v = 1.0 / v
        density = _INV_SQRT_2PI * g * inverse_S  # e^(-q tau) phi(d1)
        slope = S * density * root

        value = (out if moves else 0.0) + max(h * (fs - kd), 0.0)
        delta = h * n1 * inverse_S
        gamma = density * inverse_sd * inverse_S
        theta = -0.5 * slope * v * inverse_T - h * (r * n2 - q * n1)
        rho = h * T * n2
        vanna = -density * d2 * inverse_v
        volga = slope * (d1 * d2) * inverse_v
        charm = q * delta - density * ((r - q) * inverse_sd - 0.5 * d2 * inverse_T)

        dead = T <= 0.0
        # Infinity minus infinity is NaN, so one comparison tells whether all are finite.
        total = value + delta + gamma + slope + theta + rho + vanna + volga + charm
        sound = ok & (value < math.inf) & (dead | (not moves) | (abs(total) < math.inf))
        good = sound & moves
        expired = sound & dead
        rest = 0.0 if expired else math.nan
        step = h * (0.5 if S == K else (1.0 if h * (S - K) > 0.0 else 0.0))
        w[_PRICE + i] = value if (good | expired) else math.nan
        w[_DELTA + i] = delta if good else step + rest
        w[_GAMMA + i] = gamma if good else rest
        w[_VEGA + i] = slope if good else rest
        w[_THETA + i] = theta if good else rest
        w[_RHO + i] = rho if good else rest
        w[_VANNA + i] = vanna if good else rest
        w[_VOLGA + i] = volga if good else rest
        w[_CHARM + i] = charm if good else rest
        w[_STATUS + i] = 5.0 if not sound else (4.0 if dead else (0.0 if moves else 3.0))


@kernel(
    "void(boolean[::1],int8[::1],float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],"
    "float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],"
    "float64[::1])"
)
def _greeks(
    is_call: Bool,
    status: I8,
    spot: F64,
    strike: F64,
    tau: F64,
    rate: F64,
    dividend: F64,
    sigma: F64,
    price: F64,
    delta: F64,
    gamma: F64,
    vega: F64,
    theta: F64,
    rho: F64,
    vanna: F64,
    volga: F64,
    charm: F64,
) -> None:
    w = np.zeros(17 * LANES)
    for start in range(0, spot.size, LANES):
        count = min(LANES, spot.size - start)
        load(w, 0, spot, start, count)
        load(w, 1, strike, start, count)
        load(w, 2, tau, start, count)
        load(w, 3, rate, start, count)
        load(w, 4, dividend, start, count)
        load(w, 5, sigma, start, count)
        load(w, 6, is_call, start, count)
        _greeks_of_block(w)
        store(price, start, count, w, 7)
        store(delta, start, count, w, 8)
        store(gamma, start, count, w, 9)
        store(vega, start, count, w, 10)
        store(theta, start, count, w, 11)
        store(rho, start, count, w, 12)
        store(vanna, start, count, w, 13)
        store(volga, start, count, w, 14)
        store(charm, start, count, w, 15)
        store(status, start, count, w, 16)


class Greeks(NamedTuple):
    """Price and sensitivities of options, each (n,) float64 in base units; `status` int8 of `kernels.status`."""

    price: F64
    delta: F64
    gamma: F64
    vega: F64
    theta: F64
    rho: F64
    vanna: F64
    volga: F64
    charm: F64
    status: I8


def price(
    spot: npt.ArrayLike,
    strike: npt.ArrayLike,
    tau: npt.ArrayLike,
    rate: npt.ArrayLike,
    dividend: npt.ArrayLike,
    sigma: npt.ArrayLike,
    is_call: npt.ArrayLike,
) -> F64:
    """Price European options on an asset with a continuous yield.

    Parameters
    ----------
    spot, strike : array_like
        Scalars or (n,) float64 in one currency, broadcast with the others: spot > 0, strike >= 0. A strike of 0, or
        below 1e-300 of the spot, makes the call a forward.
    tau : array_like
        Years of 365 days to expiry. Where it is 0 or less the price is the intrinsic value.
    rate, dividend : array_like
        Continuously compounded rate and yield per year, of either sign: 0.05 is 5 %.
    sigma : array_like
        Volatility per year, 0.2 is 20 %. Where it is 0 the price is its limit, the discounted intrinsic value of the
        forward; `greeks`, most of which have no such limit, calls that row NO_TIME_VALUE.
    is_call : array_like of bool
        Call or put.

    Returns
    -------
    (n,) float64
        Prices in that currency, never floored; NaN for a row outside these domains, with NaN or infinity in it, with
        |rate| * tau or |dividend| * tau above 700, or with a result that overflows. The error is below 1e-14 of the
        larger of spot and strike, discounted; of an out-of-the-money price it is some 1e-15 * (1 + d1^2) of itself.

    Raises
    ------
    ValueError
        If the shapes do not fit or `is_call` is neither true nor false. Never for a bad row.

    References
    ----------
    .. [1] R. C. Merton (1973), Theory of rational option pricing, Bell Journal of Economics 4, equation 21 with the
       proportional dividend of section 7.

    Examples
    --------
    >>> price(60.0, 65.0, 0.25, 0.08, 0.0, 0.3, True).round(4)  # Haug, Option Pricing Formulas, section 1.1.1
    array([2.1334])
    """
    call, inputs = option_rows(is_call, spot, strike, tau, rate, dividend, sigma)
    out = np.empty(call.size)
    _price(call, out, *inputs)
    return out


def greeks(
    spot: npt.ArrayLike,
    strike: npt.ArrayLike,
    tau: npt.ArrayLike,
    rate: npt.ArrayLike,
    dividend: npt.ArrayLike,
    sigma: npt.ArrayLike,
    is_call: npt.ArrayLike,
) -> Greeks:
    """Price European options and differentiate the price.

    Parameters
    ----------
    spot, strike, tau, rate, dividend, sigma, is_call : array_like
        As for `price`.

    Returns
    -------
    Greeks
        Each field (n,) float64, in base units: delta per 1.00 of spot; gamma per 1.00 of spot squared; vega per 1.00
        of sigma; theta, the derivative in calendar time (so usually negative), per year; rho per 1.00 of the rate;
        vanna d2V/(dspot dsigma); volga d2V/dsigma2; charm, the derivative of delta in calendar time, per year.
        `status`: OK; EXPIRED where tau <= 0: the intrinsic value, delta 0, +-1 or, at the strike, +-0.5, and zeros;
        NO_TIME_VALUE where sigma <= 0 before expiry and BAD_INPUT where `price` gives NaN or a Greek overflows: NaN
        everywhere.
        Errors are below 1e-12 * (spot + 1) for tau of a day and more and sigma of 1 % and more.

    Raises
    ------
    ValueError
        If the shapes do not fit or `is_call` is neither true nor false. Never for a bad row.

    References
    ----------
    .. [1] E. G. Haug (2007), The Complete Guide to Option Pricing Formulas, 2nd ed., chapter 2.

    Examples
    --------
    >>> greeks(100.0, 100.0, 1.0, 0.05, 0.02, 0.2, [True, False]).delta.round(6)
    array([ 0.586851, -0.393348])
    """
    call, inputs = option_rows(is_call, spot, strike, tau, rate, dividend, sigma)
    # One allocation for all: large ones come as huge pages, whose first touch costs less (100,000 rows: 84 -> 15 ns).
    out = np.empty((9, call.size))
    status = np.empty(call.size, np.int8)
    _greeks(call, status, *inputs, *out)
    return Greeks._make([*out, status])
