"""The hot path says what aiohttp and the handlers would have said, or nothing."""

import asyncio

import pytest

from bq.serving.hot import owed, read_head
from tests.serving.fakes import running


def post(body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST /api/analyze HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def get(target: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([b"GET " + target + b" HTTP/1.1", b"Host: x", *headers]) + b"\r\n\r\n"


JSON = b"Content-Type: application/json"
SAME = {
    "one": post(b'{"ticker": "A"}', JSON),
    "one, with a charset": post(b'{"ticker": "A"}', b"content-type: application/json; charset=utf-8"),
    "one, no content type": post(b'{"ticker": "A"}'),
    "one, spelt otherwise": post(b'{"ticker": " a "}', JSON),
    "full": post(b'{"ticker": "A", "detail": "full"}', JSON),
    "list": post(b'{"tickers": ["B", "A", "b"]}', JSON),
    "list with an unknown ticker": post(b'{"tickers": ["A", "NO1"]}', JSON),
    "list with an impossible ticker": post(b'{"tickers": ["A", "a b"]}', JSON),
    "empty list": post(b'{"tickers": []}', JSON),
    "bad body": post(b'{"ticker": 5}', JSON),
    "wrong type": post(b'{"ticker": "A"}', b"Content-Type: text/plain"),
    "stream": post(b'{"tickers": ["A"]}', JSON, b"Accept: application/x-ndjson"),
    "browser": post(b'{"ticker": "A"}', JSON, b"Origin: http://y", b"User-Agent: z", b"Accept: */*", b"Cookie: a=b"),
    "proxy": post(b'{"ticker": "A"}', JSON, b"X-Request-Id: 1", b"X-Forwarded-For: 1.2.3.4", b"CF-Ray: 5"),
    "close": post(b'{"ticker": "A"}', JSON, b"Connection: close"),
    "compressed": post(b'{"ticker": "A"}', JSON, b"Accept-Encoding: gzip, br"),
    "get compressed": get(b"/api/analysis/A", b"Accept-Encoding: gzip"),
    "deadline": post(b'{"ticker": "A"}', JSON, b"X-Deadline-Ms: zero"),
    "get": get(b"/api/analysis/A"),
    "get full": get(b"/api/analysis/A?detail=full"),
    "get small letters": get(b"/api/analysis/a"),
    "get bad detail": get(b"/api/analysis/A?detail=all"),
    "get unknown": get(b"/api/analysis/NO1"),
    "get, another tag": get(b"/api/analysis/A", b'If-None-Match: "x"'),
    "get, any tag": get(b"/api/analysis/A", b"If-None-Match: *"),
    "get, old version": b"GET /api/analysis/A HTTP/1.0\r\nHost: x\r\n\r\n",
}
NOT_COMPARED = (b"date:", b"server:", b"x-", b"server-timing:")


async def exchange(port: int, request: bytes) -> tuple[bytes, set[bytes], bytes]:
    """Send a request on a connection that is warm; give the status line, the headers, and the rest."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b'"ok"}')
    await asyncio.sleep(0.01)
    writer.write(request)
    await asyncio.sleep(0.05)
    received = await reader.read(1 << 20)
    writer.close()
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    headers = {line.lower() for line in lines[1:] if not line.lower().startswith(NOT_COMPARED)}
    return lines[0], headers, body


@pytest.mark.parametrize("request_bytes", SAME.values(), ids=SAME.keys())
async def test_with_and_without_the_hot_path_an_answer_is_the_same(tmp_path, request_bytes):
    told = []
    for hot_path in (True, False):
        async with running(tmp_path / str(hot_path), hot_path=hot_path, options={"wall": lambda: 1.7e9}) as server:
            await server.post({"tickers": ["A", "B", "NO1"]})
            await server.post({"ticker": "A"})
            await server.post({"ticker": "A", "detail": "full"})
            server.service.max_age = server.service.hot._max_age = lambda entry: 60
            told.append(await exchange(server.port, request_bytes))

    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("name", "hot"),
    [("one", 1), ("list", 1), ("browser", 1), ("proxy", 1), ("get", 1), ("get, any tag", 1), ("close", 0),
     ("stream", 0), ("list with an unknown ticker", 0), ("get small letters", 0)],
)  # fmt: skip
async def test_what_is_plain_and_stored_is_answered_by_the_hot_path(tmp_path, name, hot):
    async with running(tmp_path) as server:
        await server.post({"tickers": ["A", "B"]})
        await server.post({"ticker": "A"})
        path = server.service.hot
        before = path.served_post + sum(path.served_get.values())
        await exchange(server.port, SAME[name])

        assert path.served_post + sum(path.served_get.values()) - before == hot


async def test_a_tag_that_is_known_gets_304_on_the_hot_path(tmp_path):
    async with running(tmp_path) as server:
        async with server.client.get(server.url("/api/analysis/A")) as response:
            tag = response.headers["ETag"]
        status, headers, body = await exchange(server.port, get(b"/api/analysis/A", b"If-None-Match: " + tag.encode()))

        assert (status, body) == (b"HTTP/1.1 304 Not Modified", b"")
        assert b"etag: " + tag.encode() in headers
        assert server.service.hot.served_get[304] == 1


async def test_hot_requests_are_counted_once(tmp_path):
    async with running(tmp_path) as server:
        for _ in range(5):
            await server.post({"ticker": "A"})
        for _ in range(2):
            async with server.client.get(server.url("/metrics")) as response:
                text = await response.text()

    assert 'bq_http_requests_total{code="200",route="/api/analyze"} 5.0' in text
    assert 'bq_cache_lookups_total{result="hit"} 4.0' in text


async def test_a_counted_client_does_not_slip_past_its_bucket(tmp_path):
    async with running(tmp_path, client_rate=0.001, client_burst=3.0) as server:
        statuses = [(await server.post({"ticker": "A"}))[0] for _ in range(5)]

    assert statuses == [200, 200, 200, 429, 429]


async def test_answers_keep_their_order_when_hot_requests_follow_cold_ones(tmp_path):
    async with running(tmp_path) as server:
        await server.post({"ticker": "HOT"})
        server.engine.delay_s = 0.1
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for name in (b"COLD1", b"HOT", b"COLD2", b"HOT"):
            writer.write(post(b'{"ticker": "%b"}' % name, JSON))
            await asyncio.sleep(0.02)
        received = b""
        while received.count(b"from_cache") < 4:
            received += await reader.read(65536)
        writer.close()

    assert [part.split(b'"')[0] for part in received.split(b'"ticker":"')[1:]] == [b"COLD1", b"HOT", b"COLD2", b"HOT"]


@pytest.mark.parametrize("cut", [1, 20, 60, 100, 112])
async def test_a_request_in_two_pieces_is_one_request(tmp_path, cut):
    async with running(tmp_path) as server:
        await server.post({"ticker": "A"})
        request = post(b'{"ticker": "A"}', JSON)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for _ in range(3):
            writer.write(request[:cut])
            await asyncio.sleep(0.02)
            writer.write(request[cut:])
            assert b'"from_cache":true' in await reader.readuntil(b"true}")
        writer.close()


async def test_a_connection_that_was_split_between_head_and_body_stays_hot(tmp_path):
    async with running(tmp_path) as server:
        await server.post({"ticker": "A"})
        before = server.service.hot.served_post
        request = post(b'{"ticker": "A"}', JSON)
        head = request.index(b"\r\n\r\n") + 4
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for pieces in ((request[:head], request[head:]), (request,)):
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0.02)
            await reader.readuntil(b"true}")
        writer.close()

        assert server.service.hot.served_post - before == 1


async def test_a_hot_connection_does_not_die_of_its_keep_alive_time(tmp_path):
    async with running(tmp_path, keepalive_s=0.4) as server:
        await server.post({"ticker": "A"})
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for _ in range(8):
            await asyncio.sleep(0.1)
            writer.write(post(b'{"ticker": "A"}', JSON))
            await reader.readuntil(b"true}")
        assert await reader.read() == b""  # and then it does
        writer.close()


@pytest.mark.parametrize(
    "head",
    [
        b"POST /api/analyze HTTP/1.1\r\nContent-Length: 2",
        b"POST /api/analyze HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2",
        b"POST /api/analyze HTTP/1.1\r\nHost: x\r\nContent-Length : 2",
        b"POST /api/analyze HTTP/1.1\r\nHost: x\r\nContent-Length: +2",
        b"POST /api/analyze HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked",
        b"POST /api/analyze HTTP/1.1\r\nHost: x\r\nOrigin: a\nTransfer-Encoding: chunked",
        b"POST /api/analyze HTTP/1.1\r\nHost: x\r\nOrigin: a\rb",
        b"POST /api/analyze HTTP/1.1\r\nHost: x\r\nOrigin: a\x00b",
        b"POST /api/analyze HTTP/1.1\r\nHost: x\r\n folded: a",
        b"POST /api/analyze HTTP/1.1\r\nHost: x\r\nno colon",
        b"POST /api/analyze HTTP/1.1\r\nHost: x\r\nExpect: 100-continue",
        b"POST /api/analyze HTTP/1.1\r\nHost: x\r\nUpgrade: websocket",
        b"POST /api/analyze HTTP/1.1\r\nHost: x\r\nConnection: upgrade",
        b"POST /api/analyze HTTP/1.1\r\nHost: x\r\nPrefer: respond-async",
        b"POST /api/analyze HTTP/1.1\r\nHost: x\r\nX-Deadline-Ms: 5",
        b"POST /api/analyze HTTP/1.1\r\nHost: x\r\nContent_Length: 5",
        b"POST /api/analyze HTTP/1.1\r\nHost: x\r\n: 5",
    ],
)
def test_a_head_that_is_not_plainly_understood_is_left_to_aiohttp(head):
    assert read_head(head) is None


def test_what_is_owed_is_counted_or_not_known():
    request = post(b'{"ticker": "A"}', JSON)

    assert owed(request) == 0
    assert owed(request[:-5]) == 5
    assert owed(request + b"x") is None
    assert owed(request[:20]) is None
