"""The search behind `garch`: projected Newton in a box, one lane a series, with the lanes refilled as they finish.

Coordinates: x = (mu, omega, s, rho, k, eta) with alpha = s rho (1 - k), gamma = 2 s rho k, beta = (1 - s) rho, so that
alpha >= 0, alpha + gamma >= 0, beta >= 0, alpha + gamma/2 + beta = rho <= 1 becomes a box. Data have zero mean and
unit variance. Each tick evaluates every lane's trial point with gradient and Hessian; then each lane, on its own, accepts
it and takes the next step, halves its step, starts again from its next start, or ends and hands its lane to the
next series. A step maximises the quadratic model over the box (coordinates that would leave are put on the bound and
the rest is solved again); where the Hessian is not negative definite its diagonal is raised until it is.

Nothing here looks at another lane, so a series' numbers do not depend on its company.
"""

import math
from typing import Final

import numpy as np

from kernels import status
from kernels._arrays import F64, I8, I64
from kernels._garch_general import general_pass, score_pass
from kernels._garch_recursion import FLUSH, GRID_ALPHA, GRID_RHO, LANES, OUT, POINTS, grid_pass, newton_pass
from kernels._jit import helper, kernel

MIN_OBSERVATIONS: Final = 30
"""Technical minimum of a fit; a caller that wants estimates worth having asks for 250."""
MAX_RHO: Final = 1.0 - 1e-9
NEARLY_ONE: Final = 0.9999
"""Persistence from which the long-run variance counts as undefined."""
STARTS: Final = 6
"""Room for starts: one given, and one a column of the start grid."""
_TWO_STARTS: Final = 2
_NO_ARCH: Final = 0.01
_MAX_ITERATIONS: Final = 60
_MAX_HALVINGS: Final = 25
_TOLERANCE: Final = 1e-10  # of the Newton decrement, which is twice the likelihood still to be won
_LOW: Final = np.array([-1e3, 1e-8, 0.0, 0.0, -1.0, 1.0 / 500.0])
_HIGH: Final = np.array([1e3, 10.0, 1.0, MAX_RHO, 1.0, 1.0 / 2.05])
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
    """Write mean, standard deviation, and backcast (of the scaled series) of one row into prep[row]; its status into codes."""
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
def natural(x: F64, j: int, theta: F64) -> None:
    """Write lane j of theta = mu, omega, alpha, gamma, beta, eta from the box coordinates x[j]."""
    theta[0, j] = x[j, 0]
    theta[1, j] = x[j, 1]
    theta[2, j] = x[j, 2] * x[j, 3] * (1.0 - x[j, 4])
    theta[3, j] = 2.0 * x[j, 2] * x[j, 3] * x[j, 4]
    theta[4, j] = (1.0 - x[j, 2]) * x[j, 3]
    theta[5, j] = x[j, 5]


@helper
def jacobian(s: float, rho: float, k: float, J: F64) -> None:
    """Write d(mu, omega, alpha, gamma, beta, eta)/d(mu, omega, s, rho, k, eta)."""
    J[:, :] = 0.0
    J[0, 0] = 1.0
    J[1, 1] = 1.0
    J[5, 5] = 1.0
    J[2, 2] = rho * (1.0 - k)
    J[2, 3] = s * (1.0 - k)
    J[2, 4] = -s * rho
    J[3, 2] = 2.0 * rho * k
    J[3, 3] = 2.0 * s * k
    J[3, 4] = 2.0 * s * rho
    J[4, 2] = -rho
    J[4, 3] = 1.0 - s


@helper
def sandwich(J: F64, out: F64, first: int, j: int, sign: float, A: F64) -> None:
    """Write sign * J' M J into A, M the upper triangle in rows first.. of out[:, j]; only mu .. k and eta, six by six."""
    M = np.empty((6, 6))
    place = first
    for a in range(6):
        for b in range(a, 6):
            M[a, b] = sign * out[place, j]
            M[b, a] = M[a, b]
            place += 1
    T = np.empty((6, 6))
    for a in range(6):
        T[0, a] = M[0, a]
        T[1, a] = M[1, a]
        T[5, a] = M[5, a]
        for b in range(2, 5):
            T[b, a] = J[2, b] * M[2, a] + J[3, b] * M[3, a] + J[4, b] * M[4, a]
    for a in range(6):
        A[a, 0] = T[a, 0]
        A[a, 1] = T[a, 1]
        A[a, 5] = T[a, 5]
        for b in range(2, 5):
            A[a, b] = J[2, b] * T[a, 2] + J[3, b] * T[a, 3] + J[4, b] * T[a, 4]


