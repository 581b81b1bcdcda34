"""The checks at the door: defects of bars and quotes, found, counted and named. Nothing is repaired here.

`inspect(snapshot)` is what the analysis asks: which quotes may be used, a grade from A to D, and counted reasons.
Grade D means that no number may be implied from the chain and no trade proposed. `bar_reasons(bars, as_of)` and
`inspect_chain(chain, spot)` are its two halves, pure functions of what they are given.

Bars (of the last three years, which is more than any model here looks at):

- `bars_split_like_jump` a day's move within 3 % of a usual split ratio; `bars_constant_stretch` five closes or more
  the same; `bars_zero_volume`; `bars_missing_sessions` against the exchange's calendar; `bars_off_calendar` days on
  which it did not open; `bars_inconsistent` open or close outside low and high; `bars_short` fewer than 250;
  `bars_live_last` the last session had not closed; `bars_not_positive`, `bars_unsorted`, `bars_duplicate`.

Quotes. These make a quote unusable: `quotes_zero_bid`, `quotes_zero_ask`, `quotes_crossed`, `quotes_below_intrinsic`
(the ask, by more than half a per cent of the share), `quotes_above_maximum` (the bid), `quotes_wide` (more than half of
the middle and more than 0.10), `quotes_not_convex` (a butterfly around it costs less than nothing at bid and ask),
`quotes_not_monotone` (a vertical spread does), `quotes_zero_size` (where the source tells sizes). These are only said:
`quotes_locked`, `quotes_no_recent_trade` (for a week: an idle contract may be well quoted),
`quotes_traded_before_session` (within a week, but not since the session of the quotes opened: the last price is not of
today), `quotes_no_open_interest` (of a contract with a bid), `vendor_volatility_placeholder`,
`quotes_outside_session`.

The grade looks at quotes within 10 % of the share and 7 to 60 days from expiry (nearer expiries where there is nothing
else). A: 85 % usable, median spread up to 10 % of the middle, quoted while the exchange was open or within a quarter of
an hour. B: 60 % and 25 %. D: fewer than six usable, or under 30 %. C: the rest.
"""

import datetime as dt
import math
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, SupportsInt, TypeAlias

import numpy as np

from bq.market import calendar
from bq.market.source import F64, Bars, Bool, Chain, Days, Snapshot
from bq.schema import Reason

Grade: TypeAlias = Literal["A", "B", "C", "D", "none"]

SPLIT_RATIOS: Final = (1.5, 2.0, 3.0, 4.0, 5.0, 8.0, 10.0, 15.0, 20.0)
SPLIT_LIKE: Final = math.exp(0.35)  # a smaller move needs no split
LOOK_BACK: Final = 756  # bars
SHORT: Final = 250
CONSTANT_RUN = 5  # sessions with one and the same close
STALE_TRADE_DAYS = 7.0
NEAR_MONEY = 0.10  # |ln(strike / spot)| of the quotes that the grade looks at
HORIZON_DAYS = (7, 60)
WIDE = 0.5  # spread over mid, beyond which a quote says nothing
WIDE_FLOOR = 0.10  # dollars: cheap options are quoted wide in per cent
PLACEHOLDERS: Final = np.array([*(2.0**-k for k in range(1, 11)), 0.0, 0.00001])


class ChainQuality(NamedTuple):
    """What the quotes of a chain are worth."""

    usable: Bool  # one for each contract; empty without a chain
    grade: Grade
    reasons: tuple[Reason, ...]


def inspect(snapshot: Snapshot) -> ChainQuality:
    """Grade a snapshot: usable quotes, grade, counted reasons for both bars and quotes."""
    bars = bar_reasons(snapshot.bars, snapshot.as_of)
    if snapshot.chain is None:
        return ChainQuality(np.zeros(0, dtype=np.bool_), "none", tuple(bars))
    quotes = inspect_chain(snapshot.chain, snapshot.spot)
    return quotes._replace(reasons=quotes.reasons + tuple(bars))


