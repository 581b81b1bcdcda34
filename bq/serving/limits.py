"""What the server does not put up with: bodies that are large or late, clients that ask too much, too few descriptors.

Rules of this file: each limit is one small thing with its reason; no routes, no answers.
"""

import asyncio
import ctypes
import ipaddress
import logging
import resource
import socket
import struct
from collections.abc import Callable
from typing import Final, TypeAlias

from aiohttp import StreamReader, web
from cachetools import TTLCache

from bq.errors import Failure, Problem

_log = logging.getLogger(__name__)

BODY: Final = 64 * 1024
"""Bytes of an ordinary request: five hundred tickers are under eight thousand."""

BACKLOG: Final = 4096
"""Connections that the kernel keeps for us. With asyncio's 100 a burst of clients waits for SYN retries of 1 to 3 s."""

_SO_ATTACH_FILTER: Final = 26  # linux/socket.h; not in Python's socket module

SPARE_DESCRIPTORS: Final = 64
"""For the database, logs, the market's connections and the interpreter."""

LONGEST_CLIENT: Final = 64
"""Characters of a client's name: it is remembered, and whoever stands behind a careless proxy chooses it."""

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


async def read_body(request: web.Request, within_s: float, limit: int = BODY) -> bytes:
    """Read a request's body.

    aiohttp waits for ever for a body that stalls, and looks at the size only as it comes in; so this does both.

    Raises
    ------
    Failure
        `unsupported_media_type`, `too_large` or `request_timeout`.
    """
    check_media_type(request)
    if (length := request.content_length) is not None and length > limit:
        raise Failure(_too_large(limit))
    content = request.content
    if content.is_eof():  # head and body came in one piece, as nearly always
        body = content.read_nowait(-1)
    else:
        try:
            async with asyncio.timeout(within_s):
                body = await _gather(content, limit)
        except TimeoutError:
            raise Failure(Problem("request_timeout", f"The body did not arrive within {within_s:g} s.")) from None
    if len(body) > limit:
        raise Failure(_too_large(limit))
    return body


async def _gather(content: StreamReader, limit: int) -> bytes:
    parts = bytearray()
    while len(parts) <= limit and (part := await content.readany()):
        parts += part
    return bytes(parts)


def _too_large(limit: int) -> Problem:
    return Problem("too_large", f"The body is larger than {limit} bytes.")


def check_media_type(request: web.Request) -> None:
    """Refuse bodies that are not plain JSON; a missing Content-Type passes.

    Raises
    ------
    Failure
        With `unsupported_media_type`. Compressed bodies are refused too: a small one may hide a giant.
    """
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise Failure(Problem("unsupported_media_type", "Send the body without Content-Encoding."))
    if "Content-Type" in request.headers:
        kind = request.content_type
        if kind != "application/json" and not kind.endswith("+json"):
            raise Failure(Problem("unsupported_media_type", "Send JSON with Content-Type: application/json."))


class TokenBuckets:
    """Let each client ask for so many tickers a second.

    Parameters
    ----------
    rate, burst
        Tickers a second, and how many may be saved up. A rate of 0 lets everything pass.
    """

    def __init__(self, clock: Callable[[], float], rate: float, burst: float) -> None:
        self._clock = clock
        self._rate = rate
        self._burst = burst
        # A bucket not touched for the time that it takes to fill is full, and need not be remembered.
        life = burst / rate if rate else 1.0
        self._buckets: TTLCache[str, tuple[float, float]] = TTLCache(100_000, life, clock)

    @property
    def is_on(self) -> bool:
        """Tell whether there is a limit at all."""
        return self._rate > 0

    def take(self, client: str, tickers: int) -> Problem | None:
        """Take tokens for a request, or say when there will be enough."""
        if not self._rate:
            return None
        now = self._clock()
        tokens, since = self._buckets.get(client, (self._burst, now))
        tokens = min(tokens + (now - since) * self._rate, self._burst)
        need = min(float(tickers), self._burst)  # a list longer than the burst takes all of it
        if need > tokens:
            self._buckets[client] = (tokens, now)
            text = f"More than {self._rate:g} tickers a second from this client."
            return Problem("too_many_requests", text, (need - tokens) / self._rate)
        self._buckets[client] = (tokens - need, now)
        return None


class Proxies:
    """Find out who a client is, believing X-Forwarded-For only where a trusted proxy wrote it."""

    def __init__(self, trusted: str) -> None:
        names = [name.strip() for name in trusted.split(",") if name.strip()]
        self._any = "*" in names
        try:
            self._networks: list[Network] = [ipaddress.ip_network(n, strict=False) for n in names if n != "*"]
        except ValueError as error:
            raise Failure(Problem("bad_request", f"BQ_TRUSTED_PROXY={trusted!r}: {error}")) from None

    def client(self, peer: str, forwarded: str | None) -> str:
        """Name the client: the last address of the chain that no trusted proxy stands for."""
        if not forwarded or not self._trusts(peer):
            return peer
        return self._last_untrusted(peer, forwarded)[:LONGEST_CLIENT]

    def _last_untrusted(self, peer: str, forwarded: str) -> str:
        chain = [part.strip() for part in forwarded.split(",") if part.strip()]
        if self._any:
            return chain[-1] if chain else peer
        for address in reversed(chain):
            if not self._trusts(address):
                return address
        return chain[0] if chain else peer

    def _trusts(self, address: str) -> bool:
        if self._any:
            return True
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)


def raise_descriptor_limit(connections: int) -> int:
    """Raise the soft limit of descriptors to the hard one, and say how many connections that leaves room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    want = max(connections + SPARE_DESCRIPTORS, soft) if hard == resource.RLIM_INFINITY else hard
    if want > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (want, hard))
            soft = want
        except (ValueError, OSError) as error:
            _log.warning("the limit of descriptors stays at %d: %s", soft, error)
    room = max(soft - SPARE_DESCRIPTORS, 1)
    if room < connections:
        _log.warning("only %d connections instead of %d: raise the limit of descriptors (ulimit -n)", room, connections)
    return min(room, connections)


def listening_socket(host: str, port: int, write_stall_s: float) -> socket.socket:
    """Open the door. Accepted connections inherit the time after which unread data break them (Linux)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(write_stall_s * 1000))
        listener.bind((host, port))
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def ignore_newcomers(listener: socket.socket) -> None:
    """Have the kernel drop the packets that would open new connections; those already made stay to be accepted (Linux).

    Closing a listener resets the connections in its queue: requests sent on them fail. After this and a moment to
    accept what is queued, nobody is left to be reset, and newcomers find the port closed when they try again.
    """
    drop_all = struct.pack("HBBI", 0x06, 0, 0, 0)  # BPF: return 0 bytes of every packet
    buffer = ctypes.create_string_buffer(drop_all)
    program = struct.pack("HL", 1, ctypes.addressof(buffer))
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError as error:
        _log.info("newcomers cannot be ignored: %s", error)
