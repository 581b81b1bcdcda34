"""The checks at the door: defects of bars and quotes, found, counted and named. Nothing is repaired here.

`inspect_all(snapshots)` is what the analysis asks: which quotes may be used, a grade from A to D, counted reasons.
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
`quotes_not_monotone` (a vertical spread does), `quotes_zero_size` (where the source tells sizes), `quotes_adjusted` (a
contract whose root ends in a digit delivers something else than 100 shares since a split or a spin-off),
`quotes_contradictory` (two of one expiry, kind and strike that differ). These are only said:
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
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, SupportsInt, TypeAlias

import numpy as np
import numpy.typing as npt

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
    return inspect_all([snapshot])[0]


def inspect_all(snapshots: Sequence[Snapshot]) -> list[ChainQuality]:
    """Grade the snapshots of a batch, each as if it were alone."""
    bars = _bar_reasons([(s.bars, s.as_of) for s in snapshots])
    quotes = iter(_inspect_chains([(s.chain, s.spot) for s in snapshots if s.chain is not None]))
    none = ChainQuality(np.zeros(0, dtype=np.bool_), "none", ())
    graded = [none if s.chain is None else next(quotes) for s in snapshots]
    return [q._replace(reasons=q.reasons + tuple(own)) for q, own in zip(graded, bars, strict=True)]


def _counted(counts: Iterable[tuple[str, SupportsInt]]) -> list[Reason]:
    return [Reason(code, int(count)) for code, count in counts if count]


def bar_reasons(bars: Bars, as_of: dt.datetime) -> list[Reason]:
    """Name the defects of a history: jumps, flat or untraded stretches, gaps, days that contradict themselves."""
    return _bar_reasons([(bars, as_of)])[0]


def _bar_reasons(histories: Sequence[tuple[Bars, dt.datetime]]) -> list[list[Reason]]:
    found: list[list[Reason]] = [[Reason("bars_short", 0)] for _ in histories]
    sizes = np.array([min(bars.date.size, LOOK_BACK) for bars, _ in histories], dtype=np.int64)
    for size in np.unique(sizes[sizes > 0]).tolist():
        rows = np.flatnonzero(sizes == size).tolist()
        for i, reasons in zip(rows, _of_equal_length([histories[i] for i in rows], size), strict=True):
            found[i] = reasons
    return found


def _of_equal_length(histories: Sequence[tuple[Bars, dt.datetime]], size: int) -> list[list[Reason]]:
    def recent(name: str) -> F64:
        return np.stack([getattr(bars, name)[-size:] for bars, _ in histories])

    open_, high, low, close, level = map(recent, ("open", "high", "low", "close", "model_close"))
    positive = (open_ > 0.0) & (high > 0.0) & (low > 0.0) & (close > 0.0)
    inconsistent = (high < np.maximum(open_, close) * (1.0 - 1e-6)) | (low > np.minimum(open_, close) * (1.0 + 1e-6))
    untraded = (recent("volume") == 0.0).sum(axis=1).tolist()
    contradictions = (inconsistent & positive).sum(axis=1).tolist()
    not_positive = (~positive).sum(axis=1).tolist()
    jumps, flats = _split_like(level), _constant(close)
    reasons = []
    for i, (bars, as_of) in enumerate(histories):
        date = bars.date[-size:]
        missing, off, unsorted, duplicate = _dates(date)
        counts = (
            ("bars_split_like_jump", jumps[i]),
            ("bars_constant_stretch", flats[i]),
            ("bars_zero_volume", untraded[i]),
            ("bars_missing_sessions", missing),
            ("bars_off_calendar", off),
            ("bars_inconsistent", contradictions[i]),
            ("bars_not_positive", not_positive[i]),
            ("bars_unsorted", unsorted),
            ("bars_duplicate", duplicate),
            ("bars_live_last", _close_of(date[-1]) > as_of.timestamp()),
            ("bars_short", bars.date.size if bars.date.size < SHORT else 0),
        )
        reasons.append(_counted(counts))
    return reasons


@lru_cache(maxsize=1024)
def _close_of(day: np.datetime64) -> int:
    return int(calendar.close_seconds(np.array([day]))[0])


def _dates(date: Days) -> tuple[int, int, int, int]:
    """Count missing sessions, days off the calendar, steps back in time and repeated days."""
    return _dates_of(date.astype("datetime64[D]").tobytes())


@lru_cache(maxsize=64)
def _dates_of(days: bytes) -> tuple[int, int, int, int]:
    """Do it once for the names of a market, which share their sessions."""
    date = np.frombuffer(days, "datetime64[D]")
    sessions = calendar.sessions_between(date.min(), date.max())
    if np.array_equal(date, sessions):  # as good as always, and a hundred times faster than looking
        return 0, 0, 0, 0
    missing = np.count_nonzero(~np.isin(sessions, date))
    off = np.count_nonzero(~np.isin(date, sessions))
    unsorted = np.count_nonzero(np.diff(date).astype(np.int64) < 0)
    return int(missing), int(off), int(unsorted), date.size - np.unique(date).size


def _split_like(close: F64) -> list[int]:
    """Count the days of each row whose move is that of a usual split, up or down."""
    known = (close[:, 1:] > 0.0) & (close[:, :-1] > 0.0)
    ratio = np.divide(close[:, 1:], close[:, :-1], out=np.ones(known.shape), where=known)
    row, day = np.nonzero((ratio > SPLIT_LIKE) | (ratio < 1.0 / SPLIT_LIKE))
    split, move = np.array(SPLIT_RATIOS)[:, None], ratio[row, day]
    jumps = (np.abs(move / split - 1.0) < 0.03) | (np.abs(move * split - 1.0) < 0.03)
    counts: list[int] = np.bincount(row[jumps.any(axis=0)], minlength=len(close)).tolist()
    return counts


def _constant(close: F64) -> list[int]:
    """Count the stretches of five or more equal closes of each row."""
    equal = close[:, 1:] == close[:, :-1]
    same = np.zeros((len(close), equal.shape[1] + 2), dtype=np.int8)
    same[:, 1:-1] = equal
    turns = np.diff(same, axis=1)
    (row, begin), (_, end) = np.nonzero(turns == 1), np.nonzero(turns == -1)
    counts: list[int] = np.bincount(row[end - begin >= CONSTANT_RUN - 1], minlength=len(close)).tolist()
    return counts


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
    return _inspect_chains([(chain, spot)])[0]


class _Quotes(NamedTuple):
    """The quotes of several chains, one chain after the other; all (n,)."""

    owner: npt.NDArray[np.int64]
    level: F64  # spot of the chain
    expiry: Days
    strike: F64
    is_call: Bool
    bid: F64
    ask: F64


def _inspect_chains(chains: Sequence[tuple[Chain, float]]) -> list[ChainQuality]:
    if not chains:
        return []
    sizes = [chain.strike.size for chain, _ in chains]
    levels = [spot_of(chain, spot) for chain, spot in chains]

    def column(name: str) -> Any:
        return np.concatenate([getattr(chain, name) for chain, _ in chains])

    def of_chain(values: Sequence[Any]) -> Any:
        return np.repeat(np.array(values), sizes)

    names = ("expiry", "strike", "is_call", "bid", "ask")
    quotes = _Quotes(of_chain(range(len(chains))), of_chain(levels), *map(column, names))
    level, strike, is_call, bid, ask = quotes.level, quotes.strike, quotes.is_call, quotes.bid, quotes.ask
    no_bid = ~(bid > 0.0)
    no_ask = ~(ask > 0.0)
    crossed = bid > ask
    locked = (bid == ask) & ~no_bid
    mid = 0.5 * (bid + ask)
    intrinsic = np.where(is_call, level - strike, strike - level)
    # Half a per cent of the spot for a spot that is a moment older or newer than the quote.
    below = ask < intrinsic - 0.005 * level
    above = bid > np.where(is_call, level, strike) * 1.005
    wide = (ask - bid > WIDE * mid) & (ask - bid > WIDE_FLOOR)
    placeholder = (np.abs(column("vendor_iv") - PLACEHOLDERS[:, None]) < 2e-5).any(axis=0)
    last_trade = column("last_trade")
    quoted = of_chain([np.datetime64(chain.quote_time.replace(tzinfo=None), "s") for chain, _ in chains])
    stale = (quoted - last_trade) / np.timedelta64(1, "D") > STALE_TRADE_DAYS
    earlier = (last_trade < of_chain([_session_opened(chain.quote_time) for chain, _ in chains])) & ~stale
    adjusted = np.concatenate([adjusted_contracts(chain) for chain, _ in chains])
    contradictory = _contradictory(quotes, adjusted)
    concave, falling = _arbitrage(quotes, ~(adjusted | contradictory))
    # Nobody stands behind a price for no contracts. A source without sizes (NaN) says nothing of that.
    no_size = (column("bid_size") == 0.0) & ~no_bid | (column("ask_size") == 0.0) & ~no_ask
    usable = ~(no_bid | no_ask | no_size | crossed | below | above | wide | concave | falling)
    usable &= ~(adjusted | contradictory)
    marks = {
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
        "quotes_adjusted": adjusted,
        "quotes_contradictory": contradictory,
        "quotes_no_recent_trade": stale,
        "quotes_traded_before_session": earlier,
        "quotes_no_open_interest": (column("open_interest") == 0.0) & ~no_bid,
        "vendor_volatility_placeholder": placeholder,
    }
    table = np.stack(list(marks.values()))
    parts = [slice(end - size, end) for end, size in zip(np.cumsum(sizes).tolist(), sizes, strict=True)]
    in_session = [_in_session(chain.quote_time) for chain, _ in chains]
    grades = _grades(quotes, usable, ~adjusted, parts, [chain.quote_time for chain, _ in chains], in_session)
    found = []
    for part, grade, inside in zip(parts, grades, in_session, strict=True):
        reasons = _counted(zip(marks, table[:, part].sum(axis=1).tolist(), strict=True))
        if not inside:
            reasons.append(Reason("quotes_outside_session"))
        found.append(ChainQuality(usable[part], grade, tuple(reasons)))
    return found


@lru_cache(maxsize=64)
def _in_session(moment: dt.datetime) -> bool:
    """Say whether quotes of this moment are of a session: closing quotes are, for a quarter of an hour."""
    return calendar.is_open(moment) or calendar.is_open(moment - dt.timedelta(minutes=15))


@lru_cache(maxsize=64)
def _session_opened(moment: dt.datetime) -> np.datetime64:
    """Give the opening (UTC) of the session that quotes of this moment belong to: before it opens, the one before."""
    opened = calendar.session_open(calendar.session_at(moment))
    return np.datetime64(opened.replace(tzinfo=None), "s")


def adjusted_contracts(chain: Chain) -> Bool:
    """Mark contracts whose deliverable is not 100 shares: the OCC gives their root a digit (AAPL1) at its end."""
    if chain.symbol is None:
        return np.zeros(chain.strike.size, dtype=np.bool_)
    return np.array([symbol[-16:-15].isdigit() for symbol in chain.symbol], dtype=np.bool_)


def _contradictory(q: _Quotes, adjusted: Bool) -> Bool:
    """Mark quotes of one expiry, kind and strike that differ: which of them is the contract's cannot be told."""
    found = np.zeros(q.bid.size, dtype=np.bool_)
    order = np.lexsort((q.strike, q.is_call, q.expiry, q.owner, adjusted))
    a, b = order[:-1], order[1:]
    same = (q.owner[a] == q.owner[b]) & (q.expiry[a] == q.expiry[b]) & (q.is_call[a] == q.is_call[b])
    same &= (q.strike[a] == q.strike[b]) & ~adjusted[a] & ~adjusted[b]
    differ = same & ~((q.bid[a] == q.bid[b]) & (q.ask[a] == q.ask[b]))
    found[a[differ]] = found[b[differ]] = True
    return found


