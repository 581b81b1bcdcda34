"""Two upper tails of the normal distribution and their difference at once, to a few ulps however close they are.

An out-of-the-money option is worth a density times the difference of two Mills ratios whose arguments lie
sd = sigma sqrt(tau) apart. Formed by subtraction it loses the digits that they share: all of them for small sd.
Here the difference comes from the divided difference of the polynomial that both share, computed beside its value for
no more arithmetic than a second value would take, so there is no subtraction to lose them in.

The polynomial was fitted for this file, in u = 1/(x + 5), which maps the half line to a short interval: the single
rational map of Shepherd & Laframboise (1981), Math. Comp. 36, moved so that it reaches a little below zero (an
at-the-money option needs that), and with u itself for weight, so that one reciprocal serves map and weight.
"""

from typing import Final

from kernels._jit import scalar
from kernels.elementary import fma

LOWEST: Final = -0.28
"""The smallest argument of `tail_pair`. (The fit reaches -0.36; its derivative is poor at the very end.)"""

# (x + 5) e^(x^2/2) Phi(-x) in u - _CENTRE, u = 1/(x + 5), x >= -0.36, relative error 5.2e-17
_CENTRE = 0.1078
_P0 = 0.8242614246597396
_P1 = 7.486991861213336
_P2 = 57.5036004029975
_P3 = 369.4257942842056
_P4 = 1939.2184295800573
_P5 = 7920.93932999898
_P6 = 22271.41908084306
_P7 = 23734.233422292902
_P8 = -119245.89152918855
_P9 = -572939.7401742665
_P10 = -106202.7645357316
_P11 = 6303084.869277114
_P12 = 11212497.427053684
_P13 = -66792910.593971096
_P14 = -208067317.38062683
_P15 = 817488602.6221408
_P16 = 3225714484.6392403
_P17 = -12127151831.150024
_P18 = -45877752102.50274
_P19 = 195269265424.79727
_P20 = 545538440247.5717
_P21 = -2660112023876.773
_P22 = -3908463767996.0947
_P23 = 20260191974843.36


@scalar
def _polynomial(t: float, v: float) -> tuple[float, float]:
    """Evaluate P(t) and (P(t) - P(v)) / (t - v) by Horner's rule, which gives the second from the first's steps."""
    p = fma(_P23, t, _P22)
    d = fma(_P23, v, p)
    p = fma(p, t, _P21)
    d = fma(d, v, p)
    p = fma(p, t, _P20)
    d = fma(d, v, p)
    p = fma(p, t, _P19)
    d = fma(d, v, p)
    p = fma(p, t, _P18)
    d = fma(d, v, p)
    p = fma(p, t, _P17)
    d = fma(d, v, p)
    p = fma(p, t, _P16)
    d = fma(d, v, p)
    p = fma(p, t, _P15)
    d = fma(d, v, p)
    p = fma(p, t, _P14)
    d = fma(d, v, p)
    p = fma(p, t, _P13)
    d = fma(d, v, p)
    p = fma(p, t, _P12)
    d = fma(d, v, p)
    p = fma(p, t, _P11)
    d = fma(d, v, p)
    p = fma(p, t, _P10)
    d = fma(d, v, p)
    p = fma(p, t, _P9)
    d = fma(d, v, p)
    p = fma(p, t, _P8)
    d = fma(d, v, p)
    p = fma(p, t, _P7)
    d = fma(d, v, p)
    p = fma(p, t, _P6)
    d = fma(d, v, p)
    p = fma(p, t, _P5)
    d = fma(d, v, p)
    p = fma(p, t, _P4)
    d = fma(d, v, p)
    p = fma(p, t, _P3)
    d = fma(d, v, p)
    p = fma(p, t, _P2)
    d = fma(d, v, p)
    p = fma(p, t, _P1)
    d = fma(d, v, p)
    return fma(p, t, _P0), d


@scalar
def tail_pair(a: float, b: float, gap: float) -> tuple[float, float, float]:
    """Evaluate T(a), T(b) and T(a) - T(b), where T(x) = e^(x^2/2) Phi(-x), with one division.

    Parameters
    ----------
    a, b : float
        From `LOWEST` to 1e150 (the product of the denominators must not overflow).
    gap : float
        b - a, as exactly as the caller has it: the difference inherits its relative error.

    Returns
    -------
    tuple of float
        The two values, relative error below 1.5e-15, and their difference, below 2.5e-15.
    """
    qa = a + 5.0
    qb = b + 5.0
    r = 1.0 / (qa * qb)
    u = qb * r
    v = qa * r
    value, slope = _polynomial(u - _CENTRE, v - _CENTRE)
    apart = gap * r  # u - v
    other = fma(-apart, slope, value)
    return u * value, v * other, apart * fma(v, slope, value)
