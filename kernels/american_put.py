"""American puts, for blocks of options as lanes: the European value and what early exercise adds to it.

Rule of this file: as in `kernels.american_boundary`, everything is in units of the strike and of the expiry. The
premium, its slope and its curvature are integrals along the boundary (Kim 1990, Review of Financial Studies 3), and
cost no further boundary, since the boundary does not depend on the spot. Here the arithmetic is exact.
"""

import math
from typing import Final

from kernels._arrays import F64
from kernels._jit import helper, scalar
from kernels.american_boundary import LANES, at_point, square, start_boundary, sweep
from kernels.elementary import erfcx, exp, log

WORK: Final = 14
"""Rows of lanes that `solve` needs to work in."""
OUT: Final = 6
"""Rows of lanes that `solve` fills."""

_SQRT_HALF = 0.70710678118654752440
_SQRT_HALF_PI = 1.2533141373155002512
_INV_SQRT_2PI = 0.39894228040143267794


@scalar
def mills(d: float) -> float:
    """Phi(-|d|) / phi(d), the Mills ratio."""
    return _SQRT_HALF_PI * erfcx(abs(d) * _SQRT_HALF)


@helper
def premium(
    r: F64, q: F64, s: F64, lx: F64, x: F64, y: F64, root: F64, weight: F64, interpolate: F64, squared: F64, work: F64,
    value: F64, delta: F64, gamma: F64,
) -> None:  # fmt: skip
    """Early-exercise premium per unit of strike, and its slope and curvature in the spot."""
    h, inv_s, mu = work[0], work[1], work[2]
    for j in range(LANES):
        inv_s[j] = 1.0 / s[j]
        mu[j] = (r[j] - q[j]) * inv_s[j] + 0.5 * s[j]
        value[j] = 0.0
        delta[j] = 0.0
        gamma[j] = 0.0
    for k in range(weight.size):
        at_point(interpolate[k], squared, h)
        z = root[k]
        inv_z = 1.0 / z
        t = z * z
        wk = weight[k]
        for j in range(LANES):
            lr = x[j] - lx[j] + math.sqrt(max(h[j], 0.0))  # ln S/B
            isv = inv_s[j] * inv_z
            dp = lr * isv + mu[j] * z
            dm = dp - s[j] * z
            a = -0.5 * dp * dp - q[j] * t
            dq = exp(-q[j] * t)
            dr = exp(-r[j] * t)
            e = _INV_SQRT_2PI * exp(a)
            em = _INV_SQRT_2PI * exp(a + lr)  # e^{-rt} phi(dm)
            tp = e * mills(dp)
            tm = em * mills(dm)
            P = q[j] * (dq - tp if dp < 0.0 else tp)
            M = r[j] * (dr - tm if dm < 0.0 else tm)
            e *= q[j] * isv
            em *= r[j] * isv / y[j]
            value[j] += wk * (M - y[j] * P)
            delta[j] += wk * (e - em - P)
            gamma[j] += wk * (em * (1.0 + dm * isv) + e * (1.0 - dp * isv)) / y[j]


@helper
def european(r: F64, q: F64, s: F64, x: F64, y: F64, value: F64, delta: F64, gamma: F64) -> None:
    """European put per unit of strike, with delta and gamma."""
    for j in range(LANES):
        inv_s = 1.0 / s[j]
        dp = (x[j] + r[j] - q[j]) * inv_s + 0.5 * s[j]
        dm = dp - s[j]
        dq = exp(-q[j])
        dr = exp(-r[j])
        e = _INV_SQRT_2PI * exp(-0.5 * dp * dp - q[j])
        em = _INV_SQRT_2PI * exp(-0.5 * dm * dm - r[j])
        tp = e * mills(dp)
        tm = em * mills(dm)
        P = dq - tp if dp < 0.0 else tp
        value[j] = (dr - tm if dm < 0.0 else tm) - y[j] * P
        delta[j] = -P
        gamma[j] = e * inv_s / y[j]


@helper
def settle(r: F64, q: F64, s: F64, x: F64, work: F64, out: F64) -> None:
    """Price one block of puts that are never exercised early; as `solve`."""
    y = work[0]
    for j in range(LANES):
        y[j] = exp(x[j])
        out[3, j] = 0.0
        out[4, j] = 0.0
        out[5, j] = 0.0
    european(r, q, s, x, y, out[0], out[1], out[2])


@helper
def solve(
    r: F64, q: F64, s: F64, x: F64, node: F64, sweeps: int, root: F64, weight: F64, interpolate: F64,
    premium_root: F64, premium_weight: F64, premium_interpolate: F64, g: F64, squared: F64, work: F64, out: F64,
    known: bool = False,
) -> None:  # fmt: skip
    """Price one block of puts per unit of strike, where early exercise can pay (r > 0, or r = 0 > q).

    `out` (OUT, LANES) becomes value, delta, gamma (per unit of S/K), 1.0 where exercise is due at once, and the premium
    with its slope: these two as the integrals give them, smooth across the boundary. `g` and `squared` are
    (n + 1, LANES), `work` (WORK, LANES). With `known`, `g` and `squared` hold the boundary: that of a block
    with the same r, q and s.
    """
    lx, y, pv, pd, pg = work[5], work[6], work[7], work[8], work[9]
    value, delta, gamma, exercised = out[0], out[1], out[2], out[3]
    for j in range(LANES):
        pays = q[j] > 0.0
        ratio = r[j] / (q[j] if pays else 1.0)
        lx[j] = log(ratio) if pays & (ratio < 1.0) else 0.0
        y[j] = exp(x[j])
    if not known:
        start_boundary(r, q, s, lx, node, g, work)
        for _ in range(sweeps):
            sweep(r, q, s, lx, node, root, weight, interpolate, g, squared, work)
        square(g, squared)
    premium(r, q, s, lx, x, y, premium_root, premium_weight, premium_interpolate, squared, work, pv, pd, pg)
    european(r, q, s, x, y, value, delta, gamma)
    last = g[node.size - 1]
    for j in range(LANES):
        now = x[j] <= lx[j] - last[j]
        out[4, j] = pv[j]
        out[5, j] = pd[j]
        v = max(value[j] + max(pv[j], 0.0), 1.0 - y[j])
        value[j] = 1.0 - y[j] if now else v
        delta[j] = -1.0 if now else delta[j] + pd[j]
        gamma[j] = 0.0 if now else gamma[j] + pg[j]
        exercised[j] = 1.0 if now else 0.0
