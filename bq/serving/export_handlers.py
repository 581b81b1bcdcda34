"""HTTP for exports: stored numbers as CSV or Parquet, streamed a page at a time.

Rules of this file: a page is read and written in the archive's threads; between pages no connection to the database is
held, so a slow client costs nobody else.
"""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Final

import msgspec
from aiohttp import web
from msgspec import Meta
from sqlalchemy import Connection

from bq.errors import Failure, bad_request
from bq.scan import export, tabular
from bq.scan.export import APPLIES, ExportQuery, What
from bq.serving import wire
from bq.serving.openapi import Operation, Parameter
from bq.serving.ranking_handlers import parameters, read_query
from bq.serving.routing import route
from bq.serving.service import Service


class HttpQuery(ExportQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rows are wanted, and as what."""

    format: Annotated[tabular.Format, Meta(description="csv or parquet")] = "csv"


OPERATIONS: Final = (
    Operation(
        "get",
        "/api/export/{what}",
        "Stored numbers as a file: a ranking, wide rows of past analyses, the volatility surface, its 30-day level",
        {200: tuple(tabular.MEDIA.values())},
        parameters=(Parameter("what", "path", "which table", What), *parameters(HttpQuery)),
        problems=("bad_request", "not_found", "storage_failed", "too_busy", "not_ready"),
    ),
)


def routes(service: Service) -> list[web.RouteDef]:
    """List the route of exports."""
    return route(service, "GET", "/api/export/{what}", ExportHandlers(service).export)


class ExportHandlers:
    """The handler of exports."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def export(self, request: web.Request) -> web.StreamResponse:
        """Stream a table. What is wrong with the request is told before the first byte."""
        self.service.require_ready()
        what = _what(request.match_info)
        query = read_query(HttpQuery, request.query)
        export.check(what, query)
        market = self.service.market.name
        writer = tabular.writer(export.columns(what), query.format)

        def read(connection: Connection, after: object = None) -> tuple[bytes, object]:
            page = export.page(connection, what, market, query, after)
            return writer.add(page.rows), page.following

        ready, after = await self.service.archive.read(read)
        response = web.StreamResponse(
            headers={
                "Content-Type": tabular.MEDIA[query.format],
                "Content-Disposition": f'attachment; filename="{what}.{query.format}"',
                "Cache-Control": "no-store",
                **wire.CORS,
            }
        )
        await response.prepare(request)
        await response.write(ready)
        while after is not None:
            ready, after = await self.service.archive.read(partial(read, after=after))
            await response.write(ready)
        await response.write(writer.end())
        await response.write_eof()
        return response


def _what(parts: Mapping[str, str]) -> What:
    try:
        return msgspec.convert(parts["what"], What)
    except msgspec.ValidationError:
        raise Failure(bad_request(f"There are {', '.join(APPLIES)} to export.")) from None
