"""`python -m bq migrate | prune | import | export`."""

import csv
import io

import pytest

from bq import cli
from bq.analysis import engine
from bq.market.sample import SampleMarket
from bq.scan.store import Store
from tests.scan.conftest import MOMENT
from tests.scan.make import store_scan
from tests.scan.test_legacy import old_file, result


@pytest.fixture
def url(tmp_path, monkeypatch) -> str:
    url = f"sqlite:///{tmp_path / 'scans.db'}"
    monkeypatch.setenv("DATABASE_URL", url)
    return url


@pytest.fixture
def filled(url: str) -> None:
    store = Store.open(url)
    store_scan(store, "one", engine.analyze(SampleMarket(lambda: MOMENT, as_of=MOMENT).fetch(("AAPL", "SIM001"))))
    store.close()


def test_migrate_says_what_it_did(url, capsys) -> None:
    assert cli.main(["migrate"]) == cli.main(["migrate"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "was brought up to date" in first
    assert "is up to date" in second


def test_export_writes_to_standard_output_and_to_files(filled, tmp_path, capsysbinary) -> None:
    assert cli.main(["export", "rankings"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsysbinary.readouterr().out.decode())))
    assert {one["ticker"] for one in rows} == {"AAPL", "SIM001"}
    target = tmp_path / "rows.parquet"
    assert cli.main(["export", "rows", "-o", str(target), "--ticker", "AAPL", "--since", "2026-06-01"]) == 0
    assert b"1 rows in" in capsysbinary.readouterr().out
    assert target.read_bytes()[:4] == target.read_bytes()[-4:] == b"PAR1"


def test_what_cannot_be_exported_leaves_no_file(filled, tmp_path, capsys) -> None:
    target = tmp_path / "x.csv"
    for wrong in (["rankings", "--scan", "never"], ["rows", "--since", "May"], ["iv", "--scan", "one"]):
        assert cli.main(["export", *wrong, "-o", str(target)]) == 2
    assert not target.exists()
    assert "butterquant: " in capsys.readouterr().err


def test_prune_plans_before_it_deletes(filled, capsys) -> None:
    assert cli.main(["prune", "--dry-run", "--keep-days", "0"]) == 0
    assert "would be deleted" in capsys.readouterr().out
    assert cli.main(["prune"]) == 0
    assert "were deleted" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["prune", "--keep-days", "-1"])


def test_import_accounts_for_every_row(url, tmp_path, capsys) -> None:
    path = old_file(tmp_path / "old.db", [result("AAPL"), result("MSFT", garch__current_iv=0.00001), "not json"])
    assert cli.main(["import", str(path), "--zone", "America/New_York"]) == 0
    out = capsys.readouterr().out
    assert "1 of 3 rows were imported, as 1 scans" in out
    assert "1 skipped" in out
    assert "implied_volatility_void" in out
    assert cli.main(["import", str(path), "--zone", "Mars/Olympus"]) == 2
    assert cli.main(["import", str(tmp_path / "none.db")]) == 2


def test_a_database_that_is_away_is_said(monkeypatch, capsys) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    for command in (["migrate"], ["prune"], ["export", "rows"]):
        assert cli.main(command) == 2
    assert "does not answer" in capsys.readouterr().err
