"""Tasks: accepted means stored, what is stored is finished, and it is what a synchronous request would have said."""

import asyncio
import sqlite3
import threading

import msgspec
import pytest

from bq.errors import Failure
from bq.serving.task_store import StoredItem, StoredTask, TaskStore
from tests.serving.fakes import FakeEngine, FakeMarket, running, until

ASYNC = {"Prefer": "respond-async"}


@pytest.fixture
async def server(tmp_path):
    async with running(tmp_path) as server:
        yield server


async def finished(server, location):
    async with asyncio.timeout(10):
        while True:
            status, body = await server.get(location)
            assert status == 200
            if body["status"] == "completed":
                return body["result"]
            await asyncio.sleep(0.01)


async def submit(server, body, **headers):
    async with server.client.post(server.url("/api/analyze"), json=body, headers={**ASYNC, **headers}) as response:
        told = msgspec.json.decode(await response.read())
        assert (response.status, told["success"], told["status"]) == (202, True, "processing")
        assert "Retry-After" in response.headers
        assert response.headers["Location"] == f"/api/task/{told['task_id']}"
        return response.headers["Location"]


async def test_a_task_comes_to_what_a_list_is_answered(server):
    names = [f"T{i}" for i in range(150)] + ["NO1", "BAD1", "what?"]
    result = await finished(server, await submit(server, {"tickers": names}))
    _, listed = await server.post({"tickers": names})

    assert (result["count"], result["failed"], result["pending"]) == (153, 3, 0)
    for item in listed["data"]:
        item["from_cache"] = False
    assert result == listed


async def test_a_task_for_one_ticker_comes_to_the_single_form(server):
    result = await finished(server, await submit(server, {"ticker": "A"}))

    assert (result["success"], result["data"]["ticker"], result["data"]["detail"]) == (True, "A", "default")


async def test_a_task_may_be_longer_than_a_list(tmp_path):
    async with running(tmp_path, list_limit=10, task_limit=20) as server:
        names = [f"T{i}" for i in range(15)]
        assert (await server.post({"tickers": names}))[0] == 413
        assert (await finished(server, await submit(server, {"tickers": names})))["count"] == 15
        assert (await server.post({"tickers": [f"T{i}" for i in range(21)]}, **ASYNC))[0] == 413


async def test_a_long_task_takes_summaries_only(tmp_path):
    """Five thousand full answers would be joined to 500 MB: the end of a small machine, when somebody asks for them."""
    async with running(tmp_path, list_limit=10, task_limit=20) as server:
        names = [f"T{i}" for i in range(11)]
        for detail in ("default", "full"):
            status, body = await server.post({"tickers": names, "detail": detail}, **ASYNC)
            assert (status, body["code"]) == (413, "too_large")
            assert "limit is 10" in body["error"]
            assert (await finished(server, await submit(server, {"tickers": names[:10], "detail": detail})))[
                "count"
            ] == 10
        assert (await finished(server, await submit(server, {"tickers": names, "detail": "summary"})))["count"] == 11


async def test_progress_is_told_while_a_task_runs(server):
    server.engine.gate = threading.Event()
    location = await submit(server, {"tickers": ["A", "B"]})

    assert await server.get(location) == (200, {"status": "processing", "done": 0, "total": 2})


async def test_the_same_idempotency_key_is_the_same_task(server):
    first = await submit(server, {"tickers": ["A"]}, **{"Idempotency-Key": "k1"})
    second = await submit(server, {"tickers": ["A"]}, **{"Idempotency-Key": "k1"})
    third = await submit(server, {"tickers": ["A"]}, **{"Idempotency-Key": "k2"})

    assert first == second != third


async def test_an_idempotency_key_used_for_something_else_is_a_conflict(server):
    await submit(server, {"tickers": ["A"]}, **{"Idempotency-Key": "k1"})
    for other in ({"tickers": ["B"]}, {"tickers": ["A"], "detail": "full"}, {"ticker": "A", "detail": "summary"}):
        status, body = await server.post(other, **ASYNC, **{"Idempotency-Key": "k1"})
        assert (status, body["code"]) == (409, "conflict"), other


