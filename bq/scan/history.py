"""The past of one ticker, read: its analyses, its volatility surface, and where its volatility stands.

Rules of this file: reading only. Blocking, like the store.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Select, func, select

from bq import schema
from bq.analysis import iv_level
from bq.scan import rankings
from bq.scan.packing import CODEC, unpack
from bq.scan.rankings import PARTS
from bq.scan.tables import answers, iv_levels, results, scans, surfaces
from bq.scan.views import Components, IvPoint, Level, PastRow, SurfaceRow
from bq.schema import Analysis, Detail

_MORE: Final = (
    "scan_id", "forecast_price", "upper_bound", "lower_bound", "price_stability", "risk_level", "trend_direction",
    "cycle_position", "historical_vol", "delta", "gamma", "vega", "theta",
)  # fmt: skip
_decoder: Final = msgspec.json.Decoder(Analysis)


class Past(Struct, frozen=True):
    """A stored answer, as it was or at a lesser detail."""

    scan_id: str
    analysis_date: str
    data: msgspec.Raw


def past_rows(connection: Connection, ticker: str, market: str | None, limit: int, offset: int = 0) -> list[PastRow]:
    """Give the numbers of the past analyses of a ticker, newest first."""
    names = (*rankings.OWN, *_MORE, *(f"part_{part}" for part in PARTS), "part_delta_penalty")
    query = _of_ticker(select(*(results.c[name] for name in names)), ticker, market, limit, offset)
    own = len(rankings.OWN)
    return [
        PastRow(
            **{**rankings.common(row[:own]), "rank": row[0] or 0, "tied": row.tied or 0},
            **dict(zip(_MORE, row[own : own + len(_MORE)], strict=True)),
            components=_components(row[own + len(_MORE) :]),
            change=None,
        )
        for row in connection.execute(query)
    ]


def _components(parts: Sequence[float | None]) -> Components | None:
    return None if None in parts else Components(*parts)  # type: ignore[arg-type]


def past_answers(
    connection: Connection, ticker: str, market: str | None, limit: int, detail: Detail, offset: int = 0
) -> list[Past]:
    """Give the past answers to a ticker, newest first; those that were imported without one are left out."""
    joined = results.join(answers, (answers.c.scan_id == results.c.scan_id) & (answers.c.ticker == results.c.ticker))
    columns = (results.c.scan_id, results.c.analysis_at, answers.c.codec, answers.c.body)
    ours = select(*columns).select_from(joined).where(answers.c.codec == CODEC)
    query = _of_ticker(ours, ticker, market, limit, offset)
    return [
        Past(
            row.scan_id, row.analysis_at.strftime("%Y-%m-%d %H:%M:%S"), _at_detail(unpack(row.codec, row.body), detail)
        )
        for row in connection.execute(query)
    ]


def _at_detail(data: bytes, detail: Detail) -> msgspec.Raw:
    if detail == "full":
        return msgspec.Raw(data)
    return msgspec.Raw(schema.encode(_decoder.decode(data), detail))


def _of_ticker(query: Select[Any], ticker: str, market: str | None, limit: int, offset: int) -> Select[Any]:
    where = [results.c.ticker == ticker, results.c.analysis_at.is_not(None)]
    if market is not None:
        where.append(results.c.scan_id.in_(select(scans.c.scan_id).where(scans.c.market == market)))
    order = (results.c.analysis_at.desc(), results.c.recorded_at.desc(), results.c.scan_id)
    return query.where(*where).order_by(*order).limit(limit).offset(offset)


def iv_by_day(
    connection: Connection, ticker: str, market: str, last: dt.date | None = None, years: int = 1
) -> list[tuple[dt.date, float]]:
    """Give the 30-day volatility at the money of each stored session, oldest first.

    Parameters
    ----------
    last : date, optional
        Sessions before this one only, and a year back from it; the last year that is stored when None.
    """
    query = select(iv_levels.c.day, iv_levels.c.iv).where(iv_levels.c.market == market, iv_levels.c.ticker == ticker)
    if last is None:
        last = connection.execute(select(func.max(query.subquery().c.day))).scalar()
        if last is None:
            return []
        last += dt.timedelta(days=1)
    query = query.where(iv_levels.c.day < last, iv_levels.c.day >= last - years * iv_level.YEAR)
    return [(day, iv) for day, iv in connection.execute(query.order_by(iv_levels.c.day))]


def level(connection: Connection, ticker: str, market: str) -> Level:
    """Say where the volatility of a ticker stands in its own past."""
    by_day = iv_by_day(connection, ticker, market)
    values = [value for _, value in by_day]
    found = iv_level.standing(values[-1], values[:-1]) if values else None
    last = _of_ticker(select(results.c.iv_percentile, results.c.iv_percentile_of), ticker, market, 1, 0)
    analysed = connection.execute(last).first()
    realised = None if analysed is None or analysed.iv_percentile_of != "realized_history" else analysed.iv_percentile
    return Level(
        days=len(values),
        current_iv=round(values[-1], 6) if values else None,
        low=round(min(values), 6) if values else None,
        high=round(max(values), 6) if values else None,
        iv_rank=None if found is None else round(found.rank, 2),
        iv_percentile=None if found is None else round(found.percentile, 2),
        realized_vol_percentile=realised,
    )


def iv_points(connection: Connection, ticker: str, market: str, years: int) -> list[IvPoint]:
    """Give the 30-day volatility of each stored session of the last years, oldest first."""
    return [IvPoint(day.isoformat(), round(iv, 6)) for day, iv in iv_by_day(connection, ticker, market, None, years)]


def surface_rows(
    connection: Connection, ticker: str, market: str | None, limit: int, offset: int = 0
) -> list[SurfaceRow]:
    """Give what the option market said of a ticker, newest day first, nearest expiry first."""
    names = SurfaceRow.__struct_fields__
    query = select(*(surfaces.c[name] for name in names)).where(surfaces.c.ticker == ticker)
    if market is not None:
        query = query.where(surfaces.c.market == market)
    query = query.order_by(surfaces.c.day.desc(), surfaces.c.expiry).limit(limit).offset(offset)
    return [
        SurfaceRow(**{**row, "day": row["day"].isoformat(), "expiry": row["expiry"].isoformat()})
        for row in connection.execute(query).mappings()
    ]
