"""SVI slices: exact recovery, scipy's least squares, printed slices, arbitrage, and what bad rows do."""

import threading

import numpy as np
import pytest

from kernels import smile, status
from tests.references import smile as reference

K = np.linspace(-0.5, 0.5, 21)


def svi(*params):
    return smile.Svi(*(np.array([p]) for p in params), np.zeros(1), np.ones(1), np.zeros(1, np.int8))


@pytest.fixture(scope="module")
def noisy():
    return reference.random_slices(60, seed=7)


def test_noiseless_slices_are_recovered():
    k, _, weight, tau, exact, params = reference.random_slices(60, seed=1)
    fit = smile.fit(k, exact, weight, tau)
    assert (fit.status == status.OK).all()
    np.testing.assert_allclose(smile.total_variance(fit, k), exact, rtol=0, atol=1e-12)  # asked for: 1e-8
    np.testing.assert_allclose(np.stack(fit[:5], axis=1), params, rtol=0, atol=1e-6)  # flat directions


def test_fit_is_no_worse_than_bounded_least_squares_from_the_truth(noisy):
    k, w, weight, tau, _, params = noisy
    fit = smile.fit(k, w, weight, tau)
    for i in np.flatnonzero(fit.fitted_min_g >= 0):
        use = ~np.isnan(k[i])
        best = reference.least_squares_fit(k[i, use], w[i, use], weight[i, use], params[i])
        ours = fit.fit_error[i] ** 2 * weight[i, use].sum()
        assert ours <= best * (1 + 1e-6)


def test_fit_error_is_the_weighted_rms(noisy):
    k, w, weight, tau, _, _ = noisy
    fit = smile.fit(k, w, weight, tau)
    miss = smile.total_variance(fit, k) - w
    rms = np.sqrt(np.nansum(weight * miss**2, axis=1) / np.nansum(weight, axis=1))
    np.testing.assert_allclose(fit.fit_error, rms, rtol=1e-9)


def test_no_fitted_slice_has_butterfly_arbitrage():
    k, w, weight, tau, _, _ = reference.random_slices(150, seed=3, noise=0.02)
    fit = smile.fit(k, w, weight, tau)
    good = np.isin(fit.status, list(status.FINITE))
    assert good.mean() > 0.97
    width = np.nanmax(k, axis=1) - np.nanmin(k, axis=1)
    low, high = np.nanmin(k, axis=1) - width, np.nanmax(k, axis=1) + width
    points = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, 3001)
    g = smile.g(fit, points)
    # between the points of the fit's own grid, g can dip by its square step
    assert g[good].min() > -2e-4
    assert (fit.fitted_min_g[good] < 0).any()
    assert (fit.status[good & (fit.fitted_min_g < 0)] == status.AT_BOUND).all()
    assert (fit.b * (1 + abs(fit.rho)))[good].max() < 2


@pytest.mark.parametrize(("k", "w"), [(0.0, 0.01742625255515912), (-0.5, 0.0509765716903), (0.5, 0.0231515656122)])
def test_vogts_slice_has_the_printed_variances(k, w):
    assert smile.total_variance(svi(*reference.VOGT), [k])[0, 0] == pytest.approx(w, abs=1e-13)


@pytest.mark.parametrize(("k", "g"), [(0.0, 1.038649731281797), (1.0, -0.0277416959046)])
def test_vogts_slice_has_the_computed_g(k, g):
    assert smile.g(svi(*reference.VOGT), [k])[0, 0] == pytest.approx(g, abs=1e-12)


def test_vogts_slice_is_flagged_and_repaired():
    repaired = smile.repair(svi(*reference.VOGT), -1.5, 1.5)
    assert repaired.fitted_min_g[0] == pytest.approx(-0.03286354386, abs=1e-6)  # that one on a grid of 0.001
    assert repaired.status[0] == status.AT_BOUND
    assert repaired.min_g[0] >= 0
    assert smile.g(repaired, np.linspace(-1.5, 1.5, 5001)).min() >= 0


def test_the_repair_keeps_level_and_skew():
    before, after = svi(*reference.VOGT), smile.repair(svi(*reference.VOGT), -1.5, 1.5)
    old, new = smile.derivatives(before, [0.0]), smile.derivatives(after, [0.0])
    assert new.total_variance[0, 0] == pytest.approx(old.total_variance[0, 0], abs=1e-14)
    assert new.first[0, 0] == pytest.approx(old.first[0, 0], abs=1e-14)


