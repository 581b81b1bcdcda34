"""Writing scans: nothing lost, nothing twice, the same on both databases."""

import datetime as dt
import sqlite3
import threading
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import func, select

from bq import schema
from bq.errors import HTTP_STATUS, Failure, Problem, unknown_ticker
from bq.scan.database import parse
from bq.scan.packing import unpack
from bq.scan.records import ScanRow, ScanTicker
from bq.scan.store import Store
from bq.scan.tables import answers, results, scans, surfaces
from bq.scan.wide import COMPUTED, WIDE
from tests.scan.conftest import MOMENT, TICKERS, row, spec

LATER = MOMENT + dt.timedelta(minutes=3)


def count(store: Store, table) -> int:
    with store.database.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def everything(store: Store, table):
    with store.database.read() as connection:
        return [dict(one) for one in connection.execute(select(table).order_by(*table.primary_key)).mappings()]


def test_a_scan_is_stored_as_it_was_asked_for_and_can_be_gone_on_with(store: Store, analyses) -> None:
    asked = spec("one", as_of="2026-06-30T21:00:00Z")
    store.begin(asked)
    store.record("one", [row(analyses["AAPL"]), ScanRow("SPY", problem=unknown_ticker("SPY", "sample"))])

    assert store.unfinished() == [asked]
    assert store.done("one") == {"AAPL", "SPY"}
    latest = store.latest()
    assert latest is not None
    assert (latest.status, latest.total, latest.done, latest.failed) == ("running", len(TICKERS), 2, 1)
    assert (latest.universe, latest.market, latest.started_at, latest.finished_at) == ("list", "sample", MOMENT, None)


def test_there_is_no_latest_scan_before_the_first(store: Store) -> None:
    assert store.latest() is None
    assert store.unfinished() == []
    assert store.done("one") == set()


def test_every_number_of_the_wide_row_is_that_of_the_analysis(store: Store, analyses) -> None:
    analysis = analyses["AAPL"]
    store.begin(spec("one"))
    store.record("one", [row(analysis)])
    (stored,) = everything(store, results)

    assert (stored["ticker"], stored["tags"], stored["error_code"]) == ("AAPL", "|NASDAQ|", None)
    assert stored["analysis_at"] == MOMENT.replace(hour=20)  # the close
    assert stored["day"] == dt.date(2026, 6, 30)
    assert stored["expiry"] == dt.date.fromisoformat(analysis.extended.legs[0].expiry)
    assert stored["price"] == analysis.current_price
    assert stored["delta"] == analysis.butterfly.greeks.delta
    assert stored["signal_iv_high"] is analysis.signals.iv_high
    assert stored["ev_worst"] == analysis.extended.risk.ev_worst
    assert stored["weight_price_match"] == analysis.extended.score.weights["price_match"]
    assert stored["source"] == "sample"
    for column in WIDE:
        assert column.extended or stored[column.name] is not None, column.name
    assert {name for name, _ in COMPUTED} <= set(stored)


def test_what_a_detail_does_not_carry_is_null(store: Store, analyses) -> None:
    analysis = schema.at_detail(analyses["AAPL"], "summary")
    store.begin(spec("one"))
    store.record("one", [ScanRow("AAPL", analysis, schema.encode(analysis, "summary"))])
    (stored,) = everything(store, results)

    assert stored["grade"] is None
    assert stored["score"] == analysis.score.total
    assert (stored["expiry"] - dt.date(2026, 6, 30)).days == analysis.butterfly.dte
    assert count(store, surfaces) == 0


def test_the_full_answer_comes_back_byte_for_byte(store: Store, analyses) -> None:
    store.begin(spec("one"))
    store.record("one", [row(one) for one in analyses.values()])

    stored = everything(store, answers)
    assert {one["ticker"]: unpack(one["codec"], one["body"]) for one in stored} == {
        ticker: schema.encode(analysis, "full") for ticker, analysis in analyses.items()
    }
    assert all(len(one["body"]) < 0.6 * one["size"] for one in stored)


