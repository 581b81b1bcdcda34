"""The exact ARMA log-likelihood with its exact gradient and Hessian, many (series, start) lanes at a time.

The objective is f = n/2 ln S + 1/2 ln D, the concentrated negative log-likelihood without its constant. Instead of a
Kalman filter it uses the regression form (Ljung & Box 1979, Biometrika 66; de Jong 1991): given the initial state
alpha, the innovations are e = e0 - C alpha, where e0 comes from the bare difference equation with nothing before the
first observation, and column i of C is the impulse response b of 1/ma(B), shifted by i. With P the variance of alpha
and G = C'C,

    V = (I + P G)^-1 P,   alpha = V C'e0,   S = |e0|^2 - (C'e0)' alpha,   D = det(I + P G).

No division, no logarithm and no matrix remain in the loop over time. And because alpha minimises, every derivative is a
lagged product of a few filtered series (x = w/ma(B), z = e/ma(B), y = x/ma(B), s = z/ma(B), and b, v = b/ma(B),
g = v/ma(B)), so that value, gradient and exact Hessian cost three to four times the value, whatever p + q is. The
derivatives of G come from G = A'GA + e1 e1' - beta beta', with A the companion matrix of -ma and beta the last values
of b; G itself is summed, because next to an MA unit root the solution of that equation has lost digits.

The Chandrasekhar recursion in forward mode (p + q directions) would take several times the arithmetic for the gradient
alone. Levenberg-Marquardt on the innovations (Gauss-Newton curvature) was tried first: the
ridges of nearly cancelling factors took 47 iterations on average for (2, 2) on 120 daily closes and half the starts had
not converged after 60; BFGS was no better; with the exact Hessian all converge, in 19 on average.

Free parameters are x = artanh of the partial autocorrelations, three for `ar`, three for `ma` (sign turned). In these
the way to a unit root is short: the likelihood levels off like e**(-2|x|), which Newton follows by one step per factor
e, where Monahan's u = sinh x has to be doubled and doubled again.

The state of a block is one flat array of rows, as `lane_rows` has it.
"""

from typing import Final

from kernels._arrays import F64
from kernels._jit import helper, scalar
from kernels.arma_algebra import (
    congruence,
    inverse,
    levinson,
    observability,
    outer_sum,
    partial,
    state_covariance,
    times,
)
from kernels.elementary import log
from kernels.lane_rows import (
    LANES,
    gather,
    product,
    product_down,
    recur,
    rows3,
    rows4,
    rows5,
    rows6,
    rows9,
    set3,
    set4,
    set6,
    set9,
)

_L: Final = LANES

# Inputs and outputs, one row of LANES each.
X: Final = 0  # 6 free parameters
AR: Final = 6 * _L  # 3
MA: Final = 9 * _L  # 3
VALUE: Final = 12 * _L
SSQ: Final = 13 * _L  # S
DET: Final = 14 * _L  # D
GRAD: Final = 15 * _L  # 6, with respect to x
HESS: Final = 21 * _L  # 6 x 6, with respect to x

# Inside: parameters.
_R: Final = 57 * _L  # 6 partial autocorrelations
_D: Final = 63 * _L  # 6, dr/dx
_K: Final = 69 * _L  # 18: d(ar or ma)/dx for each x, 3 rows each
# Inside: states of the recursions; row l of a group holds the value at t - 1 - l.
_E: Final = 87 * _L  # 4
_B: Final = 91 * _L  # 4
_XS: Final = 95 * _L  # 4
_Z: Final = 99 * _L  # 4
_V: Final = 103 * _L  # 6
_Y: Final = 109 * _L  # 6
_S: Final = 115 * _L  # 6
_G: Final = 121 * _L  # 9
_STATES_END: Final = 130 * _L
# Inside: sums over time.
_H: Final = 130 * _L  # 3: C'e0
_EX: Final = 133 * _L  # 3: sum e_t x_{t-1-i}
_EZ: Final = 136 * _L  # 3
_EY: Final = 139 * _L  # 5: sum e_t y_{t-2-i}
_ES: Final = 144 * _L  # 5
_EV: Final = 149 * _L  # 5
_XX: Final = 154 * _L  # 9: sum x_{t-1-i} x_{t-1-j}
_ZZ: Final = 163 * _L  # 9
_XZ: Final = 172 * _L  # 9
_XB: Final = 181 * _L  # 9
_ZB: Final = 190 * _L  # 9
_SUMS_END: Final = 199 * _L
# Inside: small matrices.
_ALPHA: Final = 199 * _L  # 3
_LAMBDA: Final = 202 * _L  # 3
_P: Final = 205 * _L  # 6
_GG: Final = 211 * _L  # 6
_M: Final = 217 * _L  # 9: (I + P G)^-1
_VV: Final = 226 * _L  # 6
_YY: Final = 232 * _L  # 6
_W: Final = 238 * _L  # 6: G (I + P G)^-1
_XI: Final = 244 * _L  # 6: the adjoint of G
_GB: Final = 250 * _L  # 6: gradient in (ar, ma)
_DG: Final = 256 * _L  # 6: its derivative in one direction
_C: Final = 262 * _L  # 3: the direction
_U: Final = 265 * _L  # 4: w_t less its autoregression (and less the initial state) for four observations
_WT: Final = 269 * _L  # 4: w_t
_PULSE: Final = 273 * _L  # 4: 1 at time 0, where b starts
SIZE: Final = 277 * _L


