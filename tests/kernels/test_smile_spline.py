"""The spline on top of a slice: the fit itself, what it is for, and what it must never do."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline, make_smoothing_spline

from kernels import density, smile, smile_spline
from kernels.smile import Svi
from kernels.spline import WORK, smooth

CLEAN = Svi(*(np.array([v]) for v in (0.01, 0.08, -0.4, 0.0, 0.15, 0.0, 1.0)), np.zeros(1, np.int8))


def wavy(k: np.ndarray) -> np.ndarray:
    """A smile that five parameters cannot have: SVI and a gentle wave."""
    return smile.total_variance(CLEAN, k[None])[0] * (1.0 + 0.02 * np.sin(k / 0.08))


def quotes(spread: float, n: int = 60) -> tuple[np.ndarray, ...]:
    k = np.linspace(-0.4, 0.3, n)
    w = wavy(k)
    return k[None], w[None], (w * (1.0 - spread))[None], (w * (1.0 + spread))[None]


@pytest.mark.parametrize("stiffness", [1e-3, 0.1, 10.0])
def test_the_smoothing_is_reinschs(stiffness):
    rng = np.random.default_rng(3)
    x = np.sort(rng.uniform(-4, 4, 30))
    y, weight = np.sin(x) + rng.normal(0, 0.1, 30), rng.uniform(0.2, 3.0, 30)
    value, curve = np.empty(30), np.empty(30)
    smooth(x, y, weight, 30, stiffness, np.empty((WORK, 30)), value, curve)
    reference = make_smoothing_spline(x, y, w=weight, lam=stiffness)
    np.testing.assert_allclose(value, reference(x), atol=1e-9)
    np.testing.assert_allclose(curve, reference(x, 2), atol=1e-7)


def test_a_smile_with_a_spline_has_its_values_and_derivatives():
    knot = np.array([[-0.3, -0.1, 0.05, 0.2, np.nan]])
    natural = CubicSpline(knot[0, :4], [0.0, 1e-3, -5e-4, 0.0], bc_type="natural")
    value, curve = (np.append(natural(knot[0, :4], d), np.nan)[None] for d in (0, 2))
    splined = CLEAN._replace(knot=knot, value=value, curve=curve)
    k = np.linspace(-0.5, 0.4, 181)[None]
    inside = (k >= -0.3) & (k <= 0.2)
    for d, (whole, plain) in enumerate(zip(smile.derivatives(splined, k), smile.derivatives(CLEAN, k), strict=True)):
        np.testing.assert_allclose(whole - plain, np.where(inside, natural(k, d), 0.0), atol=1e-12)


def test_five_parameters_that_meet_the_quotes_get_no_spline():
    k = np.linspace(-0.4, 0.3, 30)
    w = smile.total_variance(CLEAN, k[None])
    refined = smile_spline.refine(CLEAN, k[None], w, 0.99 * w, 1.01 * w)
    assert np.isnan(refined.knot).all()
    np.testing.assert_array_equal(density.cdf(refined, k[None]), density.cdf(CLEAN, k[None]))


def test_a_spline_meets_what_five_parameters_miss():
    k, w, low, high = quotes(0.004)
    plain = CLEAN
    refined = smile_spline.refine(plain, k, w, low, high)
    shares = [
        float(np.mean((low <= fitted) & (fitted <= high)))
        for fitted in (smile.total_variance(svi, k) for svi in (plain, refined))
    ]
    assert shares[0] < 0.7
    assert shares[1] >= smile_spline.ENOUGH


def test_the_smoothest_that_passes_is_taken():
    def roughness(spread: float) -> float:
        refined = smile_spline.refine(CLEAN, *quotes(spread))
        return float(np.nansum(np.abs(np.diff(refined.curve))))

    assert roughness(0.01) < roughness(0.003)


def test_its_distribution_is_one():
    k, w, low, high = quotes(0.004)
    refined = smile_spline.refine(CLEAN, k, w, low, high)
    assert np.isfinite(refined.knot).any()
    x = np.linspace(-3.0, 3.0, 60001)[None]
    p = density.density(refined, x)[0]
    assert p.min() >= 0.0
    assert np.trapezoid(p, x[0]) == pytest.approx(1.0, abs=1e-5)
    assert np.trapezoid(p * np.exp(x[0]), x[0]) == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(density.cdf(refined, x)[0], np.cumsum(p) * 1e-4, atol=2e-4)
    moments = density.moments(refined)
    assert (moments.integral[0], moments.mean[0]) == pytest.approx((1.0, 1.0), abs=1e-5)
    # The log contract is worth minus twice the mean log return.
    assert density.model_free_variance(refined, 0.25)[0] * 0.25 == pytest.approx(-2.0 * moments.log_mean[0], rel=1e-4)


def test_put_values_are_convex():
    k, w, low, high = quotes(0.004)
    refined = smile_spline.refine(CLEAN, k, w, low, high)
    strike = np.linspace(0.6, 1.5, 400)
    put = density.put_value(refined, np.log(strike)[None])[0]
    assert np.diff(put, 2).min() > -1e-15


def test_a_wave_that_would_be_arbitrage_is_not_followed():
    k = np.linspace(-0.4, 0.3, 60)
    w = smile.total_variance(CLEAN, k[None]) * (1.0 + 0.05 * np.sin(k / 0.01))
    refined = smile_spline.refine(CLEAN, k[None], w, 0.999 * w, 1.001 * w)
    x = np.linspace(-2.0, 2.0, 20001)[None]
    assert density.density(refined, x).min() >= 0.0


def test_a_slice_is_worked_alone():
    k, w, low, high = quotes(0.004)
    alone = smile_spline.refine(CLEAN, k, w, low, high)
    three = Svi(*(np.repeat(column, 3) for column in CLEAN[:8]))
    bad = np.concatenate([k, np.full_like(k, np.nan), k[:, ::-1]])
    together = smile_spline.refine(three, bad, *(np.repeat(c, 3, axis=0) for c in (w, low, high)))
    np.testing.assert_array_equal(together.value[0], alone.value[0])
    assert np.isnan(together.value[1:]).all()  # no quotes; not ascending


def test_shapes_that_do_not_fit_are_refused():
    k, w, low, high = quotes(0.004)
    two = Svi(*(np.repeat(column, 2) for column in CLEAN[:8]))
    with pytest.raises(ValueError, match="2 slices and 1 rows"):
        smile_spline.refine(two, k, w, low, high)
