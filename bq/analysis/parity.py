"""The forward of every expiry of a batch, from put-call parity: robust, and corrected for early exercise.

European parity says C - P = D (F - K). The quotes are American, so each pair is freed of its two premiums of early
exercise at the volatility of its out-of-the-money side; they depend on the carry, that on the forward, and so on, pass
by pass. The forward is the median of what the pairs near the money say, weighted by their spreads: one stale quote
moves nothing. The discount is given: over sixty days the slope that would tell it is lost in the spreads.

All expiries of a batch are worked as rows of tables, each by itself.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bq.analysis.early_exercise import Terms, premium
from bq.analysis.slices import Slice, table
from bq.market.source import F64
from kernels import implied_vol

PAIRS: Final = 8
"""Of an expiry, nearest the money."""
LEAST: Final = 2
ROUNDS: Final = 4
"""Of finding the spot again from corrected forwards, at most; where it is the given one, one does."""
PASSES: Final = 5
"""At most. The premiums hardly depend on the forward: two are usual, and a third moves it by less than 1e-7."""
SETTLED: Final = 2e-6
"""Share of the forward by which a pass may still have moved it."""
WIDEST: Final = 0.25
"""Spread of a quote of a pair over its middle, beyond 0.05."""
TICK: Final = 0.01
"""Least spread that a pair is weighted by."""
SPOT_TOLERANCE: Final = 0.004


class _Pairs(NamedTuple):
    """The pairs of n expiries, (n, PAIRS); weight 0 where there are fewer."""

    strike: F64
    call: F64
    put: F64
    weight: F64


def find(slices: Sequence[Slice]) -> None:
    """Fill in forward, its doubt and the number of pairs of each slice, or its problem; where there is none, the spot.

    Where a ticker's quotes imply another spot than the one given, spot and quotes are of different moments: theirs is
    used from then on, and it is said. That comes first, from European parity: the premiums of a carry that is off by
    such a gap are worth more than the gap.
    """
    if not slices:
        return
    pairs = _pairs(slices)
    given = [s.spot for s in slices]
    count = (pairs.weight != 0.0).sum(axis=1)
    growth = np.array([np.exp(s.rate * s.tau) for s in slices])
    _take(slices, pairs.strike + (pairs.call - pairs.put) * growth[:, None], pairs.weight)
    for s, n in zip(slices, count.tolist(), strict=True):
        s.pairs = n
    rows = list(range(len(slices)))
    _place_spots(slices, given)
    for _ in range(ROUNDS):
        live = np.array([i for i in rows if slices[i].problem is None], dtype=np.int64)
        if not live.size:
            break
        _correct([slices[i] for i in live.tolist()], _part(pairs, live), growth[live])
        rows = _place_spots(slices, given)


def _take(slices: Sequence[Slice], implied: F64, weight: F64) -> F64:
    """Give each slice the median of what its pairs imply, or its problem; return by what share it moves."""
    weight = np.where(np.isfinite(implied), weight, 0.0)
    middle = weighted_median(implied, weight)
    spread = weighted_median(np.abs(implied - middle[:, None]), weight) / middle
    told = (weight != 0.0).sum(axis=1) >= LEAST
    moved = np.zeros(len(slices))
    for i, s in enumerate(slices):
        if not told[i]:
            s.problem = "no_parity_pairs"
            continue
        moved[i] = abs(middle[i] / s.forward - 1.0)
        s.forward, s.parity_spread = float(middle[i]), float(spread[i])
    return moved


def _correct(slices: Sequence[Slice], pairs: _Pairs, growth: F64) -> None:
    """Free the forwards of the premiums of early exercise, which depend on them: pass by pass, until they stay."""
    tau, rate = np.array([s.tau for s in slices]), np.array([s.rate for s in slices])
    rows = np.arange(len(slices))
    for _ in range(PASSES):
        own = [slices[i] for i in rows.tolist()]
        spot, forward = np.array([s.spot for s in own]), np.array([s.forward for s in own])
        part = _part(pairs, rows)
        moved = _take(own, _european(part, tau[rows], rate[rows], spot, forward, growth[rows]), part.weight)
        rows = rows[moved > SETTLED]
        if not rows.size:
            break


def _part(pairs: _Pairs, rows: npt.NDArray[np.int64]) -> _Pairs:
    return _Pairs(*(column[rows] for column in pairs))


def _pairs(slices: Sequence[Slice]) -> _Pairs:
    """Take the strikes nearest the money where both sides are quoted tightly.

    Nearest the money without knowing the spot: where call and put are worth the same.
    """
    strike, call_bid, call_ask, put_bid, put_ask = table(slices)
    call, put = 0.5 * (call_bid + call_ask), 0.5 * (put_bid + put_ask)
    call_spread, put_spread = call_ask - call_bid, put_ask - put_bid
    tight = (call_spread <= WIDEST * call + 0.05) & (put_spread <= WIDEST * put + 0.05)
    away = np.where(tight, np.abs(call - put), np.inf)
    nearest = np.argsort(away, axis=1, kind="stable")[:, :PAIRS]

    row = np.arange(len(slices))[:, None]

    def taken(values: F64) -> F64:
        return values[row, nearest]

    spreads = np.maximum(call_spread, TICK) ** 2 + np.maximum(put_spread, TICK) ** 2
    weight = np.where(np.isfinite(taken(away)), 1.0 / taken(spreads), 0.0)
    return _Pairs(taken(strike), taken(call), taken(put), weight)


def _european(pairs: _Pairs, tau: F64, rate: F64, spot: F64, forward: F64, growth: F64) -> F64:
    """Say what forward each pair implies once both sides are European, (n, PAIRS); NaN where it has no volatility."""
    used = pairs.weight > 0.0
    owner = np.flatnonzero(used.ravel()) // used.shape[1]
    strike, call, put = pairs.strike[used], pairs.call[used], pairs.put[used]
    dividend = rate - np.log(forward / spot) / tau
    rows = Terms(spot[owner], strike, tau[owner], rate[owner], dividend[owner])
    out = strike >= forward[owner]  # of the money: the call
    sigma = implied_vol.implied_vol(np.where(out, call, put), *rows, out).sigma
    both = Terms(*(np.concatenate([column, column]) for column in rows))
    paid = premium(both, np.concatenate([sigma, sigma]), np.arange(2 * strike.size) < strike.size)
    difference = (call - paid[: strike.size]) - (put - paid[strike.size :])
    implied = np.full(used.shape, np.nan)
    implied[used] = strike + difference * growth[owner]
    return implied


def weighted_median(values: F64, weight: F64) -> F64:
    """Find the lower weighted median of each row, (n,); NaN for a row without weight.

    Parameters
    ----------
    values, weight : (n, m) float64
        What has no weight may be anything.
    """
    order = np.where(weight > 0.0, values, np.inf).argsort(axis=1, kind="stable")
    row = np.arange(len(values))
    cumulated = weight[row[:, None], order].cumsum(axis=1)
    middle = (cumulated < 0.5 * cumulated[:, -1:]).sum(axis=1)
    return np.where(cumulated[:, -1] > 0.0, values[row, order[row, middle]], np.nan)


def _place_spots(slices: Sequence[Slice], given: Sequence[float]) -> list[int]:
    """Compare each ticker's given spot with the one that its forwards imply; number the slices whose spot has changed.

    ln F against tau is a line through ln spot whatever the carry is. Where it misses the given spot by more than 0.4 %
    and more than the pairs disagree, spot and quotes belong to different moments. Where none is given, and one expiry
    only tells a forward, the share is taken to pay nothing.
    """
    by_owner: dict[int, list[int]] = {}
    for i, s in enumerate(slices):
        by_owner.setdefault(s.owner, []).append(i)
    changed = []
    for rows in by_owner.values():
        own = [slices[i] for i in rows if slices[i].problem is None]
        if not own:
            continue
        spot = given[rows[0]]
        known = math.isfinite(spot)
        if len(own) > 1:
            implied = math.exp(_at_zero([s.tau for s in own], [math.log(s.forward) for s in own]))
            doubts = sorted(s.parity_spread for s in own)
            middle = 0.5 * (doubts[(len(own) - 1) // 2] + doubts[len(own) // 2])
            moved = not known or abs(math.log(implied / spot)) > max(SPOT_TOLERANCE, 3.0 * middle)
        else:
            implied, moved = own[0].forward * own[0].discount, not known
        spot = implied if moved else spot
        for i in rows:
            s = slices[i]
            if s.spot != spot and not abs(s.spot / spot - 1.0) <= SETTLED:
                s.spot = spot
                changed.append(i)
            s.spot_moved = moved and known
    return changed


def _at_zero(x: Sequence[float], y: Sequence[float]) -> float:
    """Give the value at 0 of the least-squares line through points."""
    x_mean, y_mean = sum(x) / len(x), sum(y) / len(y)
    square = sum((a - x_mean) ** 2 for a in x)
    slope = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True)) / square
    return y_mean - slope * x_mean
