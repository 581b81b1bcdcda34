"""The whole server on a real port with a fake market and a fake engine. Counts, not clocks."""

import asyncio
import os
import random
import threading
import tracemalloc

import aiohttp
import msgspec
import pytest

from bq.errors import Problem
from tests.serving.fakes import FakeEngine, FakeMarket, running, until

NAMES = [f"T{i}" for i in range(20)]


@pytest.fixture
async def server(tmp_path):
    async with running(tmp_path) as server:
        yield server


async def test_two_hundred_requests_for_twenty_cold_tickers_cause_twenty_analyses_and_fetches(server):
    async def ask():
        async with server.client.post(server.url("/api/analyze"), json={"tickers": NAMES}) as response:
            return response.status, await response.read()

    server.engine.gate = threading.Event()
    requests = [asyncio.create_task(ask()) for _ in range(200)]
    await until(lambda: server.service.batcher.tally.joins + server.service.batcher.tally.leads >= 200 * 20)
    server.engine.gate.set()
    answers = await asyncio.gather(*requests)

    assert sorted(server.engine.analyzed) == sorted(NAMES)
    assert sorted(server.market.fetched) == sorted(NAMES)
    assert {status for status, _ in answers} == {200}
    assert len({body for _, body in answers}) == 1


async def test_one_cold_ticker_asked_for_by_many_is_computed_once(server):
    """T01, on a small scale."""
    answers = await asyncio.gather(*[server.post({"ticker": "A"}) for _ in range(500)])

    assert (server.engine.analyzed, server.market.fetched) == (["A"], ["A"])
    assert {status for status, _ in answers} == {200}
    assert len({msgspec.json.encode(body["data"]) for _, body in answers}) == 1


async def test_random_lists_compute_each_ticker_once(server):
    """T02."""
    names, rng = [f"T{i}" for i in range(200)], random.Random(5)
    lists = [rng.sample(names, 50) for _ in range(100)]
    await asyncio.gather(*[server.post({"tickers": one}) for one in lists])

    assert sorted(server.engine.analyzed) == sorted({name for one in lists for name in one})


async def test_a_list_holds_the_bytes_of_the_single_answers_in_request_order(server):
    """T03."""
    singles = []
    for name in "CAB":
        async with server.client.get(server.url(f"/api/analysis/{name}?detail=summary")) as response:
            singles.append((await response.read()).decode())
    async with server.client.post(server.url("/api/analyze"), json={"tickers": ["C", "A", "B"]}) as response:
        body = (await response.read()).decode()

    items = ",".join(
        f'{{"ticker":"{name}","status":"ok","from_cache":true,"data":{data}}}'
        for name, data in zip("CAB", singles, strict=True)
    )
    assert body == f'{{"success":true,"data":[{items}],"count":3,"failed":0,"pending":0}}'
    assert len(server.engine.analyzed) == 3


async def test_the_single_form_says_from_cache_only_where_bytes_were_stored_on_arrival(server):
    first, second = [(await server.post({"ticker": "A"}))[1]["from_cache"] for _ in range(2)]

    assert (first, second) == (False, True)


async def test_a_request_that_joins_a_flight_was_not_from_the_cache(server):
    server.engine.gate = threading.Event()
    requests = [asyncio.create_task(server.post({"ticker": "A"})) for _ in range(10)]
    await until(lambda: server.service.batcher.tally.joins >= 9)
    server.engine.gate.set()

    assert [body["from_cache"] for _, body in await asyncio.gather(*requests)] == [False] * 10


async def test_no_ticker_means_apple(server):
    assert (await server.post({}))[1]["data"]["ticker"] == "AAPL"


async def test_spellings_of_a_ticker_are_one_item_of_a_list(server):
    status, body = await server.post({"tickers": ["msft", " AAPL ", "MSFT", "aapl"]})

    assert status == 200
    assert [item["ticker"] for item in body["data"]] == ["MSFT", "AAPL"]
    assert (body["count"], body["failed"], body["pending"]) == (2, 0, 0)


