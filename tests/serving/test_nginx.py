"""Two servers behind nginx, as docs/nginx.conf describes it."""

import asyncio
import contextlib
import shutil
import signal
from pathlib import Path

import aiohttp
import pytest

from tests.serving.processes import ROOT, free_port, process

NGINX = shutil.which("nginx") or next((p for p in ("/usr/sbin/nginx",) if Path(p).exists()), None)


@contextlib.asynccontextmanager
async def nginx(folder: Path, ports: tuple[int, int]):
    front = free_port()
    text = (ROOT / "docs" / "nginx.conf").read_text()
    for old, new in (("127.0.0.1:8000", ports[0]), ("127.0.0.1:8001", ports[1]), ("127.0.0.1:8080", front)):
        assert text.count(f"{old}") == 1
        text = text.replace(old, f"127.0.0.1:{new}")
    paths = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"pid {folder}/nginx.pid; daemon off; error_log {folder}/error.log;\n"
        + text.replace("http {\n", "http {\n" + paths)
    )
    assert NGINX is not None
    server = await asyncio.create_subprocess_exec(NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"))
    try:
        yield f"http://127.0.0.1:{front}"
    finally:
        server.terminate()
        await server.wait()


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed (apt-get install nginx-light)")
@pytest.mark.parametrize("rolls", [1, pytest.param(5, marks=pytest.mark.slow)])
async def test_rolling_two_servers_behind_nginx_fails_no_request(tmp_path, rolls):
    """T44: each is stopped and started again in turn while clients go on asking; every answer is a 200."""
    ports = (free_port(), free_port())
    async with contextlib.AsyncExitStack() as stack:
        servers = {}
        for port in ports:
            servers[port], _ = await stack.enter_async_context(process(tmp_path / str(port), port=port))
        client = await stack.enter_async_context(aiohttp.ClientSession())
        for server in servers.values():
            await server.answering(client)
        front = await stack.enter_async_context(nginx(tmp_path, ports))
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with client.get(front + "/readyz") as response:
                        if response.status == 200:
                            break
                await asyncio.sleep(0.05)
        answered, failures, stop = 0, [], False

        async def load(number: int) -> None:
            nonlocal answered
            async with aiohttp.ClientSession() as own:
                while not stop:
                    body = {"tickers": ["A", f"T{number}", f"U{answered}"]}
                    async with own.post(front + "/api/analyze", json=body) as response:
                        text = await response.read()
                    answered += 1
                    if response.status != 200 or b'"failed":0,"pending":0' not in text:
                        failures.append((response.status, text[:200]))
                    await asyncio.sleep(0.02)

        clients = [asyncio.create_task(load(number)) for number in range(10)]
        for _ in range(rolls):
            for port in ports:
                before = answered
                servers[port].process.send_signal(signal.SIGTERM)
                assert await servers[port].ended() == 0
                servers[port], _ = await stack.enter_async_context(process(tmp_path / str(port), port=port))
                await servers[port].answering(client)
                while answered < before + 100:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        stop = True
        await asyncio.gather(*clients)

    assert failures == []
    assert answered >= 200 * rolls
