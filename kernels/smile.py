"""Smiles: an SVI slice for each expiry, fitted by weighted least squares and free of butterfly arbitrage.

`w(k) = a + b (rho (k - m) + sqrt((k - m)**2 + s**2))` is the total variance (sigma**2 tau) at log-moneyness
`k = ln(K/F)`. For fixed (m, s) the slice is linear in the other three parameters, so the fit is a small convex
quadratic programme inside a search over two numbers.

Rule of the file: one row is one slice and is worked alone, in scalar code; only the starting grid of (m, s) runs in
lanes. So a row's bits cannot depend on its batch.
"""

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels import spline, status
from kernels._arrays import F64, I8
from kernels._jit import helper, kernel
from kernels.svi import copy, g_at, least_g, repair_one, weighted_square
from kernels.svi_fit import LANES, fit_one, level_skew

MIN_QUOTES: Final = 5
"""An SVI slice has five parameters: fewer distinct log-moneynesses give status 8."""


class Svi(NamedTuple):
    """Raw SVI parameters of n slices (all `(n,)`), the quality of each fit and its status."""

    a: F64
    b: F64
    rho: F64
    m: F64
    s: F64
    fit_error: F64
    """Weighted root mean square residual in total variance; chi squared is `fit_error**2 * sum(weight)`."""
    min_g: F64
    """Least value of Durrleman's g over three times the quoted range: not below 0 where there is no arbitrage."""
    status: I8
    fitted_min_g: F64 | float = math.nan
    """The same before the repair; below 0 where the slice was repaired."""
    knot: F64 | None = None
    """Log-moneyness of a spline's knots (n, p), padded with NaN; None: no slice has one. See `smile_spline`."""
    value: F64 | None = None
    """What the spline adds to the total variance at its knots, (n, p)."""
    curve: F64 | None = None
    """Its second derivative there, (n, p)."""


class Derivatives(NamedTuple):
    """Total variance and its first two derivatives in log-moneyness, all `(n, m)`."""

    total_variance: F64
    first: F64
    second: F64


@helper
def _usable(k_row: F64, w_row: F64, om_row: F64, k: F64, w: F64, om: F64) -> tuple[int, int]:
    """Pack the quotes of a row: count, count of distinct k, or -1 for a value no quote can have."""
    n = distinct = 0
    for i in range(k_row.size):
        if math.isnan(k_row[i]) or math.isnan(w_row[i]) or math.isnan(om_row[i]) or om_row[i] == 0.0:
            continue
        if not (math.isfinite(k_row[i]) and w_row[i] > 0.0 and math.isfinite(w_row[i])):
            return -1, 0
        if not (om_row[i] > 0.0 and math.isfinite(om_row[i])):
            return -1, 0
        seen = False
        for j in range(n):
            seen = seen or k[j] == k_row[i]
        distinct += 0 if seen else 1
        k[n], w[n], om[n] = k_row[i], w_row[i], om_row[i]
        n += 1
    return n, distinct


@helper
def _scale(values: F64, n: int) -> None:
    """Divide weights by their largest, so that huge or tiny ones neither overflow nor vanish."""
    top = 0.0
    for i in range(n):
        top = max(top, values[i])
    for i in range(n):
        values[i] /= top


@helper
def _sum(values: F64, n: int) -> float:
    total = 0.0
    for i in range(n):
        total += values[i]
    return total


@helper
def _range_of(k: F64, n: int) -> tuple[float, float]:
    low, high = k[0], k[0]
    for i in range(n):
        low, high = min(low, k[i]), max(high, k[i])
    return low, high


