"""A caller's legs against the chain: which are listed, what they trade at, and what to say of those that cannot be."""

import math
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np

from bq.analysis import chain, engine, panel, volatility
from bq.analysis.slices import Side, Slice
from bq.errors import Problem
from bq.market import calendar, quality
from bq.market.quality import ChainQuality
from bq.market.source import Days, Snapshot
from bq.schema_what_if import LegGiven

PriceSource: TypeAlias = Literal["ask", "bid", "given"]

LONGEST_SESSIONS: Final = 756


class Study(NamedTuple):
    """What depends on a ticker's snapshot alone, and may be kept: its quotes read, its volatility fitted."""

    snapshot: Snapshot
    quality: ChainQuality
    panel: panel.Panel
    volatility: volatility.Volatility
    slices: tuple[Slice, ...]  # in the horizon of the analysis; none where no number may be implied from the chain
    spot: float


def study(snapshot: Snapshot) -> Study | Problem:
    """Read a ticker's chain and fit its volatility, as the analysis does."""
    problem = engine.check(snapshot)
    if problem is not None:
        return problem
    found = quality.inspect(snapshot)
    table = panel.build([snapshot])
    fitted = volatility.study(table)
    slices: list[Slice] = []
    if found.grade not in ("D", "none"):
        slices = chain.slices_of(0, snapshot, found)
        chain.read(slices)
    good = [s for s in slices if s.svi is not None]
    return Study(snapshot, found, table, fitted, tuple(slices), good[0].spot if good else snapshot.spot)


class PricedLeg(NamedTuple):
    """A leg that has a price."""

    given: LegGiven
    expiry: np.datetime64
    slice: Slice | None
    bid: float  # NaN where there is no usable quote
    ask: float
    price: float
    source: PriceSource


class Unresolved(Exception):  # noqa: N818 - carries the text of a problem
    """A leg cannot be taken as it is."""


def resolve(found: Study, legs: Sequence[LegGiven]) -> list[PricedLeg]:
    """Find each leg in the chain and what it trades at.

    Raises
    ------
    Unresolved
        With a text that names the leg and what would do.
    """
    today = np.datetime64(calendar.local_date(found.snapshot.as_of), "D")
    listed = None if found.snapshot.chain is None else np.unique(found.snapshot.chain.expiry)
    by_expiry = {s.expiry: s for s in found.slices}
    resolved = []
    for i, leg in enumerate(legs):
        name = f"leg {i + 1}"
        expiry = np.datetime64(leg.expiry, "D")
        if leg.quantity == 0:
            raise Unresolved(f"{name}: a quantity of 0 is no leg.")
        _check_expiry(found, name, expiry, today, listed)
        if expiry not in by_expiry and listed is not None:
            by_expiry[expiry] = _further_slice(found, expiry)
        resolved.append(_priced(found, name, leg, expiry, by_expiry.get(expiry)))
    return resolved


def _check_expiry(found: Study, name: str, expiry: np.datetime64, today: np.datetime64, listed: Days | None) -> None:
    if expiry < today or calendar.tau(found.snapshot.as_of, expiry) <= 0.0:
        raise Unresolved(f"{name}: {expiry} has expired by {found.snapshot.as_of:%Y-%m-%d %H:%M} UTC.")
    if listed is not None and expiry not in listed:
        raise Unresolved(f"{name}: no options expire on {expiry}; {_nearest(listed, expiry)}.")
    # Days first: the exchange's calendar does not reach, and need not be made, to the end of time.
    far = expiry - today > np.timedelta64(2 * LONGEST_SESSIONS, "D")
    if far or calendar.sessions_to(found.snapshot.as_of, expiry) > LONGEST_SESSIONS:
        raise Unresolved(f"{name}: {expiry} is more than {LONGEST_SESSIONS} sessions away, further than is forecast.")


def _nearest(values: np.ndarray, wanted: float | np.datetime64) -> str:
    """Name the listed values around one that is not."""
    at = int(np.searchsorted(values, wanted))
    around = [str(v) if isinstance(v, np.datetime64) else f"{v:g}" for v in values[max(at - 1, 0) : at + 1]]
    if not around:
        return "none is listed"
    return f"the nearest listed {'is' if len(around) == 1 else 'are'} {' and '.join(around)}"


def _further_slice(found: Study, expiry: np.datetime64) -> Slice:
    """Read an expiry outside the horizon of the analysis, with the spot that was found in it."""
    (further,) = chain.slices_of(0, found.snapshot, found.quality, np.array([expiry]))
    further.spot = found.spot
    if found.quality.grade == "D":
        further.problem = "grade_d"
    else:
        chain.read([further])
    return further


def _priced(found: Study, name: str, leg: LegGiven, expiry: np.datetime64, s: Slice | None) -> PricedLeg:
    """Find what a leg trades at: the price given, else the ask when bought and the bid when sold."""
    bid = ask = math.nan
    shown = ""
    if s is not None and found.snapshot.chain is not None:
        side: Side = s.call if leg.type == "call" else s.put
        strikes = s.strike[side.row >= 0]
        at = int(np.searchsorted(s.strike, leg.strike))
        if at == s.strike.size or s.strike[at] != leg.strike or side.row[at] < 0:
            text = _nearest(strikes, leg.strike)
            raise Unresolved(f"{name}: no {leg.type} with a strike of {leg.strike:g} expires on {expiry}; {text}.")
        bid, ask = float(side.bid[at]), float(side.ask[at])
        row = side.row[at]
        shown = f" (bid {found.snapshot.chain.bid[row]:g}, ask {found.snapshot.chain.ask[row]:g})"
    if leg.price is not None:
        return PricedLeg(leg, expiry, s, bid, ask, leg.price, "given")
    trades = ask if leg.quantity > 0 else bid
    if found.quality.grade in ("D", "none") or not trades > 0.0:
        what = f"the {leg.strike:g} {leg.type} of {expiry}"
        why = f"{what} has no usable quote{shown}" if shown else f"there are no quotes for {what}"
        raise Unresolved(f"{name}: {why}; give the leg a price.")
    return PricedLeg(leg, expiry, s, bid, ask, trades, "ask" if leg.quantity > 0 else "bid")
