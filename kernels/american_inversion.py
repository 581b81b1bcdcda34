"""Implied volatility of American options: a bracketed secant over blocks of the rows that are still open.

Rule of this file: a row's iteration depends on that row alone. After every pass the open rows move together, so that
the blocks stay full; which rows share a block does not show in the results.
"""

import math
from typing import Final

import numpy as np

from kernels._arrays import F64, I8, Bool
from kernels._jit import helper, kernel
from kernels.american_boundary import LANES
from kernels.american_put import OUT, WORK, solve
from kernels.american_rows import BAD, EUROPEAN, EXPIRED, SHORTEST, classify, enter, still
from kernels.black_scholes import black

PASSES: Final = 60
"""Prices of one row at most; nearly all need four or five."""

NEVER_EARLY: Final = -1
"""Status of the rows that a European solver does better."""

_SECANT_PASSES = 12  # from here on every other step halves the bracket
_MISS = 2e-13  # of the strike: a price this near is the price, 2e-11 dollars at 100
_WIDEST = 1e3  # sigma sqrt(tau)
_EQUAL = 4e-16  # a price this near to a bound, relative to the legs, is the bound


@helper
def european_sd(price: float, x: float, r: float, q: float) -> float:
    """Find sigma sqrt(tau) of a European put, per unit of strike, to 1e-4; NaN where none has this price.

    It is the upper end of the bracket: an American option is worth at least the European one.
    """
    forward = math.exp(x + r - q)
    target = price * math.exp(r)
    if not 0.0 < target - max(1.0 - forward, 0.0) < min(forward, 1.0):
        return math.nan
    sd = max(math.sqrt(2.0 * abs(x + r - q)), 1e-3)  # the inflection: Newton's steps from here do not turn back
    floor = max(1.0 - forward, 0.0)
    value, slope = black(forward, 1.0, sd, False)
    logarithmic = value > target
    for _ in range(40):
        time_value = value - floor
        if logarithmic and time_value > 0.0:
            step = time_value / slope * math.log(time_value / (target - floor))
        else:
            step = (value - target) / slope
        step = min(max(step, -2.0 * sd), 0.7 * sd) if slope > 0.0 else -0.5 * sd
        sd -= step
        if abs(step) < 1e-4 * sd:
            break
        value, slope = black(forward, 1.0, sd, False)
    return sd


@helper
def bounds(spot: float, strike: float, tau: float, r: float, q: float, is_call: bool) -> tuple[float, float]:
    """Limits of the price as the volatility goes to zero and to infinity."""
    if tau < SHORTEST:
        return (max(spot - strike, 0.0), spot) if is_call else (max(strike - spot, 0.0), strike)
    if is_call:
        low, _ = still(strike, spot, tau, q, r)
        return low, spot * max(1.0, math.exp(-q * tau))
    low, _ = still(spot, strike, tau, r, q)
    return low, strike * max(1.0, math.exp(-r * tau))


