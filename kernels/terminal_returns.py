"""Tables of samples of log returns centred on a forward, with what an error of their spread or of their mean changes.

What `kernels.terminal.sample` is for prices; here the sample is of returns, rows may differ in length, and two first
derivatives come with the put values: a search needs them to know how far its expected values can be trusted.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kernels._arrays import F64, I64, series
from kernels._jit import helper, kernel
from kernels.elementary import exp
from kernels.terminal import _bin, _smooth


class ReturnTables(NamedTuple):
    """Tables of one measure for n expiries; NaN rows where the input was bad."""

    put_value: F64
    """(n, m): E[max(K - S, 0)], undiscounted: the sample's own mean."""
    put_square: F64
    """(n, m): E[max(K - S, 0)**2]."""
    by_spread: F64
    """(n, m): derivative of put_value as the log returns stretch about their mean by a factor 1 + x, E[S] fixed."""
    by_mean: F64
    """(n, m): derivative of put_value as all prices grow by a factor 1 + x."""
    cdf: F64
    """(n, p): P(S <= x) on the grid, smoothed as `terminal.sample` does."""
    prices: F64
    """(n, t): the prices, ascending, NaN beyond a row's length."""


@helper
def _prices(logs: F64, n: int, forward: float, prices: F64) -> float:
    """Turn ascending log returns into prices of mean `forward`; gives the mean log return."""
    total = 0.0
    mean = 0.0
    for i in range(n):
        prices[i] = exp(logs[i])
        total += prices[i]
        mean += logs[i]
    scale = forward * n / total
    for i in range(n):
        prices[i] *= scale
    return mean / n


@helper
def _tabulate(logs: F64, n: int, mean: float, forward: float, prices: F64, strikes: F64, out: F64) -> None:
    """Fill out (4, m) with value, square, by_spread, by_mean at ascending strikes (NaN skipped), in one pass."""
    # Sums about the forward: about zero, the squares would cancel.
    weighted = 0.0
    for i in range(n):
        weighted += prices[i] * (logs[i] - mean)
    drift = weighted / (n * forward)  # what stretching does to ln E[S]
    over = 1.0 / n
    i = 0
    sum_y = sum_yy = sum_r = 0.0
    for j in range(strikes.size):
        k = strikes[j]
        if not (k > 0.0 and k < math.inf):
            continue
        while i < n and prices[i] < k:
            y = prices[i] - forward
            sum_y += y
            sum_yy += y * y
            sum_r += prices[i] * (logs[i] - mean)
            i += 1
        x = k - forward
        below = sum_y + i * forward
        out[0, j] = max(over * (i * x - sum_y), 0.0)
        out[1, j] = max(over * (i * x * x - 2.0 * x * sum_y + sum_yy), 0.0)
        out[2, j] = -over * (sum_r - drift * below)
        out[3, j] = -over * below


@helper
def _spread(prices: F64, n: int, forward: float) -> float:
    """Give the smaller of standard deviation and scaled quartile range: what Silverman's rule starts from."""
    square = 0.0
    for i in range(n):
        square += (prices[i] - forward) ** 2
    return min(math.sqrt(square / n), (prices[(3 * n) // 4] - prices[n // 4]) / 1.34)


@kernel(
    "void(float64[:, ::1], int64[::1], float64[::1], float64[:, ::1], float64[::1], float64[::1], float64[:, :, ::1],"
    "float64[:, ::1], float64[:, ::1])",
    fast=frozenset(),
)
def _rows(
    logs: F64, lengths: I64, forward: F64, strike: F64, low: F64, step: F64, tables: F64, cdf: F64, prices: F64
) -> None:
    mass, below = np.empty(cdf.shape[1]), np.empty(cdf.shape[1])
    for row in range(lengths.size):
        n = lengths[row]
        good = n > 0 and forward[row] > 0.0 and forward[row] < math.inf and step[row] > 0.0 and step[row] < math.inf
        if not (good and logs[row, 0] > -700.0 and logs[row, n - 1] < 700.0 and math.isfinite(low[row])):
            continue
        mean = _prices(logs[row], n, forward[row], prices[row])
        _tabulate(logs[row], n, mean, forward[row], prices[row], strike[row], tables[row])
        width = max(0.3 * _spread(prices[row], n, forward[row]) * n**-0.2, 0.01 * step[row])
        _bin(prices[row, :n], low[row], 1.0 / step[row], mass)
        _smooth(mass, below, step[row] / width, cdf[row])


def tabulate(
    log_returns: npt.ArrayLike,
    forward: npt.ArrayLike,
    strike: npt.ArrayLike,
    grid_low: npt.ArrayLike,
    grid_step: npt.ArrayLike,
    points: int,
    lengths: npt.ArrayLike | None = None,
) -> ReturnTables:
    """Tabulate samples of log returns to expiry, each turned into prices whose mean is the forward.

    Parameters
    ----------
    log_returns : (n, t) float64
        Samples in any order, left-aligned; what lies beyond a row's length is ignored.
    forward : (n,) float64
        Above 0.
    strike : (n, m) float64
        Increasing; NaN (padding) gives NaN.
    grid_low, grid_step : (n,) float64
        First point and distance of the grid of the distribution function.
    points : int
        Size of the grid, at least 2.
    lengths : (n,) int64, optional
        Sizes of the samples; all t when None. A row of length 0 is NaN.

    Returns
    -------
    ReturnTables

    Raises
    ------
    ValueError
        If the shapes do not fit. Never for a bad row.
    """
    values, size = series(log_returns, lengths)
    n = size.size
    strikes = np.array(np.atleast_2d(np.asarray(strike, dtype=np.float64)), order="C")
    if strikes.ndim != 2 or strikes.shape[0] != n:
        raise ValueError(f"expected strikes of shape ({n}, m), got {strikes.shape}")
    fwd, low, step = (
        np.array(np.broadcast_to(np.asarray(c, np.float64), (n,))) for c in (forward, grid_low, grid_step)
    )
    inside = np.arange(values.shape[1]) < size[:, None]
    sound = (np.isfinite(values) | ~inside).all(axis=1)
    logs = np.sort(np.where(inside, values, np.nan), axis=1)
    tables = np.full((n, 4, strikes.shape[1]), np.nan)
    cdf, prices = np.full((n, points), np.nan), np.full(values.shape, np.nan)
    _rows(logs, np.where(sound, size, 0), fwd, strikes, low, step, tables, cdf, prices)
    value, square, by_spread, by_mean = np.ascontiguousarray(np.moveaxis(tables, 1, 0))
    return ReturnTables(value, square, by_spread, by_mean, cdf, prices)
