"""What today's charts draw: the last sessions, the forecast fan, volatility, spectrum and densities, as plain lists."""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import repeat
from typing import Final

import numpy as np

from bq import schema
from bq.analysis.findings import Findings
from bq.analysis.forecast import SESSIONS
from bq.analysis.rounding import numbers
from bq.analysis.volatility import SESSIONS_A_YEAR, rolling_vol
from bq.market import calendar
from bq.market.source import F64, Days

FOURIER_POINTS: Final = 120
PAST_POINTS: Final = 60
REALIZED_WINDOW: Final = 21
DENSITY_POINTS: Final = 61
_DENSITY_GRID: Final = np.linspace(-4.0, 4.0, DENSITY_POINTS)  # standard deviations
SPLIT_LIKE: Final = 0.3  # log distance of the spot from the last close that no market move explains


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
    ratio = f.spot / float(f.snapshot.bars.close[-1])
    return ratio if abs(math.log(ratio)) > SPLIT_LIKE else 1.0


def bands(f: Findings) -> tuple[list[float], list[float]]:
    """Slow level and significant cycles of the price, in dollars, over the sessions that were analysed."""
    n = int(f.panel.returns_length[f.row]) + 1
    level = np.exp(f.cycles.low[f.row, :n]) * _scale(f)
    mid = f.cycles.mid[f.row, :n]
    return numbers(level, 2), numbers(level * np.expm1(mid), 3) if mid.any() else [0.0] * n


def chart_data(
    f: Findings, returns: F64, signals: tuple[list[float], list[float]], fan: Sequence[F64]
) -> schema.ChartData:
    """Build all four charts.

    Parameters
    ----------
    signals : two lists of numbers
        What `bands` gives.
    fan : three arrays (at least 30,)
        Middle, upper and lower bound of the forecast, dollars.
    """
    bars, scale = f.snapshot.bars, _scale(f)
    low, mid = signals
    points = min(FOURIER_POINTS, len(low))
    adjusted = np.round(bars.model_close[-points:] * scale, 2).tolist()
    days = _labels(bars.date[-points:])
    return schema.ChartData(
        fourier=list(map(schema.FourierPoint, days, adjusted, low[-points:], mid[-points:])),
        price_forecast=_price(f, scale, fan),
        volatility=_volatility(f, returns),
        spectrum=_spectrum(f),
    )


def _price(f: Findings, scale: float, fan: Sequence[F64]) -> list[schema.ForecastPoint]:
    bars = f.snapshot.bars
    closes = np.round(bars.close[-PAST_POINTS:] * scale, 2).tolist()
    past = map(schema.ForecastPoint, _labels(bars.date[-PAST_POINTS:]), closes)
    values = np.round(np.stack([line[:SESSIONS] for line in fan]), 2).tolist()
    future = map(schema.ForecastPoint, _labels_after(bars.date[-1]), repeat(None), *values)
    return [*past, *future]


def _volatility(f: Findings, returns: F64) -> list[schema.VolatilityPoint]:
    realized = rolling_vol(returns, REALIZED_WINDOW)[-FOURIER_POINTS:]
    n = realized.size
    predicted = 0.01 * np.sqrt(f.volatility.sigma2[f.row, returns.size - n : returns.size] * SESSIONS_A_YEAR)
    days = _labels(f.snapshot.bars.date[-n:])
    return list(map(schema.VolatilityPoint, days, *np.round(np.stack([realized, predicted]), 4).tolist()))


def _spectrum(f: Findings) -> list[schema.SpectrumPoint]:
    s, i = f.cycles.spectrum, f.row
    band = np.isfinite(s.period[i])
    period = np.round(s.period[i][band], 2).tolist()
    power = np.round(s.power[i][band], 4).tolist()
    share = np.round(100.0 * s.power_share[i][band], 3).tolist()
    return list(map(schema.SpectrumPoint, period, power, share, period))


def densities(f: Findings) -> schema.Density:
    """Three densities of the price at expiry, on one grid."""
    m = f.measures
    x = f.design.forward * np.exp(_DENSITY_GRID * math.sqrt(f.total_variance))

    def tidy(values: F64) -> list[float]:
        rounded: list[float] = np.round(np.where(np.isfinite(values), values, 0.0), 8).tolist()
        return rounded

    return schema.Density(
        x=np.round(x, 3).tolist(),
        market=None if m.market is None else tidy(m.market.density_on(x)),
        forecast=tidy(m.forecast.density_on(x)),
        empirical=None if m.empirical is None else tidy(m.empirical.density_on(x)),
    )
