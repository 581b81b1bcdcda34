"""Everything new: what comes with `detail: "full"` under `extended`."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from bq.schema.units import Days, Premium, Price, Probability, Vol, number


class Reason(Struct, frozen=True, order=True):
    """Something found in the data, and how often."""

    code: str
    count: int = 1


class Quality(Struct, frozen=True):
    """How far the data can be trusted."""

    grade: Literal["A", "B", "C", "D", "none"]
    reasons: list[Reason]
    iv_source: Literal["own", "none"]
    iv_percentile_of: Literal["implied_history", "realized_history"]
    rate_source: str


class IvLevel(Struct, frozen=True, gc=False):
    """Where the volatility stands in the name's own past, each 0 to 100."""

    iv_30d: Annotated[
        float | None, number("annual fraction", "implied volatility at the money, 30 days; null without usable quotes")
    ]
    days: Annotated[int, Meta(description="remembered sessions of the last year that it is compared with")]
    rank: Annotated[float | None, Meta(description="iv_30d between their lowest and highest; null before 60 of them")]
    percentile: Annotated[float | None, Meta(description="share of them below iv_30d; null before 60 of them")]
    realized_percentile: Annotated[
        float, Meta(description="forecast volatility among the realised ones of the name's own year")
    ]


class ExtendedCycle(Struct, frozen=True, gc=False):
    """A candidate cycle with its evidence, significant or not."""

    period: Days
    p_value: float
    q_value: float
    stable: Annotated[
        bool,
        Meta(description="a line in the spectrum, and in both halves of the sample; asked where p_value is below 0.01"),
    ]


class Phase(Struct, frozen=True):
    """Where the strongest significant cycle stands at the last close."""

    position: float | None
    std_error: float | None
    determined: bool


class ExtendedCycles(Struct, frozen=True):
    """The spectrum's evidence."""

    candidates: list[ExtendedCycle]
    family_p: Annotated[float, Meta(description="of the strongest frequency, Sidak-adjusted for their number")]
    phase: Phase
    trend_t_stat: float
    noise_95: list[float]
    noise_99: list[float]


class SmileParams(Struct, frozen=True):
    """Total variance a + b (rho (k - m) + sqrt((k - m)^2 + s^2)) of k = ln(K / forward)."""

    a: float
    b: float
    rho: float
    m: float
    s: float
    model: Annotated[
        str,
        Meta(
            description="svi; svi_spline, ssvi_spline: these parameters and a smoothing spline, iv_fit holds the whole;"
            " level_skew: few quotes"
        ),
    ]


class SmileQuote(Struct, frozen=True, gc=False):
    """One out-of-the-money quote as volatilities; the European ones of the American quotes."""

    strike: Price
    iv_bid: float | None
    iv_mid: Vol
    iv_ask: float | None
    iv_fit: Vol


class Arbitrage(Struct, frozen=True):
    """A violation at executable prices."""

    kind: Literal["vertical", "butterfly", "calendar", "parity"]
    strikes: list[float]
    is_call: bool | None
    profit: Premium
    size: float | None


class ExpirySlice(Struct, frozen=True):
    """What the quotes of one expiry say."""

    expiry: str
    dte: int
    tau: float
    sessions: int
    grade: str
    forward: Price
    discount: float
    rate: float
    dividend_yield: Annotated[float, Meta(description="implied carry: rate - ln(forward / spot) / tau")]
    borrow: Annotated[float, Meta(description="implied carry beyond the known dividends, a year")]
    atm_iv: Vol
    model_free_vol: Vol
    smile: SmileParams
    fit_error: float
    inside_spread: Annotated[Probability, Meta(description="share of the quotes whose bid-ask interval holds the fit")]
    inside_svi: Annotated[Probability, Meta(description="the same share for the parameters without the spline")]
    calendar_gap: Annotated[
        float, Meta(description="total variance by which the smile lies below the expiry before, where both are quoted")
    ]
    quotes: list[SmileQuote]
    arbitrage: Annotated[
        list[Arbitrage], Meta(description="riskless profits at executable prices: an alarm of the data")
    ]


class Density(Struct, frozen=True):
    """Three densities of the price at the trade's expiry, per dollar, on one grid."""

    x: list[float]
    market: list[float] | None
    forecast: list[float]
    empirical: list[float] | None


class LegGreeks(Struct, frozen=True):
    """Of one contract held long, a share."""

    delta: float
    gamma: float
    vega: float
    theta: float


class Leg(Struct, frozen=True):
    """One listed contract of the position."""

    occ_symbol: str
    type: Literal["call", "put"]
    strike: Price
    expiry: str
    quantity: Annotated[int, Meta(description="positive: bought")]
    bid: float | None
    ask: float | None
    mid: float | None
    iv: Vol
    greeks: LegGreeks


class Interval(Struct, frozen=True, gc=False):
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


