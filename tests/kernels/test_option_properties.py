"""What must hold for any option: units of money and time, symmetry, monotony and bounds of volatilities and trees."""

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from kernels import american, black_scholes
from kernels.implied_vol import implied_vol
from kernels.status import BELOW_INTRINSIC, IMMEDIATE_EXERCISE, NO_TIME_VALUE, OK

pytestmark = pytest.mark.hypothesis  # also where the property stands inside of the test: `make test-slow` looks for it
EPS = np.finfo(float).eps
MET = 4e-13  # of the strike: what two American volatilities of one price may be apart in price

# spot, standard deviations to the strike, tau, rate, dividend, sigma, call
european_rows = st.tuples(
    st.floats(0.5, 2000),
    st.floats(-3, 3),
    st.floats(0.01, 3),
    st.floats(-0.05, 0.15),
    st.floats(-0.05, 0.15),
    st.floats(0.03, 1.5),
    st.booleans(),
)
american_rows = st.tuples(
    st.floats(0.5, 2000),
    st.floats(-2.5, 2.5),
    st.floats(0.01, 2),
    st.floats(0.001, 0.12),
    st.floats(0.001, 0.12),
    st.floats(0.05, 1.2),
    st.booleans(),
)
factors = st.floats(0.01, 100)
few = settings(max_examples=settings().max_examples * 3 // 5)  # of what the profile asks for


def european(drawn):
    """Give an option with its price, and how far its volatility may move by the rounding of that price."""
    spot, distance, tau, rate, dividend, sigma, call = drawn
    strike = spot * np.exp((rate - dividend) * tau + distance * sigma * np.sqrt(tau))
    greeks = black_scholes.greeks(spot, strike, tau, rate, dividend, sigma, call)
    legs = spot * np.exp(-dividend * tau) + strike * np.exp(-rate * tau)
    blur = 16 * EPS * legs / greeks.vega[0] + 1e-12 * sigma
    assume(blur < 1e-6 * sigma)
    return greeks.price[0], (spot, strike, tau, rate, dividend), sigma, call, blur


def american_option(drawn):
    spot, distance, tau, rate, dividend, sigma, call = drawn
    strike = spot * np.exp(distance * sigma * np.sqrt(tau))
    greeks = american.greeks(spot, strike, tau, rate, dividend, sigma, call)
    assume(greeks.status[0] == OK and greeks.vega[0] > 1e-3 * spot)
    # At the very boundary the price jumps to the exercise value by the scheme's error: no volatility is told there.
    around = american.price(spot, strike, tau, rate, dividend, sigma * np.array([1.0 - 1e-6, 1.0 + 1e-6]), call)
    slope = np.diff(around.price)[0] / (2e-6 * sigma)
    assume((around.status == OK).all() and abs(slope / greeks.vega[0] - 1.0) < 0.1)
    blur = MET * max(spot, strike) / greeks.vega[0] + 1e-12 * sigma
    return greeks.price[0], (spot, strike, tau, rate, dividend), sigma, call, blur


def solved(door, price, row, call):
    got = door(price, *row, call)
    assert got.status[0] == OK
    return got.sigma[0]


DOORS = pytest.mark.parametrize(
    ("make", "door"), [(european, implied_vol), (american_option, american.implied_vol)], ids=["european", "american"]
)


def rows_for(make):
    return european_rows if make is european else american_rows


@DOORS
def test_volatility_does_not_know_the_unit_of_money(make, door):
    @given(rows_for(make), factors)
    @few
    def check(drawn, c):
        price, (spot, strike, *rest), _, call, blur = make(drawn)
        one = solved(door, price, (spot, strike, *rest), call)
        other = solved(door, c * price, (c * spot, c * strike, *rest), call)
        assert other == pytest.approx(one, rel=0, abs=2 * blur)

    check()


@DOORS
def test_volatility_scales_with_the_unit_of_time(make, door):
    @given(rows_for(make), factors)
    @few
    def check(drawn, c):
        price, (spot, strike, tau, rate, dividend), _, call, blur = make(drawn)
        one = solved(door, price, (spot, strike, tau, rate, dividend), call)
        other = solved(door, price, (spot, strike, tau / c, rate * c, dividend * c), call)
        assert other / np.sqrt(c) == pytest.approx(one, rel=0, abs=2 * blur)

    check()


@DOORS
def test_a_call_has_the_volatility_of_the_put_with_its_legs_exchanged(make, door):
    @given(rows_for(make))
    @few
    def check(drawn):
        price, (spot, strike, tau, rate, dividend), _, call, blur = make(drawn)
        one = solved(door, price, (spot, strike, tau, rate, dividend), call)
        other = solved(door, price, (strike, spot, tau, dividend, rate), not call)
        assert other == pytest.approx(one, rel=0, abs=2 * blur)

    check()


@DOORS
def test_volatility_rises_with_the_price_and_returns_it(make, door):
    @given(rows_for(make), st.floats(1e-4, 0.3))
    @few
    def check(drawn, more):
        price, row, sigma, call, blur = make(drawn)
        assert solved(door, price, row, call) == pytest.approx(sigma, rel=0, abs=2 * blur)
        most = (row[0] if call else row[1]) * np.exp(-min(row[4 if call else 3] * row[2], 0.0))
        higher = price + more * (0.9 * most - price)
        assume(higher > price)
        got = door(higher, *row, call)
        assume(got.status[0] == OK)  # a European option may have reached its maximum
        assert got.sigma[0] > sigma

    check()


@DOORS
def test_below_the_least_price_there_is_no_volatility(make, door):
    @given(rows_for(make))
    @few
    def check(drawn):
        _, row, _, call, _ = make(drawn)
        still = american.price(*row, 0.0, call).price[0] if make is american_option else None
        least = still if still is not None else black_scholes.price(*row, 0.0, call)[0]
        legs = row[0] + row[1]
        for price in (least - 1e-12 * legs, least - 0.1 * legs):
            got = door(price, *row, call)
            assert got.status[0] == BELOW_INTRINSIC
            assert np.isnan(got.sigma[0])
        assert door(least, *row, call).status[0] == NO_TIME_VALUE

    check()


@given(american_rows)
@few
def test_an_american_option_needs_no_more_volatility_than_a_european_one_for_its_price(drawn):
    price, row, _, call, blur = american_option(drawn)
    european_sigma = implied_vol(price, *row, call)
    assume(european_sigma.status[0] == OK)
    assert solved(american.implied_vol, price, row, call) <= european_sigma.sigma[0] + 2 * blur


# The tree of cash dividends: strike over spot, years, rate, sigma, two payments at shares of the time, call
tree_rows = st.tuples(
    st.floats(0.6, 1.6),
    st.floats(0.05, 1.5),
    st.floats(-0.02, 0.1),
    st.floats(0.1, 0.9),
    st.tuples(st.floats(0.05, 0.45), st.floats(0.55, 0.95)),
    st.tuples(st.floats(0.0, 0.03), st.floats(0.0, 0.03)),
    st.booleans(),
)
STEPS = 60  # what holds, holds for any number of them


def tree(drawn, money=1.0, clock=1.0, *, spot=100.0, sigma_up=0.0, cash_up=0.0):
    relative, tau, rate, sigma, when, cash, call = drawn
    return american.price_cash_dividends(
        money * spot,
        money * 100.0 * relative,
        tau / clock,
        rate * clock,
        (sigma + sigma_up) * np.sqrt(clock),
        call,
        [w * tau / clock for w in when],
        [money * 100.0 * (c + cash_up) for c in cash],
        steps=STEPS,
    )


def assert_same_status(one, other, drawn):
    """Where waiting costs nothing, exercise now and on the eve of a dividend tie: rounding tells which is named."""
    relative, *_, call = drawn
    intrinsic = max(100.0 * (1.0 - relative) * (1.0 if call else -1.0), 0.0)
    if one.status[0] != other.status[0]:
        assert {one.status[0], other.status[0]} == {OK, IMMEDIATE_EXERCISE}
        assert one.price[0] == pytest.approx(intrinsic, rel=0, abs=1e-12 * 100.0)


# Without interest a call is worth its exercise now, and as much on the eve of its last dividend.
TIE = (0.75, 0.0546875, 0.0, 0.1, (1.0 / 3.0, 0.75), (0.015625, 0.0), True)


@given(tree_rows, factors)
@example(TIE, 9.0)
@few
def test_a_tree_does_not_know_the_unit_of_money(drawn, c):
    one, other = tree(drawn), tree(drawn, money=c)
    assert_same_status(one, other, drawn)
    assert other.price[0] == pytest.approx(c * one.price[0], rel=1e-12, abs=1e-12 * c * 100.0)
    assert other.delta[0] == pytest.approx(one.delta[0], rel=0, abs=1e-9)  # differences over a step of the tree


@given(tree_rows, st.sampled_from([0.25, 0.5, 2.0, 4.0, 16.0]))
@few
def test_a_tree_does_not_know_the_unit_of_time(drawn, c):
    """Powers of two: others move an ex-date by a rounding, and with it, rarely, the number of steps."""
    one, other = tree(drawn), tree(drawn, clock=c)
    assert_same_status(one, other, drawn)
    assert other.price[0] == pytest.approx(one.price[0], rel=1e-12, abs=1e-12 * 100.0)
    assert other.theta[0] == pytest.approx(c * one.theta[0], rel=1e-8, abs=1e-8 * c)


TREE_ERROR = 0.05  # of a tree of 60 and 30 steps, per $100


@given(tree_rows)
@example((1.546875, 1.0, 0.0625, 0.25, (0.25, 0.75), (0.0, 0.0), False))  # exercise is due: worth it to the last bit
@few
def test_a_tree_is_between_exercise_and_the_whole(drawn):
    relative, call = drawn[0], drawn[-1]
    got = tree(drawn)
    intrinsic = max(100.0 - 100.0 * relative, 0.0) if call else max(100.0 * relative - 100.0, 0.0)
    whole = 100.0 if call else 100.0 * relative * np.exp(max(-drawn[2], 0.0) * drawn[1])
    assert intrinsic <= got.price[0] <= whole + 1e-9
    assert -1.0 - 1e-2 <= got.delta[0] <= 1.0 + 1e-2
    assert got.status[0] in (OK, IMMEDIATE_EXERCISE)


@given(tree_rows)
@few
def test_a_tree_rises_with_volatility_and_moves_with_spot_and_cash(drawn):
    sign = 1.0 if drawn[-1] else -1.0
    here = tree(drawn).price[0]
    assert tree(drawn, sigma_up=0.05).price[0] >= here - TREE_ERROR
    assert sign * (tree(drawn, spot=102.0).price[0] - here) >= -TREE_ERROR
    assert sign * (tree(drawn, cash_up=0.01).price[0] - here) <= TREE_ERROR
