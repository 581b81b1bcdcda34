import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from kernels import arima, status
from tests.references import arima as reference

# Annual flow of the Nile at Aswan, 1871-1970 (Cobb 1978; R: datasets::Nile).
NILE = np.array(
    [
        1120, 1160, 963, 1210, 1160, 1160, 813, 1230, 1370, 1140, 995, 935, 1110, 994, 1020, 960, 1180, 799, 958, 1140,
        1100, 1210, 1150, 1250, 1260, 1220, 1030, 1100, 774, 840, 874, 694, 940, 833, 701, 916, 692, 1020, 1050, 969,
        831, 726, 456, 824, 702, 1120, 1100, 832, 764, 821, 768, 845, 864, 862, 698, 845, 744, 796, 1040, 759,
        781, 865, 845, 944, 984, 897, 822, 1010, 771, 676, 649, 846, 812, 742, 801, 1040, 860, 874, 848, 890,
        744, 749, 838, 1050, 918, 986, 797, 923, 975, 815, 1020, 906, 901, 1170, 912, 746, 919, 718, 714, 740,
    ],
    dtype=np.float64,
)  # fmt: skip
ALL_ORDERS = tuple((p, 1, q) for p in range(4) for q in range(4))


def walks(n=40, t=120, seed=3):
    """Random walks, and some with structure, so that the choice of order varies."""
    rng = np.random.default_rng(seed)
    plain = reference.simulate(rng, n - n // 2, t)
    return np.concatenate((plain, reference.simulate(rng, n // 2, t, ar=(0.5,), ma=(0.4,))))


def same(one, other):
    """Bit for bit, NaN included."""
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in zip(one, other, strict=True))


def row(fit, i):
    return arima.ArimaFit(*(part[i : i + 1] for part in fit))


# Likelihood


@pytest.mark.parametrize(
    ("ar", "ma", "sigma2", "expected"),
    [
        ((0.25, 0, 0), (-0.85, 0, 0), 20000.0, -630.7178235861002),
        ((0.5, -0.2, 0), (-0.9, 0.1, 0), 20000.0, -634.3442951647093),
        ((0, 0, 0), (-0.73, 0, 0), 20601.930745788, -632.5459545005151),
    ],
)
def test_loglikelihood_of_the_nile(ar, ma, sigma2, expected):
    # statsmodels 0.15, SARIMAX on the differences; nine decimals of a number of that size are 1e-12 of it
    assert arima.loglikelihood(NILE, ar, ma, sigma2)[0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_loglikelihood_is_statsmodels_at_the_same_parameters(seed):
    rng = np.random.default_rng(seed)
    ar, ma = reference.coefficients(rng.uniform(-0.9, 0.9, 3)), -reference.coefficients(rng.uniform(-0.9, 0.9, 3))
    levels = reference.simulate(rng, 1, 120, ar, ma)[0]

    ours = arima.loglikelihood(levels, ar, ma, 1.1e-4)[0]

    # the rounding of 119 steps, relative to log-likelihoods of some hundreds
    assert ours == pytest.approx(reference.statsmodels_loglik(levels, ar, ma, 1.1e-4), abs=1e-9, rel=1e-12)


@settings(deadline=None, max_examples=60)
@given(some.lists(some.floats(-0.97, 0.97), min_size=6, max_size=6), some.integers(2, 150))
def test_loglikelihood_is_that_of_the_full_kalman_filter(partials, t):
    ar, ma = reference.coefficients(partials[:3]), -reference.coefficients(partials[3:])
    levels = walks(2, 150)[1, :t]

    expected = reference.kalman(levels, ar, ma, 1e-4)

    # three partial autocorrelations of 0.97 leave a state variance of some 1e5, and so five digits fewer than 1e-15, in
    # each of up to 150 steps
    assert arima.loglikelihood(levels, ar, ma, 1e-4)[0] == pytest.approx(expected, rel=1e-8)


def test_loglikelihood_holds_for_ma_that_is_not_invertible():
    levels, ma = walks(1)[0], np.array([-2.5, 0.6, 0.1])

    ours = arima.loglikelihood(levels, np.zeros(3), ma, 1e-4)[0]

    assert ours == pytest.approx(reference.kalman(levels, np.zeros(3), ma, 1e-4), rel=1e-10)  # rounding, as above


def test_an_explosive_ar_has_no_likelihood():
    assert np.isnan(arima.loglikelihood(walks(1), [1.01, 0, 0], [0.2, 0, 0], 1e-4)[0])


@pytest.mark.parametrize("sigma2", [0.0, -1.0, np.nan, np.inf])
def test_a_variance_that_is_none_has_no_likelihood(sigma2):
    assert np.isnan(arima.loglikelihood(walks(1), [0.1, 0, 0], [0.2, 0, 0], sigma2)[0])


def test_loglikelihood_reads_no_further_than_the_length():
    levels = walks(3)
    padded = levels.copy()
    padded[1, 70:] = np.nan

    ours = arima.loglikelihood(padded, [0.3, 0, 0], [0.2, 0, 0], 1e-4, lengths=[120, 70, 120])

    assert ours[1] == arima.loglikelihood(levels[1:2, :70], [0.3, 0, 0], [0.2, 0, 0], 1e-4)[0]


# Maximum


@pytest.mark.parametrize(
    ("order", "ar", "ma", "sigma2", "loglik"),
    [
        ((0, 1, 1), (), (-0.7329425,), 20599.87, -632.5456251),
        ((1, 1, 1), (0.2543762,), (-0.8741368,), 19769.28, -630.6273830),
    ],
)
def test_maximum_for_the_nile(order, ar, ma, sigma2, loglik):
    fit = arima.fit(NILE, orders=(order,))

    # statsmodels 0.15 with tightened tolerance, printed to seven digits
    assert fit.loglik[0] == pytest.approx(loglik, abs=1e-6)
    np.testing.assert_allclose(fit.ar[0, : len(ar)], ar, atol=2e-6)
    np.testing.assert_allclose(fit.ma[0, : len(ma)], ma, atol=2e-6)
    assert fit.sigma2[0] == pytest.approx(sigma2, rel=2e-6)


def test_maximum_for_the_nile_is_above_statsmodels_where_that_is_local():
    # statsmodels, tightened: (.3247149 .04926171, -.958116 .05991559), -630.4448661
    assert arima.fit(NILE, orders=((2, 1, 2),)).loglik[0] > -630.4448661 + 0.1


@pytest.mark.parametrize("order", ALL_ORDERS)
def test_the_fit_says_what_its_parameters_give(order):
    levels = walks(12)
    fit = arima.fit(levels, orders=(order,))

    again = arima.loglikelihood(levels, fit.ar, fit.ma, fit.sigma2)

    # two different recursions; next to unit roots the regression form keeps ten digits
    np.testing.assert_allclose(fit.loglik, again, atol=1e-7)


@pytest.mark.parametrize("order", ALL_ORDERS)
def test_no_small_step_improves_an_inner_fit(order):
    levels = walks(12)
    fit = arima.fit(levels, orders=(order,))
    inner = fit.status == status.OK
    assert inner.any()
    rng = np.random.default_rng(0)
    for _ in range(20):
        step = rng.standard_normal((2, 12, 3)) * 1e-4
        ar = fit.ar + step[0] * (np.arange(3) < order[0])
        ma = fit.ma + step[1] * (np.arange(3) < order[2])
        moved = arima.loglikelihood(levels, ar, ma, fit.sigma2)
        # the search stops when a step gains less than 1e-7; towards a unit root a dozen such steps would follow
        assert np.all(~(moved[inner] > fit.loglik[inner] + 2e-6))


def test_a_larger_order_is_never_less_likely():
    fit = arima.fit(walks(60), orders=ALL_ORDERS)
    column = {order: fit.all_loglik[:, i] for i, order in enumerate(ALL_ORDERS)}
    for smaller, larger in (
        ((0, 1, 0), (0, 1, 1)), ((0, 1, 1), (0, 1, 2)), ((0, 1, 1), (1, 1, 1)), ((1, 1, 0), (1, 1, 1)),
        ((1, 1, 1), (1, 1, 2)), ((1, 1, 1), (2, 1, 1)), ((1, 1, 2), (2, 1, 2)), ((2, 1, 1), (2, 1, 2)),
        ((2, 1, 2), (3, 1, 2)), ((2, 1, 2), (2, 1, 3)), ((3, 1, 2), (3, 1, 3)),
    ):  # fmt: skip
        assert np.all(column[larger] >= column[smaller] - 1e-6), (smaller, larger)  # the noise of the stopping rule


def test_the_true_parameters_are_found():
    levels = reference.simulate(np.random.default_rng(8), 20, 3000, ar=(0.6,), ma=(-0.3,))

    fit = arima.fit(levels, orders=((1, 1, 1),))

    # Box & Jenkins' large-sample standard errors at n = 3000 are .036 and .042; the mean of 20 is within 4/sqrt(20)
    assert abs(fit.ar[:, 0].mean() - 0.6) < 4 * 0.036 / np.sqrt(20)
    assert abs(fit.ma[:, 0].mean() + 0.3) < 4 * 0.042 / np.sqrt(20)
    assert fit.sigma2.mean() == pytest.approx(1e-4, rel=4 * np.sqrt(2 / 3000 / 20))


def test_simulated_fits_are_at_least_as_likely_as_statsmodels():
    levels = walks(6, seed=11)
    fit = arima.fit(levels, orders=arima.CLASSIC_ORDERS)
    theirs = [[reference.statsmodels_fit(x, p, q) for p, _, q in arima.CLASSIC_ORDERS] for x in levels]

    assert np.all(fit.all_loglik >= np.array(theirs) - 1e-4)


def test_real_fits_are_at_least_as_likely_as_statsmodels(data_dir):
    levels = reference.windows(data_dir, 20)
    fit = arima.fit(levels, orders=arima.CLASSIC_ORDERS)
    theirs = [[reference.statsmodels_fit(x, p, q) for p, _, q in arima.CLASSIC_ORDERS] for x in levels]

    assert np.mean(fit.all_loglik >= np.array(theirs) - 1e-4) >= 0.99


# Published fits; R and Stata print four to five digits, which is what the tolerances say


def published(data_dir):
    series = pd.read_csv(data_dir / "benchmarks" / "arima_series.csv.gz")
    values = {name: group.sort_values("t").value.to_numpy() for name, group in series.groupby("series")}
    return values, json.loads((data_dir / "benchmarks" / "arima_published.json").read_text())


def integrated(x):
    """Levels whose differences are x."""
    return np.concatenate(([0.0], np.cumsum(x)))


def residual_of(case, values):
    """The zero-mean series that a published model without seasons or gaps describes; None where there is none."""
    name, coef = case["series"], case.get("coef", {})
    if case["method"] not in ("ML", "ML no constant") or "seasonal" in case or name.startswith(("presidents", "log(")):
        return None
    if name.startswith("wpi1"):
        return np.diff(values["wpi1"]) - coef.get("const", 0.0)
    mean = coef["intercept"] + coef.get("xreg", 0.0) * (np.arange(1875, 1973) - 1920 if "xreg" in coef else 0)
    return values[name] - mean


def in_class(data_dir):
    values, cases = published(data_dir)
    found = [(case, residual_of(case, values)) for case in cases]
    return [(case, x) for case, x in found if x is not None]


def test_loglikelihood_at_published_parameters(data_dir):
    cases = in_class(data_dir)
    assert len(cases) == 6
    for case, x in cases:
        coef = case["coef"]
        ar = [coef.get(f"ar{i}", 0.0) for i in (1, 2, 3)]
        ma = [coef.get(f"ma{i}", 0.0) for i in (1, 2, 3)]
        sigma2 = case["sigma2"] if "sigma2" in case else case["sigma"] ** 2
        ours = arima.loglikelihood(integrated(x), ar, ma, sigma2)[0]
        # at a maximum the rounding of the coefficients is of second order; the likelihood has two or five decimals
        assert ours == pytest.approx(case["loglik"], abs=0.006 if case["series"] in ("lh", "LakeHuron") else 2e-5), case


def test_fits_are_at_least_as_likely_as_published(data_dir):
    for case, x in in_class(data_dir):
        p, _, q = case["order"]
        levels = integrated(x)
        if levels.size < arima.MIN_OBSERVATIONS:
            continue
        ours = arima.fit(levels, orders=((p, 1, q),)).loglik[0]
        assert ours >= case["loglik"] - (0.005 if case["series"] == "LakeHuron" else 1e-5), case


def test_forecast_of_lh_is_the_one_that_r_prints(data_dir):
    case, x = next((c, x) for c, x in in_class(data_dir) if "forecast12" in c)
    coef = case["coef"]
    levels = integrated(x)
    fit = arima.fit(walks(1))._replace(
        ar=np.array([[coef["ar1"], coef["ar2"], coef["ar3"]]]), ma=np.zeros((1, 3)), sigma2=np.array([case["sigma2"]])
    )

    forecast = arima.forecast(fit, levels, 12)

    change = np.diff(np.concatenate((levels[-1:], forecast.mean[0]))) + coef["intercept"]
    np.testing.assert_allclose(change, case["forecast12"], atol=2e-4)  # four printed decimals of each coefficient
    assert np.sqrt(forecast.variance[0, 0]) == pytest.approx(case["forecast12_se"][0], abs=1e-4)  # sqrt of .1787


# Choice of order


@pytest.mark.parametrize("criterion", ["aic", "aicc", "bic"])
def test_criteria_are_statsmodels(criterion):
    levels = walks(2)[1]
    fit = arima.fit(levels, orders=((2, 1, 1),), criterion=criterion)

    theirs = reference.statsmodels_information(levels, 2, 1, fit.ar[0], fit.ma[0], fit.sigma2[0])[criterion]

    assert fit.criterion[0] == pytest.approx(theirs, abs=1e-6)  # the likelihoods agree to 1e-7


def test_the_smallest_admissible_criterion_is_chosen():
    orders = ((0, 1, 1), (1, 1, 0), (2, 1, 0), (0, 1, 2))
    fit = arima.fit(walks(), orders=orders)

    assert np.array_equal(fit.order, np.array(orders)[fit.all_criterion.argmin(axis=1)])
    assert np.array_equal(fit.criterion, fit.all_criterion.min(axis=1))


def test_the_random_walk_stands_unless_beaten_by_the_margin():
    orders = ((0, 1, 0), (0, 1, 1), (1, 1, 0))
    fit = arima.fit(walks(), orders=orders)
    lead = fit.all_criterion[:, 0] - fit.all_criterion.min(axis=1)

    assert ((lead > 0) & (lead < 2)).any()
    assert np.array_equal(fit.order[:, [0, 2]].any(axis=1), lead >= 2)


def test_without_the_margin_the_smallest_criterion_wins():
    orders = ((0, 1, 0), (0, 1, 1), (1, 1, 0))
    fit = arima.fit(walks(), orders=orders, random_walk_margin=0.0)

    assert np.array_equal(fit.criterion, fit.all_criterion.min(axis=1))


def test_most_random_walks_are_called_that():
    fit = arima.fit(reference.simulate(np.random.default_rng(5), 300, 120))

    assert np.mean(~fit.order[:, [0, 2]].any(axis=1)) > 0.7


def overdifferenced(n=10, t=200):
    """White noise as levels: its differences have an MA root of exactly one."""
    return np.random.default_rng(1).standard_normal((n, t))


def test_a_unit_root_alone_is_reported_at_its_bound():
    fit = arima.fit(overdifferenced(), orders=((0, 1, 1),))

    assert np.any(fit.status == status.AT_BOUND)
    assert np.all(np.isin(fit.status, (status.OK, status.AT_BOUND)))
    np.testing.assert_allclose(fit.ma[fit.status == status.AT_BOUND, 0], -1.0, atol=1e-4)
    assert np.isfinite(fit.sigma2).all()


def test_a_unit_root_is_rejected_in_competition():
    fit = arima.fit(overdifferenced(), orders=((0, 1, 1), (1, 1, 0)))

    near = fit.order[:, 2] == 1
    assert not near.all()
    assert np.all(fit.all_criterion[:, 0] < fit.all_criterion[:, 1])
    assert np.all(np.abs(1.0 / fit.ma[near, 0]) >= 1.01)


def test_where_nothing_is_admissible_the_best_is_taken_and_said():
    levels = overdifferenced()
    unit = arima.fit(levels, orders=((0, 1, 1),)).status == status.AT_BOUND

    fit = arima.fit(levels, orders=((0, 1, 1), (0, 1, 1)))

    assert np.all(fit.status[unit] == status.AT_BOUND)
    assert np.isfinite(fit.loglik).all()


def test_cancelling_roots_are_rejected_in_competition():
    fit = arima.fit(walks(200), orders=((0, 1, 0), (1, 1, 1)), random_walk_margin=0.0)
    mixed = fit.order[:, 0] == 1

    assert mixed.any()
    assert np.all(np.abs(1 / fit.ar[mixed, 0] + 1 / fit.ma[mixed, 0]) >= 0.05)


def test_the_answer_for_an_order_does_not_depend_on_the_others_asked_for():
    levels = walks(10)
    one = arima.fit(levels, orders=((2, 1, 2),))
    many = arima.fit(levels)

    assert (
        one.all_loglik[:, 0].tobytes()
        == np.ascontiguousarray(many.all_loglik[:, arima.ORDERS.index((2, 1, 2))]).tobytes()
    )


# Forecasts


def test_forecast_of_the_nile():
    fit = arima.fit(NILE, orders=((1, 1, 1),))._replace(
        ar=np.array([[0.25, 0, 0]]), ma=np.array([[-0.85, 0, 0]]), sigma2=np.array([20000.0])
    )

    forecast = arima.forecast(fit, NILE, 30)

    # statsmodels 0.15, printed to the last digits of a double
    np.testing.assert_allclose(
        forecast.mean[0, [0, 1, 29]], [810.1415842680697, 827.6769803350871, 833.5221123574263], rtol=1e-12
    )
    np.testing.assert_allclose(forecast.variance[0, [0, 1, 29]], [20000, 23200, 46186.6666667], rtol=1e-11)


@pytest.mark.parametrize("order", [(0, 1, 0), (1, 1, 1), (2, 1, 2), (3, 1, 2), (0, 1, 3), (3, 1, 3)])
def test_forecasts_are_statsmodels_at_the_same_parameters(order):
    levels = 100.0 * walks(4, 80)
    fit = arima.fit(levels, orders=(order,))
    ours = arima.forecast(fit, levels, 30)
    for i in range(4):
        mean, variance = reference.statsmodels_forecast(
            levels[i], order[0], order[2], fit.ar[i], fit.ma[i], fit.sigma2[i], 30
        )
        np.testing.assert_allclose(ours.mean[i], mean, rtol=1e-8)
        np.testing.assert_allclose(ours.variance[i], variance, rtol=1e-7)  # theirs loses digits next to unit roots


def test_the_random_walk_stays_where_it_is():
    levels = walks(3)
    fit = arima.fit(levels, orders=((0, 1, 0),))

    forecast = arima.forecast(fit, levels, 5)

    assert np.array_equal(forecast.mean, np.repeat(levels[:, -1:], 5, axis=1))
    np.testing.assert_allclose(forecast.variance, fit.sigma2[:, None] * np.arange(1, 6), rtol=1e-15)  # one product


def test_forecast_starts_at_each_rows_own_end():
    levels = walks(3)
    fit = arima.fit(levels, lengths=[120, 80, 100])

    ours = arima.forecast(fit, levels, 4, lengths=[120, 80, 100])

    assert same(arima.forecast(row(fit, 1), levels[1:2, :80], 4), [ours.mean[1:2], ours.variance[1:2]])


def test_a_row_without_a_fit_has_no_forecast():
    levels = walks(3)
    levels[1, 5] = np.nan
    forecast = arima.forecast(arima.fit(levels), levels, 4)

    assert np.isnan(forecast.mean[1]).all()
    assert np.isnan(forecast.variance[1]).all()
    assert np.isfinite(forecast.mean[[0, 2]]).all()


# Bad rows, and rows among others


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda x: x.__setitem__(17, np.nan), status.BAD_INPUT),
        (lambda x: x.__setitem__(119, np.inf), status.BAD_INPUT),
        (lambda x: x.__setitem__(slice(None), np.where(np.arange(120) % 2, 1.5e308, -1.5e308)), status.BAD_INPUT),
        (lambda x: x.__setitem__(slice(None), 4.6), status.TOO_FEW_DATA),
        (lambda x: x.__setitem__(slice(None), 0.0), status.TOO_FEW_DATA),
        (lambda x: x.__setitem__(slice(None), 4.6 + 0.001 * np.arange(120)), status.TOO_FEW_DATA),
    ],
    ids=["nan", "inf", "overflow", "constant", "zero", "straight"],
)
def test_a_bad_row_says_why_and_leaves_its_neighbours_be(spoil, expected):
    levels = walks(5)
    clean = arima.fit(levels)
    spoil(levels[2])

    fit = arima.fit(levels)

    assert fit.status[2] == expected
    assert np.isnan(fit.loglik[2])
    assert np.isnan(fit.ar[2]).all()
    assert np.isnan(fit.all_criterion[2]).all()
    assert np.all(fit.order[2] == -1)
    for i in (0, 1, 3, 4):
        assert same(row(fit, i), row(clean, i))


@pytest.mark.parametrize(("t", "expected"), [(59, status.TOO_FEW_DATA), (60, status.OK)])
def test_sixty_observations_are_needed(t, expected):
    assert arima.fit(walks(1, t), orders=((0, 1, 1),)).status[0] == expected


@pytest.mark.parametrize("criterion", ["aicc", "aic", "bic"])
def test_every_shortness_is_told_whatever_the_criterion_divides_by(criterion):
    short = arima.fit(walks(12), np.arange(12), criterion=criterion)  # warnings are errors here

    assert (short.status == status.TOO_FEW_DATA).all()
    assert np.isnan(short.all_criterion).all()


def test_an_outlier_of_any_size_is_survived():
    levels = walks(3)
    levels[0, 60] += 1e6
    levels[1, :] *= 1e-120
    levels[2, :] *= 1e150

    fit = arima.fit(levels)

    assert np.all(np.isin(fit.status, (status.OK, status.AT_BOUND)))
    assert np.isfinite(fit.loglik).all()


def test_every_finite_status_has_finite_results():
    fit = arima.fit(walks(60), orders=ALL_ORDERS)
    usable = np.isin(fit.status, list(status.FINITE))

    for part in (fit.ar, fit.ma, fit.sigma2, fit.loglik, fit.criterion, fit.all_loglik):
        assert np.isfinite(part[usable]).all()
        assert np.isnan(part[~usable]).all()


def test_a_row_has_the_same_bits_in_any_batch():
    levels = walks(37)
    whole = arima.fit(levels)
    for i in (0, 5, 20, 36):
        assert same(arima.fit(levels[i : i + 1]), row(whole, i))
    turned = arima.fit(levels[::-1])
    assert same([part[::-1] for part in turned], whole)


def test_a_row_has_the_same_bits_on_any_thread():
    levels = walks(16)
    whole = arima.fit(levels)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda i: arima.fit(levels[4 * i : 4 * i + 4]), range(4)))

    assert same([np.concatenate(columns) for columns in zip(*parts, strict=True)], whole)


