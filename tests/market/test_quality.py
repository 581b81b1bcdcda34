"""Every defect of bars and quotes is found, counted under its name, and nothing else is."""

import datetime as dt
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from bq.market import calendar, quality
from bq.market.files import FilesMarket
from bq.market.sample import SampleMarket
from bq.market.source import Bars, Chain, Snapshot
from bq.schema import Reason

NOW = dt.datetime(2025, 9, 26, 20, tzinfo=dt.UTC)  # Friday's close
SPOT = 100.0
STRIKES = np.arange(80.0, 121.0, 2.0)


def bars(**changes: Any) -> Bars:
    """Three hundred faultless days, with some of them changed: name = {row: value}."""
    date = calendar.sessions_between(dt.date(2024, 1, 2), dt.date(2025, 9, 26))[-300:]
    close = 100.0 + np.sin(np.arange(300.0))
    columns = {"open": close, "high": close + 1.0, "low": close - 1.0, "close": close, "volume": np.full(300, 1e6)}
    columns = {name: values.copy() for name, values in columns.items()}
    for name, rows in changes.items():
        for row, value in rows.items():
            columns[name][row] = value
    return Bars(date=date, **columns)


def reasons(history: Bars, as_of: dt.datetime = NOW) -> dict[str, int]:
    return {reason.code: reason.count for reason in quality.bar_reasons(history, as_of)}


def without(history: Bars, rows: list[int]) -> Bars:
    kept = {
        name: np.delete(getattr(history, name), rows) for name in ("date", "open", "high", "low", "close", "volume")
    }
    return Bars(**kept)


def test_faultless_bars_have_no_reasons() -> None:
    assert reasons(bars()) == {}


def test_a_split_that_was_not_adjusted_is_a_jump() -> None:
    history = bars()
    close = history.close.copy()
    close[150:] /= 4.0
    assert reasons(msgspec.structs.replace(history, close=close))["bars_split_like_jump"] == 1


def test_a_split_that_was_adjusted_is_none() -> None:
    history = bars()
    close = history.close.copy()
    close[:150] *= 4.0
    scaled = {
        name: np.where(np.arange(300) < 150, 4.0, 1.0) * getattr(history, name) for name in ("open", "high", "low")
    }
    assert reasons(msgspec.structs.replace(history, close=close, adj_close=history.close, **scaled)) == {}


def test_a_crash_is_no_split() -> None:
    history = bars()
    close = history.close.copy()
    close[150:] *= 0.78
    found = reasons(msgspec.structs.replace(history, close=close, low=close - 1, high=close + 1, open=close))
    assert found == {}


@pytest.mark.parametrize(("length", "count"), [(4, 0), (5, 1), (40, 1)])
def test_five_equal_closes_are_a_stretch(length: int, count: int) -> None:
    history = bars(
        close={row: 100.0 for row in range(50, 50 + length)}, open={50 + row: 100.0 for row in range(length)}
    )
    assert reasons(history).get("bars_constant_stretch", 0) == count


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"volume": {7: 0.0, 8: 0.0}}, "bars_zero_volume"),
        ({"high": {7: 90.0, 9: 90.0}}, "bars_inconsistent"),
        ({"low": {7: 110.0, 9: 110.0}}, "bars_inconsistent"),
        ({"low": {7: 0.0}, "close": {9: -1.0}}, "bars_not_positive"),
        ({"open": {7: np.nan, 8: np.nan}}, "bars_not_positive"),
    ],
)
def test_days_that_contradict_themselves_are_counted(changes: dict[str, dict[int, float]], code: str) -> None:
    assert reasons(bars(**changes)) == {code: 2}


def test_gaps_against_the_calendar_are_counted() -> None:
    assert reasons(without(bars(), [10, 11, 12])) == {"bars_missing_sessions": 3}


def test_days_on_which_the_exchange_rests_are_counted() -> None:
    history = bars()
    date = history.date.copy()
    date[-1] = np.datetime64("2025-09-27")  # a Saturday
    assert reasons(msgspec.structs.replace(history, date=date), NOW + dt.timedelta(days=2)) == {
        "bars_off_calendar": 1,
        "bars_missing_sessions": 1,
    }


def test_a_short_history_says_how_short() -> None:
    assert reasons(without(bars(), list(range(100)))) == {"bars_short": 200}


def test_a_last_bar_whose_session_is_not_over_is_live() -> None:
    assert reasons(bars(), NOW - dt.timedelta(seconds=1)) == {"bars_live_last": 1}


