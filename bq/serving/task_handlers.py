"""HTTP for tasks: how far they are, as an answer or as a stream of events.

Rules of this file: reading only; `jobs.py` does the work and `handlers.py` accepts it.
"""

from typing import Final

import msgspec
from aiohttp import web

from bq.errors import Failure, Problem
from bq.serving import wire
from bq.serving.handlers import answer
from bq.serving.jobs import Progress
from bq.serving.routing import route
from bq.serving.service import Service
from bq.serving.task_store import StoredTask

HEARTBEAT_S: Final = 15.0  # Heroku's router drops a stream after 55 s of silence
NO_SUCH_TASK: Final = Problem("not_found", "There is no such task. Results are kept for a day.")


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
        task, progress = await self._find(request)
        headers = {"Cache-Control": "no-store"} | ({} if progress.finished else {"Retry-After": "1"})
        return answer(await self._state(task, progress), headers)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Tell the same as it changes. An event's id is the number of finished tickers, so a client can come back."""
        task, progress = await self._find(request)
        seen = _last_event(request)
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-cache, no-transform",
                "X-Accel-Buffering": "no",
                "Server-Timing": "total;dur=0",
                **wire.CORS,
            }
        )
        await response.prepare(request)
        if request.method == "HEAD":
            await response.write_eof()
            return response
        await response.write(b"retry: 3000\n\n")
        while True:
            done, finished = progress.done, progress.finished
            if done > seen or finished:
                state = await self._state(task, progress) if finished else _processing(done, progress.total)
                await response.write(b"id: %d\ndata: %b\n\n" % (done, state))
                seen = done
            if finished or self.service.draining:
                break
            if progress.done == done and progress.finished == finished:
                await progress.changed(HEARTBEAT_S)
            if progress.done == done and not progress.finished:
                await response.write(b": still here\n\n")
        await response.write_eof()
        return response

    async def _find(self, request: web.Request) -> tuple[StoredTask, Progress]:
        self.service.require_ready()
        found = await self.service.jobs.find(request.match_info["id"])
        if found is None:
            raise Failure(NO_SUCH_TASK)
        return found

    async def _state(self, task: StoredTask, progress: Progress) -> bytes:
        if not progress.finished:
            return _processing(progress.done, progress.total)
        return b'{"status":"completed","result":%b}' % await self.service.jobs.result(task)


def _processing(done: int, total: int) -> bytes:
    return msgspec.json.encode({"status": "processing", "done": done, "total": total})


def _last_event(request: web.Request) -> int:
    try:
        return int(request.headers.get("Last-Event-ID", ""))
    except ValueError:
        return -1
