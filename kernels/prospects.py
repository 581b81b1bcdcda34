"""What many positions can come to, each under a forecast and under history: one pass over a whole batch.

`kernels.outcomes` answers one question of one sample; here each sample is brought to prices once, with its volatility
moved by its errors, and every position on it asks everything. Positions name their sample by its row; samples are
ascending log returns. Each position and sample is computed as if it were alone.
"""

from typing import Final, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from kernels._arrays import F64, I64
from kernels._jit import helper, kernel
from kernels.elementary import log
from kernels.outcomes import cdf_at, fill_levels, profit_at, put_at
from kernels.simulate import draw, stream

_FORECAST: Final = 13
_HISTORY: Final = 4


class Positions(NamedTuple):
    """Butterflies, each array (p,): what they pay and cost, and where they profit."""

    lower: F64
    center: F64
    upper: F64
    constant: F64
    """Payoff minus the put-type payoff of the same strikes."""
    discount: F64
    debit: F64
    max_loss: F64
    profit_low: F64
    """Price above which there is a profit, 0 where there is one all the way down; NaN where there never is one."""
    profit_high: F64
    """Price up to which there is a profit, infinite where there is one all the way up."""


T = TypeVar("T")  # arrays of a batch, or the numbers of one position


class Forecast(NamedTuple, Generic[T]):
    """Each (p,): a position under the forecast, and under the forecast moved by its errors."""

    ev: T
    ev_narrower: T
    """With the volatility one standard error lower."""
    ev_wider: T
    ev_lower: T
    """With the mean one standard error of drift lower."""
    ev_higher: T
    sd: T
    tail: T
    """Mean of the worst twentieth."""
    at_worst: T
    """Share of outcomes within 2 % of the maximum loss."""
    losing_half: T
    pop: T
    """Probability of a profit."""
    pop_narrowest: T
    """With the volatility `reach` standard errors lower."""
    pop_widest: T
    pin: T
    """Probability of ending within a share of the centre."""


class History(NamedTuple, Generic[T]):
    """Each (p,): a position under past returns; NaN where there are none."""

    ev: T
    pop: T
    pop_low: T
    """2.5 % quantile of the resampled probability."""
    pop_high: T


@helper
def _put_type(prices: F64, sums: F64, at: F64, factor: float) -> float:
    """E of the put-type payoff as all prices grow by a factor."""
    low = put_at(prices, sums, at[0] / factor)
    return factor * (low - 2.0 * put_at(prices, sums, at[1] / factor) + put_at(prices, sums, at[2] / factor))


@helper
def _chance(prices: F64, low: float, high: float) -> float:
    """P(low < S <= high): nothing lies below 0 or above infinity; 0 where `low` is NaN."""
    if not low >= 0.0:
        return 0.0
    below = cdf_at(prices, low) if low > 0.0 else 0.0
    above = cdf_at(prices, high) if high < np.inf else 1.0
    return min(max(above - below, 0.0), 1.0)


@kernel(
    "void(float64[:, ::1], float64[::1], float64[::1], float64[::1], float64, float64, int64[::1], float64[:, ::1],"
    "float64[:, ::1])",
    fast=frozenset(),
)
def _forecast(
    logs: F64, mean: F64, error: F64, drift: F64, reach: float, pin: float, first: I64, positions: F64, out: F64
) -> None:
    n = logs.shape[1]
    prices, sums = np.empty(n), np.empty(n + 1)
    for row in range(mean.size):
        begin, end = first[row], first[row + 1]
        if begin == end:
            continue
        sample = logs[row]
        total = square = 0.0
        for x in sample:
            total += x
        average = total / n
        for x in sample:
            square += (x - average) * (x - average)
        growth = np.exp(drift[row] * np.sqrt(square / n))
        for move in range(5):
            by = 0.0 if move == 4 else (1.0 if move < 2 else reach) * error[row]
            fill_levels(sample, max(1.0 - by, 0.0) if move % 2 == 0 else 1.0 + by, mean[row], prices, sums)
            for p in range(begin, end):
                at = positions[p]
                constant, d, debit = at[3], at[4], at[5]
                if move < 2:
                    out[p, 1 + move] = d * (_put_type(prices, sums, at, 1.0) + constant) - debit
                elif move < 4:
                    out[p, 8 + move] = _chance(prices, at[7], at[8])
                else:
                    out[p, 0] = d * (_put_type(prices, sums, at, 1.0) + constant) - debit
                    out[p, 3] = d * (_put_type(prices, sums, at, 1.0 / growth) + constant) - debit
                    out[p, 4] = d * (_put_type(prices, sums, at, growth) + constant) - debit
                    out[p, 5], out[p, 6], out[p, 7], out[p, 8] = profit_at(
                        prices, at[0], at[1], at[2], constant, d, debit, at[6]
                    )
                    out[p, 9] = _chance(prices, at[7], at[8])
                    out[p, 12] = _chance(prices, at[1] * (1.0 - pin), at[1] * (1.0 + pin))


@helper
def _quantile(counts: I64, draws: int, level: float, over: float) -> float:
    """Find a quantile with linear interpolation of numbers that are counted: `counts[v]` of them are `v * over`."""
    place = level * (draws - 1)
    rank = min(int(place), draws - 2)
    seen = v = 0
    while seen + counts[v] <= rank:
        seen += counts[v]
        v += 1
    low = v
    while seen + counts[v] <= rank + 1:
        seen += counts[v]
        v += 1
    return over * low + (place - rank) * (over * v - over * low)


