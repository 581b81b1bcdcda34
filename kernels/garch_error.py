"""How far a GARCH forecast of volatility may be off because its parameters are estimates: the delta method.

The gradient of the summed forecast variance with respect to (omega, alpha, beta) carries both ways in which they enter:
through the variance in force now, whose derivatives the recursion over the history accumulates, and through the way
back to the long-run level. Their covariance is the robust one of quasi-maximum likelihood, F^-1 S F^-1 with the
information matrix F and the outer product of the scores S (Bollerslev & Wooldridge 1992, Econometric Reviews 11): the
shocks need not be normal. The mean is left out: its information is asymptotically apart.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from kernels._arrays import F64, I64, series
from kernels._garch_path import presample
from kernels._jit import helper, kernel
from kernels.garch import GarchFit, Start, _same_rows, _sample_start

MOST: Final = 1.0
"""Roof of a relative standard error: beyond it the linearisation says nothing but "unknown"."""
_SINGULAR: Final = 1e-9


@helper
def _solve(matrix: F64, vector: F64, out: F64) -> bool:
    """Solve a symmetric positive definite system of three by Cholesky; False where it is not."""
    a, b, c = matrix[0, 0], matrix[1, 0], matrix[2, 0]
    d, e, f = matrix[1, 1], matrix[2, 1], matrix[2, 2]
    if not a > 0.0:
        return False
    l11 = math.sqrt(a)
    l21, l31 = b / l11, c / l11
    p2 = d - l21 * l21
    if not p2 > _SINGULAR * d:
        return False
    l22 = math.sqrt(p2)
    l32 = (e - l31 * l21) / l22
    p3 = f - l31 * l31 - l32 * l32
    if not p3 > _SINGULAR * f:
        return False
    l33 = math.sqrt(p3)
    y1 = vector[0] / l11
    y2 = (vector[1] - l21 * y1) / l22
    y3 = (vector[2] - l31 * y1 - l32 * y2) / l33
    out[2] = y3 / l33
    out[1] = (y2 - l32 * out[2]) / l22
    out[0] = (y1 - l21 * out[1] - l31 * out[2]) / l11
    return True


@kernel(
    "void(float64[:, ::1], int64[::1], float64[::1], float64[::1], float64[::1], float64[::1], float64[::1], boolean,"
    "float64[:, ::1])"
)
def _window_errors(
    returns: F64, lengths: I64, mu: F64, omega: F64, alpha: F64, gamma: F64, beta: F64, sample: bool, out: F64
) -> None:
    information, scores = np.empty((3, 3)), np.empty((3, 3))
    d, grad, v = np.empty(3), np.empty(3), np.empty(3)
    for row in range(lengths.size):
        n = lengths[row]
        if n == 0 or not omega[row] > 0.0:
            continue
        information[:] = 0.0
        scores[:] = 0.0
        d[:] = 0.0
        h = presample(returns, row, n, mu[row], sample)
        square = h
        response, weight = alpha[row] + 0.5 * gamma[row], 1.0
        fourth = second = 0.0
        for t in range(n + 1):
            d[2] = h + beta[row] * d[2]
            d[1] = square + beta[row] * d[1]
            d[0] = 1.0 + beta[row] * d[0]
            h = omega[row] + response * square + beta[row] * h
            if t == n:
                break
            e = returns[row, t] - mu[row]
            square = e * e
            response = alpha[row] + gamma[row] if e < 0.0 else alpha[row]
            z2 = square / h
            second += z2
            fourth += z2 * z2
            weight = 0.5 / (h * h)
            u = (z2 - 1.0) * 0.5 / h
            for i in range(3):
                for j in range(i + 1):
                    cross = d[i] * d[j]
                    information[i, j] += weight * cross
                    scores[i, j] += u * u * cross
        for i in range(3):
            for j in range(i):
                scores[j, i] = scores[i, j]
        kurtosis = fourth * n / (second * second)
        level = 0.5 * math.sqrt(max(kurtosis - 1.0, 0.0) / n)
        rho = alpha[row] + 0.5 * gamma[row] + beta[row]
        total = 0.0
        grad[:] = 0.0
        for k in range(out.shape[1]):
            total += h
            for i in range(3):
                grad[i] += d[i]
            error = level
            if alpha[row] > 0.0 and _solve(information, grad, v):
                variance = 0.0
                for i in range(3):
                    for j in range(3):
                        variance += v[i] * scores[i, j] * v[j]
                error = max(0.5 * math.sqrt(variance) / total, level)
            out[row, k] = min(error, MOST)
            d[2] = h + rho * d[2]
            d[1] = h + rho * d[1]
            d[0] = 1.0 + rho * d[0]
            h = omega[row] + rho * h


def window_error(
    fitted: GarchFit,
    returns: npt.ArrayLike,
    horizon: int,
    lengths: npt.ArrayLike | None = None,
    start: Start = "backcast",
) -> F64:
    """Estimate the relative standard error of the forecast volatility from the next step to each horizon.

    Parameters
    ----------
    fitted : GarchFit
    returns, lengths, start
        What `garch.fit` was given.
    horizon : int
        Steps, at least 0.

    Returns
    -------
    (n, horizon) float64
        Standard error of the square root of `garch.window_variance` over its value, at most 1; at least the error of
        a constant variance estimated from as many residuals of the same kurtosis, which is all there is where `alpha`
        is 0 or the information matrix is singular. NaN in rows without a fit.

    Raises
    ------
    ValueError
        If shapes or lengths do not fit, the fit is of another number of series, or the horizon is negative.
    """
    if horizon < 0:
        raise ValueError(f"horizon must not be negative, got {horizon}")
    sample = _sample_start(start)
    values, size = series(returns, lengths)
    fitted = _same_rows(fitted, size)
    out = np.full((size.size, horizon), np.nan)
    _window_errors(values, size, fitted.mu, fitted.omega, fitted.alpha, fitted.gamma, fitted.beta, sample, out)
    return out
