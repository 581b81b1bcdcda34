"""The process: signals, `kill -9`, and an end within the time that a platform gives."""

import asyncio
import os
import signal
import time
from pathlib import Path

import aiohttp
import msgspec
import pytest

from tests.serving.processes import process


async def test_sigterm_under_load_drops_no_request(tmp_path):
    """T36: clients that keep their connections and try again only where they could not connect."""
    async with process(tmp_path) as (server, client):
        await server.answering(client)
        failures, answered = [], 0

        async def load():
            nonlocal answered
            async with aiohttp.ClientSession() as own:
                while True:
                    try:
                        body = {"tickers": ["A", "B", f"T{answered}"]}
                        async with own.post(server.url("/api/analyze"), json=body) as response:
                            await response.read()
                            answered += 1
                            if response.status != 200:
                                failures.append(response.status)
                    except aiohttp.ClientConnectorError:
                        return  # the door is shut
                    except aiohttp.ClientError as error:
                        failures.append(repr(error))
                        return

        clients = [asyncio.create_task(load()) for _ in range(20)]
        while answered < 500:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*clients)

        assert await server.ended() == 0
        assert failures == []


async def test_a_request_under_way_is_finished(tmp_path):
    async with process(tmp_path, "slow-slices") as (server, client):
        await server.answering(client)
        request = asyncio.create_task(client.post(server.url("/api/analyze"), json={"tickers": ["A", "B"]}))
        await asyncio.sleep(0.02)
        server.process.send_signal(signal.SIGTERM)
        async with await request as response:
            body = msgspec.json.decode(await response.read())

        assert [item["status"] for item in body["data"]] == ["ok", "ok"]
        assert await server.ended() == 0


async def test_many_sigterms_are_one(tmp_path):
    """T37."""
    async with process(tmp_path) as (server, client):
        await server.answering(client)
        for _ in range(5):
            server.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.01)

        assert await server.ended() == 0
        assert b"Traceback" not in server.output


async def test_sigterm_while_the_engine_is_loading_is_a_clean_end(tmp_path):
    async with process(tmp_path, "slow-boot") as (server, client):
        await server.answering(client, "/readyz", 503)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)

        assert await server.ended() == 0
        assert time.monotonic() - began < 25  # the engine would have taken 60
        assert b"Traceback" not in server.output


async def killed_and_restarted(tmp_path: Path, after_s: float) -> None:
    names = [f"T{i}" for i in range(300)]
    async with process(tmp_path, "slow-slices") as (server, client):
        await server.answering(client)
        headers = {"Prefer": "respond-async"}
        async with client.post(server.url("/api/analyze"), json={"tickers": names}, headers=headers) as response:
            assert response.status == 202
            location = response.headers["Location"]
        await asyncio.sleep(after_s)
        os.kill(server.process.pid, signal.SIGKILL)
        await server.ended()
    async with process(tmp_path) as (server, client):
        await server.answering(client)
        async with asyncio.timeout(20):
            while True:
                async with client.get(server.url(location)) as response:
                    body = msgspec.json.decode(await response.read())
                    assert response.status == 200
                if body["status"] == "completed":
                    break
                await asyncio.sleep(0.05)

    assert [item["ticker"] for item in body["result"]["data"]] == names
    assert all(item["data"]["ticker"] == item["ticker"] for item in body["result"]["data"])


async def test_an_accepted_task_survives_kill_minus_nine(tmp_path):
    """T38, once."""
    await killed_and_restarted(tmp_path, 0.3)


@pytest.mark.slow
@pytest.mark.parametrize("after_ms", range(0, 1000, 50))
async def test_an_accepted_task_survives_kill_minus_nine_at_any_moment(tmp_path, after_ms):
    """T38."""
    await killed_and_restarted(tmp_path, after_ms / 1000)


@pytest.mark.slow
async def test_a_slice_that_hangs_ends_the_process_for_its_supervisor(tmp_path):
    """T12."""
    async with process(tmp_path, "hang") as (server, client):
        await server.answering(client)
        async with client.post(server.url("/api/analyze"), json={"ticker": "A"}) as response:
            assert response.status == 503
        await server.answering(client, "/readyz", 503)

        assert await server.ended() == 70
