"""Sessions of the New York Stock Exchange: when it opens and closes, on which days, how far an expiry is.

The facts come from `exchange_calendars` (XNYS: holidays, half days, special closings, daylight saving). The years that
are asked for as a rule are written down (`holidays.py`); for others the package is imported, once. They are kept as
three numpy arrays which every question searches. Nothing here looks at a clock: moments come in as aware datetimes,
days as `datetime64[D]`.
"""

import datetime as dt
import threading
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from bq.market import holidays
from bq.market.holidays import FIRST_YEAR, LAST_YEAR, NEW_YORK

F64: TypeAlias = npt.NDArray[np.float64]
Days: TypeAlias = npt.NDArray[np.datetime64]

SECONDS_PER_YEAR: Final = 365 * 86400.0
"""The year of `tau`: calendar time, 365 days."""

FEW_DAYS: Final = 200
"""As many are looked up one by one in less time than it takes to find out which are equal."""

MARGIN_YEARS: Final = 2
"""How far beyond the day asked for the table reaches, so that expiries and projected dividends fit in."""


class _Table(NamedTuple):
    day: Days  # datetime64[D]
    open: npt.NDArray[np.int64]  # seconds since 1970, UTC
    close: npt.NDArray[np.int64]
    first_year: int
    last_year: int


_lock = threading.Lock()
_table: _Table | None = None


def _load(first_year: int, last_year: int) -> _Table:
    as_written = (first_year, last_year) == (FIRST_YEAR, LAST_YEAR)
    found = holidays.written() if as_written else holidays.from_package(first_year, last_year)
    return _Table(found.day, found.open, found.close, first_year, last_year)


def _sessions(first: int, last: int) -> _Table:
    """Give a table that covers two years (of our era) and what lies between, loading what is missing."""
    global _table
    table = _table
    if table is None or first < table.first_year or last > table.last_year:
        with _lock:
            table = _table
            begin = min(first, FIRST_YEAR if table is None else table.first_year)
            end = max(last + MARGIN_YEARS, LAST_YEAR if table is None else table.last_year)
            if table is None or begin < table.first_year or end > table.last_year:
                _table = table = _load(begin, end)
    return table


def _year(day: np.datetime64) -> int:
    return int(day.astype("datetime64[D]").item().year)


def _table_for(moment: dt.datetime) -> tuple[_Table, int]:
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone")
    return _sessions(moment.year - 1, moment.year + 1), int(moment.timestamp())


def as_day(day: dt.date | np.datetime64) -> np.datetime64:
    """Turn a date of any kind into `datetime64[D]`."""
    return np.datetime64(day, "D") if isinstance(day, dt.date) else day.astype("datetime64[D]")


def as_date(day: np.datetime64) -> dt.date:
    """Turn `datetime64[D]` into a date."""
    return dt.date(1970, 1, 1) + dt.timedelta(days=int(day.astype("datetime64[D]").astype(np.int64)))


