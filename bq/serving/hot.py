"""Answer a complete request for stored answers out of `data_received`, before aiohttp makes a task of it.

Rules of this file: whatever is not plainly understood goes to aiohttp, which decides. Every line must be spelled as RFC
9112 wants it, so there is nothing to be understood differently here and there. A header that a handler of these two
routes begins to read must be listed in `_DECISIVE`. The bytes of an answer are those that the handlers send for the
same request (a test compares them). Switched off by BQ_HOT_PATH=false.
"""

import re
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from bq.errors import Failure
from bq.serving import wire
from bq.serving.cache import Entry
from bq.serving.desk import Desk
from bq.serving.requests import AnalyzeRequest, read_analyze
from bq.serving.variants import Variants, key_of

Parts: TypeAlias = tuple[bytes, ...]
"""An answer, to be sent in order: the data go out as they are stored, not copied into one piece with their head."""

LONGEST_HEAD: Final = 4096
LONGEST_BODY: Final = 1024

_DECISIVE: Final = frozenset(
    # of the message itself, for aiohttp
    b"transfer-encoding content-encoding expect upgrade te trailer keep-alive proxy-connection http2-settings range "
    # for the handlers
    b"prefer x-deadline-ms idempotency-key".split()
)
"""Headers that may change the answer; what carries one goes to aiohttp."""

