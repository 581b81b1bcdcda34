"""What every route has: its preflight, its 405, its counts, its one line in the log, and the one shape of its errors.

Rules of this file: `route` wraps a handler; there is no middleware, which would cost every request a call for each.

A feature module exposes `routes(service: Service) -> list[web.RouteDef]`, made of calls of `route`, and is listed in
`app.FEATURES`. Its handlers raise `Failure(problem)` for what is the caller's or the source's fault, and read bodies
with `limits.read_body`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from aiohttp import web

from bq.errors import Failure, Problem
from bq.serving import wire
from bq.serving.service import Service

_log = logging.getLogger(__name__)

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

INTERNAL: Final = Problem("internal", "Something went wrong on our side. It has been noted.")
UNREAD: Final = Problem("too_busy", "Too many answers wait for clients that do not read them.", 5.0)
NO_SUCH_PATH: Final = Problem("not_found", "There is nothing at this path. GET /openapi.json lists what there is.")


def route(service: Service, method: str, path: str, handler: Handler) -> list[web.RouteDef]:
    """Serve a handler at a path, answer its preflight, and say of other methods which one is right.

    Parameters
    ----------
    method
        One method; a GET serves HEAD as well. Serve a second method at the same path by listing both in one call:
        "GET,POST" gives both to the handler.
    """
    methods = method.split(",")
    allowed = [*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"]
    wrapped = guarded(service, path, handler)
    return [
        *(web.route(one, path, wrapped) for one in methods),
        web.route("OPTIONS", path, _preflight),
        web.route("*", path, guarded(service, path, _wrong_method(", ".join(allowed)))),
    ]


def fallback(service: Service) -> list[web.RouteDef]:
    """Serve every path that nobody else does; to be listed last."""
    return [
        web.route("OPTIONS", "/{path:.*}", _preflight),
        web.route("*", "/{path:.*}", guarded(service, "other", _no_such_path)),
    ]


def guarded(service: Service, name: str, handler: Handler) -> Handler:
    """Wrap a handler so that whatever happens in it is answered, counted, and logged if it was slow or failed."""
    clock = service.clock
    counter, histogram = service.metrics.requests, service.metrics.duration.labels(name)
    codes = {200: counter.labels(name, "200")}

    async def serve(request: web.Request) -> web.StreamResponse:
        began = clock()
        service.in_flight += 1
        try:
            response = await handler(request)
        except Failure as failure:
            response = failed(failure.problem)
        except (ConnectionError, asyncio.CancelledError):
            codes.setdefault(499, counter.labels(name, "499")).inc()  # the client has gone; nobody to answer
            raise
        except web.HTTPException as error:
            response = failed(_translated(error), getattr(error, "headers", {}).get("Allow"))
        except Exception:
            _log.exception("%s failed", name)
            response = failed(INTERNAL)
        finally:
            service.in_flight -= 1
        if not response.prepared:
            _cut_off_if_begun(request)
            response = _if_there_is_room(service, response)
        elapsed = clock() - began
        if "Server-Timing" not in response.headers and not response.prepared:
            response.headers["Server-Timing"] = f"total;dur={elapsed * 1000:.2f}"
        status = response.status
        bound = codes.get(status)
        if bound is None:
            bound = codes[status] = counter.labels(name, str(status))
        bound.inc()
        histogram.observe(elapsed)
        if service.draining and not response.prepared:
            response.force_close()
        if (status >= 400 and name != "/readyz") or elapsed > service.settings.slow_s:
            _line(name, response, elapsed)
        return response

    return serve


def unrouted(handle: Handler) -> Handler:
    """Give what no route sees (a tunnel, an expectation that cannot be met) the shape of every other error."""

    async def serve(request: web.Request) -> web.StreamResponse:
        try:
            return await handle(request)
        except web.HTTPException as error:
            return failed(_translated(error))

    return serve


def _cut_off_if_begun(request: web.Request) -> None:
    """Break the connection if part of another answer went out: a second head would be read as its body."""
    if request.writer is not None and request.writer.output_size > 0:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionError("part of an answer was sent already")


def _if_there_is_room(service: Service, response: web.StreamResponse) -> web.StreamResponse:
    """Refuse to add to what clients have not read, beyond what the door allows."""
    body = getattr(response, "body", None)
    if service.door is None or not isinstance(body, bytes) or service.door.has_room(len(body)):
        return response
    service.shed(UNREAD)
    return failed(UNREAD)


def failed(problem: Problem, allow: str | None = None) -> web.Response:
    """Make the answer that tells of a problem."""
    headers = {**wire.CORS, **wire.retry_after(problem), "Cache-Control": "no-store"}
    if allow is not None:
        headers["Allow"] = allow
    return web.Response(status=problem.http_status, body=wire.error(problem), content_type=wire.JSON, headers=headers)


def _line(name: str, response: web.StreamResponse, elapsed: float) -> None:
    timing = response.headers.get("Server-Timing", "")
    level = logging.WARNING if response.status >= 500 else logging.INFO
    extra = {"route": name, "status": response.status, "ms": round(elapsed * 1000, 1), "timing": timing}
    _log.log(level, "request", extra=extra)


def _translated(error: web.HTTPException) -> Problem:
    by_status = {
        404: NO_SUCH_PATH,
        405: Problem("method_not_allowed", "This path does not take that method."),
        411: Problem("length_required", "Send a Content-Length."),
        413: Problem("too_large", "The body is too large."),
        415: Problem("unsupported_media_type", "Send JSON with Content-Type: application/json."),
        417: Problem("bad_request", "Send no Expect but 100-continue."),
    }
    return by_status.get(error.status) or Problem("bad_request" if error.status < 500 else "internal", error.reason)


async def _preflight(request: web.Request) -> web.Response:
    return web.Response(status=204, headers={**wire.PREFLIGHT, "Server-Timing": "total;dur=0"})


async def _no_such_path(request: web.Request) -> web.StreamResponse:
    raise Failure(NO_SUCH_PATH)


def _wrong_method(allowed: str) -> Handler:
    async def refuse(request: web.Request) -> web.StreamResponse:
        problem = Problem("method_not_allowed", f"{request.method} is not served here; {allowed} are.")
        return failed(problem, allowed)

    return refuse
