"""The days on which the New York Stock Exchange rests or closes early, as a file: `python -m bq.market.holidays`.

The facts come from `exchange_calendars` (XNYS). Importing it, and pandas with it, takes two seconds and 75 MiB, which a
server would pay at every start for some five hundred dates; so they are written down, and a test compares. After an
upgrade of the package that knows of another closing, the test fails and this module is to be run again.
"""

import datetime as dt
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import numpy.typing as npt

NEW_YORK: Final = ZoneInfo("America/New_York")
TARGET: Final = Path(__file__).with_name("xnys.json")

FIRST_YEAR: Final = 1990
LAST_YEAR: Final = 2036
"""The years written down; the package's time zones know no summer time after 2037."""

_DAY: Final = 23_400
"""Seconds of a whole session: 9:30 to 16:00."""


class Holidays(msgspec.Struct, frozen=True):
    """The days that differ from Monday to Friday, 9:30 to 16:00."""

    closed: list[str]  # ISO dates
    early: dict[str, str]  # ISO date: local time of the close


class Schedule(msgspec.Struct, frozen=True):
    """Sessions in order."""

    day: npt.NDArray[np.datetime64]  # datetime64[D]
    open: npt.NDArray[np.int64]  # seconds since 1970, UTC
    close: npt.NDArray[np.int64]


def written() -> Schedule:
    """Make the schedule of the years that are written down."""
    known = msgspec.json.decode(TARGET.read_bytes(), type=Holidays)
    days = np.arange(f"{FIRST_YEAR}-01-01", f"{LAST_YEAR + 1}-01-01", dtype="datetime64[D]")
    days = days[np.is_busday(days) & ~np.isin(days, np.array(known.closed, "datetime64[D]"))]
    close = np.array([_at(day, dt.time(16)) for day in days.tolist()], np.int64)
    opening = close - _DAY  # clocks change at night
    for text, time in known.early.items():
        row = int(np.searchsorted(days, np.datetime64(text, "D")))
        close[row] = _at(dt.date.fromisoformat(text), dt.time.fromisoformat(time))
    return Schedule(days, opening, close)


def from_package(first_year: int, last_year: int) -> Schedule:
    """Ask `exchange_calendars` for the schedule of some years."""
    import exchange_calendars

    # The ends are given: left out, they would depend on the day the process runs.
    calendar = exchange_calendars.get_calendar("XNYS", start=f"{first_year}-01-01", end=f"{last_year}-12-31")
    schedule = calendar.schedule
    opening, closing = (schedule[name].to_numpy("datetime64[s]").astype(np.int64) for name in ("open", "close"))
    return Schedule(schedule.index.to_numpy("datetime64[D]"), opening, closing)


def found() -> Holidays:
    """Find the holidays in the package's schedule.

    Raises
    ------
    ValueError
        When there is a session at a weekend, or one that opens at another time: the file has no words for it.
    """
    schedule = from_package(FIRST_YEAR, LAST_YEAR)
    days = np.arange(f"{FIRST_YEAR}-01-01", f"{LAST_YEAR + 1}-01-01", dtype="datetime64[D]")
    closed = np.setdiff1d(days[np.is_busday(days)], schedule.day)
    whole = np.array([_at(day, dt.time(16)) for day in schedule.day.tolist()], np.int64)
    if not np.is_busday(schedule.day).all() or not np.array_equal(schedule.open, whole - _DAY):
        raise ValueError("there are sessions that begin at another time than 9:30 from Monday to Friday")
    early = np.flatnonzero(schedule.close != whole)
    times = [dt.datetime.fromtimestamp(int(schedule.close[row]), NEW_YORK).strftime("%H:%M") for row in early]
    return Holidays(
        closed.astype(str).tolist(), dict(zip(schedule.day[early].astype(str).tolist(), times, strict=True))
    )


def _at(day: dt.date, time: dt.time) -> int:
    return int(dt.datetime.combine(day, time, NEW_YORK).timestamp())


if __name__ == "__main__":
    TARGET.write_bytes(msgspec.json.format(msgspec.json.encode(found()), indent=1) + b"\n")
