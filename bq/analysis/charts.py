"""What today's charts draw: the last sessions, the forecast fan, volatility, spectrum and densities, as plain lists."""

from typing import Final

import numpy as np

from bq import schema
from bq.analysis.findings import Findings
from bq.analysis.forecast import SESSIONS
from bq.analysis.volatility import SESSIONS_A_YEAR, rolling_vol
from bq.market import calendar
from bq.market.source import F64, Days

FOURIER_POINTS: Final = 120
PAST_POINTS: Final = 60
REALIZED_WINDOW: Final = 21
DENSITY_POINTS: Final = 61
SPLIT_LIKE: Final = 0.3  # log distance of the spot from the last close that no market move explains


def _labels(days: Days) -> list[str]:
    return [f"{text[5:7]}/{text[8:10]}" for text in days.astype("datetime64[D]").astype(str)]


def _scale(f: Findings) -> float:
    """Put a history that was adjusted for a later split on the level of the quotes."""
    ratio = f.spot / float(f.snapshot.bars.close[-1])
    return ratio if abs(np.log(ratio)) > SPLIT_LIKE else 1.0


def bands(f: Findings) -> tuple[F64, F64]:
    """Slow level and significant cycles of the price, in dollars, over the sessions that were analysed."""
    n = int(f.panel.returns_length[f.row]) + 1
    scale = _scale(f)
    level = np.exp(f.cycles.low[f.row, :n]) * scale
    return level, level * np.expm1(f.cycles.mid[f.row, :n])


def chart_data(f: Findings, returns: F64, middle: F64, upper: F64, lower: F64) -> schema.ChartData:
    """Build all four charts."""
    bars, scale = f.snapshot.bars, _scale(f)
    low, mid = bands(f)
    points = min(FOURIER_POINTS, low.size)
    adjusted = bars.model_close[-points:] * scale
    days = _labels(bars.date[-points:])
    rows = zip(
        days, np.round(adjusted, 2).tolist(), np.round(low[-points:], 2).tolist(), np.round(mid[-points:], 3).tolist(),
        strict=True,
    )  # fmt: skip
    return schema.ChartData(
        fourier=[schema.FourierPoint(*row) for row in rows],
        price_forecast=_price(f, scale, middle, upper, lower),
        volatility=_volatility(f, returns),
        spectrum=_spectrum(f),
    )


def _price(f: Findings, scale: float, middle: F64, upper: F64, lower: F64) -> list[schema.ForecastPoint]:
    bars = f.snapshot.bars
    past = [
        schema.ForecastPoint(day, actual=close)
        for day, close in zip(
            _labels(bars.date[-PAST_POINTS:]), np.round(bars.close[-PAST_POINTS:] * scale, 2).tolist(), strict=True
        )
    ]
    last = bars.date[-1]
    days = _labels(calendar.sessions_between(last + 1, last + 60)[:SESSIONS])
    future = [
        schema.ForecastPoint(day, None, *values)
        for day, *values in zip(
            days,
            np.round(middle[:SESSIONS], 2).tolist(),
            np.round(upper[:SESSIONS], 2).tolist(),
            np.round(lower[:SESSIONS], 2).tolist(),
            strict=True,
        )
    ]
    return past + future


def _volatility(f: Findings, returns: F64) -> list[schema.VolatilityPoint]:
    realized = rolling_vol(returns, REALIZED_WINDOW)
    n = min(FOURIER_POINTS, realized.size)
    sigma2 = f.volatility.sigma2[f.row, : returns.size]
    predicted = 0.01 * np.sqrt(sigma2 * SESSIONS_A_YEAR)
    rows = zip(
        _labels(f.snapshot.bars.date[-n:]),
        np.round(realized[-n:], 4).tolist(),
        np.round(predicted[-n:], 4).tolist(),
        strict=True,
    )
    return [schema.VolatilityPoint(*row) for row in rows]


def _spectrum(f: Findings) -> list[schema.SpectrumPoint]:
    s, i = f.cycles.spectrum, f.row
    band = np.isfinite(s.period[i])
    period = np.round(s.period[i][band], 2).tolist()
    power = np.round(s.power[i][band], 4).tolist()
    share = np.round(100.0 * s.power_share[i][band], 3).tolist()
    return [schema.SpectrumPoint(p, w, x, p) for p, w, x in zip(period, power, share, strict=True)]


def densities(f: Findings) -> schema.Density:
    """Three densities of the price at expiry, on one grid."""
    m = f.measures
    sd = np.sqrt(f.total_variance)
    x = f.design.forward * np.exp(np.linspace(-4.0, 4.0, DENSITY_POINTS) * sd)

    def tidy(values: F64) -> list[float]:
        rounded: list[float] = np.round(np.nan_to_num(values), 8).tolist()
        return rounded

    return schema.Density(
        x=np.round(x, 3).tolist(),
        market=None if m.market is None else tidy(m.market.density_on(x)),
        forecast=tidy(m.forecast.density_on(x)),
        empirical=None if m.empirical is None else tidy(m.empirical.density_on(x)),
    )
