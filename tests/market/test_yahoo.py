"""The yahoo market against a stub server: what it asks, what it believes, what it does when Yahoo is unwell."""

import datetime as dt
import gzip
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bq.errors import Problem
from bq.market.source import Snapshot
from bq.market.yahoo import YahooMarket, bill_curve, yahoo_symbol
from bq.market.yahoo_answers import Untrusted, read_chart, read_options
from tests.market.yahoo_stub import YahooStub

FRIDAY_EVENING = dt.datetime(2025, 9, 26, 22, tzinfo=dt.UTC)
TICKER = "SIM020"


class Clock:
    def __init__(self, now: dt.datetime = FRIDAY_EVENING) -> None:
        self.now = now
        self.slept: list[float] = []
        self._lock = threading.Lock()

    def __call__(self) -> dt.datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept.append(seconds)

    def advance(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stub() -> Iterator[YahooStub]:
    with YahooStub(FRIDAY_EVENING) as server:
        yield server


Open = Callable[..., YahooMarket]


@pytest.fixture
def open_market(stub: YahooStub, clock: Clock, tmp_path: Path) -> Iterator[Open]:
    markets = []

    def make(**options: Any) -> YahooMarket:
        arguments = {"requests_per_s": 1000.0, "burst": 1000.0, "timeout_s": 5.0, "base_url": stub.url, **options}
        markets.append(YahooMarket(tmp_path, clock, clock.sleep, **arguments))
        return markets[-1]

    yield make
    for market in markets:
        market.close()


def snapshot(market: YahooMarket, ticker: str = TICKER) -> Snapshot:
    (answer,) = market.fetch([ticker])
    assert isinstance(answer, Snapshot), answer
    return answer


def problem(market: YahooMarket, ticker: str = TICKER) -> Problem:
    (answer,) = market.fetch([ticker])
    assert isinstance(answer, Problem), answer
    return answer


# What it asks and gives


def test_a_ticker_has_bars_chain_spot_dividends_and_a_rate(open_market: Open, stub: YahooStub) -> None:
    got, made = snapshot(open_market()), stub.snapshot(TICKER)
    assert made is not None
    assert made.chain is not None
    assert got.chain is not None
    np.testing.assert_array_equal(got.bars.date, made.bars.date)
    np.testing.assert_array_equal(got.bars.close, made.bars.close)
    assert got.spot == made.spot
    assert got.name == f"{TICKER} of the stub"
    assert got.dividends[0].cash == made.dividends[0].cash  # a quarter of the quote's yearly rate
    assert abs(got.dividends[0].ex_date - made.dividends[0].ex_date) <= dt.timedelta(
        days=3
    )  # same weekday as last year
    assert got.rates.rate(0.1) == bill_curve(4.0).rate(0.1)
    assert got.notes == ()
    assert not got.stale


def test_the_chain_has_the_expiries_within_7_to_60_days_as_they_were_quoted(open_market: Open, stub: YahooStub) -> None:
    got, made = snapshot(open_market()).chain, stub.snapshot(TICKER)
    assert made is not None
    assert made.chain is not None
    assert got is not None
    days = (made.chain.expiry - np.datetime64("2025-09-26")).astype(int)
    rows = (days >= 7) & (days <= 60)
    np.testing.assert_array_equal(got.expiry, made.chain.expiry[rows])
    np.testing.assert_array_equal(got.strike, made.chain.strike[rows])
    np.testing.assert_array_equal(got.is_call, made.chain.is_call[rows])
    np.testing.assert_array_equal(got.bid, made.chain.bid[rows])
    np.testing.assert_array_equal(got.ask, made.chain.ask[rows])
    np.testing.assert_array_equal(got.open_interest, made.chain.open_interest[rows])
    assert got.quote_time == dt.datetime(2025, 9, 26, 20, 0, 1, tzinfo=dt.UTC)
    assert got.symbol is not None
    assert got.symbol[0].startswith("SIM020251003C")


def test_requests_are_counted_as_they_arrive(open_market: Open, stub: YahooStub) -> None:
    market = open_market()
    snapshot(market)
    # chart of the ticker and of the bill; quote and 5 more expiries of which one came with it; cookie twice, crumb
    assert stub.counts() == {
        "/v8/finance/chart": 2,
        "/v7/finance/options": 6,
        "/": 2,
        "/v1/test/getcrumb": 1,
    }
    sent = {name: count for name, count in market.session.requests.items() if name != "held_back"}
    assert sum(sent.values()) == stub.count


def test_expiries_nearest_to_thirty_days_are_asked_first(open_market: Open, stub: YahooStub) -> None:
    got = snapshot(open_market(expiries=2)).chain
    assert got is not None
    assert np.unique(got.expiry).astype(str).tolist() == ["2025-10-24", "2025-10-31"]  # 28 and 35 days


def test_bars_are_not_asked_for_twice_a_day(open_market: Open, stub: YahooStub, clock: Clock) -> None:
    market = open_market()
    first = snapshot(market)
    clock.advance(36 * 3600.0)  # Sunday
    again = snapshot(market)
    assert [path for path in stub.paths if f"chart/{TICKER}" in path] == [stub.paths[0]]
    np.testing.assert_array_equal(first.bars.adj_close, again.bars.adj_close)


def test_bars_outlive_a_restart_and_only_the_tail_is_asked_for(
    open_market: Open, stub: YahooStub, clock: Clock
) -> None:
    snapshot(open_market())
    clock.now = stub.now = dt.datetime(2025, 9, 30, 22, tzinfo=dt.UTC)
    got = snapshot(open_market())
    charts = [path for path in stub.paths if f"chart/{TICKER}" in path]
    assert len(charts) == 2
    assert f"period1={int(dt.datetime(2025, 9, 17, tzinfo=dt.UTC).timestamp())}" in charts[1]  # 8 sessions of overlap
    assert got.bars.date[-1] == np.datetime64("2025-09-30")
    assert got.bars.date.size == 752


def test_adjusted_history_is_asked_for_as_a_whole(open_market: Open, stub: YahooStub, clock: Clock) -> None:
    before = snapshot(open_market()).bars
    clock.now = stub.now = dt.datetime(2025, 9, 29, 22, tzinfo=dt.UTC)
    stub.factor = 0.99  # a dividend has lowered every adjusted close of the past
    after = snapshot(open_market()).bars
    charts = [path for path in stub.paths if f"chart/{TICKER}" in path]
    assert len(charts) == 3  # first, tail, whole
    assert before.adj_close is not None
    assert after.adj_close is not None
    row = int(np.searchsorted(after.date, before.date[100]))
    assert after.adj_close[row] == pytest.approx(0.99 * before.adj_close[100], rel=1e-6)


def test_a_spoilt_file_of_bars_is_asked_for_again(open_market: Open, stub: YahooStub, tmp_path: Path) -> None:
    snapshot(open_market())
    (tmp_path / "bars" / f"{TICKER}.npz").write_bytes(b"PK nonsense")
    assert snapshot(open_market()).bars.date.size == 750


def test_the_live_bar_is_no_history(open_market: Open, stub: YahooStub, clock: Clock) -> None:
    clock.now = stub.now = dt.datetime(2025, 9, 29, 15, tzinfo=dt.UTC)  # Monday, 11:00 in New York
    stub.set("live", "/v8")
    got = snapshot(open_market())
    assert got.bars.date[-1] == np.datetime64("2025-09-26")
    assert got.notes == ()


def test_a_bar_whose_close_is_not_in_the_newest_price_is_still_moving(
    open_market: Open, stub: YahooStub, clock: Clock
) -> None:
    # Just after the close Yahoo's price is still from before it: Friday's close has passed, its bar is not final.
    stub.now = dt.datetime(2025, 9, 26, 19, tzinfo=dt.UTC)
    stub.set("live", "/v8")
    clock.now = dt.datetime(2025, 9, 26, 20, 5, tzinfo=dt.UTC)
    got = snapshot(open_market())
    assert got.bars.date[-1] == np.datetime64("2025-09-25")
    assert got.notes == ("bars_stale",)
    assert not got.stale


def test_a_tail_that_is_not_there_yet_is_not_asked_for_at_once(
    open_market: Open, stub: YahooStub, clock: Clock
) -> None:
    market = open_market()
    stub.now = dt.datetime(2025, 9, 26, 19, tzinfo=dt.UTC)
    snapshot(market)
    clock.advance(60.0)
    snapshot(market)
    assert len([path for path in stub.paths if f"chart/{TICKER}" in path]) == 1


@pytest.mark.parametrize(
    ("ticker", "symbol"),
    [("BRK.B", "BRK-B"), ("BF.B", "BF-B"), ("VOD.L", "VOD.L"), ("^GSPC", "^GSPC"), ("SAP.DE", "SAP.DE")],
)
def test_share_classes_have_a_dash_at_yahoo_and_exchanges_a_dot(ticker: str, symbol: str) -> None:
    assert yahoo_symbol(ticker) == symbol


def test_the_dash_is_what_is_asked(open_market: Open, stub: YahooStub) -> None:
    problem(open_market(), "BRK.B")
    assert stub.paths[0].startswith("/v8/finance/chart/BRK-B?")


def test_the_bill_yield_becomes_continuous() -> None:
    # Hull's arithmetic: 8 % discount over 91 days of 360 is a price of 97.978, an interest of 2.064 % for 91 days
    assert bill_curve(8.0).rate(0.25) == pytest.approx(np.log(100.0 / 97.97777777777778) * 365 / 91, rel=1e-13)


def test_without_a_yield_the_rate_is_the_default_and_says_so(open_market: Open, stub: YahooStub) -> None:
    stub.set("500", "/v8", "^IRX")
    got = snapshot(open_market(rate=0.03))
    assert got.rates.rate(1.0) == 0.03
    assert got.rates.source == "default_rate"
    assert got.notes == ("default_rate",)


def test_the_rate_is_asked_for_once_for_many_tickers(open_market: Open, stub: YahooStub) -> None:
    open_market().fetch(["SIM001", "SIM002", "SIM004"])
    assert len([path for path in stub.paths if "IRX" in path]) == 1


# When Yahoo is unwell


def test_only_yahoos_own_not_found_makes_a_ticker_unknown(open_market: Open, stub: YahooStub) -> None:
    assert problem(open_market(), "ZZZZ").code == "unknown_ticker"
    assert stub.count == 1


@pytest.mark.parametrize("ticker", ["A B", "../../ETC", "AAPL?X=1", "A" * 21])
def test_what_cannot_be_a_symbol_is_not_asked(open_market: Open, stub: YahooStub, ticker: str) -> None:
    assert problem(open_market(), ticker).code == "unknown_ticker"
    assert stub.count == 0


def patience(mood: str) -> float:
    """Wait briefly only for what never comes: on a busy machine the other answers may take their time."""
    return 0.5 if mood in ("hang", "drip") else 20.0


@pytest.mark.parametrize(
    ("mood", "code"),
    [
        ("429", "too_busy"),
        ("401", "source_failed"),
        ("403", "source_failed"),
        ("999", "source_failed"),
        ("500", "source_failed"),
        ("400", "source_failed"),
        ("hang", "source_failed"),
        ("drip", "source_failed"),
        ("truncated", "source_failed"),
        ("consent", "source_failed"),
        ("redirect", "source_failed"),
        ("garbage", "source_failed"),
        ("null", "source_failed"),
        ("nodays", "source_failed"),
        ("nulls", "source_failed"),
        ("wrong", "source_failed"),
        ("short", "source_failed"),
        ("unsorted", "bad_data"),
        ("twice", "bad_data"),
        ("negative", "bad_data"),
        ("highlow", "bad_data"),
        ("old", "bad_data"),
    ],
)
def test_a_chart_that_fails_costs_one_request_and_has_its_code(
    open_market: Open, stub: YahooStub, mood: str, code: str, tmp_path: Path
) -> None:
    stub.set(mood, "/v8")
    got = problem(open_market(timeout_s=patience(mood)))
    assert got.code == code
    assert stub.count == 1
    assert (got.retry_after is None) is (code == "bad_data")
    assert not (tmp_path / "bars").exists()  # nothing of it is kept


@pytest.mark.parametrize(
    ("mood", "note"),
    [
        ("429", "chain_failed"),
        ("500", "chain_failed"),
        ("hang", "chain_failed"),
        ("truncated", "chain_failed"),
        ("consent", "chain_failed"),
        ("garbage", "chain_failed"),
        ("null", "chain_failed"),
        ("404", "chain_failed"),
        ("empty", "chain_failed"),
        ("wrong", "chain_failed"),
        ("nooptions", "chain_missing"),  # this, Yahoo says clearly
    ],
)
def test_a_chain_that_fails_is_not_no_options(open_market: Open, stub: YahooStub, mood: str, note: str) -> None:
    stub.set(mood, "/v7")
    got = snapshot(open_market(timeout_s=patience(mood)))
    assert got.chain is None
    assert got.notes == (note,)
    assert got.spot == got.bars.close[-1]
    assert not got.stale


def test_expiries_that_fail_leave_the_others(open_market: Open, stub: YahooStub) -> None:
    market = open_market()
    original = stub.options

    def second_fails(symbol: str, query: dict[str, list[str]], mood: str) -> tuple[int, Any]:
        late = len([path for path in stub.paths if "options" in path]) > 3
        return (500, {}) if late else original(symbol, query, mood)

    stub.options = second_fails  # type: ignore[method-assign]
    got = snapshot(market)
    assert got.notes == ("chain_partial",)
    assert got.chain is not None
    assert np.unique(got.chain.expiry).size == 3


def test_an_old_crumb_is_renewed_once(open_market: Open, stub: YahooStub) -> None:
    market = open_market()
    snapshot(market)
    stub.crumb = "crumb1"
    stub.set("old_crumb", "/v7")
    before = stub.count
    got = snapshot(market)
    assert got.notes == ()
    assert got.chain is not None
    assert not market.session.breaker.is_open
    assert stub.counts()["/v1/test/getcrumb"] == 2
    assert stub.count - before <= 6 + 6  # six options, one of them twice, and the way to a crumb


def test_crumbs_that_are_refused_are_not_asked_for_by_every_ticker(open_market: Open, stub: YahooStub) -> None:
    stub.set("500", "/v1")
    market = open_market()
    snapshot(market)
    first = stub.counts()["/v1/test/getcrumb"]
    answers = market.fetch(["SIM001", "SIM002"])
    assert all(isinstance(answer, Snapshot) and answer.notes == ("chain_failed",) for answer in answers)
    assert stub.counts()["/v1/test/getcrumb"] == first
    assert stub.counts()["/v7/finance/options"] == 0


def test_recent_bars_from_the_disk_stand_in_for_a_chart_that_fails(
    open_market: Open, stub: YahooStub, clock: Clock
) -> None:
    market = open_market()
    snapshot(market)
    clock.now = dt.datetime(2025, 9, 30, 22, tzinfo=dt.UTC)
    stub.set("500", "/v8")
    got = snapshot(market)
    assert got.stale
    assert got.notes == ("bars_stale", "chain_failed", "default_rate")  # the bill's chart fails as well
    assert got.bars.date[-1] == np.datetime64("2025-09-26")
    assert got.chain is None


def test_old_bars_from_the_disk_do_not(open_market: Open, stub: YahooStub, clock: Clock) -> None:
    market = open_market()
    snapshot(market)
    clock.now = dt.datetime(2025, 10, 6, 22, tzinfo=dt.UTC)  # six sessions later
    stub.set("500", "/v8")
    assert problem(market).code == "source_failed"


def test_five_minutes_of_refusals_cost_at_most_twenty_requests(
    open_market: Open, stub: YahooStub, clock: Clock
) -> None:
    market = open_market()
    snapshot(market, "SIM001")
    clock.now = dt.datetime(2025, 9, 29, 22, tzinfo=dt.UTC)
    stub.set("429", "/v")
    before = stub.count
    for second in range(300):
        held = market.fetch(["SIM001", "SIM002"])
        assert isinstance(held[0], Snapshot)
        assert held[0].stale
        assert isinstance(held[1], Problem)
        assert held[1].code == "too_busy", second
        assert held[1].retry_after is not None
        clock.advance(1.0)
    assert stub.count - before <= 20
    stub.set("ok")
    stub.now = clock.now
    clock.advance(1000.0)  # whatever the breaker waits for
    probe = stub.count
    assert not snapshot(market, "SIM002").stale
    assert stub.paths[probe].startswith("/v8/finance/chart/SIM002")  # the first probe was enough


def test_an_open_breaker_outlives_a_restart(open_market: Open, stub: YahooStub) -> None:
    stub.set("429", "/v")
    open_market().fetch(["SIM001", "SIM002", "SIM004"])
    before = stub.count
    assert problem(open_market()).code == "too_busy"
    assert stub.count == before


def test_requests_keep_to_the_rate(open_market: Open, stub: YahooStub, clock: Clock) -> None:
    market = open_market(requests_per_s=1.0, burst=4.0, workers=1)
    snapshot(market)
    assert stub.count == 11
    # The clock stands still while tokens are waited for, so each wait is one second longer than the one before.
    assert clock.slept == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]


