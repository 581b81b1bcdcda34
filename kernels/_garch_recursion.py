"""The passes over time behind `garch`: likelihood, gradient and Hessian of a block of series at once.

Rules of this file: a block is `LANES` series side by side, `y[t, lane]`, of zero mean and unit variance, its height a
multiple of `FLUSH`; what lies beyond a series' length is zero and switched off by a select, so that a lane's numbers
depend on its own column only. Time runs in tiles: a tile loads a lane's state, takes a few steps and stores the state,
so the state lives in registers (one step a tile: 2.9 ns an observation instead of 2.1), and the lane loop is the
innermost loop that LLVM sees. Sums of logarithms are logarithms of products of `FLUSH` factors. FMAs are written out
and nothing else is contracted inside the steps: every lane of every block does the same arithmetic.

The derivatives are those of Fiorentini, Calzolari and Panattoni (1996), Journal of Applied Econometrics 11, section 2,
with the Hessian of this file's own working; the recursion of d2h/d(mu)d(alpha) is dh/d(mu) over alpha: one less.
"""

from typing import Any, Final

import numpy as np

from kernels._arrays import F64, I64
from kernels._jit import helper, scalar
from kernels.elementary import fma, log

LANES: Final = 16
"""Series in a block: 64 run 8 % faster in bulk, 8 do not vectorise on AVX-512, and a lone series pays for all."""
FLUSH: Final = 16
"""Factors in a product before its logarithm is taken. With h in 1e-8..1e8 the product stays within 1e+-128."""
OUT: Final = 28
"""Rows of a pass's result: likelihood, 6 first derivatives, 21 second ones (upper triangle); see `PAIR`."""

GRID_ALPHA: Final = (0.0, 0.02, 0.06, 0.12, 0.25)
GRID_RHO: Final = (0.3, 0.8, 0.93, 0.98, 0.998)
LOG_TWO_PI: Final = 1.8378770664093453
POINTS: Final = len(GRID_ALPHA) * len(GRID_RHO)
_GRID_A: Final = np.array([a for _ in GRID_RHO for a in GRID_ALPHA])
_GRID_R: Final = np.array([r for r in GRID_RHO for _ in GRID_ALPHA])

Lane = Any  # a tuple of floats whose length numba knows


@scalar
def _variance(previous: float, h: float, omega: float, alpha: float, beta: float) -> float:
    return fma(beta, h, fma(alpha, previous, omega))


@helper
def grid_pass(y: F64, lengths: I64, tall: int, backcast: F64, out: F64) -> None:
    """Score every point of the start grid at mean zero: sum of log h + square/h, smaller is better, out[POINTS, lane].

    Four observations share a division, x1/h1 + x2/h2 = (x1 h2 + x2 h1)/(h1 h2): divisions were 60 % of the time.
    """
    state = np.empty((4, POINTS, LANES))
    for p in range(POINTS):
        for j in range(LANES):
            state[0, p, j] = backcast[j]
            state[1, p, j] = backcast[j]
            state[2, p, j] = 0.0
            state[3, p, j] = 1.0
    for t in range(0, tall, 4):
        for p in range(POINTS):
            alpha = min(_GRID_A[p], _GRID_R[p])
            beta = _GRID_R[p] - alpha
            omega = 1.0 - _GRID_R[p]
            for j in range(LANES):
                left = lengths[j] - t
                x1 = y[t, j] * y[t, j]
                x2 = y[t + 1, j] * y[t + 1, j]
                x3 = y[t + 2, j] * y[t + 2, j]
                x4 = y[t + 3, j] * y[t + 3, j]
                h1 = _variance(state[0, p, j], state[1, p, j], omega, alpha, beta)
                h2 = _variance(x1, h1, omega, alpha, beta)
                h3 = _variance(x2, h2, omega, alpha, beta)
                h4 = _variance(x3, h3, omega, alpha, beta)
                state[0, p, j] = x4
                state[1, p, j] = h4
                h1 = h1 if left > 0 else 1.0  # the padding's squares are zero
                h2 = h2 if left > 1 else 1.0
                h3 = h3 if left > 2 else 1.0
                h4 = h4 if left > 3 else 1.0
                early = h1 * h2
                late = h3 * h4
                over = fma(fma(x1, h2, x2 * h1), late, fma(x3, h4, x4 * h3) * early)
                product = early * late
                state[2, p, j] += over / product
                state[3, p, j] *= product
            if (t + 4) % FLUSH == 0:
                for j in range(LANES):
                    state[2, p, j] += log(state[3, p, j])
                    state[3, p, j] = 1.0
    for p in range(POINTS):
        for j in range(LANES):
            out[p, j] = state[2, p, j]


