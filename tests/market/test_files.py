"""The files: market reads what lies in a folder, as of a moment, and nothing from after it."""

import datetime as dt
import gzip
import lzma
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bq.errors import Failure, Problem
from bq.market import calendar
from bq.market.files import FilesMarket
from bq.market.source import Snapshot

BARS = """Ticker,Date,Open,High,Low,Close,Volume,Adj Close
AAA,2025-09-24,10.0,11.0,9.5,10.5,1000,10.4
AAA,2025-09-25,10.5,11.5,10.0,11.0,1100,10.9
AAA,2025-09-26,11.0,12.0,10.5,11.5,1200,11.5
"""
CHAIN = """ticker,quote_date,quote_time_utc,spot,expiration,type,strike,bid,ask,openInterest
AAA,2025-09-25,2025-09-25T15:00:00Z,11.2,2025-10-17,call,11,0.50,0.60,12
AAA,2025-09-25,2025-09-25T15:00:00Z,11.2,2025-10-17,P,11,0.30,0.40,
AAA,2025-09-26,2025-09-26T15:00:00Z,11.3,2025-10-17,Call,11,0.55,0.65,13
AAA,2025-09-26,2025-09-26T15:00:00Z,11.3,2025-10-17,put,11,0.25,0.35,14
"""


def moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def market(folder: Path, as_of: str | None = None, **files: str) -> FilesMarket:
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    return FilesMarket(folder, as_of=None if as_of is None else moment(as_of))


def snapshot(source: FilesMarket, ticker: str = "AAA") -> Snapshot:
    (answer,) = source.fetch([ticker])
    assert isinstance(answer, Snapshot), answer
    return answer


def problem(source: FilesMarket, ticker: str = "AAA") -> Problem:
    (answer,) = source.fetch([ticker])
    assert isinstance(answer, Problem)
    return answer


def test_columns_are_recognised_in_any_spelling(tmp_path: Path) -> None:
    bars = snapshot(market(tmp_path, bars=BARS)).bars
    assert bars.close.tolist() == [10.5, 11.0, 11.5]
    assert bars.adj_close is not None
    assert bars.adj_close.tolist() == [10.4, 10.9, 11.5]


def test_without_a_chain_now_is_the_last_close(tmp_path: Path) -> None:
    got = snapshot(market(tmp_path, bars=BARS))
    assert got.as_of == moment("2025-09-26T20:00")
    assert got.notes == ("chain_missing",)
    assert got.spot == 11.5


def test_without_as_of_now_is_the_latest_chain_and_its_day_is_not_history_yet(tmp_path: Path) -> None:
    got = snapshot(market(tmp_path, bars=BARS, chain=CHAIN))
    assert got.as_of == moment("2025-09-26T15:00")
    assert got.bars.date[-1] == np.datetime64("2025-09-25")
    assert got.spot == 11.3
    assert got.chain is not None
    assert got.chain.bid.tolist() == [0.55, 0.25]
    assert got.chain.is_call.tolist() == [True, False]
    assert got.chain.open_interest.tolist() == [13.0, 14.0]
    assert got.notes == ()


def test_as_of_chooses_the_latest_chain_not_after_it(tmp_path: Path) -> None:
    got = snapshot(market(tmp_path, "2025-09-25T20:00", bars=BARS, chain=CHAIN))
    assert got.chain is not None
    assert got.chain.quote_time == moment("2025-09-25T15:00")
    assert got.bars.date[-1] == np.datetime64("2025-09-25")
    assert np.isnan(got.chain.open_interest[1])


def test_adjusted_closes_are_as_they_stood_then(tmp_path: Path) -> None:
    # The last adjusted close that was known is the close itself; the ratio between days stays.
    bars = snapshot(market(tmp_path, "2025-09-25T21:00", bars=BARS)).bars
    assert bars.adj_close is not None
    assert bars.adj_close[-1] == bars.close[-1] == 11.0
    assert bars.adj_close[0] / bars.adj_close[1] == pytest.approx(10.4 / 10.9, rel=1e-15)


@pytest.mark.parametrize(
    ("as_of", "note"),
    [
        ("2025-09-29T15:00", None),  # one session after Friday 11:00 in New York
        ("2025-09-29T15:01", "chain_too_old"),
        ("2025-09-29T13:30", None),
        ("2025-09-24T21:00", "chain_missing"),  # before the first quotes
    ],
)
def test_a_chain_older_than_one_session_is_refused_and_said(tmp_path: Path, as_of: str, note: str | None) -> None:
    got = snapshot(market(tmp_path, as_of, bars=BARS, chain=CHAIN))
    assert got.notes == (() if note is None else (note,))
    assert (got.chain is None) is (note is not None)


