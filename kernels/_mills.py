"""Two Mills ratios and their difference at once, the difference to a few ulps however close the two arguments are.

An out-of-the-money option is worth a density times the difference of two Mills ratios whose arguments lie
sd = sigma sqrt(tau) apart. Formed by subtraction it loses the digits that they share: all of them for small sd.
Here the difference comes from the divided difference of the polynomial that both share, computed beside its value for
no more arithmetic than a second value would take, so there is no subtraction to lose them in.

The polynomial was fitted for this file; the single rational map of the half line is that of Shepherd & Laframboise
(1981), Math. Comp. 36, moved so that it reaches a little below zero: an at-the-money option needs that.
"""

from typing import Final

from kernels._jit import scalar
from kernels.elementary import fma

LOWEST: Final = -0.2
"""The smallest argument of `erfcx_pair`. (The fit reaches -0.25; its derivative is poor at the very end.)"""

# (1 + 1.5x) * erfcx(x) in (x - 3.5)/(x + 4), x >= -0.25, error 4.4e-17
_A0 = 0.9705853475555893
_B0 = -0.18998908533364886
_A1 = 0.07138867297766743
_B1 = 0.031119284520336674
_A2 = -0.09033207235614552
_B2 = 0.10188909613783777
_A3 = -0.08087661961733568
_B3 = 0.04900809024387674
_A4 = -0.02243112042954795
_B4 = 0.007003208836718087
_A5 = -0.0008499288136648004
_B5 = -0.00044973894632397755
_A6 = 0.00026020035771416995
_B6 = -2.2463861156034325e-05
_A7 = -2.8777732051530186e-05
_B7 = 9.60794345539931e-06
_A8 = 2.3667981553366313e-06
_B8 = -1.806064811107563e-06
_A9 = -1.4455180079772552e-07
_B9 = 2.8960889246845974e-07
_A10 = 3.885554137095335e-09
_B10 = -3.934468383816996e-08
_A11 = 2.444087113589899e-10
_B11 = 3.262598265690913e-09


@scalar
def _even(u: float, v: float) -> tuple[float, float]:
    """Evaluate A(u) and (A(u) - A(v)) / (u - v) by Horner's rule, which gives the second from the first's steps."""
    p = fma(_A11, u, _A10)
    d = fma(_A11, v, p)
    p = fma(p, u, _A9)
    d = fma(d, v, p)
    p = fma(p, u, _A8)
    d = fma(d, v, p)
    p = fma(p, u, _A7)
    d = fma(d, v, p)
    p = fma(p, u, _A6)
    d = fma(d, v, p)
    p = fma(p, u, _A5)
    d = fma(d, v, p)
    p = fma(p, u, _A4)
    d = fma(d, v, p)
    p = fma(p, u, _A3)
    d = fma(d, v, p)
    p = fma(p, u, _A2)
    d = fma(d, v, p)
    p = fma(p, u, _A1)
    d = fma(d, v, p)
    return fma(p, u, _A0), d


@scalar
def _odd(u: float, v: float) -> tuple[float, float]:
    """Evaluate B(u) and (B(u) - B(v)) / (u - v) in the same way."""
    p = fma(_B11, u, _B10)
    d = fma(_B11, v, p)
    p = fma(p, u, _B9)
    d = fma(d, v, p)
    p = fma(p, u, _B8)
    d = fma(d, v, p)
    p = fma(p, u, _B7)
    d = fma(d, v, p)
    p = fma(p, u, _B6)
    d = fma(d, v, p)
    p = fma(p, u, _B5)
    d = fma(d, v, p)
    p = fma(p, u, _B4)
    d = fma(d, v, p)
    p = fma(p, u, _B3)
    d = fma(d, v, p)
    p = fma(p, u, _B2)
    d = fma(d, v, p)
    p = fma(p, u, _B1)
    d = fma(d, v, p)
    return fma(p, u, _B0), d


@scalar
def erfcx_pair(a: float, b: float, gap: float) -> tuple[float, float, float]:
    """Evaluate erfcx(a), erfcx(b) and erfcx(a) - erfcx(b) with one division.

    Parameters
    ----------
    a, b : float
        From `LOWEST` to 1e30 (the product of the denominators must not overflow).
    gap : float
        b - a, as exactly as the caller has it: the difference inherits its relative error.

    Returns
    -------
    tuple of float
        The two values, relative error below 1e-15, and their difference, below 2e-15.
    """
    weight_a = fma(1.5, a, 1.0)
    weight_b = fma(1.5, b, 1.0)
    qa = a + 4.0
    qb = b + 4.0
    weights = weight_a * weight_b
    qs = qa * qb
    r = 1.0 / (weights * qs)
    inverse_qs = weights * r
    inverse_weights = qs * r
    t = (a - 3.5) * qb * inverse_qs
    v = (b - 3.5) * qa * inverse_qs
    even, even_slope = _even(t * t, v * v)
    odd, odd_slope = _odd(t * t, v * v)
    # P(t) = A(t^2) + t B(t^2), so its divided difference is (t + v)(A' + v B') + B(t^2).
    slope = fma(t + v, fma(v, odd_slope, even_slope), odd)
    pa = fma(t, odd, even)
    pb = fma(v - t, slope, pa)
    difference = gap * fma(1.5, pa, -7.5 * weight_a * slope * inverse_qs) * inverse_weights
    return pa * weight_b * inverse_weights, pb * weight_a * inverse_weights, difference
