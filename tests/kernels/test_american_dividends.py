import numpy as np
import pytest

from kernels import american
from kernels.status import AT_BOUND, BAD_INPUT, EXPIRED, IMMEDIATE_EXERCISE, OK
from tests.references import american as quantlib

NAN = np.nan
# S = 100, $1 after 30 days, 60 days, r = 4.5 %, sigma = 30 %: QuantLib 1.44, finite differences 1000 x 1000, spot model
TABLE = [
    (90, True, 11.2125),
    (100, True, 4.7452),
    (110, True, 1.5255),
    (90, False, 1.2963),
    (100, False, 5.0231),
    (110, False, 11.8878),
]


def random_rows(n, seed):
    rng = np.random.default_rng(seed)
    days = rng.integers(15, 400, n)
    sigma = rng.uniform(0.12, 0.7, n)
    strike = 100 * np.exp(rng.uniform(-1.2, 1.5, n) * sigma * np.sqrt(days / 365))
    ex_days = rng.integers(3, 90, n)[:, None] + 91 * np.arange(4)
    cash = np.repeat(rng.uniform(0.2, 1.5, n)[:, None], 4, axis=1)
    return days, strike, rng.uniform(0.01, 0.06, n), sigma, rng.random(n) < 0.5, ex_days, cash


@pytest.mark.parametrize(("strike", "call", "value"), TABLE)
def test_published_digits_are_met(strike, call, value):
    got = american.price_cash_dividends(100, strike, 60 / 365, 0.045, 0.3, call, [30 / 365], [1.0])
    assert got.price[0] == pytest.approx(value, abs=2e-4)  # the printed value's own grid moves the fourth digit


def test_random_rows_agree_with_finite_differences():
    n = 16
    days, strike, rate, sigma, call, ex_days, cash = random_rows(n, 1)
    got = american.price_cash_dividends(100, strike, days / 365, rate, sigma, call, ex_days / 365, cash)
    for i in range(n):
        paid = ex_days[i] <= days[i]
        want = quantlib.cash_dividends(
            100.0, strike[i], int(days[i]), rate[i], sigma[i], bool(call[i]), ex_days[i][paid], cash[i][paid], grid=400
        )
        assert got.price[i] == pytest.approx(want, abs=5e-3)  # 2e-3 ours, the rest the 400 x 400 grid's


def test_delta_and_gamma_are_slopes():
    strike = np.array([90.0, 100, 110, 90, 100, 110])
    call = np.array([True] * 3 + [False] * 3)

    def at(spot):
        return american.price_cash_dividends(spot, strike, 0.4, 0.045, 0.3, call, [0.1, 0.3], [1.0, 1.0])

    here, up, down = at(100.0), at(100.5), at(99.5)
    np.testing.assert_allclose(here.delta, up.price - down.price, atol=1.5e-3)  # the price's error over the step
    np.testing.assert_allclose(here.gamma, up.delta - down.delta, atol=1e-3)


@pytest.mark.parametrize("call", [True, False])
def test_theta_is_what_the_black_scholes_equation_leaves(call):
    strike = np.array([90.0, 100, 110])
    got = american.price_cash_dividends(100.0, strike, 0.4, 0.045, 0.3, call, [0.1, 0.3], [1.0, 1.0])
    left = 0.045 * got.price - 0.045 * 100.0 * got.delta - 0.5 * (0.3 * 100.0) ** 2 * got.gamma
    assert (got.status == 0).all()
    np.testing.assert_allclose(got.theta, left, rtol=1e-11)
    later, sooner = (
        american.price_cash_dividends(100.0, strike, 0.4 + h, 0.045, 0.3, call, [0.1 + h, 0.3 + h], [1.0, 1.0]).price
        for h in (0.01, -0.01)
    )
    np.testing.assert_allclose(got.theta, (sooner - later) / 0.02, atol=0.05)  # the price's error over the step


def test_no_dividend_is_the_plain_option():
    strike = np.array([80.0, 100, 125])
    got = american.price_cash_dividends(100, strike, 0.5, 0.05, 0.3, False, [NAN, 0.7, -0.1], [1.0, 1.0, 1.0])
    want = american.price(100, strike, 0.5, 0.05, 0.0, 0.3, False, scheme="accurate")
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_vanishing_dividend_leads_to_the_plain_option():
    strike = np.array([80.0, 100, 125])
    got = american.price_cash_dividends(100, strike, 0.5, 0.05, 0.3, False, [0.2], [1e-9])
    want = american.price(100, strike, 0.5, 0.05, 0.0, 0.3, False, scheme="audit").price
    np.testing.assert_allclose(got.price, want, atol=3e-3)


def test_order_and_padding_of_dividends_do_not_matter():
    a = american.price_cash_dividends(100, 95, 0.9, 0.04, 0.25, True, [0.2, 0.45, 0.7], [0.5, 0.6, 0.7])
    b = american.price_cash_dividends(100, 95, 0.9, 0.04, 0.25, True, [0.7, NAN, 0.2, 0.45], [0.7, 3.0, 0.5, 0.6])
    assert a.price[0] == b.price[0]


