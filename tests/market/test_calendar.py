"""Facts about the New York Stock Exchange's calendar, from its own published holidays and hours."""

import datetime as dt

import msgspec
import numpy as np
import pytest

from bq.market import calendar, holidays

UTC = dt.UTC


def test_the_holidays_that_are_written_down_are_those_of_the_package() -> None:
    assert holidays.found() == msgspec.json.decode(holidays.TARGET.read_bytes(), type=holidays.Holidays)
    told, written = holidays.from_package(holidays.FIRST_YEAR, holidays.LAST_YEAR), holidays.written()
    for name in ("day", "open", "close"):
        assert np.array_equal(getattr(told, name), getattr(written, name)), name


def day(text: str) -> np.datetime64:
    return np.datetime64(text, "D")


def moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "holiday",
    [
        "2025-01-01",
        "2025-01-09",  # national day of mourning for President Carter
        "2025-04-18",  # Good Friday, no federal holiday
        "2025-06-19",
        "2025-07-04",
        "2025-11-27",
        "2021-12-24",  # Christmas Day on a Saturday: observed on Friday
        "2012-10-29",  # hurricane Sandy
        "2001-09-12",
        "2026-07-03",
    ],
)
def test_the_exchange_rests_on_its_holidays(holiday: str) -> None:
    assert not calendar.is_session(day(holiday))


@pytest.mark.parametrize("session", ["2025-10-13", "2025-11-11", "2021-12-31", "2022-06-17", "2026-11-23"])
def test_the_exchange_opens_on_days_that_only_look_like_holidays(session: str) -> None:
    assert calendar.is_session(day(session))


@pytest.mark.parametrize(
    ("session", "close"),
    [
        ("2025-01-10", "2025-01-10T21:00"),  # winter time
        ("2025-07-10", "2025-07-10T20:00"),  # summer time
        ("2025-03-07", "2025-03-07T21:00"),  # the Friday before clocks go forward
        ("2025-03-10", "2025-03-10T20:00"),  # the Monday after
        ("2025-10-31", "2025-10-31T20:00"),
        ("2025-11-03", "2025-11-03T21:00"),
        ("2025-07-03", "2025-07-03T17:00"),  # half day, 13:00
        ("2025-11-28", "2025-11-28T18:00"),  # half day in winter time
        ("2025-12-24", "2025-12-24T18:00"),
    ],
)
def test_sessions_close_at_new_york_time(session: str, close: str) -> None:
    assert calendar.session_close(day(session)) == moment(close)


def test_a_day_without_a_session_has_no_close() -> None:
    with pytest.raises(ValueError, match="2025-07-05 is not a session"):
        calendar.session_close(dt.date(2025, 7, 5))


def test_half_days_are_known() -> None:
    assert calendar.is_half_day(day("2025-07-03"))
    assert not calendar.is_half_day(day("2025-07-02"))


@pytest.mark.parametrize(
    ("now", "last"),
    [
        ("2025-09-26T19:59:59", "2025-09-25"),  # a second before the close the session is not history
        ("2025-09-26T20:00:00", "2025-09-26"),
        ("2025-09-28T12:00:00", "2025-09-26"),  # a Sunday
        ("2025-07-03T17:30:00", "2025-07-03"),  # after the half day's close
        ("2025-01-01T15:00:00", "2024-12-31"),
    ],
)
def test_the_last_closed_session_is_found(now: str, last: str) -> None:
    assert calendar.last_closed_session(moment(now)) == day(last)


@pytest.mark.parametrize(
    ("now", "open_"),
    [
        ("2025-09-26T13:29:59", False),
        ("2025-09-26T13:30:00", True),
        ("2025-09-26T19:59:59", True),
        ("2025-09-26T20:00:00", False),
        ("2025-09-27T15:00:00", False),
        ("2025-11-28T18:30:00", False),  # half day
    ],
)
def test_the_market_is_open_from_half_past_nine_to_four(now: str, open_: bool) -> None:
    assert calendar.is_open(moment(now)) is open_


def test_sessions_between_two_days_skip_weekends_and_holidays() -> None:
    got = calendar.sessions_between(dt.date(2025, 7, 2), dt.date(2025, 7, 8))
    assert got.astype(str).tolist() == ["2025-07-02", "2025-07-03", "2025-07-07", "2025-07-08"]


