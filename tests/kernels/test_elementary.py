"""The elementary functions against mpmath, in units in the last place."""

import mpmath as mp
import numba
import numpy as np
import pytest

from kernels import _mills, elementary


def over_arrays(scalar):
    """A loop around a scalar, compiled as the kernels are."""

    @numba.njit(error_model="numpy", fastmath={"contract", "nsz"})
    def loop(x):
        out = np.empty_like(x)
        for i in range(x.size):
            out[i] = scalar(x[i])
        return out

    return loop


exp, exp_within, log, erfcx, norm_cdf, norm_pdf = map(
    over_arrays,
    (
        elementary.exp,
        elementary.exp_within,
        elementary.log,
        elementary.erfcx,
        elementary.norm_cdf,
        elementary.norm_pdf,
    ),
)


@numba.njit(error_model="numpy", fastmath={"contract", "nsz"})
def log_ratio(a, b):
    out = np.empty_like(a)
    for i in range(a.size):
        out[i] = elementary.log_ratio(a[i], b[i])
    return out


@numba.njit(error_model="numpy", fastmath={"contract", "nsz"})
def tail_pair(a, gap):
    out = np.empty((3, a.size))
    for i in range(a.size):
        b = a[i] + gap[i]
        out[0, i], out[1, i], out[2, i] = _mills.tail_pair(a[i], b, b - a[i])
    return out


def exact_erfcx(x):
    return mp.exp(x * x) * mp.erfc(x)


def exact_tail(x):
    return exact_erfcx(x / mp.sqrt(2)) / 2


def exact_cdf(x):
    return mp.erfc(-x / mp.sqrt(2)) / 2


def ulps(got, exact, x):
    """The largest error, in units in the last place of the exact result."""
    with mp.workdps(40):
        return max(
            float(abs(mp.mpf(float(g)) - e) / mp.mpf(float(np.spacing(abs(float(e))))))
            for g, e in ((g, exact(mp.mpf(float(z)))) for g, z in zip(got, x, strict=True))
        )


def around(*points):
    """Points with their two neighbouring doubles on each side."""
    centre = np.array(points)
    up, down = np.nextafter(centre, np.inf), np.nextafter(centre, -np.inf)
    return np.concatenate([centre, up, down, np.nextafter(up, np.inf), np.nextafter(down, -np.inf)])


RNG = np.random.default_rng(20)
HALF_LN2 = 0.5 * np.log(2)
REDUCTIONS = np.arange(-1000, 1000, 37) * 2 * HALF_LN2 + HALF_LN2  # where exp changes its power of two


@pytest.mark.parametrize(
    "x",
    [RNG.uniform(-708, 709, 8000), RNG.uniform(-1, 1, 8000), RNG.normal(0, 1e-6, 2000), around(*REDUCTIONS)],
    ids=["everywhere", "near 0", "tiny", "at the ends of the reduction"],
)
def test_exp_is_within_one_ulp(x):
    x = x[(x > -708) & (x < 709)]
    assert ulps(exp(x), mp.exp, x) <= 1


def test_exp_within_its_range_is_exp():
    x = np.concatenate(
        [RNG.uniform(-708, 709, 20_000), RNG.uniform(-1, 1, 20_000), REDUCTIONS[np.abs(REDUCTIONS) < 708]]
    )
    np.testing.assert_array_max_ulp(exp_within(x), exp(x), 1)
    few = x[:2000]
    assert ulps(exp_within(few), mp.exp, few) <= 1


def test_the_logarithm_of_a_ratio_keeps_its_digits_near_one_and_at_any_scale():
    b = 10 ** RNG.uniform(-300, 300, 4000)
    factor = np.concatenate([1 + 10 ** RNG.uniform(-15, -1, 2000), np.exp(RNG.uniform(-3, 3, 2000))])
    a = b * np.where(RNG.random(4000) < 0.5, factor, 1 / factor)
    a[:500] = 10 ** RNG.uniform(-300, 300, 500)
    got = log_ratio(a, b)
    with mp.workdps(40):
        exact = np.array([float(mp.log(mp.mpf(float(p)) / mp.mpf(float(q)))) for p, q in zip(a, b, strict=True)])
    assert (exact != 0).all()
    assert (np.abs(got - exact) / np.spacing(np.abs(exact))).max() <= 2
    assert (log_ratio(b, b) == 0).all()


def test_exp_of_zero_is_one():
    assert exp(np.array([0.0, -0.0])).tolist() == [1, 1]


def test_exp_ends_in_zero_and_in_its_largest_value():
    got = exp(np.array([-708.0, -708.0000001, -745.0, -np.inf, 709.0, 710.0, np.inf]))
    assert got[0] == pytest.approx(np.exp(-708.0), rel=1e-15)
    assert got[1:4].tolist() == [0, 0, 0]
    assert got[4] == pytest.approx(np.exp(709.0), rel=1e-15)
    assert got[5:].tolist() == [got[4], got[4]]


SQRT_HALF = np.sqrt(0.5)
TINY, HUGE = np.finfo(float).tiny, np.finfo(float).max


