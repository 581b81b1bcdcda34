"""Analyses with chosen numbers, made from a real one."""

import datetime as dt
from typing import Any

import msgspec
from msgspec.structs import replace

from bq import schema
from bq.scan.records import ScanRow, ScanSpec, ScanTicker
from bq.scan.store import Store
from bq.schema import Analysis

WEIGHTS = {"price_match": 40.0, "vol_mispricing": 40.0, "stability": 20.0}


def analysis(
    template: Analysis,
    ticker: str,
    parts: tuple[float, float, float] = (50.0, 50.0, 50.0),
    *,
    penalty: float = 0.0,
    error: float = 2.0,
    at: dt.datetime | None = None,
    total: float | None = None,
    closes: list[float] | None = None,
    **butterfly: Any,
) -> Analysis:
    """Give an analysis whose score is made of three parts with the weights 40, 40 and 20."""
    names = {name: float(part) for name, part in zip(WEIGHTS, parts, strict=True)}
    own = float(sum(0.01 * WEIGHTS[name] * part for name, part in names.items())) - penalty
    own = round(min(max(own, 0.0), 100.0), 2) if total is None else total
    components = schema.Components(**names, fourier_align=0.0, delta_penalty=penalty)
    low, high = max(own - 1.959963984540054 * error, 0.0), min(own + 1.959963984540054 * error, 100.0)
    extended, charts = template.extended, template.chart_data
    assert extended is not msgspec.UNSET
    assert charts is not msgspec.UNSET
    scored = replace(
        extended.score, weights=WEIGHTS, interval=replace(extended.score.interval, low=low, high=high), std_error=error
    )
    if closes is not None:
        charts = replace(charts, fourier=[replace(p, actual=c) for p, c in zip(charts.fourier, closes, strict=True)])
    return replace(
        template,
        ticker=ticker,
        analysis_date=template.analysis_date if at is None else at.strftime("%Y-%m-%d %H:%M:%S"),
        score=replace(template.score, total=own, components=components),
        butterfly=replace(template.butterfly, **butterfly),
        chart_data=charts,
        extended=replace(extended, score=scored),
    )


def store_scan(
    store: Store,
    scan_id: str,
    analyses: list[Analysis],
    *,
    tags: dict[str, tuple[str, ...]] | None = None,
    status: Any = "completed",
    started_at: dt.datetime = dt.datetime(2026, 6, 30, 21, tzinfo=dt.UTC),
    **changes: Any,
) -> None:
    """Store a whole scan."""
    tickers = tuple(ScanTicker(one.ticker, (tags or {}).get(one.ticker, ())) for one in analyses)
    fields = {"universe": "list", "as_of": "", "market": "sample", **changes}
    store.begin(ScanSpec(scan_id=scan_id, tickers=tickers, started_at=started_at, **fields))
    store.record(scan_id, [ScanRow(one.ticker, one, schema.encode(one, "full")) for one in analyses])
    store.finish(scan_id, status, started_at + dt.timedelta(minutes=1))
