"""The global search for the maximum of the exact ARMA likelihood: screening, then damped Newton from several starts.

The surface has several maxima and long ridges where a factor of `ar` nearly cancels one of `ma`, so one start is not
enough. Every start of every series is a lane. First the likelihood is evaluated at a fixed set of points; the best of
these that lie apart are the starts. All lanes take a few Newton steps, the best of each series go on to the end, and
lanes that are done leave the blocks (each lane's arithmetic is its own, so who shares its block changes no bit of it).

Newton's matrix is made positive definite by turning negative pivots of its LDL' around and by a damping that grows
when a step fails (Levenberg; Gill, Murray & Wright 1981, section 4.4). Parameters stop at BOUND, a partial
autocorrelation of 0.99945; one that is there and wants to go further is held.
"""

from functools import cache
from typing import Final

import numpy as np

from kernels._arrays import F64, I8, I64
from kernels._jit import helper, kernel
from kernels.arma_algebra import levinson
from kernels.arma_objective import (
    GRAD,
    HESS,
    LANES,
    SIZE,
    SSQ,
    VALUE,
    X,
    evaluate,
    value_only,
)

BOUND: Final = 4.094622224331  # arsinh(30): a partial autocorrelation of 0.99945
MAX_ITERATIONS: Final = 80
_FIRST_ROUND: Final = 6
_ROUND: Final = 6
_MAX_STEP: Final = 0.5
_TOLERANCE: Final = 1e-9  # of the decrement g'H^-1 g, twice the log-likelihood still to be gained

_L: Final = LANES
# Where a lane stands: its point with value, gradient and Hessian, its damping, and how far it is. One column per lane.
_CX: Final = 0  # 6
_CF: Final = 6
_CSSQ: Final = 7
_CG: Final = 8  # 6
_CH: Final = 14  # 36
_CDAMP: Final = 50
_CDONE: Final = 51  # 0: goes on, 1: converged, 2: given up for better lanes of the same series
_CITER: Final = 52
LANE: Final = 53
# Scratch rows behind these.
_FREE: Final = 53 * _L  # 6
_A: Final = 59 * _L  # 36: lower triangle of the LDL' factor, pivots on the diagonal
_STEP: Final = 95 * _L  # 6
_SCALE: Final = 101 * _L
_GAIN: Final = 102 * _L
_STATE: Final = 103 * _L

# Columns of a result: x (6), objective, S, ar (3), ma (3), and how the lane ended.
RESULT: Final = 16
_CDONE_OUT: Final = 14

STARTS: Final = 6
FINISHERS: Final = 3


