"""Scans over HTTP: begun, followed, cancelled, gone on with; one at a time, and nobody else notices."""

import asyncio
import datetime as dt
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bq import schema
from bq.analysis import engine as real_engine
from bq.errors import Failure, Problem
from bq.market.sample import SampleMarket
from bq.market.source import Listing
from bq.scan import overview
from bq.scan.database import url_of
from bq.scan.records import ScanSpec, ScanTicker
from bq.scan.store import Store
from bq.schema import Analysis
from bq.serving import scan_watch, scans
from tests.scan import postgres as postgresql
from tests.serving.clock import FakeClock
from tests.serving.fakes import FakeEngine, FakeMarket, Server, running
from tests.serving.fakes import until as until_within

MOMENT = dt.datetime(2026, 6, 30, 21, 0, tzinfo=dt.UTC)
NAMES = [f"T{i}" for i in range(150)]
PATIENCE_S = 60.0  # each block is written to the disk: slow on a busy machine


async def until(condition: Callable[[], bool]) -> None:
    await until_within(condition, PATIENCE_S)


class Engine(FakeEngine):
    """Answers with a real analysis under each ticker's name."""

    def __init__(self, analysis: Analysis) -> None:
        super().__init__()
        self.analysis = analysis

    def encode(self, analysis: Any, detail: str) -> bytes:
        return schema.encode(msgspec.structs.replace(self.analysis, ticker=analysis["ticker"]), detail)  # type: ignore[arg-type]


class Market(FakeMarket):
    def universe(self) -> list[Listing] | None:
        return [Listing(name, name, ("SP500",) if name < "T5" else ()) for name in NAMES]


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    (found,) = real_engine.analyze(SampleMarket(lambda: MOMENT).fetch(["AAPL"]))
    assert isinstance(found, Analysis)
    return found


@pytest.fixture
def engine(analysis: Analysis) -> Engine:
    return Engine(analysis)


@pytest.fixture
async def server(tmp_path: Path, engine: Engine):
    async with running(tmp_path, engine=engine, market=Market()) as server:
        yield server


async def begun(server: Server, body: Any = None) -> dict[str, Any]:
    status, told = await server.post({} if body is None else body, "/api/scan")
    assert status == 200, told
    return told


async def ended(server: Server) -> dict[str, Any]:
    await until(lambda: server.service.scans.current is None)
    _, status = await server.get("/api/scan/status")
    return status


def rows(server: Server) -> set[str]:
    store = Store.open(url_of(server.service.settings))
    latest = store.latest()
    assert latest is not None
    try:
        return store.done(latest.scan_id)
    finally:
        store.close()


async def test_a_scan_stores_every_ticker_of_its_universe(server: Server) -> None:
    assert (await server.get("/api/scan/status"))[1]["state"] == "idle"
    async with server.client.post(server.url("/api/scan")) as response:  # as today's clients ask: nothing in the body
        told = msgspec.json.decode(await response.read())
        assert (response.status, response.headers["Location"]) == (200, f"/api/task/{told['task_id']}")
    status = await ended(server)

    assert (told["universe"], told["total"]) == ("all", 150)
    assert (status["is_scanning"], status["state"], status["progress"]) == (False, "completed", 100)
    assert (status["done"], status["total"], status["failed"]) == (150, 150, 0)
    assert status["last_scan"] == status["finished_at"]
    assert rows(server) == set(NAMES)


async def test_its_answers_do_not_push_others_out_of_the_cache(server: Server) -> None:
    await server.post({"ticker": "T1"})
    await begun(server)
    await ended(server)

    assert server.service.cache.counts().entries == 1


async def test_tickers_that_fail_are_counted_by_their_reason(server: Server) -> None:
    told = await begun(server, {"universe": ["T1", "what?", "NO1", "BAD1", "t1"]})
    status = await ended(server)

    assert [one["position"] for one in told["left_out"]] == [2, 5]
    assert (told["universe"], told["total"], status["failed"]) == ("list", 3, 2)
    assert status["failures"] == {"unknown_ticker": 1, "compute_failed": 1}