@kernel(
    "void(float64[:, ::1], float64[:, ::1], int64[::1], float64[::1], int64[::1], uint64[::1], int64, int64[::1],"
    "float64[:, ::1], float64[:, ::1])",
    fast=frozenset(),
)
def _history(
    paths: F64,
    logs: F64,
    lengths: I64,
    mean: F64,
    block: I64,
    seed: npt.NDArray[np.uint64],
    draws: int,
    first: I64,
    positions: F64,
    out: F64,
) -> None:
    width = logs.shape[1]
    all_prices, all_sums = np.empty(width), np.empty(width + 1)
    inside = np.empty(width + 1, np.int64)
    counts = np.empty(width + 1, np.int64)
    held = np.empty(width, np.int64)  # by the block that begins there
    starts = np.empty((draws, width), np.int32)
    for row in range(mean.size):
        n = lengths[row]
        if n < 2 or first[row] == first[row + 1]:
            continue
        prices, sums = all_prices[:n], all_sums[: n + 1]
        fill_levels(logs[row, :n], 1.0, mean[row], prices, sums)
        shift = log(prices[0]) - logs[row, 0]
        size = max(1, min(block[row], n))
        blocks, many = np.uint64(n - size + 1), max(n // size, 1)
        key = stream(seed[row])
        for j in range(draws):  # of `kernels.bootstrap`: the same draws for all positions
            for k in range(many):
                bits = draw(key, np.uint64(j), np.uint64(k)) >> np.uint64(32)
                starts[j, k] = np.int64((bits * blocks) >> np.uint64(32))
        for p in range(first[row], first[row + 1]):
            at = positions[p]
            out[p, 0] = at[4] * (_put_type(prices, sums, at, 1.0) + at[3]) - at[5]
            out[p, 1] = _chance(prices, at[7], at[8])
            if not at[7] >= 0.0:
                out[p, 2] = out[p, 3] = 0.0
                continue
            low = log(at[7]) - shift if at[7] > 0.0 else -np.inf
            high = log(at[8]) - shift if at[8] < np.inf else np.inf
            inside[0] = 0
            for i in range(n):
                inside[i + 1] = inside[i] + (paths[row, i] > low and paths[row, i] <= high)
            counts[: many * size + 1] = 0
            for i in range(n - size + 1):
                held[i] = inside[i + size] - inside[i]
            for j in range(draws):
                total = 0
                for k in range(many):
                    total += held[starts[j, k]]
                counts[total] += 1
            over = 1.0 / (many * size)
            out[p, 2] = _quantile(counts, draws, 0.025, over)
            out[p, 3] = _quantile(counts, draws, 0.975, over)


def _by_sample(sample: I64, samples: int, positions: Positions) -> tuple[I64, I64, F64]:
    """Bring positions into the order of their samples: the order, where each sample's begin, their columns."""
    order = np.argsort(sample, kind="stable")
    first = np.searchsorted(sample[order], np.arange(samples + 1)).astype(np.int64)
    return order, first, np.ascontiguousarray(np.stack(positions, axis=1)[order])


def _as_given(part: F64, order: I64) -> F64:
    """Turn rows in the order of their samples into columns in the order of the positions."""
    out = np.empty((part.shape[1], order.size))
    out[:, order] = part.T
    return out


def under_forecast(
    logs: F64,
    mean: F64,
    error: F64,
    drift: F64,
    sample: I64,
    positions: Positions,
    *,
    reach: float,
    pin: float,
) -> Forecast[F64]:
    """Describe positions under samples of a forecast.

    Parameters
    ----------
    logs : (s, t) float64
        Samples of log returns, each ascending, finite; t at least 2.
    mean : (s,) float64
        Mean price of each sample.
    error : (s,) float64
        Relative standard error of its volatility.
    drift : (s,) float64
        Standard error of its mean, in standard deviations of the log return.
    sample : (p,) int64
        The sample of each position.
    positions : Positions
    reach : float
        Standard errors of `pop_narrowest` and `pop_widest`.
    pin : float
        Share of the centre's price.

    Returns
    -------
    Forecast
    """
    order, first, columns = _by_sample(sample, mean.size, positions)
    part = np.full((order.size, _FORECAST), np.nan)
    _forecast(np.ascontiguousarray(logs), mean, error, drift, reach, pin, first, columns, part)
    return Forecast(*_as_given(part, order))


def under_history(
    paths: F64,
    logs: F64,
    lengths: I64,
    mean: F64,
    block: I64,
    seed: npt.NDArray[np.uint64],
    draws: int,
    sample: I64,
    positions: Positions,
) -> History[F64]:
    """Describe positions under past returns, with the moving-block bootstrap of their probability of profit.

    Parameters
    ----------
    paths, logs : (s, t) float64
        Log returns in the order of time, and ascending.
    lengths : (s,) int64
        Of the rows; below 2: no history.
    mean : (s,) float64
        Mean price of each sample.
    block : (s,) int64
        Length of the blocks (Künsch 1989): that of the overlap.
    seed : (s,) uint64
    draws : int
        At least 2.
    sample, positions
        As for `under_forecast`.

    Returns
    -------
    History
    """
    order, first, columns = _by_sample(sample, mean.size, positions)
    part = np.full((order.size, _HISTORY), np.nan)
    _history(
        np.ascontiguousarray(paths), np.ascontiguousarray(logs), lengths, mean, block, seed, draws, first, columns, part
    )
    return History(*_as_given(part, order))
