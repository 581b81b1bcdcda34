"""Stores on both databases, and a few analyses to put into them."""

import datetime as dt
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from bq import schema
from bq.analysis import engine
from bq.market.sample import SampleMarket
from bq.scan.records import ScanRow, ScanSpec, ScanTicker
from bq.scan.store import Store
from bq.schema import Analysis
from tests.scan.postgres import NoServer, Server

MOMENT = dt.datetime(2026, 6, 30, 21, 0, tzinfo=dt.UTC)
TICKERS = ("AAPL", "MSFT", "TSLA", "SPY", "SIM001", "SIM002", "SIM003", "SIM010")
_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    try:
        server = Server()
    except NoServer as reason:
        pytest.skip(str(reason))
    server.start()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state' / 'scans.db'}"
    return request.getfixturevalue("postgres").create(f"test{next(_numbers)}")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store.open(url, lambda: MOMENT)
    yield store
    store.close()


@pytest.fixture(scope="session")
def analyses() -> dict[str, Analysis]:
    market = SampleMarket(lambda: MOMENT, as_of=MOMENT)
    found = engine.analyze(market.fetch(TICKERS))
    assert all(isinstance(one, Analysis) for one in found), found
    return {one.ticker: one for one in found if isinstance(one, Analysis)}


def row(analysis: Analysis) -> ScanRow:
    return ScanRow(analysis.ticker, analysis, schema.encode(analysis, "full"))


def spec(scan_id: str, tickers: tuple[str, ...] = TICKERS, **changes: object) -> ScanSpec:
    fields = {
        "scan_id": scan_id,
        "universe": "list",
        "tickers": tuple(ScanTicker(ticker, ("NASDAQ",) if ticker[0] in "AMT" else ()) for ticker in tickers),
        "as_of": "",
        "started_at": MOMENT,
        "market": "sample",
    }
    return ScanSpec(**{**fields, **changes})  # type: ignore[arg-type]
