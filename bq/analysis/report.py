"""From findings to the words on the wire: legs and Greeks for the whole batch, then one analysis a ticker.

Rule of this file and of those it calls (legs, evidence, sections, extended): they decide nothing about markets. They
convert units once (vega per volatility point, theta per day), round once, and refuse to write a number that is not
finite.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, ParamSpec, TypeVar

from msgspec import UNSET

from bq import schema
from bq.analysis import charts, evidence, extended, legs, rounding, score, score_error, sections
from bq.analysis.charts import Drawn
from bq.analysis.findings import Findings
from bq.analysis.forecast import SESSIONS
from bq.analysis.legs import Legs
from bq.analysis.rounding import NotFiniteError, Row, known, number
from bq.analysis.volatility import year_of_vols
from bq.errors import Problem
from bq.market.source import F64
from bq.schema import Analysis, Detail, Written


def write(findings: Sequence[Findings | Problem], details: Sequence[Detail], version: str) -> list[Written | Problem]:
    """Write the analyses of a batch, in order, each with what its detail shows."""
    found = [(f, detail == "full") for f, detail in zip(findings, details, strict=True) if not isinstance(f, Problem)]
    priced = iter(legs.price([f for f, _ in found], [full for _, full in found]))
    drafts = [f if isinstance(f, Problem) else _or_problem(f, _draft, f, next(priced)) for f in findings]
    judged = [(d, detail) for d, detail in zip(drafts, details, strict=True) if isinstance(d, Draft)]
    pages = _pages(judged)
    written = (_or_problem(d.findings, _written, d, p, version) for (d, _), p in zip(judged, pages, strict=True))
    return [d if isinstance(d, Problem) else next(written) for d in drafts]


P = ParamSpec("P")
T = TypeVar("T")


def _or_problem(f: Findings, write: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | Problem:
    """Write something of one ticker; where a number of it is missing that ticker fails, and no other."""
    try:
        return write(*args, **kwargs)
    except NotFiniteError as error:
        return Problem("compute_failed", f"{f.snapshot.ticker}: {error}.")


class Draft(NamedTuple):
    """One ticker judged, before the error of its score is known."""

    findings: Findings
    legs: Legs
    greeks: schema.Greeks
    history: F64  # realised volatilities of the last year, over the sessions of the trade
    evidence: score.Evidence
    facts: evidence.Facts
    score: schema.Score
    limits: score.Limits


def _draft(f: Findings, own: Legs) -> Draft:
    history = year_of_vols(f.volatility, f.row, int(f.panel.returns_length[f.row]), f.target.sessions)
    greeks = legs.net_greeks(own)
    found, facts = evidence.collect(f, greeks, history)
    return Draft(f, own, greeks, history, found, facts, *score.judge(found))


class Page(NamedTuple):
    """What is written for all tickers of a batch at once, of one of them."""

    fan: F64  # middle, upper and lower bound of the forecast prices, (3, sessions)
    lines: Row  # the same, rounded
    vols: Row  # forecast volatilities, 30 sessions
    quarters: Sequence[float] | None  # of the smile: at the money, call and put of a delta of 0.25
    drawn: Drawn | None  # None in a summary
    error: tuple[schema.ScoreInterval, float] | None  # of the score; this and what follows in a full answer alone
    parts: extended.Parts | None


def _pages(judged: Sequence[tuple[Draft, Detail]]) -> list[Page]:
    found = [d.findings for d, _ in judged]
    fan = sections.fans(found)
    charted = [i for i, (_, detail) in enumerate(judged) if detail != "summary"]
    whole = [d for d, detail in judged if detail == "full"]
    drawn = iter(charts.draw([found[i] for i in charted], fan[charted]))
    errors = iter(score_error.of([score_error.Case(d.findings, d.evidence, d.score.total, d.history) for d in whole]))
    parts = iter(extended.prepare([d.findings for d in whole], [d.legs for d in whole]))
    lines = rounding.rows(fan[:, :, :SESSIONS])
    vols, quarters = sections.vols_ahead(found), sections.quarter_deltas(found)
    return [
        Page(
            fan[i],
            lines[i],
            vols[i],
            quarters[i],
            next(drawn) if detail != "summary" else None,
            next(errors) if detail == "full" else None,
            next(parts) if detail == "full" else None,
        )
        for i, (_, detail) in enumerate(judged)
    ]


def _written(d: Draft, page: Page, version: str) -> Written:
    f, facts = d.findings, d.facts
    snapshot, drawn = f.snapshot, page.drawn
    judged = _rounded(d.score)
    butterfly = sections.butterfly(f, d.greeks)
    signals = ([], []) if drawn is None else (known(drawn.low), known(drawn.mid))
    lines = known(page.lines)
    highest, lowest = float(page.fan[1, :SESSIONS].max()), float(page.fan[2, :SESSIONS].min())
    arima = sections.arima(f, page.fan, lines)
    analysis = Analysis(
        ticker=snapshot.ticker,
        analysis_date=snapshot.as_of.strftime("%Y-%m-%d %H:%M:%S"),
        current_price=number(f.spot, 4),
        forecast_price=arima.mean_forecast,
        upper_bound=number(highest, 4),
        lower_bound=number(lowest, 4),
        price_stability=number(100.0 * (highest - lowest) / f.spot, 4),
        risk_level=sections.risk_level(f),
        fourier=sections.fourier(f, signals, judged.recommendation, d.limits.reasons),
        arima=arima,
        garch=sections.garch(f, facts, known(page.vols), page.quarters),
        butterfly=butterfly,
        signals=facts.signals,
        score=judged,
        trade_suggestion=sections.suggestion(f, judged, facts.signals, butterfly),
        chart_data=UNSET if drawn is None else known(drawn.data),
        extended=UNSET
        if page.parts is None or page.error is None
        else extended.write(f, d.legs, facts, _score_parts(d.limits, *page.error), page.parts, version),
    )
    return Written(analysis, number(float(f.cycles.spectrum.family_p[f.row])))


def _score_parts(limits: score.Limits, interval: schema.ScoreInterval, error: float) -> schema.ScoreParts:
    return schema.ScoreParts(
        {name: number(weight, 4) for name, weight in limits.weights.items()},
        limits.missing,
        limits.reasons,
        schema.ScoreInterval(number(interval.low, 2), number(interval.high, 2)),
        number(error, 3),
    )


def _rounded(judged: schema.Score) -> schema.Score:
    c = judged.components
    return schema.Score(
        number(judged.total, 2),
        schema.Components(*(number(getattr(c, name), 2) for name in c.__struct_fields__)),
        judged.recommendation,
        judged.confidence_level,
    )
