"""The exact ARMA log-likelihood by regression: the two passes over time, many (series, start) lanes at a time.

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

from kernels._arrays import F64
from kernels._jit import helper, scalar
from kernels.arma_algebra import inverse, levinson, partial, state_covariance, times
from kernels.arma_layout import (
    ALPHA,
    AR,
    CE,
    COLUMNS,
    DET,
    ES,
    EV,
    EX,
    EY,
    EZ,
    GG,
    LAMBDA,
    MA,
    PARTIALS,
    SLOPES,
    SSQ,
    STAGED_PULSE,
    STAGED_U,
    STAGED_W,
    STATES_END,
    SUMS_END,
    VALUE,
    VV,
    XB,
    XS,
    XX,
    XZ,
    ZB,
    ZZ,
    B,
    E,
    G,
    L,
    M,
    P,
    S,
    V,
    X,
    Y,
    Z,
)
from kernels.elementary import log
from kernels.lane_rows import gather, recur, rows3, rows4, rows5, rows6, set3, set4, set6, set9


@helper
def coefficients(m: F64) -> None:
    """Turn the free parameters into coefficients and the derivatives of the coefficients."""
    for i in range(6 * L):
        r = partial(m[X + i])
        m[PARTIALS + i] = r
        m[SLOPES + i] = 1.0 - r * r
    for k in range(2):
        at = 3 * k * L
        sign = 1.0 - 2.0 * k
        for j in range(L):
            r1 = m[PARTIALS + at + j]
            r2 = m[PARTIALS + at + L + j]
            r3 = m[PARTIALS + at + 2 * L + j]
            f1, f2, f3 = levinson(r1, r2, r3)
            m[AR + at + j] = sign * f1
            m[AR + at + L + j] = sign * f2
            m[AR + at + 2 * L + j] = sign * f3
            d1 = sign * m[SLOPES + at + j]
            d2 = sign * m[SLOPES + at + L + j]
            d3 = sign * m[SLOPES + at + 2 * L + j]
            m[COLUMNS + 3 * at + j] = (1.0 - r2) * d1
            m[COLUMNS + 3 * at + L + j] = -r3 * (1.0 - r2) * d1
            m[COLUMNS + 3 * at + 2 * L + j] = 0.0
            m[COLUMNS + 3 * at + 3 * L + j] = -(r1 + r3) * d2
            m[COLUMNS + 3 * at + 4 * L + j] = (1.0 + r1 * r3) * d2
            m[COLUMNS + 3 * at + 5 * L + j] = 0.0
            m[COLUMNS + 3 * at + 6 * L + j] = -r2 * d3
            m[COLUMNS + 3 * at + 7 * L + j] = -r1 * (1.0 - r2) * d3
            m[COLUMNS + 3 * at + 8 * L + j] = d3


@helper
def lead(n: int) -> int:
    """Count the rows of zeros before the first of n observations: time 0 and what fills the first group of four."""
    return 4 - n % 4


@helper
def _stage(w: F64, t: int, m: F64) -> None:
    """Copy four observations to fixed rows; at running offsets the main loops would not vectorise."""
    # A view, so that no index can be negative: Numba's wrap-around would make every load a gather (6 times slower).
    rows = w[t * L : (t + 7) * L]
    for j in range(L):
        f1, f2, f3 = rows3(m, AR + j)
        w3, w2, w1 = rows3(rows, j)
        wa, wb, wc, wd = rows4(rows, 3 * L + j)
        ua = wa - f1 * w1 - f2 * w2 - f3 * w3
        ub = wb - f1 * wa - f2 * w1 - f3 * w2
        uc = wc - f1 * wb - f2 * wa - f3 * w1
        ud = wd - f1 * wc - f2 * wb - f3 * wa
        set4(m, STAGED_U + j, ua, ub, uc, ud)
        set4(m, STAGED_W + j, wa, wb, wc, wd)


@helper
def _start(t: int, zero: int, state: int, m: F64) -> None:
    """Let b start at time 0 and take the initial state out of the next three observations, if these four hold them."""
    for k in range(4):
        since = t + k - zero
        for j in range(L):
            m[STAGED_PULSE + k * L + j] = 1.0 if since == 0 else 0.0
        if state >= 0 and 1 <= since <= 3:
            for j in range(L):
                m[STAGED_U + k * L + j] -= m[state + (since - 1) * L + j]


@helper
def first_pass(w: F64, n: int, m: F64) -> None:
    """Run the bare difference equation: |e0|^2, C'e0, the first row of C'C and the last values of b."""
    for i in range(E, XS):
        m[i] = 0.0
    for j in range(L):
        m[SSQ + j] = 0.0
        set3(m, CE + j, 0.0, 0.0, 0.0)
        set3(m, GG + j, 0.0, 0.0, 0.0)
    zero = lead(n) - 1
    for t in range(0, n + zero + 1, 4):
        _stage(w, t, m)
        if t <= 4:
            _start(t, zero, -1, m)
        for j in range(L):
            t1, t2, t3 = rows3(m, MA + j)
            e1, e2, e3 = rows3(m, E + j)
            ia, ib, ic, id_ = rows4(m, STAGED_U + j)
            ea, eb, ec, ed = recur(ia, ib, ic, id_, t1, t2, t3, e1, e2, e3)
            b1, b2, b3 = rows3(m, B + j)
            ia, ib, ic, id_ = rows4(m, STAGED_PULSE + j)
            ba, bb, bc, bd = recur(ia, ib, ic, id_, t1, t2, t3, b1, b2, b3)
            gather(m, SSQ + j, ea, eb, ec, ed, ea, eb, ec, ed)
            gather(m, CE + j, ea, eb, ec, ed, b1, ba, bb, bc)
            gather(m, CE + L + j, ea, eb, ec, ed, b2, b1, ba, bb)
            gather(m, CE + 2 * L + j, ea, eb, ec, ed, b3, b2, b1, ba)
            gather(m, GG + j, b1, ba, bb, bc, b1, ba, bb, bc)
            gather(m, GG + L + j, b1, ba, bb, bc, b2, b1, ba, bb)
            gather(m, GG + 2 * L + j, b1, ba, bb, bc, b3, b2, b1, ba)
            set3(m, E + j, ed, ec, eb)
            set3(m, B + j, bd, bc, bb)


@helper
def value(n: int, m: F64) -> None:
    """Solve for the initial state and evaluate S, D and the objective from the sums of the first pass."""
    half = 0.5 * n
    for j in range(L):
        f1, f2, f3 = rows3(m, AR + j)
        t1, t2, t3 = rows3(m, MA + j)
        g1 = f1 + t1
        g2 = f2 + t2
        g3 = f3 + t3
        p11, p12, p13, p22, p23, p33 = state_covariance(
            f1, f2, f3, g1 * g1, g1 * g2, g1 * g3, g2 * g2, g2 * g3, g3 * g3
        )
        _, b2, b3 = rows3(m, B + j)
        q11, q12, q13 = rows3(m, GG + j)
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
        h1, h2, h3 = rows3(m, CE + j)
        s1, s2, s3 = times(v11, v12, v13, v22, v23, v33, h1, h2, h3)
        ssq = m[SSQ + j] - (h1 * s1 + h2 * s2 + h3 * s3)
        l1, l2, l3 = times(q11, q12, q13, q22, q23, q33, s1, s2, s3)
        set3(m, ALPHA + j, s1, s2, s3)
        m[LAMBDA + j] = h1 - l1
        m[LAMBDA + L + j] = h2 - l2
        m[LAMBDA + 2 * L + j] = h3 - l3
        m[SSQ + j] = ssq
        m[DET + j] = det
        # Rounding may leave S or D at or below zero next to several unit roots at once: such a point is no optimum.
        good = (ssq > 0.0) & (det > 0.0)
        m[VALUE + j] = half * log(ssq if good else 1.0) + 0.5 * log(det if good else 1.0) + (0.0 if good else 1e300)
        set6(m, P + j, p11, p12, p13, p22, p23, p33)
        set6(m, GG + j, q11, q12, q13, q22, q23, q33)
        set9(m, M + j, m11, m12, m13, m21, m22, m23, m31, m32, m33)
        set6(m, VV + j, v11, v12, v13, v22, v23, v33)


@helper
def _observe(m: F64) -> None:
    """Take four staged observations into e, x, z and b, and their lagged products.

    Four at a time because the loop is bound by stores: every sum is then written once, not four times, and the whole
    evaluation is 1.4 times faster. Names: e1, e2, e3 are the lags on entry, ea .. ed the four new values.
    """
    for j in range(L):
        t1, t2, t3 = rows3(m, MA + j)
        e1, e2, e3 = rows3(m, E + j)
        ia, ib, ic, id_ = rows4(m, STAGED_U + j)
        ea, eb, ec, ed = recur(ia, ib, ic, id_, t1, t2, t3, e1, e2, e3)
        set4(m, E + j, ed, ec, eb, ea)
        x1, x2, x3 = rows3(m, XS + j)
        ia, ib, ic, id_ = rows4(m, STAGED_W + j)
        xa, xb, xc, xd = recur(ia, ib, ic, id_, t1, t2, t3, x1, x2, x3)
        set4(m, XS + j, xd, xc, xb, xa)
        gather(m, EX + j, ea, eb, ec, ed, x1, xa, xb, xc)
        gather(m, EX + L + j, ea, eb, ec, ed, x2, x1, xa, xb)
        gather(m, EX + 2 * L + j, ea, eb, ec, ed, x3, x2, x1, xa)
        gather(m, XX + j, x1, xa, xb, xc, x1, xa, xb, xc)
        gather(m, XX + L + j, x1, xa, xb, xc, x2, x1, xa, xb)
        gather(m, XX + 2 * L + j, x1, xa, xb, xc, x3, x2, x1, xa)
        z1, z2, z3 = rows3(m, Z + j)
        za, zb, zc, zd = recur(ea, eb, ec, ed, t1, t2, t3, z1, z2, z3)
        set4(m, Z + j, zd, zc, zb, za)
        gather(m, EZ + j, ea, eb, ec, ed, z1, za, zb, zc)
        gather(m, EZ + L + j, ea, eb, ec, ed, z2, z1, za, zb)
        gather(m, EZ + 2 * L + j, ea, eb, ec, ed, z3, z2, z1, za)
        gather(m, ZZ + j, z1, za, zb, zc, z1, za, zb, zc)
        gather(m, ZZ + L + j, z1, za, zb, zc, z2, z1, za, zb)
        gather(m, ZZ + 2 * L + j, z1, za, zb, zc, z3, z2, z1, za)
        gather(m, XZ + j, x1, xa, xb, xc, z1, za, zb, zc)
        gather(m, XZ + L + j, x1, xa, xb, xc, z2, z1, za, zb)
        gather(m, XZ + 2 * L + j, x1, xa, xb, xc, z3, z2, z1, za)
        gather(m, XZ + 3 * L + j, x2, x1, xa, xb, z1, za, zb, zc)
        gather(m, XZ + 6 * L + j, x3, x2, x1, xa, z1, za, zb, zc)
        b1, b2, b3 = rows3(m, B + j)
        ia, ib, ic, id_ = rows4(m, STAGED_PULSE + j)
        ba, bb, bc, bd = recur(ia, ib, ic, id_, t1, t2, t3, b1, b2, b3)
        set4(m, B + j, bd, bc, bb, ba)
        gather(m, XB + j, x1, xa, xb, xc, b1, ba, bb, bc)
        gather(m, XB + L + j, x1, xa, xb, xc, b2, b1, ba, bb)
        gather(m, XB + 2 * L + j, x1, xa, xb, xc, b3, b2, b1, ba)
        gather(m, XB + 3 * L + j, x2, x1, xa, xb, b1, ba, bb, bc)
        gather(m, XB + 6 * L + j, x3, x2, x1, xa, b1, ba, bb, bc)
        gather(m, ZB + j, z1, za, zb, zc, b1, ba, bb, bc)
        gather(m, ZB + L + j, z1, za, zb, zc, b2, b1, ba, bb)
        gather(m, ZB + 2 * L + j, z1, za, zb, zc, b3, b2, b1, ba)
        gather(m, ZB + 3 * L + j, z2, z1, za, zb, b1, ba, bb, bc)
        gather(m, ZB + 6 * L + j, z3, z2, z1, za, b1, ba, bb, bc)


@helper
def _observe_twice_filtered(m: F64) -> None:
    """Take the four new values of x, z and b into y, s, v and g, and the products of e with their lags 2 to 6."""
    for j in range(L):
        t1, t2, t3 = rows3(m, MA + j)
        ed, ec, eb, ea = rows4(m, E + j)
        y1, y2, y3, y4, y5, y6 = rows6(m, Y + j)
        id_, ic, ib, ia = rows4(m, XS + j)
        ya, yb, yc, yd = recur(ia, ib, ic, id_, t1, t2, t3, y1, y2, y3)
        gather(m, EY + j, ea, eb, ec, ed, y2, y1, ya, yb)
        gather(m, EY + L + j, ea, eb, ec, ed, y3, y2, y1, ya)
        gather(m, EY + 2 * L + j, ea, eb, ec, ed, y4, y3, y2, y1)
        gather(m, EY + 3 * L + j, ea, eb, ec, ed, y5, y4, y3, y2)
        gather(m, EY + 4 * L + j, ea, eb, ec, ed, y6, y5, y4, y3)
        set6(m, Y + j, yd, yc, yb, ya, y1, y2)
    for j in range(L):
        t1, t2, t3 = rows3(m, MA + j)
        ed, ec, eb, ea = rows4(m, E + j)
        s1, s2, s3, s4, s5, s6 = rows6(m, S + j)
        id_, ic, ib, ia = rows4(m, Z + j)
        sa, sb, sc, sd = recur(ia, ib, ic, id_, t1, t2, t3, s1, s2, s3)
        gather(m, ES + j, ea, eb, ec, ed, s2, s1, sa, sb)
        gather(m, ES + L + j, ea, eb, ec, ed, s3, s2, s1, sa)
        gather(m, ES + 2 * L + j, ea, eb, ec, ed, s4, s3, s2, s1)
        gather(m, ES + 3 * L + j, ea, eb, ec, ed, s5, s4, s3, s2)
        gather(m, ES + 4 * L + j, ea, eb, ec, ed, s6, s5, s4, s3)
        set6(m, S + j, sd, sc, sb, sa, s1, s2)
    for j in range(L):
        t1, t2, t3 = rows3(m, MA + j)
        ed, ec, eb, ea = rows4(m, E + j)
        v1, v2, v3, v4, v5, v6 = rows6(m, V + j)
        id_, ic, ib, ia = rows4(m, B + j)
        va, vb, vc, vd = recur(ia, ib, ic, id_, t1, t2, t3, v1, v2, v3)
        gather(m, EV + j, ea, eb, ec, ed, v2, v1, va, vb)
        gather(m, EV + L + j, ea, eb, ec, ed, v3, v2, v1, va)
        gather(m, EV + 2 * L + j, ea, eb, ec, ed, v4, v3, v2, v1)
        gather(m, EV + 3 * L + j, ea, eb, ec, ed, v5, v4, v3, v2)
        gather(m, EV + 4 * L + j, ea, eb, ec, ed, v6, v5, v4, v3)
        set6(m, V + j, vd, vc, vb, va, v1, v2)
    for j in range(L):
        t1, t2, t3 = rows3(m, MA + j)
        g1, g2, g3, g4, g5 = rows5(m, G + j)
        id_, ic, ib, ia = rows4(m, V + j)
        ga, gb, gc, gd = recur(ia, ib, ic, id_, t1, t2, t3, g1, g2, g3)
        set9(m, G + j, gd, gc, gb, ga, g1, g2, g3, g4, g5)


@helper
def second_pass(w: F64, n: int, m: F64) -> None:
    """Run the innovations from the solved initial state and gather every lagged product of the derivatives."""
    for i in range(E, STATES_END):
        m[i] = 0.0
    for i in range(EX, SUMS_END):
        m[i] = 0.0
    zero = lead(n) - 1
    for t in range(0, n + zero + 1, 4):
        _stage(w, t, m)
        if t <= 8:
            _start(t, zero, ALPHA, m)
        _observe(m)
        _observe_twice_filtered(m)


@helper
def _fill(total: int, left: int, right: int, m: F64) -> None:
    """Complete sums a_{t-i} b_{t-j} from their first row and column: a shift by one drops the last product."""
    for j in range(L):
        a2 = m[left + L + j]
        a3 = m[left + 2 * L + j]
        b2 = m[right + L + j]
        b3 = m[right + 2 * L + j]
        middle = m[total + j] - a2 * b2
        m[total + 4 * L + j] = middle
        m[total + 5 * L + j] = m[total + L + j] - a2 * b3
        m[total + 7 * L + j] = m[total + 3 * L + j] - a3 * b2
        m[total + 8 * L + j] = middle - a3 * b3


@helper
def complete(m: F64) -> None:
    """Fill the tables of lagged products; those of one series with itself are symmetric."""
    for j in range(L):
        m[XX + 3 * L + j] = m[XX + L + j]
        m[XX + 6 * L + j] = m[XX + 2 * L + j]
        m[ZZ + 3 * L + j] = m[ZZ + L + j]
        m[ZZ + 6 * L + j] = m[ZZ + 2 * L + j]
    _fill(XX, XS, XS, m)
    _fill(ZZ, Z, Z, m)
    _fill(XZ, XS, Z, m)
    _fill(XB, XS, B, m)
    _fill(ZB, Z, B, m)


@helper
def prepare(n: int, m: F64, impulse: F64) -> None:
    """Work out what depends on the parameters alone: b (n rows), V, and 1/2 ln D in row VALUE."""
    coefficients(m)
    for j in range(L):
        set3(m, B + j, 1.0, 0.0, 0.0)
        set3(m, CE + j, 0.0, 0.0, 0.0)
        set3(m, GG + j, 0.0, 0.0, 0.0)
        m[SSQ + j] = 1.0
    for t in range(n):
        for j in range(L):
            impulse[t * L + j] = m[B + j]
        for j in range(L):
            t1, t2, t3 = rows3(m, MA + j)
            b1, b2, b3 = rows3(m, B + j)
            m[GG + j] += b1 * b1
            m[GG + L + j] += b1 * b2
            m[GG + 2 * L + j] += b1 * b3
            set3(m, B + j, -(t3 * b3) - t2 * b2 - t1 * b1, b1, b2)
    value(n, m)


@scalar
def explained(m: F64, j: int, h1: float, h2: float, h3: float) -> float:
    """Evaluate what the initial state takes off the sum of squares: h'V h."""
    v11, v12, v13, v22, v23, v33 = rows6(m, VV + j)
    s1, s2, s3 = times(v11, v12, v13, v22, v23, v33, h1, h2, h3)
    return h1 * s1 + h2 * s2 + h3 * s3