async def test_bad_tickers_in_a_list_are_their_own_items_errors(server):
    status, body = await server.post({"tickers": ["A", "NO1", "BAD1", "what?", "B"]})

    assert (status, body["success"], body["failed"]) == (200, True, 3)
    assert [item["status"] for item in body["data"]] == ["ok", "error", "error", "error", "ok"]
    assert [item.get("code") for item in body["data"]] == [
        None,
        "unknown_ticker",
        "compute_failed",
        "bad_request",
        None,
    ]


@pytest.mark.parametrize("headers", [{}, {"Prefer": "respond-async"}, {"Accept": "application/x-ndjson"}])
async def test_an_empty_list_is_a_mistake_and_told_so(server, headers):
    status, body = await server.post({"tickers": []}, **headers)

    assert (status, body["code"]) == (400, "bad_request")
    assert "at least one" in body["error"]


async def test_an_unknown_ticker_is_asked_of_the_market_once(server):
    """T09."""
    answers = [await server.post({"ticker": "NO1"}) for _ in range(20)]

    assert {status for status, _ in answers} == {404}
    assert server.market.fetched == ["NO1"]


async def test_a_poisonous_ticker_is_analysed_once_and_its_neighbours_have_answers(server):
    await server.post({"tickers": ["A", "BAD1", "B"]})
    status, body = await server.post({"ticker": "BAD1", "detail": "summary"})

    assert (status, body["code"]) == (500, "compute_failed")
    assert server.engine.analyzed.count("BAD1") <= 3  # the slice, its half, alone; and not again


async def test_detail_is_part_of_what_is_asked(server):
    _, default = await server.post({"ticker": "A"})
    _, full = await server.post({"ticker": "A", "detail": "full"})

    assert (default["data"]["detail"], full["data"]["detail"]) == ("default", "full")


async def test_the_form_for_caches_has_a_strong_tag_and_answers_304(server):
    async with server.client.get(server.url("/api/analysis/aapl")) as response:
        tag, body = response.headers["ETag"], await response.read()
        assert "max-age=" in response.headers["Cache-Control"]
    async with server.client.get(server.url("/api/analysis/AAPL"), headers={"If-None-Match": f'"x", {tag}'}) as again:
        assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", tag)
    async with server.client.get(server.url("/api/analysis/AAPL"), headers={"If-None-Match": '"x"'}) as other:
        assert (other.status, await other.read()) == (200, body)

    assert tag.startswith('"')
    assert msgspec.json.decode(body)["ticker"] == "AAPL"


async def test_a_stream_sends_one_item_a_line(server):
    headers = {"Accept": "application/x-ndjson"}
    body = {"tickers": ["A", "NO1", "B", "what?"]}
    async with server.client.post(server.url("/api/analyze"), json=body, headers=headers) as response:
        assert response.content_type == "application/x-ndjson"
        lines = [msgspec.json.decode(line) async for line in response.content]

    assert sorted((line["ticker"], line["status"]) for line in lines) == [
        ("A", "ok"), ("B", "ok"), ("NO1", "error"), ("WHAT?", "error"),
    ]  # fmt: skip


async def test_a_list_and_a_stream_hold_the_same_bytes(server):
    """T46, two of its paths."""
    await server.post({"tickers": NAMES})
    async with server.client.post(server.url("/api/analyze"), json={"tickers": NAMES}) as response:
        whole = await response.read()
    headers = {"Accept": "application/x-ndjson"}
    async with server.client.post(server.url("/api/analyze"), json={"tickers": NAMES}, headers=headers) as response:
        lines = (await response.read()).splitlines()

    assert b'{"success":true,"data":[' + b",".join(lines) + b'],"count":20,"failed":0,"pending":0}' == whole


async def test_what_is_late_is_pending_and_goes_on(server):
    server.engine.gate = threading.Event()
    status, body = await server.post({"tickers": ["A", "B"], "deadline_ms": 100})
    assert (status, body["pending"]) == (200, 2)
    assert [item["status"] for item in body["data"]] == ["pending", "pending"]
    server.engine.gate.set()
    await until(lambda: not server.service.batcher.flights)

    _, again = await server.post({"tickers": ["A", "B"]})
    assert [item["from_cache"] for item in again["data"]] == [True, True]