@helper
def _fit_usable(k: F64, w: F64, om: F64, n: int, eta: float, work: F64, raw: F64, out: F64) -> int:
    """Fit, check and repair one slice; fills the row of `out` where there is a result and returns its status."""
    _scale(om, n)
    at_bound = fit_one(k, w, om, n, work, raw) if math.isnan(eta) else level_skew(k, w, om, n, eta, raw)
    low, high = _range_of(k, n)
    width = high - low
    fitted_g = least_g(raw[0], raw[1], raw[2], raw[3], raw[4], low - width, high + width)
    least = fitted_g
    if not fitted_g >= 0.0:
        at_bound = True
        least = repair_one(raw, low - width, high + width)
    error = math.sqrt(weighted_square(raw, k, w, om, n) / _sum(om, n))
    if not math.isfinite(error):
        return status.NOT_CONVERGED
    if not least >= 0.0:
        return status.ARBITRAGE
    raw[5] = error
    copy(raw, out)
    out[6], out[7] = least, fitted_g
    return status.AT_BOUND if at_bound else status.OK


@kernel("void(float64[:, ::1], float64[:, ::1], float64[:, ::1], float64[::1], float64, float64[:, ::1], int8[::1])")
def _fit(k_all: F64, w_all: F64, om_all: F64, tau: F64, eta: float, out: F64, code: I8) -> None:
    """Fit every row: SVI where eta is NaN, else the two-parameter slice. `out`, full of NaN: a row as Svi's fields."""
    size = k_all.shape[1]
    k, w, om = np.empty(size), np.empty(size), np.empty(size)
    work, raw = np.empty((8, LANES)), np.empty(6)
    fewest = MIN_QUOTES if math.isnan(eta) else 2
    for row in range(tau.size):
        n, distinct = _usable(k_all[row], w_all[row], om_all[row], k, w, om)
        if n < 0 or not math.isfinite(tau[row]):
            code[row] = status.BAD_INPUT
        elif tau[row] <= 0.0:
            code[row] = status.EXPIRED
            for j in range(6):
                out[row, j] = 0.0
            out[row, 4] = out[row, 6] = out[row, 7] = 1.0
        elif distinct < fewest:
            code[row] = status.TOO_FEW_DATA
        else:
            code[row] = _fit_usable(k, w, om, n, eta, work, raw, out[row])


@kernel("void(float64[:, ::1], float64[::1], float64[::1], float64[::1], float64[::1])")
def _repair(raw: F64, low: F64, high: F64, given_g: F64, min_g: F64) -> None:
    for row in range(low.size):
        p = raw[row]
        given_g[row] = least_g(p[0], p[1], p[2], p[3], p[4], low[row], high[row])
        min_g[row] = given_g[row]
        if not min_g[row] >= 0.0:
            min_g[row] = repair_one(p, low[row], high[row])


@kernel("void(float64[:, ::1], float64[:, ::1], float64[:, :, ::1])", fast=frozenset())
def _curves(raw: F64, k: F64, out: F64) -> None:
    """Total variance, first and second derivative, g. No contraction: the same bits in vectors and remainders."""
    for row in range(k.shape[0]):
        a, b, rho, m, s = raw[row, 0], raw[row, 1], raw[row, 2], raw[row, 3], raw[row, 4]
        for j in range(k.shape[1]):
            x = k[row, j] - m
            root = math.sqrt(x * x + s * s)
            out[0, row, j] = a + b * (rho * x + root)
            out[1, row, j] = b * (rho + x / root)
            out[2, row, j] = b * s * s / (root * root * root)
            out[3, row, j] = g_at(a, b, rho, m, s, k[row, j])


