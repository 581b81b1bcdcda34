"""Rows of American options in and out of the lanes of the put solver, and the rows that need no solver.

Rule of this file: only puts are solved. A call is the put with spot and strike, and rate and dividend, exchanged
(McDonald & Schroder 1998, J. Computational Finance 1(3)).
"""

import math
from typing import Final

import numpy as np

from kernels._arrays import F64, I8, Bool
from kernels._count import COUNT
from kernels._jit import helper, kernel
from kernels.american_boundary import LANES
from kernels.american_put import OUT, WORK, settle, solve

SHORTEST: Final = 1e-8  # years: anything nearer is at its expiry
_STILLEST = 1e-5  # sigma sqrt(tau): below, the limit without volatility is off by 4e-4 per $100 at most
_STILL_ENOUGH = 0.05  # sigma sqrt(tau): below, that limit is looked at as a lower bound (Jensen's inequality)
_WILDEST = 1e3  # sigma sqrt(tau): above, every distribution function is 0 or 1 already
_FARTHEST = 690.0  # |ln S/K|: beyond, as for a strike of zero, one of the two legs is worth nothing
_MAX_EXPONENT = 700.0
_TINY = 2.2250738585072014e-308

EARLY: Final = 0
EUROPEAN: Final = 1
EXPIRED: Final = 2
STILL: Final = 3
BAD: Final = 4


@helper
def classify(spot: float, strike: float, tau: float, r: float, q: float, v: float, is_call: bool) -> int:
    """Tell what kind of row this is; only EARLY and EUROPEAN rows are solved as lanes."""
    ok = (spot >= _TINY) & (spot < math.inf) & (strike >= 0.0) & (strike < math.inf) & (abs(tau) < math.inf)
    ok &= (v >= 0.0) & (v < 1e100) & (abs(r) < math.inf) & (abs(q) < math.inf)
    if not ok:
        return BAD
    if tau < SHORTEST:
        return EXPIRED
    if abs(r * tau) > _MAX_EXPONENT or abs(q * tau) > _MAX_EXPONENT:
        return BAD
    if v * math.sqrt(tau) < _STILLEST or strike < _TINY or abs(math.log(spot / strike)) > _FARTHEST:
        return STILL
    rp = q if is_call else r
    qp = r if is_call else q
    if qp < rp < 0.0:
        return BAD  # two boundaries: Andersen & Lake (2021), "Fast American option pricing: the double-boundary case"
    return EUROPEAN if rp <= 0.0 and rp <= qp else EARLY


@helper
def still(spot: float, strike: float, tau: float, r: float, q: float) -> tuple[float, float]:
    """Value of a put whose spot moves along its forward, and the time at which to exercise it."""
    best = max(strike - spot, 0.0)
    when = 0.0
    at_end = strike * math.exp(-r * tau) - spot * math.exp(-q * tau)
    if at_end >= best:
        best = at_end
        when = tau
    if r * strike > 0.0 and q * spot > 0.0 and r != q:
        t = math.log(r * strike / (q * spot)) / (r - q)  # strike e^{-rt} - spot e^{-qt} is stationary here
        if 0.0 < t < tau:
            inside = strike * math.exp(-r * t) - spot * math.exp(-q * t)
            if inside > best:
                best = inside
                when = t
    return best, when


@helper
def enter(
    j: int, spot: float, strike: float, tau: float, r: float, q: float, v: float, is_call: bool, lanes: F64
) -> None:
    """Bring a row into lane j: r, q, s, x."""
    lanes[0, j] = (q if is_call else r) * tau
    lanes[1, j] = (r if is_call else q) * tau
    lanes[2, j] = min(v * math.sqrt(tau), _WILDEST)
    # not -ln(spot / strike) for a call: it shall have the bits of the put with these legs
    lanes[3, j] = math.log(strike / spot if is_call else spot / strike)


