"""Results of v4.1: believed where they can be, refused with a reason where not, every row accounted for."""

import datetime as dt
import json
import math
import sqlite3
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bq.errors import Failure
from bq.scan import history, legacy, rankings
from bq.scan.import_legacy import import_file
from bq.scan.rankings import Query
from bq.scan.store import Store
from tests.scan.make import analysis, store_scan

NOW = dt.datetime(2026, 7, 1, tzinfo=dt.UTC)
NEW_YORK = ZoneInfo("America/New_York")


def result(symbol: str, date: str = "2026-01-07 07:40:05", **changes):
    """A result as v4.1 wrote it, with numbers that can be true; "a.b" changes what stands there."""
    made = {
        "ticker": symbol, "analysis_date": date, "current_price": 100.0, "forecast_price": 100.5,
        "upper_bound": 110.0, "lower_bound": 91.0, "price_stability": 18.0, "risk_level": "MEDIUM",
        "tags": ["NASDAQ", "SP500"],
        "fourier": {"trend_direction": "UP", "trend_slope": 0.1, "cycle_position": "TROUGH",
                    "dominant_period_days": 71.6, "period_strength": 12.0, "butterfly_type": "CALL"},
        "arima": {"forecast_7d": 100.2, "forecast_30d": 100.9},
        "garch": {"predicted_vol": 0.28, "current_iv": 0.31, "historical_vol": 0.27, "iv_percentile": 66.7,
                  "vol_mispricing": 10.7, "iv_skew": {"skew_call": -0.01, "skew_put": 0.02}},
        "butterfly": {"center_strike": 100.0, "lower_strike": 95.0, "upper_strike": 105.0, "wing_width": 5.0, "dte": 30,
                      "net_debit": 1.2, "max_profit": 3.8, "max_loss": 1.2, "profit_ratio": 3.17, "prob_profit": 68,
                      "greeks": {"delta": 0.02, "gamma": -0.01, "vega": -0.03, "theta": 0.01}},
        "score": {"total": 62.5, "components": {"price_match": 99.0, "vol_mispricing": 40.0, "stability": 0.0,
                                                "fourier_align": 80.0, "delta_penalty": 1.0},
                  "recommendation": "BUY", "confidence_level": "MEDIUM"},
    }  # fmt: skip
    for path, value in changes.items():
        place = made
        *parents, last = path.split("__")
        for name in parents:
            place = place[name]
        place[last] = value
    return made


def old_file(path: Path, history_rows=(), metrics=()) -> Path:
    """Write an SQLite file with v4.1's tables; a history row may be the text of a result."""
    with sqlite3.connect(path) as db:
        db.execute(
            "CREATE TABLE analysis_history (id INTEGER PRIMARY KEY AUTOINCREMENT, ticker TEXT NOT NULL, analysis_date "
            "TEXT NOT NULL, total_score REAL, butterfly_type TEXT, recommendation TEXT, full_result TEXT)"
        )
        names = ["ticker", "analysis_date", *legacy.METRICS, "tags"]
        db.execute(f"CREATE TABLE daily_metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, {', '.join(names)})")
        for one in history_rows:
            text = one if isinstance(one, str) else json.dumps(one)
            head = json.loads(text) if text.startswith("{") else {"ticker": "X", "analysis_date": "2026-01-07 07:40:05"}
            db.execute(
                "INSERT INTO analysis_history (ticker, analysis_date, full_result) VALUES (?, ?, ?)",
                (head["ticker"], head["analysis_date"], text),
            )
        for one in metrics:
            paths = {ours: legacy._at(one, path) for ours, path in legacy.PATHS.items()}
            values = [one["ticker"], one["analysis_date"], *(paths[ours] for ours in legacy.METRICS.values())]
            marks = ", ".join("?" * (len(values) + 1))
            db.execute(
                f"INSERT INTO daily_metrics ({', '.join(names)}) VALUES ({marks})", [*values, ",".join(one["tags"])]
            )
    db.close()
    return path