def test_disorder_and_repetition_are_told_apart() -> None:
    history = bars()
    turned, twice = history.date.copy(), history.date.copy()
    turned[[20, 21]] = turned[[21, 20]]
    twice[20] = twice[21]
    assert reasons(msgspec.structs.replace(history, date=turned)) == {"bars_unsorted": 1}
    assert reasons(msgspec.structs.replace(history, date=twice)) == {"bars_duplicate": 1, "bars_missing_sessions": 1}


def test_no_bars_at_all_are_short() -> None:
    empty = np.zeros(0)
    nothing = Bars(np.zeros(0, "datetime64[D]"), empty, empty, empty, empty, empty)
    assert quality.bar_reasons(nothing, NOW) == [Reason("bars_short", 0)]


# Chains


def chain(days: int = 28, quote_time: dt.datetime = NOW, **changes: Any) -> Chain:
    """Calls, then puts, at 21 strikes: convex prices around their values, with some quotes changed."""
    strike = np.concatenate([STRIKES, STRIKES])
    is_call = np.arange(42) < 21
    away = np.where(is_call, SPOT - strike, strike - SPOT)
    mid = 0.5 * (away + np.sqrt(away**2 + 36.0)) + 0.2  # convex in the strike, above intrinsic
    columns = {
        "bid": mid - 0.05,
        "ask": mid + 0.05,
        "vendor_iv": np.full(42, 0.27),
        "last_trade": np.full(42, np.datetime64("2025-09-26T15:00:00", "s")),
    }
    for name, rows in changes.items():
        for row, value in rows.items():
            columns[name][row] = value
    other = np.full(42, 1.0)
    return Chain(
        quote_time=quote_time,
        spot=SPOT,
        expiry=np.full(42, np.datetime64("2025-09-26") + days),
        strike=strike,
        is_call=is_call,
        bid_size=other,
        ask_size=other,
        last=mid,
        volume=other,
        open_interest=other,
        **columns,
    )


def found(quotes: Chain) -> dict[str, int]:
    return {reason.code: reason.count for reason in quality.inspect_chain(quotes, SPOT).reasons}


def test_faultless_quotes_have_no_reasons_and_grade_a() -> None:
    got = quality.inspect_chain(chain(), SPOT)
    assert got.reasons == ()
    assert got.grade == "A"
    assert got.usable.all()


@pytest.mark.parametrize(
    ("changes", "code", "row"),
    [
        ({"bid": {12: 0.0}}, "quotes_zero_bid", 12),
        ({"bid": {12: np.nan}}, "quotes_zero_bid", 12),
        ({"bid": {12: 0.0}, "ask": {12: 0.0}}, "quotes_zero_ask", 12),
        ({"bid": {12: 3.0}, "ask": {12: 2.0}}, "quotes_crossed", 12),
        ({"bid": {0: 18.9}, "ask": {0: 19.0}}, "quotes_below_intrinsic", 0),
        ({"bid": {0: 101.0}, "ask": {0: 101.5}}, "quotes_above_maximum", 0),
        ({"bid": {12: 1.0}, "ask": {12: 4.0}}, "quotes_wide", 12),
        ({"bid": {10: 4.3}, "ask": {10: 4.4}}, "quotes_not_convex", 10),
        ({"bid": {14: 4.0}, "ask": {14: 4.1}}, "quotes_not_monotone", 14),
    ],
)
def test_a_defect_makes_its_quote_unusable_and_is_counted(
    changes: dict[str, dict[int, float]], code: str, row: int
) -> None:
    got = quality.inspect_chain(chain(**changes), SPOT)
    assert not got.usable[row]
    assert dict((reason.code, reason.count) for reason in got.reasons)[code] >= 1
    assert (~got.usable).sum() <= 3  # its neighbours at most


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"bid": {12: 1.8}, "ask": {12: 1.8}}, "quotes_locked"),
        ({"last_trade": {12: np.datetime64("2025-09-19T15:00:00")}}, "quotes_no_recent_trade"),
        ({"last_trade": {12: np.datetime64("2025-09-25T19:59:59")}}, "quotes_traded_before_session"),
        ({"vendor_iv": {12: 0.00001}}, "vendor_volatility_placeholder"),
        ({"vendor_iv": {12: 0.03125}}, "vendor_volatility_placeholder"),
        ({"vendor_iv": {12: 0.0009765625}}, "vendor_volatility_placeholder"),
    ],
)
def test_a_peculiarity_is_said_and_leaves_its_quote_usable(changes: dict[str, dict[int, Any]], code: str) -> None:
    got = quality.inspect_chain(chain(**changes), SPOT)
    assert found(chain(**changes)) == {code: 1}
    assert got.usable.all()


