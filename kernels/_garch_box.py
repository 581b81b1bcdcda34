"""The coordinates of `garch`'s search, the quadratic step within their box, and standard errors in them.

x = (mu, omega, s, rho, k, eta) with alpha = s rho (1 - k), gamma = 2 s rho k, beta = (1 - s) rho and eta = 1/nu, so
that alpha >= 0, alpha + gamma >= 0, beta >= 0, alpha + gamma/2 + beta = rho <= 1 becomes a box. Data have zero mean and
unit variance. `curv` is minus the Hessian; `work`, `half` and `index` are room for the functions to write in.
"""

import math
from typing import Final

import numpy as np

from kernels._arrays import F64, I64
from kernels._count import COUNT
from kernels._jit import helper

MAX_RHO: Final = 1.0
LOW: Final = np.array([-1e3, 1e-8, 0.0, 0.0, -1.0, 1.0 / 500.0])
HIGH: Final = np.array([1e3, 10.0, 1.0, MAX_RHO, 1.0, 1.0 / 2.05])


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
def jacobian(s: float, rho: float, k: float, jac: F64) -> None:
    """Write d(mu, omega, alpha, gamma, beta, eta)/d(mu, omega, s, rho, k, eta)."""
    for a in range(6):
        for b in range(6):
            jac[a, b] = 0.0
    jac[0, 0] = 1.0
    jac[1, 1] = 1.0
    jac[5, 5] = 1.0
    jac[2, 2] = rho * (1.0 - k)
    jac[2, 3] = s * (1.0 - k)
    jac[2, 4] = -s * rho
    jac[3, 2] = 2.0 * rho * k
    jac[3, 3] = 2.0 * s * k
    jac[3, 4] = 2.0 * s * rho
    jac[4, 2] = -rho
    jac[4, 3] = 1.0 - s


@helper
def sandwich(jac: F64, out: F64, first: int, j: int, sign: float, curv: F64, work: F64, half: F64) -> None:
    """Write sign * J' M J into curv, M being the upper triangle in rows first.. of out[:, j]."""
    place = first
    for a in range(6):
        for b in range(a, 6):
            work[a, b] = sign * out[place, j]
            work[b, a] = work[a, b]
            place += 1
    for a in range(6):
        half[0, a] = work[0, a]
        half[1, a] = work[1, a]
        half[5, a] = work[5, a]
        for b in range(2, 5):
            half[b, a] = jac[2, b] * work[2, a] + jac[3, b] * work[3, a] + jac[4, b] * work[4, a]
    for a in range(6):
        curv[a, 0] = half[a, 0]
        curv[a, 1] = half[a, 1]
        curv[a, 5] = half[a, 5]
        for b in range(2, 5):
            curv[a, b] = jac[2, b] * half[a, 2] + jac[3, b] * half[a, 3] + jac[4, b] * half[a, 4]


@helper
def box_curvature(out: F64, j: int, x: F64, g: F64, jac: F64, curv: F64, work: F64, half: F64) -> None:
    """Write the gradient g and minus the Hessian curv in box coordinates from lane j of a pass's result."""
    s, rho, k = x[2], x[3], x[4]
    jacobian(s, rho, k, jac)
    sandwich(jac, out, 7, j, -1.0, curv, work, half)
    alpha, gamma, beta = out[3, j], out[4, j], out[5, j]
    g[0] = out[1, j]
    g[1] = out[2, j]
    g[5] = out[6, j]
    for b in range(2, 5):
        g[b] = jac[2, b] * alpha + jac[3, b] * gamma + jac[4, b] * beta
    cross = (1.0 - k) * alpha + 2.0 * k * gamma - beta
    tilt = 2.0 * gamma - alpha
    curv[2, 3] -= cross
    curv[3, 2] -= cross
    curv[2, 4] -= rho * tilt
    curv[4, 2] -= rho * tilt
    curv[3, 4] -= s * tilt
    curv[4, 3] -= s * tilt


