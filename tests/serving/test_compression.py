"""Compressed answers: made once, behind the readers' backs, and of the same content."""

import asyncio
import gzip

import pytest

from bq.serving import wire
from bq.serving.variants import Variants, key_of
from tests.serving.fakes import running, until

GZIP = {"Accept-Encoding": "gzip"}
POST = b"POST /api/analyze HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip, deflate\r\nContent-Length: %d\r\n\r\n%b"
GET = b"GET /api/analysis/A HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n"


def ask(body: bytes) -> bytes:
    return POST % (len(body), body)


async def exchange(server, request: bytes) -> tuple[dict[bytes, bytes], bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in head[:-4].split(b"\r\n")[1:])
    body = await reader.readexactly(int(headers[b"content-length"]))
    writer.close()
    return headers, body


@pytest.mark.parametrize("hot_path", [True, False])
@pytest.mark.parametrize("request_bytes", [ask(b'{"ticker": "A"}'), ask(b'{"tickers": ["B", "A"]}'), GET])
async def test_the_third_reader_gets_the_same_answer_in_fewer_bytes(tmp_path, request_bytes, hot_path):
    async with running(tmp_path, hot_path=hot_path) as server:
        server.engine.padding = 5000
        await server.post({"ticker": "A"})
        await server.post({"tickers": ["A", "B"]})
        plain = [await exchange(server, request_bytes) for _ in range(2)]
        await until(lambda: server.service.variants.made == 1)
        small = [await exchange(server, request_bytes) for _ in range(5)]

    assert all(b"content-encoding" not in headers for headers, _ in plain)
    assert {headers[b"content-encoding"] for headers, _ in small} == {b"gzip"}
    assert {gzip.decompress(body) for _, body in small} == {plain[0][1]}
    assert all(len(body) < len(plain[0][1]) / 5 for _, body in small)
    assert {headers[b"vary"] for headers, _ in plain + small} == {b"accept-encoding"}
    assert server.service.variants.made == 1


@pytest.mark.parametrize("hot_path", [True, False])
async def test_each_form_has_a_strong_tag_of_its_own_and_either_is_known_again(tmp_path, hot_path):
    async with running(tmp_path, hot_path=hot_path) as server:
        server.engine.padding = 5000
        plain, _ = await exchange(server, GET)
        await exchange(server, GET)
        await until(lambda: server.service.variants.made == 1)
        small, _ = await exchange(server, GET)
        statuses = {}
        for name, tag in (("plain", plain[b"etag"]), ("small", small[b"etag"]), ("other", b'"x"')):
            for coding in ("gzip", "identity"):
                headers = {"If-None-Match": tag.decode(), "Accept-Encoding": coding}
                async with server.client.get(server.url("/api/analysis/A"), headers=headers) as response:
                    statuses[name, coding] = response.status
                    assert response.status == 200 or response.headers["ETag"] == tag.decode()

    assert plain[b"etag"] != small[b"etag"]
    assert statuses == {
        ("plain", "gzip"): 304, ("plain", "identity"): 304,
        ("small", "gzip"): 304, ("small", "identity"): 200,
        ("other", "gzip"): 200, ("other", "identity"): 200,
    }  # fmt: skip


async def test_whoever_does_not_ask_for_it_never_gets_it(tmp_path):
    async with running(tmp_path) as server:
        server.engine.padding = 5000
        await server.post({"ticker": "A"})
        for _ in range(3):
            await exchange(server, ask(b'{"ticker": "A"}'))
        await until(lambda: server.service.variants.made == 1)
        headers, _ = await exchange(server, ask(b'{"ticker": "A"}').replace(b"gzip, deflate", b"gzip;q=0"))

    assert b"content-encoding" not in headers


async def test_a_new_answer_is_not_sent_in_the_old_ones_compressed_form(tmp_path):
    now = [1000.0]
    async with running(tmp_path, options={"clock": lambda: now[0]}) as server:
        server.engine.padding = 5000
        for _ in range(3):
            await exchange(server, GET)
        await until(lambda: server.service.variants.made == 1)
        server.engine.padding = 6000
        now[0] += 100_000.0
        _, fresh = await exchange(server, GET)
        await exchange(server, GET)
        await until(lambda: server.service.variants.made == 2)
        headers, small = await exchange(server, GET)

    assert headers[b"content-encoding"] == b"gzip"
    assert gzip.decompress(small) == fresh


async def test_a_flood_of_readers_causes_one_compression():
    calls, gate = [], asyncio.Event()

    async def compress(body: bytes) -> bytes:
        calls.append(body)
        await gate.wait()
        return body[:10]

    variants = Variants(compress)
    key = key_of(b"one", [b"tag"])
    assert [variants.smaller(key, b"x" * 5000) for _ in range(1000)] == [None] * 1000
    await asyncio.sleep(0)
    gate.set()
    await until(lambda: variants.made == 1)

    assert (variants.get(key), len(calls)) == (b"x" * 10, 1)


async def test_what_does_not_shrink_is_tried_once():
    calls = []

    async def compress(body: bytes) -> bytes:
        calls.append(body)
        return body

    variants = Variants(compress)
    for _ in range(10):
        assert variants.smaller(b"key", b"x" * 5000) is None
        await asyncio.sleep(0)
    assert len(calls) == 1


async def test_compressed_answers_keep_to_their_budget():
    async def compress(body: bytes) -> bytes:
        return body[:1800]

    variants = Variants(compress, budget=20_000)
    for i in range(100):
        for _ in range(2):
            variants.offer(b"%d" % i, b"x" * 5000)
        await asyncio.sleep(0.001)
    assert variants.made == 100
    assert 10_000 < variants.size <= 20_000


@pytest.mark.parametrize(
    ("header", "takes"),
    [("gzip", True), ("GZIP, br", True), ("br, gzip;q=0.5", True), ("gzip;q=0", False), ("gzip; q=0.000", False),
     ("identity", False), ("*", False), ("", False), ("x-gzip2", False)],
)  # fmt: skip
def test_what_an_accept_encoding_asks_for(header, takes):
    assert wire.takes_gzip(header) is takes