async def test_a_single_ticker_that_is_late_is_busy_with_a_time_to_come_back(server):
    server.engine.gate = threading.Event()
    status, body = await server.post({"ticker": "A"}, **{"X-Deadline-Ms": "100"})

    assert (status, body["code"]) == (503, "too_busy")


async def test_where_the_time_went_is_in_the_headers(server):
    async with server.client.post(server.url("/api/analyze"), json={"ticker": "A"}) as response:
        cold = response.headers["Server-Timing"]
    async with server.client.post(server.url("/api/analyze"), json={"ticker": "A"}) as response:
        hot = response.headers["Server-Timing"]

    assert [part.split(";")[0] for part in cold.split(", ")] == ["queue", "fetch", "compute", "encode", "batch"]
    assert hot == "cache;desc=hit"


async def test_a_client_that_leaves_does_not_disturb_the_others(server):
    """T05."""
    server.engine.gate = threading.Event()
    leader = asyncio.create_task(server.post({"ticker": "A"}))
    await until(lambda: server.service.batcher.tally.leads >= 1)
    followers = [asyncio.create_task(server.post({"ticker": "A"})) for _ in range(99)]
    await until(lambda: server.service.batcher.tally.joins >= 99)
    leader.cancel()
    await asyncio.sleep(0.05)
    server.engine.gate.set()

    assert {status for status, _ in await asyncio.gather(*followers)} == {200}
    assert server.engine.analyzed == ["A"]


async def test_clients_that_leave_at_random_leave_nothing_behind(server):
    """T06: no flight, no wait, no connection, no descriptor, no task."""
    rng = random.Random(11)
    service = server.service

    async def flood(count, seconds):
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as own:

            async def client():
                body = {"tickers": rng.sample(NAMES, 3), "detail": "full"}
                request = asyncio.create_task(own.post(server.url("/api/analyze"), json=body))
                await asyncio.sleep(rng.uniform(0, seconds))
                request.cancel()
                await asyncio.wait((request,))

            await asyncio.gather(*[client() for _ in range(count)])
        await until(lambda: not service.batcher.flights and not service.door.connections_by_handler)

    # The stores are opened when they are first needed, and stay open.
    first = server.url("/api/analyze")
    async with aiohttp.ClientSession() as own, own.post(first, json={"ticker": "FIRST"}) as response:
        assert response.status == 200
    await until(lambda: service.scans._looked_back)
    await flood(10, 0.0)
    descriptors, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
    server.engine.delay_s = 0.002
    await flood(200, 0.05)
    await until(lambda: len(asyncio.all_tasks()) <= tasks and len(os.listdir("/proc/self/fd")) <= descriptors)

    assert (service.batcher.flights, service.batcher.register.waits, service.in_flight) == (0, 0, 0)
    assert set(service.batcher.register.load.values()) == {0}


async def test_a_thousand_waiters_on_a_failing_flight_each_have_their_own_error(server):
    """T08: problems are values; no traceback is shared, so none can grow."""
    answers = await asyncio.gather(*[server.post({"ticker": "BAD1"}) for _ in range(300)])

    assert {(status, body["code"]) for status, body in answers} == {(500, "compute_failed")}
    assert server.engine.analyzed == ["BAD1"]


async def test_failures_answered_again_and_again_hold_no_memory(server):
    """T08: a thousand waiters on a failing flight, and again; what the interpreter holds afterwards does not grow."""
    desk, clock = server.service.desk, server.service.clock

    async def ask():
        looked = desk.look(["BAD1"], "summary", {})
        await desk.wait(looked, clock() + 20.0, "")
        return looked.answers[0].code

    async def one_round():
        server.service.cache.invalidate_all()
        return await asyncio.gather(*[ask() for _ in range(1000)])

    assert set(await one_round()) == {"compute_failed"}
    tracemalloc.start()
    await one_round()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(10):
        await one_round()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    assert grown < 1 << 20
    assert server.service.batcher.register.waits == 0


