"""Which unfinished scans may be gone on with, and by whom.

Rules of this file: pure functions. A scan is one picture of a market at one time: its rest must come from the same
market and moment, and, where prices move, from no later a day.
"""

import datetime as dt

from bq.config import Settings
from bq.market import calendar
from bq.scan.records import ScanSpec


def is_ours(spec: ScanSpec, settings: Settings, market: str) -> bool:
    """Tell whether a scan was begun on this market and moment; any other is another process's to go on with."""
    return spec.market == market and spec.as_of == settings.as_of


def is_too_old(spec: ScanSpec, settings: Settings, now: dt.datetime) -> bool:
    """Tell whether the exchange has been open for a whole session since a scan began, and its prices have moved on."""
    if settings.as_of or settings.market.startswith("files:"):
        return False  # the data stand still
    return calendar.session_age(spec.started_at, now) >= 1.0
