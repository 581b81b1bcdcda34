"""The whole engine on real tables: every ticker answers, real chains are read, dead ones are refused."""

from pathlib import Path

import pytest

from bq.analysis import engine
from bq.market.files import FilesMarket
from bq.schema import Analysis, Extended


def analyses(folder: Path, tickers: list[str] | None, as_of: str | None) -> dict[str, Analysis]:
    import datetime as dt

    moment = None if as_of is None else dt.datetime.fromisoformat(as_of)
    market = FilesMarket(str(folder / "market"), as_of=moment, rate=0.04)
    names = tickers or [listing.symbol for listing in market.universe() or []]
    found = dict(zip(names, engine.analyze(market.fetch(names)), strict=True))
    assert all(isinstance(a, Analysis) for a in found.values()), found
    return found  # type: ignore[return-value]


def extended(a: Analysis) -> Extended:
    assert isinstance(a.extended, Extended)
    return a.extended


def test_every_real_ticker_answers(data_dir: Path) -> None:
    found = analyses(data_dir, None, None)
    assert len(found) >= 36
    for a in found.values():
        x = extended(a)
        if x.quality.grade in ("D", "none"):
            assert x.quality.iv_source == "none" or x.chain
            assert a.score.recommendation in ("NEUTRAL", "AVOID")


def test_spy_and_qqq_in_session(data_dir: Path) -> None:
    found = analyses(data_dir, ["SPY", "QQQ"], "2026-08-20T15:03:31+00:00")
    spy = extended(found["SPY"])
    assert found["SPY"].current_price == pytest.approx(767.62, abs=0.01)
    for ticker, a in found.items():
        x = extended(a)
        assert x.quality.grade in ("A", "B"), ticker
        assert x.quality.iv_source == "own"
        # An index fund's at-the-money volatility in a calm week; the vendor's own field is far off in places.
        assert 0.08 < a.garch.current_iv < 0.30
        for c in x.chain:
            # Parity holds within 0.2 % with the spot of the quotes (plus a quarterly dividend of 0.25 %).
            assert c.forward * c.discount == pytest.approx(a.current_price, rel=5e-3)
            assert c.model_free_vol == pytest.approx(c.atm_iv, rel=0.6)
    assert not any(r.code == "spot_and_quotes_apart" for r in spy.quality.reasons)


def test_aapl_with_fridays_closing_quotes(data_dir: Path) -> None:
    a = analyses(data_dir, ["AAPL"], "2025-09-28T12:00:00+00:00")["AAPL"]
    x = extended(a)
    assert x.quality.grade in ("A", "B")
    assert a.current_price == pytest.approx(255.46, rel=2e-3)
    assert len(x.legs) in (3, 4)
    assert 0.15 < a.garch.current_iv < 0.45


@pytest.mark.parametrize("ticker", ["AAPL", "AMZN", "QQQ"])
def test_premarket_recordings_with_zero_bids_are_grade_d(data_dir: Path, ticker: str) -> None:
    a = analyses(data_dir, [ticker], "2025-02-21T21:30:00+00:00")[ticker]
    x = extended(a)
    assert x.quality.grade == "D"
    assert (a.score.total, a.score.recommendation) == (0.0, "AVOID")
    assert x.quality.iv_source == "none"


def test_msft_finds_the_spot_that_its_quotes_belong_to(data_dir: Path) -> None:
    a = analyses(data_dir, ["MSFT"], None)["MSFT"]
    # The close was 339.83; put-call parity says that the quotes are of a moment at about 342.3.
    assert a.current_price == pytest.approx(342.3, abs=0.5)
    assert any(r.code == "spot_and_quotes_apart" for r in extended(a).quality.reasons)