@helper
def _coefficients(m: F64) -> None:
    """Turn the free parameters into coefficients and the derivatives of the coefficients."""
    for i in range(6 * _L):
        r = partial(m[X + i])
        m[_R + i] = r
        m[_D + i] = 1.0 - r * r
    for k in range(2):
        at = 3 * k * _L
        sign = 1.0 - 2.0 * k
        for j in range(_L):
            r1 = m[_R + at + j]
            r2 = m[_R + at + _L + j]
            r3 = m[_R + at + 2 * _L + j]
            f1, f2, f3 = levinson(r1, r2, r3)
            m[AR + at + j] = sign * f1
            m[AR + at + _L + j] = sign * f2
            m[AR + at + 2 * _L + j] = sign * f3
            d1 = sign * m[_D + at + j]
            d2 = sign * m[_D + at + _L + j]
            d3 = sign * m[_D + at + 2 * _L + j]
            m[_K + 3 * at + j] = (1.0 - r2) * d1
            m[_K + 3 * at + _L + j] = -r3 * (1.0 - r2) * d1
            m[_K + 3 * at + 2 * _L + j] = 0.0
            m[_K + 3 * at + 3 * _L + j] = -(r1 + r3) * d2
            m[_K + 3 * at + 4 * _L + j] = (1.0 + r1 * r3) * d2
            m[_K + 3 * at + 5 * _L + j] = 0.0
            m[_K + 3 * at + 6 * _L + j] = -r2 * d3
            m[_K + 3 * at + 7 * _L + j] = -r1 * (1.0 - r2) * d3
            m[_K + 3 * at + 8 * _L + j] = d3


@helper
def lead(n: int) -> int:
    """Count the rows of zeros before the first of n observations: time 0 and what fills the first group of four."""
    return 4 - n % 4


@helper
def _stage(w: F64, t: int, m: F64) -> None:
    """Copy four observations to fixed rows; at running offsets the main loops would not vectorise."""
    for k in range(4):
        now = (t + k + 3) * _L
        row = k * _L
        for j in range(_L):
            u = w[now + j] - m[AR + j] * w[now - _L + j] - m[AR + _L + j] * w[now - 2 * _L + j]
            m[_U + row + j] = u - m[AR + 2 * _L + j] * w[now - 3 * _L + j]
            m[_WT + row + j] = w[now + j]


@helper
def _start(t: int, zero: int, state: int, m: F64) -> None:
    """Let b start at time 0 and take the initial state out of the next three observations, if these four hold them."""
    for k in range(4):
        since = t + k - zero
        for j in range(_L):
            m[_PULSE + k * _L + j] = 1.0 if since == 0 else 0.0
        if state >= 0 and 1 <= since <= 3:
            for j in range(_L):
                m[_U + k * _L + j] -= m[state + (since - 1) * _L + j]


@helper
def _first_pass(w: F64, n: int, m: F64) -> None:
    """Run the bare difference equation: |e0|^2, C'e0, the first row of C'C and the last values of b."""
    for i in range(_E, _XS):
        m[i] = 0.0
    for j in range(_L):
        m[SSQ + j] = 0.0
        set3(m, _H + j, 0.0, 0.0, 0.0)
        set3(m, _GG + j, 0.0, 0.0, 0.0)
    zero = lead(n) - 1
    for t in range(0, n + zero + 1, 4):
        _stage(w, t, m)
        if t <= 4:
            _start(t, zero, -1, m)
        for j in range(_L):
            t1, t2, t3 = rows3(m, MA + j)
            e1, e2, e3 = rows3(m, _E + j)
            ia, ib, ic, id_ = rows4(m, _U + j)
            ea, eb, ec, ed = recur(ia, ib, ic, id_, t1, t2, t3, e1, e2, e3)
            b1, b2, b3 = rows3(m, _B + j)
            ia, ib, ic, id_ = rows4(m, _PULSE + j)
            ba, bb, bc, bd = recur(ia, ib, ic, id_, t1, t2, t3, b1, b2, b3)
            gather(m, SSQ + j, ea, eb, ec, ed, ea, eb, ec, ed)
            gather(m, _H + j, ea, eb, ec, ed, b1, ba, bb, bc)
            gather(m, _H + _L + j, ea, eb, ec, ed, b2, b1, ba, bb)
            gather(m, _H + 2 * _L + j, ea, eb, ec, ed, b3, b2, b1, ba)
            gather(m, _GG + j, b1, ba, bb, bc, b1, ba, bb, bc)
            gather(m, _GG + _L + j, b1, ba, bb, bc, b2, b1, ba, bb)
            gather(m, _GG + 2 * _L + j, b1, ba, bb, bc, b3, b2, b1, ba)
            set3(m, _E + j, ed, ec, eb)
            set3(m, _B + j, bd, bc, bb)


