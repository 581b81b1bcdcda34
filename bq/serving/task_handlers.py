"""HTTP for tasks: how far they are, as an answer or as a stream of events. A scan is a task as well.

Rules of this file: reading only; `jobs.py` and `scans.py` do the work, `handlers.py` and `scan_handlers.py` accept it.
"""

import msgspec
from aiohttp import web

from bq.errors import Failure
from bq.serving import scan_watch, sse
from bq.serving.handlers import answer
from bq.serving.jobs import NO_SUCH_TASK, UNREADABLE, Watched
from bq.serving.routing import route
from bq.serving.service import Service


def routes(service: Service) -> list[web.RouteDef]:
    """List the routes of tasks."""
    handlers = TaskHandlers(service)
    return [
        *route(service, "GET", "/api/task/{id}", handlers.task),
        *route(service, "GET", "/api/task/{id}/events", handlers.events),
    ]


class TaskHandlers:
    """The handlers of tasks."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def task(self, request: web.Request) -> web.Response:
        """Tell how far a task is, or what it came to."""
        watched = await self._find(request)
        headers = {"Cache-Control": "no-store"} | ({} if watched.finished() else {"Retry-After": "1"})
        return answer(await _state(watched), headers)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Tell the same as it changes. An event's id is the number of finished tickers, so a client can come back."""
        watched = await self._find(request)
        seen = _last_event(request)
        stream = await sse.begin(request)
        while request.method != "HEAD":
            done, finished = watched.done(), watched.finished()
            if done > seen or finished:
                state = await _state(watched) if finished else _processing(done, watched.total)
                await sse.send(stream, str(done), state)
                seen = done
            if finished or self.service.draining:
                break
            if watched.done() == done and watched.finished() == finished:
                await watched.changed(sse.HEARTBEAT_S)
            if watched.done() == done and not watched.finished():
                await sse.beat(stream)
        await stream.write_eof()
        return stream

    async def _find(self, request: web.Request) -> Watched:
        self.service.require_ready()
        task_id = request.match_info["id"]
        found = await self.service.jobs.find(task_id)
        if found is not None:
            task, progress = found
            return Watched(
                progress.total,
                lambda: progress.done,
                lambda: progress.finished,
                progress.changed,
                lambda: self.service.jobs.result(task),
            )
        scan = await scan_watch.watch(self.service.scans, task_id)
        if scan is None:
            raise Failure(NO_SUCH_TASK if self.service.jobs.is_open else UNREADABLE)
        return scan


async def _state(watched: Watched) -> bytes:
    if not watched.finished():
        return _processing(watched.done(), watched.total)
    return b'{"status":"completed","result":%b}' % await watched.result()


def _processing(done: int, total: int) -> bytes:
    return msgspec.json.encode({"status": "processing", "done": done, "total": total})


def _last_event(request: web.Request) -> int:
    try:
        return int(request.headers.get("Last-Event-ID", ""))
    except ValueError:
        return -1