@kernel(
    "void(float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],boolean[::1],"
    "float64[::1],int64,float64[:,::1],float64[::1],float64[:,:,::1],float64[::1],float64[::1],float64[:,::1],"
    "float64[::1],int8[::1])"
)
def invert_rows(
    price: F64, spot: F64, strike: F64, tau: F64, rate: F64, dividend: F64, is_call: Bool,
    node: F64, sweeps: int, root: F64, weight: F64, interpolate: F64,
    premium_root: F64, premium_weight: F64, premium_interpolate: F64,
    sigma: F64, status: I8,
) -> None:  # fmt: skip
    """Find the volatility of each row, or why there is none."""
    n = price.size
    low = np.empty(n)
    high = np.empty(n)
    at = np.empty(n)  # the sigma to try
    last_at = np.empty(n)
    last_miss = np.empty(n)
    miss_before = np.empty(n)
    open_rows = np.empty(n, np.int64)
    lanes = np.empty((4, LANES))
    out = np.empty((OUT, LANES))
    g = np.empty((node.size, LANES))
    squared = np.empty((node.size, LANES))
    work = np.empty((WORK, LANES))
    todo = 0
    for i in range(n):
        sigma[i] = math.nan
        kind = classify(spot[i], strike[i], tau[i], rate[i], dividend[i], 1.0, is_call[i])
        if kind == BAD or not abs(price[i]) < math.inf:
            status[i] = 5
            continue
        if kind == EUROPEAN:
            status[i] = NEVER_EARLY
            continue
        least, most = bounds(spot[i], strike[i], tau[i], rate[i], dividend[i], is_call[i])
        slack = _EQUAL * (spot[i] + strike[i])
        if price[i] < least - slack:
            status[i] = 1
        elif price[i] > least + slack and price[i] >= most - slack:
            status[i] = 2
        elif price[i] <= least + slack or kind >= EXPIRED:
            status[i] = 3
        else:
            K = spot[i] if is_call[i] else strike[i]
            x = math.log((strike[i] if is_call[i] else spot[i]) / K)
            r = (dividend[i] if is_call[i] else rate[i]) * tau[i]
            q = (rate[i] if is_call[i] else dividend[i]) * tau[i]
            per_root = 1.0 / math.sqrt(tau[i])
            sd = european_sd(price[i] / K, x, r, q)
            low[i] = 0.0
            high[i] = _WIDEST * per_root
            at[i] = (sd if 0.0 < sd < _WIDEST else 1.0) * per_root
            last_at[i] = math.nan
            last_miss[i] = 0.0
            miss_before[i] = 0.0
            status[i] = 6
            open_rows[todo] = i
            todo += 1

    for count in range(PASSES):
        kept = 0
        for start in range(0, todo, LANES):
            for j in range(LANES):
                i = open_rows[min(start + j, todo - 1)]
                enter(j, spot[i], strike[i], tau[i], rate[i], dividend[i], at[i], is_call[i], lanes)
            solve(
                lanes[0], lanes[1], lanes[2], lanes[3], node, sweeps, root, weight, interpolate,
                premium_root, premium_weight, premium_interpolate, g, squared, work, out,
            )  # fmt: skip
            for j in range(min(LANES, todo - start)):
                i = open_rows[start + j]
                K = spot[i] if is_call[i] else strike[i]
                miss = out[0, j] - price[i] / K
                now = at[i]
                if miss > 0.0:
                    high[i] = min(high[i], now)
                else:
                    low[i] = max(low[i], now)
                if count == 0:
                    forward = math.exp(lanes[3, j] + lanes[0, j] - lanes[1, j])
                    _, slope = black(forward, 1.0, lanes[2, j], False)
                    slope *= math.exp(-lanes[0, j]) * math.sqrt(tau[i])
                else:
                    slope = (miss - last_miss[i]) / (now - last_at[i])
                guess = now - miss / slope if slope > 0.0 else -1.0
                inside = low[i] < guess < high[i]
                if not inside or (count > _SECANT_PASSES and count % 2 == 0):
                    # far from any answer the bracket spans decades
                    guess = (
                        0.5 * (low[i] + high[i])
                        if high[i] < 4.0 * low[i]
                        else math.sqrt(max(low[i], 1e-3 * high[i]) * high[i])
                    )
                    inside = False
                # A secant step's miss is C times the product of the last two; the one before tells C.
                settled = inside and miss * miss < _MISS * max(abs(last_miss[i]), miss_before[i])
                miss_before[i] = abs(last_miss[i])
                last_at[i] = now
                last_miss[i] = miss
                at[i] = guess
                if settled or miss == 0.0 or high[i] - low[i] < 1e-12 * now:
                    sigma[i] = now if miss == 0.0 else guess
                    status[i] = 0
                else:
                    open_rows[kept] = i
                    kept += 1
        todo = kept
        if todo == 0:
            break
