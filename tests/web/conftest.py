"""A real server, a real browser, and a page that remembers what went wrong in it."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
)  # fmt: skip
PATIENCE_MS = 60_000  # with what should happen at once: a loaded machine is slow, and slow is not wrong
BOOT_S = 900.0  # a fresh machine compiles the kernels first, for minutes


class Server:
    """A server process on a port of its own that can be stopped and started again."""

    def __init__(self, market: str, state: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {
            **os.environ,
            "BQ_MARKET": market,
            "BQ_STATE_DIR": str(state),
            "BQ_HOST": "127.0.0.1",
            "PORT": str(self.port),
        }
        self._log = state.parent / f"{state.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "server.py"], cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )
        until = time.monotonic() + BOOT_S
        while not self._is_ready():
            gone = self._process.poll()
            if gone is not None or time.monotonic() > until:
                self.stop()
                what = (
                    f"was not ready within {BOOT_S:.0f} s (`make warm` compiles the kernels beforehand)"
                    if gone is None
                    else f"ended with {gone} before it was ready"
                )
                pytest.fail(f"the server {what}; the end of its log:\n{self._log.read_text()[-3000:]}")
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError):  # refused, reset, not ready yet, slow
            return urllib.request.urlopen(f"{self.url}/readyz", timeout=5).status == 200
        return False

    @property
    def is_running(self) -> bool:
        """Tell whether it was started and not stopped since."""
        return self._process is not None

    def stop(self) -> None:
        """Stop it and wait until it has gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(40)
            self._process = None


@pytest.fixture(scope="package")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """Give what serves a market, each market once."""
    servers: dict[str, Server] = {}

    def server_of(market: str) -> Server:
        if market not in servers:
            servers[market] = Server(market, tmp_path_factory.mktemp("state"))
            servers[market].start()
        return servers[market]

    yield server_of
    for server in servers.values():
        server.stop()


@pytest.fixture(scope="package")
def server(serve: Callable[[str], Server], browser: Any) -> Server:
    """Serve the sample market; not at all where there is no browser to look at it."""
    return serve("sample")


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Start Chromium, headless, or skip."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = os.environ.get("BQ_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("Chromium is not installed (apt-get install chromium), and BQ_CHROMIUM does not name one")
    playwright.expect.set_options(timeout=PATIENCE_MS)
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield chromium
        chromium.close()


class Visit:
    """One visitor: opens pages of a server, and writes down errors and requests to anywhere else."""

    def __init__(self, browser: Any, server: Server, **options: Any) -> None:
        self.server = server
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.context = browser.new_context(**{"locale": "en-US", "timezone_id": "Europe/Berlin", **options})
        self.context.set_default_timeout(PATIENCE_MS)
        self.page = self.context.new_page()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.context.on("request", lambda request: self.requests.append(request.url))

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.text} ({message.location.get('url')})")

    def open(self, address: str = "") -> Any:
        """Go to an address of the page, such as "#/scan"."""
        self.page.goto(f"{self.server.url}/{address}")
        return self.page

    @property
    def foreign(self) -> list[str]:
        """Requests to another host."""
        own = (self.server.url + "/", "data:", "blob:" + self.server.url)
        return [url for url in self.requests if not url.startswith(own)]


@pytest.fixture
def visit(browser: Any, server: Server) -> Iterator[Callable[..., Visit]]:
    """Give what makes visits; at the end none of them may have seen an error or asked another host."""
    made: list[Visit] = []

    def make(at: Server = server, **options: Any) -> Visit:
        made.append(Visit(browser, at, **options))
        return made[-1]

    yield make
    for one in made:
        one.context.close()
    assert [error for one in made for error in one.errors] == []
    assert [url for one in made for url in one.foreign] == []
