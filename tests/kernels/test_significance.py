"""What a p-value is worth when it was picked out of many."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy.stats import false_discovery_control
from statsmodels.stats.multitest import multipletests

from kernels import significance


@pytest.mark.parametrize("m", [1, 2, 5, 69])
def test_benjamini_hochberg_is_scipys_and_statsmodels(m):
    p = np.random.default_rng(m).random(m) ** 3
    got = significance.benjamini_hochberg(p)
    np.testing.assert_allclose(got, false_discovery_control(p), rtol=1e-13)
    np.testing.assert_allclose(got, multipletests(p, method="fdr_bh")[1], rtol=1e-13)


def test_benjamini_hochberg_of_a_single_number_is_refused():
    with pytest.raises(ValueError, match="along an axis"):
        significance.benjamini_hochberg(0.01)


def test_benjamini_hochberg_works_row_by_row_and_leaves_out_nan():
    p = np.random.default_rng(3).random((5, 12))
    p[1, 4:] = np.nan
    p[3] = np.nan
    got = significance.benjamini_hochberg(p)
    np.testing.assert_array_equal(got[0], significance.benjamini_hochberg(p[0]))
    np.testing.assert_array_equal(got[1, :4], significance.benjamini_hochberg(p[1, :4]))
    assert np.isnan(got[1, 4:]).all()
    assert np.isnan(got[3]).all()
    assert significance.benjamini_hochberg([]).size == 0


@settings(deadline=None, max_examples=50)
@given(some.lists(some.floats(0, 1), min_size=1, max_size=30))
def test_q_is_at_least_p_and_at_most_one(p):
    q = significance.benjamini_hochberg(p)
    assert (q >= p).all()
    assert (q <= 1).all()


@pytest.mark.parametrize(("g", "m", "p"), [(0.10, 69, 0.05277358016), (0.10, 125, 2.648310839e-4)])
def test_fisher_g_tail(g, m, p):
    assert significance.fisher_g_pvalue(g, m)[0] == pytest.approx(p, rel=1e-9)  # ten printed digits


@pytest.mark.parametrize(("g", "m"), [(0.10072421, 69), (0.06103476, 125), (0.03355424, 250)])
def test_fisher_g_5_percent_critical_values(g, m):
    # eight decimals of g: half a unit in the last is 5e-9 * m of p
    assert significance.fisher_g_pvalue(g, m)[0] == pytest.approx(0.05, abs=5e-9 * m)


def test_fisher_g_of_two_ordinates_is_a_straight_line():
    g = np.array([0.5, 0.6, 0.75, 0.99, 1.0, np.nan])
    np.testing.assert_allclose(significance.fisher_g_pvalue(g, 2), [1.0, 0.8, 0.5, 0.02, 0.0, np.nan], rtol=1e-14)


def test_fisher_g_near_one_does_not_lose_its_digits():
    p = significance.fisher_g_pvalue(np.linspace(0.004, 0.02, 6), 250)
    assert (np.diff(p) <= 0).all()  # a sum in floating point is off by 1e23 here
    assert p[0] == 1.0