@pytest.mark.parametrize(
    ("moment", "counts"),
    [
        ("2025-09-26T13:29:59", {}),  # before the opening: the prices of the day before stand
        ("2025-09-26T13:30:00", {"quotes_traded_before_session": 2}),
        ("2025-09-28T18:00:00", {"quotes_traded_before_session": 2}),  # a Sunday belongs to the Friday
        ("2025-10-02T19:00:00", {"quotes_traded_before_session": 42}),
        ("2025-10-02T20:00:00", {"quotes_traded_before_session": 40, "quotes_no_recent_trade": 2}),  # each only once
    ],
)
def test_a_trade_before_the_session_of_the_quotes_is_told(moment: str, counts: dict[str, int]) -> None:
    day_before, opening = np.datetime64("2025-09-25T19:30:00"), np.datetime64("2025-09-26T13:30:00")
    quoted = chain(
        quote_time=dt.datetime.fromisoformat(f"{moment}+00:00"), last_trade={5: day_before, 30: day_before, 7: opening}
    )
    told = found(quoted)
    assert {code: n for code, n in told.items() if code != "quotes_outside_session"} == counts


def test_a_trade_of_unknown_time_is_not_old() -> None:
    assert found(chain(last_trade={12: np.datetime64("NaT")})) == {}


@pytest.mark.parametrize(
    ("moment", "outside"),
    [
        ("2025-09-26T20:00:01", False),  # closing quotes
        ("2025-09-26T20:20", True),
        ("2025-09-26T13:00", True),  # before the opening
        ("2025-09-26T15:00", False),
        ("2025-09-28T15:00", True),
    ],
)
def test_quotes_from_outside_the_session_are_said_and_are_no_a(moment: str, outside: bool) -> None:
    got = quality.inspect_chain(chain(quote_time=dt.datetime.fromisoformat(moment).replace(tzinfo=dt.UTC)), SPOT)
    assert (Reason("quotes_outside_session") in got.reasons) is outside
    assert got.grade == ("B" if outside else "A")


def beside(quotes: Chain, more: Chain) -> Chain:
    """Put two chains of one moment together, row behind row."""
    names = [name for name in Chain.__struct_fields__ if isinstance(getattr(quotes, name), np.ndarray)]
    rows = {name: np.concatenate([getattr(quotes, name), getattr(more, name)]) for name in names}
    return msgspec.structs.replace(quotes, **rows, symbol=(quotes.symbol or ()) + (more.symbol or ()) or None)


def symbols(quotes: Chain, root: str) -> Chain:
    kinds = zip(quotes.expiry, quotes.is_call, quotes.strike, strict=True)
    spelled = tuple(f"{root}{str(day)[2:].replace('-', '')}{'C' if c else 'P'}{k * 1000:08.0f}" for day, c, k in kinds)
    return msgspec.structs.replace(quotes, symbol=spelled)


def test_contracts_adjusted_for_a_spin_off_are_told_from_the_others() -> None:
    """AAPL1 delivers something else than 100 shares of AAPL: its quotes are no quotes of the same strikes."""
    plain = symbols(chain(), "AAPL")
    other = symbols(msgspec.structs.replace(plain, bid=0.6 * plain.bid, ask=0.6 * plain.ask), "AAPL1")
    got = quality.inspect_chain(beside(plain, other), SPOT)
    assert got.usable.tolist() == [True] * 42 + [False] * 42
    told = found(beside(plain, other))
    assert (got.grade, told["quotes_adjusted"]) == ("A", 42)
    assert told.keys() == {"quotes_adjusted", "quotes_below_intrinsic"}  # and nothing of the others by comparison


def test_of_two_quotes_of_one_contract_that_differ_neither_is_used() -> None:
    plain = chain()
    bid = plain.bid.copy()
    bid[5] *= 0.9
    assert found(beside(plain, plain)) == {}
    twice = beside(plain, msgspec.structs.replace(plain, bid=bid))
    assert found(twice) == {"quotes_contradictory": 2}
    assert np.flatnonzero(~quality.inspect_chain(twice, SPOT).usable).tolist() == [5, 47]


def test_too_few_usable_quotes_near_the_money_are_grade_d() -> None:
    near = [row for row in range(42) if abs(np.log(chain().strike[row] / SPOT)) < 0.1]
    dead = {row: 0.0 for row in near[5:]}
    assert quality.inspect_chain(chain(bid=dead), SPOT).grade == "D"


def test_half_of_the_quotes_are_grade_c() -> None:
    dead = {row: 0.0 for row in range(0, 42, 2)}
    assert quality.inspect_chain(chain(bid=dead), SPOT).grade == "C"


