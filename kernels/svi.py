"""One SVI slice: its variance, slopes, density factor g, jump-wings, and how it is rid of butterfly arbitrage.

`raw` is an array of a, b, rho, m, s. Everything here is for use inside kernels; the doors are in `kernels.smile`.
"""

import math
from typing import Final

import numpy as np

from kernels._arrays import F64
from kernels._jit import helper, scalar

_REPAIRED_G: Final = 1e-6
_G_POINTS: Final = 201


@scalar
def variance_at(a: float, b: float, rho: float, m: float, s: float, k: float) -> float:
    """Total variance of one slice at one log-moneyness."""
    x = k - m
    return a + b * (rho * x + math.sqrt(x * x + s * s))


@scalar
def slope_at(b: float, rho: float, m: float, s: float, k: float) -> float:
    """First derivative of the total variance in log-moneyness."""
    x = k - m
    return b * (rho + x / math.sqrt(x * x + s * s))


@scalar
def g_at(a: float, b: float, rho: float, m: float, s: float, k: float) -> float:
    """Durrleman's g: the density of ln(S/F) is g times a positive number (Gatheral & Jacquier 2014, eq. 2.1)."""
    x = k - m
    root = math.sqrt(x * x + s * s)
    inverse = 1.0 / root
    w = a + b * (rho * x + root)
    first = b * (rho + x * inverse)
    second = b * s * s * inverse * inverse * inverse
    over = 1.0 / w
    left = 1.0 - 0.5 * k * first * over
    return left * left - 0.25 * first * first * (over + 0.25) + 0.5 * second


@helper
def copy(source: F64, target: F64) -> None:
    """Copy a short vector to the front of another: a slice assignment takes seconds to compile."""
    for i in range(source.size):
        target[i] = source[i]


@helper
def least_g(a: float, b: float, rho: float, m: float, s: float, low: float, high: float) -> float:
    """Least g on [low, high]: a grid, then golden sections around its least point."""
    step = (high - low) / (_G_POINTS - 1)
    least, where = math.inf, 0
    for i in range(_G_POINTS):
        value = g_at(a, b, rho, m, s, low + step * i)
        if not value >= least:  # NaN (a total variance of 0) is the worst
            least, where = value, i
    left, right = low + step * max(where - 1, 0), low + step * min(where + 1, _G_POINTS - 1)
    for _ in range(24):
        third = 0.381966011250105 * (right - left)
        if g_at(a, b, rho, m, s, left + third) < g_at(a, b, rho, m, s, right - third):
            right -= third
        else:
            left += third
    return min(least, g_at(a, b, rho, m, s, 0.5 * (left + right)))


@helper
def _to_wings(raw: F64, wings: F64) -> None:
    """Raw to jump-wings of total variance: w(0), psi, p, c, least w (Gatheral & Jacquier 2014, eq. 3.5, tau = 1)."""
    a, b, rho, m, s = raw[0], raw[1], raw[2], raw[3], raw[4]
    root = math.sqrt(m * m + s * s)
    w0 = a + b * (root - rho * m)
    scale = b / math.sqrt(w0)
    wings[0] = w0
    wings[1] = 0.5 * scale * (rho - m / root)
    wings[2] = scale * (1.0 - rho)
    wings[3] = scale * (1.0 + rho)
    wings[4] = a + b * s * math.sqrt(max(1.0 - rho * rho, 0.0))


@helper
def _to_raw(wings: F64, raw: F64) -> None:
    """Jump-wings to raw (their Lemma 3.2, in H = sqrt(m*m + s*s), which has no special case at m = 0)."""
    w0, psi, p, c, least = wings[0], wings[1], wings[2], wings[3], wings[4]
    b = 0.5 * math.sqrt(w0) * (c + p)
    rho = (c - p) / (c + p)
    beta = rho - 2.0 * psi * math.sqrt(w0) / b
    across = math.sqrt(max(1.0 - rho * rho, 0.0))
    s_share = math.sqrt(max(1.0 - beta * beta, 0.0))
    root = (w0 - least) / (b * (1.0 - rho * beta - across * s_share))
    raw[1], raw[2], raw[3], raw[4] = b, rho, beta * root, root * s_share
    raw[0] = least - b * raw[4] * across