def test_what_the_rate_cannot_carry_before_the_deadline_is_told_to_come_back(
    open_market: Open, stub: YahooStub
) -> None:
    market = open_market(requests_per_s=1.0, burst=1.0, workers=1, deadline_s=5.0)
    answers = market.fetch([f"SIM{number:03d}" for number in range(1, 21)])
    late = [answer for answer in answers if isinstance(answer, Problem)]
    assert {answer.code for answer in late} == {"too_busy"}
    assert all(answer.retry_after is not None and answer.retry_after > 0.0 for answer in late)
    assert stub.count <= 1 + 5


def test_hanging_requests_end_and_free_their_threads(open_market: Open, stub: YahooStub) -> None:
    stub.set("hang", "/v8")
    market = open_market(timeout_s=0.3, workers=4)
    answers = market.fetch([f"SIM{number:03d}" for number in range(1, 6)])  # four hang, the fifth waits for a thread
    assert [answer.code for answer in answers if isinstance(answer, Problem)] == ["source_failed"] * 5
    stub.set("ok")
    assert not snapshot(market).stale


def test_a_fetch_ends_at_its_deadline_though_requests_hang(open_market: Open, stub: YahooStub) -> None:
    stub.set("hang", "/v8")
    market = open_market(timeout_s=2.0, workers=1, deadline_s=0.2)
    answers = market.fetch(["SIM001", "SIM002"])
    assert [answer.code for answer in answers if isinstance(answer, Problem)] == ["source_failed", "too_busy"]


