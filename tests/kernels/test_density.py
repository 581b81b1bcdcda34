"""What a smile says of the share at expiry: closed forms, integrals, printed numbers, edges."""

import mpmath as mp
import numpy as np
import pytest
from scipy import integrate
from scipy.special import ndtr

from kernels import density, smile
from tests.references import smile as reference

K = np.linspace(-0.6, 0.6, 61)


def svi(*params):
    columns = [np.atleast_1d(p) for p in params]
    return smile.Svi(*columns, np.zeros(1), np.ones(1), np.zeros(1, np.int8))


CLEAN = svi(*reference.CLEAN)


def test_flat_smile_is_the_lognormal():
    w = 0.2**2 * 0.25
    flat, sd = smile.flat(w), np.sqrt(w)
    z = (K + 0.5 * w) / sd
    np.testing.assert_allclose(density.cdf(flat, K)[0], ndtr(z), rtol=0, atol=1e-12)
    pdf = np.exp(-0.5 * z * z) / (sd * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(density.density(flat, K)[0], pdf, rtol=1e-12, atol=1e-300)
    put = np.exp(K) * ndtr(z) - ndtr(z - sd)
    np.testing.assert_allclose(density.put_value(flat, K)[0], put, rtol=0, atol=1e-15 * np.exp(0.6))


def test_clean_slice_has_the_computed_distribution():
    assert density.cdf(CLEAN, [-0.1])[0, 0] == pytest.approx(0.22189146, abs=5e-9)


def test_density_integrates_to_one_with_the_forward_as_mean_by_scipy():
    total = integrate.quad(lambda k: density.density(CLEAN, [k])[0, 0], -8, 8, epsabs=1e-12, limit=400, points=[0])[0]
    mean = integrate.quad(
        lambda k: np.exp(k) * density.density(CLEAN, [k])[0, 0], -8, 8, epsabs=1e-12, limit=400, points=[0]
    )[0]
    # 1e-6 asked for; the wings beyond 8 hold less than 1e-11
    assert total == pytest.approx(1, abs=1e-9)
    assert mean == pytest.approx(1, abs=1e-9)


@pytest.fixture(scope="module")
def many():
    """Slices free of arbitrage, some with a bend as sharp as 0.001."""
    rng = np.random.default_rng(1)
    n = 300
    w0 = rng.uniform(0.001, 0.5, n)
    b, rho = rng.uniform(0.05, 1, n) * np.sqrt(w0), rng.uniform(-0.9, 0.9, n)
    m, s = rng.uniform(-0.5, 0.5, n) * np.sqrt(w0), 10 ** rng.uniform(-3, 0, n)
    a = np.maximum(w0 - b * (np.hypot(m, s) - rho * m), 1e-4)
    g = smile.g(smile.Svi(a, b, rho, m, s, w0, w0, w0.astype(np.int8)), np.linspace(-20, 20, 8001)).min(axis=1)
    use = (g >= 0) & (b * (1 + abs(rho)) < 2)
    return smile.Svi(*(x[use] for x in (a, b, rho, m, s, w0, w0)), w0[use].astype(np.int8))


def test_moments_check_mass_and_mean(many):
    moments = density.moments(many)
    np.testing.assert_allclose(moments.integral, 1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(moments.mean, 1, rtol=0, atol=1e-12)


def test_model_free_variance_is_that_of_the_log_contract(many):
    variance = density.model_free_variance(many, 0.5)
    np.testing.assert_allclose(variance, -2 / 0.5 * density.moments(many).log_mean, rtol=1e-12)


def test_model_free_variance_of_a_flat_smile_is_its_variance():
    tau = 30 / 365
    # asked for: 1e-7; a sum over strikes 5 apart on a 100 share gives 0.0451
    assert density.model_free_variance(smile.flat(0.04 * tau), tau)[0] == pytest.approx(0.04, abs=1e-14)


def test_model_free_variance_is_the_integral_of_option_prices():
    def put(k):
        return density.put_value(CLEAN, [k])[0, 0] * np.exp(-k)

    def call(k):
        return (density.put_value(CLEAN, [k])[0, 0] + 1 - np.exp(k)) * np.exp(-k)

    total = sum(
        integrate.quad(f, a, b, epsabs=1e-12, limit=400)[0]
        for f, a, b in ((put, -3, -0.3), (put, -0.3, 0), (call, 0, 0.3), (call, 0.3, 2.5))
    )
    assert density.model_free_variance(CLEAN, 1.0)[0] == pytest.approx(2 * total, abs=1e-7)


def test_distribution_is_the_slope_of_put_values():
    h = 1e-5
    strike = np.exp(K)
    puts = [density.put_value(CLEAN, np.log(strike + d))[0] for d in (-h, h)]
    np.testing.assert_allclose((puts[1] - puts[0]) / (2 * h), density.cdf(CLEAN, K)[0], rtol=0, atol=2e-8)  # h**2


def test_density_is_the_slope_of_the_distribution():
    h = 1e-5
    slope = (density.cdf(CLEAN, K + h) - density.cdf(CLEAN, K - h)) / (2 * h)
    np.testing.assert_allclose(slope, density.density(CLEAN, K), rtol=0, atol=1e-7)  # h**2 p''


def test_density_is_negative_exactly_where_g_is():
    vogt = svi(*reference.VOGT)
    points = np.linspace(0.5, 1.2, 201)
    np.testing.assert_array_equal(density.density(vogt, points) < 0, smile.g(vogt, points) < 0)
    assert (density.density(vogt, points) < 0).any()


def test_distribution_rises(many):
    points = np.linspace(-2, 2, 501)
    assert np.diff(density.cdf(many, points), axis=1).min() > -1e-14


def test_put_values_are_right_to_the_last_digits():
    rng = np.random.default_rng(12)
    variance = np.exp(rng.uniform(-14.0, 1.0, 300))
    k = rng.uniform(-5.0, 5.0, 300) * np.sqrt(variance)
    got = density.put_value(smile.flat(variance), k[:, None])[:, 0]
    with mp.workdps(40):
        for w, x, value in zip(variance, k, got, strict=True):
            root, ratio = mp.sqrt(mp.mpf(w)), mp.exp(mp.mpf(x))
            d2 = -mp.mpf(x) / root - root / 2
            exact = ratio * mp.ncdf(-d2) - mp.ncdf(-d2 - root)
            assert abs(value - exact) <= 4e-16 * max(1, ratio)


def test_far_strikes_are_certain():
    np.testing.assert_allclose(density.cdf(smile.flat(0.01), [-5.0, 5.0])[0], [0, 1], rtol=0, atol=1e-16)
    assert density.put_value(smile.flat(0.01), [-5.0])[0, 0] == pytest.approx(0, abs=1e-16)
    assert density.put_value(smile.flat(0.01), [5.0])[0, 0] == pytest.approx(np.exp(5) - 1, rel=1e-15)


def test_expired_slice_is_a_step():
    flat = smile.flat(0.0)
    np.testing.assert_array_equal(density.cdf(flat, [-0.1, 0.0, 0.1])[0], [0, 1, 1])
    np.testing.assert_allclose(density.put_value(flat, [-0.1, 0.1])[0], [0, np.expm1(0.1)], rtol=1e-15)


@pytest.mark.parametrize("door", [density.density, density.cdf, density.put_value])
def test_bad_points_and_slices_are_nan_and_alone(door):
    slices = smile.flat([0.04, np.nan, 0.09])
    points = np.tile(K[:9], (3, 1))
    clean = door(slices, points)
    bad = points.copy()
    bad[0, 3], bad[0, 4] = np.nan, np.inf
    values = door(slices, bad)
    assert np.isnan(values[0, 3:5]).all()
    assert np.isnan(values[1]).all()
    keep = np.isfinite(bad) & np.array([[True], [False], [True]])
    np.testing.assert_array_equal(values[keep], clean[keep])


@pytest.mark.parametrize("door", [density.density, density.cdf, density.put_value])
def test_same_bits_in_any_place(door):
    points = np.linspace(-1, 1, 131)
    whole = door(CLEAN, points)[0]
    for i in (0, 1, 63, 64, 100, 130):
        assert door(CLEAN, points[i : i + 1])[0, 0] == whole[i]
        assert door(CLEAN, np.tile(points, (3, 1)))[2, i] == whole[i]


def test_empty():
    assert density.cdf(smile.flat(np.empty(0)), np.empty((0, 4))).shape == (0, 4)
    assert density.moments(smile.flat(np.empty(0))).mean.shape == (0,)
    assert density.cdf(CLEAN, np.empty((1, 0))).shape == (1, 0)
