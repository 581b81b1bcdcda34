"""Pruning forgets what is old, in the order of its weight, and never a ranking or a scan that runs."""

import datetime as dt

from sqlalchemy import func, select

from bq.scan import history
from bq.scan.prune import prune
from bq.scan.records import Keep
from bq.scan.store import Store
from bq.scan.tables import answers, iv_levels, results, scans, surfaces
from tests.scan.conftest import spec
from tests.scan.make import analysis, store_scan

CLOSE = dt.datetime(2026, 6, 30, 20, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


def counts(store: Store) -> tuple[int, ...]:
    with store.database.read() as connection:
        return tuple(
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (scans, results, answers, iv_levels)
        )


def fill(store: Store, template) -> None:
    for back in (1000, 100, 10, 0):
        at = CLOSE - back * DAY
        store_scan(store, f"scan{back}", [analysis(template, name, at=at) for name in "AB"], started_at=at)


def test_answers_go_first_then_rows_then_the_surface(store: Store, analyses) -> None:
    fill(store, analyses["SIM001"])
    assert counts(store) == (4, 8, 8, 8)
    planned = prune(store.database, CLOSE + DAY, Keep(60, 730, 3650), dry_run=True)
    assert counts(store) == (4, 8, 8, 8)
    done = prune(store.database, CLOSE + DAY, Keep(60, 730, 3650))
    assert done == planned
    assert (done.answers, done.scans, done.rows, done.surface_rows) == (4, 1, 2, 0)
    assert done.answer_bytes > 4000
    assert counts(store) == (3, 6, 4, 8)
    with store.database.read() as connection:
        assert len(history.past_rows(connection, "A", "sample", 10)) == 3
        assert len(history.past_answers(connection, "A", "sample", 10, "full")) == 2
    again = prune(store.database, CLOSE + DAY, Keep(60, 730, 3650))
    assert again[0] == again[2] == 0


def test_the_surface_is_forgotten_last(store: Store, analyses) -> None:
    fill(store, analyses["SIM001"])
    found = prune(store.database, CLOSE + DAY, Keep(60, 730, 50))
    with store.database.read() as connection:
        days = set(connection.execute(select(surfaces.c.day)).scalars())
        levels = set(connection.execute(select(iv_levels.c.day)).scalars())
    assert found.surface_rows > 0
    assert min(days) == min(levels) > (CLOSE - 50 * DAY).date()


def test_a_ranking_and_a_running_scan_stay_whatever_their_age(store: Store, analyses) -> None:
    template = analyses["SIM001"]
    old = CLOSE - 5000 * DAY
    store_scan(store, "only", [analysis(template, "A", at=old)], universe="mine", started_at=old)
    store.begin(spec("running", started_at=old))
    prune(store.database, CLOSE, Keep(0, 0, 0))
    assert counts(store)[:3] == (2, 1, 1)


def test_numbers_of_nothing_are_nothing(store: Store) -> None:
    assert tuple(prune(store.database, CLOSE, Keep())) == (0, 0, 0, 0, 0)