def test_one_bad_ticker_leaves_the_others_be(open_market: Open, stub: YahooStub) -> None:
    stub.set("truncated", "/v8", "SIM002")
    answers = open_market().fetch(["SIM001", "SIM002", "ZZZZ", "SIM004"])
    assert [type(answer).__name__ for answer in answers] == ["Snapshot", "Problem", "Problem", "Snapshot"]
    assert [answer.ticker for answer in answers if isinstance(answer, Snapshot)] == ["SIM001", "SIM004"]


# Answers that were recorded


def recorded(path: Path) -> Any:
    record = json.loads(gzip.decompress(path.read_bytes()))
    return record["response"].get("bodyJson")


def test_recorded_charts_are_read_or_refused_and_nothing_else(data_dir: Path) -> None:
    paths = sorted((data_dir / "yahoo_raw" / "chart").glob("*.gz"))
    read, refused = 0, {}
    for path in paths:
        body = recorded(path)
        result = body["chart"]["result"][0]
        if result["meta"].get("dataGranularity") != "1d":
            continue
        try:
            chart = read_chart(body, result["meta"]["symbol"])
        except Untrusted as error:
            refused[path.name] = str(error)
            continue
        read += 1
        assert (np.diff(chart.bars.date) > np.timedelta64(0, "D")).all(), path.name
        assert (chart.bars.close > 0.0).all(), path.name
    assert read >= 30
    assert all("fake" in name or "days" in text for name, text in refused.items()), refused


