"""The checks at the door: defects of bars and quotes, found, counted and named. Nothing is repaired here.

`inspect(snapshot)` is what the analysis asks: which quotes may be used, a grade from A to D, and counted reasons.
Grade D means that no number may be implied from the chain and no trade proposed.
"""

import datetime as dt
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np

from bq.market import calendar
from bq.market.source import F64, Bars, Bool, Chain, Snapshot
from bq.schema import Reason

Grade: TypeAlias = Literal["A", "B", "C", "D", "none"]

SPLIT_RATIOS: Final = (1.5, 2.0, 3.0, 4.0, 5.0, 8.0, 10.0, 15.0, 20.0)
CONSTANT_RUN = 5  # sessions with one and the same close
STALE_TRADE_DAYS = 7.0
NEAR_MONEY = 0.10  # |ln(strike / spot)| of the quotes that the grade looks at
HORIZON_DAYS = (7, 60)
WIDE = 0.5  # spread over mid, beyond which a quote says nothing
WIDE_FLOOR = 0.10  # dollars: cheap options are quoted wide in per cent
PLACEHOLDERS: Final = (*(2.0**-k for k in range(1, 11)), 0.0, 0.00001)


class ChainQuality(NamedTuple):
    """What the quotes of a chain are worth."""

    usable: Bool  # one for each contract; empty without a chain
    grade: Grade
    reasons: tuple[Reason, ...]


def inspect(snapshot: Snapshot) -> ChainQuality:
    """Grade a snapshot: usable quotes, grade, counted reasons for both bars and quotes."""
    bars = bar_reasons(snapshot.bars)
    if snapshot.chain is None:
        return ChainQuality(np.zeros(0, dtype=np.bool_), "none", tuple(bars))
    quotes = inspect_chain(snapshot.chain, snapshot.spot)
    return quotes._replace(reasons=quotes.reasons + tuple(bars))


def _counted(counts: Iterable[tuple[str, int]]) -> list[Reason]:
    return [Reason(code, int(count)) for code, count in counts if count]


def bar_reasons(bars: Bars) -> list[Reason]:
    """Name the defects of a history: jumps, flat or untraded stretches, gaps, inconsistent bars."""
    close = bars.close
    ratio = close[1:] / close[:-1]
    jumps = np.zeros(ratio.size, dtype=np.bool_)
    for split in SPLIT_RATIOS:
        jumps |= (np.abs(ratio / split - 1.0) < 0.03) | (np.abs(ratio * split - 1.0) < 0.03)
    jumps &= np.abs(np.log(np.where(ratio > 0.0, ratio, 1.0))) > 0.35
    same = np.concatenate(([False], ratio == 1.0, [False]))
    edges = np.flatnonzero(np.diff(same.astype(np.int8)))
    runs = edges[1::2] - edges[::2]
    expected = calendar.count_sessions(bars.date[0], bars.date[-1]) + 1 if bars.date.size else 0
    inconsistent = (bars.high < np.maximum(bars.open, close) * (1.0 - 1e-6)) | (
        bars.low > np.minimum(bars.open, close) * (1.0 + 1e-6)
    )
    return _counted(
        (
            ("bars_split_like_jump", int(jumps.sum())),
            ("bars_constant_stretch", int((runs >= CONSTANT_RUN - 1).sum())),
            ("bars_zero_volume", int((bars.volume == 0.0).sum())),
            ("bars_missing_sessions", max(int(expected) - bars.date.size, 0)),
            ("bars_inconsistent", int(inconsistent.sum())),
        )
    )


def spot_of(chain: Chain, spot: float) -> float:
    """Take the given spot, or where there is none the strike at which calls and puts are worth the same."""
    if np.isfinite(spot) and spot > 0.0:
        return spot
    if np.isfinite(chain.spot):
        return chain.spot
    best, found = np.inf, np.nan
    mid = 0.5 * (chain.bid + chain.ask)
    first = chain.expiry.min() if chain.expiry.size else None
    rows = np.flatnonzero((chain.expiry == first) & (chain.bid > 0.0))
    calls = {float(chain.strike[i]): mid[i] for i in rows if chain.is_call[i]}
    for i in rows:
        if not chain.is_call[i] and (call := calls.get(float(chain.strike[i]))) is not None:
            gap = abs(call - mid[i])
            if gap < best:
                best, found = gap, float(chain.strike[i])
    return found


