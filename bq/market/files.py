"""The market of `files:DIR`: whatever bars and chains lie below a folder, as of a moment.

The folder is read once, when the market is opened (a second for 150,000 bars and 80,000 quotes), into one set of arrays
for each ticker and each moment of quotes. "Now" is `as_of`; without it, for each ticker, the time of its latest chain,
else the close of its last bar. Only sessions closed by then are history, and only chains quoted by then are seen. A
chain that gives a date but no time is taken to hold that day's closing quotes (a Sunday's are Friday's).

Notes of a snapshot: `chain_missing` no quotes by now; `chain_too_old` the latest are more than one session old, and are
left out; `quote_time_assumed` the file gives a date only; `spot_from_close` the chain has no price of the share.
"""

import copy
import datetime as dt
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bq.errors import Failure, Problem, bad_data, unknown_ticker
from bq.market import calendar, dividends, tables
from bq.market.source import F64, Bars, Chain, Listing, RateCurve, Snapshot

OLDEST_CHAIN: Final = 1.0
"""Sessions of trading after which quotes are refused."""
SAME: Final = 1e-9
"""Relative difference up to which two files say the same."""


class _History(NamedTuple):
    bars: Bars
    close_second: npt.NDArray[np.int64]
    problem: Problem | None


class _Quotes(NamedTuple):
    second: int
    chain: Chain
    assumed: bool
    problem: Problem | None


class FilesMarket:
    """The tickers of a folder of CSV and Parquet files.

    Parameters
    ----------
    folder : path
        Files may lie at any depth; which are bars and which are chains is told by their columns.
    as_of : datetime, optional
        Aware: the moment that stands for now, for every ticker.
    rate : float
        Continuous; files carry no curve.

    Raises
    ------
    Failure
        With `bad_request`: no such folder, nothing in it that is bars or chains, missing columns, unreadable values.
    """

    name = "files"
    group = 64

    def __init__(self, folder: str | Path, as_of: dt.datetime | None = None, rate: float = 0.04) -> None:
        self._as_of = as_of
        self._rates = RateCurve.flat(rate)
        paths = tables.table_files(Path(folder))
        bars, chains = tables.read_tables(paths)
        self.edition = _edition(paths)
        if not bars and not chains:
            raise Failure(
                Problem("bad_request", f"files:{folder}: no file has the columns of daily bars or option quotes.")
            )
        self._history = _histories(bars)
        self._quotes = _chains(chains)

    def fetch(self, tickers: Sequence[str]) -> list[Snapshot | Problem]:
        """Answer each ticker, in order, with its snapshot or its problem."""
        return [self._answer(ticker) for ticker in tickers]

    def at(self, as_of: dt.datetime | None) -> "FilesMarket":
        """Give the same files as of another moment, without reading them again (a walk through time)."""
        other = copy.copy(self)
        other._as_of = as_of
        return other

    def popular(self) -> list[Listing]:
        """List up to nine symbols, those with option quotes first."""
        return sorted(self.universe() or [], key=lambda listing: (listing.symbol not in self._quotes, listing.symbol))[
            :9
        ]

    def universe(self) -> list[Listing] | None:
        """List every symbol that has daily bars."""
        return [Listing(ticker, ticker) for ticker in sorted(self._history)]

    def quoted(self) -> list[str]:
        """List every ticker that has option quotes, with daily bars or without."""
        return sorted(self._quotes)

    def chains(self, ticker: str) -> list[Chain]:
        """List a ticker's option chains, oldest first, those left out whose rows contradict each other."""
        return [each.chain for each in self._quotes.get(ticker, []) if each.problem is None]

    def close(self) -> None:
        """Forget what was read."""
        self._history.clear()
        self._quotes.clear()

    def _answer(self, ticker: str) -> Snapshot | Problem:
        history = self._history.get(ticker)
        chains = self._quotes.get(ticker, [])
        if history is None:
            if not chains:
                return unknown_ticker(ticker, self.name)
            return Problem("not_enough_data", f"{ticker}: there are option quotes, but no daily bars.")
        if history.problem is not None:
            return history.problem
        as_of = self._now(history, chains)
        second = int(as_of.timestamp())
        bars = _known_by(history, second)
        if bars.date.size == 0:
            first = history.bars.date[0]
            return Problem("not_enough_data", f"{ticker}: no session closed by {as_of:%Y-%m-%d}; bars start {first}.")
        quotes, notes = _latest(chains, as_of)
        if quotes is not None and quotes.problem is not None:
            return quotes.problem
        chain = None if quotes is None else quotes.chain
        spot = float(bars.close[-1]) if chain is None or np.isnan(chain.spot) else chain.spot
        return Snapshot(
            ticker=ticker,
            name=ticker,
            source=self.name,
            as_of=as_of,
            bars=bars,
            spot=spot,
            rates=self._rates,
            chain=chain,
            dividends=dividends.project(dividends.paid(bars), calendar.local_date(as_of)),
            notes=notes,
        )

    def _now(self, history: _History, chains: Sequence[_Quotes]) -> dt.datetime:
        if self._as_of is not None:
            return self._as_of
        return calendar.from_seconds(chains[-1].second if chains else int(history.close_second[-1]))


