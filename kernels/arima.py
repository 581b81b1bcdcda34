"""ARIMA(p, 1, q) with p, q <= 3 for many series at once: global maximum likelihood, choice of order, forecasts.

Doors: `fit`, `loglikelihood`, `forecast`. Inside, `arma_search` looks for the maximum of what `arma_passes` (regression
form of the likelihood) and `arma_derivatives` (its exact gradient and Hessian) compute, by the steps of `arma_newton`;
`arma_filter` runs the Chandrasekhar recursion for likelihoods and forecasts; `arma_roots` judges fits when orders
compete. Nothing here takes logarithms of prices: pass log prices where they are meant.

Models have no constant: w_t = ar_1 w_{t-1} + ... + e_t + ma_1 e_{t-1} + ... for the first differences w. The likelihood
is the exact one of w, not that of the levels under a diffuse start.
"""

from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from kernels import _arrays, status
from kernels._arrays import F64, I8, I64, Bool
from kernels.arma_filter import STATE, filter_series, project
from kernels.arma_roots import admissible
from kernels.arma_search import AT_LIMIT, Maximum, maximise, parents

Order: TypeAlias = tuple[int, int, int]

MIN_OBSERVATIONS: Final = 60
"""Shorter series have status 8: with fewer points the choice between orders is noise."""

CLASSIC_ORDERS: Final[tuple[Order, ...]] = ((1, 1, 1), (2, 1, 2), (1, 1, 2), (2, 1, 1), (3, 1, 2))
"""The five orders that programs of this kind like to compare by AIC."""
ORDERS: Final[tuple[Order, ...]] = (
    (0, 1, 0), (0, 1, 1), (1, 1, 0), (1, 1, 1), (2, 1, 0), (0, 1, 2), (2, 1, 1), (1, 1, 2), (2, 1, 2), (3, 1, 2),
)  # fmt: skip
RANDOM_WALK: Final[Order] = (0, 1, 0)

_FLAT: Final = 1e-8
_LOG_2PI: Final = 1.8378770664093453


class ArimaFit(NamedTuple):
    """The chosen model of each row, and how every candidate fared. NaN (order -1) where `status` is not 0 or 7."""

    order: I64  # (n, 3): p, d, q
    ar: F64  # (n, 3), unused coefficients 0
    ma: F64  # (n, 3)
    sigma2: F64  # (n,): variance of the innovations, in units of the series squared
    loglik: F64  # (n,)
    criterion: F64  # (n,)
    all_loglik: F64  # (n, k), one column per candidate, whether admissible or not
    all_criterion: F64  # (n, k)
    status: I8  # (n,)


class Forecast(NamedTuple):
    """Mean and variance of the level 1 .. h steps after the last observation, both (n, h)."""

    mean: F64
    variance: F64


class _Candidates(NamedTuple):
    """What the search found for every row and order."""

    ar: F64  # (n, k, 3)
    ma: F64
    sigma2: F64  # (n, k)
    loglik: F64
    state: I8  # FOUND, AT_LIMIT or 0


def _checked(orders: tuple[Order, ...], criterion: str) -> list[Order]:
    given = list(orders)
    if not given:
        raise ValueError("orders is empty")
    if not all(np.shape(order) == (3,) and all(float(part).is_integer() for part in order) for order in given):
        raise ValueError(f"orders must be a tuple of (p, d, q) in whole numbers, such as ((0, 1, 1),), got {orders!r}")
    checked = [(int(p), int(d), int(q)) for p, d, q in given]
    for p, d, q in checked:
        if d != 1 or not 0 <= p <= 3 or not 0 <= q <= 3:
            raise ValueError(f"order {(p, d, q)} is not supported: d must be 1, p and q 0 to 3")
    if criterion not in ("aic", "aicc", "bic"):
        raise ValueError(f"criterion must be 'aic', 'aicc' or 'bic', not {criterion!r}")
    return checked


