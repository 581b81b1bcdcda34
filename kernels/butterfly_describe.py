"""Every number of a few chosen butterflies: cost in each form, loss, break-evens, expectations, probabilities.

The same arithmetic as the search's, in numpy and in the same order: quotes are in cents, so forms do tie, and a
rounding of another order would choose another form. The doors are in `kernels.butterfly`.
"""

from typing import NamedTuple

import numpy as np

from kernels._arrays import F64, I8, I64, Bool
from kernels.butterfly_inputs import Book, Tables


class Butterflies(NamedTuple):
    """k butterflies of each of n expiries, `(n, k)`: NaN (legs and form -1) where there are fewer.

    P&L is in money of today: the discounted payoff less the cost. "Worst measure" is the one with the least
    `ev - errors * se`.
    """

    legs: I64
    """(n, k, 3): columns of the lower, middle and upper strike."""
    form: I8
    """The cheapest form: 0 call, 1 put, 2 iron."""
    cost: F64
    """Cash paid at entry in that form with fees; negative where it is received (always, or nearly, for iron)."""
    form_cost: F64
    """(n, k, 3): the three forms' costs restated for the put form, so that they compare; inf where not executable."""
    saving: F64
    """By how much the cheapest form beats the dearest executable one; 0 where it is the only one."""
    max_loss: F64
    max_profit: F64
    break_even_low: F64
    """NaN where there is none: the position gains, or loses, all the way down."""
    break_even_high: F64
    ev: F64
    """(n, k, J): expected P&L; NaN for a measure that the row does not have."""
    ev_se: F64
    """(n, k, J): its standard error, from `put_shift` and `paths`."""
    pnl_sd: F64
    """(n, k, J): standard deviation of the P&L."""
    pop: F64
    """(n, k, J): probability of a profit."""
    ev_lcb: F64
    """The least of ev - errors * ev_se over the measures, less the luck."""
    luck: F64
    """By how much the middle of its quotes is below the smile's value, at least 0; 0 without a smile."""
    score: F64
    """ev_lcb / max_loss."""
    spread: F64
    """Half spreads paid on the four options of the chosen form, together."""
    ev_shrunk: F64
    """Expected P&L under the worst measure, shrunk for having been picked among many (`search` only, else NaN)."""


def worst_measure(lcb: F64) -> I64:
    """Index (n, k, 1) of the least along the measures, absent ones (NaN) left out."""
    return np.argmin(np.where(np.isnan(lcb), np.inf, lcb), axis=2, keepdims=True)


def _at(values: F64, index: I64) -> tuple[F64, F64, F64]:
    """Values (..., n, m) at the three strikes of every butterfly, each (..., n, k)."""
    rows = np.arange(index.shape[0])[:, None]
    lower, middle, upper = (values[..., rows, np.maximum(index[..., leg], 0)] for leg in range(3))
    return lower, middle, upper


