"""The distribution of a butterfly's P&L: printed numbers, quadrature, Monte Carlo, and bad rows."""

import mpmath as mp
import numpy as np
import pytest
from scipy import optimize

from kernels import payoff, status
from tests.references import butterfly as reference

MEAN, SD = np.log(100.0) - 0.00245, 0.07
FLIES = [(95.0, 100.0, 105.0, 1.60), (95.0, 100.0, 105.0, 1.1), (90.0, 100.0, 104.0, 0.9), (97.0, 99.0, 110.0, 4.5)]


def closed(k1, k2, k3, cost, **options):
    return payoff.payoff_statistics(k1, k2, k3, cost, log_mean=MEAN, log_sd=SD, **options)


@pytest.mark.parametrize(
    ("field", "value"),
    [("ev", -0.232783016107), ("pop", 0.372839915913), ("prob_inside", 0.525253204444), ("max_loss", 1.60)],
)
def test_printed_lognormal_butterfly(field, value):
    assert getattr(closed(*FLIES[0]), field)[0] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("fly", FLIES, ids=str)
def test_moments_agree_with_quadrature(fly):
    k1, k2, k3, cost = fly
    d = 0.98

    def moment(p):
        return reference.expectation(
            lambda s: (d * float(reference.put_payoff(s, k1, k2, k3)) - cost) ** p, MEAN, SD, (k1, k2, k3)
        )

    got = closed(*fly, discount=d)
    assert got.ev[0] == pytest.approx(moment(1), abs=1e-12)
    assert got.sd[0] == pytest.approx(np.sqrt(moment(2) - moment(1) ** 2), rel=1e-10)  # moments of S of order 1e4


@pytest.mark.parametrize("fly", FLIES, ids=str)
def test_kelly_is_the_best_share(fly):
    k1, k2, k3, cost = fly
    got = closed(*fly)
    loss = got.max_loss[0]

    def minus_growth(f):
        return -reference.expectation(
            lambda s: np.log1p(f * (float(reference.put_payoff(s, k1, k2, k3)) - cost) / loss),
            MEAN,
            SD,
            (k1, k2, k3),
        )

    best = optimize.minimize_scalar(minus_growth, bounds=(0, 0.999), method="bounded", options={"xatol": 1e-9}).x
    if got.ev[0] <= 0:
        assert got.kelly[0] == 0.0
    else:
        assert got.kelly[0] == pytest.approx(best, abs=1e-6)  # a maximum is found to the square root of rounding
        assert got.kelly[0] > 0.01


def test_some_butterflies_are_worth_a_stake():
    assert sum(closed(*fly).kelly[0] > 0 for fly in FLIES) >= 2


