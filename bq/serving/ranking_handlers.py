"""HTTP for what scans leave: rankings, and the past of a ticker.

Rules of this file: words in, bytes out. What is read and how stands in `bq.scan`; it is read and encoded in the
archive's threads.
"""

import contextlib
import threading
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar

import msgspec
from aiohttp import web
from cachetools import LRUCache
from msgspec import Meta, Struct
from sqlalchemy import Connection

from bq.errors import Failure, Problem, bad_request
from bq.scan import history, rankings
from bq.scan.rankings import Query
from bq.scan.views import IvPoint, Level, PastRow, Rankings, SurfaceRow
from bq.schema import Analysis, Detail
from bq.serving import wire
from bq.serving.handlers import answer
from bq.serving.openapi import Operation, Parameter
from bq.serving.requests import choices, one_symbol
from bq.serving.routing import route
from bq.serving.service import Service

Q = TypeVar("Q")

Encoded: TypeAlias = tuple[bytes, str]
"""The bytes of an answer, and their entity tag."""

TOP: Final = 20
KEPT_BYTES: Final = 4 << 20  # of rankings, encoded
FRESH: Final = {"Cache-Control": "no-cache"}  # to be asked for again, with the entity tag


class PastQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is wanted of the past of a ticker."""

    limit: Annotated[int, Meta(ge=1, le=1000, description="analyses at most")] = 100
    offset: Annotated[int, Meta(ge=0, le=1_000_000, description="analyses to leave out first")] = 0
    detail: (
        Annotated[Detail, Meta(description="whole stored answers at this detail; a row of numbers each if left out")]
        | None
    ) = None


class SurfaceQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is wanted of the surface of a ticker."""

    limit: Annotated[int, Meta(ge=1, le=10_000, description="rows at most, one an expiry and day")] = 1000
    offset: Annotated[int, Meta(ge=0, le=10_000_000, description="rows to leave out first")] = 0


class IvQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far back."""

    years: Annotated[int, Meta(ge=1, le=50, description="before the last stored day")] = 1


class PastNumbers(Struct, frozen=True, kw_only=True):
    """Past analyses of a ticker, newest first."""

    success: Literal[True] = True
    ticker: str
    count: int
    level: Level
    data: list[PastRow]


class PastAnswer(Struct, frozen=True):
    """A stored answer."""

    scan_id: str
    analysis_date: str
    data: Analysis


class PastAnswers(Struct, frozen=True):
    """Stored answers to a ticker, newest first."""

    success: Literal[True]
    ticker: str
    count: int
    level: Level
    data: list[PastAnswer]


class Surface(Struct, frozen=True, kw_only=True):
    """The stored volatility surface of a ticker."""

    success: Literal[True] = True
    ticker: str
    count: int
    data: list[SurfaceRow]


class Ivs(Struct, frozen=True, kw_only=True):
    """The 30-day volatility at the money of each stored session, oldest first."""

    success: Literal[True] = True
    ticker: str
    count: int
    level: Level
    data: list[IvPoint]


def parameters(kind: type[Struct], leave_out: tuple[str, ...] = ()) -> tuple[Parameter, ...]:
    """Describe the fields of a query as its parameters."""
    found = []
    for field in msgspec.structs.fields(kind):
        if field.name not in leave_out:
            text = _description(field.type) or field.name.replace("_", " ")
            found.append(Parameter(field.name, "query", text, _without_none(field.type)))
    return tuple(found)


def _parts(kind: Any) -> list[Any]:
    return [part for part in getattr(kind, "__args__", ()) if part is not type(None)]


def _without_none(kind: Any) -> Any:
    return _parts(kind)[0] if type(None) in getattr(kind, "__args__", ()) else kind


def _description(kind: Any) -> str:
    texts = [meta.description for meta in getattr(_without_none(kind), "__metadata__", ()) if isinstance(meta, Meta)]
    return next((text for text in texts if text), "")


_SYMBOL: Final = Annotated[str, Meta(pattern="^[A-Za-z0-9^][A-Za-z0-9.=^-]{0,14}$")]
_TICKER: Final = Parameter("ticker", "path", "the symbol", _SYMBOL)
_PROBLEMS: Final = ("bad_request", "not_found", "storage_failed", "too_busy", "not_ready")

OPERATIONS: Final = (
    Operation(
        "get",
        "/api/rankings",
        "The ranking that the latest complete scan left, with intervals, ties and the change since the scan before",
        {200: Rankings, 304: None},
        parameters=parameters(Query),
        problems=_PROBLEMS,
    ),
    Operation(
        "get",
        "/api/rankings/top20",
        "The first twenty rows of the same",
        {200: Rankings, 304: None},
        parameters=parameters(Query, ("limit",)),
        problems=_PROBLEMS,
    ),
    Operation(
        "get",
        "/api/history/{ticker}",
        "Past analyses of a ticker, newest first, and where its implied volatility stands in its own past",
        {200: (PastNumbers, PastAnswers), 304: None},
        parameters=(_TICKER, *parameters(PastQuery)),
        problems=_PROBLEMS,
    ),
    Operation(
        "get",
        "/api/history/{ticker}/surface",
        "The stored volatility surface: forward and smile of each expiry and day, newest day first",
        {200: Surface, 304: None},
        parameters=(_TICKER, *parameters(SurfaceQuery)),
        problems=_PROBLEMS,
    ),
    Operation(
        "get",
        "/api/history/{ticker}/iv",
        "The 30-day volatility at the money of each stored session, oldest first",
        {200: Ivs, 304: None},
        parameters=(_TICKER, *parameters(IvQuery)),
        problems=_PROBLEMS,
    ),
)


def read_query(kind: type[Q], query: Mapping[str, str]) -> Q:
    """Read a query string.

    Raises
    ------
    Failure
        `bad_request`, naming the parameter that is unknown or out of its range.
    """
    given = {name: value for name, value in query.items() if value != ""}
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        known = ", ".join(kind.__struct_fields__)  # type: ignore[attr-defined]
        raise Failure(
            bad_request(f"The query cannot be read: {error}{choices(kind, error)}. Known are {known}.")
        ) from None


def routes(service: Service) -> list[web.RouteDef]:
    """List the routes of rankings and histories."""
    handlers = RankingHandlers(service)
    return [
        *route(service, "GET", "/api/rankings", handlers.rankings),
        *route(service, "GET", "/api/rankings/top20", handlers.top),
        *route(service, "GET", "/api/history/{ticker}", handlers.past),
        *route(service, "GET", "/api/history/{ticker}/surface", handlers.surface),
        *route(service, "GET", "/api/history/{ticker}/iv", handlers.ivs),
    ]


class _Kept:
    """Encoded rankings by scan and query: what ended does not change, so nothing here goes out of date; thread-safe."""

    def __init__(self) -> None:
        self._answers: LRUCache[Any, Encoded] = LRUCache(KEPT_BYTES, getsizeof=lambda answer: len(answer[0]))
        self._lock = threading.Lock()

    def get(self, key: Any) -> Encoded | None:
        """Give an answer that is kept."""
        with self._lock:
            return self._answers.get(key)

    def __setitem__(self, key: Any, answer: Encoded) -> None:
        """Keep an answer, unless it is larger than all that may be kept."""
        with self._lock, contextlib.suppress(ValueError):
            self._answers[key] = answer


class RankingHandlers:
    """The handlers of rankings and histories."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._kept = _Kept()

    async def rankings(self, request: web.Request) -> web.Response:
        """Answer a page of a ranking."""
        return await self._ranking(request, read_query(Query, request.query))

    async def top(self, request: web.Request) -> web.Response:
        """Answer the first twenty."""
        if "limit" in request.query:
            raise Failure(bad_request("top20 takes no limit; /api/rankings does."))
        return await self._ranking(request, msgspec.structs.replace(read_query(Query, request.query), limit=TOP))

    async def _ranking(self, request: web.Request, query: Query) -> web.Response:
        market = self.service.market.name

        def read(connection: Connection) -> Encoded:
            found = rankings.source(connection, market, query)
            key = (found.name, query)
            kept = self._kept.get(key)
            if kept is None:
                kept = self._kept[key] = _encoded(rankings.read(connection, found, query))
            return kept

        return await self._send(request, read)

    async def past(self, request: web.Request) -> web.Response:
        """Answer past analyses: rows of numbers, or whole answers where a detail is asked for."""
        query = read_query(PastQuery, request.query)
        ticker, market = one_symbol(request.match_info["ticker"]), self.service.market.name

        def read(connection: Connection) -> Any:
            level = history.level(connection, ticker, market)
            rows: list[Any]
            if query.detail is None:
                rows = history.past_rows(connection, ticker, market, query.limit, query.offset)
            else:
                rows = history.past_answers(connection, ticker, market, query.limit, query.detail, query.offset)
            if not rows and not query.offset:
                raise Failure(_unknown(ticker))
            return {"success": True, "ticker": ticker, "count": len(rows), "level": level, "data": rows}

        return await self._answer(request, read)

    async def surface(self, request: web.Request) -> web.Response:
        """Answer the stored surface."""
        query = read_query(SurfaceQuery, request.query)
        ticker, market = one_symbol(request.match_info["ticker"]), self.service.market.name

        def read(connection: Connection) -> Surface:
            rows = history.surface_rows(connection, ticker, market, query.limit, query.offset)
            if not rows and not query.offset:
                raise Failure(_unknown(ticker))
            return Surface(ticker=ticker, count=len(rows), data=rows)

        return await self._answer(request, read)

    async def ivs(self, request: web.Request) -> web.Response:
        """Answer the history of the 30-day volatility."""
        query = read_query(IvQuery, request.query)
        ticker, market = one_symbol(request.match_info["ticker"]), self.service.market.name

        def read(connection: Connection) -> Ivs:
            points = history.iv_points(connection, ticker, market, query.years)
            if not points:
                raise Failure(_unknown(ticker))
            return Ivs(ticker=ticker, count=len(points), level=history.level(connection, ticker, market), data=points)

        return await self._answer(request, read)

    async def _answer(self, request: web.Request, read: Callable[[Connection], Any]) -> web.Response:
        return await self._send(request, lambda connection: _encoded(read(connection)))

    async def _send(self, request: web.Request, read: Callable[[Connection], Encoded]) -> web.Response:
        self.service.require_ready()
        body, tag = await self.service.archive.read(read)
        headers = {**FRESH, "ETag": tag}
        if (known := request.headers.get("If-None-Match")) is not None and wire.matches(known, tag):
            return web.Response(status=304, headers={**wire.CORS, **headers})
        return answer(body, headers)


def _encoded(value: Any) -> Encoded:
    """Encode in the thread that read, and name the bytes."""
    body = msgspec.json.encode(value)
    return body, f'"{blake2b(body, digest_size=12).hexdigest()}"'


def _unknown(ticker: str) -> Problem:
    return Problem("not_found", f"No scan of this market has analysed {ticker} yet.")
