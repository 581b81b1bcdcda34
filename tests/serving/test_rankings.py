"""Rankings and histories over HTTP: today's call, filters, what a failing database does and does not do."""

import datetime as dt

import msgspec
import pytest

from bq.analysis import engine
from bq.errors import Failure, Problem
from bq.market.sample import SampleMarket
from bq.scan.database import FILE
from bq.scan.store import Store
from bq.scan.views import Rankings
from bq.serving import archive
from bq.serving.openapi import Error
from bq.serving.ranking_handlers import Ivs, PastAnswers, PastNumbers, Surface
from tests.scan.make import store_scan
from tests.serving.fakes import running

MOMENT = dt.datetime(2026, 6, 30, 21, 0, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def analyses():
    market = SampleMarket(lambda: MOMENT, as_of=MOMENT)
    return engine.analyze(market.fetch(("AAPL", "MSFT", "SIM001", "SIM002")))


@pytest.fixture
async def server(tmp_path, analyses):
    store = Store.open(f"sqlite:///{tmp_path / FILE}")
    store_scan(store, "one", analyses, tags={"AAPL": ("NASDAQ", "SP500")}, market="fake")
    store.close()
    async with running(tmp_path) as server:
        yield server


@pytest.fixture
async def empty(tmp_path):
    async with running(tmp_path) as server:
        yield server


async def read(server, path: str, kind):
    async with server.client.get(server.url(path)) as response:
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        return response.status, msgspec.json.decode(await response.read(), type=kind)


async def test_the_call_of_todays_front_end_is_answered(server, analyses) -> None:
    status, found = await server.get("/api/rankings?limit=1000")
    assert (status, found["success"], found["as_of"]) == (200, True, "2026-06-30T20:00:00Z")
    assert [one["score"] for one in found["data"]] == sorted((a.score.total for a in analyses), reverse=True)
    todays = {
        "rank", "ticker", "score", "strategy", "recommendation", "confidence", "analysis_date", "date", "tags",
        "expiry", "lower", "center", "upper", "is_credit_strategy",
    }  # fmt: skip
    for one in found["data"]:
        assert todays <= set(one)
        assert None not in (one[name] for name in todays)


async def test_before_the_first_scan_there_is_none(empty) -> None:
    for path in ("/api/rankings?limit=1000", "/api/rankings/top20", "/api/history/AAPL", "/api/history/AAPL/iv"):
        status, found = await read(empty, path, Error)
        assert (status, found.code) == (404, "not_found")


async def test_answers_have_the_described_types(server) -> None:
    for path, kind in (
        ("/api/rankings", Rankings),
        ("/api/rankings/top20?tag=NASDAQ&sort=-score", Rankings),
        ("/api/history/aapl", PastNumbers),
        ("/api/history/AAPL?detail=full&limit=1", PastAnswers),
    ):
        status, found = await read(server, path, kind)
        assert (status, found.success, len(found.data) > 0) == (200, True, True)
    status, found = await read(server, "/api/history/AAPL/surface", Error)  # the surface is of the sample market
    assert status == 404


async def test_the_surface_is_served(tmp_path, analyses) -> None:
    store = Store.open(f"sqlite:///{tmp_path / FILE}")
    store_scan(store, "one", analyses)
    store.close()
    async with running(tmp_path) as server:
        server.market.name = "sample"
        status, surface = await read(server, "/api/history/AAPL/surface?limit=2", Surface)
        assert (status, surface.count, surface.data[0].day) == (200, 2, "2026-06-30")
        status, ivs = await read(server, "/api/history/AAPL/iv?years=2", Ivs)
        assert (status, ivs.count, ivs.level.days) == (200, 1, 1)
        assert ivs.level.iv_percentile is None


async def test_the_same_ranking_need_not_be_sent_twice(server) -> None:
    async with server.client.get(server.url("/api/rankings")) as first:
        tag = first.headers["ETag"]
    async with server.client.get(server.url("/api/rankings"), headers={"If-None-Match": tag}) as second:
        assert (second.status, await second.read()) == (304, b"")
    async with server.client.get(server.url("/api/rankings?limit=1"), headers={"If-None-Match": tag}) as other:
        assert other.status == 200


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=x", "sort=beauty", "min_score=200", "strategy=STRADDLE", "page=2", "per_cluster=0", "offset=-1"],
)
async def test_a_wrong_query_is_refused_by_name(server, query: str) -> None:
    status, found = await server.get(f"/api/rankings?{query}")
    assert (status, found["code"]) == (400, "bad_request")
    assert query.partition("=")[0] in found["error"]
    assert ("One of these will do: " in found["error"]) == query.startswith(("sort", "strategy"))
    assert (await server.get("/api/rankings/top20?limit=3"))[0] == 400
    assert (await server.get("/api/history/not%20one"))[0] == 400