def test_a_short_row_has_the_bits_it_has_alone():
    levels = walks(8)
    lengths = np.array([120, 60, 61, 62, 63, 120, 99, 120])
    padded = np.where(np.arange(120) < lengths[:, None], levels, np.nan)

    fit = arima.fit(padded, lengths)

    for i, length in enumerate(lengths):
        assert same(arima.fit(levels[i : i + 1, :length]), row(fit, i))


def test_a_likelihood_has_the_same_bits_in_any_batch():
    levels = walks(37)
    whole = arima.loglikelihood(levels, [0.3, 0.1, 0], [0.2, 0, 0.1], 1e-4)
    for i in (0, 15, 16, 36):
        assert arima.loglikelihood(levels[i], [0.3, 0.1, 0], [0.2, 0, 0.1], 1e-4)[0] == whole[i]


@pytest.mark.parametrize("factor", [0.25, 1024.0])
def test_a_power_of_two_scales_without_a_trace(factor):
    levels = walks(6)
    one, other = arima.fit(levels), arima.fit(levels * factor)

    assert same([one.order, one.ar, one.ma, one.sigma2 * factor**2], [other.order, other.ar, other.ma, other.sigma2])


def test_any_factor_scales_the_variance_alone():
    levels = walks(6)
    orders = ((0, 1, 1), (1, 1, 0), (2, 1, 0))
    one, other = arima.fit(levels, orders=orders), arima.fit(levels * 3.7, orders=orders)

    # the maximum is known to the square root of the stopping rule's 1e-9 over a curvature of about 100
    np.testing.assert_allclose(other.ar, one.ar, atol=1e-5)
    np.testing.assert_allclose(other.ma, one.ma, atol=1e-5)
    np.testing.assert_allclose(other.sigma2, one.sigma2 * 3.7**2, rtol=1e-7)
    np.testing.assert_allclose(other.loglik, one.loglik - 119 * np.log(3.7), atol=1e-7)


