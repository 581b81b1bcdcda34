"""American options on a stock that pays known cash dividends: a trinomial tree with its nodes at rest.

Rule of this file: the stock is lognormal between the ex-dates and falls by the cash at each of them (the "spot" model);
just before, the option is worth the better of exercise and of its value at the lower price, interpolated on the same
tree (Vellekoop & Nieuwenhuis 2006, "Efficient pricing of derivatives on assets with discrete dividends", Applied
Mathematical Finance 13).

In y = ln S - (rate - sigma^2/2) t the price has no drift, so every step has the weights 1/6, 2/3, 1/6 at a distance
of sigma sqrt(3 dt), which match five moments; a shorter step, to meet an ex-date exactly, keeps the distance and
changes the weights. Both remedies of Broadie & Detemple (1996, Review of Financial Studies 9) are kept: the last step
is Black and Scholes's formula, and two trees are extrapolated. The nodes end where the density does: a tree of n steps
has about 8 sqrt(n) of them, not 2 n.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kernels._arrays import F64, I8, Bool
from kernels._jit import helper, kernel
from kernels.black_scholes import black
from kernels.elementary import log

STEPS: Final = 400
"""Steps of the finer tree; the coarser has half."""
NODES: Final = 2048
"""Room for the nodes of a tree; where a large payment at little volatility would need more, they lie wider apart."""
NO_DIVIDEND: Final = -1
"""Status of the rows that need no tree."""
_SHORTEST = 1e-8  # years: anything nearer is at its expiry
_TINY = 2.2250738585072014e-308
_WIDTH = 6.5  # standard deviations on either side
_STILLEST = 1e-7
_WILDEST = 8.0  # sigma sqrt(tau): above, the tree's ends leave the range of doubles


@helper
def _schedule(taus: F64, cashes: F64, tau: float, when: F64, cash: F64) -> int:
    """Sort the payments that fall in (0, tau] into `when` and `cash`; their number, or -1 if one is not a payment."""
    paid = 0
    for d in range(taus.size):
        t = taus[d]
        c = cashes[d]
        if math.isnan(t) or math.isnan(c):
            continue
        if math.isinf(t) or math.isinf(c) or c < 0.0:
            return -1
        if t > 0.0 and t <= tau and c > 0.0:
            k = paid
            while k > 0 and when[k - 1] > t:
                when[k] = when[k - 1]
                cash[k] = cash[k - 1]
                k -= 1
            when[k] = t
            cash[k] = c
            paid += 1
    return paid


@helper
def _shift(value: F64, base: F64, n: int, scale: float, dx: float, cash: float, out: F64) -> None:
    """Values just before an ex-date: those after it at S - cash, by cubic interpolation in ln S."""
    bottom = log(base[0])
    for i in range(n):
        ex = scale * base[i] - cash
        u = (log(ex / scale) - bottom) / dx if ex > scale * base[0] else 0.0  # the bottom stands for all below it
        j = min(max(int(u) - 1, 0), n - 4)
        x = u - j
        a = x - 1.0
        b = x - 2.0
        c = x - 3.0
        outer = a * b * (x * value[j + 3] - c * value[j]) / 6.0
        out[i] = outer + 0.5 * x * c * (b * value[j + 1] - a * value[j + 2])


@helper
def _round(low: float, high: float, at: int, value: F64) -> None:
    """Give a kink between two nodes its weight on the grid.

    `low` and `high` are what is gained by holding, at nodes `at` and `at + 1`; the sign changes between them. The chord
    over the kink exceeds the curve by an area that depends on where in the cell it lies, so that without this a call's
    error jumps about with the number of steps. (Rounding every step's own kink, of a put, gained less than a quarter.)
    """
    share = low / (low - high)
    excess = 0.5 * abs(high - low) * share * (1.0 - share)
    value[at] -= excess * (1.0 - share)
    value[at + 1] -= excess * share


@helper
def _tree(
    spot: float, strike: float, tau: float, r: float, v: float, sign: float, when: F64, cash: F64, paid: int,
    steps: int, value: F64, other: F64, base: F64,
) -> tuple[float, float, float, bool]:  # fmt: skip
    """Price, first and second derivative in ln spot, and whether exercise is due now."""
    total = 0.0
    for d in range(paid):
        total += cash[d] * math.exp(-r * when[d])
    sd = v * math.sqrt(tau)
    below = -math.log(max(1.0 - total / spot, 1e-3)) + _WIDTH * sd
    above = _WIDTH * sd
    dt = tau / steps
    dx = max(v * math.sqrt(3.0 * dt), (below + above) / (NODES - 16))
    drift = r - 0.5 * v * v
    centre = math.ceil(below / dx) + 2
    n = centre + math.ceil(above / dx) + 3
    for i in range(n):
        base[i] = spot * math.exp((i - centre) * dx)

    # the last step, from the formula
    previous = when[paid - 1] if paid else 0.0
    last = min(dt, tau - previous)
    t = tau - last
    scale = math.exp(drift * t)
    lsd = v * math.sqrt(last)
    decay = math.exp(-r * last)
    for i in range(n):
        at = scale * base[i]
        now = max(sign * (at - strike), 0.0)
        if lsd > 1e-12:
            held, _ = black(at / decay, strike, lsd, sign > 0.0)
            value[i] = max(decay * held, now)
        else:
            value[i] = now
    for interval in range(paid, -1, -1):
        previous = when[interval - 1] if interval else 0.0
        count = math.ceil((t - previous) / dt - 1e-9)
        for k in range(count):
            earlier = previous if k == count - 1 else t - dt
            step = t - earlier
            t = earlier
            p = 0.5 * v * v * step / (dx * dx)
            decay = math.exp(-r * step)
            scale = math.exp(drift * t)
            for i in range(1, n - 1):
                held = decay * (value[i] + p * (value[i - 1] - 2.0 * value[i] + value[i + 1]))
                other[i] = max(held, sign * (scale * base[i] - strike) if t > 0.0 else held)
            other[0] = 2.0 * other[1] - other[2]
            other[n - 1] = 2.0 * other[n - 2] - other[n - 3]
            value, other = other, value
        if interval:
            _shift(value, base, n, scale, dx, cash[interval - 1], other)
            # a call is exercised above some price, a put nowhere: it waits for the fall
            for i in range(n):
                pay = sign * (scale * base[i] - strike)
                value[i] = other[i] - pay
                other[i] = max(other[i], pay)
            for i in range(n - 1):
                if value[i] > 0.0 >= value[i + 1]:
                    _round(value[i], value[i + 1], i, other)
            value, other = other, value
    a, b, held, c, d = value[centre - 2], value[centre - 1], value[centre], value[centre + 1], value[centre + 2]
    first = (8.0 * (c - b) - (d - a)) / (12.0 * dx)
    second = (16.0 * (b + c) - (a + d) - 30.0 * held) / (12.0 * dx * dx)
    return held, first, second, held <= sign * (spot - strike)


@helper
def _still(
    start: float, strike: float, tau: float, r: float, sign: float, when: F64, cash: F64, paid: int
) -> tuple[float, float]:
    """Value on a stock without volatility, exercised at the best time, and that time."""
    best = max(start - strike if sign > 0.0 else strike - start, 0.0)
    at = 0.0
    spot = start
    t = 0.0
    # between two payments the discounted value is monotone: the best time is beside a payment, or now, or tau
    for d in range(paid + 1):
        then = when[d] if d < paid else tau
        spot *= math.exp(r * (then - t))
        t = then
        before = math.exp(-r * t) * sign * (spot - strike)
        spot = max(spot - (cash[d] if d < paid else 0.0), 0.0)
        after = math.exp(-r * t) * sign * (spot - strike)
        if max(before, after) >= best:
            best = max(before, after)
            at = t
    return best, at


@kernel(
    "void(float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],boolean[::1],float64[:,::1],float64[:,::1],"
    "int64,float64[::1],float64[::1],float64[::1],float64[::1],int8[::1])"
)
def _price(
    spot: F64, strike: F64, tau: F64, rate: F64, sigma: F64, is_call: Bool, div_tau: F64, div_cash: F64,
    steps: int, price: F64, delta: F64, gamma: F64, theta: F64, status: I8,
) -> None:  # fmt: skip
    m = div_tau.shape[1]
    when = np.empty(m + 1)
    cash = np.empty(m + 1)
    value = np.empty(NODES)
    other = np.empty(NODES)
    base = np.empty(NODES)
    for i in range(spot.size):
        S = spot[i]
        K = strike[i]
        T = tau[i]
        r = rate[i]
        v = sigma[i]
        sign = 1.0 if is_call[i] else -1.0
        price[i] = math.nan
        delta[i] = math.nan
        gamma[i] = math.nan
        theta[i] = math.nan
        status[i] = 5
        ok = (S >= _TINY) & (math.inf > S) & (K >= _TINY) & (math.inf > K) & (abs(T) < math.inf)
        ok &= (v >= 0.0) & (v < math.inf) & (abs(r) < math.inf)
        if not ok or (T > 0.0 and (abs(r * T) > 100.0 or v * math.sqrt(T) > _WILDEST)):
            continue
        if T < _SHORTEST:
            price[i] = max(S - K if is_call[i] else K - S, 0.0)
            delta[i] = sign * (0.5 if S == K else (1.0 if sign * (S - K) > 0.0 else 0.0))
            gamma[i] = 0.0
            theta[i] = 0.0
            status[i] = 4
            continue
        paid = _schedule(div_tau[i], div_cash[i], T, when, cash)
        if paid < 0:
            continue
        if paid == 0:
            status[i] = NO_DIVIDEND
            continue
        if v * math.sqrt(T) < _STILLEST:
            best, at = _still(S, K, T, r, sign, when, cash, paid)
            price[i] = best
            delta[i] = sign if best > 0.0 else 0.0
            gamma[i] = 0.0
            theta[i] = r * K * math.exp(-r * T) * -sign if best > 0.0 and at == T else 0.0
            status[i] = 10 if best > 0.0 and at == 0.0 else 7
            continue
        c0, c1, c2, due_coarse = _tree(S, K, T, r, v, sign, when, cash, paid, steps // 2, value, other, base)
        f0, f1, f2, due = _tree(S, K, T, r, v, sign, when, cash, paid, steps, value, other, base)
        now = sign * (S - K)
        if due and due_coarse and now > 0.0:
            price[i] = now
            delta[i] = sign
            gamma[i] = 0.0
            theta[i] = 0.0
            status[i] = 10
            continue
        first = 2.0 * f1 - c1
        second = 2.0 * f2 - c2
        worth = max(2.0 * f0 - c0, max(now, 0.0))
        slope = first / S
        curve = (second - first) / (S * S)
        drain = r * worth - r * first - 0.5 * v * v * (second - first)
        if abs(worth) + abs(slope) + abs(curve) + abs(drain) < math.inf:
            price[i] = worth
            delta[i] = slope
            gamma[i] = curve
            theta[i] = drain
            status[i] = 0


def price(
    call: Bool, columns: Sequence[F64], div_tau: npt.ArrayLike, div_cash: npt.ArrayLike, steps: int = STEPS
) -> tuple[list[F64], I8]:
    """Price the rows of a batch that have a dividend in (0, tau]; the others are NaN with status NO_DIVIDEND.

    The columns are spot, strike, tau, rate, sigma; the answer is price, delta, gamma, theta, and the status.
    """
    n = call.size
    given = [np.atleast_2d(np.asarray(table, dtype=np.float64)) for table in (div_tau, div_cash)]
    first, second = np.broadcast_arrays(*given)
    if first.ndim != 2:
        raise ValueError(f"expected dividends of shape (n, m), got {first.shape}")
    shape = (n, first.shape[1])
    whens = np.broadcast_to(first, shape).copy()
    cashes = np.broadcast_to(second, shape).copy()
    out = [np.empty(n) for _ in range(4)]
    status = np.empty(n, np.int8)
    arguments: tuple[Any, ...] = (*columns, call, whens, cashes, steps, *out, status)
    _price(*arguments)
    return out, status