async def test_a_source_that_fails_leaves_the_old_answer_in_place_and_it_says_so(tmp_path):
    async with running(tmp_path, soft_ttl_closed_s=0.0) as server:
        await server.post({"tickers": ["A"]})
        server.market.failing = Problem("source_failed", "A: down")
        await server.post({"tickers": ["A"]})
        await until(lambda: not server.service.batcher.flights)
        _, body = await server.post({"tickers": ["A"]})

    assert body["data"][0]["stale"] is True
    assert body["data"][0]["data"]["ticker"] == "A"


@pytest.mark.parametrize("hot_path", [True, False])
async def test_every_form_says_that_the_source_failed_since(tmp_path, hot_path):
    async with running(tmp_path, soft_ttl_closed_s=0.0, hot_path=hot_path) as server:
        await server.post({"ticker": "A"})
        server.market.failing = Problem("source_failed", "A: down")
        await server.post({"ticker": "A"})
        await until(lambda: not server.service.batcher.flights)
        _, single = await server.post({"ticker": "A"})
        async with server.client.get(server.url("/api/analysis/A")) as response:
            cached = response.headers["Cache-Status"]

    assert (single["stale"], single["from_cache"], single["data"]["ticker"]) == (True, True, "A")
    assert single["as_of"] > 0
    assert "stale" in cached


async def test_an_answer_from_old_bars_says_so_and_is_soon_tried_again(tmp_path):
    async with running(tmp_path) as server:
        server.market.stale = True
        _, first = await server.post({"tickers": ["A"]})
        _, second = await server.post({"tickers": ["A"]})
        entry = server.service.cache.get(("A", "summary", server.service.desk.world))

    assert [body["data"][0]["stale"] for body in (first, second)] == [True, True]
    assert entry.soft_until - server.service.clock() <= 15.0


async def test_a_ticker_that_ceased_to_exist_is_not_served_from_what_was_kept(tmp_path):
    now = [1000.0]
    async with running(tmp_path, soft_ttl_closed_s=1.0, options={"clock": lambda: now[0]}) as server:
        await server.post({"ticker": "A"})
        now[0] += 10_000.0  # beyond the grace, within the hard life
        server.market.failing = Problem("unknown_ticker", "A: no such ticker")
        assert (await server.post({"ticker": "A"}))[0] == 404


async def test_a_kept_answer_stands_in_where_the_queue_refuses(tmp_path):
    now = [1000.0]
    async with running(tmp_path, soft_ttl_closed_s=1.0, max_flights=1, options={"clock": lambda: now[0]}) as server:
        await server.post({"ticker": "A"})
        now[0] += 10_000.0
        server.service.batcher.refusal = Problem("too_busy", "full", 1.0)
        status, body = await server.post({"ticker": "A"})

    assert (status, body["stale"], body["data"]["ticker"]) == (200, True, "A")


async def test_every_answer_tells_where_its_time_went(server):
    await server.post({"ticker": "A"})
    asked = [
        *(("GET", path, None) for path in ("/api/tickers", "/api/health", "/metrics", "/nowhere", "/docs")),
        *(("GET", path, None) for path in ("/api/analysis/A", "/api/task/none")),
        *(("POST", "/api/analyze", {"ticker": ticker}) for ticker in ("A", "B", 5)),
        *((method, "/api/analyze", None) for method in ("OPTIONS", "PUT")),
        ("HEAD", "/healthz", None),
    ]
    for method, path, body in asked:
        async with server.client.request(method, server.url(path), json=body) as response:
            assert response.headers.get("Server-Timing"), (method, path)
    async with server.client.post(
        server.url("/api/analyze"), json={"tickers": ["A", "C"]}, headers={"Accept": "application/x-ndjson"}
    ) as response:
        assert response.headers["Server-Timing"].startswith("cache;desc=")
    assert b"Server-Timing" in await server.raw(b"GARBAGE\r\n\r\n")


async def test_pages_of_other_origins_may_read_the_headers_that_matter(server):
    async with server.client.get(server.url("/api/analysis/A")) as response:
        exposed = response.headers["Access-Control-Expose-Headers"]

    assert {"ETag", "Retry-After", "Location", "Server-Timing"} <= set(exposed.split(", "))


