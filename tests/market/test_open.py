"""The settings' text opens the market that it names, or says what is wrong with it."""

import datetime as dt
from pathlib import Path

import pytest

from bq.config import Settings
from bq.errors import Failure
from bq.market.open import open_market, parse_as_of
from bq.market.yahoo import YahooMarket

BARS = "ticker,date,open,high,low,close,volume\nAAA,2025-09-26,1,2,1,2,10\n"


@pytest.mark.parametrize("text", ["", "Sample", "sample:x", "files", "files:", "yahoo:x", "bloomberg"])
def test_any_other_name_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(Failure, match="give sample, files:DIR or yahoo") as caught:
        open_market(Settings(market=text))
    assert caught.value.problem.code == "bad_request"


def test_sample_is_opened_as_of_the_settings_moment() -> None:
    market = open_market(Settings(market="sample", as_of="2025-09-26T21:00Z"))
    assert market.name == "sample"
    (answer,) = market.fetch(["AAPL"])
    assert answer.as_of == dt.datetime(2025, 9, 26, 20, tzinfo=dt.UTC)  # type: ignore[union-attr]


def test_files_are_opened_with_their_folder_and_rate(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(BARS)
    market = open_market(Settings(market=f"files:{tmp_path}", rate=0.02))
    assert market.name == "files"
    (answer,) = market.fetch(["AAA"])
    assert answer.rates.rate(1.0) == 0.02  # type: ignore[union-attr]


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="no such folder"):
        open_market(Settings(market=f"files:{tmp_path / 'nowhere'}"))


def test_yahoo_is_opened_without_asking_it_anything(tmp_path: Path) -> None:
    market = open_market(Settings(market="yahoo", state_dir=str(tmp_path), yahoo_url="http://127.0.0.1:9"))
    assert isinstance(market, YahooMarket)
    assert sum(market.session.requests.values()) == 0
    market.close()


def test_yahoo_knows_no_other_present() -> None:
    with pytest.raises(Failure, match="yahoo only knows the present"):
        open_market(Settings(market="yahoo", as_of="2025-09-26"))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-09-26T20:00:00Z", "2025-09-26T20:00"),
        ("2025-09-26T16:00:00-04:00", "2025-09-26T20:00"),
        ("2025-09-26T20:00", "2025-09-26T20:00"),  # without a zone: UTC
        ("2025-09-26", "2025-09-26T20:00"),  # a date alone: the close
        ("2025-11-28", "2025-11-28T18:00"),  # of a half day too
    ],
)
def test_a_moment_is_read_in_any_iso_form(text: str, moment: str) -> None:
    assert parse_as_of(text) == dt.datetime.fromisoformat(moment).replace(tzinfo=dt.UTC)


def test_no_moment_is_none() -> None:
    assert parse_as_of(" ") is None


@pytest.mark.parametrize("text", ["yesterday", "2025-13-01", "26.09.2025"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(Failure, match="give an ISO date or time"):
        parse_as_of(text)