@helper
def _value(n: int, m: F64) -> None:
    """Solve for the initial state and evaluate S, D and the objective from the sums of the first pass."""
    half = 0.5 * n
    for j in range(_L):
        f1, f2, f3 = rows3(m, AR + j)
        t1, t2, t3 = rows3(m, MA + j)
        g1 = f1 + t1
        g2 = f2 + t2
        g3 = f3 + t3
        p11, p12, p13, p22, p23, p33 = state_covariance(
            f1, f2, f3, g1 * g1, g1 * g2, g1 * g3, g2 * g2, g2 * g3, g3 * g3
        )
        _, b2, b3 = rows3(m, _B + j)
        q11, q12, q13 = rows3(m, _GG + j)
        q22 = q11 - b2 * b2
        q23 = q12 - b2 * b3
        q33 = q22 - b3 * b3
        a1, a2, a3 = times(p11, p12, p13, p22, p23, p33, q11, q12, q13)
        c1, c2, c3 = times(p11, p12, p13, p22, p23, p33, q12, q22, q23)
        d1, d2, d3 = times(p11, p12, p13, p22, p23, p33, q13, q23, q33)
        m11, m12, m13, m21, m22, m23, m31, m32, m33, det = inverse(1.0 + a1, c1, d1, a2, 1.0 + c2, d2, a3, c3, 1.0 + d3)
        v11 = m11 * p11 + m12 * p12 + m13 * p13
        v12 = m11 * p12 + m12 * p22 + m13 * p23
        v13 = m11 * p13 + m12 * p23 + m13 * p33
        v22 = m21 * p12 + m22 * p22 + m23 * p23
        v23 = m21 * p13 + m22 * p23 + m23 * p33
        v33 = m31 * p13 + m32 * p23 + m33 * p33
        h1, h2, h3 = rows3(m, _H + j)
        s1, s2, s3 = times(v11, v12, v13, v22, v23, v33, h1, h2, h3)
        ssq = m[SSQ + j] - (h1 * s1 + h2 * s2 + h3 * s3)
        l1, l2, l3 = times(q11, q12, q13, q22, q23, q33, s1, s2, s3)
        set3(m, _ALPHA + j, s1, s2, s3)
        m[_LAMBDA + j] = h1 - l1
        m[_LAMBDA + _L + j] = h2 - l2
        m[_LAMBDA + 2 * _L + j] = h3 - l3
        m[SSQ + j] = ssq
        m[DET + j] = det
        # Rounding may leave S or D at or below zero next to several unit roots at once: such a point is no optimum.
        good = (ssq > 0.0) & (det > 0.0)
        m[VALUE + j] = half * log(ssq if good else 1.0) + 0.5 * log(det if good else 1.0) + (0.0 if good else 1e300)
        set6(m, _P + j, p11, p12, p13, p22, p23, p33)
        set6(m, _GG + j, q11, q12, q13, q22, q23, q33)
        set9(m, _M + j, m11, m12, m13, m21, m22, m23, m31, m32, m33)
        set6(m, _VV + j, v11, v12, v13, v22, v23, v33)


@helper
def _observe(m: F64) -> None:
    """Take four staged observations into e, x, z and b, and their lagged products.

    Four at a time because the loop is bound by stores: every sum is then written once, not four times, and the whole
    evaluation is 1.4 times faster. Names: e1, e2, e3 are the lags on entry, ea .. ed the four new values.
    """
    for j in range(_L):
        t1, t2, t3 = rows3(m, MA + j)
        e1, e2, e3 = rows3(m, _E + j)
        ia, ib, ic, id_ = rows4(m, _U + j)
        ea, eb, ec, ed = recur(ia, ib, ic, id_, t1, t2, t3, e1, e2, e3)
        set4(m, _E + j, ed, ec, eb, ea)
        x1, x2, x3 = rows3(m, _XS + j)
        ia, ib, ic, id_ = rows4(m, _WT + j)
        xa, xb, xc, xd = recur(ia, ib, ic, id_, t1, t2, t3, x1, x2, x3)
        set4(m, _XS + j, xd, xc, xb, xa)
        gather(m, _EX + j, ea, eb, ec, ed, x1, xa, xb, xc)
        gather(m, _EX + _L + j, ea, eb, ec, ed, x2, x1, xa, xb)
        gather(m, _EX + 2 * _L + j, ea, eb, ec, ed, x3, x2, x1, xa)
        gather(m, _XX + j, x1, xa, xb, xc, x1, xa, xb, xc)
        gather(m, _XX + _L + j, x1, xa, xb, xc, x2, x1, xa, xb)
        gather(m, _XX + 2 * _L + j, x1, xa, xb, xc, x3, x2, x1, xa)
        z1, z2, z3 = rows3(m, _Z + j)
        za, zb, zc, zd = recur(ea, eb, ec, ed, t1, t2, t3, z1, z2, z3)
        set4(m, _Z + j, zd, zc, zb, za)
        gather(m, _EZ + j, ea, eb, ec, ed, z1, za, zb, zc)
        gather(m, _EZ + _L + j, ea, eb, ec, ed, z2, z1, za, zb)
        gather(m, _EZ + 2 * _L + j, ea, eb, ec, ed, z3, z2, z1, za)
        gather(m, _ZZ + j, z1, za, zb, zc, z1, za, zb, zc)
        gather(m, _ZZ + _L + j, z1, za, zb, zc, z2, z1, za, zb)
        gather(m, _ZZ + 2 * _L + j, z1, za, zb, zc, z3, z2, z1, za)
        gather(m, _XZ + j, x1, xa, xb, xc, z1, za, zb, zc)
        gather(m, _XZ + _L + j, x1, xa, xb, xc, z2, z1, za, zb)
        gather(m, _XZ + 2 * _L + j, x1, xa, xb, xc, z3, z2, z1, za)
        gather(m, _XZ + 3 * _L + j, x2, x1, xa, xb, z1, za, zb, zc)
        gather(m, _XZ + 6 * _L + j, x3, x2, x1, xa, z1, za, zb, zc)
        b1, b2, b3 = rows3(m, _B + j)
        ia, ib, ic, id_ = rows4(m, _PULSE + j)
        ba, bb, bc, bd = recur(ia, ib, ic, id_, t1, t2, t3, b1, b2, b3)
        set4(m, _B + j, bd, bc, bb, ba)
        gather(m, _XB + j, x1, xa, xb, xc, b1, ba, bb, bc)
        gather(m, _XB + _L + j, x1, xa, xb, xc, b2, b1, ba, bb)
        gather(m, _XB + 2 * _L + j, x1, xa, xb, xc, b3, b2, b1, ba)
        gather(m, _XB + 3 * _L + j, x2, x1, xa, xb, b1, ba, bb, bc)
        gather(m, _XB + 6 * _L + j, x3, x2, x1, xa, b1, ba, bb, bc)
        gather(m, _ZB + j, z1, za, zb, zc, b1, ba, bb, bc)
        gather(m, _ZB + _L + j, z1, za, zb, zc, b2, b1, ba, bb)
        gather(m, _ZB + 2 * _L + j, z1, za, zb, zc, b3, b2, b1, ba)
        gather(m, _ZB + 3 * _L + j, z2, z1, za, zb, b1, ba, bb, bc)
        gather(m, _ZB + 6 * _L + j, z3, z2, z1, za, b1, ba, bb, bc)


