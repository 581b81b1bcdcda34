"""The interval of the score: holds it, repeats itself, and is as wide as what the score rests on is uncertain."""

import msgspec
import numpy as np
import pytest

from bq import schema
from bq.analysis import engine, score
from bq.market.source import Snapshot
from bq.schema import Analysis
from tests.analysis.test_score import FAIR


def parts(a: Analysis) -> schema.ScoreParts:
    assert isinstance(a.extended, schema.Extended)
    return a.extended.score


def test_the_interval_holds_the_score(analyses: list[Analysis], without_chain: Analysis) -> None:
    for a in [*analyses, without_chain]:
        p = parts(a)
        assert 0.0 <= p.interval.low <= a.score.total <= p.interval.high <= 100.0
        assert 0.0 < p.std_error < 30.0
        # A normal interval is 3.9 standard errors wide; clipping and jumps make it narrower or wider, not otherwise.
        assert 1.5 * p.std_error < p.interval.high - p.interval.low < 6.0 * p.std_error


def test_a_shorter_history_makes_it_wider(snapshots: list[Snapshot], analyses: list[Analysis]) -> None:
    def short(s: Snapshot) -> Snapshot:
        cut = {name: getattr(s.bars, name)[-260:] for name in ("date", "open", "high", "low", "close", "volume")}
        adjusted = None if s.bars.adj_close is None else s.bars.adj_close[-260:]
        return msgspec.structs.replace(s, bars=msgspec.structs.replace(s.bars, **cut, adj_close=adjusted))

    less = [a for a in engine.analyze([short(s) for s in snapshots]) if isinstance(a, Analysis)]
    assert len(less) == len(analyses)
    errors = [[parts(a).std_error for a in group] for group in (analyses, less)]
    assert np.median(errors[1]) > np.median(errors[0])


def test_unusable_quotes_score_nothing_for_certain(snapshots: list[Snapshot]) -> None:
    s = snapshots[0]
    assert s.chain is not None
    dead = msgspec.structs.replace(s.chain, bid=np.zeros_like(s.chain.bid), ask=np.zeros_like(s.chain.ask))
    (a,) = engine.analyze([msgspec.structs.replace(s, chain=dead)])
    assert isinstance(a, Analysis)
    assert (parts(a).interval, parts(a).std_error) == (schema.ScoreInterval(0.0, 0.0), 0.0)


def test_many_draws_of_the_evidence_score_as_each_of_them_alone() -> None:
    ev = np.array([-1.0, 0.0, 0.3, 2.0])
    mispricing = np.array([-30.0, 0.0, 5.0, 40.0])
    share = np.array([0.0, 0.05, 0.1, 0.5])
    together = score.totals(FAIR._replace(ev_forecast=ev, vol_mispricing=mispricing, delta_share=share))
    alone = [
        score.judge(FAIR._replace(ev_forecast=float(x), vol_mispricing=float(y), delta_share=float(z)))[0].total
        for x, y, z in zip(ev, mispricing, share, strict=True)
    ]
    assert together == pytest.approx(alone)
