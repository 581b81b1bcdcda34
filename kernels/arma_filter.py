"""The exact ARMA likelihood and the final filtered state by the Chandrasekhar recursion, rows as lanes.

For a stationary start the Kalman filter's covariance changes by a matrix of rank one a step, so that its O(r^2)
recursion becomes O(r) (Morf, Sidhu & Kailath 1974, IEEE Trans. Autom. Control 19; Pearlman 1980, Biometrika 67). Unlike
the regression form of `arma_passes` it also holds for `ma` that is not invertible. Model and state in Harvey's form:
a_1 = w_t and r = 4 = max(p, q + 1) for p, q <= 3; the transition has `ar` in its first column and ones above the
diagonal, the noise enters by (1, ma).
"""

from typing import Final

import numpy as np

from kernels._arrays import F64, I64
from kernels._jit import helper, kernel
from kernels.arma_algebra import state_covariance, stationary
from kernels.elementary import log

_L: Final = 16
STATE: Final = 16
"""Columns of a filtered state: S, sum ln F, the state predicted for the next step (4), its covariance / sigma2 (10)."""

_AR: Final = 0
_MA: Final = 3 * _L
_A: Final = 6 * _L  # 4: predicted state
_K: Final = 10 * _L  # 4: gain times F
_V: Final = 14 * _L  # 4: the direction in which the covariance changes
_WEIGHT: Final = 18 * _L  # and by how much
_F: Final = 19 * _L
_SUM: Final = 20 * _L
_LOG: Final = 21 * _L
_PRODUCT: Final = 22 * _L
_P: Final = 23 * _L  # 10: covariance of the predicted state, upper triangle by rows
_W: Final = 33 * _L
_LIVE: Final = 34 * _L
_SIZE: Final = 35 * _L


@helper
def _start(m: F64) -> None:
    """Set the recursion up at the stationary distribution."""
    for j in range(_L):
        f1 = m[_AR + j]
        f2 = m[_AR + _L + j]
        f3 = m[_AR + 2 * _L + j]
        t1 = m[_MA + j]
        t2 = m[_MA + _L + j]
        t3 = m[_MA + 2 * _L + j]
        g1 = f1 + t1
        g2 = f2 + t2
        g3 = f3 + t3
        p11, p12, p13, p22, p23, p33 = state_covariance(
            f1, f2, f3, g1 * g1, g1 * g2, g1 * g3, g2 * g2, g2 * g3, g3 * g3
        )
        p11 = p11 + 1.0
        p12 = p12 + t1
        p13 = p13 + t2
        m[_P + j] = p11
        m[_P + _L + j] = p12
        m[_P + 2 * _L + j] = p13
        m[_P + 3 * _L + j] = t3
        m[_P + 4 * _L + j] = p22 + t1 * t1
        m[_P + 5 * _L + j] = p23 + t1 * t2
        m[_P + 6 * _L + j] = t1 * t3
        m[_P + 7 * _L + j] = p33 + t2 * t2
        m[_P + 8 * _L + j] = t2 * t3
        m[_P + 9 * _L + j] = t3 * t3
        m[_F + j] = p11
        m[_WEIGHT + j] = -1.0 / p11
        m[_K + j] = f1 * p11 + p12
        m[_K + _L + j] = f2 * p11 + p13
        m[_K + 2 * _L + j] = f3 * p11 + t3
        m[_K + 3 * _L + j] = 0.0
        for i in range(4):
            m[_V + i * _L + j] = m[_K + i * _L + j]
            m[_A + i * _L + j] = 0.0
        m[_SUM + j] = 0.0
        m[_LOG + j] = 0.0
        m[_PRODUCT + j] = 1.0


