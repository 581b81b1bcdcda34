"""The words on the wire: what an analysis is made of, with the unit and meaning of each number, and how it is encoded.

The OpenAPI description and `docs/fields.md` are generated from these types. The names and units of everything outside
`extended` are those that existing clients read; nothing there is ever null unless it says so.
"""

from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

Detail: TypeAlias = Literal["summary", "default", "full"]


def _number(unit: str, text: str) -> Meta:
    return Meta(description=text, extra={"unit": unit}, extra_json_schema={"x-unit": unit})


Price: TypeAlias = Annotated[float, _number("$ a share", "price of the share")]
Premium: TypeAlias = Annotated[float, _number("$ a share", "price of an option position, commission included")]
Vol: TypeAlias = Annotated[float, _number("annual fraction", "volatility: 0.2 is 20 %")]
Percent: TypeAlias = Annotated[float, _number("%", "per cent")]
Probability: TypeAlias = Annotated[float, _number("fraction", "probability between 0 and 1")]
Days: TypeAlias = Annotated[float, _number("sessions", "trading days")]


class Period(Struct, frozen=True):
    """A cycle that the data bear out (q < 0.05, confirmed by tapers and in both halves)."""

    period: Days
    power: float
    power_pct: Percent


class Fourier(Struct, frozen=True):
    """Trend and cycles of the log returns of the last 504 sessions, each tested against noise."""

    trend_direction: Annotated[
        Literal["UP", "DOWN", "FLAT"],
        Meta(description="FLAT unless the mean log return of 60 sessions is significant at 5 % (Newey-West)"),
    ]
    trend_slope: Annotated[float, _number("% of price a session", "mean log return of the last 60 sessions")]
    cycle_position: Annotated[
        Literal["PEAK", "TROUGH", "UNDETERMINED"],
        Meta(
            description="where the strongest significant cycle stands; UNDETERMINED without one, or where its phase is"
        ),
    ]
    dominant_periods: Annotated[list[Period], Meta(description="significant cycles only, strongest first, 0 to 5")]
    dominant_period_days: Annotated[Days, Meta(description="the strongest, 30 when there is none")]
    period_strength: Annotated[
        Percent, Meta(description="share of the variance of the strongest, 0 when there is none")
    ]
    butterfly_type: Annotated[
        Literal["CALL", "PUT", "IRON"], Meta(description="the form that is cheapest to execute; the three pay the same")
    ]
    strategy_reason: str
    low_freq_signal: list[float] | UnsetType = UNSET
    mid_freq_signal: list[float] | UnsetType = UNSET


class Arima(Struct, frozen=True):
    """Forecast of the log price from the last 120 closes, as prices; the band covers 95 %."""

    mean_forecast: Annotated[
        Price, Meta(description="forecast for the expiry of the trade (exp of the mean log price)")
    ]
    forecast_7d: Annotated[Price, Meta(description="forecast 7 sessions ahead")]
    forecast_30d: Annotated[Price, Meta(description="forecast 30 sessions ahead")]
    model_order: Annotated[list[int], Meta(description="[p, d, q]; [0, 1, 0] is the random walk")]
    aic: float
    confidence_width: Annotated[Price, Meta(description="width of the 95 % band at the expiry of the trade")]
    forecast: Annotated[list[float], Meta(description="30 sessions, $ a share")] | UnsetType = UNSET
    upper_bound: list[float] | UnsetType = UNSET
    lower_bound: list[float] | UnsetType = UNSET


class Skew(Struct, frozen=True):
    """Implied volatilities of the fitted smile: at the money, and where the out-of-the-money delta is 0.25."""

    atm: Vol
    otm_call: Vol
    otm_put: Vol
    skew_call: Annotated[Vol, Meta(description="otm_call - atm")]
    skew_put: Annotated[Vol, Meta(description="otm_put - atm")]


class GarchParams(Struct, frozen=True):
    """Parameters of the variance equation for returns in per cent."""

    omega: float
    alpha: float
    beta: float


