"""Gradient and Hessian of the exact ARMA log-likelihood from the sums that `arma_passes` has gathered.

The gradient uses adjoints: Y of the variance P of the initial state, Xi of the information G. The Hessian is forward
mode through the gradient, one free parameter at a time. All exact; lane loops of straight lines.
"""

from kernels._arrays import F64
from kernels._jit import helper
from kernels.arma_algebra import congruence, observability, outer_sum, state_covariance, times
from kernels.arma_layout import (
    AR,
    COLUMNS,
    DIRECTION,
    ES,
    EV,
    EX,
    EY,
    EZ,
    GG,
    GRAD,
    GRAD_CHANGE,
    GRAD_COEF,
    HESS,
    LAMBDA,
    MA,
    PARTIALS,
    SLOPES,
    SSQ,
    VV,
    XB,
    XI,
    XX,
    XZ,
    YY,
    ZB,
    ZZ,
    B,
    G,
    L,
    M,
    P,
    V,
    W,
)
from kernels.arma_passes import coefficients, complete, first_pass, second_pass, value
from kernels.lane_rows import product, product_down, rows3, rows5, rows6, rows9, set6


@helper
def _gradient(n: int, m: F64) -> None:
    """Differentiate the objective with respect to `ar` and `ma`, by the adjoints Y of P and Xi of G."""
    for j in range(L):
        f1, f2, f3 = rows3(m, AR + j)
        t1, t2, t3 = rows3(m, MA + j)
        g1 = f1 + t1
        g2 = f2 + t2
        g3 = f3 + t3
        q11, q12, q13, q22, q23, q33 = rows6(m, GG + j)
        m11, m12, m13, m21, m22, m23, m31, m32, m33 = rows9(m, M + j)
        w11 = q11 * m11 + q12 * m21 + q13 * m31
        w12 = q11 * m12 + q12 * m22 + q13 * m32
        w13 = q11 * m13 + q12 * m23 + q13 * m33
        w22 = q12 * m12 + q22 * m22 + q23 * m32
        w23 = q12 * m13 + q22 * m23 + q23 * m33
        w33 = q13 * m13 + q23 * m23 + q33 * m33
        l1, l2, l3 = rows3(m, LAMBDA + j)
        k = n / m[SSQ + j]
        h = 0.5 * k
        y11, y12, y13, y22, y23, y33 = observability(
            f1, f2, f3,
            0.5 * w11 - h * l1 * l1, 0.5 * w12 - h * l1 * l2, 0.5 * w13 - h * l1 * l3,
            0.5 * w22 - h * l2 * l2, 0.5 * w23 - h * l2 * l3, 0.5 * w33 - h * l3 * l3,
        )  # fmt: skip
        p11 = m[P + j]
        a1, a2, a3 = times(y11, y12, y13, y22, y23, y33, g1, g2, g3)
        c1, c2, c3 = times(y11, y12, y13, y22, y23, y33, f1 * p11 + m[P + L + j], f2 * p11 + m[P + 2 * L + j], f3 * p11)
        x11, x12, x13, x22, x23, x33 = state_covariance(
            -t1, -t2, -t3,
            m[VV + j], m[VV + L + j], m[VV + 2 * L + j],
            m[VV + 3 * L + j], m[VV + 4 * L + j], m[VV + 5 * L + j],
        )  # fmt: skip
        r1, r2, r3 = times(q11, q12, q13, q22, q23, q33, x12 - t1 * x11, x13 - t2 * x11, -t3 * x11)
        u1, u2, u3 = times(x11, x12, x13, x22, x23, x33, m[B + j], m[B + L + j], m[B + 2 * L + j])
        v2, v3, v4, v5, v6 = rows5(m, V + L + j)
        m[GRAD_COEF + j] = 2.0 * (a1 + c1) - k * m[EX + j]
        m[GRAD_COEF + L + j] = 2.0 * (a2 + c2) - k * m[EX + L + j]
        m[GRAD_COEF + 2 * L + j] = 2.0 * (a3 + c3) - k * m[EX + 2 * L + j]
        m[GRAD_COEF + 3 * L + j] = 2.0 * a1 - r1 - k * m[EZ + j] + u1 * v2 + u2 * v3 + u3 * v4
        m[GRAD_COEF + 4 * L + j] = 2.0 * a2 - r2 - k * m[EZ + L + j] + u1 * v3 + u2 * v4 + u3 * v5
        m[GRAD_COEF + 5 * L + j] = 2.0 * a3 - r3 - k * m[EZ + 2 * L + j] + u1 * v4 + u2 * v5 + u3 * v6
        set6(m, W + j, w11, w12, w13, w22, w23, w33)
        set6(m, YY + j, y11, y12, y13, y22, y23, y33)
        set6(m, XI + j, x11, x12, x13, x22, x23, x33)


