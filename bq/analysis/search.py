"""The search for a butterfly: every listed K1 < K2 < K3 of every usable expiry, for a whole batch in one kernel call.

What ranks and what is claimed is written down in docs/decisions/0030-the-search.md. In short: candidates are ranked by
the lower bound of their expected profit, after spread and commission, over its standard deviation, under the two
measures that are opinions (forecast and history; what the market's own smile says of its own quotes is minus the
costs). The bound holds for all candidates at once, whichever is picked, and a quote that is cheaper than the smile of
its neighbours gives no credit: that is what the best of thousands would otherwise be picked for.
"""

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bq.analysis import design, smiles
from bq.analysis.design import Design
from bq.analysis.position import FORMS
from bq.analysis.risk import DRIFT_SHARPE, SIMULTANEOUS_95
from bq.analysis.slices import Slice
from bq.market.source import F64
from bq.schema import Reason
from kernels import butterfly, density, terminal_returns

POINTS: Final = 1025
REACH: Final = 6.0  # standard deviations that the grid of the distribution functions covers
TOP, FRONT, SHOWN = 10, 32, 6
POOL: Final = 256  # best of an expiry among which its front is found
REWARD_SHARE: Final = 0.5
"""Least maximum profit over maximum loss: 35 dollars at risk for 4, with a wing at the last strike, is no butterfly."""
_FORECAST: Final = 0  # the first of the two opinions; the other is the history


class Choice(NamedTuple):
    """One butterfly worth showing."""

    slice: Slice
    design: Design
    score: float  # lower bound of the expected profit, luck with the quotes taken off, over its standard deviation
    ev_shrunk: float
    spread_share: float  # half spreads over the maximum loss
    risk: float  # standard deviation of the profit over the maximum loss


class Found(NamedTuple):
    """What the search of one ticker came to."""

    choices: list[Choice]  # the Pareto front of score, probability, liquidity and risk; the best first
    front_size: int  # of the expiries' fronts together
    examined: int
    passed: int
    positive: int
    rejected: list[Reason]


class Outlook(NamedTuple):
    """The distributions of the price at one slice's expiry, before they are tables."""

    simulated: F64  # (paths,) log returns
    history: F64 | None  # overlapping log returns over as many sessions
    relative_error: float  # of the forecast volatility


