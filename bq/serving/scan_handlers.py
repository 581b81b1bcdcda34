"""HTTP for scans: begin, follow, cancel.

Rules of this file: requests to `scans.py` and back; nothing is decided here.
"""

from typing import Annotated, Final, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, UnsetType

from bq.scan import universe as universes
from bq.serving import sse
from bq.serving.handlers import answer, idempotency_key
from bq.serving.limits import read_body
from bq.serving.openapi import Operation, Parameter
from bq.serving.requests import decode
from bq.serving.routing import route
from bq.serving.scan_status import ScanStatus
from bq.serving.service import Service

NOT_CACHED: Final = {"Cache-Control": "no-store"}


class ScanBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /api/scan`; it may be empty."""

    universe: (
        Annotated[
            str | list[str],
            Meta(description=f"{universes.NAMES}, or tickers; everything there is when nothing is given"),
        ]
        | UnsetType
    ) = UNSET


class LeftOut(msgspec.Struct, frozen=True):
    """What is to be said of one ticker of the caller's list."""

    position: Annotated[int, Meta(description="in the list, from 1")]
    text: str


class ScanBegun(msgspec.Struct, frozen=True):
    """A scan that was stored and has begun."""

    success: Literal[True]
    message: str
    task_id: str
    universe: str
    total: int
    left_out: list[LeftOut]


class ScanCancelled(msgspec.Struct, frozen=True):
    """A scan that asks for nothing more."""

    success: Literal[True]
    message: str
    task_id: str


OPERATIONS: Final = (
    Operation(
        "post",
        "/api/scan",
        "Begin a scan: analyse a universe and store what comes of it; one at a time",
        {200: ScanBegun},
        body=ScanBody,
        parameters=(Parameter("Idempotency-Key", "header", "the same key is the same scan"),),
        problems=(
            "bad_request", "conflict", "request_timeout", "too_large", "unsupported_media_type", "storage_failed",
            "not_ready",
        ),
    ),
    Operation("post", "/api/scan/cancel", "Stop the scan that runs", {200: ScanCancelled}, problems=("conflict",)),
    Operation("get", "/api/scan/status", "How far the scan is, or what the last came to", {200: ScanStatus}),
    Operation(
        "get",
        "/api/scan/events",
        "The same as it changes, as server-sent events, from one scan to the next",
        {200: "text/event-stream"},
        parameters=(Parameter("Last-Event-ID", "header", "tell only what is new since"),),
    ),
)  # fmt: skip


def routes(service: Service) -> list[web.RouteDef]:
    """List the routes of scans."""
    handlers = ScanHandlers(service)
    return [
        *route(service, "POST", "/api/scan", handlers.begin),
        *route(service, "POST", "/api/scan/cancel", handlers.cancel),
        *route(service, "GET", "/api/scan/status", handlers.status),
        *route(service, "GET", "/api/scan/events", handlers.events),
    ]


class ScanHandlers:
    """The handlers of scans."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._decoder = msgspec.json.Decoder(ScanBody)

    async def begin(self, request: web.Request) -> web.Response:
        """Answer `POST /api/scan`."""
        service = self.service
        # An empty body needs no media type: HTTP clients put all sorts of them there.
        body = await read_body(request, service.settings.body_timeout_s) if request.can_read_body else b""
        service.require_ready()
        asked = decode(self._decoder, body) if body.strip() else ScanBody()
        wanted = universes.ALL if asked.universe is UNSET else asked.universe
        chosen = await service.scans.universe(wanted)
        task_id = await service.scans.begin(chosen, idempotency_key(request))
        begun = ScanBegun(
            success=True,
            message=f"Scanning {len(chosen.tickers)} tickers ({chosen.name}). {chosen.note}".strip(),
            task_id=task_id,
            universe=chosen.name,
            total=len(chosen.tickers),
            left_out=[LeftOut(remark.line, remark.text) for remark in chosen.remarks],
        )
        return answer(msgspec.json.encode(begun), {**NOT_CACHED, "Location": f"/api/task/{task_id}"})

    async def cancel(self, request: web.Request) -> web.Response:
        """Answer `POST /api/scan/cancel`; what was analysed by then is kept."""
        self.service.require_ready()
        task_id = self.service.scans.cancel()
        cancelled = ScanCancelled(True, "The scan ends with what is being analysed.", task_id)
        return answer(msgspec.json.encode(cancelled), NOT_CACHED)

    async def status(self, request: web.Request) -> web.Response:
        """Answer `GET /api/scan/status`."""
        self.service.require_ready()
        return answer(msgspec.json.encode(self.service.scans.status()), NOT_CACHED)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Tell the status as it changes. The stream goes on from scan to scan; an event's id names its state."""
        service = self.service
        service.require_ready()
        stream = await sse.begin(request)
        seen = request.headers.get("Last-Event-ID", "")
        while request.method != "HEAD" and not service.draining:
            heard = service.scans.bell.rings  # before looking: what changes while bytes are sent is not missed
            status = service.scans.status()
            event = f"{status.task_id or 'none'}:{status.done}:{status.state}:{status.next_scan or ''}"
            if event != seen:
                await sse.send(stream, event, msgspec.json.encode(status))
                seen = event
            else:
                await sse.beat(stream)
            await service.scans.bell.wait(sse.HEARTBEAT_S, heard)
        await stream.write_eof()
        return stream
