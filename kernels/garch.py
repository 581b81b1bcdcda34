"""GARCH(1,1) and GJR-GARCH(1,1) with a constant mean, normal or Student-t, fitted to many series at once.

Returns are in per cent, variances in per cent squared a step. `gamma` is the asymmetry of Glosten, Jagannathan and
Runkle: `h[t] = omega + (alpha + gamma 1[e[t-1] < 0]) e[t-1]^2 + beta h[t-1]`, `e = y - mu`; persistence is
`alpha + gamma/2 + beta`. The search lives in `_garch_newton` and `_garch_box`, the recursions in `_garch_recursion`,
`_garch_general` and `_garch_path`.
"""

from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels import status
from kernels._arrays import F64, I8, I64, rows, series
from kernels._garch_newton import (
    MIN_OBSERVATIONS,
    NEARLY_ONE,
    STARTS,
    finish,
    grid_starts,
    prepare,
    search,
)
from kernels._garch_path import likelihood_rows, variance_rows

__all__ = [
    "MIN_OBSERVATIONS",
    "NEARLY_ONE",
    "GarchFit",
    "conditional_variance",
    "fit",
    "forecast",
    "loglikelihood",
    "persistence",
    "window_variance",
]

Model = Literal["garch", "gjr", "auto"]
Dist = Literal["normal", "t", "auto"]
Start = Literal["backcast", "sample"]

AICC_GAIN: Final = 2.0
"""A richer model under `auto` must lower the corrected Akaike criterion by more than this."""


class GarchFit(NamedTuple):
    """What `fit` found, a row a series; NaN where `status` says that there is no fit."""

    mu: F64
    omega: F64
    alpha: F64
    gamma: F64
    beta: F64
    nu: F64
    loglik: F64
    sigma2_next: F64
    std_err: F64
    iterations: I64
    status: I8


class _Coordinates(NamedTuple):
    x: F64  # box coordinates of the scaled data, see _garch_newton
    out: F64  # the last pass there: likelihood, gradient, Hessian
    iterations: I64
    codes: I8


def fit(
    returns: npt.ArrayLike,
    lengths: npt.ArrayLike | None = None,
    model: Model = "garch",
    dist: Dist = "normal",
    start: Start = "backcast",
) -> GarchFit:
    """Fit every series by maximum likelihood.

    Parameters
    ----------
    returns : (n, t) float64
        Left-aligned series in per cent; what lies beyond a row's length is ignored.
    lengths : (n,) int64, optional
        Observations of each row; all t when None.
    model : {"garch", "gjr", "auto"}
        `auto` takes GJR where it lowers AICc by more than 2.
    dist : {"normal", "t", "auto"}
        `auto` takes Student-t (unit variance, nu in 2.05..500) where it lowers AICc by more than 2. With both on `auto`
        the order is: normal GARCH, normal GJR, t GARCH, t GJR, each against the best so far.
    start : {"backcast", "sample"}
        Value of e^2 and h before the first observation: the exponentially weighted mean (0.94) of the first 75 squared
        deviations from the sample mean, as in `arch`; or the mean of (y - mu)^2 at the current mu [1]_.

    Returns
    -------
    GarchFit
        `mu` (per cent), `omega` (per cent squared), `alpha`, `gamma` (0 where the model has none), `beta`, `nu` (NaN
        where the model has none), `loglik`, `sigma2_next` (variance of the step after the last), each (n,); `std_err`
        (n, 6), robust (sandwich, [2]_), in the order mu, omega, alpha, gamma, beta, nu, NaN where a parameter is absent
        or fixed by a bound; `iterations` (n,) of all starts together; `status` (n,) int8:

        0 fitted; 7 fitted at a bound: no ARCH effect (`alpha` and `gamma` 0: the variance runs on its own, and where
        beta matters little it is not identified), persistence of 0.9999 or more (no long-run variance), `beta` 0,
        `alpha` 0 or `alpha + gamma` 0 in a GJR model, `omega` or `nu` at its limit; 5 NaN or infinity within the
        length, or a series without variance; 6 no optimum found; 8 fewer than `MIN_OBSERVATIONS` observations.

    Raises
    ------
    ValueError
        If shapes, lengths, or names do not fit. Never for a bad row.

    Notes
    -----
    Projected Newton with exact derivatives, from at least two starts of a grid of 25. A row's result has the same bits
    whatever the other rows are. `arch`'s bounds on h, which guard its optimiser, are not part of the likelihood here.

    References
    ----------
    .. [1] Fiorentini, Calzolari and Panattoni (1996), Journal of Applied Econometrics 11, 399-417.
    .. [2] Bollerslev and Wooldridge (1992), Econometric Reviews 11, 143-172.
    """
    _one_of("model", model, ("garch", "gjr", "auto"))
    _one_of("dist", dist, ("normal", "t", "auto"))
    sample = _sample_start(start)
    values, size = series(returns, lengths)
    n = size.size
    prep = np.full((n, 3), np.nan)
    codes = np.zeros(n, np.int8)
    prepare(values, size, prep, codes)
    order = np.flatnonzero(codes == status.OK)
    order = np.ascontiguousarray(order[np.argsort(-size[order], kind="stable")])
    asymmetric = {"garch": (False,), "gjr": (True,), "auto": (False, True)}[model]
    student = {"normal": (False,), "t": (True,), "auto": (False, True)}[dist]
    chosen: GarchFit | None = None
    nested: F64 | None = None
    for t in student:
        for gjr in asymmetric:
            found = _search(values, size, order, prep, sample, gjr, t, nested)
            nested = found.x
            answer = _answer(values, size, order, prep, codes, sample, gjr, t, found)
            chosen = answer if chosen is None else _better(chosen, answer, size)
    assert chosen is not None
    return chosen


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")


