"""What today's charts draw: the last sessions, the forecast fan, volatility, spectrum and densities, as plain lists.

All tickers of a batch at once: series are computed and rounded as rows of one array, and cut into lists.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import repeat
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from bq import schema
from bq.analysis import panel, smiles
from bq.analysis.findings import Findings
from bq.analysis.forecast import SESSIONS
from bq.analysis.rounding import Row, cut
from bq.analysis.soundness import closes_apart
from bq.analysis.volatility import SESSIONS_A_YEAR, rolling_vol
from bq.market import calendar
from bq.market.source import F64, Days
from kernels import density

FOURIER_POINTS: Final = 120
PAST_POINTS: Final = 60
REALIZED_WINDOW: Final = 21
DENSITY_POINTS: Final = 61
_DENSITY_GRID: Final = np.linspace(-4.0, 4.0, DENSITY_POINTS)  # standard deviations


Counts: TypeAlias = npt.NDArray[np.int64]


@lru_cache(maxsize=1024)
def _labels_of(days: bytes) -> tuple[str, ...]:
    return tuple(f"{text[5:7]}/{text[8:10]}" for text in np.frombuffer(days, "datetime64[D]").astype(str).tolist())


def _labels(days: Days) -> tuple[str, ...]:
    """Write days as MM/DD; the names of a market share their sessions, so most are written once."""
    return _labels_of(days.astype("datetime64[D]").tobytes())


@lru_cache(maxsize=64)
def _labels_after(last: np.datetime64) -> tuple[str, ...]:
    return _labels(calendar.sessions_between(last + 1, last + 60)[:SESSIONS])


def _scale(f: Findings) -> float:
    """Put a history that was adjusted for a later split on the level of the quotes."""
    return f.spot / float(f.snapshot.bars.close[-1]) if closes_apart(f.snapshot, f.spot) else 1.0


class Drawn(NamedTuple):
    """One ticker's charts, and the two lines of the first for all sessions that were analysed."""

    low: Row  # slow level of the price, dollars
    mid: Row  # its significant cycles, dollars around it
    data: schema.ChartData | None  # None where a line holds a number that is not finite


def draw(found: Sequence[Findings], fan: F64) -> list[Drawn]:
    """Build all four charts of every ticker of a batch.

    Parameters
    ----------
    fan : (n, 3, h) float64
        Middle, upper and lower bound of the forecast, dollars.
    """
    if not found:
        return []
    at = np.array([f.row for f in found])
    lengths = found[0].panel.returns_length[at]
    scale = np.array([_scale(f) for f in found])
    lows, mids = _bands(found[0], at, lengths, scale)
    histories = _histories(found, scale)
    forecasts = _forecasts(found, scale, fan)
    volatilities = _volatilities(found, at, lengths)
    spectra = _spectra(found[0], at)
    drawn = []
    for i, (low, mid) in enumerate(zip(lows, mids, strict=True)):
        data = None
        spectrum = spectra[i]
        if low is not None and mid is not None and spectrum is not None:
            days, prices = histories[i]
            points = list(map(schema.FourierPoint, days, prices, low[-FOURIER_POINTS:], mid[-FOURIER_POINTS:]))
            data = schema.ChartData(points, forecasts[i], volatilities[i], spectrum)
        drawn.append(Drawn(low, mid, data))
    return drawn


def _bands(batch: Findings, at: Counts, lengths: Counts, scale: F64) -> tuple[list[Row], list[Row]]:
    """Slow level and significant cycles of the prices, in dollars, over the sessions that were analysed."""
    level = np.exp(batch.cycles.low[at]) * scale[:, None]
    inside = np.arange(level.shape[1]) <= lengths[:, None]
    wave = batch.cycles.mid[at]
    cyclic = np.flatnonzero((np.where(inside, wave, 0.0) != 0.0).any(axis=1))
    waves = iter(cut(level[cyclic] * np.expm1(wave[cyclic]), inside[cyclic], 3))
    mids: list[Row] = [[0.0] * (n + 1) for n in lengths.tolist()]
    for i in cyclic.tolist():
        mids[i] = next(waves)
    return cut(level, inside, 2), mids


