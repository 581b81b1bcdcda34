"""One ticker, analysed: put together, cut down to what is asked for, and encoded."""

from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from bq.schema.basic import Arima, Butterfly, ChartData, Fourier, Garch, Score, Signals, TradeSuggestion
from bq.schema.extended import Extended
from bq.schema.units import Detail, Percent, Price


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
