import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kernels import black_scholes
from kernels.status import BAD_INPUT, EXPIRED, FINITE, NO_TIME_VALUE, OK
from tests.references import black_scholes as reference

EPS = np.finfo(float).eps
NAMES = reference.GREEKS
COLUMNS = ("spot", "strike", "tau", "rate", "dividend", "sigma", "is_call")

# spot, strike, tau, rate, dividend, sigma, call -> price, delta, gamma, vega, theta, rho, vanna, volga, charm
# (mpmath, 40 digits)
GOLDEN = {
    "at the money call": (
        (100, 100, 1, 0.05, 0.02, 0.2, True),
        (
            9.227005508154048,
            0.586851146134764,
            0.01895057875500871,
            37.90115751001743,
            -5.089318913998333,
            49.45810910532235,
            -0.09475289377504357,
            2.368822344376089,
            -0.03563942396482651,
        ),
    ),
    "at the money put": (
        (100, 100, 1, 0.05, 0.02, 0.2, False),
        (
            6.330080627549918,
            -0.3933475271719913,
            0.01895057875500871,
            37.90115751001743,
            -2.293569138108273,
            -45.66483334474905,
            -0.09475289377504357,
            2.368822344376089,
            -0.05524339743096161,
        ),
    ),
    "Haug's first example": (
        (60, 65, 0.25, 0.08, 0, 0.3, True),
        (
            2.1333684449162,
            0.3724827979619729,
            0.04204275575378517,
            11.351544053522,
            -8.428174386737371,
            5.053899858200543,
            0.5994683791488995,
            5.849937076668191,
            -0.5614862551075085,
        ),
    ),
    "far call": (
        (100, 130, 0.0821917808219178, 0.045, 0.01, 0.35, True),
        (
            0.01745000440561052,
            0.005603915910599558,
            0.001594715149577312,
            0.458753673166076,
            -0.9955914846049496,
            0.04462533588939823,
            0.1205248342293606,
            8.76226927775411,
            -0.2621429234110948,
        ),
    ),
    "very far put": (
        (512.37, 350, 0.0273972602739726, 0.043, 0, 0.55, False),
        (
            0.0001116285098646118,
            -1.093759054320749e-5,
            1.045708964102081e-6,
            0.004136643003575304,
            -0.04127577811199814,
            -0.0001565951171640502,
            -0.0003683780728285072,
            0.1326148352840482,
            0.003674555940232852,
        ),
    ),
}


def market(n, seed=1):
    """Options within four standard deviations: two days to two years, sigma 5 to 100 %, rates of either sign."""
    rng = np.random.default_rng(seed)
    sigma = np.exp(rng.uniform(np.log(0.05), 0, n))
    tau = rng.uniform(2 / 365, 2, n)
    spot = np.exp(rng.uniform(0, 7, n))
    strike = spot * np.exp(rng.uniform(-4, 4, n) * sigma * np.sqrt(tau))
    return spot, strike, tau, rng.uniform(-0.02, 0.12, n), rng.uniform(-0.02, 0.12, n), sigma, rng.random(n) < 0.5


@pytest.fixture(scope="module")
def rows():
    columns = market(400)
    return columns, reference.exact(*columns)


@pytest.mark.parametrize("case", GOLDEN)
def test_golden_numbers(case):
    row, values = GOLDEN[case]
    got = black_scholes.greeks(*row)
    for name, value in zip(NAMES, values, strict=True):
        # The printed numbers have 16 digits; d1^2 eps, the conditioning of a density, is 7e-15 in the farthest row.
        assert getattr(got, name)[0] == pytest.approx(value, rel=5e-14), name


def test_published_values(data_dir):
    table = pd.read_csv(data_dir / "benchmarks" / "european_haug_values.csv")
    got = black_scholes.price(
        table.spot, table.strike, table.t, table.r, table.q, table.vol, (table.type == "call").to_numpy()
    )
    assert (np.abs(got - table.value) <= table.tol).all()


def test_published_greeks(data_dir):
    table = pd.read_csv(data_dir / "benchmarks" / "european_haug_greeks.csv")
    got = black_scholes.greeks(
        table.spot, table.strike, table.t, table.r, table.q, table.vol, (table.type == "call").to_numpy()
    )
    values = {
        **got._asdict(),
        "elasticity": got.delta * table.spot / got.price,
        "theta per day": got.theta / 365,
        "dividendRho": -table.t * got.delta * table.spot,
    }
    ours = np.array([values[name][i] for i, name in enumerate(table.greek)])
    np.testing.assert_allclose(ours, table.value.to_numpy(), rtol=0, atol=5.1e-5)  # printed: 4 places


