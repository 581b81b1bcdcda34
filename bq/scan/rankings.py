"""Rankings, read: filtered, sorted and cut in the database, with the difference to the scan before.

Rules of this file: reading only, of scans that have ended. Blocking, like the store.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Annotated, Any, Final, NamedTuple

from msgspec import Meta, Struct
from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, func, select
from sqlalchemy.sql.elements import UnaryExpression

from bq.errors import Failure, Problem
from bq.scan.store import split_tags
from bq.scan.tables import results, scans
from bq.scan.views import Change, Points, Rankings, RankRow, Recommendation, ScanView, Sort, Strategy

PARTS: Final = ("price_match", "vol_mispricing", "stability", "fourier_align")
LIMIT: Final = 1000

NONE_YET: Final = Problem(
    "not_found", "There is no ranking yet: no scan has been completed. POST /api/scan begins one."
)


class Query(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is wanted of a ranking."""

    limit: Annotated[int, Meta(ge=1, le=5000, description="rows at most")] = LIMIT
    offset: Annotated[int, Meta(ge=0, le=1_000_000, description="rows to leave out first")] = 0
    sort: Annotated[Sort, Meta(description="a minus means the largest first")] = "rank"
    tag: Annotated[str, Meta(max_length=32, description="of an index: NASDAQ, SP500")] | None = None
    ticker: Annotated[str, Meta(max_length=16, description="symbols that begin so")] | None = None
    strategy: Annotated[Strategy, Meta(description="form of the butterfly")] | None = None
    recommendation: Recommendation | None = None
    min_score: Annotated[float, Meta(ge=0, le=100)] | None = None
    max_score: Annotated[float, Meta(ge=0, le=100)] | None = None
    per_cluster: (
        Annotated[
            int, Meta(ge=1, le=1000, description="at most so many that move together, the best: a diversified list")
        ]
        | None
    ) = None
    scan: Annotated[str, Meta(max_length=64, description="a scan's id; the latest complete one if left out")] | None = (
        None
    )
    universe: Annotated[str, Meta(max_length=64, description="the latest complete scan of this universe")] | None = None


OWN: Final = (
    "rank", "ticker", "score", "strategy", "recommendation", "confidence", "analysis_at", "day", "tags", "expiry",
    "lower", "center", "upper", "is_credit_strategy", "name", "grade", "price", "dte", "net_debit", "max_profit",
    "max_loss", "profit_ratio", "prob_profit", "ev_forecast", "ev_worst", "predicted_vol", "current_iv",
    "vol_mispricing", "iv_percentile", "score_low", "score_high", "rank_low", "rank_high", "tier", "tied", "cluster",
)  # fmt: skip
"""The columns of a `RankRow`, in its order but for the last."""
_JUDGED: Final = (
    "score", "rank", "recommendation", "part_delta_penalty",
    *(f"part_{part}" for part in PARTS), *(f"weight_{part}" for part in PARTS),
)  # fmt: skip
_VALUES: Final = 4  # where the parts begin in _JUDGED, and where their weights
_WEIGHTS: Final = _VALUES + len(PARTS)
_SCAN: Final = tuple(
    scans.c[name]
    for name in ("scan_id", "universe", "market", "data_at", "finished_at", "started_at", "total", "status")
)


_now, _past = results.alias("now"), results.alias("past")
_PAGE: Final = select(*(_now.c[name] for name in OWN), *(one.c[name] for one in (_now, _past) for name in _JUDGED))


class Source(NamedTuple):
    """The scan that a ranking is of, and the one that it is compared with: rows of `scans`.

    The same two and the same query give the same answer for ever: neither changes any more.
    """

    scan: Any
    before: Any | None

    @property
    def name(self) -> tuple[str, str | None]:
        """The ids of both."""
        return self.scan.scan_id, None if self.before is None else self.before.scan_id


def source(connection: Connection, market: str | None, query: Query) -> Source:
    """Find the scan that is asked for, and the one before it.

    Parameters
    ----------
    market : str, optional
        Only scans of this market ("sample", "files", "yahoo"); of any when None.

    Raises
    ------
    Failure
        `not_found`, when there is no such scan, or no complete one yet.
    """
    scan = _scan(connection, market, query)
    return Source(scan, _before(connection, scan))


def rank_rows(connection: Connection, market: str | None, query: Query) -> Rankings:
    """Give a page of the ranking that is asked for; see `source`."""
    return read(connection, source(connection, market, query), query)


def read(connection: Connection, found: Source, query: Query) -> Rankings:
    """Give a page of a ranking."""
    scan, before = found
    past_id = "" if before is None else before.scan_id
    same = and_(_past.c.scan_id == past_id, _past.c.ticker == _now.c.ticker, _past.c.rank.is_not(None))
    chosen = _chosen(_now, scan.scan_id, query)
    matching = connection.execute(select(func.count()).select_from(_now).where(*chosen)).scalar_one()
    page = (
        _PAGE.select_from(_now.outerjoin(_past, same))
        .where(*chosen)
        .order_by(*_order(_now, _past, query.sort))
        .limit(query.limit)
        .offset(query.offset)
    )
    rows = [_row(row) for row in connection.execute(page)]
    return Rankings(
        data=rows,
        as_of=_iso(scan.data_at),
        count=len(rows),
        matching=matching,
        scan=view(scan),
        previous=None if before is None else view(before),
        left=[] if before is None else _left(connection, scan.scan_id, before.scan_id),
    )


