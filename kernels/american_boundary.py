"""The exercise boundary of American puts, and what it is worth: blocks of options as lanes.

Rule of this file: everything is in units of the strike and of the expiry. A lane is (x, r, q, s) = (ln(S/K),
rate tau, dividend tau, sigma sqrt(tau)), and time runs from 0 to 1. So prices scale with the money and with the clock,
and what depends on the nodes only (interpolation, reciprocals of square roots of time) is a constant of the scheme.

Method: Andersen, Lake & Offengenden (2016), "High-performance American option pricing", J. Computational Finance 20(1).
The boundary B(t), t = time to expiry, is stored as G(xi) = -ln(B/X) at Chebyshev nodes xi = sqrt(t), where X =
K min(1, r/q) is its limit at expiry; G squared is smooth and is what is interpolated. The start is QD+ (Li 2010,
"Analytical approximations of the critical stock prices for American options: a performance comparison", Review of
Derivatives Research 13). Then fixed-point sweeps (system A) over all nodes from the old values, with a Newton
correction in every sweep: with it in the first sweep only, as in the paper, an imperfect start is amplified by up to
a dollar per $100 in the plain sweeps. The correction's slope has, besides the paper's part, half of the node's own (see
`_OWN`): the paper's alone is the response to a shift of the whole boundary, and at low volatility the nodes do not move
together.

The early-exercise premium, its slope and its curvature are integrals along B (Kim 1990, Review of Financial Studies 3),
and cost no further boundary, since B does not depend on the spot.
"""

import math
from typing import Final, NamedTuple

import numpy as np

from kernels._arrays import F64
from kernels._jit import helper, scalar
from kernels.elementary import erfcx_poly, exp, log

LANES: Final = 64
"""Options in a block. Every block is full, so that each row meets the same vector code wherever it stands."""

WORK: Final = 14
"""Rows of lanes that `solve` needs to work in."""
OUT: Final = 6
"""Rows of lanes that `solve` fills."""
HALLEY: Final = 4
"""Steps of the start, at every node."""

# How much of a node's own slope enters its Newton correction, where it is negative. Without it (0) the late nodes
# alternate and diverge when rate sqrt(tau)/sigma passes about 1.5 (errors to 8 cents per $100 at sigma < 8 %); with
# all of it (1) two sweeps leave 3 times the error at sigma 3 to 10 %; where it is positive, it ruins the ordinary case.
_OWN = 0.5

_SQRT_HALF = 0.70710678118654752440
_SQRT_HALF_PI = 1.2533141373155002512
_INV_SQRT_2PI = 0.39894228040143267794


class Scheme(NamedTuple):
    """The option-independent numbers of an (l, m, n, p) scheme.

    l quadrature points in each node's fixed-point integrals, m sweeps, n nodes after t = 0, p points for the premium.
    """

    node: F64
    """(n + 1,) square roots of the time to expiry at the nodes, from 0 to 1."""
    sweeps: int
    root: F64
    """(n, l) c = xi_i (1 + y_k)/2, the square root of the elapsed time at each integrand."""
    weight: F64
    """(l,) Gauss-Legendre weights."""
    interpolate: F64
    """(n, l, n + 1) barycentric rows that give the squared G at each integrand from those at the nodes."""
    premium_root: F64
    """(p,) square root of the elapsed time at each point of the premium integral."""
    premium_weight: F64
    """(p,) weights of that integral, its Jacobian included."""
    premium_interpolate: F64
    """(p, n + 1) the barycentric rows of those points."""


def _barycentric(node: F64, at: F64) -> F64:
    """Rows that interpolate values at Chebyshev-Lobatto nodes (Berrut & Trefethen 2004, SIAM Review 46)."""
    weight = (-1.0) ** np.arange(node.size)
    weight[[0, -1]] *= 0.5
    distance = at[:, None] - node
    hit = np.abs(distance) < 1e-14
    row = weight / np.where(hit, 1.0, distance)
    row /= row.sum(axis=1, keepdims=True)
    return np.where(hit.any(axis=1, keepdims=True), hit, row)


