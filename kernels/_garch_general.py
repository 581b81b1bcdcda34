"""The pass behind `garch` for every model and start: GJR, Student-t, and the sample-variance start.

The six parameters are mu, omega, alpha, gamma, beta and eta = 1/nu. With D = 1 - 2 eta and Q = D + eta r, r = e*e/h,
the weight p = (1 + eta)/Q is 1 at eta = 0, so the normal distribution needs no case of its own in any derivative; only
the value and the derivatives in eta do (Fiorentini, Sentana and Calzolari (2003), JBES 21, use the same eta).

The start: h0 = e0^2 = b + `own` * mu^2, where `own` is 0 for a backcast and 1 for the mean of (y - mu)^2, since the
block's series have mean zero; gamma's term gets half of it, as in arch.
"""

import math

import numpy as np

from kernels._arrays import F64, I64
from kernels._garch_recursion import FLUSH, LANES, LOG_TWO_PI
from kernels._jit import helper
from kernels.elementary import log


@helper
def digamma(x: float) -> tuple[float, float]:
    """First and second derivative of log Gamma for x > 0: recurrence up to 10, then the asymptotic series, 1e-14."""
    psi = 0.0
    psi1 = 0.0
    while x < 10.0:
        psi -= 1.0 / x
        psi1 += 1.0 / (x * x)
        x += 1.0
    z = 1.0 / (x * x)
    psi += math.log(x) - 0.5 / x
    psi -= z * (1 / 12 - z * (1 / 120 - z * (1 / 252 - z * (1 / 240 - z * (1 / 132 - z * 691 / 32760)))))
    psi1 += 1.0 / x + 0.5 * z
    psi1 += z / x * (1 / 6 - z * (1 / 30 - z * (1 / 42 - z * (1 / 30 - z * (5 / 66 - z * 691 / 2730)))))
    return psi, psi1


@helper
def student_constant(eta: float) -> tuple[float, float, float]:
    """Normalising constant of the unit-variance Student density, and its first two derivatives in eta; eta > 0."""
    nu = 1.0 / eta
    value = math.lgamma(0.5 * (nu + 1.0)) - math.lgamma(0.5 * nu) - 0.5 * math.log(math.pi * (nu - 2.0))
    psi_a, psi1_a = digamma(0.5 * (nu + 1.0))
    psi_b, psi1_b = digamma(0.5 * nu)
    first = 0.5 * (psi_a - psi_b - 1.0 / (nu - 2.0))
    second = 0.25 * (psi1_a - psi1_b) + 0.5 / (nu - 2.0) ** 2
    return value, -nu * nu * first, nu**4 * second + 2.0 * nu**3 * first