@helper
def _safe_wings(wings: F64, safe: F64) -> bool:
    """Find the SSVI slice of the same level and skew: c = p + 2 psi, least w = 4 w0 p c/(p + c)**2.

    That alone is free of butterfly arbitrage only where sqrt(w0) max(p, c) < 2 and (p + c) max(p, c) <= 2
    (Gatheral & Jacquier 2014, section 5.1 with Theorem 4.2), so the wings are moved as far as these need.
    """
    psi = min(max(wings[1], -0.6), 0.6)
    size = abs(psi)
    root = math.sqrt(wings[0])
    # q = p + psi = (p + c)/2: q (q + |psi|) <= 1 and root (q + |psi|) <= 1.99
    most = min(0.5 * (math.sqrt(psi * psi + 4.0) - size), 1.99 / root - size)
    q = min(max(wings[2] + psi, 1.02 * size + 1e-3), most)
    safe[0], safe[1], safe[2], safe[3] = wings[0], psi, q - psi, q + psi
    safe[4] = wings[0] * (1.0 - psi * psi / (q * q))
    return q > size


@helper
def _raw_of_safe(safe: F64, raw: F64) -> None:
    """Raw parameters of an SSVI slice, in closed form: the general formula is 0/0 where psi is 0."""
    q = 0.5 * (safe[2] + safe[3])
    rho = safe[1] / q
    b = math.sqrt(safe[0]) * q
    root = 0.5 * safe[0] / b
    across = 1.0 - rho * rho
    raw[0], raw[1], raw[2] = 0.5 * safe[0] * across, b, rho
    raw[3], raw[4] = -rho * root, root * math.sqrt(across)


@helper
def repair_one(raw: F64, low: float, high: float) -> float:
    """Move a slice towards its arbitrage-free relative, no further than needed. Returns the least g or NaN."""
    wings, safe, blend, trial = np.empty(5), np.empty(5), np.empty(5), np.empty(5)
    _to_wings(raw, wings)
    if not (raw[1] > 0.0 and wings[0] > 0.0) or not _safe_wings(wings, safe):
        return math.nan
    best = np.empty(5)
    _raw_of_safe(safe, best)
    best_g = least_g(best[0], best[1], best[2], best[3], best[4], low, high)
    if not best_g >= 0.0:
        return math.nan
    share_low, share_high = 0.0, 1.0
    for _ in range(30):
        share = 0.5 * (share_low + share_high)
        for j in range(5):
            blend[j] = safe[j] + share * (wings[j] - safe[j])
        _to_raw(blend, trial)
        g = math.nan
        lee = trial[1] * (1.0 + abs(trial[2])) < 2.0
        if lee and trial[4] > 0.0 and math.isfinite(trial[3]) and trial[0] + trial[1] * trial[4] > 0.0:
            g = least_g(trial[0], trial[1], trial[2], trial[3], trial[4], low, high)
        if g >= _REPAIRED_G:
            share_low, best_g = share, g
            copy(trial, best)
        else:
            share_high = share
    copy(best, raw)
    return best_g


@helper
def weighted_square(raw: F64, k: F64, w: F64, om: F64, n: int) -> float:
    """Sum the weighted squared residuals of a slice."""
    total = 0.0
    for i in range(n):
        miss = w[i] - variance_at(raw[0], raw[1], raw[2], raw[3], raw[4], k[i])
        total += om[i] * miss * miss
    return total


@helper
def ssvi_raw(theta: float, rho: float, eta: float, raw: F64) -> None:
    """Raw parameters of the SSVI slice with phi = eta theta**-0.4 (1 + theta)**-0.6 (Gatheral & Jacquier, eq. 4.5)."""
    phi = eta * theta**-0.4 * (1.0 + theta) ** -0.6
    across = 1.0 - rho * rho
    raw[0], raw[1], raw[2] = 0.5 * theta * across, 0.5 * theta * phi, rho
    raw[3], raw[4] = -rho / phi, math.sqrt(across) / phi
