"""When scans are due, by the exchange's clock."""

import datetime as dt

import pytest

from bq.errors import Failure
from bq.scan.schedule import Schedule, parse

AT = Schedule(dt.time(16, 30))
AFTER_CLOSE = Schedule(after_close=dt.timedelta(minutes=30))


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("schedule", "after", "due"),
    [
        (AT, "2025-07-02T12:00", "2025-07-02T20:30"),  # a Wednesday
        (AT, "2025-07-02T20:30", "2025-07-03T20:30"),  # later than, not at
        (AT, "2025-07-03T20:31", "2025-07-07T20:30"),  # Independence Day and a weekend in between
        (AFTER_CLOSE, "2025-07-02T21:00", "2025-07-03T17:30"),  # the third is a half day: 13:00 New York
        (AT, "2025-07-03T00:00", "2025-07-03T20:30"),
        (AT, "2025-11-27T12:00", "2025-11-28T21:30"),  # Thanksgiving; New York is five hours behind in winter
        (AFTER_CLOSE, "2025-11-27T12:00", "2025-11-28T18:30"),  # and the day after a half one
        (AT, "2025-03-07T22:00", "2025-03-10T20:30"),  # the clock went forward on Sunday
        (AT, "2025-12-31T23:00", "2026-01-02T21:30"),
        (Schedule(dt.time(8, 0)), "2025-07-02T01:00", "2025-07-02T12:00"),  # the second in UTC, the first in New York
    ],
)
def test_the_next_due_moment(schedule: Schedule, after: str, due: str) -> None:
    assert schedule.next_due(utc(after)) == utc(due)


@pytest.mark.parametrize(
    ("now", "last", "missed"),
    [
        ("2025-07-02T20:29", None, None),  # the day before is past making up
        ("2025-07-02T20:30", None, "2025-07-02T20:30"),
        ("2025-07-02T23:00", "2025-07-02T20:30", None),  # it was begun
        ("2025-07-02T23:00", "2025-07-01T20:30", "2025-07-02T20:30"),  # the last one is yesterday's
        ("2025-07-03T13:29", None, "2025-07-02T20:30"),  # made up for until the exchange opens
        ("2025-07-03T13:30", None, None),
        ("2025-07-06T12:00", None, "2025-07-03T20:30"),  # a Sunday after a holiday
    ],
)
def test_what_was_missed_is_made_up_for_until_the_next_session_opens(
    now: str, last: str | None, missed: str | None
) -> None:
    expected = None if missed is None else utc(missed)
    assert AT.missed(utc(now), None if last is None else utc(last)) == expected


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("16:30", AT),
        (" 9:05 ", Schedule(dt.time(9, 5))),
        ("close+30", AFTER_CLOSE),
        ("Close + 30 min", AFTER_CLOSE),
        ("", None),
    ],
)
def test_the_setting_is_read(text: str, schedule: Schedule | None) -> None:
    assert parse(text) == schedule


@pytest.mark.parametrize("text", ["4pm", "25:00", "16:60", "16.30", "close-5", "daily"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(Failure, match="bad_request") as caught:
        parse(text)
    assert "16:30" in caught.value.problem.error
