"""A Yahoo made at home: the endpoints that the yahoo market asks, with answers of Yahoo's shape and its moods.

    python -m tests.market.yahoo_stub --port 9999 --mode ok

then run the server with `BQ_MARKET=yahoo BQ_YAHOO_URL=http://127.0.0.1:9999`. The mood is changed while it runs with
`curl 'http://127.0.0.1:9999/stub?mode=429'` (optionally `&path=/v7` for the endpoints that start so, `&symbol=AAPL` for
one symbol), and `curl http://127.0.0.1:9999/stub` tells the counts. Prices are those of the sample market.

Moods: ok 429 401 403 404 400 500 (with HTML) 999 hang drip truncated consent redirect garbage empty null nodays nulls
holes unsorted twice negative highlow wrong short old live; old_crumb refuses every crumb but the newest.
"""

import argparse
import datetime as dt
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from bq.market import calendar, dividends
from bq.market.sample import SampleMarket
from bq.market.source import Chain, Snapshot

TOO_MANY = b"Too Many Requests\r\n"
CONSENT = b"<!DOCTYPE html><html><body><form action='https://consent.yahoo.com/v2'>Accept all</form></body></html>"
ERROR_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>Will be right back...</body></html>"
NO_SYMBOL = {
    "chart": {"result": None, "error": {"code": "Not Found", "description": "No data found, symbol may be delisted"}}
}
NO_DATES = {"chart": {"result": None, "error": {"code": "Bad Request", "description": "Data doesn't exist"}}}
NO_CRUMB = {"finance": {"result": None, "error": {"code": "Unauthorized", "description": "Invalid Crumb"}}}


class YahooStub:
    """A stub server in a thread of its own; use it in a `with`.

    Parameters
    ----------
    now : datetime
        Aware: when the stub believes to be.
    answers : dict, optional
        Path (with `?date=` where there is one) to a recorded JSON body, in place of what the stub makes.
    """

    def __init__(self, now: dt.datetime, port: int = 0, answers: dict[str, Any] | None = None) -> None:
        self.now = now
        self.answers = answers or {}
        self.moods: dict[tuple[str, str], str] = {}
        self.paths: list[str] = []
        self.crumb = "crumb0"
        self.factor = 1.0  # of adjusted closes of the past, as after a dividend
        self.released = threading.Event()
        self._sample = SampleMarket(lambda: self.now)
        self._known: dict[tuple[str, dt.datetime], Snapshot | None] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> "YahooStub":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)

    def set(self, mode: str, path: str = "/v", symbol: str = "") -> None:
        """Change the mood of the endpoints that start with `path` (crumbs and cookies are `/v1` and `/`)."""
        with self._lock:
            if (path, symbol) == ("/v", ""):
                self.moods.clear()
            self.moods[path, symbol] = mode

    @property
    def count(self) -> int:
        """How many requests have arrived."""
        return len(self.paths)

    def counts(self) -> Counter[str]:
        """Count the requests by endpoint."""
        return Counter("/".join(path.split("?")[0].split("/")[:4]) for path in self.paths)

    def mood(self, path: str, symbol: str) -> str:
        """Look up the mood of a request: that of its symbol and longest path first."""
        with self._lock:
            fitting = [key for key in self.moods if path.startswith(key[0]) and key[1] in ("", symbol)]
            return self.moods[max(fitting, key=lambda key: (key[1] != "", len(key[0])))] if fitting else "ok"

    def snapshot(self, symbol: str) -> Snapshot | None:
        """Find what the sample market knows of a symbol."""
        key = (symbol, self.now)
        if key not in self._known:
            answer = self._sample.fetch([symbol.replace("-", ".")])[0]
            self._known[key] = answer if isinstance(answer, Snapshot) else None
        return self._known[key]

    def chart(self, symbol: str, query: dict[str, list[str]], mood: str) -> tuple[int, Any]:
        """Make a chart answer."""
        if symbol == "^IRX":
            last = int(calendar.session_close(calendar.last_closed_session(self.now)).timestamp())
            return 200, _chart_body(_meta(symbol, 4.0, last), [last], {"close": [4.0]}, {})
        snapshot = self.snapshot(symbol)
        if snapshot is None:
            return 404, NO_SYMBOL
        bars = snapshot.bars
        begin = int(query.get("period1", ["0"])[0])
        stamps = np.array([int(calendar.session_open(day).timestamp()) for day in bars.date])
        keep = stamps >= begin
        columns = {name: getattr(bars, name)[keep] for name in ("open", "high", "low", "close", "volume", "adj_close")}
        columns["adj_close"] = columns["adj_close"] * self.factor
        stamps = stamps[keep]
        market_time = int(snapshot.as_of.timestamp()) + 1
        if mood == "live":
            session = calendar.next_session(bars.date[-1] + 1)
            market_time = int(calendar.session_open(session).timestamp()) + 3600
            stamps = np.append(stamps, market_time)
            columns = {name: np.append(values, values[-1] * 1.05) for name, values in columns.items()}
        stamps, columns = _spoil(mood, stamps, columns)
        events = {
            str(int(calendar.session_open(each.ex_date).timestamp())): {
                "amount": each.cash,
                "date": int(calendar.session_open(each.ex_date).timestamp()),
            }
            for each in dividends.paid(bars)
            if int(calendar.session_open(each.ex_date).timestamp()) >= begin
        }
        named = "XXXX" if mood == "wrong" else symbol
        meta = _meta(named, float(bars.close[-1]), market_time) | {"longName": f"{symbol} of the stub"}
        meta["firstTradeDate"] = int(calendar.session_open(bars.date[0]).timestamp())
        listed = {name: [None if np.isnan(v) else float(v) for v in values] for name, values in columns.items()}
        return 200, _chart_body(meta, [int(stamp) for stamp in stamps], listed, events)

    def options(self, symbol: str, query: dict[str, list[str]], mood: str) -> tuple[int, Any]:
        """Make an options answer."""
        if mood == "old_crumb" and query.get("crumb") != [self.crumb]:
            return 401, NO_CRUMB
        if "crumb" not in query:
            return 401, NO_CRUMB
        snapshot = self.snapshot(symbol)
        if snapshot is None or mood == "empty":
            return 200, {"optionChain": {"result": [], "error": None}}
        quote = {
            "symbol": symbol,
            "regularMarketPrice": snapshot.spot,
            "regularMarketTime": int(snapshot.as_of.timestamp()) + 1,
            "marketState": "CLOSED",
        }
        if snapshot.dividends:
            quote["dividendRate"] = 4.0 * snapshot.dividends[0].cash
        chain = snapshot.chain
        expiries = [] if chain is None else [int(day.astype(np.int64)) * 86400 for day in np.unique(chain.expiry)]
        blocks = []
        if chain is not None and mood != "nooptions":
            asked = int(query.get("date", [expiries[0]])[0])
            if asked in expiries:
                blocks = [_block(symbol, chain, asked)]
        result = {
            "underlyingSymbol": "XXXX" if mood == "wrong" else symbol,
            "expirationDates": [] if mood == "nooptions" else expiries,
            "strikes": [],
            "hasMiniOptions": False,
            "quote": quote,
            "options": blocks,
        }
        return 200, {"optionChain": {"result": [result], "error": None}}


