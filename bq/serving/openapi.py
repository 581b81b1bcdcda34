"""The description of the HTTP interface, generated from the types on the wire, and a page to try it.

Rules of this file: nothing is described twice. A feature module lists its `Operation`s beside its routes, and `app.py`
hands them here; the schemas of requests and answers come from msgspec types, with their units and texts.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from aiohttp import web
from msgspec import Meta

from bq.config import VERSION
from bq.errors import HTTP_STATUS
from bq.schema import Analysis
from bq.serving import wire
from bq.serving.handlers import answer
from bq.serving.routing import route
from bq.serving.service import Service

PAGE: Final = Path(__file__).parents[1] / "web" / "docs.html"


class Error(msgspec.Struct, frozen=True):
    """The one shape of a failure."""

    success: Literal[False]
    error: str
    code: Literal[tuple(HTTP_STATUS)]  # type: ignore[valid-type]


class One(msgspec.Struct, frozen=True):
    """The answer for one ticker."""

    success: Literal[True]
    data: Analysis
    from_cache: bool


class Item(msgspec.Struct, frozen=True, omit_defaults=True):
    """One ticker of a list: its data, its error, or neither yet."""

    ticker: str
    status: Literal["ok", "error", "pending"]
    from_cache: bool
    cycle_p: Annotated[
        float | None, Meta(description="p-value of its strongest cycle, adjusted for the number of frequencies")
    ] = None
    data: Analysis | None = None
    error: str | None = None
    code: str | None = None
    stale: bool = False
    as_of: int | None = None


class ListCycles(msgspec.Struct, frozen=True):
    """Which cycles stand out when all tickers of the list are tested at once (Benjamini & Hochberg 1995)."""

    tested: int
    rate: Annotated[float, Meta(description="share of false ones among the discoveries, at most")]
    smallest_q: float
    discoveries: list[str]


class Many(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer for a list."""

    success: Literal[True]
    data: list[Item]
    count: int
    failed: int
    pending: int
    cycles: ListCycles | None = None


class Accepted(msgspec.Struct, frozen=True):
    """A task that was stored and will be done."""

    success: Literal[True]
    task_id: str
    status: Literal["processing"]


class Processing(msgspec.Struct, frozen=True, tag="processing", tag_field="status"):
    """How far a task is."""

    done: int
    total: int


class Completed(msgspec.Struct, frozen=True, tag="completed", tag_field="status"):
    """What a task came to: the answer that a synchronous request would have had."""

    result: Any


class Ticker(msgspec.Struct, frozen=True):
    """A symbol that may be tried."""

    symbol: str
    name: str


class Tickers(msgspec.Struct, frozen=True):
    """Symbols that may be tried."""

    success: Literal[True]
    tickers: list[Ticker]


class Health(msgspec.Struct, frozen=True):
    """The server is there."""

    status: Literal["ok"]
    version: str
    timestamp: str


class Status(msgspec.Struct, frozen=True):
    """Alive, or ready."""

    status: str


class Parameter(NamedTuple):
    """A parameter of the path, the query or the head."""

    name: str
    where: Literal["path", "query", "header"]
    text: str
    type: Any = str


class Operation(NamedTuple):
    """One method of one path."""

    method: Literal["get", "post"]
    path: str
    text: str
    answers: Mapping[int, Any]
    """By status: a msgspec type, the media type of what is not JSON, a tuple of either, or None for an empty body."""
    body: Any = None
    parameters: Sequence[Parameter] = ()
    problems: Sequence[str] = ("not_ready",)
    """Codes of `bq.errors` that it may answer."""


def describe(operations: Sequence[Operation]) -> dict[str, Any]:
    """Write the OpenAPI 3.1 description of some operations."""
    kinds = [Error, *(kind for op in operations for kind in _kinds(op))]
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    names = {id(kind): schema for kind, schema in zip(kinds, schemas, strict=True)}
    paths: dict[str, Any] = {}
    for op in operations:
        paths.setdefault(op.path, {})[op.method] = _operation(op, names)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ButterQuant",
            "version": VERSION,
            "description": "Where shares are going, how much they will move, which butterfly, if any, is worth buying.",
        },
        "paths": paths,
        "components": {"schemas": components},
    }


def _kinds(op: Operation) -> Iterator[Any]:
    """Give every msgspec type that an operation mentions."""
    for answered in op.answers.values():
        if isinstance(answered, tuple):
            yield from (kind for kind in answered if not isinstance(kind, str))
        elif answered is not None and not isinstance(answered, str):
            yield answered
    if op.body is not None:
        yield op.body
    yield from (parameter.type for parameter in op.parameters)


def _operation(op: Operation, schemas: Mapping[int, Any]) -> dict[str, Any]:
    responses = {str(status): _response(kind, schemas) for status, kind in op.answers.items()}
    for status in sorted({HTTP_STATUS[code] for code in op.problems}):
        codes = ", ".join(code for code in op.problems if HTTP_STATUS[code] == status)
        responses[str(status)] = {
            "description": codes,
            "content": {wire.JSON: {"schema": schemas[id(Error)]}},
        }
    described: dict[str, Any] = {"summary": op.text, "responses": responses}
    if op.body is not None:
        described["requestBody"] = {"required": True, "content": {wire.JSON: {"schema": schemas[id(op.body)]}}}
    if op.parameters:
        described["parameters"] = [
            {
                "name": parameter.name,
                "in": parameter.where,
                "description": parameter.text,
                "required": parameter.where == "path",
                "schema": schemas[id(parameter.type)],
            }
            for parameter in op.parameters
        ]
    return described


def _response(kind: Any, schemas: Mapping[int, Any]) -> dict[str, Any]:
    if kind is None:
        return {"description": "nothing in the body"}
    media = kind if isinstance(kind, tuple) else (kind,)
    if all(isinstance(one, str) for one in media):
        return {"description": " or ".join(media), "content": {one: {} for one in media}}
    schema = {"anyOf": [schemas[id(one)] for one in kind]} if isinstance(kind, tuple) else schemas[id(kind)]
    return {"description": "as asked", "content": {wire.JSON: {"schema": schema}}}


def routes(service: Service, operations: Sequence[Operation]) -> list[web.RouteDef]:
    """List the routes of the description and its page."""
    description = msgspec.json.encode(describe(operations))
    page = PAGE.read_bytes()
    fresh = {"Cache-Control": "public, max-age=3600"}

    async def openapi(request: web.Request) -> web.Response:
        return answer(description, fresh)

    async def docs(request: web.Request) -> web.Response:
        return answer(page, fresh, kind="text/html; charset=utf-8")

    return [*route(service, "GET", "/openapi.json", openapi), *route(service, "GET", "/docs", docs)]
