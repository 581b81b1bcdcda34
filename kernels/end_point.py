"""What a trend is doing at the last observation, and the smooth line through the prices, from the past alone.

A taper hides the last days, a Fourier filter wraps the first days onto them, and a two-sided filter is revised when
tomorrow comes. So: the trend by a mean and its standard error, the smooth line by a filter that looks back only. Each
row is worked on by itself. The phase of a cycle, by regression, is in `kernels.phase`.
"""

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels import status as st
from kernels._arrays import F64, I8, I64, rows, series
from kernels._jit import kernel
from kernels.phase import Phase, phase

MIN_TREND: Final = 20
SMOOTH_PERIOD: Final = 60
"""Half of the amplitude of a wave of this period passes the two-sided version of the smooth line."""

_OK: Final = st.OK
_BAD_INPUT: Final = st.BAD_INPUT
_TOO_FEW_DATA: Final = st.TOO_FEW_DATA


class Trend(NamedTuple):
    """Mean daily log return of the last days; see `trend`."""

    slope: F64
    t_stat: F64
    n: I64
    critical: F64
    status: I8


class BandSignals(NamedTuple):
    """The smooth part and the cyclical part of log prices; see `band_signals`."""

    low: F64
    mid: F64
    status: I8


@kernel("void(float64[:,::1], int64[::1], int64, float64[::1], float64[::1], int64[::1], float64[::1], int8[::1])")
def _trend(x: F64, lengths: I64, window: int, slope: F64, t_stat: F64, used: I64, critical: F64, status: I8) -> None:
    centred = np.empty(x.shape[1])
    for i in range(x.shape[0]):
        n = min(lengths[i], window)
        used[i] = n
        if n < MIN_TREND:
            status[i] = _TOO_FEW_DATA
            continue
        first = lengths[i] - n
        mean = largest = 0.0
        finite = True
        for t in range(lengths[i]):
            finite = finite and abs(x[i, t]) < 1e140
        for t in range(n):
            mean += x[i, first + t]
            largest = max(largest, abs(x[i, first + t]))
        mean /= n
        square = 0.0
        for t in range(n):
            centred[t] = x[i, first + t] - mean
            square += centred[t] * centred[t]
        if not (finite and square > 1e-20 * n * largest * largest):
            status[i] = _BAD_INPUT
            continue
        lags = math.floor(4.0 * (n / 100.0) ** (2.0 / 9.0))
        total = square
        for lag in range(1, lags + 1):
            cross = 0.0
            for t in range(lag, n):
                cross += centred[t] * centred[t - lag]
            total += 2.0 * (1.0 - lag / (lags + 1.0)) * cross
        share = (lags + 1.0) / n
        status[i] = _OK
        slope[i] = mean
        t_stat[i] = mean / math.sqrt(total / (n * (n - 1.0)))
        critical[i] = 1.96 + share * (2.9694 + share * (0.4160 - share * 0.5324))


def trend(log_returns: npt.ArrayLike, lengths: npt.ArrayLike | None = None, window: int = 60) -> Trend:
    """Measure the drift of the last days and what it is worth against their noise.

    Parameters
    ----------
    log_returns : (n, t) float64
        Left-aligned; differences of log prices.
    lengths : (n,) int64, optional
        Observations of each row; all t when None.
    window : int
        Use this many of the last observations, or all when there are fewer; at least 20.

    Returns
    -------
    Trend
        Each (n,): `slope`, mean log return a day; `t_stat`, slope over its Newey-West standard error; `n`, observations
        used; `critical`: a t-statistic below it in absolute size is no evidence of a trend at 5 %; `status`: OK,
        BAD_INPUT (NaN anywhere in the row; constant, so that there is no noise to measure against) or TOO_FEW_DATA
        (less than 20).

    Raises
    ------
    ValueError
        If shapes or lengths do not fit, or the window is below 20. Never for a bad row.

    Notes
    -----
    W. K. Newey and K. D. West (1987), Econometrica 55, 703-708: Bartlett weights, floor(4 (n/100)^(2/9)) lags,
    variance times n/(n-1). With so few days 1.96 rejects a true zero in 6 to 7 % of cases; `critical` is the fixed-b
    value of N. M. Kiefer and T. J. Vogelsang (2005), Econometric Theory 21, 1130-1164, table 1 (Bartlett).
    """
    if window < MIN_TREND:
        raise ValueError(f"window must be at least {MIN_TREND}, got {window}")
    x, size = series(log_returns, lengths)
    n = x.shape[0]
    slope, t_stat, critical = (np.full(n, np.nan) for _ in range(3))
    used, status = np.zeros(n, dtype=np.int64), np.empty(n, dtype=np.int8)
    _trend(x, size, window, slope, t_stat, used, critical, status)
    return Trend(slope, t_stat, used, critical, status)


