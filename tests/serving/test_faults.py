"""What a machine does to a process: no descriptors, no disk, no home, death in compiled code, an end amid requests."""

import asyncio
import contextlib
import os
import resource
import signal
import sys
from pathlib import Path

import aiohttp
import msgspec
import pytest

from tests.serving.processes import ROOT, free_port, process


async def finished(client: aiohttp.ClientSession, url: str):
    async with asyncio.timeout(30):
        while True:
            async with client.get(url) as response:
                assert response.status == 200
                body = msgspec.json.decode(await response.read())
            if body["status"] == "completed":
                return body["result"]
            await asyncio.sleep(0.05)


async def metric(client: aiohttp.ClientSession, url: str, name: str) -> float:
    async with client.get(url) as response:
        lines = (await response.text()).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split(" ")[0] == name)


async def test_death_in_compiled_code_loses_no_accepted_task(tmp_path):
    """T13: the exit code is the signal's, and the next process goes on with what was accepted."""
    names = [f"T{i}" for i in range(200)]
    async with process(tmp_path, "abort") as (server, client):
        await server.answering(client)
        headers = {"Prefer": "respond-async"}
        async with client.post(server.url("/api/analyze"), json={"tickers": names}, headers=headers) as response:
            location = response.headers["Location"]
        with contextlib.suppress(aiohttp.ClientError):
            await client.post(server.url("/api/analyze"), json={"ticker": "ABORT"})
        assert await server.ended() == -signal.SIGABRT
    async with process(tmp_path) as (server, client):
        await server.answering(client)
        result = await finished(client, server.url(location))

    assert [item["ticker"] for item in result["data"]] == names
    assert result["failed"] == 0


def few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))


async def test_a_thousand_connections_for_two_hundred_descriptors(tmp_path):
    """T28: nobody hangs, nothing dies, and when they have gone all is as before."""
    async with process(tmp_path, before=few_descriptors) as (server, client):
        await server.answering(client)
        opened = await asyncio.gather(
            *[asyncio.open_connection("127.0.0.1", server.port) for _ in range(1000)], return_exceptions=True
        )
        connections = [one for one in opened if not isinstance(one, BaseException)]
        assert len(connections) >= 256
        for _, writer in connections:
            with contextlib.suppress(ConnectionError):
                writer.close()
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with client.post(server.url("/api/analyze"), json={"ticker": "A"}) as response:
                        if response.status == 200:
                            break
                await asyncio.sleep(0.05)
        assert await metric(client, server.url("/metrics"), "bq_connections_closed_total") > 0
        server.process.send_signal(signal.SIGTERM)
        assert await server.ended() == 0
    assert b"Traceback" not in server.output


def no_disk() -> None:
    """Let every write to a file fail, as on a full disk (the signal is ignored by the interpreter)."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


NOWHERE = {"HOME": "/proc/nowhere", "TMPDIR": "/proc/nowhere", "XDG_CACHE_HOME": "/proc/nowhere"}


@pytest.mark.parametrize("state_dir", ["", "/proc/nowhere"])
async def test_without_a_disk_to_write_on_it_serves_and_counts(tmp_path, state_dir):
    """T39: a full disk, and one that is read only; nothing is accepted that cannot be kept."""
    async with process(Path(state_dir or tmp_path), before=no_disk, environment=NOWHERE) as (server, client):
        await server.answering(client)
        async with client.post(server.url("/api/analyze"), json={"tickers": ["A", "B"]}) as response:
            assert response.status == 200
        headers = {"Prefer": "respond-async"}
        async with client.post(server.url("/api/analyze"), json={"tickers": ["A"]}, headers=headers) as response:
            assert (response.status, (await response.json())["code"]) == (503, "not_ready")
        assert await metric(client, server.url("/metrics"), "bq_job_store_failures_total") >= 1
        server.process.send_signal(signal.SIGTERM)
        assert await server.ended() == 0
    assert b"could not be written" in server.output  # the snapshot, at the end


@pytest.mark.slow
async def test_the_real_server_boots_and_serves_without_a_disk_to_write_on(tmp_path):
    """T39, with the kernels: the compiled cache is read though nothing can be written beside it."""
    port = free_port()
    environment = {
        **os.environ, **NOWHERE, "PORT": str(port), "BQ_HOST": "127.0.0.1", "BQ_MARKET": "sample",
        "BQ_STATE_DIR": "/proc/nowhere",
    }  # fmt: skip
    server = await asyncio.create_subprocess_exec(
        sys.executable, "server.py", cwd=ROOT, env=environment, preexec_fn=no_disk,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with aiohttp.ClientSession() as client, asyncio.timeout(300):
            while server.returncode is None:
                with contextlib.suppress(aiohttp.ClientError):
                    async with client.get(f"http://127.0.0.1:{port}/readyz") as response:
                        if response.status == 200:
                            break
                await asyncio.sleep(0.2)
            async with client.post(f"http://127.0.0.1:{port}/api/analyze", json={"ticker": "SIM001"}) as response:
                assert response.status == 200
                assert (await response.json())["data"]["ticker"] == "SIM001"
        server.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(server.wait(), 30) == 0
    finally:
        if server.returncode is None:
            server.kill()
            await server.wait()


@pytest.mark.slow
async def test_requests_that_outlast_the_shutdown_are_answered_with_what_there_is(tmp_path):
    """T36, where the work takes longer than the time there is: an answer, not a cut connection; an end within 25 s."""
    async with process(tmp_path, "hang") as (server, client):
        await server.answering(client)

        async def ask():
            headers = {"X-Deadline-Ms": "25000"}
            async with client.post(server.url("/api/analyze"), json={"tickers": ["A"]}, headers=headers) as response:
                return response.status, msgspec.json.decode(await response.read())

        asked = [asyncio.create_task(ask()) for _ in range(5)]
        await asyncio.sleep(1.0)
        server.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(25):
            answers = await asyncio.gather(*asked)
            assert await server.ended() == 0

    assert all(status in (200, 503) for status, _ in answers)


async def test_a_reader_of_the_logs_that_stopped_reading_does_not_keep_the_process_alive(tmp_path):
    async with process(tmp_path) as (server, client):
        await server.answering(client)
        reader = server.process.stdout
        assert reader is not None
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(1500):  # a line each, over 100 KiB: more than a pipe holds
            async with client.get(server.url("/nowhere")) as response:
                await response.read()
        server.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(25):  # not wait(): that waits for the pipe as well
            while server.process.returncode is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        assert await server.ended() == 0
