"""Tables of samples of log returns centred on a forward, with what an error of their spread or of their mean changes.

What `kernels.terminal.sample` is for prices; here the sample is of returns, rows may differ in length, and the put
values of moved samples come along: a search needs them to know how far its expected values can be trusted.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kernels._arrays import F64, I64, series
from kernels._jit import helper, kernel
from kernels.elementary import exp
from kernels.ordering import sorted_rows
from kernels.terminal import _bin, _smooth


class ReturnTables(NamedTuple):
    """Tables of one measure for n expiries; NaN rows where the input was bad."""

    put_value: F64
    """(n, m): E[max(K - S, 0)], undiscounted: the sample's own mean."""
    put_square: F64
    """(n, m): E[max(K - S, 0)**2]."""
    put_wider: F64
    """(n, m): put_value after the log returns are stretched by 1 + `stretch`, the mean price staying."""
    put_narrower: F64
    """(n, m): the same after 1 - `stretch`."""
    by_mean: F64
    """(n, m): derivative of put_value as all prices grow by a factor 1 + x."""
    cdf: F64
    """(n, p): P(S <= x) on the grid, smoothed as `terminal.sample` does."""


@helper
def _prices(logs: F64, n: int, factor: float, forward: float, prices: F64) -> None:
    """Turn ascending log returns, stretched by a factor, into prices of mean `forward`."""
    for i in range(n):  # apart from the sum, whose order keeps a loop from being vectorised
        prices[i] = exp(factor * logs[i])
    total = 0.0
    for i in range(n):
        total += prices[i]
    scale = forward * n / total
    for i in range(n):
        prices[i] *= scale


@helper
def _puts(prices: F64, n: int, forward: float, strikes: F64, value: F64, square: F64, by_mean: F64) -> None:
    """Fill put values, their squares and derivatives by the mean at ascending strikes (NaN skipped), in one pass."""
    # Sums about the forward: about zero, the squares would cancel.
    over = 1.0 / n
    i = 0
    sum_y = sum_yy = 0.0
    for j in range(strikes.size):
        k = strikes[j]
        if not (k > 0.0 and k < math.inf):
            continue
        while i < n and prices[i] < k:
            y = prices[i] - forward
            sum_y += y
            sum_yy += y * y
            i += 1
        x = k - forward
        value[j] = max(over * (i * x - sum_y), 0.0)
        square[j] = max(over * (i * x * x - 2.0 * x * sum_y + sum_yy), 0.0)
        by_mean[j] = -over * (sum_y + i * forward)


@helper
def _spread(prices: F64, n: int, forward: float) -> float:
    """Give the smaller of standard deviation and scaled quartile range: what Silverman's rule starts from."""
    square = 0.0
    for i in range(n):
        square += (prices[i] - forward) ** 2
    return min(math.sqrt(square / n), (prices[(3 * n) // 4] - prices[n // 4]) / 1.34)


@kernel(
    "void(float64[:, ::1], int64[::1], float64[::1], float64[::1], float64[:, ::1], float64[::1], float64[::1],"
    "float64[:, :, ::1], float64[:, ::1])",
    fast=frozenset(),
)
def _rows(
    logs: F64,
    lengths: I64,
    forward: F64,
    stretch: F64,
    strike: F64,
    low: F64,
    step: F64,
    tables: F64,
    cdf: F64,
) -> None:
    prices = np.empty(logs.shape[1])  # of one row: those of all would not stay in the cache
    mass, below = np.empty(cdf.shape[1]), np.empty(cdf.shape[1])
    unused = np.empty((2, strike.shape[1]))
    for row in range(lengths.size):
        n = lengths[row]
        good = n > 0 and forward[row] > 0.0 and forward[row] < math.inf and step[row] > 0.0 and step[row] < math.inf
        good = good and stretch[row] >= 0.0 and stretch[row] <= 1.0
        if not (good and logs[row, 0] > -300.0 and logs[row, n - 1] < 300.0 and math.isfinite(low[row])):
            continue
        if stretch[row] > 0.0:
            for side in range(2):
                factor = 1.0 + stretch[row] if side == 0 else 1.0 - stretch[row]
                _prices(logs[row], n, factor, forward[row], prices)
                _puts(prices, n, forward[row], strike[row], tables[row, 3 + side], unused[0], unused[1])
        _prices(logs[row], n, 1.0, forward[row], prices)
        _puts(prices, n, forward[row], strike[row], tables[row, 0], tables[row, 1], tables[row, 2])
        if stretch[row] == 0.0:
            for side in range(2):
                for i in range(strike.shape[1]):
                    tables[row, 3 + side, i] = tables[row, 0, i]
        width = max(0.3 * _spread(prices, n, forward[row]) * n**-0.2, 0.01 * step[row])
        _bin(prices[:n], low[row], 1.0 / step[row], mass)
        _smooth(mass, below, step[row] / width, cdf[row])


def tabulate(
    log_returns: npt.ArrayLike,
    forward: npt.ArrayLike,
    strike: npt.ArrayLike,
    grid_low: npt.ArrayLike,
    grid_step: npt.ArrayLike,
    points: int,
    lengths: npt.ArrayLike | None = None,
    stretch: npt.ArrayLike = 0.0,
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
    stretch : (n,) float64
        For `put_wider` and `put_narrower`: between 0 and 1.

    Returns
    -------
    ReturnTables

    Raises
    ------
    ValueError
        If the shapes do not fit or there are fewer than two points. Never for a bad row.
    """
    if points < 2:
        raise ValueError(f"a grid needs at least 2 points, got {points}")
    values, size = series(log_returns, lengths)
    n = size.size
    strikes = np.array(np.atleast_2d(np.asarray(strike, dtype=np.float64)), order="C")
    if strikes.ndim != 2 or strikes.shape[0] != n:
        raise ValueError(f"expected strikes of shape ({n}, m), got {strikes.shape}")
    columns = np.empty((4, n))
    for column, given in zip(columns, (forward, grid_low, grid_step, stretch), strict=True):
        column[:] = given
    fwd, low, step, by = columns
    with np.errstate(invalid="ignore", over="ignore"):
        sound = np.isfinite(values.sum(axis=1))
    doubtful = np.flatnonzero(~sound)  # what lies beyond a row's length may be anything
    inside = np.arange(values.shape[1]) < size[doubtful, None]
    sound[doubtful] = (np.isfinite(values[doubtful]) | ~inside).all(axis=1)
    size = np.where(sound, size, 0)
    logs = sorted_rows(values, size)
    tables = np.full((n, 5, strikes.shape[1]), np.nan)
    cdf = np.full((n, points), np.nan)
    _rows(logs, size, fwd, by, strikes, low, step, tables, cdf)
    value, square, by_mean, wider, narrower = np.ascontiguousarray(tables.transpose(1, 0, 2))
    return ReturnTables(value, square, wider, narrower, by_mean, cdf)