def test_the_repair_is_nearer_than_the_published_one():
    # the published repair: c' = 0.3493158, least variance 0.01548182 (Gatheral & Jacquier 2014, Example 5.1)
    after = smile.repair(svi(*reference.VOGT), -1.5, 1.5)
    scale = after.b / np.sqrt(smile.total_variance(after, [0.0])[:, 0])
    least = after.a + after.b * after.s * np.sqrt(1 - after.rho**2)
    assert 0.3493158 < (scale * (1 + after.rho))[0] < 1.316798218986
    assert 0.011624903235 < least[0] < 0.01548182


def test_fitting_vogts_slice_marks_it():
    fit = smile.fit(K * 2, reference.total_variance(reference.VOGT, K * 2), 1.0, 1.0)
    assert fit.status[0] == status.AT_BOUND
    assert fit.fitted_min_g[0] < -0.03
    assert fit.min_g[0] >= 0


def test_clean_slice_is_left_alone():
    fit = smile.fit(K * 2, reference.total_variance(reference.CLEAN, K * 2), 1.0, 1.0)
    np.testing.assert_allclose([p[0] for p in fit[:5]], reference.CLEAN, rtol=0, atol=1e-12)
    assert fit.status[0] == status.OK


def test_clean_slice_has_the_printed_least_g():
    points = np.linspace(-3, 3, 60001)
    assert smile.g(svi(*reference.CLEAN), points).min() == pytest.approx(0.25574877809818, abs=1e-12)


@pytest.mark.parametrize("params", [reference.VOGT, reference.CLEAN], ids=["Vogt", "clean"])
def test_derivatives_are_slopes(params):
    h = 1e-4
    here = smile.derivatives(svi(*params), K)
    w = [reference.total_variance(params, K + d) for d in (-h, 0, h)]
    np.testing.assert_allclose(here.first[0], (w[2] - w[0]) / (2 * h), rtol=0, atol=1e-7)  # h**2 w'''
    np.testing.assert_allclose(here.second[0], (w[2] - 2 * w[1] + w[0]) / h**2, rtol=0, atol=1e-6)
    np.testing.assert_allclose(smile.g(svi(*params), K)[0], reference.durrleman(params, K), rtol=0, atol=1e-13)


def test_negative_a_is_fitted_where_the_variance_stays_positive():
    params = (-0.01, 0.12, -0.3, 0.02, 0.2)
    fit = smile.fit(K, reference.total_variance(params, K), 1.0, 0.5)
    assert fit.a[0] == pytest.approx(-0.01, abs=1e-9)


def test_flat_quotes_give_a_flat_slice():
    fit = smile.fit(K, np.full(K.size, 0.04), 1.0, 0.5)
    np.testing.assert_allclose(smile.total_variance(fit, K), 0.04, rtol=0, atol=1e-14)
    assert fit.status[0] in status.FINITE


def test_scaling_the_weights_changes_nothing():
    k, w, weight, tau, _, _ = reference.random_slices(5, seed=5)
    one, other = smile.fit(k, w, weight, tau), smile.fit(k, w, weight * 2.0**300, tau)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_order_of_quotes_does_not_matter():
    k, w, weight, tau, _, _ = reference.random_slices(5, seed=6)
    one = smile.fit(k, w, weight, tau)
    other = smile.fit(k[:, ::-1], w[:, ::-1], weight[:, ::-1], tau)
    # sums in another order; the optimum is as flat as its square root
    np.testing.assert_allclose(smile.total_variance(one, K), smile.total_variance(other, K), rtol=1e-5)


@pytest.mark.parametrize("n", [0, 1, 4])
def test_fewer_than_five_quotes_are_too_few(n):
    k = np.where(np.arange(K.size) < n, K, np.nan)
    fit = smile.fit(k, np.full(K.size, 0.04), 1.0, 0.5)
    assert fit.status[0] == status.TOO_FEW_DATA
    assert np.isnan(np.stack(fit[:7])).all()


def test_repeated_log_moneyness_counts_once():
    fit = smile.fit(np.repeat(K[:4], 3), np.full(12, 0.04), 1.0, 0.5)
    assert fit.status[0] == status.TOO_FEW_DATA


