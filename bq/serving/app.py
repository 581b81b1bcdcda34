"""The application: which routes there are, and how it is opened and closed.

Adding routes: a feature module exposes `routes(service: Service) -> list[web.RouteDef]` (see `routing.route`) and is
listed in `FEATURES`; what it takes and answers it lists as `openapi.Operation`s, which join `OPERATIONS`. It finds
everything it needs in the service: settings, market, `pools.in_compute` for kernels outside of the batcher, `desk` for
stored answers, `jobs` for long work. State of its own it keeps in its own object.
"""

import datetime as dt
import random
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from aiohttp import web

from bq.config import Settings
from bq.market.source import Market
from bq.serving import (
    assets,
    export_handlers,
    handlers,
    openapi,
    operations,
    pricing,
    ranking_handlers,
    scan_handlers,
    task_handlers,
    what_if,
)
from bq.serving.compute import Engine, load_engine
from bq.serving.logs import leave
from bq.serving.routing import fallback
from bq.serving.service import Service

Routes: TypeAlias = Callable[[Service], list[web.RouteDef]]

SERVICE: Final = web.AppKey("service", Service)
OPERATIONS: Final[Sequence[openapi.Operation]] = (
    *operations.OPERATIONS,
    *pricing.OPERATIONS,
    *what_if.OPERATIONS,
    *ranking_handlers.OPERATIONS,
    *scan_handlers.OPERATIONS,
    *assets.OPERATIONS,
    *export_handlers.OPERATIONS,
)


def _description(service: Service) -> list[web.RouteDef]:
    return openapi.routes(service, OPERATIONS)


FEATURES: Final[Sequence[Routes]] = (
    handlers.routes,
    task_handlers.routes,
    pricing.routes,
    what_if.routes,
    ranking_handlers.routes,
    scan_handlers.routes,
    export_handlers.routes,
    _description,
    assets.routes,
)


def session_clock(settings: Settings) -> Callable[[dt.datetime], bool] | None:
    """Give what tells whether the exchange is open, for a market whose prices move with it; None for the others."""
    if settings.market != "yahoo":
        return None
    from bq.market import calendar

    return calendar.is_open


def build_app(
    settings: Settings,
    market: Market | Callable[[], Market],
    *,
    load: Callable[[], Engine] = load_engine,
    session_open: Callable[[dt.datetime], bool] | None = None,
    clock: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
    rng: random.Random | None = None,
    leave: Callable[[int], object] = leave,
    features: Sequence[Routes] = FEATURES,
) -> web.Application:
    """Build the application; it boots its engine when it is started and stops everything when it is cleaned up.

    Parameters
    ----------
    market
        The market, or what opens it (blocking; called in a computing thread while the server says "not ready").
    load
        Imports the engine (blocking; called in a computing thread).
    session_open, clock, wall, rng, leave
        See `Service`.
    """
    app = web.Application()
    open_market = market if callable(market) else lambda: market
    service = Service(
        settings, open_market, load, session_open=session_open, clock=clock, wall=wall, rng=rng, leave=leave
    )
    app[SERVICE] = service
    for routes in features:
        app.add_routes(routes(service))
    app.add_routes(fallback(service))

    async def start(app: web.Application) -> None:
        service.start()

    async def stop(app: web.Application) -> None:
        await service.stop()

    app.on_startup.append(start)
    app.on_cleanup.append(stop)
    return app