@helper
def _factor(c: F64) -> None:
    """Factor the damped Hessian of the free parameters, with every pivot made positive."""
    for j in range(_L):
        c[_SCALE + j] = 1e-12
    for i in range(6):
        for j in range(_L):
            x = c[(_CX + i) * _L + j]
            g = c[(_CG + i) * _L + j]
            held = ((x >= BOUND) & (g < 0.0)) | ((x <= -BOUND) & (g > 0.0)) | (c[(_CH + 7 * i) * _L + j] == 0.0)
            c[_FREE + i * _L + j] = 0.0 if held else 1.0
            c[_SCALE + j] = max(c[_SCALE + j], abs(c[(_CH + 7 * i) * _L + j]) * c[_FREE + i * _L + j])
    for i in range(6):
        for k in range(i + 1):
            for j in range(_L):
                both = c[_FREE + i * _L + j] * c[_FREE + k * _L + j]
                c[_A + (6 * i + k) * _L + j] = c[(_CH + 6 * i + k) * _L + j] * both
        for j in range(_L):
            free = c[_FREE + i * _L + j]
            c[_A + 7 * i * _L + j] += c[_CDAMP * _L + j] * c[_SCALE + j] * free + 1.0 - free
    for i in range(6):
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
def _propose(m: F64, c: F64) -> None:
    """Write the next trial points to rows X of `m`; lanes whose promised gain is below the tolerance are done."""
    _factor(c)
    for i in range(6):
        for j in range(_L):
            c[_STEP + i * _L + j] = -c[(_CG + i) * _L + j] * c[_FREE + i * _L + j]
        for k in range(i):
            for j in range(_L):
                c[_STEP + i * _L + j] -= c[_A + (6 * i + k) * _L + j] * c[_STEP + k * _L + j]
    for i in range(6):
        for j in range(_L):
            c[_STEP + i * _L + j] /= c[_A + 7 * i * _L + j]
    for back in range(6):
        i = 5 - back
        for k in range(i + 1, 6):
            for j in range(_L):
                c[_STEP + i * _L + j] -= c[_A + (6 * k + i) * _L + j] * c[_STEP + k * _L + j]
    for j in range(_L):
        c[_GAIN + j] = 0.0
        c[_SCALE + j] = _MAX_STEP
    for i in range(6):
        for j in range(_L):
            c[_GAIN + j] -= c[_STEP + i * _L + j] * c[(_CG + i) * _L + j]
            c[_SCALE + j] = max(c[_SCALE + j], abs(c[_STEP + i * _L + j]))
    for i in range(6):
        for j in range(_L):
            x = c[(_CX + i) * _L + j] + c[_STEP + i * _L + j] * (_MAX_STEP / c[_SCALE + j])
            m[X + i * _L + j] = min(max(x, -BOUND), BOUND)
    for j in range(_L):
        damp = c[_CDAMP * _L + j]
        small = (c[_GAIN + j] < _TOLERANCE) & (damp <= 1e-2)
        c[_CDONE * _L + j] = 1.0 if small | (damp > 1e8) else c[_CDONE * _L + j]


@helper
def _accept(m: F64, c: F64) -> None:
    """Move the lanes whose trial is better; relax or tighten the damping."""
    for j in range(_L):
        better = (m[VALUE + j] < c[_CF * _L + j]) & (c[_CDONE * _L + j] == 0.0)
        damp = c[_CDAMP * _L + j]
        c[_GAIN + j] = 1.0 if better else 0.0
        c[_CDAMP * _L + j] = max(0.1 * damp, 1e-12) if better else max(8.0 * damp, 1e-4)
        c[_CITER * _L + j] += 1.0 if c[_CDONE * _L + j] == 0.0 else 0.0
    _take(m, c)


@helper
def _take(m: F64, c: F64) -> None:
    """Copy point, value, gradient and Hessian of the lanes marked in row _GAIN."""
    for j in range(_L):
        better = c[_GAIN + j] > 0.0
        c[_CF * _L + j] = m[VALUE + j] if better else c[_CF * _L + j]
        c[_CSSQ * _L + j] = m[SSQ + j] if better else c[_CSSQ * _L + j]
    for i in range(6):
        for j in range(_L):
            better = c[_GAIN + j] > 0.0
            c[(_CX + i) * _L + j] = m[X + i * _L + j] if better else c[(_CX + i) * _L + j]
            c[(_CG + i) * _L + j] = m[GRAD + i * _L + j] if better else c[(_CG + i) * _L + j]
    for i in range(36):
        for j in range(_L):
            c[(_CH + i) * _L + j] = m[HESS + i * _L + j] if c[_GAIN + j] > 0.0 else c[(_CH + i) * _L + j]


@helper
def _load(series: F64, owners: I64, first: int, last: int, n: int, w: F64) -> None:
    """Write the series of lanes first..last as columns of `w`; a block that is not full repeats its last lane."""
    for j in range(_L):
        source = owners[min(first + j, last - 1)]
        for t in range(n):
            w[(t + 3) * _L + j] = series[source, t]