@helper
def _direction(n: int, column: int, is_ma: float, m: F64) -> None:
    """Differentiate the gradient once more, along one free parameter: forward mode through `_gradient`."""
    for i in range(3):
        for j in range(L):
            m[DIRECTION + i * L + j] = m[column + i * L + j]
    for j in range(L):
        f1, f2, f3 = rows3(m, AR + j)
        t1, t2, t3 = rows3(m, MA + j)
        g1 = f1 + t1
        g2 = f2 + t2
        g3 = f3 + t3
        # c: change of the coefficients; df: of ar; dt: of ma.
        c1, c2, c3 = rows3(m, DIRECTION + j)
        df1 = (1.0 - is_ma) * c1
        df2 = (1.0 - is_ma) * c2
        df3 = (1.0 - is_ma) * c3
        dt1 = is_ma * c1
        dt2 = is_ma * c2
        dt3 = is_ma * c3
        p11 = m[P + j]
        tau1 = f1 * p11 + m[P + L + j]
        tau2 = f2 * p11 + m[P + 2 * L + j]
        tau3 = f3 * p11
        a11, a12, a13, a22, a23, a33 = outer_sum(df1, df2, df3, tau1, tau2, tau3)
        b11, b12, b13, b22, b23, b33 = outer_sum(c1, c2, c3, g1, g2, g3)
        dp11, dp12, dp13, dp22, dp23, dp33 = state_covariance(
            f1, f2, f3, a11 + b11, a12 + b12, a13 + b13, a22 + b22, a23 + b23, a33 + b33
        )
        q11, q12, q13, q22, q23, q33 = rows6(m, GG + j)
        be1, be2, be3 = rows3(m, B + j)
        v2, v3, v4, v5, v6 = rows5(m, V + L + j)
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
        m11, m12, m13, m21, m22, m23, m31, m32, m33 = rows9(m, M + j)
        v11, v12, v13, v22, v23, v33 = rows6(m, VV + j)
        w11, w12, w13, w22, w23, w33 = rows6(m, W + j)
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
        l1, l2, l3 = rows3(m, LAMBDA + j)
        # The initial state moves by da = V d(C'e) + M dP lambda, d(C'e) at a fixed initial state.
        s1 = -product_down(m, XB + j, df1, df2, df3)
        s2 = -product_down(m, XB + L + j, df1, df2, df3)
        s3 = -product_down(m, XB + 2 * L + j, df1, df2, df3)
        s1 = s1 - product_down(m, ZB + j, dt1, dt2, dt3)
        s2 = s2 - product_down(m, ZB + L + j, dt1, dt2, dt3)
        s3 = s3 - product_down(m, ZB + 2 * L + j, dt1, dt2, dt3)
        s1 = s1 - product(m, EV + j, dt1, dt2, dt3)
        s2 = s2 - product(m, EV + L + j, dt1, dt2, dt3)
        s3 = s3 - product(m, EV + 2 * L + j, dt1, dt2, dt3)
        pl1, pl2, pl3 = times(dp11, dp12, dp13, dp22, dp23, dp33, l1, l2, l3)
        da1, da2, da3 = times(v11, v12, v13, v22, v23, v33, s1, s2, s3)
        da1 = da1 + m11 * pl1 + m12 * pl2 + m13 * pl3
        da2 = da2 + m21 * pl1 + m22 * pl2 + m23 * pl3
        da3 = da3 + m31 * pl1 + m32 * pl2 + m33 * pl3
        ga1, ga2, ga3 = times(q11, q12, q13, q22, q23, q33, da1, da2, da3)
        dl1 = s1 - ga1
        dl2 = s2 - ga2
        dl3 = s3 - ga3
        ex1, ex2, ex3 = rows3(m, EX + j)
        ez1, ez2, ez3 = rows3(m, EZ + j)
        dssq = -2.0 * (df1 * ex1 + df2 * ex2 + df3 * ex3 + dt1 * ez1 + dt2 * ez2 + dt3 * ez3)
        dssq = dssq - (l1 * pl1 + l2 * pl2 + l3 * pl3)
        k = n / m[SSQ + j]
        dk = -k * dssq / m[SSQ + j]
        h = 0.5 * k
        dh = 0.5 * dk
        y11, y12, y13, y22, y23, y33 = rows6(m, YY + j)
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
        x11, x12, x13, x22, x23, x33 = rows6(m, XI + j)
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
        dv2 = -2.0 * product(m, G + 2 * L + j, dt1, dt2, dt3)
        dv3 = -2.0 * product(m, G + 3 * L + j, dt1, dt2, dt3)
        dv4 = -2.0 * product(m, G + 4 * L + j, dt1, dt2, dt3)
        dv5 = -2.0 * product(m, G + 5 * L + j, dt1, dt2, dt3)
        dv6 = -2.0 * product(m, G + 6 * L + j, dt1, dt2, dt3)
        ends1 = du1 * v2 + du2 * v3 + du3 * v4 + u1 * dv2 + u2 * dv3 + u3 * dv4
        ends2 = du1 * v3 + du2 * v4 + du3 * v5 + u1 * dv3 + u2 * dv4 + u3 * dv5
        ends3 = du1 * v4 + du2 * v5 + du3 * v6 + u1 * dv4 + u2 * dv5 + u3 * dv6
        # Changes of sum e x and of sum e z: through e (and the initial state in it), x and z.
        dex1 = product(m, XX + j, df1, df2, df3) + product(m, XZ + j, dt1, dt2, dt3)
        dex2 = product(m, XX + 3 * L + j, df1, df2, df3) + product(m, XZ + 3 * L + j, dt1, dt2, dt3)
        dex3 = product(m, XX + 6 * L + j, df1, df2, df3) + product(m, XZ + 6 * L + j, dt1, dt2, dt3)
        dex1 = dex1 + product(m, XB + j, da1, da2, da3) + product(m, EY + j, dt1, dt2, dt3)
        dex2 = dex2 + product(m, XB + 3 * L + j, da1, da2, da3) + product(m, EY + L + j, dt1, dt2, dt3)
        dex3 = dex3 + product(m, XB + 6 * L + j, da1, da2, da3) + product(m, EY + 2 * L + j, dt1, dt2, dt3)
        dez1 = product_down(m, XZ + j, df1, df2, df3)
        dez2 = product_down(m, XZ + L + j, df1, df2, df3)
        dez3 = product_down(m, XZ + 2 * L + j, df1, df2, df3)
        dez1 = dez1 + product(m, ZZ + j, dt1, dt2, dt3) + product(m, ZB + j, da1, da2, da3)
        dez2 = dez2 + product(m, ZZ + 3 * L + j, dt1, dt2, dt3) + product(m, ZB + 3 * L + j, da1, da2, da3)
        dez3 = dez3 + product(m, ZZ + 6 * L + j, dt1, dt2, dt3) + product(m, ZB + 6 * L + j, da1, da2, da3)
        dez1 = dez1 + product(m, EY + j, df1, df2, df3) + 2.0 * product(m, ES + j, dt1, dt2, dt3)
        dez2 = dez2 + product(m, EY + L + j, df1, df2, df3) + 2.0 * product(m, ES + L + j, dt1, dt2, dt3)
        dez3 = dez3 + product(m, EY + 2 * L + j, df1, df2, df3) + 2.0 * product(m, ES + 2 * L + j, dt1, dt2, dt3)
        dez1 = dez1 + product(m, EV + j, da1, da2, da3)
        dez2 = dez2 + product(m, EV + L + j, da1, da2, da3)
        dez3 = dez3 + product(m, EV + 2 * L + j, da1, da2, da3)
        m[GRAD_CHANGE + j] = 2.0 * (ya1 + yb1 + yc1 + yd1) + k * dex1 - dk * ex1
        m[GRAD_CHANGE + L + j] = 2.0 * (ya2 + yb2 + yc2 + yd2) + k * dex2 - dk * ex2
        m[GRAD_CHANGE + 2 * L + j] = 2.0 * (ya3 + yb3 + yc3 + yd3) + k * dex3 - dk * ex3
        m[GRAD_CHANGE + 3 * L + j] = 2.0 * (ya1 + yb1) - ra1 - rb1 + k * dez1 - dk * ez1 + ends1
        m[GRAD_CHANGE + 4 * L + j] = 2.0 * (ya2 + yb2) - ra2 - rb2 + k * dez2 - dk * ez2 + ends2
        m[GRAD_CHANGE + 5 * L + j] = 2.0 * (ya3 + yb3) - ra3 - rb3 + k * dez3 - dk * ez3 + ends3


