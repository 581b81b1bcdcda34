"""One damped Newton step for every lane of a block.

The matrix is made positive definite by turning negative pivots of its LDL' around and by a damping that grows when a
step fails (Levenberg; Gill, Murray & Wright 1981, section 4.4). Parameters stop at BOUND, a partial autocorrelation of
0.9999945; one that is there and wants to go further is held. (At 0.99945, u = 30 in Monahan's variables, one fit in
twenty ended up to 0.05 below one without a bound: an MA unit root is a common maximum.)
"""

from typing import Final

from kernels._arrays import F64
from kernels._jit import helper
from kernels.arma_layout import GRAD, HESS, SSQ, VALUE, X
from kernels.lane_rows import LANES

_MAX_STEP: Final = 0.5
_TOLERANCE: Final = 1e-9  # of the decrement g'H^-1 g, twice the log-likelihood still to be gained
_NOISE: Final = 1e-7
_LATE_NOISE: Final = 1e-5
_PATIENCE: Final = 40
BOUND: Final = 6.4  # u = 300 in Monahan's variables: a partial autocorrelation of 0.9999945

_L: Final = LANES
# Where a lane stands: its point with value, gradient and Hessian, its damping, and how far it is. One column per lane.
POINT: Final = 0  # 6
POINT_VALUE: Final = 6
POINT_SSQ: Final = 7
POINT_GRAD: Final = 8  # 6
POINT_HESS: Final = 14  # 36
DAMPING: Final = 50
DONE: Final = 51  # 0: goes on, 1: converged, 2: given up for better lanes of the same series
TURNS: Final = 52
LANE: Final = 53
# Scratch rows behind these.
_FREE: Final = 53 * _L  # 6
_A: Final = 59 * _L  # 36: lower triangle of the LDL' factor, pivots on the diagonal
_STEP: Final = 95 * _L  # 6
_SCALE: Final = 101 * _L
_GAIN: Final = 102 * _L
NEWTON_SIZE: Final = 103 * _L


@helper
def _factor(last: int, c: F64) -> None:
    """Factor the damped Hessian of the free parameters, with every pivot made positive."""
    for j in range(_L):
        c[_SCALE + j] = 1e-12
    for i in range(last):
        for j in range(_L):
            x = c[(POINT + i) * _L + j]
            g = c[(POINT_GRAD + i) * _L + j]
            held = ((x >= BOUND) & (g < 0.0)) | ((x <= -BOUND) & (g > 0.0)) | (c[(POINT_HESS + 7 * i) * _L + j] == 0.0)
            c[_FREE + i * _L + j] = 0.0 if held else 1.0
            c[_SCALE + j] = max(c[_SCALE + j], abs(c[(POINT_HESS + 7 * i) * _L + j]) * c[_FREE + i * _L + j])
    for i in range(last):
        for k in range(i + 1):
            for j in range(_L):
                both = c[_FREE + i * _L + j] * c[_FREE + k * _L + j]
                c[_A + (6 * i + k) * _L + j] = c[(POINT_HESS + 6 * i + k) * _L + j] * both
        for j in range(_L):
            free = c[_FREE + i * _L + j]
            c[_A + 7 * i * _L + j] += c[DAMPING * _L + j] * c[_SCALE + j] * free + 1.0 - free
    for i in range(last):
        for k in range(i):
            # Row i still holds l_ik d_k for the k to come; subtract what the earlier columns explain.
            for h in range(k):
                for j in range(_L):
                    c[_A + (6 * i + k) * _L + j] -= c[_A + (6 * i + h) * _L + j] * c[_A + (6 * k + h) * _L + j]
        for k in range(i):
            for j in range(_L):
                product = c[_A + (6 * i + k) * _L + j]
                factor = product / c[_A + 7 * k * _L + j]
                c[_A + 7 * i * _L + j] -= product * factor
                c[_A + (6 * i + k) * _L + j] = factor
        for j in range(_L):
            c[_A + 7 * i * _L + j] = max(abs(c[_A + 7 * i * _L + j]), 1e-7 * c[_SCALE + j])


