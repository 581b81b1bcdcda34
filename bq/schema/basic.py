"""What every answer holds, under the names and in the units that existing clients read.

Nothing here is ever null unless it says so.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from bq.schema.units import Days, Percent, Premium, Price, Vol, number


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
    trend_slope: Annotated[float, number("% of price a session", "mean log return of the last 60 sessions")]
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
    vega: Annotated[float, number("$ per volatility point", "per 0.01 of sigma")]
    theta: Annotated[float, number("$ per calendar day", "change of value as one day passes")]


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
    dte: Annotated[int, number("calendar days", "to expiry")]
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
    breakeven_upper: Annotated[Price, Meta(description="0 when there is none above")]
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
