"""What five parameters miss: a smoothing spline on top of an SVI slice, as smooth as the quotes allow.

An SVI slice misses quotes of liquid funds by a tenth of a volatility point, many times their spread. The spline is
fitted to the rest, in standard deviations of the share, weighted by the width of each bid-ask interval. Two rules keep
it honest: it is no rougher than needed for the smile to pass through most of the intervals, nor than a fixed floor;
and the smile that results has a density that is nowhere negative, or there is no spline.

Rule of the file: one row is one slice and is worked alone, in scalar code.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from kernels._arrays import F64
from kernels._count import COUNT
from kernels._jit import helper, kernel
from kernels.smile import Svi, raw_parameters, smile_rows
from kernels.spline import WORK, at, smooth
from kernels.svi import slope_at, variance_at

STIFFNESS: Final = (10.0, 1.0, 0.1, 0.03, 0.01)
"""Tried in this order, smoothest first. On recorded chains 0.01 is the last without false modes by the dozen."""
ENOUGH: Final = 0.95
"""Share of the intervals that need to be met."""
ROUNDS: Final = 6
"""Reweightings for absolute instead of squared misses: quotes that are seconds old must not bend the curve."""
LEAST: Final = 6
PIN_REACH: Final = 4.0
"""Standard deviations outside of the quotes at which the spline is back at 0; nearer, the way back bends too much."""
PINS: Final = 3
"""Knots on each side, a standard deviation apart, where it is held there."""
_PIN_WEIGHT: Final = 1e4
_CHECKS: Final = 5  # points of each interval at which the density is looked at


@helper
def _least_g(a: float, b: float, rho: float, m: float, s: float, knot: F64, value: F64, curve: F64, n: int) -> float:
    """Least of Durrleman's g over the knots' range, -inf where the total variance is not positive."""
    least = math.inf
    for i in range(n - 1):
        for part in range(_CHECKS):
            k = knot[i] + (knot[i + 1] - knot[i]) * part / _CHECKS
            extra, first, second = at(knot, value, curve, n, k)
            w = variance_at(a, b, rho, m, s, k) + extra
            if not w > 0.0:
                return -math.inf
            first += slope_at(b, rho, m, s, k)
            root = math.sqrt((k - m) * (k - m) + s * s)
            second += b * s * s / (root * root * root)
            left = 1.0 - 0.5 * k * first / w
            g = left * left - 0.25 * first * first * (1.0 / w + 0.25) + 0.5 * second
            least = min(least, g)
    return least


@helper
def _median(values: F64, n: int) -> float:
    return float(np.median(values[:n]))


@helper
def _share(value: F64, low: F64, high: F64, n: int) -> float:
    """Share of the quotes whose interval holds the curve; knots PINS to PINS + n are the quotes'."""
    inside = 0
    for i in range(n):
        f = value[PINS + i]
        if low[i] <= f <= high[i]:
            inside += 1
    return inside / n


@helper
def _refine_one(
    raw: F64, unit: float, k: F64, w: F64, low: F64, high: F64, n: int, ladder: F64, work: F64, knot: F64, value: F64,
    curve: F64,
) -> tuple[float, float]:  # fmt: skip
    """Fit one row's spline into knot, value, curve; the share of intervals met and the least g, or -1 without."""
    a, b, rho, m, s = raw[0], raw[1], raw[2], raw[3], raw[4]
    x, y, weight, half, full = work[WORK], work[WORK + 1], work[WORK + 2], work[WORK + 3], work[WORK + 4]
    floor, roof = work[WORK + 8], work[WORK + 9]
    p = n + 2 * PINS
    for i in range(n):
        base = variance_at(a, b, rho, m, s, k[i])
        x[PINS + i] = k[i] / unit
        y[PINS + i] = w[i] - base
        floor[i], roof[i] = low[i] - base, high[i] - base
        half[i] = max(0.5 * (high[i] - low[i]), 1e-12)
    middle = _median(half, n)
    for j in range(PINS):
        x[j] = x[PINS] - PIN_REACH - (PINS - 1 - j)
        x[PINS + n + j] = x[PINS + n - 1] + PIN_REACH + j
        y[j] = y[PINS + n + j] = 0.0
        weight[j] = weight[PINS + n + j] = _PIN_WEIGHT
    for i in range(n):
        full[i] = (middle / half[i]) ** 2
    best, best_g = -1.0, 0.0
    for stiffness in ladder:
        for i in range(n):
            weight[PINS + i] = full[i]
        for _ in range(ROUNDS):
            smooth(x, y, weight, p, stiffness, work, work[WORK + 5], work[WORK + 6])
            for i in range(n):
                miss = abs(work[WORK + 5, PINS + i] - y[PINS + i]) / half[i]
                weight[PINS + i] = full[i] / max(miss, 1.0)
        found = _share(work[WORK + 5], floor, roof, n)
        if found <= best:
            continue
        for i in range(p):
            work[WORK + 7, i] = x[i] * unit
            work[WORK + 6, i] /= unit * unit
        g = _least_g(a, b, rho, m, s, work[WORK + 7], work[WORK + 5], work[WORK + 6], p)
        if not g >= 0.0:
            continue
        best, best_g = found, g
        for i in range(p):
            knot[i], value[i], curve[i] = work[WORK + 7, i], work[WORK + 5, i], work[WORK + 6, i]
        if best >= ENOUGH:
            break
    return best, best_g


