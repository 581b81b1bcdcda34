"""When a scan is due: once each session, at a time of the exchange's clock or so long after its close.

Rules of this file: pure functions of moments; nothing here waits or looks at a clock. `BQ_SCAN_AT` is read as

- `16:30`: at that time in New York, on every day on which the exchange opens; on a half day too, when the closing
  quotes have been in force for longer;
- `close+30`: so many minutes after the session's close: 16:30, and 13:30 on a half day.

A due time that passed while no server ran is made up for until the next session opens; after that its quotes are gone.
"""

import datetime as dt
import re
from typing import Final

import numpy as np
from msgspec import Struct

from bq.errors import Failure, bad_request
from bq.market import calendar
from bq.market.holidays import NEW_YORK

_TIME: Final = re.compile(r"(\d{1,2}):(\d{2})")
_AFTER_CLOSE: Final = re.compile(r"close\s*\+\s*(\d{1,3})\s*(m|min)?")


class Schedule(Struct, frozen=True):
    """When scans are due."""

    at: dt.time | None = None
    """In New York."""
    after_close: dt.timedelta = dt.timedelta()
    """Where there is no fixed time."""

    def due_on(self, session: np.datetime64) -> dt.datetime:
        """Give the moment (UTC) at which the scan of a session is due."""
        if self.at is None:
            return calendar.session_close(session) + self.after_close
        day = calendar.as_date(session)
        return dt.datetime.combine(day, self.at, NEW_YORK).astimezone(dt.UTC)

    def next_due(self, after: dt.datetime) -> dt.datetime:
        """Give the first due moment later than another moment.

        Examples
        --------
        >>> friday = dt.datetime(2025, 7, 3, 21, tzinfo=dt.UTC)  # a half day; the fourth is a holiday
        >>> Schedule(dt.time(16, 30)).next_due(friday).isoformat()
        '2025-07-07T20:30:00+00:00'
        """
        session = calendar.next_session(calendar.local_date(after))
        due = self.due_on(session)
        return due if due > after else self.due_on(calendar.next_session(session + np.timedelta64(1, "D")))

    def missed(self, now: dt.datetime, last_start: dt.datetime | None) -> dt.datetime | None:
        """Give the last due moment if nothing was begun since and the next session has not opened; else None."""
        day = calendar.as_day(calendar.local_date(now))
        passed = [due for due in map(self.due_on, calendar.sessions_between(day - 14, day)) if due <= now]
        if not passed or (last_start is not None and last_start >= passed[-1]):
            return None
        next_session = calendar.next_session(calendar.local_date(passed[-1]) + dt.timedelta(days=1))
        return passed[-1] if now < calendar.session_open(next_session) else None


def parse(text: str) -> Schedule | None:
    """Read `BQ_SCAN_AT`; None where it is empty.

    Raises
    ------
    Failure
        With `bad_request`, when it is neither of the two forms.
    """
    text = text.strip().lower()
    if not text:
        return None
    if match := _TIME.fullmatch(text):
        hour, minute = int(match[1]), int(match[2])
        if hour < 24 and minute < 60:
            return Schedule(dt.time(hour, minute))
    elif match := _AFTER_CLOSE.fullmatch(text):
        return Schedule(after_close=dt.timedelta(minutes=int(match[1])))
    raise Failure(bad_request(f"BQ_SCAN_AT={text!r}: give a time of New York such as 16:30, or close+30 (minutes)."))
