"""A caller's own legs: the analysis's own numbers for the analysis's own legs, and an answer for every other."""

import datetime as dt
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

import bq
from bq.analysis import engine, given_legs, whatif
from bq.errors import Failure, Problem
from bq.market.files import FilesMarket
from bq.market.sample import SampleMarket
from bq.schema_what_if import LegGiven, WhatIf

NOW = dt.datetime(2026, 6, 30, 21, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def market():
    return SampleMarket(lambda: NOW)


@pytest.fixture(scope="module")
def aapl(market):
    return given_legs.study(market.fetch(["AAPL"])[0])


def as_given(legs) -> list[LegGiven]:
    return [LegGiven(leg.type, leg.strike, dt.date.fromisoformat(leg.expiry), leg.quantity) for leg in legs]


def around(study, sessions_ahead: int = 2) -> tuple[dt.date, list[float]]:
    """An expiry in the horizon and its strikes that are quoted on both sides."""
    s = study.slices[sessions_ahead]
    good = np.isfinite(s.call.bid) & np.isfinite(s.put.bid)
    return s.expiry.astype(dt.date), s.strike[good].tolist()


def assert_the_same(a, found: WhatIf) -> None:
    x, b = a.extended, a.butterfly
    for name in (
        "pop_market", "pop_forecast", "pop_empirical", "ev_market", "ev_forecast", "ev_empirical", "ev_worst",
        "ev_bound", "std_error", "cvar_95", "prob_max_loss", "assignment_flags",
    ):  # fmt: skip
        assert getattr(found.risk, name) == getattr(x.risk, name), name
    # Of its own legs a caller may take a share where the best of thousands has none.
    searched = x.risk.ev_shrunk > 0.0
    assert (found.risk.kelly_fraction if searched else 0.0) == pytest.approx(x.risk.kelly_fraction, abs=2e-6)
    assert abs(found.cost) == b.net_debit
    assert (found.max_profit, found.max_loss) == (b.max_profit, b.max_loss)
    assert found.breakevens == [price for price in (b.breakeven_lower, b.breakeven_upper) if price]
    assert found.greeks == b.greeks
    assert found.payoff == x.payoff
    assert [leg.iv for leg in found.legs] == [leg.iv for leg in x.legs]
    assert [leg.occ_symbol for leg in found.legs] == [leg.occ_symbol for leg in x.legs]
    touches = {level.strike: level.touch for level in found.risk.levels}
    assert [touches[k] for k in (b.lower_strike, b.center_strike, b.upper_strike)] == [
        x.risk.touch_lower,
        x.risk.touch_center,
        x.risk.touch_upper,
    ]


@pytest.mark.parametrize("ticker", ["AAPL", "SPY", "SIM001", "SIM042"])
def test_the_legs_of_an_analysis_have_its_numbers(market, ticker):
    (snapshot,) = market.fetch([ticker])
    (analysis,) = engine.analyze([snapshot])
    found = whatif.assess(given_legs.study(snapshot), as_given(analysis.extended.legs))
    assert isinstance(found, WhatIf)
    assert_the_same(analysis, found)


def test_the_legs_of_a_trade_worth_buying_have_its_share_of_capital(market):
    """The market measure loses its costs on every position, and is no opinion: it used to make this share 0."""
    snapshots = market.fetch([f"SIM{i:03d}" for i in range(1, 41)])
    buys = [
        (s, a)
        for s, a in zip(snapshots, engine.analyze(snapshots), strict=True)
        if a.score.recommendation in ("BUY", "STRONG_BUY")
    ]
    assert len(buys) >= 3
    for snapshot, analysis in buys[:3]:
        found = whatif.assess(given_legs.study(snapshot), as_given(analysis.extended.legs))
        assert isinstance(found, WhatIf)
        assert analysis.extended.risk.kelly_fraction > 0.01
        assert_the_same(analysis, found)


def test_the_legs_of_a_real_analysis_have_its_numbers(data_dir: Path):
    files = FilesMarket(str(data_dir / "market"), as_of=dt.datetime(2025, 9, 28, 12, tzinfo=dt.UTC), rate=0.04)
    (snapshot,) = files.fetch(["AAPL"])
    (analysis,) = engine.analyze([snapshot])
    found = whatif.assess(given_legs.study(snapshot), as_given(analysis.extended.legs))
    assert isinstance(found, WhatIf)
    assert_the_same(analysis, found)


def test_a_share_sold_short_by_options_has_no_bound_on_its_loss(aapl):
    expiry, strikes = around(aapl)
    middle = strikes[len(strikes) // 2]
    found = whatif.assess(aapl, [LegGiven("call", middle, expiry, -1), LegGiven("put", middle, expiry, 1)])
    assert found.max_loss is None
    assert found.risk.prob_max_loss is None
    assert found.risk.kelly_fraction is None
    # A synthetic short forward: its delta is about minus one, its value at expiry a straight line.
    assert found.greeks.delta == pytest.approx(-1.0, abs=0.05)
    np.testing.assert_allclose(np.diff(found.payoff.at_expiry) / np.diff(found.payoff.spot), -1.0, atol=1e-3)
    # Its expected value under each measure is the same: all have the forward as their mean.
    values = (found.risk.ev_market, found.risk.ev_forecast, found.risk.ev_empirical)
    assert max(values) - min(values) < 1e-6


def test_a_calendar_spread_is_valued_at_its_first_expiry(aapl):
    expiry, strikes = around(aapl, 1)
    middle = min(strikes, key=lambda k: abs(k - aapl.spot))
    later = next(
        s.expiry.astype(dt.date) for s in aapl.slices[2:] if middle in s.strike[np.isfinite(s.call.ask)].tolist()
    )
    found = whatif.assess(aapl, [LegGiven("call", middle, expiry, -1), LegGiven("call", middle, later, 1)])
    assert found.expiry == expiry.isoformat()
    assert any(note.code == "later_legs_at_model_value" for note in found.notes)
    # It pays most where the short leg expires worthless and the long one has its most time value: at the strike.
    spot, profit = np.array(found.payoff.spot), np.array(found.payoff.at_expiry)
    step = np.diff(spot).max()
    assert abs(spot[profit.argmax()] - middle) <= step
    assert found.max_loss == pytest.approx(found.cost, rel=0.1)
    assert 1 <= len(found.breakevens) <= 2


def test_a_given_price_is_the_cost_and_leaves_the_greeks_alone(aapl):
    expiry, strikes = around(aapl)
    quoted = whatif.assess(aapl, [LegGiven("call", strikes[3], expiry, 2)])
    given = whatif.assess(aapl, [LegGiven("call", strikes[3], expiry, 2, price=1.25)])
    assert given.cost == pytest.approx(2 * 1.25 + 2 * 0.0065)
    assert given.commission == pytest.approx(2 * 0.0065)
    assert given.legs[0].price_source == "given"
    assert given.greeks == quoted.greeks
    assert given.risk.ev_market - quoted.risk.ev_market == pytest.approx(quoted.cost - given.cost, abs=1e-5)


def test_forty_legs_are_answered(aapl):
    expiry, strikes = around(aapl)
    legs = [
        LegGiven("call" if i % 2 else "put", strikes[i % len(strikes)], expiry, 1 if i % 3 else -1) for i in range(40)
    ]
    found = whatif.assess(aapl, legs)
    assert len(found.legs) == 40
    msgspec.json.encode(found)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"strike": 1.2345}, "the nearest listed"),
        ({"expiry": dt.date(2026, 7, 18)}, "no options expire on 2026-07-18; the nearest listed are 2026-07-17 and"),
        ({"expiry": dt.date(2036, 7, 18)}, "the nearest listed is"),
        ({"expiry": dt.date(2020, 1, 17)}, "has expired by 2026-06-30"),
        ({"quantity": 0}, "a quantity of 0 is no leg"),
    ],
)
def test_a_leg_that_cannot_be_is_told_what_can(aapl, change, text):
    expiry, strikes = around(aapl)
    good = LegGiven("call", strikes[3], expiry, 1)
    found = whatif.assess(aapl, [good, msgspec.structs.replace(good, **change)])
    assert isinstance(found, Problem)
    assert found.code == "bad_request"
    assert "AAPL: leg 2: " in found.error
    assert text in found.error


