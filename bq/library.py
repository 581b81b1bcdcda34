"""The engine as a Python function: a list of tickers in, the items of the HTTP answer out."""

import datetime as dt
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from bq import schema
from bq.config import Settings, from_env
from bq.errors import Failure, Problem, bad_request
from bq.market.open import open_market
from bq.market.source import Market
from bq.schema import Detail, Written

SLICE = 32


def now() -> dt.datetime:
    """Tell the present time, aware."""
    return dt.datetime.now(dt.UTC)


def normalise(tickers: str | Iterable[str]) -> list[str]:
    """Strip, upper-case and de-duplicate symbols, in the order of their first appearance.

    Raises
    ------
    Failure
        With `bad_request` when there is none, or one is empty.
    """
    names = [tickers] if isinstance(tickers, str) else list(tickers)
    clean = list(dict.fromkeys(str(name).strip().upper() for name in names))
    if not clean or not all(clean):
        raise Failure(bad_request("Name at least one ticker; an empty one is none."))
    return clean


def answers(market: Market, tickers: Sequence[str], detail: Detail) -> Iterator[tuple[str, Written | Problem]]:
    """Fetch and analyse slice by slice; each ticker with its analysis or its problem, in order."""
    from bq.analysis import engine

    size = max(1, min(SLICE, market.group))
    for start in range(0, len(tickers), size):
        part = tickers[start : start + size]
        yield from zip(part, engine.answer(market.fetch(part), [detail] * len(part)), strict=True)


def item(ticker: str, answer: Written | Problem, detail: Detail) -> dict[str, Any]:
    """Make the item of a list answer."""
    if isinstance(answer, Problem):
        return {"ticker": ticker, "status": "error", "from_cache": False, "error": answer.error, "code": answer.code}
    data = schema.to_builtins(answer.analysis, detail)
    return {"ticker": ticker, "status": "ok", "from_cache": False, "cycle_p": answer.cycle_p, "data": data}


def settings_for(market: str | None, as_of: str | None) -> Settings:
    """Take the settings of the environment, with the market and moment of the call."""
    changes = {name: value for name, value in (("market", market), ("as_of", as_of)) if value is not None}
    return msgspec.structs.replace(from_env(os.environ), **changes)


def analyze(
    tickers: str | Iterable[str],
    market: str | None = None,
    detail: Detail = "summary",
    as_of: str | None = None,
) -> list[dict[str, Any]]:
    """Analyse a list of tickers.

    Parameters
    ----------
    tickers : str or iterable of str
        Case, spaces and repetitions do not matter.
    market : str, optional
        "sample", "files:DIR" or "yahoo"; `BQ_MARKET` or yahoo when None.
    detail : {"summary", "default", "full"}
        How much of each analysis.
    as_of : str, optional
        ISO time that stands for the present in `sample` and `files:`.

    Returns
    -------
    list of dict
        One item a ticker, in order: `{"ticker", "status": "ok" | "error", "from_cache", "cycle_p", "data"}`, or
        `"error"` and `"code"` in place of the two last. `cycle_p` is the p-value of the strongest cycle.

    Raises
    ------
    Failure
        When the market cannot be opened or no ticker is named; never for one bad ticker.

    Examples
    --------
    >>> [item["status"] for item in analyze(["aapl", "nosuch"], market="sample")]
    ['ok', 'error']
    """
    if detail not in ("summary", "default", "full"):
        raise Failure(bad_request(f"detail is {detail!r}; it can be summary, default or full."))
    names = normalise(tickers)
    source = open_market(settings_for(market, as_of), now)
    try:
        return [item(ticker, answer, detail) for ticker, answer in answers(source, names, detail)]
    finally:
        source.close()
