"""The sections of the default answer that today's clients read: cycles, volatility, position, advice."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from bq import schema
from bq.analysis import smiles
from bq.analysis.evidence import Facts
from bq.analysis.findings import Findings
from bq.analysis.forecast import BAND, SESSIONS
from bq.analysis.maturity import POINTS, REACH, at_delta
from bq.analysis.rounding import Row, number, rows
from bq.analysis.volatility import SESSIONS_A_YEAR
from bq.market import calendar
from bq.market.source import F64
from kernels import smile, spectral

LOW_RISK, MEDIUM_RISK = 0.35, 0.60


def risk_level(f: Findings) -> Any:
    """Name the risk by the forecast probability of losing more than half of the maximum loss."""
    half = f.assessed.losing_half
    return "LOW" if half < LOW_RISK else "MEDIUM" if half < MEDIUM_RISK else "HIGH"


def fourier(
    f: Findings, signals: tuple[list[float], list[float]], recommendation: str, reasons: Sequence[str]
) -> schema.Fourier:
    """Write trend and significant cycles, and in a sentence why this position: as the score recommends, and why."""
    i, c, t = f.row, f.cycles.cycles, f.cycles.trend
    columns = (c.period[i].tolist(), c.power[i].tolist(), c.power_share[i].tolist(), c.significant[i].tolist())
    periods = [
        schema.Period(number(period, 2), number(power, 4), number(100.0 * share, 3))
        for period, power, share, significant in zip(*columns, strict=True)
        if significant
    ]
    slope, t_stat = float(t.slope[i]), float(t.t_stat[i])
    direction = "FLAT" if abs(t_stat) <= float(t.critical[i]) else "UP" if t_stat > 0.0 else "DOWN"
    code = int(f.cycles.phase.position[i]) if periods else spectral.UNDETERMINED
    position = {spectral.PEAK: "PEAK", spectral.TROUGH: "TROUGH"}.get(code, "UNDETERMINED")
    return schema.Fourier(
        trend_direction=direction,  # type: ignore[arg-type]
        trend_slope=number(slope, 5),
        cycle_position=position,  # type: ignore[arg-type]
        dominant_periods=periods,
        dominant_period_days=periods[0].period if periods else 30.0,
        period_strength=periods[0].power_pct if periods else 0.0,
        butterfly_type=f.design.position.form,
        strategy_reason=_reason(f, bool(periods), _standing(f, recommendation, reasons)),
        low_freq_signal=signals[0],
        mid_freq_signal=signals[1],
    )


def _reason(f: Findings, cycle: bool, standing: str) -> str:
    p = f.design.position
    where = f"{standing}: {p.lower:g}/{p.center:g}/{p.upper:g} for {f.design.expiry}"
    if f.design.source is None:
        how = "no usable quotes: priced from the forecast volatility on an assumed strike grid"
    elif f.design.saving > 0.0:
        by = f"${f.design.saving:.2f}" if f.design.saving >= 0.005 else "less than a cent"
        how = f"the {p.form.lower()} form is cheapest to execute, by {by} a share"
    else:
        how = f"only the {p.form.lower()} form can be executed"
    noise = "" if cycle else "; no cycle stands out from noise"
    return f"{where}; {how}{noise}"


def _standing(f: Findings, recommendation: str, reasons: Sequence[str]) -> str:
    """Say what the position is among all candidates, and whether it is worth buying."""
    if f.found is None or not f.candidates:
        return "wings one standard deviation around the strike nearest the median forecast"
    if recommendation in ("BUY", "STRONG_BUY"):
        return f"best of {f.found.passed:,} candidates by the lower bound of its expected profit for its risk"
    if "history_not_sound" in reasons:
        why = "its history is not sound enough to forecast from"
    elif f.risk.ev_forecast <= 0.0:
        why = "it is not expected to earn its costs"
    elif "expected_value_not_positive" in reasons:
        why = "it is expected to earn no more than the luckiest of so many would seem to"
    elif "edge_within_error" in reasons:
        why = "its edge lies within its error"
    elif "history_disagrees_with_forecast" in reasons:
        why = "by its history it would not earn its costs"
    else:
        why = "too little else speaks for it"
    return f"nothing worth buying among {f.found.passed:,} candidates, here the best, and {why}"


def fans(found: Sequence[Findings]) -> F64:
    """Give middle, upper and lower bound of the forecast prices, dollars: (n, 3, sessions)."""
    if not found:
        return np.empty((0, 3, SESSIONS))
    price, at = found[0].price, [f.row for f in found]
    mean, reach = price.mean[at], BAND * price.sd[at]
    spot = np.array([f.spot for f in found])
    fan: F64 = spot[:, None, None] * np.exp(np.stack([mean, mean + reach, mean - reach], axis=1))
    return fan


def arima(f: Findings, fan: F64, lines: Sequence[list[float]]) -> schema.Arima:
    """Write the price forecast: middle and 95 % band, in dollars, by session.

    Parameters
    ----------
    fan : (3, sessions) float64
        Middle, upper and lower bound.
    lines : three lists of SESSIONS numbers
        The same, rounded.
    """
    at_expiry = f.target.sessions - 1
    middle, upper, lower = fan[:, at_expiry].tolist()
    return schema.Arima(
        mean_forecast=number(middle, 4),
        forecast_7d=lines[0][6],
        forecast_30d=lines[0][SESSIONS - 1],
        model_order=f.price.fit.order[f.row].tolist(),
        aic=number(_aic(f), 4),
        confidence_width=number(upper - lower, 4),
        forecast=lines[0],
        upper_bound=lines[1],
        lower_bound=lines[2],
    )


def _aic(f: Findings) -> float:
    p, _, q = (int(x) for x in f.price.fit.order[f.row])
    return -2.0 * float(f.price.fit.loglik[f.row]) + 2.0 * (p + q + 1)


def vols_ahead(found: Sequence[Findings]) -> list[Row]:
    """Give the forecast volatilities of the sessions to come, annualised."""
    if not found:
        return []
    ahead = found[0].volatility.ahead[[f.row for f in found], :SESSIONS]
    return rows(np.sqrt(ahead * SESSIONS_A_YEAR) * 0.01, 5)


def garch(f: Findings, facts: Facts, ahead: list[float], quarters: Sequence[float] | None) -> schema.Garch:
    """Write forecast, implied and past volatility; `quarters` as `quarter_deltas` finds them."""
    i, fit = f.row, f.volatility.fit
    return schema.Garch(
        predicted_vol=number(f.sigma),
        current_iv=number(f.sigma if facts.atm_iv is None else facts.atm_iv),
        historical_vol=number(f.volatility.historical[i]),
        vol_mispricing=0.0 if facts.mispricing is None else number(facts.mispricing, 4),
        iv_percentile=number(facts.percentile if facts.implied is None else facts.implied.percentile, 2),
        garch_params=schema.GarchParams(number(fit.omega[i], 8), number(fit.alpha[i], 8), number(fit.beta[i], 8)),
        forecast_vol=ahead,
        **({} if quarters is None else {"iv_skew": _skew(*quarters)}),
    )


def _skew(atm: float, call: float, put: float) -> schema.Skew:
    return schema.Skew(number(atm), number(call), number(put), number(call - atm), number(put - atm))


def quarter_deltas(found: Sequence[Findings]) -> list[Sequence[float] | None]:
    """Read the smiles of the trades at the money and at call and put deltas of 0.25 on the forward, all at once."""
    known = [(i, s) for i, f in enumerate(found) if (s := f.target.slice) is not None and s.svi is not None]
    read: list[Sequence[float] | None] = [None] * len(found)
    if not known:
        return read
    slices = [s for _, s in known]
    atm, root = np.array([s.atm_iv for s in slices]), np.sqrt([s.tau for s in slices])
    k = np.linspace(-REACH, REACH, POINTS) * atm[:, None] * root[:, None]
    levels = at_delta(k, smile.total_variance(smiles.stack(slices, splines=True), k)) / root[:, None]
    for (i, s), (call, put) in zip(known, levels.tolist(), strict=True):
        read[i] = s.atm_iv, call, put
    return read


def butterfly(f: Findings, greeks: schema.Greeks) -> schema.Butterfly:
    """Write the position."""
    d, p = f.design, f.design.position
    low, high = p.breakeven_lower, p.breakeven_upper
    inner = p.quotes[1:-1]

    def spread(*quotes: Any) -> float:
        mid = sum(q.mid for q in quotes)
        return number(100.0 * sum(q.ask - q.bid for q in quotes) / mid, 3) if mid > 0.0 else 0.0

    max_profit, max_loss = p.max_profit, p.max_loss
    credit = p.debit < 0.0
    return schema.Butterfly(
        center_strike=number(p.center, 4),
        lower_strike=number(p.lower, 4),
        upper_strike=number(p.upper, 4),
        wing_width=number(max(p.center - p.lower, p.upper - p.center), 4),
        dte=d.dte,
        lower_cost=number(p.lower_cost),
        upper_cost=number(p.upper_cost),
        center_credit=number(p.center_credit),
        net_debit=number(abs(p.debit)),
        is_credit_strategy=credit,
        max_profit=number(max_profit),
        max_loss=number(max_loss),
        profit_ratio=number(max_profit / max_loss, 4),
        breakeven_lower=0.0 if low is None else number(low, 4),
        breakeven_upper=0.0 if high is None else number(high, 4),
        prob_profit=number(100.0 * f.risk.pop_forecast.value, 3),
        risk_free_rate=number(100.0 * d.rate, 4),
        greeks=greeks,
        spreads=schema.Spreads(spread(p.quotes[0]), spread(*inner), spread(p.quotes[-1])),
    )


def suggestion(
    f: Findings, judged: schema.Score, signals: schema.Signals, butterfly: schema.Butterfly
) -> schema.TradeSuggestion:
    """Write what to do, in words that programs know."""
    p = f.design.position
    sign = -1.0 if butterfly.is_credit_strategy else 1.0
    action = {"STRONG_BUY": "BUY", "BUY": "BUY", "NEUTRAL": "WATCH", "AVOID": "AVOID"}[judged.recommendation]
    size = {"STRONG_BUY": "STANDARD", "BUY": "MEDIUM"}.get(judged.recommendation, "SMALL")
    half_sd = 0.5 * math.sqrt(f.total_variance)
    near = abs(math.log(p.center / f.spot)) <= half_sd
    risks = [
        name
        for name, good in (
            ("risk_delta_not_neutral", signals.delta_neutral),
            ("risk_price_volatility", signals.price_stability),
            ("risk_iv_not_high", signals.iv_high),
            ("risk_low_profit_ratio", butterfly.profit_ratio >= 1.0),
        )
        if not good
    ]
    return schema.TradeSuggestion(
        action=action,  # type: ignore[arg-type]
        position_size=size,  # type: ignore[arg-type]
        entry_timing="IMMEDIATE" if near else "WAIT_FOR_PULLBACK",
        stop_loss=number(sign * (p.debit - 0.5 * p.max_loss)),
        take_profit=number(sign * (p.debit + 0.5 * p.max_profit)),
        hold_until=_eve(np.datetime64(calendar.local_date(f.snapshot.as_of), "D"), f.design.expiry),
        key_risks=risks,
    )


@lru_cache(maxsize=256)
def _eve(today: np.datetime64, expiry: np.datetime64) -> str:
    """Name the last session before an expiry, or the expiry where none is left."""
    days = calendar.sessions_between(today, expiry - 1)
    return str(days[-1] if days.size else expiry)