def test_a_leg_without_a_usable_quote_needs_a_price(aapl):
    s = next(s for s in aapl.slices if not np.isfinite(s.call.bid).all())
    strike = float(s.strike[(~np.isfinite(s.call.bid)) & (s.call.row >= 0)][0])
    leg = LegGiven("call", strike, s.expiry.astype(dt.date), -1)
    refused = whatif.assess(aapl, [leg])
    assert isinstance(refused, Problem)
    assert "no usable quote (bid" in refused.error
    assert isinstance(whatif.assess(aapl, [msgspec.structs.replace(leg, price=0.01)]), WhatIf)


def test_without_a_chain_prices_must_be_given_and_there_is_no_market_measure(market):
    study = given_legs.study(market.fetch(["^GSPC"])[0])
    expiry = (study.snapshot.as_of + dt.timedelta(days=45)).date()
    leg = LegGiven("put", round(study.spot, -2), expiry, 1)
    assert "give the leg a price" in whatif.assess(study, [leg]).error
    found = whatif.assess(study, [msgspec.structs.replace(leg, price=60.0)])
    assert found.grade == "none"
    assert (found.risk.pop_market, found.risk.ev_market) == (None, None)
    assert found.legs[0].iv_source == "price"
    assert math.isfinite(found.risk.ev_forecast)


def test_an_expiry_beyond_the_analysis_is_read_as_well(aapl):
    days = np.unique(aapl.snapshot.chain.expiry)
    far = days[-1]
    assert all(s.expiry != far for s in aapl.slices)
    strikes = np.unique(aapl.snapshot.chain.strike[aapl.snapshot.chain.expiry == far])
    strike = float(strikes[np.argmin(np.abs(strikes - aapl.spot))])
    found = whatif.assess(aapl, [LegGiven("call", strike, far.astype(dt.date), 1)])
    assert found.expiry == str(far)
    assert found.risk.pop_market is not None
    assert found.spot == round(aapl.spot, 4)


def test_the_same_in_python(aapl):
    expiry, strikes = around(aapl)
    leg = {"type": "put", "strike": strikes[3], "expiry": expiry.isoformat(), "quantity": -1}
    found = bq.what_if("aapl ", [leg], market="sample", as_of=NOW.isoformat())
    direct = whatif.assess(aapl, [LegGiven("put", strikes[3], expiry, -1)])
    assert found == msgspec.to_builtins(direct)
    for legs, text in (([leg | {"strike": 0.5}], "leg 1"), ([leg | {"side": "short"}], "side"), ([], "legs")):
        with pytest.raises(Failure) as caught:
            bq.what_if("AAPL", legs, market="sample", as_of=NOW.isoformat())
        assert text in caught.value.problem.error
