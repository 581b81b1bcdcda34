"""The least-squares fit of one slice: a small convex programme inside a search over (m, s).

With x = (k - m)/s and R = sqrt(x*x + 1) a slice is w = a + y1 (x + R)/2 + y2 (R - x)/2, where y1 = b s (1 + rho) and
y2 = b s (1 - rho) lie in a box. One slice at a time, in scalar code; only the starting grid of (m, s) runs in lanes.
The doors are in `kernels.smile`.
"""

import math
from typing import Final

import numpy as np

from kernels._arrays import F64
from kernels._count import COUNT
from kernels._jit import helper
from kernels.svi import copy, ssvi_raw, variance_at, weighted_square

LANES: Final = 48  # 42 grid points, padded to whole vectors
# The wings' slopes b(1 +- rho) stay below 2 (Lee 2004), by a margin that keeps g positive far out.
_SLOPE: Final = 1.998
_GRID_M: Final = 7
_GRID_S: Final = 6
_ROUNDS: Final = 80
_RHO_MAX: Final = 0.95


@helper
def _try_faces(mom: F64, up: float, a_free: bool, out: F64) -> float:
    """Least squares in (a, y1, y2) with y in a box and `a` free or 0: the best feasible face, and its cost.

    `mom` holds the weighted moments of the columns c0 = 1, c1 = (x + R)/2, c2 = (R - x)/2 and of the data.
    """
    m00, m01, m02, m11, m12, m22 = mom[0], mom[1], mom[2], mom[3], mom[4], mom[5]
    b0, b1, b2, tt = mom[6], mom[7], mom[8], mom[9]
    best = math.inf
    for face in range(9):
        f1 = face // 3
        f2 = face % 3
        y1 = up if f1 == 2 else 0.0
        y2 = up if f2 == 2 else 0.0
        p11, p12, p22, r1, r2 = m11, m12, m22, b1, b2
        if a_free:  # eliminate a
            p11 -= m01 * m01 / m00
            p12 -= m01 * m02 / m00
            p22 -= m02 * m02 / m00
            r1 -= m01 * b0 / m00
            r2 -= m02 * b0 / m00
        if f1 == 0 and f2 == 0:
            det = p11 * p22 - p12 * p12
            if not det > 1e-14 * p11 * p22:
                continue
            y1 = (p22 * r1 - p12 * r2) / det
            y2 = (p11 * r2 - p12 * r1) / det
        elif f1 == 0:
            if not p11 > 0.0:
                continue
            y1 = (r1 - p12 * y2) / p11
        elif f2 == 0:
            if not p22 > 0.0:
                continue
            y2 = (r2 - p12 * y1) / p22
        if y1 < 0.0 or y2 < 0.0 or y1 > up or y2 > up:
            continue
        a = (b0 - m01 * y1 - m02 * y2) / m00 if a_free else 0.0
        cost = tt - 2.0 * (a * b0 + y1 * b1 + y2 * b2) + a * a * m00 + y1 * y1 * m11 + y2 * y2 * m22
        cost += 2.0 * (a * y1 * m01 + a * y2 * m02 + y1 * y2 * m12)
        if cost < best:
            best = cost
            out[0], out[1], out[2], out[3], out[4] = a, y1, y2, f1, f2
            if face == 0:  # the unconstrained optimum is feasible: no face can be better
                break
    return best


@helper
def _inner(mom: F64, s: float, floor: float, out: F64) -> float:
    """Best (a, y1, y2) for one (m, s): a whole convex programme, no iterations. out: a, y1, y2, face, face, a is 0."""
    cost = math.inf
    for held in range(2):
        cost = _try_faces(mom, _SLOPE * s, held == 0, out)
        out[5] = held
        # a may be negative as long as the least total variance, a + sqrt(y1 y2), is not
        if math.isfinite(cost) and out[0] + math.sqrt(out[1] * out[2]) >= floor:
            break
    return cost


@helper
def _columns(
    s0: float, t0: float, tt: float, sx: float, sr: float, sxx: float, sxr: float, tx: float, tr: float, mom: F64
) -> None:
    """Turn moments of x and R = sqrt(x*x + 1) into those of the columns; sum of R*R is sum of x*x plus sum of 1."""
    srr = sxx + s0
    mom[0] = s0
    mom[1] = 0.5 * (sx + sr)
    mom[2] = 0.5 * (sr - sx)
    mom[3] = 0.25 * (sxx + 2.0 * sxr + srr)
    mom[4] = 0.25 * (srr - sxx)
    mom[5] = 0.25 * (srr - 2.0 * sxr + sxx)
    mom[6] = t0
    mom[7] = 0.5 * (tx + tr)
    mom[8] = 0.5 * (tr - tx)
    mom[9] = tt