class Risk(Struct, frozen=True):
    """What can come of the position, under each measure."""

    pop_market: Interval | None
    pop_forecast: Interval
    pop_empirical: Interval | None
    ev_market: float | None
    ev_forecast: float
    ev_empirical: float | None
    ev_worst: Annotated[
        float,
        Meta(
            description="lowest of the measures, minus one standard error; by the market's own measure every position "
            "loses its costs, so that this is negative for one worth buying, too: ev_bound decides"
        ),
    ]
    ev_shrunk: Annotated[
        float | None,
        Meta(description="expected value shrunk for having picked the best of many; null without a search"),
    ]
    ev_bound: Annotated[
        float | None,
        Meta(
            description="the least of ev_forecast minus 2.45 std_error (95 % for all candidates at once) and "
            "ev_empirical, without what the quotes are cheaper than the smile; null without quotes"
        ),
    ]
    std_error: Annotated[float, Meta(description="of ev_forecast: volatility, drift and sampling errors together")]
    cvar_95: Annotated[float, Meta(description="mean profit and loss of the worst 5 %, forecast measure")]
    prob_max_loss: Probability
    touch_center: Probability
    touch_lower: Probability
    touch_upper: Probability
    kelly_fraction: Annotated[
        float, Meta(description="a quarter of the growth-optimal share of capital; 0 without an edge")
    ]
    assignment_flags: list[str]
    pin_risk: Annotated[Probability, Meta(description="probability of ending within 0.5 % of the centre")]
    cheapest_form: Literal["CALL", "PUT", "IRON"]
    saving_vs_others: Annotated[Premium, Meta(description="against the next cheapest form at executable prices")]


class Candidate(Struct, frozen=True):
    """One butterfly of the Pareto front."""

    expiry: str
    form: Literal["CALL", "PUT", "IRON"]
    lower_strike: float
    center_strike: float
    upper_strike: float
    cost: float
    max_profit: float
    max_loss: float
    breakeven_lower: float | None
    breakeven_upper: float | None
    pop_market: float | None
    pop_forecast: float
    pop_empirical: float | None
    ev_market: float | None
    ev_forecast: float
    ev_empirical: float | None
    ev_worst: float
    spread_share: Annotated[float, Meta(description="sum of the legs' half spreads over the maximum loss")]
    score: Annotated[
        float, Meta(description="what the search ranks by: ev_bound over the standard deviation of the profit")
    ]
    legs: Annotated[list[str], Meta(description="OCC symbols, the quantity before each: 1x, -2x")]
    risk: Risk


class Search(Struct, frozen=True):
    """What was looked at, and the front of what is worth looking at."""

    examined: Annotated[int, Meta(description="every K1 < K2 < K3 of every usable expiry 7 to 60 days away")]
    passed: Annotated[int, Meta(description="those left by the filters, and ranked")]
    positive: Annotated[int, Meta(description="those whose ev_bound is positive")]
    rejected: Annotated[list[Reason], Meta(description="how many fell to each filter")]
    front_size: Annotated[
        int,
        Meta(
            description="candidates that no other of their expiry equals or beats in all of score, probability, "
            "liquidity and risk (standard deviation over maximum loss), among its 256 best by score; `candidates` has "
            "the best of all"
        ),
    ]


class Payoff(Struct, frozen=True):
    """Profit and loss a share over the price of the share."""

    spot: list[float]
    at_expiry: list[float]
    today: list[float]


class ScoreInterval(Struct, frozen=True):
    """95 % of the bootstrapped scores."""

    low: float
    high: float


class ScoreParts(Struct, frozen=True):
    """The weights that made the score, after parts without evidence were left out, and how far it can be trusted."""

    weights: dict[str, float]
    missing: list[str]
    reasons: Annotated[list[str], Meta(description="stable codes of what limited the recommendation")]
    interval: Annotated[ScoreInterval, Meta(description="95 % bootstrap interval of score.total, for this position")]
    std_error: Annotated[float, Meta(description="bootstrap standard error of score.total, in points")]


class ConstantMaturity(Struct, frozen=True):
    """The smile at a fixed maturity, between listed expiries: what can be compared over time."""

    days: int
    atm: Vol
    call_25: Annotated[Vol, Meta(description="of the out-of-the-money call with a delta of 0.25 on the forward")]
    put_25: Annotated[Vol, Meta(description="of the out-of-the-money put with a delta of -0.25 on the forward")]
    risk_reversal: Annotated[Vol, Meta(description="call_25 - put_25")]
    strangle: Annotated[Vol, Meta(description="mean of call_25 and put_25, minus atm")]
    extrapolated: Annotated[bool, Meta(description="all expiries lie on one side: the nearest one's volatilities")]


class TermPoint(Struct, frozen=True, gc=False):
    """Implied and forecast volatility to one expiry."""

    expiry: str
    dte: int
    implied: float | None
    forecast: Vol


class Extended(Struct, frozen=True):
    """Everything new."""

    as_of: str
    source: str
    name: str
    stale: bool
    engine_version: str
    data_hash: str
    quality: Quality
    iv_level: IvLevel
    cycles: ExtendedCycles
    chain: list[ExpirySlice]
    term_structure: list[TermPoint]
    constant_maturity: ConstantMaturity | None
    density: Density
    legs: list[Leg]
    risk: Risk
    search: Search | None
    candidates: list[Candidate]
    payoff: Payoff
    score: ScoreParts