def test_expired_slice_is_zero():
    fit = smile.fit(K, np.full(K.size, 0.04), 1.0, 0.0)
    assert fit.status[0] == status.EXPIRED
    np.testing.assert_array_equal(smile.total_variance(fit, K), 0.0)


@pytest.mark.parametrize(
    ("column", "value"),
    [(0, np.inf), (1, -0.01), (1, 0.0), (1, np.inf), (2, -1.0), (2, np.inf), (3, np.nan), (3, np.inf)],
)
def test_values_no_quote_can_have_are_bad_input_for_their_row_only(column, value):
    k, w, weight, tau, _, _ = reference.random_slices(4, seed=2)
    clean = smile.fit(k, w, weight, tau)
    args = [k.copy(), w.copy(), weight.copy(), tau.copy()]
    args[column][(2, 1) if column < 3 else 2] = value
    fit = smile.fit(*args)
    assert fit.status[2] == status.BAD_INPUT
    assert np.isnan(np.stack(fit[:7])[:, 2]).all()
    for a, b in zip(fit[:9], clean[:9], strict=True):
        np.testing.assert_array_equal(a[[0, 1, 3]], b[[0, 1, 3]])


@pytest.mark.parametrize("column", [0, 1, 2])
def test_a_nan_quote_is_left_out(column):
    k, w, weight, tau, _, _ = reference.random_slices(1, seed=2)
    args = [k.copy(), w.copy(), weight.copy()]
    args[column][0, 3] = np.nan
    without = [np.delete(x, 3, axis=1) for x in (k, w, weight)]
    for a, b in zip(smile.fit(*args, tau)[:9], smile.fit(*without, tau)[:9], strict=True):
        np.testing.assert_array_equal(a, b)


