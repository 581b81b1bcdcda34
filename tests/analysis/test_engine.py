"""The batch function: every key, honest numbers, and no ticker that notices its neighbours."""

import threading

import msgspec
import numpy as np
import pytest
from numba.core import compiler

from bq import schema
from bq.analysis import engine
from bq.errors import Problem
from bq.market.sample import SampleMarket
from bq.market.source import Bars, Chain, Snapshot
from bq.schema import Analysis


def nulls(value: object, path: str = "") -> list[str]:
    if isinstance(value, dict):
        return [p for key, item in value.items() for p in nulls(item, f"{path}.{key}")]
    if isinstance(value, list):
        return [p for i, item in enumerate(value) for p in nulls(item, f"{path}[{i}]")]
    return [path] if value is None else []


def test_the_answer_of_a_ticker_does_not_depend_on_its_batch(
    snapshots: list[Snapshot], analyses: list[Analysis]
) -> None:
    together = [schema.encode(a, "full") for a in analyses]
    alone = [schema.encode(engine.analyze([s])[0], "full") for s in snapshots]  # type: ignore[arg-type]
    reverse = [schema.encode(a, "full") for a in engine.analyze(snapshots[::-1])][::-1]  # type: ignore[arg-type]
    assert together == alone == reverse


def test_nor_on_the_thread(snapshots: list[Snapshot], analyses: list[Analysis]) -> None:
    found: dict[int, list[bytes]] = {}

    def work(name: int) -> None:
        found[name] = [schema.encode(a, "full") for a in engine.analyze(snapshots)]  # type: ignore[arg-type]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = [schema.encode(a, "full") for a in analyses]
    assert [found[i] for i in range(3)] == [expected] * 3


def broken(snapshot: Snapshot, **changes: object) -> Snapshot:
    return msgspec.structs.replace(snapshot, bars=msgspec.structs.replace(snapshot.bars, **changes))


def test_a_broken_ticker_gets_a_problem_and_hurts_nobody(snapshots: list[Snapshot], analyses: list[Analysis]) -> None:
    bars = snapshots[0].bars
    close = bars.close.copy()
    close[-5] = np.nan
    short = Bars(*(getattr(bars, name)[-100:] for name in ("date", "open", "high", "low", "close", "volume")))
    batch = [
        snapshots[0],
        broken(snapshots[1], close=close, adj_close=None),
        msgspec.structs.replace(snapshots[2], bars=short),
        Problem("unknown_ticker", "NOPE: no such ticker"),
        broken(snapshots[3], close=np.full(bars.close.size, 10.0), adj_close=None),
        snapshots[4],
    ]
    answers = engine.analyze(batch)
    codes = [a.code if isinstance(a, Problem) else "ok" for a in answers]
    assert codes == ["ok", "bad_data", "not_enough_data", "unknown_ticker", "bad_data", "ok"]
    assert answers[0] == analyses[0]
    assert answers[5] == analyses[4]
    assert "251" in answers[2].error  # type: ignore[union-attr]


def test_an_analysis_compiles_nothing(
    snapshots: list[Snapshot], analyses: list[Analysis], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: compiler.CompilerBase) -> None:
        raise AssertionError(f"{self.state.func_id.func_qualname} is compiled in a request")

    monkeypatch.setattr(compiler.CompilerBase, "_compile_core", refuse)
    assert engine.analyze(snapshots) == analyses  # type: ignore[arg-type]


def test_an_empty_batch_has_no_answers() -> None:
    assert engine.analyze([]) == []


def test_nothing_outside_the_charts_is_null(analyses: list[Analysis], without_chain: Analysis) -> None:
    for a in [*analyses, without_chain]:
        found = nulls(schema.to_builtins(a, "default"))
        assert all(path.startswith(".chart_data.price_forecast") for path in found)
        assert nulls(schema.to_builtins(a, "summary")) == []


def test_the_arrays_have_the_lengths_that_clients_draw(analyses: list[Analysis]) -> None:
    for a in analyses:
        assert len(a.arima.forecast) == len(a.arima.upper_bound) == len(a.arima.lower_bound) == 30  # type: ignore[arg-type]
        assert len(a.garch.forecast_vol) == 30  # type: ignore[arg-type]
        chart = a.chart_data
        assert isinstance(chart, schema.ChartData)
        assert (len(chart.fourier), len(chart.price_forecast)) == (120, 90)
        assert len(a.fourier.low_freq_signal) == len(a.fourier.mid_freq_signal)  # type: ignore[arg-type]


