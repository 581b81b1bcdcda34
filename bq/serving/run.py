"""From a door that opens to a door that closes: listening, signals, and an orderly end within 25 seconds.

Rules of this file: the life of the process. Heroku sends SIGTERM to every process, perhaps several times, and SIGKILL
after 30 s; Kubernetes goes on sending traffic for some seconds after SIGTERM.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web
from aiohttp.web_server import Server

from bq.config import Settings
from bq.serving.app import SERVICE
from bq.serving.limits import BACKLOG, BODY, ignore_newcomers, listening_socket, raise_descriptor_limit
from bq.serving.logs import leave, start_logging
from bq.serving.memory import settle_allocator
from bq.serving.protocol import Door
from bq.serving.routing import unrouted
from bq.serving.service import Service

_log = logging.getLogger(__name__)

BIND_GRACE_S: Final = 2.0
"""How long the door stays shut for a boot that may be quick: behind a router without readiness checks the first callers
then never see "not ready". A machine that must compile opens it after that and says so."""

ACCEPT_S: Final = 0.1  # for what is in the listener's queue
LINGER_S: Final = 0.5  # answers close their connections for so long before idle ones are cut
FINISH_S: Final = 10.0  # for requests under way; after that they are answered with what there is
ANSWER_S: Final = 1.0  # for those answers
CANCEL_S: Final = 1.0  # aiohttp may spend it twice


class Runner(web.AppRunner):
    """Runs the application behind our own door."""

    def __init__(self, app: web.Application, settings: Settings, max_connections: int) -> None:
        super().__init__(app, handle_signals=False, access_log=None, shutdown_timeout=CANCEL_S)
        self._service = app[SERVICE]
        self._settings = settings
        self._max_connections = max_connections

    async def _make_server(self) -> Server:
        server = await super()._make_server()
        server.request_handler = unrouted(server.request_handler)  # type: ignore[assignment]
        door = Door(
            server,
            max_connections=self._max_connections,
            header_timeout_s=self._settings.header_timeout_s,
            write_stall_s=self._settings.write_stall_s,
            access_log=None,
            keepalive_timeout=self._settings.keepalive_s,
            auto_decompress=False,
            lingering_time=1.0,
            read_bufsize=BODY,
        )
        if self._settings.hot_path:
            door.hot = self._service.hot
        self._service.door = door
        return door


async def serve(
    app: web.Application,
    settings: Settings,
    stop: asyncio.Event,
    on_listening: Callable[[int], object] = lambda port: None,
) -> None:
    """Serve until `stop` is set, then end in order.

    Parameters
    ----------
    on_listening
        Told the port, once connections are taken (with port 0 the system chooses one).
    """
    service = app[SERVICE]
    listener = listening_socket(settings.host, settings.port, settings.write_stall_s)
    runner = Runner(app, settings, raise_descriptor_limit(settings.max_connections))
    await runner.setup()
    try:
        stopping = asyncio.ensure_future(stop.wait())
        assert service.boot_task is not None
        await asyncio.wait((service.boot_task, stopping), timeout=BIND_GRACE_S, return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            site = web.SockSite(runner, listener, backlog=BACKLOG)
            await site.start()
            on_listening(listener.getsockname()[1])
            _log.info("listening on %s:%d", settings.host, listener.getsockname()[1])
            _settle_garbage()
            await stopping
            await _drain(service, settings, site, listener)
    finally:
        await runner.cleanup()
        listener.close()


async def _drain(service: Service, settings: Settings, site: web.SockSite, listener: socket.socket) -> None:
    """Say no, close the door, and let what is under way finish."""
    service.drain()
    await asyncio.sleep(settings.drain_s)
    await _until(lambda: not (service.door and service.door.connections_by_handler), LINGER_S)
    ignore_newcomers(listener)
    await asyncio.sleep(ACCEPT_S)
    await site.stop()
    # Whoever came through the door at the last moment is still to be heard: cutting a connection before its first
    # request would be a failed request for its client.
    await _until(lambda: not (service.door and service.door.connections_by_handler), LINGER_S)
    await _until(lambda: not service.in_flight, FINISH_S)
    if service.in_flight:
        service.batcher.hurry()
        await _until(lambda: not service.in_flight, ANSWER_S)


async def _until(condition: Callable[[], bool], within_s: float) -> None:
    end = asyncio.get_running_loop().time() + within_s
    while not condition() and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110 - an event would burden requests
        await asyncio.sleep(0.02)


def _settle_garbage() -> None:
    """Take what was made so far out of the collector's sight, and let it look less often: its pauses are latency."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def main(settings: Settings, app: Callable[[], web.Application]) -> None:
    """Run the server as this process; does not return."""
    start_logging()
    settle_allocator()
    # The interpreter's switch interval stays at 5 ms. With half a millisecond no gain was clear: in single runs the lag
    # of the loop had a p99 of 33 instead of 60 ms, a cold list ran at 206 instead of 189 a second, but threads alone at
    # 218 instead of 269.
    code = 0
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_main(settings, app))
    except Exception:
        _log.critical("the server ended", exc_info=True)
        code = 1
    leave(code)


async def _main(settings: Settings, app: Callable[[], web.Application]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, lambda: os._exit(130) if stop.is_set() else stop.set())
    await serve(app(), settings, stop)


def _loop_factory() -> Callable[[], Any] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], Any] = uvloop.new_event_loop
    return factory
