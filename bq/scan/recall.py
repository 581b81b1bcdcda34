"""What the store remembers of a ticker, handed to the engine with the market's snapshot.

Rules of this file: blocking; called from fetching threads. The engine knows no database: what is remembered becomes a
part of the snapshot, so an answer still depends on its snapshot alone (docs/decisions/0021-remembered-volatility.md).
A database that does not answer costs the memory, never the analysis.
"""

import datetime as dt
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeAlias

import msgspec
from sqlalchemy import select

from bq.analysis.iv_level import YEAR
from bq.errors import Failure, Problem
from bq.market import calendar
from bq.market.source import Snapshot
from bq.scan.store import Store
from bq.scan.tables import iv_levels

_log = logging.getLogger(__name__)

PATIENCE_S: Final = 1.0  # for one look-up; what comes later serves the next
PAUSE_S: Final = 60.0  # after the database failed or was slow, in which nobody waits for it
TICKERS: Final = 20_000  # remembered at a time, 2 KiB each at most

Key: TypeAlias = tuple[str, str]
"""Market and ticker."""


class Recall:
    """Adds the remembered implied volatilities to snapshots; thread-safe.

    What lies before a day does not change: each ticker is read once a day, and one answer of that day has what the
    other has.

    Parameters
    ----------
    open_store
        Opens the store (blocking), when it is first needed and again if that failed.
    clock
        Monotonic seconds.
    """

    def __init__(self, open_store: Callable[[], Store], clock: Callable[[], float]) -> None:
        self.failures = 0  # look-ups that the database did not answer, or not in time
        self._open = open_store
        self._clock = clock
        self._store: Store | None = None
        self._known: dict[Key, tuple[dt.date, tuple[float, ...]]] = {}
        self._thread = ThreadPoolExecutor(1, "recall")
        self._paused_until = float("-inf")

    def __call__(self, answers: Sequence[Snapshot | Problem]) -> list[Snapshot | Problem]:
        """Add what is remembered to each snapshot."""
        days = {
            (one.source, one.ticker): calendar.as_date(calendar.session_at(one.as_of))
            for one in answers
            if isinstance(one, Snapshot)
        }
        missing = {key: day for key, day in days.items() if self._known.get(key, _NOTHING)[0] != day}
        if missing and self._clock() >= self._paused_until:
            try:
                self._thread.submit(self._look_up, missing).result(PATIENCE_S)
            except (Failure, TimeoutError) as error:
                self.failures += 1
                self._paused_until = self._clock() + PAUSE_S
                _log.warning("analyses do without remembered volatilities for %g s (%s)", PAUSE_S, type(error).__name__)
        return [self._with_history(one, days) if isinstance(one, Snapshot) else one for one in answers]

    def close(self) -> None:
        """Let go of the store; a look-up that runs is not waited for."""
        self._thread.submit(self._close)
        self._thread.shutdown(wait=False)

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()

    def _with_history(self, snapshot: Snapshot, days: dict[Key, dt.date]) -> Snapshot:
        key = (snapshot.source, snapshot.ticker)
        day, history = self._known.get(key, _NOTHING)
        if day != days[key] or not history:
            return snapshot
        return msgspec.structs.replace(snapshot, iv_history=history)

    def _look_up(self, missing: dict[Key, dt.date]) -> None:
        if self._store is None:
            self._store = self._open()
        found = _read(self._store, missing)
        if len(self._known) + len(missing) > TICKERS:
            self._known.clear()
        for key, day in missing.items():
            self._known[key] = (day, tuple(found.get(key, ())))


_NOTHING: Final[tuple[dt.date | None, tuple[float, ...]]] = (None, ())


def _read(store: Store, missing: dict[Key, dt.date]) -> dict[Key, list[float]]:
    """Read the year before each ticker's day, all tickers of a market in one query."""
    found: dict[Key, list[float]] = {}
    columns = (iv_levels.c.market, iv_levels.c.ticker, iv_levels.c.day, iv_levels.c.iv)
    with store.database.read() as connection:
        for market in {key[0] for key in missing}:
            tickers = [key[1] for key in missing if key[0] == market]
            last = max(day for key, day in missing.items() if key[0] == market)
            first = min(day for key, day in missing.items() if key[0] == market) - YEAR
            query = (
                select(*columns)
                .where(iv_levels.c.market == market, iv_levels.c.ticker.in_(tickers))
                .where(iv_levels.c.day >= first, iv_levels.c.day < last)
                .order_by(iv_levels.c.ticker, iv_levels.c.day)
            )
            for row in connection.execute(query):
                key = (row.market, row.ticker)
                if missing[key] - YEAR <= row.day < missing[key]:
                    found.setdefault(key, []).append(row.iv)
    return found
