"""The process: signals, `kill -9`, and an end within the time that a platform gives."""

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import time
from typing import Any

import aiohttp
import msgspec
import pytest

from bq.serving.blackbox import BlackBox
from bq.serving.suspects import FATAL
from tests.serving.processes import Process, process


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


@pytest.mark.parametrize("kills", [2, pytest.param(100, marks=pytest.mark.slow)])
async def test_accepted_tasks_survive_kill_minus_nine_at_any_moment(tmp_path, kills):
    """T38: killed at random moments, often before the last task is done; each ends once, as if nothing had happened."""
    rng = random.Random(38)
    tasks: dict[str, list[str]] = {}
    for kill in range(kills):
        async with process(tmp_path, "slow-slices") as (server, client):
            await server.answering(client)
            submitting = asyncio.create_task(submit(client, server, [f"T{kill}X{i}" for i in range(100)], tasks))
            await asyncio.sleep(rng.uniform(0.0, 0.6))
            os.kill(server.process.pid, signal.SIGKILL)
            await server.ended()
            await asyncio.gather(submitting, return_exceptions=True)
    assert len(tasks) > kills / 2  # the others were killed before they were accepted
    async with process(tmp_path) as (server, client):
        await server.answering(client)
        for location, names in tasks.items():
            result = await finished(client, server, location)
            assert (result["count"], result["failed"], result["pending"]) == (100, 0, 0)
            assert [item["ticker"] for item in result["data"]] == names
            assert [item["data"] for item in result["data"]] == [
                {"ticker": name, "current_price": 100.0, "padding": "", "detail": "summary"} for name in names
            ]
    with contextlib.closing(sqlite3.connect(tmp_path / "tasks.db")) as database:
        assert database.execute("SELECT count(*) FROM tasks WHERE finished IS NULL").fetchone() == (0,)
        counts = database.execute("SELECT count(*), count(DISTINCT position) FROM items GROUP BY task").fetchall()
    assert set(counts) == {(100, 100)}


async def submit(client: aiohttp.ClientSession, server: Process, names: list[str], tasks: dict[str, list[str]]) -> None:
    """Hand in a task; it counts as accepted from the moment at which the answer is here."""
    headers = {"Prefer": "respond-async"}
    async with client.post(server.url("/api/analyze"), json={"tickers": names}, headers=headers) as response:
        assert response.status == 202
        tasks[response.headers["Location"]] = names


async def finished(client: aiohttp.ClientSession, server: Process, location: str) -> dict[str, Any]:
    async with asyncio.timeout(120):
        while True:
            async with client.get(server.url(location)) as response:
                body = msgspec.json.decode(await response.read())
                assert response.status == 200
            if body["status"] == "completed":
                return body["result"]
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_a_slice_that_hangs_ends_the_process_for_its_supervisor(tmp_path):
    """T12."""
    async with process(tmp_path, "hang") as (server, client):
        await server.answering(client)
        async with client.post(server.url("/api/analyze"), json={"ticker": "A"}) as response:
            assert response.status == 503
        await server.answering(client, "/readyz", 503)

        assert await server.ended() == 70
    assert BlackBox(tmp_path).read("", 0.0)[1] == {"A": FATAL}  # the next process computes it apart
