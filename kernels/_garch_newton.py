"""The search behind `garch`: projected Newton in a box, one lane a series, with the lanes refilled as they finish.

Each tick evaluates every lane's trial point with gradient and Hessian; then each lane, on its own, accepts it and takes
the next step, halves its step, starts again from its next start, or ends and hands its lane to the next series. A step
maximises the quadratic model over the box (coordinates that would leave are put on the bound and the rest is solved
again); where the Hessian is not negative definite its diagonal is raised until it is.

Nothing here looks at another lane, so a series' numbers do not depend on its company.
"""

import math
from typing import Final

import numpy as np

from kernels import status
from kernels._arrays import F64, I8, I64, Bool
from kernels._garch_box import HIGH, LOW, MAX_RHO, box_curvature, choose_step, natural, robust_errors
from kernels._garch_general import general_pass, score_pass
from kernels._garch_recursion import FLUSH, GRID_ALPHA, GRID_RHO, LANES, OUT, POINTS, grid_pass, newton_pass
from kernels._jit import helper, kernel

MIN_OBSERVATIONS: Final = 30
"""Technical minimum of a fit; a caller that wants estimates worth having asks for 250."""
NEARLY_ONE: Final = 0.9999
"""Persistence from which the long-run variance counts as undefined."""
STARTS: Final = 6
"""Room for starts: one given, and one a column of the start grid."""
_TWO_STARTS: Final = 2
_NO_ARCH: Final = 0.01
_MAX_ITERATIONS: Final = 60
_MAX_HALVINGS: Final = 25
_TOLERANCE: Final = 1e-10  # of the Newton decrement, which is twice the likelihood still to be won
_FARTHEST: Final = 16.0
_LAST_TOLERANCE: Final = 1e-6
_HOMING: Final = 1e-2
_KNOWN: Final = 1e-5
_ALPHAS: Final = np.array(GRID_ALPHA)
_RHOS: Final = np.array(GRID_RHO)
_DECAY: Final = 0.94
_BACKCAST: Final = 75
_START_ETA: Final = 0.125
_START_K: Final = 0.5


@helper
def pack(returns: F64, row: int, length: int, mean: float, scale: float, lane: int, y: F64) -> None:
    """Put one series into its lane, centred and scaled, zeros below."""
    for t in range(length):
        y[t, lane] = (returns[row, t] - mean) * scale
    for t in range(length, y.shape[0]):
        y[t, lane] = 0.0


@helper
def moments(returns: F64, row: int, length: int, prep: F64, codes: I8) -> None:
    """Write a row's mean, standard deviation and scaled backcast into prep[row], its status into codes."""
    if length < MIN_OBSERVATIONS:
        codes[row] = status.TOO_FEW_DATA
        return
    total = 0.0
    for t in range(length):
        total += returns[row, t]
    mean = total / length
    square = 0.0
    large = 0.0
    for t in range(length):
        e = returns[row, t] - mean
        square += e * e
        large = max(large, abs(returns[row, t]))
    sd = math.sqrt(square / length)
    # written so that NaN and infinity fail; a series that moves by rounding errors only has no variance to model
    if not (sd > 1e-10 * large and sd > 1e-100 and sd < 1e100):
        codes[row] = status.BAD_INPUT
        return
    weight = 1.0
    weights = 0.0
    back = 0.0
    for t in range(min(_BACKCAST, length)):
        e = (returns[row, t] - mean) / sd
        back += weight * e * e
        weights += weight
        weight *= _DECAY
    prep[row, 0] = mean
    prep[row, 1] = sd
    prep[row, 2] = back / weights
    codes[row] = status.OK


@kernel("void(float64[:, ::1], int64[::1], float64[:, ::1], int8[::1])")
def prepare(returns: F64, lengths: I64, prep: F64, codes: I8) -> None:
    """Fill prep[n, 3] = mean, standard deviation, scaled backcast and the status of every row."""
    for row in range(lengths.size):
        moments(returns, row, lengths[row], prep, codes)


@helper
def _rank(score: F64, j: int, row: int, asymmetric: bool, student: bool, starts: F64) -> None:
    used = np.zeros(_RHOS.size, np.bool_)
    for place in range(_RHOS.size):
        best = np.inf
        column = -1
        point = 0
        for c in range(_RHOS.size):
            for i in range(_ALPHAS.size):
                value = score[c * _ALPHAS.size + i, j]
                if not used[c] and (value < best or column < 0):
                    best = value
                    column = c
                    point = i
        used[column] = True
        rho = _RHOS[column]
        starts[row, 1 + place, 0] = 0.0
        starts[row, 1 + place, 1] = 1.0 - rho
        starts[row, 1 + place, 2] = min(_ALPHAS[point] / rho, 1.0)
        starts[row, 1 + place, 3] = rho
        starts[row, 1 + place, 4] = _START_K if asymmetric else 0.0
        starts[row, 1 + place, 5] = _START_ETA if student else 0.0