async def test_a_head_has_the_head_of_the_answer_and_no_body(server):
    async with server.client.head(server.url("/api/health")) as response:
        assert (response.status, await response.read()) == (200, b"")
    async with server.client.head(server.url("/api/analysis/A")) as response:
        assert response.headers["ETag"]


async def test_a_defect_in_the_middle_of_a_stream_breaks_it_off(server, monkeypatch):
    """A second answer in the middle of the first would be read as a part of it."""

    def broken(*arguments):
        raise RuntimeError("a defect")

    server.engine.gate = threading.Event()
    body = b'{"tickers": ["A", "B"]}'
    head = b"POST /api/analyze HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\nContent-Length: %d\r\n\r\n"
    stream = asyncio.create_task(server.raw(head % len(body) + body))
    await until(lambda: server.service.batcher.flights == 2)
    monkeypatch.setattr("bq.serving.wire.item", broken)
    server.engine.gate.set()

    assert (await stream).count(b"HTTP/1.1 ") <= 1


async def test_a_stale_answer_is_served_at_once_and_refreshed_behind(tmp_path):
    async with running(tmp_path, soft_ttl_closed_s=0.0) as server:
        await server.post({"ticker": "A"})
        _, body = await server.post({"ticker": "A"})
        await until(lambda: server.engine.analyzed == ["A", "A"])

    assert body["from_cache"] is True


async def test_the_queue_refuses_with_a_time_to_come_back(tmp_path):
    async with running(tmp_path, max_flights=5) as server:
        server.engine.gate = threading.Event()
        first = asyncio.create_task(server.post({"tickers": ["A", "B", "C"]}))
        await until(lambda: server.service.batcher.flights >= 3)
        async with server.client.post(server.url("/api/analyze"), json={"tickers": ["D", "E", "F"]}) as response:
            assert (response.status, "Retry-After" in response.headers) == (503, True)
        server.engine.gate.set()
        await first


async def test_a_full_queue_still_serves_what_is_stored(tmp_path):
    async with running(tmp_path, max_flights=3) as server:
        await server.post({"tickers": ["X"]})
        server.engine.gate = threading.Event()
        first = asyncio.create_task(server.post({"tickers": ["A", "B", "C"]}))
        await until(lambda: server.service.batcher.flights >= 3)
        status, body = await server.post({"tickers": ["X", "D"]})
        server.engine.gate.set()
        await first

    assert status == 200
    assert [item["status"] for item in body["data"]] == ["ok", "error"]
    assert body["data"][1]["code"] == "too_busy"


async def test_a_client_over_its_rate_is_told_when_to_come_back(tmp_path):
    async with running(tmp_path, client_rate=0.5, client_burst=3.0) as server:
        assert (await server.post({"tickers": ["A", "B", "C"]}))[0] == 200
        async with server.client.post(server.url("/api/analyze"), json={"ticker": "A"}) as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "2")


async def test_the_door_is_open_before_the_engine_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr("bq.serving.run.BIND_GRACE_S", 0.0)
    engine = FakeEngine()
    engine.load_gate = threading.Event()
    async with running(tmp_path, engine=engine, ready=False) as server:
        assert (await server.get("/healthz"))[0] == 200
        assert (await server.get("/readyz"))[0] == 503
        status, body = await server.post({"ticker": "A"})
        assert (status, body["code"]) == (503, "not_ready")
        engine.load_gate.set()
        await server.service.boot_task
        assert (await server.get("/readyz"))[0] == 200
        assert (await server.post({"ticker": "A"}))[0] == 200


async def test_an_engine_that_fails_its_check_ends_the_process(tmp_path):
    codes = []

    class Broken(FakeEngine):
        def load(self):
            return super().load()._replace(warm_up=lambda: 1 / 0)

    async with running(tmp_path, engine=Broken(), options={"leave": codes.append}) as server:
        assert (await server.get("/readyz"))[0] == 503

    assert codes == [70]


