"""What a market is: many tickers in, for each a snapshot or a problem out.

Rule of this folder: it knows prices, quotes, dates and where they come from; nothing of models, JSON or HTTP.
"""

import bisect
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

import msgspec
import numpy as np
import numpy.typing as npt

from bq.errors import Problem

F64: TypeAlias = npt.NDArray[np.float64]
Days: TypeAlias = npt.NDArray[np.datetime64]  # datetime64[D]
Seconds: TypeAlias = npt.NDArray[np.datetime64]  # datetime64[s], UTC
Bool: TypeAlias = npt.NDArray[np.bool_]


class Bars(msgspec.Struct, frozen=True):
    """Daily bars of closed sessions, oldest first, one currency a share."""

    date: Days
    open: F64
    high: F64
    low: F64
    close: F64  # split-adjusted
    volume: F64  # shares
    adj_close: F64 | None = None  # split- and dividend-adjusted, where the source has it

    @property
    def model_close(self) -> F64:
        """The closes that models are fitted to: adjusted where there are any."""
        return self.close if self.adj_close is None else self.adj_close


class Chain(msgspec.Struct, frozen=True):
    """The quotes of an option chain, one row a contract, as the source gave them (nothing repaired, nothing dropped).

    NaN stands for what the source does not have; a zero bid is a zero bid.
    """

    quote_time: dt.datetime  # aware, UTC
    spot: float  # the source's price of the share at quote_time; NaN where it gives none
    expiry: Days
    strike: F64
    is_call: Bool
    bid: F64
    ask: F64
    bid_size: F64
    ask_size: F64
    last: F64
    last_trade: Seconds  # NaT where unknown
    volume: F64
    open_interest: F64
    vendor_iv: F64  # annual fraction; used to recognise placeholders, never as the truth
    symbol: tuple[str, ...] | None = None  # OCC symbols where the source has them


class Dividend(msgspec.Struct, frozen=True, gc=False):
    """A cash dividend, known or expected."""

    ex_date: dt.date
    cash: float
    declared: bool  # False: projected from the past


class RateCurve(msgspec.Struct, frozen=True):
    """Continuously compounded zero rates, one curve a batch."""

    tau: tuple[float, ...]  # years of 365 days, increasing
    zero: tuple[float, ...]  # per year: 0.04 is 4 %
    source: str  # "default_rate" where the market has none

    def rate(self, tau: float) -> float:
        """Interpolate linearly in the zero rate, flat outside."""
        after = bisect.bisect_right(self.tau, tau)  # numpy.interp takes 40 times as long for one number
        if after == 0 or after == len(self.tau):
            return self.zero[min(after, len(self.zero) - 1)]
        low, high = self.tau[after - 1], self.tau[after]
        return self.zero[after - 1] + (tau - low) / (high - low) * (self.zero[after] - self.zero[after - 1])

    def rates(self, tau: F64) -> F64:
        """Interpolate at many maturities at once."""
        return np.interp(tau, self.tau, self.zero)

    @classmethod
    def flat(cls, rate: float, source: str = "default_rate") -> "RateCurve":
        """Make a curve with one rate for every tau."""
        return cls((1.0,), (rate,), source)


class Snapshot(msgspec.Struct, frozen=True):
    """All that is known of one ticker at one moment. The answer depends on this and nothing else."""

    ticker: str
    name: str  # the company, or the ticker where unknown
    source: str  # "sample", "files" or "yahoo"
    as_of: dt.datetime  # aware, UTC: "now" for this ticker
    bars: Bars  # sessions closed by as_of
    spot: float  # the price in force at as_of: the chain's, else the last close
    rates: RateCurve
    chain: Chain | None = None
    dividends: tuple[Dividend, ...] = ()  # ex-dates after as_of
    notes: tuple[str, ...] = ()  # stable codes of what is missing, refused or old: "chain_missing", "bars_stale", ...
    stale: bool = False  # served although the source failed
    iv_history: tuple[float, ...] = ()
    """30-day implied volatilities at the money of the sessions of the last year that are remembered, oldest first,
    none of the session of `as_of` itself. No market knows it: whoever keeps a store adds it."""


class Listing(msgspec.Struct, frozen=True, gc=False):
    """A symbol that a market offers."""

    symbol: str
    name: str
    tags: tuple[str, ...] = ()


class Market(Protocol):
    """Where prices and chains come from. Thread-safe: `fetch` is called from several threads."""

    name: str
    group: int
    """How many tickers one `fetch` should be asked for at a time."""

    def fetch(self, tickers: Sequence[str]) -> list[Snapshot | Problem]:
        """Answer each ticker, in order, with its snapshot or its problem; never raise for a ticker.

        Tickers are distinct, upper case, stripped, and never empty.
        """
        ...

    def popular(self) -> list[Listing]:
        """List the symbols that a newcomer may try."""
        ...

    def universe(self) -> list[Listing] | None:
        """List every symbol of the market, or None where that is not known."""
        ...

    def close(self) -> None:
        """Release connections and files."""
        ...


@runtime_checkable
class Edited(Protocol):
    """A market whose data may differ from one start to the next while its name and its moment are the same."""

    edition: str
    """Names the present data; what was answered from others is not valid any more."""


@runtime_checkable
class Upstream(Protocol):
    """What a market can tell that asks somebody else over the network."""

    def requests_by_outcome(self) -> Mapping[str, int]:
        """Count the real requests so far."""
        ...

    def holds_back(self) -> bool:
        """Tell whether the breaker is open."""
        ...
