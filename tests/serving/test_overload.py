"""More than can be done: who is served, who is told to come back, what it costs. Virtual time where time matters."""

import asyncio
import dataclasses
import socket
import time
import tracemalloc

import msgspec

from bq.errors import Problem
from bq.serving import memory
from bq.serving.cache import Cache
from bq.serving.desk import Desk
from bq.serving.flights import Rank, Waiter
from bq.serving.memory import Pressure
from tests.serving.clock import FakeClock
from tests.serving.fakes import running, until
from tests.serving.loop import run
from tests.serving.room import Room


def served_room(**limits: float) -> tuple[Room, Desk]:
    """Make a room of one compute slot and quick fetches, and the desk before it."""
    room = Room(compute_slots=1, fetch_slots=9, slice_s=0.025, **limits)
    room.fetch_s = 0.0
    room.batcher.fetch_cost.seed(0.0, 0.0)
    return room, Desk(room.cache, room.batcher, asyncio.get_running_loop().time)


@dataclasses.dataclass
class Told:
    ok: int = 0
    late: int = 0
    refused: int = 0
    without_retry_after: int = 0
    hits: int = 0
    hit_misses: int = 0
    most_flights: int = 0


def test_three_times_the_capacity_for_a_minute_keeps_the_goodput_and_every_hit():
    """T19 and T20: refusals are told when to come back, nobody who was let in waits in vain, the queue stays short."""

    async def main() -> Told:
        told = Told()
        room, desk = served_room(max_backlog_s=5.0)
        room.each_s = 0.02  # a capacity of 50 a second
        room.batcher.compute_cost.seed(0.0, 0.02)
        loop = asyncio.get_running_loop()
        await room.answers([("HOT", "default", "")])

        async def client(number: int) -> None:
            await asyncio.sleep(number / 150.0)
            told.hits += 1
            told.hit_misses += desk.find("HOT", "default") is None and room.cache.get(("HOT", "default", "")) is None
            looked = desk.look([f"T{number}"], "default", {})
            problem = await desk.wait(looked, loop.time() + 20.0, "")
            told.most_flights = max(told.most_flights, room.batcher.flights)
            if problem is None:
                told.ok += looked.failed + looked.pending == 0
                told.late += looked.pending
            else:
                told.refused += 1
                told.without_retry_after += not problem.retry_after

        await asyncio.gather(*[client(number) for number in range(150 * 60)])
        assert room.batcher.register.waits == 0
        return told

    told = run(main())
    assert told.ok >= 0.9 * 50 * 60
    assert (told.late, told.without_retry_after, told.hit_misses) == (0, 0, 0)
    assert told.ok + told.refused == told.hits == 9000
    assert told.most_flights <= 5.0 * 50 + 50


def test_interactive_requests_wait_for_a_few_slices_while_a_giant_scan_goes_on_and_ends():
    """T21."""

    async def main() -> None:
        room, desk = served_room()
        room.each_s = 0.002
        room.batcher.compute_cost.seed(0.0, 0.002)
        loop = asyncio.get_running_loop()
        scan = room.ask([f"S{i}" for i in range(5000)], rank=Rank.SCAN, owner="scan")
        assert isinstance(scan, Waiter)
        passed = []

        async def client(number: int) -> None:
            await asyncio.sleep(number / 50.0)
            before = len(room.slices)
            looked = desk.look([f"I{number}"], "default", {})
            assert await desk.wait(looked, loop.time() + 20.0, "") is None
            assert looked.pending == 0
            passed.append(len(room.slices) - before)

        async def scanning() -> float:
            await scan.all()
            return loop.time()

        ended, *_ = await asyncio.gather(scanning(), *[client(number) for number in range(450)])
        ranks = [{isinstance(key, str) for key in keys} for _, keys in room.slices]

        assert not scan.waiting
        assert max(passed) <= 3  # its own, and perhaps one that began meanwhile
        assert all(len(kinds) == 1 for kinds in ranks)  # nor is it computed together with what nobody waits for
        assert ended <= 5000 * 0.002 / 0.2 + 1.0

    run(main())


