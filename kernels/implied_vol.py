"""Implied volatility of European options (Black-Scholes-Merton), a whole batch in packed code.

Rule of this file: everything is the out-of-the-money call of a unit forward, c(s) = Phi(d1) - e^|x| Phi(d2), with
x = -|ln(F/K)|, s = sigma sqrt(tau), d1 = x/s + s/2; its logarithm comes from Mills ratios alone, so nothing underflows
and no step needs an exponential. Every row takes the same three Householder steps; the few rows on which the third
was still large are gathered into blocks of their own and refined further.
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
MORE_STEPS: Final = 8
LAST_STEP: Final = 2e-4

_SQRT_HALF = 0.70710678118654752440
_SQRT_2PI = 2.50662827463100050242
_TINY = 2.2250738585072014e-308
_MAX_EXPONENT = 700.0
_FLIP = -LOWEST / _SQRT_HALF

# Columns of the scratch.
_PRICE, _SPOT, _STRIKE, _TAU, _RATE, _DIVIDEND, _SIGN = columns(0, 7)
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
def _refine(w: F64, steps: int) -> None:
    """Take Householder steps of third order on a whole block."""
    for _ in range(steps):
        for lane in range(LANES):
            i = np.uint64(lane)
            x = w[_X + i]
            s = w[_S + i]
            rs = 1.0 / s
            h = x * rs
            t = 0.5 * s
            d1 = h + t
            d2 = h - t
            high = d1 > _FLIP
            a = min(abs(d1) if high else -d1, 1e20) * _SQRT_HALF
            b = min(-d2, 1e20) * _SQRT_HALF
            ea, eb, difference = erfcx_pair(a, b, s * _SQRT_HALF)
            m = ea + eb if high else difference
            value = log(0.5 * m) - 0.5 * d1 * d1
            iw = 0.5 * _SQRT_2PI * m
            hs = h * rs
            r2 = h * hs - 0.5 * t
            r3 = r2 * r2 - 3.0 * hs * hs - 0.25
            k = iw * r2
            kk = iw * iw * r3
            # low: the root of 1/ln b - 1/ln beta; high: of the logarithm of what is missing to the maximum
            lb = value + 0.5 * x
            il = 1.0 / lb
            target = w[_LOG_C + i] + 0.5 * x
            g = value - w[_LOG_REST + i] if high else (target - lb) * lb / target
            p = 1.0 + 2.0 * il
            ge = g * (k + 1.0 if high else k - p)
            z = kk + 3.0 * k + 2.0 if high else kk + 2.0 * (1.0 + 3.0 * il * (1.0 + il)) - 3.0 * k * p
            step = g * iw * (1.0 + 0.5 * ge) / (1.0 + ge + g * g * z * (1.0 / 6.0))
            step = min(max(step, -0.7 * s), 4.0 * s)
            w[_S + i] = s + step
            w[_STEP + i] = abs(step) * rs


@helper
def _finish(hard: F64, row: I64, waiting: int, sigma: F64, status: I8) -> None:
    _refine(hard, MORE_STEPS)
    for lane in range(waiting):
        j = np.uint64(lane)
        done = hard[_STEP + j] < 1e-6
        sigma[row[lane]] = hard[_S + j] / math.sqrt(hard[_TAU + j]) if done else math.nan
        status[row[lane]] = 0 if done else 6


@helper
def _prepare(w: F64) -> None:
    for lane in range(LANES):
        i = np.uint64(lane)
        p = w[_PRICE + i]
        S = w[_SPOT + i]
        K = w[_STRIKE + i]
        T = w[_TAU + i]
        r = w[_RATE + i]
        q = w[_DIVIDEND + i]
        call = w[_SIGN + i] > 0.5
        h = 1.0 if call else -1.0
        alive = T > 0.0
        rT = r * T if alive else 0.0
        qT = q * T if alive else 0.0
        ratio = S / K
        worthless = ratio > 1e300
        ok = (S >= _TINY) & (S < math.inf) & (K >= 0.0) & (K < math.inf) & (ratio > 1e-300)
        ok &= (abs(T) < math.inf) & (abs(p) < math.inf) & (abs(r) < math.inf) & (abs(q) < math.inf)
        ok &= (abs(rT) <= _MAX_EXPONENT) & (abs(qT) <= _MAX_EXPONENT)
        fs = S * exp(-qT)
        kd = K * exp(-rT)
        ok &= (fs < math.inf) & (kd < math.inf)
        x = -abs(log(1.0 if worthless else ratio) + (rT - qT + fma(-ratio, K, S) / S))
        intrinsic = max(h * (fs - kd), 0.0)
        most = fs if call else kd
        extra = p - intrinsic
        rest = most - p
        noise = (
            0.0
            if intrinsic == 0.0
            else 4.440892098500626e-16 * (fs * (0.0 if qT == 0.0 else 1.0) + kd * (0.0 if rT == 0.0 else 1.0))
        )
        below = extra < -noise
        above = rest <= 0.0
        flat = (extra <= noise) | (not alive) | worthless
        code = 0.0
        code = 3.0 if flat else code
        code = 2.0 if (above & (extra > noise)) else code
        code = 1.0 if below else code
        code = 5.0 if not ok else code
        good = code == 0.0
        unit = 1.0 / min(fs, kd)
        c = extra * unit if good else 0.1
        rest = rest * unit if good else 0.9
        x = x if good else -0.1
        log_c = log(c)
        log_rest = log(rest)
        ex = exp(-x)
        sc = math.sqrt(-2.0 * x)
        cc = 0.5 - 0.5 * erfcx(sc * _SQRT_HALF)
        ub = 2.0 * _minus_inverse_norm_cdf(rest / (1.0 + ex))
        guess = sc * math.sqrt(max((log(max(cc, 1e-300)) + 0.5 * x) / (log_c + 0.5 * x), 0.0))
        s = min(guess, ub) if c < cc else ub
        w[_X + i] = x
        w[_LOG_C + i] = log_c
        w[_LOG_REST + i] = log_rest
        w[_S + i] = s
        w[_STATUS + i] = code


class ImpliedVol(NamedTuple):
    """Volatility, (n,) float64 per year, 0.2 is 20 %; `status`, (n,) int8 of `kernels.status`."""

    sigma: F64
    status: I8


@kernel(
    "void(float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],boolean[::1],float64[::1],"
    "int8[::1])"
)
def _implied_vol(
    price: F64, spot: F64, strike: F64, tau: F64, rate: F64, dividend: F64, is_call: Bool, sigma: F64, status: I8
) -> None:
    w = np.zeros(14 * LANES)
    hard = np.zeros(14 * LANES)
    row = np.zeros(LANES, np.int64)
    waiting = 0
    n = price.size
    for start in range(0, n, LANES):
        count = min(LANES, n - start)
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
            T = w[_TAU + i]
            w[_SIGMA + i] = w[_S + i] / math.sqrt(T) if w[_STATUS + i] == 0.0 else math.nan
        store(sigma, start, count, w, 13)
        store(status, start, count, w, 12)
        for lane in range(count):
            i = np.uint64(lane)
            if w[_STATUS + i] == 0.0 and not w[_STEP + i] < LAST_STEP:
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
    if waiting:
        _finish(hard, row, waiting, sigma, status)


def implied_vol(
    price: npt.ArrayLike,
    spot: npt.ArrayLike,
    strike: npt.ArrayLike,
    tau: npt.ArrayLike,
    rate: npt.ArrayLike,
    dividend: npt.ArrayLike,
    is_call: npt.ArrayLike,
) -> ImpliedVol:
    """Find the volatility at which Black-Scholes gives the price of each European option."""
    call, inputs = option_rows(is_call, price, spot, strike, tau, rate, dividend)
    out = ImpliedVol(np.empty(call.size), np.empty(call.size, np.int8))
    _implied_vol(*inputs, call, *out)
    return out
