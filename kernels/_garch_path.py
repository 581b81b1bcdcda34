"""The recursions behind `garch` that take one series at a time: variance path, likelihood within arch's bounds."""

import math

import numpy as np

from kernels._arrays import F64, I64
from kernels._garch_general import student_constant
from kernels._garch_recursion import LOG_TWO_PI
from kernels._jit import helper, kernel

_DECAY = 0.94
_BACKCAST = 75


@helper
def presample(returns: F64, row: int, length: int, mu: float, sample: bool) -> float:
    """Variance before the first observation: arch's backcast about the sample mean, or the mean of (y - mu)^2."""
    centre = mu
    count = length
    if not sample:
        total = 0.0
        for t in range(length):
            total += returns[row, t]
        centre = total / length
        count = min(_BACKCAST, length)
    decay = 1.0 if sample else _DECAY
    weight = 1.0
    weights = 0.0
    back = 0.0
    for t in range(count):
        e = returns[row, t] - centre
        back += weight * e * e
        weights += weight
        weight *= decay
    return back / weights


@kernel(
    "void(float64[:, ::1], int64[::1], float64[::1], float64[::1], float64[::1], float64[::1], float64[::1], boolean,"
    "float64[:, ::1])"
)
def variance_rows(
    returns: F64, lengths: I64, mu: F64, omega: F64, alpha: F64, gamma: F64, beta: F64, sample: bool, out: F64
) -> None:
    """Fill out[row, :length] with h; rows whose parameters are NaN stay NaN."""
    for row in range(lengths.size):
        if lengths[row] == 0 or not omega[row] > 0.0:
            continue
        h = presample(returns, row, lengths[row], mu[row], sample)
        square = h
        response = alpha[row] + 0.5 * gamma[row]
        for t in range(lengths[row]):
            h = omega[row] + response * square + beta[row] * h
            out[row, t] = h
            e = returns[row, t] - mu[row]
            square = e * e
            response = alpha[row] + gamma[row] if e < 0.0 else alpha[row]


@helper
def _row_likelihood(
    returns: F64,
    row: int,
    n: int,
    mu: float,
    omega: float,
    alpha: float,
    gamma: float,
    beta: float,
    nu: float,
    sample: bool,
) -> float:
    total = 0.0
    for t in range(n):
        total += returns[row, t]
    mean = total / n
    variance = 0.0
    largest = 0.0
    for t in range(n):
        e = returns[row, t] - mean
        variance += e * e
        largest = max(largest, e * e)
    variance /= n
    if not (variance > 0.0 and variance < 1e200):
        return np.nan
    h = presample(returns, row, n, mu, sample)
    square = h
    ewma = h
    response = alpha + 0.5 * gamma
    roof = 1e7 * (1.0 + largest)
    sum_log = 0.0
    sum_f = 0.0
    for t in range(n):
        h = omega + response * square + beta * h
        if not sample:
            low = max(1e-6 * ewma, 1e-8 * variance)
            high = min(max(1e6 * ewma, 1.0 + largest), roof)
            if h < low:
                h = low
            elif h > high:
                h = high + math.log(h / high) if h < np.inf else high + 1000.0
            d = returns[row, t] - mean
            ewma = _DECAY * ewma + (1.0 - _DECAY) * d * d
        e = returns[row, t] - mu
        square = e * e
        response = alpha + gamma if e < 0.0 else alpha
        sum_log += math.log(h)
        sum_f += math.log1p(square / (h * (nu - 2.0))) if nu > 0.0 else square / h
    if nu > 0.0:
        constant, _, _ = student_constant(1.0 / nu)
        return n * constant - 0.5 * sum_log - 0.5 * (nu + 1.0) * sum_f
    return -0.5 * (n * LOG_TWO_PI + sum_log + sum_f)


@kernel(
    "void(float64[:, ::1], int64[::1], float64[::1], float64[::1], float64[::1], float64[::1], float64[::1],"
    "float64[::1], boolean, float64[::1])"
)
def likelihood_rows(
    returns: F64,
    lengths: I64,
    mu: F64,
    omega: F64,
    alpha: F64,
    gamma: F64,
    beta: F64,
    nu: F64,
    sample: bool,
    out: F64,
) -> None:
    """Fill out[row] where data and parameters are in their domain; NaN in nu is the normal distribution."""
    for row in range(lengths.size):
        w, a, g, b, df = omega[row], alpha[row], gamma[row], beta[row], nu[row]
        # written so that NaN fails
        sound = w > 0.0 and w < 1e100 and a >= 0.0 and a + g >= 0.0 and b >= 0.0 and a + abs(g) + b < 1e100
        sound = sound and abs(mu[row]) < 1e100 and (df > 2.0 or math.isnan(df)) and lengths[row] > 1
        if sound:
            value = _row_likelihood(returns, row, lengths[row], mu[row], w, a, g, b, df, sample)
            out[row] = value if math.isfinite(value) else np.nan