def _edition(paths: Sequence[Path]) -> str:
    """Name what is in the files by their names, sizes and times (hex, 16 digits)."""
    stats = [(str(path), one.st_size, one.st_mtime_ns) for path in sorted(paths) for one in (path.stat(),)]
    return hashlib.blake2b(repr(stats).encode(), digest_size=8).hexdigest()


def _known_by(history: _History, second: int) -> Bars:
    """Cut a history to the sessions closed by a moment, with adjusted closes as they stood then."""
    bars = history.bars
    known = int(np.searchsorted(history.close_second, second, side="right"))
    adjusted = bars.adj_close
    if adjusted is not None and known:
        # Later dividends lower every earlier adjusted close by one factor; at the time, the last one was the close.
        adjusted = adjusted[:known] * (bars.close[known - 1] / adjusted[known - 1])
    return Bars(
        date=bars.date[:known],
        open=bars.open[:known],
        high=bars.high[:known],
        low=bars.low[:known],
        close=bars.close[:known],
        volume=bars.volume[:known],
        adj_close=adjusted,
    )


def _latest(chains: Sequence[_Quotes], as_of: dt.datetime) -> tuple[_Quotes | None, tuple[str, ...]]:
    """Choose the latest chain quoted by now, unless it is too old, and say what is to be said of it."""
    quoted = [each for each in chains if each.second <= as_of.timestamp()]
    if not quoted:
        return None, ("chain_missing",)
    latest = quoted[-1]
    if calendar.session_age(latest.chain.quote_time, as_of) > OLDEST_CHAIN:
        return None, ("chain_too_old",)
    notes = [("quote_time_assumed", latest.assumed), ("spot_from_close", bool(np.isnan(latest.chain.spot)))]
    return latest, tuple(name for name, holds in notes if holds)


def _histories(pieces: Sequence[tables.BarTable]) -> dict[str, _History]:
    found: dict[str, list[tuple[Path, Bars]]] = {}
    for piece in pieces:
        for ticker, rows in _groups(piece.ticker, piece.date.astype(np.int64)):
            found.setdefault(ticker, []).append((piece.path, _bars(piece, rows)))
    return {ticker: _history(ticker, parts) for ticker, parts in found.items()}


def _groups(
    ticker: npt.NDArray[np.object_], order: npt.NDArray[np.int64]
) -> Iterable[tuple[str, npt.NDArray[np.int64]]]:
    """Give each ticker with its row numbers, ordered."""
    names, codes = np.unique(ticker.astype(str), return_inverse=True)
    rows = np.lexsort((order, codes))
    edges = np.searchsorted(codes[rows], np.arange(names.size + 1))
    for number, name in enumerate(names.tolist()):
        yield name, rows[edges[number] : edges[number + 1]]