def test_quotes_far_from_the_money_do_not_lower_the_grade() -> None:
    dead = {row: 0.0 for row in (0, 1, 2, 3, 17, 18, 19, 20, 21, 22, 23, 24, 38, 39, 40, 41)}
    assert quality.inspect_chain(chain(bid=dead), SPOT).grade == "A"


def test_a_snapshot_without_a_chain_has_no_grade() -> None:
    (answer,) = SampleMarket(lambda: NOW).fetch(["^GSPC"])
    assert isinstance(answer, Snapshot)
    got = quality.inspect(answer)
    assert got.grade == "none"
    assert got.usable.size == 0


# Known truth and real data


def test_planted_defects_of_the_simulation_are_found() -> None:
    market = SampleMarket(lambda: NOW)
    for answer in market.fetch([f"SIM{number:03d}" for number in range(1, 41)]):
        assert isinstance(answer, Snapshot)
        assert answer.chain is not None
        got = quality.inspect(answer)
        counts = {reason.code: reason.count for reason in got.reasons}
        truth = market.chain_truth(answer.ticker)
        assert counts.get("quotes_crossed", 0) == truth.crossed.sum()
        assert counts.get("quotes_zero_bid", 0) == (answer.chain.bid == 0.0).sum()
        assert not got.usable[truth.crossed].any()
        assert got.grade in ("A", "B")


def test_faultless_simulated_quotes_are_hardly_ever_refused() -> None:
    market = SampleMarket(lambda: NOW)
    refused = stale = 0
    for answer in market.fetch([f"SIM{number:03d}" for number in range(1, 41)]):
        assert isinstance(answer, Snapshot)
        assert answer.chain is not None
        truth = market.chain_truth(answer.ticker)
        clean = ~truth.crossed & ~truth.stale & (answer.chain.bid > 0.0)
        clean &= answer.chain.ask - answer.chain.bid < 0.25 * answer.chain.ask  # wide ones are refused as such
        refused += int((~quality.inspect(answer).usable & clean).sum())
        stale += int(truth.stale.sum())
    assert refused <= 2 * stale  # a stale quote drags its two neighbours in, and nothing else is refused


@pytest.fixture(scope="module")
def real(data_dir: Path) -> FilesMarket:
    return FilesMarket(data_dir / "market")


@pytest.mark.parametrize("as_of", ["2026-08-13T16:14", "2026-08-17T14:06", "2026-08-20T15:04"])
@pytest.mark.parametrize("ticker", ["SPY", "QQQ"])
def test_live_index_funds_are_grade_a(real: FilesMarket, as_of: str, ticker: str) -> None:
    (answer,) = real.at(dt.datetime.fromisoformat(as_of).replace(tzinfo=dt.UTC)).fetch([ticker])
    assert isinstance(answer, Snapshot)
    assert quality.inspect(answer).grade == "A"


def test_apples_fridays_close_is_grade_a_or_b(real: FilesMarket) -> None:
    (answer,) = real.at(dt.datetime(2025, 9, 28, 12, tzinfo=dt.UTC)).fetch(["AAPL"])
    assert isinstance(answer, Snapshot)
    assert quality.inspect(answer).grade in ("A", "B")


@pytest.mark.parametrize("ticker", ["AAPL", "AMZN"])
def test_quotes_recorded_before_the_opening_are_grade_d(real: FilesMarket, ticker: str) -> None:
    # 2025-02-21: 99 % of bids are zero
    (answer,) = real.at(dt.datetime(2025, 2, 21, 22, tzinfo=dt.UTC)).fetch([ticker])
    assert isinstance(answer, Snapshot)
    got = quality.inspect(answer)
    assert got.grade == "D"
    assert got.usable.sum() <= 1


def test_a_price_for_no_contracts_is_no_price_and_untraded_contracts_are_counted() -> None:
    sizes, interest = np.full(42, 3.0), np.full(42, 10.0)
    sizes[[4, 9]], interest[:5] = 0.0, 0.0
    quotes = msgspec.structs.replace(chain(), bid_size=sizes, open_interest=interest)
    assert found(quotes) == {"quotes_zero_size": 2, "quotes_no_open_interest": 5}
    assert np.flatnonzero(~quality.inspect_chain(quotes, SPOT).usable).tolist() == [4, 9]
    # A source that tells neither says nothing of them.
    silent = msgspec.structs.replace(chain(), bid_size=np.full(42, np.nan), open_interest=np.full(42, np.nan))
    assert found(silent) == {}
