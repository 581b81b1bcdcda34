"""The servers that are measured, each a process of its own: ours in its forms, and those it is compared with."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
NODE = Path(__file__).parent / ".node"
FASTIFY_VERSION = "5"
PINNED = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}

BARE = """
import asyncio, sys, uvloop
from aiohttp import web
body = sys.stdin.buffer.read()
async def handler(request):
    await request.read()
    return web.Response(body=body, content_type="application/json")
async def main():
    app = web.Application()
    app.router.add_post("/api/analyze", handler)
    app.router.add_get("/api/analysis/T000", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(sys.argv[1]), backlog=4096).start()
    await asyncio.Event().wait()
uvloop.run(main())
"""

FASTIFY = """
const chunks = [];
process.stdin.on('data', (chunk) => chunks.push(chunk));
process.stdin.on('end', async () => {
  const body = Buffer.concat(chunks);
  const app = require('fastify')({ logger: false });
  const send = (request, reply) => { reply.type('application/json').send(body); };
  app.post('/api/analyze', send);
  app.get('/api/analysis/T000', send);
  await app.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });
});
"""

FAKE = """
import sys
from bq.config import Settings
from bq.serving.app import build_app
from bq.serving.run import main
from tests.serving.fakes import FakeEngine, FakeMarket
engine, market = FakeEngine(), FakeMarket()
port, state, padding, path = sys.argv[1:]
engine.padding = int(padding)
settings = Settings(
    port=int(port), host="127.0.0.1", state_dir=state, hot_path=path == "hot", soft_ttl_closed_s=3600.0
)
main(settings, lambda: build_app(settings, market, load=engine.load))
"""


@dataclass
class Server:
    """A running server, with what can be read about it from outside."""

    process: subprocess.Popen[bytes]
    port: int

    def cpu_s(self) -> float:
        """CPU seconds of the process and its children."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ticks = 0
        for pid in (str(self.process.pid), *children):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=120) as response:
            return bytes(response.read())

    def post(self, body: object) -> bytes:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/analyze",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as response:
            return bytes(response.read())

    def metric(self, name: str) -> float:
        lines = self.get("/metrics").decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split(" ")[0] == name)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def serving(
    command: Sequence[str],
    *,
    port: int | None = None,
    stdin: bytes = b"",
    environment: dict[str, str] | None = None,
    cwd: Path = ROOT,
    ready: str = "",
    within_s: float = 120.0,
) -> Iterator[Server]:
    """Run a command with its port as `{port}` and end it afterwards; with `ready`, wait until that path answers 200."""
    port = port or free_port()
    process = subprocess.Popen(
        [part.replace("{port}", str(port)) for part in command],
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, **PINNED, **{k: v.replace("{port}", str(port)) for k, v in (environment or {}).items()}},
    )
    assert process.stdin is not None
    process.stdin.write(stdin)
    process.stdin.close()
    server = Server(process, port)
    try:
        wait_until_ready(server, ready, within_s)
        yield server
    finally:
        process.terminate()
        process.wait()


def wait_until_ready(server: Server, path: str, within_s: float) -> None:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if server.process.poll() is not None:
            raise RuntimeError(f"the server ended with {server.process.returncode}")
        with contextlib.suppress(OSError):
            if path:
                server.get(path)
            else:
                socket.create_connection(("127.0.0.1", server.port), 1).close()
            return
        time.sleep(0.02)
    raise TimeoutError(f"nothing answers on port {server.port}")


def fake(state: str, padding: int, hot_path: bool = True) -> contextlib.AbstractContextManager[Server]:
    """Run our server with an engine that makes answers of some size out of nothing."""
    path = "hot" if hot_path else "cold"
    return serving([sys.executable, "-c", FAKE, "{port}", state, str(padding), path], ready="/readyz")


def real(state: str, tree: Path = ROOT, **settings: str) -> contextlib.AbstractContextManager[Server]:
    """Run our server with the real engine on the sample market."""
    environment = {"BQ_MARKET": "sample", "PORT": "{port}", "BQ_HOST": "127.0.0.1", "BQ_STATE_DIR": state, **settings}
    return serving([sys.executable, "server.py"], environment=environment, cwd=tree, ready="/readyz", within_s=900.0)


def bare(body: bytes) -> contextlib.AbstractContextManager[Server]:
    """Run a bare aiohttp + uvloop handler."""
    return serving([sys.executable, "-c", BARE, "{port}"], stdin=body)


def fastify(body: bytes) -> contextlib.AbstractContextManager[Server]:
    """Run Fastify on Node; see `why_no_fastify`."""
    script = NODE / "server.js"
    script.write_text(FASTIFY)
    return serving(["node", str(script), "{port}"], stdin=body, cwd=NODE)


def why_no_fastify() -> str:
    """Install Fastify beside the benchmarks (ignored by git) if it is not there; say why it cannot be had."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "no node or npm"
    if not (NODE / "node_modules" / "fastify").is_dir():
        NODE.mkdir(exist_ok=True)
        (NODE / "package.json").write_text('{"private": true}\n')
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", f"fastify@{FASTIFY_VERSION}"]
        done = subprocess.run(command, cwd=NODE, capture_output=True, text=True, check=False)
        if done.returncode:
            return "npm cannot install fastify: " + (done.stderr.strip().splitlines() or ["?"])[-1]
    return ""


def old_way(closes: Path) -> contextlib.AbstractContextManager[Server]:
    """Run `benchmarks/old_way.py` under gunicorn with four workers."""
    gunicorn = [sys.executable, "-m", "gunicorn", "-w", "4", "-b", "127.0.0.1:{port}", "-t", "600"]
    command = [*gunicorn, "--log-level", "error", "benchmarks.old_way:app"]
    return serving(command, environment={"OLD_WAY_DATA": str(closes)}, ready="/healthz")