@helper
def _rounds(
    series: F64, owners: I64, active: I64, count: int, n: int, p: int, q: int, rounds: int, lanes: F64, w: F64, m: F64,
    c: F64,
) -> None:  # fmt: skip
    """Take up to `rounds` Newton steps with the first `count` active lanes, block after block."""
    packed = owners[active]
    for first in range(0, count, _L):
        last = min(first + _L, count)
        _load(series, packed, first, last, n, w)
        for j in range(_L):
            lane = active[min(first + j, last - 1)]
            for i in range(LANE):
                c[i * _L + j] = lanes[lane, i]
        if c[_CITER * _L] < 0.0:  # never evaluated, nor were its neighbours: all lanes of a batch start together
            for i in range(6):
                for j in range(_L):
                    m[X + i * _L + j] = c[(_CX + i) * _L + j]
            evaluate(w, n, p, q, m)
            for j in range(_L):
                c[_GAIN + j] = 1.0
                c[_CITER * _L + j] = 0.0
            _take(m, c)
        for _ in range(rounds):
            _propose(m, c)
            left = 0.0
            for j in range(_L):
                left += 1.0 - c[_CDONE * _L + j]
            if left == 0.0:
                break
            evaluate(w, n, p, q, m)
            _accept(m, c)
        for j in range(last - first):
            for i in range(LANE):
                lanes[active[first + j], i] = c[i * _L + j]


@helper
def _screen(series: F64, n: int, points: F64, values: F64, w: F64, m: F64) -> None:
    """Evaluate the objective of every series at every point."""
    count = series.shape[0]
    every = np.arange(count)
    for first in range(0, count, _L):
        last = min(first + _L, count)
        _load(series, every, first, last, n, w)
        for k in range(points.shape[0]):
            for i in range(6):
                for j in range(_L):
                    m[X + i * _L + j] = points[k, i]
            value_only(w, n, m)
            for j in range(last - first):
                values[first + j, k] = m[VALUE + j]


@helper
def _choose(values: F64, points: F64, starts: int, lanes: F64, first: int) -> None:
    """Start the lanes of one series at its best points that lie apart (in partial autocorrelations)."""
    for s in range(starts):
        best = -1
        for k in range(points.shape[0]):
            near = False
            for before in range(s):
                distance = 0.0
                for i in range(6):
                    distance = max(distance, abs(np.tanh(points[k, i]) - np.tanh(lanes[first + before, _CX + i])))
                near |= distance < 0.35
            if not near and (best < 0 or values[k] < values[best]):
                best = k
        if best < 0:
            best = s % points.shape[0]
        for i in range(LANE):
            lanes[first + s, i] = 0.0
        for i in range(6):
            lanes[first + s, _CX + i] = points[best, i]
        lanes[first + s, _CDAMP] = 1e-3
        lanes[first + s, _CITER] = -1.0


@helper
def _keep_best(lanes: F64, count: int, starts: int, finish: int) -> None:
    """Retire all but the `finish` best lanes of each series."""
    for i in range(count):
        for s in range(starts):
            rank = 0
            for o in range(starts):
                a = lanes[i * starts + o, _CF]
                b = lanes[i * starts + s, _CF]
                if a < b or (a == b and o < s):
                    rank += 1
            if rank >= finish and lanes[i * starts + s, _CDONE] == 0.0:
                lanes[i * starts + s, _CDONE] = 2.0


@helper
def _still_active(lanes: F64, active: I64) -> int:
    """List the lanes that go on."""
    count = 0
    for lane in range(lanes.shape[0]):
        if lanes[lane, _CDONE] == 0.0:
            active[count] = lane
            count += 1
    return count