def _row_status(levels: F64, lengths: I64) -> I8:
    """Sort out the rows that cannot be fitted."""
    inside = np.arange(levels.shape[1]) < lengths[:, None]
    known = np.where(inside, levels, 0.0)
    finite = np.isfinite(known).all(axis=1)
    result = np.zeros(len(levels), np.int8)
    if levels.shape[1] >= MIN_OBSERVATIONS:
        with np.errstate(over="ignore", invalid="ignore"):
            changes = np.where(inside[:, 1:], np.diff(known, axis=1), 0.0)
            finite &= np.isfinite(changes).all(axis=1)
            largest = np.abs(changes).max(axis=1)
            unit = changes / np.where(finite & (largest > 0.0), largest, 1.0)[:, None]
            count = np.maximum(lengths - 1.0, 1.0)
            spread = (unit * unit).sum(axis=1) / count - (unit.sum(axis=1) / count) ** 2
            # Below 1e-8 of the level a change is mostly the rounding of the level.
            flat = ~(np.sqrt(np.maximum(spread, 0.0)) * largest > _FLAT * np.abs(known).max(axis=1))
        result[flat] = status.TOO_FEW_DATA
    result[lengths < MIN_OBSERVATIONS] = status.TOO_FEW_DATA
    result[~finite] = status.BAD_INPUT
    return result


def _maximum(scaled: F64, p: int, q: int, known: dict[tuple[int, int], Maximum]) -> Maximum:
    """Maximise one order after its parents, so that the answer does not depend on which orders were asked for."""
    if (p, q) not in known:
        seeds = [_maximum(scaled, *parent, known).x for parent in parents(p, q)]
        known[p, q] = maximise(scaled, p, q, seeds)
    return known[p, q]


def _search(levels: F64, lengths: I64, good: Bool, orders: list[Order]) -> _Candidates:
    """Maximise the likelihood of every order, rows of one length together."""
    n, k = len(levels), len(orders)
    found = _Candidates(
        np.full((n, k, 3), np.nan), np.full((n, k, 3), np.nan), np.full((n, k), np.nan), np.full((n, k), np.nan),
        np.zeros((n, k), np.int8),
    )  # fmt: skip
    for length in np.unique(lengths[good]):
        rows = np.flatnonzero(good & (lengths == length))
        changes = np.diff(levels[rows, :length], axis=1)
        largest = np.abs(changes).max(axis=1)
        size = largest * np.sqrt(((changes / largest[:, None]) ** 2).mean(axis=1))
        scaled = np.ascontiguousarray(changes / size[:, None])
        count = length - 1
        known: dict[tuple[int, int], Maximum] = {}
        for i, (p, _, q) in enumerate(orders):
            best = _maximum(scaled, p, q, known)
            found.ar[rows, i], found.ma[rows, i], found.state[rows, i] = best.ar, best.ma, best.state
            found.sigma2[rows, i] = best.ssq / count * size * size
            constant = -0.5 * count * (_LOG_2PI + 1.0 - np.log(count))
            found.loglik[rows, i] = constant - best.objective - count * np.log(size)
    return found


def _penalised(loglik: F64, orders: list[Order], count: F64, criterion: str) -> F64:
    """Turn log-likelihoods (n, k) into the criterion; sigma2 counts as a parameter, `count` is the differences'."""
    parameters = np.array([p + q + 1 for p, _, q in orders], np.float64)
    if criterion == "bic":
        return -2.0 * loglik + parameters * np.log(count)[:, None]
    aic = -2.0 * loglik + 2.0 * parameters
    if criterion == "aic":
        return aic
    return aic + 2.0 * parameters * (parameters + 1.0) / (count[:, None] - parameters - 1.0)


def _choose(found: _Candidates, good: I64, all_scores: F64, orders: list[Order], margin: float) -> tuple[I64, Bool]:
    """Choose a column for each good row; the second result marks rows where no candidate was admissible."""
    score = all_scores[good]
    n, k = score.shape
    if k == 1:
        return np.zeros(n, np.int64), np.zeros(n, np.bool_)
    usable = np.empty((n, k), np.bool_)
    for i in range(k):
        usable[:, i] = admissible(found.ar[good, i], found.ma[good, i])
    usable &= found.state[good] != 0
    none: Bool = np.logical_not(usable.any(axis=1))
    rank = np.where(usable | none[:, None], score, np.inf)
    choice = rank.argmin(axis=1)
    if RANDOM_WALK in orders:
        walk = orders.index(RANDOM_WALK)
        rows = np.arange(n)
        choice[rank[rows, choice] > rank[:, walk] - margin] = walk
    return choice, none


