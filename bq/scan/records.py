"""What a scan is made of, as values: what was asked, what came of each ticker, how far it is.

Rules of this file: no database and no engine. Everything here can be handed from thread to thread.
"""

import datetime as dt
from typing import Literal, TypeAlias

from msgspec import Struct

from bq.errors import Problem
from bq.schema import Analysis

Status: TypeAlias = Literal["running", "completed", "cancelled", "failed", "imported"]
FinalStatus: TypeAlias = Literal["completed", "cancelled", "failed"]


class ScanTicker(Struct, frozen=True, array_like=True):
    """A ticker that a scan is to look at, and what its universe says of it."""

    ticker: str
    tags: tuple[str, ...] = ()


class ScanSpec(Struct, frozen=True, kw_only=True):
    """A scan as it was asked for: enough to go on with it after a restart."""

    scan_id: str
    universe: str
    """Its name: "sp500", "nasdaq100", "all", "list" ..."""
    tickers: tuple[ScanTicker, ...]
    as_of: str
    """What stood for "now" when it was asked for; empty for the market's own present."""
    started_at: dt.datetime
    """Aware."""
    market: str = ""
    """The market's name, "sample", "files" or "yahoo": a scan must be resumed on the market that it began on."""


class ScanRow(Struct, frozen=True):
    """What came of one ticker: an analysis with its encoded full answer, or a problem."""

    ticker: str
    analysis: Analysis | None = None
    data: bytes | None = None
    problem: Problem | None = None

    def __post_init__(self) -> None:
        if (self.analysis is None) == (self.problem is None) or (self.analysis is None) != (self.data is None):
            raise ValueError(f"{self.ticker}: a row holds an analysis and its bytes, or a problem")


class ScanSummary(Struct, frozen=True, kw_only=True):
    """How far a scan is, or what it came to."""

    scan_id: str
    universe: str
    market: str
    as_of: str
    status: Status
    started_at: dt.datetime
    finished_at: dt.datetime | None
    total: int
    done: int
    """Tickers with an analysis or a problem."""
    failed: int
    """Tickers with a problem."""


class Keep(Struct, frozen=True):
    """For how many days what is kept."""

    answers: int = 60
    """Whole answers: what `detail` brings back."""
    rows: int = 730
    """Scans and their rows of numbers."""
    surface: int = 3650
    """The volatility surface, and its level by session."""