def test_refreshes_keep_a_share_while_interactive_requests_never_end():
    """An answer whose refreshing starves ends as a miss for somebody: a latency cliff put off, not avoided."""

    async def main() -> None:
        room, _ = served_room()
        room.each_s = 0.025
        room.batcher.compute_cost.seed(0.0, 0.025)
        room.batcher.refresh([f"R{i}" for i in range(10)])
        waiters = [room.ask([f"I{i}" for i in range(600)])]
        await asyncio.sleep(14.0)
        refreshed = [key for _, keys in room.slices for key in keys if key.startswith("R")]

        assert waiters[0].waiting
        assert len(refreshed) == 10

    run(main())


def test_when_everything_grows_stale_at_once_nobody_waits_and_each_is_refreshed_once():
    """T17: 2,000 requests a second over the moment at which all soft lives end."""

    async def main() -> None:
        room, desk = served_room()
        room.each_s = 0.001
        room.batcher.compute_cost.seed(0.0, 0.001)
        names = [f"T{i}" for i in range(200)]
        await room.answers([(name, "default", "") for name in names])
        computed = sum(len(keys) for _, keys in room.slices)
        await asyncio.sleep(58.0)  # of a soft life of 60
        missed = 0
        for tick in range(4000):  # two seconds before the end and two after, in virtual time
            for request in range(2):
                missed += desk.find(names[(2 * tick + request) % 200], "default") is None
            await asyncio.sleep(0.001)
        await asyncio.sleep(5.0)

        assert missed == 0
        assert sum(len(keys) for _, keys in room.slices) - computed == 200

    run(main())


def test_what_waits_for_too_much_is_refused_though_it_only_joins():
    async def main() -> None:
        room = Room(max_waits=100)
        waiters = [room.ask([f"T{i}" for i in range(10)]) for _ in range(10)]
        refused = room.ask(["T0"])
        assert isinstance(refused, Problem)
        assert refused.code == "too_busy"
        room.batcher.leave(waiters[0])
        assert isinstance(room.ask(["T0"]), Waiter)
        for waiter in waiters[1:]:
            await waiter.all()
        await asyncio.sleep(1)
        assert room.batcher.register.waits == 0

    run(main())


def test_a_hundred_thousand_tickers_keep_to_the_budget_of_bytes():
    """T29: what the interpreter really holds, not only what was counted."""
    clock, budget = FakeClock(), 16 << 20
    cache: Cache[tuple[str, str, str]] = Cache(clock, budget=budget, soft=lambda: 60.0)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(100_000):
        cache.put((f"T{number}", "summary", "world"), b"%07d" % number * 200, 0.0, cache.draw_ticket())
        if number % 10_000 == 0:
            clock.tick(1.0)
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    assert cache.counts().size <= budget
    assert held <= 1.05 * budget
    assert cache.counts().entries > 5000


async def test_a_shortage_of_memory_shrinks_the_cache_then_refuses_misses_and_never_hits(tmp_path, monkeypatch):
    resident = [0]
    monkeypatch.setattr(memory, "resident_bytes", lambda: resident[0])
    async with running(tmp_path, memory_mib=100) as server:
        await server.post({"tickers": [f"T{i}" for i in range(10)]})
        await server.post({"tickers": ["T9"]})
        resident[0] = 85 << 20
        server.service.upkeep.watch_memory()
        assert server.service.upkeep.pressure is Pressure.SHRINK
        assert server.service.cache.counts().entries == 5
        assert (await server.post({"tickers": ["NEW1"]}))[1]["failed"] == 0
        resident[0] = 95 << 20
        server.service.upkeep.watch_memory()
        async with server.client.post(server.url("/api/analyze"), json={"tickers": ["NEW2"]}) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "10")
        assert (await server.post({"tickers": ["T9"]}))[1]["data"][0]["from_cache"] is True
        resident[0] = 10 << 20
        server.service.upkeep.watch_memory()
        assert (await server.post({"tickers": ["NEW2"]}))[0] == 200


def test_the_memory_limit_is_the_setting_or_the_containers(tmp_path, monkeypatch):
    limits = [tmp_path / "none", tmp_path / "some"]
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", limits)
    assert memory.limit_bytes(0) is None
    limits[1].write_text("536870912\n")
    assert memory.limit_bytes(0) == 512 << 20
    assert memory.limit_bytes(100) == 100 << 20
    limits[0].write_text("max\n")
    limits[1].write_text("9223372036854771712\n")
    assert memory.limit_bytes(0) is None
    assert memory.resident_bytes() > 1 << 20