def look(slices: Sequence[Slice], outlooks: Sequence[Outlook], fee: float) -> dict[int, Found]:
    """Search every slice.

    Parameters
    ----------
    slices : sequence of Slice
        With a smile, of tickers whose quotes are usable.
    outlooks : sequence of Outlook
        One a slice.
    fee : float
        Commission of one contract, a share.

    Returns
    -------
    dict
        By owner of the slices.
    """
    if not slices:
        return {}
    quotes = _quotes(slices)
    strike = np.asarray(quotes.strike)
    opinions = _opinions(slices, outlooks, strike)
    discount = np.array([s.discount for s in slices])
    result = butterfly.search(
        quotes,
        opinions,
        fee,
        discount,
        limits=butterfly.Limits(errors=SIMULTANEOUS_95, reward_share=REWARD_SHARE),
        top=TOP,
        front=FRONT,
        front_capacity=POOL,
        arbitrages=0,
        per="sd",
    )
    listed = _listed(result)
    counts = {name: getattr(result, name).tolist() for name in _COUNTS}
    by_owner: dict[int, list[int]] = {}
    for i, s in enumerate(slices):
        by_owner.setdefault(s.owner, []).append(i)
    found = {}
    for owner, rows in by_owner.items():
        choices: list[Choice] = []
        size = listed.points.shape[1]
        # more than are shown: some may turn out to have no form that can be traded
        for i in pareto(listed.points[rows].reshape(-1, listed.points.shape[2]), most=2 * SHOWN):
            choice = _choice(slices[rows[i // size]], listed, (rows[i // size], i % size), fee)
            if choice is not None:
                choices.append(choice)
            if len(choices) == SHOWN:
                break
        found[owner] = _found({name: sum(values[row] for row in rows) for name, values in counts.items()}, choices)
    return found


_COUNTS: Final = (
    "front_size",
    "combinations",
    "executable",
    "arbitrages",
    "too_small",
    "small_reward",
    "pop_outside",
    "eligible",
    "positive",
)


class _Listed(NamedTuple):
    """The best of every slice and its front, (n, k) and more."""

    legs: npt.NDArray[np.int64]
    form: npt.NDArray[np.int8]
    form_cost: F64
    ev_shrunk: F64
    points: F64
    """(n, k, 4): score, probability, minus spread, minus risk; NaN where there are fewer."""


def _listed(result: butterfly.Candidates) -> _Listed:
    """Bring the best and the front together."""

    def both(name: str) -> Any:
        return np.concatenate([getattr(result.best, name), getattr(result.front, name)], axis=1)

    max_loss, sd = both("max_loss"), both("pnl_sd")[..., _FORECAST]
    sides = both("ev_lcb") / sd, both("pop")[..., _FORECAST], -both("spread") / max_loss, -sd / max_loss
    return _Listed(both("legs"), both("form"), both("form_cost"), both("ev_shrunk"), np.stack(sides, axis=2))


def _found(counts: dict[str, int], choices: list[Choice]) -> Found:
    rejected = [
        Reason("no_executable_form", counts["combinations"] - counts["executable"]),
        Reason("cannot_lose_at_the_quotes", counts["arbitrages"]),
        Reason("risk_below_twice_the_fees", counts["too_small"]),
        Reason("reward_below_half_the_risk", counts["small_reward"]),
        Reason("probability_outside_5_to_95_percent", counts["pop_outside"]),
    ]
    return Found(
        choices,
        counts["front_size"],
        counts["combinations"],
        counts["eligible"],
        counts["positive"],
        [reason for reason in rejected if reason.count],
    )


def pareto(points: F64, most: int) -> list[int]:
    """List the rows that no other equals or beats in every column, best first column first; equal rows count once.

    Parameters
    ----------
    points : (n, k) float64
        Larger is better; rows with NaN are left out.
    most : int
        Where to stop.
    """
    rows = np.flatnonzero(np.isfinite(points).all(axis=1))
    order = rows[np.lexsort(-points[rows].T[::-1])]
    front: list[int] = []
    # Only earlier rows can beat one, sorted by the first column as they are: the first few have a front of their own.
    for size in (3 * most, order.size):
        first = order[:size]
        beaten = np.tri(first.size, k=-1, dtype=np.bool_)
        for column in points[first].T:
            beaten &= column >= column[:, None]
        front = first[~beaten.any(axis=1)][:most].tolist()
        if len(front) == most:
            break
    return front


def _choice(s: Slice, listed: _Listed, at: tuple[int, int], fee: float) -> Choice | None:
    lower, middle, upper = listed.legs[at].tolist()
    found = design.of_slice(s, (lower, middle, upper), fee, FORMS[listed.form[at]])
    if found is None:
        return None
    _, second, _ = sorted(listed.form_cost[at].tolist())
    saving = second - min(listed.form_cost[at].tolist()) if math.isfinite(second) else 0.0
    score, _, spread, risk = listed.points[at].tolist()
    return Choice(s, found._replace(saving=saving), score, float(listed.ev_shrunk[at]), -spread, -risk)


def _quotes(slices: Sequence[Slice]) -> butterfly.Quotes:
    width = max(s.strike.size for s in slices)
    table = np.full((5, len(slices), width), np.nan)
    for i, s in enumerate(slices):
        for column, values in zip(table, (s.strike, s.call.bid, s.call.ask, s.put.bid, s.put.ask), strict=True):
            column[i, : values.size] = values
    return butterfly.Quotes(*table)


def _opinions(slices: Sequence[Slice], outlooks: Sequence[Outlook], strike: F64) -> butterfly.Measures:
    """Tabulate forecast and history at every strike, with what the forecast's two errors change."""
    n = len(slices)
    forward = np.array([s.forward for s in slices])
    tau = np.array([s.tau for s in slices])
    simulated = np.stack([o.simulated for o in outlooks])
    spread = np.maximum(simulated.std(axis=1), np.array([s.atm_iv for s in slices]) * np.sqrt(tau))
    low, high = forward * np.exp(-REACH * spread), forward * np.exp(REACH * spread)
    step = (high - low) / (POINTS - 1)
    error = np.array([o.relative_error for o in outlooks])
    forecast = terminal_returns.tabulate(simulated, forward, strike, low, step, POINTS, stretch=error)
    lengths = np.array([0 if o.history is None else o.history.size for o in outlooks])
    history = np.full((n, max(int(lengths.max()), 1)), np.nan)
    for i, o in enumerate(outlooks):
        if o.history is not None:
            history[i, : lengths[i]] = o.history
    empirical = terminal_returns.tabulate(history, forward, strike, low, step, POINTS, lengths=lengths)
    svi = smiles.stack(slices, splines=True)
    drift = (DRIFT_SHARPE * np.sqrt(tau))[:, None] * spread[:, None]
    # Up and down apart: where a butterfly neither gains nor loses by a small move of the volatility, it loses by either
    # large one, and the linear error alone would be sought out by the search for being 0.
    shift = np.zeros((3, 2, n, strike.shape[1]))
    shift[0, _FORECAST] = math.sqrt(0.5) * (forecast.put_wider - forecast.put_value)
    shift[1, _FORECAST] = math.sqrt(0.5) * (forecast.put_narrower - forecast.put_value)
    shift[2, _FORECAST] = drift * forecast.by_mean
    return butterfly.Measures(
        put_value=np.stack([forecast.put_value, empirical.put_value]),
        cdf=np.stack([forecast.cdf, empirical.cdf]),
        grid_low=low,
        grid_step=step,
        put_shift=shift,
        put_square=np.stack([forecast.put_square, empirical.put_square]),
        paths=np.array([float(simulated.shape[1]), np.inf]),
        smile_value=forward[:, None] * density.put_value(svi, np.log(strike / forward[:, None])),
    )
