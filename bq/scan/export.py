"""Stored numbers as tables for other programs: which rows and columns, a page at a time.

Rules of this file: reading only; a page is read in a transaction of its own, so that a slow reader holds up no
database. How a table is written stands in `tabular.py`.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias

from msgspec import Meta, Struct
from sqlalchemy import ColumnElement, Connection, Table, and_, or_, select

from bq.errors import Failure, bad_request
from bq.scan import rankings
from bq.scan.rankings import Query
from bq.scan.store import split_tags
from bq.scan.tables import iv_levels, results, scans, surfaces
from bq.scan.tabular import Column
from bq.scan.views import RankRow

What: TypeAlias = Literal["rankings", "rows", "surface", "iv"]
"""A ranking; wide rows of numbers, one a ticker and scan; the volatility surface; its 30-day level by session."""
PAGE: Final = 2000


class ExportQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rows are wanted; what does not apply to a table is refused."""

    ticker: Annotated[str, Meta(max_length=16, description="of this symbol only")] | None = None
    scan: (
        Annotated[str, Meta(max_length=64, description="of this scan only; a ranking: the latest if left out")] | None
    ) = None
    universe: Annotated[str, Meta(max_length=64, description="a ranking: the latest of this universe")] | None = None
    since: Annotated[dt.date, Meta(description="from this session on, YYYY-MM-DD")] | None = None
    until: Annotated[dt.date, Meta(description="up to this session, it included")] | None = None


class Page(NamedTuple):
    """Some rows, and where the next page begins; None after the last."""

    rows: list[tuple[Any, ...]]
    following: Any | None


_TABLES: Final[dict[str, Table]] = {"rows": results, "surface": surfaces, "iv": iv_levels}
APPLIES: Final[dict[str, tuple[str, ...]]] = {
    "rankings": ("scan", "universe"),
    "rows": ("ticker", "scan", "since", "until"),
    "surface": ("ticker", "since", "until"),
    "iv": ("ticker", "since", "until"),
}
_TAGS: Final = list(results.c.keys()).index("tags")
_KINDS: Final = {"Double": "number", "Integer": "integer", "Boolean": "truth", "Date": "date", "Moment": "moment"}
_RANKING: Final = tuple(name for name in RankRow.__struct_fields__ if name != "change")
_AS_TEXT: Final = ("analysis_date", "date", "expiry")


def check(what: What, query: ExportQuery) -> None:
    """Refuse what does not apply.

    Raises
    ------
    Failure
        `bad_request`, naming it and what does.
    """
    given = [name for name in ExportQuery.__struct_fields__ if getattr(query, name) is not None]
    if wrong := [name for name in given if name not in APPLIES[what]]:
        raise Failure(bad_request(f"{wrong[0]} does not apply to {what}; {', '.join(APPLIES[what])} do."))


def columns(what: What) -> list[Column]:
    """Name and type the columns of a table, in order."""
    if what == "rankings":
        own = [Column(name, "text" if name in _AS_TEXT else _kind(results.c[name])) for name in _RANKING]
        return [*own, Column("change_rank", "integer"), Column("change_score", "number")]
    return [Column(one.name, _kind(one)) for one in _TABLES[what].columns]


def _kind(column: Any) -> Any:
    return _KINDS.get(type(column.type).__name__, "text")


def page(connection: Connection, what: What, market: str | None, query: ExportQuery, after: Any | None = None) -> Page:
    """Read a page.

    Parameters
    ----------
    market : str, optional
        Of this market only.
    after
        What the page before named as following; None for the first.

    Raises
    ------
    Failure
        `not_found` for a ranking that is not there.
    """
    if what == "rankings":
        return _ranking_page(connection, market, query, after or 0)
    table = _TABLES[what]
    key = list(table.primary_key)
    where = [*_chosen(table, market, query), *([] if after is None else [_beyond(key, after)])]
    rows = connection.execute(select(table).where(*where).order_by(*key).limit(PAGE)).all()
    following = tuple(getattr(rows[-1], one.name) for one in key) if len(rows) == PAGE else None
    return Page([_readable(tuple(row), table) for row in rows], following)


def _readable(row: tuple[Any, ...], table: Table) -> tuple[Any, ...]:
    """Write the tags of a row as a ranking does."""
    if table is not results:
        return row
    return (*row[:_TAGS], " ".join(split_tags(row[_TAGS])), *row[_TAGS + 1 :])


def _beyond(key: Sequence[ColumnElement[Any]], after: Sequence[Any]) -> ColumnElement[bool]:
    """Say "after this row" in the order of the key."""
    steps = [
        and_(*(one == value for one, value in zip(key[:i], after[:i], strict=True)), key[i] > after[i])
        for i in range(len(key))
    ]
    return or_(*steps)


def _chosen(table: Table, market: str | None, query: ExportQuery) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    if market is not None:
        if "market" in table.c:
            where.append(table.c.market == market)
        else:
            where.append(table.c.scan_id.in_(select(scans.c.scan_id).where(scans.c.market == market)))
    if query.ticker is not None:
        where.append(table.c.ticker == query.ticker.upper())
    if query.scan is not None:
        where.append(table.c.scan_id == query.scan)
    if query.since is not None:
        where.append(table.c.day >= query.since)
    if query.until is not None:
        where.append(table.c.day <= query.until)
    return where


def _ranking_page(connection: Connection, market: str | None, query: ExportQuery, offset: int) -> Page:
    asked = Query(limit=PAGE, offset=offset, scan=query.scan, universe=query.universe)
    found = rankings.rank_rows(connection, market, asked)
    rows = []
    for one in found.data:
        own = [" ".join(one.tags) if name == "tags" else getattr(one, name) for name in _RANKING]
        rows.append((*own, *((None, None) if one.change is None else (one.change.rank, one.change.score))))
    return Page(rows, offset + PAGE if len(rows) == PAGE else None)