@helper
def _observe_twice_filtered(m: F64) -> None:
    """Take the four new values of x, z and b into y, s, v and g, and the products of e with their lags 2 to 6."""
    for j in range(_L):
        t1, t2, t3 = rows3(m, MA + j)
        ed, ec, eb, ea = rows4(m, _E + j)
        y1, y2, y3, y4, y5, y6 = rows6(m, _Y + j)
        id_, ic, ib, ia = rows4(m, _XS + j)
        ya, yb, yc, yd = recur(ia, ib, ic, id_, t1, t2, t3, y1, y2, y3)
        gather(m, _EY + j, ea, eb, ec, ed, y2, y1, ya, yb)
        gather(m, _EY + _L + j, ea, eb, ec, ed, y3, y2, y1, ya)
        gather(m, _EY + 2 * _L + j, ea, eb, ec, ed, y4, y3, y2, y1)
        gather(m, _EY + 3 * _L + j, ea, eb, ec, ed, y5, y4, y3, y2)
        gather(m, _EY + 4 * _L + j, ea, eb, ec, ed, y6, y5, y4, y3)
        set6(m, _Y + j, yd, yc, yb, ya, y1, y2)
    for j in range(_L):
        t1, t2, t3 = rows3(m, MA + j)
        ed, ec, eb, ea = rows4(m, _E + j)
        s1, s2, s3, s4, s5, s6 = rows6(m, _S + j)
        id_, ic, ib, ia = rows4(m, _Z + j)
        sa, sb, sc, sd = recur(ia, ib, ic, id_, t1, t2, t3, s1, s2, s3)
        gather(m, _ES + j, ea, eb, ec, ed, s2, s1, sa, sb)
        gather(m, _ES + _L + j, ea, eb, ec, ed, s3, s2, s1, sa)
        gather(m, _ES + 2 * _L + j, ea, eb, ec, ed, s4, s3, s2, s1)
        gather(m, _ES + 3 * _L + j, ea, eb, ec, ed, s5, s4, s3, s2)
        gather(m, _ES + 4 * _L + j, ea, eb, ec, ed, s6, s5, s4, s3)
        set6(m, _S + j, sd, sc, sb, sa, s1, s2)
    for j in range(_L):
        t1, t2, t3 = rows3(m, MA + j)
        ed, ec, eb, ea = rows4(m, _E + j)
        v1, v2, v3, v4, v5, v6 = rows6(m, _V + j)
        id_, ic, ib, ia = rows4(m, _B + j)
        va, vb, vc, vd = recur(ia, ib, ic, id_, t1, t2, t3, v1, v2, v3)
        gather(m, _EV + j, ea, eb, ec, ed, v2, v1, va, vb)
        gather(m, _EV + _L + j, ea, eb, ec, ed, v3, v2, v1, va)
        gather(m, _EV + 2 * _L + j, ea, eb, ec, ed, v4, v3, v2, v1)
        gather(m, _EV + 3 * _L + j, ea, eb, ec, ed, v5, v4, v3, v2)
        gather(m, _EV + 4 * _L + j, ea, eb, ec, ed, v6, v5, v4, v3)
        set6(m, _V + j, vd, vc, vb, va, v1, v2)
    for j in range(_L):
        t1, t2, t3 = rows3(m, MA + j)
        g1, g2, g3, g4, g5 = rows5(m, _G + j)
        id_, ic, ib, ia = rows4(m, _V + j)
        ga, gb, gc, gd = recur(ia, ib, ic, id_, t1, t2, t3, g1, g2, g3)
        set9(m, _G + j, gd, gc, gb, ga, g1, g2, g3, g4, g5)


@helper
def _second_pass(w: F64, n: int, m: F64) -> None:
    """Run the innovations from the solved initial state and gather every lagged product of the derivatives."""
    for i in range(_E, _STATES_END):
        m[i] = 0.0
    for i in range(_EX, _SUMS_END):
        m[i] = 0.0
    zero = lead(n) - 1
    for t in range(0, n + zero + 1, 4):
        _stage(w, t, m)
        if t <= 8:
            _start(t, zero, _ALPHA, m)
        _observe(m)
        _observe_twice_filtered(m)


@helper
def _fill(total: int, left: int, right: int, m: F64) -> None:
    """Complete sums a_{t-i} b_{t-j} from their first row and column: a shift by one drops the last product."""
    for j in range(_L):
        a2 = m[left + _L + j]
        a3 = m[left + 2 * _L + j]
        b2 = m[right + _L + j]
        b3 = m[right + 2 * _L + j]
        middle = m[total + j] - a2 * b2
        m[total + 4 * _L + j] = middle
        m[total + 5 * _L + j] = m[total + _L + j] - a2 * b3
        m[total + 7 * _L + j] = m[total + 3 * _L + j] - a3 * b2
        m[total + 8 * _L + j] = middle - a3 * b3


