"""The whole server before a Yahoo of our own: its moods, its budget, and what callers are told meanwhile."""

import asyncio
import datetime as dt
import random
from collections import Counter

import pytest

from bq.market.yahoo import YahooMarket
from tests.market.yahoo_stub import YahooStub
from tests.serving.fakes import running

NOW = dt.datetime(2025, 9, 26, 22, tzinfo=dt.UTC)


class Time:
    """A wall clock that moves when told to; waiting for the rate limit moves it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> dt.datetime:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)


@pytest.fixture
def stub():
    with YahooStub(NOW) as server:
        yield server


def yahoo(stub: YahooStub, time: Time, state, **options) -> YahooMarket:
    arguments = {"requests_per_s": 1e6, "burst": 1e6, "base_url": stub.url, "rng": random.Random(1), **options}
    return YahooMarket(state, time, lambda seconds: None, **arguments)


async def told(server, ticker: str):
    async with server.client.post(server.url("/api/analyze"), json={"ticker": ticker}) as response:
        return response.status, await response.json(), response.headers.get("Retry-After")


async def test_five_minutes_of_refusals_serve_what_is_stored_and_refuse_what_is_new(tmp_path, stub):
    """T31, through the server: few requests go out, nothing new is invented, and one probe brings it back."""
    time, now = Time(), [1000.0]
    market = yahoo(stub, time, tmp_path)
    async with running(tmp_path, market=market, soft_ttl_closed_s=60.0, options={"clock": lambda: now[0]}) as server:
        assert (await told(server, "SIM001"))[0] == 200
        stub.set("429", "/v")
        before = stub.count
        for second in range(0, 300, 10):
            stored, refused = await told(server, "SIM001"), await told(server, f"SIM1{second // 10:02d}")
            assert stored[0] == 200
            assert refused[:1] == (503,), refused
            assert refused[1]["code"] == "too_busy"
            assert int(refused[2]) >= 1
            time.tick(10.0)
            now[0] += 10.0
        await asyncio.sleep(0.05)
        assert stub.count - before <= 20
        assert server.service.cache.counts().refusals == 0  # a 429 is never remembered as "no data"
        stub.set("ok")
        time.tick(1000.0)
        assert (await told(server, "SIM100"))[0] == 200
        async with server.client.get(server.url("/metrics")) as response:
            text = await response.text()
    assert 'bq_upstream_requests_total{outcome="throttled"}' in text
    assert "bq_upstream_breaker_state 0.0" in text


async def test_a_source_that_hangs_is_given_up_and_its_threads_come_back(tmp_path, stub):
    """T32: four hang, the fifth waits, all are told, and the same server answers afterwards."""
    stub.set("hang", "/v8")
    market = yahoo(stub, Time(), tmp_path, timeout_s=0.3, workers=4)
    async with running(tmp_path, market=market) as server:
        answers = await asyncio.gather(*[told(server, f"SIM{number:03d}") for number in range(1, 6)])
        assert {status for status, _, _ in answers} <= {502, 503}
        stub.set("ok")
        server.service.cache.invalidate_all()
        for _ in range(20):  # the breaker may have opened; it tells when to come back
            market.session.breaker._open_s = 0.0
            if (await told(server, "SIM006"))[0] == 200:
                break
        else:
            pytest.fail("the threads did not come back")


@pytest.mark.parametrize("mood", ["nodays", "null", "nulls", "truncated", "consent", "garbage", "redirect", "wrong"])
async def test_what_is_no_data_never_reaches_the_engine_and_is_not_cached_as_data(tmp_path, stub, mood):
    """T33 and T34, through the server (the market's own tests have every mood)."""
    stub.set(mood, "/v8")
    async with running(tmp_path, market=yahoo(stub, Time(), tmp_path)) as server:
        status, body, _ = await told(server, "SIM001")
        assert status in (422, 502)
        assert body["code"] in ("bad_data", "source_failed")
        assert server.engine.analyzed == []
        assert server.service.cache.counts().entries == 0


@pytest.mark.parametrize("count", [40, pytest.param(500, marks=pytest.mark.slow)])
async def test_cold_symbols_cost_the_requests_they_must_and_not_one_more(tmp_path, stub, count):
    """T35: one chart a symbol, one options request and one for each further expiry, one yield; none twice.

    That requests keep to the rate is tested where the bucket is, with its clock
    (`test_five_hundred_requests_keep_to_the_rate`).
    """
    names = [f"SIM{number:03d}" for number in range(1, count + 1)]
    async with running(tmp_path, market=yahoo(stub, Time(), tmp_path), deadline_s=25.0) as server:
        pending = 1
        while pending:
            status, body = await server.post({"tickers": names})
            assert (status, body["failed"]) == (200, 0)
            pending = body["pending"]
        paths = Counter(path for path in stub.paths if "/finance/" in path)
        served = sum(market_count for market_count in server.service.market.requests_by_outcome().values())
    charts = Counter(path.split("?")[0] for path in paths if path.startswith("/v8/finance/chart/"))

    assert charts == Counter([f"/v8/finance/chart/{name}" for name in names] + ["/v8/finance/chart/%5EIRX"])
    assert max(paths.values()) == 1
    assert served == stub.count
    assert sorted(server.engine.analyzed) == sorted(names)