def make_scheme(l: int, m: int, n: int, p: int) -> Scheme:  # noqa: E741 - the paper's names
    """Precompute a scheme (Andersen, Lake & Offengenden 2016, section 5)."""
    node = 0.5 * (1.0 - np.cos(np.arange(n + 1) * math.pi / n))
    y, w = np.polynomial.legendre.leggauss(l)
    half = 0.5 * (1.0 + y)
    rows = [_barycentric(node, xi * np.sqrt(1.0 - half * half)) for xi in node[1:]]
    yp, wp = np.polynomial.legendre.leggauss(p)
    z = 0.5 * (1.0 + yp)
    return Scheme(
        node=node,
        sweeps=m,
        root=np.ascontiguousarray(node[1:, None] * half),
        weight=w,
        interpolate=np.ascontiguousarray(np.stack(rows)),
        premium_root=z,
        premium_weight=wp * z,
        premium_interpolate=np.ascontiguousarray(_barycentric(node, np.sqrt(1.0 - z * z))),
    )


# Largest error per $100 on 300 random rows (sigma 10 to 100 %, rate and dividend to 12 %, 2 days to 2 years): 3.6e-4,
# 1.0e-4, 3.3e-5. Points in the sweeps pay more than sweeps or nodes: (8, 2, 6, 16) is a quarter faster than the default
# but off by up to 6.1e-4; (12, 4, 10, 32) and (16, 5, 12, 48) take 1.2 and 2.3 times as long as "accurate" and reach
# 3.2e-4 and 1.6e-4.
SCHEMES: Final = {
    "default": make_scheme(10, 2, 7, 20),
    "accurate": make_scheme(16, 3, 8, 32),
    "audit": make_scheme(24, 4, 12, 48),
}


@scalar
def mills(d: float) -> float:
    """Phi(-|d|) / phi(d), the Mills ratio."""
    x = abs(d) * _SQRT_HALF
    a = 1.0 + 2.0 * x
    b = x + 3.75
    r = 1.0 / (a * b)
    return _SQRT_HALF_PI * erfcx_poly((x - 3.75) * (a * r)) * (b * r)


@helper
def square(g: F64, squared: F64) -> None:
    """Square G at every node: the interpolation works on squares."""
    for i in range(g.shape[0]):
        for j in range(LANES):
            squared[i, j] = g[i, j] * g[i, j]


@helper
def at_point(row: F64, squared: F64, h: F64) -> None:
    """Interpolate squared G at the point of one barycentric row (squared is zero at the first node)."""
    for j in range(LANES):
        h[j] = 0.0
    for a in range(1, row.size):
        w = row[a]
        for j in range(LANES):
            h[j] += w * squared[a, j]


