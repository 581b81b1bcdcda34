"""Implied volatility of American options: safeguarded steps over blocks of the rows that are still open.

Rule of this file: a row's iteration depends on that row alone. After every pass the open rows move together, so that
the blocks stay full; which rows share a block does not show in the results. A pass costs a whole block however few
rows are left, so what counts in a small batch is the slowest row, and there are three things that made it slow:

- The European part of a price is known exactly and its inverse costs next to nothing, so only the premium is modelled,
  by the secant of its logarithm: two or three prices a row instead of four or five.
- A price that is met to its rounding is met. Steps from there are noise, and bisected, up to twenty times.
- Below some volatility the option is exercised at once and its price says nothing. The distance of the spot from the
  boundary does: near it the time value is proportional to the distance squared. And where the price jumps to the
  exercise value, by the scheme's error, no volatility gives a price in the jump: sixty bisections found that out.
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
"""Prices of one row at most; nearly all need two or three."""

NEVER_EARLY: Final = -1
"""Status of the rows that a European solver does better."""

_FREE_PASSES = 8  # from here on every other step halves the bracket
_NEWTON_STEPS = 12
_MOST_GROWTH = 5.0
_AT_THE_BOUNDARY = 1e-9  # ln of the spot over the boundary: no price lies between here and the exercise value
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


@helper
def model_step(x: float, r: float, q: float, sd: float, premium: float, growth: float, target: float) -> float:
    """Find the sd at which the European put and `premium exp(growth (sd' - sd))` are the target, per unit of strike.

    Newton's method from sd; what it has reached after a few steps will do.
    """
    forward = math.exp(x + r - q)
    discount = math.exp(-r)
    now = sd
    for _ in range(_NEWTON_STEPS):
        value, vega = black(forward, 1.0, now, False)
        rest = premium * math.exp(min(growth * (now - sd), _MOST_GROWTH)) if growth != 0.0 else premium
        steepness = discount * vega + growth * rest
        if not steepness > 0.0:
            break
        step = min(max((discount * value + rest - target) / steepness, -now), 0.7 * now)
        now -= step
        if abs(step) < 1e-15 * now:
            break
    return now


@helper
def boundary_step(at: float, edge: float, high: float, edge_high: float, over: float, target: float) -> float:
    """Find a volatility at which the option is just not exercised, from one where it is: `edge` <= 0 < `edge_high`.

    `over` is the time value at `high`, `target` the one that is wanted; the edges are ln(spot / boundary).
    """
    share = math.sqrt(target / over) if 0.0 < target < over else 0.5
    wanted = edge_high * min(max(share, 0.02), 0.5)
    return at + (wanted - edge) * (high - at) / (edge_high - edge)


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
    edge_low = np.empty(n)  # ln(spot / boundary) at `low`, where it is not positive
    edge_high = np.empty(n)
    over = np.empty(n)  # time value at `high`
    at = np.empty(n)  # the sigma to try
    last_at = np.empty(n)
    last_premium = np.empty(n)
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
            edge_low[i] = math.nan
            edge_high[i] = math.nan
            over[i] = math.nan
            last_at[i] = math.nan
            last_premium[i] = math.nan
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
                now = at[i]
                root_tau = math.sqrt(tau[i])
                r, q, sd, x = lanes[0, j], lanes[1, j], lanes[2, j], lanes[3, j]
                target = price[i] / K
                exercise = 1.0 - math.exp(x)
                miss = out[0, j] - target
                edge = x - work[5, j] + g[node.size - 1, j]
                if miss > 0.0:
                    if now <= high[i]:
                        high[i] = now
                        edge_high[i] = edge
                        over[i] = out[0, j] - exercise
                elif now >= low[i]:
                    low[i] = now
                    edge_low[i] = edge
                guess = -1.0
                modelled = edge > 0.0
                if modelled:
                    forward = math.exp(x + r - q)
                    value, _ = black(forward, 1.0, sd, False)
                    premium = out[0, j] - math.exp(-r) * value
                    known = last_at[i] > 0.0 and now != last_at[i]
                    known &= premium > 0.0 and last_premium[i] > 0.0
                    growth = math.log(premium / last_premium[i]) / ((now - last_at[i]) * root_tau) if known else 0.0
                    guess = model_step(x, r, q, sd, premium, growth, target) / root_tau
                    last_at[i] = now
                    last_premium[i] = premium
                inside = low[i] < guess < high[i]
                met = abs(miss) <= _MISS
                # A secant step's miss is C times the product of the last two, miss = C last before: the next will be
                # C miss last = miss**2 / before. The miss of a forced step, often the last, is no part of this.
                before = miss_before[i] if miss_before[i] > 0.0 else abs(last_miss[i])
                settled = inside and miss * miss < _MISS * before
                if modelled:
                    miss_before[i] = abs(last_miss[i])
                    last_miss[i] = miss
                if not settled and (not inside or (count > _FREE_PASSES and count % 2 == 0)):
                    if edge_low[i] <= 0.0 < edge_high[i] and (count <= _FREE_PASSES or count % 2 == 0):
                        guess = boundary_step(low[i], edge_low[i], high[i], edge_high[i], over[i], target - exercise)
                    if not low[i] < guess < high[i] or not edge_low[i] <= 0.0:
                        # far from any answer the bracket spans decades
                        guess = (
                            0.5 * (low[i] + high[i])
                            if high[i] < 4.0 * low[i]
                            else math.sqrt(max(low[i], 1e-3 * high[i]) * high[i])
                        )
                jump = edge_low[i] <= 0.0 < edge_high[i] < _AT_THE_BOUNDARY
                if settled or met or jump or high[i] - low[i] < 1e-12 * now:
                    if jump:
                        sigma[i] = high[i]  # the least at which it is worth waiting
                    else:
                        sigma[i] = guess if settled or (met and inside and abs(guess - now) < 1e-6 * now) else now
                    status[i] = 0
                else:
                    at[i] = guess
                    open_rows[kept] = i
                    kept += 1
        todo = kept
        if todo == 0:
            break