def _sample_start(start: str) -> bool:
    _one_of("start", start, ("backcast", "sample"))
    return start == "sample"


def _search(
    values: F64, size: I64, order: I64, prep: F64, sample: bool, gjr: bool, t: bool, nested: F64 | None
) -> _Coordinates:
    n = size.size
    starts = np.zeros((n, STARTS, 6))
    first = np.ones(n, np.int64)
    grid_starts(values, size, order, prep, sample, gjr, t, starts)
    if nested is not None:  # the richer model starts where the simpler one ended, and from the grid
        starts[:, 0] = nested
        starts[:, 0, 5] = np.clip(nested[:, 5], 0.02, None) if t else 0.0
        first[:] = 0
    found = _Coordinates(np.zeros((n, 6)), np.zeros((n, 28)), np.zeros(n, np.int64), np.zeros(n, np.int8))
    search(values, size, order, prep, sample, gjr, t, starts, first, *found)
    return found


def _answer(
    values: F64, size: I64, order: I64, prep: F64, codes: I8, sample: bool, gjr: bool, t: bool, found: _Coordinates
) -> GarchFit:
    n = size.size
    std_err = np.full((n, 6), np.nan)
    ahead = np.full(n, np.nan)
    finish(values, size, order, prep, sample, gjr, t, found.x, found.out, std_err, ahead)
    mean, sd = prep[:, 0], prep[:, 1]
    mu, omega, s, rho, k, eta = found.x.T
    code = codes.copy()
    code[order] = found.codes[order]
    at_bound = (s <= 0.0) | (s >= 1.0) | (rho >= NEARLY_ONE) | (rho <= 0.0) | (omega <= 1e-8) | (omega >= 10.0)
    at_bound |= gjr & (abs(k) >= 1.0) | t & ((eta <= 1 / 500) | (eta >= 1 / 2.05))
    code[(code == status.OK) & at_bound] = status.AT_BOUND
    bad = ~status.is_finite(code)
    with np.errstate(divide="ignore", invalid="ignore"):
        nu = 1.0 / eta if t else np.full(n, np.nan)
        scale = np.stack([sd, sd * sd, np.ones(n), np.ones(n), np.ones(n), nu * nu if t else np.ones(n)], axis=1)
    fitted = GarchFit(
        mu=mean + sd * mu,
        omega=omega * sd * sd,
        alpha=s * rho * (1.0 - k),
        gamma=2.0 * s * rho * k,
        beta=(1.0 - s) * rho,
        nu=nu,
        loglik=found.out[:, 0] - size * np.log(np.where(bad, 1.0, sd)),
        sigma2_next=ahead * sd * sd,
        std_err=std_err * scale,
        iterations=found.iterations,
        status=code,
    )
    for array in fitted[:9]:
        array[bad] = np.nan
    return fitted


def _better(simple: GarchFit, rich: GarchFit, size: I64) -> GarchFit:
    gain = _aicc(simple, size) - _aicc(rich, size)
    take = status.is_finite(rich.status) & ~(gain <= AICC_GAIN)  # NaN gain: the simple one failed
    picked = {
        name: np.where(take[:, None] if name == "std_err" else take, getattr(rich, name), getattr(simple, name))
        for name in GarchFit._fields
    }
    return GarchFit(**picked)._replace(iterations=simple.iterations + rich.iterations)


def _aicc(fitted: GarchFit, size: I64) -> F64:
    k = 4.0 + (fitted.gamma != 0.0) + np.isfinite(fitted.nu)
    return -2.0 * fitted.loglik + 2.0 * k + 2.0 * k * (k + 1.0) / np.maximum(size - k - 1.0, 1.0)


def persistence(fitted: GarchFit) -> F64:
    """Compute alpha + gamma/2 + beta, the factor by which a variance shock fades each step, (n,)."""
    return fitted.alpha + 0.5 * fitted.gamma + fitted.beta