async def test_a_caller_that_leaves_while_its_task_is_stored_leaves_no_orphan(server):
    """Cancelled between the insert and the start, a task was stored and never begun: its owner polled for ever."""
    jobs, gate = server.service.jobs, threading.Event()
    add = jobs._store.add
    jobs._store.add = lambda *arguments: (gate.wait(), add(*arguments))[1]
    accepting = asyncio.create_task(jobs.accept(["A"], "summary", True, "k1"))
    await asyncio.sleep(0.01)
    accepting.cancel()
    gate.set()
    jobs._store.add = add
    location = await submit(server, {"tickers": ["A"]}, **{"Idempotency-Key": "k1"})

    assert (await finished(server, location))["count"] == 1


async def test_a_task_goes_on_when_the_disk_does(server, monkeypatch):
    monkeypatch.setattr("bq.serving.jobs.AGAIN_S", 0.01)
    store = server.service.jobs._store
    put, failures = store.put_items, [2]

    def full_twice(*arguments):
        if failures[0]:
            failures[0] -= 1
            raise sqlite3.OperationalError("database or disk is full")
        put(*arguments)

    store.put_items = full_twice
    result = await finished(server, await submit(server, {"tickers": ["A", "B"]}))

    assert [item["status"] for item in result["data"]] == ["ok", "ok"]
    assert server.service.jobs.failures == 2


async def events(server, location, **headers):
    seen = []
    async with server.client.get(server.url(location + "/events"), headers=headers) as response:
        assert response.content_type == "text/event-stream"
        event = {}
        async for line in response.content:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name in ("id", "data"):
                event[name] = value
            elif not name and event:
                seen.append((int(event["id"]), msgspec.json.decode(event["data"])))
                event = {}
    return seen


async def test_events_tell_the_progress_and_end_with_the_result(server):
    location = await submit(server, {"tickers": [f"T{i}" for i in range(130)]})
    seen = await events(server, location)
    _, told = await server.get(location)

    assert [number for number, _ in seen] == sorted(number for number, _ in seen)
    assert seen[-1] == (130, told)
    assert all(state["status"] == "processing" for _, state in seen[:-1])


async def test_a_client_that_comes_back_is_told_only_what_is_new(server):
    location = await submit(server, {"tickers": ["A"]})
    await finished(server, location)

    assert [number for number, _ in await events(server, location, **{"Last-Event-ID": "0"})] == [1]


async def test_a_list_a_stream_and_a_task_hold_the_same_data(server):
    """T46: sync, NDJSON, task and events, byte for byte."""
    names = [f"T{i}" for i in range(100)]
    body = {"tickers": names, "detail": "full"}
    location = await submit(server, body)
    await finished(server, location)
    async with server.client.get(server.url(location)) as response:
        task = await response.read()
    async with server.client.get(server.url(location + "/events")) as response:
        told = await response.read()
    async with server.client.post(server.url("/api/analyze"), json=body) as response:
        whole = await response.read()
    async with server.client.post(
        server.url("/api/analyze"), json=body, headers={"Accept": "application/x-ndjson"}
    ) as response:
        lines = (await response.read()).splitlines()
    data = {line.partition(b'"data":')[2][:-1] for line in lines}

    assert len(data) == 100
    assert all(one in whole and one in task and one in told for one in data)


async def test_a_task_survives_a_restart_and_goes_on_where_it_was(tmp_path):
    engine, market = FakeEngine(), FakeMarket()
    names = [f"T{i}" for i in range(100)]
    async with running(tmp_path, engine=engine, market=market, snapshot_s=0) as server:
        engine.delay_s = 0.05
        location = await submit(server, {"tickers": names})
        await until(lambda: any(progress.done for progress in server.service.jobs.running.values()))
    done = len(engine.analyzed)
    (tmp_path / "cache.snapshot").unlink()
    engine.delay_s = 0.0
    async with running(tmp_path, engine=engine, market=market) as server:
        result = await finished(server, location)

    assert [item["ticker"] for item in result["data"]] == names
    assert 64 <= done <= 100
    assert len(engine.analyzed) <= 100 + 36  # the first block of 64 was stored and not done again