def test_prices_agree_with_mpmath(rows):
    columns, exact = rows
    error = np.abs(black_scholes.price(*columns) - exact["price"])
    assert (error / np.maximum(columns[0], columns[1])).max() < 1e-15  # the design asks for 1e-13


@pytest.mark.parametrize("name", NAMES)
def test_greeks_agree_with_mpmath(rows, name):
    columns, exact = rows
    error = np.abs(getattr(black_scholes.greeks(*columns), name) - exact[name])
    assert (error / (columns[0] + 1)).max() < 1e-12


def test_out_of_the_money_prices_keep_their_digits_however_small():
    sd = np.array([1e-6, 1e-4, 0.01, 0.1, 1.0, 5.0])
    distance = np.array([0.0, 0.5, 2.0, 6.0, 20.0, 35.0])
    sd, distance = (grid.ravel() for grid in np.meshgrid(sd, distance))
    strike = np.exp(sd * distance)
    got, exact = black_scholes.price(1, strike, 1, 0, 0, sd, True), reference.exact_call(strike, sd)
    # The rounding of ln K shifts d1 by eps * distance, and the density magnifies that by d1 itself.
    assert (np.abs(got / exact - 1) < 8 * EPS * (1 + distance**2 + 0.25 * sd**2)).all()


def test_prices_agree_with_quantlib():
    rng = np.random.default_rng(3)
    n = 100
    days, sigma = rng.integers(2, 700, n), rng.uniform(0.05, 1, n)
    strike, call = rng.uniform(60, 160, n), rng.random(n) < 0.5
    theirs = reference.QuantLibOptions(np.full(n, 100.0), strike, days, 0.04, 0.01, sigma, call)
    ours = black_scholes.greeks(100, strike, days / 365, 0.04, 0.01, sigma, call)
    np.testing.assert_allclose(ours.price, theirs.values(), atol=1e-11)  # QuantLib's normal distribution: 1e-15 * spot
    for name, values in theirs.greeks().items():
        np.testing.assert_allclose(getattr(ours, name), values, atol=1e-10, err_msg=name)


def test_the_price_of_greeks_is_the_price():
    columns = market(500, 4)
    prices = black_scholes.price(*columns)
    np.testing.assert_allclose(black_scholes.greeks(*columns).price, prices, rtol=4 * EPS, atol=0)


def test_call_minus_put_is_the_discounted_forward_minus_the_discounted_strike():
    spot, strike, tau, rate, dividend, *_ = columns = market(1000, 5)
    call, put = (black_scholes.price(*columns[:6], kind) for kind in (True, False))
    forward, owed = spot * np.exp(-dividend * tau), strike * np.exp(-rate * tau)
    assert (np.abs(call - put - (forward - owed)) <= 2 * EPS * (forward + owed)).all()


@pytest.mark.parametrize(
    ("name", "column", "sign"),
    [("delta", 0, 1), ("vega", 5, 1), ("rho", 3, 1), ("theta", 2, -1)],
    ids=["delta", "vega", "rho", "theta"],
)
def test_first_greeks_are_complex_step_derivatives_of_the_formula(name, column, sign):
    spot, strike, tau, rate, dividend, sigma, _ = market(300, 6)
    inputs = [np.asarray(c, complex) for c in (spot, strike, tau, rate, dividend, sigma)]
    inputs[column] = inputs[column] + 1e-30j
    slope = sign * reference.scipy_price(*inputs, np.ones(300, bool)).imag / 1e-30
    ours = getattr(black_scholes.greeks(spot, strike, tau, rate, dividend, sigma, True), name)
    np.testing.assert_allclose(ours, slope, rtol=1e-11, atol=1e-11)  # SciPy's complex erfc: some 1e-14 of spot


@pytest.mark.parametrize(
    ("name", "of", "column", "sign"),
    [("gamma", "delta", 0, 1), ("vanna", "delta", 5, 1), ("volga", "vega", 5, 1), ("charm", "delta", 2, -1)],
    ids=["gamma", "vanna", "volga", "charm"],
)
def test_second_greeks_are_slopes_of_the_first(name, of, column, sign):
    columns = list(market(300, 7))
    exact = getattr(black_scholes.greeks(*columns), name)
    step = 1e-4 * columns[column]
    sides = []
    for direction in (1, -1, 2, -2):
        moved = list(columns)
        moved[column] = columns[column] + direction * step
        sides.append(getattr(black_scholes.greeks(*moved), of))
    slope = sign * (8 * (sides[0] - sides[1]) - (sides[2] - sides[3])) / (12 * step)  # error of order step^4
    scale = np.abs(getattr(black_scholes.greeks(*columns), of)) / columns[column]
    np.testing.assert_array_less(np.abs(slope - exact), 1e-7 * (np.abs(exact) + scale) + 1e-9)