@helper
def _chain(last: int, m: F64) -> None:
    """Carry the gradient over to the free parameters, and the curvature of that map into the Hessian."""
    for a in range(last):
        block = 3 * (a // 3) * L
        for j in range(L):
            k1, k2, k3 = rows3(m, COLUMNS + 3 * a * L + j)
            m[GRAD + a * L + j] = product(m, GRAD_COEF + block + j, k1, k2, k3)
    for k in range(2):
        sign = 1.0 - 2.0 * k
        at = 3 * k * L
        hess = HESS + (3 * k * 6 + 3 * k) * L
        for j in range(L):
            r1 = m[PARTIALS + at + j]
            r2 = m[PARTIALS + at + L + j]
            r3 = m[PARTIALS + at + 2 * L + j]
            d1 = m[SLOPES + at + j]
            d2 = m[SLOPES + at + L + j]
            d3 = m[SLOPES + at + 2 * L + j]
            b1 = sign * m[GRAD_COEF + at + j]
            b2 = sign * m[GRAD_COEF + at + L + j]
            m[hess + j] += -2.0 * r1 * m[GRAD + at + j]
            m[hess + 7 * L + j] += -2.0 * r2 * m[GRAD + at + L + j]
            m[hess + 14 * L + j] += -2.0 * r3 * m[GRAD + at + 2 * L + j]
            h12 = (b2 * r3 - b1) * d1 * d2
            h13 = -b2 * (1.0 - r2) * d1 * d3
            h23 = (b2 * r1 - b1) * d2 * d3
            m[hess + L + j] += h12
            m[hess + 6 * L + j] += h12
            m[hess + 2 * L + j] += h13
            m[hess + 12 * L + j] += h13
            m[hess + 8 * L + j] += h23
            m[hess + 13 * L + j] += h23


@helper
def evaluate(w: F64, n: int, p: int, q: int, m: F64) -> None:
    """Evaluate value, gradient and Hessian of a block of LANES lanes at the free parameters in rows X of `m`.

    `w` holds 3 + lead(n) rows of zeros and then n rows of LANES observations. Parameters above p and q must
    be 0; their rows of the Hessian stay 0.
    """
    coefficients(m)
    first_pass(w, n, m)
    value(n, m)
    second_pass(w, n, m)
    complete(m)
    _gradient(n, m)
    for i in range(HESS, HESS + 36 * L):
        m[i] = 0.0
    last = 3 + q  # bounds that are known only at run time keep LLVM from unrolling these loops
    for a in range(last):
        if a >= 3 or a < p:
            _direction(n, COLUMNS + 3 * a * L, float(a // 3), m)
            for c in range(last):
                for j in range(L):
                    k1, k2, k3 = rows3(m, COLUMNS + 3 * c * L + j)
                    m[HESS + (6 * a + c) * L + j] = product(m, GRAD_CHANGE + 3 * (c // 3) * L + j, k1, k2, k3)
    _chain(last, m)