@helper
def general_pass(y: F64, lengths: I64, tall: int, backcast: F64, own: float, theta: F64, out: F64) -> None:
    """Evaluate likelihood, gradient and Hessian at theta[6, lane] into out[OUT, lane]."""
    s = np.zeros((18, LANES))  # state: square, slope of square, share, h, d[5], n[8], unused
    a = np.zeros((33, LANES))  # sums: see below
    for j in range(LANES):
        mu = theta[0, j]
        start = backcast[j] + own * mu * mu
        s[0, j] = start
        s[1, j] = 2.0 * own * mu
        s[2, j] = 0.5
        s[3, j] = start
        s[4, j] = 2.0 * own * mu
        s[9, j] = 2.0 * own
        a[1, j] = 1.0
        a[2, j] = 1.0
    for t in range(tall):
        curve = 2.0 if t > 0 else 2.0 * own  # second derivative of the square in mu
        for j in range(LANES):
            alpha = theta[2, j]
            gamma = theta[3, j]
            beta = theta[4, j]
            eta = theta[5, j]
            square = s[0, j]
            slope = s[1, j]
            share = s[2, j]
            h = s[3, j]
            d0, d1, d2, d3, d4 = s[4, j], s[5, j], s[6, j], s[7, j], s[8, j]
            response = alpha + gamma * share
            n00 = response * curve + beta * s[9, j]
            n02 = slope + beta * s[10, j]
            n03 = slope * share + beta * s[11, j]
            n04 = d0 + beta * s[12, j]
            n14 = d1 + beta * s[13, j]
            n24 = d2 + beta * s[14, j]
            n34 = d3 + beta * s[15, j]
            n44 = 2.0 * d4 + beta * s[16, j]
            d0 = response * slope + beta * d0
            d1 = 1.0 + beta * d1
            d2 = square + beta * d2
            d3 = square * share + beta * d3
            d4 = h + beta * d4
            h = theta[1, j] + response * square + beta * h
            active = t < lengths[j]
            e = y[t, j] - theta[0, j]
            inverse = 1.0 / h if active else 0.0
            r = e * e * inverse
            q = 1.0 - 2.0 * eta + eta * r
            iq = 1.0 / q
            p = (1.0 + eta) * iq
            p1r = -eta * p * iq * r  # dp/dr times r
            pe = iq * (1.0 - p * (r - 2.0))  # dp/d(eta)
            u = 0.5 * (p * r - 1.0) * inverse
            v = (0.5 - p * r - 0.5 * p1r * r) * inverse * inverse
            shock = e * inverse
            cross = (p + p1r) * shock * inverse
            tail = 0.5 * pe * r * inverse
            a[0, j] += r
            a[1, j] *= h if active else 1.0
            a[2, j] *= q if active else 1.0
            a[3, j] += iq if active else 0.0
            a[4, j] += iq * iq if active else 0.0
            a[5, j] += u * d0 + p * shock
            a[6, j] += u * d1
            a[7, j] += u * d2
            a[8, j] += u * d3
            a[9, j] += u * d4
            w0 = v * d0 - cross
            w1 = v * d1
            w2 = v * d2
            w3 = v * d3
            a[10, j] += u * n00 + (w0 - cross) * d0 - (p + 2.0 * p1r) * inverse
            a[11, j] += w0 * d1
            a[12, j] += u * n02 + w0 * d2
            a[13, j] += u * n03 + w0 * d3
            a[14, j] += u * n04 + w0 * d4
            a[15, j] += tail * d0 + pe * shock
            a[16, j] += w1 * d1
            a[17, j] += w1 * d2
            a[18, j] += w1 * d3
            a[19, j] += u * n14 + w1 * d4
            a[20, j] += tail * d1
            a[21, j] += w2 * d2
            a[22, j] += w2 * d3
            a[23, j] += u * n24 + w2 * d4
            a[24, j] += tail * d2
            a[25, j] += w3 * d3
            a[26, j] += u * n34 + w3 * d4
            a[27, j] += tail * d3
            a[28, j] += u * n44 + v * d4 * d4
            a[29, j] += tail * d4
            s[0, j] = e * e
            s[1, j] = -2.0 * e
            s[2, j] = 1.0 if e < 0.0 else 0.0
            s[3, j] = h
            s[4, j], s[5, j], s[6, j], s[7, j], s[8, j] = d0, d1, d2, d3, d4
            s[9, j], s[10, j], s[11, j], s[12, j] = n00, n02, n03, n04
            s[13, j], s[14, j], s[15, j], s[16, j] = n14, n24, n34, n44
        if (t + 1) % FLUSH == 0:
            for j in range(LANES):
                a[30, j] += log(a[1, j])
                a[31, j] += log(a[2, j])
                a[1, j] = 1.0
                a[2, j] = 1.0
    for j in range(LANES):
        n = float(lengths[j])
        for i in range(5):
            out[1 + i, j] = a[5 + i, j]
        for i in range(20):
            out[7 + i, j] = a[10 + i, j]
        out[0, j] = -0.5 * (a[30, j] + a[0, j] + n * LOG_TWO_PI)
        out[6, j] = 0.0
        out[27, j] = 0.0
        eta = theta[5, j]
        if eta > 0.0:
            _student_terms(n, eta, a[30, j], a[31, j], a[3, j], a[4, j], j, out)