@kernel("void(float64[:,::1], int64, int64, float64[:,::1], int64, int64, float64[:,::1])")
def search(series: F64, p: int, q: int, points: F64, starts: int, finish: int, best: F64) -> None:
    """Maximise the likelihood of one order for series of one length.

    `series` (count, n) are scaled differences, `points` (k, 6) the free parameters at which to look first. Row i of
    `best` is described at `RESULT`.
    """
    count, n = series.shape
    w = np.zeros((n + 3) * _L)
    m = np.zeros(SIZE)
    c = np.zeros(_STATE)
    values = np.empty((count, points.shape[0]))
    lanes = np.empty((count * starts, LANE))
    owners = np.arange(count * starts) // starts
    active = np.empty(count * starts, np.int64)
    _screen(series, n, points, values, w, m)
    for i in range(count):
        _choose(values[i], points, starts, lanes, i * starts)
    left = _still_active(lanes, active)
    _rounds(series, owners, active, left, n, p, q, _FIRST_ROUND, lanes, w, m, c)
    _keep_best(lanes, count, starts, finish)
    left = _still_active(lanes, active)
    done = _FIRST_ROUND
    while left > 0 and done < MAX_ITERATIONS:
        _rounds(series, owners, active, left, n, p, q, _ROUND, lanes, w, m, c)
        left = _still_active(lanes, active)
        done += _ROUND
    for i in range(count):
        winner = i * starts
        for s in range(1, starts):
            if lanes[i * starts + s, _CF] < lanes[winner, _CF]:
                winner = i * starts + s
        for k in range(8):
            best[i, k] = lanes[winner, k]
        for k in range(2):
            r1, r2, r3 = np.tanh(best[i, 3 * k]), np.tanh(best[i, 3 * k + 1]), np.tanh(best[i, 3 * k + 2])
            c1, c2, c3 = levinson(r1, r2, r3)
            sign = 1.0 - 2.0 * k
            best[i, 8 + 3 * k] = sign * c1 + 0.0  # never -0
            best[i, 9 + 3 * k] = sign * c2 + 0.0
            best[i, 10 + 3 * k] = sign * c3 + 0.0
        best[i, _CDONE_OUT] = lanes[winner, _CDONE]
        best[i, 15] = lanes[winner, _CITER]


@kernel("void(float64[:,::1], float64[::1])")
def _sum_of_squares(series: F64, out: F64) -> None:
    for i in range(series.shape[0]):
        total = 0.0
        for t in range(series.shape[1]):
            total += series[i, t] * series[i, t]
        out[i] = total


def _spread(p: int, q: int, count: int) -> F64:
    """Lay `count` points evenly over the partial autocorrelations (the additive recurrence of Roberts 2018)."""
    k = p + q
    ratio = 2.0
    for _ in range(60):
        ratio = (1.0 + ratio) ** (1.0 / (k + 1))
    steps = ratio ** -np.arange(1.0, k + 1.0)
    r = ((0.5 + np.outer(np.arange(count), steps)) % 1.0) * 1.9 - 0.95
    points = np.zeros((count, 6))
    points[:, :p] = np.arctanh(r[:, :p])
    points[:, 3 : 3 + q] = np.arctanh(r[:, p:])
    return points


@cache
def _points(p: int, q: int) -> F64:
    """Choose where to look first; the first point is zero, the model without its terms."""
    if p + q == 1:
        return _spread(p, q, 9)
    return _spread(p, q, 64)


FOUND: Final = 1
AT_LIMIT: Final = 2
"""States of a row: at a maximum inside; at one on the border, where a unit root would be."""


def maximise(series: F64, p: int, q: int) -> tuple[F64, F64, F64, F64, I8]:
    """Find the global maximum of one order for (count, n) series whose mean square is about 1.

    Returns
    -------
    ar, ma : (count, 3) float64
    ssq, objective : (count,) float64
        S, so that sigma2 = S/n, and n/2 ln S + 1/2 ln D.
    state : (count,) int8
        `FOUND`, `AT_LIMIT`, or 0 where no start converged.
    """
    count, n = series.shape
    if p + q == 0:
        ssq = np.empty(count)
        _sum_of_squares(series, ssq)
        return np.zeros((count, 3)), np.zeros((count, 3)), ssq, 0.5 * n * np.log(ssq), np.full(count, FOUND, np.int8)
    best = np.empty((count, RESULT))
    search(series, p, q, _points(p, q), STARTS, FINISHERS, best)
    state = np.where(np.abs(best[:, :6]).max(axis=1) >= BOUND, AT_LIMIT, FOUND)
    state[best[:, _CDONE_OUT] != 1.0] = 0
    return best[:, 8:11].copy(), best[:, 11:14].copy(), best[:, 7].copy(), best[:, 6].copy(), state.astype(np.int8)
