"""Exports: every stored number, once, as CSV and as Parquet, the same on both databases."""

import csv
import datetime as dt
import io
import sys

import pytest

from bq.errors import Failure
from bq.scan import export, tabular
from bq.scan.export import ExportQuery
from bq.scan.store import Store
from bq.scan.tables import results
from tests.scan.make import analysis, store_scan

CLOSE = dt.datetime(2026, 6, 30, 20, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


@pytest.fixture
def filled(store: Store, analyses) -> Store:
    template = analyses["AAPL"]
    for back in (2, 1, 0):
        made = [
            analysis(template, name, (10.0 * i + back,) * 3, at=CLOSE - back * DAY) for i, name in enumerate("ABCDE")
        ]
        store_scan(store, f"scan{back}", made, started_at=CLOSE - back * DAY, tags={"A": ("NASDAQ", "SP500")})
    return store


def write(store: Store, what, form="csv", market=None, **query) -> bytes:
    writer, after, parts = tabular.writer(export.columns(what), form), None, []
    while True:
        with store.database.read() as connection:
            page = export.page(connection, what, market, ExportQuery(**query), after)
        parts.append(writer.add(page.rows))
        if (after := page.following) is None:
            return b"".join([*parts, writer.end()])


def rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode())))


def test_a_ranking_is_exported_with_its_changes(filled: Store) -> None:
    found = rows(write(filled, "rankings"))
    assert [one["ticker"] for one in found] == list("EDCBA")
    assert [one["rank"] for one in found] == ["1", "2", "3", "4", "5"]
    assert {one["change_score"] for one in found} == {"-1.0"}
    assert found[-1]["tags"] == "NASDAQ SP500"
    assert found[0]["is_credit_strategy"] in ("true", "false")
    assert [one["change_score"] for one in rows(write(filled, "rankings", scan="scan2"))] == [""] * 5
    with pytest.raises(Failure, match="no such scan"):
        write(filled, "rankings", scan="scan9")


@pytest.mark.parametrize("size", [1, 2, 5, 15, 100])
def test_pages_hold_every_row_once(filled: Store, monkeypatch, size: int) -> None:
    monkeypatch.setattr(export, "PAGE", size)
    found = rows(write(filled, "rows"))
    assert [(one["scan_id"], one["ticker"]) for one in found] == [(f"scan{i}", t) for i in range(3) for t in "ABCDE"]
    assert list(found[0]) == [column.name for column in results.columns]
    assert len(rows(write(filled, "rankings"))) == 5


def test_rows_are_chosen_by_ticker_scan_and_session(filled: Store, analyses) -> None:
    assert {one["ticker"] for one in rows(write(filled, "rows", ticker="c"))} == {"C"}
    assert {one["scan_id"] for one in rows(write(filled, "rows", scan="scan1"))} == {"scan1"}
    assert {one["day"] for one in rows(write(filled, "rows", since=dt.date(2026, 6, 29)))} == {
        "2026-06-29",
        "2026-06-30",
    }
    assert {one["day"] for one in rows(write(filled, "iv", until=dt.date(2026, 6, 28)))} == {"2026-06-26"}  # a Sunday
    assert rows(write(filled, "rows", market="yahoo")) == []
    assert len(rows(write(filled, "surface", ticker="A", market="sample"))) == 3 * len(analyses["AAPL"].extended.chain)
    with pytest.raises(Failure, match="scan does not apply to iv"):
        export.check("iv", ExportQuery(scan="x"))


def test_parquet_holds_what_csv_holds(filled: Store, monkeypatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(export, "PAGE", 4)
    for what in ("rankings", "rows", "surface", "iv"):
        table = parquet.read_table(io.BytesIO(write(filled, what, "parquet")))
        text = rows(write(filled, what))
        assert table.column_names == list(text[0])
        assert table.num_rows == len(text)
        for name in table.column_names:
            plain = ["" if value is None else str(tabular._plain(value)) for value in table[name].to_pylist()]
            assert plain == [one[name] for one in text], name
    assert str(table.schema.field("day").type) == "date32[day]"
    assert str(table.schema.field("quoted_at").type) == "timestamp[us, tz=UTC]"
    empty = parquet.read_table(io.BytesIO(write(filled, "iv", "parquet", ticker="NONE")))
    assert (empty.num_rows, empty.num_columns) == (0, 5)


def test_an_empty_csv_has_its_head(filled: Store) -> None:
    assert write(filled, "iv", ticker="NONE") == b"market,ticker,day,quoted_at,iv\n"


def test_without_pyarrow_the_remedy_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(Failure, match="pip install pyarrow, or take csv"):
        tabular.writer(export.columns("iv"), "parquet")