def inspect_chain(chain: Chain, spot: float) -> ChainQuality:
    """Check every quote and grade the chain by those near the money, 7 to 60 days out."""
    bid, ask, strike = chain.bid, chain.ask, chain.strike
    level = spot_of(chain, spot)
    no_bid = ~(bid > 0.0)
    no_ask = ~(ask > 0.0)
    crossed = bid > ask
    locked = (bid == ask) & ~no_bid
    mid = 0.5 * (bid + ask)
    intrinsic = np.where(chain.is_call, level - strike, strike - level)
    # Half a per cent of the spot for a spot that is a moment older or newer than the quote.
    below = ask < intrinsic - 0.005 * level
    above = bid > np.where(chain.is_call, level, strike) * 1.005
    wide = (ask - bid > WIDE * mid) & (ask - bid > WIDE_FLOOR)
    placeholder = np.zeros(bid.size, dtype=np.bool_)
    for value in PLACEHOLDERS:
        placeholder |= np.abs(chain.vendor_iv - value) < 2e-5
    age = (np.datetime64(chain.quote_time.replace(tzinfo=None), "s") - chain.last_trade) / np.timedelta64(1, "D")
    stale = age > STALE_TRADE_DAYS
    concave = _concave(chain)
    usable = ~(no_bid | no_ask | crossed | below | above | wide | concave)
    reasons = _counted(
        (
            ("quotes_zero_bid", no_bid.sum()),
            ("quotes_zero_ask", no_ask.sum()),
            ("quotes_crossed", (crossed & ~no_ask).sum()),
            ("quotes_locked", locked.sum()),
            ("quotes_below_intrinsic", (below & ~no_ask).sum()),
            ("quotes_above_maximum", above.sum()),
            ("quotes_wide", (wide & ~no_bid).sum()),
            ("quotes_not_convex", concave.sum()),
            ("quotes_no_recent_trade", stale.sum()),
            ("vendor_volatility_placeholder", placeholder.sum()),
        )
    )
    in_session = _in_session(chain.quote_time)
    if not in_session:
        reasons.append(Reason("quotes_outside_session"))
    return ChainQuality(usable, _grade(chain, level, usable, in_session), tuple(reasons))


def _in_session(moment: dt.datetime) -> bool:
    """Say whether quotes of this moment are of a session: closing quotes are, for a quarter of an hour."""
    return calendar.is_open(moment) or calendar.is_open(moment - dt.timedelta(minutes=15))


def _concave(chain: Chain) -> Bool:
    """Mark centre quotes whose bid is above what its neighbours cost: a free butterfly is a stale or wrong quote."""
    marked = np.zeros(chain.bid.size, dtype=np.bool_)
    order = np.lexsort((chain.strike, chain.is_call, chain.expiry))
    good = order[(chain.bid[order] > 0.0) & (chain.ask[order] >= chain.bid[order])]
    if good.size < 3:
        return marked
    left, middle, right = good[:-2], good[1:-1], good[2:]
    same = (
        (chain.expiry[left] == chain.expiry[right])
        & (chain.is_call[left] == chain.is_call[right])
        & (chain.strike[right] > chain.strike[left])
    )
    width = np.where(same, chain.strike[right] - chain.strike[left], 1.0)
    share = (chain.strike[right] - chain.strike[middle]) / width
    wings = share * chain.ask[left] + (1.0 - share) * chain.ask[right]
    marked[middle[same & (chain.bid[middle] > wings + 1e-9)]] = True
    return marked


def _grade(chain: Chain, level: float, usable: Bool, in_session: bool) -> Grade:
    if not np.isfinite(level):
        return "D"
    today = np.datetime64(calendar.local_date(chain.quote_time), "D")
    days = (chain.expiry - today).astype(np.int64)
    near = (np.abs(np.log(chain.strike / level)) < NEAR_MONEY) & (days >= 0) & (days <= HORIZON_DAYS[1])
    traded = near & (days >= HORIZON_DAYS[0])
    looked = traded if traded.any() else near
    if not looked.any():
        return "D"
    share = float(usable[looked].mean())
    good = looked & usable
    if share < 0.3 or good.sum() < 6:
        return "D"
    spread: F64 = (chain.ask - chain.bid)[good] / (0.5 * (chain.ask + chain.bid)[good])
    tight = float(np.median(spread))
    if share >= 0.85 and tight <= 0.10:
        return "A" if in_session else "B"
    if share >= 0.60 and tight <= 0.25:
        return "B"
    return "C"