positive = st.floats(0.5, 2000)
market_rows = st.tuples(
    positive, st.floats(-3, 3), st.floats(0.01, 3), st.floats(-0.05, 0.15), st.floats(-0.05, 0.15), st.floats(0.05, 1.5)
)


def row_of(drawn):
    spot, distance, tau, rate, dividend, sigma = drawn
    return spot, spot * np.exp(distance * sigma * np.sqrt(tau)), tau, rate, dividend, sigma


@given(market_rows, st.floats(0.01, 100), st.booleans())
@settings(deadline=None)
def test_prices_scale_with_the_money(drawn, scale, call):
    spot, strike, *rest = row_of(drawn)
    one, other = (black_scholes.price(k * spot, k * strike, *rest, call)[0] for k in (1, scale))
    assert other == pytest.approx(scale * one, rel=1e-12, abs=1e-13 * scale * (spot + strike))


@given(market_rows, st.floats(0.1, 10), st.booleans())
@settings(deadline=None)
def test_prices_do_not_depend_on_the_unit_of_time(drawn, k, call):
    spot, strike, tau, rate, dividend, sigma = row_of(drawn)
    one = black_scholes.price(spot, strike, tau, rate, dividend, sigma, call)[0]
    other = black_scholes.price(spot, strike, tau / k, rate * k, dividend * k, sigma * np.sqrt(k), call)[0]
    assert other == pytest.approx(one, rel=1e-12, abs=1e-13 * (spot + strike))


@given(market_rows)
@settings(deadline=None)
def test_a_call_is_a_put_with_money_and_share_exchanged(drawn):
    spot, strike, tau, rate, dividend, sigma = row_of(drawn)
    call = black_scholes.price(spot, strike, tau, rate, dividend, sigma, True)[0]
    put = black_scholes.price(strike, spot, tau, dividend, rate, sigma, False)[0]
    assert call == pytest.approx(put, rel=1e-12, abs=1e-13 * (spot + strike))


@given(market_rows, st.booleans())
@settings(deadline=None)
def test_prices_lie_between_intrinsic_value_and_maximum(drawn, call):
    spot, strike, tau, rate, dividend, _ = row = row_of(drawn)
    forward, owed = spot * np.exp(-dividend * tau), strike * np.exp(-rate * tau)
    low, high = (forward - owed, forward) if call else (owed - forward, owed)
    value = black_scholes.price(*row, call)[0]
    slack = 4 * EPS * (forward + owed)
    assert max(low, 0) - slack <= value <= high + slack


@given(market_rows, st.booleans())
@settings(deadline=None)
def test_prices_grow_with_volatility(drawn, call):
    *row, sigma = row_of(drawn)
    assume(sigma > 0.06)
    less, more = black_scholes.price(*row, [sigma, 1.01 * sigma], call)
    assert less <= more + 4 * EPS * (row[0] + row[1])


@pytest.mark.parametrize(
    ("spot", "call", "value", "delta"),
    [
        (110, True, 10, 1),
        (90, True, 0, 0),
        (100, True, 0, 0.5),
        (110, False, 0, 0),
        (90, False, 10, -1),
        (100, False, 0, -0.5),
    ],
)
@pytest.mark.parametrize("tau", [0.0, -0.5])
def test_an_expired_option_has_its_intrinsic_value_and_a_step(tau, spot, call, value, delta):
    got = black_scholes.greeks(spot, 100, tau, 0.05, 0.02, 0.2, call)
    assert (got.price[0], got.delta[0], got.status[0]) == (value, delta, EXPIRED)
    assert black_scholes.price(spot, 100, tau, 0.05, 0.02, 0.2, call)[0] == value


def test_the_other_greeks_of_an_expired_option_are_zero():
    got = black_scholes.greeks([90, 100, 110], 100, 0, 0.05, 0.02, 0.2, True)
    for name in NAMES[2:]:
        assert getattr(got, name).tolist() == [0, 0, 0], name


@pytest.mark.parametrize("call", [True, False])
def test_without_volatility_the_price_is_the_discounted_intrinsic_value_of_the_forward(call):
    spot = np.array([80.0, 100, 120])
    sign = 1 if call else -1
    intrinsic = np.maximum(sign * (spot * np.exp(-0.02) - 100 * np.exp(-0.05)), 0)
    np.testing.assert_allclose(black_scholes.price(spot, 100, 1, 0.05, 0.02, 0, call), intrinsic, rtol=1e-14)


def test_volatility_so_small_that_it_cannot_be_seen_gives_that_limit():
    limit = black_scholes.price([90.0, 110], 100, 1, 0.05, 0.02, 0, True)
    tiny = black_scholes.price([90.0, 110], 100, 1, 0.05, 0.02, 1e-12, True)
    assert tiny.tolist() == limit.tolist()


