"""Legs in the money across an ex-date are priced with the dividend at its date, and no other leg is touched."""

import datetime as dt

import msgspec
import numpy as np
import pytest

from bq.analysis import cash_dividends, engine, given_legs, whatif
from bq.analysis.cash_dividends import Payments, Terms, call_may_be_exercised
from bq.market.sample import SampleMarket
from bq.market.source import Dividend
from bq.schema_what_if import LegGiven
from kernels import american
from kernels.status import ABOVE_MAXIMUM, BELOW_INTRINSIC, NO_TIME_VALUE, OK
from tests.references import american as quantlib

MOMENT = dt.datetime(2026, 6, 30, 21, tzinfo=dt.UTC)
NONE = Payments(np.empty(0), np.empty(0))
# S = 100, $1 after 30 days, 60 days, r = 4.5 %, sigma = 30 %: QuantLib 1.44, finite differences 1000 x 1000, spot
# model; the forward of that dividend is that of a yield of 6.09 %
TAU, RATE, SIGMA, YIELD = 60 / 365, 0.045, 0.3, 0.0609
ONE = Payments(np.array([30 / 365]), np.array([1.0]))
STRIKE = np.array([90.0, 100, 110, 90, 100, 110])
IS_CALL = np.array([True] * 3 + [False] * 3)
FINITE_DIFFERENCES = np.array([11.2125, 4.7452, 1.5255, 1.2963, 5.0231, 11.8878])
TREE = np.array([True, False, False, False, False, True])  # in the money by more than half a standard deviation


def terms_of(payments, strike=STRIKE, is_call=IS_CALL, forward=None, spot=100.0, sigma=SIGMA):
    n = len(strike)
    known = np.exp(-RATE * payments.tau) @ payments.cash
    middle = (spot - known) * np.exp(RATE * TAU) if forward is None else forward
    return Terms.of(
        np.full(n, spot), np.array(strike, float), np.full(n, TAU), np.full(n, RATE), np.full(n, YIELD),
        np.array(is_call), [payments] * n, np.full(n, middle), np.full(n, sigma),
    )  # fmt: skip


def continuous(terms):
    return terms.spot, terms.strike, terms.tau, terms.rate, terms.dividend


def test_legs_in_the_money_across_an_ex_date_are_those_of_the_tree():
    np.testing.assert_array_equal(terms_of(ONE).by_tree, TREE)


def test_volatility_of_finite_difference_prices_is_found_again():
    terms = terms_of(ONE)
    found = cash_dividends.implied_vol(FINITE_DIFFERENCES, terms, np.full(6, 0.25))
    assert found.status.tolist() == [OK] * 6
    assert found.sigma[TREE] == pytest.approx([SIGMA, SIGMA], abs=2e-4)  # 3e-4 of price over a vega of 10
    # What a yield makes of the same prices: 1.6 points too much for the call, 1.3 for the put.
    plain = american.implied_vol(FINITE_DIFFERENCES, *continuous(terms), IS_CALL).sigma
    assert np.all(np.abs(plain[TREE] - SIGMA) > 0.01)


def test_prices_agree_with_finite_differences():
    spots = np.array([94.0, 100.0, 106.0])
    terms = terms_of(ONE)
    got = cash_dividends.values(terms, np.full(6, SIGMA), np.tile(spots, (6, 1)))
    for i in np.flatnonzero(TREE):
        for j, spot in enumerate(spots):
            want = quantlib.cash_dividends(
                spot, STRIKE[i], 60, RATE, SIGMA, bool(IS_CALL[i]), np.array([30]), np.array([1.0]), grid=400
            )
            assert got[i, j] == pytest.approx(want, abs=5e-3)


def test_volatility_to_price_and_back():
    rng = np.random.default_rng(5)
    n = 40
    is_call = rng.random(n) < 0.5
    sigma = rng.uniform(0.12, 0.9, n)
    side = np.where(is_call, -1.0, 1.0)
    strike = 100.0 * np.exp(side * rng.uniform(0.55, 1.3, n) * sigma * np.sqrt(TAU))
    payments = Payments(np.array([12 / 365, 50 / 365]), np.array([0.6, 0.4]))
    terms = terms_of(payments, strike, is_call, sigma=0.05)._replace(by_tree=np.ones(n, bool))
    price = american.price_cash_dividends(
        100.0, strike, TAU, RATE, sigma, is_call, payments.tau, payments.cash, cash_dividends.STEPS
    ).price
    for start in (0.05, 0.4, 3.0):
        found = cash_dividends.implied_vol(price, terms, np.full(n, start))
        defined = found.status == OK
        assert set(found.status[~defined]) <= {NO_TIME_VALUE}
        assert defined.sum() > 30
        again = american.price_cash_dividends(
            100.0, strike, TAU, RATE, found.sigma, is_call, payments.tau, payments.cash, cash_dividends.STEPS
        ).price
        assert again[defined] == pytest.approx(price[defined], abs=2e-3)
        clear = defined & (cash_dividends.greeks(terms, sigma).vega > 3.0)
        assert clear.sum() > 20
        assert found.sigma[clear] == pytest.approx(sigma[clear], abs=1e-6)


