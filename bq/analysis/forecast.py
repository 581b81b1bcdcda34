"""Where the shares are going: ARIMA on log closes, and the distribution of the price at each horizon.

The forecast of a level starts from the price in force: models see log differences only. The terminal distribution is
filtered historical simulation (Barone-Adesi, Giannopoulos & Vosper 1999), recentred so that its mean is the forward:
no drift is claimed that the market does not pay.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bq.analysis.panel import Panel
from bq.analysis.volatility import Volatility
from bq.market.source import F64, Snapshot
from kernels import arima, simulate
from kernels.arima import ArimaFit

BAND = 1.959963984540054  # 95 %
SESSIONS = 30
PATHS = 4096


class PriceForecast(NamedTuple):
    """Mean and variance of the cumulated log return, and the fit they come from."""

    fit: ArimaFit
    mean: F64  # (n, 64) expected log price minus the last log close
    sd: F64  # (n, 64)


def study(panel: Panel, sessions: int) -> PriceForecast:
    """Choose an order for every row and forecast its log price."""
    fit = arima.fit(panel.log_close, panel.log_close_length)
    forecast = arima.forecast(fit, panel.log_close, sessions, panel.log_close_length)
    rows = np.arange(panel.log_close.shape[0])
    last = panel.log_close[rows, np.maximum(panel.log_close_length - 1, 0)]
    return PriceForecast(fit, forecast.mean - last[:, None], np.sqrt(forecast.variance))


def seed_of(snapshot: Snapshot) -> int:
    """Derive the generator's seed from the ticker and its last session, so that an answer can be repeated."""
    text = f"{snapshot.ticker} {snapshot.bars.date[-1]}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big")


def simulate_returns(
    panel: Panel, volatility: Volatility, snapshots: Sequence[Snapshot], horizons: Sequence[int]
) -> dict[int, F64]:
    """Simulate the log return (a fraction) to each horizon in sessions: {horizon: (n, 4096)}."""
    if not horizons:
        return {}
    seeds = np.array([seed_of(s) for s in snapshots], dtype=np.int64)
    steps = np.array(sorted(set(horizons)), dtype=np.int64)
    sums = simulate.filtered_historical(
        volatility.fit, panel.returns, steps, PATHS, seeds, lengths=panel.returns_length
    )
    return {int(h): 0.01 * sums[:, j, :] for j, h in enumerate(steps)}