def _meta(symbol: str, price: float, market_time: int) -> dict[str, Any]:
    return {
        "currency": "USD",
        "symbol": symbol,
        "instrumentType": "EQUITY",
        "regularMarketTime": market_time,
        "gmtoffset": -18000,
        "timezone": "EST",
        "exchangeTimezoneName": "America/New_York",
        "regularMarketPrice": price,
        "dataGranularity": "1d",
    }


def _chart_body(meta: Any, stamps: list[int], columns: dict[str, Any], events: dict[str, Any]) -> dict[str, Any]:
    adjusted = columns.pop("adj_close", columns["close"])
    result: dict[str, Any] = {
        "meta": meta,
        "timestamp": stamps,
        "indicators": {"quote": [columns], "adjclose": [{"adjclose": adjusted}]},
    }
    if events:
        result["events"] = {"dividends": events}
    if not stamps:
        result = {"meta": meta, "indicators": {"quote": [{}], "adjclose": [{}]}}
    return {"chart": {"result": [result], "error": None}}


def _spoil(mood: str, stamps: Any, columns: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Damage a history in the way a mood says."""
    if mood == "nodays":
        return stamps[:0], columns
    if mood in ("nulls", "holes"):
        bad = np.arange(stamps.size) % (10 if mood == "holes" else 3) != (5 if mood == "nulls" else 0)
        gone = ~bad if mood == "holes" else bad
        gone[-1] = False
        return stamps, {name: np.where(gone, np.nan, values) for name, values in columns.items()}
    if mood == "unsorted":
        return stamps[::-1], {name: values[::-1] for name, values in columns.items()}
    if mood == "twice":
        order = np.sort(np.append(np.arange(stamps.size), stamps.size // 2))
        return stamps[order], {name: values[order] for name, values in columns.items()}
    if mood == "short":
        return stamps[-5:], {name: values[-5:] for name, values in columns.items()}
    if mood == "old":
        return stamps[:-20], {name: values[:-20] for name, values in columns.items()}
    middle = stamps.size // 2
    if mood == "negative":
        columns["low"][middle] *= -1.0
    if mood == "highlow":
        columns["high"][middle] = 0.5 * columns["low"][middle]
    return stamps, columns


def _block(symbol: str, chain: Chain, expiry: int) -> dict[str, Any]:
    """Make the contracts of one expiry; Yahoo leaves out what it does not have."""
    day = np.datetime64(expiry // 86400, "D")
    block: dict[str, Any] = {"expirationDate": expiry, "hasMiniOptions": False, "calls": [], "puts": []}
    for row in np.flatnonzero(chain.expiry == day):
        call = bool(chain.is_call[row])
        letter, strike = "C" if call else "P", float(chain.strike[row])
        contract = {
            "contractSymbol": f"{symbol}{day.astype(object):%y%m%d}{letter}{round(1000 * strike):08d}",
            "strike": strike,
            "currency": "USD",
            "bid": float(chain.bid[row]),
            "ask": float(chain.ask[row]),
            "lastPrice": None if np.isnan(chain.last[row]) else float(chain.last[row]),
            "volume": int(chain.volume[row]) or None,
            "openInterest": int(chain.open_interest[row]),
            "contractSize": "REGULAR",
            "expiration": expiry,
            "impliedVolatility": float(chain.vendor_iv[row]),
            "inTheMoney": (strike < chain.spot) is call,
        }
        if not np.isnat(chain.last_trade[row]):
            contract["lastTradeDate"] = int(chain.last_trade[row].astype(np.int64))
        block["calls" if call else "puts"].append({name: v for name, v in contract.items() if v is not None})
    return block


def _handler(stub: YahooStub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = parse_qs(parts.query)
            if parts.path == "/stub":
                return self._control(query)
            symbol = unquote(parts.path.rpartition("/")[2])
            stub.paths.append(self.path)
            mood = stub.mood(parts.path, symbol)
            if self._refuse(mood):
                return None
            if parts.path.startswith("/v8/finance/chart/"):
                status, body = stub.chart(symbol, query, mood)
            elif parts.path.startswith("/v7/finance/options/"):
                status, body = stub.options(symbol, query, mood)
            elif parts.path.endswith("/getcrumb"):
                return self._send(200, stub.crumb.encode(), "text/plain")
            else:
                return self._send(404, b"<html>cookie</html>", "text/html")
            key = parts.path + (f"?date={query['date'][0]}" if "date" in query else "")
            return self._answer(mood, status, stub.answers.get(key, body))

        do_POST = do_GET  # noqa: N815

        def _control(self, query: dict[str, list[str]]) -> None:
            if "mode" in query:
                stub.set(query["mode"][0], query.get("path", ["/v"])[0], query.get("symbol", [""])[0])
            self._send(200, json.dumps({"count": stub.count, **stub.counts()}).encode())

        def _refuse(self, mood: str) -> bool:
            pages = {
                "429": (429, TOO_MANY, "text/plain"),
                "999": (999, b"denied", "text/plain"),
                "401": (401, json.dumps(NO_CRUMB).encode(), "application/json"),
                "403": (403, b"<html>forbidden</html>", "text/html"),
                "404": (404, json.dumps(NO_SYMBOL).encode(), "application/json"),
                "400": (400, json.dumps(NO_DATES).encode(), "application/json"),
                "500": (500, ERROR_PAGE, "text/html"),
                "consent": (200, CONSENT, "text/html"),
                "garbage": (200, b"\x00\xff\x17 nothing", "application/json"),
                "null": (200, b'{"chart":{"result":null,"error":null}}', "application/json"),
            }
            if mood == "hang":
                stub.released.wait(30.0)
                self.close_connection = True
                return True
            if mood == "redirect":
                self.send_response(302)
                self.send_header("Location", "https://consent.yahoo.com/collectConsent")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return True
            if mood in pages:
                status, body, kind = pages[mood]
                self._send(status, body, kind)
                return True
            return False

        def _answer(self, mood: str, status: int, body: Any) -> None:
            data = json.dumps(body).encode()
            if mood == "truncated":
                return self._send(status, data[: len(data) // 2])
            if mood == "drip":
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                for at in range(len(data)):
                    if stub.released.wait(0.05):
                        break
                    try:
                        self.wfile.write(data[at : at + 1])
                        self.wfile.flush()
                    except OSError:
                        break
                self.close_connection = True
                return None
            return self._send(status, data)

        def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
            try:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


def main() -> None:
    parser = argparse.ArgumentParser(description="A stub of Yahoo for trials by hand.")
    parser.add_argument("--port", type=int, default=9999)
    parser.add_argument("--mode", default="ok")
    arguments = parser.parse_args()
    with YahooStub(dt.datetime.now(dt.UTC), arguments.port) as stub:
        stub.set(arguments.mode)
        print(f"{stub.url} mode={arguments.mode}; Ctrl-C ends it", flush=True)
        try:
            while True:
                time.sleep(1.0)
                stub.now = dt.datetime.now(dt.UTC)
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