@helper
def box_curvature(out: F64, j: int, s: float, rho: float, k: float, g: F64, J: F64, A: F64) -> None:
    """Write the gradient g and minus the Hessian A in box coordinates from lane j of a pass's result."""
    jacobian(s, rho, k, J)
    sandwich(J, out, 7, j, -1.0, A)
    alpha, gamma, beta = out[3, j], out[4, j], out[5, j]
    g[0] = out[1, j]
    g[1] = out[2, j]
    g[5] = out[6, j]
    for b in range(2, 5):
        g[b] = J[2, b] * alpha + J[3, b] * gamma + J[4, b] * beta
    cross = (1.0 - k) * alpha + 2.0 * k * gamma - beta
    tilt = 2.0 * gamma - alpha
    A[2, 3] -= cross
    A[3, 2] -= cross
    A[2, 4] -= rho * tilt
    A[4, 2] -= rho * tilt
    A[3, 4] -= s * tilt
    A[4, 3] -= s * tilt


@helper
def solve(A: F64, b: F64, free: I64, raise_: float, d: F64) -> bool:
    """Solve (A + raise_ |diag A|) d = b on the free coordinates (1), the others of d given; False if not positive definite."""
    M = np.empty((6, 7))
    index = np.empty(6, np.int64)
    m = 0
    for i in range(6):
        if free[i] == 1:
            index[m] = i
            m += 1
    for a in range(m):
        i = index[a]
        for c in range(m):
            M[a, c] = A[i, index[c]]
        M[a, a] += raise_ * (abs(A[i, i]) + 1e-8)
        M[a, 6] = b[i]
        for c in range(6):
            if free[c] != 1:
                M[a, 6] -= A[i, c] * d[c]
    for a in range(m):
        pivot = M[a, a]
        if not pivot > 1e-12 * (abs(A[index[a], index[a]]) + 1e-8):
            return False
        for r in range(a + 1, m):
            factor = M[r, a] / pivot
            for c in range(a, m):
                M[r, c] -= factor * M[a, c]
            M[r, 6] -= factor * M[a, 6]
    for a in range(m - 1, -1, -1):
        total = M[a, 6]
        for c in range(a + 1, m):
            total -= M[a, c] * d[index[c]]
        d[index[a]] = total / M[a, a]
    return True


@helper
def box_step(A: F64, g: F64, x: F64, low: F64, high: F64, active: I64, raise_: float, free: I64, d: F64) -> bool:
    """Maximise g d - d A d / 2 within the box; `active` says which coordinates the model has. False: not definite."""
    for i in range(6):
        d[i] = 0.0
        held = (x[i] <= low[i] and g[i] <= 0.0) or (x[i] >= high[i] and g[i] >= 0.0)
        free[i] = 1 if active[i] == 1 and not held else 0
    for _ in range(6):
        if not solve(A, g, free, raise_, d):
            return False
        first = 1.0
        hit = -1
        for i in range(6):
            if free[i] == 1:
                room = high[i] - x[i] if d[i] > 0.0 else low[i] - x[i]
                if abs(d[i]) > abs(room) and room / d[i] < first:
                    first = room / d[i]
                    hit = i
        if hit < 0:
            return True
        d[hit] = high[hit] - x[hit] if d[hit] > 0.0 else low[hit] - x[hit]
        free[hit] = 0
    return True


@helper
def choose_step(A: F64, g: F64, x: F64, active: I64, low: F64, high: F64, free: I64, d: F64) -> tuple[float, bool]:
    """Find the next step d from x; returns the ascent g d that it promises and whether it is Newton's own."""
    for i in range(6):
        low[i] = _LOW[i]
        high[i] = _HIGH[i]
    # omega spans decades: a step that leaves its own is not to be believed
    low[1] = max(low[1], 0.1 * x[1])
    high[1] = min(high[1], 10.0 * x[1])
    raise_ = 0.0
    for attempt in range(9):
        if box_step(A, g, x, low, high, active, raise_, free, d):
            ascent = 0.0
            for i in range(6):
                ascent += g[i] * d[i]
            if ascent >= 0.0:
                return ascent, attempt == 0
        raise_ = 1e-2 if attempt == 0 else 4.0 * raise_
    ascent = 0.0
    for i in range(6):
        step = g[i] / (abs(A[i, i]) + 1e-8) if active[i] == 1 else 0.0
        d[i] = min(max(x[i] + step, low[i]), high[i]) - x[i]
        ascent += g[i] * d[i]
    return ascent, False