@helper
def _moments(k: F64, w: F64, om: F64, n: int, m: float, s: float, mom: F64) -> None:
    s0 = t0 = tt = sx = sr = sxx = sxr = tx = tr = 0.0
    for i in range(n):
        x = (k[i] - m) / s
        r = math.sqrt(x * x + 1.0)
        o, ov = om[i], om[i] * w[i]
        s0 += o
        t0 += ov
        tt += ov * w[i]
        sx += o * x
        sr += o * r
        sxx += o * x * x
        sxr += o * x * r
        tx += ov * x
        tr += ov * r
    _columns(s0, t0, tt, sx, sr, sxx, sxr, tx, tr, mom)


@helper
def _grid_moments(k: F64, w: F64, om: F64, n: int, grid: F64, acc: F64) -> None:
    """Moments of every (m, 1/s) of the starting grid at once; the grid points are the lanes."""
    for p in range(6):
        for j in range(LANES):
            acc[p, j] = 0.0
    for i in range(n):
        ki, o, ov = k[i], om[i], om[i] * w[i]
        for j in range(LANES):
            x = (ki - grid[0, j]) * grid[1, j]
            r = math.sqrt(x * x + 1.0)
            acc[0, j] += o * x
            acc[1, j] += o * r
            acc[2, j] += o * x * x
            acc[3, j] += o * x * r
            acc[4, j] += ov * x
            acc[5, j] += ov * r


@helper
def _normal_equations(k: F64, w: F64, om: F64, n: int, m: float, s: float, sol: F64, mom: F64, gn: F64) -> float:
    """Gauss-Newton in (m, ln s) with (a, y1, y2) projected out (Kaufman 1975).

    gn: matrix (3), right side (2), then the diagonal (2) of the unprojected matrix; returns the exact cost.
    """
    a, y1, y2 = sol[0], sol[1], sol[2]
    half_sum, half_diff = 0.5 * (y1 + y2), 0.5 * (y1 - y2)
    up1 = y1 if sol[3] == 2.0 else 0.0  # the upper bounds move with s
    up2 = y2 if sol[4] == 2.0 else 0.0
    d = np.zeros((2, 3))
    c = np.zeros(3)
    cost = n00 = n01 = n11 = g0 = g1 = 0.0
    for i in range(n):
        o = om[i]
        x = (k[i] - m) / s
        r = math.sqrt(x * x + 1.0)
        c1, c2 = 0.5 * (x + r), 0.5 * (r - x)
        resid = w[i] - a - y1 * c1 - y2 * c2
        q = half_diff + half_sum * x / r
        dm = -q / s
        du = -q * x + up1 * c1 + up2 * c2
        cost += o * resid * resid
        n00 += o * dm * dm
        n01 += o * dm * du
        n11 += o * du * du
        g0 += o * dm * resid
        g1 += o * du * resid
        c[0] += o * resid
        c[1] += o * c1 * resid
        c[2] += o * c2 * resid
        d[0, 0] += o * dm
        d[0, 1] += o * dm * c1
        d[0, 2] += o * dm * c2
        d[1, 0] += o * du
        d[1, 1] += o * du * c1
        d[1, 2] += o * du * c2
    gn[5], gn[6] = n00, n11
    # eliminate the free columns one after the other (Cholesky without storage)
    gram = np.empty((3, 3))
    gram[0, 0], gram[0, 1], gram[0, 2] = mom[0], mom[1], mom[2]
    gram[1, 1], gram[1, 2], gram[2, 2] = mom[3], mom[4], mom[5]
    for p in range(3):
        free = sol[5] == 0.0 if p == 0 else sol[2 + p] == 0.0
        if not free or not gram[p, p] > 0.0:
            continue
        over = 1.0 / gram[p, p]
        n00 -= d[0, p] * d[0, p] * over
        n01 -= d[0, p] * d[1, p] * over
        n11 -= d[1, p] * d[1, p] * over
        g0 -= d[0, p] * c[p] * over
        g1 -= d[1, p] * c[p] * over
        for q in range(p + 1, 3):
            factor = gram[p, q] * over
            d[0, q] -= factor * d[0, p]
            d[1, q] -= factor * d[1, p]
            c[q] -= factor * c[p]
            for r_ in range(q, 3):
                gram[q, r_] -= factor * gram[p, r_]
    gn[0], gn[1], gn[2], gn[3], gn[4] = n00, n01, n11, g0, g1
    return cost


