"""`python -m bq scan`, as a person would call it, stopped as persons and machines stop it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bq.cli import main
from bq.errors import Failure
from bq.scan import overview
from bq.scan.claim import Claim
from bq.scan.store import Store

ROOT = Path(__file__).parents[2]
MONDAY = "2026-06-29T21:00:00Z"
TUESDAY = "2026-06-30T21:00:00Z"
MANY = [f"SIM{number:03d}" for number in range(1, 401)]  # more than are done before the first are seen to be


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("BQ_STATE_DIR", str(tmp_path))
    return f"sqlite:///{tmp_path / 'scans.db'}"


def scan(*words: str, as_of: str = TUESDAY) -> int:
    return main(["scan", "--market", "sample", "--as-of", as_of, *words])


def report(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out)


def test_a_scan_ends_with_its_ranking_and_what_failed(db: str, tmp_path: Path, capsys) -> None:
    path = tmp_path / "mine.md"
    path.write_text("# Mine\n- SIM001 - a share\n- SIM002\n- what?!\n- NOPE\n", encoding="utf-8")

    assert scan("--universe", str(path)) == 1  # one has no analysis
    shown = capsys.readouterr()
    assert "mine on the sample market, data of 2026-06-30T20:00:00Z" in shown.out
    assert "1 failed with unknown_ticker: NOPE" in shown.out
    assert "3 of 3 tickers" in shown.out
    assert "SIM001" in shown.out
    assert "mine, line 4: 'WHAT?!' cannot be a ticker" in shown.err


def test_two_scans_a_day_apart_tell_what_changed(db: str, capsys) -> None:
    words = ("--universe", "SIM001,SIM002,SIM003", "--json")
    assert scan(*words, as_of=MONDAY) == 0
    first = report(capsys)
    assert scan(*words, as_of=TUESDAY) == 0
    second = report(capsys)

    assert (first["compared_with"], second["compared_with"]) == (None, "2026-06-29T20:00:00Z")
    scores = [{row["ticker"]: row["score"] for row in one["top"]} for one in (first, second)]
    for row in second["top"]:
        change = scores[1][row["ticker"]] - scores[0][row["ticker"]]
        assert row["change"]["score"] == pytest.approx(change, abs=0.006)
    assert first["top"][0]["change"] is None


def test_the_summary_adds_up(db: str, capsys) -> None:
    assert scan("--universe", "SIM001,SIM002,NOPE", "--json", "--top", "1") == 1
    told = report(capsys)

    assert (told["total"], told["failed"], told["failures"]) == (3, 1, {"unknown_ticker": 1})
    assert (told["status"], told["analysed"], len(told["top"])) == ("completed", 3, 1)
    assert [one["ticker"] for one in told["failed_tickers"]] == ["NOPE"]
    assert told["compute_seconds"] > 0.0
    store = Store.open(db)
    assert store.done(told["scan_id"]) == {"SIM001", "SIM002", "NOPE"}
    store.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_scan_that_was_stopped_is_gone_on_with_by_the_same_command(
    db: str, tmp_path: Path, capsys, number: signal.Signals
) -> None:
    words = ["--universe", ",".join(MANY), "--json"]
    command = [sys.executable, "-m", "bq", "scan", "--market", "sample", "--as-of", TUESDAY, *words]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "BQ_COMPUTE_THREADS": "1"}, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    store = latest = None
    deadline = time.monotonic() + 120.0
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(Failure):
            store = store or (Store.open(db) if (tmp_path / "scans.db").exists() else None)
        if store is not None and (latest := store.latest()) is not None and latest.done:
            break
        time.sleep(0.01)
    process.send_signal(number)
    _, complaint = process.communicate(timeout=60)
    assert latest is not None, complaint.decode()
    assert store is not None
    done = store.done(latest.scan_id)
    assert 0 < len(done) < len(MANY), complaint
    assert process.returncode == (130 if number is signal.SIGINT else -9)
    if number is signal.SIGINT:
        assert f"stopped at {len(done)} of {len(MANY)}" in complaint.decode()

    assert scan(*words) == 0
    shown = capsys.readouterr()
    told = json.loads(shown.out)
    assert "going on with the scan begun at" in shown.err
    assert (told["scan_id"], told["analysed"]) == (latest.scan_id, len(MANY) - len(done))
    found = overview.find(store, latest.scan_id)
    assert found is not None
    assert (found.status, found.done, found.failed) == ("completed", len(MANY), 0)
    assert store.unfinished() == []
    store.close()


def test_new_leaves_the_stopped_scan_behind(db: str, capsys) -> None:
    assert scan("--universe", "SIM001,", "--json") == 0
    first = report(capsys)["scan_id"]
    store = Store.open(db)
    spec = _unfinished_like(store, first)
    assert scan("--universe", "SIM001,", "--json", "--new") == 0
    assert report(capsys)["scan_id"] not in (first, spec)
    found = overview.find(store, spec)
    assert found is not None
    assert found.status == "cancelled"
    store.close()


def _unfinished_like(store: Store, scan_id: str) -> str:
    from bq.scan.records import ScanSpec, ScanTicker

    found = overview.find(store, scan_id)
    assert found is not None
    spec = ScanSpec(
        scan_id="left", universe=found.universe, tickers=(ScanTicker("SIM001", ("SP500",)),), as_of=found.as_of,
        started_at=found.started_at, market=found.market,
    )  # fmt: skip
    store.begin(spec)
    return spec.scan_id


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--universe", "dow"], "sp500, nasdaq100, all"),
        (["--universe", "nowhere/list.md"], "No such file"),
        (["--universe", ","], "no ticker"),
        (["--universe", "SIM001,SIM002", "--db", "mysql://x/y"], "sqlite and postgresql"),
        (["--universe", "SIM001,SIM002", "--db", "sqlite:////proc/none/scans.db"], "does not answer"),
    ],
)
def test_what_cannot_be_done_is_said_without_a_traceback(db: str, words: list[str], says: str, capsys) -> None:
    assert scan(*words) == 2
    assert says in capsys.readouterr().err


def test_one_process_scans_at_a_time(db: str, capsys) -> None:
    store = Store.open(db)
    claim = Claim.take(store.database)
    assert claim is not None
    assert scan("--universe", "SIM001,SIM002") == 2
    assert "Another process" in capsys.readouterr().err
    claim.release()
    assert scan("--universe", "SIM001,SIM002") == 0
    store.close()
