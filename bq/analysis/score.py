"""How much speaks for a position: the parts, their weights, the recommendation. See docs/decisions/0002-score.md.

Every part is 0 to 100 and can take any value in between; a part without evidence has no weight, and its weight is
spread over the others. The recommendation is decided by expected value and data quality first, by the total second.
"""

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from bq.analysis.risk import SIMULTANEOUS_95, SIMULTANEOUS_99
from bq.market.source import F64
from bq.schema import Components, Score

WEIGHTS: Final = {"price_match": 35.0, "vol_mispricing": 30.0, "stability": 20.0, "fourier_align": 15.0}
MAX_PENALTY: Final = 20.0
STRONG_BUY, BUY, NEUTRAL = 75.0, 60.0, 45.0
MORE_ERRORS: Final = SIMULTANEOUS_99 - SIMULTANEOUS_95  # by which a bound at 99 % lies below one at 95 %


class Evidence(NamedTuple):
    """What the score rests on; those that may be arrays can be drawn many times at once."""

    ev_forecast: float | F64
    ev_bound: float | None  # lower bound of the expected value, whichever candidate was picked; None without quotes
    ev_error: float  # its standard error
    ev_shrunk: float | None
    max_loss: float
    vega: float  # of the position: its sign says which side of a mispriced volatility it is on
    vol_mispricing: float | F64 | None  # per cent; None without an implied volatility
    volatility_percentile: float | F64  # of the forecast volatility in the name's own year
    cycle_fit: float | F64 | None  # 0 to 1; None without a significant cycle
    delta_share: float | F64  # loss of a one-day move through delta, over the maximum loss
    quotes: bool  # priced from usable quotes
    grade: str
    measures_agree: bool  # on the sign of the expected value
    sound: bool  # the history can carry a claim
    flags: tuple[str, ...]  # what else limits the recommendation


def _least(value: float | F64, most: float) -> float | F64:
    return min(value, most) if isinstance(value, float) else np.minimum(value, most)  # arrays are slow with one number


def _percent(value: float | F64) -> float | F64:
    return _least(max(value, 0.0) if isinstance(value, float) else np.maximum(value, 0.0), 100.0)


def _parts(e: Evidence) -> dict[str, float | F64 | None]:
    """Compute the parts, None where there is no evidence."""
    price_match = _percent(50.0 + 100.0 * e.ev_forecast / e.max_loss) if e.max_loss > 0.0 else 0.0
    short = -1.0 if e.vega > 0.0 else 1.0
    return {
        # Expected profit under the forecast for each dollar at risk: 50 is fair, +-50 % of the risk are the ends.
        "price_match": price_match if e.quotes else None,
        # Implied over forecast volatility, on the side of the position's vega: +-20 % are the ends.
        "vol_mispricing": None if e.vol_mispricing is None else _percent(50.0 + 2.5 * e.vol_mispricing * short),
        # Calm compared with the name's own year.
        "stability": _percent(100.0 - e.volatility_percentile),
        # Where a significant cycle points, measured in wings from the centre.
        "fourier_align": None if e.cycle_fit is None else _percent(100.0 * e.cycle_fit),
    }


def _weights(parts: Mapping[str, float | F64 | None]) -> dict[str, float]:
    """Give the weights of the parts with evidence; they add up to 100."""
    whole = sum(WEIGHTS[name] for name, value in parts.items() if value is not None)
    return {name: 100.0 * WEIGHTS[name] / whole for name, value in parts.items() if value is not None}


def _penalty(e: Evidence) -> float | F64:
    return _least(100.0 * e.delta_share, MAX_PENALTY)


def totals(e: Evidence) -> float | F64:
    """Compute the total of one or of many draws of the evidence, whatever the quotes are worth."""
    parts = _parts(e)
    weighted = [weight * part for name, weight in _weights(parts).items() if (part := parts[name]) is not None]
    return _percent(sum(weighted) / 100.0 - _penalty(e))


def components(e: Evidence) -> tuple[Components, dict[str, float]]:
    """Compute the parts and the weights of those with evidence (they add up to 100)."""
    parts = _parts(e)
    values = {name: 0.0 if value is None else float(value) for name, value in parts.items()}
    return Components(delta_penalty=float(_penalty(e)), **values), _weights(parts)


class Limits(NamedTuple):
    """How a total came about: the weights, the parts without evidence, what limited the recommendation."""

    weights: dict[str, float]
    missing: list[str]
    reasons: list[str]


def judge(e: Evidence) -> tuple[Score, Limits]:
    """Score a position and recommend, or refuse."""
    parts, weights = components(e)
    total = float(totals(e))
    reasons = list(e.flags)
    if e.grade == "D":
        reasons.append("quotes_not_usable")
        total = 0.0
    if not e.quotes and e.grade != "D":
        reasons.append("no_quotes")
    bound = -math.inf if e.ev_bound is None else e.ev_bound
    shrunk = e.ev_forecast if e.ev_shrunk is None else e.ev_shrunk
    positive = float(e.ev_forecast) > 0.0 and float(shrunk) > 0.0
    if e.quotes and not positive:
        reasons.append("expected_value_not_positive")
    elif e.quotes and not bound > 0.0:
        reasons.append("edge_within_error")
    if e.quotes and not e.measures_agree:
        reasons.append("history_disagrees_with_forecast")
    if not e.sound:
        reasons.append("history_not_sound")
    sure = e.quotes and e.grade != "D" and e.measures_agree and e.sound
    edge = sure and positive and e.max_loss > 0.0 and bound > 0.0
    if edge and bound > MORE_ERRORS * e.ev_error and total >= STRONG_BUY:
        recommendation = "STRONG_BUY"
    elif edge and total >= BUY:
        recommendation = "BUY"
    elif e.grade != "D" and (positive or not e.quotes) and total >= NEUTRAL:
        recommendation = "NEUTRAL"
    else:
        recommendation = "AVOID"
    if sure and e.grade == "A":
        confidence = "HIGH"
    elif e.quotes and e.grade in ("A", "B") and e.sound:
        confidence = "MEDIUM"
    else:
        confidence = "LOW"
    missing = [name for name in WEIGHTS if name not in weights]
    return (
        Score(total, parts, recommendation, confidence),  # type: ignore[arg-type]
        Limits(weights, missing, sorted(set(reasons))),
    )