def describe(book: Book, tables: Tables, index: I64, errors: float) -> Butterflies:
    """Every number of the butterflies at `index`, which is -1 where there is none."""
    k1, k2, k3 = _at(book.strike, index)
    low_wing, high_wing, d = k2 - k1, k3 - k2, book.discount[:, None]
    buy_call, sell_call, buy_put, sell_put = (_at(column, index) for column in book[1:5])
    call = buy_call[0] + (buy_call[2] - 2.0 * sell_call[1]) + d * (high_wing - low_wing)
    put = buy_put[0] + (buy_put[2] - 2.0 * sell_put[1])
    iron = buy_put[0] + (buy_call[2] - sell_put[1] - sell_call[1] + d * high_wing)
    form_cost = np.stack([call, put, iron], axis=2)
    form = np.argmin(form_cost, axis=2)
    cost = form_cost.min(axis=2) + book.fees[:, None]
    form_cost += book.fees[:, None, None]
    real = (index[..., 0] >= 0) & np.isfinite(cost) & (high_wing > 0.0) & (low_wing > 0.0)
    cost = np.where(real, cost, np.nan)
    constant = np.stack([d * (high_wing - low_wing), np.zeros_like(put), d * high_wing], axis=2)
    half_call, half_put = _at(book.half_call, index), _at(book.half_put, index)
    spreads = [
        half_call[0] + (half_call[2] + 2.0 * half_call[1]),
        half_put[0] + (half_put[2] + 2.0 * half_put[1]),
        half_put[0] + (half_call[2] + half_put[1] + half_call[1]),
    ]
    tail, x = high_wing - low_wing, cost / d
    max_loss, max_profit = cost - d * np.minimum(tail, 0.0), d * high_wing - cost
    wins = max_profit > 0.0
    low = np.where((x > tail) & wins, k1 + (x - tail), np.nan)
    high = np.where((x > 0.0) & wins, k3 - x, np.nan)
    ev, ev_se, pnl_sd = _expectations(book, tables, index, cost)
    pop = np.where(real[..., None], _probabilities(tables, low, high, wins), np.nan)
    lcb = ev - errors * ev_se
    ev_lcb = np.where(
        real, np.take_along_axis(lcb, worst_measure(lcb), axis=2)[..., 0] if lcb.shape[2] else np.nan, np.nan
    )
    spread = np.choose(form, spreads)
    smile = _at(tables.smile_value, index)
    luck = d * (smile[0] + (smile[2] - 2.0 * smile[1])) - (cost - book.fees[:, None]) + spread
    luck = np.where(real, np.where(tables.smiles[:, None], np.maximum(luck, 0.0), 0.0), np.nan)
    ev_lcb -= luck
    chosen = np.where(real, form, -1)
    return Butterflies(
        legs=np.where(real[..., None], index, -1),
        form=chosen.astype(np.int8),
        cost=cost - np.take_along_axis(constant, form[..., None], axis=2)[..., 0],
        form_cost=np.where(real[..., None], form_cost, np.nan),
        saving=np.where(np.isfinite(form_cost), form_cost, -np.inf).max(axis=2) - cost,
        max_loss=max_loss,
        max_profit=max_profit,
        break_even_low=low,
        break_even_high=high,
        ev=ev,
        ev_se=ev_se,
        pnl_sd=pnl_sd,
        pop=pop,
        ev_lcb=ev_lcb,
        luck=luck,
        score=ev_lcb / max_loss,
        spread=np.where(real, spread, np.nan),
        ev_shrunk=np.full(cost.shape, np.nan),
    )


def _expectations(book: Book, tables: Tables, index: I64, cost: F64) -> tuple[F64, F64, F64]:
    """Compute the expected P&L, its standard error and the P&L's standard deviation, (n, k, J); NaN if absent."""
    k1, k2, k3 = _at(book.strike, index)
    d = book.discount[:, None]
    lower, middle, upper = _at(tables.put_value, index)
    mean = lower + (upper - 2.0 * middle)
    shift = _at(tables.put_shift, index)
    variance = ((d * (shift[2] - 2.0 * shift[1] + shift[0])) ** 2).sum(axis=0)
    sd = np.full(mean.shape, np.nan)
    if tables.put_square is not None:
        first, _, last = _at(tables.put_square, index)
        w1, w2 = k2 - k1, k3 - k2
        square = last - first + 2.0 * (w2 - w1) * lower - 4.0 * w2 * middle
        sd = d * np.sqrt(np.maximum(square - mean * mean, 0.0))
        variance = variance + sd * sd * tables.over_paths[:, :, None]
    absent = ~tables.present[:, :, None] | np.isnan(cost)
    parts = (d * mean - cost, np.sqrt(variance), sd)
    ev, se, sd = (np.ascontiguousarray(np.where(absent, np.nan, p).transpose(1, 2, 0)) for p in parts)
    return ev, se, sd


def _probabilities(tables: Tables, low: F64, high: F64, wins: Bool) -> F64:
    """Probability of a profit, (n, k, J): 0 where none is possible, NaN where a measure is absent."""
    last = tables.cdf.shape[2] - 1.000001
    out = np.full((*low.shape, tables.cdf.shape[0]), np.nan)
    rows = np.arange(low.shape[0])[:, None]
    ends = []
    for end in (low, high):
        position = (end - tables.grid_low[:, None]) / tables.grid_step[:, None]
        position = np.clip(np.where(np.isnan(position), 0.0, position), 0.0, last)
        ends.append((position.astype(int), position - np.floor(position)))
    for j in range(out.shape[2]):
        below, above = (
            tables.cdf[j][rows, cell] + share * (tables.cdf[j][rows, cell + 1] - tables.cdf[j][rows, cell])
            for cell, share in ends
        )
        inside = np.where(np.isnan(high), 1.0, above) - np.where(np.isnan(low), 0.0, below)
        value = np.where(wins, np.maximum(inside, 0.0), 0.0)
        out[..., j] = np.where(tables.present[j][:, None], value, np.nan)
    return out