def test_price_scales_with_money():
    a = american.price_cash_dividends(100, 95, 0.9, 0.04, 0.25, True, [0.2, 0.45], [0.5, 0.6]).price
    b = american.price_cash_dividends(730, 693.5, 0.9, 0.04, 0.25, True, [0.2, 0.45], [3.65, 4.38]).price
    np.testing.assert_allclose(b, 7.3 * a, rtol=1e-10)


def test_never_below_intrinsic_value_or_the_value_of_waiting_out_a_dividend():
    days, strike, rate, sigma, call, ex_days, cash = random_rows(100, 2)
    got = american.price_cash_dividends(100, strike, days / 365, rate, sigma, call, ex_days / 365, cash)
    assert np.all(got.price >= np.where(call, 100 - strike, strike - 100))
    more = american.price_cash_dividends(100, strike, days / 365, rate, sigma, call, ex_days / 365, 1.5 * cash)
    change = np.where(call, got.price - more.price, more.price - got.price)
    assert np.all(change > -3e-3)  # a larger dividend hurts calls and helps puts


def test_call_is_exercised_before_a_large_dividend_and_not_later_than_now():
    got = american.price_cash_dividends(100, [40, 60], 0.5, 0.01, 0.1, True, [1e-4], [20.0])
    assert got.price == pytest.approx([60.0, 40.0], abs=5e-3)


def test_deep_put_is_exercised_now():
    got = american.price_cash_dividends(100, 180, 0.5, 0.06, 0.15, False, [0.45], [0.01])
    assert got.status[0] == IMMEDIATE_EXERCISE
    assert (got.price[0], got.delta[0], got.gamma[0], got.theta[0]) == (80.0, -1.0, 0.0, 0.0)


def test_a_dividend_larger_than_the_spot_takes_all_of_it():
    got = american.price_cash_dividends(100, [50, 100], 0.5, 0.0, 0.2, False, [0.25], [1000.0])
    np.testing.assert_allclose(got.price, [50, 100], rtol=2e-3)  # the tree ends a thousandth above nothing


def test_no_volatility_is_the_best_time_on_a_known_path():
    # the call is worth most just before the cash, the put just after it
    got = american.price_cash_dividends(100, 95, 0.5, 0.04, 0.0, [True, False], [0.25], [8.0])
    assert got.status.tolist() == [AT_BOUND] * 2
    discount = np.exp(-0.04 * 0.25)
    assert got.price == pytest.approx([100 - 95 * discount, 95 * discount - (100 - 8 * discount)], rel=1e-13)


def test_expired_is_intrinsic():
    got = american.price_cash_dividends(100, [90, 110], 0.0, 0.05, 0.2, False, [0.1], [1.0])
    assert got.status.tolist() == [EXPIRED] * 2
    assert got.price.tolist() == [0.0, 10.0]


@pytest.mark.parametrize("column", range(5))
@pytest.mark.parametrize("value", [NAN, np.inf, -np.inf])
def test_bad_row_is_nan_and_alone(column, value):
    rows = [np.full(5, x) for x in (100.0, 95.0, 0.5, 0.04, 0.3)]
    plain = american.price_cash_dividends(*rows, True, [0.25], [1.0])
    rows[column][2] = value
    spoilt = american.price_cash_dividends(*rows, True, [0.25], [1.0])
    assert spoilt.status.tolist() == [OK, OK, BAD_INPUT, OK, OK]
    for before, after in zip(plain[:4], spoilt[:4], strict=True):
        assert np.isnan(after[2])
        np.testing.assert_array_equal(np.delete(after, 2), np.delete(before, 2))


@pytest.mark.parametrize(("when", "cash"), [(0.2, -1.0), (0.2, np.inf), (np.inf, 1.0)])
def test_a_dividend_that_is_none_is_bad_input(when, cash):
    got = american.price_cash_dividends(100, 95, 0.5, 0.04, 0.3, True, [when], [cash])
    assert got.status[0] == BAD_INPUT


def test_tiny_volatility_and_large_dividend_fit_the_tree():
    got = american.price_cash_dividends(100, [95, 80], 0.5, 0.04, 1e-4, True, [0.25], [30.0])
    limit = american.price_cash_dividends(100, [95, 80], 0.5, 0.04, 0.0, True, [0.25], [30.0])
    np.testing.assert_allclose(got.price, limit.price, atol=5e-3)


def test_empty_batch():
    got = american.price_cash_dividends([], [], [], [], [], [], np.empty((0, 3)), np.empty((0, 3)))
    assert got.price.shape == (0,)


def test_dividends_of_the_wrong_shape_raise():
    with pytest.raises(ValueError, match="shape"):
        american.price_cash_dividends([100, 100], 95, 0.5, 0.04, 0.3, True, np.zeros((3, 1)), np.zeros((3, 1)))


def test_fewer_steps_cost_accuracy_not_sense():
    rows = (100, [90, 110], 60 / 365, 0.045, 0.3, [True, False], [30 / 365], [1.0])
    fine = american.price_cash_dividends(*rows).price
    for steps, off in ((200, 5e-4), (64, 2e-3), (16, 2e-2)):
        coarse = american.price_cash_dividends(*rows, steps=steps)
        assert coarse.status.tolist() == [OK, OK]
        np.testing.assert_allclose(coarse.price, fine, atol=off)
    with pytest.raises(ValueError, match="at least 16"):
        american.price_cash_dividends(*rows, steps=15)