class Garch(Struct, frozen=True):
    """Forecast, implied and past volatility."""

    predicted_vol: Annotated[
        Vol, Meta(description="forecast from now to the expiry of the trade, on the basis of current_iv")
    ]
    current_iv: Annotated[
        Vol, Meta(description="own at-the-money implied volatility; predicted_vol where there is none")
    ]
    historical_vol: Annotated[Vol, Meta(description="of the last 252 sessions")]
    vol_mispricing: Annotated[
        Percent, Meta(description="implied over forecast volatility of the same window, minus 1; 0 without a chain")
    ]
    iv_percentile: Annotated[Percent, Meta(description="0 to 100; extended.quality says of what")]
    garch_params: GarchParams
    iv_skew: Skew | UnsetType = UNSET
    forecast_vol: Annotated[list[float], Meta(description="30 sessions ahead, annual fraction")] | UnsetType = UNSET


class Greeks(Struct, frozen=True):
    """Of the whole position, a share."""

    delta: float
    gamma: float
    vega: Annotated[float, _number("$ per volatility point", "per 0.01 of sigma")]
    theta: Annotated[float, _number("$ per calendar day", "change of value as one day passes")]


class Spreads(Struct, frozen=True):
    """Bid-ask spread over mid of each leg; of a straddle, of both together."""

    lower: Percent
    center: Percent
    upper: Percent


class Butterfly(Struct, frozen=True):
    """The position: long lower and upper, short two at the centre; the iron form shorts the straddle."""

    center_strike: Price
    lower_strike: Price
    upper_strike: Price
    wing_width: Annotated[Price, Meta(description="the wider of the two wings")]
    dte: Annotated[int, _number("calendar days", "to expiry")]
    lower_cost: Annotated[Premium, Meta(description="executable: ask + commission")]
    upper_cost: Annotated[Premium, Meta(description="executable: ask + commission")]
    center_credit: Annotated[
        Premium, Meta(description="executable: bid - commission; half the straddle for the iron form")
    ]
    net_debit: Annotated[
        Premium, Meta(description="what is paid, or for the iron form what is received; the costs above add up to it")
    ]
    is_credit_strategy: bool
    max_profit: Premium
    max_loss: Premium
    profit_ratio: Annotated[float, Meta(description="max_profit / max_loss")]
    breakeven_lower: Annotated[Price, Meta(description="0 when there is none below")]
    breakeven_upper: Price
    prob_profit: Annotated[Percent, Meta(description="under the forecast distribution at expiry")]
    risk_free_rate: Percent
    greeks: Greeks
    spreads: Spreads


class Signals(Struct, frozen=True):
    """Exactly six."""

    price_stability: Annotated[bool, Meta(description="forecast volatility below the median of its own year")]
    vol_mispricing: Annotated[
        bool, Meta(description="implied above forecast volatility by more than its standard error")
    ]
    trend_clear: Annotated[bool, Meta(description="the trend is significant")]
    cycle_aligned: Annotated[bool, Meta(description="a significant cycle points at the centre strike")]
    delta_neutral: Annotated[
        bool, Meta(description="a one-day move costs less than 5 % of the maximum loss through delta")
    ]
    iv_high: Annotated[bool, Meta(description="the implied volatility is above 60 % of its own history")]


class Components(Struct, frozen=True):
    """Each 0 to 100 (the penalty 0 to 20); a part with no evidence is 0 and has no weight."""

    price_match: float
    vol_mispricing: float
    stability: float
    fourier_align: float
    delta_penalty: float


class Score(Struct, frozen=True):
    """How much speaks for the position, 0 to 100."""

    total: float
    components: Components
    recommendation: Literal["STRONG_BUY", "BUY", "NEUTRAL", "AVOID"]
    confidence_level: Literal["HIGH", "MEDIUM", "LOW"]


class TradeSuggestion(Struct, frozen=True):
    """What to do, in words that programs know."""

    action: Literal["BUY", "WATCH", "AVOID"]
    position_size: Literal["SMALL", "MEDIUM", "STANDARD"]
    entry_timing: Literal["IMMEDIATE", "WAIT_FOR_PULLBACK"]
    stop_loss: Annotated[
        Premium, Meta(description="value of the position (cost to close, iron) at which half the risk is lost")
    ]
    take_profit: Annotated[
        Premium, Meta(description="value (cost to close, iron) at which half the maximum profit is made")
    ]
    hold_until: Annotated[str, Meta(description="YYYY-MM-DD, the session before expiry")]
    key_risks: list[str]