def test_signals_are_six_booleans(analyses: list[Analysis]) -> None:
    for a in analyses:
        shown = schema.to_builtins(a, "summary")["signals"]
        assert len(shown) == 6
        assert all(type(value) is bool for value in shown.values())


def test_sizes_stay_what_browsers_can_keep(analyses: list[Analysis]) -> None:
    for a in analyses:
        assert len(schema.encode(a, "summary")) < 2_600
        assert len(schema.encode(a, "default")) < 48_000


def test_the_position_adds_up(analyses: list[Analysis], without_chain: Analysis) -> None:
    for a in [*analyses, without_chain]:
        b = a.butterfly
        sign = -1.0 if b.is_credit_strategy else 1.0
        assert b.lower_cost + b.upper_cost - 2.0 * b.center_credit == pytest.approx(sign * b.net_debit, abs=1e-5)
        assert b.net_debit >= 0.0
        assert b.profit_ratio == pytest.approx(b.max_profit / b.max_loss, abs=1e-3)
        assert b.lower_strike < b.center_strike < b.upper_strike
        assert 0.0 <= b.prob_profit <= 100.0
        if a.fourier.butterfly_type == "IRON":
            # What today's page shows for the iron form.
            symmetric = b.center_strike - b.lower_strike == b.upper_strike - b.center_strike
            if symmetric:
                assert b.max_loss == pytest.approx(b.upper_strike - b.center_strike - b.net_debit, abs=1e-4)


def test_legs_are_listed_contracts_at_their_quotes(snapshots: list[Snapshot], analyses: list[Analysis]) -> None:
    for s, a in zip(snapshots, analyses, strict=True):
        assert s.chain is not None
        for leg in a.extended.legs:  # type: ignore[union-attr]
            at = (
                (s.chain.strike == leg.strike)
                & (s.chain.is_call == (leg.type == "call"))
                & (s.chain.expiry == np.datetime64(leg.expiry))
            )
            assert at.sum() == 1
            assert (s.chain.bid[at][0], s.chain.ask[at][0]) == pytest.approx((leg.bid, leg.ask))


def test_implied_volatilities_of_the_legs_reproduce_their_prices(analyses: list[Analysis]) -> None:
    from kernels import american, status

    for a in analyses:
        x = a.extended
        assert isinstance(x, schema.Extended)
        (used,) = [c for c in x.chain if c.expiry == x.legs[0].expiry]
        for leg in x.legs:
            spot = float(a.current_price)
            terms = (spot, leg.strike, used.tau, used.rate, used.dividend_yield)
            price = american.price(*terms, leg.iv, leg.type == "call").price[0]
            if american.implied_vol(leg.mid, *terms, leg.type == "call").status[0] != status.OK:
                # A mid below intrinsic value has no volatility: the smile's stands in, within the quotes.
                assert leg.bid - 0.01 < price < leg.ask + 0.01  # type: ignore[operator]
                continue
            # The wire rounds the carry to 1e-6 and spot to 1e-4, which moves a price by up to 2e-4.
            assert price == pytest.approx(leg.mid, abs=5e-4)


def test_without_a_chain_the_forecast_is_whole_and_nothing_is_claimed(without_chain: Analysis) -> None:
    a = without_chain
    assert a.garch.current_iv == a.garch.predicted_vol
    assert a.garch.vol_mispricing == 0.0
    assert a.garch.iv_skew is msgspec.UNSET
    assert not a.signals.vol_mispricing
    assert not a.signals.iv_high
    assert a.score.recommendation in ("NEUTRAL", "AVOID")
    x = a.extended
    assert isinstance(x, schema.Extended)
    codes = {reason.code for reason in x.quality.reasons}
    assert {"priced_from_forecast_volatility", "no_implied_volatility", "assumed_strikes"} <= codes
    assert x.quality.iv_source == "none"
    assert x.density.market is None
    assert x.risk.ev_market is None


def test_zero_bids_give_grade_d_and_no_trade(snapshots: list[Snapshot]) -> None:
    s = snapshots[0]
    assert s.chain is not None
    dead = msgspec.structs.replace(s.chain, bid=np.zeros_like(s.chain.bid), ask=np.zeros_like(s.chain.ask))
    (a,) = engine.analyze([msgspec.structs.replace(s, chain=dead)])
    assert isinstance(a, Analysis)
    assert isinstance(a.extended, schema.Extended)
    assert a.extended.quality.grade == "D"
    assert (a.score.total, a.score.recommendation, a.trade_suggestion.action) == (0.0, "AVOID", "AVOID")
    assert a.extended.quality.iv_source == "none"