@pytest.mark.parametrize("tail", [0.05, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("fly", FLIES, ids=str)
def test_tail_agrees_with_a_fine_grid_of_outcomes(fly, tail):
    k1, k2, k3, cost = fly
    from scipy.special import ndtri

    n = 400_000
    prices = np.exp(MEAN + SD * ndtri((np.arange(n) + 0.5) / n))
    pnl = np.sort(reference.put_payoff(prices, k1, k2, k3) - cost)
    got = closed(*fly, tail=tail)
    # cells of 1/n of the probability
    assert got.cvar[0] == pytest.approx(pnl[: round(tail * n)].mean(), abs=2e-5)
    assert got.quantile[0] == pytest.approx(pnl[round(tail * n) - 1], abs=1e-4)


@pytest.mark.parametrize("fly", FLIES, ids=str)
def test_sample_and_closed_form_agree_within_sampling_error(fly):
    n = 200_000
    prices = np.exp(MEAN + SD * np.random.default_rng(11).standard_normal(n))
    exact, sampled = closed(*fly), payoff.payoff_statistics(*fly, prices=prices)
    five = 5 / np.sqrt(n)
    assert sampled.ev[0] == pytest.approx(exact.ev[0], abs=five * exact.sd[0])
    assert sampled.sd[0] == pytest.approx(exact.sd[0], rel=five)
    for field in ("pop", "prob_inside", "prob_max_loss"):
        assert getattr(sampled, field)[0] == pytest.approx(getattr(exact, field)[0], abs=0.5 * five)
    assert sampled.kelly[0] == pytest.approx(exact.kelly[0], abs=2 * five)


def test_sample_cvar_splits_the_observation_at_the_quantile():
    got = payoff.payoff_statistics(90, 100, 110, 2.0, prices=[92.0, 95.0, 100.0], tail=0.5)
    # P&L 0, 3, 8: the worst half is the 0 and half of the 3
    assert got.cvar[0] == pytest.approx((0 + 0.5 * 3) / 1.5)
    assert got.quantile[0] == 3.0


def test_order_of_samples_does_not_matter():
    prices = np.exp(MEAN + SD * np.random.default_rng(0).standard_normal(1000))
    one, other = (payoff.payoff_statistics(*FLIES[0], prices=p) for p in (prices, np.sort(prices)))
    np.testing.assert_allclose(one[:9], other[:9], rtol=1e-13)


@pytest.mark.parametrize(
    "row",
    [
        (np.nan, 100, 105, 1),
        (95, np.inf, 105, 1),
        (100, 95, 105, 1),
        (95, 100, 100, 1),
        (0, 100, 105, 1),
        (95, 100, 105, np.nan),
    ],
    ids=str,
)
def test_bad_rows_are_nan_and_alone(row):
    rows = np.array([FLIES[0], row, FLIES[1]]).T
    got = payoff.payoff_statistics(*rows, log_mean=MEAN, log_sd=SD)
    assert got.status.tolist() == [0, status.BAD_INPUT, 0]
    assert np.isnan(np.stack(got[:9])[:, 1]).all()
    for i, fly in ((0, FLIES[0]), (2, FLIES[1])):
        for a, b in zip(got, closed(*fly), strict=True):
            assert a[i] == b[0]


def test_what_cannot_lose_is_an_arbitrage():
    assert closed(95, 100, 105, -0.1).status[0] == status.ARBITRAGE


def test_a_butterfly_that_costs_its_peak_never_gains():
    assert closed(95, 100, 105, 5.0).pop[0] == 0.0


def test_empty_batch():
    assert payoff.payoff_statistics([], [], [], [], log_mean=MEAN, log_sd=SD).ev.shape == (0,)


def test_one_distribution_must_be_given():
    with pytest.raises(ValueError, match="either"):
        payoff.payoff_statistics(*FLIES[0])
    with pytest.raises(ValueError, match="tail"):
        closed(*FLIES[0], tail=1.0)


def test_touching_without_drift_is_twice_ending_beyond():
    from scipy.special import ndtr

    got = payoff.touch_probability(100.0, [105.0, 95.0], 0.0, 0.07)
    np.testing.assert_allclose(got, 2 * ndtr(-abs(np.log([1.05, 0.95])) / 0.07), rtol=0, atol=1e-14)


@pytest.mark.parametrize("level", [94.0, 106.0])
def test_touching_agrees_with_simulation(level):
    steps, paths = 2000, 20_000
    rng = np.random.default_rng(2)
    walk = np.zeros(paths)
    reached = np.zeros(paths, bool)
    barrier, drift, sd = np.log(level / 100), 0.02, 0.07
    for _ in range(steps):
        walk += drift / steps + sd / np.sqrt(steps) * rng.standard_normal(paths)
        reached |= (walk - barrier) * np.sign(barrier) >= 0
    # discrete watching misses about 0.58 steps' standard deviations: 1 %; sampling 0.35 %
    exact = payoff.touch_probability(100.0, level, drift, sd)[0]
    assert exact == pytest.approx(reached.mean(), abs=0.03)
    assert exact > reached.mean() - 0.012


@pytest.mark.parametrize(("level", "drift"), [(94.0, 0.02), (106.0, 0.02), (106.0, -0.3), (60.0, 0.0), (130.0, 0.4)])
def test_touching_is_the_formula_in_forty_digits(level, drift):
    with mp.workdps(40):
        b, m, s = mp.log(mp.mpf(level) / 100), mp.mpf(drift), mp.mpf(0.07)
        b, m = (b, m) if b > 0 else (-b, -m)
        exact = float(mp.ncdf((m - b) / s) + mp.exp(2 * m * b / s**2) * mp.ncdf((-b - m) / s))
    assert payoff.touch_probability(100.0, level, drift, 0.07)[0] == pytest.approx(exact, rel=1e-12)


def test_the_level_where_the_price_stands_is_touched():
    assert payoff.touch_probability(100.0, 100.0, 0.01, 0.07)[0] == 1.0


def test_touching_of_bad_rows_is_nan():
    got = payoff.touch_probability([100, -1, np.nan, 100], 105, 0.0, [0.07, 0.07, 0.07, 0.0])
    assert np.isfinite(got).tolist() == [True, False, False, False]