def test_recording_again_changes_nothing(store: Store, analyses) -> None:
    rows = [row(one) for one in analyses.values()]
    store.begin(spec("one"))
    store.record("one", rows)
    before = [everything(store, table) for table in (scans, results, answers, surfaces)]
    store.begin(spec("one"))
    store.record("one", rows)

    assert [everything(store, table) for table in (scans, results, answers, surfaces)] == before
    assert len(before[1]) == len(TICKERS)


def test_a_later_row_replaces_an_earlier_one_wholly(store: Store, analyses) -> None:
    problem = Problem("source_failed", "AAPL: the source is away.")
    store.begin(spec("one"))
    store.record("one", [ScanRow("AAPL", problem=problem)])
    store.record("one", [row(analyses["AAPL"])])
    (found,) = everything(store, results)
    assert (found["error_code"], found["error"]) == (None, None)
    assert count(store, answers) == 1

    store.record("one", [ScanRow("AAPL", problem=problem)])
    (found,) = everything(store, results)
    assert (found["error_code"], found["score"], found["price"]) == ("source_failed", None, None)
    assert count(store, answers) == 0


def test_the_surface_keeps_one_row_an_expiry_and_day_the_latest(store: Store, analyses) -> None:
    analysis = analyses["AAPL"]
    store.begin(spec("one"))
    store.record("one", [row(analysis)])
    stored = everything(store, surfaces)
    assert [one["expiry"].isoformat() for one in stored] == [one.expiry for one in analysis.extended.chain]
    for kept, one in zip(stored, analysis.extended.chain, strict=True):
        assert (kept["forward"], kept["atm_iv"], kept["grade"]) == (one.forward, one.atm_iv, one.grade)
        assert [kept[name] for name in ("a", "b", "rho", "m", "s")] == [
            getattr(one.smile, name) for name in ("a", "b", "rho", "m", "s")
        ]

    chain = [msgspec.structs.replace(one, atm_iv=0.5) for one in analysis.extended.chain]
    moved = msgspec.structs.replace(analysis, extended=msgspec.structs.replace(analysis.extended, chain=chain))
    earlier = msgspec.structs.replace(moved, analysis_date="2026-06-30 14:00:00")
    store.record("one", [row(earlier)])
    assert everything(store, surfaces) == stored
    later = msgspec.structs.replace(moved, analysis_date="2026-06-30 23:00:00")
    store.record("one", [row(later)])
    assert {one["atm_iv"] for one in everything(store, surfaces)} == {0.5}
    assert count(store, surfaces) == len(stored)


def test_a_batch_with_a_stranger_is_not_recorded_at_all(store: Store, analyses) -> None:
    store.begin(spec("one", ("AAPL",)))
    with pytest.raises(ValueError, match="MSFT is not in scan one"):
        store.record("one", [row(analyses["AAPL"]), row(analyses["MSFT"])])
    assert count(store, results) == 0
    with pytest.raises(Failure, match="no scan two"):
        store.record("two", [row(analyses["AAPL"])])


def test_a_finished_scan_stays_as_it_is(store: Store, analyses) -> None:
    store.begin(spec("one"))
    store.record("one", [row(analyses["AAPL"])])
    store.finish("one", "cancelled", LATER)
    store.finish("one", "completed", LATER + dt.timedelta(hours=1))
    store.begin(spec("one"))
    with pytest.raises(Failure, match="cancelled") as refused:
        store.record("one", [row(analyses["MSFT"])])

    assert refused.value.problem.code == "conflict"
    assert store.unfinished() == []
    latest = store.latest()
    assert latest is not None
    assert (latest.status, latest.finished_at, latest.done) == ("cancelled", LATER, 1)


def test_scans_are_gone_on_with_in_the_order_they_were_asked_for(store: Store) -> None:
    store.begin(spec("late", started_at=LATER))
    store.begin(spec("early"))
    assert [one.scan_id for one in store.unfinished()] == ["early", "late"]
    latest = store.latest()
    assert latest is not None
    assert latest.scan_id == "late"