def _arbitrage(q: _Quotes, compared: Bool) -> tuple[Bool, Bool]:
    """Mark quotes that their neighbours contradict at executable prices: stale or wrong ones, not free money.

    Parameters
    ----------
    compared : (n,) bool
        Quotes that take part: those of one contract each.

    Returns
    -------
    concave : the middle of a butterfly whose bid is above what its wings cost
    falling : both sides of a vertical spread that pays at the start, and can only pay at the end
    """
    concave, falling = np.zeros(q.bid.size, dtype=np.bool_), np.zeros(q.bid.size, dtype=np.bool_)
    order = np.lexsort((q.strike, q.is_call, q.expiry, q.owner))
    good = order[(q.bid[order] > 0.0) & (q.ask[order] >= q.bid[order]) & compared[order]]
    owner, expiry, strike, is_call = q.owner[good], q.expiry[good], q.strike[good], q.is_call[good]
    bid, ask = q.bid[good], q.ask[good]
    # Rows that are followed by one of the same chain, expiry and kind, at a higher strike.
    next_ = (owner[1:] == owner[:-1]) & (expiry[1:] == expiry[:-1]) & (is_call[1:] == is_call[:-1])
    next_ &= strike[1:] > strike[:-1]
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


def _grades(
    q: _Quotes,
    usable: Bool,
    counted: Bool,
    parts: Sequence[slice],
    moments: Sequence[dt.datetime],
    in_session: Sequence[bool],
) -> list[Grade]:
    """Grade each chain, whose quotes are a part of all, by its quotes near the money."""
    today = np.array([_day(moment) for moment in moments])[q.owner]
    days = (q.expiry - today).astype(np.int64)
    with np.errstate(divide="ignore", invalid="ignore"):  # where there is no level, or no quote
        near = (np.abs(np.log(q.strike / q.level)) < NEAR_MONEY) & (days >= 0) & (days <= HORIZON_DAYS[1]) & counted
        spread = (q.ask - q.bid) / (0.5 * (q.ask + q.bid))
    traded = near & (days >= HORIZON_DAYS[0])
    return [
        _grade(near[part], traded[part], usable[part], spread[part], inside)
        for part, inside in zip(parts, in_session, strict=True)
    ]


@lru_cache(maxsize=64)
def _day(moment: dt.datetime) -> np.datetime64:
    return np.datetime64(calendar.local_date(moment), "D")


def _grade(near: Bool, traded: Bool, usable: Bool, spread: F64, in_session: bool) -> Grade:
    looked = traded if traded.any() else near
    many = np.count_nonzero(looked)
    if not many:
        return "D"
    spreads = spread[looked & usable]
    share = spreads.size / many
    if share < 0.3 or spreads.size < 6:
        return "D"
    spreads.sort()
    tight = 0.5 * float(spreads[(spreads.size - 1) // 2] + spreads[spreads.size // 2])
    if share >= 0.85 and tight <= 0.10:
        return "A" if in_session else "B"
    if share >= 0.60 and tight <= 0.25:
        return "B"
    return "C"
