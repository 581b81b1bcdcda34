"""The algebra of a butterfly, against payoffs added up leg by leg."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bq.analysis import risk
from bq.analysis.cash_dividends import Payments
from bq.analysis.design import Design
from bq.analysis.position import FORMS, LEGS, Form, Quote, equivalent_cost, open_position

FEE = 0.0065


def leg_payoff(form: Form, strikes: list[float], spot: np.ndarray) -> np.ndarray:
    total = np.zeros_like(spot)
    for leg in LEGS[form]:
        k = strikes[leg.strike]
        total += leg.quantity * np.maximum(spot - k if leg.is_call else k - spot, 0.0)
    return total


strikes_of = st.tuples(st.floats(20, 200), st.floats(0.5, 50), st.floats(0.5, 50)).map(
    lambda t: [t[0], t[0] + t[1], t[0] + t[1] + t[2]]
)


@pytest.mark.parametrize("form", FORMS)
@given(strikes=strikes_of)
def test_the_payoff_is_the_sum_of_the_legs(form: Form, strikes: list[float]) -> None:
    spot = np.linspace(0.0, 400.0, 301)
    position = open_position(form, strikes, [Quote(1.0, 1.1)] * len(LEGS[form]), FEE)
    np.testing.assert_allclose(position.payoff(spot), leg_payoff(form, strikes, spot), atol=1e-9)


@pytest.mark.parametrize("form", FORMS)
@given(strikes=strikes_of, mid=st.floats(0.5, 5.0))
def test_extremes_and_breakevens_are_those_of_the_profit_curve(form: Form, strikes: list[float], mid: float) -> None:
    quotes = [Quote(mid, mid + 0.05)] * len(LEGS[form])
    position = open_position(form, strikes, quotes, FEE)
    spot = np.union1d(np.linspace(0.0, strikes[2] * 2.0, 2001), strikes)
    profit = position.payoff(spot) - position.debit
    assert position.max_profit == pytest.approx(profit.max(), abs=1e-9)
    assert position.max_loss == pytest.approx(-profit.min(), abs=1e-9)
    for breakeven in (position.breakeven_lower, position.breakeven_upper):
        if breakeven is not None:
            assert float(position.payoff(breakeven)) == pytest.approx(position.debit, abs=1e-9)


def test_the_costs_shown_add_up_to_the_debit() -> None:
    position = open_position("CALL", [95.0, 100.0, 105.0], [Quote(6.9, 7.0), Quote(3.9, 4.0), Quote(1.9, 2.0)], FEE)
    assert position.lower_cost + position.upper_cost - 2.0 * position.center_credit == position.debit
    # Wings at the ask, centre at the bid, four commissions.
    assert position.debit == pytest.approx(7.0 + 2.0 - 2 * 3.9 + 4 * FEE)


def test_the_iron_form_sells_the_straddle_once() -> None:
    quotes = [Quote(1.0, 1.1), Quote(2.9, 3.0), Quote(3.1, 3.2), Quote(0.9, 1.0)]
    position = open_position("IRON", [95.0, 100.0, 105.0], quotes, 0.0)
    credit = 2.9 + 3.1 - 1.1 - 1.0
    assert -position.debit == pytest.approx(credit)
    assert position.center_credit == pytest.approx((2.9 + 3.1) / 2)
    assert position.max_loss == pytest.approx(5.0 - credit)
    assert (position.breakeven_lower, position.breakeven_upper) == pytest.approx((100.0 - credit, 100.0 + credit))


@given(strikes=strikes_of)
def test_fair_forms_cost_the_same(strikes: list[float]) -> None:
    """At prices in parity and without spreads the three forms are one trade."""
    from kernels import black_scholes

    market = (100.0, 0.25, 0.04, 0.01, 0.3)
    spot, tau, rate, dividend, sigma = market
    costs = []
    for form in FORMS:
        quotes = []
        for leg in LEGS[form]:
            price = float(black_scholes.price(spot, strikes[leg.strike], tau, rate, dividend, sigma, leg.is_call)[0])
            quotes.append(Quote(price, price))
        costs.append(equivalent_cost(open_position(form, strikes, quotes, 0.0), float(np.exp(-rate * tau))))
    assert costs == pytest.approx([costs[0]] * 3, abs=1e-9)


@pytest.mark.parametrize(
    ("form", "spot", "middle", "flags"),
    [
        ("PUT", 90.0, 10.2, ["short_put_interest"]),  # 0.2 of time value, 0.5 of interest
        ("PUT", 90.0, 10.9, []),
        ("PUT", 110.0, 0.2, []),
        ("CALL", 110.0, 10.2, ["short_call_before_dividend"]),  # a dividend of 0.6
        ("CALL", 110.0, 10.9, []),
        ("CALL", 90.0, 0.2, []),
        ("IRON", 90.0, 10.2, ["short_put_interest"]),
        ("IRON", 110.0, 10.2, ["short_call_before_dividend"]),
    ],
)
def test_a_short_leg_that_is_worth_exercising_is_flagged(
    form: Form, spot: float, middle: float, flags: list[str]
) -> None:
    quotes = [Quote(middle - 0.05, middle + 0.05)] * len(LEGS[form])
    position = open_position(form, [95.0, 100.0, 105.0], quotes, FEE)
    expiry = np.datetime64("2026-08-07")
    design = Design(position, expiry, 36, 0.1, 25, 0.05, 0.0, spot, None, 0.0)
    payments = Payments(np.array([0.03]), np.array([0.6]))
    assert risk._assignment_flags(design, spot, payments) == flags
    assert risk._assignment_flags(design, spot, Payments(np.empty(0), np.empty(0))) == [
        flag for flag in flags if flag == "short_put_interest"
    ]