def _counted(counts: Iterable[tuple[str, SupportsInt]]) -> list[Reason]:
    return [Reason(code, int(count)) for code, count in counts if count]


def bar_reasons(bars: Bars, as_of: dt.datetime) -> list[Reason]:
    """Name the defects of a history: jumps, flat or untraded stretches, gaps, days that contradict themselves."""
    if bars.date.size == 0:
        return [Reason("bars_short", 0)]
    recent = slice(-LOOK_BACK, None)
    date, volume = bars.date[recent], bars.volume[recent]
    open_, high, low, close = bars.open[recent], bars.high[recent], bars.low[recent], bars.close[recent]
    positive = (open_ > 0.0) & (high > 0.0) & (low > 0.0) & (close > 0.0)
    inconsistent = (high < np.maximum(open_, close) * (1.0 - 1e-6)) | (low > np.minimum(open_, close) * (1.0 + 1e-6))
    missing, off, unsorted, duplicate = _dates(date)
    return _counted(
        (
            ("bars_split_like_jump", _split_like(bars.model_close[recent])),
            ("bars_constant_stretch", _constant(close)),
            ("bars_zero_volume", np.count_nonzero(volume == 0.0)),
            ("bars_missing_sessions", missing),
            ("bars_off_calendar", off),
            ("bars_inconsistent", np.count_nonzero(inconsistent & positive)),
            ("bars_not_positive", positive.size - np.count_nonzero(positive)),
            ("bars_unsorted", unsorted),
            ("bars_duplicate", duplicate),
            ("bars_live_last", int(calendar.close_seconds(date[-1:])[0] > as_of.timestamp())),
            ("bars_short", bars.date.size if bars.date.size < SHORT else 0),
        )
    )


def _dates(date: Days) -> tuple[int, int, int, int]:
    """Count missing sessions, days off the calendar, steps back in time and repeated days."""
    sessions = calendar.sessions_between(date.min(), date.max())
    if np.array_equal(date, sessions):  # as good as always, and a hundred times faster than looking
        return 0, 0, 0, 0
    missing = np.count_nonzero(~np.isin(sessions, date))
    off = np.count_nonzero(~np.isin(date, sessions))
    unsorted = np.count_nonzero(np.diff(date).astype(np.int64) < 0)
    return int(missing), int(off), int(unsorted), date.size - np.unique(date).size


def _split_like(close: F64) -> int:
    """Count the days whose move is that of a usual split, up or down."""
    known = (close[1:] > 0.0) & (close[:-1] > 0.0)
    ratio = np.divide(close[1:], close[:-1], out=np.ones(known.size), where=known)
    ratio = ratio[(ratio > SPLIT_LIKE) | (ratio < 1.0 / SPLIT_LIKE)]
    if ratio.size == 0:
        return 0
    split = np.array(SPLIT_RATIOS)[:, None]
    jumps = (np.abs(ratio / split - 1.0) < 0.03) | (np.abs(ratio * split - 1.0) < 0.03)
    return int(np.count_nonzero(jumps.any(axis=0)))