def test_what_can_be_believed_is_taken_with_its_numbers(store: Store, tmp_path) -> None:
    path = old_file(tmp_path / "old.db", [result("AAPL"), result("IRON1", fourier__butterfly_type="IRON")])
    found = import_file(store, path, NEW_YORK, NOW)
    assert (found.rows, found.taken, found.scans, found.skipped) == (2, 2, 1, {})
    with store.database.read() as connection:
        (row,) = history.past_rows(connection, "AAPL", "yahoo", 5)
        (iron,) = history.past_rows(connection, "IRON1", "yahoo", 5)
        ranked = rankings.rank_rows(connection, "yahoo", Query(scan="v4.1-2026-01-07"))
        assert history.past_answers(connection, "AAPL", "yahoo", 5, "full") == []

    assert (row.analysis_date, row.date) == ("2026-01-07 12:40:05", "2026-01-06")  # before that day's opening
    assert (row.lower, row.center, row.upper, row.net_debit) == (95.0, 100.0, 105.0, 1.2)
    assert (row.score, row.recommendation, row.tags) == (62.5, "BUY", ["NASDAQ", "SP500"])
    assert (row.price, row.current_iv, row.components.price_match) == (100.0, 0.31, 99.0)
    # Constants, noise, and what was never known:
    assert row.prob_profit is row.iv_percentile is row.cycle_position is row.score_low is row.expiry is None
    assert (iron.is_credit_strategy, iron.net_debit) == (True, 3.8)
    assert [one.rank for one in ranked.data] == [1, 1]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"garch__current_iv": 0.00001}, "implied_volatility_void"),
        ({"garch__current_iv": 0.0313}, "implied_volatility_void"),
        ({"garch__current_iv": 0.125008}, "implied_volatility_void"),
        # NVR: an iron butterfly 40 wide with a credit of 586.
        ({"fourier__butterfly_type": "IRON", "butterfly__max_profit": 586.0, "butterfly__max_loss": -546.0,
          "butterfly__wing_width": 40.0}, "profit_impossible"),
        ({"butterfly__max_profit": 4.9, "butterfly__max_loss": 0.1}, "debit_floored"),
        # AMCR: a wing of 10 around 7.5.
        ({"butterfly__center_strike": 7.5, "butterfly__wing_width": 10.0}, "strike_not_positive"),
        ({"score__total": None}, "number_missing"),
        ({"butterfly__max_loss": math.nan}, "number_missing"),
        ({"current_price": "100"}, "number_missing"),
        ({"score__recommendation": "WAIT"}, "unreadable"),
        ({"fourier__butterfly_type": "UNKNOWN"}, "unreadable"),
        ({"analysis_date": "yesterday"}, "unreadable"),
        ({"ticker": "no ticker"}, "unreadable"),
    ],
)  # fmt: skip
def test_void_numbers_are_refused_with_their_reason(tmp_path, changes, reason) -> None:
    bad = result("AAPL", **changes)
    store = Store.open(f"sqlite:///{tmp_path / 'new.db'}")
    found = import_file(store, old_file(tmp_path / "old.db", [bad], [bad]), NEW_YORK, NOW)
    store.close()
    assert found.taken == 0
    assert found.skipped == {reason: 2}
    assert reason in legacy.REASONS


def test_a_day_keeps_its_last_result_and_both_tables_count_once(store: Store, tmp_path) -> None:
    early, late = result("AAPL", "2026-01-07 07:00:00"), result("AAPL", "2026-01-07 21:00:00", score__total=70.0)
    other_day = result("AAPL", "2026-01-08 07:00:00")
    path = old_file(tmp_path / "old.db", [early, late, other_day, "not json"], [late, result("MSFT")])
    found = import_file(store, path, NEW_YORK, NOW)
    assert (found.rows, found.taken, found.scans) == (6, 3, 2)
    assert found.skipped == {"superseded": 1, "same_result": 1, "unreadable": 1}
    with store.database.read() as connection:
        assert [one.score for one in history.past_rows(connection, "AAPL", "yahoo", 5)] == [62.5, 70.0]
        assert history.past_rows(connection, "MSFT", "yahoo", 5)[0].upper_bound is None  # daily_metrics has none


def test_importing_again_changes_nothing_and_never_becomes_the_ranking(store: Store, tmp_path, analyses) -> None:
    path = old_file(tmp_path / "old.db", [result("AAPL"), result("MSFT")])
    first = import_file(store, path, NEW_YORK, NOW)
    assert import_file(store, path, NEW_YORK, NOW) == first
    assert store.latest() is None
    with store.database.read() as connection:
        with pytest.raises(Failure, match="no ranking yet"):
            rankings.rank_rows(connection, "yahoo", Query())
        assert len(history.past_rows(connection, "AAPL", "yahoo", 5)) == 1
    store_scan(store, "new", [analysis(analyses["SIM001"], "AAPL")], market="yahoo", universe="v4.1")
    with store.database.read() as connection:
        assert rankings.rank_rows(connection, "yahoo", Query()).previous is None


def test_a_file_that_is_none_is_refused_with_a_reason(tmp_path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'new.db'}")
    (tmp_path / "text.db").write_text("not a database, but long enough to be taken for one " * 20)
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE other (x)")
    for name, reason in (("none.db", "no file"), ("text.db", "cannot be read"), ("other.db", "holds neither")):
        with pytest.raises(Failure, match=reason):
            import_file(store, tmp_path / name, NEW_YORK, NOW)
    store.close()