def _bars(piece: tables.BarTable, rows: npt.NDArray[np.int64]) -> Bars:
    numbers = {name: values[rows] for name, values in piece.numbers.items()}
    return Bars(date=piece.date[rows], **numbers)


def _history(ticker: str, parts: list[tuple[Path, Bars]]) -> _History:
    problem = None
    bars = parts[0][1]
    if len(parts) > 1 or (np.diff(bars.date) == np.timedelta64(0, "D")).any():
        bars, problem = _merge(ticker, parts)
    bars = _without_holes(bars)
    return _History(bars, calendar.close_seconds(bars.date), problem or _broken(ticker, bars))


FIELDS: Final = ("open", "high", "low", "close", "volume", "adj_close")


def _merge(ticker: str, parts: list[tuple[Path, Bars]]) -> tuple[Bars, Problem | None]:
    """Join the pieces of a history; rows of one day must agree where both say something."""
    date = np.concatenate([bars.date for _, bars in parts])
    file = np.repeat(np.arange(len(parts)), [bars.date.size for _, bars in parts])
    columns = {name: np.concatenate([_or_nan(bars, name) for _, bars in parts]) for name in FIELDS}
    rows = np.lexsort((file, date))
    same = date[rows][1:] == date[rows][:-1]
    problem = None
    for name in FIELDS:
        values = columns[name][rows]
        a, b = values[:-1], values[1:]
        disagree = same & (np.abs(a - b) > SAME * np.abs(a))
        if disagree.any() and problem is None:
            at = int(np.flatnonzero(disagree)[0])
            first, second = (parts[int(file[rows[at + step]])][0] for step in (0, 1))
            text = f"{name} of {date[rows[at]]} is {a[at]:g} in {first} and {b[at]:g} in {second}. Remove one."
            problem = bad_data(ticker, text)
        # Where only the later file knows a number, the row that is kept takes it.
        take = same & np.isnan(a) & ~np.isnan(b)
        columns[name][rows[:-1][take]] = b[take]
    keep = rows[np.concatenate([[True], ~same])]
    adjusted = columns.pop("adj_close")[keep]
    numbers = {name: values[keep] for name, values in columns.items()}
    return Bars(date=date[keep], adj_close=None if np.isnan(adjusted).any() else adjusted, **numbers), problem


def _or_nan(bars: Bars, name: str) -> F64:
    values: F64 | None = getattr(bars, name)
    return np.full(bars.date.size, np.nan) if values is None else values


def _without_holes(bars: Bars) -> Bars:
    """Leave out days for which a file has a date and no price at all: they are gaps, and are counted as such."""
    hole = np.isnan(bars.open) & np.isnan(bars.high) & np.isnan(bars.low) & np.isnan(bars.close)
    if not hole.any():
        return bars
    kept = {name: getattr(bars, name)[~hole] for name in FIELDS if getattr(bars, name) is not None}
    return Bars(date=bars.date[~hole], **kept)


def _broken(ticker: str, bars: Bars) -> Problem | None:
    """Refuse a history in which a price is missing or not positive."""
    if bars.date.size == 0:
        return Problem("not_enough_data", f"{ticker}: no daily bar has a price.")
    for name in ("open", "high", "low", "close", "adj_close"):
        values: F64 | None = getattr(bars, name)
        if values is not None and (bad := np.flatnonzero(~(values > 0.0))).size:
            return bad_data(ticker, f"{name} of {bars.date[bad[0]]} is {values[bad[0]]:g}.")
    return None


def _chains(pieces: Sequence[tables.ChainTable]) -> dict[str, list[_Quotes]]:
    found: dict[tuple[str, int], list[tuple[tables.ChainTable, npt.NDArray[np.int64]]]] = {}
    for piece in pieces:
        for ticker, rows in _groups(piece.ticker, piece.quote_second):
            seconds = piece.quote_second[rows]
            edges = np.flatnonzero(np.diff(seconds)) + 1
            for part in np.split(rows, edges):
                found.setdefault((ticker, int(piece.quote_second[part[0]])), []).append((piece, part))
    answer: dict[str, list[_Quotes]] = {}
    for (ticker, second), parts in sorted(found.items(), key=lambda item: item[0]):
        answer.setdefault(ticker, []).append(_quotes(ticker, second, parts))
    return answer