@pytest.mark.parametrize("broken", [False, True])
async def test_what_only_some_need_is_loaded_after_the_server_is_ready(tmp_path, caplog, broken):
    gate, loaded = threading.Event(), []

    class Rest(FakeEngine):
        def load(self):
            return super().load()._replace(load_the_rest=self.rest)

        def rest(self):
            assert gate.wait(10.0)
            loaded.append(1)
            if broken:
                raise ImportError("no such library")

    async with running(tmp_path, engine=Rest()) as server:
        assert (await server.get("/readyz"))[0] == 200
        assert (await server.post({"ticker": "A"}))[0] == 200
        assert not loaded
        gate.set()
        await until(lambda: bool(loaded))
        await until(lambda: broken == ("could not be loaded" in caplog.text))
        assert (await server.post({"ticker": "B"}))[0] == 200


async def test_the_cache_survives_a_restart(tmp_path):
    engine, market = FakeEngine(), FakeMarket()
    async with running(tmp_path, engine=engine, market=market) as server:
        await server.post({"ticker": "A"})
    async with running(tmp_path, engine=engine, market=market) as server:
        _, body = await server.post({"ticker": "A"})

    assert body["from_cache"] is True
    assert engine.analyzed == ["A"]


async def test_a_damaged_snapshot_is_ignored(tmp_path):
    async with running(tmp_path) as server:
        await server.post({"ticker": "A"})
    path = tmp_path / "cache.snapshot"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    async with running(tmp_path) as server:
        assert (await server.post({"ticker": "A"}))[1]["from_cache"] is False


async def test_steps_of_the_wall_clock_expire_nothing(tmp_path):
    """T18."""
    wall = [1_700_000_000.0]
    async with running(tmp_path, options={"wall": lambda: wall[0]}) as server:
        await server.post({"ticker": "A"})
        for step in (3600.0, -7200.0):
            wall[0] += step
            assert (await server.post({"ticker": "A"}))[1]["from_cache"] is True
        async with server.client.get(server.url("/api/analysis/A")) as response:
            assert int(response.headers["Cache-Control"].split("max-age=")[1].split(",")[0]) > 800


async def test_what_the_cache_holds_is_in_the_metrics(server):
    await server.post({"tickers": ["A", "B"]})
    await server.post({"tickers": ["A", "NO1"]})
    async with server.client.get(server.url("/metrics")) as response:
        text = await response.text()

    assert 'bq_cache_lookups_total{result="hit"} 1.0' in text
    assert 'bq_cache_lookups_total{result="miss"} 3.0' in text
    assert 'bq_http_requests_total{code="200",route="/api/analyze"} 2.0' in text
    assert "bq_lost_wakeups_total 0.0" in text


async def test_the_popular_tickers_are_listed(server):
    status, body = await server.get("/api/tickers")

    assert (status, body["tickers"][0]) == (200, {"symbol": "AAPL", "name": "Apple"})


async def test_health_is_what_it_always_was(server):
    status, body = await server.get("/api/health")

    assert (status, body["status"], set(body)) == (200, "ok", {"status", "version", "timestamp"})


async def test_a_preflight_allows_any_origin(server):
    async with server.client.options(server.url("/api/analyze"), headers={"Origin": "http://x"}) as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "POST" in response.headers["Access-Control-Allow-Methods"]


async def test_every_answer_may_be_read_from_any_origin(server):
    for path in ("/api/health", "/nothing", "/api/analysis/NO1", "/metrics", "/readyz"):
        async with server.client.get(server.url(path)) as response:
            assert response.headers["Access-Control-Allow-Origin"] == "*", path


async def test_other_work_in_the_threads_does_not_hold_up_slices(tmp_path):
    """A slice behind a queue of priced rows would be taken for one that hangs."""
    async with running(tmp_path, compute_threads=1) as server:
        gate = threading.Event()
        others = [asyncio.create_task(server.service.pools.in_compute(gate.wait)) for _ in range(3)]
        await asyncio.sleep(0)
        try:
            assert (await server.post({"ticker": "A"}))[0] == 200
            assert not any(other.done() for other in others)
        finally:
            gate.set()
        await asyncio.gather(*others)