def test_same_bits_alone_in_company_and_in_threads(noisy):
    k, w, weight, tau, _, _ = noisy
    together = smile.fit(k, w, weight, tau)
    wide = [np.pad(x, ((0, 0), (0, 9)), constant_values=np.nan) for x in (k, w, weight)]
    results = {}

    def work(name, *args):
        results[name] = smile.fit(*args)

    threads = [threading.Thread(target=work, args=(i, k, w, weight, tau)) for i in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    work("wide", *wide, tau)
    for fit in results.values():
        for a, b in zip(fit[:9], together[:9], strict=True):
            np.testing.assert_array_equal(a, b)
    for i in (0, 17, 59):
        for a, b in zip(
            smile.fit(k[i : i + 1], w[i : i + 1], weight[i : i + 1], tau[i : i + 1])[:9], together[:9], strict=True
        ):
            np.testing.assert_array_equal(a[0], b[i])


def test_points_have_the_same_bits_in_any_row_length():
    slice_ = svi(*reference.CLEAN)
    points = np.linspace(-1, 1, 67)
    whole = smile.g(slice_, points)[0]
    for i in range(67):
        assert smile.g(slice_, points[i : i + 1])[0, 0] == whole[i]


def test_empty_batch():
    fit = smile.fit(np.empty((0, 7)), np.empty((0, 7)), np.empty((0, 7)), np.empty(0))
    assert fit.a.shape == (0,)
    assert smile.total_variance(fit, np.empty((0, 3))).shape == (0, 3)


def test_shapes_that_do_not_fit_raise():
    with pytest.raises(ValueError, match="shape"):
        smile.fit(np.zeros((2, 5)), np.zeros((2, 6)), 1.0, 1.0)
    with pytest.raises(ValueError, match="slices"):
        smile.total_variance(smile.flat([0.1, 0.2]), np.zeros((3, 4)))


def test_level_and_skew_of_its_own_family_are_recovered():
    theta, rho = 0.04, -0.6
    phi = theta**-0.4 * (1 + theta) ** -0.6
    k = np.array([-0.1, 0.02, 0.1])
    w = theta / 2 * (1 + rho * phi * k + np.sqrt((phi * k + rho) ** 2 + 1 - rho**2))
    fit = smile.fit_level_skew(k, w, 1.0, 0.5)
    np.testing.assert_allclose(smile.total_variance(fit, k)[0], w, rtol=0, atol=1e-10)
    assert fit.status[0] == status.OK


@pytest.mark.parametrize(("k", "w"), [(-0.2, 0.06330646), (0.0, 0.04), (0.2, 0.02656603)])
def test_level_and_skew_slice_has_the_ssvi_variances(k, w):
    # theta 0.04, eta 1.2, gamma 0.4, rho -0.6; eta in our range: scale k by 1.2 and use eta 1
    phi = 0.04**-0.4 * 1.04**-0.6
    points = 1.2 * np.array([-0.2, -0.05, 0.0, 0.2])
    values = 0.02 * (1 - 0.6 * phi * points + np.sqrt((phi * points - 0.6) ** 2 + 0.64))
    fit = smile.fit_level_skew(points, values, 1.0, 0.5)
    assert smile.total_variance(fit, [1.2 * k])[0, 0] == pytest.approx(w, abs=6e-9)  # printed to 8 digits


def test_two_quotes_give_level_and_skew_and_one_does_not():
    assert smile.fit_level_skew([-0.1, 0.1], [0.05, 0.04], 1.0, 0.5).status[0] == status.OK
    assert smile.fit_level_skew([0.1, np.nan], [0.05, 0.04], 1.0, 0.5).status[0] == status.TOO_FEW_DATA


def test_skew_beyond_the_family_is_at_its_bound():
    fit = smile.fit_level_skew([-0.1, 0.1], [0.09, 0.01], 1.0, 0.5)
    assert fit.status[0] == status.AT_BOUND
    assert fit.rho[0] == -0.95


def test_flat_slices_are_flat():
    fit = smile.flat([0.04, np.nan, -1.0])
    assert fit.status.tolist() == [0, status.BAD_INPUT, status.BAD_INPUT]
    np.testing.assert_array_equal(smile.total_variance(fit, K)[0], 0.04)
    assert np.isnan(smile.total_variance(fit, K)[1:]).all()


def test_calendar_violation_is_the_worst_gap():
    near, far = smile.flat([0.04, 0.04]), smile.flat([0.05, 0.035])
    np.testing.assert_allclose(smile.calendar_violation(near, far, K), [0.0, 0.005], rtol=0, atol=1e-16)


def test_real_chain_gives_a_smile(data_dir):
    pd = pytest.importorskip("pandas")
    from kernels import implied_vol

    chain = pd.read_csv(data_dir / "market" / "chains_yahoo_AAPL_2025-09-28.csv.gz")
    chain = chain[(chain.bid > 0) & (chain.ask > chain.bid)]
    expiry = sorted(chain.expiry.unique())[5]
    rows = chain[chain.expiry == expiry]
    tau = (pd.Timestamp(expiry) - pd.Timestamp("2025-09-26")).days / 365
    calls = rows[rows.type == "call"].set_index("strike")
    puts = rows[rows.type == "put"].set_index("strike")
    both = calls.join(puts, rsuffix="_p", how="inner")
    mid, mid_p = (both.bid + both.ask) / 2, (both.bid_p + both.ask_p) / 2
    discount = np.exp(-0.04 * tau)
    strike = both.index.to_numpy(float)
    near = abs(strike / 255 - 1) < 0.05  # deep options carry early exercise and wide quotes
    forward = float(np.median((strike + (mid - mid_p) / discount)[near]))
    is_call = strike > forward
    price = np.where(is_call, mid, mid_p)
    sigma = implied_vol.implied_vol(price, forward * discount, strike, tau, 0.04, 0.0, is_call)
    half = np.where(is_call, both.ask - both.bid, both.ask_p - both.bid_p) / 2
    k, sd = np.log(strike / forward), sigma.sigma * np.sqrt(tau)
    vega = forward * discount * np.sqrt(tau) * np.exp(-0.5 * (k / sd) ** 2) / 2.5
    use = (sigma.status == 0) & (abs(k) < 4 * np.nanmedian(sd))
    error = 2 * sigma.sigma * tau * half / vega
    error = np.maximum(error, 0.3 * np.median(error[use]))
    fit = smile.fit(np.where(use, k, np.nan), sd**2, error**-2.0, tau)
    assert fit.status[0] in status.FINITE
    assert fit.fit_error[0] ** 2 * (error[use] ** -2.0).sum() / (use.sum() - 5) < 2  # within the spreads
