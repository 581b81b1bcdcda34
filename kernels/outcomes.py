"""Sorted samples of a price at expiry, and what a butterfly makes of them: levels, puts, distribution, density, profit.

The functions read one sample of at least two, sorted and finite; nothing here is a door. Each does in one pass what
takes numpy ten calls of a few thousand numbers.
"""

from typing import NamedTuple

import numpy as np

from kernels._arrays import F64, I64
from kernels._jit import helper, kernel
from kernels.elementary import exp

BINS = 128
_ROOT_TWO_PI = 2.5066282746310002


class Profit(NamedTuple):
    """The distribution of the profit of a position over a sample."""

    sd: float
    tail: float
    """Mean of the worst twentieth."""
    at_worst: float
    """Share of outcomes within 2 % of the maximum loss."""
    losing_half: float
    """Share of outcomes that lose more than half of it."""


@helper
def fill_levels(log_returns: F64, factor: float, mean: float, prices: F64, sums: F64) -> None:
    """Fill prices (n,) and their prefix sums (n + 1,); see `levels`."""
    n = log_returns.size
    middle = log_returns[n // 2]
    for i in range(n):
        prices[i] = exp(middle + factor * (log_returns[i] - middle))
    total = 0.0
    sums[0] = 0.0
    for i in range(n):
        total += prices[i]
        sums[i + 1] = total
    scale = mean / (total / n)
    for i in range(n):
        prices[i] *= scale
    for i in range(n + 1):
        sums[i] *= scale


@kernel("void(float64[:, ::1], int64[::1], float64, float64[::1], float64[:, ::1], float64[:, ::1])", fast=frozenset())
def _levels(log_returns: F64, lengths: I64, factor: float, mean: F64, prices: F64, sums: F64) -> None:
    for row in range(lengths.size):
        n = lengths[row]
        if n > 0:
            fill_levels(log_returns[row, :n], factor, mean[row], prices[row, :n], sums[row, : n + 1])


def levels(log_returns: F64, mean: float, factor: float = 1.0) -> tuple[F64, F64]:
    """Turn ascending log returns, stretched around their median, into prices of a given mean, and their prefix sums.

    Parameters
    ----------
    log_returns : (n,) float64
        Ascending and finite.
    mean : float
        What the prices shall have.
    factor : float
        Not negative; 1 leaves the log returns as they are.

    Returns
    -------
    prices : (n,) float64, ascending
    sums : (n + 1,) float64
        sums[i] is the sum of the first i prices.
    """
    prices, sums = levels_of_rows(log_returns[None, :], np.array([log_returns.size]), np.array([mean]), factor)
    return prices[0], sums[0]


def levels_of_rows(log_returns: F64, lengths: I64, mean: F64, factor: float = 1.0) -> tuple[F64, F64]:
    """Do the same for rows of a batch, (n, t), of these lengths and means: (n, t) and (n, t + 1), NaN beyond."""
    n, t = log_returns.shape
    prices, sums = np.full((n, t), np.nan), np.full((n, t + 1), np.nan)
    _levels(np.ascontiguousarray(log_returns), lengths, factor, mean, prices, sums)
    return prices, sums


@helper
def count_below(prices: F64, x: float) -> int:
    """Count the prices that are not above x."""
    low, high = 0, prices.size
    while low < high:
        middle = (low + high) // 2
        if prices[middle] <= x:
            low = middle + 1
        else:
            high = middle
    return low


@helper
def put_at(prices: F64, sums: F64, strike: float) -> float:
    """E max(K - S, 0) of a sample."""
    below = count_below(prices, strike)
    return (strike * below - sums[below]) / prices.size


@kernel("void(float64[::1], float64[::1], float64[::1], float64[::1])", fast=frozenset())
def _puts(prices: F64, sums: F64, strike: F64, value: F64) -> None:
    for j in range(strike.size):
        value[j] = put_at(prices, sums, strike[j])


def put_value(prices: F64, sums: F64, strike: F64) -> F64:
    """E max(K - S, 0), exact for the sample, for each strike: (m,)."""
    value = np.empty(strike.size)
    _puts(prices, sums, strike, value)
    return value


@helper
def cdf_at(prices: F64, x: float) -> float:
    """P(S <= x) of a sample; see `cdf`."""
    n = prices.size
    if x < prices[0]:
        return 0.0
    if x > prices[n - 1]:
        return 1.0
    above = min(max(count_below(prices, x), 1), n - 1)
    low, high = prices[above - 1], prices[above]
    share = (x - low) / (high - low) if high > low else 1.0
    return (above - 0.5 + min(max(share, 0.0), 1.0)) / n


@kernel("void(float64[::1], float64[::1], float64[::1])", fast=frozenset())
def _cdf(prices: F64, x: F64, out: F64) -> None:
    for j in range(x.size):
        out[j] = cdf_at(prices, x[j])


def cdf(prices: F64, x: F64) -> F64:
    """P(S <= x): the empirical function, linear between its middles: (m,)."""
    out = np.empty(x.size)
    _cdf(prices, x, out)
    return out


@kernel("void(float64[::1], float64[::1], float64, float64[::1])", fast=frozenset())
def _density(log_returns: F64, log_grid: F64, shift: float, out: F64) -> None:
    n = log_returns.size
    mean = 0.0
    for x in log_returns:
        mean += x
    mean /= n
    square = 0.0
    for x in log_returns:
        square += (x - mean) * (x - mean)
    quarter = n // 4
    spread = min(np.sqrt(square / n), (log_returns[n - 1 - quarter] - log_returns[quarter]) / 1.349)
    width = 0.9 * max(spread, 1e-6) * n**-0.2
    first, step = log_returns[0], (log_returns[n - 1] - log_returns[0]) / BINS
    for g in range(out.size):
        out[g] = 0.0
    below = 0
    over = 1.0 / width
    for b in range(BINS):
        # Binning first makes this O(bins * grid) instead of O(sample * grid).
        up_to = n if b == BINS - 1 else count_below(log_returns, first + (b + 1) * step)
        count = up_to - below
        below = up_to
        if count > 0:
            centre = first + (b + 0.5) * step + shift
            for g in range(out.size):
                z = (log_grid[g] - centre) * over
                out[g] += count * exp(-0.5 * z * z)
    for g in range(out.size):
        out[g] *= over / (n * _ROOT_TWO_PI) * exp(-log_grid[g])


def density(log_returns: F64, grid: F64, shift: float) -> F64:
    """Estimate the density per dollar with a Gaussian kernel in the log price (Silverman's bandwidth).

    Parameters
    ----------
    log_returns : (n,) float64
        Ascending and finite.
    grid : (m,) float64
        Prices, above 0.
    shift : float
        Log price minus log return.
    """
    out = np.empty(grid.size)
    _density(log_returns, np.log(grid), shift, out)
    return out


@helper
def _pnl(s: float, lower: float, center: float, upper: float, constant: float, discount: float, debit: float) -> float:
    put_type = max(lower - s, 0.0) - 2.0 * max(center - s, 0.0) + max(upper - s, 0.0)
    return discount * (put_type + constant) - debit


@helper
def profit_at(
    prices: F64, lower: float, center: float, upper: float, constant: float, discount: float, debit: float, worst: float
) -> tuple[float, float, float, float]:
    """Describe the profit of a position over a sample, in the order of `Profit`; see `profit`."""
    n = prices.size
    total = square = 0.0
    at_worst = losing_half = 0
    anchor = _pnl(center, lower, center, upper, constant, discount, debit)
    for s in prices:
        x = _pnl(s, lower, center, upper, constant, discount, debit)
        at_worst += x <= -0.98 * worst
        losing_half += x < -0.5 * worst
        total += x - anchor
        square += (x - anchor) * (x - anchor)
    mean = total / n
    # Profit rises up to the centre and falls beyond it: the worst outcomes are the lowest and the highest prices.
    left, right, tail, count = 0, n - 1, 0.0, max(n // 20, 1)
    for _ in range(count):
        a = _pnl(prices[left], lower, center, upper, constant, discount, debit)
        b = _pnl(prices[right], lower, center, upper, constant, discount, debit)
        if a <= b:
            tail += a
            left += 1
        else:
            tail += b
            right -= 1
    return np.sqrt(max(square / n - mean * mean, 0.0)), tail / count, at_worst / n, losing_half / n


@kernel(
    "UniTuple(float64, 4)(float64[::1], float64, float64, float64, float64, float64, float64, float64)",
    fast=frozenset(),
)
def _profit(
    prices: F64, lower: float, center: float, upper: float, constant: float, discount: float, debit: float, worst: float
) -> tuple[float, float, float, float]:
    return profit_at(prices, lower, center, upper, constant, discount, debit, worst)


def profit(
    prices: F64, strikes: tuple[float, float, float], constant: float, discount: float, debit: float, worst: float
) -> Profit:
    """Describe discount * payoff - debit of a long butterfly.

    Parameters
    ----------
    prices : (n,) float64
        Ascending.
    strikes : three floats
        Ascending.
    constant : float
        Payoff minus the put-type payoff of the same strikes.
    worst : float
        Maximum loss, above 0.
    """
    return Profit(*_profit(prices, *strikes, constant, discount, debit, worst))


@kernel("float64(float64[::1], float64)", fast=frozenset({"nsz", "reassoc"}))  # sums in any order: a third of the time
def _kelly(profits: F64, worst: float) -> float:
    n = profits.size
    over = 1.0 / worst
    mean = square = 0.0
    for profit in profits:
        x = profit * over
        mean += x
        square += x * x
    if not mean > 0.0:
        return 0.0
    low, high = 0.0, 0.999
    f = min(mean / square, 0.5)
    for _ in range(60):  # Newton's method, kept inside the bracket
        value = slope = 0.0
        for i in range(n):
            x = profits[i] * over
            term = x / (1.0 + f * x)
            value += term
            slope += term * term
        if value > 0.0:
            low = f
        else:
            high = f
        step = f + value / slope
        if not (low < step and step < high):
            step = 0.5 * (low + high)
        if abs(step - f) <= 1e-12:
            break
        f = step
    return f


def kelly(profits: F64, worst: float) -> float:
    """Solve E[x / (1 + f x)] = 0 for the growth-optimal share of capital (Kelly 1956), x = profit over maximum loss.

    Parameters
    ----------
    profits : (n,) float64
        Equally likely; at least one.
    worst : float
        Maximum loss, above 0.

    Returns
    -------
    float
        0 where the mean is not above 0; at most 0.999, where no loss is among the profits.
    """
    return float(_kelly(np.ascontiguousarray(profits), worst))