async def test_a_database_that_is_away_is_told_of_and_analyses_go_on(tmp_path) -> None:
    async with running(tmp_path, database_url="postgresql://nobody@127.0.0.1:1/none") as server:
        for _ in range(3):
            status, found = await server.get("/api/rankings")
            assert (status, found["code"]) == (503, "storage_failed")
            assert "analyses go on" in found["error"]
        assert server.service.archive.failures == 1  # the second did not wait for another time-out
        assert (await server.post({"ticker": "A"}))[0] == 200
        assert (await server.get("/readyz"))[0] == 200


async def test_a_wrong_database_url_is_told_at_the_start(tmp_path) -> None:
    left = []
    async with running(tmp_path, database_url="mysql://x/y", options={"leave": left.append}) as server:
        await server.service.boot_task
        assert left
        assert isinstance(server.service.boot_failure, Failure)
        assert "sqlite and postgresql are known" in server.service.boot_failure.problem.error


async def test_a_database_that_hangs_holds_up_no_more_than_its_readers(server, monkeypatch) -> None:
    import threading

    monkeypatch.setattr(archive, "PATIENCE_S", 0.05)
    gate = threading.Event()
    try:
        with pytest.raises(Failure, match="does not answer"):
            await server.service.archive.read(lambda connection: gate.wait(30))
        assert server.service.archive.waiting == 1  # the thread is still at it
        with pytest.raises(Failure) as refused:  # and the database is left alone for a while
            await server.service.archive.read(lambda connection: 1)
        assert refused.value.problem.retry_after == archive.PAUSE_S
    finally:
        gate.set()


async def test_reads_beyond_the_queue_are_refused(server, monkeypatch) -> None:
    import asyncio
    import threading

    monkeypatch.setattr(archive, "QUEUE", 2)
    gate, started = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(connection) -> int:
        loop.call_soon_threadsafe(started.set)
        gate.wait(30)
        return 7

    held = [asyncio.create_task(server.service.archive.read(hold)) for _ in range(2)]
    await started.wait()
    try:
        status, found = await server.get("/api/rankings")
        assert (status, found["code"]) == (503, "too_busy")
    finally:
        gate.set()
    assert await asyncio.gather(*held) == [7, 7]
    assert (await server.get("/api/rankings"))[0] == 200


async def test_what_the_work_raises_is_not_the_databases_fault(server) -> None:
    def missing(connection):
        raise Failure(Problem("not_found", "none"))

    with pytest.raises(Failure, match="none"):
        await server.service.archive.read(missing)
    assert server.service.archive.failures == 0


async def test_exports_are_streamed_in_pages(server, analyses, monkeypatch) -> None:
    import csv
    import io

    from bq.scan import export

    monkeypatch.setattr(export, "PAGE", 3)
    async with server.client.get(server.url("/api/export/rows?ticker=")) as response:
        assert (response.status, response.content_type) == (200, "text/csv")
        assert 'filename="rows.csv"' in response.headers["Content-Disposition"]
        rows = list(csv.DictReader(io.StringIO(await response.text())))
    assert [one["ticker"] for one in rows] == sorted(one.ticker for one in analyses)
    async with server.client.get(server.url("/api/export/rankings?format=parquet")) as response:
        body = await response.read()
        assert (response.status, body[:4], body[-4:]) == (200, b"PAR1", b"PAR1")
    for wrong in (
        "/api/export/secrets",
        "/api/export/rows?format=xml",
        "/api/export/iv?scan=one",
        "/api/export/rows?since=May",
    ):
        assert (await server.get(wrong))[0] == 400
    assert (await server.get("/api/export/rankings?scan=never"))[0] == 404


async def test_a_ranking_is_made_once_and_again_when_there_is_a_new_scan(
    server, tmp_path, analyses, monkeypatch
) -> None:
    from bq.scan import rankings

    made = []
    real = rankings.read
    monkeypatch.setattr(rankings, "read", lambda *arguments: made.append(1) or real(*arguments))
    first = await server.get("/api/rankings?limit=2")
    assert await server.get("/api/rankings?limit=2") == first
    assert len(made) == 1
    await server.get("/api/rankings?limit=3")
    assert len(made) == 2
    store = Store.open(f"sqlite:///{tmp_path / FILE}")
    later = dt.datetime(2026, 7, 1, 21, tzinfo=dt.UTC)
    newer = [msgspec.structs.replace(one, analysis_date="2026-07-01 20:00:00") for one in analyses]
    store_scan(store, "two", newer, market="fake", started_at=later)
    store.close()
    second = await server.get("/api/rankings?limit=2")
    assert len(made) == 3
    assert (second[1]["scan"]["scan_id"], second[1]["previous"]["scan_id"]) == ("two", "one")
    assert second[1]["data"][0]["change"]["score"] == 0.0
