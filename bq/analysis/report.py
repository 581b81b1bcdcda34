"""From findings to the words on the wire: legs and Greeks for the whole batch, then one analysis a ticker.

Rule of this file and of those it calls (legs, evidence, sections, extended): they decide nothing about markets. They
convert units once (vega per volatility point, theta per day), round once, and refuse to write a number that is not
finite.
"""

from collections.abc import Sequence

import numpy as np

from bq import schema
from bq.analysis import charts, evidence, extended, legs, score, score_error, sections
from bq.analysis.findings import Findings
from bq.analysis.forecast import BAND, SESSIONS
from bq.analysis.legs import Legs
from bq.analysis.rounding import NotFiniteError, number
from bq.errors import Problem
from bq.schema import Analysis


def write(findings: Sequence[Findings | Problem], version: str) -> list[Analysis | Problem]:
    """Write the analyses of a batch, in order."""
    found = [f for f in findings if not isinstance(f, Problem)]
    priced = iter(legs.price(found))
    answers: list[Analysis | Problem] = []
    for f in findings:
        if isinstance(f, Problem):
            answers.append(f)
            continue
        own = next(priced)
        try:
            answers.append(_analysis(f, own, version))
        except NotFiniteError as error:
            answers.append(Problem("compute_failed", f"{f.snapshot.ticker}: {error}."))
    return answers


def _analysis(f: Findings, own: Legs, version: str) -> Analysis:
    i, snapshot = f.row, f.snapshot
    returns = f.panel.returns[i, : f.panel.returns_length[i]]
    mean, sd = f.price.mean[i], f.price.sd[i]
    middle = f.spot * np.exp(mean)
    upper, lower = f.spot * np.exp(mean + BAND * sd), f.spot * np.exp(mean - BAND * sd)
    greeks = legs.net_greeks(own)
    found, facts = evidence.collect(f, greeks, returns)
    judged, limits = score.judge(found)
    interval, error = score_error.of(f, found, judged.total, returns)
    parts = schema.ScoreParts(
        {name: number(weight, 4) for name, weight in limits.weights.items()},
        limits.missing,
        limits.reasons,
        schema.ScoreInterval(number(interval.low, 2), number(interval.high, 2)),
        number(error, 3),
    )
    judged = _rounded(judged)
    butterfly = sections.butterfly(f, greeks)
    signals = charts.bands(f)
    highest, lowest = float(upper[:SESSIONS].max()), float(lower[:SESSIONS].min())
    return Analysis(
        ticker=snapshot.ticker,
        analysis_date=snapshot.as_of.strftime("%Y-%m-%d %H:%M:%S"),
        current_price=number(f.spot, 4),
        forecast_price=number(middle[f.target.sessions - 1], 4),
        upper_bound=number(highest, 4),
        lower_bound=number(lowest, 4),
        price_stability=number(100.0 * (highest - lowest) / f.spot, 4),
        risk_level=sections.risk_level(f),
        fourier=sections.fourier(f, signals),
        arima=sections.arima(f, middle, upper, lower),
        garch=sections.garch(f, facts, returns),
        butterfly=butterfly,
        signals=facts.signals,
        score=judged,
        trade_suggestion=sections.suggestion(f, judged, facts.signals, butterfly),
        chart_data=charts.chart_data(f, returns, signals, (middle, upper, lower)),
        extended=extended.write(f, own, facts, parts, version),
    )


def _rounded(judged: schema.Score) -> schema.Score:
    c = judged.components
    return schema.Score(
        number(judged.total, 2),
        schema.Components(*(number(getattr(c, name), 2) for name in c.__struct_fields__)),
        judged.recommendation,
        judged.confidence_level,
    )
