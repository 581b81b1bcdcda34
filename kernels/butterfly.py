"""Butterflies 1 : -2 : 1 of listed strikes: all of an expiry searched, any of them described.

The call, put and iron (short straddle, long wings) forms of three strikes pay the same up to a constant, so a
butterfly is its strikes, and the form is whichever costs least at executable prices with its constant counted:
buy at the ask, sell at the bid, a fee for each of the four options. Amounts are per share, as quotes are.

`kernels.butterfly_scan` holds the compiled loop over all combinations, `kernels.butterfly_describe` the numbers of the
few that were kept, `kernels.payoff` the whole distribution of one, `kernels.terminal` the tables that measures are.
"""

from typing import Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from kernels import butterfly_lanes as lanes
from kernels import butterfly_scan as scan
from kernels import status
from kernels._arrays import F64, I8, I64, Bool
from kernels.butterfly_describe import Butterflies, describe, worst_measure
from kernels.butterfly_inputs import FORMS, Book, Limits, Measures, Quotes, Tables, read_measures, read_quotes
from kernels.payoff import PayoffStatistics, payoff_statistics, touch_probability

__all__ = [
    "FORMS",
    "Butterflies",
    "Candidates",
    "Limits",
    "Measures",
    "PayoffStatistics",
    "Quotes",
    "evaluate",
    "payoff_statistics",
    "search",
    "touch_probability",
]


class Candidates(NamedTuple):
    """What a search of each expiry found. Counts are int64 `(n,)`."""

    best: Butterflies
    """The best by score, best first."""
    front: Butterflies
    """The Pareto front, best first: no other is as good in all of score, least pop, spread / max_loss and risk.

    The risk is the standard deviation of the profit over the maximum loss; by `per="max_loss"` it does not count.
    """
    combinations: I64
    """All K1 < K2 < K3 of the row."""
    executable: I64
    """Those with at least one form that can be traded: usable quotes, a bid above 0 for what is sold."""
    too_small: I64
    """Refused: maximum loss below `loss_in_fees` times the fees."""
    small_reward: I64
    """Refused: maximum profit below `reward_share` of the maximum loss."""
    pop_outside: I64
    """Refused: least probability of profit outside the limits."""
    eligible: I64
    """Ranked."""
    positive: I64
    """Of those, the ones with a score above 0."""
    front_size: I64
    """Members of the front before the list was cut, among the `front_capacity` best by score."""
    arbitrages: I64
    """Executable butterflies that cannot lose, fees paid: an arbitrage or, far more often, a stale quote."""
    arbitrage_legs: I64
    """(n, a, 3): the a most gainful of them, -1 where fewer."""
    arbitrage_gain: F64
    """(n, a): the sure gain, at least 0."""
    prior_mean: F64
    """Of ev / max_loss under the worst measure over the eligible: its mean, or 0 if that is less."""
    prior_variance: F64
    """Of the same: variance beyond what the standard errors explain."""
    status: I8
    """0 ok (also where nothing was eligible); 5 bad input; 8 fewer than three strikes."""


