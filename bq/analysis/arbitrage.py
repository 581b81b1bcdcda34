"""Riskless profits at executable prices in a chain: the best alarm there is that its quotes are wrong or old.

Every trade buys at asks and sells at bids; what is counted is left after the commission. Verticals, butterflies and
calendars hold for American options as they stand. Parity does not: a conversion locks in its profit only where the
short leg cannot be exercised at a loss, so the bounds of American parity are used (Hull, Options, Futures, and Other
Derivatives, ch. 11): S - PV(dividends) - K <= C - P <= S - K PV(1).
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bq import schema
from bq.analysis.slices import Slice
from bq.market.source import F64, Bool, Chain

MOST_SHOWN: Final = 10
"""Of each expiry, the largest; a chain of stale quotes has hundreds."""
SPOT_DOUBT: Final = 1e-3
"""Share of the spot by which parity must be violated beyond its bounds: the spot is not of the second of the quotes."""


WINGS: Final = ((1, 1), (1, 2), (2, 1), (2, 2))
"""Neighbours that a butterfly's wings are: the convex hull of asks is made by near ones."""


class _Rows(NamedTuple):
    """Contracts of the slices in the order of slice, call or put, strike; all (n,)."""

    slice: npt.NDArray[np.int64]
    is_call: Bool
    strike: F64
    bid: F64  # NaN where there is none
    ask: F64
    bid_size: F64
    ask_size: F64


class _Found(NamedTuple):
    """Trades of one kind; all (n,) but for the strikes, (n, 1 to 3)."""

    kind: str
    slice: npt.NDArray[np.int64]
    strikes: F64
    is_call: Bool | None
    profit: F64
    size: F64

    def positive(self) -> "_Found":
        """Keep what pays."""
        keep = self.profit > 0.0
        calls = None if self.is_call is None else self.is_call[keep]
        return _Found(self.kind, self.slice[keep], self.strikes[keep], calls, self.profit[keep], self.size[keep])


def scan(slices: Sequence[Slice], chain: Chain, fee: float, dividends: Sequence[float]) -> list[list[schema.Arbitrage]]:
    """Look for riskless profits in every expiry of one ticker.

    Parameters
    ----------
    slices : sequence of Slice
        Of one ticker, ascending expiries.
    fee : float
        Commission of one contract, $ a share.
    dividends : sequence of float
        For each slice the cash a share that goes ex before its expiry.

    Returns
    -------
    list of list of Arbitrage
        For each slice the largest profits, at most 10; a calendar spread belongs to its later expiry.
    """
    if not slices:
        return []
    rows = _rows(slices, chain)
    quoted = _part(rows, np.isfinite(rows.bid) & np.isfinite(rows.ask))
    trades = [
        *_verticals(quoted, fee),
        *(_butterflies(_part(rows, np.isfinite(rows.ask)), wings, fee) for wings in WINGS),
        _calendars(rows, fee),
        *_parity(rows, slices, fee, np.array(dividends)),
    ]
    found: list[list[schema.Arbitrage]] = [[] for _ in slices]
    for trade in trades:
        kept = trade.positive()
        for j in np.argsort(-kept.profit)[: MOST_SHOWN * len(slices)]:
            found[int(kept.slice[j])].append(_written(kept, int(j)))
    return [_largest(own) for own in found]


