"""HTTP for arrays of options: prices, Greeks and implied volatilities of up to a hundred thousand rows a request.

Rules of this file: bodies are large, so how many are held at a time is bounded before they are read, and everything
that grows with them (decoding, computing, encoding) runs in computing threads, in parts short enough for others to get
their turn in between.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias

import msgspec
import orjson
from aiohttp import web
from msgspec import Meta, Raw, Struct

from bq.errors import Failure, Problem, bad_request
from bq.schema.units import number
from bq.serving.handlers import answer, client_of
from bq.serving.limits import read_body
from bq.serving.openapi import Operation
from bq.serving.requests import choices, decode
from bq.serving.routing import route
from bq.serving.service import Service

LARGEST_BODY: Final = 16 << 20
MOST_ROWS: Final = 100_000
BODIES: Final = 4 * LARGEST_BODY
"""Bytes of bodies held at a time, decoded or not. Each costs about four times as much memory when it is decoded."""
PART_S: Final = 0.05
"""Computing time of a part, after which whatever else waits for a thread goes first."""
TICKER_S: Final = 0.004
"""Computing time that counts as one ticker where clients are limited."""
RETRY_S: Final = 1.0


Given: TypeAlias = float | list[float | None]
Spot: TypeAlias = Annotated[Given, number("$ a share", "price of the share, above 0")]
Strike: TypeAlias = Annotated[Given, number("$ a share", "strike, above 0")]
Tau: TypeAlias = Annotated[Given, number("years of 365 days", "time to expiry")]
Rate: TypeAlias = Annotated[Given, number("a year, continuous", "interest rate: 0.04 is 4 %")]
Dividend: TypeAlias = Annotated[Given, number("a year, continuous", "dividend yield, borrow cost included")]
Sigma: TypeAlias = Annotated[Given, number("annual fraction", "volatility: 0.2 is 20 %")]
Price: TypeAlias = Annotated[Given, number("$ a share", "price of the option")]
IsCall: TypeAlias = Annotated[bool | list[bool], Meta(description="true: call, false: put")]
StyleName: TypeAlias = Literal["european", "american"]
Style: TypeAlias = Annotated[
    StyleName | list[StyleName], Meta(description="exercise: at expiry only, or at any time (listed US options)")
]


class PriceBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /api/price`: each field one value for all rows, or an array; null stands for missing."""

    spot: Spot
    strike: Strike
    tau: Tau
    rate: Rate
    sigma: Sigma
    is_call: IsCall
    dividend: Dividend = 0.0
    style: Style = "european"


class ImpliedVolBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /api/implied-vol`: each field one value for all rows, or an array; null stands for missing."""

    price: Price
    spot: Spot
    strike: Strike
    tau: Tau
    rate: Rate
    is_call: IsCall
    dividend: Dividend = 0.0
    style: Style = "european"


Found: TypeAlias = list[float | None]


class PriceColumns(Struct, frozen=True):
    """Prices and Greeks of one contract held long, a share, row by row; null where the status says why."""

    price: Annotated[Found, number("$ a share", "value of the option")]
    delta: Annotated[Found, number("$ per $1 of the share", "change of the price")]
    gamma: Annotated[Found, number("per $1 of the share", "change of delta")]
    vega: Annotated[Found, number("$ per volatility point", "change of the price as sigma rises by 0.01")]
    theta: Annotated[Found, number("$ per calendar day", "change of the price as one day passes")]
    rho: Annotated[Found, number("$ per percentage point", "change of the price as the rate rises by 0.01")]
    vanna: Annotated[Found, number("per volatility point", "change of delta as sigma rises by 0.01")]
    volga: Annotated[Found, number("$ per volatility point squared", "change of vega as sigma rises by 0.01")]
    charm: Annotated[Found, number("per calendar day", "change of delta as one day passes")]
    status: list[int]


class ImpliedVolColumns(Struct, frozen=True):
    """Implied volatilities, row by row; null where the status says why."""

    sigma: Annotated[Found, number("annual fraction", "volatility at which the option has its price")]
    status: list[int]


Meanings: TypeAlias = Annotated[
    dict[str, str],
    Meta(description="name of each status that occurs; 0, 4, 7 and 10 have numbers, the others have null"),
]


class Priced(Struct, frozen=True):
    """The answer of `POST /api/price`."""

    success: Literal[True]
    data: PriceColumns
    count: int
    meaning: Meanings


class Implied(Struct, frozen=True):
    """The answer of `POST /api/implied-vol`."""

    success: Literal[True]
    data: ImpliedVolColumns
    count: int
    meaning: Meanings


PROBLEMS: Final = (
    "bad_request", "request_timeout", "too_large", "unsupported_media_type", "too_many_requests", "too_busy",
    "not_ready",
)  # fmt: skip
OPERATIONS: Final = (
    Operation(
        "post",
        "/api/price",
        f"Prices and Greeks of up to {MOST_ROWS:,} options, a status for each",
        {200: Priced},
        body=PriceBody,
        problems=PROBLEMS,
    ),
    Operation(
        "post",
        "/api/implied-vol",
        f"Implied volatilities of up to {MOST_ROWS:,} option prices, a status for each",
        {200: Implied},
        body=ImpliedVolBody,
        problems=PROBLEMS,
    ),
)


class Work(NamedTuple):
    """One kind of request: how its body reads, what is computed, how long a row takes."""

    body: type[Struct]
    compute: Callable[[Any], Any]
    european_s: float  # seconds a row, about
    american_s: float


def _price(given: Any) -> Any:
    from bq.analysis import pricing  # kernels: loaded when the engine was

    return pricing.price_rows(given)


def _implied_vol(given: Any) -> Any:
    from bq.analysis import pricing

    return pricing.implied_vol_rows(given)


PRICE: Final = Work(PriceBody, _price, 1e-7, 15e-6)
IMPLIED_VOL: Final = Work(ImpliedVolBody, _implied_vol, 2e-7, 10e-6)


class Body:
    """Reads a body column by column: one call for a large one would keep the event loop waiting for its turn."""

    def __init__(self, kind: type[Struct]) -> None:
        fields = msgspec.structs.fields(kind)
        self.decoders = {field.name: msgspec.json.Decoder(field.type) for field in fields}
        self.defaults = {field.name: field.default for field in fields if not field.required}
        raw = [
            (field.name, Raw) if field.required else (field.name, Raw, Raw())
            for field in sorted(fields, key=lambda field: not field.required)
        ]
        self.split = msgspec.json.Decoder(msgspec.defstruct(f"{kind.__name__}Raw", raw, forbid_unknown_fields=True))
        self.most_commas = len(fields) * (MOST_ROWS + 1)

    def read(self, body: bytes) -> dict[str, Any]:
        """Give the columns as they were sent.

        Raises
        ------
        Failure
            `bad_request`, naming the field, or `too_large`.
        """
        if body.count(b",") > self.most_commas:  # before a hostile body of numbers takes a hundred times its size
            raise Failure(too_many_rows())
        parts = decode(self.split, body)
        columns = {}
        for name, decoder in self.decoders.items():
            text = getattr(parts, name)
            if not text and name in self.defaults:
                columns[name] = self.defaults[name]
                continue
            try:
                columns[name] = decoder.decode(text)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise Failure(bad_request(f"{name} does not read: {error}{choices(decoder.type, error)}")) from None
            except RecursionError:
                raise Failure(bad_request(f"{name} is nested too deeply.")) from None
        if any(isinstance(column, list) and len(column) > MOST_ROWS for column in columns.values()):
            raise Failure(too_many_rows())
        return columns


def too_many_rows() -> Problem:
    """Say how many rows a request may have, and what to do with more."""
    return Problem("too_large", f"The limit is {MOST_ROWS} rows in one request. Send several requests.")


class Room:
    """What is promised to requests under way: bytes of bodies, and seconds of computing."""

    def __init__(self, most_bytes: int, most_s: float) -> None:
        self.most_bytes, self.most_s = most_bytes, most_s
        self.bytes = 0
        self.seconds = 0.0

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Keep room for a body; raises `too_busy` where there is none."""
        if self.bytes and self.bytes + size > self.most_bytes:
            raise Failure(Problem("too_busy", "Too many large requests at a time.", RETRY_S))
        self.bytes += size
        try:
            yield
        finally:
            self.bytes -= size

    @contextmanager
    def work(self, seconds: float) -> Iterator[None]:
        """Keep computing time; raises `too_busy` where too much is promised already."""
        if self.seconds and self.seconds + seconds > self.most_s:
            raise Failure(Problem("too_busy", "Too many options are being computed.", max(self.seconds, RETRY_S)))
        self.seconds += seconds
        try:
            yield
        finally:
            self.seconds -= seconds


class PricingHandlers:
    """The handlers of arrays, with the room that they share."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.room = Room(BODIES, service.settings.max_backlog_s)
        self.bodies = {work.body: Body(work.body) for work in (PRICE, IMPLIED_VOL)}

    async def price(self, request: web.Request) -> web.Response:
        """Answer `POST /api/price`."""
        return await self._answer(request, PRICE)

    async def implied_vol(self, request: web.Request) -> web.Response:
        """Answer `POST /api/implied-vol`."""
        return await self._answer(request, IMPLIED_VOL)

    async def _answer(self, request: web.Request, work: Work) -> web.Response:
        service = self.service
        service.require_ready()
        size = min(request.content_length or LARGEST_BODY, LARGEST_BODY)
        try:
            with self.room.hold(size):
                body = await read_body(request, service.settings.body_timeout_s, LARGEST_BODY)
                began = service.clock()
                given = await service.pools.in_compute(_rows, self.bodies[work.body], body)
                needed = _seconds(given, work)
                client = client_of(service, request)
                problem = service.buckets.take(client, max(1, round(needed / TICKER_S)))
                if problem is not None:
                    raise Failure(problem)
                with self.room.work(needed):
                    parts = await self._compute(given, work, needed, service.deadline(None))
                encoded = await service.pools.in_compute(_encode, parts, given.size)
        except Failure as failure:
            if failure.problem.http_status in (429, 503):
                service.shed(failure.problem)
            raise
        timing = f"compute;dur={(service.clock() - began) * 1000:.2f}"
        return answer(encoded, {"Cache-Control": "no-store", "Server-Timing": timing})

    async def _compute(self, given: Any, work: Work, needed: float, deadline: float) -> list[Any]:
        """Compute part by part, one after the other: a request occupies one thread at most."""
        count = max(1, min(int(needed / PART_S) + 1, given.size))
        edges = [given.size * i // count for i in range(count + 1)]
        parts = []
        for start, stop in pairwise(edges):
            if self.service.clock() > deadline:
                raise Failure(Problem("too_busy", "The rows were not done by the deadline. Send fewer.", RETRY_S))
            parts.append(await self.service.pools.in_compute(work.compute, given.part(start, stop)))
        return parts


def _rows(reader: Body, body: bytes) -> Any:
    from bq.analysis import pricing

    columns = reader.read(body)
    is_call, style = columns.pop("is_call"), columns.pop("style")
    try:
        return pricing.rows(columns, is_call, style)
    except ValueError as error:
        raise Failure(bad_request(f"{error}.")) from None


def _seconds(given: Any, work: Work) -> float:
    american = int(given.american.sum())
    return american * work.american_s + (given.size - american) * work.european_s


def _encode(parts: list[Any], count: int) -> bytes:
    """Write the answer column by column; orjson writes NaN as null."""
    import numpy as np

    from bq.analysis import pricing

    whole = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    names = parts[0]._fields
    dump = orjson.dumps
    columns = b",".join(
        b'"%b":%b' % (name.encode(), dump(column, option=orjson.OPT_SERIALIZE_NUMPY))
        for name, column in zip(names, whole, strict=True)
    )
    meaning = dump({str(code): text for code, text in pricing.meanings(whole[-1]).items()})
    return b'{"success":true,"data":{%b},"count":%d,"meaning":%b}' % (columns, count, meaning)


def routes(service: Service) -> list[web.RouteDef]:
    """List the routes of arrays."""
    handlers = PricingHandlers(service)
    return [
        *route(service, "POST", "/api/price", handlers.price),
        *route(service, "POST", "/api/implied-vol", handlers.implied_vol),
    ]