def _quotes(ticker: str, second: int, parts: list[tuple[tables.ChainTable, npt.NDArray[np.int64]]]) -> _Quotes:
    """Join the rows of one moment, ordered by expiry, calls before puts, strike."""

    def column(name: str) -> F64:
        return np.concatenate([piece.numbers[name][rows] for piece, rows in parts])

    expiry = np.concatenate([piece.expiry[rows] for piece, rows in parts])
    is_call = np.concatenate([piece.is_call[rows] for piece, rows in parts])
    strike, bid, ask, spot = column("strike"), column("bid"), column("ask"), column("spot")
    file = np.repeat(np.arange(len(parts)), [rows.size for _, rows in parts])
    contract = np.concatenate(
        [np.full(rows.size, "") if piece.contract is None else piece.contract[rows] for piece, rows in parts]
    ).astype(str)
    order = np.lexsort((file, contract, strike, ~is_call, expiry))
    keep = np.ones(order.size, np.bool_)
    problem = None
    same = np.zeros(order.size, np.bool_)
    a, b = order[:-1], order[1:]
    same[1:] = (expiry[a] == expiry[b]) & (is_call[a] == is_call[b]) & (strike[a] == strike[b])
    same[1:] &= (contract[a] == contract[b]) | (contract[a] == "") | (contract[b] == "")
    for at in np.flatnonzero(same).tolist():
        here, before = order[at], order[at - 1]
        keep[at] = False
        if not (_equal(bid[here], bid[before]) and _equal(ask[here], ask[before])) and problem is None:
            first, other = parts[file[before]][0].path, parts[file[here]][0].path
            kind = "call" if is_call[here] else "put"
            what = f"{expiry[here]} {kind} {strike[here]:g} of {calendar.from_seconds(second):%Y-%m-%dT%H:%M:%SZ}"
            problem = bad_data(ticker, f"{what} has different quotes in {first} and {other}. Remove one.")
    for name, values in (("strike", strike), ("spot", spot)):
        if (bad := np.flatnonzero(values <= 0.0)).size and problem is None:
            path, when = parts[file[bad[0]]][0].path, calendar.from_seconds(second)
            text = f"a {name} of {when:%Y-%m-%dT%H:%M:%SZ} is {values[bad[0]]:g} in {path}; it must be above 0."
            problem = bad_data(ticker, text)
    rows = order[keep]
    known = spot[~np.isnan(spot)]
    if known.size and not _equal(known.min(), known.max()) and problem is None:
        names = " and ".join(sorted({str(piece.path) for piece, _ in parts}))
        problem = bad_data(ticker, f"different spots ({known.min():g}, {known.max():g}) at one moment in {names}.")
    last_trade = np.concatenate([piece.last_trade[rows_] for piece, rows_ in parts])
    chain = Chain(
        quote_time=calendar.from_seconds(second),
        spot=float(known[0]) if known.size else float("nan"),
        expiry=expiry[rows],
        strike=strike[rows],
        is_call=is_call[rows],
        bid=bid[rows],
        ask=ask[rows],
        bid_size=column("bid_size")[rows],
        ask_size=column("ask_size")[rows],
        last=column("last")[rows],
        last_trade=last_trade[rows],
        volume=column("volume")[rows],
        open_interest=column("open_interest")[rows],
        vendor_iv=column("vendor_iv")[rows],
        symbol=tuple(contract[rows].tolist()) if (contract != "").all() else None,
    )
    assumed = any(bool(piece.assumed[rows_].any()) for piece, rows_ in parts)
    return _Quotes(second, chain, assumed, problem)


def _equal(a: float, b: float) -> bool:
    return bool(a == b or abs(a - b) <= SAME * abs(a) or (np.isnan(a) and np.isnan(b)))
