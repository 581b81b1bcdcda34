"""The market of Yahoo: asked little, believed less.

For each ticker: one chart request a day (only the missing tail; the rest is on disk), one options request for the quote
and the list of expiries, and one for each further expiry that the analysis can use, nearest to 30 days first. What
fails is said: a chain that failed leaves a snapshot without one and the note `chain_failed`; a chart that failed is
replaced by recent bars from the disk (`stale`, `bars_stale`) or is the ticker's problem. Only Yahoo's own "Not Found"
makes a ticker unknown; a refusal is `too_busy`, anything else `source_failed`, both with a time to try again.

Notes of a snapshot: `chain_missing` no options are listed within 7 to 60 days; `chain_failed` they could not be had;
`chain_partial` some expiries could not; `bars_stale` the last closed session is missing; `default_rate` no curve.
"""

import datetime as dt
import logging
import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from bq.config import Settings
from bq.errors import Problem, bad_data, source_failed, unknown_ticker
from bq.market import calendar, dividends
from bq.market.bars_store import BarsStore, Stored
from bq.market.breaker import Breaker, TokenBucket
from bq.market.source import F64, Bars, Chain, Listing, RateCurve, Snapshot
from bq.market.yahoo_answers import Empty, Options, Untrusted, column, read_chart, read_options, read_price
from bq.market.yahoo_session import NotFound, YahooError, YahooSession

_log = logging.getLogger(__name__)

POPULAR: Final = {
    "AAPL": "Apple Inc.",
    "MSFT": "Microsoft Corporation",
    "NVDA": "NVIDIA Corporation",
    "GOOGL": "Alphabet Inc.",
    "AMZN": "Amazon.com, Inc.",
    "META": "Meta Platforms, Inc.",
    "TSLA": "Tesla, Inc.",
    "SPY": "SPDR S&P 500 ETF Trust",
    "QQQ": "Invesco QQQ Trust",
}
HISTORY_DAYS: Final = 1130
"""Calendar days of a first request: 750 sessions and some."""
OVERLAP_SESSIONS: Final = 8
"""Sessions asked for again with a tail, to see whether the past has been adjusted."""
SAME: Final = 1e-5
"""Relative difference up to which overlapping closes are the same (Yahoo's are rounded to seven digits)."""
ASK_AGAIN_S: Final = 900.0
"""A tail that is not there yet is not asked for again before."""
MOST_MISSING: Final = 0.01
"""Share of sessions that a history on disk may lack."""
START_DAYS: Final = 14
"""A history of few sessions may start so much later than it was asked for, or the share listed."""
SHORT: Final = 250
STALE_SESSIONS: Final = 5
"""Bars from the disk that miss more sessions than this are not served in place of an answer."""
EXPIRY_DAYS: Final = (7, 60)
TARGET_DAYS: Final = 30
RATE_SYMBOL: Final = "^IRX"
RATE_LIFE_S: Final = 6 * 3600.0
RATE_PAUSE_S: Final = 600.0
BILL_DAYS: Final = 91

_SYMBOL = re.compile(r"[A-Z0-9^][A-Z0-9.^=\-]{0,19}")
_SHARE_CLASS = re.compile(r"([A-Z]{1,5})\.([ABCK])")
"""BRK.B and its like; other single letters after a dot are exchanges (.L London, .F Frankfurt, .V Venture)."""


def yahoo_symbol(ticker: str) -> str:
    """Spell a ticker as Yahoo does: share classes with a dash.

    Examples
    --------
    >>> yahoo_symbol("BRK.B"), yahoo_symbol("VOD.L")
    ('BRK-B', 'VOD.L')
    """
    match = _SHARE_CLASS.fullmatch(ticker)
    return f"{match[1]}-{match[2]}" if match else ticker


class _Known(NamedTuple):
    """The bars in hand for a ticker, and what is to be said of them."""

    stored: Stored
    notes: tuple[str, ...]
    stale: bool


