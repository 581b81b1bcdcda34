"""The one way to Yahoo: a session through which every real request goes, counted, paced, and stopped by a breaker.

yfinance is used for what is fragile and changes often, the cookie and the crumb, and for nothing else: its own request
function repeats a refused request five times at once and turns refusals into empty tables. The two endpoints are asked
here, and their answers are read as they are.
"""

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from bq.errors import Failure, Problem
from bq.market.breaker import Breaker, Outcome, TokenBucket

_log = logging.getLogger(__name__)

HOST: Final = "https://query2.finance.yahoo.com"
REFUSED: Final = (401, 403, 429, 999)
LARGEST_BODY: Final = 32 * 1024 * 1024
CRUMB_PAUSE_S: Final = 60.0
"""After a crumb could not be had, how long none is asked for."""


class YahooError(Exception):
    """No data: what went wrong, for how long, and whether the source or our own pacing said no."""

    def __init__(self, text: str, retry_after: float | None = None, busy: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.retry_after = retry_after
        self.busy = busy


class NotFound(YahooError):  # noqa: N818 - it says what the source said
    """The source says clearly that it has no such thing."""


class YahooSession:
    """Yahoo's endpoints as JSON.

    Parameters
    ----------
    state_dir : Path
        For yfinance's cookie cache.
    bucket, breaker
        Asked before every real request.
    clock : callable
        Seconds since 1970, for deadlines.
    sleep : callable
        Waits for a token.
    timeout_s : float
        Of one request, from the first byte sent to the last received: a slow drip ends too.
    base_url : str
        Where to send everything instead of Yahoo's hosts, for tests against a stub.
    """

    def __init__(
        self,
        state_dir: Path,
        bucket: TokenBucket,
        breaker: Breaker,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        timeout_s: float = 10.0,
        base_url: str = "",
    ) -> None:
        self.requests: Counter[str] = Counter()
        """Real requests so far, by outcome."""
        self.breaker = breaker
        self._state_dir = state_dir
        self._bucket = bucket
        self._clock = clock
        self._sleep = sleep
        self._timeout_s = timeout_s
        self._base_url = base_url.rstrip("/")
        self._http = _open_http(self)
        self._deadline = threading.local()
        self._crumb_lock = threading.Lock()
        self._crumb: str | None = None
        self._crumb_pause_until = 0.0
        self._yf: Any = None

    def get(self, path: str, params: dict[str, str], deadline: float, crumb: bool = False) -> Any:
        """Ask one of Yahoo's endpoints.

        Parameters
        ----------
        path : str
            Such as `/v8/finance/chart/AAPL`.
        params : dict
        deadline : float
            On this session's clock: no request starts later, and none waits for a token beyond it.
        crumb : bool
            Whether the endpoint wants one (options do); a crumb that is refused is renewed, once.

        Returns
        -------
        The decoded JSON object of a 200 answer.

        Raises
        ------
        NotFound
            The source's own JSON says that there is no such symbol.
        YahooError
            Anything else.
        """
        self._deadline.at = deadline
        if not crumb:
            return self._json(self._ask(path, params))
        used = self._get_crumb(refused=None)
        response = self._ask(path, {**params, "crumb": used}, forgive_401=True)
        if response.status_code == 401:
            used = self._get_crumb(refused=used)
            response = self._ask(path, {**params, "crumb": used})
        return self._json(response)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _ask(self, path: str, params: dict[str, str], forgive_401: bool = False) -> Any:
        self._deadline.forgive_401 = forgive_401
        try:
            # A redirect leads to a consent page, never to data.
            return self._http.get(f"{HOST}{path}", params=params, allow_redirects=False)
        finally:
            self._deadline.forgive_401 = False

    def _json(self, response: Any) -> Any:
        status = response.status_code
        body = _decode(response.content)
        if status == 404 and _error_code(body) == "Not Found":
            raise NotFound("Yahoo has no such symbol")
        if status == 400 and _error_code(body) == "Bad Request":
            raise YahooError("Yahoo has no data for these dates", 3600.0)
        if status in REFUSED:
            wait = self.breaker.wait() if self.breaker.is_open else Breaker.FIRST_OPEN_S
            raise YahooError(f"Yahoo refuses (HTTP {status})", max(wait, 1.0), busy=status == 429)
        if status != 200:
            raise YahooError(f"Yahoo answers HTTP {status}", 30.0)
        if not isinstance(body, dict):
            raise YahooError("Yahoo's answer is not JSON", 30.0)
        return body

    def _get_crumb(self, refused: str | None) -> str:
        """Give the crumb, asking for a new one when there is none or the present one was refused."""
        with self._crumb_lock:
            if self._crumb is not None and self._crumb != refused:
                return self._crumb  # another thread has renewed it
            pause = self._crumb_pause_until - self._clock()
            if pause > 0.0:
                raise YahooError("Yahoo gave no crumb for options", pause)
            self._crumb = None
            try:
                self._crumb = self._ask_for_crumb(refused is not None)
            except YahooError:
                raise
            except Exception as error:
                _log.warning("no crumb from Yahoo: %r", error)
            if not self._crumb:
                self._crumb_pause_until = self._clock() + CRUMB_PAUSE_S
                raise YahooError("Yahoo gave no crumb for options", CRUMB_PAUSE_S)
            return self._crumb

    def _ask_for_crumb(self, again: bool) -> str | None:
        from yfinance import cache, data  # slow, and needed for options only

        if self._yf is None:
            folder = self._state_dir / "yfinance"
            folder.mkdir(parents=True, exist_ok=True)
            cache.set_tz_cache_location(str(folder))
            # Not YfData(...): that is one object for the whole process, whose session anybody may replace.
            self._yf = type.__call__(data.YfData, session=self._http)
        elif again:
            self._yf._set_cookie_strategy("csrf" if self._yf._cookie_strategy == "basic" else "basic")
        crumb, _ = self._yf._get_cookie_and_crumb(self._timeout_s)
        return crumb if isinstance(crumb, str) and 0 < len(crumb) <= 64 and "<" not in crumb else None

    # What follows is called by the HTTP session, for each real request.

    def target(self, url: str) -> str:
        """Say where a request goes: to Yahoo, or to the stub."""
        if not self._base_url:
            return url
        parts = urlsplit(url)
        return f"{self._base_url}{parts.path or '/'}" + (f"?{parts.query}" if parts.query else "")

    def admit(self) -> float:
        """Wait for leave to send one request, and give its timeout in seconds; raises YahooError without leave."""
        if (closed := self.breaker.wait()) > 0.0:
            self._hold_back("Yahoo refused lately; not asked again yet", closed)
        left = getattr(self._deadline, "at", float("inf")) - self._clock()
        taken, wait = self._bucket.reserve(max(left - 1.0, 0.0))
        if left <= 0.0 or not taken:
            self._hold_back("too many requests to Yahoo are waiting", max(wait, 1.0))
        if wait > 0.0:
            self._sleep(wait)
        # Asked again: the breaker may have opened while this request waited for its token.
        if (closed := self.breaker.wait(take=True)) > 0.0:
            self._hold_back("Yahoo refused lately; not asked again yet", closed)
        return min(self._timeout_s, max(left - wait, 1.0))

    def _hold_back(self, text: str, wait: float) -> NoReturn:
        self.requests["held_back"] += 1
        raise YahooError(text, wait, busy=True)

    def note(self, response: Any | None) -> None:
        """Tell the breaker what became of a request: its response, or None where there was none."""
        outcome = self._outcome(response)
        self.requests["neutral" if outcome is None else outcome.value] += 1
        if outcome is None:
            self.breaker.release()
            return
        text = "" if response is None else str(response.headers.get("retry-after") or "")
        self.breaker.record(outcome, float(text) if text.isdigit() else 0.0)

    def _outcome(self, response: Any | None) -> Outcome | None:
        """Judge a response; None where it says nothing of the endpoints that matter."""
        if response is None:
            return Outcome.FAILED
        status = response.status_code
        if status == 401 and getattr(self._deadline, "forgive_401", False):
            return None  # an old crumb: several threads may meet it at once
        if status in REFUSED:
            return Outcome.THROTTLED
        path = urlsplit(response.url).path
        if "/finance/" not in path:
            return None if status < 500 else Outcome.FAILED  # cookies and crumbs; fc.yahoo.com always answers 404
        if status >= 500 or not isinstance(_decode(response.content), dict):
            return Outcome.FAILED
        return Outcome.OK


def _decode(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


def _error_code(body: Any) -> str:
    """Read the code of `{"chart": {"error": {"code": ...}}}`, whatever the outer name; empty where there is none."""
    if not isinstance(body, dict):
        return ""
    for part in body.values():
        error = part.get("error") if isinstance(part, dict) else None
        if isinstance(error, dict):
            return str(error.get("code") or "")
    return ""


def _open_http(owner: YahooSession) -> Any:
    """Make the HTTP session: curl_cffi with the face of a browser, every request of which goes through `owner`."""
    try:
        from curl_cffi import CurlOpt, requests
    except ImportError as error:
        text = "BQ_MARKET=yahoo needs the packages yfinance and curl_cffi."
        raise Failure(Problem("bad_request", text)) from error

    class Gated(requests.Session):
        def request(self, method: Any, url: str, *arguments: Any, **options: Any) -> Any:
            options["timeout"] = owner.admit()
            try:
                response = super().request(method, owner.target(url), *arguments, **options)
            except requests.exceptions.RequestException as error:
                owner.note(None)
                raise YahooError(f"no answer from Yahoo ({type(error).__name__})", 30.0) from error
            owner.note(response)
            return response

    return Gated(impersonate="chrome", curl_options={CurlOpt.MAXFILESIZE_LARGE: LARGEST_BODY})
