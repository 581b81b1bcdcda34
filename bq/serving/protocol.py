"""Connections: how many, how slow, and what a caller is told who does not speak HTTP.

Rules of this file: the only place that looks inside aiohttp's connection objects. aiohttp closes idle connections; it
does not close those that trickle a request's head, and it waits for ever for a client that does not read its answer.
"""

import logging
from typing import Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from aiohttp.web_server import Server

from bq.errors import Problem
from bq.serving import wire
from bq.serving.hot import HotPath, Parts, owed

_log = logging.getLogger(__name__)

FULL: Final = Problem("too_busy", "Too many connections.", 5.0)


def _raw(problem: Problem) -> bytes:
    body = wire.error(problem)
    head = (
        f"HTTP/1.1 {problem.http_status} Service Unavailable\r\nContent-Type: {wire.JSON}\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: 5\r\nAccess-Control-Allow-Origin: *\r\n"
        "Server-Timing: total;dur=0\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


REFUSED: Final = _raw(FULL)

UNREAD_LIMIT: Final = 128 << 20
"""Bytes of answers that clients have not taken, over all connections: what many that do not read may cost."""

JOINED: Final = 8192
"""Bytes of an answer below which joining its parts costs less than sending them as several."""

RECOUNT_S: Final = 0.05  # between two counts of them, at least


class Connection(RequestHandler):
    """One connection, with the two clocks that aiohttp does not have."""

    __slots__ = ("door", "head_since", "owed", "unread", "unread_since")

    def __init__(self, manager: "Door", **options: Any) -> None:
        super().__init__(manager, **options)
        self.door = manager
        self.head_since = 0.0  # since when the head of a request has been incomplete
        self.owed: int | None = 0  # bytes that the request under way lacks; None once that cannot be told any more
        self.unread = 0  # bytes of answers that the client has not taken
        self.unread_since = 0.0

    def connection_made(self, transport: Any) -> None:
        """Let a connection in, or tell it at once that there are too many."""
        if len(self.door.connections_by_handler) >= self.door.max_connections:
            self.door.turned_away += 1
            self._force_close = True
            transport.write(REFUSED)
            transport.close()
            return
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Answer what can be answered at once, parse the rest; note when the head of a request is left incomplete."""
        hot = self.door.hot
        if hot is not None and self.owed is not None and data:  # aiohttp calls this with nothing to resume parsing
            if self.owed:
                self.owed = self.owed - len(data) if len(data) <= self.owed else None
            elif (told := self._hot_answer(hot, data)) is not None:
                size = sum(map(len, told))
                if not self.door.has_room(size):
                    self.transport.write(REFUSED)  # type: ignore[union-attr]
                    self.force_close()
                    return
                if size < JOINED:
                    self.transport.write(b"".join(told))  # type: ignore[union-attr]
                else:
                    self.transport.writelines(told)  # type: ignore[union-attr]
                self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
                return
            else:
                self.owed = owed(data)
        super().data_received(data)
        waiter = self._waiter
        # A head that begins in the connection's first turn of the loop comes before anybody waits for it.
        incomplete = self._request_count == 0 if waiter is None else not waiter.done()
        if not incomplete:
            self.head_since = 0.0
        elif not self.head_since:
            self.head_since = self._loop.time()

    def _hot_answer(self, hot: HotPath, data: bytes) -> Parts | None:
        """Ask the hot path, if the connection is idle (or answers would overtake each other) and its client reads."""
        waiter = self._waiter
        if waiter is None or waiter.done() or self._messages or self._paused or self._close or self._force_close:
            return None
        return hot.answer(data)

    def check(self, now: float) -> None:
        """Close the connection if its client is too slow in speaking or in listening."""
        if self.head_since and now - self.head_since > self.door.header_timeout_s:
            self.door.slow_heads += 1
            self.force_close()
            return
        transport = self.transport
        if transport is None:
            return
        unread = transport.get_write_buffer_size()
        if self.unread == 0 or unread < self.unread:  # nothing left over from the last look, or something was taken
            self.unread_since = now
        elif now - self.unread_since > self.door.write_stall_s:
            self.door.stalled_readers += 1
            transport.abort()
        self.unread = unread

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP, and what escaped a handler, in the shape of every other error."""
        if status == 400:
            problem = Problem("bad_request", f"This is not HTTP/1.1: {message or 'malformed request'}")
        else:
            _log.error("a request failed outside of its handler", exc_info=exc)
            problem = Problem("internal", "Something went wrong on our side.")
        if request.writer is not None and request.writer.output_size > 0:
            raise ConnectionError("part of an answer was sent already")
        headers = {**wire.CORS, "Server-Timing": "total;dur=0"}
        response = web.Response(
            status=problem.http_status, body=wire.error(problem), content_type=wire.JSON, headers=headers
        )
        response.force_close()
        return response


class Door(Server):
    """Makes connections, and looks after those that are open.

    Parameters
    ----------
    server
        The server that aiohttp made for the application; this one takes its place.
    """

    def __init__(
        self,
        server: Server,
        *,
        max_connections: int,
        header_timeout_s: float,
        write_stall_s: float,
        **options: Any,
    ) -> None:
        # A handler whose client has gone is cancelled at its await; what it waited for is not its own to cancel.
        super().__init__(server.request_handler, request_factory=server.request_factory, handler_cancellation=True)
        self.max_connections = max_connections
        self.header_timeout_s = header_timeout_s
        self.write_stall_s = write_stall_s
        self.hot: HotPath | None = None
        self.turned_away = self.slow_heads = self.stalled_readers = 0
        self.unread_limit = UNREAD_LIMIT
        self._unread = 0  # bytes in the connections' buffers when they were counted
        self._written = 0  # bytes of answers since
        self._counted_at = 0.0
        self._options = options

    @property
    def connections_by_handler(self) -> dict[RequestHandler, Any]:
        """The open connections."""
        return self._connections

    def __call__(self) -> Connection:
        """Make the protocol of a new connection."""
        return Connection(self, loop=self._loop, **self._options)

    def has_room(self, size: int) -> bool:
        """Take note of an answer; tell whether it may be written, or clients have left too much unread."""
        self._written += size
        if self._unread + self._written <= self.unread_limit:
            return True
        now = self._loop.time()
        if now - self._counted_at >= RECOUNT_S:
            self._counted_at = now
            transports = [connection.transport for connection in self._connections]
            self._unread = sum(one.get_write_buffer_size() for one in transports if one is not None)
            self._written = size
        return self._unread + self._written <= self.unread_limit

    def sweep(self) -> None:
        """Look at every connection; to be called every second or so."""
        now = self._loop.time()
        for connection in list(self._connections):
            if isinstance(connection, Connection):
                connection.check(now)

    def close_idle(self) -> None:
        """Close the connections that wait for a request, at shutdown; the others close after their answer."""
        self.pre_shutdown()