def fit(
    series: npt.ArrayLike,
    lengths: npt.ArrayLike | None = None,
    orders: tuple[Order, ...] = ORDERS,
    criterion: str = "aicc",
    *,
    random_walk_margin: float = 2.0,
) -> ArimaFit:
    """Fit every candidate order to every series by exact maximum likelihood and choose one for each series.

    Parameters
    ----------
    series : (n, t) array_like of float
        Levels (log prices, say), left-aligned, evenly spaced.
    lengths : (n,) array_like of int, optional
        Observations in each row; all t when None. What lies beyond is ignored.
    orders : tuple of (p, d, q)
        Candidates: d = 1, p and q 0 to 3.
    criterion : {"aicc", "aic", "bic"}
        What to minimise. sigma2 counts as a parameter; the number of observations is that of the differences.
    random_walk_margin : float
        Where (0, 1, 0) is a candidate, another order must beat it by this much of the criterion.

    Returns
    -------
    ArimaFit
        `status` is 0; 7 where the model chosen has a partial autocorrelation at the limit of 0.9999945 (next to a unit
        root) or where no candidate was admissible and the best of them was taken; 5 for a NaN or an infinity in the
        row; 8 for fewer than `MIN_OBSERVATIONS` observations or a series that is constant or a straight line; 6 where
        the search did not converge.

    Raises
    ------
    ValueError
        If shapes do not fit, an order is unsupported or the criterion is unknown. Never for a bad row.

    Notes
    -----
    Only where several orders compete, one is rejected when an AR or MA root has modulus below 1.01 or an AR root lies
    within 0.05 of an MA root. `all_loglik` and `all_criterion` show such orders all the same.

    The likelihood surface has several maxima and ridges where AR and MA factors nearly cancel, so that the search is
    global [1]_: many points, then damped Newton with exact second derivatives from several. A local optimiser from one
    start often ends lower.

    References
    ----------
    .. [1] G. M. Ljung and G. E. P. Box (1979), The likelihood function of stationary autoregressive-moving average
       models, Biometrika 66, for the likelihood; J. F. Monahan (1984), A note on enforcing stationarity in
       autoregressive-moving average models, Biometrika 71, for the parameters; C. M. Hurvich and C.-L. Tsai (1989),
       Regression and time series model selection in small samples, Biometrika 76, for AICc.

    Examples
    --------
    >>> steps = 0.01 * np.random.default_rng(0).standard_normal(500)
    >>> levels = 4.6 + np.cumsum(np.convolve(steps, [1.0, 0.8]))
    >>> model = fit(levels, orders=((0, 1, 0), (0, 1, 1)))
    >>> model.order
    array([[0, 1, 1]])
    """
    levels, size = _arrays.series(series, lengths)
    candidates = _checked(orders, criterion)
    state = _row_status(levels, size)
    found = _search(levels, size, state == status.OK, candidates)
    # rows with fewer have no score, and no correction that divides by nothing
    count = np.maximum(size - 1, MIN_OBSERVATIONS - 1).astype(np.float64)
    score = _penalised(found.loglik, candidates, count, criterion)
    good = np.flatnonzero(state == status.OK)
    choice = np.zeros(len(levels), np.int64)
    choice[good], forced = _choose(found, good, score, candidates, random_walk_margin)
    row = np.arange(len(levels))
    ended = found.state[row, choice]
    state[good[forced | (ended[good] == AT_LIMIT)]] = status.AT_BOUND
    state[good[ended[good] == 0]] = status.NOT_CONVERGED
    bad = ~status.is_finite(state)
    found.loglik[bad] = np.nan
    score[bad] = np.nan
    order = np.array(candidates, np.int64)[choice]
    order[bad] = -1

    def chosen(part: F64) -> F64:
        picked = part[row, choice]
        picked[bad] = np.nan
        return picked

    return ArimaFit(
        order, chosen(found.ar), chosen(found.ma), chosen(found.sigma2), chosen(found.loglik), chosen(score),
        found.loglik, score, state,
    )  # fmt: skip


def _parameters(levels: F64, ar: npt.ArrayLike, ma: npt.ArrayLike, sigma2: npt.ArrayLike) -> tuple[F64, F64, F64]:
    """Broadcast coefficients and variance to the rows of `levels`."""
    n = len(levels)
    return (
        np.broadcast_to(np.asarray(ar, np.float64), (n, 3)).copy(),
        np.broadcast_to(np.asarray(ma, np.float64), (n, 3)).copy(),
        np.broadcast_to(np.asarray(sigma2, np.float64), (n,)).copy(),
    )


