"""HTTP in, HTTP out: the routes of the analysis, and the small ones every server has.

Rules of this file: a handler reads a request, asks the desk, and joins bytes. Where all answers are stored there is no
await between the body and the answer.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from bq.config import VERSION
from bq.errors import Failure, Problem, bad_request
from bq.serving import metrics, wire
from bq.serving.cache import Entry
from bq.serving.desk import Looked
from bq.serving.flights import Waiter
from bq.serving.limits import read_body
from bq.serving.requests import AnalyzeRequest, one_detail, one_symbol, read_analyze
from bq.serving.routing import route
from bq.serving.service import Service
from bq.serving.variants import key_of

PIECE: Final = 64 * 1024
"""Bytes of a stream that are written at a time."""


def routes(service: Service) -> list[web.RouteDef]:
    """List the routes of the analysis and of operations."""
    handlers = Handlers(service)
    return [
        *route(service, "POST", "/api/analyze", handlers.analyze),
        *route(service, "GET", "/api/analysis/{ticker}", handlers.analysis),
        *route(service, "GET", "/api/tickers", handlers.tickers),
        *route(service, "GET", "/api/health", handlers.health),
        *route(service, "GET", "/healthz", handlers.healthz),
        *route(service, "GET", "/readyz", handlers.readyz),
        *route(service, "GET", "/metrics", handlers.metrics),
    ]


def answer(body: bytes, headers: Mapping[str, str], status: int = 200, kind: str = wire.JSON) -> web.Response:
    """Make a response from bytes."""
    return web.Response(body=body, status=status, headers={"Content-Type": kind, **wire.CORS, **headers})


def client_of(service: Service, request: web.Request) -> str:
    """Name the client, for its bucket and its turn."""
    return service.proxies.client(request.remote or "", request.headers.get("X-Forwarded-For"))


def idempotency_key(request: web.Request) -> str | None:
    """Give the key under which the same request is the same work; an empty one is none."""
    return request.headers.get("Idempotency-Key", "").strip() or None


class Handlers:
    """The handlers; each sees the service and the request, and nothing else."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def analyze(self, request: web.Request) -> web.StreamResponse:
        """Answer `POST /api/analyze` in one of its four forms: one ticker, a list, a stream, a task."""
        service = self.service
        body = await read_body(request, service.settings.body_timeout_s)
        service.require_ready()
        as_task = wire.wants_task(",".join(request.headers.getall("Prefer", ())))
        few, many = service.settings.list_limit, service.settings.task_limit
        # A result is joined in memory: 5,000 full answers would be 500 MB.
        asked = read_analyze(body, many, detailed=few) if as_task else read_analyze(body, few)
        client = self._charge(request, len(asked.tickers))
        if as_task:
            return await self._accept(request, asked)
        deadline = service.deadline(asked.deadline_s or _header_deadline(request))
        looked = service.desk.look(asked.tickers, asked.detail, asked.problems)
        if wire.takes_ndjson(",".join(request.headers.getall("Accept", ()))):
            return await self._stream(request, asked, looked, deadline, client)
        timing = wire.HIT_TIMING
        if looked.missing:
            self._note_refusal(asked, looked, await service.desk.wait(looked, deadline, client))
            timing = _timing(looked.waiter)
        return self._whole(request, asked, looked, timing)

    def _note_refusal(self, asked: AnalyzeRequest, looked: Looked, problem: Problem | None) -> None:
        """Count what was turned away; with nothing else to tell, it is the answer."""
        if problem is None:
            return
        self.service.shed(problem)
        if all(isinstance(found, Problem) for found in looked.answers):
            raise Failure(problem)

    def _charge(self, request: web.Request, tickers: int) -> str:
        client = client_of(self.service, request)
        if (problem := self.service.buckets.take(client, tickers)) is not None:
            self.service.shed(problem)
            raise Failure(problem)
        return client

    def _whole(self, request: web.Request, asked: AnalyzeRequest, looked: Looked, timing: str) -> web.Response:
        headers = {"Server-Timing": timing, "Cache-Control": "no-store", **wire.VARY}
        if asked.is_list:
            triples = zip(asked.tickers, looked.answers, looked.cached, strict=True)
            items = [wire.item(ticker, found, cached) for ticker, found, cached in triples]
            body = wire.many(items, looked.failed, looked.pending)
        else:
            body = wire.one(_only(looked), looked.cached[0])
        stored = looked.stored
        if stored is None or any(entry.stale for entry in stored) or not _takes_gzip(request):
            return answer(body, headers)
        key = key_of(wire.form_of(asked.is_list, asked.tickers), [entry.tag for entry in stored])
        small = self.service.variants.smaller(key, body)
        return answer(body, headers) if small is None else answer(small, {**headers, "Content-Encoding": "gzip"})

    async def _stream(
        self, request: web.Request, asked: AnalyzeRequest, looked: Looked, deadline: float, client: str
    ) -> web.StreamResponse:
        """Send one item a line: what is stored at once, the rest as slices finish, what is late as pending."""
        if looked.missing:
            self._note_refusal(asked, looked, self.service.desk.begin(looked, deadline, client))
        stored = f'cache;desc="{len(asked.tickers) - len(looked.missing)} of {len(asked.tickers)}"'
        response = web.StreamResponse(
            headers={
                "Content-Type": wire.NDJSON,
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
                "Server-Timing": stored,
                **wire.CORS,
            }
        )
        waiter = looked.waiter
        try:
            await response.prepare(request)
            slots = [slot for slot, found in enumerate(looked.answers) if found is not None]
            await self._send_lines(response, asked, looked, slots)
            while waiter is not None and (slots := await waiter.some()):
                looked.take({slot: waiter.answers[slot] for slot in slots})
                await self._send_lines(response, asked, looked, slots)
            late = [slot for slot, found in enumerate(looked.answers) if found is None]
            looked.fall_back()
            await self._send_lines(response, asked, looked, late)
            await response.write_eof()
        finally:
            if waiter is not None:
                self.service.batcher.leave(waiter, keep=waiter.expired)
        return response

    async def _send_lines(
        self, response: web.StreamResponse, asked: AnalyzeRequest, looked: Looked, slots: list[int]
    ) -> None:
        piece = bytearray()
        for slot in slots:
            piece += wire.item(asked.tickers[slot], looked.answers[slot], looked.cached[slot]) + b"\n"
            if len(piece) >= PIECE:  # writing waits for a slow reader; what is not made yet takes no memory
                await response.write(bytes(piece))
                piece.clear()
        if piece:
            await response.write(bytes(piece))

    async def _accept(self, request: web.Request, asked: AnalyzeRequest) -> web.Response:
        key = idempotency_key(request)
        task_id = await self.service.jobs.accept(asked.tickers, asked.detail, asked.is_list, key)
        body = msgspec.json.encode({"success": True, "task_id": task_id, "status": "processing"})
        return answer(body, {"Location": f"/api/task/{task_id}", "Retry-After": "1"}, 202)

    async def analysis(self, request: web.Request) -> web.Response:
        """Answer `GET /api/analysis/{ticker}`: the data alone, as a cache in front may keep them."""
        service = self.service
        service.require_ready()
        ticker = one_symbol(request.match_info["ticker"])
        detail = one_detail(request.query.get("detail", "default"))
        client = self._charge(request, 1)
        entry = service.desk.find(ticker, detail)
        timing = wire.HIT_TIMING
        if entry is None:
            looked = service.desk.look([ticker], detail, {})
            if looked.missing:
                problem = await service.desk.wait(looked, service.deadline(_header_deadline(request)), client)
                if problem is not None:
                    service.shed(problem)
                timing = _timing(looked.waiter)
            entry = _only(looked)
        headers = wire.cacheable(entry.tag, entry.stale, service.max_age(entry), timing)
        gzip = _takes_gzip(request)
        if (tag := wire.known_tag(request.headers.get("If-None-Match", ""), entry, gzip)) is not None:
            return web.Response(status=304, headers={**wire.CORS, **headers, "ETag": tag})
        small = service.variants.smaller(key_of(wire.ALONE, (entry.tag,)), entry.data) if gzip else None
        if small is None:
            return answer(entry.data, headers)
        return answer(small, {**headers, "ETag": wire.etag(entry.tag, compressed=True), "Content-Encoding": "gzip"})

    async def tickers(self, request: web.Request) -> web.Response:
        """List what a newcomer may try."""
        listed = [{"symbol": one.symbol, "name": one.name} for one in self.service.market.popular()]
        return answer(msgspec.json.encode({"success": True, "tickers": listed}), {})

    async def health(self, request: web.Request) -> web.Response:
        """Say that the server is there, as today's clients ask it."""
        moment = dt.datetime.fromtimestamp(self.service.wall(), dt.UTC).isoformat(timespec="seconds")
        return answer(msgspec.json.encode({"status": "ok", "version": VERSION, "timestamp": moment}), {})

    async def healthz(self, request: web.Request) -> web.Response:
        """Say that the loop turns; also while draining, or a supervisor would kill a server that finishes its work."""
        return answer(b'{"status":"ok"}', {"Cache-Control": "no-store"})

    async def readyz(self, request: web.Request) -> web.Response:
        """Say whether traffic is welcome, and if not, why."""
        reason = self.service.why_not_ready()
        if reason is not None:
            raise Failure(Problem("not_ready", f"Not ready: {reason}.", 2.0))
        return answer(b'{"status":"ready"}', {"Cache-Control": "no-store"})

    async def metrics(self, request: web.Request) -> web.Response:
        """Write the counts and times down for Prometheus."""
        return answer(self.service.metrics_text(), {"Cache-Control": "no-store"}, kind=metrics.CONTENT_TYPE)