def test_an_empty_batch_is_fitted():
    fit = arima.fit(np.empty((0, 120)))

    assert fit.all_loglik.shape == (0, len(arima.ORDERS))
    assert arima.forecast(fit, np.empty((0, 120)), 3).mean.shape == (0, 3)
    assert arima.loglikelihood(np.empty((0, 120)), np.zeros(3), np.zeros(3), 1.0).shape == (0,)


@pytest.mark.parametrize(
    "orders",
    [
        (),
        ((1, 0, 1),),
        ((4, 1, 0),),
        ((0, 1, 4),),
        ((1, 2, 1),),
        (1, 1, 1),
        ((1, 1),),
        ((1.5, 1, 0),),
        ((np.nan, 1, 0),),
    ],
)
def test_unsupported_orders_are_refused(orders):
    with pytest.raises(ValueError, match="order"):
        arima.fit(walks(1), orders=orders)


def test_an_unknown_criterion_is_refused():
    with pytest.raises(ValueError, match="criterion"):
        arima.fit(walks(1), criterion="hqic")


def test_a_horizon_below_one_is_refused():
    levels = walks(1)
    with pytest.raises(ValueError, match="horizon"):
        arima.forecast(arima.fit(levels), levels, 0)


@pytest.mark.parametrize("margin", [0.5, 2.0])
def test_the_walk_stays_unless_it_is_beaten_by_the_margin(margin):
    rng = np.random.default_rng(41)
    steps = 0.01 * rng.standard_normal((600, 61))
    levels = 4.6 + np.cumsum(steps[:, 1:] + 0.3 * steps[:, :-1], axis=1)
    fit = arima.fit(levels, orders=((0, 1, 0), (0, 1, 1)), random_walk_margin=margin)
    lead = fit.all_criterion[:, 0] - fit.all_criterion[:, 1]
    inner = np.abs(arima.fit(levels, orders=((0, 1, 1),)).ma[:, 0]) < 0.98  # admissible
    assert inner.mean() > 0.95
    np.testing.assert_array_equal(fit.order[inner, 2] == 1, lead[inner] >= margin)
    assert ((lead < margin) & (lead > 0.9 * margin))[inner].any()


def test_a_fit_of_other_rows_is_refused():
    levels = walks(2)
    with pytest.raises(ValueError, match="fit of 1 series for 2"):
        arima.forecast(arima.fit(levels[:1]), levels, 3)


def test_lengths_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="lengths"):
        arima.fit(walks(2), lengths=[120, 121])