@helper
def _begin(starts: F64, row: int, which: int, j: int, trial: F64, begun: I64, fresh: F64, steps: I64) -> None:
    for i in range(6):
        trial[j, i] = starts[row, which, i]
    begun[j] += 1
    fresh[j] = True
    steps[j] = 0


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
    A = np.zeros((6, 6))
    J = np.zeros((6, 6))
    low = np.zeros(6)
    high = np.zeros(6)
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
                _begin(starts, row, first_start[row], j, trial, begun, fresh, steps)
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
            converged = False
            promised = 0.0
            for i in range(6):
                promised += slope[j, i] * (trial[j, i] - base[j, i])
            # the last term is the likelihood's own rounding
            enough = value[j] + 1e-4 * promised - 1e-13 * (abs(value[j]) + size[j])
            if fresh[j] or out[0, j] >= enough:
                fresh[j] = False
                value[j] = out[0, j]
                base[j] = trial[j]
                box_curvature(out, j, base[j, 2], base[j, 3], base[j, 4], slope[j], J, A)
                ascent, newton[j] = choose_step(A, slope[j], base[j], active, low, high, free, step[j])
                converged = ascent < _TOLERANCE
                ended = converged or steps[j] >= _MAX_ITERATIONS or not value[j] > -np.inf
                if out[0, j] > best_out[row, 0]:
                    for i in range(OUT):
                        best_out[row, i] = out[i, j]
                    for i in range(6):
                        # the last step is free, and squares the error
                        best_x[row, i] = base[j, i] + (step[j, i] if converged and newton[j] else 0.0)
                    codes[row] = status.OK if converged else status.NOT_CONVERGED
                iterations[row] += 1
                steps[j] += 1
                halvings[j] = 0
                length[j] = 1.0
            else:
                halvings[j] += 1
                length[j] *= 0.5
                ended = halvings[j] > _MAX_HALVINGS
            if not ended:
                for i in range(6):
                    trial[j, i] = min(max(base[j, i] + length[j] * step[j, i], _LOW[i]), _HIGH[i])
                    if active[i] == 0:
                        trial[j, i] = base[j, i]
                continue
            odd = best_x[row, 2] * best_x[row, 3] < _NO_ARCH or best_x[row, 3] >= MAX_RHO or codes[row] != status.OK
            if begun[j] < STARTS - first_start[row] and (begun[j] < _TWO_STARTS or odd):
                _begin(starts, row, first_start[row] + begun[j], j, trial, begun, fresh, steps)
            else:
                rows[j] = -1
                size[j] = 0
                working -= 1


@helper
def robust_errors(x: F64, flat: F64, scores: F64, j: int, free: I64, std_err: F64) -> None:
    """Standard errors by the sandwich in the free box coordinates, carried over to the natural ones; NaN where none."""
    J = np.empty((6, 6))
    A = np.empty((6, 6))
    B = np.empty((6, 6))
    jacobian(x[2], x[3], x[4], J)
    # with the gradient at zero the curvature of the coordinates does not matter
    sandwich(J, flat, 7, 0, -1.0, A)
    sandwich(J, scores, 0, j, 1.0, B)
    d = np.zeros(6)
    b = np.zeros(6)
    for i in range(6):
        std_err[i] = np.nan
        some = False
        for c in range(6):
            b[c] = J[i, c] if free[c] == 1 else 0.0
            some = some or b[c] != 0.0
            d[c] = 0.0
        if some and solve(A, b, free, 0.0, d):
            variance = 0.0
            for a in range(6):
                for c in range(6):
                    variance += d[a] * B[a, c] * d[c]
            std_err[i] = math.sqrt(variance) if variance >= 0.0 else np.nan


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
    """Robust standard errors (scaled data, natural parameters, eta last) and the variance after the last observation."""
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
                x[j] = best_x[row]
                natural(x, j, theta)
                pack(returns, row, size[j], prep[row, 0], 1.0 / prep[row, 1], j, y)
        score_pass(y, size, height, back, own, theta, ahead, scores)
        for j in range(width):
            row = order[first + j]
            sigma2_next[row] = ahead[j]
            for i in range(6):
                inside = x[j, i] > _LOW[i] and x[j, i] < _HIGH[i]
                free[i] = 1 if inside and (i < 4 or (i == 4 and asymmetric) or (i == 5 and student)) else 0
            for i in range(OUT):
                flat[i, 0] = best_out[row, i]
            robust_errors(x[j], flat, scores, j, free, std_err[row])
