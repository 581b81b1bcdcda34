"""The past of a ticker: newest first, and its volatility placed in its own past only when there is one."""

import datetime as dt
import math

import numpy as np
import pytest
from msgspec.structs import replace

from bq import schema
from bq.analysis import iv_level
from bq.market import calendar
from bq.scan import history
from bq.scan.store import Store
from tests.scan.make import analysis, store_scan

CLOSE = dt.datetime(2026, 6, 30, 20, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


def with_iv(template, ticker: str, at: dt.datetime, iv: float):
    """Give an analysis with a chosen volatility at 30 days."""
    made = analysis(template, ticker, at=at)
    level = replace(made.extended.iv_level, iv_30d=iv)
    return replace(made, extended=replace(made.extended, iv_level=level))


def sessions(count: int) -> list[dt.datetime]:
    days = calendar.sessions_between(CLOSE.date() - 2 * count * DAY, CLOSE.date())[-count:]
    return [calendar.session_close(day) for day in days]


def test_past_analyses_come_newest_first_as_rows_and_as_they_were(store: Store, analyses) -> None:
    template = analyses["SIM001"]
    made = [analysis(template, "A", (10.0 * i,) * 3, at=CLOSE - (5 - i) * DAY) for i in range(6)]
    for i, one in enumerate(made):
        store_scan(store, f"scan{i}", [one, analysis(template, "B", (25.0,) * 3, at=CLOSE - (5 - i) * DAY)])
    with store.database.read() as connection:
        rows = history.past_rows(connection, "A", "sample", 4)
        rest = history.past_rows(connection, "A", "sample", 4, offset=4)
        whole = history.past_answers(connection, "A", "sample", 2, "full")
        short = history.past_answers(connection, "A", None, 1, "summary")
        none = history.past_rows(connection, "A", "yahoo", 4)

    assert [one.score for one in rows + rest] == [50.0, 40.0, 30.0, 20.0, 10.0, 0.0]
    assert [one.rank for one in rows + rest] == [1, 1, 1, 2, 2, 2]
    assert (rows[0].date, rows[0].scan_id, rows[0].delta) == ("2026-06-30", "scan5", made[5].butterfly.greeks.delta)
    assert (rows[0].components.price_match, rows[0].components.fourier_align) == (50.0, 0.0)
    assert [bytes(one.data) for one in whole] == [schema.encode(one, "full") for one in made[:3:-1]]
    assert [bytes(one.data) for one in short] == [schema.encode(made[5], "summary")]
    assert none == []


def test_problems_are_no_past_analyses(store: Store, analyses) -> None:
    from bq.errors import unknown_ticker
    from bq.scan.records import ScanRow
    from tests.scan.conftest import spec

    store.begin(spec("one"))
    store.record("one", [ScanRow("AAPL", problem=unknown_ticker("AAPL", "sample"))])
    with store.database.read() as connection:
        assert history.past_rows(connection, "AAPL", "sample", 4) == []


@pytest.mark.parametrize(("days", "known"), [(60, False), (61, True)])
def test_rank_and_percentile_need_sixty_days_before(store: Store, analyses, days: int, known: bool) -> None:
    template = analyses["SIM001"]
    ivs = np.random.default_rng(5).uniform(0.2, 0.6, days).round(6).tolist()
    for i, (at, iv) in enumerate(zip(sessions(days), ivs, strict=True)):
        store_scan(store, f"scan{i}", [with_iv(template, "A", at, iv)])
    with store.database.read() as connection:
        level = history.level(connection, "A", "sample")
        points = history.iv_points(connection, "A", "sample", 1)

    assert (level.days, level.current_iv) == (days, ivs[-1])
    assert (level.low, level.high) == (min(ivs), max(ivs))
    assert [one.iv for one in points] == ivs
    assert points[-1].day == "2026-06-30"
    if known:
        assert level.iv_rank == pytest.approx(100 * (ivs[-1] - min(ivs)) / (max(ivs) - min(ivs)), abs=0.005)
        assert level.iv_percentile == pytest.approx(100 * np.mean(np.array(ivs[:-1]) < ivs[-1]), abs=0.005)
    else:
        assert level.iv_rank is level.iv_percentile is None
    assert level.realized_vol_percentile == pytest.approx(template.garch.iv_percentile)


def test_only_the_last_year_counts(store: Store, analyses) -> None:
    template = analyses["SIM001"]
    for i, (back, iv) in enumerate([(400, 0.9), (364, 0.3), (0, 0.2)]):
        store_scan(store, f"scan{i}", [with_iv(template, "A", CLOSE - back * DAY, iv)])
    with store.database.read() as connection:
        assert [iv for _, iv in history.iv_by_day(connection, "A", "sample")] == [0.3, 0.2]
        assert [one.iv for one in history.iv_points(connection, "A", "sample", 2)] == [0.9, 0.3, 0.2]
        before = history.iv_by_day(connection, "A", "sample", last=dt.date(2026, 6, 30))
        assert [iv for _, iv in before] == [0.3]  # nothing of the day itself
        assert history.level(connection, "A", "files").days == 0


def test_the_volatility_at_30_days_interpolates_total_variance() -> None:
    v = iv_level.at_30_days([10 / 365, 50 / 365], [0.4, 0.2])
    assert v == pytest.approx(math.sqrt((0.5 * 0.16 * 10 + 0.5 * 0.04 * 50) / 30))
    assert iv_level.at_30_days([25 / 365], [0.3]) == pytest.approx(0.3)
    assert iv_level.at_30_days([10 / 365], [0.3]) is None  # too near the end to stand for a month
    assert iv_level.at_30_days([], []) is None


def test_a_standing_counts_what_lies_below() -> None:
    past = [0.2] * 30 + [0.4] * 30
    assert iv_level.standing(0.3, past) == (pytest.approx(50.0), 50.0)
    assert iv_level.standing(0.5, past) == (100.0, 100.0)
    assert iv_level.standing(0.4, past) == (100.0, 75.0)
    assert iv_level.standing(0.1, past) == (0.0, 0.0)
    assert iv_level.standing(0.2, [0.2] * 60) == (50.0, 50.0)
    assert iv_level.standing(0.3, past[:59]) is None