def loglikelihood(
    returns: npt.ArrayLike,
    mu: npt.ArrayLike,
    omega: npt.ArrayLike,
    alpha: npt.ArrayLike,
    beta: npt.ArrayLike,
    gamma: npt.ArrayLike = 0.0,
    nu: npt.ArrayLike | None = None,
    start: Start = "backcast",
    lengths: npt.ArrayLike | None = None,
) -> F64:
    """Evaluate the log-likelihood of every series at the given parameters.

    Parameters
    ----------
    returns : (n, t) float64
        In per cent, left-aligned.
    mu, omega, alpha, beta, gamma : (n,) float64 or scalars
        omega > 0; alpha, alpha + gamma and beta not negative. Persistence may exceed 1.
    nu : (n,) float64 or scalar, optional
        Degrees of freedom above 2; None or NaN is the normal distribution.
    start, lengths
        As in `fit`.

    Returns
    -------
    (n,) float64
        NaN for a row with NaN or infinity within its length, no variance, fewer than two observations, or parameters
        outside their domain.

    Raises
    ------
    ValueError
        If shapes, lengths or the start's name do not fit. Never for a bad row.

    Notes
    -----
    With `start="backcast"` h is kept within `arch`'s loose bounds (an exponentially weighted variance over and times
    1e6), so that an explosive path has a likelihood, the same as there. `start="sample"` has no such bounds.

    Examples
    --------
    >>> y = np.array([0.5, -1.0, 0.25, 1.5, -0.75])
    >>> loglikelihood(y, 0.0, 0.1, 0.1, 0.8).round(6)
    array([-6.708604])
    """
    sample = _sample_start(start)
    values, size = series(returns, lengths)
    columns = rows(mu, omega, alpha, gamma, beta, np.nan if nu is None else nu, np.zeros(size.size))
    if columns[0].size != size.size:
        raise ValueError(f"{columns[0].size} parameters for {size.size} series")
    m, w, a, g, b, df, _ = (column.copy() for column in columns)  # numba warns of broadcast views
    out = np.full(size.size, np.nan)
    likelihood_rows(values, size, m, w, a, g, b, df, sample, out)
    return out


def conditional_variance(
    fitted: GarchFit, returns: npt.ArrayLike, lengths: npt.ArrayLike | None = None, start: Start = "backcast"
) -> F64:
    """Trace each series' conditional variance under its fit.

    Parameters
    ----------
    fitted : GarchFit
    returns, lengths, start
        What `fit` was given.

    Returns
    -------
    (n, t) float64
        h[i, t] in per cent squared, known before returns[i, t]; NaN beyond a row's length and in rows without a fit.
        Standardised residuals are `(returns - mu[:, None]) / sqrt(h)`.

    Raises
    ------
    ValueError
        If shapes or lengths do not fit, or the fit is of another number of series.
    """
    sample = _sample_start(start)
    values, size = series(returns, lengths)
    fitted = _same_rows(fitted, size)
    out = np.full(values.shape, np.nan)
    variance_rows(values, size, fitted.mu, fitted.omega, fitted.alpha, fitted.gamma, fitted.beta, sample, out)
    return out


def _same_rows(fitted: GarchFit, size: I64) -> GarchFit:
    """Give a fit of as many series as compiled code takes it: somebody may have picked its rows."""
    numbers = fitted[:8]
    for column in numbers:
        if np.shape(column) != size.shape:
            raise ValueError(f"a fit of {np.size(column)} series for {size.size} series")
    return GarchFit._make([*rows(*numbers), *fitted[8:]])


def forecast(fitted: GarchFit, horizon: int) -> F64:
    """Forecast the variance of each of the next steps.

    Parameters
    ----------
    fitted : GarchFit
        Of n series.
    horizon : int
        Steps, at least 0.

    Returns
    -------
    (n, horizon) float64
        `E h[t+k]`, k = 1 .. horizon, in per cent squared: `h[t+1] rho^(k-1) + omega (1 + rho + ... + rho^(k-2))`, which
        is the way back to `omega / (1 - rho)` and, at persistence rho = 1, the straight line `h[t+1] + (k-1) omega`.

    Raises
    ------
    ValueError
        If horizon is below 0.
    """
    if horizon < 0:
        raise ValueError(f"horizon must not be negative, got {horizon}")
    rho = persistence(fitted)
    out = np.empty((rho.size, horizon))
    h = fitted.sigma2_next
    for k in range(horizon):
        # the recursion itself: no division by 1 - rho, so nothing happens at rho = 1
        out[:, k] = h
        h = fitted.omega + rho * h
    return out


def window_variance(fitted: GarchFit, horizons: npt.ArrayLike) -> F64:
    """Sum the forecast variances from the next step to each horizon.

    Parameters
    ----------
    fitted : GarchFit
    horizons : (k,) int
        In steps, at least 1.

    Returns
    -------
    (n, k) float64
        In per cent squared over the whole window; `sqrt(252 / horizons * window_variance)` is per cent a year.

    Raises
    ------
    ValueError
        If the horizons are not whole numbers of at least 1.
    """
    steps = _horizons(horizons)
    total = np.cumsum(forecast(fitted, int(steps.max(initial=0))), axis=1)
    return np.ascontiguousarray(total[:, steps - 1])


def _horizons(horizons: npt.ArrayLike) -> I64:
    steps = np.atleast_1d(np.asarray(horizons))
    if steps.ndim != 1 or steps.dtype.kind not in "iu" or (steps.size and steps.min() < 1):
        raise ValueError("horizons must be whole numbers of at least 1")
    return steps.astype(np.int64)