@kernel("void(float64[:, ::1], int64[::1], int64[::1], float64[:, ::1], boolean, boolean, boolean, float64[:, :, ::1])")
def grid_starts(
    returns: F64, lengths: I64, order: I64, prep: F64, sample: bool, asymmetric: bool, student: bool, starts: F64
) -> None:
    """Score the start grid for the rows of `order`; write each rho's best point into starts[row, 1:], best first."""
    if order.size == 0:
        return
    tall = (lengths[order[0]] + FLUSH - 1) // FLUSH * FLUSH
    y = np.zeros((tall, LANES))
    size = np.zeros(LANES, np.int64)
    back = np.ones(LANES)
    score = np.empty((POINTS, LANES))
    for first in range(0, order.size, LANES):
        width = min(LANES, order.size - first)
        height = (lengths[order[first]] + FLUSH - 1) // FLUSH * FLUSH
        for j in range(width):
            row = order[first + j]
            size[j] = lengths[row]
            back[j] = 1.0 if sample else prep[row, 2]
            pack(returns, row, size[j], prep[row, 0], 1.0 / prep[row, 1], j, y)
        for j in range(width, LANES):
            size[j] = 0
        grid_pass(y, size, height, back, score)
        for j in range(width):
            _rank(score, j, order[first + j], asymmetric, student, starts)


@helper
def _begin(
    starts: F64, row: int, which: int, j: int, trial: F64, begun: I64, fresh: Bool, steps: I64, length: F64
) -> None:
    for i in range(6):
        trial[j, i] = starts[row, which, i]
    begun[j] += 1
    fresh[j] = True
    steps[j] = 0
    length[j] = 0.5


@kernel(
    "void(float64[:, ::1], int64[::1], int64[::1], float64[:, ::1], boolean, boolean, boolean, float64[:, :, ::1],"
    "int64[::1], float64[:, ::1], float64[:, ::1], int64[::1], int8[::1])"
)
def search(
    returns: F64,
    lengths: I64,
    order: I64,
    prep: F64,
    sample: bool,
    asymmetric: bool,
    student: bool,
    starts: F64,
    first_start: I64,
    best_x: F64,
    best_out: F64,
    iterations: I64,
    codes: I8,
) -> None:
    """Fit the rows of `order` (longest first): best_x[row, 6], the pass's result there best_out[row, OUT], status."""
    if order.size == 0:
        return
    general = sample or asymmetric or student
    own = 1.0 if sample else 0.0
    tall = (lengths[order[0]] + FLUSH - 1) // FLUSH * FLUSH
    y = np.zeros((tall, LANES))
    size = np.zeros(LANES, np.int64)
    back = np.ones(LANES)
    theta = np.zeros((6, LANES))
    out = np.zeros((OUT, LANES))
    rows = np.full(LANES, -1)
    begun = np.zeros(LANES, np.int64)  # starts begun
    fresh = np.zeros(LANES, np.bool_)  # the trial is a start: nothing to compare with
    steps = np.zeros(LANES, np.int64)  # Newton steps from this start
    halvings = np.zeros(LANES, np.int64)
    trial = np.zeros((LANES, 6))
    base = np.zeros((LANES, 6))
    slope = np.zeros((LANES, 6))
    step = np.zeros((LANES, 6))
    value = np.zeros(LANES)
    length = np.zeros(LANES)
    newton = np.zeros(LANES, np.bool_)
    free = np.zeros(6, np.int64)
    active = np.ones(6, np.int64)
    active[4] = 1 if asymmetric else 0
    active[5] = 1 if student else 0
    curv = np.zeros((6, 6))
    jac = np.zeros((6, 6))
    work = np.zeros((6, 7))
    half = np.zeros((6, 6))
    index = np.zeros(6, np.int64)
    low = np.zeros(6)
    high = np.zeros(6)
    x = np.zeros(6)
    g = np.zeros(6)
    d = np.zeros(6)
    following = 0
    working = 0
    for j in range(LANES):
        theta[1, j] = 1.0  # an idle lane evaluates white noise of no length
        trial[j, 1] = 1.0
    while True:
        for j in range(LANES):
            if rows[j] < 0 and following < order.size:
                row = order[following]
                following += 1
                working += 1
                rows[j] = row
                size[j] = lengths[row]
                back[j] = 1.0 if sample else prep[row, 2]
                pack(returns, row, size[j], prep[row, 0], 1.0 / prep[row, 1], j, y)
                begun[j] = 0
                iterations[row] = 0
                codes[row] = status.NOT_CONVERGED
                best_out[row, 0] = -np.inf
                _begin(starts, row, first_start[row], j, trial, begun, fresh, steps, length)
        if working == 0:
            return
        longest = 0
        for j in range(LANES):
            natural(trial, j, theta)
            longest = max(longest, size[j])
        height = (longest + FLUSH - 1) // FLUSH * FLUSH
        if general:
            general_pass(y, size, height, back, own, theta, out)
        else:
            newton_pass(y, size, height, back, theta, out)
        for j in range(LANES):
            row = rows[j]
            if row < 0:
                continue
            ended = False
            promised = 0.0
            for i in range(6):
                promised += slope[j, i] * (trial[j, i] - base[j, i])
            # the last term is the likelihood's own rounding
            enough = value[j] + 1e-4 * promised - 1e-13 * (abs(value[j]) + size[j])
            if fresh[j] or out[0, j] >= enough:
                fresh[j] = False
                value[j] = out[0, j]
                for i in range(6):
                    x[i] = trial[j, i]
                    base[j, i] = x[i]
                box_curvature(out, j, x, g, jac, curv, work, half)
                ascent, newton[j] = choose_step(curv, g, x, active, low, high, free, d, work, index)
                for i in range(6):
                    slope[j, i] = g[i]
                    step[j, i] = d[i]
                # on its last steps to an optimum that is no better than the one that an earlier start has found
                known = newton[j] and ascent < _HOMING and value[j] + 0.5 * ascent < best_out[row, 0] + _KNOWN
                converged = ascent < (_TOLERANCE if steps[j] < _MAX_ITERATIONS else _LAST_TOLERANCE)
                ended = converged or known or steps[j] >= _MAX_ITERATIONS or not value[j] > -np.inf
                if ended and not known and out[0, j] > best_out[row, 0]:
                    for i in range(OUT):
                        best_out[row, i] = out[i, j]
                    for i in range(6):
                        # the last step is free, and squares the error
                        best_x[row, i] = base[j, i] + (step[j, i] if converged and newton[j] else 0.0)
                    codes[row] = status.OK if converged else status.NOT_CONVERGED
                iterations[row] += 1
                steps[j] += 1
                halvings[j] = 0
                # where the Hessian is of no use the quadratic steps are timid: go farther while that works
                length[j] = 1.0 if newton[j] else min(2.0 * length[j], _FARTHEST)
            else:
                halvings[j] += 1
                length[j] *= 0.5
                if halvings[j] > _MAX_HALVINGS:  # nothing left to win but rounding errors: look at the base once more
                    length[j] = 0.0
                    fresh[j] = True
                    steps[j] = _MAX_ITERATIONS
            if not ended:
                for i in range(6):
                    trial[j, i] = min(max(base[j, i] + length[j] * step[j, i], LOW[i]), HIGH[i])
                    if active[i] == 0:
                        trial[j, i] = base[j, i]
                continue
            odd = best_x[row, 2] * best_x[row, 3] < _NO_ARCH or best_x[row, 3] >= MAX_RHO or codes[row] != status.OK
            if begun[j] < STARTS - first_start[row] and (begun[j] < _TWO_STARTS or odd):
                _begin(starts, row, first_start[row] + begun[j], j, trial, begun, fresh, steps, length)
            else:
                rows[j] = -1
                size[j] = 0
                working -= 1


