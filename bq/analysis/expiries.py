"""What the quotes of each expiry say, as the full answer shows it: for all expiries of a batch at once."""

import math
from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np

from bq import schema
from bq.analysis import arbitrage
from bq.analysis.findings import Findings
from bq.analysis.rounding import Row, table
from bq.analysis.slices import Slice
from bq.market.source import F64, Snapshot

Expiries: TypeAlias = list[schema.ExpirySlice]
_DIGITS: Final = (8, 4, 8, 6, 6, 6, 6, 6, 8, 4, 4, 8, *(8,) * 5)
"""Of `_numbers`, in their order."""


def write(found: Sequence[Findings]) -> list[Expiries | None]:
    """Write every expiry that has a smile, with the riskless profits in its quotes.

    Returns
    -------
    list
        One for each ticker, in order; None where a number of it is not finite.
    """
    shown = [[s for s in f.slices if s.svi is not None] for f in found]
    slices = [s for own in shown for s in own]
    if not slices:
        return [[] for _ in found]
    numbers = [_numbers(s, _borrow(s, f.snapshot)) for f, own in zip(found, shown, strict=True) for s in own]
    rows = iter(zip(slices, table(numbers, _DIGITS), _quotes(slices), strict=True))
    written: list[Expiries | None] = []
    for f, own in zip(found, shown, strict=True):
        block = [_slice(s, f.quality.grade, row, quotes) for s, row, quotes in (next(rows) for _ in own)]
        written.append(None if None in block else block)  # type: ignore[arg-type]
    return written


def _borrow(s: Slice, snapshot: Snapshot) -> float:
    """Give the implied carry beyond the known dividends, a year."""
    cash = arbitrage.cash_before(snapshot, s.expiry)
    return s.dividend + math.log(max(1.0 - cash * math.exp(-0.5 * s.rate * s.tau) / s.spot, 1e-9)) / s.tau


def _numbers(s: Slice, borrow: float) -> tuple[float, ...]:
    assert s.svi is not None
    return (
        s.tau,
        s.forward,
        s.discount,
        s.rate,
        s.dividend,
        borrow,
        s.atm_iv,
        s.model_free_vol,
        s.fit_error,
        s.inside,
        s.inside_svi,
        s.calendar_gap,
        *(float(parameter[0]) for parameter in s.svi[:5]),
    )


def _quotes(slices: Sequence[Slice]) -> list[list[schema.SmileQuote] | None]:
    """Write the quotes that the smiles were fitted to, as volatilities; those of a missing bid or ask are None."""

    def column(name: str, digits: int = 6) -> F64:
        return np.round(np.concatenate([getattr(s, name) for s in slices]), digits)

    strike, mid, fit = column("strikes_fitted", 4), column("iv"), column("iv_fit")
    lists = strike.tolist(), _optional(column("iv_bid")), mid.tolist(), _optional(column("iv_ask")), fit.tolist()
    finite = np.isfinite(strike + mid + fit)
    written: list[list[schema.SmileQuote] | None] = []
    begin = 0
    for s in slices:
        assert s.k is not None
        part = slice(begin, begin + s.k.size)
        begin += s.k.size
        columns = (values[part] for values in lists)
        written.append(list(map(schema.SmileQuote, *columns)) if finite[part].all() else None)
    return written


def _optional(values: F64) -> list[float | None]:
    found: list[float | None] = values.tolist()
    for i in np.flatnonzero(~np.isfinite(values)).tolist():
        found[i] = None
    return found


def _slice(s: Slice, grade: str, numbers: Row, quotes: list[schema.SmileQuote] | None) -> schema.ExpirySlice | None:
    if numbers is None or quotes is None:
        return None
    tau, forward, discount, rate, dividend, borrow, atm, model_free, error, inside, inside_svi, gap, *svi = numbers
    return schema.ExpirySlice(
        expiry=str(s.expiry),
        dte=s.dte,
        tau=tau,
        sessions=s.sessions,
        grade=grade,
        forward=forward,
        discount=discount,
        rate=rate,
        dividend_yield=dividend,
        borrow=borrow,
        atm_iv=atm,
        model_free_vol=model_free,
        smile=schema.SmileParams(*svi, s.model),  # type: ignore[call-arg]
        fit_error=error,
        inside_spread=inside,
        inside_svi=inside_svi,
        calendar_gap=gap,
        quotes=quotes,
        arbitrage=s.arbitrage,
    )
