"""The search for a butterfly: every listed K1 < K2 < K3 of every usable expiry, for a whole batch in one kernel call.

What ranks and what is claimed is written down in docs/decisions/0030-the-search.md. In short: candidates are ranked by
the lower bound of their expected profit, after spread and commission, over its standard deviation, under the two
measures that are opinions (forecast and history; what the market's own smile says of its own quotes is minus the
costs). The bound holds for all candidates at once, whichever is picked, and a quote that is cheaper than the smile of
its neighbours gives no credit: that is what the best of thousands would otherwise be picked for.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from bq.analysis import design, smiles
from bq.analysis.design import Design
from bq.analysis.position import FORMS
from bq.analysis.risk import DRIFT_SHARPE, SIMULTANEOUS_95
from bq.analysis.slices import Slice
from bq.market.source import F64
from bq.schema import Reason
from kernels import butterfly, terminal, terminal_returns

POINTS: Final = 1025
REACH: Final = 6.0  # standard deviations that the grid of the distribution functions covers
TOP, FRONT, SHOWN = 10, 32, 6
POOL: Final = 256  # best of an expiry among which its front is found
REWARD_SHARE: Final = 0.5
"""Least maximum profit over maximum loss: 35 dollars at risk for 4, with a wing at the last strike, is no butterfly."""
_FORECAST, _EMPIRICAL, _MARKET = 0, 1, 2


class Choice(NamedTuple):
    """One butterfly worth showing."""

    slice: Slice
    design: Design
    score: float  # lower bound of the expected profit, luck with the quotes taken off, over its standard deviation
    ev_shrunk: float
    spread_share: float  # half spreads over the maximum loss


class Found(NamedTuple):
    """What the search of one ticker came to."""

    choices: list[Choice]  # the Pareto front of score, probability and liquidity; the best first
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
    measures = _measures(slices, outlooks, np.asarray(quotes.strike))
    discount = np.array([s.discount for s in slices])
    limits = butterfly.Limits(errors=SIMULTANEOUS_95, reward_share=REWARD_SHARE)
    opinions = butterfly.Measures(
        np.asarray(measures.put_value)[:_MARKET],
        np.asarray(measures.cdf)[:_MARKET],
        measures.grid_low,
        measures.grid_step,
        None if measures.put_shift is None else np.asarray(measures.put_shift)[:, :_MARKET],
        None if measures.put_square is None else np.asarray(measures.put_square)[:_MARKET],
        None if measures.paths is None else np.asarray(measures.paths)[:_MARKET],
    )
    result = butterfly.search(
        quotes,
        opinions,
        fee,
        discount,
        limits=limits,
        top=TOP,
        front=FRONT,
        front_capacity=POOL,
        arbitrages=0,
        per="sd",
    )
    legs = np.concatenate([result.best.legs, result.front.legs], axis=1)
    kept = butterfly.evaluate(quotes, measures, legs, fee, discount, limits=limits)
    bound = np.concatenate([result.best.ev_lcb, result.front.ev_lcb], axis=1)
    shrunk = np.concatenate([result.best.ev_shrunk, result.front.ev_shrunk], axis=1)
    # What the quotes are cheaper than the smile's value, with the costs of trading added back.
    luck = np.maximum(kept.ev[..., _MARKET] + kept.spread + 4.0 * fee, 0.0)
    score = (bound - luck) / kept.pnl_sd[..., _FORECAST]
    probability, illiquid = kept.pop[..., _FORECAST], kept.spread / kept.max_loss
    by_owner: dict[int, list[int]] = {}
    for i, s in enumerate(slices):
        by_owner.setdefault(s.owner, []).append(i)
    found = {}
    for owner, rows in by_owner.items():
        points = np.stack([score[rows], probability[rows], -illiquid[rows]], axis=-1).reshape(-1, 3)
        places = [(row, column) for row in rows for column in range(legs.shape[1])]
        front = pareto(points, most=2 * SHOWN)
        choices = []
        for i in front:
            row, column = places[i]
            choice = _choice(slices[row], kept, row, column, fee)
            if choice is not None:
                choices.append(
                    Choice(
                        slices[row],
                        choice,
                        float(score[row, column]),
                        float(shrunk[row, column]),
                        float(illiquid[row, column]),
                    )
                )
            if len(choices) == SHOWN:
                break
        found[owner] = _found(result, rows, choices)
    return found


def _found(result: butterfly.Candidates, rows: list[int], choices: list[Choice]) -> Found:
    def count(name: str) -> int:
        return int(getattr(result, name)[rows].sum())

    examined, executable = count("combinations"), count("executable")
    rejected = [
        Reason("no_executable_form", examined - executable),
        Reason("cannot_lose_at_the_quotes", count("arbitrages")),
        Reason("risk_below_twice_the_fees", count("too_small")),
        Reason("reward_below_half_the_risk", count("small_reward")),
        Reason("probability_outside_5_to_95_percent", count("pop_outside")),
    ]
    return Found(
        choices,
        count("front_size"),
        examined,
        count("eligible"),
        count("positive"),
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
    order = rows[np.lexsort(tuple(-points[rows, j] for j in reversed(range(points.shape[1]))))]
    front: list[int] = []
    for row in order:
        # Sorted by the first column: only earlier rows can beat this one.
        if not front or not (points[front] >= points[row]).all(axis=1).any():
            front.append(int(row))
            if len(front) == most:
                break
    return front


def _choice(s: Slice, kept: butterfly.Butterflies, row: int, column: int, fee: float) -> Design | None:
    at = tuple(int(x) for x in kept.legs[row, column])
    found = design.of_slice(s, at, fee, FORMS[kept.form[row, column]])  # type: ignore[arg-type]
    if found is None:
        return None
    costs = np.sort(kept.form_cost[row, column])
    return found._replace(saving=float(costs[1] - costs[0]) if math.isfinite(costs[1]) else 0.0)


def _quotes(slices: Sequence[Slice]) -> butterfly.Quotes:
    width = max(s.strike.size for s in slices)
    table = np.full((5, len(slices), width), np.nan)
    for i, s in enumerate(slices):
        for column, values in zip(table, (s.strike, s.call.bid, s.call.ask, s.put.bid, s.put.ask), strict=True):
            column[i, : values.size] = values
    return butterfly.Quotes(*table)


def _measures(slices: Sequence[Slice], outlooks: Sequence[Outlook], strike: F64) -> butterfly.Measures:
    """Tabulate forecast, history and market at every strike, with what the forecast's two errors change."""
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
    market = terminal.smile(strike, low, step, svi, forward, points=POINTS)
    drift = (DRIFT_SHARPE * np.sqrt(tau))[:, None] * spread[:, None]
    # Up and down apart: where a butterfly neither gains nor loses by a small move of the volatility, it loses by either
    # large one, and the linear error alone would be sought out by the search for being 0.
    shift = np.zeros((3, 3, n, strike.shape[1]))
    shift[0, _FORECAST] = math.sqrt(0.5) * (forecast.put_wider - forecast.put_value)
    shift[1, _FORECAST] = math.sqrt(0.5) * (forecast.put_narrower - forecast.put_value)
    shift[2, _FORECAST] = drift * forecast.by_mean
    return butterfly.Measures(
        put_value=np.stack([forecast.put_value, empirical.put_value, market.put_value]),
        cdf=np.stack([forecast.cdf, empirical.cdf, market.cdf]),
        grid_low=low,
        grid_step=step,
        put_shift=shift,
        put_square=np.stack([forecast.put_square, empirical.put_square, market.put_square]),
        paths=np.array([float(simulated.shape[1]), np.inf, np.inf]),
    )
