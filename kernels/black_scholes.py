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
from numba import carray

from kernels._arrays import F64, I8, Bool, option_rows
from kernels._blocks import LANES, columns, fill, spill, stack, store, store_block
from kernels._jit import helper, kernel, scalar
from kernels._mills import LOWEST, tail_pair
from kernels.elementary import exp, exp_within, log_ratio

_INV_SQRT_2PI = 0.39894228040143267794
_TINY = 2.2250738585072014e-308
_LEAST_SD = 1e-300
_MAX_EXPONENT = 700.0

# Columns of the scratch.
_H, _FORWARD, _OWED, _SD, _D1, _SOUND, _NEAR, _FAR, _DIFFERENCE, _ROOT = columns(0, 10)
_PRICE, _DELTA, _GAMMA, _VEGA, _THETA, _RHO, _VANNA, _VOLGA, _CHARM, _STATUS = columns(10, 20)
_SIZE = 20 * LANES


@scalar
def _tails(d1: float, d2: float, sd: float) -> tuple[float, float, float]:
    """Evaluate what makes an out-of-the-money price of a density: `tail_pair` at -d1 (or |d1|, see `_value`), -d2."""
    middle = d1 > -LOWEST
    return tail_pair(min(d1 if middle else -d1, 1e20), min(-d2, 1e20), -d2 - d1 if middle else sd)


@scalar
def _value(low: float, d1: float, g: float, near: float, far: float, difference: float) -> float:
    """Price the out-of-the-money call on the smaller of forward and strike, `low`; g is low exp(-d1^2/2).

    Where -d1 is too negative for the pair, 1 - Phi(-d1) loses nothing.
    """
    return low - g * (near + far) if d1 > -LOWEST else g * difference


@scalar
def black(forward: float, strike: float, sd: float, is_call: bool) -> tuple[float, float]:
    """Undiscounted price and its slope in sd = sigma sqrt(tau), for positive normal forward, strike and sd."""
    low = min(forward, strike)
    d1 = 0.5 * sd - abs(log_ratio(forward, strike)) / sd
    g = low * exp(-0.5 * d1 * d1)
    near, far, difference = _tails(d1, d1 - sd, sd)
    value = _value(low, d1, g, near, far, difference)
    return value + max(forward - strike if is_call else strike - forward, 0.0), _INV_SQRT_2PI * g


@scalar
def _prepare(
    w: F64, is_call: Bool, spot: F64, strike: F64, tau: F64, rate: F64, dividend: F64, sigma: F64, start: int
) -> None:
    """Judge the rows of a block, and put them into the terms of their out-of-the-money options.

    Three loops instead of one: each keeps its constants in registers, and the processor overlaps more rows of it.
    """
    for lane in range(LANES):
        i = np.uint64(lane)
        row = np.uint64(start + lane)
        S = spot[row]
        K = strike[row]
        T = tau[row]
        v = sigma[row]
        left = max(T, 0.0)
        growth = rate[row] * left
        yielded = dividend[row] * left
        free = K < 1e-300 * S  # 0, or so small beside the spot that the option is a forward
        ok = (S + K + abs(T) + abs(v) < math.inf) & (S >= _TINY) & (K >= 0.0)
        ok &= ((K >= _TINY) | free) & (K < 1e300 * S)
        # A rate that is NaN or infinite makes NaN of these, or infinity, at any time.
        ok &= (abs(growth) <= _MAX_EXPONENT) & (abs(yielded) <= _MAX_EXPONENT)
        root = math.sqrt(left)
        w[_ROOT + i] = root
        sd = v * root
        moves = sd >= _LEAST_SD
        sd = sd if moves else 1.0
        d1 = 0.5 * sd - abs(log_ratio(S, K) + (growth - yielded)) / sd
        w[_H + i] = 1.0 if is_call[row] else -1.0
        w[_FORWARD + i] = yielded
        w[_OWED + i] = growth
        w[_SD + i] = sd
        w[_D1 + i] = -1e20 if free else max(d1, -1e20)
        w[_SOUND + i] = (1.0 if moves else 0.0) if ok else math.nan
    for lane in range(LANES):
        i = np.uint64(lane)
        row = np.uint64(start + lane)
        w[_FORWARD + i] = spot[row] * exp_within(-w[_FORWARD + i])
        w[_OWED + i] = strike[row] * exp_within(-w[_OWED + i])
    for lane in range(LANES):
        i = np.uint64(lane)
        d1 = w[_D1 + i]
        sd = w[_SD + i]
        w[_NEAR + i], w[_FAR + i], w[_DIFFERENCE + i] = _tails(d1, d1 - sd, sd)


