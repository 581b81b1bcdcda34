"""Black-Scholes-Merton: European prices and their Greeks, a whole batch in packed code.

Rule of this file: one exponential serves both tails. With F the forward, K the strike and d1 - d2 = sd,
F phi(d1) = K phi(d2), so F Phi(-|d1|) and K Phi(-|d2|) are that one number times two Mills ratios (erfcx).
The out-of-the-money side is formed from the two tails, the other one by parity, so that no price is a small
difference of large terms that a tail could have given.

For other kernels (compiled code): `tails` and `black` below; `black` is the undiscounted price and its slope in sd.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kernels._arrays import F64, I8, Bool, option_rows
from kernels._blocks import LANES, load, store
from kernels._jit import kernel, scalar
from kernels.elementary import erfcx_poly, exp, fma, log

_SQRT_HALF = 0.70710678118654752440
_INV_SQRT_2PI = 0.39894228040143267794
_TINY = 2.2250738585072014e-308
_MAX_EXPONENT = 700.0


@scalar
def tails(fs: float, d1: float, d2: float) -> tuple[float, float, float]:
    """Evaluate G = fs exp(-d1^2/2), fs Phi(-|d1|) and its partner K Phi(-|d2|), where fs phi(d1) = K phi(d2)."""
    a = min(abs(d1), 1e100)
    b = min(abs(d2), 1e100)
    square = a * a
    e = exp(-0.5 * square)
    g = 0.5 * fs * fma(e, -0.5 * fma(a, a, -square), e)
    xa = a * _SQRT_HALF
    xb = b * _SQRT_HALF
    pa = fma(2.0, xa, 1.0)
    pb = fma(2.0, xb, 1.0)
    ra = 1.0 / (pa * (xa + 3.75))
    rb = 1.0 / (pb * (xb + 3.75))
    ya = g * erfcx_poly((xa - 3.75) * (pa * ra)) * ((xa + 3.75) * ra)
    yb = g * erfcx_poly((xb - 3.75) * (pb * rb)) * ((xb + 3.75) * rb)
    return 2.0 * g, ya, yb


@scalar
def black(forward: float, strike: float, sd: float, is_call: bool) -> tuple[float, float]:
    """Undiscounted price and its slope in sd = sigma sqrt(tau), for positive normal forward, strike and sd."""
    x = log(forward / strike)
    d1 = x / sd + 0.5 * sd
    d2 = d1 - sd
    g, y1, y2 = tails(forward, d1, d2)
    call = (y1 if d1 < 0.0 else forward - y1) - y2
    put = (y2 if d2 > 0.0 else strike - y2) - y1
    otm = max(call if x < 0.0 else put, 0.0)
    parity = forward - strike if is_call else strike - forward
    return otm + max(parity, 0.0), _INV_SQRT_2PI * g


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


# Columns of the scratch.
_SPOT, _STRIKE, _TAU, _RATE, _DIVIDEND, _SIGMA, _SIGN = (LANES * c for c in range(7))
_PRICE, _DELTA, _GAMMA, _VEGA, _THETA, _RHO, _VANNA, _VOLGA, _CHARM, _STATUS = (LANES * c for c in range(7, 17))


@kernel("void(float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],boolean[::1],float64[::1])")
def _price(spot: F64, strike: F64, tau: F64, rate: F64, dividend: F64, sigma: F64, is_call: Bool, price: F64) -> None:
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
        for i in range(LANES):
            S = w[_SPOT + i]
            K = w[_STRIKE + i]
            T = w[_TAU + i]
            r = w[_RATE + i]
            q = w[_DIVIDEND + i]
            v = w[_SIGMA + i]
            h = 2.0 * w[_SIGN + i] - 1.0
            rT = r * T
            qT = q * T
            alive = T > 0.0
            ratio = S / K
            worthless = ratio > 1e300  # K = 0, or so small beside S that the row is a forward
            ok = (S >= _TINY) & (S < math.inf) & (K >= 0.0) & (K < math.inf) & (ratio > 1e-300)
            ok &= (abs(T) < math.inf) & (v >= 0.0) & (v < math.inf)
            ok &= (abs(r) < math.inf) & (abs(q) < math.inf)
            ok &= ((abs(rT) <= _MAX_EXPONENT) & (abs(qT) <= _MAX_EXPONENT)) | (not alive)

            sd = v * math.sqrt(T if alive else 1.0)
            moves = (sd >= 1e-300) & alive
            isd = 1.0 / (sd if moves else 1.0)
            fs = S * exp(-qT if alive else 0.0)
            kd = K * exp(-rT if alive else 0.0)
            x = log(1.0 if worthless else ratio) + (rT - qT)
            d1 = x * isd + 0.5 * sd
            d2 = d1 - sd
            d1 = 1e3 if worthless else d1
            d2 = 1e3 if worthless else d2
            _, y1, y2 = tails(fs, d1, d2)
            call = (y1 if d1 < 0.0 else fs - y1) - y2
            put = (y2 if d2 > 0.0 else kd - y2) - y1
            otm = max(call if d1 + d2 < 0.0 else put, 0.0)
            value = (otm if moves else 0.0) + max(h * (fs - kd), 0.0)
            w[_PRICE + i] = value if (ok & (value < math.inf)) else math.nan
        store(price, start, count, w, 7)


@kernel(
    "void(float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],boolean[::1],"
    "float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],"
    "float64[::1],int8[::1])"
)
def _greeks(
    spot: F64,
    strike: F64,
    tau: F64,
    rate: F64,
    dividend: F64,
    sigma: F64,
    is_call: Bool,
    price: F64,
    delta: F64,
    gamma: F64,
    vega: F64,
    theta: F64,
    rho: F64,
    vanna: F64,
    volga: F64,
    charm: F64,
    status: I8,
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
        for i in range(LANES):
            S = w[_SPOT + i]
            K = w[_STRIKE + i]
            T = w[_TAU + i]
            r = w[_RATE + i]
            q = w[_DIVIDEND + i]
            v = w[_SIGMA + i]
            h = 2.0 * w[_SIGN + i] - 1.0
            rT = r * T
            qT = q * T
            alive = T > 0.0
            ratio = S / K
            worthless = ratio > 1e300
            ok = (S >= _TINY) & (S < math.inf) & (K >= 0.0) & (K < math.inf) & (ratio > 1e-300)
            ok &= (abs(T) < math.inf) & (abs(v) < math.inf)
            ok &= (abs(r) < math.inf) & (abs(q) < math.inf)
            ok &= ((abs(rT) <= _MAX_EXPONENT) & (abs(qT) <= _MAX_EXPONENT)) | (not alive)

            root = math.sqrt(T if alive else 1.0)
            sd = v * root
            moves = sd >= 1e-300
            sd = sd if moves else 1.0
            v = v if moves else 1.0
            isd = 1.0 / sd
            dq = exp(-qT if alive else 0.0)
            fs = S * dq
            kd = K * exp(-rT if alive else 0.0)
            x = log(1.0 if worthless else ratio) + (rT - qT)
            d1 = x * isd + 0.5 * sd
            d2 = d1 - sd
            d1 = 1e3 if worthless else min(max(d1, -1e100), 1e100)
            d2 = 1e3 if worthless else min(max(d2, -1e100), 1e100)
            g, y1, y2 = tails(fs, d1, d2)
            c1 = y1 if d1 < 0.0 else fs - y1
            p1 = fs - y1 if d1 < 0.0 else y1
            c2 = y2 if d2 < 0.0 else kd - y2
            p2 = kd - y2 if d2 < 0.0 else y2
            n1 = c1 if h > 0.0 else p1
            n2 = c2 if h > 0.0 else p2
            otm = max(c1 - c2 if d1 + d2 < 0.0 else p2 - p1, 0.0)
            iS = 1.0 / S
            iT = 1.0 / (T if alive else 1.0)
            n_S = _INV_SQRT_2PI * g * iS
            slope = S * n_S * root
            step = h * (0.5 if S == K else (1.0 if h * (S - K) > 0.0 else 0.0))

            value = (otm if alive else 0.0) + max(h * (fs - kd), 0.0)
            g_delta = h * n1 * iS if alive else step
            g_gamma = n_S * isd * iS if alive else 0.0
            g_vega = slope if alive else 0.0
            g_theta = -0.5 * S * n_S * v * root * iT - h * (r * n2 - q * n1) if alive else 0.0
            g_rho = h * T * n2 if alive else 0.0
            g_vanna = -n_S * d2 / v if alive else 0.0
            g_volga = slope * d1 * d2 / v if alive else 0.0
            g_charm = h * q * n1 * iS - n_S * ((r - q) * isd - 0.5 * d2 * iT) if alive else 0.0
            # Infinity minus itself is NaN, so one comparison tells whether all nine are finite.
            total = abs(value) + abs(g_delta) + abs(g_gamma) + abs(g_vega) + abs(g_theta)
            total += abs(g_rho) + abs(g_vanna) + abs(g_volga) + abs(g_charm)
            ok &= total < math.inf
            fine = ok & (moves | (not alive))
            w[_PRICE + i] = value if fine else math.nan
            w[_DELTA + i] = g_delta if fine else math.nan
            w[_GAMMA + i] = g_gamma if fine else math.nan
            w[_VEGA + i] = g_vega if fine else math.nan
            w[_THETA + i] = g_theta if fine else math.nan
            w[_RHO + i] = g_rho if fine else math.nan
            w[_VANNA + i] = g_vanna if fine else math.nan
            w[_VOLGA + i] = g_volga if fine else math.nan
            w[_CHARM + i] = g_charm if fine else math.nan
            w[_STATUS + i] = 5.0 if not ok else (4.0 if not alive else (0.0 if moves else 3.0))
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


def price(
    spot: npt.ArrayLike,
    strike: npt.ArrayLike,
    tau: npt.ArrayLike,
    rate: npt.ArrayLike,
    dividend: npt.ArrayLike,
    sigma: npt.ArrayLike,
    is_call: npt.ArrayLike,
) -> F64:
    """Price European options."""
    call, columns = option_rows(is_call, spot, strike, tau, rate, dividend, sigma)
    out = np.empty(call.size)
    _price(*columns, call, out)
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
    """Price European options and differentiate the price."""
    call, columns = option_rows(is_call, spot, strike, tau, rate, dividend, sigma)
    out = [np.empty(call.size) for _ in range(9)]
    status = np.empty(call.size, np.int8)
    _greeks(*columns, call, *out, status)
    return Greeks(*out, status)
