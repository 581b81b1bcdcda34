"""Riskless profits at executable prices in a chain: the best alarm there is that its quotes are wrong or old.

Every trade buys at asks and sells at bids; what is counted is left after the commission. Verticals, butterflies and
calendars hold for American options as they stand. Parity does not: a conversion locks in its profit only where the
short leg cannot be exercised at a loss, so the bounds of American parity are used (Hull, Options, Futures, and Other
Derivatives, ch. 11): S - PV(dividends) - K <= C - P <= S - K PV(1). Who is short the share pays its dividends and its
lender: where the forward says that this is more than the dividends that are known, the forward is believed.

In recorded chains of index funds two kinds are found, and none of either could be traded. Calls far in the money and
now and then a put have quotes as old as their last trade, weeks, when the share stood a tenth lower: verticals, parity
and calendars of tens of dollars. Near the money butterflies pay a few cents: the quotes of a chain are seconds apart.
"""

import datetime as dt
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bq import schema
from bq.analysis.slices import Slice
from bq.market.source import F64, Bool, Snapshot

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
    """Trades of one kind that pay, few of those that were looked at; all (n,) but for the strikes, (n, 1 to 3)."""

    kind: str
    slice: npt.NDArray[np.int64]
    strikes: F64
    is_call: Bool | None
    profit: F64
    size: F64

    def part(self, keep: npt.NDArray[np.int64]) -> "_Found":
        """Take some."""
        calls = None if self.is_call is None else self.is_call[keep]
        return _Found(self.kind, self.slice[keep], self.strikes[keep], calls, self.profit[keep], self.size[keep])

    def largest(self) -> npt.NDArray[np.int64]:
        """List the rows of the largest profits, MOST_SHOWN of each slice."""
        order = np.lexsort((-self.profit, self.slice))
        own = self.slice[order]
        rank = np.arange(own.size) - np.searchsorted(own, own)
        return order[rank < MOST_SHOWN]


class _Trade(NamedTuple):
    """One of them."""

    kind: str
    profit: float
    strikes: list[float]
    is_call: bool | None
    size: float


def scan(slices: Sequence[Slice], snapshots: Sequence[Snapshot], fee: float) -> None:
    """Look for riskless profits in every expiry of a batch; each slice gets the largest of its own, at most 10.

    Parameters
    ----------
    slices : sequence of Slice
        Those of one ticker together, ascending expiries; a calendar spread belongs to its later expiry.
    snapshots : sequence of Snapshot
        The batch that the slices' owners are rows of.
    fee : float
        Commission of one contract, $ a share.
    """
    if not slices:
        return
    rows, listed = _rows(slices, snapshots)
    dividends = np.array([_paid_by_the_short(s, snapshots[s.owner]) for s in slices])
    quoted = _part(rows, np.isfinite(rows.bid) & np.isfinite(rows.ask))
    asked = _part(rows, np.isfinite(rows.ask))
    trades = [
        *_verticals(quoted, fee),
        *(_butterflies(asked, wings, fee) for wings in WINGS),
        _calendars(_part(rows, listed), np.array([s.owner for s in slices]), fee),
        *_parity(rows, slices, fee, dividends),
    ]
    found: list[list[_Trade]] = [[] for _ in slices]
    for trade in trades:
        shown = trade.part(trade.largest())
        calls = [None] * shown.slice.size if shown.is_call is None else shown.is_call.tolist()
        columns = (shown.slice.tolist(), shown.profit.tolist(), shown.strikes.tolist(), calls, shown.size.tolist())
        for number, *rest in zip(*columns, strict=True):
            found[number].append(_Trade(shown.kind, *rest))
    for s, own in zip(slices, found, strict=True):
        s.arbitrage = _largest(own) if own else []


def cash_before(snapshot: Snapshot, expiry: np.datetime64) -> float:
    """Sum the known dividends of a share that go ex by an expiry."""
    day = expiry.astype(dt.date)
    return sum(d.cash for d in snapshot.dividends if d.ex_date <= day)


def _paid_by_the_short(s: Slice, snapshot: Snapshot) -> float:
    """Sum what a share sold short costs until an expiry: the known dividends, or more where the forward says so."""
    implied = s.spot - s.forward * s.discount
    known = cash_before(snapshot, s.expiry)
    return max(known, implied) if math.isfinite(implied) else known


