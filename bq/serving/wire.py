"""The bytes of answers: envelopes around stored data, the one shape of an error, and the headers that go with them.

Rules of this file: pure functions; data are joined as they were stored and never decoded or encoded again.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from bq.errors import Problem
from bq.serving.cache import Entry

CORS: Final[Mapping[str, str]] = {"Access-Control-Allow-Origin": "*"}
PREFLIGHT: Final[Mapping[str, str]] = {
    **CORS,
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": (
        "Content-Type, Prefer, Idempotency-Key, X-Deadline-Ms, If-None-Match, Last-Event-ID"
    ),
    "Access-Control-Expose-Headers": "ETag, Location, Retry-After, Server-Timing",
    "Access-Control-Max-Age": "86400",
}
JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"

HIT_TIMING: Final = "cache;desc=hit"

ONE_HEAD: Final = b'{"success":true,"data":'
ONE_TAIL: Final = {True: b',"from_cache":true}', False: b',"from_cache":false}'}
PENDING: Final = b',"status":"pending","from_cache":false}'


def one(data: bytes, from_cache: bool) -> bytes:
    """Wrap the data of one ticker."""
    return b"".join((ONE_HEAD, data, ONE_TAIL[from_cache]))


def item(ticker: str, answer: Entry | Problem | None, from_cache: bool) -> bytes:
    """Make one item of a list. Data that outlived a failed refresh say so, with the time at which they were made."""
    if isinstance(answer, Entry):
        flag = "true" if from_cache else "false"
        stale = f'"stale":true,"as_of":{answer.as_of:.0f},' if answer.stale else ""
        return f'{{"ticker":"{ticker}","status":"ok","from_cache":{flag},{stale}"data":'.encode() + answer.data + b"}"
    name = b'{"ticker":' + msgspec.json.encode(ticker)
    if answer is None:
        return name + PENDING
    return b"".join(
        (name, b',"status":"error","from_cache":', msgspec.json.encode(from_cache), b",", fields(answer), b"}")
    )


def fields(problem: Problem) -> bytes:
    """Encode the keys that tell of a problem, without the braces."""
    shown = {"error": problem.error, "code": problem.code}
    return msgspec.json.encode(shown)[1:-1]


def many(items: Sequence[bytes], failed: int, pending: int) -> bytes:
    """Wrap the items of a list."""
    tail = f'],"count":{len(items)},"failed":{failed},"pending":{pending}}}'
    return b"".join((b'{"success":true,"data":[', b",".join(items), tail.encode()))


def error(problem: Problem) -> bytes:
    """Make the body of a failed request."""
    return b'{"success":false,' + fields(problem) + b"}"


def retry_after(problem: Problem) -> Mapping[str, str]:
    """Make the header that says when to come back, rounded up to whole seconds."""
    if problem.retry_after is None:
        return {}
    return {"Retry-After": str(max(int(-(-problem.retry_after // 1)), 1))}


def etag(entry: Entry) -> str:
    """Make the strong entity tag of an answer."""
    return f'"{entry.tag.hex()}"'


def cacheable(entry: Entry, max_age: int, timing: str = HIT_TIMING) -> dict[str, str]:
    """Make the headers by which a cache in front may keep an answer (RFC 5861 for the two last directives)."""
    return {
        "ETag": etag(entry),
        "Cache-Control": f"public, max-age={max_age}, stale-while-revalidate=30, stale-if-error=600",
        "Age": "0",
        "Server-Timing": timing,
    }


def matches(if_none_match: str, tag: str) -> bool:
    """Tell whether a client has this answer already (RFC 9110, 13.1.2: weak comparison, lists, `*`)."""
    if if_none_match.strip() == "*":
        return True
    return tag in (part.strip().removeprefix("W/") for part in if_none_match.split(","))