def test_a_price_that_has_no_volatility_is_told_why():
    terms = terms_of(ONE, [80.0] * 5, [True] * 5)
    assert terms.by_tree.all()
    floor = american.price_cash_dividends(100.0, 80.0, TAU, RATE, 0.0, True, *ONE).price[0]
    prices = np.array([floor - 0.5, floor, 99.9999, np.nan, floor + 1.0])
    found = cash_dividends.implied_vol(prices, terms, np.full(5, SIGMA))
    assert found.status[:3].tolist() == [BELOW_INTRINSIC, NO_TIME_VALUE, ABOVE_MAXIMUM]
    assert found.status[3] not in (OK, NO_TIME_VALUE)
    assert np.all(np.isnan(found.sigma[:4]))
    assert found.status[4] == OK


def test_greeks_are_slopes():
    terms = terms_of(ONE)
    got = cash_dividends.greeks(terms, np.full(6, SIGMA))

    def at(spot=100.0, sigma=SIGMA, days=0.0):
        return american.price_cash_dividends(
            spot, STRIKE, TAU - days / 365, RATE, sigma, IS_CALL, ONE.tau - days / 365, ONE.cash
        ).price

    delta = (at(100.5) - at(99.5))[TREE]
    vega = (at(sigma=0.31) - at(sigma=0.29))[TREE] / 0.02
    theta = (at(days=1.0) - at(days=-1.0))[TREE] / (2 / 365)
    np.testing.assert_allclose(got.delta[TREE], delta, atol=2e-3)
    np.testing.assert_allclose(got.vega[TREE], vega, rtol=0.01)
    np.testing.assert_allclose(got.theta[TREE], theta, rtol=0.02)


@pytest.mark.parametrize("payments", [NONE, ONE, Payments(np.array([61 / 365]), np.array([1.0]))])
def test_other_legs_are_what_they_were_bit_for_bit(payments):
    terms = terms_of(payments)
    other = ~terms.by_tree
    assert other.sum() == (4 if payments is ONE else 6)
    rows, sigma = continuous(terms), np.full(6, SIGMA)
    found = cash_dividends.implied_vol(FINITE_DIFFERENCES, terms, sigma)
    plain = american.implied_vol(FINITE_DIFFERENCES, *rows, IS_CALL)
    np.testing.assert_array_equal(found.sigma[other], plain.sigma[other])
    np.testing.assert_array_equal(found.status[other], plain.status[other])
    want = american.greeks(*rows, sigma, IS_CALL)
    for name, column in cash_dividends.greeks(terms, sigma)._asdict().items():
        np.testing.assert_array_equal(column[other], getattr(want, name)[other])
    points = np.tile([90.0, 100.0, 115.0], (6, 1))
    for j in range(3):
        alone = american.price(points[:, j], *rows[1:], sigma, IS_CALL).price
        np.testing.assert_array_equal(cash_dividends.values(terms, sigma, points)[other, j], alone[other])


def test_a_forward_that_the_dividends_do_not_explain_keeps_its_carry():
    known = 100.0 - np.exp(-RATE * 30 / 365)
    for surplus, expected in ((0.4, TREE), (-0.4, TREE), (0.6, np.zeros(6, bool)), (-0.6, np.zeros(6, bool))):
        forward = (known + surplus) * np.exp(RATE * TAU)
        np.testing.assert_array_equal(terms_of(ONE, forward=forward).by_tree, expected)
    np.testing.assert_array_equal(terms_of(ONE, forward=np.nan).by_tree, TREE)


def test_a_dividend_of_more_than_the_share_is_left_to_the_carry():
    assert not terms_of(Payments(np.array([0.1]), np.array([150.0])), forward=99.0).by_tree.any()
    assert not terms_of(Payments(np.array([0.1]), np.array([150.0])), forward=np.nan, is_call=[True] * 6).by_tree.any()