@helper
def start_boundary(r: F64, q: F64, s: F64, lx: F64, node: F64, g: F64, work: F64) -> None:
    """QD+ boundary at every node: Halley steps in B from X, or from the node before, scaled by the root of time."""
    decay, growth, alpha, beta, y = work[0], work[1], work[2], work[3], work[4]
    for j in range(LANES):
        y[j] = 0.0
        g[0, j] = 0.0
    for i in range(1, node.size):
        xi = node[i]
        t = xi * xi
        inv_t = 1.0 / t
        scale = xi / node[i - 1] if i > 1 else 0.0
        for j in range(LANES):
            ri = r[j]
            s2 = s[j] * s[j]
            rt = ri * t
            dr = exp(-rt)
            series = abs(rt) < 1e-5
            h = inv_t / (1.0 - 0.5 * rt * (1.0 - rt * (1.0 / 3.0))) if series else ri / (0.5 if series else 1.0 - dr)
            A = 2.0 * (ri - q[j]) - s2
            D = math.sqrt(A * A + 8.0 * h * s2)
            inv_D = 1.0 / D
            # the root of a quadratic, without its cancellation
            lam = -4.0 * h / (D - A) if A < 0.0 else -0.5 * (A + D) / s2
            decay[j] = dr
            growth[j] = exp(-q[j] * t)
            alpha[j] = -2.0 * inv_D
            beta[j] = -2.0 * dr * inv_D * (h - 2.0 * h * h * inv_D * inv_D * s2) - lam
        for j in range(LANES):
            y[j] *= scale
        for _ in range(HALLEY):
            for j in range(LANES):
                ri = r[j]
                qi = q[j]
                dr = decay[j]
                dq = growth[j]
                sv = s[j] * xi
                isv = 1.0 / sv
                be = beta[j]
                ly = lx[j] - y[j]
                dp = (ly + (ri - qi) * t) * isv + 0.5 * sv
                dm = dp - sv
                xq = exp(ly) * dq
                x = exp(ly)
                xphi = _INV_SQRT_2PI * exp(ly - qi * t - 0.5 * dp * dp)  # x e^{-qt} phi(dp) = e^{-rt} phi(dm)
                tp = xphi * mills(dp)
                tm = xphi * mills(dm)
                P = xq - tp if dp < 0.0 else tp  # x e^{-qt} Phi(-dp)
                M = dr - tm if dm < 0.0 else tm  # e^{-rt} Phi(-dm)
                gam = xphi * isv  # x^2 gamma, of the European put
                theta = ri * M - qi * P - 0.5 * s[j] * s[j] * gam
                charm = -(xphi * ((ri - qi) * isv - 0.5 * dm * inv_t) + qi * P)
                colour = gam * (qi + (ri - qi) * dp * isv + 0.5 * (1.0 - dp * dm) * inv_t)
                f = (x - P) - be * (1.0 - x - (M - P)) + alpha[j] * theta
                f1 = (x - P) * (1.0 + be) + gam + alpha[j] * charm
                f2 = gam * (1.0 - dp * isv) + be * gam + alpha[j] * colour
                step = f * f1 / (f1 * f1 - 0.5 * f * f2)  # of x, relative to x
                y[j] = max(y[j] - log(min(max(1.0 - step, 1e-3), 1e3)), 0.0)
        for j in range(LANES):
            g[i, j] = y[j]