def test_grade_d_implies_no_number_though_some_quotes_would(snapshots: list[Snapshot]) -> None:
    """One strike in five still quoted: enough for a forward and a smile of a few points, not enough to be believed."""
    s = snapshots[0]
    assert s.chain is not None
    kept = np.isin(s.chain.strike, np.unique(s.chain.strike)[::5])
    (a,) = engine.analyze([msgspec.structs.replace(s, chain=msgspec.structs.replace(s.chain, bid=s.chain.bid * kept))])
    assert isinstance(a, Analysis)
    x = a.extended
    assert isinstance(x, schema.Extended)
    assert (x.quality.grade, x.quality.iv_source) == ("D", "none")
    assert x.chain == []
    assert x.constant_maturity is None
    assert [point.implied for point in x.term_structure] == [None]
    assert (x.iv_level.iv_30d, x.density.market, x.search, x.candidates) == (None, None, None, [])


def test_vendor_volatilities_are_never_used(snapshots: list[Snapshot], analyses: list[Analysis]) -> None:
    s = snapshots[0]
    assert s.chain is not None
    wrong = msgspec.structs.replace(s.chain, vendor_iv=np.full(s.chain.bid.size, 3.0))
    (a,) = engine.analyze([msgspec.structs.replace(s, chain=wrong)])
    assert isinstance(a, Analysis)
    assert a.garch == analyses[0].garch
    assert a.butterfly == analyses[0].butterfly


def test_the_smile_finds_what_the_quotes_were_made_of(market, snapshots, analyses) -> None:  # type: ignore[no-untyped-def]
    for s, a in zip(snapshots, analyses, strict=True):
        chosen = next(c for c in a.extended.chain if c.expiry == a.extended.legs[0].expiry)
        truth = market.chain_truth(s.ticker)
        made = next(x for x in truth.slices if str(x.expiry) == chosen.expiry)
        # Half a tick on the forward's pairs, and the noise of the quotes.
        assert chosen.forward == pytest.approx(made.forward, rel=2e-3)


def test_warm_up_passes_and_tells_a_cost() -> None:
    slice_cost, each = engine.warm_up()
    assert slice_cost >= 0.0
    assert each > 0.0


def test_the_payoff_is_told_where_it_bends(analyses: list[Analysis]) -> None:
    for a in analyses:
        b, payoff = a.butterfly, a.extended.payoff
        told = dict(zip(payoff.spot, payoff.at_expiry, strict=True))
        assert payoff.spot == sorted(payoff.spot)
        assert len(payoff.today) == len(payoff.spot)
        assert told[b.center_strike] == pytest.approx(b.max_profit, abs=1e-3)
        assert told[b.lower_strike] == pytest.approx(payoff.at_expiry[0], abs=1e-3)
        assert told[b.upper_strike] == pytest.approx(payoff.at_expiry[-1], abs=1e-3)


def test_without_a_price_and_without_usable_quotes_only_that_ticker_fails(
    snapshots: list[Snapshot], analyses: list[Analysis]
) -> None:
    chain = snapshots[0].chain
    assert chain is not None
    zeros = np.zeros_like(chain.bid)
    quotes = msgspec.structs.replace(chain, bid=zeros, ask=zeros, spot=np.nan)
    dead = msgspec.structs.replace(snapshots[0], spot=np.nan, chain=quotes)
    problem, other = engine.analyze([dead, snapshots[1]])
    assert isinstance(problem, Problem)
    assert (problem.code, "no price in force" in problem.error) == ("bad_data", True)
    assert other == analyses[1]


@pytest.mark.parametrize("chain", [True, False])
def test_a_batch_of_nothing_but_problems_is_answered(snapshots: list[Snapshot], chain: bool) -> None:
    """The price grows by the same share each day: nothing moves around the mean, and GARCH has no fit."""
    bars = snapshots[0].bars
    even = 50.0 * np.exp(1e-3 * np.arange(bars.close.size))
    steady = broken(snapshots[0], close=even, adj_close=None)
    (problem,) = engine.analyze([steady if chain else msgspec.structs.replace(steady, chain=None)])
    assert isinstance(problem, Problem)
    assert (problem.code, "the GARCH model has no fit" in problem.error) == ("bad_data", True)


@pytest.mark.parametrize("spot", [0.0, -5.0])
def test_a_spot_that_is_not_positive_is_a_problem(
    snapshots: list[Snapshot], analyses: list[Analysis], spot: float
) -> None:
    problem, other = engine.analyze([msgspec.structs.replace(snapshots[0], spot=spot), snapshots[1]])
    assert isinstance(problem, Problem)
    assert (problem.code, f"the price in force is {spot:g}" in problem.error) == ("bad_data", True)
    assert other == analyses[1]