@helper
def propose(last: int, m: F64, c: F64) -> None:
    """Write the next trial points to rows X of `m`; lanes whose promised gain is below the tolerance are done."""
    _factor(last, c)
    for i in range(last):
        for j in range(_L):
            c[_STEP + i * _L + j] = -c[(POINT_GRAD + i) * _L + j] * c[_FREE + i * _L + j]
        for k in range(i):
            for j in range(_L):
                c[_STEP + i * _L + j] -= c[_A + (6 * i + k) * _L + j] * c[_STEP + k * _L + j]
    for i in range(last):
        for j in range(_L):
            c[_STEP + i * _L + j] /= c[_A + 7 * i * _L + j]
    for back in range(last):
        i = last - 1 - back
        for k in range(i + 1, last):
            for j in range(_L):
                c[_STEP + i * _L + j] -= c[_A + (6 * k + i) * _L + j] * c[_STEP + k * _L + j]
    for j in range(_L):
        c[_GAIN + j] = 0.0
        c[_SCALE + j] = _MAX_STEP
    for i in range(last):
        for j in range(_L):
            c[_GAIN + j] -= c[_STEP + i * _L + j] * c[(POINT_GRAD + i) * _L + j]
            c[_SCALE + j] = max(c[_SCALE + j], abs(c[_STEP + i * _L + j]))
    for i in range(last):
        for j in range(_L):
            x = c[(POINT + i) * _L + j] + c[_STEP + i * _L + j] * (_MAX_STEP / c[_SCALE + j])
            m[X + i * _L + j] = min(max(x, -BOUND), BOUND)
    for j in range(_L):
        damp = c[DAMPING * _L + j]
        small = (c[_GAIN + j] < _TOLERANCE) & (damp <= 1e-2)
        c[DONE * _L + j] = 1.0 if small | (damp > 1e8) else c[DONE * _L + j]


@helper
def accept(last: int, m: F64, c: F64) -> None:
    """Move the lanes whose trial is better; relax or tighten the damping."""
    for j in range(_L):
        better = (m[VALUE + j] < c[POINT_VALUE * _L + j]) & (c[DONE * _L + j] == 0.0)
        damp = c[DAMPING * _L + j]
        # Below this a change is rounding, and next to unit roots Newton would chase it for ever.
        still = abs(m[VALUE + j] - c[POINT_VALUE * _L + j]) < (_NOISE if c[TURNS * _L + j] < _PATIENCE else _LATE_NOISE)
        c[DONE * _L + j] = 1.0 if still & (damp <= 1.0) & (c[DONE * _L + j] == 0.0) else c[DONE * _L + j]
        c[_GAIN + j] = 1.0 if better else 0.0
        c[DAMPING * _L + j] = max(0.1 * damp, 1e-12) if better else max(8.0 * damp, 1e-4)
        c[TURNS * _L + j] += 1.0 if c[DONE * _L + j] == 0.0 else 0.0
    _take(last, m, c)


@helper
def _take(last: int, m: F64, c: F64) -> None:
    """Copy point, value, gradient and Hessian of the lanes marked in row _GAIN."""
    for j in range(_L):
        better = c[_GAIN + j] > 0.0
        c[POINT_VALUE * _L + j] = m[VALUE + j] if better else c[POINT_VALUE * _L + j]
        c[POINT_SSQ * _L + j] = m[SSQ + j] if better else c[POINT_SSQ * _L + j]
    for i in range(last):
        for j in range(_L):
            better = c[_GAIN + j] > 0.0
            c[(POINT + i) * _L + j] = m[X + i * _L + j] if better else c[(POINT + i) * _L + j]
            c[(POINT_GRAD + i) * _L + j] = m[GRAD + i * _L + j] if better else c[(POINT_GRAD + i) * _L + j]
    for i in range(6 * last):
        for j in range(_L):
            c[(POINT_HESS + i) * _L + j] = m[HESS + i * _L + j] if c[_GAIN + j] > 0.0 else c[(POINT_HESS + i) * _L + j]