def test_a_sunday_chain_holds_fridays_closing_quotes(tmp_path: Path) -> None:
    chain = "ticker,quote_date,spot,expiry,type,strike,bid,ask\nAAA,2025-09-28,11.5,2025-10-17,call,11,0.5,0.6\n"
    got = snapshot(market(tmp_path, bars=BARS, chain=chain))
    assert got.as_of == moment("2025-09-26T20:00")
    assert got.bars.date[-1] == np.datetime64("2025-09-26")
    assert got.notes == ("quote_time_assumed",)


def test_a_chain_without_a_price_of_the_share_takes_the_close(tmp_path: Path) -> None:
    chain = "ticker,quote_date,expiry,type,strike,bid,ask\nAAA,2025-09-26,2025-10-17,call,11,0.5,0.6\n"
    got = snapshot(market(tmp_path, bars=BARS, chain=chain))
    assert got.spot == 11.5
    assert got.chain is not None
    assert np.isnan(got.chain.spot)
    assert got.notes == ("quote_time_assumed", "spot_from_close")


def test_one_file_a_ticker_is_named_after_it(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "down"
    folder.mkdir(parents=True)
    table = "\n".join(line.partition(",")[2] for line in BARS.splitlines())
    (folder / "brk.b.csv").write_text(table)
    assert snapshot(FilesMarket(tmp_path), "BRK.B").bars.close.size == 3


def test_a_company_may_be_called_na(tmp_path: Path) -> None:
    assert snapshot(market(tmp_path, bars=BARS.replace("AAA", "NA")), "NA").spot == 11.5


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.xz", ".parquet"])
def test_formats_give_the_same_bars(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bars{suffix}"
    if suffix == ".parquet":
        (tmp_path / "x").write_text(BARS)
        pd.read_csv(tmp_path / "x", parse_dates=["Date"]).to_parquet(path)
    elif suffix == ".csv.gz":
        path.write_bytes(gzip.compress(BARS.encode()))
    elif suffix == ".csv.xz":
        path.write_bytes(lzma.compress(BARS.encode()))
    else:
        path.write_text(BARS)
    assert snapshot(FilesMarket(tmp_path)).bars.close.tolist() == [10.5, 11.0, 11.5]


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    assert snapshot(market(tmp_path, bars="\ufeff" + BARS)).spot == 11.5


def test_files_that_agree_are_joined(tmp_path: Path) -> None:
    more = BARS.splitlines()[0] + "\nAAA,2025-09-26,11.0,12.0,10.5,11.5,1200,11.5\nAAA,2025-09-29,1,3,1,2,5,2\n"
    got = snapshot(market(tmp_path, first=BARS, second=more))
    assert got.bars.close.tolist() == [10.5, 11.0, 11.5, 2.0]


def test_files_that_disagree_are_an_error_that_names_them(tmp_path: Path) -> None:
    got = problem(market(tmp_path, first=BARS, second=BARS.replace("11.5,1200", "11.6,1200")))
    assert got.code == "bad_data"
    assert "close of 2025-09-26 is 11.5 in" in got.error
    assert "first.csv" in got.error
    assert "second.csv" in got.error


def test_chains_that_disagree_are_an_error_that_names_them(tmp_path: Path) -> None:
    got = problem(market(tmp_path, bars=BARS, first=CHAIN, second=CHAIN.replace("0.55,0.65", "0.56,0.65")))
    assert got.code == "bad_data"
    assert "2025-10-17 call 11 of 2025-09-26T15:00:00Z has different quotes" in got.error
    assert "first.csv" in got.error


def test_chains_that_agree_are_one(tmp_path: Path) -> None:
    got = snapshot(market(tmp_path, bars=BARS, first=CHAIN, second=CHAIN))
    assert got.chain is not None
    assert got.chain.strike.size == 2


def test_a_conflict_of_one_ticker_leaves_the_others_be(tmp_path: Path) -> None:
    both = BARS + BARS.split("\n", 1)[1].replace("AAA", "BBB")
    source = market(tmp_path, first=both, second=BARS.replace("11.5,1200", "11.6,1200"))
    assert problem(source).code == "bad_data"
    assert snapshot(source, "BBB").spot == 11.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BARS.replace("Close,Volume", "Close,Turnover"), "bars.csv: no column volume"),
        (BARS.replace("10.5,11.5,10.0", "10.5,high,10.0"), "bars.csv, line 3: high is 'high', not a number"),
        (BARS.replace("2025-09-25", "25/09/2025"), "bars.csv, line 3: date is '25/09/2025', not an ISO date"),
        (CHAIN.replace(",P,", ",straddle,"), "line 3: type is 'straddle', neither call nor put"),
        (CHAIN.replace("bid,ask", "bid,offer"), "no column ask"),
        ("a,b\n1,2\n", "no file has the columns"),
        (BARS.replace("10.5,11.5,10.0", "10.5,inf,10.0"), "high is infinite"),
    ],
)
def test_what_cannot_be_read_is_said_with_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(Failure, match=r"files:|csv") as caught:
        market(tmp_path, bars=text)
    assert message in caught.value.problem.error
    assert caught.value.problem.code == "bad_request"


