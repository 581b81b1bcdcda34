"""The search in the engine: arithmetic that adds up, agreement with Monte Carlo, filters that are counted, fronts."""

import itertools
import math
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import numpy as np
import pytest

from bq import schema
from bq.analysis import engine, report, score, search, sections
from bq.analysis.findings import Findings
from bq.market.files import FilesMarket
from bq.market.source import Snapshot
from bq.schema import Analysis, Candidate, Extended

FORMS = ("CALL", "PUT", "IRON")


def extended(a: Analysis) -> Extended:
    assert isinstance(a.extended, Extended)
    return a.extended


def payoff(c: Candidate, s: np.ndarray) -> np.ndarray:
    """From the legs alone."""
    total = np.zeros_like(s)
    for text in c.legs:
        quantity, symbol = text.split("x ")
        strike = int(symbol[-8:]) / 1000.0
        value = np.maximum(s - strike, 0.0) if symbol[-9] == "C" else np.maximum(strike - s, 0.0)
        total += int(quantity) * value
    return total


def assert_consistent(a: Analysis) -> None:
    x = extended(a)
    b = a.butterfly
    for c in x.candidates:
        strikes = np.array([c.lower_strike, c.center_strike, c.upper_strike])
        assert 0.0 < strikes[0] < strikes[1] < strikes[2]
        # The payoff is linear between the strikes: its extremes are at them, or at 0 and far above.
        profit = payoff(c, np.array([0.0, *strikes, 10.0 * strikes[2]])) - c.cost
        assert profit.max() == pytest.approx(c.max_profit, abs=1e-5)
        assert -profit.min() == pytest.approx(c.max_loss, abs=1e-5)
        assert c.max_loss > 0.0
        for edge in (c.breakeven_lower, c.breakeven_upper):
            if edge is not None:
                assert payoff(c, np.array([edge]))[0] == pytest.approx(c.cost, abs=2e-4)
        r = c.risk
        for pop in (r.pop_market, r.pop_forecast, r.pop_empirical):
            if pop is not None:
                assert 0.0 <= pop.low <= pop.value <= pop.high <= 1.0
        assert -c.max_loss - 1e-6 <= r.cvar_95 <= r.ev_forecast <= c.max_profit
        assert r.ev_bound is not None
        assert r.ev_bound <= r.ev_forecast - 2.4 * r.std_error + 1e-5
        assert r.ev_shrunk is not None
        assert (r.kelly_fraction > 0.0) == (r.ev_bound > 0.0 and r.ev_shrunk > 0.0)
        assert 0.0 <= r.kelly_fraction <= 0.25
        for p in (r.touch_center, r.touch_lower, r.touch_upper, r.pin_risk, r.prob_max_loss):
            assert 0.0 <= p <= 1.0
        assert c.max_profit >= search.REWARD_SHARE * c.max_loss * 0.98  # the filter counts in money of today
    if x.candidates:
        best = x.candidates[0]
        assert (best.lower_strike, best.center_strike, best.upper_strike) == (
            b.lower_strike,
            b.center_strike,
            b.upper_strike,
        )
        assert abs(best.cost) == pytest.approx(b.net_debit, abs=1e-6)
        assert best.expiry == x.legs[0].expiry
        assert best.risk == x.risk
        assert b.prob_profit == pytest.approx(100.0 * x.risk.pop_forecast.value, abs=1e-2)
        assert [c.score for c in x.candidates] == sorted((c.score for c in x.candidates), reverse=True)
        s = x.search
        assert s is not None
        assert s.examined == s.passed + sum(reason.count for reason in s.rejected)
        assert s.positive <= s.passed


def test_the_sample_market_s_answers_add_up(analyses: list[Analysis]) -> None:
    assert sum(bool(extended(a).candidates) for a in analyses) == len(analyses)
    for a in analyses:
        assert_consistent(a)


def test_names_with_rich_volatility_are_bought_and_fair_ones_are_not(analyses: list[Analysis]) -> None:
    recommended = {a.ticker: a.score.recommendation for a in analyses}
    # The sample market sells TSLA's and SIM003's options at 1.25 times the volatility that their process has.
    for ticker, said in recommended.items():
        assert (said in ("BUY", "STRONG_BUY")) == (ticker in ("TSLA", "SIM003")), recommended