def test_the_horizon_of_an_expiry_counts_sessions_after_the_last_one() -> None:
    assert calendar.count_sessions(dt.date(2025, 9, 26), dt.date(2025, 10, 3)) == 5
    expiries = np.array(["2025-09-26", "2025-10-03", "2025-09-25"], "datetime64[D]")
    np.testing.assert_array_equal(calendar.count_sessions(day("2025-09-26"), expiries), [0, 5, -1])


def test_year_2025_had_250_sessions() -> None:
    # 261 weekdays, ten holidays, one day of mourning
    assert calendar.sessions_between(dt.date(2025, 1, 1), dt.date(2025, 12, 31)).size == 250


def test_weekly_expiries_move_before_good_friday() -> None:
    got = calendar.fridays(dt.date(2025, 4, 10), dt.date(2025, 4, 26))
    assert got.astype(str).tolist() == ["2025-04-11", "2025-04-17", "2025-04-25"]


def test_monthly_expiries_are_third_fridays() -> None:
    got = calendar.monthly_expiries(dt.date(2025, 3, 22), dt.date(2025, 7, 18))
    assert got.astype(str).tolist() == ["2025-04-17", "2025-05-16", "2025-06-20", "2025-07-18"]


def test_tau_runs_to_four_o_clock_in_new_york_on_the_expiry_date() -> None:
    friday_close = moment("2025-09-26T20:00")
    assert calendar.tau(friday_close, dt.date(2025, 10, 3)) == 7 / 365
    assert calendar.tau(friday_close, dt.date(2025, 9, 26)) == 0.0
    assert calendar.tau(moment("2025-09-26T14:00"), day("2025-09-26")) == 6 / 24 / 365


def test_tau_gains_an_hour_when_clocks_go_back() -> None:
    # 2025-11-02: seven days from Friday's close to the next are 169 hours
    assert calendar.tau(moment("2025-10-31T20:00"), dt.date(2025, 11, 7)) == 169 / 24 / 365


def test_tau_answers_arrays_row_by_row() -> None:
    expiry = np.array([["2025-10-03", "2025-10-10"], ["2025-10-10", "2025-10-03"]], "datetime64[D]")
    got = calendar.tau(moment("2025-09-26T20:00"), expiry)
    np.testing.assert_array_equal(got * 365, [[7.0, 14.0], [14.0, 7.0]])


def test_a_moment_without_a_zone_is_refused() -> None:
    naive = dt.datetime(2025, 9, 26)
    with pytest.raises(ValueError, match="no time zone"):
        calendar.tau(naive, dt.date(2025, 10, 3))
    with pytest.raises(ValueError, match="no time zone"):
        calendar.last_closed_session(naive)


@pytest.mark.parametrize(
    ("earlier", "later", "age"),
    [
        ("2025-09-26T20:00", "2025-09-29T13:30", 0.0),  # a weekend is no trading time
        ("2025-09-26T16:45", "2025-09-26T20:00", 0.5),
        ("2025-09-25T20:00", "2025-09-26T20:00", 1.0),
        ("2025-09-26T16:45", "2025-09-29T16:45", 1.0),
    ],
)
def test_trading_time_is_measured_in_sessions(earlier: str, later: str, age: float) -> None:
    assert calendar.session_age(moment(earlier), moment(later)) == age


def test_the_table_grows_to_days_before_and_after_it() -> None:
    assert calendar.is_session(dt.date(2040, 6, 15))
    assert calendar.is_session(dt.date(1987, 10, 19))
    assert calendar.last_closed_session(moment("2025-09-28T12:00")) == day("2025-09-26")


def test_days_without_a_session_end_at_four_o_clock() -> None:
    days = np.array(["2025-07-03", "2025-07-05"], "datetime64[D]")
    got = calendar.close_seconds(days).astype("datetime64[s]").astype(str).tolist()
    assert got == ["2025-07-03T17:00:00", "2025-07-05T20:00:00"]


def test_the_session_at_a_moment_is_the_last_one_that_has_opened() -> None:
    at = dt.datetime(2025, 9, 29, 13, 29, 59, tzinfo=dt.UTC)  # Monday, one second before the opening
    assert str(calendar.session_at(at)) == "2025-09-26"
    assert str(calendar.session_at(at + dt.timedelta(seconds=1))) == "2025-09-29"
    assert str(calendar.session_at(at + dt.timedelta(hours=20))) == "2025-09-29"
