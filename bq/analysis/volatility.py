"""How much the shares will move: GARCH forecasts for a batch, and what they are compared with.

Variances are of log returns in per cent, a session; what leaves this module as a "total variance" is a fraction over a
window, the same unit as an option's total variance sigma^2 tau.
"""

from typing import NamedTuple

import numpy as np

from bq.analysis.panel import Panel
from bq.market.source import F64
from kernels import garch
from kernels.garch import GarchFit

SESSIONS_A_YEAR = 252
HORIZON = 64  # sessions: more than any expiry within 60 calendar days needs


class Volatility(NamedTuple):
    """GARCH(1,1) of each row and its forecasts."""

    fit: GarchFit
    sigma2: F64  # (n, 504) conditional variances, per cent squared
    ahead: F64  # (n, 64) variances of the sessions to come
    relative_error: F64  # (n,) standard error of a forecast volatility over its value


def study(panel: Panel) -> Volatility:
    """Fit and forecast the variance of every row."""
    fit = garch.fit(panel.returns, panel.returns_length)
    sigma2 = garch.conditional_variance(fit, panel.returns, panel.returns_length)
    ahead = garch.forecast(fit, HORIZON)
    return Volatility(fit, sigma2, ahead, _relative_error(panel, fit, sigma2))


def _relative_error(panel: Panel, fit: GarchFit, sigma2: F64) -> F64:
    """Take the level of a variance from n standardised residuals: sqrt((kurtosis - 1) / n), half of it for its root."""
    z2 = (panel.returns - fit.mu[:, None]) ** 2 / sigma2
    inside = np.arange(z2.shape[1]) < panel.returns_length[:, None]
    z2 = np.where(inside, z2, 0.0)
    n = np.maximum(panel.returns_length, 1)
    mean = np.maximum(z2.sum(axis=1) / n, 1e-300)
    kurtosis = (z2**2).sum(axis=1) / n / mean**2
    return 0.5 * np.sqrt(np.maximum(kurtosis - 1.0, 0.0) / n)


def total_variance(ahead: F64, sessions: int) -> float:
    """Add up the forecast variance of the next sessions, as a fraction."""
    return float(ahead[:sessions].sum()) * 1e-4


def historical_vol(returns: F64) -> float:
    """Annualise the standard deviation of the last 252 log returns (in per cent)."""
    return float(np.std(returns[-SESSIONS_A_YEAR:], ddof=1)) * 0.01 * SESSIONS_A_YEAR**0.5


def rolling_vol(returns: F64, window: int) -> F64:
    """Annualise the root mean square of every `window` consecutive returns (in per cent), oldest first."""
    squares = np.concatenate(([0.0], np.cumsum(returns**2)))
    sums = np.maximum(squares[window:] - squares[:-window], 0.0)
    return 0.01 * np.sqrt(sums / window * SESSIONS_A_YEAR)


def year_of_vols(returns: F64, window: int) -> F64:
    """Give the last year's realised volatilities over `window` sessions, oldest first."""
    return rolling_vol(returns, window)[-SESSIONS_A_YEAR:]