def test_what_is_not_worth_buying_is_said_and_shown(analyses: list[Analysis]) -> None:
    for a in analyses:
        bound = extended(a).risk.ev_bound
        assert bound is not None
        said = "nothing worth buying" in a.fourier.strategy_reason
        assert said == (a.score.recommendation in ("NEUTRAL", "AVOID"))
        assert said == (a.trade_suggestion.action in ("WATCH", "AVOID"))
        if bound <= 0.0:
            assert said
            assert {"edge_within_error", "expected_value_not_positive"} & set(extended(a).score.reasons)


WHY: dict[str, dict[str, float | bool]] = {
    "not expected to earn its costs": {"ev_forecast": -0.1, "ev_bound": -0.3, "ev_shrunk": -0.1},
    "the luckiest of so many": {"ev_forecast": 0.3, "ev_bound": 0.1, "ev_shrunk": -0.1},
    "its edge lies within its error": {"ev_forecast": 0.3, "ev_bound": -0.1, "ev_shrunk": 0.2},
    "by its history": {"ev_forecast": 0.3, "ev_bound": 0.1, "ev_shrunk": 0.2, "measures_agree": False},
    "too little else speaks for it": {
        "ev_forecast": 0.3,
        "ev_bound": 0.1,
        "ev_shrunk": 0.2,
        "volatility_percentile": 99.0,
    },
    "best of": {"ev_forecast": 0.9, "ev_bound": 0.5, "ev_shrunk": 0.6, "vol_mispricing": 30.0},
}


@pytest.mark.parametrize("words", WHY)
def test_the_reason_says_what_the_recommendation_rests_on(snapshots: list[Snapshot], words: str) -> None:
    found: list[Findings] = []
    write = report.write

    def listen(findings: list[Findings], *rest: Any) -> list[Any]:
        found.extend(findings)
        return write(findings, *rest)

    with mock.patch.object(report, "write", listen):
        engine.analyze(snapshots[:1])
    evidence = score.Evidence(
        ev_forecast=0.0,
        ev_bound=None,
        ev_error=0.05,
        ev_shrunk=None,
        max_loss=2.0,
        vega=-0.1,
        vol_mispricing=0.0,
        volatility_percentile=10.0,
        cycle_fit=None,
        delta_share=0.0,
        quotes=True,
        grade="A",
        measures_agree=True,
        sound=True,
        flags=(),
    )._replace(**WHY[words])  # type: ignore[arg-type]
    judged, limits = score.judge(evidence)
    (f,) = found
    risk = msgspec.structs.replace(f.risk, ev_forecast=float(evidence.ev_forecast))
    f = f._replace(assessed=f.assessed._replace(risk=risk))
    said = sections.fourier(f, ([], []), judged.recommendation, limits.reasons).strategy_reason
    assert words in said
    assert ("nothing worth buying" in said) == (judged.recommendation in ("NEUTRAL", "AVOID")) == (words != "best of")


def test_every_expiry_in_the_horizon_and_every_triple_is_examined(
    snapshots: list[Snapshot], analyses: list[Analysis]
) -> None:
    for s, a in zip(snapshots, analyses, strict=True):
        assert s.chain is not None
        x = extended(a)
        total = 0
        for c in x.chain:
            assert 7 <= c.dte <= 60
            listed = np.unique(s.chain.strike[s.chain.expiry == np.datetime64(c.expiry)]).size
            total += math.comb(listed, 3)
        assert x.search is not None
        assert x.search.examined == total