def test_moments_keep_their_instant_whatever_zone_they_were_told_in(store: Store) -> None:
    told = MOMENT.astimezone(dt.timezone(dt.timedelta(hours=9)))
    store.begin(spec("one", started_at=told))
    (found,) = store.unfinished()
    assert found.started_at == MOMENT
    assert found.started_at.utcoffset() == dt.timedelta(0)
    with pytest.raises(Exception, match="no time zone"):
        store.begin(spec("two", started_at=MOMENT.replace(tzinfo=None)))


def test_several_threads_may_record_at_once(store: Store, analyses) -> None:
    tickers = tuple(f"T{i:03d}" for i in range(64))
    store.begin(spec("one", tickers))
    template = analyses["SIM001"]

    def work(part: tuple[str, ...]) -> None:
        for ticker in part:
            store.record("one", [row(msgspec.structs.replace(template, ticker=ticker))])

    threads = [threading.Thread(target=work, args=(tickers[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert store.done("one") == set(tickers)


def test_a_second_process_sees_what_the_first_recorded(store: Store, url: str, analyses) -> None:
    store.begin(spec("one"))
    store.record("one", [row(analyses["AAPL"])])
    other = Store.open(url)
    try:
        assert other.done("one") == {"AAPL"}
    finally:
        other.close()


def test_a_row_is_one_thing_or_the_other(analyses) -> None:
    for wrong in ({}, {"data": b"x"}, {"analysis": analyses["AAPL"]}):
        with pytest.raises(ValueError, match="AAPL: a row holds"):
            ScanRow("AAPL", **wrong)
    with pytest.raises(ValueError, match="AAPL: a row holds"):
        ScanRow("AAPL", analyses["AAPL"], b"x", Problem("internal", "x"))
    assert ScanTicker("AAPL").tags == ()


def test_urls_are_understood_or_refused_without_repeating_them() -> None:
    assert parse("postgres://u:secret@host/db").drivername == "postgresql+psycopg"
    for wrong in ("mysql://u:secret@host/db", "sqlite://", "not a url, secret"):
        with pytest.raises(Failure) as refused:
            parse(wrong)
        assert refused.value.problem.code == "bad_request"
        assert "secret" not in refused.value.problem.error


def test_a_database_that_does_not_answer_is_a_problem_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for url in (
        f"sqlite:///{tmp_path / 'file' / 'scans.db'}",
        f"sqlite:///{tmp_path / 'file'}",  # not a database
        "postgresql://nobody@127.0.0.1:1/none",
    ):
        with pytest.raises(Failure, match="does not answer") as refused:
            Store.open(url)
        assert HTTP_STATUS[refused.value.problem.code] == 503
        assert refused.value.problem.retry_after


def test_a_locked_sqlite_file_fails_and_loses_nothing(tmp_path: Path, analyses, monkeypatch) -> None:
    monkeypatch.setattr("bq.scan.database.WAIT_S", 0)
    path = tmp_path / "scans.db"
    store = Store.open(f"sqlite:///{path}")
    store.begin(spec("one"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Failure, match="does not answer"):
        store.record("one", [row(analyses["AAPL"])])
    assert store.done("one") == set()  # reading goes on
    other.execute("ROLLBACK")
    store.record("one", [row(analyses["AAPL"])])
    assert store.done("one") == {"AAPL"}
    other.close()
    store.close()


def test_what_was_acknowledged_survives_the_death_of_the_server(postgres, analyses) -> None:
    store = Store.open(postgres.create("dies"))
    store.begin(spec("one"))
    store.record("one", [row(analyses[ticker]) for ticker in TICKERS[:3]])
    postgres.kill()
    try:
        with pytest.raises(Failure, match="does not answer") as refused:
            store.record("one", [row(analyses[TICKERS[3]])])
        assert refused.value.problem.code == "storage_failed"
        assert refused.value.problem.retry_after
    finally:
        postgres.start()
    assert store.done("one") == set(TICKERS[:3])
    store.record("one", [row(analyses[ticker]) for ticker in TICKERS[2:]])
    store.finish("one", "completed", LATER)
    latest = store.latest()
    assert latest is not None
    assert (latest.done, latest.failed, latest.status) == (len(TICKERS), 0, "completed")
    assert count(store, answers) == len(TICKERS)
    store.close()