class FourierPoint(Struct, frozen=True, gc=False):
    """One session of the decomposition chart."""

    date: str
    actual: Price
    lowFreq: Price  # noqa: N815 - the name on the wire
    midFreq: Price  # noqa: N815


class ForecastPoint(Struct, frozen=True, gc=False):
    """One session of the forecast chart: `actual` in the past, the band in the future."""

    date: str
    actual: float | None = None
    forecast: float | None = None
    upper: float | None = None
    lower: float | None = None


class VolatilityPoint(Struct, frozen=True, gc=False):
    """One session of the volatility chart."""

    date: str
    realized: Vol
    predicted: Vol


class SpectrumPoint(Struct, frozen=True, gc=False):
    """One frequency of the periodogram."""

    period: Days
    power: float
    powerPct: Percent  # noqa: N815
    periodDays: Days  # noqa: N815


class ChartData(Struct, frozen=True):
    """What today's charts draw."""

    fourier: list[FourierPoint]
    price_forecast: list[ForecastPoint]
    volatility: list[VolatilityPoint]
    spectrum: list[SpectrumPoint]


# --- extended: everything new, with detail "full" --------------------------------------------------------------------


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
        float | None, _number("annual fraction", "implied volatility at the money, 30 days; null without usable quotes")
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


class Analysis(Struct, frozen=True):
    """One ticker, analysed."""

    ticker: str
    analysis_date: Annotated[str, Meta(description="YYYY-MM-DD HH:MM:SS, UTC: the moment of the data")]
    current_price: Price
    forecast_price: Annotated[Price, Meta(description="= arima.mean_forecast")]
    upper_bound: Annotated[Price, Meta(description="highest point of the 95 % band within 30 sessions")]
    lower_bound: Annotated[Price, Meta(description="lowest point of the 95 % band within 30 sessions")]
    price_stability: Annotated[Percent, Meta(description="width of that band over current_price: small is stable")]
    risk_level: Annotated[
        Literal["LOW", "MEDIUM", "HIGH"],
        Meta(
            description="by the probability of losing more than half of the maximum loss: below 35 %, below 60 %, above"
        ),
    ]
    fourier: Fourier
    arima: Arima
    garch: Garch
    butterfly: Butterfly
    signals: Signals
    score: Score
    trade_suggestion: TradeSuggestion
    tags: list[str] | UnsetType = UNSET
    chart_data: ChartData | UnsetType = UNSET
    extended: Extended | UnsetType = UNSET


class Written(NamedTuple):
    """An analysis, and what a list of them is judged by that not every detail shows."""

    analysis: Analysis
    cycle_p: float  # p-value of the strongest cycle, adjusted for the number of frequencies


def at_detail(analysis: Analysis, detail: Detail) -> Analysis:
    """Leave out what a detail does not carry."""
    if detail == "full":
        return analysis
    if detail == "default":
        return msgspec.structs.replace(analysis, extended=UNSET)
    replace = msgspec.structs.replace
    return replace(
        analysis,
        extended=UNSET,
        chart_data=UNSET,
        fourier=replace(analysis.fourier, low_freq_signal=UNSET, mid_freq_signal=UNSET),
        arima=replace(analysis.arima, forecast=UNSET, upper_bound=UNSET, lower_bound=UNSET),
        garch=replace(analysis.garch, forecast_vol=UNSET),
    )


_encoder = msgspec.json.Encoder()


def encode(analysis: Analysis, detail: Detail) -> bytes:
    """Encode the `data` of an item: the same bytes for the same analysis and detail."""
    return _encoder.encode(at_detail(analysis, detail))


def to_builtins(analysis: Analysis, detail: Detail) -> dict[str, Any]:
    """Turn an analysis into plain dictionaries and lists, as a JSON reader would see it."""
    result: dict[str, Any] = msgspec.to_builtins(at_detail(analysis, detail))
    return result
