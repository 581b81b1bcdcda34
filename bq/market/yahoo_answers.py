"""What Yahoo's two answers say: daily bars out of the chart, quotes out of the options; or why they cannot be trusted.

Rules of this file: decoded JSON in, records out; no network, no clock. Shapes are checked, numbers validated, nothing
repaired. An answer that has no data is `Untrusted`, never "no data": Yahoo gives such answers when it is unwell.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from bq.market import calendar
from bq.market.source import F64, Bars, Days, Dividend

MOST_HOLES: Final = 0.5
COLUMNS: Final = ("open", "high", "low", "close", "volume")
MISSING: Final = float("nan")


class Untrusted(Exception):  # noqa: N818 - a verdict on an answer
    """The answer has not the shape or the content of data; the text says what is wrong."""


class Empty(Untrusted):
    """The answer is not about what was asked, or holds next to nothing: Yahoo is unwell, and may be well again soon."""


class Chart(NamedTuple):
    """A chart answer: every row that has prices, the live one included."""

    name: str
    bars: Bars
    dividends: tuple[Dividend, ...]  # oldest first
    market_time: int  # seconds since 1970: how far the newest prices reach
    listed_since: Days  # one day, or none where Yahoo does not say


class Options(NamedTuple):
    """An options answer: what is listed, the share's quote, and the contracts of the one expiry it carries."""

    expiries: tuple[int, ...]  # seconds since 1970, 00:00 UTC of the date
    spot: float
    market_time: int
    yearly_dividend: float | None
    contracts: tuple[Mapping[str, Any], ...]
    is_call: tuple[bool, ...]


def _first_result(body: Mapping[str, Any], outer: str) -> Mapping[str, Any]:
    part = body.get(outer)
    result = part.get("result") if isinstance(part, dict) else None
    if not isinstance(result, list) or not result or not isinstance(result[0], dict):
        raise Empty("an answer without a result")
    return result[0]


def _numbers(values: Any, size: int, name: str) -> F64:
    if not isinstance(values, list) or len(values) != size:
        raise Empty(f"{name} does not have one number for each day")
    return np.array([_number(value) for value in values], np.float64)