@kernel(
    "void(float64[:, ::1], float64[:, ::1], float64[:, ::1], float64[:, ::1], float64[:, ::1], float64[::1],"
    "float64[:, ::1], float64[:, ::1], float64[:, ::1], float64[::1])"
)
def _refine(
    raw: F64,
    k_all: F64,
    w_all: F64,
    low_all: F64,
    high_all: F64,
    ladder: F64,
    knot: F64,
    value: F64,
    curve: F64,
    least: F64,
) -> None:
    size = k_all.shape[1]
    k, w, low, high = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    work = np.empty((WORK + 10, size + 2 * PINS))
    for row in range(raw.shape[0]):
        least[row] = math.nan
        n, met = COUNT, 0
        last = -math.inf
        ordered = True
        for j in range(size):
            usable = not (math.isnan(k_all[row, j]) or math.isnan(w_all[row, j]) or math.isnan(high_all[row, j]))
            if not usable:
                continue
            ordered &= k_all[row, j] > last
            last = k_all[row, j]
            k[n], w[n] = last, w_all[row, j]
            low[n] = low_all[row, j] if low_all[row, j] > 0.0 else 0.0
            high[n] = high_all[row, j]
            fitted = variance_at(raw[row, 0], raw[row, 1], raw[row, 2], raw[row, 3], raw[row, 4], last)
            met += low[n] <= fitted <= high[n]
            n += 1
        centre = variance_at(raw[row, 0], raw[row, 1], raw[row, 2], raw[row, 3], raw[row, 4], 0.0)
        if n < LEAST or not ordered or not centre > 0.0 or met >= ENOUGH * n:
            continue
        found, g = _refine_one(
            raw[row], math.sqrt(centre), k, w, low, high, n, ladder, work, knot[row], value[row], curve[row]
        )
        if found * n > met:
            least[row] = g
        else:
            for j in range(knot.shape[1]):
                knot[row, j] = value[row, j] = curve[row, j] = math.nan


def refine(
    svi: Svi,
    log_moneyness: npt.ArrayLike,
    total_variance: npt.ArrayLike,
    low: npt.ArrayLike,
    high: npt.ArrayLike,
    stiffness: tuple[float, ...] = STIFFNESS,
) -> Svi:
    """Add to each slice the smoothest spline with which it passes through the quotes' intervals.

    Parameters
    ----------
    svi : Svi
        n slices without splines, as `smile.fit` gives them.
    log_moneyness, total_variance : (n, m) float64
        Of the quotes' middles, log-moneyness ascending in each row; NaN is left out.
    low, high : (n, m) float64
        Total variance of bid and ask; a NaN or negative `low` bounds nothing from below.
    stiffness : tuple of float
        What is tried, stiffest first.

    Returns
    -------
    Svi
        The same slices with `knot`, `value` and `curve`; rows full of NaN where SVI alone passes through 95 % of the
        intervals, where no spline passes through more, or where each has a negative density. `min_g` is the least g
        of the whole smile.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Notes
    -----
    The penalty is the integral of the squared second derivative over log-moneyness in standard deviations; misses
    count absolutely beyond half a spread (iteratively reweighted). The stiffness falls until 95 % of the intervals
    are met, or to its floor; a stiffness at which g is negative somewhere is passed over. Four standard deviations
    outside of the quotes the smile is the parametric slice again. For smoothing of prices instead see [1]_.

    References
    ----------
    .. [1] M. Fengler, Arbitrage-free smoothing of the implied volatility surface, Quantitative Finance 9 (2009).
    """
    k, w, below, above = smile_rows(log_moneyness, total_variance, low, high)
    raw = raw_parameters(svi)
    if raw.shape[0] != k.shape[0]:
        raise ValueError(f"{raw.shape[0]} slices and {k.shape[0]} rows of quotes")
    knot, value, curve = (np.full((k.shape[0], k.shape[1] + 2 * PINS), np.nan) for _ in range(3))
    least = np.empty(k.shape[0])
    _refine(raw, k, w, below, above, np.array(stiffness), knot, value, curve, least)
    a, b, rho, m, s = np.ascontiguousarray(raw.T)
    return svi._replace(
        a=a, b=b, rho=rho, m=m, s=s, knot=knot, value=value, curve=curve, min_g=np.fmin(svi.min_g, least)
    )
