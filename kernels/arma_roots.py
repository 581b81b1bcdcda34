"""Roots of the AR and MA polynomials, and whether a fit is one to trust when orders compete."""

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from kernels._arrays import F64, Bool
from kernels._jit import helper, kernel
from kernels.arma_algebra import stationary

C128: TypeAlias = npt.NDArray[np.complex128]

SMALLEST_ROOT: Final = 1.01
"""The rule of the R package forecast (auto.arima): a root this near the unit circle disqualifies a candidate."""
NEAR: Final = 0.05
"""An AR and an MA root closer than this cancel: the model is a lower order in disguise."""


@helper
def _roots(c1: float, c2: float, c3: float, out: C128) -> int:
    """Find the roots of 1 - c1 z - c2 z**2 - c3 z**3 by Weierstrass' iteration on the reversed, monic polynomial."""
    degree = 3 if c3 != 0.0 else (2 if c2 != 0.0 else (1 if c1 != 0.0 else 0))
    # Inverse roots x of x**3 - c1 x**2 - c2 x - c3; with degree < 3 the superfluous ones are exactly 0: left out.
    for i in range(degree):
        out[i] = (0.4 + 0.9j) ** (i + 1)
    for _ in range(200):
        moved = 0.0
        for i in range(degree):
            x = out[i]
            value = x - c1
            if degree > 1:
                value = value * x - c2
            if degree > 2:
                value = value * x - c3
            for k in range(degree):
                if k != i:
                    value = value / (x - out[k])
            out[i] = x - value
            moved = max(moved, abs(value))
        if moved < 1e-14:
            break
    for i in range(degree):
        out[i] = 1.0 / out[i]
    return degree


@kernel("void(float64[:,::1], float64[:,::1], boolean[::1])")
def _admissible(ar: F64, ma: F64, out: Bool) -> None:
    ar_roots = np.empty(3, np.complex128)
    ma_roots = np.empty(3, np.complex128)
    s = SMALLEST_ROOT
    for row in range(ar.shape[0]):
        good = stationary(ar[row, 0] * s, ar[row, 1] * s * s, ar[row, 2] * s * s * s)
        good = good and stationary(-ma[row, 0] * s, -ma[row, 1] * s * s, -ma[row, 2] * s * s * s)
        if good:
            p = _roots(ar[row, 0], ar[row, 1], ar[row, 2], ar_roots)
            q = _roots(-ma[row, 0], -ma[row, 1], -ma[row, 2], ma_roots)
            for i in range(p):
                for k in range(q):
                    good = good and abs(ar_roots[i] - ma_roots[k]) >= NEAR
        out[row] = good


def admissible(ar: F64, ma: F64) -> Bool:
    """Tell which rows have all roots at least `SMALLEST_ROOT` from 0 and no AR root within `NEAR` of an MA root."""
    out = np.empty(len(ar), np.bool_)
    _admissible(ar, ma, out)
    return out