async def test_one_scan_at_a_time_and_it_can_be_cancelled(server: Server, engine: Engine) -> None:
    engine.gate = threading.Event()
    assert (await server.post({}, "/api/scan/cancel"))[0] == 409
    told = await begun(server)
    status, refused = await server.post({}, "/api/scan")
    assert (status, refused["code"]) == (409, "conflict")
    await until(lambda: engine.calls > 0)

    assert (await server.post({}, "/api/scan/cancel"))[1]["task_id"] == told["task_id"]
    engine.gate.set()
    status = await ended(server)
    assert (status["state"], status["last_scan"]) == ("cancelled", None)
    assert len(engine.analyzed) < told["total"]  # the rest was dropped before its turn
    _, task = await server.get(f"/api/task/{told['task_id']}")
    assert (task["status"], task["result"]["state"]) == ("completed", "cancelled")
    await begun(server)  # and the next may begin


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"universe": "dow"}, 400),
        ({"universe": []}, 400),
        ({"universe": 5}, 400),
        ({"tickers": ["AAPL"]}, 400),  # a wrong key must not scan everything
        ({"universe": [f"X{i}" for i in range(6000)]}, 413),
    ],
)
async def test_what_cannot_be_scanned_is_refused(server: Server, body: Any, status: int) -> None:
    answered, told = await server.post(body, "/api/scan")

    assert (answered, told["success"]) == (status, False)
    assert server.service.scans.current is None


async def test_the_same_idempotency_key_is_the_same_scan(server: Server) -> None:
    key = {"Idempotency-Key": "monday"}
    first = (await server.post({}, "/api/scan", **key))[1]["task_id"]
    assert (await server.post({}, "/api/scan", **key))[1]["task_id"] == first
    await ended(server)

    assert (await server.post({}, "/api/scan", **key))[1]["task_id"] == first
    assert (await server.post({"universe": "sp500"}, "/api/scan", **key))[0] == 409
    other = {"Idempotency-Key": "tuesday"}
    await server.post({"universe": ["T1", "T2"]}, "/api/scan", **other)
    await ended(server)
    assert (await server.post({"universe": ["T2", "T1"]}, "/api/scan", **other))[0] == 200
    assert (await server.post({"universe": ["T1", "T3"]}, "/api/scan", **other))[0] == 409  # as many, but others
    assert server.service.scans.current is None


async def events(server: Server, count: int, **headers: str) -> list[tuple[str, dict[str, Any]]]:
    seen: list[tuple[str, dict[str, Any]]] = []
    async with (
        asyncio.timeout(PATIENCE_S),
        server.client.get(server.url("/api/scan/events"), headers=headers) as response,
    ):
        assert response.content_type == "text/event-stream"
        name = ""
        async for line in response.content:
            kind, _, value = line.decode().rstrip("\n").partition(": ")
            if kind == "id":
                name = value
            elif kind == "data":
                seen.append((name, msgspec.json.decode(value)))
                if len(seen) == count:
                    return seen
    return seen


async def test_events_follow_a_scan_to_its_end_and_wait_for_the_next(server: Server) -> None:
    following = asyncio.create_task(events(server, 100))
    await asyncio.sleep(0.05)
    first = await begun(server)
    await ended(server)
    second = await begun(server)
    await ended(server)
    server.stop.set()  # a stream ends with the server
    seen = [status for _, status in await following]

    assert (seen[0]["state"], seen[-1]["state"], seen[-1]["done"]) == ("idle", "completed", 150)
    for told in (first, second):
        done = [status["done"] for status in seen if status["task_id"] == told["task_id"]]
        assert done == sorted(done)
        assert (len(set(done)) > 2, done[-1]) == (True, 150)


async def test_a_client_that_comes_back_is_told_only_what_is_new(server: Server) -> None:
    await begun(server, {"universe": ["T1"]})
    await ended(server)
    ((name, status),) = await events(server, 1)
    again = asyncio.create_task(events(server, 1, **{"Last-Event-ID": name}))
    await asyncio.sleep(0.1)
    assert not again.done()
    await begun(server, {"universe": ["T2"]})

    ((_, newer),) = await again
    assert newer["task_id"] != status["task_id"]


async def test_a_scan_is_a_task_like_others(server: Server, engine: Engine) -> None:
    engine.gate = threading.Event()
    location = f"/api/task/{(await begun(server))['task_id']}"
    assert (await server.get(location))[1] == {"status": "processing", "done": 0, "total": 150}
    engine.gate.set()
    async with asyncio.timeout(PATIENCE_S), server.client.get(server.url(location + "/events")) as response:
        last = [line for line in (await response.text()).splitlines() if line.startswith("data: ")][-1]

    result = msgspec.json.decode(last.removeprefix("data: "))["result"]
    assert (result["state"], result["done"], result["failed"]) == ("completed", 150, 0)
    assert (await server.get("/api/task/nosuch"))[0] == 404


