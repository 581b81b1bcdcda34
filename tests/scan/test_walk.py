"""Ten scans of real tickers, the history cut at each: what is remembered is what was scanned, ranks included."""

import datetime as dt
import json
from pathlib import Path

import pytest
from sqlalchemy import select

from bq.cli import main
from bq.market.files import FilesMarket
from bq.scan import history, rankings
from bq.scan.packing import unpack
from bq.scan.store import Store
from bq.scan.tables import answers, results

DAYS = (
    "2025-09-26", "2025-10-31", "2025-11-28", "2026-01-02", "2026-02-06", "2026-03-13", "2026-04-17", "2026-05-22",
    "2026-06-26", "2026-08-20",
)  # fmt: skip
"""The first has AAPL's option quotes, the last those of SPY and QQQ; 28 November is a half day."""


@pytest.mark.slow
def test_ten_days_of_scans_are_remembered_with_their_ranks(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BQ_STATE_DIR", str(tmp_path))
    folder = data_dir / "market"
    told = []
    for day in DAYS:
        assert main(["scan", "--market", f"files:{folder}", "--as-of", day, "--json", "--top", "5000"]) == 0
        told.append(json.loads(capsys.readouterr().out))

    store = Store.open(f"sqlite:///{tmp_path / 'scans.db'}")
    with store.database.read() as connection:
        scores: list[dict[str, float]] = []
        for day, one in zip(DAYS, told, strict=True):
            rows = connection.execute(select(results).where(results.c.scan_id == one["scan_id"])).mappings().all()
            assert len(rows) == 36
            scores.append({row["ticker"]: row["score"] for row in rows})
            for row in rows:  # nothing of a later day, and the rank that its score has
                assert row["day"] == dt.date.fromisoformat(day)
                better = sum(other["score"] > row["score"] for other in rows)
                assert row["rank"] == better + 1, row["ticker"]

        for ticker in ("AAPL", "QQQ", "SPY", "XOM"):
            past = history.past_rows(connection, ticker, "files", 100)
            assert [row.date for row in past] == list(DAYS[::-1])
            for row, by_ticker in zip(past, scores[::-1], strict=True):
                assert row.score == by_ticker[ticker]
                assert row.rank == 1 + sum(score > by_ticker[ticker] for score in by_ticker.values())

        for before, now, one in zip(scores[:-1], scores[1:], told[1:], strict=True):
            page = rankings.rank_rows(connection, "files", rankings.Query(scan=one["scan_id"]))
            assert [row.rank for row in page.data] == sorted(row.rank for row in page.data)
            for row in page.data:
                assert row.change is not None
                assert row.change.score == pytest.approx(now[row.ticker] - before[row.ticker], abs=0.006)
                points = row.change.points
                assert points is not None
                total = sum(getattr(points, name) for name in points.__struct_fields__)
                assert total == pytest.approx(row.change.score, abs=0.02)

        stored = connection.execute(select(answers).where(answers.c.scan_id == told[-1]["scan_id"])).mappings().all()
        graded = {row["ticker"]: json.loads(unpack(row["codec"], row["body"])) for row in stored}
    store.close()
    assert {name for name, answer in graded.items() if answer["extended"]["chain"]} == {"SPY", "QQQ"}
    market = FilesMarket(folder, as_of=dt.datetime(2026, 8, 20, 20, tzinfo=dt.UTC))
    (snapshot,) = market.fetch(["XOM"])
    assert graded["XOM"]["current_price"] == pytest.approx(float(snapshot.bars.close[-1]), abs=0.01)
