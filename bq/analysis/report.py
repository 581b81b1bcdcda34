"""From findings to the words on the wire: legs and Greeks for the whole batch, then one analysis a ticker.

Rule of this file and of those it calls (legs, evidence, sections, extended): they decide nothing about markets. They
convert units once (vega per volatility point, theta per day), round once, and refuse to write a number that is not
finite.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, ParamSpec, TypeVar

import numpy as np
from msgspec import UNSET

from bq import schema
from bq.analysis import charts, evidence, extended, legs, score, score_error, sections
from bq.analysis.findings import Findings
from bq.analysis.forecast import BAND, SESSIONS
from bq.analysis.legs import Legs
from bq.analysis.rounding import NotFiniteError, number
from bq.analysis.volatility import year_of_vols
from bq.errors import Problem
from bq.market.source import F64
from bq.schema import Analysis, Detail, Written


def write(findings: Sequence[Findings | Problem], details: Sequence[Detail], version: str) -> list[Written | Problem]:
    """Write the analyses of a batch, in order, each with what its detail shows."""
    found = [(f, detail == "full") for f, detail in zip(findings, details, strict=True) if not isinstance(f, Problem)]
    priced = iter(legs.price([f for f, _ in found], [full for _, full in found]))
    drafts = [f if isinstance(f, Problem) else _or_problem(f, _draft, f, next(priced)) for f in findings]
    uncertain = [d for d, detail in zip(drafts, details, strict=True) if isinstance(d, Draft) and detail == "full"]
    errors = iter(
        score_error.of([score_error.Case(d.findings, d.evidence, d.score.total, d.history) for d in uncertain])
    )
    answers: list[Written | Problem] = []
    for d, detail in zip(drafts, details, strict=True):
        if isinstance(d, Problem):
            answers.append(d)
            continue
        error = next(errors) if detail == "full" else None
        answers.append(_or_problem(d.findings, _written, d, detail, error, version))
    return answers


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
    returns: F64  # per cent, oldest first
    history: F64  # realised volatilities of the last year, over the sessions of the trade
    evidence: score.Evidence
    facts: evidence.Facts
    score: schema.Score
    limits: score.Limits


def _draft(f: Findings, own: Legs) -> Draft:
    returns = f.panel.returns[f.row, : f.panel.returns_length[f.row]]
    history = year_of_vols(returns, f.target.sessions)
    greeks = legs.net_greeks(own)
    found, facts = evidence.collect(f, greeks, history)
    return Draft(f, own, greeks, returns, history, found, facts, *score.judge(found))


def _written(d: Draft, detail: Detail, error: tuple[schema.ScoreInterval, float] | None, version: str) -> Written:
    f, returns, facts = d.findings, d.returns, d.facts
    i, snapshot = f.row, f.snapshot
    mean, sd = f.price.mean[i], f.price.sd[i]
    middle = f.spot * np.exp(mean)
    upper, lower = f.spot * np.exp(mean + BAND * sd), f.spot * np.exp(mean - BAND * sd)
    judged = _rounded(d.score)
    butterfly = sections.butterfly(f, d.greeks)
    signals = ([], []) if detail == "summary" else charts.bands(f)
    highest, lowest = float(upper[:SESSIONS].max()), float(lower[:SESSIONS].min())
    analysis = Analysis(
        ticker=snapshot.ticker,
        analysis_date=snapshot.as_of.strftime("%Y-%m-%d %H:%M:%S"),
        current_price=number(f.spot, 4),
        forecast_price=number(middle[f.target.sessions - 1], 4),
        upper_bound=number(highest, 4),
        lower_bound=number(lowest, 4),
        price_stability=number(100.0 * (highest - lowest) / f.spot, 4),
        risk_level=sections.risk_level(f),
        fourier=sections.fourier(f, signals, judged.recommendation, d.limits.reasons),
        arima=sections.arima(f, middle, upper, lower),
        garch=sections.garch(f, facts, returns),
        butterfly=butterfly,
        signals=facts.signals,
        score=judged,
        trade_suggestion=sections.suggestion(f, judged, facts.signals, butterfly),
        chart_data=UNSET if detail == "summary" else charts.chart_data(f, returns, signals, (middle, upper, lower)),
        extended=UNSET if error is None else extended.write(f, d.legs, facts, _score_parts(d.limits, *error), version),
    )
    return Written(analysis, number(float(f.cycles.spectrum.family_p[i])))


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