async def test_interactive_requests_go_before_a_scan(server: Server, engine: Engine) -> None:
    engine.delay_s = 0.02
    await begun(server)
    await until(lambda: len(engine.analyzed) > 5)
    before = len(engine.analyzed)
    status, told = await server.post({"ticker": "T149"})

    assert (status, told["data"]["ticker"]) == (200, "T149")
    assert "T149" in engine.analyzed[before : before + 80]
    assert len(engine.analyzed) < 150  # the scan went on behind it
    await ended(server)


# --- restarts ---------------------------------------------------------------------------------------------------------


async def test_a_scan_goes_on_after_a_restart_and_does_nothing_twice(tmp_path: Path, engine: Engine) -> None:
    engine.delay_s = 0.02
    async with running(tmp_path, engine=engine, market=Market()) as server:
        told = await begun(server)
        await until(lambda: server.service.scans.current.done >= 32)
        assert (await server.get("/readyz"))[0] == 200
    done_before = rows(server)
    assert 32 <= len(done_before) < 150
    engine.analyzed.clear()
    engine.delay_s = 0.0
    async with running(tmp_path, engine=engine, market=Market()) as server:
        await until(lambda: server.service.scans.status().state == "completed")
        status = await ended(server)
        assert (status["task_id"], status["done"]) == (told["task_id"], 150)

    assert sorted(engine.analyzed) == sorted(set(NAMES) - done_before)


def left_over(tmp_path: Path, **changes: Any) -> Store:
    """Leave a scan in the store that was begun and not ended."""
    store = Store.open(f"sqlite:///{tmp_path / 'scans.db'}")
    fields = {
        "scan_id": "left", "universe": "list", "tickers": (ScanTicker("T1"), ScanTicker("T2")), "as_of": "",
        "started_at": dt.datetime.now(dt.UTC), "market": "fake",
    }  # fmt: skip
    store.begin(ScanSpec(**{**fields, **changes}))
    return store


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "completed"),
        ({"market": "sample"}, "running"),  # another server's
        ({"as_of": "2026-06-30"}, "running"),
        ({"started_at": dt.datetime(2026, 6, 29, 15, tzinfo=dt.UTC)}, "failed"),  # of another day's prices
    ],
)
async def test_only_what_can_still_be_one_scan_is_gone_on_with(
    tmp_path: Path, engine: Engine, changes: dict[str, Any], status: str
) -> None:
    store = left_over(tmp_path, **changes)
    async with running(tmp_path, engine=engine, market=Market()) as server:
        await until(lambda: server.service.scans._looked_back)
        if status == "completed":
            await until(lambda: server.service.scans.status().state == "completed")
    found = overview.find(store, "left")
    assert found is not None
    assert found.status == status
    store.close()


async def test_a_scan_of_another_process_is_left_alone(tmp_path: Path, engine: Engine) -> None:
    store = left_over(tmp_path)
    claim = scans.Claim.take(store.database)
    assert claim is not None
    assert scans.Claim.take(store.database) is None
    async with running(tmp_path, engine=engine, market=Market()) as server:
        status, told = await server.post({}, "/api/scan")
        assert (status, told["code"]) == (409, "conflict")
        assert server.service.scans.current is None
        claim.release()
        server.service.scans.bell.ring()  # what was left is gone on with once the other process has ended
        await until(lambda: server.service.scans.status().state == "completed" and server.service.scans.current is None)
        assert server.service.scans.status().task_id == "left"
        assert (await server.post({}, "/api/scan"))[0] == 200
    store.close()


# --- a database that fails --------------------------------------------------------------------------------------------


async def test_without_a_database_nothing_is_begun_and_everything_else_works(tmp_path: Path, engine: Engine) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    url = f"sqlite:///{blocked / 'scans.db'}"
    async with running(tmp_path / "state", engine=engine, market=Market(), database_url=url) as server:
        status, told = await server.post({}, "/api/scan")
        assert (status, told["code"]) == (503, "storage_failed")
        assert (await server.post({"ticker": "T1"}))[0] == 200
        assert (await server.get("/api/scan/status"))[1]["is_scanning"] is False
        assert (await server.get("/readyz"))[0] == 200


