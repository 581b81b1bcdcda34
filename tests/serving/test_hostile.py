"""Slow, silent, greedy and malformed clients: they are shown the door, and the others notice nothing."""

import asyncio
import contextlib
import logging
import resource
import socket
from unittest.mock import MagicMock

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bq.serving import memory
from tests.serving.fakes import running, until

HEAD = b"POST /api/analyze HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


async def connect(server):
    return await asyncio.open_connection("127.0.0.1", server.port)


async def closed(reader) -> bytes:
    """Wait for the server to close; give what it said."""
    with contextlib.suppress(ConnectionError):
        return await asyncio.wait_for(reader.read(-1), 15)
    return b""


SLOW_2000 = pytest.param(2000, marks=pytest.mark.slow)


@pytest.mark.parametrize("count", [50, SLOW_2000])
async def test_trickled_heads_are_cut_off(tmp_path, count):
    """T22."""
    async with running(tmp_path, header_timeout_s=0.5, keepalive_s=100) as server:

        async def trickle():
            reader, writer = await connect(server)
            ended = asyncio.create_task(closed(reader))
            for byte in b"GET /healthz HTTP/1.1\r\nX-Slow: " + b"x" * 1000:
                writer.write(bytes([byte]))
                done, _ = await asyncio.wait((ended,), timeout=0.05)
                if done:
                    break
            writer.close()
            return ended.done()

        assert all(await asyncio.gather(*[trickle() for _ in range(count)]))
        assert server.service.door.slow_heads == count
        assert (await server.get("/healthz"))[0] == 200