def test_a_broken_archive_is_said(tmp_path: Path) -> None:
    (tmp_path / "bars.csv.gz").write_bytes(gzip.compress(BARS.encode())[:-20])
    with pytest.raises(Failure, match="cannot be read"):
        FilesMarket(tmp_path)


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="no such folder"):
        FilesMarket(tmp_path / "nowhere")


def test_an_unknown_ticker_is_a_problem_of_its_own(tmp_path: Path) -> None:
    good, bad = market(tmp_path, bars=BARS).fetch(["AAA", "ZZZ"])
    assert isinstance(good, Snapshot)
    assert isinstance(bad, Problem)
    assert bad.code == "unknown_ticker"


def test_quotes_without_bars_are_not_enough(tmp_path: Path) -> None:
    assert problem(market(tmp_path, chain=CHAIN)).code == "not_enough_data"


def test_a_moment_before_the_first_bar_is_not_enough(tmp_path: Path) -> None:
    assert problem(market(tmp_path, "2020-01-01T00:00", bars=BARS)).code == "not_enough_data"


def test_a_price_that_is_not_positive_is_bad_data(tmp_path: Path) -> None:
    got = problem(market(tmp_path, bars=BARS.replace("11.0,1100", "-11.0,1100")))
    assert got.code == "bad_data"
    assert "close of 2025-09-25 is -11" in got.error


@pytest.mark.parametrize(
    ("now", "said"),
    [("11.3,2025-10-17,put,0,0.25", "a strike of 2025-09-26T15:00:00Z is 0 in"), ("-1,2025-10-17,put,11,0.25", "spot")],
)
def test_a_strike_or_a_spot_that_is_not_positive_is_bad_data(tmp_path: Path, now: str, said: str) -> None:
    got = problem(market(tmp_path, bars=BARS, chain=CHAIN.replace("11.3,2025-10-17,put,11,0.25", now)))
    assert got.code == "bad_data"
    assert said in got.error
    assert "must be above 0" in got.error


# The real folder


@pytest.fixture(scope="module")
def whole(data_dir: Path) -> FilesMarket:
    return FilesMarket(data_dir / "market")


def test_all_36_real_tickers_are_answered(whole: FilesMarket) -> None:
    universe = whole.universe()
    assert universe is not None
    assert len(universe) == 36
    for answer in whole.fetch([listing.symbol for listing in universe]):
        assert isinstance(answer, Snapshot), answer
        assert (calendar.close_seconds(answer.bars.date) <= answer.as_of.timestamp()).all(), answer.ticker


def test_the_live_spy_snapshot_does_not_let_its_own_day_in(whole: FilesMarket) -> None:
    got = snapshot(whole.at(moment("2026-08-20T15:03:31")), "SPY")
    assert got.bars.date[-1] == np.datetime64("2026-08-19")
    assert round(got.spot, 2) == 767.62
    assert got.chain is not None
    assert got.chain.quote_time == moment("2026-08-20T15:03:31")


def test_the_sunday_chain_of_apple_is_fridays(whole: FilesMarket) -> None:
    got = snapshot(whole.at(moment("2025-09-28T12:00")), "AAPL")
    assert got.chain is not None
    assert got.chain.quote_time == moment("2025-09-26T20:00")
    assert got.chain.strike.size == 2122
    assert got.bars.date[-1] == np.datetime64("2025-09-26")
    assert round(got.spot, 2) == round(float(got.bars.close[-1]), 2) == 255.46


def test_microsoft_has_quotes_without_a_price_of_the_share(whole: FilesMarket) -> None:
    got = snapshot(whole, "MSFT")
    assert got.as_of == moment("2021-11-22T21:00")
    assert got.notes == ("quote_time_assumed", "spot_from_close")


def test_real_dividends_are_read_off_the_adjusted_close_and_carried_forward(whole: FilesMarket) -> None:
    # Apple paid 0.25 on 2025-02-10 and 0.26 from 2025-05-12 on; Coca-Cola went ex on 2025-09-15 and 2025-12-01
    apple = snapshot(whole.at(moment("2025-09-28T12:00")), "AAPL").dividends
    assert [(str(each.ex_date), each.cash, each.declared) for each in apple[:2]] == [
        ("2025-11-07", 0.26, False),
        ("2026-02-09", 0.26, False),
    ]
    cola = snapshot(whole.at(moment("2025-09-01T12:00")), "KO").dividends
    assert abs(cola[0].ex_date - dt.date(2025, 9, 15)) <= dt.timedelta(days=3)
    assert cola[0].cash == pytest.approx(0.51, abs=0.005)


@pytest.mark.parametrize("ticker", ["TSLA", "AMZN", "NFLX"])
def test_names_that_pay_nothing_are_expected_to_pay_nothing(whole: FilesMarket, ticker: str) -> None:
    assert snapshot(whole, ticker).dividends == ()
