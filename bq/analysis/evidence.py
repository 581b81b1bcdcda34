"""What the score and the signals rest on, drawn from the findings of one ticker."""

import math
from typing import NamedTuple

import numpy as np

from bq import schema
from bq.analysis import score
from bq.analysis.findings import Findings
from bq.analysis.iv_level import Standing, at_30_days, standing
from bq.analysis.volatility import SESSIONS_A_YEAR, error_to
from bq.market.source import F64

DELTA_NEUTRAL = 0.05
IV_HIGH = 60.0


class Facts(NamedTuple):
    """What several parts of the answer need."""

    atm_iv: float | None
    mispricing: float | None  # per cent
    percentile: float  # of the forecast volatility among the realised ones of the name's own year
    iv_30: float | None  # implied volatility at the money, 30 days
    implied: Standing | None  # its place among those remembered; None before there are enough
    signals: schema.Signals
    phase_known: bool


def collect(f: Findings, greeks: schema.Greeks, history: F64) -> tuple[score.Evidence, Facts]:
    """Draw the evidence of the score, and the facts that several sections show.

    Parameters
    ----------
    history : (m,) float64
        Realised volatilities of the last year, over as many sessions as the trade has.
    """
    i, p = f.row, f.design.position
    source = f.target.slice
    atm = None if source is None else source.atm_iv
    mispricing = None if atm is None else 100.0 * (atm / f.sigma - 1.0)
    percentile = 100.0 * np.count_nonzero(history < annual_forecast(f)) / history.size
    quoted = f.design.source is not None
    one_day = math.sqrt(f.volatility.ahead[i, 0]) * 0.01 * f.spot
    delta_share = abs(greeks.delta) * one_day / p.max_loss
    fit = None if (angle := _known_angle(f)) is None else float(cycle_fit(f, angle))
    # The market measure prices the position at its own mid: minus the costs by construction, no opinion on the edge.
    opinions = [ev for ev in (f.risk.ev_forecast, f.risk.ev_empirical) if ev is not None]
    evidence = score.Evidence(
        ev_forecast=f.risk.ev_forecast,
        ev_bound=f.risk.ev_bound,
        ev_error=f.risk.std_error,
        ev_shrunk=f.risk.ev_shrunk,
        max_loss=p.max_loss,
        vega=greeks.vega,
        vol_mispricing=mispricing if quoted else None,
        volatility_percentile=percentile,
        cycle_fit=fit,
        delta_share=delta_share,
        quotes=quoted,
        grade=f.quality.grade,
        measures_agree=len({ev > 0.0 for ev in opinions}) == 1,
        sound=f.sound,
        flags=tuple(f.risk.assignment_flags),
    )
    trend_t = float(f.cycles.trend.t_stat[i])
    iv_30 = _iv_30(f)
    implied = None if iv_30 is None else standing(iv_30, f.snapshot.iv_history)
    if implied is None:
        implied_high = bool(atm is not None and 100.0 * np.count_nonzero(history < atm) / history.size > IV_HIGH)
    else:
        implied_high = implied.percentile > IV_HIGH
    signals = schema.Signals(
        price_stability=bool(percentile < 50.0),
        vol_mispricing=bool(
            mispricing is not None and mispricing > 100.0 * error_to(f.volatility, i, f.target.sessions)
        ),
        trend_clear=abs(trend_t) > float(f.cycles.trend.critical[i]),
        cycle_aligned=bool(fit is not None and fit > 0.5),
        delta_neutral=bool(delta_share < DELTA_NEUTRAL),
        iv_high=bool(implied_high),
    )
    known_phase = bool(f.cycles.phase.determined[i])
    return evidence, Facts(atm, mispricing, percentile, iv_30, implied, signals, known_phase)


def _iv_30(f: Findings) -> float | None:
    """Interpolate the smiles at the money at 30 days; None where the quotes cannot be used."""
    usable = [s for s in f.slices if s.svi is not None]
    return None if f.target.slice is None else at_30_days([s.tau for s in usable], [s.atm_iv for s in usable])


def annual_forecast(f: Findings) -> float:
    """Annualise the forecast volatility to the trade's expiry by sessions, as realised volatilities are."""
    return math.sqrt(f.total_variance * SESSIONS_A_YEAR / f.target.sessions)


def _known_angle(f: Findings) -> float | None:
    i, phase = f.row, f.cycles.phase
    if not f.cycles.cycles.significant[i].any() or not bool(phase.determined[i]):
        return None
    return float(phase.angle[i])


def cycle_fit(f: Findings, angle: float | F64) -> F64:
    """Compare where the strongest significant cycle points at expiry with the centre, in wings: 1 is on it."""
    i = f.row
    period = float(f.cycles.cycles.period[i, int(np.argmax(f.cycles.cycles.significant[i]))])
    now = np.asarray(angle)
    later = now + 2.0 * math.pi * f.target.sessions / period
    move = float(f.cycles.phase.amplitude[i]) * (np.cos(later) - np.cos(now))
    p = f.design.position
    wing = 0.5 * math.log(p.upper / p.lower)
    return np.maximum(0.0, 1.0 - np.abs(math.log(p.center / f.spot) - move) / wing)
