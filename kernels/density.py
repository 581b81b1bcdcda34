"""What a smile says of the share at expiry: density, distribution and put value of x = ln(S/F), in closed form.

Breeden & Litzenberger (1978) with the smile's own derivatives: nothing is differenced. `svi` is a slice of
`kernels.smile`; a flat slice (`smile.flat`) is the lognormal distribution with mean F. Undiscounted, per unit of
forward: multiply put values by `F`, and by the discount factor for a price.

Rule of the file: no contraction anywhere, so a number's bits do not depend on its place in a vector.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kernels._arrays import F64
from kernels._blocks import LANES, load, store
from kernels._jit import helper, kernel
from kernels.elementary import exp, norm_cdf, norm_pdf
from kernels.smile import Svi, all_curves, raw_parameters, slice_rows, spline_rows, splined
from kernels.svi import g_at, slope_at, variance_at

_BLOCKS = 20  # 1280 nodes
# Beyond 8.6 standard deviations the normal density is below 4e-17 of its peak.
_REACH = 8.6


class Moments(NamedTuple):
    """Integrals of a slice's density, each (n,): the first two are 1 where there is no arbitrage."""

    integral: F64
    """The whole probability."""
    mean: F64
    """E[S/F]."""
    log_mean: F64
    """E[ln(S/F)]: minus half the model-free total variance."""


@kernel("void(float64[:, ::1], float64[:, ::1], float64[:, :, ::1])", fast=frozenset())
def _evaluate(raw: F64, k: F64, out: F64) -> None:
    """Density, distribution and put value at every point."""
    scratch = np.zeros(4 * LANES)
    for row in range(k.shape[0]):
        a, b, rho, m, s = raw[row, 0], raw[row, 1], raw[row, 2], raw[row, 3], raw[row, 4]
        for start in range(0, k.shape[1], LANES):
            count = min(LANES, k.shape[1] - start)
            load(scratch, 0, k[row], start, count)
            for i in range(LANES):
                x = scratch[i]
                w = variance_at(a, b, rho, m, s, x)
                root = math.sqrt(w)
                d1 = -x / root + 0.5 * root
                d2 = d1 - root
                bell = norm_pdf(d2)
                bad = (not (w > 0.0)) | (not (abs(x) < math.inf))
                below = norm_cdf(-d2)
                scratch[LANES + i] = math.nan if bad else g_at(a, b, rho, m, s, x) * bell / root
                scratch[2 * LANES + i] = math.nan if bad else below + bell * slope_at(b, rho, m, s, x) * 0.5 / root
                scratch[3 * LANES + i] = math.nan if bad else exp(x) * below - norm_cdf(-d1)
            for column in range(3):
                store(out[column, row], start, count, scratch, 1 + column)


@helper
def _reach(raw: F64, sign: float) -> float:
    """Find how far |k| must go on one side before d2 (and d1, for the mean) are past 8.6 standard deviations."""
    k = 1e-3
    for _ in range(60):
        root = math.sqrt(variance_at(raw[0], raw[1], raw[2], raw[3], raw[4], sign * k))
        if not k / root - 0.5 * root < _REACH:
            break
        k *= 1.5
    return k


@kernel("void(float64[:, ::1], float64[:, ::1])", fast=frozenset())
def _ends(raw: F64, ends: F64) -> None:
    """Find the nodes of each slice's integrals: first and last u, and the scale of k = m + scale sinh(u)."""
    for row in range(raw.shape[0]):
        w0 = variance_at(raw[row, 0], raw[row, 1], raw[row, 2], raw[row, 3], raw[row, 4], 0.0)
        m, scale = raw[row, 3], min(raw[row, 4], 2.0 * math.sqrt(w0))
        ends[row, 0] = math.asinh((-_reach(raw[row], -1.0) - m) / scale)
        ends[row, 1] = math.asinh((_reach(raw[row], 1.0) - m) / scale)
        ends[row, 2] = scale


