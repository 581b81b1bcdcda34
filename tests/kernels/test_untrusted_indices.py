"""Doors whose compiled code takes a place in an array from what it was given: nothing checks an index there."""

import numpy as np
import pytest

from kernels import butterfly, garch, garch_error, payoff, simulate, spectral, terminal, terminal_returns

STRIKE = np.array([[90.0, 95.0, 100.0, 105.0, 110.0]])
PRICES = np.random.default_rng(0).lognormal(4.6, 0.1, (1, 200))
Y = np.random.default_rng(1).standard_normal((6, 300))


@pytest.mark.parametrize("points", [1, 0, -1])
def test_a_grid_has_at_least_two_points(points):
    logs = np.log(PRICES)
    for table in (
        lambda: terminal.lognormal(STRIKE, 50.0, 0.05, 4.6, 0.1, points),
        lambda: terminal.sample(STRIKE, 50.0, 0.05, PRICES, points),
        lambda: terminal_returns.tabulate(logs, 100.0, STRIKE, 50.0, 0.05, points),
    ):
        with pytest.raises(ValueError, match="at least 2 points"):
            table()


@pytest.mark.parametrize(
    ("prices", "low", "step"),
    [
        (np.array([[1.0, 1.0, 1.0, 1e30, 1e30, 1e30]]), 50.0, 0.05),
        (np.array([[1.0, 1.0, 1e300, 1e300]]), 0.5, 1e-3),
        (PRICES, 50.0, 1e-300),
        (PRICES, float(PRICES.min()), 1e-310),
        (PRICES, -1e308, 0.05),
        (PRICES, 1e308, 0.05),
    ],
    ids=["wide", "wider", "fine grid", "finest grid", "far below", "far above"],
)
@pytest.mark.parametrize("door", ["prices", "returns"])
def test_samples_far_from_their_grid_have_a_distribution(prices, low, step, door):
    if door == "prices":
        cdf = terminal.sample(STRIKE, low, step, prices, 65).cdf
    else:
        cdf = terminal_returns.tabulate(np.log(prices / 100.0), 100.0, STRIKE, low, step, 65).cdf
    known = cdf[~np.isnan(cdf)]
    assert known.size in (0, 65)
    assert (known >= 0.0).all()
    assert (known <= 1.0).all()
    assert (np.diff(known) >= -1e-12).all()


def test_the_rows_of_a_fit_can_be_picked():
    fitted = garch.fit(Y)
    picked = garch.GarchFit(*(field[::2] for field in fitted))
    doors = (
        lambda f, y: garch.conditional_variance(f, y),
        lambda f, y: garch_error.window_error(f, y, 5),
        lambda f, y: simulate.filtered_historical(f, y, [5], 10, 1),
    )
    for door in doors:
        assert (door(picked, Y[::2]) == door(fitted, Y)[::2]).all()


@pytest.mark.parametrize("field", ["mu", "omega", "beta", "sigma2_next"])
def test_a_fit_of_fewer_rows_does_not_fit(field):
    fitted = garch.fit(Y)
    short = fitted._replace(**{field: getattr(fitted, field)[:2].copy()})
    for door in (
        lambda: garch.conditional_variance(short, Y),
        lambda: garch_error.window_error(short, Y, 5),
        lambda: simulate.filtered_historical(short, Y, [5], 10, 1),
    ):
        with pytest.raises(ValueError, match="fit of 2 series for 6"):
            door()


def test_a_phase_of_other_rows_does_not_fit_and_picked_rows_do():
    levels = np.cumsum(Y, axis=1)
    wave = spectral.phase(levels, 21.0)
    picked = spectral.Phase(*(field[::2] for field in wave))
    split = spectral.band_signals(levels[::2], 21.0, wave=picked)
    np.testing.assert_array_equal(split.mid, spectral.band_signals(levels, 21.0).mid[::2])
    with pytest.raises(ValueError, match="phase of 3 rows for 6"):
        spectral.band_signals(levels, 21.0, wave=picked)