@helper
def _step(m: F64) -> None:
    """Take in one observation; lanes whose series has ended stand still."""
    for j in range(_L):
        live = m[_LIVE + j] > 0.0
        f1 = m[_AR + j]
        f2 = m[_AR + _L + j]
        f3 = m[_AR + 2 * _L + j]
        f = m[_F + j]
        over = 1.0 / f
        a1 = m[_A + j]
        e = m[_W + j] - a1
        k1 = m[_K + j]
        k2 = m[_K + _L + j]
        k3 = m[_K + 2 * _L + j]
        k4 = m[_K + 3 * _L + j]
        v1 = m[_V + j]
        v2 = m[_V + _L + j]
        v3 = m[_V + 2 * _L + j]
        v4 = m[_V + 3 * _L + j]
        weight = m[_WEIGHT + j]
        s1 = f1 * v1 + v2
        s2 = f2 * v1 + v3
        s3 = f3 * v1 + v4
        wz = weight * v1
        f_next = f + wz * v1
        c = v1 / f_next
        n1 = k1 + s1 * wz
        n2 = k2 + s2 * wz
        n3 = k3 + s3 * wz
        g = e * over
        a2 = m[_A + _L + j]
        a3 = m[_A + 2 * _L + j]
        a4 = m[_A + 3 * _L + j]
        m[_SUM + j] = m[_SUM + j] + e * g if live else m[_SUM + j]
        m[_PRODUCT + j] = m[_PRODUCT + j] * f if live else m[_PRODUCT + j]
        m[_A + j] = f1 * a1 + a2 + k1 * g if live else a1
        m[_A + _L + j] = f2 * a1 + a3 + k2 * g if live else a2
        m[_A + 2 * _L + j] = f3 * a1 + a4 + k3 * g if live else a3
        m[_A + 3 * _L + j] = k4 * g if live else a4
        m[_P + j] = m[_P + j] + weight * v1 * v1 if live else m[_P + j]
        m[_P + _L + j] = m[_P + _L + j] + weight * v1 * v2 if live else m[_P + _L + j]
        m[_P + 2 * _L + j] = m[_P + 2 * _L + j] + weight * v1 * v3 if live else m[_P + 2 * _L + j]
        m[_P + 3 * _L + j] = m[_P + 3 * _L + j] + weight * v1 * v4 if live else m[_P + 3 * _L + j]
        m[_P + 4 * _L + j] = m[_P + 4 * _L + j] + weight * v2 * v2 if live else m[_P + 4 * _L + j]
        m[_P + 5 * _L + j] = m[_P + 5 * _L + j] + weight * v2 * v3 if live else m[_P + 5 * _L + j]
        m[_P + 6 * _L + j] = m[_P + 6 * _L + j] + weight * v2 * v4 if live else m[_P + 6 * _L + j]
        m[_P + 7 * _L + j] = m[_P + 7 * _L + j] + weight * v3 * v3 if live else m[_P + 7 * _L + j]
        m[_P + 8 * _L + j] = m[_P + 8 * _L + j] + weight * v3 * v4 if live else m[_P + 8 * _L + j]
        m[_P + 9 * _L + j] = m[_P + 9 * _L + j] + weight * v4 * v4 if live else m[_P + 9 * _L + j]
        m[_K + j] = n1 if live else k1
        m[_K + _L + j] = n2 if live else k2
        m[_K + 2 * _L + j] = n3 if live else k3
        m[_V + j] = s1 - n1 * c if live else v1
        m[_V + _L + j] = s2 - n2 * c if live else v2
        m[_V + 2 * _L + j] = s3 - n3 * c if live else v3
        m[_V + 3 * _L + j] = -k4 * c if live else v4
        m[_WEIGHT + j] = weight * (1.0 + wz * v1 * over) if live else weight
        m[_F + j] = f_next if live else f


