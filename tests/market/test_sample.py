"""The simulated market gives the same bytes for the same question, and is what its truth says it is."""

import datetime as dt
from typing import Any

import msgspec
import numpy as np
import pytest

from bq.errors import Failure, Problem
from bq.market import calendar
from bq.market.sample import RATES, SampleMarket
from bq.market.sample_chains import PLACEHOLDERS
from bq.market.sample_truth import POPULAR, SIMULATED
from bq.market.source import Snapshot

FRIDAY_EVENING = dt.datetime(2025, 9, 26, 22, tzinfo=dt.UTC)
SOME = ("AAPL", "NVDA", "SPY", "SIM003", "SIM005", "SIM008", "SIM500")


def market(as_of: dt.datetime = FRIDAY_EVENING, seed: int = 1) -> SampleMarket:
    return SampleMarket(lambda: as_of, seed=seed)


def one(ticker: str, **options: Any) -> Snapshot:
    (answer,) = market(**options).fetch([ticker])
    assert isinstance(answer, Snapshot)
    return answer


def encoded(answer: Snapshot | Problem) -> bytes:
    return msgspec.json.encode(answer, enc_hook=lambda array: array.tobytes())


@pytest.fixture(scope="module")
def snapshots() -> list[Snapshot]:
    answers = market().fetch([*POPULAR, *SIMULATED])
    return [answer for answer in answers if isinstance(answer, Snapshot)]


def test_every_symbol_of_the_universe_is_answered() -> None:
    sample = market()
    universe = sample.universe()
    assert universe is not None
    answers = sample.fetch([listing.symbol for listing in universe])
    assert [answer.ticker for answer in answers if isinstance(answer, Snapshot)] == [x.symbol for x in universe]
    assert len(universe) == 9 + 500 + 2


def test_a_symbol_is_the_same_bytes_in_any_company_and_order() -> None:
    together = market().fetch(SOME)
    turned = market().fetch(SOME[::-1])[::-1]
    alone = [market().fetch([ticker])[0] for ticker in SOME]
    assert [*map(encoded, together)] == [*map(encoded, turned)] == [*map(encoded, alone)]


def test_nothing_changes_between_two_closes() -> None:
    monday_before_the_close = dt.datetime(2025, 9, 29, 19, 59, 59, tzinfo=dt.UTC)
    assert encoded(one("SIM042")) == encoded(one("SIM042", as_of=monday_before_the_close))


def test_another_seed_is_another_market() -> None:
    assert one("SIM042").spot != one("SIM042", seed=2).spot


def test_history_only_grows() -> None:
    friday = one("SIM001").bars
    monday = one("SIM001", as_of=dt.datetime(2025, 9, 29, 20, tzinfo=dt.UTC)).bars
    assert monday.date[-1] == np.datetime64("2025-09-29")
    np.testing.assert_array_equal(monday.close[:-1], friday.close[1:])
    np.testing.assert_array_equal(monday.volume[:-1], friday.volume[1:])


def test_now_is_the_close_of_the_last_closed_session() -> None:
    snapshot = one("SIM001", as_of=dt.datetime(2025, 9, 28, 12, tzinfo=dt.UTC))
    assert snapshot.as_of == dt.datetime(2025, 9, 26, 20, tzinfo=dt.UTC)
    assert snapshot.bars.date[-1] == np.datetime64("2025-09-26")
    assert snapshot.chain is not None
    assert snapshot.chain.quote_time == snapshot.as_of
    assert snapshot.chain.spot == snapshot.spot == snapshot.bars.close[-1]


def test_bars_are_sessions_with_consistent_prices(snapshots: list[Snapshot]) -> None:
    for snapshot in snapshots:
        bars = snapshot.bars
        assert bars.date.size == 750
        assert calendar.sessions_mask(bars.date).all()
        assert (bars.high >= np.maximum(bars.open, bars.close)).all(), snapshot.ticker
        assert (bars.low <= np.minimum(bars.open, bars.close)).all(), snapshot.ticker
        assert (bars.low > 0.0).all(), snapshot.ticker
        assert (bars.volume > 0.0).all(), snapshot.ticker


