"""HTTP for a caller's own legs on one ticker.

Rules of this file: what depends on the ticker alone is found once, whoever asks, and kept for as long as an analysis is
fresh; what depends on the legs is computed in a computing thread for each request.
"""

import asyncio
import logging
from typing import Annotated, Any, Final, Literal

import msgspec
from aiohttp import web
from cachetools import TLRUCache
from msgspec import Meta, Struct

from bq.errors import Failure, Problem
from bq.schema_what_if import WhatIf, WhatIfBody
from bq.serving.handlers import answer, client_of
from bq.serving.limits import read_body
from bq.serving.openapi import Operation
from bq.serving.operations import ANSWERING
from bq.serving.requests import decode, one_symbol
from bq.serving.routing import route
from bq.serving.service import Service

_log = logging.getLogger(__name__)

KEPT: Final = 64
"""Tickers kept: a study of a large chain is about a megabyte."""
MOST_PENDING: Final = 64
"""Tickers being fetched for this route at a time."""
REFUSAL_S: Final = 10.0


class WhatIfAnswer(Struct, frozen=True):
    """The answer of `POST /api/what-if`."""

    success: Literal[True]
    data: WhatIf
    from_cache: Annotated[bool, Meta(description="the quotes were fetched for an earlier request")]


OPERATIONS: Final = (
    Operation(
        "post",
        "/api/what-if",
        "Cost, Greeks, payoff, probabilities and expected value of the caller's own legs on one ticker",
        {200: WhatIfAnswer},
        body=WhatIfBody,
        problems=(*ANSWERING, "bad_data", "request_timeout", "too_large", "unsupported_media_type"),
    ),
)


class Studies:
    """What is known of tickers: kept for a while, and found once however many ask."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._kept: TLRUCache[str, Any] = TLRUCache(KEPT, self._until, service.clock)
        self._pending: dict[str, asyncio.Task[Any]] = {}

    def _until(self, ticker: str, found: Any, now: float) -> float:
        return now + (REFUSAL_S if isinstance(found, Problem) else self.service.soft_life())

    async def find(self, ticker: str, deadline: float) -> tuple[Any, bool]:
        """Give the study of a ticker, and whether it was there already.

        Raises
        ------
        Failure
            With the ticker's problem, or `too_busy`.
        """
        found = self._kept.get(ticker)
        kept = found is not None
        if not kept:
            found = await self._wait(ticker, deadline)
        if isinstance(found, Problem):
            raise Failure(found)
        return found, kept

    async def _wait(self, ticker: str, deadline: float) -> Any:
        task = self._pending.get(ticker)
        if task is None:
            if len(self._pending) >= MOST_PENDING:
                raise Failure(Problem("too_busy", "Too many tickers are being fetched.", 1.0))
            task = self._pending[ticker] = asyncio.create_task(self._study(ticker))
            task.add_done_callback(lambda _: self._pending.pop(ticker, None))
        # Whoever goes away leaves the work to those who stay.
        done, _ = await asyncio.wait((task,), timeout=max(deadline - self.service.clock(), 0.0))
        if not done:
            raise Failure(Problem("too_busy", "The quotes were not there by the deadline. Ask again.", 2.0))
        return task.result()

    async def _study(self, ticker: str) -> Any:
        """Fetch a ticker and study it; never raises."""
        try:
            found = await self._found(ticker)
        except Exception:
            _log.exception("%s could not be studied", ticker)
            found = Problem("compute_failed", f"{ticker}: the quotes could not be studied. This is a defect.")
        self._kept[ticker] = found
        return found

    async def _found(self, ticker: str) -> Any:
        service, pools, key = self.service, self.service.pools, (f"what-if {ticker}",)
        # What kills the process in an analysis would do so here; what does so only here may still be analysed.
        for suspect in ((ticker,), key):
            if (verdict := service.suspects.verdict(suspect)) is not None:
                return verdict
        try:
            (snapshot,) = await pools.fetch([(ticker, "full", service.desk.world)])
        except Exception:
            _log.exception("the fetch of %s failed", ticker)
            return Problem("source_failed", "The market failed to answer.", 10.0)
        if isinstance(snapshot, Problem):
            return snapshot
        found = await pools.in_compute(self._recorded, key[0], snapshot)
        service.suspects.acquit((key,))
        return found

    def _recorded(self, name: str, snapshot: Any) -> Any:
        with self.service.pools.under_way([name]):
            return _study(snapshot)


def _study(snapshot: Any) -> Any:
    from bq.analysis import given_legs  # kernels: loaded when the engine was

    return given_legs.study(snapshot)


def _assess(study: Any, asked: WhatIfBody) -> bytes | Problem:
    from bq.analysis import whatif

    found = whatif.assess(study, asked.legs)
    return found if isinstance(found, Problem) else msgspec.json.encode(found)


def routes(service: Service) -> list[web.RouteDef]:
    """List the route of the caller's own legs."""
    studies = Studies(service)
    decoder = msgspec.json.Decoder(WhatIfBody)

    async def what_if(request: web.Request) -> web.Response:
        body = await read_body(request, service.settings.body_timeout_s)
        service.require_ready()
        asked = decode(decoder, body)
        ticker = one_symbol(asked.ticker)
        if (problem := service.buckets.take(client_of(service, request), 1)) is not None:
            service.shed(problem)
            raise Failure(problem)
        study, kept = await studies.find(ticker, service.deadline(None))
        found = await service.pools.in_compute(_assess, study, asked)
        if isinstance(found, Problem):
            raise Failure(found)
        flag = b"true" if kept else b"false"
        return answer(b'{"success":true,"data":%b,"from_cache":%b}' % (found, flag), {"Cache-Control": "no-store"})

    return route(service, "POST", "/api/what-if", what_if)
