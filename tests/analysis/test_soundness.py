"""No edge is claimed on a history that stood still, or that holds a split; what stood still too long is refused."""

import datetime as dt
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from bq import schema
from bq.analysis import engine, given_legs, whatif
from bq.errors import Problem
from bq.market.sample import SampleMarket
from bq.market.source import F64, Snapshot
from bq.schema import Analysis
from bq.schema_what_if import LegGiven, WhatIf

NAMES = [f"SIM{i:03d}" for i in range(1, 41)]


@pytest.fixture(scope="module")
def names(market: SampleMarket) -> list[Snapshot]:
    return [s for s in market.fetch(NAMES) if isinstance(s, Snapshot)]


def changed(snapshot: Snapshot, change: Callable[[F64], F64]) -> Snapshot:
    prices = {name: getattr(snapshot.bars, name) for name in ("open", "high", "low", "close", "adj_close")}
    moved = {name: change(values) for name, values in prices.items() if values is not None}
    return msgspec.structs.replace(snapshot, bars=msgspec.structs.replace(snapshot.bars, **moved))


def still(days: int) -> Callable[[F64], F64]:
    """Repeat a price for the last days, as a feed does that has stopped."""
    return lambda values: np.append(values[:-days], np.full(days, values[-days - 1]))


def split(values: F64) -> F64:
    """Leave all prices but the last hundred on the level before a split of 3 to 1."""
    return np.where(np.arange(values.size) < values.size - 100, 3.0, 1.0) * values


def analysed(snapshots: list[Snapshot]) -> list[Analysis]:
    found = engine.analyze(snapshots)
    assert all(isinstance(a, Analysis) for a in found), found
    return found  # type: ignore[return-value]


def codes(a: Analysis) -> set[str]:
    assert isinstance(a.extended, schema.Extended)
    return {reason.code for reason in a.extended.quality.reasons}


@pytest.mark.parametrize(
    ("change", "code"), [(still(20), "bars_constant_stretch"), (split, "bars_split_like_jump")], ids=["still", "split"]
)
def test_no_edge_is_claimed_on_a_history_that_is_not_sound(
    names: list[Snapshot], change: Callable[[F64], F64], code: str
) -> None:
    """Twenty days of one price halve the forecast volatility: 34 of 60 names were a buy, with high confidence."""
    assert sum(a.score.recommendation in ("BUY", "STRONG_BUY") for a in analysed(names)) >= 3
    told = [a for a in analysed([changed(s, change) for s in names]) if code in codes(a)]
    assert len(told) > len(names) // 2
    for a in told:
        assert isinstance(a.extended, schema.Extended)
        assert a.score.recommendation in ("NEUTRAL", "AVOID")
        assert a.score.confidence_level == "LOW"
        assert "history_not_sound" in a.extended.score.reasons
        assert {c.risk.kelly_fraction for c in a.extended.candidates} == {0.0}
        assert "its history is not sound enough to forecast from" in a.fourier.strategy_reason


def test_nor_where_the_spot_is_far_from_the_last_close(names: list[Snapshot]) -> None:
    (a,) = analysed([changed(names[0], lambda values: 2.0 * values)])
    assert isinstance(a.extended, schema.Extended)
    assert "spot_and_closes_apart" in codes(a)
    assert "history_not_sound" in a.extended.score.reasons


def test_nor_by_a_what_if(names: list[Snapshot]) -> None:
    stopped = [changed(s, still(20)) for s in names[:12]]
    best = max(analysed(stopped), key=lambda a: a.extended.risk.ev_bound)  # type: ignore[union-attr]
    assert isinstance(best.extended, schema.Extended)
    study = given_legs.study(next(s for s in stopped if s.ticker == best.ticker))
    assert isinstance(study, given_legs.Study)
    legs = [
        LegGiven(leg.type, leg.strike, dt.date.fromisoformat(leg.expiry), leg.quantity) for leg in best.extended.legs
    ]
    found = whatif.assess(study, legs)
    assert isinstance(found, WhatIf)
    assert found.risk.ev_bound > 0.0
    assert found.risk.kelly_fraction == 0.0


@pytest.mark.parametrize("days", [60, 119])
def test_a_price_that_stood_still_as_long_as_a_trend_is_looked_for_is_refused(names: list[Snapshot], days: int) -> None:
    problem, other = engine.analyze([changed(names[0], still(days)), names[1]])
    assert isinstance(problem, Problem)
    assert (problem.code, "has not changed for 60 sessions" in problem.error) == ("bad_data", True)
    assert isinstance(other, Analysis)
    (nearly,) = engine.analyze([changed(names[0], still(59))])
    assert isinstance(nearly, Analysis)
