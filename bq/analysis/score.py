"""How much speaks for a position: the parts, their weights, the recommendation. See docs/decisions/0002-score.md.

Every part is 0 to 100 and can take any value in between; a part without evidence has no weight, and its weight is
spread over the others. The recommendation is decided by expected value and data quality first, by the total second.
"""

from typing import Final, NamedTuple

from bq.schema import Components, Score, ScoreParts

WEIGHTS: Final = {"price_match": 35.0, "vol_mispricing": 30.0, "stability": 20.0, "fourier_align": 15.0}
MAX_PENALTY: Final = 20.0
STRONG_BUY, BUY, NEUTRAL = 75.0, 60.0, 45.0


class Evidence(NamedTuple):
    """What the score rests on."""

    ev_forecast: float
    ev_worst: float
    ev_shrunk: float | None
    max_loss: float
    vega: float  # of the position: its sign says which side of a mispriced volatility it is on
    vol_mispricing: float | None  # per cent; None without an implied volatility
    volatility_percentile: float  # of the forecast volatility in the name's own year
    cycle_fit: float | None  # 0 to 1; None without a significant cycle
    delta_share: float  # loss of a one-day move through delta, over the maximum loss
    quotes: bool  # priced from usable quotes
    grade: str
    measures_agree: bool  # on the sign of the expected value
    flags: tuple[str, ...]  # what else limits the recommendation


def _percent(value: float) -> float:
    return min(max(value, 0.0), 100.0)


def components(e: Evidence) -> tuple[Components, dict[str, float]]:
    """Compute the parts and the weights of those with evidence (they add up to 100)."""
    price_match = _percent(50.0 + 100.0 * e.ev_forecast / e.max_loss) if e.max_loss > 0.0 else 0.0
    parts: dict[str, float | None] = {
        # Expected profit under the forecast for each dollar at risk: 50 is fair, +-50 % of the risk are the ends.
        "price_match": price_match if e.quotes else None,
        # Implied over forecast volatility, on the side of the position's vega: +-20 % are the ends.
        "vol_mispricing": None
        if e.vol_mispricing is None
        else _percent(50.0 + 2.5 * e.vol_mispricing * (-1.0 if e.vega > 0.0 else 1.0)),
        # Calm compared with the name's own year.
        "stability": _percent(100.0 - e.volatility_percentile),
        # Where a significant cycle points, measured in wings from the centre.
        "fourier_align": None if e.cycle_fit is None else _percent(100.0 * e.cycle_fit),
    }
    present = {name: WEIGHTS[name] for name, value in parts.items() if value is not None}
    whole = sum(present.values())
    weights = {name: 100.0 * weight / whole for name, weight in present.items()}
    penalty = min(MAX_PENALTY, 100.0 * e.delta_share)
    values = {name: value or 0.0 for name, value in parts.items()}
    return Components(delta_penalty=penalty, **values), weights


def judge(e: Evidence) -> tuple[Score, ScoreParts]:
    """Score a position and recommend, or refuse."""
    parts, weights = components(e)
    total = sum(weights[name] * getattr(parts, name) for name in weights) / 100.0 - parts.delta_penalty
    total = _percent(total)
    reasons = list(e.flags)
    if e.grade == "D":
        reasons.append("quotes_not_usable")
        total = 0.0
    if not e.quotes and e.grade != "D":
        reasons.append("no_quotes")
    sure = e.ev_worst > 0.0 and e.measures_agree
    shrunk = e.ev_forecast if e.ev_shrunk is None else e.ev_shrunk
    positive = e.ev_forecast > 0.0 and shrunk > 0.0
    if e.quotes and not positive:
        reasons.append("expected_value_not_positive")
    elif e.quotes and not sure:
        reasons.append("edge_within_error")
    tradable = e.quotes and e.grade != "D" and positive and e.max_loss > 0.0
    if tradable and sure and total >= STRONG_BUY:
        recommendation = "STRONG_BUY"
    elif tradable and total >= BUY and (sure or e.measures_agree):
        recommendation = "BUY"
    elif e.grade != "D" and total >= NEUTRAL:
        recommendation = "NEUTRAL"
    else:
        recommendation = "AVOID"
    if e.quotes and e.grade == "A" and e.measures_agree:
        confidence = "HIGH"
    elif e.quotes and e.grade in ("A", "B"):
        confidence = "MEDIUM"
    else:
        confidence = "LOW"
    missing = [name for name in WEIGHTS if name not in weights]
    return (
        Score(total, parts, recommendation, confidence),  # type: ignore[arg-type]
        ScoreParts(weights, missing, sorted(set(reasons))),
    )
