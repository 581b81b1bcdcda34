"""How far the score can be trusted: it is made again from what it rests on, drawn again within its errors.

A parametric and block bootstrap (Efron & Tibshirani 1993, ch. 6; Künsch 1989) of one position: the forecast volatility
moves by its standard error, and with it the expected value, the mispricing, the place in the name's own year and the
delta penalty; the implied volatility moves by the noise of its quotes, the expected value by the sampling error of the
simulation, the year of realised volatilities by blocks, the phase of a cycle by its standard error. The position stays:
this is the error of the score of this trade, not of the choice between trades.
"""

from typing import Final

import numpy as np

from bq.analysis import score
from bq.analysis.evidence import annual_forecast, cycle_fit
from bq.analysis.findings import Findings
from bq.analysis.measures import quantiles
from bq.analysis.volatility import year_of_vols
from bq.market.source import F64
from bq.schema import ScoreInterval
from kernels.bootstrap import block_means

DRAWS: Final = 256
LEVELS: Final = (0.025, 0.975)


def of(f: Findings, e: score.Evidence, total: float, returns: F64) -> tuple[ScoreInterval, float]:
    """Find the 95 % interval of the score, which holds the score, and its standard error.

    The same for the same ticker and last session, whatever else is in the batch.
    """
    if total == 0.0 and e.grade == "D":
        return ScoreInterval(0.0, 0.0), 0.0
    totals = score.totals(_draw(f, e, returns))
    low, high = quantiles(totals, LEVELS)
    return ScoreInterval(min(low, total), max(high, total)), float(np.std(totals))


def _draw(f: Findings, e: score.Evidence, returns: F64) -> score.Evidence:
    """Draw the evidence again: its varying fields become arrays of (DRAWS,)."""
    rng = np.random.default_rng(f.measures.seed)
    vol, implied, sampling, phase, drift = rng.standard_normal((5, DRAWS))
    growth = np.exp(f.errors.vol * vol)
    low, high = f.errors.ev_moved
    # Linear on either side through the values at one standard error.
    ev = e.ev_forecast + np.where(vol > 0.0, vol * (high - e.ev_forecast), -vol * (low - e.ev_forecast))
    low, high = f.errors.ev_drifted
    ev += np.where(drift > 0.0, drift * (high - e.ev_forecast), -drift * (low - e.ev_forecast))
    ev = np.clip(ev + f.errors.ev_sampling * sampling, -e.max_loss, f.design.position.max_profit)
    mispricing = e.vol_mispricing
    if mispricing is not None:
        mispricing = 100.0 * ((1.0 + 0.01 * mispricing) * np.exp(f.errors.implied * implied) / growth - 1.0)
    fit = e.cycle_fit
    if fit is not None:
        fit = cycle_fit(f, float(f.cycles.phase.angle[f.row]) + float(f.cycles.phase.std_error[f.row]) * phase)
    return e._replace(
        ev_forecast=ev,
        vol_mispricing=mispricing,
        volatility_percentile=_percentiles(f, returns, growth),
        cycle_fit=fit,
        delta_share=e.delta_share * growth,
    )


def _percentiles(f: Findings, returns: F64, growth: F64) -> F64:
    """Percentiles of the moved forecast in resampled years: the resampled share below, plus the shift of the move."""
    sessions, forecast = f.target.sessions, annual_forecast(f)
    history = year_of_vols(returns, sessions)
    resampled = block_means((history < forecast).astype(np.float64), sessions, f.measures.seed, draws=DRAWS)
    ordered = np.sort(history)
    moved = np.searchsorted(ordered, growth * forecast) - np.searchsorted(ordered, forecast)
    return 100.0 * np.clip(resampled + moved / history.size, 0.0, 1.0)