def test_a_period_whose_nearest_frequency_is_none_is_not_tested():
    x = np.random.default_rng(2).standard_normal((1, 64)) + np.linspace(-3.0, 3.0, 64)
    found = spectral.confirm(x, [[180.0, 128.0, 127.0, 64.0]])
    assert np.isnan(found.line_p[0]).tolist() == [True, True, False, False]
    assert np.isnan(found.half_p[0, :, 0]).tolist() == [True, True, False, False]
    assert not found.stable[0, :2].any()


QUOTES = butterfly.Quotes(
    STRIKE,
    np.array([[10.5, 6.6, 3.7, 1.9, 0.8]]),
    np.array([[10.7, 6.8, 3.9, 2.0, 0.9]]),
    np.array([[0.6, 1.7, 3.8, 6.9, 10.8]]),
    np.array([[0.7, 1.8, 4.0, 7.1, 11.0]]),
)
TABLE = terminal.lognormal(STRIKE, 50.0, 0.05, np.log(100.0) - 0.005, 0.1)
MEASURES = butterfly.Measures(
    TABLE.put_value[None], TABLE.cdf[None], np.array([50.0]), np.array([0.05]), put_square=TABLE.put_square[None]
)
HUGE = np.array([[0.0, 1.7e308, 0.0, 1.7e308, 0.0]])


@pytest.mark.parametrize("per", ["max_loss", "sd"])
@pytest.mark.parametrize(
    "changed",
    [
        {"put_value": HUGE[None]},
        {"put_square": HUGE[None]},
        {"put_shift": HUGE[None, None]},
        {"smile_value": HUGE},
        {"grid_step": np.array([1e-310]), "grid_low": np.array([90.0])},
        {"grid_low": np.array([-1e308])},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_amounts_that_overflow_are_bad_input_to_a_search(changed, per):
    assert butterfly.search(QUOTES, MEASURES, 0.0065, per=per).status.tolist() == [0]
    found = butterfly.search(QUOTES, MEASURES._replace(**changed), 0.0065, per=per, top=2, front_capacity=2)
    assert found.status.tolist() == [5]
    assert (found.best.legs == -1).all()


def test_quotes_that_overflow_are_no_quotes_and_strikes_and_fees_bad_input():
    dear = QUOTES._replace(call_ask=np.full((1, 5), 1.7e308), put_ask=np.full((1, 5), 1.7e308))
    wide = butterfly.Limits(spread_share=np.inf)
    assert butterfly.search(dear, MEASURES, 0.0065, limits=wide).executable.tolist() == [0]
    far = QUOTES._replace(strike=np.array([[90.0, 95.0, 100.0, 105.0, 1e308]]))
    for result in (
        butterfly.search(far, MEASURES, 0.0065),
        butterfly.search(QUOTES, MEASURES, 1e308),
        butterfly.search(QUOTES, MEASURES, 0.0065, 1e-310),
    ):
        assert result.status.tolist() == [5]


@pytest.mark.parametrize("name", butterfly.Limits._fields)
def test_a_limit_that_is_nan_raises(name):
    with pytest.raises(ValueError, match="limits"):
        butterfly.search(QUOTES, MEASURES, 0.0065, limits=butterfly.Limits(**{name: np.nan}))


def test_a_search_ends_on_a_grid_finer_than_the_rounding_of_prices():
    for step in (1e-15, 1e-17, 1e-60):
        cdf = np.linspace(0.0, 1.0, TABLE.cdf.shape[1])[None, None]
        fine = MEASURES._replace(cdf=cdf, grid_low=np.array([100.0]), grid_step=np.array([step]))
        assert butterfly.search(QUOTES, fine, 0.0065).status.tolist() == [0]


def test_a_payoff_that_overflows_is_bad_input():
    for mean, sd in ((800.0, 0.1), (0.0, 40.0)):
        found = payoff.payoff_statistics([95.0, 95.0], 100.0, 105.0, 1.6, log_mean=[4.6, mean], log_sd=[0.1, sd])
        assert found.status.tolist() == [0, 5]
        assert np.isfinite(found.ev[0])
        assert all(np.isnan(field[1]) for field in found[:-1])
