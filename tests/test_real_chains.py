"""How recorded chains are read: what `benchmarks.real_chains` prints, with floors a little below what it is today."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import real_chains
from benchmarks.real_chains import Reading
from bq.analysis import smiles
from bq.market import quality
from bq.market.source import Snapshot

INSIDE = {"SPY": 0.64, "QQQ": 0.77, "IWM": 0.95, "AAPL": 0.96, "MSFT": 0.98}


@pytest.fixture(scope="module")
def recorded(data_dir: Path) -> list[Snapshot]:
    return real_chains.snapshots(data_dir / "market")


@pytest.fixture(scope="module")
def readings(recorded: list[Snapshot]) -> list[Reading]:
    return real_chains.read(recorded)


def of(readings: list[Reading], ticker: str) -> list[Reading]:
    own = [r for r in readings if r.ticker == ticker and r.grade != "D"]
    assert len(own) >= 5
    return own


@pytest.mark.parametrize("ticker", sorted(INSIDE))
def test_smiles_pass_through_the_quotes(readings: list[Reading], ticker: str) -> None:
    assert np.mean([r.inside for r in of(readings, ticker)]) > INSIDE[ticker]


@pytest.mark.parametrize(
    ("ticker", "floor"), [("AAPL", 0.95), ("MSFT", 0.9), ("IWM", 0.95), ("QQQ", 0.68), ("SPY", 0.66)]
)
def test_forwards_lie_between_the_executable_prices_of_pairs(
    readings: list[Reading], ticker: str, floor: float
) -> None:
    """Of index funds the pairs are a few cents wide and contradict each other: no forward is within all of them."""
    own = of(readings, ticker)
    assert sum(r.pairs_hold for r in own) > floor * sum(r.pairs for r in own)


def test_no_butterfly_arbitrage_is_left(readings: list[Reading]) -> None:
    assert len(readings) > 150
    assert min(r.least_g for r in readings) >= 0.0


def test_expiries_are_in_order(readings: list[Reading]) -> None:
    """What is left, and told, is 1e-3 of a total variance of 0.01 at most, on few expiries."""
    gaps = np.array([r.calendar_gap for r in readings])
    assert gaps.max() < 1e-3
    assert np.mean(gaps > 0.0) < 0.15


@pytest.mark.parametrize("rate", [0.0005, 0.04])
def test_msft_finds_the_spot_of_its_quotes(data_dir: Path, rate: float) -> None:
    """The close was 339.83, the quotes are of about 342.2, whatever the rate is taken to be."""
    own = real_chains.read([s for s in real_chains.snapshots(data_dir / "market", rate) if s.ticker == "MSFT"])
    assert {r.spot_moved for r in own} == {True}
    assert own[0].spot == pytest.approx(342.2, abs=0.25)


def test_recordings_from_before_the_opening_are_grade_d(recorded: list[Snapshot]) -> None:
    early = [s for s in recorded if s.as_of.date().isoformat() == "2025-02-21"]
    assert len(early) >= 12
    assert {quality.inspect(s).grade for s in early} == {"D"}


def test_few_quotes_are_not_counted(readings: list[Reading]) -> None:
    assert min(r.quotes for r in readings) >= real_chains.LEAST_QUOTES > smiles.LEAST_QUOTES
