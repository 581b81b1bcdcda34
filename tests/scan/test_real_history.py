"""Thirty-six real shares scanned at ten dates: the history that this leaves is right, counted again from the prices."""

import datetime as dt
import math

import numpy as np
import pandas as pd
import pytest

from bq.analysis import engine
from bq.market import calendar
from bq.market.files import FilesMarket
from bq.scan import history, rankings
from bq.scan.rankings import Query
from bq.scan.store import Store
from bq.schema import Analysis
from tests.scan.make import store_scan

DATES = tuple(
    np.datetime64(day)
    for day in (
        "2024-02-15", "2024-06-03", "2024-08-05", "2024-11-29", "2025-01-28", "2025-04-09", "2025-07-03", "2025-10-10",
        "2026-03-12", "2026-08-19",
    )
)  # fmt: skip
"""Calm and rough days, the day after a holiday, and half days (29 November 2024, 3 July 2025)."""


@pytest.fixture(scope="module")
def bars(data_dir) -> pd.DataFrame:
    table = pd.read_csv(data_dir / "market" / "bars_36tickers_2010_2026-08.csv.xz", parse_dates=["date"])
    return table.pivot(index="date", columns="ticker", values=["close", "adj_close"])


@pytest.fixture(scope="module")
def scans(data_dir, bars) -> list[list[Analysis]]:
    tickers = list(bars["close"].columns)
    assert len(tickers) == 36
    found = []
    for day in DATES:
        market = FilesMarket(str(data_dir / "market"), as_of=calendar.session_close(day), rate=0.04)
        found.append(engine.analyze(market.fetch(tickers)))
        assert all(isinstance(one, Analysis) for one in found[-1]), found[-1]
    return found


@pytest.fixture
def filled(store: Store, scans) -> Store:
    for day, made in zip(DATES, scans, strict=True):
        store_scan(store, f"scan{day}", made, market="files", started_at=calendar.session_close(day))
    return store


def test_every_date_has_the_ranks_that_its_scores_say(filled: Store, scans) -> None:
    for i, (day, made) in enumerate(zip(DATES, scans, strict=True)):
        scores = pd.Series({one.ticker: one.score.total for one in made})
        expected = scores.rank(method="min", ascending=False).astype(int)
        with filled.database.read() as connection:
            found = rankings.rank_rows(connection, "files", Query(scan=f"scan{day}"))
        assert {one.ticker: one.rank for one in found.data} == expected.to_dict()
        assert {one.ticker: one.tied for one in found.data} == expected.map(expected.value_counts()).to_dict()
        for one in found.data:
            assert one.rank_low <= one.rank <= one.rank_high
            assert one.score_low <= one.score <= one.score_high
            assert one.date == str(day)
        if i == 0:
            assert found.previous is None
            continue
        before = pd.Series({one.ticker: one.score.total for one in scans[i - 1]})
        assert found.previous.scan_id == f"scan{DATES[i - 1]}"
        for one in found.data:
            assert one.change.score == pytest.approx(scores[one.ticker] - before[one.ticker], abs=0.0051)
            points = one.change.points
            parts = [getattr(points, name) for name in points.__struct_fields__]
            assert sum(parts) == pytest.approx(one.change.score, abs=1e-9)
            # Scores are rounded to 0.01 and parts too: what no limit explains stays within their roundings.
            assert abs(points.rest) <= 0.06 or scores[one.ticker] == 0.0 or before[one.ticker] == 0.0


def test_a_history_is_of_its_dates_and_knows_nothing_later(filled: Store, bars) -> None:
    for ticker in bars["close"].columns:
        with filled.database.read() as connection:
            rows = history.past_rows(connection, ticker, "files", 100)
        assert [one.date for one in rows] == [str(day) for day in DATES[::-1]]
        for one in rows:
            if one.grade != "none":  # quotes of that day: the price is theirs, of their moment
                assert (ticker, one.date) in {(name, str(DATES[-1])) for name in ("SPY", "QQQ", "AAPL")}
                continue
            assert one.price == pytest.approx(bars["close"][ticker][one.date], abs=5e-5)
            closed = calendar.session_close(np.datetime64(one.date))
            assert one.analysis_date == closed.strftime("%Y-%m-%d %H:%M:%S")


def test_the_place_in_the_own_year_is_that_of_the_prices(filled: Store, bars) -> None:
    """The forecast volatility to expiry among the realised ones of the year before, from the closing prices alone."""
    logs = np.log(bars["adj_close"])
    for ticker in bars["close"].columns:
        with filled.database.read() as connection:
            rows = history.past_rows(connection, ticker, "files", 100)
            level = history.level(connection, ticker, "files")
        assert level.iv_rank is level.iv_percentile is None  # ten dates are no history of implied volatility
        assert level.realized_vol_percentile == rows[0].iv_percentile
        for one in rows:
            at = dt.datetime.fromisoformat(one.analysis_date).replace(tzinfo=dt.UTC)
            expiry = np.datetime64(one.expiry)
            sessions = calendar.sessions_to(at, expiry)
            total = one.predicted_vol**2 * float(calendar.tau(at, expiry))
            forecast = math.sqrt(total * 252 / sessions)
            returns = logs[ticker][: one.date].diff().dropna().tail(504)
            realised = np.sqrt((returns**2).rolling(sessions).mean() * 252).dropna().tail(252)
            # predicted_vol is rounded to 1e-6, and is on the time from the quotes: hours older than the close.
            near = (realised - forecast).abs() < (1e-5 if one.grade == "none" else 5e-3) * forecast
            share = 100.0 * (realised < forecast).mean()
            assert one.iv_percentile == pytest.approx(share, abs=0.01 + 100.0 * near.mean()), (ticker, one.date)


def test_names_that_move_together_are_found_together(filled: Store) -> None:
    """Two banks, two card networks, two soft-drink makers: at most dates each pair is one cluster."""
    together = {pair: 0 for pair in (("BAC", "JPM"), ("MA", "V"), ("KO", "PEP"))}
    for day in DATES:
        with filled.database.read() as connection:
            found = rankings.rank_rows(connection, "files", Query(scan=f"scan{day}"))
            spread = rankings.rank_rows(connection, "files", Query(scan=f"scan{day}", per_cluster=1))
        cluster = {one.ticker: one.cluster for one in found.data}
        for a, b in together:
            together[a, b] += cluster[a] == cluster[b]
        assert len({one.cluster for one in spread.data}) == len(spread.data) == len(set(cluster.values()))
    assert min(together.values()) >= 6, together
