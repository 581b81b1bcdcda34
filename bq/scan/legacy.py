"""Results of ButterQuant v4.1, read from its SQLite files: what can be believed, and why the rest cannot.

Rules of this file: it reads `analysis_history` (JSON of a whole result) and `daily_metrics` (one wide row) and writes
nothing. Each row becomes numbers under our names or one reason. A number that is void by its construction there (the
probability of profit is one of two constants, the percentile one of four, cycles were never tested) is left out of an
otherwise good row.
"""

import datetime as dt
import json
import math
import re
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from bq.errors import Failure, bad_request

LEAST_IV: Final = 0.05
"""98 % of the published results carry less: Yahoo's placeholders, not volatilities."""
PLACEHOLDERS: Final = (0.0625, 0.125, 0.25, 0.5)
"""The steps of Yahoo's placeholder ladder above that."""
NEAR: Final = 2e-5
FLOOR: Final = 0.1 + 1e-9
"""The debit that stood in for a negative or missing one."""

REASONS: Final = {
    "unreadable": "the row cannot be read, or lacks a ticker, a date, a strategy or a verdict",
    "number_missing": "a price, strike, profit, loss or score is missing or not finite",
    "implied_volatility_void": "the implied volatility is below 5 % or a vendor's placeholder",
    "strike_not_positive": "the lower wing lies at or below zero",
    "profit_impossible": "profit or loss is not positive, or exceeds the width of the wings",
    "debit_floored": "the debit is the floor that stood in for a negative one",
    "superseded": "a later result of the same ticker and day is there",
    "same_result": "the same result stands in the other table",
}

_TICKER: Final = re.compile(r"[A-Z0-9^][A-Z0-9.\-=^]{0,14}")
_WORDS: Final = {
    "strategy": {"CALL", "PUT", "IRON"},
    "recommendation": {"STRONG_BUY", "BUY", "NEUTRAL", "AVOID"},
    "confidence": {"HIGH", "MEDIUM", "LOW"},
}
_OTHER_WORDS: Final = {"trend_direction": {"UP", "DOWN", "FLAT"}, "risk_level": {"LOW", "MEDIUM", "HIGH"}}

METRICS: Final = {
    "current_price": "price", "forecast_price": "forecast_price", "price_stability": "price_stability",
    "trend_direction": "trend_direction", "trend_slope": "trend_slope", "predicted_vol": "predicted_vol",
    "current_iv": "current_iv", "vol_mispricing": "vol_mispricing", "iv_skew_call": "skew_call",
    "iv_skew_put": "skew_put", "strategy_type": "strategy", "center_strike": "center", "wing_width": "wing_width",
    "profit_ratio": "profit_ratio", "max_profit": "max_profit", "max_loss": "max_loss", "delta": "delta",
    "gamma": "gamma", "vega": "vega", "theta": "theta", "total_score": "score",
    "score_price_match": "part_price_match", "score_vol_mispricing": "part_vol_mispricing",
    "score_stability": "part_stability", "score_fourier_align": "part_fourier_align",
    "recommendation": "recommendation", "confidence_level": "confidence",
}  # fmt: skip
"""Columns of `daily_metrics`, and ours."""

PATHS: Final = {
    "price": "current_price", "forecast_price": "forecast_price", "price_stability": "price_stability",
    "upper_bound": "upper_bound", "lower_bound": "lower_bound", "risk_level": "risk_level",
    "trend_direction": "fourier.trend_direction", "trend_slope": "fourier.trend_slope",
    "strategy": "fourier.butterfly_type", "forecast_7d": "arima.forecast_7d", "forecast_30d": "arima.forecast_30d",
    "predicted_vol": "garch.predicted_vol", "current_iv": "garch.current_iv", "historical_vol": "garch.historical_vol",
    "vol_mispricing": "garch.vol_mispricing", "skew_call": "garch.iv_skew.skew_call",
    "skew_put": "garch.iv_skew.skew_put", "center": "butterfly.center_strike", "wing_width": "butterfly.wing_width",
    "dte": "butterfly.dte", "net_debit": "butterfly.net_debit", "profit_ratio": "butterfly.profit_ratio",
    "max_profit": "butterfly.max_profit", "max_loss": "butterfly.max_loss", "delta": "butterfly.greeks.delta",
    "gamma": "butterfly.greeks.gamma", "vega": "butterfly.greeks.vega", "theta": "butterfly.greeks.theta",
    "score": "score.total", "part_price_match": "score.components.price_match",
    "part_vol_mispricing": "score.components.vol_mispricing", "part_stability": "score.components.stability",
    "part_fourier_align": "score.components.fourier_align",
    "part_delta_penalty": "score.components.delta_penalty", "recommendation": "score.recommendation",
    "confidence": "score.confidence_level",
}  # fmt: skip
"""Our columns, and where their value stands in the JSON of `analysis_history`."""

_NEEDED: Final = (
    "price", "forecast_price", "price_stability", "predicted_vol", "current_iv", "vol_mispricing", "center",
    "wing_width", "profit_ratio", "max_profit", "max_loss", "delta", "gamma", "vega", "theta", "score",
)  # fmt: skip


