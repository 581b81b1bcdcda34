"""Servers as processes of their own, to be signalled, killed and started again."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import aiohttp

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Process:
    def __init__(
        self,
        state_dir: Path,
        mode: str,
        *,
        port: int = 0,
        before: Callable[[], None] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.state_dir = state_dir
        self.mode = mode
        self.port = port or free_port()
        self.before = before  # called in the child before the server
        self.environment = environment or {}
        self.output = b""

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.serving.process", str(self.state_dir), str(self.port), self.mode,
            cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            preexec_fn=self.before, env={**os.environ, **self.environment},
        )  # fmt: skip

    async def answering(self, client: aiohttp.ClientSession, path: str = "/readyz", status: int = 200) -> None:
        told = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(120):  # a start takes two seconds, but the machine may be shared
                while self.process.returncode is None:
                    with contextlib.suppress(aiohttp.ClientError):
                        async with client.get(self.url(path)) as response:
                            if response.status == status:
                                return
                            told = await response.text()
                    await asyncio.sleep(0.05)
            told = f"it ended with {self.process.returncode}"
        if self.process.returncode is None:
            self.process.kill()
        await self.ended()
        raise AssertionError(f"{path} did not answer {status}: {told}; {self.output.decode()[-4000:]}")

    async def ended(self) -> int:
        async with asyncio.timeout(30):
            self.output, _ = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode


@contextlib.asynccontextmanager
async def process(state_dir: Path, mode: str = "plain", **options):
    server = Process(state_dir, mode, **options)
    await server.start()
    try:
        async with aiohttp.ClientSession() as client:
            yield server, client
    finally:
        if server.process.returncode is None:
            server.process.kill()
            await server.ended()