async def test_without_a_disk_there_are_no_tasks_but_all_the_rest(tmp_path):
    """T39, in part."""
    blocked = tmp_path / "state"
    blocked.write_text("a file where the folder should be")
    async with running(blocked) as server:
        status, body = await server.post({"tickers": ["A"]}, **ASYNC)
        assert (status, body["code"]) == (503, "not_ready")
        assert (await server.post({"tickers": ["A"]}))[0] == 200
        # Whether there is such a task cannot be told: a caller who polls must not take it for gone.
        status, body = await server.get("/api/task/0123")
        assert (status, body["code"]) in ((503, "not_ready"), (503, "storage_failed"))
        assert server.service.jobs.failures == 1
    assert server.service.snapshot_failures >= 1


async def test_a_task_that_cannot_be_stored_is_not_accepted(server):
    def full(*arguments):
        raise sqlite3.OperationalError("database or disk is full")

    server.service.jobs._store.add = full
    status, body = await server.post({"tickers": ["A"]}, **ASYNC)

    assert (status, body["code"]) == (503, "not_ready")
    assert server.service.jobs.running == {}


def test_an_item_is_stored_once(tmp_path):
    store = TaskStore(tmp_path / "tasks.db")
    store.add(StoredTask("t", "summary", True, ["A"]), None, 0.0)
    store.put_items("t", [StoredItem(0, False, b"first")])
    store.put_items("t", [StoredItem(0, False, b"second")])

    assert [item.item for item in store.items("t")] == [b"first"]
    store.close()


def test_old_results_are_forgotten_with_their_items(tmp_path):
    store = TaskStore(tmp_path / "tasks.db")
    for name, when in (("old", 1.0), ("new", 100.0)):
        store.add(StoredTask(name, "summary", True, ["A"]), None, when)
        store.put_items(name, [StoredItem(0, False, b"x")])
        store.finish(name, when)
    store.add(StoredTask("open", "summary", True, ["A"]), None, 1.0)

    assert store.forget_before(50.0) == 1
    assert [store.get(name) is not None for name in ("old", "new", "open")] == [False, True, True]
    assert store.items("old") == []
    store.close()


async def test_a_task_is_not_unknown_while_the_tasks_are_not_read_yet(server):
    """A server is ready before it has opened its tasks; whoever polled in between was told that theirs was gone."""
    location = await submit(server, {"tickers": ["A"]})
    await finished(server, location)
    jobs = server.service.jobs
    store, jobs._store = jobs._store, None
    status, body = await server.get(location)
    jobs._store = store

    assert (status, body["code"]) == (503, "not_ready")
    assert (await server.get(location))[0] == 200


async def test_a_result_whose_day_has_passed_while_it_was_looked_up_is_gone_and_no_defect(server):
    location = await submit(server, {"ticker": "A"})
    await finished(server, location)
    jobs = server.service.jobs
    task, _ = await jobs.find(location.rpartition("/")[2])
    await jobs._in_thread(jobs._store.forget_before, 1e18)

    with pytest.raises(Failure) as failed:
        await jobs.result(task)
    assert failed.value.problem.code == "not_found"


@pytest.mark.parametrize("prefer", ["Respond-Async", "wait=10, respond-async", "respond-async; foo=1"])
async def test_a_preference_is_read_as_its_rfc_says(server, prefer):
    assert (await server.post({"tickers": ["A"]}, Prefer=prefer))[0] == 202
    assert (await server.post({"tickers": ["A"]}, Prefer=f"not-{prefer}".replace(", ", "-")))[0] == 200


async def test_an_empty_idempotency_key_is_none(server):
    for tickers in (["A"], ["B"]):
        assert (await server.post({"tickers": tickers}, **ASYNC, **{"Idempotency-Key": " "}))[0] == 202
