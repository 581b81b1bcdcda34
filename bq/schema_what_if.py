"""The words on the wire of a caller's own legs: what is asked, and the risk block that answers.

Prices and costs are in dollars a share for the quantities given: one contract of 100 shares costs a hundred times that.
"""

import datetime as dt
from typing import Annotated, Literal

from msgspec import Meta, Struct

from bq.schema import Greeks, Interval, LegGreeks, Payoff, Premium, Price, Probability, Reason, Vol

MOST_LEGS = 40


class LegGiven(Struct, frozen=True, forbid_unknown_fields=True):
    """One contract of the caller's position."""

    type: Literal["call", "put"]
    strike: Annotated[float, Meta(gt=0, le=1e9, description="listed, where the market lists strikes")]
    expiry: Annotated[dt.date, Meta(description="YYYY-MM-DD, listed where the market lists expiries")]
    quantity: Annotated[int, Meta(ge=-1_000_000, le=1_000_000, description="positive: bought; negative: sold; not 0")]
    price: (
        Annotated[
            float,
            Meta(ge=0, le=1e9, description="$ a share, paid or received; without it the ask is paid, the bid received"),
        ]
        | None
    ) = None


class WhatIfBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /api/what-if`."""

    ticker: str
    legs: Annotated[list[LegGiven], Meta(min_length=1, max_length=MOST_LEGS)]


class WhatIfLeg(Struct, frozen=True):
    """One contract as it was priced."""

    occ_symbol: str
    type: Literal["call", "put"]
    strike: Price
    expiry: str
    quantity: int
    price: Annotated[Premium, Meta(description="paid or received, before commission")]
    price_source: Literal["ask", "bid", "given"]
    bid: float | None
    ask: float | None
    mid: float | None
    iv: Vol
    iv_source: Annotated[
        Literal["quote", "smile", "price", "forecast"],
        Meta(description="its own mid, the fitted smile, the price given, or the forecast volatility"),
    ]
    greeks: LegGreeks


class Level(Struct, frozen=True):
    """A strike, and how the share may come to it by the expiry of the risk block."""

    strike: Price
    touch: Annotated[Probability, Meta(description="of touching it, at the forecast volatility")]
    pin: Annotated[Probability, Meta(description="of ending within 0.5 % of it, under the forecast")]


class WhatIfRisk(Struct, frozen=True):
    """What can come of the position, under each measure, at the first expiry."""

    pop_market: Interval | None
    pop_forecast: Interval
    pop_empirical: Interval | None
    ev_market: Premium | None
    ev_forecast: Premium
    ev_empirical: Premium | None
    ev_worst: Annotated[Premium, Meta(description="lowest of the measures, minus one standard error")]
    ev_bound: Annotated[
        Premium,
        Meta(
            description="the least of ev_forecast minus 2.45 std_error and ev_empirical, without what the legs are "
            "cheaper than the smile"
        ),
    ]
    std_error: Annotated[Premium, Meta(description="of ev_forecast")]
    cvar_95: Annotated[Premium, Meta(description="mean profit and loss of the worst 5 %, forecast measure")]
    prob_max_loss: Annotated[Probability | None, Meta(description="null where the loss is not bounded")]
    kelly_fraction: Annotated[
        float | None,
        Meta(
            description="a quarter of the growth-optimal share of capital; 0 where ev_bound is not positive or the "
            "history not sound, null where the loss is not bounded. Knows of no search: legs that an analysis picked "
            "as the best of thousands have 0 there where ev_shrunk is not positive"
        ),
    ]
    levels: list[Level]
    assignment_flags: list[str]


class WhatIf(Struct, frozen=True):
    """The risk block of a caller's own legs."""

    ticker: str
    as_of: str
    source: str
    engine_version: str
    spot: Price
    expiry: Annotated[str, Meta(description="of the risk block: the first expiry of the legs")]
    dte: int
    tau: float
    sessions: int
    forward: Price
    grade: Literal["A", "B", "C", "D", "none"]
    notes: list[Reason]
    cost: Annotated[Premium, Meta(description="positive: paid; negative: received")]
    commission: Annotated[Premium, Meta(description="part of the cost")]
    max_profit: Annotated[Premium | None, Meta(description="null where it is not bounded")]
    max_loss: Annotated[Premium | None, Meta(description="null where it is not bounded")]
    breakevens: list[float]
    greeks: Greeks
    legs: list[WhatIfLeg]
    risk: WhatIfRisk
    payoff: Payoff
