"""The words on the wire of rankings and histories.

Rules of this file: types only. The first fields of `RankRow` are those that existing clients read; what may be missing
in a row (it was imported from an older system, or recorded without its full answer) says so by `None`.
"""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

Sort: TypeAlias = Literal[
    "rank", "ticker", "score", "-score", "expiry", "-prob_profit", "-profit_ratio", "-ev_forecast", "-ev_worst",
    "-vol_mispricing", "vol_mispricing", "-iv_percentile", "iv_percentile", "max_loss", "-change", "change",
]  # fmt: skip
"""By what a ranking is ordered; a minus means the largest first. `change` is that of the score since the last scan."""

Strategy: TypeAlias = Literal["CALL", "PUT", "IRON"]
Recommendation: TypeAlias = Literal["STRONG_BUY", "BUY", "NEUTRAL", "AVOID"]
Confidence: TypeAlias = Literal["HIGH", "MEDIUM", "LOW"]

_POINTS = "in points of the total"


class Points(Struct, frozen=True):
    """What each part contributed to the change of a score, in points: they add up to the change."""

    price_match: float
    vol_mispricing: float
    stability: float
    fourier_align: float
    delta_penalty: Annotated[float, Meta(description="negative when the penalty grew")]
    rest: Annotated[float, Meta(description="what the limits do: 0 and 100, and grade D, which is 0")]


class Change(Struct, frozen=True):
    """The difference to the previous scan."""

    rank: Annotated[int, Meta(description="positive: it rose")]
    score: Annotated[float, Meta(description=_POINTS)]
    recommendation: Annotated[Recommendation, Meta(description="what it was")]
    points: Points | None


class RankRow(Struct, frozen=True, kw_only=True):
    """One ticker of a ranking."""

    rank: Annotated[int, Meta(description="1 is the best; equal scores share a rank")]
    ticker: str
    score: float
    strategy: Strategy
    recommendation: Recommendation
    confidence: Confidence
    analysis_date: Annotated[str, Meta(description="YYYY-MM-DD HH:MM:SS, UTC: the moment of the data")]
    date: Annotated[str, Meta(description="YYYY-MM-DD: the session that the data belong to")]
    tags: list[str]
    expiry: Annotated[str | None, Meta(description="YYYY-MM-DD")]
    lower: Annotated[float, Meta(description="strike")]
    center: Annotated[float, Meta(description="strike")]
    upper: Annotated[float, Meta(description="strike")]
    is_credit_strategy: bool
    name: str | None
    grade: Annotated[str | None, Meta(description="of the quotes: A to D, none without a chain")]
    price: float
    dte: Annotated[int | None, Meta(description="calendar days")]
    net_debit: float
    max_profit: float
    max_loss: float
    profit_ratio: float
    prob_profit: Annotated[float | None, Meta(description="%, under the forecast")]
    ev_forecast: Annotated[float | None, Meta(description="$ a share")]
    ev_worst: Annotated[
        float | None,
        Meta(
            description="$ a share, lowest measure less one standard error; by the market's own measure every position "
            "loses its costs, so that a BUY may have a negative one"
        ),
    ]
    predicted_vol: Annotated[float, Meta(description="annual fraction")]
    current_iv: Annotated[float, Meta(description="annual fraction; predicted_vol where there is none")]
    vol_mispricing: Annotated[float, Meta(description="%; 0 without a chain")]
    iv_percentile: Annotated[float | None, Meta(description="0 to 100")]
    score_low: Annotated[float | None, Meta(description="95 % interval of the score")]
    score_high: float | None
    rank_low: Annotated[int | None, Meta(description="95 % interval of the rank, the better end")]
    rank_high: Annotated[int | None, Meta(description="the worse end")]
    tier: Annotated[
        int | None, Meta(description="names of one tier cannot be told apart from its best at 95 %: they are tied")
    ]
    tied: Annotated[int, Meta(description="names with this rank, this one among them")]
    cluster: Annotated[int | None, Meta(description="names of one cluster move together")]
    change: Change | None
    """None where the previous scan has no analysis of it, or there is no previous scan."""


class ScanView(Struct, frozen=True, kw_only=True):
    """A scan that a ranking comes from, or is compared with."""

    scan_id: str
    universe: str
    market: str
    as_of: Annotated[str, Meta(description="ISO 8601: the latest moment of its data")]
    finished_at: str
    total: int


class Rankings(Struct, frozen=True, kw_only=True):
    """A page of a ranking."""

    success: Literal[True] = True
    data: list[RankRow]
    as_of: Annotated[str, Meta(description="ISO 8601: the latest moment of the data")]
    count: Annotated[int, Meta(description="rows in this answer")]
    matching: Annotated[int, Meta(description="rows that fit the filter")]
    scan: ScanView
    previous: ScanView | None
    """What the changes are measured against."""
    left: Annotated[list[str], Meta(description="ranked in the previous scan, not in this one")]


class Level(Struct, frozen=True, kw_only=True):
    """Where the volatility of a name stands in its own past."""

    days: Annotated[int, Meta(description="sessions of the last year with a stored surface")]
    current_iv: Annotated[float | None, Meta(description="at the money, 30 days, of the last of them; annual fraction")]
    low: Annotated[float | None, Meta(description="the lowest of them")]
    high: float | None
    iv_rank: Annotated[float | None, Meta(description="0 to 100: place between low and high; null before 60 days")]
    iv_percentile: Annotated[float | None, Meta(description="0 to 100: share of the days below; null before 60 days")]
    realized_vol_percentile: Annotated[
        float | None,
        Meta(description="0 to 100: forecast volatility among the realised ones of the name's own year, last analysis"),
    ]


class Components(Struct, frozen=True):
    """The parts of the score, each 0 to 100 (the penalty 0 to 20)."""

    price_match: float
    vol_mispricing: float
    stability: float
    fourier_align: float
    delta_penalty: float


class PastRow(RankRow, frozen=True, kw_only=True):
    """One past analysis of a ticker. Its rank is that in its scan; 0 where the scan was never ranked."""

    scan_id: str
    forecast_price: float
    upper_bound: float | None
    lower_bound: float | None
    price_stability: float
    risk_level: Literal["LOW", "MEDIUM", "HIGH"] | None
    trend_direction: Literal["UP", "DOWN", "FLAT"] | None
    cycle_position: Literal["PEAK", "TROUGH", "UNDETERMINED"] | None
    historical_vol: float | None
    delta: float
    gamma: float
    vega: float
    theta: float
    components: Components | None


class SurfaceRow(Struct, frozen=True, kw_only=True):
    """What the option market said of one expiry on one day.

    Total variance a + b (rho (k - m) + sqrt((k - m)^2 + s^2)) of k = ln(K / forward).
    """

    day: str
    expiry: str
    tau: Annotated[float, Meta(description="years of 365 days")]
    forward: float
    discount: float
    atm_iv: Annotated[float, Meta(description="annual fraction")]
    a: float
    b: float
    rho: float
    m: float
    s: float
    fit_error: float
    grade: str


class IvPoint(Struct, frozen=True):
    """The 30-day volatility at the money of one session."""

    day: str
    iv: Annotated[float, Meta(description="annual fraction")]
