import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import black_scholes
from kernels.implied_vol import implied_vol
from kernels.status import ABOVE_MAXIMUM, BAD_INPUT, BELOW_INTRINSIC, NO_TIME_VALUE, OK
from tests.references import black_scholes as reference

EPS = np.finfo(float).eps


def conditioning(price, strike, sd):
    """How much of sd one rounding of an undiscounted call on a unit forward is worth, and one of sd itself."""
    d1 = -np.log(strike) / sd + 0.5 * sd
    vega = np.exp(-0.5 * d1**2) / np.sqrt(2 * np.pi)
    return EPS * np.maximum(1, price / (sd * vega) * np.where(price > 0.5, 2, 1))


def grid(x, sd):
    """Calls on a unit forward at ln K = x, exact prices from mpmath."""
    strike = np.exp(x)
    return reference.exact_call(strike, sd), strike, sd


# ln(F/K), s, price over sqrt(FK) (mpmath, 40 digits); tau 1
GOLDEN = [
    (0.0, 0.2, 0.079655674554057967338),
    (-0.05, 0.1, 0.019767051837750097792),
    (-0.001, 0.005, 0.0015344712065739518552),
    (-1.0, 0.2, 1.0642389123487997368e-8),
    (-0.3, 0.05, 7.8155210377325136356e-12),
    (-2.0, 3.0, 0.25231900479754946494),
]


@pytest.mark.parametrize(("x", "s", "beta"), GOLDEN)
def test_golden_numbers(x, s, beta):
    # Carried by the rate, so that x is not rounded with a strike: ln(F/K) = rate * tau.
    got = implied_vol(beta * np.exp(-x / 2), 1, 1, 1, x, 0, True)
    assert got.status[0] == OK
    assert got.sigma[0] == pytest.approx(s, rel=2e-15)


def test_market_prices_come_back_to_fourteen_digits():
    rng = np.random.default_rng(0)
    price, strike, sd = grid(np.abs(rng.normal(0, 0.15, 800)), rng.uniform(0.03, 0.5, 800))
    keep = price >= 1e-9
    got = implied_vol(price[keep], 1, strike[keep], 1, 0, 0, True)
    assert (got.status == OK).all()
    np.testing.assert_allclose(got.sigma, sd[keep], rtol=3e-15)  # the design asks for 5e-14; measured 1.3e-15


def test_everything_a_double_can_say_comes_back_as_exactly_as_it_was_said():
    rng = np.random.default_rng(1)
    price, strike, sd = grid(10 ** rng.uniform(-8, 1.5, 1200), 10 ** rng.uniform(-4, 1.2, 1200))
    keep = (price > 1e-300) & (price < 1)
    price, strike, sd = price[keep], strike[keep], sd[keep]
    got = implied_vol(price, 1, strike, 1, 0, 0, True)
    assert keep.sum() > 800
    assert (price < 1e-9).sum() > 50
    assert (got.status == OK).all()
    assert (np.abs(got.sigma / sd - 1) < 16 * conditioning(price, strike, sd)).all()  # measured 10


def test_far_strikes_and_small_volatilities_return_through_our_own_price():
    """A grid that mpmath would be long about: the price is good to its last digits, as its own tests show."""
    rng = np.random.default_rng(3)
    strike = np.exp(10 ** rng.uniform(-10, 2.8, 100_000))
    sd = 10 ** rng.uniform(-7, 1.7, 100_000)
    price = black_scholes.price(1, strike, 1, 0, 0, sd, True)
    keep = (price > 2.3e-308) & (price < 0.9)
    price, strike, sd = price[keep], strike[keep], sd[keep]
    got = implied_vol(price, 1, strike, 1, 0, 0, True)
    assert (got.status == OK).all()
    np.testing.assert_allclose(got.sigma, sd, rtol=2e-14)  # price and volatility each some 5e-15


def test_published_sample(data_dir):
    path = data_dir / "benchmarks" / "iv_letsberational_1000.csv.gz"
    table = pd.read_csv(path, float_precision="round_trip")  # the default is off by units in the last place
    got = implied_vol(table.black_undiscounted, table.F, table.K, table["T"], 0, 0, (table.q == 1).to_numpy())
    theirs = table.implied_vol.to_numpy()
    solved = theirs > 0
    assert (got.status[solved] == OK).all()
    np.testing.assert_allclose(got.sigma[solved], theirs[solved], rtol=4e-15)  # both are exact to about 2e-15
    assert (got.status[~solved] == NO_TIME_VALUE).all()


def test_agrees_with_lets_be_rational():
    rng = np.random.default_rng(2)
    n = 300
    sigma, tau, forward = rng.uniform(0.05, 1, n), rng.uniform(0.02, 2, n), rng.uniform(50, 200, n)
    strike = forward * np.exp(rng.uniform(-4, 4, n) * sigma * np.sqrt(tau))
    call = rng.random(n) < 0.5
    price = black_scholes.price(forward, strike, tau, 0, 0, sigma, call)
    theirs = reference.lets_be_rational(price, forward, strike, tau, call)
    got = implied_vol(price, forward, strike, tau, 0, 0, call)
    solved = theirs > 0
    assert solved.mean() > 0.95
    np.testing.assert_allclose(got.sigma[solved], theirs[solved], rtol=1e-14)


rows = st.tuples(
    st.floats(0.5, 2000),
    st.floats(-4, 4),
    st.floats(0.003, 3),
    st.floats(-0.05, 0.15),
    st.floats(-0.05, 0.15),
    st.floats(0.02, 2),
)