async def test_a_database_that_goes_away_in_the_middle_is_waited_for(
    server: Server, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, away = Store.record, threading.Event()

    def failing(self: Store, *arguments: Any) -> None:
        if away.is_set():
            raise Failure(Problem("storage_failed", "away", 5.0))
        record(self, *arguments)

    monkeypatch.setattr(Store, "record", failing)
    engine.delay_s = 0.02
    await begun(server)
    await until(lambda: server.service.scans.current.done > 0)
    away.set()
    await until(lambda: server.service.scans.status().state == "waiting_for_database")
    for name in ("T1", "NEW1", "NEW2"):
        assert (await server.post({"ticker": name}))[0] == 200
    assert len(engine.analyzed) <= 150 + 3
    away.clear()
    status = await ended(server)

    assert (status["state"], status["done"], status["failed"]) == ("completed", 150, 0)
    assert rows(server) == set(NAMES)


# --- the schedule -----------------------------------------------------------------------------------------------------


async def test_the_schedule_begins_a_scan_once_a_session(tmp_path: Path, engine: Engine) -> None:
    wall = FakeClock(dt.datetime(2026, 7, 2, 20, 0, tzinfo=dt.UTC).timestamp())  # 16:00 in New York
    options = {"wall": wall}
    async with running(
        tmp_path, engine=engine, market=Market(), options=options, scan_at="16:30", scan_universe="sp500"
    ) as server:
        mine = server.service.scans
        await until(lambda: mine.status().next_scan is not None)
        assert mine.status().next_scan == "2026-07-02T20:30:00Z"
        assert mine.current is None

        wall.tick(1800.0)
        mine.bell.ring()
        await until(lambda: mine.status().state == "completed")
        first = mine.status().task_id
        mine.bell.ring()
        await until(lambda: mine.status().next_scan != "2026-07-02T20:30:00Z")
        # The third is the holiday of a fourth that is a Saturday.
        assert mine.status().next_scan == "2026-07-06T20:30:00Z"
        assert (mine.status().task_id, mine.status().total) == (first, sum(name < "T5" for name in NAMES))


async def test_a_scan_that_was_due_while_no_server_ran_is_made_up_for(tmp_path: Path, engine: Engine) -> None:
    wall = FakeClock(dt.datetime(2026, 7, 3, 1, 0, tzinfo=dt.UTC).timestamp())
    async with running(
        tmp_path, engine=engine, market=Market(), options={"wall": wall}, scan_at="close+30", scan_universe="T1,T2"
    ) as server:
        await until(lambda: server.service.scans.status().state == "completed")
        assert server.service.scans.status().total == 2


async def test_a_schedule_that_cannot_be_read_ends_the_start(tmp_path: Path, engine: Engine) -> None:
    left: list[int] = []
    async with running(tmp_path, engine=engine, options={"leave": left.append}, scan_at="four") as server:
        assert server.service.boot_failure.problem.code == "bad_request"
    assert left == [70]


@pytest.fixture
def postgres():
    try:
        server = postgresql.Server()
    except postgresql.NoServer as reason:
        pytest.skip(str(reason))
    server.start()
    yield server
    server.remove()


async def test_a_database_server_that_dies_in_the_middle_costs_the_scan_time_and_nobody_else_anything(
    tmp_path: Path, engine: Engine, postgres: postgresql.Server
) -> None:
    url = await asyncio.to_thread(postgres.create, "dies")
    engine.delay_s = 0.02
    async with running(tmp_path, engine=engine, market=Market(), database_url=url) as server:
        told = await begun(server)
        await until(lambda: server.service.scans.current.done > 0)
        await asyncio.to_thread(postgres.kill)
        acknowledged = server.service.scans.current.done
        await until(lambda: server.service.scans.status().state == "waiting_for_database")
        for number in range(20):
            assert (await server.post({"ticker": f"NEW{number}"}))[0] == 200
        assert (await server.get("/readyz"))[0] == 200
        assert len(engine.analyzed) <= 150 + 20
        await asyncio.to_thread(postgres.start)
        status = await ended(server)

        assert (status["state"], status["done"], status["failed"]) == ("completed", 150, 0)
        assert 0 < acknowledged <= 150
        assert len(engine.analyzed) == 150 + 20  # nothing was done twice
        assert (await server.get(f"/api/task/{told['task_id']}"))[1]["result"]["done"] == 150


# --- whoever leaves, and what crosses ---------------------------------------------------------------------------------


async def test_a_caller_that_leaves_while_its_scan_is_stored_leaves_no_orphan(server: Server) -> None:
    """Cancelled between the insert and the start, a scan was stored and not run before the next restart."""
    gate, scans = threading.Event(), server.service.scans
    await scans._look_back(scans.ledger.call)
    store = await scans.ledger.call(lambda store: store)
    begin, entered = store.begin, threading.Event()
    store.begin = lambda spec: (entered.set(), gate.wait(), begin(spec))[-1]  # type: ignore[method-assign]
    beginning = asyncio.create_task(scans.begin(await scans.universe(["T1", "T2"]), "monday"))
    await until(entered.is_set)
    beginning.cancel()
    await asyncio.wait((beginning,))
    gate.set()

    await until(lambda: scans.status().state == "completed")
    told = await begun(server, {"universe": ["T1", "T2"]})
    await ended(server)
    assert (await server.get(f"/api/task/{told['task_id']}"))[1]["status"] == "completed"


async def test_a_caller_that_leaves_while_the_claim_is_taken_does_not_keep_all_other_scans_from_beginning(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim that was taken for it was nobody's, and ended with the process."""
    gate, entered, take = threading.Event(), threading.Event(), scans.Claim.take

    def slow(database: Any) -> Any:
        entered.set()
        gate.wait()
        return take(database)

    monkeypatch.setattr(scans.Claim, "take", slow)
    running_scans = server.service.scans
    beginning = asyncio.create_task(running_scans.begin(await running_scans.universe(["T1"])))
    await until(entered.is_set)
    beginning.cancel()
    await asyncio.wait((beginning,))
    gate.set()
    monkeypatch.setattr(scans.Claim, "take", take)

    await until(lambda: running_scans.status().state == "completed")
    await begun(server, {"universe": ["T2"]})
    assert (await ended(server))["state"] == "completed"


async def test_what_was_left_is_taken_up_once_though_a_request_looks_back_at_the_same_time(
    tmp_path: Path, server: Server
) -> None:
    found = server.service.scans
    await until(lambda: found._looked_back)
    assert found._life is not None
    found._life.cancel()
    left_over(tmp_path).close()
    found._looked_back = False
    both = asyncio.Barrier(2)

    async def together(work: Callable[[Store], Any]) -> Any:
        told = await found.ledger.call(work)
        await both.wait()
        return told

    await asyncio.gather(found._look_back(together), found._look_back(together))
    assert [spec.scan_id for spec in found._left] == ["left"]


async def test_a_look_back_that_fails_is_tried_again(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended the life of scans without a word: nothing was gone on with, and no schedule kept."""
    monkeypatch.setattr(scans, "LOOK_S", 0.01)
    left_over(tmp_path).close()
    unfinished, failed = Store.unfinished, []

    def once(store: Store) -> Any:
        if not failed:
            failed.append(1)
            raise ValueError("a row that cannot be read")
        return unfinished(store)

    monkeypatch.setattr(Store, "unfinished", once)
    async with running(tmp_path, engine=engine, market=Market()) as server:
        await until(lambda: server.service.scans.status().state == "completed")
    assert failed


async def test_the_events_of_a_scan_that_runs_elsewhere_end_with_it(tmp_path: Path, server: Server) -> None:
    """They told for ever what the store knew when the client came."""
    store = left_over(tmp_path, market="sample")  # another server's
    server.service.scans.bell.ring()
    got: list[str] = []

    async def follow() -> None:
        async with server.client.get(server.url("/api/task/left/events")) as response:
            async for line in response.content:
                got.append(line.decode())  # noqa: PERF401 - read while it grows

    following = asyncio.create_task(follow())
    await until(lambda: any('"processing"' in line for line in got))
    store.finish("left", "cancelled", dt.datetime.now(dt.UTC))
    store.close()
    server.service.scans.bell.ring()
    async with asyncio.timeout(PATIENCE_S):
        await following
    last = [line for line in got if line.startswith("data: ")][-1]
    assert msgspec.json.decode(last.removeprefix("data: "))["result"]["state"] == "cancelled"


async def test_a_scan_that_is_interrupted_by_the_end_of_the_server_is_not_told_to_have_ended(
    server: Server, engine: Engine
) -> None:
    engine.gate = threading.Event()
    told = await begun(server)
    watched = await scan_watch.watch(server.service.scans, told["task_id"])
    assert watched is not None
    server.service.scans.stop_asking()
    await until(lambda: server.service.scans.current is None)

    assert not watched.finished()
    await watched.changed(0.0)
    assert (watched.finished(), watched.total) == (False, 150)