@kernel("void(float64[:,::1], int64[::1], float64[:,::1], float64[:,::1], float64[:,::1])")
def filter_series(levels: F64, lengths: I64, ar: F64, ma: F64, out: F64) -> None:
    """Filter the first differences of each row of `levels`; rows of `out` are described at `STATE`.

    A row whose `ar` is not stationary, or with fewer than two levels, becomes NaN.
    """
    count = levels.shape[0]
    m = np.zeros(_SIZE)
    for first in range(0, count, _L):
        last = min(first + _L, count)
        longest = 0
        for j in range(_L):
            row = min(first + j, last - 1)
            longest = max(longest, lengths[row])
            for i in range(3):
                m[_AR + i * _L + j] = ar[row, i]
                m[_MA + i * _L + j] = ma[row, i]
        _start(m)
        for t in range(1, longest):
            for j in range(_L):
                row = min(first + j, last - 1)
                m[_LIVE + j] = 1.0 if t < lengths[row] else 0.0
                m[_W + j] = levels[row, t] - levels[row, t - 1]
            _step(m)
            if t % 8 == 0 or t == longest - 1:  # F is at least 1 here and rarely far above: eight never overflow
                for j in range(_L):
                    m[_LOG + j] += log(m[_PRODUCT + j])
                    m[_PRODUCT + j] = 1.0
        for j in range(last - first):
            row = first + j
            usable = stationary(ar[row, 0], ar[row, 1], ar[row, 2]) and lengths[row] >= 2
            out[row, 0] = m[_SUM + j] if usable else np.nan
            out[row, 1] = m[_LOG + j] if usable else np.nan
            for i in range(4):
                out[row, 2 + i] = m[_A + i * _L + j] if usable else np.nan
            for i in range(10):
                out[row, 6 + i] = m[_P + i * _L + j] if usable else np.nan


@helper
def _unpack(state: F64, ma: F64, a: F64, p: F64, noise: F64) -> None:
    """Read state, covariance and noise loading of one row."""
    k = 6
    noise[0] = 1.0
    for i in range(4):
        a[i] = state[2 + i]
        if i < 3:
            noise[i + 1] = ma[i]
        for j in range(i, 4):
            p[i, j] = state[k]
            p[j, i] = state[k]
            k += 1


@helper
def _shift(ar: F64, v: F64) -> None:
    """Multiply a vector by the transition matrix, in place."""
    first = v[0]
    for i in range(3):
        v[i] = ar[i] * first + v[i + 1]
    v[3] = 0.0


@helper
def _advance(ar: F64, noise: F64, a: F64, p: F64, cross: F64, moved: F64) -> None:
    """Predict the state one step further, its covariance and its covariance with the level."""
    for i in range(4):
        cross[i] += p[i, 0]
    _shift(ar, cross)
    _shift(ar, a)
    for i in range(4):
        for j in range(4):
            moved[i, j] = p[i, j]
        _shift(ar, moved[i])
    for i in range(4):
        for j in range(4):
            below = moved[i + 1, j] if i < 3 else 0.0
            slope = ar[i] if i < 3 else 0.0
            p[i, j] = slope * moved[0, j] + below + noise[i] * noise[j]


@kernel("void(float64[::1], " + "float64[:,::1], " * 2 + "float64[::1], " + "float64[:,::1], " * 2 + "float64[:,::1])")
def project(last: F64, ar: F64, ma: F64, sigma2: F64, state: F64, mean: F64, variance: F64) -> None:
    """Carry each row's filtered state forward: mean and variance of the level 1, 2, ... steps ahead."""
    a = np.empty(4)
    p = np.empty((4, 4))
    moved = np.empty((4, 4))
    cross = np.empty(4)
    noise = np.empty(4)
    for row in range(last.shape[0]):
        _unpack(state[row], ma[row], a, p, noise)
        level = last[row]
        spread = 0.0
        for i in range(4):
            cross[i] = 0.0  # covariance of the level reached so far with the state
        for h in range(mean.shape[1]):
            level += a[0]
            spread += 2.0 * cross[0] + p[0, 0]
            mean[row, h] = level
            variance[row, h] = sigma2[row] * spread
            _advance(ar[row], noise, a, p, cross, moved)