@pytest.mark.parametrize(
    "x",
    [
        np.exp(RNG.uniform(-708, 709, 8000)),
        RNG.uniform(0.5, 2, 8000),
        1 + RNG.normal(0, 1e-6, 2000),
        around(1.0, SQRT_HALF, 2 * SQRT_HALF, 0.25 * SQRT_HALF, 2**52 * SQRT_HALF),
        np.array([TINY, np.nextafter(TINY, 1), HUGE, np.nextafter(HUGE, 1)]),
        2.0 ** np.arange(-1022, 1024, 13),
    ],
    ids=["everywhere", "near 1", "very near 1", "at the ends of the reduction", "smallest and largest", "powers of 2"],
)
def test_log_is_within_one_ulp(x):
    x = x[x != 1]
    assert ulps(log(x), mp.log, x) <= 1


def test_log_of_one_is_zero():
    assert log(np.array([1.0]))[0] == 0


@pytest.mark.parametrize(
    "x",
    [RNG.uniform(0, 0.05, 3000), RNG.uniform(0, 27, 3000), 10 ** RNG.uniform(-20, 0, 500), around(3.75)],
    ids=["near 0", "everywhere", "tiny", "middle of the map"],
)
def test_erfcx_is_within_six_ulps(x):
    assert ulps(erfcx(x), exact_erfcx, x) <= 6


def test_erfcx_of_zero_is_one_and_of_huge_arguments_the_asymptote():
    assert erfcx(np.array([0.0]))[0] == pytest.approx(1, rel=3e-16)
    huge = np.array([1e5, 1e20, 1e150])
    np.testing.assert_allclose(erfcx(huge) * huge, 1 / np.sqrt(np.pi), rtol=1e-10)  # 1 / (2 x^2) is neglected


@pytest.mark.parametrize(
    "x",
    [RNG.uniform(-37.5, 0, 2500), RNG.normal(0, 2, 2500), 10 ** RNG.uniform(-300, -1, 300), around(-1.0, 1.0)],
    ids=["left tail", "normal", "tiny", "ones"],
)
def test_norm_cdf_is_within_six_ulps(x):
    assert ulps(norm_cdf(x), exact_cdf, x) <= 6


@pytest.mark.parametrize(
    ("x", "value"),  # mpmath, 40 digits
    [
        (-0.5, 0.30853753872598689636),
        (-1.0, 0.15865525393145705141),
        (-2.5, 0.006209665325776135167),
        (-5.0, 2.8665157187919391167e-7),
        (-8.0, 6.2209605742717841235e-16),
        (-10.0, 7.619853024160526066e-24),
        (-20.0, 2.7536241186062336951e-89),
        (-30.0, 4.9067139271481870595e-198),
        (-37.5, 4.6053530095819548438e-308),
        (1.25, 0.89435022633314474231),
    ],
)
def test_norm_cdf_gives_the_golden_numbers(x, value):
    assert norm_cdf(np.array([x]))[0] == pytest.approx(value, rel=8e-16)  # 6 ulps at worst


@pytest.mark.parametrize(
    ("x", "value"),  # mpmath, 40 digits
    [
        (0.5, 0.61569034419292587487),
        (1.0, 0.42758357615580700441),
        (3.75, 0.14558972127503853905),
        (10.0, 0.056140992743822585858),
        (26.5, 0.021275046685371105955),
    ],
)
def test_erfcx_gives_the_golden_numbers(x, value):
    assert erfcx(np.array([x]))[0] == pytest.approx(value, rel=8e-16)


def test_norm_cdf_reaches_its_limits():
    assert norm_cdf(np.array([0.0, 40.0, 1e300, np.inf, -40.0, -1e300, -np.inf])).tolist() == [0.5, 1, 1, 1, 0, 0, 0]


def test_norm_pdf_keeps_its_digits_in_the_tails():
    x = RNG.uniform(-37, 37, 2000)
    assert ulps(norm_pdf(x), mp.npdf, x) <= 3


def test_fma_rounds_once():
    @numba.njit
    def apply(x, y, z):
        return elementary.fma(x, y, z)

    x = 1 + 2.0**-30
    assert apply(x, x, -(1 + 2.0**-29)) == 2.0**-60


@pytest.fixture(scope="module")
def pairs():
    """Arguments over the whole range and gaps from 1e-8 to 3."""
    a = np.concatenate([RNG.uniform(_mills.LOWEST, 0.3, 400), RNG.uniform(0, 37, 400)])
    gap = 10 ** RNG.uniform(-8, 0.5, a.size)
    gap = np.where(a < 0, np.maximum(gap, -2 * a), gap)  # -a <= b, as d1 and d2 of an option are
    b = a + gap
    with mp.workdps(40):
        first = [exact_tail(mp.mpf(float(z))) for z in a]
        second = [exact_tail(mp.mpf(float(z))) for z in b]
        difference = [float(x - y) for x, y in zip(first, second, strict=True)]
    return tail_pair(a, gap), np.array([[float(z) for z in first], [float(z) for z in second], difference])


@pytest.mark.parametrize("which", [0, 1], ids=["first", "second"])
def test_the_pair_has_both_values(pairs, which):
    got, exact = pairs
    np.testing.assert_allclose(got[which], exact[which], rtol=1.6e-15)  # measured: 1.4e-15


def test_the_pair_has_the_difference_however_small_the_gap(pairs):
    got, exact = pairs
    np.testing.assert_allclose(got[2], exact[2], rtol=2.6e-15)  # measured: 2.2e-15