class Found(NamedTuple):
    """One row of the old tables."""

    table: str
    number: int
    """Of the row in its table."""
    ticker: str
    at: dt.datetime | None
    """Aware."""
    tags: tuple[str, ...]
    row: dict[str, Any] | None
    """Under our names; None when the row is not believed."""
    original: bytes | None
    """The JSON of the result, where there was one."""
    reason: str | None


def read(path: Path, zone: dt.tzinfo) -> Iterator[Found]:
    """Read every row of the old tables of a file.

    Parameters
    ----------
    zone : tzinfo
        Of the machine that wrote the file: it kept local times.

    Raises
    ------
    Failure
        `bad_request`, when the file cannot be read or holds neither table.
    """
    if not path.is_file():
        raise Failure(bad_request(f"There is no file {path}."))
    try:
        with sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True) as old:
            old.row_factory = sqlite3.Row
            tables = {row[0] for row in old.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not tables & {"analysis_history", "daily_metrics"}:
                raise Failure(bad_request(f"{path} holds neither analysis_history nor daily_metrics."))
            if "analysis_history" in tables:
                for row in old.execute("SELECT * FROM analysis_history ORDER BY id"):
                    yield _from_history(dict(row), zone)
            if "daily_metrics" in tables:
                for row in old.execute("SELECT * FROM daily_metrics ORDER BY id"):
                    yield _from_metrics(dict(row), zone)
    except sqlite3.Error as error:
        raise Failure(bad_request(f"{path} cannot be read as an SQLite file: {error}.")) from None


def _from_history(stored: Mapping[str, Any], zone: dt.tzinfo) -> Found:
    original = str(stored.get("full_result") or "").encode()
    try:
        result = json.loads(original)  # v4.1 wrote NaN, which is no JSON
    except ValueError:
        result = None
    if not isinstance(result, dict):
        return _found("analysis_history", stored, zone, (), {}, None, readable=False)
    values = {name: _at(result, path) for name, path in PATHS.items()}
    tags = result.get("tags")
    return _found("analysis_history", stored, zone, tags if isinstance(tags, list) else (), values, original)


def _from_metrics(stored: Mapping[str, Any], zone: dt.tzinfo) -> Found:
    values = {ours: stored.get(theirs) for theirs, ours in METRICS.items()}
    return _found("daily_metrics", stored, zone, str(stored.get("tags") or "").split(","), values, None)


def _found(
    table: str,
    stored: Mapping[str, Any],
    zone: dt.tzinfo,
    tags: Any,
    values: dict[str, Any],
    original: bytes | None,
    *,
    readable: bool = True,
) -> Found:
    ticker = str(stored.get("ticker") or "").strip().upper()
    at = _moment(stored.get("analysis_date"), zone)
    readable = readable and bool(_TICKER.fullmatch(ticker)) and at is not None
    reason = _why_not(values) if readable else "unreadable"
    clean = tuple(dict.fromkeys(tag.strip() for tag in tags if isinstance(tag, str) and tag.strip() and "|" not in tag))
    row = None if reason is not None else _tidy(values)
    return Found(table, int(stored["id"]), ticker, at, clean, row, original, reason)


def _at(value: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def _moment(text: Any, zone: dt.tzinfo) -> dt.datetime | None:
    try:
        at = dt.datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(dt.UTC)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _why_not(values: Mapping[str, Any]) -> str | None:
    """Give the first reason why a row's numbers cannot be believed."""
    if any(values.get(name) not in words for name, words in _WORDS.items()):
        return "unreadable"
    if not all(_is_number(values.get(name)) for name in _NEEDED):
        return "number_missing"
    iv, wing, profit, loss = (float(values[name]) for name in ("current_iv", "wing_width", "max_profit", "max_loss"))
    if iv < LEAST_IV or any(abs(iv - step) < NEAR for step in PLACEHOLDERS):
        return "implied_volatility_void"
    if values["center"] - wing <= 0.0 or wing <= 0.0:
        return "strike_not_positive"
    if not (0.0 < profit <= wing and 0.0 < loss <= wing):
        return "profit_impossible"
    if values["strategy"] != "IRON" and loss <= FLOOR:
        return "debit_floored"
    return None


def _tidy(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what is of its type, and add what follows from it: the old wings were symmetric."""
    row: dict[str, Any] = {}
    for name, value in values.items():
        if name in _WORDS or (name in _OTHER_WORDS and value in _OTHER_WORDS[name]):
            row[name] = value
        elif _is_number(value):
            row[name] = int(value) if name == "dte" else float(value)
    iron = row["strategy"] == "IRON"
    row["lower"], row["upper"] = row["center"] - row["wing_width"], row["center"] + row["wing_width"]
    row["is_credit_strategy"] = iron
    # A debit is the most that can be lost, a credit the most that can be won.
    row["net_debit"] = row["max_profit"] if iron else row["max_loss"]
    return row