async def test_answers_that_are_not_read_are_bounded_and_others_are_told_so(tmp_path):
    async with running(tmp_path, write_stall_s=60) as server:
        server.engine.padding = 8_000_000  # more than the kernel's buffers take
        server.service.door.unread_limit = 20_000_000
        await server.post({"tickers": ["A"]})
        body = b'{"tickers": ["A"]}'
        head = b"POST /api/analyze HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
        greedy = []
        for _ in range(20):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", server.port))
            await asyncio.get_running_loop().sock_sendall(sock, head % len(body) + body)
            greedy.append(sock)
            await asyncio.sleep(0.06)
        transports = [connection.transport for connection in server.service.door.connections_by_handler]
        unread = sum(one.get_write_buffer_size() for one in transports if one is not None)
        assert 10_000_000 < unread <= 20_000_000
        for sock in greedy:
            sock.close()
        await until(lambda: len(server.service.door.connections_by_handler) <= 1)
        await asyncio.sleep(0.06)
        assert (await server.post({"tickers": ["A"]}))[0] == 200


async def test_a_loop_that_is_held_up_is_noticed(tmp_path):
    """T30: a count of late timers, and readiness says no while they are very late."""
    async with running(tmp_path) as server:
        held = await buckets(server)
        asyncio.get_running_loop().call_soon(time.sleep, 0.5)
        await asyncio.sleep(0.6)
        after = await buckets(server)
        assert after["+Inf"] - after["0.1"] > held["+Inf"] - held["0.1"]
        server.service._lag_s = 1.5
        assert server.service.why_not_ready() == "lagging"


async def buckets(server) -> dict[str, float]:
    async with server.client.get(server.url("/metrics")) as response:
        lines = (await response.text()).splitlines()
    found = [line for line in lines if line.startswith("bq_loop_lag_seconds_bucket")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in found}


async def test_a_heartbeat_that_stops_makes_the_server_unready(tmp_path):
    now = [1000.0]
    async with running(tmp_path, options={"clock": lambda: now[0]}) as server:
        now[0] += 1.9
        assert (await server.get("/readyz"))[0] == 200
        server.service._keepers[0].cancel()
        now[0] += 100.0
        status, body = await server.get("/readyz")

    assert (status, body["code"]) == (503, "not_ready")
    assert "heartbeat" in body["error"]


async def test_the_metrics_have_the_names_that_dashboards_know(tmp_path):
    async with running(tmp_path) as server:
        await server.post({"tickers": ["A", "NO1"]})
        await server.post({"tickers": ["A"]})
        async with server.client.get(server.url("/metrics")) as response:
            text = await response.text()
    names = {line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE")}

    assert {
        "bq_http_requests_total", "bq_http_request_duration_seconds", "bq_http_in_flight", "bq_connections",
        "bq_loop_lag_seconds", "bq_cache_lookups_total", "bq_cache_bytes", "bq_flights", "bq_flight_joins_total",
        "bq_batch_size", "bq_batch_wait_seconds", "bq_batch_duration_seconds", "bq_batch_backlog_seconds",
        "bq_kernel_cost_seconds_per_ticker", "bq_shed_total", "bq_jobs", "bq_build_info",
    } <= names  # fmt: skip
    assert 'bq_batch_wait_seconds_count{class="interactive"} 1.0' in text
    assert "ticker=" not in text
    assert msgspec.json.encode("NO1").decode().strip('"') not in text


async def test_freed_memory_is_given_back_soon_when_idle_and_now_and_then_when_busy(tmp_path, monkeypatch):
    now, trims = [1000.0], []
    monkeypatch.setattr(memory, "trim", lambda: trims.append(now[0]))
    async with running(tmp_path, options={"clock": lambda: now[0]}) as server:
        upkeep, batcher = server.service.upkeep, server.service.batcher
        upkeep._trimmed_at = now[0]
        batcher.bisection.keys += 1
        monkeypatch.setitem(batcher.register.flights, ("A", "full", ""), None)
        for _ in range(130):
            now[0] += 1.0
            batcher.bisection.keys += 1
            upkeep.trim_now_and_then()
        await until(lambda: len(trims) == 2)
        monkeypatch.undo()
        monkeypatch.setattr(memory, "trim", lambda: trims.append(now[0]))
        now[0] += 10.0
        upkeep.trim_now_and_then()
        await until(lambda: len(trims) == 3)
        now[0] += 100.0
        upkeep.trim_now_and_then()  # nothing was computed since
    assert len(trims) == 3