@given(rows, st.booleans())
@settings(deadline=None)
def test_prices_lead_back_to_their_volatility(drawn, call):
    spot, distance, tau, rate, dividend, sigma = drawn
    strike = spot * np.exp(distance * sigma * np.sqrt(tau))
    greeks = black_scholes.greeks(spot, strike, tau, rate, dividend, sigma, call)
    got = implied_vol(greeks.price, spot, strike, tau, rate, dividend, call)
    # What the roundings of the price and of its discounted parts are worth in volatility.
    forward, owed = spot * np.exp(-dividend * tau), strike * np.exp(-rate * tau)
    blur = 8 * EPS * (forward + owed) / greeks.vega[0]
    if blur > 0.1 * sigma:
        assert got.status[0] in (OK, NO_TIME_VALUE, BELOW_INTRINSIC, ABOVE_MAXIMUM)
    else:
        assert got.status[0] == OK
        assert got.sigma[0] == pytest.approx(sigma, rel=1e-13, abs=blur)


@pytest.mark.parametrize(
    ("price", "spot", "call", "status"),
    [
        (0.0, 90, True, NO_TIME_VALUE),
        (-1e-9, 90, True, BELOW_INTRINSIC),
        (-1e-300, 90, True, BELOW_INTRINSIC),
        (20.0, 120, True, NO_TIME_VALUE),
        (19.999999, 120, True, BELOW_INTRINSIC),
        (20.000000000001, 120, True, OK),
        (120.0, 120, True, ABOVE_MAXIMUM),
        (130.0, 120, True, ABOVE_MAXIMUM),
        (119.999, 120, True, OK),
        (10.0, 90, False, NO_TIME_VALUE),
        (9.9, 90, False, BELOW_INTRINSIC),
        (100.0, 90, False, ABOVE_MAXIMUM),
        (99.999, 90, False, OK),
        (1e-310, 90, True, NO_TIME_VALUE),
        (1e-300, 90, True, OK),
    ],
)
def test_what_has_no_volatility_says_why(price, spot, call, status):
    got = implied_vol(price, spot, 100, 0.5, 0, 0, call)
    assert got.status[0] == status
    assert np.isnan(got.sigma[0]) == (status != OK)


def test_a_discounted_intrinsic_value_is_met_within_its_rounding():
    rng = np.random.default_rng(5)
    spot, tau, rate, dividend = (rng.uniform(*r, 2000) for r in ((120, 300), (0.1, 2), (-0.02, 0.1), (-0.02, 0.05)))
    intrinsic = spot * np.exp(-dividend * tau) - 100 * np.exp(-rate * tau)
    assert (implied_vol(intrinsic, spot, 100, tau, rate, dividend, True).status == NO_TIME_VALUE).all()
    assert (implied_vol(intrinsic - 1e-9, spot, 100, tau, rate, dividend, True).status == BELOW_INTRINSIC).all()


@pytest.mark.parametrize(
    ("price", "status"),
    [(5.0, BELOW_INTRINSIC), (10.0, NO_TIME_VALUE), (12.0, NO_TIME_VALUE), (110.0, ABOVE_MAXIMUM)],
)
@pytest.mark.parametrize("tau", [0.0, -1.0])
def test_an_expired_option_has_no_volatility(tau, price, status):
    assert implied_vol(price, 110, 100, tau, 0.05, 0.02, True).status[0] == status


@pytest.mark.parametrize(
    ("price", "call", "status"),
    [
        (100.0, True, NO_TIME_VALUE),
        (99.0, True, BELOW_INTRINSIC),
        (101.0, True, ABOVE_MAXIMUM),
        (0.0, False, NO_TIME_VALUE),
        (1.0, False, ABOVE_MAXIMUM),
    ],
)
def test_a_strike_of_zero_has_no_volatility(price, call, status):
    assert implied_vol(price, 100, 0, 1, 0, 0, call).status[0] == status


GOOD = (8.0, 100.0, 95.0, 0.5, 0.04, 0.01)
NAMES = ("price", "spot", "strike", "tau", "rate", "dividend")


@pytest.mark.parametrize(
    "bad",
    [
        *((c, v) for c in range(6) for v in (np.nan, np.inf, -np.inf)),
        *((1, 0.0), (1, -1.0), (1, 1e-310), (2, -1.0), (3, 1e5), (4, 1500.0), (5, -1500.0), (2, 1e305)),
    ],
    ids=lambda bad: f"{NAMES[bad[0]]}={bad[1]:g}",
)
def test_a_bad_row_says_so_and_leaves_its_neighbours_alone(bad):
    column, value = bad
    clean = [np.full(130, v) for v in GOOD]
    dirty = [c.copy() for c in clean]
    dirty[column][64] = value
    before, after = implied_vol(*clean, True), implied_vol(*dirty, True)
    assert after.status[64] == BAD_INPUT
    assert np.isnan(after.sigma[64])
    others = np.arange(130) != 64
    assert after.sigma[others].tobytes() == before.sigma[others].tobytes()


def test_volatilities_are_finite_exactly_where_the_status_is_ok():
    rng = np.random.default_rng(8)
    choices = [0.0, -1.0, 1.0, 100.0, 1e-300, 1e300, 1e-3, np.nan, np.inf, 1e-310, 0.5, 99.0, 5.0]
    columns = [rng.choice(choices, 50_000) for _ in range(6)]
    got = implied_vol(*columns, rng.random(50_000) < 0.5)
    assert (got.status == OK).sum() > 100
    assert (np.isfinite(got.sigma) == (got.status == OK)).all()
    assert (got.sigma[got.status == OK] > 0).all()


def test_an_empty_batch_is_empty():
    assert implied_vol([], 100, 1, 1, 0, 0, True).sigma.shape == (0,)


def test_what_does_not_fit_raises():
    with pytest.raises(ValueError, match="lengths"):
        implied_vol([1.0, 2], [1.0, 2, 3], 1, 1, 0, 0, True)
