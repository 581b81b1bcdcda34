"""The exercise boundary of American puts, for blocks of options as lanes.

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

The boundary moves the price at second order only, so its own arithmetic need not be exact: `rough_exp` and
`rough_mills` are good to 1e-10, and make a sweep a fifth faster than the functions of `kernels.elementary`.
"""

import math
from typing import Final

from kernels._arrays import F64
from kernels._jit import helper, scalar
from kernels.elementary import _bits, _float, fma, log

LANES: Final = 64
"""Options in a block. Every block is full, so that each row meets the same vector code wherever it stands."""

# How much of a node's own slope enters its Newton correction, where it is negative. Without it (0) the late nodes
# alternate and diverge when rate sqrt(tau)/sigma passes about 1.5 (errors to 8 cents per $100 at sigma < 8 %); with
# all of it (1) two sweeps leave 3 times the error at sigma 3 to 10 %; where it is positive, it ruins the ordinary case.
_OWN = 0.5

# Steps of the start: at the first node, from X; at the others, from an extrapolation. A fourth step there changes no
# digit of any error; with two there are outliers.
_FIRST_HALLEY = 4
_HALLEY = 3

_INV_SQRT_2PI = 0.39894228040143267794
_SQRT_HALF = 0.70710678118654752440
_SQRT_HALF_PI = 1.2533141373155002512
_MAGIC = 6755399441055744.0
_MAGIC_BITS = 4843621399236968448
_LOG2_E = 1.4426950408889634
_LN2 = 0.6931471805599453

# (e**r - 1 - r) / r**2 on |r| <= ln(2)/2: relative error 5e-11 of e**r
_E0 = 0.5000000067690491
_E1 = 0.16666665868937597
_E2 = 0.041666294923927885
_E3 = 0.008333497062485125
_E4 = 0.001394466104289239
_E5 = 0.00019790352469726397

# (1 + 2x) erfcx(x) in (x - 3.75)/(x + 3.75), x >= 0: relative error 6e-11
_C0 = 1.2375126307869444
_C1 = -0.14024059948216328
_C2 = 0.0035854215133978296
_C3 = 0.08227677249661663
_C4 = -0.10880404820402509
_C5 = 0.09230394943032036
_C6 = -0.05869250945685384
_C7 = 0.02836406446361671
_C8 = -0.009749906865916716
_C9 = 0.0017512252716082358
_C10 = 0.00030059016107932294
_C11 = -0.0002843671342706531
_C12 = 4.3544839506582085e-05
_C13 = 1.8538571384264072e-05
_C14 = -6.1392223531931935e-06


@scalar
def rough_exp(x: float) -> float:
    """e**x to 5e-11, for -700 <= x <= 700 and as at these ends beyond."""
    clamped = min(max(x, -700.0), 700.0)
    t = fma(clamped, _LOG2_E, _MAGIC)
    r = fma(t - _MAGIC, -_LN2, clamped)
    r2 = r * r
    q = fma(fma(_E5, r, _E4), r2 * r2, fma(fma(_E3, r, _E2), r2, fma(_E1, r, _E0)))
    return _float(_bits(1.0 + fma(q, r2, r)) + ((_bits(t) - _MAGIC_BITS) << 52))


@scalar
def rough_mills(d: float) -> float:
    """Phi(-|d|) / phi(d), the Mills ratio, to 6e-11."""
    x = abs(d) * _SQRT_HALF
    a = 1.0 + 2.0 * x
    b = x + 3.75
    r = 1.0 / (a * b)
    t = (x - 3.75) * (a * r)
    t2 = t * t
    t4 = t2 * t2
    b0 = fma(fma(_C3, t, _C2), t2, fma(_C1, t, _C0))
    b1 = fma(fma(_C7, t, _C6), t2, fma(_C5, t, _C4))
    b2 = fma(fma(_C11, t, _C10), t2, fma(_C9, t, _C8))
    b3 = fma(_C14, t2, fma(_C13, t, _C12))
    return _SQRT_HALF_PI * fma(fma(b3, t4, b2), t4 * t4, fma(b1, t4, b0)) * (b * r)


