"""Options in Python: arrays or frames of them, and a position of one's own, as the HTTP interface answers them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from bq.errors import Failure, Problem, bad_request
from bq.market.open import open_market
from bq.schema_what_if import WhatIfBody


def price(
    spot: Any,
    strike: Any = None,
    tau: Any = None,
    rate: Any = None,
    dividend: Any = None,
    sigma: Any = None,
    is_call: Any = None,
    style: Any = None,
) -> Any:
    """Price options and differentiate the price, as `POST /api/price` does and in its units.

    Parameters
    ----------
    spot, strike, tau, rate, dividend, sigma : array_like
        Scalars, (n,) arrays or Series, broadcast: $ a share, years of 365 days, continuous rate and yield, volatility
        as an annual fraction. `dividend` is 0 unless given. `spot` may be a DataFrame with columns of these names.
    is_call : array_like
        Scalar or (n,) bool.
    style : {"european", "american"} or array_like of these
        European unless given.

    Returns
    -------
    Prices or DataFrame
        `price, delta, gamma, vega, theta, rho, vanna, volga, charm, status`, each (n,): vega, vanna and volga per
        volatility point (0.01), rho per percentage point, theta and charm per calendar day. NaN where the status is
        not 0, 4, 7 or 10. A DataFrame (with `meaning`, the name of the status) where any argument is of pandas.

    Raises
    ------
    ValueError
        When an argument is missing, has the wrong type, or lengths do not fit. Never for a bad row.

    Examples
    --------
    >>> found = price(100, [90, 110], 30 / 365, 0.045, 0.0, 0.25, False, "american")
    >>> found.price.round(3).tolist(), found.status.tolist()
    ([0.19, 10.128], [0, 0])
    """
    from bq.analysis import pricing

    given = {"spot": spot, "strike": strike, "tau": tau, "rate": rate, "dividend": dividend, "sigma": sigma}
    return _over_frames(given | {"is_call": is_call, "style": style}, pricing.price_rows)


def implied_vol(
    price: Any,
    spot: Any = None,
    strike: Any = None,
    tau: Any = None,
    rate: Any = None,
    dividend: Any = None,
    is_call: Any = None,
    style: Any = None,
) -> Any:
    """Find the volatilities at which options have their prices, as `POST /api/implied-vol` does.

    Parameters
    ----------
    price, spot, strike, tau, rate, dividend, is_call, style
        As in `bq.price`; `price` in $ a share, or a DataFrame with columns of these names.

    Returns
    -------
    Volatilities or DataFrame
        `sigma` (annual fraction) and `status`, each (n,): NaN below the intrinsic value (1), above the greatest price
        (2), without time value (3), for bad input (5). A DataFrame where any argument is of pandas.

    Raises
    ------
    ValueError
        When an argument is missing, has the wrong type, or lengths do not fit. Never for a bad row.

    Examples
    --------
    >>> implied_vol([2.6981, 150.0], 100, 100, 30 / 365, 0.045, 0.0, False, "american").sigma.round(4).tolist()
    [0.25, nan]
    """
    from bq.analysis import pricing

    given = {"price": price, "spot": spot, "strike": strike, "tau": tau, "rate": rate, "dividend": dividend}
    return _over_frames(given | {"is_call": is_call, "style": style}, pricing.implied_vol_rows)


def what_if(
    ticker: str, legs: Iterable[Mapping[str, Any]], market: str | None = None, as_of: str | None = None
) -> dict[str, Any]:
    """Put one's own legs on a ticker under every measure, as `POST /api/what-if` does.

    Parameters
    ----------
    ticker : str
    legs : iterable of mapping
        Each with `type` ("call" or "put"), `strike`, `expiry` ("YYYY-MM-DD" or a date), `quantity` (negative: sold),
        and `price` where it is not the ask (bought) or the bid (sold).
    market, as_of : str, optional
        As in `bq.analyze`.

    Returns
    -------
    dict
        The `data` of the HTTP answer: cost, greatest profit and loss, break-evens, Greeks, `risk`, `payoff`.

    Raises
    ------
    Failure
        When the market cannot be opened, the ticker has no answer, or a leg cannot be taken; the text names it.
    """
    from bq import library
    from bq.analysis import given_legs, whatif

    (name,) = library.normalise(ticker)
    try:
        asked = msgspec.convert({"ticker": name, "legs": [dict(leg) for leg in legs]}, WhatIfBody)
    except msgspec.ValidationError as error:
        raise Failure(bad_request(f"The legs do not read: {error}")) from None
    source = open_market(library.settings_for(market, as_of), library.now)
    try:
        (snapshot,) = source.fetch([name])
    finally:
        source.close()
    study = snapshot if isinstance(snapshot, Problem) else given_legs.study(snapshot)
    found = study if isinstance(study, Problem) else whatif.assess(study, asked.legs)
    if isinstance(found, Problem):
        raise Failure(found)
    answer: dict[str, Any] = msgspec.to_builtins(found)
    return answer


def _over_frames(given: dict[str, Any], work: Callable[[Any], Any]) -> Any:
    """Compute where arguments may be pandas objects: a frame that holds the columns, or series of one index.

    Parameters
    ----------
    given : dict of str to object
        Every argument by name; the first may be a DataFrame with columns of these names, which then stand in for the
        arguments that are None. Others beside it take the place of its columns.

    Returns
    -------
    NamedTuple of arrays, or DataFrame where any argument was one or a Series (same index; `meaning` names the status)

    Raises
    ------
    ValueError
        When an argument is missing or has the wrong form, or two indexes differ.
    """
    first = next(iter(given))
    frame = given[first] if _is_pandas(given[first], "DataFrame") else None
    if frame is not None:
        given = given | {first: None}
        given = {k: frame[k] if v is None and k in frame.columns else v for k, v in given.items()}
    defaults = {"dividend": 0.0, "style": "european"}
    given = {k: defaults.get(k) if v is None else v for k, v in given.items()}
    missing = [name for name, value in given.items() if value is None]
    if missing:
        raise ValueError(f"missing: {', '.join(missing)}")
    indexes = [value.index for value in given.values() if _is_pandas(value, "Series")]
    if any(not index.equals(indexes[0]) for index in indexes[1:]):
        raise ValueError("the series have different indexes: align them first")
    from bq.analysis import pricing

    is_call, style = given.pop("is_call"), given.pop("style")
    result = work(pricing.rows(given, is_call, style))
    index = indexes[0] if indexes else None if frame is None else frame.index
    if index is None:
        return result
    import pandas as pd

    names = pricing.meanings(result.status)
    table = pd.DataFrame(result._asdict(), index=index)
    return table.assign(meaning=pd.Categorical([names[int(code)] for code in result.status]))


def _is_pandas(value: Any, kind: str) -> bool:
    """Recognise a pandas object without importing pandas."""
    return type(value).__name__ == kind and type(value).__module__.split(".")[0] == "pandas"