def test_the_recorded_dividends_of_microsoft_are_those_it_paid(data_dir: Path) -> None:
    path = data_dir / "yahoo_raw" / "chart" / "historical-via-chart-MSFT-dividends-2021-02-01-to-2022-01-31.json.gz"
    paid = read_chart(recorded(path), "MSFT").dividends
    assert [(str(each.ex_date), each.cash) for each in paid] == [
        ("2021-02-17", 0.56),
        ("2021-05-19", 0.56),
        ("2021-08-18", 0.56),
        ("2021-11-17", 0.62),
    ]


def test_recorded_options_are_read(data_dir: Path) -> None:
    contracts = 0
    for path in sorted((data_dir / "yahoo_raw" / "options").glob("*.gz")):
        body = recorded(path)
        symbol = body["optionChain"]["result"][0]["underlyingSymbol"] if body["optionChain"]["result"] else "NONE"
        try:
            options = read_options(body, symbol)
        except Untrusted:
            continue
        contracts += len(options.contracts)
        assert options.spot > 0.0
        assert list(options.expiries) == sorted(options.expiries)
    assert contracts > 1900


def test_a_recorded_chain_comes_through_the_whole_way(
    open_market: Open, stub: YahooStub, clock: Clock, data_dir: Path
) -> None:
    folder = data_dir / "yahoo_raw"
    clock.now = stub.now = dt.datetime(2025, 10, 29, 21, tzinfo=dt.UTC)
    stub.answers = {"/v7/finance/options/AAPL": recorded(folder / "options" / "rs_options_v7_AAPL.json.gz")}
    for expiry in (1762473600, 1763078400, 1763683200, 1764288000, 1764892800, 1766102400):
        body = recorded(folder / "options" / "rs_options_v7_AAPL.json.gz")
        block = body["optionChain"]["result"][0]["options"][0]
        for contract in block["calls"] + block["puts"]:
            contract["expiration"] = expiry  # the recorded contracts of 31 October, moved
        stub.answers[f"/v7/finance/options/AAPL?date={expiry}"] = body
    got = snapshot(open_market(), "AAPL")
    assert got.spot == 269.7
    assert got.chain is not None
    assert np.unique(got.chain.expiry).size == 6
    assert np.isnan(got.chain.volume).any()  # left out where there was none
