"""The bytes of answers: envelopes around stored data, the one shape of an error, and the headers that go with them.

Rules of this file: pure functions; data are joined as they were stored and never decoded or encoded again.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from bq.errors import Problem
from bq.serving.cache import Entry

CORS: Final[Mapping[str, str]] = {
    "Access-Control-Allow-Origin": "*",
    # Asked of the answer itself, not of the preflight: without it a page of another origin cannot read these.
    "Access-Control-Expose-Headers": "ETag, Location, Retry-After, Server-Timing",
}
PREFLIGHT: Final[Mapping[str, str]] = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": (
        "Content-Type, Prefer, Idempotency-Key, X-Deadline-Ms, If-None-Match, Last-Event-ID"
    ),
    "Access-Control-Max-Age": "86400",
}
JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"

ALONE: Final = b"alone"
"""The form of data without an envelope."""

DISCOVERY_RATE: Final = 0.05
"""Share of false ones among the cycles that are named over a whole list."""

HIT_TIMING: Final = "cache;desc=hit"

ONE_HEAD: Final = b'{"success":true,"data":'
ONE_TAIL: Final = {True: b',"from_cache":true}', False: b',"from_cache":false}'}
VARY: Final[Mapping[str, str]] = {"Vary": "Accept-Encoding"}
PENDING: Final = b',"status":"pending","from_cache":false}'


def one(entry: Entry, from_cache: bool) -> bytes:
    """Wrap the data of one ticker."""
    return b"".join((ONE_HEAD, entry.data, one_tail(entry, from_cache)))


def one_tail(entry: Entry, from_cache: bool) -> bytes:
    """Give what follows the data of one ticker."""
    return b"," + _staleness(entry).encode() + ONE_TAIL[from_cache][1:] if entry.stale else ONE_TAIL[from_cache]


def item(ticker: str, answer: Entry | Problem | None, from_cache: bool) -> bytes:
    """Make one item of a list."""
    if isinstance(answer, Entry):
        flag = "true" if from_cache else "false"
        stale = _staleness(answer) if answer.stale else ""
        p_value = f'"cycle_p":{answer.p_value:.6g},' if answer.p_value >= 0.0 else ""
        head = f'{{"ticker":"{ticker}","status":"ok","from_cache":{flag},{p_value}{stale}"data":'
        return head.encode() + answer.data + b"}"
    name = b'{"ticker":' + msgspec.json.encode(ticker)
    if answer is None:
        return name + PENDING
    return b"".join(
        (name, b',"status":"error","from_cache":', msgspec.json.encode(from_cache), b",", fields(answer), b"}")
    )


def _staleness(entry: Entry) -> str:
    """Say that data outlived a failed refresh, with the time at which they were made."""
    return f'"stale":true,"as_of":{entry.as_of:.0f},'


def fields(problem: Problem) -> bytes:
    """Encode the keys that tell of a problem, without the braces."""
    shown = {"error": problem.error, "code": problem.code}
    return msgspec.json.encode(shown)[1:-1]


def many(items: Sequence[bytes], failed: int, pending: int) -> bytes:
    """Wrap the items of a list, and say which of its cycles stand out when all its tickers are tested at once."""
    tail = f'],"count":{len(items)},"failed":{failed},"pending":{pending}{_cycles(items)}}}'
    return b"".join((b'{"success":true,"data":[', b",".join(items), tail.encode()))


_TESTED: Final = re.compile(rb'\{"ticker":"([^"]+)","status":"ok","from_cache":(?:true|false),"cycle_p":([0-9.e+-]+),')
"""The head of an item that `item` made."""


def _cycles(items: Sequence[bytes]) -> str:
    """Apply Benjamini & Hochberg's procedure (1995) to the cycles of a list.

    What the data of one ticker say of a cycle is adjusted for its own frequencies only: of five hundred tickers that
    are noise, twenty-five have one at 5 %.
    """
    tested = sorted((float(found[2]), found[1].decode()) for one in items if (found := _TESTED.match(one)))
    if not tested:
        return ""
    smallest, passed, n = 1.0, 0, len(tested)
    for rank, (p_value, _) in enumerate(tested, 1):
        smallest = min(smallest, p_value * n / rank)
        if p_value <= DISCOVERY_RATE * rank / n:
            passed = rank
    names = ",".join(f'"{ticker}"' for ticker in sorted(ticker for _, ticker in tested[:passed]))
    told = f'"tested":{n},"rate":{DISCOVERY_RATE},"smallest_q":{smallest:.6g},"discoveries":[{names}]'
    return f',"cycles":{{{told}}}'


def all_stored(tickers: Sequence[str], entries: Sequence[Entry]) -> bytes:
    """Make the answer to a list of which everything was stored."""
    return many([item(ticker, entry, True) for ticker, entry in zip(tickers, entries, strict=True)], 0, 0)


def form_of(is_list: bool, tickers: Sequence[str]) -> bytes:
    """Name the envelope of a POST's answer, apart from the data in it."""
    return ("many " + ",".join(tickers)).encode() if is_list else b"one"