def _only(looked: Looked) -> Entry:
    """Give the answer of a request for one ticker.

    Raises
    ------
    Failure
        With its problem, or with `too_busy` when there was none in time.
    """
    found = looked.answers[0]
    if found is None:
        raise Failure(Problem("too_busy", "The analysis was not ready by the deadline. It goes on; ask again.", 2.0))
    if isinstance(found, Problem):
        raise Failure(found)
    return found


def _takes_gzip(request: web.Request) -> bool:
    return wire.takes_gzip(request.headers.get("Accept-Encoding", ""))


def _header_deadline(request: web.Request) -> float | None:
    text = request.headers.get("X-Deadline-Ms")
    if text is None:
        return None
    try:
        seconds = float(text) / 1000.0
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds <= 1e6:
        raise Failure(bad_request("X-Deadline-Ms must be a positive number of milliseconds."))
    return seconds


def _timing(waiter: Waiter[Any, Any] | None) -> str:
    """Tell, by the slowest flight of the request, where its time went."""
    if waiter is None:
        return wire.HIT_TIMING
    parts = {"queue": waiter.queue_s, "fetch": waiter.fetch_s, "compute": waiter.compute_s, "encode": waiter.encode_s}
    spans = ", ".join(f"{name};dur={seconds * 1000:.2f}" for name, seconds in parts.items())
    return f'{spans}, batch;desc="{waiter.batch}"'