def _constant(close: F64) -> int:
    """Count the stretches of five or more equal closes."""
    equal = close[1:] == close[:-1]
    if not equal.any():
        return 0
    same = np.concatenate(([False], equal, [False]))
    edges = np.flatnonzero(np.diff(same.astype(np.int8)))
    return int((edges[1::2] - edges[::2] >= CONSTANT_RUN - 1).sum())


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
    placeholder = (np.abs(chain.vendor_iv - PLACEHOLDERS[:, None]) < 2e-5).any(axis=0)
    age = (np.datetime64(chain.quote_time.replace(tzinfo=None), "s") - chain.last_trade) / np.timedelta64(1, "D")
    stale = age > STALE_TRADE_DAYS
    earlier = (chain.last_trade < _session_opened(chain.quote_time)) & ~stale
    concave, falling = _arbitrage(chain)
    # Nobody stands behind a price for no contracts. A source without sizes (NaN) says nothing of that.
    no_size = (chain.bid_size == 0.0) & ~no_bid | (chain.ask_size == 0.0) & ~no_ask
    usable = ~(no_bid | no_ask | no_size | crossed | below | above | wide | concave | falling)
    counted = {
        "quotes_zero_bid": no_bid,
        "quotes_zero_ask": no_ask,
        "quotes_crossed": crossed & ~no_ask,
        "quotes_locked": locked,
        "quotes_below_intrinsic": below & ~no_ask,
        "quotes_above_maximum": above,
        "quotes_wide": wide & ~no_bid,
        "quotes_not_convex": concave,
        "quotes_not_monotone": falling,
        "quotes_zero_size": no_size,
        "quotes_no_recent_trade": stale,
        "quotes_traded_before_session": earlier,
        "quotes_no_open_interest": (chain.open_interest == 0.0) & ~no_bid,
        "vendor_volatility_placeholder": placeholder,
    }
    reasons = _counted(zip(counted, np.count_nonzero(np.stack(list(counted.values())), axis=1), strict=True))
    in_session = _in_session(chain.quote_time)
    if not in_session:
        reasons.append(Reason("quotes_outside_session"))
    return ChainQuality(usable, _grade(chain, level, usable, in_session), tuple(reasons))


def _in_session(moment: dt.datetime) -> bool:
    """Say whether quotes of this moment are of a session: closing quotes are, for a quarter of an hour."""
    return calendar.is_open(moment) or calendar.is_open(moment - dt.timedelta(minutes=15))


def _session_opened(moment: dt.datetime) -> np.datetime64:
    """Give the opening (UTC) of the session that quotes of this moment belong to: before it opens, the one before."""
    opened = calendar.session_open(calendar.session_at(moment))
    return np.datetime64(opened.replace(tzinfo=None), "s")


def _arbitrage(chain: Chain) -> tuple[Bool, Bool]:
    """Mark quotes that their neighbours contradict at executable prices: stale or wrong ones, not free money.

    Returns
    -------
    concave : the middle of a butterfly whose bid is above what its wings cost
    falling : both sides of a vertical spread that pays at the start, and can only pay at the end
    """
    concave, falling = np.zeros(chain.bid.size, dtype=np.bool_), np.zeros(chain.bid.size, dtype=np.bool_)
    order = np.lexsort((chain.strike, chain.is_call, chain.expiry))
    good = order[(chain.bid[order] > 0.0) & (chain.ask[order] >= chain.bid[order])]
    expiry, is_call, strike = chain.expiry[good], chain.is_call[good], chain.strike[good]
    bid, ask = chain.bid[good], chain.ask[good]
    # Rows that are followed by one of the same expiry and kind, at a higher strike.
    next_ = (expiry[1:] == expiry[:-1]) & (is_call[1:] == is_call[:-1]) & (strike[1:] > strike[:-1])
    if good.size >= 2:
        # The dear one, which must not be worth less: of calls the lower, of puts the upper strike.
        calls = is_call[:-1]
        dear, cheap = np.where(calls, ask[:-1], ask[1:]), np.where(calls, bid[1:], bid[:-1])
        pays = np.flatnonzero(next_ & (cheap > dear + 1e-9))
        falling[good[pays]] = falling[good[pays + 1]] = True
    if good.size >= 3:
        same = next_[1:] & next_[:-1]
        share = (strike[2:] - strike[1:-1]) / np.where(same, strike[2:] - strike[:-2], 1.0)
        wings = share * ask[:-2] + (1.0 - share) * ask[2:]
        concave[good[1:-1][same & (bid[1:-1] > wings + 1e-9)]] = True
    return concave, falling


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
    bid, ask = chain.bid[good], chain.ask[good]
    spread = np.sort((ask - bid) / (0.5 * (ask + bid)))
    tight = 0.5 * float(spread[(spread.size - 1) // 2] + spread[spread.size // 2])
    if share >= 0.85 and tight <= 0.10:
        return "A" if in_session else "B"
    if share >= 0.60 and tight <= 0.25:
        return "B"
    return "C"