def _number(value: Any) -> float:
    """Give a JSON number as a finite float; NaN for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return MISSING
    return float(value)


def read_chart(body: Mapping[str, Any], symbol: str) -> Chart:
    """Read daily bars.

    Raises
    ------
    Untrusted
        Another symbol's answer, no rows, more holes than data, dates out of order or twice, prices that are not
        positive or contradict each other.
    """
    result = _first_result(body, "chart")
    meta = result.get("meta")
    if not isinstance(meta, dict):
        raise Empty("a chart without meta data")
    if str(meta.get("symbol", "")).upper() != symbol.upper():
        raise Empty(f"asked for {symbol}, got {meta.get('symbol')!r}")
    stamps = result.get("timestamp")
    if not isinstance(stamps, list) or not stamps:
        raise Empty("a chart without days")
    indicators = result.get("indicators")
    try:
        quote = indicators["quote"][0]  # type: ignore[index]
        columns = {name: _numbers(quote.get(name), len(stamps), name) for name in COLUMNS}
        adjusted = indicators.get("adjclose")  # type: ignore[union-attr]
        if adjusted:
            columns["adj_close"] = _numbers(adjusted[0].get("adjclose"), len(stamps), "adjclose")
    except (TypeError, KeyError, IndexError, AttributeError):
        raise Empty("a chart without prices") from None
    offset = _number(meta.get("gmtoffset"))
    seconds = _numbers(stamps, len(stamps), "timestamp") + (0.0 if math.isnan(offset) else offset)
    if np.isnan(seconds).any():
        raise Empty("a day without a date")
    bars = _checked(np.floor(seconds / 86400.0).astype("int64").astype("datetime64[D]"), columns)
    name = meta.get("longName") or meta.get("shortName") or symbol
    first = _number(meta.get("firstTradeDate"))
    since = np.array([] if math.isnan(first) else [int(first // 86400)], "datetime64[D]")
    return Chart(str(name), bars, _dividends(result, offset), _market_time(meta), since)


def read_price(body: Mapping[str, Any], symbol: str) -> float:
    """Read the newest price out of a chart answer, of an index that may stand at or below zero too.

    Raises
    ------
    Untrusted
        Another symbol's answer, or none with a price.
    """
    meta = _first_result(body, "chart").get("meta")
    if not isinstance(meta, dict) or str(meta.get("symbol", "")).upper() != symbol.upper():
        raise Empty(f"asked for {symbol}, got another symbol")
    price = _number(meta.get("regularMarketPrice"))
    if math.isnan(price):
        raise Empty(f"{symbol} without a price")
    return price


def _market_time(quote: Mapping[str, Any]) -> int:
    time = _number(quote.get("regularMarketTime"))
    if not 0.0 < time < 1e11:
        raise Empty("no market time")
    return int(time)


def _checked(date: Days, columns: dict[str, F64]) -> Bars:
    """Leave out days without any price, and check what remains."""
    prices = np.array([columns[name] for name in COLUMNS[:4]])
    hole = np.isnan(prices).all(axis=0)
    if hole.mean() > MOST_HOLES:
        raise Empty(f"{int(hole.sum())} of {hole.size} days have no price")
    keep = ~hole
    date = date[keep]
    columns = {name: values[keep] for name, values in columns.items()}
    if date.size > 1 and date[-1] == date[-2]:  # the live price, given again beside the day's bar
        date = date[:-1]
        columns = {name: values[:-1] for name, values in columns.items()}
    step = np.diff(date).astype(np.int64)
    if (step < 0).any():
        raise Untrusted("days out of order")
    if (step == 0).any():
        raise Untrusted(f"{date[1:][step == 0][0]} comes twice")
    for name in (*COLUMNS[:4], "adj_close"):
        if name in columns and not (columns[name] > 0.0).all():
            at = int(np.flatnonzero(~(columns[name] > 0.0))[0])
            raise Untrusted(f"{name} of {date[at]} is {columns[name][at]:g}")
    columns["volume"] = np.where(np.isnan(columns["volume"]), 0.0, columns["volume"])
    if (columns["volume"] < 0.0).any():
        raise Untrusted("a negative volume")
    if (columns["high"] < columns["low"] * (1.0 - 1e-6)).any():
        at = int(np.argmax(columns["low"] - columns["high"]))
        raise Untrusted(f"high of {date[at]} is below its low")
    return Bars(date=date, **columns)


def _dividends(result: Mapping[str, Any], offset: float) -> tuple[Dividend, ...]:
    events = result.get("events")
    paid = events.get("dividends") if isinstance(events, dict) else None
    found = []
    for event in paid.values() if isinstance(paid, dict) else ():
        if isinstance(event, dict):
            cash, time = _number(event.get("amount")), _number(event.get("date"))
            if cash > 0.0 and 0.0 < time < 1e11:
                day = np.datetime64(int((time + (0.0 if math.isnan(offset) else offset)) // 86400.0), "D")
                found.append(Dividend(calendar.as_date(day), cash, True))
    return tuple(sorted(found, key=lambda dividend: dividend.ex_date))


def read_options(body: Mapping[str, Any], symbol: str) -> Options:
    """Read what is listed, the share's quote, and the contracts of the expiry in the answer.

    Raises
    ------
    Untrusted
        Another symbol's answer, or none; a share without price or time.
    """
    result = _first_result(body, "optionChain")
    if str(result.get("underlyingSymbol", "")).upper() != symbol.upper():
        raise Empty(f"asked for options of {symbol}, got {result.get('underlyingSymbol')!r}")
    expiries = result.get("expirationDates")
    quote = result.get("quote")
    if not isinstance(expiries, list) or not isinstance(quote, dict):
        raise Empty("options without expiries or without a quote")
    spot = _number(quote.get("regularMarketPrice"))
    if not spot > 0.0:
        raise Empty("options without a price of the share")
    yearly = _number(quote.get("dividendRate"))
    contracts: list[Mapping[str, Any]] = []
    is_call: list[bool] = []
    for block in result.get("options") or ():
        for side, call in (("calls", True), ("puts", False)):
            rows = block.get(side) if isinstance(block, dict) else None
            usable = [row for row in rows or () if isinstance(row, dict) and _number(row.get("strike")) > 0.0]
            contracts += usable
            is_call += [call] * len(usable)
    listed = tuple(sorted({int(each) for each in expiries if 0.0 < _number(each) < 1e11}))
    return Options(
        expiries=listed,
        spot=spot,
        market_time=_market_time(quote),
        yearly_dividend=yearly if yearly > 0.0 else None,
        contracts=tuple(contracts),
        is_call=tuple(is_call),
    )


def column(contracts: Sequence[Mapping[str, Any]], name: str) -> F64:
    """Give one number of every contract, NaN where Yahoo leaves it out."""
    return np.array([_number(contract.get(name)) for contract in contracts], np.float64)