def test_a_market_before_its_first_day_is_refused() -> None:
    with pytest.raises(Failure, match="starts on 2020-01-02"):
        SampleMarket(lambda: FRIDAY_EVENING, as_of=dt.datetime(2019, 5, 1, tzinfo=dt.UTC))


def test_an_unknown_symbol_is_a_problem_of_its_own() -> None:
    good, bad = market().fetch(["AAPL", "SIM501"])
    assert isinstance(good, Snapshot)
    assert isinstance(bad, Problem)
    assert bad.code == "unknown_ticker"


def test_indices_are_the_real_ones() -> None:
    # Closes of 2018-12-31 as published: S&P 500 2506.85, Nasdaq Composite 6635.28
    sp500, nasdaq = market().fetch(["^GSPC", "^IXIC"])
    assert isinstance(sp500, Snapshot)
    assert isinstance(nasdaq, Snapshot)
    assert (round(sp500.spot, 2), round(nasdaq.spot, 2)) == (2506.85, 6635.28)
    assert sp500.as_of == dt.datetime(2018, 12, 31, 21, tzinfo=dt.UTC)
    assert sp500.chain is None
    assert sp500.notes == ("chain_missing",)


def test_returns_have_the_variance_that_the_truth_says() -> None:
    # 750 returns of 200 names: the mean ratio's standard error is about 2 %, fat tails and persistence included
    sample = market()
    ratios = []
    for snapshot in sample.fetch(SIMULATED[:200]):
        assert isinstance(snapshot, Snapshot)
        truth = sample.truth(snapshot.ticker)
        returns = 100.0 * np.diff(np.log(snapshot.bars.model_close))
        ratios.append(returns.var() / (truth.variance + truth.cycle_variance))
    assert 0.9 < np.mean(ratios) < 1.1


def test_a_planted_cycle_stands_where_the_truth_says() -> None:
    sample = market()
    planted = [ticker for ticker in SIMULATED if sample.truth(ticker).cycle_amplitude > 0.0]
    found = 0
    for snapshot in sample.fetch(planted):
        assert isinstance(snapshot, Snapshot)
        returns = np.diff(np.log(snapshot.bars.model_close[-505:]))
        power = np.abs(np.fft.rfft(returns - returns.mean())) ** 2
        bin_ = 504 / sample.truth(snapshot.ticker).cycle_period
        found += abs(int(power.argmax()) - bin_) <= 1.0
    assert len(planted) == 50
    assert found >= 45  # expected 30 times the noise's power; volatility clusters hide a few


def test_names_without_a_cycle_are_most(snapshots: list[Snapshot]) -> None:
    sample = market()
    assert sum(sample.truth(s.ticker).cycle_amplitude == 0.0 for s in snapshots) == 458


def test_the_close_falls_by_the_dividend_that_the_adjusted_close_adds_back() -> None:
    bars = one("SIM010").bars
    assert bars.adj_close is not None
    factor = bars.adj_close / bars.close
    cash = bars.close[:-1] * (1.0 - factor[:-1] / factor[1:])
    paid = cash[cash > 0.02]  # closes are rounded to cents: smaller steps are rounding
    truth = market().truth("SIM010")
    assert truth.dividend_yield > 0.0
    assert paid.size == 12  # quarterly for three years
    yearly = paid[-4:].sum() / bars.close[-252:].mean()
    assert yearly == pytest.approx(truth.dividend_yield, rel=0.5)  # it follows the price with a quarter's delay


def test_the_next_dividend_is_declared_and_then_paid() -> None:
    snapshot = one("SIM010")
    following = snapshot.dividends[0]
    assert following.declared
    later = one("SIM010", as_of=calendar.session_close(following.ex_date)).bars
    assert later.adj_close is not None
    factor = later.adj_close / later.close
    cash = later.close[-2] * (1.0 - factor[-2] / factor[-1])
    assert cash == pytest.approx(following.cash, abs=0.015)  # closes are rounded to cents


