"""Branch-free exp, log, erfcx and normal distribution, written so that LLVM vectorises the loops around them.

Numba has had no vector mathematics library since 0.62: a `math.exp` in a loop is a scalar library call, and one such
call keeps the whole loop from becoming packed code. These functions are straight lines of FMAs, selects and bit
operations. They are `scalar`s for use inside kernels; there is no array door here. No fast-math may reach them: the
argument reduction needs `(x + MAGIC) - MAGIC`, and the tails need their compensation terms.

Coefficients: minimax polynomials computed for this file; the shape of each reduction is Cody & Waite's (exp, log), the
single rational map of Shepherd & Laframboise (1981), Math. Comp. 36 (erfcx), and Cody's exact square (1969), Math.
Comp. 23 (normal distribution).
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels._jit import scalar


@intrinsic
def _bits(_typing: Any, _x: Any) -> Any:
    """Reinterpret a float64 as int64."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), generate


@intrinsic
def _float(_typing: Any, _i: Any) -> Any:
    """Reinterpret an int64 as float64."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), generate


@intrinsic
def fma(_typing: Any, _x: Any, _y: Any, _z: Any) -> Any:
    """Multiply and add with one rounding: x*y + z."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.fma(args[0], args[1], args[2])

    return types.float64(types.float64, types.float64, types.float64), generate


# Adding 1.5 * 2**52 rounds a small float to an integer and leaves that integer in the low bits of the sum.
_MAGIC = 6755399441055744.0
_MAGIC_BITS = 4843621399236968448
_LOG2_E = 1.4426950408889634
# ln 2 in two parts; the high one has trailing zeros, so n * _LN2_HIGH is exact for every exponent n.
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
_LN2 = 0.6931471805599453
_SQRT_HALF = 0.70710678118654752440
_SQRT_HALF_BITS = 0x3FE6A09E667F3BCD

# (e**r - 1 - r) / r**2 on |r| <= ln(2)/2, relative error 1.2e-17
_E0 = 0.5000000000000001
_E1 = 0.1666666666666667
_E2 = 0.04166666666662416
_E3 = 0.008333333333326141
_E4 = 0.0013888888917198588
_E5 = 0.00019841269874802173
_E6 = 2.4801521319879672e-05
_E7 = 2.755725542387984e-06
_E8 = 2.762007691611333e-07
_E9 = 2.510520706464424e-08

# (log((1+s)/(1-s)) - 2s) / s**3 in s**2, |s| <= 0.1716, error 4.5e-18
_L0 = 0.666666666666667
_L1 = 0.39999999999899005
_L2 = 0.28571428626173057
_L3 = 0.2222221110612709
_L4 = 0.1818289100504977
_L5 = 0.15331664799306263
_L6 = 0.14617093237558204

# The same for |s| <= 0.2005, error 4e-15 of it: 6e-17 of the logarithm
_R0 = 0.6666666666666694
_R1 = 0.3999999999932226
_R2 = 0.2857142884034198
_R3 = 0.22222182274131325
_R4 = 0.1818463659181331
_R5 = 0.1528307166641547
_R6 = 0.15124139936839126
_HALF_EXPONENT = 1 << 51

# (1 + 1.125x) * erfcx(x) in (x - 3.75)/(x + 3.75), x >= 0, error 8e-17. The weight 1.125 makes the curve flat at 0;
# with 2 the error of the argument cost 8 ulps there.
_C0 = 0.7597963579041074
_C1 = -0.19850743173361807
_C2 = 0.10089532548660309
_C3 = -0.025282038891114092
_C4 = -0.016312824191002925
_C5 = 0.027945162726369672
_C6 = -0.02245237621208227
_C7 = 0.012357259260630762
_C8 = -0.004693655008135777
_C9 = 0.0009763680528136643
_C10 = 9.851188556988726e-05
_C11 = -0.00014225684351739187
_C12 = 3.06191791440862e-05
_C13 = 9.88821912484479e-06
_C14 = -6.106725645554499e-06
_C15 = -2.631428313634206e-07
_C16 = 9.001277141780574e-07
_C17 = -5.941761335560493e-08
_C18 = -1.2658019061981166e-07
_C19 = 1.3865322614143836e-08
_C20 = 1.620942364323197e-08
_C21 = -1.349954421976934e-09
_C22 = -1.3298921928508158e-09


@scalar
def exp(x: float) -> float:
    """e**x: at most 1 ulp for x in [-708, 709]; 0 below -708 (no subnormals), e**709 above 709. NaN is not kept.

    The clamps hide NaN, as every min/max does: a kernel masks its rows from the raw inputs.
    """
    clamped = min(max(x, -708.0), 709.0)
    t = fma(clamped, _LOG2_E, _MAGIC)
    n = t - _MAGIC
    r = fma(-n, _LN2_LOW, fma(-n, _LN2_HIGH, clamped))
    r2 = r * r
    r4 = r2 * r2
    low = fma(fma(_E3, r, _E2), r2, fma(_E1, r, _E0))
    high = fma(fma(_E9, r, _E8), r4, fma(fma(_E7, r, _E6), r2, fma(_E5, r, _E4)))
    e = 1.0 + fma(fma(high, r4, low), r2, r)
    y = _float(_bits(e) + ((_bits(t) - _MAGIC_BITS) << 52))
    return y if x >= -708.0 else 0.0


