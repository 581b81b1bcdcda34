"""A few names of the sample market at a fixed moment, analysed once."""

import datetime as dt

import pytest

from bq.analysis import engine
from bq.market.sample import SampleMarket
from bq.market.source import Snapshot
from bq.schema import Analysis

MOMENT = dt.datetime(2026, 6, 30, 21, 0, tzinfo=dt.UTC)
TICKERS = ("AAPL", "MSFT", "TSLA", "SPY", "SIM001", "SIM002", "SIM003", "SIM010", "SIM042")


@pytest.fixture(scope="session")
def market() -> SampleMarket:
    return SampleMarket(lambda: MOMENT, as_of=MOMENT)


@pytest.fixture(scope="session")
def snapshots(market: SampleMarket) -> list[Snapshot]:
    return [s for s in market.fetch(TICKERS) if isinstance(s, Snapshot)]


@pytest.fixture(scope="session")
def analyses(snapshots: list[Snapshot]) -> list[Analysis]:
    found = engine.analyze(snapshots)
    assert all(isinstance(a, Analysis) for a in found), found
    return found  # type: ignore[return-value]


@pytest.fixture(scope="session")
def without_chain(snapshots: list[Snapshot]) -> Analysis:
    import msgspec

    (found,) = engine.analyze([msgspec.structs.replace(snapshots[0], chain=None)])
    assert isinstance(found, Analysis)
    return found