@helper
def _refine(
    k: F64, w: F64, om: F64, n: int, m: float, u: float, box: F64, sol: F64, trial: F64, mom: F64
) -> tuple[float, float, float]:
    """Levenberg-Marquardt in (m, ln s) from one start. Leaves the optimum in `sol`; returns cost, m, ln s."""
    gn = np.empty(7)
    _moments(k, w, om, n, m, math.exp(u), mom)
    _inner(mom, math.exp(u), box[4], sol)
    cost = _normal_equations(k, w, om, n, m, math.exp(u), sol, mom, gn)
    damping = 1e-3
    for _ in range(_ROUNDS):
        p00 = gn[0] + damping * gn[0] + 1e-14 * gn[5]
        p11 = gn[2] + damping * gn[2] + 1e-14 * gn[6]
        det = p00 * p11 - gn[1] * gn[1]
        step_m = (p11 * gn[3] - gn[1] * gn[4]) / det
        step_u = (p00 * gn[4] - gn[1] * gn[3]) / det
        # a coordinate at its bound that wants out is held there
        if (m <= box[0] and gn[3] < 0.0) or (m >= box[1] and gn[3] > 0.0):
            step_m, step_u = 0.0, gn[4] / p11
        elif (u <= box[2] and gn[4] < 0.0) or (u >= box[3] and gn[4] > 0.0):
            step_m, step_u = gn[3] / p00, 0.0
        if not (math.isfinite(step_m) and math.isfinite(step_u)):
            break
        new_m = min(max(m + step_m, box[0]), box[1])
        new_u = min(max(u + min(max(step_u, -1.5), 1.5), box[2]), box[3])
        new_s = math.exp(new_u)
        _moments(k, w, om, n, new_m, new_s, mom)
        new_cost = math.inf
        if math.isfinite(_inner(mom, new_s, box[4], trial)):
            new_gn = np.empty(7)
            new_cost = _normal_equations(k, w, om, n, new_m, new_s, trial, mom, new_gn)
        if new_cost < cost:
            small = cost - new_cost <= 1e-13 * cost and damping < 1.0
            cost, m, u = new_cost, new_m, new_u
            copy(trial, sol)
            copy(new_gn, gn)
            damping = max(0.1 * damping, 1e-9)
            if small:
                break
        else:
            damping *= 8.0
            if damping > 1e8:
                break
    return cost, m, u


