"""What is remembered reaches the engine with the snapshot, changes what it should, and never holds it up."""

import datetime as dt
import threading

import numpy as np
import pytest
from msgspec.structs import replace

from bq import schema
from bq.analysis import engine, iv_level
from bq.errors import Failure, Problem, unknown_ticker
from bq.market import calendar
from bq.market.sample import SampleMarket
from bq.scan import recall
from bq.scan.recall import Recall
from bq.scan.store import Store
from tests.scan.conftest import MOMENT
from tests.scan.make import analysis, store_scan

DAY = dt.date(2026, 6, 30)


@pytest.fixture(scope="module")
def snapshots():
    return SampleMarket(lambda: MOMENT, as_of=MOMENT).fetch(("AAPL", "SIM001"))


def remember(store: Store, template, ticker: str, ivs: list[float], last: dt.date = DAY) -> None:
    days = calendar.sessions_between(last - dt.timedelta(days=2 * len(ivs) + 10), last)[-len(ivs) :]
    made = []
    for day, iv in zip(days, ivs, strict=True):
        one = analysis(template, ticker, at=calendar.session_close(day))
        level = replace(one.extended.iv_level, iv_30d=iv)
        made.append(replace(one, extended=replace(one.extended, iv_level=level)))
    for one in made:
        store_scan(store, f"{ticker}{one.analysis_date}/{len(ivs)}", [one])


def test_earlier_sessions_are_added_and_the_day_itself_is_not(store: Store, analyses, snapshots) -> None:
    remember(store, analyses["AAPL"], "AAPL", [0.3, 0.4, 0.5])
    ask = Recall(lambda: store, lambda: 0.0)
    problem = unknown_ticker("NO", "sample")
    found = ask([snapshots[0], problem, snapshots[1]])
    assert found[0].iv_history == (0.3, 0.4)
    assert found[1] is problem
    assert found[2] is snapshots[1]
    later = replace(snapshots[0], as_of=calendar.session_close(np.datetime64("2026-07-01")))
    assert ask([later])[0].iv_history == (0.3, 0.4, 0.5)
    long_after = replace(snapshots[0], as_of=calendar.session_close(np.datetime64("2027-06-30")))
    assert ask([long_after])[0].iv_history == (0.5,)  # the last year only
    other = replace(snapshots[0], source="files")
    assert ask([other])[0] is other


def test_a_ticker_is_read_once_a_day(store: Store, analyses, snapshots) -> None:
    reads = []
    real = store.database.read

    class Counting:
        def read(self):
            reads.append(1)
            return real()

    ask = Recall(lambda: Store(Counting()), lambda: 0.0)  # type: ignore[arg-type]
    remember(store, analyses["AAPL"], "AAPL", [0.3, 0.4])
    before = len(reads)
    first = ask(snapshots)
    remember(store, analyses["AAPL"], "AAPL", [0.1, 0.2, 0.3])
    assert ask(snapshots)[0].iv_history == first[0].iv_history == (0.3,)
    assert len(reads) - before == 1


def test_the_answer_places_the_implied_volatility_in_what_is_remembered(snapshots) -> None:
    (plain,) = engine.analyze([snapshots[0]])
    now = plain.extended.iv_level.iv_30d
    history = tuple(float(x) for x in now * np.linspace(0.5, 1.26, 100))
    few, enough = engine.analyze(
        [replace(snapshots[0], iv_history=history[:59]), replace(snapshots[0], iv_history=history)]
    )
    for one in (plain, few):
        assert one.extended.quality.iv_percentile_of == "realized_history"
        assert one.extended.iv_level.percentile is one.extended.iv_level.rank is None
        assert one.garch.iv_percentile == one.extended.iv_level.realized_percentile
    assert few.extended.iv_level.days == 59
    level = enough.extended.iv_level
    assert enough.extended.quality.iv_percentile_of == "implied_history"
    assert (
        enough.garch.iv_percentile
        == level.percentile
        == pytest.approx(100 * np.mean(np.array(history) < now), abs=0.01)
    )
    assert level.rank == pytest.approx(100 * (1 - 0.5) / 0.76, abs=0.01)
    assert level.realized_percentile == plain.garch.iv_percentile
    assert enough.signals.iv_high is True  # 66 of 100 lie below
    (low,) = engine.analyze([replace(snapshots[0], iv_history=tuple(2.0 * x for x in history))])
    assert low.signals.iv_high is False


def test_the_name_of_the_data_knows_what_was_remembered(snapshots) -> None:
    history = tuple(np.linspace(0.2, 0.4, 80).tolist())
    plain, one, same, other = engine.analyze(
        [snapshots[0], *(replace(snapshots[0], iv_history=h) for h in (history, history, history[::-1]))]
    )
    assert schema.encode(one, "full") == schema.encode(same, "full")
    assert len({a.extended.data_hash for a in (plain, one, other)}) == 3


def test_without_quotes_there_is_no_place_for_an_implied_volatility(snapshots) -> None:
    (found,) = engine.analyze([replace(snapshots[0], chain=None, iv_history=tuple([0.3] * 100))])
    assert found.extended.iv_level.iv_30d is found.extended.iv_level.percentile is None
    assert found.extended.quality.iv_percentile_of == "realized_history"


def test_what_is_recorded_is_what_is_remembered(store: Store, analyses) -> None:
    store_scan(store, "one", [analyses["AAPL"]])
    later = replace(
        SampleMarket(lambda: MOMENT, as_of=MOMENT).fetch(("AAPL",))[0],
        as_of=calendar.session_close(np.datetime64("2026-07-01")),
    )
    (found,) = Recall(lambda: store, lambda: 0.0)([later])
    assert found.iv_history == (analyses["AAPL"].extended.iv_level.iv_30d,)
    chain = analyses["AAPL"].extended.chain
    assert found.iv_history[0] == pytest.approx(
        iv_level.at_30_days([one.tau for one in chain], [one.atm_iv for one in chain]), rel=1e-5
    )


def test_a_database_that_fails_or_hangs_costs_the_memory_only(snapshots, monkeypatch) -> None:
    now = 0.0
    asked = []

    def fail() -> Store:
        asked.append(1)
        raise Failure(Problem("storage_failed", "away"))

    ask = Recall(fail, lambda: now)
    assert ask(snapshots) == list(snapshots)
    assert ask(snapshots) == list(snapshots)
    assert (len(asked), ask.failures) == (1, 1)  # it is left alone for a while
    now = recall.PAUSE_S
    ask(snapshots)
    assert len(asked) == 2

    monkeypatch.setattr(recall, "PATIENCE_S", 0.05)
    gate = threading.Event()

    def hang() -> Store:
        gate.wait(30)
        raise Failure(Problem("storage_failed", "away"))

    slow = Recall(hang, lambda: now)
    assert slow(snapshots) == list(snapshots)
    assert slow.failures == 1
    gate.set()
