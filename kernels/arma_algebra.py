"""The small matrices of an ARMA(p, q) model with p, q <= 3, as straight lines of arithmetic on one lane.

Everything here is a `scalar`: LLVM inlines it into lane loops and vectorises it across series, which it could not do
with 3 x 3 arrays. Symmetric matrices travel as their six entries (11, 12, 13, 22, 23, 33); unused coefficients are 0.

The model is w_t = ar_1 w_{t-1} + ... + e_t + ma_1 e_{t-1} + ..., and the state is alpha_i = what the past of w and e
adds to w_{t+i-1}, so that w_t = alpha_1 + e_t and alpha' = T alpha + g e with T the companion matrix of `ar`
(coefficients in the first column) and g = ar + ma.
"""

from kernels._jit import scalar
from kernels.elementary import exp


@scalar
def partial(x: float) -> float:
    """Map a free parameter to a partial autocorrelation in (-1, 1): tanh x."""
    a = exp(-2.0 * abs(x))
    r = (1.0 - a) / (1.0 + a)
    return r if x >= 0.0 else -r


@scalar
def levinson(r1: float, r2: float, r3: float) -> tuple[float, float, float]:
    """Turn partial autocorrelations into the coefficients of a stationary autoregression (Monahan 1984)."""
    a = r1 * (1.0 - r2)
    return a - r3 * r2, r2 - r3 * a, r3


@scalar
def stationary(c1: float, c2: float, c3: float) -> bool:
    """Tell whether 1 - c1 z - c2 z**2 - c3 z**3 has all roots outside the unit circle (Levinson backwards)."""
    k = 1.0 - c3 * c3
    b1 = (c1 + c3 * c2) / k
    b2 = (c2 + c3 * c1) / k
    a1 = b1 / (1.0 - b2)
    return (abs(c3) < 1.0) & (abs(b2) < 1.0) & (abs(a1) < 1.0)


@scalar
def state_covariance(
    f1: float, f2: float, f3: float,
    w11: float, w12: float, w13: float, w22: float, w23: float, w33: float,
) -> tuple[float, float, float, float, float, float]:  # fmt: skip
    """Solve P = T P T' + W for T the companion matrix of (f1, f2, f3).

    The shift in T makes every entry of P a sum along its diagonal of terms in the first row alone, so that the equation
    is 3 x 3, not 6 x 6; the entries below are then sums without subtraction.
    """
    s = f1 + f3
    pivot = 1.0 - f2 - s * f3
    slope = s * (f2 + f1 * f3)
    inner = w12 + w23 + s * w13
    twice = 2.0 * (f1 + f2 * f3)
    lead = 1.0 - f1 * f1 - f2 * f2 - f3 * f3 - 2.0 * f1 * f2 * f3
    p11 = (w11 + w22 + w33 + 2.0 * f2 * w13 + twice * inner / pivot) / (lead - twice * slope / pivot)
    p12 = (inner + slope * p11) / pivot
    p13 = w13 + f1 * f3 * p11 + f3 * p12
    p33 = f3 * f3 * p11 + w33
    p23 = f2 * f3 * p11 + f3 * p13 + w23
    p22 = f2 * f2 * p11 + 2.0 * f2 * p13 + p33 + w22
    return p11, p12, p13, p22, p23, p33


@scalar
def observability(
    f1: float, f2: float, f3: float,
    q11: float, q12: float, q13: float, q22: float, q23: float, q33: float,
) -> tuple[float, float, float, float, float, float]:  # fmt: skip
    """Solve Y = T' Y T + Q for T the companion matrix of (f1, f2, f3): the adjoint of `state_covariance`."""
    s = f1 + f3
    pivot = 1.0 - f2 - f3 * s
    tail = f2 * q22 + f3 * q23 + q13
    row = f1 + f2 * f3
    const = q12 + f3 * tail
    last = f2 + f1 * f3
    mixed = row + last * s
    right = q11 - f1 * q12 - f2 * q13 + f2 * f3 * q23 + f3 * f3 * (q22 + q33)
    y11 = (right + last * tail + mixed * const / pivot) / (1.0 - f3 * f3 - last * f2 - mixed * row / pivot)
    y12 = (row * y11 + const) / pivot
    y13 = f2 * y11 + s * y12 + tail
    return y11, y12, y13, y11 + q22, y12 + q23, y11 + q22 + q33


@scalar
def times(
    m11: float, m12: float, m13: float, m22: float, m23: float, m33: float, a: float, b: float, c: float
) -> tuple[float, float, float]:
    """Multiply a symmetric matrix by a vector."""
    return m11 * a + m12 * b + m13 * c, m12 * a + m22 * b + m23 * c, m13 * a + m23 * b + m33 * c


@scalar
def outer_sum(
    a1: float, a2: float, a3: float, b1: float, b2: float, b3: float
) -> tuple[float, float, float, float, float, float]:
    """Form a b' + b a', symmetric."""
    return 2.0 * a1 * b1, a1 * b2 + a2 * b1, a1 * b3 + a3 * b1, 2.0 * a2 * b2, a2 * b3 + a3 * b2, 2.0 * a3 * b3


@scalar
def congruence(
    m11: float, m12: float, m13: float, m21: float, m22: float, m23: float, m31: float, m32: float, m33: float,
    p11: float, p12: float, p13: float, p22: float, p23: float, p33: float,
) -> tuple[float, float, float, float, float, float]:  # fmt: skip
    """Form M P M' for symmetric P."""
    a1, a2, a3 = times(p11, p12, p13, p22, p23, p33, m11, m12, m13)
    b1, b2, b3 = times(p11, p12, p13, p22, p23, p33, m21, m22, m23)
    c1, c2, c3 = times(p11, p12, p13, p22, p23, p33, m31, m32, m33)
    return (
        a1 * m11 + a2 * m12 + a3 * m13, a1 * m21 + a2 * m22 + a3 * m23, a1 * m31 + a2 * m32 + a3 * m33,
        b1 * m21 + b2 * m22 + b3 * m23, b1 * m31 + b2 * m32 + b3 * m33, c1 * m31 + c2 * m32 + c3 * m33,
    )  # fmt: skip


@scalar
def inverse(
    b11: float, b12: float, b13: float, b21: float, b22: float, b23: float, b31: float, b32: float, b33: float
) -> tuple[float, float, float, float, float, float, float, float, float, float]:
    """Invert a 3 x 3 matrix by cofactors; the tenth result is its determinant."""
    c11 = b22 * b33 - b23 * b32
    c12 = b23 * b31 - b21 * b33
    c13 = b21 * b32 - b22 * b31
    det = b11 * c11 + b12 * c12 + b13 * c13
    k = 1.0 / det
    return (
        c11 * k, (b13 * b32 - b12 * b33) * k, (b12 * b23 - b13 * b22) * k,
        c12 * k, (b11 * b33 - b13 * b31) * k, (b13 * b21 - b11 * b23) * k,
        c13 * k, (b12 * b31 - b11 * b32) * k, (b11 * b22 - b12 * b21) * k, det,
    )  # fmt: skip