def test_expiries_are_weekly_then_monthly_within_ninety_days() -> None:
    chain = one("AAPL").chain
    assert chain is not None
    expiries = np.unique(chain.expiry)
    assert expiries.astype(str).tolist() == [
        "2025-10-03",
        "2025-10-10",
        "2025-10-17",
        "2025-10-24",
        "2025-10-31",
        "2025-11-21",
        "2025-12-19",
    ]


def test_the_smile_is_free_of_butterfly_and_calendar_arbitrage() -> None:
    # Gatheral & Jacquier (2014): theta phi^2 (1 + |rho|) <= 4 and theta increasing in the expiry
    sample = market()
    for ticker in SIMULATED[:100]:
        truth = sample.truth(ticker)
        slices = sample.chain_truth(ticker).slices
        theta = np.array([each.theta for each in slices])
        assert (np.diff(theta) > 0.0).all()
        assert truth.smile_eta * (1.0 + abs(truth.smile_rho)) <= 2.0


def test_slices_are_the_svi_that_the_quotes_were_made_with() -> None:
    sample = market()
    snapshot = one("SIM020")
    known = sample.chain_truth("SIM020")
    chain = snapshot.chain
    assert chain is not None
    for each in known.slices:
        rows = chain.expiry == each.expiry
        k = np.log(chain.strike[rows] / each.forward)
        w = each.a + each.b * (each.rho * (k - each.m) + np.sqrt((k - each.m) ** 2 + each.s**2))
        np.testing.assert_allclose(known.sigma[rows] ** 2 * each.tau, w, rtol=1e-12)
        assert np.log(each.forward / snapshot.spot) == pytest.approx(
            (RATES.rate(each.tau) - each.dividend_yield) * each.tau, abs=1e-12
        )


def test_fair_names_imply_the_variance_that_garch_expects_and_the_others_do_not() -> None:
    sample = market()
    premiums = [sample.truth(ticker).vol_premium for ticker in SIMULATED]
    assert premiums.count(1.0) == 400
    assert premiums.count(1.25) == 50
    assert premiums.count(0.80) == 50


def test_quotes_enclose_the_price_but_for_the_planted_defects(snapshots: list[Snapshot]) -> None:
    sample = market()
    for snapshot in snapshots[:60]:
        known = sample.chain_truth(snapshot.ticker)
        chain = snapshot.chain
        assert chain is not None
        clean = ~(known.crossed | known.stale)
        assert np.isfinite(known.mid).all(), snapshot.ticker
        assert (chain.bid[clean] <= known.mid[clean] + 1e-9).all(), snapshot.ticker
        assert (chain.ask[clean] >= known.mid[clean] - 1e-9).all(), snapshot.ticker


def test_crossed_quotes_are_the_ones_that_the_truth_counts(snapshots: list[Snapshot]) -> None:
    sample = market()
    total = 0
    for snapshot in snapshots[:100]:
        chain = snapshot.chain
        assert chain is not None
        known = sample.chain_truth(snapshot.ticker)
        np.testing.assert_array_equal(chain.bid > chain.ask, known.crossed)
        total += int(known.crossed.sum())
    assert total > 20


def test_some_quotes_are_stale_and_many_bids_are_zero(snapshots: list[Snapshot]) -> None:
    sample = market()
    assert sum(int(sample.chain_truth(snapshot.ticker).stale.sum()) for snapshot in snapshots[:50]) > 20
    for snapshot in snapshots[9:30]:
        assert snapshot.chain is not None
        assert (snapshot.chain.bid == 0.0).any(), snapshot.ticker


def test_where_there_is_no_bid_the_vendor_volatility_is_a_placeholder(snapshots: list[Snapshot]) -> None:
    chain = snapshots[0].chain
    assert chain is not None
    assert np.isin(chain.vendor_iv[chain.bid == 0.0], PLACEHOLDERS).all()


@pytest.mark.parametrize(("ticker", "tick"), [("AAPL", 0.01), ("SIM001", 0.05)])
def test_quotes_stand_on_ticks(ticker: str, tick: float) -> None:
    chain = one(ticker).chain
    assert chain is not None
    prices = np.concatenate([chain.bid[chain.bid >= 3.0], chain.ask[chain.ask >= 3.2]])
    np.testing.assert_allclose(prices / tick, np.round(prices / tick), atol=1e-6)