def from_seconds(seconds: int) -> dt.datetime:
    """Turn seconds since 1970 into an aware datetime, UTC."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def sessions_between(first: dt.date | np.datetime64, last: dt.date | np.datetime64) -> Days:
    """List the sessions from `first` to `last`, both included.

    Examples
    --------
    >>> sessions_between(dt.date(2025, 7, 3), dt.date(2025, 7, 7)).astype(str).tolist()
    ['2025-07-03', '2025-07-07']
    """
    begin, end = as_day(first), as_day(last)
    table = _sessions(_year(begin), _year(end))
    lo = np.searchsorted(table.day, begin)
    hi = np.searchsorted(table.day, end, side="right")
    return table.day[lo:hi]


@overload
def count_sessions(after: dt.date | np.datetime64, through: dt.date | np.datetime64) -> int: ...
@overload
def count_sessions(after: dt.date | np.datetime64, through: Days) -> npt.NDArray[np.int64]: ...
def count_sessions(
    after: dt.date | np.datetime64, through: dt.date | np.datetime64 | Days
) -> int | npt.NDArray[np.int64]:
    """Count the sessions later than `after`, up to and including `through`: the horizon of a forecast made after it.

    Parameters
    ----------
    after : date
        Usually the last closed session.
    through : date or datetime64[D] array
        Usually expiry dates. Earlier ones than `after` give negative counts.
    """
    begin = as_day(after)
    end = np.asarray(through, "datetime64[D]")
    if end.size == 0:
        return np.zeros(end.shape, np.int64)
    table = _sessions(min(_year(begin), _year(end.min())), max(_year(begin), _year(end.max())))
    count = np.searchsorted(table.day, end, side="right") - np.searchsorted(table.day, begin, side="right")
    return int(count) if end.ndim == 0 else count.astype(np.int64)


def is_session(day: dt.date | np.datetime64) -> bool:
    """Say whether the exchange opens on a day."""
    return sessions_between(day, day).size == 1


def sessions_mask(days: Days) -> npt.NDArray[np.bool_]:
    """Say for each day whether the exchange opens on it."""
    if days.size == 0:
        return np.zeros(days.shape, np.bool_)
    table = _sessions(_year(days.min()), _year(days.max()))
    found = np.minimum(np.searchsorted(table.day, days), table.day.size - 1)
    return table.day[found] == days


def session_open(day: dt.date | np.datetime64) -> dt.datetime:
    """Tell when a session opens (UTC); a day without one raises ValueError."""
    table, row = _row(day)
    return from_seconds(int(table.open[row]))


def session_close(day: dt.date | np.datetime64) -> dt.datetime:
    """Tell when a session closes (UTC), half days included; a day without one raises ValueError."""
    table, row = _row(day)
    return from_seconds(int(table.close[row]))


def _row(day: dt.date | np.datetime64) -> tuple[_Table, int]:
    wanted = as_day(day)
    table = _sessions(_year(wanted), _year(wanted))
    row = int(np.searchsorted(table.day, wanted))
    if row == table.day.size or table.day[row] != wanted:
        raise ValueError(f"{wanted} is not a session of the New York Stock Exchange")
    return table, row


def close_seconds(days: Days) -> npt.NDArray[np.int64]:
    """Tell when each day's trading ends: the close of its session, 16:00 New York where there is none.

    Returns
    -------
    int64 array
        Seconds since 1970, UTC.
    """
    if days.size == 0:
        return np.zeros(days.shape, np.int64)
    table = _sessions(_year(days.min()), _year(days.max()))
    found = np.minimum(np.searchsorted(table.day, days), table.day.size - 1)
    seconds = table.close[found]
    for row in np.flatnonzero(table.day[found] != days):
        seconds[row] = _four_o_clock(int(days[row].astype(np.int64)))
    return seconds


def last_closed_session(moment: dt.datetime) -> np.datetime64:
    """Name the last session that had closed by a moment (one that closes at that very second has closed)."""
    table, second = _table_for(moment)
    return np.datetime64(table.day[np.searchsorted(table.close, second, side="right") - 1])


def session_at(moment: dt.datetime) -> np.datetime64:
    """Name the session that trades at a moment, or, while the exchange is closed, the last one that has opened.

    Examples
    --------
    >>> str(session_at(dt.datetime(2025, 9, 28, 18, tzinfo=dt.UTC)))  # a Sunday: Friday's prices stand
    '2025-09-26'
    """
    table, second = _table_for(moment)
    return np.datetime64(table.day[np.searchsorted(table.open, second, side="right") - 1])


def next_session(day: dt.date | np.datetime64) -> np.datetime64:
    """Name the first session on or after a day."""
    wanted = as_day(day)
    table = _sessions(_year(wanted), _year(wanted) + 1)
    return np.datetime64(table.day[np.searchsorted(table.day, wanted)])


def is_open(moment: dt.datetime) -> bool:
    """Say whether the exchange trades at a moment (the opening second belongs to the session, the closing one not)."""
    table, second = _table_for(moment)
    row = int(np.searchsorted(table.open, second, side="right")) - 1
    return second < int(table.close[row])


def is_half_day(day: dt.date | np.datetime64) -> bool:
    """Say whether a session closes before 16:00 New York."""
    table, row = _row(day)
    return int(table.close[row]) < _four_o_clock(int(table.day[row].astype(np.int64)))


def session_age(earlier: dt.datetime, later: dt.datetime) -> float:
    """Measure the trading time between two moments, in sessions: nights, weekends and holidays take no time.

    Examples
    --------
    >>> utc = dt.UTC
    >>> friday, monday = dt.datetime(2025, 9, 26, 20, tzinfo=utc), dt.datetime(2025, 9, 29, 13, 30, tzinfo=utc)
    >>> session_age(friday, monday)
    0.0
    """
    return _trading_time(later) - _trading_time(earlier)


def _trading_time(moment: dt.datetime) -> float:
    table, _ = _table_for(moment)
    second = moment.timestamp()
    row = int(np.searchsorted(table.open, second, side="right")) - 1
    done = (second - int(table.open[row])) / int(table.close[row] - table.open[row])
    # Counted from a fixed day, so that a table extended in between changes nothing.
    origin = int(np.searchsorted(table.day, np.datetime64(f"{FIRST_YEAR}-01-01")))
    return row - origin + min(max(done, 0.0), 1.0)


def fridays(first: dt.date | np.datetime64, last: dt.date | np.datetime64) -> Days:
    """List the weekly expiry sessions from `first` to `last`: each Friday, or the session before it on a holiday."""
    begin, end = as_day(first), as_day(last)
    # 1970-01-02 was a Friday: days since 1970 that leave 1 when divided by 7 are Fridays.
    start = begin.astype(np.int64)
    friday = np.arange(start + (1 - start) % 7, end.astype(np.int64) + 7, 7).astype("datetime64[D]")
    if friday.size == 0:
        return friday
    table = _sessions(_year(friday[0]) - 1, _year(friday[-1]))
    session = table.day[np.searchsorted(table.day, friday, side="right") - 1]
    return session[(session >= begin) & (session <= end)]


def monthly_expiries(first: dt.date | np.datetime64, last: dt.date | np.datetime64) -> Days:
    """List the monthly expiry sessions from `first` to `last`: the third Friday, or the session before it."""
    begin, end = as_day(first), as_day(last)
    months = np.arange(begin.astype("datetime64[M]"), end.astype("datetime64[M]") + 1)
    fifteenth = months.astype("datetime64[D]").astype(np.int64) + 14
    third = (fifteenth + (1 - fifteenth) % 7).astype("datetime64[D]")
    table = _sessions(_year(third[0]) - 1, _year(third[-1]))
    session = table.day[np.searchsorted(table.day, third, side="right") - 1]
    return session[(session >= begin) & (session <= end)]


@lru_cache(maxsize=4096)
def _four_o_clock(day: int) -> int:
    date = dt.date(1970, 1, 1) + dt.timedelta(days=day)
    return int(dt.datetime.combine(date, dt.time(16), NEW_YORK).timestamp())


@overload
def tau(as_of: dt.datetime, expiry: dt.date | np.datetime64) -> float: ...
@overload
def tau(as_of: dt.datetime, expiry: Days) -> F64: ...
def tau(as_of: dt.datetime, expiry: dt.date | np.datetime64 | Days) -> float | F64:
    """Measure the time to 16:00 New York on the expiry date, in calendar years of 365 days; negative once expired.

    Parameters
    ----------
    as_of : datetime
        Aware: the moment the quotes were in force.
    expiry : date or datetime64[D] array

    Returns
    -------
    float, or float64 array of the same shape

    Examples
    --------
    >>> friday = dt.datetime(2025, 9, 26, 20, tzinfo=dt.UTC)  # 16:00 in New York
    >>> round(tau(friday, dt.date(2025, 10, 3)) * 365, 12)
    7.0
    """
    if as_of.tzinfo is None:
        raise ValueError(f"{as_of.isoformat()} has no time zone")
    now = as_of.timestamp()
    day = np.asarray(expiry, "datetime64[D]")
    if day.ndim == 0:
        return (_four_o_clock(int(day.astype(np.int64))) - now) / SECONDS_PER_YEAR
    number, back = day.astype(np.int64).ravel(), None
    if number.size > FEW_DAYS:
        number, back = np.unique(number, return_inverse=True)
    end = np.array([_four_o_clock(d) for d in number.tolist()], np.float64)
    years: F64 = (end - now) / SECONDS_PER_YEAR
    return (years if back is None else years[back]).reshape(day.shape)


def local_date(moment: dt.datetime) -> dt.date:
    """Give the date in New York at a moment."""
    return moment.astimezone(NEW_YORK).date()


@overload
def sessions_to(as_of: dt.datetime, expiry: dt.date | np.datetime64) -> int: ...
@overload
def sessions_to(as_of: dt.datetime, expiry: Days) -> npt.NDArray[np.int64]: ...
def sessions_to(as_of: dt.datetime, expiry: dt.date | np.datetime64 | Days) -> int | npt.NDArray[np.int64]:
    """Count the sessions that close after a moment, up to the expiry; at least 1."""
    closed = last_closed_session(as_of)
    if isinstance(expiry, np.ndarray):
        return np.maximum(count_sessions(closed, expiry), 1)
    return max(int(count_sessions(closed, as_day(expiry))), 1)
