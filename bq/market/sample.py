"""The simulated market: nine popular names and five hundred more, with known truth, offline, from a seed.

"Now" is the close of the last session that had closed by `as_of` (or by the clock), so every answer between two closes
is the same, byte for byte, whatever the order or the company in which symbols are asked for. `truth` tells what the
numbers were made of.

`^GSPC` and `^IXIC` are real: the daily index histories that the `arch` package carries (1999 to 2018). They have no
options, and their "now" is the close of their last bar.
"""

import datetime as dt
import importlib.util
import threading
from collections.abc import Callable, Sequence
from pathlib import Path as FilePath
from typing import Final

import numpy as np

from bq.errors import Failure, Problem, unknown_ticker
from bq.market import calendar, sample_chains, sample_paths
from bq.market.sample_chains import QuoteTruth
from bq.market.sample_truth import (
    POPULAR,
    SIMULATED,
    SIMULATED_NASDAQ,
    SIMULATED_SP500,
    Truth,
    knows,
    truth_of,
)
from bq.market.source import Bars, Listing, RateCurve, Snapshot

SEED: Final = 20250926
RATES: Final = RateCurve(
    tau=(1 / 12, 0.25, 0.5, 1.0, 2.0), zero=(0.0430, 0.0425, 0.0415, 0.0400, 0.0385), source="sample"
)
INDICES: Final = {"^GSPC": ("S&P 500", "sp500"), "^IXIC": ("Nasdaq Composite", "nasdaq")}
"""Real index histories: symbol, name, and the folder of `arch.data` that holds it."""
_NASDAQ: Final = frozenset(SIMULATED_NASDAQ)
_SP500: Final = frozenset(SIMULATED_SP500)


class SampleMarket:
    """The market of `BQ_MARKET=sample`.

    Parameters
    ----------
    clock : callable
        Gives the present as an aware datetime; asked once a fetch, and only where `as_of` is not given.
    as_of : datetime, optional
        Aware: what stands for the present.
    seed : int
        Decides everything else.
    """

    name = "sample"
    group = 16  # drawing takes some 7 ms a ticker and holds the interpreter: whoever waits shall not wait for sixty

    def __init__(self, clock: Callable[[], dt.datetime], as_of: dt.datetime | None = None, seed: int = SEED) -> None:
        self._clock = clock
        self._as_of = as_of
        self._seed = seed
        self._indices: dict[str, Bars] = {}
        self._lock = threading.Lock()
        if as_of is not None and self._last_session() < np.datetime64(sample_paths.FIRST_DAY):
            text = f"the sample market starts on {sample_paths.FIRST_DAY}; as_of is {as_of.isoformat()}"
            raise Failure(Problem("bad_request", text))

    def fetch(self, tickers: Sequence[str]) -> list[Snapshot | Problem]:
        """Answer each ticker, in order, with its snapshot or its problem."""
        simulated = [ticker for ticker in tickers if knows(ticker)]
        known = dict(zip(simulated, self._simulate(simulated), strict=True))
        return [known.get(ticker) or self._index(ticker) for ticker in tickers]

    def popular(self) -> list[Listing]:
        """List the nine symbols that a newcomer may try."""
        return [_listing(ticker) for ticker in POPULAR]

    def universe(self) -> list[Listing] | None:
        """List every simulated symbol and the two indices."""
        indices = [Listing(ticker, name, ("INDEX",)) for ticker, (name, _) in INDICES.items()]
        return [_listing(ticker) for ticker in (*POPULAR, *SIMULATED)] + indices

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def truth(self, ticker: str) -> Truth:
        """Tell the parameters behind a simulated symbol; any other raises KeyError."""
        return truth_of(self._seed, ticker)

    def chain_truth(self, ticker: str) -> QuoteTruth:
        """Tell what the symbol's chain, as `fetch` gives it now, was made of, row by row and expiry by expiry."""
        truths = [truth_of(self._seed, ticker)]
        paths = sample_paths.simulate(self._seed, truths, self._last_session())
        return sample_chains.quote(self._seed, truths, paths, RATES)[0][1]

    def _last_session(self) -> np.datetime64:
        return calendar.last_closed_session(self._as_of or self._clock())

    def _simulate(self, tickers: Sequence[str]) -> list[Snapshot]:
        if not tickers:
            return []
        session = self._last_session()
        truths = [truth_of(self._seed, ticker) for ticker in tickers]
        paths = sample_paths.simulate(self._seed, truths, session)
        chains = sample_chains.quote(self._seed, truths, paths, RATES)
        return [
            Snapshot(
                ticker=truth.ticker,
                name=truth.name,
                source=self.name,
                as_of=calendar.session_close(session),
                bars=path.bars,
                spot=chain.spot,
                rates=RATES,
                chain=chain,
                dividends=path.dividends,
            )
            for truth, path, (chain, _) in zip(truths, paths, chains, strict=True)
        ]

    def _index(self, ticker: str) -> Snapshot | Problem:
        if ticker not in INDICES:
            return unknown_ticker(ticker, self.name)
        name, folder = INDICES[ticker]
        with self._lock:
            bars = self._indices.get(ticker)
            if bars is None:
                bars = self._indices[ticker] = _read_index(folder)
        return Snapshot(
            ticker=ticker,
            name=name,
            source=self.name,
            as_of=calendar.session_close(bars.date[-1]),
            bars=bars,
            spot=float(bars.close[-1]),
            rates=RATES,
            notes=("chain_missing",),
        )


def _listing(ticker: str) -> Listing:
    name, sector = POPULAR[ticker][0::3] if ticker in POPULAR else truth_of(SEED, ticker)[1:3]
    indices = [tag for tag, members in (("NASDAQ", _NASDAQ), ("SP500", _SP500)) if ticker in members]
    return Listing(ticker, name, (*indices, sector))


def _read_index(folder: str) -> Bars:
    """Read a history out of the `arch` package without importing it (that costs over a second and 100 MB)."""
    import pandas as pd

    package = importlib.util.find_spec("arch")
    if package is None or not package.submodule_search_locations:
        raise Failure(Problem("source_failed", "the index histories need the arch package, which is not installed"))
    path = FilePath(package.submodule_search_locations[0]) / "data" / folder / f"{folder}.csv.gz"
    table = pd.read_csv(path)
    date = pd.to_datetime(table["Date"], format="%m/%d/%Y").to_numpy("datetime64[D]")
    columns = {name: table[name].to_numpy(np.float64) for name in ("Open", "High", "Low", "Close", "Volume")}
    return Bars(date=date, **{name.lower(): values for name, values in columns.items()})