@helper
def _price_blocks(
    is_call: Bool, price: F64, spot: F64, strike: F64, tau: F64, rate: F64, dividend: F64, sigma: F64
) -> None:
    """Price the whole blocks of a batch."""
    w = carray(stack(_SIZE), _SIZE)
    for block in range(spot.size // LANES):
        start = block * LANES
        _prepare(w, is_call, spot, strike, tau, rate, dividend, sigma, start)
        for lane in range(LANES):
            i = np.uint64(lane)
            row = np.uint64(start + lane)
            d1 = w[_D1 + i]
            fs = w[_FORWARD + i]
            kd = w[_OWED + i]
            low = min(fs, kd)
            out = _value(low, d1, low * exp(-0.5 * d1 * d1), w[_NEAR + i], w[_FAR + i], w[_DIFFERENCE + i])
            value = (out if w[_SOUND + i] > 0.0 else 0.0) + max(w[_H + i] * (fs - kd), 0.0)
            ok = (w[_SOUND + i] >= 0.0) & (value < math.inf) & ((sigma[row] >= 0.0) | (tau[row] <= 0.0))
            w[_PRICE + i] = value if ok else math.nan
        store_block(price, np.uint64(start), w, np.uint64(10))


@kernel("void(boolean[::1],float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],float64[::1])")
def _price(is_call: Bool, price: F64, spot: F64, strike: F64, tau: F64, rate: F64, dividend: F64, sigma: F64) -> None:
    _price_blocks(is_call, price, spot, strike, tau, rate, dividend, sigma)
    whole = spot.size // LANES * LANES
    if whole < spot.size:
        flags = np.zeros(LANES, np.bool_)
        fill(flags, is_call, whole)
        t = np.zeros((7, LANES))
        fill(t[0], spot, whole)
        fill(t[1], strike, whole)
        fill(t[2], tau, whole)
        fill(t[3], rate, whole)
        fill(t[4], dividend, whole)
        fill(t[5], sigma, whole)
        _price_blocks(flags, t[6], t[0], t[1], t[2], t[3], t[4], t[5])
        spill(price, whole, t[6])


@scalar
def _greeks_of_block(
    w: F64, spot: F64, strike: F64, tau: F64, rate: F64, dividend: F64, sigma: F64, start: int
) -> None:
    """Compute all results of a prepared block in its scratch."""
    for lane in range(LANES):
        i = np.uint64(lane)
        row = np.uint64(start + lane)
        S = spot[row]
        K = strike[row]
        T = tau[row]
        r = rate[row]
        q = dividend[row]
        v = sigma[row]
        h = w[_H + i]
        fs = w[_FORWARD + i]
        kd = w[_OWED + i]
        sd = w[_SD + i]
        low_d1 = w[_D1 + i]
        low_d2 = low_d1 - sd
        moves = w[_SOUND + i] > 0.0
        call_side = fs <= kd  # the call is the one out of the money
        low = min(fs, kd)
        g = low * exp(-0.5 * low_d1 * low_d1)
        out = _value(low, low_d1, g, w[_NEAR + i], w[_FAR + i], w[_DIFFERENCE + i])
        near = g * w[_NEAR + i]
        near = low - near if low_d1 > -LOWEST else near  # low Phi(d1)
        far = g * w[_FAR + i]  # high Phi(d2)
        d1 = low_d1 if call_side else -low_d2
        d2 = low_d2 if call_side else -low_d1
        spot_part = near if call_side else far
        strike_part = far if call_side else near
        outside = call_side == (h > 0.0)
        n1 = spot_part if outside else fs - spot_part
        n2 = strike_part if outside else kd - strike_part
        inverse_S = 1.0 / S
        inverse_sd = 1.0 / sd
        root = w[_ROOT + i]
        inverse_v = root * inverse_sd  # a product takes a tenth of a division's time
        inverse_root = v * inverse_sd
        inverse_T = inverse_root * inverse_root
        density = _INV_SQRT_2PI * g * inverse_S  # e^(-q tau) phi(d1)
        slope = S * density * root

        value = (out if moves else 0.0) + max(h * (fs - kd), 0.0)
        delta = h * n1 * inverse_S
        gamma = density * inverse_sd * inverse_S
        theta = -0.5 * S * density * v * inverse_root - h * (r * n2 - q * n1)
        rho = h * T * n2
        vanna = -density * d2 * inverse_v
        volga = slope * (d1 * d2) * inverse_v
        charm = q * delta - density * ((r - q) * inverse_sd - 0.5 * d2 * inverse_T)

        dead = T <= 0.0
        # Infinity minus infinity is NaN, so one comparison tells whether all are finite.
        total = value + delta + gamma + slope + theta + rho + vanna + volga + charm
        sound = (w[_SOUND + i] >= 0.0) & (value < math.inf) & (dead | (not moves) | (abs(total) < math.inf))
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


@helper
def _greeks_blocks(
    is_call: Bool, status: I8, spot: F64, strike: F64, tau: F64, rate: F64, dividend: F64, sigma: F64, out: F64
) -> None:
    """Fill the whole blocks of a batch."""
    w = carray(stack(_SIZE), _SIZE)
    for block in range(spot.size // LANES):
        start = block * LANES
        _prepare(w, is_call, spot, strike, tau, rate, dividend, sigma, start)
        _greeks_of_block(w, spot, strike, tau, rate, dividend, sigma, start)
        for column in range(9):
            store_block(out, np.uint64(column * spot.size + start), w, np.uint64(10 + column))
        store(status, start, LANES, w, 19)


@kernel(
    "void(boolean[::1],int8[::1],float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],"
    "float64[:,::1])"
)
def _greeks(
    is_call: Bool, status: I8, spot: F64, strike: F64, tau: F64, rate: F64, dividend: F64, sigma: F64, out: F64
) -> None:
    _greeks_blocks(is_call, status, spot, strike, tau, rate, dividend, sigma, out)
    whole = spot.size // LANES * LANES
    if whole < spot.size:
        flags = np.zeros(LANES, np.bool_)
        codes = np.empty(LANES, np.int8)
        fill(flags, is_call, whole)
        t = np.zeros((6, LANES))
        fill(t[0], spot, whole)
        fill(t[1], strike, whole)
        fill(t[2], tau, whole)
        fill(t[3], rate, whole)
        fill(t[4], dividend, whole)
        fill(t[5], sigma, whole)
        results = np.empty((9, LANES))
        _greeks_blocks(flags, codes, t[0], t[1], t[2], t[3], t[4], t[5], results)
        for column in range(9):
            spill(out[column], whole, results[column])
        spill(status, whole, codes)


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
    arguments: tuple[Any, ...] = (call, status, *inputs, out)
    _greeks(*arguments)
    # Row by row: an array that is unpacked takes half as long again for its nine views.
    return Greeks(out[0], out[1], out[2], out[3], out[4], out[5], out[6], out[7], out[8], status)
