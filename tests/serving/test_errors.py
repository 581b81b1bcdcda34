"""Every failure has one shape: success false, a text, a stable code, the status that goes with the code."""

import asyncio
import threading

import msgspec
import pytest

from bq.errors import HTTP_STATUS, Problem
from bq.serving.routing import route
from tests.serving.fakes import FakeEngine, running

POST = b"POST /api/analyze HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def check(status: int, body: bytes, code: str) -> None:
    told = msgspec.json.decode(body)

    assert set(told) == {"success", "error", "code"}
    assert (told["success"], told["code"], status) == (False, code, HTTP_STATUS[code])
    assert len(told["error"]) > 5


@pytest.fixture
async def server(tmp_path):
    async with running(tmp_path, body_timeout_s=0.1, max_flights=2) as server:
        yield server


LONG_LIST = b'{"tickers": [%s"Z"]}' % b"".join(b'"T%d",' % i for i in range(500))
LONG_CHUNKS = b"8000\r\n" + b" " * 0x8000 + b"\r\n" + b"8010\r\n" + b" " * 0x8010 + b"\r\n0\r\n\r\n"

REQUESTS = {
    "unknown path": ("GET", "/nothing/here", None, "not_found"),
    "unknown path, POST": ("POST", "/nothing", b"{}", "not_found"),
    "wrong method": ("DELETE", "/api/analyze", None, "method_not_allowed"),
    "GET of a POST route": ("GET", "/api/analyze", None, "method_not_allowed"),
    "POST of a GET route": ("POST", "/api/health", b"{}", "method_not_allowed"),
    "not JSON": ("POST", "/api/analyze", b"ticker=A", "bad_request"),
    "wrong type": ("POST", "/api/analyze", b'{"ticker": 1}', "bad_request"),
    "impossible ticker": ("POST", "/api/analyze", b'{"ticker": "a b"}', "bad_request"),
    "impossible ticker in the path": ("GET", "/api/analysis/a%20b", None, "bad_request"),
    "unknown detail": ("GET", "/api/analysis/A?detail=all", None, "bad_request"),
    "unknown ticker": ("POST", "/api/analyze", b'{"ticker": "NO1"}', "unknown_ticker"),
    "unknown ticker in the path": ("GET", "/api/analysis/NO1", None, "unknown_ticker"),
    "list over the limit": ("POST", "/api/analyze", LONG_LIST, "too_large"),
    "body over the limit": ("POST", "/api/analyze", b" " * 65_537, "too_large"),
    "unknown task": ("GET", "/api/task/none", None, "not_found"),
    "unknown task's events": ("GET", "/api/task/none/events", None, "not_found"),
    "poisonous ticker": ("POST", "/api/analyze", b'{"ticker": "BAD1"}', "compute_failed"),
    "queue full": ("POST", "/api/analyze", b'{"tickers": ["A", "B", "C"]}', "too_busy"),
}  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "code"), REQUESTS.values(), ids=REQUESTS.keys())
async def test_errors_have_one_shape(server, method, path, body, code):
    headers = {"Content-Type": "application/json"} if body else {}
    async with server.client.request(method, server.url(path), data=body, headers=headers) as response:
        check(response.status, await response.read(), code)
        assert response.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-Type": "text/plain"}, "unsupported_media_type"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "unsupported_media_type"),
        ({"Content-Encoding": "gzip"}, "unsupported_media_type"),
        ({"Content-Encoding": "identity, gzip"}, "unsupported_media_type"),
        ({"X-Deadline-Ms": "soon"}, "bad_request"),
        ({"X-Deadline-Ms": "nan"}, "bad_request"),
        ({"X-Deadline-Ms": "-5"}, "bad_request"),
    ],
)
async def test_headers_that_will_not_do(server, headers, code):
    headers = {"Content-Type": "application/json", **headers}
    async with server.client.post(server.url("/api/analyze"), data=b'{"ticker": "A"}', headers=headers) as response:
        check(response.status, await response.read(), code)


async def test_the_right_method_is_named(server):
    async with server.client.get(server.url("/api/analyze")) as response:
        assert response.headers["Allow"] == "POST, OPTIONS"


RAW = {
    "a body that stalls": (POST + b"Content-Length: 100\r\n\r\n{", "request_timeout"),
    "chunks that stall": (POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", "request_timeout"),
    "chunks over the limit": (POST + b"Transfer-Encoding: chunked\r\n\r\n" + LONG_CHUNKS, "too_large"),
    "a length over the limit, announced": (POST + b"Content-Length: 100000000\r\n\r\n", "too_large"),
    "not HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "bad_request"),
    "a header without a colon": (b"GET / HTTP/1.1\r\nHost x\r\n\r\n", "bad_request"),
    "a header line too long": (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 20_000 + b"\r\n\r\n", "bad_request"),
    "a tunnel": (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "not_found"),
    "all of the server": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "not_found"),
    "an expectation": (POST + b"Content-Length: 2\r\nExpect: mercy\r\n\r\n{}", "bad_request"),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "bad_request"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "code"), RAW.values(), ids=RAW.keys())
async def test_errors_below_the_handlers_have_the_same_shape(server, data, code):
    received = await asyncio.wait_for(server.raw(data, until=b'"}'), 5)
    head, _, body = received.partition(b"\r\n\r\n")

    check(int(head.split()[1]), body, code)
    assert b"Access-Control-Allow-Origin: *" in head


async def test_a_source_that_fails_is_a_bad_gateway(server):
    server.market.failing = Problem("source_failed", "A: the source answered 500", 7.2)
    async with server.client.post(server.url("/api/analyze"), json={"ticker": "A"}) as response:
        check(response.status, await response.read(), "source_failed")
        assert response.headers["Retry-After"] == "8"


async def test_a_market_that_raises_is_a_bad_gateway(server):
    server.market.fetch = lambda tickers: 1 / 0
    async with server.client.post(server.url("/api/analyze"), json={"ticker": "A"}) as response:
        check(response.status, await response.read(), "source_failed")


async def test_before_the_engine_is_loaded_the_server_is_not_ready(tmp_path, monkeypatch):
    monkeypatch.setattr("bq.serving.run.BIND_GRACE_S", 0.0)
    engine = FakeEngine()
    engine.load_gate = threading.Event()
    async with running(tmp_path, engine=engine, ready=False) as server:
        for path in ("/api/analysis/A", "/readyz", "/api/task/none"):
            async with server.client.get(server.url(path)) as response:
                check(response.status, await response.read(), "not_ready")
                assert int(response.headers["Retry-After"]) >= 1


async def test_a_defect_of_a_handler_is_a_bare_500_and_the_server_lives(tmp_path):
    def broken(service):
        async def handler(request):
            raise ZeroDivisionError("secret detail")

        return route(service, "GET", "/broken", handler)

    from bq.serving import app

    async with running(tmp_path, options={"features": [*app.FEATURES, broken]}) as server:
        async with server.client.get(server.url("/broken")) as response:
            body = await response.read()
            check(response.status, body, "internal")
        assert b"secret" not in body
        assert (await server.get("/healthz"))[0] == 200


async def test_too_many_connections_are_told_so(tmp_path):
    async with running(tmp_path, max_connections=2) as server:
        held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        await asyncio.sleep(0.05)
        received = await server.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = received.partition(b"\r\n\r\n")
        check(int(head.split()[1]), body, "too_busy")
        for _, writer in held:
            writer.close()
        await asyncio.sleep(0.05)

        assert (await server.get("/healthz"))[0] == 200