@helper
def _complete(m: F64) -> None:
    """Fill the tables of lagged products; those of one series with itself are symmetric."""
    for j in range(_L):
        m[_XX + 3 * _L + j] = m[_XX + _L + j]
        m[_XX + 6 * _L + j] = m[_XX + 2 * _L + j]
        m[_ZZ + 3 * _L + j] = m[_ZZ + _L + j]
        m[_ZZ + 6 * _L + j] = m[_ZZ + 2 * _L + j]
    _fill(_XX, _XS, _XS, m)
    _fill(_ZZ, _Z, _Z, m)
    _fill(_XZ, _XS, _Z, m)
    _fill(_XB, _XS, _B, m)
    _fill(_ZB, _Z, _B, m)


@helper
def _gradient(n: int, m: F64) -> None:
    """Differentiate the objective with respect to `ar` and `ma`, by the adjoints Y of P and Xi of G."""
    for j in range(_L):
        f1, f2, f3 = rows3(m, AR + j)
        t1, t2, t3 = rows3(m, MA + j)
        g1 = f1 + t1
        g2 = f2 + t2
        g3 = f3 + t3
        q11, q12, q13, q22, q23, q33 = rows6(m, _GG + j)
        m11, m12, m13, m21, m22, m23, m31, m32, m33 = rows9(m, _M + j)
        w11 = q11 * m11 + q12 * m21 + q13 * m31
        w12 = q11 * m12 + q12 * m22 + q13 * m32
        w13 = q11 * m13 + q12 * m23 + q13 * m33
        w22 = q12 * m12 + q22 * m22 + q23 * m32
        w23 = q12 * m13 + q22 * m23 + q23 * m33
        w33 = q13 * m13 + q23 * m23 + q33 * m33
        l1, l2, l3 = rows3(m, _LAMBDA + j)
        k = n / m[SSQ + j]
        h = 0.5 * k
        y11, y12, y13, y22, y23, y33 = observability(
            f1, f2, f3,
            0.5 * w11 - h * l1 * l1, 0.5 * w12 - h * l1 * l2, 0.5 * w13 - h * l1 * l3,
            0.5 * w22 - h * l2 * l2, 0.5 * w23 - h * l2 * l3, 0.5 * w33 - h * l3 * l3,
        )  # fmt: skip
        p11 = m[_P + j]
        a1, a2, a3 = times(y11, y12, y13, y22, y23, y33, g1, g2, g3)
        c1, c2, c3 = times(
            y11, y12, y13, y22, y23, y33, f1 * p11 + m[_P + _L + j], f2 * p11 + m[_P + 2 * _L + j], f3 * p11
        )
        x11, x12, x13, x22, x23, x33 = state_covariance(
            -t1, -t2, -t3,
            m[_VV + j], m[_VV + _L + j], m[_VV + 2 * _L + j],
            m[_VV + 3 * _L + j], m[_VV + 4 * _L + j], m[_VV + 5 * _L + j],
        )  # fmt: skip
        r1, r2, r3 = times(q11, q12, q13, q22, q23, q33, x12 - t1 * x11, x13 - t2 * x11, -t3 * x11)
        u1, u2, u3 = times(x11, x12, x13, x22, x23, x33, m[_B + j], m[_B + _L + j], m[_B + 2 * _L + j])
        v2, v3, v4, v5, v6 = rows5(m, _V + _L + j)
        m[_GB + j] = 2.0 * (a1 + c1) - k * m[_EX + j]
        m[_GB + _L + j] = 2.0 * (a2 + c2) - k * m[_EX + _L + j]
        m[_GB + 2 * _L + j] = 2.0 * (a3 + c3) - k * m[_EX + 2 * _L + j]
        m[_GB + 3 * _L + j] = 2.0 * a1 - r1 - k * m[_EZ + j] + u1 * v2 + u2 * v3 + u3 * v4
        m[_GB + 4 * _L + j] = 2.0 * a2 - r2 - k * m[_EZ + _L + j] + u1 * v3 + u2 * v4 + u3 * v5
        m[_GB + 5 * _L + j] = 2.0 * a3 - r3 - k * m[_EZ + 2 * _L + j] + u1 * v4 + u2 * v5 + u3 * v6
        set6(m, _W + j, w11, w12, w13, w22, w23, w33)
        set6(m, _YY + j, y11, y12, y13, y22, y23, y33)
        set6(m, _XI + j, x11, x12, x13, x22, x23, x33)


