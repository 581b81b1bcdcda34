"""Natural cubic splines through kernels: a weighted smoothing fit, and values with two derivatives.

A row is its knots, ascending, padded with NaN, and at each the value and the second derivative. Outside of its knots a
spline is 0: here it is what a smile departs from a parametric slice by, near the quotes and nowhere else.
"""

import math
from typing import Final

from kernels._arrays import F64
from kernels._jit import helper, kernel

WORK: Final = 8
"""Rows of scratch space that `smooth` needs."""


@helper
def smooth(x: F64, y: F64, weight: F64, n: int, stiffness: float, work: F64, value: F64, curve: F64) -> None:
    """Minimise sum(weight (y - f)**2) + stiffness integral(f''**2) over all functions, n >= 3 knots.

    Reinsch's algorithm (Green & Silverman 1994, Nonparametric Regression and Generalized Linear Models, 2.3.3): with
    Q the second differences and R the Gram matrix of hats, (R + stiffness Q' W**-1 Q) curve = Q' y, five bands.
    """
    d, e, f, rhs = work[0], work[1], work[2], work[3]  # three bands of the symmetric matrix, then of its factor
    p, q, r = work[4], work[5], work[6]  # the three entries of each column of Q
    m = n - 2
    for j in range(m):
        left, right = 1.0 / (x[j + 1] - x[j]), 1.0 / (x[j + 2] - x[j + 1])
        p[j], q[j], r[j] = left, -left - right, right
        rhs[j] = left * y[j] - (left + right) * y[j + 1] + right * y[j + 2]
    for j in range(m):
        d[j] = (x[j + 2] - x[j]) / 3.0 + stiffness * (
            p[j] * p[j] / weight[j] + q[j] * q[j] / weight[j + 1] + r[j] * r[j] / weight[j + 2]
        )
        e[j] = f[j] = 0.0
        if j + 1 < m:
            e[j] = (x[j + 2] - x[j + 1]) / 6.0 + stiffness * (
                q[j] * p[j + 1] / weight[j + 1] + r[j] * q[j + 1] / weight[j + 2]
            )
        if j + 2 < m:
            f[j] = stiffness * r[j] * p[j + 2] / weight[j + 2]
    # L D L' in place, with the right-hand side
    for j in range(m):
        if j >= 1:
            d[j] -= d[j - 1] * e[j - 1] * e[j - 1]
            rhs[j] -= e[j - 1] * rhs[j - 1]
        if j >= 2:
            d[j] -= d[j - 2] * f[j - 2] * f[j - 2]
            rhs[j] -= f[j - 2] * rhs[j - 2]
        if j >= 1:
            e[j] -= d[j - 1] * e[j - 1] * f[j - 1]
        e[j] /= d[j]
        f[j] /= d[j]
    curve[0] = curve[n - 1] = 0.0
    for j in range(m - 1, -1, -1):
        rhs[j] /= d[j]
        if j + 1 < m:
            rhs[j] -= e[j] * rhs[j + 1]
        if j + 2 < m:
            rhs[j] -= f[j] * rhs[j + 2]
        curve[j + 1] = rhs[j]
    for i in range(n):
        bend = 0.0
        if i < m:
            bend += p[i] * rhs[i]
        if 1 <= i <= m:
            bend += q[i - 1] * rhs[i - 1]
        if i >= 2:
            bend += r[i - 2] * rhs[i - 2]
        value[i] = y[i] - stiffness * bend / weight[i]


@helper
def count(knot: F64) -> int:
    """Count the knots of a row."""
    n = 0
    while n < knot.size and not math.isnan(knot[n]):
        n += 1
    return n


@helper
def at(knot: F64, value: F64, curve: F64, n: int, x: float) -> tuple[float, float, float]:
    """Value, first and second derivative at a point; zeros outside of the knots."""
    if n < 2 or not (knot[0] <= x <= knot[n - 1]):
        return 0.0, 0.0, 0.0
    low, high = 0, n - 1
    while high - low > 1:
        middle = (low + high) // 2
        if knot[middle] <= x:
            low = middle
        else:
            high = middle
    h = knot[high] - knot[low]
    a, b = (knot[high] - x) / h, (x - knot[low]) / h
    first, second = curve[low], curve[high]
    square = h * h / 6.0
    return (
        a * value[low] + b * value[high] + square * ((a * a * a - a) * first + (b * b * b - b) * second),
        (value[high] - value[low]) / h + h / 6.0 * ((3.0 * b * b - 1.0) * second - (3.0 * a * a - 1.0) * first),
        a * first + b * second,
    )


@kernel(
    "void(float64[:, ::1], float64[:, ::1], float64[:, ::1], float64[:, ::1], float64[:, :, ::1])", fast=frozenset()
)
def add(knot: F64, value: F64, curve: F64, k: F64, out: F64) -> None:
    """Add each row's spline and its derivatives to out[0], out[1] and out[2] at points (n, m)."""
    for row in range(k.shape[0]):
        n = count(knot[row])
        if n == 0:
            continue
        for j in range(k.shape[1]):
            v, first, second = at(knot[row], value[row], curve[row], n, k[row, j])
            out[0, row, j] += v
            out[1, row, j] += first
            out[2, row, j] += second