_NAME: Final = re.compile(rb"[a-z0-9]+(-[a-z0-9]+)*")  # narrower than RFC 9110's tokens: no _ to be taken for a -
_READ: Final = frozenset(
    (b"content-length", b"content-type", b"accept", b"accept-encoding", b"if-none-match", b"connection", b"host")
)
_JSON_TYPES: Final = frozenset(
    (b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8")
)
_POST: Final = b"POST /api/analyze HTTP/1.1"
_GET: Final = re.compile(
    rb"GET /api/analysis/([A-Z0-9^][A-Z0-9.\-=^]{0,14})(?:\?detail=(summary|default|full))? HTTP/1\.1"
)
_UNCLEAN: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # in a line: what aiohttp refuses, and bare CR and LF


class Head(NamedTuple):
    """What matters of a request's head."""

    request_line: bytes
    length: int  # bytes of the body
    plain: bool  # asks for nothing that only a handler can do
    known: str  # If-None-Match
    gzip: bool  # may be answered compressed


@lru_cache(2048)
def read_head(head: bytes) -> Head | None:
    """Read a head (without its empty line); None when aiohttp should."""
    lines = head.split(b"\r\n")
    length, plain, known, gzip, seen = 0, True, b"", False, set[bytes]()
    for line in lines:
        if _UNCLEAN.search(line):
            return None
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or name in _DECISIVE or not _NAME.fullmatch(name):
            return None
        if name not in _READ:
            continue
        if name in seen:
            return None
        seen.add(name)
        value = value.strip(b" \t")
        if name == b"content-length":
            if not value.isdigit() or len(value) > 6:
                return None
            length = int(value)
        elif name == b"content-type":
            plain = plain and value.lower() in _JSON_TYPES
        elif name == b"accept":
            plain = plain and b"ndjson" not in value.lower()
        elif name == b"accept-encoding":
            gzip = wire.takes_gzip(value.decode("latin-1"))
        elif name == b"if-none-match":
            known = value
        elif name == b"connection" and value.lower() != b"keep-alive":
            return None
    if b"host" not in seen:
        return None
    return Head(lines[0], length, plain, known.decode("latin-1"), gzip)


def owed(data: bytes) -> int | None:
    """Count the bytes still to come of a request that begins with these; None when that cannot be told."""
    end = data.find(b"\r\n\r\n")
    if not 0 < end < LONGEST_HEAD or (head := read_head(data[:end])) is None:
        return None
    missing = head.length - (len(data) - end - 4)
    return missing if missing >= 0 else None


class HotPath:
    """Answers by bytes.

    Parameters
    ----------
    max_age
        Whole seconds for which an answer is fresh.
    open_for
        Tells whether requests may be answered without looking at who asks.
    """

    def __init__(
        self,
        desk: Desk,
        variants: Variants,
        list_limit: int,
        wall: Callable[[], float],
        max_age: Callable[[Entry], int],
        open_for: Callable[[], bool],
    ) -> None:
        self.served_post = 0
        self.served_get: dict[int, int] = {200: 0, 304: 0}
        self._desk = desk
        self._variants = variants
        self._wall = wall
        self._max_age = max_age
        self._open = open_for
        self._second = -1
        self._date = b""
        self._body = lru_cache(4096)(_reader(list_limit))

    def answer(self, data: bytes) -> Parts | None:
        """Give the whole answer to a whole request, or None: it is not one, or not ours to answer."""
        end = data.find(b"\r\n\r\n")
        if not 0 < end < LONGEST_HEAD:
            return None
        head = read_head(data[:end])
        if head is None or not head.plain or head.length != len(data) - end - 4 or not self._open():
            return None
        if head.request_line == _POST:
            return self._post(data[end + 4 :], head.gzip) if head.length <= LONGEST_BODY and not head.known else None
        found = _GET.fullmatch(head.request_line)
        return None if found is None or head.length else self._get(found[1], found[2], head.known, head.gzip)

    def _post(self, body: bytes, gzip: bool) -> Parts | None:
        asked = self._body(body)
        if asked is None:
            return None
        entries = self._desk.find_all(asked.tickers, asked.detail)
        if entries is None:
            return None
        self.served_post += 1
        form = wire.form_of(asked.is_list, asked.tickers)
        key = key_of(form, [entry.tag for entry in entries]) if gzip and not any(e.stale for e in entries) else None
        if key is not None and (small := self._variants.get(key)) is not None:
            return b"%b%d\r\nDate: %b\r\n\r\n" % (_POST_GZIP_HEAD, len(small), self._now()), small
        if key is not None or asked.is_list:
            body = wire.all_stored(asked.tickers, entries) if asked.is_list else wire.one(entries[0], True)
            if key is not None:
                self._variants.offer(key, body)
            return b"%b%d\r\nDate: %b\r\n\r\n" % (_POST_HEAD, len(body), self._now()), body
        data, tail = entries[0].data, wire.one_tail(entries[0], True)
        size = len(wire.ONE_HEAD) + len(data) + len(tail)
        return b"%b%d\r\nDate: %b\r\n\r\n%b" % (_POST_HEAD, size, self._now(), wire.ONE_HEAD), data, tail

    def _get(self, ticker: bytes, detail: bytes | None, known: str, gzip: bool) -> Parts | None:
        entry = self._desk.find(ticker.decode(), (detail or b"default").decode())
        if entry is None:
            return None
        age = self._max_age(entry)
        tag = known and wire.known_tag(known, entry, gzip)
        self.served_get[304 if tag else 200] += 1
        if tag:
            lines = _lines({**wire.cacheable(entry.tag, entry.stale, age), "ETag": tag})
            return (b"HTTP/1.1 304 Not Modified\r\n%b%bDate: %b\r\n\r\n" % (_CORS, lines, self._now()),)
        small = self._variants.smaller(key_of(wire.ALONE, (entry.tag,)), entry.data) if gzip else None
        data = entry.data if small is None else small
        head = _get_head(entry.tag, entry.stale, age, small is not None)
        return b"%b%d\r\nDate: %b\r\n\r\n" % (head, len(data), self._now()), data

    def _now(self) -> bytes:
        second = int(self._wall())
        if second != self._second:
            self._second = second
            self._date = formatdate(second, usegmt=True).encode()
        return self._date


def _reader(limit: int) -> Callable[[bytes], AnalyzeRequest | None]:
    def read(body: bytes) -> AnalyzeRequest | None:
        try:
            asked = read_analyze(body, limit)
        except Failure:
            return None
        return None if asked.problems else asked

    return read


@lru_cache(4096)
def _get_head(tag: bytes, stale: bool, age: int, compressed: bool) -> bytes:
    """Make the head of a GET's answer, up to its length; the same for a second, as long as nothing changes."""
    headers = wire.cacheable(tag, stale, age)
    if compressed:
        headers |= {"ETag": wire.etag(tag, compressed=True), "Content-Encoding": "gzip"}
    kind = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    return b"%b%b%bContent-Length: " % (kind, _CORS, _lines(headers))


def _lines(headers: dict[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()


_CORS: Final = _lines(dict(wire.CORS))
_POST_HEADERS: Final = {
    "Content-Type": wire.JSON,
    **wire.CORS,
    "Server-Timing": wire.HIT_TIMING,
    "Cache-Control": "no-store",
    **wire.VARY,
}
_POST_HEAD: Final = b"HTTP/1.1 200 OK\r\n" + _lines(_POST_HEADERS) + b"Content-Length: "
_POST_GZIP_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\n" + _lines({**_POST_HEADERS, "Content-Encoding": "gzip"}) + b"Content-Length: "
)