def smile_rows(*columns: npt.ArrayLike) -> list[F64]:
    """Coerce to (n, m) and broadcast.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    if len(columns) == 1:  # nothing to broadcast: a third of the time of the few points of one slice
        array = np.array(columns[0], dtype=np.float64, order="C", ndmin=2)
        if array.ndim != 2:
            raise ValueError(f"expected smile rows of shape (n, m), got {array.shape}")
        return [array]
    arrays = np.broadcast_arrays(*(np.atleast_2d(np.asarray(c, dtype=np.float64)) for c in columns))
    if arrays[0].ndim != 2:
        raise ValueError(f"expected smile rows of shape (n, m), got {arrays[0].shape}")
    return [np.array(a, order="C") for a in arrays]


def raw_parameters(svi: Svi) -> F64:
    """Stack a, b, rho, m, s to (n, 5): the form in which kernels take slices."""
    if all(type(c) is np.ndarray and c.ndim == 1 and c.size == svi[0].size for c in svi[:5]):
        raw = np.empty((svi[0].size, 5))
        for j in range(5):
            raw[:, j] = svi[j]
        return raw
    columns = np.broadcast_arrays(*(np.atleast_1d(np.asarray(c, dtype=np.float64)) for c in svi[:5]))
    if columns[0].ndim != 1:
        raise ValueError(f"expected parameters of shape (n,), got {columns[0].shape}")
    return np.ascontiguousarray(np.stack(columns, axis=1))


def slice_rows(svi: Svi, log_moneyness: npt.ArrayLike) -> tuple[F64, F64]:
    """Match slices (n, 5) with points (n, m): one row of points serves every slice, one slice every row.

    Raises
    ------
    ValueError
        If the number of slices and rows differ and neither is one.
    """
    raw, points = raw_parameters(svi), smile_rows(log_moneyness)[0]
    if raw.shape[0] != points.shape[0]:
        if points.shape[0] == 1:
            points = np.array(np.broadcast_to(points, (raw.shape[0], points.shape[1])), order="C")
        elif raw.shape[0] == 1:
            raw = np.array(np.broadcast_to(raw, (points.shape[0], 5)), order="C")
        else:
            raise ValueError(f"{raw.shape[0]} slices and {points.shape[0]} rows of points")
    return raw, points


def _run_fit(k: npt.ArrayLike, w: npt.ArrayLike, om: npt.ArrayLike, tau: npt.ArrayLike, eta: float) -> Svi:
    points, variance, weights = smile_rows(k, w, om)
    n = points.shape[0]
    times = np.array(np.broadcast_to(np.asarray(tau, dtype=np.float64), (n,)))
    out, code = np.full((n, 8), np.nan), np.empty(n, np.int8)
    _fit(points, variance, weights, times, eta, out, code)
    a, b, rho, m, s, error, min_g, fitted_g = np.ascontiguousarray(out.T)
    return Svi(a, b, rho, m, s, error, min_g, code, fitted_g)


def fit(log_moneyness: npt.ArrayLike, total_variance: npt.ArrayLike, weight: npt.ArrayLike, tau: npt.ArrayLike) -> Svi:
    """Fit an SVI slice without butterfly arbitrage to the quotes of each expiry.

    Parameters
    ----------
    log_moneyness, total_variance, weight : (n, m) float64
        `ln(K/F)`, `sigma**2 * tau` and the inverse variance of the latter's error, in any order; quotes with a NaN in
        any of the three or with weight 0 are left out (padding). Variances and weights above 0.
    tau : (n,) float64
        Time to expiry in years of 365 days.

    Returns
    -------
    Svi
        Status 0; 4 expired (the slice is 0); 5 bad input; 7 at a bound: a wing without slope, a wing at Lee's limit,
        m or s at the edge of its range, or a slice moved by the repair (`fitted_min_g` below 0); 8 fewer than five
        distinct log-moneynesses (see `fit_level_skew`); 9 the arbitrage could not be repaired.

    Raises
    ------
    ValueError
        If the shapes do not fit. Never for a bad row.

    Notes
    -----
    Quasi-explicit calibration [1]_: with x = (k - m)/s the slice is linear in a and in b s (1 +- rho), which live in
    a box given by Lee's moment formula [2]_. That convex programme is solved by its faces. `a` may be negative as
    long as the least total variance is not. Outside it, a grid of 42 (m, s), then Levenberg-Marquardt with the linear
    part projected out [3]_ from the best two separate grid points. Butterfly arbitrage is Durrleman's g < 0 on three
    times the quoted range; the repair blends jump-wings towards the SSVI slice of the same level and skew [4]_.

    References
    ----------
    .. [1] S. De Marco, C. Martini, Quasi-explicit calibration of Gatheral's SVI model, Zeliade white paper, 2009.
    .. [2] R. Lee, The moment formula for implied volatility at extreme strikes, Mathematical Finance 14 (2004).
    .. [3] L. Kaufman, A variable projection method for solving separable nonlinear least squares problems,
       BIT 15 (1975).
    .. [4] J. Gatheral, A. Jacquier, Arbitrage-free SVI volatility surfaces, Quantitative Finance 14 (2014),
       sections 3 to 5.

    Examples
    --------
    >>> k = np.linspace(-0.3, 0.3, 9)
    >>> w = 0.01 + 0.08 * (-0.4 * k + np.sqrt(k**2 + 0.15**2))
    >>> fit(k, w, 1.0, 0.25).rho.round(6)
    array([-0.4])
    """
    return _run_fit(log_moneyness, total_variance, weight, tau, math.nan)


def fit_level_skew(
    log_moneyness: npt.ArrayLike,
    total_variance: npt.ArrayLike,
    weight: npt.ArrayLike,
    tau: npt.ArrayLike,
    eta: float = 1.0,
) -> Svi:
    """Fit level and skew only, for an expiry with too few quotes for `fit`: an SSVI slice of given curvature.

    Parameters
    ----------
    log_moneyness, total_variance, weight, tau
        As for `fit`; two distinct log-moneynesses are enough (status 8 below that).
    eta : float
        Curvature, above 0 and at most 4: `phi(theta) = eta theta**-0.4 (1 + theta)**-0.6`. Up to 1 no slice of the
        family has butterfly arbitrage, as eta (1 + |rho|) <= 2 (Gatheral & Jacquier 2014, Remark 4.4); above, one that
        has it is repaired as in `fit`.

    Returns
    -------
    Svi
        In raw parameters, for every function that takes a slice. Status 7 where |rho| reaches 0.95 or a slice was
        repaired.

    Raises
    ------
    ValueError
        If the shapes do not fit or eta lies outside (0, 4].
    """
    if not 0.0 < eta <= 4.0:
        raise ValueError(f"eta must lie in (0, 4], got {eta}")
    return _run_fit(log_moneyness, total_variance, weight, tau, eta)


def flat(total_variance: npt.ArrayLike) -> Svi:
    """Slices of constant total variance, (n,): what one quote, or a lognormal forecast, can say."""
    w = np.atleast_1d(np.asarray(total_variance, dtype=np.float64))
    good = np.isfinite(w) & (w >= 0.0)
    value, zero, one = np.where(good, w, np.nan), np.where(good, 0.0, np.nan), np.where(good, 1.0, np.nan)
    code = np.where(good, status.OK, status.BAD_INPUT).astype(np.int8)
    return Svi(value, zero, zero.copy(), zero.copy(), one, zero.copy(), one.copy(), code, one.copy())


def scaled(svi: Svi, factor: float | F64) -> Svi:
    """Multiply slices by a factor, or each by its own, (n,), splines included. What is said of the fit is dropped.

    A slice without butterfly arbitrage may gain some: g is not linear in w.
    """
    nothing = np.full(np.shape(svi.a), np.nan)
    whole = svi._replace(a=svi.a * factor, b=svi.b * factor, fit_error=nothing, min_g=nothing, fitted_min_g=nothing)
    if svi.value is None or svi.curve is None:
        return whole
    each = np.asarray(factor)[..., None]
    return whole._replace(value=svi.value * each, curve=svi.curve * each)


def total_variance(svi: Svi, log_moneyness: npt.ArrayLike) -> F64:
    """Evaluate slices at log-moneynesses (n, m), or (m,) for all slices; NaN for a slice without one."""
    return derivatives(svi, log_moneyness).total_variance


def derivatives(svi: Svi, log_moneyness: npt.ArrayLike) -> Derivatives:
    """Evaluate slices and their first two derivatives in log-moneyness, each (n, m)."""
    return Derivatives(*all_curves(svi, log_moneyness)[:3])


def g(svi: Svi, log_moneyness: npt.ArrayLike) -> F64:
    """Evaluate Durrleman's g (n, m): negative where a butterfly would cost less than nothing."""
    return all_curves(svi, log_moneyness)[3]