@kernel("void(float64[::1], float64[::1])")
def _gains(level_gain: F64, slope_gain: F64) -> None:
    """Kalman gains of a local linear trend with a smooth slope, from the third observation on; the first two fix it."""
    ratio = (2.0 * math.sin(math.pi / SMOOTH_PERIOD)) ** 4  # variance of the slope's shocks over that of the noise
    ll, lb, bb = 1.0, 1.0, 2.0 + ratio
    for t in range(2, level_gain.size):
        ll, lb = ll + 2.0 * lb + bb, lb + bb
        spread = ll + 1.0
        level_gain[t], slope_gain[t] = ll / spread, lb / spread
        ll, lb, bb = ll / spread, lb / spread, bb - lb * lb / spread + ratio


@kernel(
    "void(float64[:,::1], int64[::1], float64[::1], float64[::1], float64[::1], float64[::1], float64[::1],"
    "float64[:,::1], float64[:,::1], int8[::1])"
)
def _bands(
    log_prices: F64,
    lengths: I64,
    amplitude: F64,
    angle: F64,
    period: F64,
    level_gain: F64,
    slope_gain: F64,
    low: F64,
    mid: F64,
    status: I8,
) -> None:
    for i in range(log_prices.shape[0]):
        n = lengths[i]
        y = log_prices[i, :n]
        finite = True
        for t in range(n):
            finite = finite and abs(y[t]) < 1e100
        if n == 0 or not finite:
            status[i] = _TOO_FEW_DATA if n == 0 else _BAD_INPUT
            continue
        status[i] = _OK
        wave = amplitude[i] > 0.0
        omega = 2.0 * math.pi / period[i] if wave else 0.0
        for t in range(n):
            mid[i, t] = amplitude[i] * math.cos(omega * (t - (n - 1.0)) + angle[i]) if wave else 0.0
        level = y[0] - mid[i, 0]
        slope = 0.0
        low[i, 0] = level
        for t in range(1, n):
            value = y[t] - mid[i, t]
            if t == 1:
                level, slope = value, value - level
            else:
                surprise = value - (level + slope)
                level, slope = level + slope + level_gain[t] * surprise, slope + slope_gain[t] * surprise
            low[i, t] = level


def band_signals(
    log_prices: npt.ArrayLike,
    period: npt.ArrayLike = np.nan,
    lengths: npt.ArrayLike | None = None,
    wave: Phase | None = None,
) -> BandSignals:
    """Split log prices for display: a smooth line, and the cycle where there is one.

    Parameters
    ----------
    log_prices : (n, t) float64
        Left-aligned; log prices.
    period : (n,) float64
        Period of the row's significant cycle in days, NaN where there is none.
    lengths : (n,) int64, optional
        Observations of each row; all t when None.
    wave : Phase, optional
        What `phase` found of the same rows and periods, where that is known already.

    Returns
    -------
    BandSignals
        (n, t), NaN beyond a row's length: `low`, the smooth line, a log price; `mid`, the fitted wave of `phase`, in
        log price around 0, and exactly 0 for a row without a cycle. In money: exp(low), exp(low + mid) - exp(low).
        `status` (n,): OK (whether or not there is a cycle), BAD_INPUT (NaN, infinite) or TOO_FEW_DATA (no observation).

    Raises
    ------
    ValueError
        If shapes or lengths do not fit. Never for a bad row.

    Notes
    -----
    `low` is the one-sided Hodrick-Prescott filter, the Kalman filter of a local linear trend (J. H. Stock and M. W.
    Watson (1999), Forecasting inflation, J. Monetary Economics 44, 293-335; A. C. Harvey and A. Jaeger (1993), J.
    Applied Econometrics 8, 231-247), with the signal ratio at which the two-sided filter halves waves of 60 days. Each
    value uses the past alone: it neither rings nor wraps nor changes tomorrow, follows a straight line without delay,
    and starts on the first two prices. It is applied to the log price less `mid`, so that the two parts do not count a
    slow cycle twice; the wave is fitted to the whole row, and it does change when the row grows.
    """
    y, size = series(log_prices, lengths)
    n, t = y.shape
    wave = phase(y, period, size) if wave is None else wave
    for column in (wave.status, wave.amplitude, wave.angle, wave.period):
        if np.shape(column) != (n,):
            raise ValueError(f"a phase of {np.size(column)} rows for {n} rows")
    amplitude, angle, days = rows(np.where(wave.status == st.OK, wave.amplitude, 0.0), wave.angle, wave.period)
    level_gain, slope_gain = np.zeros(t), np.zeros(t)
    _gains(level_gain, slope_gain)
    low, mid = np.full((n, t), np.nan), np.full((n, t), np.nan)
    status = np.empty(n, dtype=np.int8)
    _bands(y, size, amplitude, angle, days, level_gain, slope_gain, low, mid, status)
    return BandSignals(low, mid, status)
