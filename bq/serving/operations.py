"""What the routes of this folder take and answer, in the types of the wire.

Rules of this file: a list. A feature module of another folder lists its own and is added to `app.OPERATIONS`.
"""

from typing import Annotated, Final

from msgspec import Meta

from bq.schema import Analysis, Detail
from bq.serving.openapi import (
    Accepted,
    Completed,
    Health,
    Many,
    One,
    Operation,
    Parameter,
    Processing,
    Status,
    Tickers,
)
from bq.serving.requests import AnalyzeBody

_SYMBOL = Annotated[str, Meta(pattern="^[A-Za-z0-9^][A-Za-z0-9.=^-]{0,14}$")]
_MILLISECONDS = Annotated[float, Meta(gt=0, le=1e8)]

DEADLINE: Final = Parameter("X-Deadline-Ms", "header", "answer by then with what is there; 25 s at most", _MILLISECONDS)
ANSWERING: Final = (
    "bad_request", "unknown_ticker", "not_enough_data", "too_many_requests", "compute_failed", "source_failed",
    "too_busy", "not_ready",
)  # fmt: skip

OPERATIONS: Final = (
    Operation(
        "post",
        "/api/analyze",
        "Analyse one ticker or a list; Accept: application/x-ndjson streams it, Prefer: respond-async makes it a task",
        {200: (One, Many), 202: Accepted},
        body=AnalyzeBody,
        parameters=(
            DEADLINE,
            Parameter("Prefer", "header", "respond-async makes a task of the request"),
            Parameter("Idempotency-Key", "header", "the same key is the same task"),
        ),
        problems=(*ANSWERING, "conflict", "request_timeout", "too_large", "unsupported_media_type"),
    ),
    Operation(
        "get",
        "/api/analysis/{ticker}",
        "The analysis of one ticker alone, with a strong ETag, for caches",
        {200: Analysis, 304: None},
        parameters=(
            Parameter("ticker", "path", "the symbol", _SYMBOL),
            Parameter("detail", "query", "how much of it", Detail),
            DEADLINE,
        ),
        problems=ANSWERING,
    ),
    Operation(
        "get",
        "/api/task/{id}",
        "How far a task is, or what it came to",
        {200: (Processing, Completed)},
        parameters=(Parameter("id", "path", "from the answer that accepted it"),),
        problems=("not_found", "not_ready"),
    ),
    Operation(
        "get",
        "/api/task/{id}/events",
        "The same as it changes, as server-sent events",
        {200: "text/event-stream"},
        parameters=(
            Parameter("id", "path", "from the answer that accepted it"),
            Parameter("Last-Event-ID", "header", "tell only what is new since"),
        ),
        problems=("not_found", "not_ready"),
    ),
    Operation("get", "/api/tickers", "Symbols to try", {200: Tickers}),
    Operation("get", "/api/health", "The server is there", {200: Health}, problems=()),
    Operation("get", "/healthz", "The loop turns", {200: Status}, problems=()),
    Operation("get", "/readyz", "Traffic is welcome", {200: Status}),
    Operation("get", "/metrics", "Counts and times for Prometheus", {200: "text/plain"}, problems=()),
    Operation("get", "/openapi.json", "This description", {200: "application/json"}, problems=()),
    Operation("get", "/docs", "A page to try it", {200: "text/html"}, problems=()),
)