def error(problem: Problem) -> bytes:
    """Make the body of a failed request."""
    return b'{"success":false,' + fields(problem) + b"}"


def retry_after(problem: Problem) -> Mapping[str, str]:
    """Make the header that says when to come back, rounded up to whole seconds."""
    if problem.retry_after is None:
        return {}
    return {"Retry-After": str(max(int(-(-problem.retry_after // 1)), 1))}


def etag(tag: bytes, compressed: bool = False) -> str:
    """Make the strong entity tag of an answer from its data's fingerprint: other bytes, another tag."""
    return f'"{tag.hex()}-gz"' if compressed else f'"{tag.hex()}"'


def cacheable(tag: bytes, stale: bool, max_age: int, timing: str = HIT_TIMING) -> dict[str, str]:
    """Make the headers by which a cache in front may keep an answer (RFC 5861 for the two last directives).

    The data alone have no room for saying that they outlived a failed refresh; `Cache-Status` (RFC 9211) says it.
    """
    headers = {
        "ETag": etag(tag),
        "Cache-Control": f"public, max-age={max_age}, stale-while-revalidate=30, stale-if-error=600",
        **VARY,
        "Server-Timing": timing,
    }
    if stale:
        headers["Cache-Status"] = 'ButterQuant; hit; detail="stale: refreshing failed"'
    return headers


@lru_cache(1024)
def takes_gzip(accept_encoding: str) -> bool:
    """Tell whether a client takes gzip (RFC 9110, 12.5.3); `*` alone does not ask for it."""
    for part in accept_encoding.lower().split(","):
        coding, _, weight = part.replace(" ", "").partition(";q=")
        if coding == "gzip":
            return weight.strip("0.") != "" or not weight
    return False


def takes_ndjson(accept: str) -> bool:
    """Tell whether a client wants its items as they come (RFC 9110, 12.5.1); `*/*` alone does not ask for it."""
    for part in accept.lower().split(","):
        kind, *parameters = (piece.replace(" ", "") for piece in part.split(";"))
        if kind == NDJSON:
            return not any(re.fullmatch(r"q=0(\.0*)?", parameter) for parameter in parameters)
    return False


def wants_task(prefer: str) -> bool:
    """Tell whether a client would rather be answered later (RFC 7240, 4.1)."""
    return any(part.partition(";")[0].strip().lower() == "respond-async" for part in prefer.split(","))


def known_tag(if_none_match: str, entry: Entry, gzip: bool) -> str | None:
    """Give the tag of the form of an answer that a client has already, if it has one that it may be sent."""
    for compressed in (False, True) if gzip else (False,):
        if matches(if_none_match, tag := etag(entry.tag, compressed)):
            return tag
    return None


def matches(if_none_match: str, tag: str) -> bool:
    """Tell whether a client has this answer already (RFC 9110, 13.1.2: weak comparison, lists, `*`)."""
    if if_none_match.strip() == "*":
        return True
    return tag in (part.strip().removeprefix("W/") for part in if_none_match.split(","))