@helper
def leave(
    j: int, kind: int, spot: float, strike: float, tau: float, r: float, q: float, v: float, is_call: bool, lanes: F64,
    out: F64,
) -> tuple[float, float, float, float, int]:  # fmt: skip
    """Price, delta, gamma, theta and status of a row from its lane, or from its limit."""
    S = strike if is_call else spot  # as a put
    K = spot if is_call else strike
    rp = q if is_call else r
    qp = r if is_call else q
    sign = 1.0 if is_call else -1.0
    if kind <= EUROPEAN:
        y = math.exp(lanes[3, j])
        value = out[0, j]
        price = max(K * value, K - S)  # in money: the lane's own floor, times K, can be an ulp below
        delta = value - y * out[1, j] if is_call else out[1, j]
        curve = K * out[2, j] * y * y  # S^2 gamma, the same of either leg
        gamma = curve / (spot * spot)
        theta = r * price - (r - q) * spot * delta - 0.5 * v * v * curve
        status = 0
        if out[3, j] > 0.0:
            theta = 0.0
            status = 10
        elif lanes[2, j] < _STILL_ENOUGH and kind == EARLY:
            # with drifts of hundreds of standard deviations the quadrature misses the best time to exercise
            floor, when = still(S, K, tau, rp, qp)
            if floor > price + 1e-6 * K:
                price = floor
                delta = sign * math.exp(-q * when)
                gamma = 0.0
                theta = 0.0
    elif kind == EXPIRED:
        price = max(K - S, 0.0)
        delta = sign * (0.5 if S == K else (1.0 if K > S else 0.0))
        gamma = 0.0
        theta = 0.0
        status = 4
    elif kind == STILL:
        price, when = still(S, K, tau, rp, qp)
        alive = price > 0.0
        delta = sign * math.exp(-q * when) if alive else 0.0
        gamma = 0.0
        theta = rp * K * math.exp(-rp * tau) - qp * S * math.exp(-qp * tau) if alive and when == tau else 0.0
        status = 7 if v * math.sqrt(tau) < _STILLEST else 0
        if alive and when == 0.0:
            status = 10
    else:
        price = math.nan
        delta = math.nan
        gamma = math.nan
        theta = math.nan
        status = 5
    # infinity less itself is NaN: one comparison for all four
    if status != 5 and not abs(price) + abs(delta) + abs(gamma) + abs(theta) < math.inf:
        return math.nan, math.nan, math.nan, math.nan, 5
    return price, delta, gamma, theta, status


@kernel(
    "void(float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],float64[::1],boolean[::1],"
    "float64[::1],int64,float64[:,::1],float64[::1],float64[:,:,::1],float64[::1],float64[::1],float64[:,::1],"
    "float64[::1],float64[::1],float64[::1],float64[::1],int8[::1],float64[::1],float64[::1])"
)
def price_rows(
    spot: F64, strike: F64, tau: F64, rate: F64, dividend: F64, sigma: F64, is_call: Bool,
    node: F64, sweeps: int, root: F64, weight: F64, interpolate: F64,
    premium_root: F64, premium_weight: F64, premium_interpolate: F64,
    price: F64, delta: F64, gamma: F64, theta: F64, status: I8, premium: F64, premium_delta: F64,
) -> None:  # fmt: skip
    """Price a batch, block by block: the rows that early exercise concerns, then the European ones.

    Where a block has the rates, yields, volatilities and times of the one before, its boundary is kept: it does not
    depend on the spot.

    `premium` and `premium_delta` are the early-exercise part before it is cut off at the boundary: for differences.
    """
    n = spot.size
    kind = np.empty(n, np.int64)
    order = np.empty(n, np.int64)
    lanes = np.zeros((4, LANES))
    out = np.zeros((OUT, LANES))
    g = np.empty((node.size, LANES))
    squared = np.empty((node.size, LANES))
    work = np.empty((WORK, LANES))
    early = 0
    for i in range(n):
        kind[i] = classify(spot[i], strike[i], tau[i], rate[i], dividend[i], sigma[i], is_call[i])
        if kind[i] == EARLY:
            order[early] = i
            early += 1
    end = early
    for i in range(n):
        if kind[i] == EUROPEAN:
            order[end] = i
            end += 1
        elif kind[i] != EARLY:
            premium[i] = 0.0
            premium_delta[i] = 0.0
            price[i], delta[i], gamma[i], theta[i], status[i] = leave(
                COUNT, kind[i], spot[i], strike[i], tau[i], rate[i], dividend[i], sigma[i], is_call[i], lanes, out
            )
    start = 0
    while start < end:
        stop = min(start + LANES, early if start < early else end)
        known = start > 0
        for j in range(LANES):
            i = order[min(start + j, stop - 1)]  # a block is filled up with copies of its last row
            r, q, s = lanes[0, j], lanes[1, j], lanes[2, j]
            enter(j, spot[i], strike[i], tau[i], rate[i], dividend[i], sigma[i], is_call[i], lanes)
            known &= lanes[0, j] == r and lanes[1, j] == q and lanes[2, j] == s
        if start < early:
            solve(
                lanes[0], lanes[1], lanes[2], lanes[3], node, sweeps, root, weight, interpolate,
                premium_root, premium_weight, premium_interpolate, g, squared, work, out, known,
            )  # fmt: skip
        else:
            settle(lanes[0], lanes[1], lanes[2], lanes[3], work, out)
        for j in range(stop - start):
            i = order[start + j]
            price[i], delta[i], gamma[i], theta[i], status[i] = leave(
                j, kind[i], spot[i], strike[i], tau[i], rate[i], dividend[i], sigma[i], is_call[i], lanes, out
            )
            K = spot[i] if is_call[i] else strike[i]
            premium[i] = K * out[4, j]
            premium_delta[i] = out[4, j] - math.exp(lanes[3, j]) * out[5, j] if is_call[i] else out[5, j]
        start = stop