def all_curves(svi: Svi, log_moneyness: npt.ArrayLike) -> F64:
    """Evaluate total variance, its first and second derivative, and g: (4, n, m)."""
    raw, points = slice_rows(svi, log_moneyness)
    out = np.empty((4, *points.shape))
    _curves(raw, points, out)
    rows = splined(svi, points.shape[0])
    if rows.size:
        chosen, k = np.ascontiguousarray(out[:, rows]), np.ascontiguousarray(points[rows])
        knot, value, curve = (np.ascontiguousarray(c[rows]) for c in spline_rows(svi, points.shape[0]))
        spline.add(knot, value, curve, k, chosen)
        w, first, second, _ = chosen
        left = 1.0 - 0.5 * k * first / w
        chosen[3] = left * left - 0.25 * first * first * (1.0 / w + 0.25) + 0.5 * second
        out[:, rows] = chosen
    return out


def splined(svi: Svi, n: int) -> npt.NDArray[np.int64]:
    """List the rows of points, of n, whose slice has a spline: the others must not notice that these are there."""
    if svi.knot is None:
        return np.empty(0, np.int64)
    return np.flatnonzero(np.broadcast_to(np.isfinite(svi.knot[:, :1]).any(axis=1), (n,)))


def spline_rows(svi: Svi, n: int) -> tuple[F64, F64, F64]:
    """Give the splines of n slices, or of one for n rows of points, as kernels take them: knot, value, curve."""
    assert svi.knot is not None
    assert svi.value is not None
    assert svi.curve is not None
    columns = (svi.knot, svi.value, svi.curve)
    if svi.knot.shape[0] == n:
        return tuple(np.ascontiguousarray(c) for c in columns)  # type: ignore[return-value]
    return tuple(np.array(np.broadcast_to(c, (n, c.shape[1])), order="C") for c in columns)  # type: ignore[return-value]


