"""Rankings: right ranks, filters and changes, the same on both databases."""

import datetime as dt

import numpy as np
import pytest
from msgspec.structs import replace

from bq.errors import Failure
from bq.scan import rankings
from bq.scan.rankings import Query
from bq.scan.store import Store
from bq.scan.views import Points
from tests.scan.conftest import row, spec
from tests.scan.make import analysis, store_scan

CLOSE = dt.datetime(2026, 6, 30, 20, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


def ask(store: Store, market: str | None = "sample", **query):
    with store.database.read() as connection:
        return rankings.rank_rows(connection, market, Query(**query))


def tickers(found) -> list[str]:
    return [one.ticker for one in found.data]


@pytest.fixture
def template(analyses):
    return analyses["SIM001"]


def test_without_a_complete_scan_there_is_no_ranking(store: Store, analyses) -> None:
    with pytest.raises(Failure, match="no ranking yet"):
        ask(store)
    store.begin(spec("one"))
    store.record("one", [row(analyses["AAPL"])])
    with pytest.raises(Failure, match="no ranking yet"):
        ask(store)
    with pytest.raises(Failure, match="not ended"):
        ask(store, scan="one")
    store.finish("one", "cancelled", CLOSE)
    with pytest.raises(Failure, match="no ranking yet") as missing:
        ask(store)
    assert missing.value.problem.http_status == 404
    assert tickers(ask(store, scan="one")) == ["AAPL"]  # what there is may be looked at


def test_a_row_is_the_union_of_what_clients_read(store: Store, analyses) -> None:
    store_scan(store, "one", list(analyses.values()), tags={"AAPL": ("NASDAQ", "SP500")})
    found = ask(store)
    assert found.count == found.matching == len(analyses)
    assert [one.score for one in found.data] == sorted((a.score.total for a in analyses.values()), reverse=True)
    assert found.as_of == "2026-06-30T20:00:00Z"
    one = next(one for one in found.data if one.ticker == "AAPL")
    a = analyses["AAPL"]
    assert (one.score, one.strategy, one.recommendation) == (
        a.score.total,
        a.fourier.butterfly_type,
        a.score.recommendation,
    )
    assert (one.confidence, one.analysis_date, one.date) == (a.score.confidence_level, a.analysis_date, "2026-06-30")
    assert one.tags == ["NASDAQ", "SP500"]
    assert (one.lower, one.center, one.upper) == (
        a.butterfly.lower_strike, a.butterfly.center_strike, a.butterfly.upper_strike,
    )  # fmt: skip
    assert (one.expiry, one.is_credit_strategy) == (a.extended.legs[0].expiry, a.butterfly.is_credit_strategy)
    assert (one.score_low, one.score_high) == (a.extended.score.interval.low, a.extended.score.interval.high)
    assert one.rank_low <= one.rank <= one.rank_high
    assert one.change is None
    assert found.previous is None


def test_equal_scores_are_shown_as_ties(store: Store, template) -> None:
    parts = {"A": 80.0, "B": 60.0, "C": 60.0, "D": 60.0, "E": 10.0}
    store_scan(store, "one", [analysis(template, name, (part,) * 3, error=0.1) for name, part in parts.items()])
    found = ask(store)
    assert [(one.ticker, one.rank, one.tied, one.tier) for one in found.data] == [
        ("A", 1, 1, 1), ("B", 2, 3, 2), ("C", 2, 3, 2), ("D", 2, 3, 2), ("E", 5, 1, 3),
    ]  # fmt: skip
    assert [(one.rank_low, one.rank_high) for one in found.data] == [(1, 1), (2, 4), (2, 4), (2, 4), (5, 5)]


def test_filters_sorting_and_pages_are_those_of_the_rows(store: Store, template) -> None:
    rng = np.random.default_rng(8)
    names = [f"T{i:02d}" for i in range(40)]
    made = [
        replace(
            analysis(template, name, tuple(rng.uniform(0, 100, 3)), prob_profit=float(rng.uniform(10, 90))),
            fourier=replace(template.fourier, butterfly_type=("CALL", "PUT", "IRON")[i % 3]),
        )
        for i, name in enumerate(names)
    ]
    tags = {name: ("SP500", "NASDAQ_100") if i % 2 else ("NASDAQ",) for i, name in enumerate(names)}
    store_scan(store, "one", made, tags=tags)
    everything = ask(store).data
    by_name = {one.ticker: one for one in made}

    assert [one.rank for one in everything] == sorted(one.rank for one in everything)
    assert {one.ticker for one in ask(store, tag="NASDAQ").data} == set(names[::2])  # and not NASDAQ_100
    assert ask(store, tag="NAS%").data == []
    assert ask(store, tag="NASDAQX100").data == []  # _ is no wildcard
    assert {one.ticker for one in ask(store, strategy="PUT").data} == set(names[1::3])
    assert all(40 <= one.score <= 60 for one in ask(store, min_score=40, max_score=60).data)
    assert {one.ticker for one in ask(store, min_score=40, max_score=60).data} == {
        one.ticker for one in made if 40 <= one.score.total <= 60
    }
    assert tickers(ask(store, ticker="t1", sort="ticker")) == names[10:20]
    by_chance = tickers(ask(store, sort="-prob_profit"))
    assert by_chance == sorted(names, key=lambda name: -by_name[name].butterfly.prob_profit)
    pages = [ask(store, limit=15, offset=start) for start in (0, 15, 30, 45)]
    assert [one for page in pages for one in page.data] == everything
    assert [(page.count, page.matching) for page in pages] == [(15, 40), (15, 40), (10, 40), (0, 40)]


def test_a_diversified_list_takes_the_best_of_each_cluster(store: Store, template) -> None:
    rng = np.random.default_rng(3)
    factors = 0.01 * rng.standard_normal((3, 120))
    owner = {"A1": 0, "A2": 0, "B1": 1, "A3": 0, "B2": 1, "C1": 2}
    made = [
        analysis(
            template, name, (90.0 - 10.0 * i,) * 3,
            closes=(100 * np.exp(np.cumsum(factors[k] + 0.003 * rng.standard_normal(120)))).tolist(),
        )
        for i, (name, k) in enumerate(owner.items())
    ]  # fmt: skip
    store_scan(store, "one", made, tags={"A2": ("X",), "A3": ("X",)})
    clusters = {one.ticker: one.cluster for one in ask(store).data}
    assert clusters == {"A1": 1, "A2": 1, "B1": 2, "A3": 1, "B2": 2, "C1": 3}
    assert tickers(ask(store, per_cluster=1)) == ["A1", "B1", "C1"]
    assert tickers(ask(store, per_cluster=2)) == ["A1", "A2", "B1", "B2", "C1"]
    assert tickers(ask(store, per_cluster=1, limit=2)) == ["A1", "B1"]
    assert tickers(ask(store, per_cluster=1, tag="X")) == ["A2"]  # the best of what was asked for


def test_the_change_since_the_scan_before_adds_up_by_component(store: Store, template) -> None:
    before = [
        analysis(template, "UP", (40.0, 60.0, 50.0), at=CLOSE - DAY),
        analysis(template, "DOWN", (90.0, 90.0, 90.0), penalty=2.0, at=CLOSE - DAY),
        analysis(template, "GONE", at=CLOSE - DAY),
        analysis(template, "D", total=0.0, at=CLOSE - DAY),  # grade D: its parts do not count
    ]
    now = [
        analysis(template, "UP", (95.0, 90.0, 70.0), penalty=1.0),
        analysis(template, "DOWN", (80.0, 40.0, 90.0), penalty=5.0),
        analysis(template, "NEW"),
        analysis(template, "D", (60.0, 60.0, 60.0)),
    ]
    store_scan(store, "one", before, started_at=CLOSE - DAY)
    store_scan(store, "two", now)
    found = ask(store)
    changes = {one.ticker: one.change for one in found.data}

    assert found.left == ["GONE"]
    assert (found.scan.scan_id, found.previous.scan_id) == ("two", "one")
    assert changes["NEW"] is None
    up, down, back = changes["UP"], changes["DOWN"], changes["D"]
    assert (up.rank, up.score) == (1, 37.0)
    assert up.points == Points(22.0, 12.0, 4.0, 0.0, -1.0, 0.0)
    assert (down.rank, down.score) == (-1, -27.0)
    assert down.points == Points(-4.0, -20.0, 0.0, 0.0, -3.0, 0.0)
    assert (back.score, back.points.rest) == (60.0, 50.0)  # parts rose by 10 points; the rest is the refusal that fell
    assert tickers(ask(store, sort="-change")) == ["D", "UP", "DOWN", "NEW"]
    assert tickers(ask(store, sort="change")) == ["DOWN", "UP", "D", "NEW"]
    assert ask(store, scan="one").previous is None


def test_the_ranking_is_of_the_latest_data_of_its_market(store: Store, template) -> None:
    def scan(name: str, at: dt.datetime, **changes) -> None:
        store_scan(store, name, [analysis(template, name, at=at)], **changes)

    scan("today", CLOSE)
    scan("past", CLOSE - 30 * DAY, started_at=CLOSE + DAY)  # begun later, of older data
    scan("half", CLOSE + 2 * DAY, status="cancelled")
    scan("yahoo", CLOSE + DAY, market="yahoo")
    scan("sp500", CLOSE - DAY, universe="sp500")

    assert tickers(ask(store)) == ["today"]
    assert ask(store).previous.scan_id == "past"  # of the same universe and market
    assert tickers(ask(store, market="yahoo")) == ["yahoo"]
    assert tickers(ask(store, market=None)) == ["yahoo"]
    assert tickers(ask(store, universe="sp500")) == ["sp500"]
    assert tickers(ask(store, scan="past")) == ["past"]
    for missing in ({"scan": "never"}, {"universe": "never"}, {"scan": "yahoo"}):
        with pytest.raises(Failure) as refused:
            ask(store, **missing)
        assert refused.value.problem.code == "not_found"


def test_ranks_of_the_same_rows_are_the_same_on_both_databases(postgres, tmp_path, template) -> None:
    rng = np.random.default_rng(12)
    made = [
        analysis(template, f"T{i:02d}", tuple(rng.uniform(0, 100, 3).round(0)), error=float(rng.uniform(0.5, 6)))
        for i in range(60)
    ]
    earlier = [replace(one, analysis_date="2026-06-29 20:00:00") for one in made[5:]]
    answers = []
    for url in (f"sqlite:///{tmp_path / 'equal.db'}", postgres.create("equal")):
        store = Store.open(url)
        store_scan(store, "one", earlier, started_at=CLOSE - DAY)
        store_scan(store, "two", made, tags={"T01": ("NASDAQ",)})
        queries = (
            {},
            {"sort": "-change"},
            {"sort": "iv_percentile"},
            {"per_cluster": 1},
            {"tag": "NASDAQ"},
            {"scan": "one"},
        )
        answers.append([ask(store, **query) for query in queries])
        store.close()
    assert answers[0] == answers[1]
    assert len(answers[0][0].data) == 60