@helper
def _student_terms(n: float, eta: float, log_h: float, log_q: float, iq: float, iq2: float, j: int, out: F64) -> None:
    # f = -(1 + eta)/(2 eta) (ln Q - ln D) and its derivatives, from the sums of ln Q, 1/Q and 1/Q^2
    constant, constant1, constant2 = student_constant(eta)
    d = 1.0 - 2.0 * eta
    excess = log_q - n * math.log(d)
    first = (n - iq) / eta + 2.0 * n / d
    second = (n - 2.0 * iq + iq2) / (eta * eta) - 4.0 * n / (d * d)
    factor = 0.5 * (1.0 + eta) / eta
    out[0, j] = n * constant - 0.5 * log_h - factor * excess
    out[6, j] = n * constant1 + 0.5 * excess / (eta * eta) - factor * first
    out[27, j] = n * constant2 - excess / eta**3 + first / (eta * eta) + factor * second


@helper
def score_pass(y: F64, lengths: I64, tall: int, backcast: F64, own: float, theta: F64, next_: F64, out: F64) -> None:
    """Sum the scores' outer products into out[21, lane]; the variance after the last observation into next_[lane]."""
    s = np.zeros((12, LANES))
    c = np.zeros((4, LANES))
    for j in range(LANES):
        mu = theta[0, j]
        start = backcast[j] + own * mu * mu
        s[0, j] = start
        s[1, j] = 2.0 * own * mu
        s[2, j] = 0.5
        s[3, j] = start
        s[4, j] = 2.0 * own * mu
        eta = theta[5, j]
        if eta > 0.0:
            _, constant1, _ = student_constant(eta)
            d = 1.0 - 2.0 * eta
            c[0, j] = constant1 - 0.5 * math.log(d) / (eta * eta) - 0.5 * (1.0 + eta) / eta * (1.0 / eta + 2.0 / d)
            c[1, j] = 0.5 / (eta * eta)
            c[2, j] = 0.5 * (1.0 + eta) / (eta * eta)
        for i in range(21):
            out[i, j] = 0.0
    b = np.zeros((21, LANES))
    for t in range(tall):
        for j in range(LANES):
            beta = theta[4, j]
            eta = theta[5, j]
            square = s[0, j]
            share = s[2, j]
            response = theta[2, j] + theta[3, j] * share
            d0 = response * s[1, j] + beta * s[4, j]
            d1 = 1.0 + beta * s[5, j]
            d2 = square + beta * s[6, j]
            d3 = square * share + beta * s[7, j]
            d4 = s[3, j] + beta * s[8, j]
            h = theta[1, j] + response * square + beta * s[3, j]
            active = t < lengths[j]
            e = y[t, j] - theta[0, j]
            inverse = 1.0 / h if active else 0.0
            r = e * e * inverse
            q = 1.0 - 2.0 * eta + eta * r
            iq = 1.0 / q
            p = (1.0 + eta) * iq
            u = 0.5 * (p * r - 1.0) * inverse
            g0 = u * d0 + p * e * inverse
            g1 = u * d1
            g2 = u * d2
            g3 = u * d3
            g4 = u * d4
            g5 = c[0, j] + c[1, j] * log(q) + c[2, j] * iq
            g5 = g5 if active else 0.0
            b[0, j] += g0 * g0
            b[1, j] += g0 * g1
            b[2, j] += g0 * g2
            b[3, j] += g0 * g3
            b[4, j] += g0 * g4
            b[5, j] += g0 * g5
            b[6, j] += g1 * g1
            b[7, j] += g1 * g2
            b[8, j] += g1 * g3
            b[9, j] += g1 * g4
            b[10, j] += g1 * g5
            b[11, j] += g2 * g2
            b[12, j] += g2 * g3
            b[13, j] += g2 * g4
            b[14, j] += g2 * g5
            b[15, j] += g3 * g3
            b[16, j] += g3 * g4
            b[17, j] += g3 * g5
            b[18, j] += g4 * g4
            b[19, j] += g4 * g5
            b[20, j] += g5 * g5
            # beyond the length the state stands still, so the last one is the one after the last observation
            s[0, j] = e * e if active else square
            s[1, j] = -2.0 * e
            s[2, j] = (1.0 if e < 0.0 else 0.0) if active else share
            s[3, j] = h if active else s[3, j]
            s[4, j], s[5, j], s[6, j], s[7, j], s[8, j] = d0, d1, d2, d3, d4
    for j in range(LANES):
        for i in range(21):
            out[i, j] = b[i, j]
        next_[j] = theta[1, j] + (theta[2, j] + theta[3, j] * s[2, j]) * s[0, j] + theta[4, j] * s[3, j]