async def test_a_head_that_begins_before_anybody_waits_for_it_is_cut_off_too(tmp_path):
    """T22: its first bytes are there in the connection's first turn of the loop, and no more follow."""
    async with running(tmp_path, header_timeout_s=0.5, keepalive_s=100) as server:
        door = server.service.door
        connection, transport = door(), MagicMock(spec=asyncio.Transport)
        connection.connection_made(transport)
        connection.data_received(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
        began = asyncio.get_running_loop().time()

        connection.check(began + 0.4)
        transport.close.assert_not_called()
        connection.check(began + 0.6)
        transport.close.assert_called_once()
        assert door.slow_heads == 1
        connection.connection_lost(None)


async def test_silent_connections_are_closed_after_the_keep_alive_time(tmp_path):
    async with running(tmp_path, keepalive_s=0.3) as server:
        connections = [await connect(server) for _ in range(20)]

        assert [await closed(reader) for reader, _ in connections] == [b""] * 20
        for _, writer in connections:
            writer.close()


@pytest.mark.parametrize("count", [100, SLOW_2000])
async def test_stalled_bodies_are_answered_408_and_closed(tmp_path, count):
    """T23: a bare aiohttp waits for ever."""
    async with running(tmp_path, body_timeout_s=0.2) as server:

        async def stall():
            reader, writer = await connect(server)
            writer.write(HEAD + b'Content-Length: 100\r\n\r\n{"ticker":')
            said = await closed(reader)
            writer.close()
            return said.split(b" ")[1]

        assert set(await asyncio.gather(*[stall() for _ in range(count)])) == {b"408"}
        assert (await server.post({"ticker": "A"}))[0] == 200


async def test_readers_that_do_not_read_are_aborted(tmp_path):
    """T24: a bare aiohttp keeps the answer in memory for ever."""
    async with running(tmp_path, write_stall_s=1.0) as server:
        server.engine.padding = 200_000
        names = [f"T{i}" for i in range(40)]
        await server.post({"tickers": names})
        body = msgspec.json.encode({"tickers": names})
        sockets = []
        for _ in range(5):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", server.port))
            head = HEAD + b"Accept: application/x-ndjson\r\nContent-Length: %d\r\n\r\n" % len(body)
            await asyncio.get_running_loop().sock_sendall(sock, head + body)
            sockets.append(sock)
        await until(lambda: server.service.in_flight == 5)
        await until(lambda: server.service.in_flight == 0, within_s=15)

        assert (await server.get("/healthz"))[0] == 200
        for sock in sockets:
            sock.close()


async def test_a_large_answer_is_not_mistaken_for_a_stalled_one_at_first_sight(tmp_path):
    async with running(tmp_path) as server:
        server.engine.padding = 20_000_000
        reader, writer = await connect(server)
        body = b'{"ticker": "A"}'
        writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(3):
            server.service.door.sweep()
            assert await reader.read(65536)
        assert server.service.door.stalled_readers == 0
        writer.close()


async def test_many_idle_connections_stay_usable(tmp_path):
    """T25, on a small scale."""
    async with running(tmp_path) as server:
        connections = [await connect(server) for _ in range(400)]
        for _ in range(2):
            for _, writer in connections:
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            heads = [await reader.readuntil(b'"ok"}') for reader, _ in connections]
            assert all(head.startswith(b"HTTP/1.1 200") for head in heads)
        for _, writer in connections:
            writer.close()


async def test_more_connections_than_descriptors_do_no_harm(tmp_path):
    """T28."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with running(tmp_path, max_connections=60) as server:
        connections = [await connect(server) for _ in range(150)]
        await until(lambda: server.service.door.turned_away == 90)
        for _, writer in connections:
            writer.close()
        await until(lambda: not server.service.door.connections_by_handler)

        assert (await server.get("/healthz"))[0] == 200
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] == hard
    assert soft <= resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@pytest.mark.parametrize("length", [b"Content-Length: 65537\r\n\r\n", b"Content-Length: 999999999999\r\n\r\n"])
async def test_a_body_announced_too_large_is_refused_unread(tmp_path, length):
    """T27."""
    async with running(tmp_path, body_timeout_s=5) as server:
        reader, writer = await connect(server)
        writer.write(HEAD + length)
        assert (await asyncio.wait_for(reader.readline(), 2)).split()[1] == b"413"
        writer.close()


BIG = 200_000
CHUNKED = b"".join(b"%x\r\n%b\r\n" % (10_000, b" " * 10_000) for _ in range(BIG // 10_000)) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (b"Content-Length: %d\r\n" % BIG, b" " * BIG, b"413"),
        (b"Transfer-Encoding: chunked\r\n", CHUNKED, b"413"),
        (b"Content-Encoding: gzip\r\nContent-Length: 1000\r\n", b"\x1f\x8b" + b"\x00" * 998, b"415"),
        (b"Content-Encoding: br\r\nTransfer-Encoding: chunked\r\n", CHUNKED, b"415"),
        (b"Content-Type: text/xml\r\nContent-Length: 3\r\n", b"<x>", b"415"),
    ],
    ids=["announced", "chunked", "bomb", "chunked bomb", "xml"],
)
async def test_a_body_too_large_or_compressed_is_refused_and_never_held(tmp_path, headers, body, status):
    """T27: however it is sent; what came in does not stay."""
    async with running(tmp_path) as server:
        request = b"POST /api/analyze HTTP/1.1\r\nHost: x\r\n" + headers + b"Connection: close\r\n\r\n" + body
        await server.raw(request)
        before = memory.resident_bytes()
        told = [await server.raw(request) for _ in range(50)]

        assert {one.split(b" ")[1] for one in told} == {status}
        assert memory.resident_bytes() - before < 5 << 20
        assert (await server.post({"ticker": "A"}))[0] == 200


async def test_a_client_that_goes_in_the_middle_of_its_body_is_no_error_of_ours(tmp_path, caplog):
    async with running(tmp_path) as server:
        for _ in range(20):
            _, writer = await connect(server)
            writer.write(HEAD + b'Content-Length: 100\r\n\r\n{"ticker":')
            await asyncio.sleep(0.005)
            writer.transport.abort()
        await until(lambda: not server.service.in_flight)
        await until(lambda: not server.service.door.connections_by_handler)

    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]


async def test_pipelined_requests_are_answered_in_order(tmp_path):
    async with running(tmp_path) as server:
        one = b"GET /api/analysis/A%d?detail=summary HTTP/1.1\r\nHost: x\r\n\r\n"
        last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        received = await server.raw(b"".join(one % i for i in range(20)) + last)

        assert [received.index(b'"ticker":"A%d"' % i) for i in range(20)] == sorted(
            received.index(b'"ticker":"A%d"' % i) for i in range(20)
        )
        assert received.endswith(b'{"status":"ok"}')


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
bodies = (
    st.binary(max_size=100)
    | json_values.map(msgspec.json.encode)
    | st.fixed_dictionaries(
        {}, optional={"ticker": json_values, "tickers": json_values, "detail": json_values, "deadline_ms": json_values}
    ).map(msgspec.json.encode)
)


@pytest.fixture
async def server(tmp_path):
    async with running(tmp_path) as server:
        yield server


@pytest.mark.parametrize("count", [200, pytest.param(50_000, marks=pytest.mark.slow)])
def test_no_body_at_all_costs_a_500_or_a_traceback(tmp_path, caplog, count):
    """T26 (the reading of bodies has a fuzz test of its own)."""

    async def main():
        async with running(tmp_path) as server:
            loop = asyncio.get_running_loop()

            async def post(body):
                headers = {"Content-Type": "application/json"}
                async with server.client.post(server.url("/api/analyze"), data=body, headers=headers) as response:
                    assert response.status < 500, body
                    msgspec.json.decode(await response.read())

            @given(bodies)
            @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))
            def fuzz(body):
                asyncio.run_coroutine_threadsafe(post(body), loop).result(10)

            await asyncio.to_thread(fuzz)

    asyncio.run(main())

    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]