def _scan(connection: Connection, market: str | None, query: Query) -> Any:
    wanted = select(*_SCAN)
    if market is not None:
        wanted = wanted.where(scans.c.market == market)
    if query.scan is not None:
        found = connection.execute(wanted.where(scans.c.scan_id == query.scan)).first()
        if found is None:
            raise Failure(Problem("not_found", "There is no such scan."))
        if found.data_at is None:
            text = "That scan has not ended yet." if found.status == "running" else "That scan has no analysis to rank."
            raise Failure(Problem("not_found", text))
        return found
    if query.universe is not None:
        wanted = wanted.where(scans.c.universe == query.universe)
    found = connection.execute(_newest_first(wanted.where(scans.c.status == "completed"))).first()
    if found is None:
        raise Failure(NONE_YET)
    return found


def _newest_first(query: Select[Any]) -> Select[Any]:
    """Order scans by the moment of their data, the later begun of equals first; take one."""
    known = query.where(scans.c.data_at.is_not(None))
    return known.order_by(scans.c.data_at.desc(), scans.c.started_at.desc(), scans.c.scan_id.desc()).limit(1)


def _before(connection: Connection, scan: Any) -> Any | None:
    """Find the complete scan of the same universe and market with the latest data from before this one's."""
    earlier = select(*_SCAN).where(
        scans.c.market == scan.market,
        scans.c.universe == scan.universe,
        scans.c.status == "completed",
        scans.c.data_at < scan.data_at,
    )
    return connection.execute(_newest_first(earlier)).first()


def _chosen(now: FromClause, scan_id: str, query: Query) -> list[ColumnElement[bool]]:
    """Write the filter. A diversified list is cut after filtering: its best are the best of what was asked for."""
    where = [now.c.scan_id == scan_id, now.c.rank.is_not(None)]
    if query.tag is not None:
        where.append(now.c.tags.contains(f"|{query.tag}|", autoescape=True))
    if query.ticker is not None:
        where.append(now.c.ticker.startswith(query.ticker.upper(), autoescape=True))
    if query.strategy is not None:
        where.append(now.c.strategy == query.strategy)
    if query.recommendation is not None:
        where.append(now.c.recommendation == query.recommendation)
    if query.min_score is not None:
        where.append(now.c.score >= query.min_score)
    if query.max_score is not None:
        where.append(now.c.score <= query.max_score)
    if query.per_cluster is not None:
        place = func.row_number().over(partition_by=now.c.cluster, order_by=(now.c.rank, now.c.ticker)).label("place")
        within = select(now.c.ticker, place).where(*where).subquery()
        where.append(now.c.ticker.in_(select(within.c.ticker).where(within.c.place <= query.per_cluster)))
    return where


def _order(now: FromClause, past: FromClause, sort: Sort) -> list[UnaryExpression[Any] | ColumnElement[Any]]:
    """Write the order; what is missing comes last, and equals stand in the order of their names."""
    name = sort.lstrip("-")
    column = now.c.score - past.c.score if name == "change" else now.c[name]
    directed = column.desc() if sort.startswith("-") else column.asc()
    first = [] if name in ("rank", "ticker", "score") else [column.is_(None)]  # both databases sort nulls their own way
    return [*first, directed, now.c.ticker]


def _row(row: Sequence[Any]) -> RankRow:
    own, judged = len(OWN), len(_JUDGED)
    return RankRow(**common(row[:own]), change=_change(row[own : own + judged], row[own + judged :]))


def common(own: Sequence[Any]) -> dict[str, Any]:
    """Turn the columns of `OWN` into the fields of a `RankRow`."""
    fields = dict(zip(OWN, own, strict=True))
    at, day = fields.pop("analysis_at"), fields.pop("day")
    fields["analysis_date"] = at.isoformat(" ", "seconds")[:19]
    fields["date"] = day.isoformat()
    fields["expiry"] = None if fields["expiry"] is None else fields["expiry"].isoformat()
    fields["tags"] = split_tags(fields["tags"])
    return fields


def _change(now: Sequence[Any], past: Sequence[Any]) -> Change | None:
    if past[0] is None:
        return None
    score = now[0] - past[0]
    return Change(past[1] - now[1], round(score, 2), past[2], _points(now, past, score))


def _points(now: Sequence[Any], past: Sequence[Any], score: float) -> Points | None:
    """Split a change of the score by component: weight times part, minus the penalty, now and before."""
    ours, theirs = now[_WEIGHTS:], past[_WEIGHTS:]
    if not any(ours) or not any(theirs):
        return None
    moved = [
        round(0.01 * ((w or 0.0) * part - (v or 0.0) * before), 2)
        for w, part, v, before in zip(ours, now[_VALUES:_WEIGHTS], theirs, past[_VALUES:_WEIGHTS], strict=True)
    ]
    penalty = round(past[3] - now[3], 2)
    rest = round(round(score, 2) - sum(moved) - penalty, 2) + 0.0
    return Points(moved[0], moved[1], moved[2], moved[3], penalty, rest)


def _left(connection: Connection, now_id: str, past_id: str) -> list[str]:
    """List the names that were ranked before and are not now."""
    still = select(results.c.ticker).where(results.c.scan_id == now_id, results.c.rank.is_not(None))
    gone = select(results.c.ticker).where(
        results.c.scan_id == past_id, results.c.rank.is_not(None), results.c.ticker.not_in(still)
    )
    return list(connection.execute(gone.order_by(results.c.ticker)).scalars())


def view(scan: Any) -> ScanView:
    """Tell of a scan that has ended."""
    return ScanView(
        scan_id=scan.scan_id,
        universe=scan.universe,
        market=scan.market,
        as_of=_iso(scan.data_at),
        finished_at=_iso(scan.finished_at),
        total=scan.total,
    )


def _iso(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