@helper
def _direction(n: int, column: int, is_ma: float, m: F64) -> None:
    """Differentiate the gradient once more, along one free parameter: forward mode through `_gradient`."""
    for i in range(3):
        for j in range(_L):
            m[_C + i * _L + j] = m[column + i * _L + j]
    for j in range(_L):
        f1, f2, f3 = rows3(m, AR + j)
        t1, t2, t3 = rows3(m, MA + j)
        g1 = f1 + t1
        g2 = f2 + t2
        g3 = f3 + t3
        # c: change of the coefficients; df: of ar; dt: of ma.
        c1, c2, c3 = rows3(m, _C + j)
        df1 = (1.0 - is_ma) * c1
        df2 = (1.0 - is_ma) * c2
        df3 = (1.0 - is_ma) * c3
        dt1 = is_ma * c1
        dt2 = is_ma * c2
        dt3 = is_ma * c3
        p11 = m[_P + j]
        tau1 = f1 * p11 + m[_P + _L + j]
        tau2 = f2 * p11 + m[_P + 2 * _L + j]
        tau3 = f3 * p11
        a11, a12, a13, a22, a23, a33 = outer_sum(df1, df2, df3, tau1, tau2, tau3)
        b11, b12, b13, b22, b23, b33 = outer_sum(c1, c2, c3, g1, g2, g3)
        dp11, dp12, dp13, dp22, dp23, dp33 = state_covariance(
            f1, f2, f3, a11 + b11, a12 + b12, a13 + b13, a22 + b22, a23 + b23, a33 + b33
        )
        q11, q12, q13, q22, q23, q33 = rows6(m, _GG + j)
        be1, be2, be3 = rows3(m, _B + j)
        v2, v3, v4, v5, v6 = rows5(m, _V + _L + j)
        db1 = -(dt1 * v2 + dt2 * v3 + dt3 * v4)
        db2 = -(dt1 * v3 + dt2 * v4 + dt3 * v5)
        db3 = -(dt1 * v4 + dt2 * v5 + dt3 * v6)
        gt1, gt2, gt3 = times(q11, q12, q13, q22, q23, q33, dt1, dt2, dt3)
        # A' G dt, with A the companion matrix of -ma: its first row is -ma', the others are a shift.
        mu1 = -(t1 * gt1 + t2 * gt2 + t3 * gt3)
        e11, e12, e13, e22, e23, e33 = outer_sum(db1, db2, db3, be1, be2, be3)
        dq11, dq12, dq13, dq22, dq23, dq33 = observability(
            -t1, -t2, -t3, -2.0 * mu1 - e11, -gt1 - e12, -gt2 - e13, -e22, -e23, -e33
        )
        m11, m12, m13, m21, m22, m23, m31, m32, m33 = rows9(m, _M + j)
        v11, v12, v13, v22, v23, v33 = rows6(m, _VV + j)
        w11, w12, w13, w22, w23, w33 = rows6(m, _W + j)
        # dV = M dP M' - V dG V and dW = M' dG M - W dP W.
        i11, i12, i13, i22, i23, i33 = congruence(
            m11, m12, m13, m21, m22, m23, m31, m32, m33, dp11, dp12, dp13, dp22, dp23, dp33
        )
        o11, o12, o13, o22, o23, o33 = congruence(
            v11, v12, v13, v12, v22, v23, v13, v23, v33, dq11, dq12, dq13, dq22, dq23, dq33
        )
        k11, k12, k13, k22, k23, k33 = congruence(
            m11, m21, m31, m12, m22, m32, m13, m23, m33, dq11, dq12, dq13, dq22, dq23, dq33
        )
        r11, r12, r13, r22, r23, r33 = congruence(
            w11, w12, w13, w12, w22, w23, w13, w23, w33, dp11, dp12, dp13, dp22, dp23, dp33
        )
        l1, l2, l3 = rows3(m, _LAMBDA + j)
        # The initial state moves by da = V d(C'e) + M dP lambda, d(C'e) at a fixed initial state.
        s1 = -product_down(m, _XB + j, df1, df2, df3)
        s2 = -product_down(m, _XB + _L + j, df1, df2, df3)
        s3 = -product_down(m, _XB + 2 * _L + j, df1, df2, df3)
        s1 = s1 - product_down(m, _ZB + j, dt1, dt2, dt3)
        s2 = s2 - product_down(m, _ZB + _L + j, dt1, dt2, dt3)
        s3 = s3 - product_down(m, _ZB + 2 * _L + j, dt1, dt2, dt3)
        s1 = s1 - product(m, _EV + j, dt1, dt2, dt3)
        s2 = s2 - product(m, _EV + _L + j, dt1, dt2, dt3)
        s3 = s3 - product(m, _EV + 2 * _L + j, dt1, dt2, dt3)
        pl1, pl2, pl3 = times(dp11, dp12, dp13, dp22, dp23, dp33, l1, l2, l3)
        da1, da2, da3 = times(v11, v12, v13, v22, v23, v33, s1, s2, s3)
        da1 = da1 + m11 * pl1 + m12 * pl2 + m13 * pl3
        da2 = da2 + m21 * pl1 + m22 * pl2 + m23 * pl3
        da3 = da3 + m31 * pl1 + m32 * pl2 + m33 * pl3
        ga1, ga2, ga3 = times(q11, q12, q13, q22, q23, q33, da1, da2, da3)
        dl1 = s1 - ga1
        dl2 = s2 - ga2
        dl3 = s3 - ga3
        ex1, ex2, ex3 = rows3(m, _EX + j)
        ez1, ez2, ez3 = rows3(m, _EZ + j)
        dssq = -2.0 * (df1 * ex1 + df2 * ex2 + df3 * ex3 + dt1 * ez1 + dt2 * ez2 + dt3 * ez3)
        dssq = dssq - (l1 * pl1 + l2 * pl2 + l3 * pl3)
        k = n / m[SSQ + j]
        dk = -k * dssq / m[SSQ + j]
        h = 0.5 * k
        dh = 0.5 * dk
        y11, y12, y13, y22, y23, y33 = rows6(m, _YY + j)
        yf1, yf2, yf3 = times(y11, y12, y13, y22, y23, y33, df1, df2, df3)
        nu1 = f1 * yf1 + f2 * yf2 + f3 * yf3
        dy11, dy12, dy13, dy22, dy23, dy33 = observability(
            f1, f2, f3,
            0.5 * (k11 - r11) - dh * l1 * l1 - h * 2.0 * l1 * dl1 + 2.0 * nu1,
            0.5 * (k12 - r12) - dh * l1 * l2 - h * (l1 * dl2 + dl1 * l2) + yf1,
            0.5 * (k13 - r13) - dh * l1 * l3 - h * (l1 * dl3 + dl1 * l3) + yf2,
            0.5 * (k22 - r22) - dh * l2 * l2 - h * 2.0 * l2 * dl2,
            0.5 * (k23 - r23) - dh * l2 * l3 - h * (l2 * dl3 + dl2 * l3),
            0.5 * (k33 - r33) - dh * l3 * l3 - h * 2.0 * l3 * dl3,
        )  # fmt: skip
        ya1, ya2, ya3 = times(dy11, dy12, dy13, dy22, dy23, dy33, g1, g2, g3)
        yb1, yb2, yb3 = times(y11, y12, y13, y22, y23, y33, c1, c2, c3)
        yc1, yc2, yc3 = times(dy11, dy12, dy13, dy22, dy23, dy33, tau1, tau2, tau3)
        yd1, yd2, yd3 = times(
            y11, y12, y13, y22, y23, y33,
            df1 * p11 + f1 * dp11 + dp12, df2 * p11 + f2 * dp11 + dp13, df3 * p11 + f3 * dp11,
        )  # fmt: skip
        x11, x12, x13, x22, x23, x33 = rows6(m, _XI + j)
        rho1 = x12 - t1 * x11
        rho2 = x13 - t2 * x11
        rho3 = -t3 * x11
        n11, n12, n13, n22, n23, n33 = outer_sum(dt1, dt2, dt3, rho1, rho2, rho3)
        dx11, dx12, dx13, dx22, dx23, dx33 = state_covariance(
            -t1, -t2, -t3,
            i11 - o11 - n11, i12 - o12 - n12, i13 - o13 - n13, i22 - o22 - n22, i23 - o23 - n23, i33 - o33 - n33,
        )  # fmt: skip
        ra1, ra2, ra3 = times(dq11, dq12, dq13, dq22, dq23, dq33, rho1, rho2, rho3)
        rb1, rb2, rb3 = times(
            q11, q12, q13, q22, q23, q33,
            dx12 - t1 * dx11 - dt1 * x11, dx13 - t2 * dx11 - dt2 * x11, -t3 * dx11 - dt3 * x11,
        )  # fmt: skip
        u1, u2, u3 = times(x11, x12, x13, x22, x23, x33, be1, be2, be3)
        ua1, ua2, ua3 = times(dx11, dx12, dx13, dx22, dx23, dx33, be1, be2, be3)
        ub1, ub2, ub3 = times(x11, x12, x13, x22, x23, x33, db1, db2, db3)
        du1 = ua1 + ub1
        du2 = ua2 + ub2
        du3 = ua3 + ub3
        dv2 = -2.0 * product(m, _G + 2 * _L + j, dt1, dt2, dt3)
        dv3 = -2.0 * product(m, _G + 3 * _L + j, dt1, dt2, dt3)
        dv4 = -2.0 * product(m, _G + 4 * _L + j, dt1, dt2, dt3)
        dv5 = -2.0 * product(m, _G + 5 * _L + j, dt1, dt2, dt3)
        dv6 = -2.0 * product(m, _G + 6 * _L + j, dt1, dt2, dt3)
        ends1 = du1 * v2 + du2 * v3 + du3 * v4 + u1 * dv2 + u2 * dv3 + u3 * dv4
        ends2 = du1 * v3 + du2 * v4 + du3 * v5 + u1 * dv3 + u2 * dv4 + u3 * dv5
        ends3 = du1 * v4 + du2 * v5 + du3 * v6 + u1 * dv4 + u2 * dv5 + u3 * dv6
        # Changes of sum e x and of sum e z: through e (and the initial state in it), x and z.
        dex1 = product(m, _XX + j, df1, df2, df3) + product(m, _XZ + j, dt1, dt2, dt3)
        dex2 = product(m, _XX + 3 * _L + j, df1, df2, df3) + product(m, _XZ + 3 * _L + j, dt1, dt2, dt3)
        dex3 = product(m, _XX + 6 * _L + j, df1, df2, df3) + product(m, _XZ + 6 * _L + j, dt1, dt2, dt3)
        dex1 = dex1 + product(m, _XB + j, da1, da2, da3) + product(m, _EY + j, dt1, dt2, dt3)
        dex2 = dex2 + product(m, _XB + 3 * _L + j, da1, da2, da3) + product(m, _EY + _L + j, dt1, dt2, dt3)
        dex3 = dex3 + product(m, _XB + 6 * _L + j, da1, da2, da3) + product(m, _EY + 2 * _L + j, dt1, dt2, dt3)
        dez1 = product_down(m, _XZ + j, df1, df2, df3)
        dez2 = product_down(m, _XZ + _L + j, df1, df2, df3)
        dez3 = product_down(m, _XZ + 2 * _L + j, df1, df2, df3)
        dez1 = dez1 + product(m, _ZZ + j, dt1, dt2, dt3) + product(m, _ZB + j, da1, da2, da3)
        dez2 = dez2 + product(m, _ZZ + 3 * _L + j, dt1, dt2, dt3) + product(m, _ZB + 3 * _L + j, da1, da2, da3)
        dez3 = dez3 + product(m, _ZZ + 6 * _L + j, dt1, dt2, dt3) + product(m, _ZB + 6 * _L + j, da1, da2, da3)
        dez1 = dez1 + product(m, _EY + j, df1, df2, df3) + 2.0 * product(m, _ES + j, dt1, dt2, dt3)
        dez2 = dez2 + product(m, _EY + _L + j, df1, df2, df3) + 2.0 * product(m, _ES + _L + j, dt1, dt2, dt3)
        dez3 = dez3 + product(m, _EY + 2 * _L + j, df1, df2, df3) + 2.0 * product(m, _ES + 2 * _L + j, dt1, dt2, dt3)
        dez1 = dez1 + product(m, _EV + j, da1, da2, da3)
        dez2 = dez2 + product(m, _EV + _L + j, da1, da2, da3)
        dez3 = dez3 + product(m, _EV + 2 * _L + j, da1, da2, da3)
        m[_DG + j] = 2.0 * (ya1 + yb1 + yc1 + yd1) + k * dex1 - dk * ex1
        m[_DG + _L + j] = 2.0 * (ya2 + yb2 + yc2 + yd2) + k * dex2 - dk * ex2
        m[_DG + 2 * _L + j] = 2.0 * (ya3 + yb3 + yc3 + yd3) + k * dex3 - dk * ex3
        m[_DG + 3 * _L + j] = 2.0 * (ya1 + yb1) - ra1 - rb1 + k * dez1 - dk * ez1 + ends1
        m[_DG + 4 * _L + j] = 2.0 * (ya2 + yb2) - ra2 - rb2 + k * dez2 - dk * ez2 + ends2
        m[_DG + 5 * _L + j] = 2.0 * (ya3 + yb3) - ra3 - rb3 + k * dez3 - dk * ez3 + ends3