@helper
def _make_grid(k_min: float, width: float, grid: F64) -> None:
    for j in range(LANES):
        cell = min(j, _GRID_M * _GRID_S - 1)
        grid[0, j] = k_min - 0.25 * width + 1.5 * width * (cell // _GRID_S) / (_GRID_M - 1)
        grid[1, j] = 1.0 / (0.02 * width * 2.6 ** (cell % _GRID_S))


@helper
def _second_start(costs: F64, first: int) -> int:
    """Find the best grid point that is not a neighbour of the best one, or -1."""
    found = -1
    for j in range(_GRID_M * _GRID_S):
        near = abs(j // _GRID_S - first // _GRID_S) <= 1 and abs(j % _GRID_S - first % _GRID_S) <= 1
        if not near and math.isfinite(costs[j]) and (found < 0 or costs[j] < costs[found]):
            found = j
    return found


@helper
def fit_one(k: F64, w: F64, om: F64, n: int, work: F64, out: F64) -> bool:
    """Fit one slice. out: a, b, rho, m, s, cost. Returns whether a parameter is at a bound."""
    k_min, k_max, total, weight = k[0], k[0], 0.0, 0.0
    for i in range(n):
        k_min, k_max = min(k_min, k[i]), max(k_max, k[i])
        total += om[i] * w[i]
        weight += om[i]
    width = k_max - k_min
    box = np.empty(5)
    box[0], box[1] = k_min - width, k_max + width
    box[2], box[3] = math.log(min(1e-3, 0.01 * width)), math.log(5.0 * width + 1.0)
    box[4] = 1e-6 * total / weight
    grid, acc = work[:2], work[2:8]
    mom, sol, trial, best, costs = np.empty(10), np.empty(6), np.empty(6), np.empty(6), np.empty(LANES)
    _make_grid(k_min, width, grid)
    _grid_moments(k, w, om, n, grid, acc)
    square = 0.0
    for i in range(n):
        square += om[i] * w[i] * w[i]
    first = COUNT
    for j in range(_GRID_M * _GRID_S):
        _columns(weight, total, square, acc[0, j], acc[1, j], acc[2, j], acc[3, j], acc[4, j], acc[5, j], mom)
        costs[j] = _inner(mom, 1.0 / grid[1, j], box[4], sol)
        if costs[j] < costs[first]:
            first = j
    cost, m, u, start = math.inf, 0.0, 0.0, first
    for _ in range(2):
        if start < 0:
            break
        other, m2, u2 = _refine(k, w, om, n, grid[0, start], -math.log(grid[1, start]), box, sol, trial, mom)
        if other < cost:
            cost, m, u = other, m2, u2
            copy(sol, best)
        start = _second_start(costs, first)
    s = math.exp(u)
    y = best[1] + best[2]
    out[0], out[1], out[3], out[4], out[5] = best[0], 0.5 * y / s, m, s, cost
    out[2] = (best[1] - best[2]) / y if y > 0.0 else 0.0
    on_face = best[3] != 0.0 or best[4] != 0.0 or best[5] != 0.0
    return on_face or m <= box[0] or m >= box[1] or u <= box[2] or u >= box[3]


@helper
def _level_skew_equations(
    k: F64, w: F64, om: F64, n: int, z: float, rho: float, eta: float, raw: F64
) -> tuple[float, float, float, float, float]:
    """Gauss-Newton matrix and right side in (ln theta, rho), by central differences; `raw` is the slice itself."""
    step = 1e-6
    near = np.empty((4, 5))
    for side in range(4):
        sign = step if side % 2 == 0 else -step
        ssvi_raw(math.exp(z + (sign if side < 2 else 0.0)), rho + (0.0 if side < 2 else sign), eta, near[side])
    slope = np.empty(4)
    n00 = n01 = n11 = g0 = g1 = 0.0
    for i in range(n):
        for side in range(4):
            p = near[side]
            slope[side] = variance_at(p[0], p[1], p[2], p[3], p[4], k[i])
        dz, dr = (slope[0] - slope[1]) / (2.0 * step), (slope[2] - slope[3]) / (2.0 * step)
        miss = w[i] - variance_at(raw[0], raw[1], raw[2], raw[3], raw[4], k[i])
        n00 += om[i] * dz * dz
        n01 += om[i] * dz * dr
        n11 += om[i] * dr * dr
        g0 += om[i] * dz * miss
        g1 += om[i] * dr * miss
    return n00, n01, n11, g0, g1


@helper
def level_skew(k: F64, w: F64, om: F64, n: int, eta: float, out: F64) -> bool:
    """Fit theta and rho of an SSVI slice by Gauss-Newton with halved steps. Returns whether rho is at a bound."""
    total = weight = 0.0
    for i in range(n):
        total += om[i] * w[i]
        weight += om[i]
    z, rho = math.log(total / weight), 0.0  # z = ln theta
    raw = np.empty(5)
    ssvi_raw(math.exp(z), rho, eta, raw)
    cost = weighted_square(raw, k, w, om, n)
    for _ in range(60):
        n00, n01, n11, g0, g1 = _level_skew_equations(k, w, om, n, z, rho, eta, raw)
        det = n00 * n11 - n01 * n01
        step_z, step_r = (n11 * g0 - n01 * g1) / det, (n00 * g1 - n01 * g0) / det
        if (rho >= _RHO_MAX and g1 > 0.0) or (rho <= -_RHO_MAX and g1 < 0.0) or not det > 0.0:
            step_z, step_r = g0 / n00, 0.0
        share, moved = 1.0, False
        for _ in range(30):
            new_z = z + share * min(max(step_z, -1.0), 1.0)
            new_r = min(max(rho + share * step_r, -_RHO_MAX), _RHO_MAX)
            ssvi_raw(math.exp(new_z), new_r, eta, raw)
            new_cost = weighted_square(raw, k, w, om, n)
            if new_cost < cost:
                z, rho, cost, moved = new_z, new_r, new_cost, True
                break
            share *= 0.5
        if not moved:
            break
    ssvi_raw(math.exp(z), rho, eta, raw)
    copy(raw, out)
    out[5] = cost
    return abs(rho) >= _RHO_MAX
