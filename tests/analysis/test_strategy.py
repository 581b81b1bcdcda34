"""Payoffs of any position: against adding up leg by leg, sampling, and the butterfly's own algebra."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bq.analysis import risk
from bq.analysis.cash_dividends import Payments
from bq.analysis.design import Design
from bq.analysis.measures import Market, Outlook, Sample, bring_together
from bq.analysis.position import LEGS, Quote, open_position
from bq.analysis.strategy import Curve, Strategy, empirical_interval, forecast_interval
from kernels import smile

legs = st.lists(
    st.tuples(st.floats(20.0, 200.0).map(lambda k: round(k, 2)), st.booleans(), st.integers(-5, 5).filter(bool)),
    min_size=1,
    max_size=6,
)


def arrays(chosen):
    strike, is_call, quantity = zip(*chosen, strict=True)
    return np.array(strike), np.array(is_call), np.array(quantity, dtype=np.float64)


def by_leg(chosen, price):
    strike, is_call, quantity = arrays(chosen)
    gain = np.where(is_call, price[:, None] - strike, strike - price[:, None])
    return np.maximum(gain, 0.0) @ quantity


@given(legs)
def test_the_curve_is_the_sum_of_the_legs(chosen):
    price = np.linspace(0.0, 400.0, 801)
    np.testing.assert_allclose(Curve.of_options(*arrays(chosen)).at(price), by_leg(chosen, price), atol=1e-8)


@given(legs, legs)
def test_curves_add_up(one, other):
    price = np.linspace(0.0, 400.0, 801)
    both = Curve.of_options(*arrays(one)).plus(Curve.of_options(*arrays(other)))
    np.testing.assert_allclose(both.at(price), by_leg(one, price) + by_leg(other, price), atol=1e-8)


@given(legs)
def test_the_expected_payoff_is_that_of_the_sample(chosen):
    sample = Sample.of(np.random.default_rng(5).normal(0.0, 0.3, 500), 101.0)
    found = Curve.of_options(*arrays(chosen)).expected(sample, float(sample.prices.mean()))
    assert found == pytest.approx(by_leg(chosen, sample.prices).mean(), abs=1e-8)


@given(legs, st.floats(-30.0, 30.0) | st.just(0.0))
def test_profit_is_made_inside_of_the_ranges_and_nowhere_else(chosen, cost):
    curve = Curve.of_options(*arrays(chosen))
    price = np.linspace(0.0, 400.0, 4001)
    inside = np.zeros(price.size, dtype=bool)
    for low, high in curve.profitable(cost):
        inside |= (price > low) & (price < high)
    gap = by_leg(chosen, price) - cost
    clear = np.abs(gap) > 1e-6
    np.testing.assert_array_equal(inside[clear & (price > 0)], (gap > 0.0)[clear & (price > 0)])
    for edge in curve.breakevens(cost):
        assert float(curve.at(np.array([edge]))[0]) == pytest.approx(cost, abs=1e-6)


def test_extremes_may_have_no_bound():
    short_call = Curve.of_options(np.array([100.0]), np.array([True]), np.array([-1.0]))
    assert (short_call.most, short_call.least) == (0.0, -math.inf)
    short_put = Curve.of_options(np.array([100.0]), np.array([False]), np.array([-1.0]))
    assert (short_put.most, short_put.least) == (0.0, -100.0)


@pytest.mark.parametrize("form", ["CALL", "PUT", "IRON"])
def test_a_butterfly_is_a_case_of_it(form):
    strikes = [95.0, 100.0, 107.5]
    quotes = [Quote(3.0, 3.1)] * len(LEGS[form])
    position = open_position(form, strikes, quotes, 0.0065)
    specs = LEGS[form]
    curve = Curve.of_options(
        np.array([strikes[leg.strike] for leg in specs]),
        np.array([leg.is_call for leg in specs]),
        np.array([float(leg.quantity) for leg in specs]),
    )
    rate, tau = 0.04, 0.1
    strategy = Strategy(curve, position.debit, math.exp(-rate * tau), 20)
    svi = smile.fit_level_skew([[-0.2, 0.0, 0.2]], [[0.012, 0.008, 0.009]], 1.0, tau)
    simulated = np.random.default_rng(2).normal(0.0, 0.09, 4096)
    (m,) = bring_together([Outlook(simulated, simulated[:500], 101.0, 0.1, 7, Market(svi, 101.0))])
    design = Design(position, np.datetime64("2026-08-21"), 37, tau, 20, rate, 0.0, 101.0, None, 0.0)
    nothing = Payments(np.empty(0), np.empty(0))
    (found,) = risk.assess([risk.Case(design, m, 100.0, 0.09, nothing, True)])
    for measure, ev, pop in (
        (m.forecast, found.risk.ev_forecast, found.risk.pop_forecast),
        (m.market, found.risk.ev_market, found.risk.pop_market),
        (m.empirical, found.risk.ev_empirical, found.risk.pop_empirical),
    ):
        assert strategy.expected_value(measure, 101.0) == pytest.approx(ev, abs=1e-9)
        assert strategy.probability(measure) == pytest.approx(pop.value, abs=1e-12)
    bounds = msgspec.structs.astuple
    np.testing.assert_allclose(bounds(forecast_interval(strategy, m)), bounds(found.risk.pop_forecast), atol=1e-9)
    np.testing.assert_allclose(bounds(empirical_interval(strategy, m)), bounds(found.risk.pop_empirical), atol=1e-9)
    errors = risk.errors_of(
        lambda sample: strategy.expected_value(sample, sample.mean),
        m,
        tau,
        strategy.profits(m.forecast.prices).std(),
        0.0,
    )
    np.testing.assert_allclose(
        errors.ev_moved + errors.ev_drifted, found.errors.ev_moved + found.errors.ev_drifted, atol=1e-9
    )
    assert errors.of_ev(found.risk.ev_forecast) == pytest.approx(found.risk.std_error, abs=1e-9)
    assert -curve.least + position.debit == pytest.approx(position.max_loss)
    assert curve.most - position.debit == pytest.approx(position.max_profit)