def repair(svi: Svi, low: npt.ArrayLike, high: npt.ArrayLike) -> Svi:
    """Give each slice with butterfly arbitrage on [low, high] its nearest relative without; leave the others.

    Splines are dropped: it is the five parameters that are repaired.

    `fit` does this on its own; this door is for slices from elsewhere. `fit_error` becomes NaN where a slice moves, the
    status 7, or 9 (and NaN parameters) where no repair exists.
    """
    raw = raw_parameters(svi)
    n = raw.shape[0]
    low_end, high_end = (np.array(np.broadcast_to(np.asarray(e, dtype=np.float64), (n,))) for e in (low, high))
    before, given_g, min_g = raw.copy(), np.empty(n), np.empty(n)
    _repair(raw, low_end, high_end, given_g, min_g)
    old = np.broadcast_to(np.asarray(svi.status, dtype=np.int8), (n,))
    usable = np.isfinite(before).all(axis=1) & np.isfinite(low_end + high_end)
    failed = usable & ~np.isfinite(min_g)
    moved = (raw != before).any(axis=1) & usable & ~failed
    raw[~usable | failed] = np.nan
    code = np.where(failed, status.ARBITRAGE, np.where(moved, status.AT_BOUND, old)).astype(np.int8)
    error = np.where(moved | failed, np.nan, svi.fit_error)
    a, b, rho, m, s = np.ascontiguousarray(raw.T)
    return Svi(a, b, rho, m, s, error, np.where(usable, min_g, np.nan), code, np.where(usable, given_g, np.nan))


def calendar_violation(near: Svi, far: Svi, log_moneyness: npt.ArrayLike) -> F64:
    """Find by how much the total variance of `near` exceeds that of `far`, the later expiry, at worst: (n,).

    0 where there is no calendar arbitrage on these log-moneynesses (n, m): total variance at a fixed k may not fall
    as time grows (Gatheral & Jacquier 2014, Lemma 2.1). NaN where either slice is missing.
    """
    gap = total_variance(near, log_moneyness) - total_variance(far, log_moneyness)
    return np.maximum(gap, 0.0).max(axis=1, initial=0.0)
