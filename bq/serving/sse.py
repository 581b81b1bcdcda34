"""Server-sent events: the head of a stream, an event, and the sign of life between two of them."""

from typing import Final

from aiohttp import web

from bq.serving import wire

HEARTBEAT_S: Final = 15.0  # Heroku's router drops a stream after 55 s of silence


async def begin(request: web.Request) -> web.StreamResponse:
    """Send the head of a stream; a client that loses it comes back after three seconds."""
    stream = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-cache, no-transform",
            "X-Accel-Buffering": "no",
            "Server-Timing": "total;dur=0",
            **wire.CORS,
        }
    )
    await stream.prepare(request)
    if request.method != "HEAD":
        await stream.write(b"retry: 3000\n\n")
    return stream


async def send(stream: web.StreamResponse, event_id: str, data: bytes) -> None:
    """Send one event; its data are one line."""
    await stream.write(b"id: %b\ndata: %b\n\n" % (event_id.encode(), data))


async def beat(stream: web.StreamResponse) -> None:
    """Show that the stream lives."""
    await stream.write(b": still here\n\n")