@helper
def square(g: F64, squared: F64) -> None:
    """Square G at every node: the interpolation works on squares."""
    for i in range(g.shape[0]):
        for j in range(LANES):
            squared[i, j] = g[i, j] * g[i, j]


@helper
def at_point(row: F64, squared: F64, h: F64) -> None:
    """Interpolate squared G at the point of one barycentric row; it is zero at the first node. Four nodes at a time."""
    n = row.size - 1
    whole = n // 4 * 4
    for j in range(LANES):
        h[j] = 0.0
    for a in range(1, whole, 4):
        w0, w1, w2, w3 = row[a], row[a + 1], row[a + 2], row[a + 3]
        s0, s1, s2, s3 = squared[a], squared[a + 1], squared[a + 2], squared[a + 3]
        for j in range(LANES):
            h[j] += w0 * s0[j] + w1 * s1[j] + (w2 * s2[j] + w3 * s3[j])
    for a in range(whole + 1, n + 1):
        w = row[a]
        for j in range(LANES):
            h[j] += w * squared[a, j]


@helper
def start_boundary(r: F64, q: F64, s: F64, lx: F64, node: F64, g: F64, work: F64) -> None:
    """QD+ boundary at every node: Halley steps in B from X, then from what the nodes before suggest."""
    decay, growth, alpha, beta, y = work[0], work[1], work[2], work[3], work[4]
    for j in range(LANES):
        y[j] = 0.0
        g[0, j] = 0.0
    for i in range(1, node.size):
        xi = node[i]
        t = xi * xi
        inv_t = 1.0 / t
        for j in range(LANES):
            ri = r[j]
            s2 = s[j] * s[j]
            rt = ri * t
            dr = rough_exp(-rt)
            series = abs(rt) < 1e-5
            h = inv_t / (1.0 - 0.5 * rt * (1.0 - rt * (1.0 / 3.0))) if series else ri / (0.5 if series else 1.0 - dr)
            A = 2.0 * (ri - q[j]) - s2
            D = math.sqrt(A * A + 8.0 * h * s2)
            inv_D = 1.0 / D
            # the root of a quadratic, without its cancellation
            lam = -4.0 * h / (D - A) if A < 0.0 else -0.5 * (A + D) / s2
            decay[j] = dr
            growth[j] = rough_exp(-q[j] * t)
            alpha[j] = -2.0 * inv_D
            beta[j] = -2.0 * dr * inv_D * (h - 2.0 * h * h * inv_D * inv_D * s2) - lam
        if i > 1:
            # y / xi moves slowly: go along the line through the last two nodes
            ahead = (xi - node[i - 1]) / (node[i - 1] - node[i - 2]) if i > 2 else 0.0
            last = (1.0 + ahead) * xi / node[i - 1]
            before = ahead * xi / (node[i - 2] if i > 2 else 1.0)
            for j in range(LANES):
                y[j] = max(last * g[i - 1, j] - before * g[i - 2, j], 0.0)
        for _ in range(_FIRST_HALLEY if i == 1 else _HALLEY):
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
                xq = rough_exp(ly) * dq
                x = rough_exp(ly)
                xphi = _INV_SQRT_2PI * rough_exp(ly - qi * t - 0.5 * dp * dp)  # x e^{-qt} phi(dp) = e^{-rt} phi(dm)
                tp = xphi * rough_mills(dp)
                tm = xphi * rough_mills(dm)
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
                dq = rough_exp(-q[j] * m)
                e = _INV_SQRT_2PI * rough_exp(a)
                tail = e * rough_mills(d)
                P = tail if d < 0.0 else dq - tail
                below[j] += wk * (z * P + inv_s[j] * e)
                up = rough_exp(a + gu - lx[j])
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
            dq = rough_exp(-q[j] * xi * xi)
            e = _INV_SQRT_2PI * rough_exp(-0.5 * d * d - q[j] * xi * xi)
            tail = e * rough_mills(d)
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