def _largest(own: list[schema.Arbitrage]) -> list[schema.Arbitrage]:
    best: dict[tuple[object, ...], schema.Arbitrage] = {}
    for trade in sorted(own, key=lambda trade: -trade.profit):
        middle = trade.strikes[len(trade.strikes) // 2]
        best.setdefault((trade.kind, trade.is_call, middle), trade)
    return list(best.values())[:MOST_SHOWN]


def _written(trades: _Found, j: int) -> schema.Arbitrage:
    size = float(trades.size[j])
    return schema.Arbitrage(
        kind=trades.kind,  # type: ignore[arg-type]
        strikes=np.round(trades.strikes[j], 4).tolist(),
        is_call=None if trades.is_call is None else bool(trades.is_call[j]),
        profit=round(float(trades.profit[j]), 6),
        size=size if np.isfinite(size) and size > 0.0 else None,
    )


def _rows(slices: Sequence[Slice], chain: Chain) -> _Rows:
    number = np.full(chain.strike.size, -1)
    for i, s in enumerate(slices):
        for side in (s.call, s.put):
            number[side.row[side.row >= 0]] = i
    order = np.lexsort((chain.strike, chain.is_call, number))
    order = order[number[order] >= 0]

    def price(values: F64) -> F64:
        taken = values[order]
        return np.where(taken > 0.0, taken, np.nan)

    return _Rows(
        number[order],
        chain.is_call[order],
        chain.strike[order],
        price(chain.bid),
        price(chain.ask),
        chain.bid_size[order],
        chain.ask_size[order],
    )


def _part(rows: _Rows, keep: Bool) -> _Rows:
    return _Rows(*(column[keep] for column in rows))  # type: ignore[arg-type]


def _verticals(rows: _Rows, fee: float) -> list[_Found]:
    """Compare neighbours: the dearer contract for less than the cheaper brings, or a spread for more than its width.

    The second cannot cost more than its width, whenever it is exercised.
    """
    same = (rows.slice[1:] == rows.slice[:-1]) & (rows.is_call[1:] == rows.is_call[:-1])
    low = np.flatnonzero(same)
    high = low + 1
    calls = rows.is_call[low]
    more, less = np.where(calls, low, high), np.where(calls, high, low)
    strikes = np.stack([rows.strike[low], rows.strike[high]], axis=1)
    free = rows.bid[less] - rows.ask[more] - 2.0 * fee
    wide = rows.bid[more] - rows.ask[less] - (strikes[:, 1] - strikes[:, 0]) - 2.0 * fee
    return [
        _Found("vertical", rows.slice[low], strikes, calls, free, np.minimum(rows.bid_size[less], rows.ask_size[more])),
        _Found("vertical", rows.slice[low], strikes, calls, wide, np.minimum(rows.bid_size[more], rows.ask_size[less])),
    ]


def _butterflies(rows: _Rows, wings: tuple[int, int], fee: float) -> _Found:
    """Buy the wings, sell the middle, one unit of it: what is left cannot cost anything later."""
    left, right = wings
    middle = np.arange(left, rows.strike.size - right)
    low, high = middle - left, middle + right
    same = (rows.slice[low] == rows.slice[high]) & (rows.is_call[low] == rows.is_call[high])
    low, middle, high = low[same], middle[same], high[same]
    share = (rows.strike[high] - rows.strike[middle]) / (rows.strike[high] - rows.strike[low])
    cost = share * rows.ask[low] + (1.0 - share) * rows.ask[high]
    size = np.minimum(rows.ask_size[low] / share, rows.ask_size[high] / (1.0 - share))
    strikes = np.stack([rows.strike[low], rows.strike[middle], rows.strike[high]], axis=1)
    profit = rows.bid[middle] - cost - 2.0 * fee
    return _Found(
        "butterfly", rows.slice[middle], strikes, rows.is_call[middle], profit, np.minimum(size, rows.bid_size[middle])
    )


def _calendars(rows: _Rows, fee: float) -> _Found:
    """Buy the later contract for less than the earlier one brings: an American option only gains by living longer."""
    order = np.lexsort((rows.slice, rows.strike, rows.is_call))
    near, far = order[:-1], order[1:]
    same = (rows.strike[near] == rows.strike[far]) & (rows.is_call[near] == rows.is_call[far])
    near, far = near[same], far[same]
    return _Found(
        "calendar",
        rows.slice[far],
        rows.strike[near][:, None],
        rows.is_call[near],
        rows.bid[near] - rows.ask[far] - 2.0 * fee,
        np.minimum(rows.bid_size[near], rows.ask_size[far]),
    )


def _parity(rows: _Rows, slices: Sequence[Slice], fee: float, dividends: F64) -> list[_Found]:
    """Compare call minus put with the share, beyond the bounds of American parity and the doubt about the spot."""
    order = np.lexsort((rows.is_call, rows.strike, rows.slice))
    put, call = order[:-1], order[1:]
    same = (rows.strike[put] == rows.strike[call]) & (rows.slice[put] == rows.slice[call])
    put, call = put[same], call[same]
    at, strike = rows.slice[put], rows.strike[put]
    spot = np.array([s.spot for s in slices])[at]
    discount = np.array([s.discount for s in slices])[at]
    doubt = SPOT_DOUBT * spot + 2.0 * fee
    high = (rows.bid[call] - rows.ask[put]) - (spot - strike * discount) - doubt
    low = (spot - dividends[at] - strike) - (rows.ask[call] - rows.bid[put]) - doubt
    return [
        _Found("parity", at, strike[:, None], None, high, np.minimum(rows.bid_size[call], rows.ask_size[put])),
        _Found("parity", at, strike[:, None], None, low, np.minimum(rows.ask_size[call], rows.bid_size[put])),
    ]
