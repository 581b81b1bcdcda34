"""How the profit and loss of one butterfly is distributed: moments, tail losses, and the fraction worth staking.

The put form stands for all three (`kernels.butterfly`): payoff K1 - 2 K2 + K3 below K1, K3 - K2 at K2, 0 above K3, for
a cost restated accordingly (`form_cost.min(axis=-1)` of the search). Under a lognormal everything is in closed form but
the quantile (bisection) and the Kelly fraction (quadrature); under a sample everything is the sample's.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kernels import status
from kernels._arrays import F64, I8, rows
from kernels._jit import helper, kernel
from kernels.elementary import exp, log, norm_cdf, norm_pdf

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
_FIELDS = 9
_REACH = 12.0
_MOST = 1.0 - 1e-9


class PayoffStatistics(NamedTuple):
    """Profit and loss of n butterflies in money of today, each (n,)."""

    ev: F64
    sd: F64
    cvar: F64
    """Mean P&L over the worst `tail` of outcomes (negative: a loss)."""
    quantile: F64
    """The least P&L that is reached or undercut with probability `tail`."""
    pop: F64
    """P(P&L > 0)."""
    prob_max_loss: F64
    """Probability of exactly the maximum loss: beyond the worse wing, or beyond both where they are equal."""
    prob_inside: F64
    """P(K1 < S < K3)."""
    kelly: F64
    """Share of wealth to put at risk (as maximum loss) for the largest expected logarithm; 0 where ev <= 0."""
    max_loss: F64
    status: I8
    """0; 5 bad input; 9 where the butterfly cannot lose (no Kelly fraction exists): all NaN."""


@helper
def _cdf(x: float) -> float:
    """Call the normal distribution function: inlined in all its places it took three times as long to compile."""
    return norm_cdf(x)


@helper
def _partial(
    a: float, b: float, z_low: float, z_high: float, mean: float, second: float, s: float, power: int
) -> float:
    """E[(a + b S)**power; z_low < z < z_high] of a lognormal, z being its standardised logarithm."""
    p0 = _cdf(z_high) - _cdf(z_low)
    p1 = mean * (_cdf(z_high - s) - _cdf(z_low - s))
    if power == 1:
        return a * p0 + b * p1
    p2 = second * (_cdf(z_high - 2.0 * s) - _cdf(z_low - 2.0 * s))
    return a * a * p0 + 2.0 * a * b * p1 + b * b * p2


@helper
def _standard(price: float, m: float, s: float) -> float:
    return (log(price) - m) / s


@helper
def _below(y: float, fly: F64) -> tuple[float, float]:
    """P(payoff <= y) and E[payoff; payoff <= y]. fly: K1, K2, K3, m, s."""
    k1, k2, k3, m, s = fly[0], fly[1], fly[2], fly[3], fly[4]
    tail = k1 - 2.0 * k2 + k3
    mean = exp(m + 0.5 * s * s)
    chance = part = 0.0
    z1, z3 = _standard(k1, m, s), _standard(k3, m, s)
    if y >= tail:
        z = _standard(min(k1 + (y - tail), k2), m, s)
        chance += _cdf(z)
        part += tail * _cdf(z1) + _partial(tail - k1, 1.0, z1, z, mean, 0.0, s, 1)
    if y >= 0.0:
        z = _standard(max(k3 - y, k2), m, s)
        chance += _cdf(-z)
        part += _partial(k3, -1.0, z, z3, mean, 0.0, s, 1)
    return chance, part


@helper
def _tail_payoff(level: float, fly: F64) -> tuple[float, float]:
    """Quantile of the payoff at a level, and the mean of the worst outcomes up to that level."""
    tail, peak = fly[0] - 2.0 * fly[1] + fly[2], fly[2] - fly[1]
    low, high = min(tail, 0.0), peak
    if _below(low, fly)[0] >= level:
        return low, low
    for _ in range(200):
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        if _below(middle, fly)[0] >= level:
            high = middle
        else:
            low = middle
    chance, part = _below(high, fly)
    return high, (part - high * (chance - level)) / level


@helper
def _kelly_slopes(
    f: float, nodes: F64, weights: F64, fly: F64, cost: float, d: float, loss: float
) -> tuple[float, float]:
    """E[X/(1 + f X)] and its derivative in f, X being P&L over maximum loss."""
    k1, k2, k3, m, s = fly[0], fly[1], fly[2], fly[3], fly[4]
    tail = k1 - 2.0 * k2 + k3
    z1, z2, z3 = _standard(k1, m, s), _standard(k2, m, s), _standard(k3, m, s)
    x = (d * tail - cost) / loss
    y = -cost / loss
    value = _cdf(z1) * x / (1.0 + f * x) + _cdf(-z3) * y / (1.0 + f * y)
    slope = -_cdf(z1) * (x / (1.0 + f * x)) ** 2 - _cdf(-z3) * (y / (1.0 + f * y)) ** 2
    for piece in range(2):
        left = min(max(z1 if piece == 0 else z2, -_REACH), _REACH)
        right = min(max(z2 if piece == 0 else z3, -_REACH), _REACH)
        half, centre = 0.5 * (right - left), 0.5 * (right + left)
        for q in range(nodes.size):
            z = centre + half * nodes[q]
            price = exp(m + s * z)
            payoff = tail + (price - k1) if piece == 0 else k3 - price
            x = (d * payoff - cost) / loss
            term = x / (1.0 + f * x)
            weight = half * weights[q] * norm_pdf(z)
            value += weight * term
            slope -= weight * term * term
    return value, slope


@helper
def _kelly(nodes: F64, weights: F64, fly: F64, cost: float, d: float, loss: float) -> float:
    """Root of E[X/(1 + f X)] in [0, 1) by Newton steps that stay inside the bracket."""
    value, slope = _kelly_slopes(0.0, nodes, weights, fly, cost, d, loss)
    if not value > 0.0:
        return 0.0
    low, high = 0.0, _MOST
    f = min(-value / slope, 0.5)
    for _ in range(60):
        value, slope = _kelly_slopes(f, nodes, weights, fly, cost, d, loss)
        if value > 0.0:
            low = f
        else:
            high = f
        step = f - value / slope
        if not (step > low and step < high):
            step = 0.5 * (low + high)
        if abs(step - f) <= 1e-15:
            break
        f = step
    return f


@kernel(
    "void(float64[:, ::1], float64[::1], float64[::1], float64, float64[::1], float64[::1], float64[:, ::1])",
    fast=frozenset(),
)
def _lognormal(flies: F64, costs: F64, discounts: F64, level: float, nodes: F64, weights: F64, out: F64) -> None:
    for row in range(costs.size):
        fly, cost, d = flies[row], costs[row], discounts[row]
        k1, k2, k3, m, s = fly[0], fly[1], fly[2], fly[3], fly[4]
        tail, peak = k1 - 2.0 * k2 + k3, k3 - k2
        z1, z2, z3 = _standard(k1, m, s), _standard(k2, m, s), _standard(k3, m, s)
        mean = exp(m + 0.5 * s * s)
        second = mean * mean * exp(s * s)
        first = tail * _cdf(z1) + _partial(tail - k1, 1.0, z1, z2, mean, second, s, 1)
        first += _partial(k3, -1.0, z2, z3, mean, second, s, 1)
        square = tail * tail * _cdf(z1) + _partial(tail - k1, 1.0, z1, z2, mean, second, s, 2)
        square += _partial(k3, -1.0, z2, z3, mean, second, s, 2)
        loss = cost - d * min(tail, 0.0)
        x = cost / d
        quantile, worst = _tail_payoff(level, fly)
        pop = 0.0
        if x < peak:
            low = _cdf(_standard(k1 + (x - tail), m, s)) if x > tail else 0.0
            pop = (_cdf(_standard(k3 - x, m, s)) if x > 0.0 else 1.0) - low
        out[row, 0] = d * first - cost
        out[row, 1] = d * math.sqrt(max(square - first * first, 0.0))
        out[row, 2] = d * worst - cost
        out[row, 3] = d * quantile - cost
        out[row, 4] = pop
        out[row, 5] = (_cdf(z1) if tail <= 0.0 else 0.0) + (_cdf(-z3) if tail >= 0.0 else 0.0)
        out[row, 6] = _cdf(z3) - _cdf(z1)
        out[row, 7] = _kelly(nodes, weights, fly, cost, d, loss)
        out[row, 8] = loss


def _sample_row(fly: F64, cost: float, d: float, level: float, prices: F64) -> F64:
    """Compute the statistics of one sample, in the order of PayoffStatistics."""
    k1, k2, k3 = fly[:3]
    payoff = np.maximum(k1 - prices, 0.0) - 2.0 * np.maximum(k2 - prices, 0.0) + np.maximum(k3 - prices, 0.0)
    tail = k1 - 2.0 * k2 + k3
    payoff = np.where(prices <= k1, tail, np.where(prices >= k3, 0.0, payoff))
    pnl = np.sort(d * payoff - cost)
    loss = cost - d * min(tail, 0.0)
    rank = level * pnl.size
    whole = min(max(math.ceil(rank - 1e-9), 1), pnl.size)  # of 0.05 * 100 the product is 5.000000000000001
    worst = (pnl[: whole - 1].sum() + (rank - (whole - 1)) * pnl[whole - 1]) / rank
    at_tails = (prices <= k1) * (tail <= 0.0) + (prices >= k3) * (tail >= 0.0)
    inside = (prices > k1) & (prices < k3)
    kelly = _sample_kelly(pnl / loss) if loss > 0.0 else math.nan
    numbers = pnl.mean(), pnl.std(), worst, pnl[whole - 1], (pnl > 0.0).mean(), at_tails.mean(), inside.mean()
    return np.array([*numbers, kelly, loss])


def _sample_kelly(x: F64) -> float:
    if not x.mean() > 0.0:
        return 0.0
    low, high = 0.0, _MOST
    f = min(float(x.mean() / (x * x).mean()), 0.5)
    for _ in range(60):
        term = x / (1.0 + f * x)
        value, slope = float(term.mean()), -float((term * term).mean())
        low, high = (f, high) if value > 0.0 else (low, f)
        step = f - value / slope
        if not low < step < high:
            step = 0.5 * (low + high)
        if abs(step - f) <= 1e-15:
            break
        f = step
    return f


def payoff_statistics(
    lower: npt.ArrayLike,
    middle: npt.ArrayLike,
    upper: npt.ArrayLike,
    cost: npt.ArrayLike,
    discount: npt.ArrayLike = 1.0,
    *,
    log_mean: npt.ArrayLike | None = None,
    log_sd: npt.ArrayLike | None = None,
    prices: npt.ArrayLike | None = None,
    tail: float = 0.05,
) -> PayoffStatistics:
    """Describe the profit and loss of butterflies under a lognormal or under samples of the price at expiry.

    Parameters
    ----------
    lower, middle, upper : (n,) float64
        Strikes, 0 < K1 < K2 < K3.
    cost : (n,) float64
        Cost today of the put form, or of another form restated for it, fees in.
    discount : (n,) float64
        Discount factor to expiry, above 0.
    log_mean, log_sd : (n,) float64
        Mean and standard deviation of ln S at expiry. Either these,
    prices : (n, paths) float64
        or samples of S at expiry, in any order; (paths,) for all rows.
    tail : float
        Share of worst outcomes that `cvar` averages, in (0, 1).

    Returns
    -------
    PayoffStatistics
        NaN where the status is not 0: for a row with NaN, infinity, numbers outside these domains, or so large that a
        result overflows it is 5.

    Raises
    ------
    ValueError
        If shapes do not fit, tail lies outside (0, 1), or neither or both distributions are given.

    Notes
    -----
    CVaR with the mass at the quantile split (Rockafellar & Uryasev 2002, Prop. 6). Kelly (1956): the root of
    E[X/(1 + f X)], X = P&L / maximum loss, by safeguarded Newton; 64 Gauss-Legendre points on each sloping piece.

    Examples
    --------
    >>> fly = payoff_statistics(95.0, 100.0, 105.0, 1.60, log_mean=np.log(100.0) - 0.00245, log_sd=0.07)
    >>> float(fly.ev[0].round(12)), float(fly.pop[0].round(12))
    (-0.232783016107, 0.372839915913)
    """
    if not 0.0 < tail < 1.0:
        raise ValueError(f"tail must lie in (0, 1), got {tail}")
    if (log_mean is None) != (log_sd is None) or (prices is None) == (log_mean is None):
        raise ValueError("give either log_mean and log_sd or prices")
    mean, sd = (0.0 if log_mean is None else log_mean), (1.0 if log_sd is None else log_sd)
    k1, k2, k3, c, d, m, s = rows(lower, middle, upper, cost, discount, mean, sd)
    good = (k1 > 0.0) & (k1 < k2) & (k2 < k3) & (k3 < np.inf) & np.isfinite(c) & (d > 0.0) & (d < np.inf)
    good &= np.isfinite(m) & (s > 0.0) & (s < np.inf)
    loss = c - d * np.minimum(k1 - 2.0 * k2 + k3, 0.0)
    flies = np.ascontiguousarray(np.stack([k1, k2, k3, m, s], axis=1))
    out = np.full((c.size, _FIELDS), np.nan)
    samples = None if prices is None else _samples(prices, c.size)
    if samples is not None:
        good &= ((samples > 0.0) & (samples < np.inf)).all(axis=1)
    code = np.where(good, np.where(loss > 0.0, status.OK, status.ARBITRAGE), status.BAD_INPUT).astype(np.int8)
    chosen = np.flatnonzero(code == status.OK)
    if samples is None:
        part = np.empty((chosen.size, _FIELDS))
        _lognormal(flies[chosen], c[chosen], d[chosen], tail, _NODES, _WEIGHTS, part)
        out[chosen] = part
    else:
        for row in chosen:
            out[row] = _sample_row(flies[row], c[row], d[row], tail, samples[row])
    overflowed = chosen[~np.isfinite(out[chosen]).all(axis=1)]
    out[overflowed], code[overflowed] = np.nan, status.BAD_INPUT
    ev, spread, cvar, quantile, pop, at_loss, inside, kelly, most = np.ascontiguousarray(out.T)
    return PayoffStatistics(ev, spread, cvar, quantile, pop, at_loss, inside, kelly, most, code)


def _samples(prices: npt.ArrayLike, n: int) -> F64:
    array = np.atleast_2d(np.asarray(prices, dtype=np.float64))
    if array.ndim != 2 or array.shape[0] not in (1, n) or array.shape[1] < 1:
        raise ValueError(f"expected prices of shape ({n}, paths), got {array.shape}")
    return np.broadcast_to(array, (n, array.shape[1]))


@kernel("void(float64[::1], float64[::1], float64[::1], float64[::1])", fast=frozenset())
def _touch(distance: F64, drift: F64, sd: F64, out: F64) -> None:
    for row in range(distance.size):
        b, m, s = distance[row], drift[row], sd[row]
        if b < 0.0:
            b, m = -b, -m
        reflected = exp(min(2.0 * m * b / (s * s), 700.0)) * _cdf((-b - m) / s)
        out[row] = min(_cdf((m - b) / s) + reflected, 1.0)


def touch_probability(
    spot: npt.ArrayLike, level: npt.ArrayLike, log_drift: npt.ArrayLike, log_sd: npt.ArrayLike
) -> F64:
    """Evaluate the probability that the price meets a level at some time before expiry, as a Brownian ln S does.

    Parameters
    ----------
    spot, level : (n,) float64
        Above 0.
    log_drift, log_sd : (n,) float64
        Mean and standard deviation of ln(S_T / spot) over the whole time; `log_sd` above 0.

    Returns
    -------
    (n,) float64
        NaN for a bad row. With continuous watching: watched once a day, somewhat less.

    Notes
    -----
    The reflection principle with drift (Karatzas & Shreve 1991, section 3.5.C).
    """
    s, b, m, v = rows(spot, level, log_drift, log_sd)
    good = (s > 0.0) & (b > 0.0) & (s < np.inf) & (b < np.inf) & np.isfinite(m) & (v > 0.0) & (v < np.inf)
    out = np.empty(s.size)
    distance = np.log(np.where(good, b, 1.0) / np.where(good, s, 1.0))
    _touch(distance, np.where(good, m, 0.0), np.where(good, v, 1.0), out)
    return np.where(good, out, np.nan)