def _filtered(levels: F64, lengths: I64, ar: F64, ma: F64, sigma2: F64) -> tuple[F64, Bool]:
    """Filter the rows; the second result marks those with finite observations and usable parameters."""
    inside = np.arange(levels.shape[1]) < lengths[:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        usable = np.isfinite(np.where(inside, levels, 0.0)).all(axis=1)
        usable &= np.isfinite(ar).all(axis=1) & np.isfinite(ma).all(axis=1) & (sigma2 > 0.0) & np.isfinite(sigma2)
    out = np.empty((len(levels), STATE))
    if len(levels):
        filter_series(levels, lengths, ar, ma, out)
    return out, usable & np.isfinite(out).all(axis=1)


def loglikelihood(
    series: npt.ArrayLike,
    ar: npt.ArrayLike,
    ma: npt.ArrayLike,
    sigma2: npt.ArrayLike,
    lengths: npt.ArrayLike | None = None,
) -> F64:
    """Evaluate the exact Gaussian log-likelihood of the first differences at given parameters.

    Parameters
    ----------
    series : (n, t) array_like of float
        Levels, left-aligned.
    ar, ma : (n, 3) array_like of float
        Coefficients, unused ones 0; (3,) serves every row. `ma` need not be invertible.
    sigma2 : (n,) array_like of float
        Variance of the innovations, above 0, in units of the series squared.
    lengths : (n,) array_like of int, optional
        Observations in each row; all t when None.

    Returns
    -------
    (n,) float64
        NaN for a row with NaN or infinity, fewer than two observations, or `ar` that is not stationary.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Notes
    -----
    Chandrasekhar recursion (Morf, Sidhu and Kailath 1974; Pearlman 1980), equal to the Kalman filter's from the
    stationary start. A likelihood of the levels under an approximate diffuse prior differs by an amount that grows with
    the square of the level.
    """
    levels, size = _arrays.series(series, lengths)
    ar_, ma_, variance = _parameters(levels, ar, ma, sigma2)
    out, usable = _filtered(levels, size, ar_, ma_, variance)
    result = np.full(len(levels), np.nan)
    v = variance[usable]
    result[usable] = -0.5 * ((size[usable] - 1.0) * (_LOG_2PI + np.log(v)) + out[usable, 1] + out[usable, 0] / v)
    return result


def forecast(fit: ArimaFit, series: npt.ArrayLike, horizon: int, lengths: npt.ArrayLike | None = None) -> Forecast:
    """Forecast the level 1 .. `horizon` steps after the last observation.

    Parameters
    ----------
    fit : ArimaFit
        Of the same rows; only `ar`, `ma` and `sigma2` are used.
    series : (n, t) array_like of float
        The levels to forecast from, left-aligned; need not be those of the fit.
    horizon : int
        Steps, at least 1.
    lengths : (n,) array_like of int, optional
        Observations in each row; all t when None.

    Returns
    -------
    Forecast
        `mean` and `variance`, both (n, horizon), of the level; on log prices the quantiles of the price are the
        exponentials of these quantiles, its mean is exp(mean + variance/2). NaN for rows without a fit.

    Raises
    ------
    ValueError
        If the shapes do not fit or `horizon` is below 1.

    Notes
    -----
    The variance is exact for the fitted model: it contains what the filter does not know of the last innovations, which
    matters next to an MA unit root. The uncertainty of the parameters is not in it.
    """
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1, not {horizon}")
    levels, size = _arrays.series(series, lengths)
    if np.shape(fit.ar) != (len(levels), 3):
        raise ValueError(f"a fit of {len(fit.ar)} series for {len(levels)} series")
    ar, ma, sigma2 = _parameters(levels, fit.ar, fit.ma, fit.sigma2)
    out, usable = _filtered(levels, size, ar, ma, sigma2)
    mean = np.full((len(levels), horizon), np.nan)
    variance = np.full((len(levels), horizon), np.nan)
    rows = np.flatnonzero(usable)
    at = levels[rows, size[rows] - 1]
    some_mean, some_variance = np.empty((len(rows), horizon)), np.empty((len(rows), horizon))
    project(at, ar[rows], ma[rows], sigma2[rows], out[rows], some_mean, some_variance)
    mean[rows], variance[rows] = some_mean, some_variance
    return Forecast(mean, variance)