def search(
    quotes: Quotes,
    measures: Measures,
    fee: npt.ArrayLike,
    discount: npt.ArrayLike = 1.0,
    *,
    limits: Limits = Limits(),  # noqa: B008 - immutable
    top: int = 10,
    front: int = 32,
    front_capacity: int = 512,
    arbitrages: int = 8,
    per: Literal["max_loss", "sd"] = "max_loss",
) -> Candidates:
    """Search every K1 < K2 < K3 of every expiry, broken wings included, in call, put and iron form.

    Parameters
    ----------
    quotes : Quotes
        Chains (n, m), at most 512 strikes. Fields may be passed as (m,) for one expiry.
    measures : Measures
        Tables of J distributions at those strikes and on the grids.
    fee : (n,) float64
        Commission per option and share (the fee of a contract / 100), at least 0; a butterfly pays four.
    discount : (n,) float64
        Discount factor to expiry, above 0.
    limits : Limits
        Filters before ranking.
    top, front, arbitrages : int
        Lengths of the lists.
    front_capacity : int
        The front is that of so many best by score.
    per : {"max_loss", "sd"}
        What the lower bound is divided by: the maximum loss, or the standard deviation of the profit under the first
        measure, which needs its `put_square`.

    Returns
    -------
    Candidates
        `best` and `front` as `Butterflies`, counts, arbitrages and the prior of the shrinkage.

    Raises
    ------
    ValueError
        If shapes do not fit, there are more than 512 strikes, a length is negative or a limit is NaN. Never for a bad
        row, which one with amounts of 1e100 and more is too.

    Notes
    -----
    The expected payoff of the put form is the second difference of put values over strikes (Breeden & Litzenberger
    1978); the probability of a profit is the distribution function between the break-evens. So each combination costs
    a few additions and two look-ups per measure. Score: the least over the measures of (ev - `limits.errors` se),
    less luck with the quotes, per unit of maximum loss or standard deviation.

    `ev_shrunk` is the empirical-Bayes posterior mean over the eligible combinations of the expiry (Efron & Morris
    1973; immune to the choice of the maximum, Efron 2011): with x = ev / max_loss, x shrinks towards the prior mean by
    v / (v + se**2), v being the variance of x in excess of the mean se**2. The prior mean is at most 0: costs make the
    typical butterfly lose, and shrinking towards 0 alone could never take a gain away.
    """
    if min(top, front, front_capacity, arbitrages) < 0:
        raise ValueError("lengths of lists must not be negative")
    if per not in ("max_loss", "sd") or (per == "sd" and measures.put_square is None):
        raise ValueError(f"per must be 'max_loss', or 'sd' with put_square, got {per!r}")
    book = read_quotes(quotes, fee, discount, limits)
    tables = read_measures(measures, book)
    n = book.strike.shape[0]
    code = np.where(book.good & tables.good, status.OK, status.BAD_INPUT).astype(np.int8)
    code[(code == status.OK) & (book.listed < 3)] = status.TOO_FEW_DATA
    best, members = np.full((n, top, 3), -1), np.full((n, front, 3), -1)
    arbitrage, gain = np.full((n, arbitrages, 3), -1), np.full((n, arbitrages), np.nan)
    sums = np.zeros((n, scan.SUMS))
    layout = _lay_out(book, tables, limits, per == "sd")
    chosen = np.flatnonzero(code == status.OK)
    scan.search_rows(chosen, *layout, top, front_capacity, best, members, arbitrage, gain, sums)
    prior_mean, prior_variance = _prior(sums)
    count = sums[:, : scan.FRONT_SIZE + 1].astype(np.int64)
    size = book.listed.astype(np.int64)
    both = describe(book, tables, np.concatenate([best, members], axis=1), limits.errors)
    both = _shrink(both, prior_mean, prior_variance, limits.errors)
    return Candidates(
        best=Butterflies._make(field[:, :top] for field in both),
        front=Butterflies._make(field[:, top:] for field in both),
        combinations=np.where(code == status.OK, size * (size - 1) * (size - 2) // 6, 0),
        executable=count[:, scan.EXECUTABLE],
        too_small=count[:, scan.SMALL_LOSS],
        small_reward=count[:, scan.SMALL_REWARD],
        pop_outside=count[:, scan.POP_OUTSIDE],
        eligible=count[:, scan.ELIGIBLE],
        positive=count[:, scan.POSITIVE],
        front_size=count[:, scan.FRONT_SIZE],
        arbitrages=count[:, scan.ARBITRAGES],
        arbitrage_legs=arbitrage,
        arbitrage_gain=gain,
        prior_mean=prior_mean,
        prior_variance=prior_variance,
        status=code,
    )


def evaluate(
    quotes: Quotes,
    measures: Measures,
    legs: npt.ArrayLike,
    fee: npt.ArrayLike,
    discount: npt.ArrayLike = 1.0,
    *,
    limits: Limits | None = None,
) -> Butterflies:
    """Describe given butterflies: (n, k, 3) columns of their strikes, -1 for none; other arguments as for `search`.

    Without `limits` every uncrossed quote with an ask can be bought and every bid above 0 sold, whatever the spread.
    A butterfly that cannot be traded in any form, or whose strikes do not increase, is NaN.
    """
    wide = Limits(spread_share=np.inf) if limits is None else limits
    book = read_quotes(quotes, fee, discount, wide)
    tables = read_measures(measures, book)
    index = np.asarray(legs, dtype=np.int64)
    if index.ndim != 3 or index.shape[0] != book.strike.shape[0] or index.shape[2] != 3:
        raise ValueError(f"expected legs of shape (n, k, 3), got {index.shape}")
    inside = ((index >= 0) & (index < book.strike.shape[1])).all(axis=2)
    good = inside & (index[..., 0] < index[..., 1]) & (index[..., 1] < index[..., 2])
    good &= (book.good & tables.good)[:, None]
    return describe(book, tables, np.where(good[..., None], index, -1), wide.errors)


class _Layout(NamedTuple):
    """What the scan reads, as it wants it."""

    book: F64
    value: F64
    square: F64
    shift: F64
    smile: F64
    cdf: F64
    present: Bool
    over_paths: F64
    terms: F64


_T = TypeVar("_T", bound=np.generic)


def _ready(array: npt.NDArray[_T]) -> npt.NDArray[_T]:
    """Copy where compiled code does not take an array as it is: it must be contiguous and writable."""
    return np.require(array, requirements=["C", "W"])


def _lay_out(book: Book, tables: Tables, limits: Limits, per_sd: bool) -> _Layout:
    square = np.empty((0, 0, 0)) if tables.put_square is None else tables.put_square
    terms = np.empty((len(book.fees), lanes.TERMS))
    terms[:, lanes.FEES], terms[:, lanes.DISCOUNT] = book.fees, book.discount
    terms[:, lanes.GRID_LOW] = tables.grid_low
    terms[:, lanes.PER_STEP] = 1.0 / np.where(tables.good, tables.grid_step, np.nan)
    terms[:, lanes.LEAST_LOSS] = limits.loss_in_fees * book.fees
    terms[:, lanes.POP_LOW], terms[:, lanes.POP_HIGH] = limits.pop_low, limits.pop_high
    terms[:, lanes.ERRORS], terms[:, lanes.REWARD], terms[:, lanes.PER_SD] = limits.errors, limits.reward_share, per_sd
    terms[:, lanes.MOST_LUCK] = np.where(tables.smiles, np.inf, 0.0)
    return _Layout(
        np.stack(book[: lanes.POP_FROM]),
        _ready(tables.put_value),
        _ready(square),
        _ready(tables.put_shift),
        _ready(tables.smile_value),
        _ready(tables.cdf),
        _ready(tables.present),
        _ready(tables.over_paths),
        terms,
    )


def _prior(sums: F64) -> tuple[F64, F64]:
    """Mean (at most 0) and excess variance of ev / max_loss over the eligible; NaN where there are none."""
    count = np.where(sums[:, scan.ELIGIBLE] > 0.0, sums[:, scan.ELIGIBLE], np.nan)
    mean = sums[:, scan.SUM_X] / count
    variance = sums[:, scan.SUM_XX] / count - mean * mean
    return np.minimum(mean, 0.0), np.maximum(variance - sums[:, scan.SUM_SE2] / count, 0.0)


def _shrink(flies: Butterflies, prior_mean: F64, prior_variance: F64, errors: float) -> Butterflies:
    """Fill ev_shrunk from the worst measure's value and error."""
    worst = worst_measure(flies.ev - errors * flies.ev_se)
    x = np.take_along_axis(flies.ev, worst, axis=2)[..., 0] / flies.max_loss
    se = np.take_along_axis(flies.ev_se, worst, axis=2)[..., 0] / flies.max_loss
    total = prior_variance[:, None] + se * se
    share = np.where(total > 0.0, prior_variance[:, None] / np.where(total > 0.0, total, 1.0), 1.0)
    mean = prior_mean[:, None]
    return flies._replace(ev_shrunk=flies.max_loss * (mean + share * (x - mean)))