@kernel(
    "void(float64[:, ::1], int64[::1], int64[::1], float64[:, ::1], boolean, boolean, boolean, float64[:, ::1],"
    "float64[:, ::1], float64[:, ::1], float64[::1])"
)
def finish(
    returns: F64,
    lengths: I64,
    order: I64,
    prep: F64,
    sample: bool,
    asymmetric: bool,
    student: bool,
    best_x: F64,
    best_out: F64,
    std_err: F64,
    sigma2_next: F64,
) -> None:
    """Find the robust errors (of the scaled data, eta last) and the variance after the last observation."""
    if order.size == 0:
        return
    own = 1.0 if sample else 0.0
    tall = (lengths[order[0]] + FLUSH - 1) // FLUSH * FLUSH
    y = np.zeros((tall, LANES))
    size = np.zeros(LANES, np.int64)
    back = np.ones(LANES)
    theta = np.zeros((6, LANES))
    x = np.zeros((LANES, 6))
    scores = np.zeros((21, LANES))
    ahead = np.zeros(LANES)
    flat = np.zeros((OUT, 1))
    free = np.zeros(6, np.int64)
    for first in range(0, order.size, LANES):
        width = min(LANES, order.size - first)
        height = (lengths[order[first]] + FLUSH - 1) // FLUSH * FLUSH
        for j in range(LANES):
            size[j] = 0
            if j < width:
                row = order[first + j]
                size[j] = lengths[row]
                back[j] = 1.0 if sample else prep[row, 2]
                for i in range(6):
                    x[j, i] = best_x[row, i]
                natural(x, j, theta)
                pack(returns, row, size[j], prep[row, 0], 1.0 / prep[row, 1], j, y)
        score_pass(y, size, height, back, own, theta, ahead, scores)
        for j in range(width):
            row = order[first + j]
            sigma2_next[row] = ahead[j]
            for i in range(6):
                inside = x[j, i] > LOW[i] and x[j, i] < HIGH[i]
                free[i] = 1 if inside and (i < 4 or (i == 4 and asymmetric) or (i == 5 and student)) else 0
            for i in range(OUT):
                flat[i, 0] = best_out[row, i]
            robust_errors(x[j], flat, scores, j, free, std_err[row])
