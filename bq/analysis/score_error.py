"""How far the score can be trusted: it is made again from what it rests on, drawn again within its errors.

A parametric and block bootstrap (Efron & Tibshirani 1993, ch. 6; Künsch 1989) of one position: the forecast volatility
moves by its standard error, and with it the expected value, the mispricing, the place in the name's own year and the
delta penalty; the implied volatility moves by the error of the smile, the expected value by the sampling error of the
simulation, the year of realised volatilities by blocks, the phase of a cycle by its standard error. The position stays:
this is the error of the score of this trade, not of the choice between trades.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from bq.analysis import score
from bq.analysis.evidence import annual_forecast, cycle_fit
from bq.analysis.findings import Findings
from bq.analysis.measures import quantiles
from bq.market.source import F64
from bq.schema import ScoreInterval
from kernels.bootstrap import block_means

DRAWS: Final = 256
LEVELS: Final = (0.025, 0.975)
_NORMAL: Final = np.random.default_rng(0xB077E2).standard_normal((5, DRAWS))
_DRAWN: Final = _NORMAL[:, np.argsort(_NORMAL[0])]
"""The same draws for every position: what differs between two scores is then never the luck of the draw.

In the order of the volatility's, so that what grows with it can be looked up in order.
"""


class Case(NamedTuple):
    """A score, and what it was made from."""

    findings: Findings
    evidence: score.Evidence
    total: float
    history: F64  # realised volatilities of the name's own year, over the sessions of the trade


def of(cases: Sequence[Case]) -> list[tuple[ScoreInterval, float]]:
    """Find the 95 % interval of each score, which holds the score, and its standard error.

    The same for the same ticker and last session, whatever else is in the batch.
    """
    if not cases:
        return []
    totals = np.stack([score.totals(drawn) for drawn in _draw(cases)])
    errors = np.std(totals, axis=1).tolist()
    found = []
    for case, ends, error in zip(cases, quantiles(totals, LEVELS), errors, strict=True):
        if case.total == 0.0 and case.evidence.grade == "D":
            found.append((ScoreInterval(0.0, 0.0), 0.0))
        else:
            found.append((ScoreInterval(min(ends[0], case.total), max(ends[1], case.total)), error))
    return found


def _draw(cases: Sequence[Case]) -> list[score.Evidence]:
    """Draw the evidence again: its varying fields become arrays of (DRAWS,)."""
    vol, implied, sampling, phase, drift = _DRAWN
    columns = [
        (
            c.evidence.ev_forecast,
            *c.findings.errors.ev_moved,
            *c.findings.errors.ev_drifted,
            c.findings.errors.ev_sampling,
            c.evidence.max_loss,
            c.findings.design.position.max_profit,
            c.findings.errors.vol,
            c.findings.errors.implied,
            np.nan if c.evidence.vol_mispricing is None else c.evidence.vol_mispricing,
            c.evidence.delta_share,
        )
        for c in cases
    ]
    value, narrower, wider, lower, higher, paths, loss, gain, error, noise, mispricing, share = np.array(columns).T[
        :, :, None
    ]
    growth = np.exp(error * vol)
    # Linear on either side through the values at one standard error.
    ev = value + np.where(vol > 0.0, vol * (wider - value), -vol * (narrower - value))
    ev += np.where(drift > 0.0, drift * (higher - value), -drift * (lower - value))
    ev = np.clip(ev + paths * sampling, -loss, gain)
    mispricing = 100.0 * ((1.0 + 0.01 * mispricing) * np.exp(noise * implied) / growth - 1.0)
    shares = share * growth
    drawn = []
    for i, c in enumerate(cases):
        f, fit = c.findings, c.evidence.cycle_fit
        if fit is not None:
            fit = cycle_fit(f, float(f.cycles.phase.angle[f.row]) + float(f.cycles.phase.std_error[f.row]) * phase)
        drawn.append(
            c.evidence._replace(
                ev_forecast=ev[i],
                vol_mispricing=None if c.evidence.vol_mispricing is None else mispricing[i],
                volatility_percentile=_percentiles(c, growth[i]),
                cycle_fit=fit,
                delta_share=shares[i],
            )
        )
    return drawn


def _percentiles(c: Case, growth: F64) -> F64:
    """Percentiles of the moved forecast in resampled years: the resampled share below, plus the shift of the move."""
    f = c.findings
    forecast = annual_forecast(f)
    below = (c.history < forecast).astype(np.float64)
    resampled = block_means(below, f.target.sessions, f.measures.seed, draws=DRAWS)
    ordered = np.sort(c.history)
    moved = ordered.searchsorted(growth * forecast) - below.sum()
    return 100.0 * np.minimum(np.maximum(resampled + moved / c.history.size, 0.0), 1.0)
