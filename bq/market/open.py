"""Which market: the one place that knows all three and what each needs of the settings.

A market is imported only when it is chosen, since each brings its own weight.
"""

import datetime as dt
from collections.abc import Callable

import numpy as np

from bq.config import Settings
from bq.errors import Failure, bad_request
from bq.market.source import Market

NAMES = "sample, files:DIR or yahoo"


def now() -> dt.datetime:
    """Tell the present time, aware."""
    return dt.datetime.now(dt.UTC)


def open_market(settings: Settings, clock: Callable[[], dt.datetime] = now) -> Market:
    """Open the market that the settings name.

    Parameters
    ----------
    settings : Settings
        `market`, `as_of` (not for yahoo), `rate`, and for yahoo `state_dir`.
    clock : callable
        Gives the present as an aware datetime.

    Raises
    ------
    Failure
        With `bad_request`: no such market, no such folder, nothing in it that can be read, or a moment that is none.
    """
    name, _, folder = settings.market.strip().partition(":")
    moment = parse_as_of(settings.as_of)
    if name == "sample" and not folder:
        from bq.market.sample import SampleMarket

        return SampleMarket(clock, moment)
    if name == "files" and folder:
        from bq.market.files import FilesMarket

        return FilesMarket(folder, as_of=moment, rate=settings.rate)
    if name == "yahoo" and not folder:
        from bq.market.yahoo import YahooMarket

        if moment is not None:
            raise Failure(bad_request("BQ_AS_OF: yahoo only knows the present; use sample or files:DIR."))
        return YahooMarket.from_settings(settings, clock)
    raise Failure(bad_request(f"BQ_MARKET={settings.market!r}: give {NAMES}."))


def parse_as_of(text: str) -> dt.datetime | None:
    """Read the moment that stands for now; None where the text is empty.

    A time without a zone is UTC; a date without a time is the close of that day's trading (16:00 New York, or the half
    day's close).

    Raises
    ------
    Failure
        With `bad_request`, when it is no ISO date or time.
    """
    text = text.strip()
    if not text:
        return None
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        day = None
    try:
        if day is None:
            moment = dt.datetime.fromisoformat(text)
            return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    except ValueError:
        raise Failure(bad_request(f"BQ_AS_OF={text!r}: give an ISO date or time, such as 2025-09-26T20:00Z.")) from None
    from bq.market import calendar

    return calendar.from_seconds(int(calendar.close_seconds(np.array([day], "datetime64[D]"))[0]))