@pytest.mark.parametrize("sigma", [0.0, -0.2])
def test_greeks_without_volatility_are_not_defined(sigma):
    got = black_scholes.greeks(100, 100, 1, 0.05, 0.02, sigma, True)
    assert got.status[0] == NO_TIME_VALUE
    assert all(np.isnan(getattr(got, name)[0]) for name in NAMES)


def test_negative_volatility_has_no_price():
    assert np.isnan(black_scholes.price(100, 100, 1, 0.05, 0.02, -0.2, True)[0])


def test_a_call_with_strike_zero_is_the_share_without_its_dividends():
    got = black_scholes.greeks(100, 0, 2, 0.05, 0.03, 0.2, [True, False])
    carry = np.exp(-0.06)
    np.testing.assert_allclose(got.price, [100 * carry, 0], rtol=1e-15)
    np.testing.assert_allclose(got.delta, [carry, 0], rtol=1e-15)
    np.testing.assert_allclose(got.theta, [3 * carry, 0], rtol=1e-15)
    np.testing.assert_allclose(got.charm, [0.03 * carry, 0], rtol=1e-15)
    for name in ("gamma", "vega", "rho", "vanna", "volga"):
        assert not getattr(got, name).any(), name
    assert got.status.tolist() == [OK, OK]


def test_negative_rates_and_prices_below_a_cent_are_left_alone():
    row = (100.0, 160.0, 0.1, -0.03, -0.01, 0.2, True)
    exact = reference.exact(*([v] for v in row))["price"]
    assert 0 < exact[0] < 1e-10
    np.testing.assert_allclose(black_scholes.price(*row), exact, rtol=1e-13)


GOOD = (100.0, 95.0, 0.5, 0.04, 0.01, 0.3)


@pytest.mark.parametrize(
    "bad",
    [
        *((c, v) for c in range(6) for v in (np.nan, np.inf, -np.inf)),
        (0, 0.0),
        (0, -1.0),
        (0, 1e-310),
        (1, -1.0),
        (2, 1e5),
        (2, 1e308),
        (3, 1500.0),
        (3, -1500.0),
        (4, 1500.0),
        (4, -1500.0),
        (1, 1e305),
    ],
    ids=lambda bad: f"{COLUMNS[bad[0]]}={bad[1]:g}",
)
def test_a_bad_row_says_so_and_leaves_its_neighbours_alone(bad):
    column, value = bad
    clean = [np.full(130, v) for v in GOOD]
    dirty = [c.copy() for c in clean]
    dirty[column][64] = value
    before, after = (black_scholes.greeks(*columns, True) for columns in (clean, dirty))
    assert after.status[64] == BAD_INPUT
    others = np.arange(130) != 64
    for name in NAMES:
        assert np.isnan(getattr(after, name)[64]), name
        assert getattr(after, name)[others].tobytes() == getattr(before, name)[others].tobytes(), name
    prices = black_scholes.price(*dirty, True)
    assert np.isnan(prices[64])
    assert np.isfinite(prices[others]).all()


def test_results_are_finite_exactly_where_the_status_says_so():
    rng = np.random.default_rng(8)
    choices = [0.0, -1.0, 1.0, 100.0, 1e-300, 1e300, 1e-3, np.nan, np.inf, 1e-310]
    columns = [rng.choice(choices, 20_000) for _ in range(6)]
    got = black_scholes.greeks(*columns, rng.random(20_000) < 0.5)
    finite = np.isin(got.status, list(FINITE))
    assert 100 < finite.sum() < 19_900
    for name in NAMES:
        assert (np.isfinite(getattr(got, name)) == finite).all(), name


def test_an_empty_batch_is_empty():
    assert black_scholes.price([], 100, 1, 0, 0, 0.2, True).shape == (0,)
    assert black_scholes.greeks([], 100, 1, 0, 0, 0.2, True).status.shape == (0,)


def test_scalars_lists_and_read_only_columns_are_one_batch():
    frozen = np.array([90.0, 110.0])
    frozen.flags.writeable = False
    got = black_scholes.price(100, frozen, 1, 0.05, [0.0, 0.0], np.array([0.2, 9.0, 0.2])[::2], [True, False])
    one = [black_scholes.price(100, k, 1, 0.05, 0, 0.2, c)[0] for k, c in ((90, True), (110, False))]
    assert got.tolist() == one


@pytest.mark.parametrize(
    "columns",
    [([1.0, 2], [1.0, 2, 3], 1, 0, 0, 0.2, True), ([[1.0]], 1, 1, 0, 0, 0.2, True), (1, 1, 1, 0, 0, 0.2, 0.5)],
    ids=["lengths", "dimensions", "call"],
)
def test_what_does_not_fit_raises(columns):
    with pytest.raises(ValueError, match=r"lengths|scalars|is_call"):
        black_scholes.price(*columns)
