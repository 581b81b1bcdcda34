"""The wide row: which numbers of an analysis are columns, under which name, and where they come from.

Rules of this file: a table, and the function that reads an analysis through it. Names are those of the wire where the
wire has a short one. What a detail does not carry (`extended`) is null.
"""

import datetime as dt
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from msgspec import UNSET

from bq.market import calendar
from bq.schema import Analysis

Kind: TypeAlias = Literal["number", "integer", "truth", "text", "date"]


class Wide(NamedTuple):
    """One column and where its value stands in an analysis."""

    name: str
    kind: Kind
    path: str
    extended: bool = False
    """It stands in the part that only full answers have, or may be missing there."""


def _many(kind: Kind, prefix: str, *names: str, extended: bool = False) -> tuple[Wide, ...]:
    """List columns of one kind; "name" stands for itself, "name=path" for what stands elsewhere."""
    split = (name.partition("=") for name in names)
    return tuple(Wide(name, kind, f"{prefix}{path or name}", extended) for name, _, path in split)


WIDE: Final[tuple[Wide, ...]] = (
    *_many("text", "extended.", "source", "name", "engine_version", "data_hash", extended=True),
    *_many("truth", "extended.", "stale", extended=True),
    *_many("text", "extended.quality.", "grade", "iv_source", "iv_percentile_of", extended=True),
    *_many("number", "", "price=current_price", "forecast_price", "upper_bound", "lower_bound", "price_stability"),
    *_many("text", "", "risk_level"),
    *_many("text", "fourier.", "trend_direction", "cycle_position", "strategy=butterfly_type"),
    *_many("number", "fourier.", "trend_slope", "dominant_period=dominant_period_days", "period_strength"),
    *_many("number", "arima.", "forecast_7d", "forecast_30d", "confidence_width"),
    *_many("number", "garch.", "predicted_vol", "current_iv", "historical_vol", "vol_mispricing", "iv_percentile"),
    *_many("number", "garch.garch_params.", "garch_omega=omega", "garch_alpha=alpha", "garch_beta=beta"),
    *_many("number", "garch.iv_skew.", "skew_atm=atm", "skew_call", "skew_put", extended=True),
    *_many("number", "butterfly.", "lower=lower_strike", "center=center_strike", "upper=upper_strike", "wing_width"),
    *_many("integer", "butterfly.", "dte"),
    *_many("truth", "butterfly.", "is_credit_strategy"),
    *_many("number", "butterfly.", "lower_cost", "upper_cost", "center_credit", "net_debit"),
    *_many("number", "butterfly.", "max_profit", "max_loss", "profit_ratio"),
    *_many("number", "butterfly.", "breakeven_lower", "breakeven_upper", "prob_profit", "risk_free_rate"),
    *_many("number", "butterfly.greeks.", "delta", "gamma", "vega", "theta"),
    *_many("number", "butterfly.spreads.", "spread_lower=lower", "spread_center=center", "spread_upper=upper"),
    *_many("truth", "signals.", "signal_price_stability=price_stability", "signal_vol_mispricing=vol_mispricing"),
    *_many("truth", "signals.", "signal_trend_clear=trend_clear", "signal_cycle_aligned=cycle_aligned"),
    *_many("truth", "signals.", "signal_delta_neutral=delta_neutral", "signal_iv_high=iv_high"),
    *_many("number", "score.", "score=total"),
    *_many("number", "extended.score.interval.", "score_low=low", "score_high=high", extended=True),  # 95 %
    *_many("number", "extended.score.", "score_std_error=std_error", extended=True),
    *_many("number", "score.components.", "part_price_match=price_match", "part_vol_mispricing=vol_mispricing"),
    *_many("number", "score.components.", "part_stability=stability", "part_fourier_align=fourier_align"),
    *_many("number", "score.components.", "part_delta_penalty=delta_penalty"),
    *_many("text", "score.", "recommendation", "confidence=confidence_level"),
    *_many("text", "trade_suggestion.", "action", "position_size", "entry_timing"),
    *_many("number", "extended.risk.pop_market.", "pop_market=value", extended=True),
    *_many("number", "extended.risk.pop_forecast.", "pop_forecast=value", extended=True),
    *_many("number", "extended.risk.pop_empirical.", "pop_empirical=value", extended=True),
    *_many("number", "extended.risk.", "ev_market", "ev_forecast", "ev_empirical", "ev_worst", extended=True),
    *_many("number", "extended.risk.", "ev_std_error=std_error", "cvar_95", "kelly_fraction", extended=True),
)
"""Columns that are read straight from an analysis."""

COMPUTED: Final[tuple[tuple[str, Kind], ...]] = (
    ("day", "date"),  # the session that the data belong to
    ("expiry", "date"),
    ("model_order", "text"),  # "0,1,0"
    ("weight_price_match", "number"),  # per cent of the total; null without evidence
    ("weight_vol_mispricing", "number"),
    ("weight_stability", "number"),
    ("weight_fourier_align", "number"),
)
"""Columns that need more than reading."""


def _getter(column: Wide) -> Callable[[Analysis], Any]:
    if not column.extended:
        return attrgetter(column.path)
    names = column.path.split(".")

    def careful(analysis: Analysis) -> Any:
        value: Any = analysis
        for name in names:
            value = getattr(value, name)
            if value is UNSET or value is None:
                return None
        return value

    return careful


_GETTERS: Final = tuple((column.name, _getter(column)) for column in WIDE)


def moment(analysis: Analysis) -> dt.datetime:
    """Read the moment of an analysis (UTC)."""
    return dt.datetime.strptime(analysis.analysis_date, "%Y-%m-%d %H:%M:%S").replace(tzinfo=dt.UTC)


def wide_row(analysis: Analysis) -> dict[str, Any]:
    """Read all columns of an analysis, except what only the scan knows (its ranks)."""
    row = {name: get(analysis) for name, get in _GETTERS}
    at = moment(analysis)
    row["day"] = calendar.as_date(calendar.session_at(at))
    row["model_order"] = ",".join(map(str, analysis.arima.model_order))
    extended = analysis.extended
    row["expiry"] = (
        dt.date.fromisoformat(extended.legs[0].expiry)
        if extended is not UNSET and extended.legs
        else calendar.local_date(at) + dt.timedelta(days=analysis.butterfly.dte)
    )
    weights = {} if extended is UNSET else extended.score.weights
    for part in ("price_match", "vol_mispricing", "stability", "fourier_align"):
        row[f"weight_{part}"] = weights.get(part)
    return row