@scalar
def exp_within(x: float) -> float:
    """e**x: at most 1 ulp for x in [-708, 709], garbage beyond and for NaN: a third of the work of `exp` less.

    For callers that refuse such rows anyway.
    """
    t = fma(x, _LOG2_E, _MAGIC)
    n = t - _MAGIC
    r = fma(-n, _LN2_LOW, fma(-n, _LN2_HIGH, x))
    r2 = r * r
    low = fma(fma(_E3, r, _E2), r2, fma(_E1, r, _E0))
    high = fma(fma(_E9, r, _E8), r2, fma(_E7, r, _E6))
    q = fma(fma(high, r2, fma(_E5, r, _E4)), r2 * r2, low)
    return _float(_bits(1.0 + fma(q, r2, r)) + (_bits(t) << 52))


@scalar
def log_ratio(a: float, b: float) -> float:
    """Evaluate ln(a/b) for normal a, b > 0: to 2 ulps also where they are nearly the same, with one division.

    Dividing first would round the ratio, which costs the logarithm of a ratio near 1 its digits; here the mantissas
    are brought within a factor of 1.5 of each other, so that their difference is exact.
    """
    bits = _bits(a)
    k = (bits - _bits(b) + _HALF_EXPONENT) >> 52
    near = _float(bits - (k << 52))
    k_float = _float(k + _MAGIC_BITS) - _MAGIC
    s = (near - b) / (near + b)
    z = s * s
    w = z * z
    odd = fma(fma(_R5, w, _R3), w, _R1)
    even = fma(fma(fma(_R6, w, _R4), w, _R2), w, _R0)
    tail = fma(s * z, fma(odd, z, even), k_float * _LN2_LOW)
    return fma(k_float, _LN2_HIGH, s + s) + tail


@scalar
def log(x: float) -> float:
    """Natural logarithm: at most 1 ulp for normal x > 0. Zero, negative, infinite and NaN arguments give garbage."""
    bits = _bits(x)
    k = (bits - _SQRT_HALF_BITS) >> 52
    f = _float(bits - (k << 52)) - 1.0
    k_float = _float(k + _MAGIC_BITS) - _MAGIC
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    even = fma(fma(fma(_L6, w, _L4), w, _L2), w, _L0)
    odd = fma(fma(_L5, w, _L3), w, _L1)
    half_square = 0.5 * f * f
    tail = fma(s, half_square + z * fma(odd, z, even), k_float * _LN2_LOW)
    return fma(k_float, _LN2_HIGH, f - (half_square - tail))


@scalar
def erfcx(x: float) -> float:
    """Scaled complementary error function e**(x*x) erfc(x), x >= 0: at most 6 ulp (5 measured)."""
    a = fma(1.125, x, 1.0)
    b = x + 3.75
    r = 1.0 / (a * b)
    t = (x - 3.75) * (a * r)
    t2 = t * t
    t4 = t2 * t2
    t8 = t4 * t4
    b0 = fma(fma(_C3, t, _C2), t2, fma(_C1, t, _C0))
    b1 = fma(fma(_C7, t, _C6), t2, fma(_C5, t, _C4))
    b2 = fma(fma(_C11, t, _C10), t2, fma(_C9, t, _C8))
    b3 = fma(fma(_C15, t, _C14), t2, fma(_C13, t, _C12))
    b4 = fma(fma(_C19, t, _C18), t2, fma(_C17, t, _C16))
    b5 = fma(_C22, t2, fma(_C21, t, _C20))
    return fma(fma(fma(b5, t4, b4), t8, fma(b3, t4, b2)), t8, fma(b1, t4, b0)) * (b * r)


@scalar
def norm_cdf(x: float) -> float:
    """Evaluate the standard normal distribution function: at most 6 ulp, relative in the left tail down to -37."""
    a = min(abs(x), 38.5)
    square = a * a
    e = exp(-0.5 * square)
    e = fma(e, -0.5 * fma(a, a, -square), e)  # the rounding error of the square, or the tail loses x*x ulps
    tail = 0.5 * e * erfcx(a * _SQRT_HALF)
    return tail if x < 0.0 else 1.0 - tail


@scalar
def norm_pdf(x: float) -> float:
    """Evaluate the standard normal density."""
    a = min(abs(x), 38.5)
    square = a * a
    e = exp(-0.5 * square)
    return 0.3989422804014327 * fma(e, -0.5 * fma(a, a, -square), e)