@helper
def _chain(last: int, m: F64) -> None:
    """Carry the gradient over to the free parameters, and the curvature of that map into the Hessian."""
    for a in range(last):
        block = 3 * (a // 3) * _L
        for j in range(_L):
            k1, k2, k3 = rows3(m, _K + 3 * a * _L + j)
            m[GRAD + a * _L + j] = product(m, _GB + block + j, k1, k2, k3)
    for k in range(2):
        sign = 1.0 - 2.0 * k
        at = 3 * k * _L
        hess = HESS + (3 * k * 6 + 3 * k) * _L
        for j in range(_L):
            r1 = m[_R + at + j]
            r2 = m[_R + at + _L + j]
            r3 = m[_R + at + 2 * _L + j]
            d1 = m[_D + at + j]
            d2 = m[_D + at + _L + j]
            d3 = m[_D + at + 2 * _L + j]
            b1 = sign * m[_GB + at + j]
            b2 = sign * m[_GB + at + _L + j]
            m[hess + j] += -2.0 * r1 * m[GRAD + at + j]
            m[hess + 7 * _L + j] += -2.0 * r2 * m[GRAD + at + _L + j]
            m[hess + 14 * _L + j] += -2.0 * r3 * m[GRAD + at + 2 * _L + j]
            h12 = (b2 * r3 - b1) * d1 * d2
            h13 = -b2 * (1.0 - r2) * d1 * d3
            h23 = (b2 * r1 - b1) * d2 * d3
            m[hess + _L + j] += h12
            m[hess + 6 * _L + j] += h12
            m[hess + 2 * _L + j] += h13
            m[hess + 12 * _L + j] += h13
            m[hess + 8 * _L + j] += h23
            m[hess + 13 * _L + j] += h23


@helper
def prepare(n: int, m: F64, impulse: F64) -> None:
    """Work out what depends on the parameters alone: b (n rows), V, and 1/2 ln D in row VALUE."""
    _coefficients(m)
    for j in range(_L):
        set3(m, _B + j, 1.0, 0.0, 0.0)
        set3(m, _H + j, 0.0, 0.0, 0.0)
        set3(m, _GG + j, 0.0, 0.0, 0.0)
        m[SSQ + j] = 1.0
    for t in range(n):
        for j in range(_L):
            impulse[t * _L + j] = m[_B + j]
        for j in range(_L):
            t1, t2, t3 = rows3(m, MA + j)
            b1, b2, b3 = rows3(m, _B + j)
            m[_GG + j] += b1 * b1
            m[_GG + _L + j] += b1 * b2
            m[_GG + 2 * _L + j] += b1 * b3
            set3(m, _B + j, -(t3 * b3) - t2 * b2 - t1 * b1, b1, b2)
    _value(n, m)


@scalar
def explained(m: F64, j: int, h1: float, h2: float, h3: float) -> float:
    """Evaluate what the initial state takes off the sum of squares: h'V h."""
    v11, v12, v13, v22, v23, v33 = rows6(m, _VV + j)
    s1, s2, s3 = times(v11, v12, v13, v22, v23, v33, h1, h2, h3)
    return h1 * s1 + h2 * s2 + h3 * s3


@helper
def evaluate(w: F64, n: int, p: int, q: int, m: F64) -> None:
    """Evaluate value, gradient and Hessian of a block of LANES lanes at the free parameters in rows X of `m`.

    `w` holds 3 + lead(n) rows of zeros and then n rows of LANES observations. Parameters above p and q must
    be 0; their rows of the Hessian stay 0.
    """
    _coefficients(m)
    _first_pass(w, n, m)
    _value(n, m)
    _second_pass(w, n, m)
    _complete(m)
    _gradient(n, m)
    for i in range(HESS, HESS + 36 * _L):
        m[i] = 0.0
    last = 3 + q  # bounds that are known only at run time keep LLVM from unrolling these loops
    for a in range(last):
        if a >= 3 or a < p:
            _direction(n, _K + 3 * a * _L, float(a // 3), m)
            for c in range(last):
                for j in range(_L):
                    k1, k2, k3 = rows3(m, _K + 3 * c * _L + j)
                    m[HESS + (6 * a + c) * _L + j] = product(m, _DG + 3 * (c // 3) * _L + j, k1, k2, k3)
    _chain(last, m)