@scalar
def _newton_step(y: float, active: bool, parameters: Lane, state: Lane, sums: Lane) -> tuple[Lane, Lane]:
    mu, omega, alpha, beta = parameters
    e, square, h, m, d1, d2, d3, n03, n13, n23, n33 = state
    total, product, g0, g1, g2, g3, h00, h01, h02, h03, h11, h12, h13, h22, h23, h33 = sums
    # second derivatives of h first: they need the first ones of the step before
    n00 = 2.0 * alpha * d1
    n33 = fma(beta, n33, 2.0 * d3)
    n23 = fma(beta, n23, d2)
    n13 = fma(beta, n13, d1)
    n03 = fma(beta, n03, alpha * m)
    m = fma(beta, m, -2.0 * e)
    d0 = alpha * m
    d1 = fma(beta, d1, 1.0)
    d2 = fma(beta, d2, square)
    d3 = fma(beta, d3, h)
    h = fma(beta, h, fma(alpha, square, omega))
    e = y - mu
    square = e * e
    inverse = 1.0 / h
    inverse = inverse if active else 0.0  # everything below vanishes with it
    r = square * inverse
    u = fma(0.5, r, -0.5) * inverse
    v = (0.5 - r) * (inverse * inverse)
    slope = e * inverse
    cross = slope * inverse
    total = total + r
    product = product * (h if active else 1.0)
    g0 = fma(u, d0, g0 + slope)
    g1 = fma(u, d1, g1)
    g2 = fma(u, d2, g2)
    g3 = fma(u, d3, g3)
    w0 = fma(v, d0, -cross)
    w1 = v * d1
    w2 = v * d2
    w3 = v * d3
    h00 = fma(u, n00, fma(w0 - cross, d0, h00 - inverse))
    h01 = fma(w0, d1, h01)
    h02 = fma(u, m, fma(w0, d2, h02))
    h03 = fma(u, n03, fma(w0, d3, h03))
    h11 = fma(w1, d1, h11)
    h12 = fma(w1, d2, h12)
    h13 = fma(u, n13, fma(w1, d3, h13))
    h22 = fma(w2, d2, h22)
    h23 = fma(u, n23, fma(w2, d3, h23))
    h33 = fma(u, n33, fma(w3, d3, h33))
    return (
        (e, square, h, m, d1, d2, d3, n03, n13, n23, n33),
        (total, product, g0, g1, g2, g3, h00, h01, h02, h03, h11, h12, h13, h22, h23, h33),
    )


@helper
def newton_pass(y: F64, lengths: I64, tall: int, backcast: F64, theta: F64, out: F64) -> None:
    """Evaluate the Gaussian GARCH(1,1) at theta[6, lane] into out[OUT, lane].

    Of the parameters (mu, omega, alpha, gamma, beta, eta) gamma and eta are not read, and their results not written.
    """
    s = np.zeros((32, LANES))
    for j in range(LANES):
        s[27, j] = theta[0, j]
        s[28, j] = theta[1, j]
        s[29, j] = theta[2, j]
        s[30, j] = theta[4, j]
        s[1, j] = backcast[j]
        s[2, j] = backcast[j]
        s[12, j] = 1.0
    for t in range(0, tall, 4):
        for j in range(LANES):
            left = lengths[j] - t
            parameters = (s[27, j], s[28, j], s[29, j], s[30, j])
            state: Lane = (
                s[0, j], s[1, j], s[2, j], s[3, j], s[4, j], s[5, j], s[6, j], s[7, j], s[8, j], s[9, j], s[10, j],
            )  # fmt: skip
            sums: Lane = (
                s[11, j], s[12, j], s[13, j], s[14, j], s[15, j], s[16, j], s[17, j], s[18, j], s[19, j], s[20, j],
                s[21, j], s[22, j], s[23, j], s[24, j], s[25, j], s[26, j],
            )  # fmt: skip
            state, sums = _newton_step(y[t, j], left > 0, parameters, state, sums)
            state, sums = _newton_step(y[t + 1, j], left > 1, parameters, state, sums)
            state, sums = _newton_step(y[t + 2, j], left > 2, parameters, state, sums)
            state, sums = _newton_step(y[t + 3, j], left > 3, parameters, state, sums)
            s[0, j], s[1, j], s[2, j], s[3, j], s[4, j], s[5, j] = (
                state[0],
                state[1],
                state[2],
                state[3],
                state[4],
                state[5],
            )
            s[6, j], s[7, j], s[8, j], s[9, j], s[10, j] = state[6], state[7], state[8], state[9], state[10]
            s[11, j], s[12, j], s[13, j], s[14, j], s[15, j], s[16, j] = (
                sums[0],
                sums[1],
                sums[2],
                sums[3],
                sums[4],
                sums[5],
            )
            s[17, j], s[18, j], s[19, j], s[20, j], s[21, j] = sums[6], sums[7], sums[8], sums[9], sums[10]
            s[22, j], s[23, j], s[24, j], s[25, j], s[26, j] = sums[11], sums[12], sums[13], sums[14], sums[15]
        if (t + 4) % FLUSH == 0:
            for j in range(LANES):
                s[31, j] += log(s[12, j])
                s[12, j] = 1.0
    for j in range(LANES):
        out[0, j] = -0.5 * (s[31, j] + s[11, j] + lengths[j] * LOG_TWO_PI)
        out[1, j], out[2, j], out[3, j], out[5, j] = s[13, j], s[14, j], s[15, j], s[16, j]
        out[7, j], out[8, j], out[9, j], out[11, j] = s[17, j], s[18, j], s[19, j], s[20, j]
        out[13, j], out[14, j], out[16, j] = s[21, j], s[22, j], s[23, j]
        out[18, j], out[20, j], out[25, j] = s[24, j], s[25, j], s[26, j]
