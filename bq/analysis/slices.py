"""One expiry of one ticker: its quotes by strike, and what was found in them."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from bq import schema
from bq.market.source import F64
from kernels import smile
from kernels.smile import Svi


class Side(NamedTuple):
    """Quotes of calls or puts by strike; NaN where there is no usable one."""

    bid: F64
    ask: F64
    row: np.ndarray  # position in the chain, -1 where there is none

    @property
    def mid(self) -> F64:
        """Middle of the spread."""
        return 0.5 * (self.bid + self.ask)


class Slice(msgspec.Struct):
    """One expiry of one ticker: its quotes by strike, then what was found in them."""

    owner: int  # row of the batch
    expiry: np.datetime64
    dte: int
    tau: float
    sessions: int
    rate: float
    strike: F64
    call: Side
    put: Side
    spot: float = np.nan
    forward: float = np.nan
    parity_spread: float = np.nan  # disagreement of the pairs about the forward, over the forward
    pairs: int = 0
    k: F64 | None = None  # ln(K / F) of the quotes that the smile was fitted to
    strikes_fitted: F64 | None = None
    iv: F64 | None = None  # of their mids
    iv_bid: F64 | None = None
    iv_ask: F64 | None = None
    iv_fit: F64 | None = None  # what the smile makes of the same strikes
    svi: Svi | None = None  # of one row, with its spline where there is one
    plain: Svi | None = None  # the five parameters by themselves, where there is a spline
    model: str = "none"
    fit_error: float = np.nan
    inside: float = np.nan  # share of the quotes whose interval holds the smile
    inside_svi: float = np.nan  # and of the five parameters alone
    lifted: bool = False  # fitted again, so that no calendar spread costs less than nothing
    calendar_gap: float = 0.0  # total variance by which it lies below the expiry before, at worst
    atm_iv: float = np.nan
    model_free_vol: float = np.nan
    iv_error: float = 0.0  # relative standard error of a volatility of the smile: see `smiles`
    arbitrage: list[schema.Arbitrage] = []  # riskless profits in its quotes, where they were looked for
    problem: str | None = None  # why this expiry gives no implied number
    spot_moved: bool = False  # the quotes belong to another moment than the spot: theirs is used

    @property
    def discount(self) -> float:
        """Value today of a dollar at expiry."""
        return float(np.exp(-self.rate * self.tau))

    @property
    def dividend(self) -> float:
        """Implied continuous carry: what the forward says the share pays, borrow included."""
        return self.rate - float(np.log(self.forward / self.spot)) / self.tau

    def sigma(self, strike: F64 | float) -> F64:
        """Volatility of the fitted smile at strikes."""
        k = np.log(np.atleast_1d(np.asarray(strike, dtype=np.float64)) / self.forward)
        assert self.svi is not None
        return np.sqrt(smile.total_variance(self.svi, k[None, :])[0] / self.tau)


def table(slices: Sequence[Slice]) -> F64:
    """Put the usable quotes of several slices side by side.

    Returns
    -------
    (5, n, m) float64
        Strike, bid and ask of the calls, bid and ask of the puts, padded with NaN.
    """
    found = np.full((5, len(slices), max(s.strike.size for s in slices)), np.nan)
    for i, s in enumerate(slices):
        n = s.strike.size
        found[0, i, :n] = s.strike
        found[1, i, :n], found[2, i, :n] = s.call.bid, s.call.ask
        found[3, i, :n], found[4, i, :n] = s.put.bid, s.put.ask
    return found