@kernel("void(float64[:, ::1], float64[:, ::1], float64[::1])", fast=frozenset())
def _variance(raw: F64, ends: F64, out: F64) -> None:
    """Do the last column of `_integrate`, on half as many nodes: the rule has no order, and none is missed."""
    scratch = np.empty(2 * LANES)
    for i in range(LANES):
        scratch[i] = i
    for row in range(raw.shape[0]):
        a, b, rho, m, s = raw[row, 0], raw[row, 1], raw[row, 2], raw[row, 3], raw[row, 4]
        low, half = ends[row, 0], 0.5 * ends[row, 2]
        step = (ends[row, 1] - low) / (LANES * (_BLOCKS // 2) - 1)
        for i in range(LANES):
            scratch[LANES + i] = 0.0
        for block in range(_BLOCKS // 2):
            begin = low + step * (LANES * block)
            for i in range(LANES):
                e = exp(begin + step * scratch[i])
                over = 1.0 / e
                k = m + half * (e - over)
                w = variance_at(a, b, rho, m, s, k)
                root = math.sqrt(w)
                inverse = 1.0 / root
                bell = norm_pdf(-k * inverse - 0.5 * root)
                slope = slope_at(b, rho, m, s, k)
                scratch[LANES + i] += (
                    half * (e + over) * bell * (root - 0.5 * k * slope * inverse + 0.25 * slope * root)
                )
        total = 0.0
        for i in range(LANES):
            total += scratch[LANES + i]
        out[row] = total * step


@kernel("void(float64[:, ::1], float64[:, ::1], float64[:, ::1])", fast=frozenset())
def _integrate(raw: F64, ends: F64, out: F64) -> None:
    """Trapezium rule in u, k = m + scale sinh(u): for these integrands, which vanish at both ends, it has no order.

    With scale at most s the nodes are dense at the slice's bend, however sharp (centred at k = 0 the rule lost half the
    probability of slices with s below 0.002), and the integrand is analytic in a strip of width pi/2 around the axis.

    Columns of out: the density's integral, E[e**k], E[k], and the variance of the log contract as Fukasawa's integral
    of w over the normal density of d2, which never meets the cancellation of option prices.
    """
    scratch = np.empty(5 * LANES)
    for i in range(LANES):
        scratch[i] = i
    for row in range(raw.shape[0]):
        a, b, rho, m, s = raw[row, 0], raw[row, 1], raw[row, 2], raw[row, 3], raw[row, 4]
        low, half = ends[row, 0], 0.5 * ends[row, 2]
        step = (ends[row, 1] - low) / (LANES * _BLOCKS - 1)
        for i in range(4 * LANES):
            scratch[LANES + i] = 0.0
        for block in range(_BLOCKS):
            begin = low + step * (LANES * block)
            for i in range(LANES):
                e = exp(begin + step * scratch[i])
                over = 1.0 / e
                k = m + half * (e - over)
                w = variance_at(a, b, rho, m, s, k)
                root = math.sqrt(w)
                inverse = 1.0 / root
                d2 = -k * inverse - 0.5 * root
                weight = half * (e + over) * inverse
                slope = slope_at(b, rho, m, s, k)
                factor = g_at(a, b, rho, m, s, k) * weight
                bell = norm_pdf(d2)
                scratch[LANES + i] += factor * bell
                scratch[2 * LANES + i] += factor * norm_pdf(d2 + root)
                scratch[3 * LANES + i] += k * factor * bell
                scratch[4 * LANES + i] += w * weight * bell * (1.0 - 0.5 * k * slope / w + 0.25 * slope)
        for column in range(4):
            total = 0.0
            for i in range(LANES):
                total += scratch[(1 + column) * LANES + i]
            out[row, column] = total * step


@kernel("void(float64[:, ::1], float64[:, :, ::1], float64[:, :, ::1])", fast=frozenset())
def _evaluate_curves(k: F64, curves: F64, out: F64) -> None:
    """Density, distribution and put value at points whose variance, slope and g are given in curves 0, 1 and 3."""
    for row in range(k.shape[0]):
        for j in range(k.shape[1]):
            x, w = k[row, j], curves[0, row, j]
            if not (w > 0.0 and abs(x) < math.inf):
                out[0, row, j] = out[1, row, j] = out[2, row, j] = math.nan
                continue
            root = math.sqrt(w)
            d1 = -x / root + 0.5 * root
            d2 = d1 - root
            bell = norm_pdf(d2)
            below = norm_cdf(-d2)
            out[0, row, j] = curves[3, row, j] * bell / root
            out[1, row, j] = below + bell * curves[1, row, j] * 0.5 / root
            out[2, row, j] = exp(x) * below - norm_cdf(-d1)


def _values(svi: Svi, log_moneyness: npt.ArrayLike) -> F64:
    raw, points = slice_rows(svi, log_moneyness)
    out = np.empty((3, *points.shape))
    _evaluate(raw, points, out)
    rows = splined(svi, points.shape[0])
    if rows.size:
        part = np.empty((3, rows.size, points.shape[1]))
        curves = np.ascontiguousarray(all_curves(svi, points)[:, rows])
        _evaluate_curves(np.ascontiguousarray(points[rows]), curves, part)
        out[:, rows] = part
    return _expired(raw, points, out)


def _expired(raw: F64, points: F64, out: F64) -> F64:
    """Where total variance is 0 the share is at its forward: a step, and no density."""
    point_mass = ((raw[:, 0] == 0.0) & (raw[:, 1] == 0.0))[:, None] & np.isfinite(points)
    if point_mass.any():
        out[0] = np.where(point_mass, np.where(points == 0.0, np.nan, 0.0), out[0])
        out[1] = np.where(point_mass, points >= 0.0, out[1])
        out[2] = np.where(point_mass, np.maximum(np.expm1(np.where(point_mass, points, 0.0)), 0.0), out[2])
    return out


def density(svi: Svi, log_moneyness: npt.ArrayLike) -> F64:
    """Evaluate the probability density of ln(S/F).

    Parameters
    ----------
    svi : Svi
        n slices.
    log_moneyness : (n, m) or (m,) float64
        Points ln(K/F).

    Returns
    -------
    (n, m) float64
        `g(k) phi(d2) / sqrt(w)`; NaN at a NaN point and for a slice without parameters. Negative exactly where the
        slice has butterfly arbitrage. A slice of variance 0 has none: 0, and NaN at k = 0.

    Raises
    ------
    ValueError
        If the shapes do not fit. Never for a bad row.

    References
    ----------
    .. [1] J. Gatheral, A. Jacquier, Arbitrage-free SVI volatility surfaces, Quantitative Finance 14 (2014), eq. 2.2.
    """
    return _values(svi, log_moneyness)[0]


def cdf(svi: Svi, log_moneyness: npt.ArrayLike) -> F64:
    """Evaluate the probability that ln(S/F) is at most k: `Phi(-d2) + phi(d2) w' / (2 sqrt(w))`.

    Arguments and errors as for `density`.
    """
    return _values(svi, log_moneyness)[1]


def put_value(svi: Svi, log_moneyness: npt.ArrayLike) -> F64:
    """Evaluate E[max(K - S, 0)]/F, undiscounted: Black's formula at the smile's variance.

    Arguments and errors as for `density`. The absolute error is 4e-16 of max(1, K/F), so that second differences over
    strikes keep their meaning down to widths of 1e-6.
    """
    return _values(svi, log_moneyness)[2]


def _integrable(svi: Svi) -> tuple[F64, npt.NDArray[np.int64], F64]:
    """Give the slices' parameters, the rows that have a density, and the ends of those rows' integrals."""
    raw = raw_parameters(svi)
    w0 = raw[:, 0] + raw[:, 1] * (np.sqrt(raw[:, 3] ** 2 + raw[:, 4] ** 2) - raw[:, 2] * raw[:, 3])
    good = np.flatnonzero(np.isfinite(raw).all(axis=1) & (w0 > 0.0))
    chosen = np.ascontiguousarray(raw[good])
    ends = np.empty((good.size, 3))
    _ends(chosen, ends)
    return raw, good, ends


def _integrals(svi: Svi) -> F64:
    raw, good, ends = _integrable(svi)
    out = np.full((raw.shape[0], 4), np.nan)
    part = np.empty((good.size, 4))
    _integrate(np.ascontiguousarray(raw[good]), ends, part)
    out[good] = part
    rows = np.intersect1d(splined(svi, raw.shape[0]), good)
    if rows.size:
        out[rows] = _integrate_curves(svi, rows, raw[rows], ends[np.searchsorted(good, rows)])
    return out


def _integrate_curves(svi: Svi, rows: npt.NDArray[np.int64], chosen: F64, ends: F64) -> F64:
    """Do what `_integrate` does, on the same nodes, for slices with splines.

    A spline's third derivative jumps at its knots, which leaves the trapezium rule an error of about 1e-7.
    """
    u = np.linspace(ends[:, 0], ends[:, 1], LANES * _BLOCKS, axis=1)
    scale = ends[:, 2:3]
    k = chosen[:, 3:4] + scale * np.sinh(u)
    assert svi.knot is not None
    knot, value, curve = (part[rows] for part in spline_rows(svi, svi.knot.shape[0]))
    a, b, rho, m, s = chosen.T
    nothing = np.zeros(rows.size)
    own = Svi(a, b, rho, m, s, nothing, nothing, nothing.astype(np.int8), knot=knot, value=value, curve=curve)
    w, slope, _, g = all_curves(own, k)
    root = np.sqrt(w)
    d2 = -k / root - 0.5 * root
    bell, bell_1 = (np.exp(-0.5 * d * d) / math.sqrt(2.0 * math.pi) for d in (d2, d2 + root))
    weight = scale * np.cosh(u) / root * (ends[:, 1:2] - ends[:, :1]) / (LANES * _BLOCKS - 1)
    columns = (g * bell, g * bell_1, k * g * bell, w * bell * (1.0 - 0.5 * k * slope / w + 0.25 * slope))
    return np.stack([(column * weight).sum(axis=1) for column in columns], axis=1)


def moments(svi: Svi) -> Moments:
    """Integrate the density: the whole probability, the mean of S/F and of its logarithm, each (n,).

    The first two are checks: 1 to 1e-6 for a usable slice. NaN for a slice without parameters.
    """
    mass, mean, log_mean, _ = np.ascontiguousarray(_integrals(svi).T)
    return Moments(mass, mean, log_mean)


def model_free_variance(svi: Svi, tau: npt.ArrayLike) -> F64:
    """Evaluate the annual variance of the log contract, the fair strike of a variance swap: (n,).

    Parameters
    ----------
    svi : Svi
        n slices.
    tau : (n,) float64
        Time to expiry in years of 365 days, above 0; NaN where it is not.

    Notes
    -----
    The integral of the smile over the normal density of d2 [1]_; the same number as the integral of out-of-the-money
    option prices over strikes, without its errors: a sum over listed strikes $5 apart on a $100 share turns a flat
    20 % into 21.2 %.

    References
    ----------
    .. [1] M. Fukasawa, The normalizing transformation of the implied volatility smile, Mathematical Finance 22 (2012).
    """
    time = np.asarray(tau, dtype=np.float64)
    raw, good, ends = _integrable(svi)
    out = np.full(raw.shape[0], np.nan)
    part = np.empty(good.size)
    _variance(np.ascontiguousarray(raw[good]), ends, part)
    out[good] = part
    rows = np.intersect1d(splined(svi, raw.shape[0]), good)
    if rows.size:
        out[rows] = _integrate_curves(svi, rows, raw[rows], ends[np.searchsorted(good, rows)])[:, 3]
    return out / np.where(time > 0.0, time, np.nan)