def _histories(found: Sequence[Findings], scale: F64) -> list[tuple[Sequence[str], list[float]]]:
    bars = [f.snapshot.bars for f in found]
    prices = np.round(np.stack([b.model_close[-FOURIER_POINTS:] for b in bars]) * scale[:, None], 2).tolist()
    return [(_labels(b.date[-FOURIER_POINTS:]), own) for b, own in zip(bars, prices, strict=True)]


def _forecasts(found: Sequence[Findings], scale: F64, fan: F64) -> list[list[schema.ForecastPoint]]:
    bars = [f.snapshot.bars for f in found]
    closes = np.round(np.stack([b.close[-PAST_POINTS:] for b in bars]) * scale[:, None], 2).tolist()
    charts = []
    for b, past, lines in zip(bars, closes, np.round(fan[:, :, :SESSIONS], 2).tolist(), strict=True):
        points = list(map(schema.ForecastPoint, _labels(b.date[-PAST_POINTS:]), past))
        points += map(schema.ForecastPoint, _labels_after(b.date[-1]), repeat(None), *lines)
        charts.append(points)
    return charts


def _volatilities(found: Sequence[Findings], at: Counts, lengths: Counts) -> list[list[schema.VolatilityPoint]]:
    vol = found[0].volatility
    realized = rolling_vol(vol.squares[at], lengths, REALIZED_WINDOW, FOURIER_POINTS)
    predicted = 0.01 * np.sqrt(panel.last(vol.sigma2[at], lengths, FOURIER_POINTS) * SESSIONS_A_YEAR)
    lines = np.round(np.stack([realized, predicted], axis=1), 4).tolist()
    return [
        list(map(schema.VolatilityPoint, _labels(f.snapshot.bars.date[-FOURIER_POINTS:]), *own))
        for f, own in zip(found, lines, strict=True)
    ]


def _spectra(batch: Findings, at: Counts) -> list[list[schema.SpectrumPoint] | None]:
    s = batch.cycles.spectrum
    period = s.period[at]
    band = np.isfinite(period)
    columns = cut(period, band, 2), cut(s.power[at], band, 4), cut(100.0 * s.power_share[at], band, 3)
    return [
        None
        if days is None or power is None or share is None
        else list(map(schema.SpectrumPoint, days, power, share, days))
        for days, power, share in zip(*columns, strict=True)
    ]


def densities(found: Sequence[Findings]) -> list[schema.Density]:
    """Three densities of the price at expiry, on one grid, of every ticker of a batch."""
    if not found:
        return []
    sd = np.sqrt([f.total_variance for f in found])
    x = np.array([f.design.forward for f in found])[:, None] * np.exp(_DENSITY_GRID * sd[:, None])
    lines = np.zeros((len(found), 3, DENSITY_POINTS))
    quoted = [i for i, f in enumerate(found) if f.measures.market is not None]
    if quoted:
        markets = [m for f in found if (m := f.measures.market) is not None]
        k = np.log(x[quoted] / np.array([m.forward for m in markets])[:, None])
        lines[quoted, 0] = density.density(smiles.joined([m.svi for m in markets]), k) / x[quoted]
    for i, f in enumerate(found):
        lines[i, 1] = f.measures.forecast.density_on(x[i])
        if f.measures.empirical is not None:
            lines[i, 2] = f.measures.empirical.density_on(x[i])
    grids = np.round(x, 3).tolist()
    rounded = np.round(np.where(np.isfinite(lines), lines, 0.0), 8).tolist()
    return [
        schema.Density(
            grid,
            None if f.measures.market is None else market,
            forecast,
            None if f.measures.empirical is None else empirical,
        )
        for f, grid, (market, forecast, empirical) in zip(found, grids, rounded, strict=True)
    ]