def test_what_went_ex_is_paid_later_on():
    terms = terms_of(ONE).later(31 / 365)
    got = cash_dividends.values(terms, np.full(6, SIGMA), np.full((6, 1), 99.0))[:, 0]
    want = american.price(99.0, STRIKE, TAU - 31 / 365, RATE, 0.0, SIGMA, IS_CALL, scheme="accurate").price
    np.testing.assert_array_equal(got[TREE], want[TREE])


def test_payments_count_from_the_time_of_the_quotes():
    (snapshot,) = SampleMarket(lambda: MOMENT).fetch(["SIM042"])
    moment = snapshot.chain.quote_time
    ahead = (dt.date(2026, 7, 14), 0.5)
    odd = [(moment.date(), 0.5), (dt.date(2026, 8, 3), 0.0), (dt.date(2026, 8, 3), float("nan")), ahead]
    changed = msgspec.structs.replace(snapshot, dividends=tuple(Dividend(day, cash, True) for day, cash in odd))
    found = Payments.of(changed)
    opening = dt.datetime(2026, 7, 14, 13, 30, tzinfo=dt.UTC)  # 9:30 in New York
    assert found.cash.tolist() == [0.5]
    assert found.tau == pytest.approx([(opening - moment).total_seconds() / (365 * 86400)])
    assert Payments.of(msgspec.structs.replace(snapshot, dividends=())).tau.size == 0


@pytest.mark.parametrize(
    ("cash", "days", "time_value", "expected"),
    [
        ([0.5], [10], 0.4, True),
        ([0.5], [10], 0.7, False),
        ([0.3, 0.3], [10, 20], 0.45, False),  # together they would exceed it, neither does
        ([0.5], [59], 0.7, True),  # hardly any time is left on that eve
        ([0.5], [61], 0.1, False),  # after the expiry
        ([], [], 0.0, False),
    ],
)
def test_early_exercise_is_tested_at_each_ex_date(cash, days, time_value, expected):
    payments = Payments(np.array(days, float) / 365, np.array(cash, float))
    assert call_may_be_exercised(payments, TAU, time_value) is expected


def test_a_dividend_inside_the_window_of_the_sample_market():
    """SIM042 pays $0.24 on 14 July; its call in the money for 17 July lives across it, that for 10 July does not."""
    (snapshot,) = SampleMarket(lambda: MOMENT).fetch(["SIM042"])
    study = given_legs.study(snapshot)
    assert snapshot.dividends[0].ex_date == dt.date(2026, 7, 14)

    def asked(expiry, dividends):
        (s,) = [s for s in study.slices if str(s.expiry) == expiry]
        deep = np.log(s.forward / s.strike) / (s.atm_iv * np.sqrt(s.tau))
        quoted = np.isfinite(s.call.bid) & np.isfinite(s.put.bid)
        strike = float(s.strike[quoted & (deep > 0.7) & (deep < 1.6)][-1])
        legs = [LegGiven("call", strike, dt.date.fromisoformat(expiry), -1)]
        legs.append(msgspec.structs.replace(legs[0], type="put"))
        changed = study._replace(snapshot=msgspec.structs.replace(snapshot, dividends=dividends))
        return s, whatif.assess(changed, legs)

    s, across = asked("2026-07-17", snapshot.dividends)
    _, without = asked("2026-07-17", ())
    assert [(r.code, r.count) for r in across.notes if r.code == "legs_across_ex_date"] == [("legs_across_ex_date", 1)]
    assert all(r.code != "legs_across_ex_date" for r in without.notes)
    call, put = across.legs
    payments = Payments.of(snapshot)
    if call.iv_source == "quote":
        worth = american.price_cash_dividends(study.spot, call.strike, s.tau, s.rate, call.iv, True, *payments)
        assert worth.price[0] == pytest.approx(call.mid, abs=1e-3)
    assert call.iv != without.legs[0].iv
    assert put == without.legs[1]
    early = asked("2026-07-10", snapshot.dividends)[1]
    assert early == asked("2026-07-10", ())[1]


def test_the_analysis_says_how_many_legs_hang_on_a_dividend():
    """Of SIM018's iron butterfly the short call is in the money across an ex-date."""
    (snapshot,) = SampleMarket(lambda: MOMENT).fetch(["SIM018"])
    paying, bare = engine.analyze([snapshot, msgspec.structs.replace(snapshot, dividends=())])
    said = [{r.code: r.count for r in a.extended.quality.reasons} for a in (paying, bare)]
    assert (said[0]["legs_across_ex_date"], "legs_across_ex_date" in said[1]) == (1, False)
    changed = [
        (a.type, a.quantity < 0) for a, b in zip(paying.extended.legs, bare.extended.legs, strict=True) if a != b
    ]
    assert changed == [("call", True)]