def _largest(own: list[_Trade]) -> list[schema.Arbitrage]:
    """Write the largest profits, one of each kind around a strike."""
    best: dict[tuple[object, ...], _Trade] = {}
    for trade in sorted(own, key=lambda trade: -trade.profit):
        best.setdefault((trade.kind, trade.is_call, trade.strikes[len(trade.strikes) // 2]), trade)
    return [_written(trade) for trade in list(best.values())[:MOST_SHOWN]]


def _written(trade: _Trade) -> schema.Arbitrage:
    return schema.Arbitrage(
        kind=trade.kind,  # type: ignore[arg-type]
        strikes=[round(strike, 4) for strike in trade.strikes],
        is_call=trade.is_call,
        profit=round(trade.profit, 6),
        size=trade.size if math.isfinite(trade.size) and trade.size > 0.0 else None,
    )


def _rows(slices: Sequence[Slice], snapshots: Sequence[Snapshot]) -> tuple[_Rows, Bool]:
    """Give every strike of every slice as a put, then as a call, and which of these are listed; no price without it."""
    chains, offset, total = [], {}, 0
    for owner in sorted({s.owner for s in slices}):
        chain = snapshots[owner].chain
        assert chain is not None
        chains.append(chain)
        offset[owner] = total
        total += chain.strike.size
    row = np.concatenate([side.row for s in slices for side in (s.put, s.call)])
    size = np.repeat([s.strike.size for s in slices], 2)
    first = np.repeat([offset[s.owner] for s in slices], 2)
    listed = row >= 0
    at = np.where(listed, row + np.repeat(first, size), 0)

    def column(name: str) -> F64:
        values: F64 = np.concatenate([getattr(chain, name) for chain in chains])[at]
        return values

    bid, ask = column("bid"), column("ask")
    rows = _Rows(
        np.repeat(np.repeat(np.arange(len(slices)), 2), size),
        np.repeat(np.tile([False, True], len(slices)), size),
        np.concatenate([s.strike for s in slices for _ in range(2)]),
        np.where(listed & (bid > 0.0), bid, np.nan),
        np.where(listed & (ask > 0.0), ask, np.nan),
        column("bid_size"),
        column("ask_size"),
    )
    return rows, listed


def _part(rows: _Rows, keep: Bool) -> _Rows:
    return _Rows(*(column[keep] for column in rows))  # type: ignore[arg-type]


def _verticals(rows: _Rows, fee: float) -> list[_Found]:
    """Compare neighbours: the dearer contract for less than the cheaper brings, or a spread for more than its width.

    The second cannot cost more than its width, whenever it is exercised.
    """
    same = (rows.slice[1:] == rows.slice[:-1]) & (rows.is_call[1:] == rows.is_call[:-1])
    low = np.flatnonzero(same)
    calls, width = rows.is_call[low], rows.strike[low + 1] - rows.strike[low]
    more, less = np.where(calls, low, low + 1), np.where(calls, low + 1, low)
    free = rows.bid[less] - rows.ask[more] - 2.0 * fee
    wide = rows.bid[more] - rows.ask[less] - width - 2.0 * fee
    found = []
    for profit, sold, bought in ((free, less, more), (wide, more, less)):
        pays = np.flatnonzero(profit > 0.0)
        strikes = np.stack([rows.strike[low[pays]], rows.strike[low[pays] + 1]], axis=1)
        size = np.minimum(rows.bid_size[sold[pays]], rows.ask_size[bought[pays]])
        found.append(_Found("vertical", rows.slice[low[pays]], strikes, calls[pays], profit[pays], size))
    return found


def _butterflies(rows: _Rows, wings: tuple[int, int], fee: float) -> _Found:
    """Buy the wings, sell the middle, one unit of it: what is left cannot cost anything later."""
    left, right = wings
    middle = np.arange(left, rows.strike.size - right)
    low, high = middle - left, middle + right
    same = (rows.slice[low] == rows.slice[high]) & (rows.is_call[low] == rows.is_call[high])
    low, middle, high = low[same], middle[same], high[same]
    share = (rows.strike[high] - rows.strike[middle]) / (rows.strike[high] - rows.strike[low])
    profit = rows.bid[middle] - (share * rows.ask[low] + (1.0 - share) * rows.ask[high]) - 2.0 * fee
    pays = np.flatnonzero(profit > 0.0)
    low, middle, high, share = low[pays], middle[pays], high[pays], share[pays]
    size = np.minimum(rows.ask_size[low] / share, rows.ask_size[high] / (1.0 - share))
    strikes = np.stack([rows.strike[low], rows.strike[middle], rows.strike[high]], axis=1)
    return _Found(
        "butterfly",
        rows.slice[middle],
        strikes,
        rows.is_call[middle],
        profit[pays],
        np.minimum(size, rows.bid_size[middle]),
    )


def _calendars(rows: _Rows, owner: npt.NDArray[np.int64], fee: float) -> _Found:
    """Buy the later contract for less than the earlier one brings: an American option only gains by living longer."""
    order = np.lexsort((rows.slice, rows.strike, rows.is_call, owner[rows.slice]))
    near, far = order[:-1], order[1:]
    same = (rows.strike[near] == rows.strike[far]) & (rows.is_call[near] == rows.is_call[far])
    same &= owner[rows.slice[near]] == owner[rows.slice[far]]
    near, far = near[same], far[same]
    profit = rows.bid[near] - rows.ask[far] - 2.0 * fee
    pays = np.flatnonzero(profit > 0.0)
    near, far = near[pays], far[pays]
    return _Found(
        "calendar",
        rows.slice[far],
        rows.strike[near][:, None],
        rows.is_call[near],
        profit[pays],
        np.minimum(rows.bid_size[near], rows.ask_size[far]),
    )


def _parity(rows: _Rows, slices: Sequence[Slice], fee: float, dividends: F64) -> list[_Found]:
    """Compare call minus put with the share, beyond the bounds of American parity and the doubt about the spot."""
    put = np.flatnonzero(~rows.is_call)
    call = put + np.repeat([s.strike.size for s in slices], [s.strike.size for s in slices])
    at, strike = rows.slice[put], rows.strike[put]
    spot = np.array([s.spot for s in slices])[at]
    discount = np.array([s.discount for s in slices])[at]
    doubt = SPOT_DOUBT * spot + 2.0 * fee
    high = (rows.bid[call] - rows.ask[put]) - (spot - strike * discount) - doubt
    low = (spot - dividends[at] - strike) - (rows.ask[call] - rows.bid[put]) - doubt
    found = []
    for profit, sold, bought in ((high, call, put), (low, put, call)):
        pays = np.flatnonzero(profit > 0.0)
        size = np.minimum(rows.bid_size[sold[pays]], rows.ask_size[bought[pays]])
        found.append(_Found("parity", at[pays], strike[pays, None], None, profit[pays], size))
    return found
