"""Dividends out of price histories: what was paid, read off the adjusted close, and what the pattern says comes next.

A vendor's adjusted close falls, going back over an ex-date, by the factor 1 - cash / close of the session before; the
ratio of the two closes therefore tells the cash. A regular pattern (yearly, half-yearly, quarterly, monthly) is carried
forward: same dates a year later, same cash; what is projected says so (`declared=False`).
"""

import datetime as dt
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from bq.market import calendar
from bq.market.source import Bars, Dividend

LOOK_BACK: Final = 800
"""Sessions in which past dividends are looked for."""
SMALLEST: Final = 5e-5
"""Smallest dividend, as a share of the close, that is told from rounding."""
LARGEST: Final = 0.2
"""Beyond this share of the close it is a split or a spin-off, not a dividend."""
AHEAD_DAYS: Final = 400
LATE_DAYS: Final = 21
"""A payment later than this against its pattern has stopped."""
PATTERNS: Final = (1, 2, 4, 12)
"""Payments a year."""
YEAR_DAYS: Final = (340, 390)
"""So many payments in a row take about a year, and none of their gaps is far from its share of it."""


def paid(bars: Bars) -> list[Dividend]:
    """Read the dividends of the last 800 sessions off the ratio of adjusted close to close, oldest first.

    Amounts carry the rounding of the closes, about a tenth of a cent for a share at 100; without adjusted closes the
    list is empty.
    """
    if bars.adj_close is None or bars.date.size < 2:
        return []
    recent = slice(max(bars.date.size - LOOK_BACK, 0), None)
    date, close, adjusted = bars.date[recent], bars.close[recent], bars.adj_close[recent]
    share = 1.0 - (adjusted[:-1] / close[:-1]) / (adjusted[1:] / close[1:])
    # The last digit of four prices: what the ratio of ratios may be off by.
    rounding = _digit(adjusted) * (1.0 / adjusted[:-1] + 1.0 / adjusted[1:])
    rounding += _digit(close) * (1.0 / close[:-1] + 1.0 / close[1:])
    found = np.flatnonzero((share > np.maximum(rounding, SMALLEST)) & (share < LARGEST))
    return [
        Dividend(ex_date=calendar.as_date(date[row + 1]), cash=float(share[row] * close[row]), declared=True)
        for row in found.tolist()
    ]


def _digit(prices: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Half a unit of the last decimal that a column of prices has."""
    some = prices[-50:]
    for decimals in (2, 3, 4, 6):
        if np.abs(some - np.round(some, decimals)).max() < 1e-9:
            return 0.5 * 10.0**-decimals
    return 1e-9


def project(past: Sequence[Dividend], today: dt.date, yearly: float | None = None) -> tuple[Dividend, ...]:
    """Carry a regular pattern forward from `today`, 400 days; empty where there is no pattern or it has stopped.

    Parameters
    ----------
    past : sequence of Dividend
        Paid, oldest first.
    today : date
    yearly : float, optional
        What the source says is the rate of cash a year now; believed where it is between half and twice what was paid
        last.
    """
    per_year, gap = _pattern(past)
    if per_year == 0:
        return ()
    expected: list[dt.date] = [each.ex_date for each in past[-per_year:]]
    cash = [each.cash for each in past[-per_year:]]
    # Amounts that go up and down by more than a tenth follow the seasons (funds); otherwise the last is the rate now.
    rising = all(after > 0.99 * before for before, after in pairwise(cash))
    level = rising or max(cash) < 1.1 * min(cash)
    latest = past[-1].cash
    if yearly is not None and 0.5 * latest < yearly / per_year < 2.0 * latest:
        latest, level = yearly / per_year, True
    ahead = []
    for number in range(2 * per_year):
        if len(past) >= per_year > 1:
            day = expected[number] + dt.timedelta(days=364)
        else:
            day = past[-1].ex_date + dt.timedelta(days=round(gap) * (number + 1))
        expected.append(day)
        cash.append(latest if level else cash[number])
        if number == 0 and (today - day).days > LATE_DAYS:
            return ()
        day = max(day, today + dt.timedelta(days=1)) if number == 0 else day
        session = calendar.as_date(calendar.next_session(day))
        if session > today and (session - today).days <= AHEAD_DAYS:
            ahead.append(Dividend(ex_date=session, cash=round(cash[-1], 4), declared=False))
    return tuple(ahead)


def _pattern(past: Sequence[Dividend]) -> tuple[int, float]:
    """Find how often a year dividends are paid (0: no pattern) and the days between them."""
    gaps = [(after.ex_date - before.ex_date).days for before, after in pairwise(past)]
    for per_year in PATTERNS:
        year = gaps[-per_year:]
        share = 365.0 / per_year
        even = all(0.4 * share <= gap <= 1.6 * share for gap in year)
        if len(year) == per_year and even and YEAR_DAYS[0] <= sum(year) <= YEAR_DAYS[1]:
            return per_year, sum(year) / per_year
    return 0, 0.0