@helper
def sweep(
    r: F64,
    q: F64,
    s: F64,
    lx: F64,
    node: F64,
    root: F64,
    weight: F64,
    interpolate: F64,
    g: F64,
    squared: F64,
    work: F64,
) -> None:
    """One fixed-point sweep over all nodes from the old values, each corrected by Newton's method."""
    above, below, h, inv_s, mu = work[0], work[1], work[2], work[3], work[4]
    above_slope, below_slope = work[12], work[13]
    n = node.size - 1
    for j in range(LANES):
        inv_s[j] = 1.0 / s[j]
        mu[j] = (r[j] - q[j]) * inv_s[j] + 0.5 * s[j]
    square(g, squared)
    for i in range(1, n + 1):
        xi = node[i]
        gi = g[i]
        for j in range(LANES):
            above[j] = 0.0
            above_slope[j] = 0.0
            below_slope[j] = 0.0
            below[j] = 0.0
        for k in range(weight.size):
            at_point(interpolate[i - 1, k], squared, h)
            z = root[i - 1, k]
            inv_z = 1.0 / z
            m = z * z
            wk = weight[k]
            for j in range(LANES):
                gu = math.sqrt(max(h[j], 0.0))
                d = (gu - gi[j]) * inv_s[j] * inv_z + mu[j] * z
                a = -0.5 * d * d - q[j] * m
                dq = exp(-q[j] * m)
                e = _INV_SQRT_2PI * exp(a)
                tail = e * mills(d)
                P = tail if d < 0.0 else dq - tail
                below[j] += wk * (z * P + inv_s[j] * e)
                up = exp(a + gu - lx[j])
                above[j] += wk * up
                isz = inv_s[j] * inv_z
                below_slope[j] += wk * e * (1.0 - d * isz)
                above_slope[j] += wk * up * (d - s[j] * z) * isz
        inv_xi = 1.0 / xi
        for j in range(LANES):
            isv = inv_s[j] * inv_xi
            ly = lx[j] - gi[j]
            d = ly * isv + mu[j] * xi
            dm = d - s[j] * xi
            dq = exp(-q[j] * xi * xi)
            e = _INV_SQRT_2PI * exp(-0.5 * d * d - q[j] * xi * xi)
            tail = e * mills(d)
            P = tail if d < 0.0 else dq - tail
            N = e * isv + r[j] * xi * inv_s[j] * _INV_SQRT_2PI * above[j]
            D = e * isv + P + q[j] * xi * below[j]
            N1 = -e * dm * isv * isv
            D1 = e * isv * (1.0 - d * isv)
            # b f'(b) D^2 with the rest of the boundary held still, the part through the integrals
            own = -r[j] * xi * inv_s[j] * _INV_SQRT_2PI * above_slope[j] * D - q[j] * xi * inv_s[j] * below_slope[j] * N
            step = (
                (N - D) * D / (N1 * D - D1 * N + _OWN * min(own, 0.0) - D * D)
            )  # Newton's for f(b) = b, relative to b
            g[i, j] = max(gi[j] - log(min(max(1.0 - step, 1e-3), 1e3)), 0.0)


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
def solve(
    r: F64, q: F64, s: F64, x: F64, early: F64, node: F64, sweeps: int, root: F64, weight: F64, interpolate: F64,
    premium_root: F64, premium_weight: F64, premium_interpolate: F64, g: F64, squared: F64, work: F64, out: F64,
) -> None:  # fmt: skip
    """Price one block of puts per unit of strike.

    `early` is 1.0 where early exercise can pay and 0.0 where the option is European. `out` (OUT, LANES) becomes value,
    delta, gamma (per unit of S/K), 1.0 where exercise is due at once, and the premium with its slope: these two as the
    integrals give them, smooth across the boundary. `g` and `squared` are (n + 1, LANES), `work`
    (WORK, LANES).
    """
    lx, y, pv, pd, pg, rb, qb = work[5], work[6], work[7], work[8], work[9], work[10], work[11]
    value, delta, gamma, exercised = out[0], out[1], out[2], out[3]
    for j in range(LANES):
        on = early[j] > 0.0
        rb[j] = r[j] if on else 0.05  # a European lane follows some boundary, to no effect
        qb[j] = q[j] if on else 0.0
        pays = qb[j] > 0.0
        ratio = rb[j] / (qb[j] if pays else 1.0)
        lx[j] = log(ratio) if pays & (ratio < 1.0) else 0.0
        y[j] = exp(x[j])
    start_boundary(rb, qb, s, lx, node, g, work)
    for _ in range(sweeps):
        sweep(rb, qb, s, lx, node, root, weight, interpolate, g, squared, work)
    square(g, squared)
    premium(rb, qb, s, lx, x, y, premium_root, premium_weight, premium_interpolate, squared, work, pv, pd, pg)
    european(r, q, s, x, y, value, delta, gamma)
    last = g[node.size - 1]
    for j in range(LANES):
        now = (early[j] > 0.0) & (x[j] <= lx[j] - last[j])
        out[4, j] = early[j] * pv[j]
        out[5, j] = early[j] * pd[j]
        v = value[j] + early[j] * max(pv[j], 0.0)
        v = max(v, early[j] * (1.0 - y[j]))
        value[j] = 1.0 - y[j] if now else v
        delta[j] = -1.0 if now else delta[j] + early[j] * pd[j]
        gamma[j] = 0.0 if now else gamma[j] + early[j] * pg[j]
        exercised[j] = 1.0 if now else 0.0