def test_expected_values_and_probabilities_are_those_of_the_simulated_paths(
    snapshots: list[Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[list, list]] = []
    look = search.look
    monkeypatch.setattr(search, "look", lambda s, o, fee: seen.append((list(s), list(o))) or look(s, o, fee))
    (a,) = engine.analyze(snapshots[:1])
    assert isinstance(a, Analysis)
    slices, outlooks = seen[0]
    for c in extended(a).candidates:
        i = next(i for i, s in enumerate(slices) if str(s.expiry) == c.expiry)
        for returns, ev, pop in (
            (outlooks[i].simulated, c.ev_forecast, c.pop_forecast),
            (outlooks[i].history, c.ev_empirical, c.pop_empirical),
        ):
            prices = np.exp(returns)
            prices *= slices[i].forward / prices.mean()
            profit = slices[i].discount * payoff(c, prices) - c.cost
            assert profit.mean() == pytest.approx(ev, abs=1e-5)
            # Break-evens count in money at expiry, and the distribution function is linear between observations.
            assert np.mean(payoff(c, prices) > c.cost) == pytest.approx(pop, abs=2.0 / returns.size)


def test_no_form_is_cheaper_than_the_chosen_one(snapshots: list[Snapshot], analyses: list[Analysis]) -> None:
    for s, a in zip(snapshots, analyses, strict=True):
        x = extended(a)
        chain = s.chain
        assert chain is not None
        used = next(c for c in x.chain if c.expiry == x.legs[0].expiry)
        b = a.butterfly
        at = chain.expiry == np.datetime64(used.expiry)

        def quote(strike: float, is_call: bool, ask: bool, at=at, chain=chain) -> float:
            (row,) = np.flatnonzero(at & (chain.strike == strike) & (chain.is_call == is_call))
            return float(chain.ask[row] if ask else chain.bid[row])

        k1, k2, k3 = b.lower_strike, b.center_strike, b.upper_strike
        call = quote(k1, True, True) - 2.0 * quote(k2, True, False) + quote(k3, True, True)
        put = quote(k1, False, True) - 2.0 * quote(k2, False, False) + quote(k3, False, True)
        iron = quote(k1, False, True) - quote(k2, False, False) - quote(k2, True, False) + quote(k3, True, True)
        # As if each paid what the put form pays.
        costs = {
            "CALL": call + used.discount * (k1 + k3 - 2.0 * k2),
            "PUT": put,
            "IRON": iron + used.discount * (k3 - k2),
        }
        chosen = costs[a.fourier.butterfly_type]
        assert x.risk.cheapest_form == a.fourier.butterfly_type
        assert chosen <= min(costs.values()) + 0.25 * b.max_loss  # others may have legs that cannot be traded
        assert x.risk.saving_vs_others >= 0.0


def test_the_front_is_what_nothing_beats() -> None:
    points = np.random.default_rng(3).random((200, 4)).round(1)
    points[7] = np.nan
    front = search.pareto(points, most=1000)
    rows = [points[i] for i in front]
    for a, b in itertools.permutations(rows, 2):
        assert not (a >= b).all()
    for i, p in enumerate(points):
        if i != 7:
            assert any((q >= p).all() for q in rows)
    assert [points[i, 0] for i in front] == sorted((points[i, 0] for i in front), reverse=True)
    for most in (1, 2, 5, len(front), 150):
        assert search.pareto(points, most) == front[:most]


def test_sizes_with_everything_stay_in_bounds(analyses: list[Analysis]) -> None:
    for a in analyses:
        assert len(schema.encode(a, "default")) < 48_000
        assert len(schema.encode(a, "full")) < 110_000


def test_real_chains_add_up(data_dir: Path) -> None:
    market = FilesMarket(str(data_dir / "market"), rate=0.04)
    for a in engine.analyze(market.fetch(["QQQ", "MSFT"])):
        assert isinstance(a, Analysis)
        assert extended(a).candidates
        assert_consistent(a)


@pytest.mark.slow
def test_more_real_chains_add_up(data_dir: Path) -> None:
    import datetime as dt

    moment = dt.datetime(2025, 9, 28, 12, 0, tzinfo=dt.UTC)
    (aapl,) = engine.analyze(FilesMarket(str(data_dir / "market"), as_of=moment, rate=0.04).fetch(["AAPL"]))
    (spy,) = engine.analyze(FilesMarket(str(data_dir / "market"), rate=0.04).fetch(["SPY"]))
    for a in (aapl, spy):
        assert isinstance(a, Analysis)
        assert extended(a).candidates
        assert_consistent(a)