class YahooMarket:
    """The market of `BQ_MARKET=yahoo`.

    Parameters
    ----------
    state_dir : Path
        Bars, cookies and the breaker's state are kept here.
    clock : callable
        Gives the present as an aware datetime.
    sleep : callable
        Waits for the rate limit.
    rate : float
        Continuous, for when Yahoo gives no yield.
    requests_per_s, burst
        The rate limit of real requests.
    workers : int
        Requests at a time.
    deadline_s, timeout_s : float
        Of a whole `fetch` and of one request.
    expiries : int
        At most so many are asked for.
    base_url : str
        A stub's address, in tests.
    """

    name = "yahoo"

    def __init__(
        self,
        state_dir: Path,
        clock: Callable[[], dt.datetime],
        sleep: Callable[[float], None] = time.sleep,
        rate: float = 0.04,
        requests_per_s: float = 1.0,
        burst: float = 10.0,
        workers: int = 4,
        deadline_s: float = 25.0,
        timeout_s: float = 10.0,
        expiries: int = 6,
        base_url: str = "",
        rng: random.Random | None = None,
    ) -> None:
        self.group = workers
        self._clock = clock
        self._deadline_s = deadline_s
        self._expiries = expiries
        self._default_rate = RateCurve.flat(rate)
        self._store = BarsStore(state_dir / "bars")
        breaker = Breaker(self._seconds, state_dir / "yahoo_breaker.json", rng or random.Random())
        bucket = TokenBucket(requests_per_s, burst, self._seconds)
        self.session = YahooSession(state_dir, bucket, breaker, self._seconds, sleep, timeout_s, base_url)
        self._pool = ThreadPoolExecutor(workers, "yahoo")
        self._rate_lock = threading.Lock()
        self._rates = self._default_rate
        self._rates_until = 0.0

    @classmethod
    def from_settings(cls, settings: Settings, clock: Callable[[], dt.datetime]) -> "YahooMarket":
        """Make the market that the settings describe."""
        return cls(
            Path(settings.state_dir),
            clock,
            rate=settings.rate,
            requests_per_s=settings.yahoo_rate,
            burst=settings.yahoo_burst,
            base_url=settings.yahoo_url,
        )

    def fetch(self, tickers: Sequence[str]) -> list[Snapshot | Problem]:
        """Answer each ticker, in order, with its snapshot or its problem, within the deadline."""
        deadline = self._seconds() + self._deadline_s
        tasks = [self._pool.submit(self._answer, ticker, deadline) for ticker in tickers]
        wait(tasks, self._deadline_s)
        return [self._result(ticker, task) for ticker, task in zip(tickers, tasks, strict=True)]

    def popular(self) -> list[Listing]:
        """List the symbols that a newcomer may try."""
        return [Listing(symbol, name) for symbol, name in POPULAR.items()]

    def universe(self) -> list[Listing] | None:
        """Tell nothing: Yahoo has no list of its symbols."""
        return None

    def requests_by_outcome(self) -> Mapping[str, int]:
        """Count the real requests to Yahoo so far, and those that were held back."""
        return dict(self.session.requests)

    def holds_back(self) -> bool:
        """Tell whether the breaker is open."""
        return self.session.breaker.is_open

    def close(self) -> None:
        """Close the connections; requests under way are not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.session.close()

    def _seconds(self) -> float:
        return self._clock().timestamp()

    def _result(self, ticker: str, task: Future[Snapshot | Problem]) -> Snapshot | Problem:
        if task.cancel():
            return Problem("too_busy", f"{ticker}: its turn did not come in {self._deadline_s:g} s.", self._deadline_s)
        if not task.done():
            # It ends by itself within one request's timeout, and what it gets is kept on disk.
            return source_failed(ticker, f"Yahoo did not answer in {self._deadline_s:g} s.", 10.0)
        return task.result()

    def _answer(self, ticker: str, deadline: float) -> Snapshot | Problem:
        try:
            return self._snapshot(ticker, deadline)
        except NotFound:
            return unknown_ticker(ticker, self.name)
        except YahooError as error:
            return _problem(ticker, error)
        except Empty as error:
            return source_failed(ticker, f"Yahoo's answer is no answer: {error}.", 60.0)
        except Untrusted as error:
            return bad_data(ticker, f"Yahoo's answer cannot be trusted: {error}.")
        except Exception as error:
            _log.exception("%s: reading Yahoo's answer failed", ticker)
            return source_failed(ticker, f"reading Yahoo's answer failed ({type(error).__name__}).", 60.0)

    def _snapshot(self, ticker: str, deadline: float) -> Snapshot | Problem:
        if not _SYMBOL.fullmatch(ticker):
            return unknown_ticker(ticker, self.name)
        symbol = yahoo_symbol(ticker)
        now = self._clock()
        known = self._bars(symbol, now, deadline)
        bars, notes = known.stored.bars, list(known.notes)
        chain, options = None, None
        if not known.stale:
            chain, options, note = self._chain(symbol, now, deadline)
            notes += [note] if note else []
        else:
            notes.append("chain_failed")
        rates = self._curve(deadline)
        return Snapshot(
            ticker=ticker,
            name=known.stored.name,
            source=self.name,
            as_of=now,
            bars=bars,
            spot=float(bars.close[-1]) if chain is None else chain.spot,
            rates=rates,
            chain=chain,
            dividends=dividends.project(
                known.stored.dividends, calendar.local_date(now), options.yearly_dividend if options else None
            ),
            notes=(*notes, "default_rate") if rates is self._default_rate else tuple(notes),
            stale=known.stale,
        )

    # Bars

    def _bars(self, symbol: str, now: dt.datetime, deadline: float) -> _Known:
        stored = self._store.load(symbol)
        last = calendar.last_closed_session(now)
        if stored is not None and (
            stored.bars.date[-1] >= last or 0.0 <= now.timestamp() - stored.asked_at < ASK_AGAIN_S
        ):
            return _Known(stored, _lag(stored.bars, last), False)
        try:
            fresh = self._ask_for_bars(symbol, stored, now, deadline)
        except (YahooError, Untrusted) as error:
            if stored is None or calendar.count_sessions(stored.bars.date[-1], last) > STALE_SESSIONS:
                raise
            _log.warning("%s: bars from the disk, since %r", symbol, error)
            return _Known(stored, ("bars_stale",), True)
        behind = calendar.count_sessions(fresh.bars.date[-1], last)
        if behind > STALE_SESSIONS:
            raise Untrusted(f"the history ends on {fresh.bars.date[-1]}, {behind} sessions ago")
        # A history with holes is good for now, but asked for again as a whole: a tail would never fill them.
        days = fresh.bars.date
        if calendar.sessions_between(days[0], days[-1]).size - days.size <= MOST_MISSING * days.size:
            self._store.save(symbol, fresh)
        return _Known(fresh, _lag(fresh.bars, last), False)

    def _ask_for_bars(self, symbol: str, stored: Stored | None, now: dt.datetime, deadline: float) -> Stored:
        if stored is not None and stored.bars.date.size > OVERLAP_SESSIONS:
            begin = stored.bars.date[-OVERLAP_SESSIONS]
            tail = self._ask_for_chart(symbol, begin, now, deadline)
            joined = _join(stored, tail)
            if joined is not None:
                return joined
            # A split or a dividend has changed every adjusted price: the whole history is asked for again.
        begin = np.datetime64(calendar.local_date(now) - dt.timedelta(days=HISTORY_DAYS), "D")
        return self._ask_for_chart(symbol, begin, now, deadline)

    def _ask_for_chart(self, symbol: str, begin: np.datetime64, now: dt.datetime, deadline: float) -> Stored:
        params = {
            "period1": str(int(begin.astype("datetime64[s]").astype(np.int64))),
            "period2": str(int(now.timestamp()) + 86400),
            "interval": "1d",
            "includePrePost": "false",
            "events": "div,splits,capitalGains",
        }
        body = self.session.get(f"/v8/finance/chart/{quote(symbol, safe='')}", params, deadline)
        chart = read_chart(body, symbol)
        start = max(begin, *chart.listed_since) if chart.listed_since.size else begin
        if chart.listed_since.size and chart.bars.date[0] > start + START_DAYS and chart.bars.date.size < SHORT:
            raise Empty(f"the history starts on {chart.bars.date[0]}, not on {start}")
        closed = calendar.close_seconds(chart.bars.date)
        # A session is over when its close has passed and the newest price is from then or later; before that, the last
        # bar is still moving.
        over = (closed <= now.timestamp()) & (closed <= chart.market_time)
        if not over.any():
            raise Empty("no closed session in the chart")
        return Stored(chart.name, _rows(chart.bars, over), chart.dividends, now.timestamp())

    # Options

    def _chain(self, symbol: str, now: dt.datetime, deadline: float) -> tuple[Chain | None, Options | None, str | None]:
        """Ask for the quotes of the expiries in reach: the chain, the first answer, and a note where there is one."""
        path = f"/v7/finance/options/{quote(symbol, safe='')}"
        try:
            first = read_options(self.session.get(path, {}, deadline, crumb=True), symbol)
        except (YahooError, Untrusted) as error:
            _log.warning("%s: no option quotes: %r", symbol, error)
            return None, None, "chain_failed"
        wanted = _expiries_in_reach(first.expiries, now)[: self._expiries]
        if not wanted:
            return None, first, "chain_missing"
        answers = [first]
        note = None
        for expiry in wanted:
            if _holds(first, expiry):
                continue
            try:
                body = self.session.get(path, {"date": str(expiry)}, deadline, crumb=True)
                answers.append(read_options(body, symbol))
            except (YahooError, Untrusted) as error:
                _log.warning("%s: no option quotes for %d and what is farther from 30 days: %r", symbol, expiry, error)
                note = "chain_partial"
                break  # what comes next is farther from what is wanted, and would be refused as well
        chain = _quotes(first, answers, wanted)
        if chain is None:
            return None, first, "chain_failed"
        return chain, first, note

    # The rate

    def _curve(self, deadline: float) -> RateCurve:
        """Give the yield of the 13-week bill as a flat continuous rate, asked for a few times a day."""
        with self._rate_lock:
            now = self._seconds()
            if now < self._rates_until:
                return self._rates
            try:
                params = {"range": "5d", "interval": "1d"}
                body = self.session.get(f"/v8/finance/chart/{quote(RATE_SYMBOL, safe='')}", params, deadline)
                self._rates = bill_curve(read_price(body, RATE_SYMBOL))
                self._rates_until = now + RATE_LIFE_S
            except (YahooError, Untrusted) as error:
                _log.warning("the default rate is used: %r", error)
                self._rates = self._default_rate
                self._rates_until = now + RATE_PAUSE_S
            return self._rates


def bill_curve(discount_per_cent: float) -> RateCurve:
    """Turn the discount yield of the 13-week Treasury bill into a flat continuous rate.

    A bill of 100 costs 100 (1 - d 91/360) with d the quoted yield (Hull, Options, Futures, and Other Derivatives,
    10th ed., chapters 4 and 6), so the continuous rate over 91 days of 365 is -ln(1 - d 91/360) 365/91.

    Raises
    ------
    Untrusted
        If the yield is not between -1 and 25 per cent.

    Examples
    --------
    >>> round(bill_curve(4.0).rate(0.1), 6)
    0.040762
    """
    if not -1.0 < discount_per_cent < 25.0:
        raise Untrusted(f"a bill yield of {discount_per_cent:g} %")
    price = 1.0 - discount_per_cent / 100.0 * BILL_DAYS / 360.0
    return RateCurve((BILL_DAYS / 365.0,), (float(-np.log(price) * 365.0 / BILL_DAYS),), "13-week bill")


def _problem(ticker: str, error: YahooError) -> Problem:
    if error.busy:
        return Problem("too_busy", f"{ticker}: {error.text}. Try again later.", error.retry_after)
    return source_failed(ticker, f"{error.text}.", error.retry_after)


def _lag(bars: Bars, last: np.datetime64) -> tuple[str, ...]:
    return ("bars_stale",) if bars.date[-1] < last else ()


def _rows(bars: Bars, keep: npt.NDArray[np.bool_]) -> Bars:
    return Bars(
        date=bars.date[keep],
        open=bars.open[keep],
        high=bars.high[keep],
        low=bars.low[keep],
        close=bars.close[keep],
        volume=bars.volume[keep],
        adj_close=None if bars.adj_close is None else bars.adj_close[keep],
    )


def _join(stored: Stored, tail: Stored) -> Stored | None:
    """Add a tail to what is stored; None where the days they share disagree, or none is shared."""
    old, new = stored.bars, tail.bars
    same_days = np.isin(old.date, new.date)
    if not same_days.any() or not np.isin(old.date[-1:], new.date).all():
        return None
    for a, b in ((old.close, new.close), (_adjusted(old), _adjusted(new))):
        kept = b[np.isin(new.date, old.date)]
        if np.abs(a[same_days] - kept).max() > SAME * kept.max():
            return None
    before = old.date < new.date[0]
    keep = before.nonzero()[0][-(HISTORY_DAYS * 252 // 365) :]
    joined = {
        name: np.concatenate([getattr(old, name)[keep], getattr(new, name)])
        for name in ("date", "open", "high", "low", "close", "volume")
    }
    bars = Bars(**joined, adj_close=np.concatenate([_adjusted(old)[keep], _adjusted(new)]))
    paid = {each.ex_date: each for each in (*stored.dividends, *tail.dividends)}
    return Stored(tail.name, bars, tuple(paid[day] for day in sorted(paid)), tail.asked_at)


def _adjusted(bars: Bars) -> F64:
    return bars.close if bars.adj_close is None else bars.adj_close


def _expiries_in_reach(expiries: Sequence[int], now: dt.datetime) -> list[int]:
    """List the expiries 7 to 60 days ahead, the nearest to 30 days first."""
    today = np.datetime64(calendar.local_date(now), "D").astype(np.int64)
    days = {expiry: expiry // 86400 - int(today) for expiry in expiries}
    near = [expiry for expiry in expiries if EXPIRY_DAYS[0] <= days[expiry] <= EXPIRY_DAYS[1]]
    return sorted(near, key=lambda expiry: (abs(days[expiry] - TARGET_DAYS), expiry))


def _holds(options: Options, expiry: int) -> bool:
    return any(contract.get("expiration") == expiry for contract in options.contracts)


def _quotes(first: Options, answers: Sequence[Options], wanted: Sequence[int]) -> Chain | None:
    """Make one chain of the answers' contracts that have a wanted expiry."""
    rows: list[tuple[int, bool, float, Mapping[str, Any]]] = []
    seen: set[tuple[int, bool, str, float]] = set()
    for answer in answers:
        for contract, call in zip(answer.contracts, answer.is_call, strict=True):
            expiry, strike = contract.get("expiration"), float(contract["strike"])
            if not isinstance(expiry, int) or expiry not in wanted:
                continue
            key = (expiry, call, str(contract.get("contractSymbol")), strike)
            if key not in seen:
                seen.add(key)
                rows.append((expiry, call, strike, contract))
    if not rows:
        return None
    rows.sort(key=lambda row: (row[0], not row[1], row[2]))
    contracts = [row[3] for row in rows]
    traded = column(contracts, "lastTradeDate")
    known = np.isfinite(traded) & (traded > 0.0) & (traded < 1e11)
    last_trade = np.where(known, traded, 0.0).astype(np.int64).astype("datetime64[s]")
    last_trade[~known] = np.datetime64("NaT", "s")
    nothing = np.full(len(rows), np.nan)
    return Chain(
        quote_time=calendar.from_seconds(first.market_time),
        spot=first.spot,
        expiry=(np.array([row[0] for row in rows]) // 86400).astype("datetime64[D]"),
        strike=np.array([row[2] for row in rows]),
        is_call=np.array([row[1] for row in rows]),
        bid=column(contracts, "bid"),
        ask=column(contracts, "ask"),
        bid_size=nothing,
        ask_size=nothing,
        last=column(contracts, "lastPrice"),
        last_trade=last_trade,
        volume=column(contracts, "volume"),
        open_interest=column(contracts, "openInterest"),
        vendor_iv=column(contracts, "impliedVolatility"),
        symbol=tuple(str(contract.get("contractSymbol", "")) for contract in contracts),
    )
