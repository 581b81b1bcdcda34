"""The tables: scans, what came of each ticker, the full answers, and the history of the volatility surface.

Rules of this file: declarations only. A change here needs a migration (`migrations/versions`); a test compares the two
on both databases.
"""

import datetime as dt
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.types import TypeEngine

from bq.scan.wide import COMPUTED, WIDE, Kind


class Moment(TypeDecorator[dt.datetime]):
    """An aware datetime, UTC: SQLite keeps no time zone, PostgreSQL answers in the session's."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """Turn it into UTC; a naive one is a defect of the caller."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{value.isoformat()} has no time zone")
        return None if value is None else value.astimezone(dt.UTC)

    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """Say that it is UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


TYPES: Final[dict[Kind, type[TypeEngine[Any]]]] = {
    "number": Double,
    "integer": Integer,
    "truth": Boolean,
    "text": Text,
    "date": Date,
}

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

scans: Final = Table(
    "scans",
    metadata,
    Column("scan_id", String(64), primary_key=True),
    Column("universe", Text, nullable=False),
    Column("market", Text, nullable=False),
    Column("as_of", Text, nullable=False),
    Column("tickers", Text, nullable=False),  # JSON: [[ticker, [tag, ...]], ...]
    Column("total", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("data_at", Moment),  # the latest moment of its analyses, set when it finishes: what orders rankings
    Index("ix_scans_ranking", "market", "status", "data_at"),
)

results: Final = Table(
    "results",
    metadata,
    Column("scan_id", String(64), ForeignKey("scans.scan_id", ondelete="CASCADE"), primary_key=True),
    Column("ticker", String(16), primary_key=True),
    Column("tags", Text, nullable=False),  # "|NASDAQ|SP500|"
    Column("recorded_at", Moment, nullable=False),
    Column("error_code", Text),  # null: there is an analysis
    Column("error", Text),
    Column("analysis_at", Moment),  # the moment of the data
    *(Column(column.name, TYPES[column.kind]) for column in WIDE),
    *(Column(name, TYPES[kind]) for name, kind in COMPUTED),
    # Set when the scan finishes: equal scores share a rank.
    Column("rank", Integer),
    Column("tied", Integer),  # names with this rank
    Column("rank_low", Integer),
    Column("rank_high", Integer),
    Column("tier", Integer),
    Column("cluster", Integer),
    Index("ix_results_rank", "scan_id", "rank"),
    Index("ix_results_ticker", "ticker", "analysis_at"),
)
"""One wide row of numbers for each ticker of a scan."""

answers: Final = Table(
    "answers",
    metadata,
    Column("scan_id", String(64), primary_key=True),
    Column("ticker", String(16), primary_key=True),
    Column("codec", String(8), nullable=False),
    Column("size", Integer, nullable=False),  # bytes before packing
    Column("body", LargeBinary, nullable=False),
    ForeignKeyConstraint(["scan_id", "ticker"], ["results.scan_id", "results.ticker"], ondelete="CASCADE"),
)
"""The full answer to each ticker, packed; apart, so that reading numbers does not page through texts."""

surfaces: Final = Table(
    "surfaces",
    metadata,
    Column("market", String(16), primary_key=True),
    Column("ticker", String(16), primary_key=True),
    Column("day", Date, primary_key=True),  # the session that the quotes belong to
    Column("expiry", Date, primary_key=True),
    Column("quoted_at", Moment, nullable=False),  # a later quote of the same day replaces an earlier one
    Column("tau", Double, nullable=False),
    Column("forward", Double, nullable=False),
    Column("discount", Double, nullable=False),
    Column("atm_iv", Double, nullable=False),
    Column("a", Double, nullable=False),
    Column("b", Double, nullable=False),
    Column("rho", Double, nullable=False),
    Column("m", Double, nullable=False),
    Column("s", Double, nullable=False),
    Column("fit_error", Double, nullable=False),
    Column("grade", String(4), nullable=False),
)
"""What the option market said: total variance a + b (rho (k - m) + sqrt((k - m)^2 + s^2)) of k = ln(K / forward)."""

iv_levels: Final = Table(
    "iv_levels",
    metadata,
    Column("market", String(16), primary_key=True),
    Column("ticker", String(16), primary_key=True),
    Column("day", Date, primary_key=True),  # the session that the quotes belong to
    Column("quoted_at", Moment, nullable=False),
    Column("iv", Double, nullable=False),
)
"""The 30-day implied volatility at the money of each session: what is asked for by the year."""
