"""Distributions of the share at expiry as the tables that a butterfly search reads: put values and distribution.

A measure is a lognormal, a sample of simulated or historical prices, or a smile (`kernels.density`, times the forward).
Whatever it is, E[max(K - S, 0)] at the strikes and P(S <= x) on a uniform grid are all that a butterfly needs.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kernels import density
from kernels._arrays import F64, I64
from kernels._jit import helper, kernel
from kernels.elementary import exp, log, norm_cdf
from kernels.smile import Svi

DEFAULT_POINTS = 2049


class Terminal(NamedTuple):
    """Tables of one measure for n expiries; NaN rows where the input was bad."""

    put_value: F64
    """(n, m): E[max(K - S, 0)], undiscounted."""
    put_square: F64
    """(n, m): E[max(K - S, 0)**2]."""
    cdf: F64
    """(n, p): P(S <= x) on the grid."""


@kernel("void(float64[:, ::1], float64[::1], float64[::1], float64[:, ::1], float64[:, ::1])", fast=frozenset())
def _lognormal_puts(strike: F64, log_mean: F64, log_sd: F64, value: F64, square: F64) -> None:
    for row in range(strike.shape[0]):
        m, s = log_mean[row], log_sd[row]
        mean = exp(m + 0.5 * s * s)
        second = mean * mean * exp(s * s)
        for j in range(strike.shape[1]):
            k = strike[row, j]
            if not (k > 0.0 and k < math.inf):
                continue
            z = (log(k) - m) / s
            p0, p1, p2 = norm_cdf(z), norm_cdf(z - s), norm_cdf(z - 2.0 * s)
            value[row, j] = k * p0 - mean * p1
            square[row, j] = k * k * p0 - 2.0 * k * mean * p1 + second * p2


@kernel(
    "void(float64[::1], float64[::1], float64[::1], float64[::1], float64[:, ::1])",
    fast=frozenset(),
)
def _lognormal_cdf(low: F64, step: F64, log_mean: F64, log_sd: F64, cdf: F64) -> None:
    for row in range(low.size):
        m, over, x0, dx = log_mean[row], 1.0 / log_sd[row], low[row], step[row]
        for g in range(cdf.shape[1]):
            x = x0 + dx * g
            positive = x > 0.0
            p = norm_cdf((log(x if positive else 1.0) - m) * over)
            cdf[row, g] = p if positive else 0.0


@helper
def _sample_puts(sample: F64, strike: F64, value: F64, square: F64) -> None:
    """Mean of max(K - S, 0) and of its square, summed directly: prefix sums would cancel in the square."""
    over = 1.0 / sample.size
    for j in range(strike.size):
        k = strike[j]
        if not (k > 0.0 and k < math.inf):
            continue
        total = total_square = 0.0
        for x in sample:
            if x >= k:
                break
            total += k - x
            total_square += (k - x) * (k - x)
        value[j] = total * over
        square[j] = total_square * over


@helper
def _bin(sample: F64, low: float, per_step: float, mass: F64) -> None:
    """Share each observation between the two grid points around it; what lies outside goes to the end points."""
    for g in range(mass.size):
        mass[g] = 0.0
    weight = 1.0 / sample.size
    for x in sample:
        p = (x - low) * per_step
        p = min(p, mass.size - 1.000001) if p > 0.0 else 0.0  # 0 where it is NaN: of an index nothing is checked here
        cell = int(p)
        share = p - cell
        mass[cell] += weight * (1.0 - share)
        mass[cell + 1] += weight * share


@helper
def _smooth(mass: F64, below: F64, ratio: float, cdf: F64) -> None:
    """Sum of mass times Phi(distance / width); beyond 6 widths a mass counts whole or not at all."""
    points = mass.size
    reach = int(6.0 / ratio) + 1 if 6.0 / ratio < points else points
    total = 0.0
    for g in range(points):
        total += mass[g]
        below[g] = total
    for g in range(points):
        cdf[g] = below[g - reach - 1] if g - reach - 1 >= 0 else 0.0
    for offset in range(-reach, reach + 1):
        share = norm_cdf(offset * ratio)
        # Views from 0 on: of an index like g - offset LLVM cannot tell that it is not negative, and vectorises nothing.
        target, source = cdf[max(offset, 0) :], mass[max(-offset, 0) :]
        for g in range(points - abs(offset)):
            target[g] += share * source[g]
    for g in range(points):
        cdf[g] = min(cdf[g], 1.0)


@kernel(
    "void(float64[:, ::1], int64[::1], float64[:, ::1], float64[::1], float64[::1], float64[::1],"
    "float64[:, ::1], float64[:, ::1], float64[:, ::1])",
    fast=frozenset(),
)
def _sample_tables(
    samples: F64, rows: I64, strike: F64, low: F64, step: F64, width: F64, value: F64, square: F64, cdf: F64
) -> None:
    """Tables of sorted samples: exact means for the puts, a Gaussian-smoothed distribution on the grid."""
    points = cdf.shape[1]
    mass, below = np.empty(points), np.empty(points)
    for row in rows:
        _sample_puts(samples[row], strike[row], value[row], square[row])
        _bin(samples[row], low[row], 1.0 / step[row], mass)
        _smooth(mass, below, step[row] / width[row], cdf[row])


def _rows(points: int, strike: npt.ArrayLike, *columns: npt.ArrayLike) -> tuple[F64, list[F64]]:
    strikes = np.array(np.atleast_2d(np.asarray(strike, dtype=np.float64)), order="C")
    if strikes.ndim != 2:
        raise ValueError(f"expected strikes of shape (n, m), got {strikes.shape}")
    if points < 2:
        raise ValueError(f"a grid needs at least 2 points, got {points}")
    n = strikes.shape[0]
    return strikes, [np.array(np.broadcast_to(np.asarray(c, dtype=np.float64), (n,))) for c in columns]


def lognormal(
    strike: npt.ArrayLike,
    grid_low: npt.ArrayLike,
    grid_step: npt.ArrayLike,
    log_mean: npt.ArrayLike,
    log_sd: npt.ArrayLike,
    points: int = DEFAULT_POINTS,
) -> Terminal:
    """Tabulate lognormal prices: ln S normal with mean `log_mean` and standard deviation `log_sd`, each (n,).

    Parameters
    ----------
    strike : (n, m) float64
        Strikes; NaN (padding) gives NaN.
    grid_low, grid_step : (n,) float64
        First point and distance of the grid of the distribution function.
    log_mean, log_sd : (n,) float64
        Of ln S; `log_sd` above 0, else the row is NaN.
    points : int
        Size of the grid, at least 2.

    Raises
    ------
    ValueError
        If the shapes do not fit or there are fewer than two points. Never for a bad row.

    Examples
    --------
    >>> table = lognormal([[95.0, 100.0, 105.0]], 50.0, 0.05, np.log(100.0) - 0.00245, 0.07)
    >>> float(np.diff(table.put_value[0], 2)[0].round(12))
    1.367216983893
    """
    strikes, (low, step, mean, sd) = _rows(points, strike, grid_low, grid_step, log_mean, log_sd)
    value, square = np.full(strikes.shape, np.nan), np.full(strikes.shape, np.nan)
    cdf = np.empty((strikes.shape[0], points))
    good = np.isfinite(mean) & (sd > 0.0) & (sd < np.inf) & np.isfinite(low) & (step > 0.0) & (step < np.inf)
    mean[~good], sd[~good], low[~good], step[~good] = 0.0, 1.0, 0.0, 1.0
    _lognormal_puts(strikes, mean, sd, value, square)
    _lognormal_cdf(low, step, mean, sd, cdf)
    value[~good] = square[~good] = cdf[~good] = np.nan
    return Terminal(value, square, cdf)


def sample(
    strike: npt.ArrayLike,
    grid_low: npt.ArrayLike,
    grid_step: npt.ArrayLike,
    prices: npt.ArrayLike,
    points: int = DEFAULT_POINTS,
) -> Terminal:
    """Tabulate samples of the price at expiry: (n, paths) float64, in any order.

    Put values are the sample's own means. The distribution function is smoothed by a Gaussian kernel a third as wide
    as Silverman's rule says (Silverman 1986, eq. 3.31), which is for densities and too wide for a distribution. Rows
    with a price that is NaN, infinite or not positive are NaN. Other arguments and errors as for `lognormal`.
    """
    strikes, (low, step) = _rows(points, strike, grid_low, grid_step)
    n = strikes.shape[0]
    draws = np.atleast_2d(np.asarray(prices, dtype=np.float64))
    if draws.ndim != 2 or draws.shape[0] != n or draws.shape[1] < 1:
        raise ValueError(f"expected prices of shape ({n}, paths), got {draws.shape}")
    draws = np.sort(draws, axis=1)
    value, square = np.full(strikes.shape, np.nan), np.full(strikes.shape, np.nan)
    cdf = np.full((n, points), np.nan)
    good = (draws[:, 0] > 0.0) & (draws[:, -1] < np.inf) & np.isfinite(low) & (step > 0.0) & (step < np.inf)
    chosen = np.flatnonzero(good)
    width = np.ones(n)
    if chosen.size:
        paths = draws.shape[1]
        quarter, three = draws[chosen, paths // 4], draws[chosen, (3 * paths) // 4]
        with np.errstate(over="ignore"):  # of prices whose squares overflow: the other is the smaller then
            spread = np.minimum(draws[chosen].std(axis=1), (three - quarter) / 1.34)
        # without any spread the smoothing is over a hundredth of a cell: none
        width[chosen] = np.maximum(0.3 * spread * paths**-0.2, 0.01 * step[chosen])
    _sample_tables(draws, chosen, strikes, low, step, width, value, square, cdf)
    return Terminal(value, square, cdf)


def smile(
    strike: npt.ArrayLike,
    grid_low: npt.ArrayLike,
    grid_step: npt.ArrayLike,
    svi: Svi,
    forward: npt.ArrayLike,
    points: int = DEFAULT_POINTS,
) -> Terminal:
    """Tabulate what the market says: slices `svi` of forwards (n,). Other arguments and errors as for `lognormal`.

    Put values and distribution are closed forms; the square is the integral of 2 E[max(x - S, 0)] from 0 to K, by
    Gauss-Legendre rules of 16 points between the strikes and on panels that double in length below the first.
    """
    strikes, (low, step, fwd) = _rows(points, strike, grid_low, grid_step, forward)
    good = (fwd > 0.0) & (fwd < np.inf) & np.isfinite(low) & (step > 0.0) & (step < np.inf)
    scale = np.where(good, fwd, np.nan)[:, None]
    known = (strikes > 0.0) & (strikes < np.inf)
    k = np.log(np.where(known, strikes, np.nan) / scale)
    grid = low[:, None] + step[:, None] * np.arange(points)
    inside = grid > 0.0
    cdf = np.clip(density.cdf(svi, np.log(np.where(inside, grid, 1.0) / scale)), 0.0, 1.0)
    cdf = np.where(inside | np.isnan(cdf), cdf, 0.0)
    return Terminal(scale * density.put_value(svi, k), scale**2 * _put_square(svi, k), cdf)


_PANELS = 0.05 * (2.0 ** np.arange(9) - 1.0)[::-1]  # log distances below the lowest strike: 12.75 to 0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


def _put_square(svi: Svi, k: F64) -> F64:
    """E[max(K - S, 0)**2]/F**2 at log-moneynesses (n, m), increasing but for NaN."""
    n, m = k.shape
    if not k.size:
        return np.empty((n, m))
    lowest = np.where(np.isnan(k).all(axis=1), 0.0, np.fmin.reduce(k, axis=1, initial=np.inf))
    ends = np.fmax.accumulate(np.concatenate([lowest[:, None] - _PANELS, k], axis=1), axis=1)
    half = 0.5 * np.diff(ends, axis=1)[..., None]
    u = (0.5 * (ends[:, 1:] + ends[:, :-1]))[..., None] + half * _NODES
    put = density.put_value(svi, u.reshape(n, -1)).reshape(u.shape)
    total = np.cumsum((2.0 * put * np.exp(u) * half * _WEIGHTS).sum(axis=2), axis=1)[:, len(_PANELS) - 1 :]
    return np.where(np.isnan(k), np.nan, total)