def reasons(a: Analysis | Problem) -> dict[str, int]:
    assert isinstance(a, Analysis)
    assert isinstance(a.extended, schema.Extended)
    return {reason.code: reason.count for reason in a.extended.quality.reasons}


def test_what_the_data_lack_is_said(snapshots: list[Snapshot], analyses: list[Analysis]) -> None:
    """Expiries that are all too far, and a split since the last bar: both change the answer, and must be named."""
    s = snapshots[0]
    assert s.chain is not None
    assert not {"no_expiry_in_horizon", "spot_and_closes_apart"} & reasons(analyses[0]).keys()
    far = msgspec.structs.replace(s.chain, expiry=s.chain.expiry + np.timedelta64(400, "D"))
    prices = {name: 2.0 * getattr(s.bars, name) for name in ("open", "high", "low", "close", "adj_close")}
    late, split = engine.analyze([msgspec.structs.replace(s, chain=far), broken(s, **prices)])
    assert reasons(late)["no_expiry_in_horizon"] == 1
    assert reasons(split)["spot_and_closes_apart"] == 1


def test_contracts_adjusted_for_a_spin_off_change_nothing(snapshots: list[Snapshot], analyses: list[Analysis]) -> None:
    """Behind the contracts of their strikes in the chain, they used to stand for them."""
    s = snapshots[0]
    c = s.chain
    assert c is not None
    names = [name for name in Chain.__struct_fields__ if isinstance(getattr(c, name), np.ndarray)]
    cheap = {"bid": 0.6 * c.bid, "ask": 0.6 * c.ask}
    rows = {name: np.concatenate([getattr(c, name), cheap.get(name, getattr(c, name))]) for name in names}
    symbols = tuple(f"{root}260717C00100000" for root in ("AAPL", "AAPL1") for _ in range(c.strike.size))
    (a,) = engine.analyze([msgspec.structs.replace(s, chain=msgspec.structs.replace(c, **rows, symbol=symbols))])
    assert reasons(a)["quotes_adjusted"] == c.strike.size
    assert isinstance(a, Analysis)
    same = ("chain", "risk", "candidates", "search", "legs", "payoff", "constant_maturity", "term_structure")
    assert [getattr(a.extended, name) for name in same] == [getattr(analyses[0].extended, name) for name in same]
    assert (a.butterfly, a.garch, a.score) == (analyses[0].butterfly, analyses[0].garch, analyses[0].score)


def test_a_leg_whose_quote_has_no_volatility_is_counted(market: SampleMarket) -> None:
    """SIM047's puts deep in the money trade below what exercise brings: their volatility is the smile's."""
    found = [a for a in engine.analyze(market.fetch([f"SIM{i:03d}" for i in range(1, 61)])) if isinstance(a, Analysis)]
    counted = 0
    for a in found:
        legs = a.extended.legs  # type: ignore[union-attr]
        dull = [leg for leg in legs if leg.bid is not None and leg.greeks.vega == 0.0]
        counted += len(dull)
        assert reasons(a).get("volatility_of_smile", 0) >= len(dull)
    assert counted


def test_a_thread_may_give_way_between_two_stages_and_nothing_changes(snapshots: list[Snapshot]) -> None:
    stages: list[int] = []
    again = engine.answer(snapshots, ["full"] * len(snapshots), lambda: stages.append(len(stages)))
    assert len(stages) >= 8
    plain = engine.answer(snapshots, ["full"] * len(snapshots))
    assert [schema.encode(a.analysis, "full") for a in again if isinstance(a, schema.Written)] == [
        schema.encode(a.analysis, "full") for a in plain if isinstance(a, schema.Written)
    ]


def test_every_detail_is_a_part_of_the_full_answer(snapshots: list[Snapshot]) -> None:
    """What a summary or a default answer is spared changes nothing of what it shows, nor of its neighbours."""
    batch = [*snapshots[:3], *(msgspec.structs.replace(s, chain=None) for s in snapshots[:3])]
    full = [a for a in engine.answer(batch, ["full"] * 6) if isinstance(a, schema.Written)]
    assert len(full) == 6
    details: list[schema.Detail] = ["summary", "default", "full"]
    for turn in range(3):
        asked = [details[(i + turn) % 3] for i in range(6)]
        for whole, part, detail in zip(full, engine.answer(batch, asked), asked, strict=True):
            assert isinstance(part, schema.Written)
            assert schema.encode(part.analysis, detail) == schema.encode(whole.analysis, detail)
            assert part.cycle_p == whole.cycle_p
            assert (part.analysis.extended is msgspec.UNSET) == (detail != "full")