@helper
def solve(curv: F64, b: F64, free: I64, raise_: float, d: F64, work: F64, index: I64) -> bool:
    """Solve (curv + raise_ |diag curv|) d = b on the free coordinates, the rest of d given; False if not definite."""
    m = 0
    for i in range(6):
        if free[i] == 1:
            index[m] = i
            m += 1
    for a in range(m):
        i = index[a]
        for c in range(a, m):
            work[a, c] = curv[i, index[c]]
        work[a, a] += raise_ * (abs(curv[i, i]) + 1e-8)
        work[a, 6] = b[i]
        for c in range(6):
            if d[c] != 0.0 and free[c] != 1:
                work[a, 6] -= curv[i, c] * d[c]
    for a in range(m):
        pivot = work[a, a]
        if not pivot > 1e-12 * (abs(curv[index[a], index[a]]) + 1e-8):
            return False
        inverse = 1.0 / pivot
        for r in range(a + 1, m):
            factor = work[a, r] * inverse
            for c in range(r, m):
                work[r, c] -= factor * work[a, c]
            work[r, 6] -= factor * work[a, 6]
        work[a, a] = inverse
    for a in range(m - 1, -1, -1):
        total = work[a, 6]
        for c in range(a + 1, m):
            total -= work[a, c] * d[index[c]]
        d[index[a]] = total * work[a, a]
    return True


@helper
def box_step(
    curv: F64, g: F64, x: F64, low: F64, high: F64, active: I64, raise_: float, free: I64, d: F64, work: F64, index: I64
) -> bool:
    """Maximise g d - d curv d / 2 in the box; `active`: the coordinates that the model has. False: not definite."""
    for i in range(6):
        d[i] = 0.0
        held = (x[i] <= low[i] and g[i] <= 0.0) or (x[i] >= high[i] and g[i] >= 0.0)
        free[i] = 1 if active[i] == 1 and not held else 0
    for _ in range(6):
        if not solve(curv, g, free, raise_, d, work, index):
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
def choose_step(
    curv: F64, g: F64, x: F64, active: I64, low: F64, high: F64, free: I64, d: F64, work: F64, index: I64
) -> tuple[float, bool]:
    """Find the next step d from x; returns the ascent g d that it promises and whether it is Newton's own."""
    for i in range(6):
        low[i] = LOW[i]
        high[i] = HIGH[i]
    # omega spans decades: a step that leaves its own is not to be believed
    low[1] = max(low[1], 0.1 * x[1])
    high[1] = min(high[1], 10.0 * x[1])
    raise_ = 0.0
    for attempt in range(9):
        if box_step(curv, g, x, low, high, active, raise_, free, d, work, index):
            ascent = 0.0
            for i in range(6):
                ascent += g[i] * d[i]
            if ascent >= 0.0:
                return ascent, attempt == 0
        raise_ = 1e-7 if attempt == 0 else 16.0 * raise_
    ascent = 0.0
    for i in range(6):
        step = g[i] / (abs(curv[i, i]) + 1e-8) if active[i] == 1 else 0.0
        d[i] = min(max(x[i] + step, low[i]), high[i]) - x[i]
        ascent += g[i] * d[i]
    return ascent, False


@helper
def robust_errors(x: F64, flat: F64, scores: F64, j: int, free: I64, std_err: F64) -> None:
    """Carry the sandwich of the free box coordinates over to the natural parameters; NaN where nothing is free."""
    jac = np.empty((6, 6))
    curv = np.empty((6, 6))
    meat = np.empty((6, 6))
    jacobian(x[2], x[3], x[4], jac)
    # with the gradient at zero the curvature of the coordinates does not matter
    work = np.empty((6, 7))
    half = np.empty((6, 6))
    index = np.empty(6, np.int64)
    sandwich(jac, flat, 7, COUNT, -1.0, curv, work, half)
    sandwich(jac, scores, 0, j, 1.0, meat, work, half)
    d = np.zeros(6)
    b = np.zeros(6)
    for i in range(6):
        std_err[i] = np.nan
        some = False
        for c in range(6):
            b[c] = jac[i, c] if free[c] == 1 else 0.0
            some = some or b[c] != 0.0
            d[c] = 0.0
        if some and solve(curv, b, free, 0.0, d, work, index):
            variance = 0.0
            for a in range(6):
                for c in range(6):
                    variance += d[a] * meat[a, c] * d[c]
            std_err[i] = math.sqrt(variance) if variance >= 0.0 else np.nan
