"""How a source is kept from being asked too much: a token bucket for the rate, a breaker for when it says no.

Rules of this file: it knows seconds and outcomes, nothing of HTTP or prices. The clock (seconds since 1970) and the
randomness come in as arguments. Both objects may be used from several threads.
"""

import json
import logging
import os
import random
import threading
from collections import deque
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)


class Outcome(Enum):
    """What became of a request to the source."""

    OK = "ok"  # an answer that can be read, a plain "no such symbol" included
    THROTTLED = "throttled"  # it says that we ask too much, or will not have us: 429, 401, 999
    FAILED = "failed"  # an error, no answer in time, or an answer that cannot be read


class TokenBucket:
    """A rate limit with a burst: each request takes a token, and `rate` tokens a second come back, up to `burst`."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = burst
        self._at = clock()
        self._lock = threading.Lock()

    def reserve(self, longest_wait: float) -> tuple[bool, float]:
        """Take a token, perhaps one that is still to come.

        Returns
        -------
        taken : bool
            False, and nothing is taken, when the wait would be longer than `longest_wait`.
        wait : float
            Seconds until the token is there.
        """
        with self._lock:
            now = self._clock()
            # A clock that was set back gives nothing and takes nothing.
            self._tokens = min(self._burst, self._tokens + max(now - self._at, 0.0) * self._rate)
            self._at = now
            wait = max(1.0 - self._tokens, 0.0) / self._rate
            if wait > longest_wait:
                return False, wait
            self._tokens -= 1.0
            return True, wait


class Breaker:
    """Stop asking a source that refuses: closed, open for a while, then one probe decides.

    Opens after 3 refusals in a row, or when half of the last 20 requests went wrong; first for 60 seconds, doubling to
    15 minutes with every probe that fails, 20 % of jitter so that several processes do not return at one moment. The
    state outlives a restart, since a restart is what people do when a source refuses.

    Parameters
    ----------
    clock : callable
        Seconds since 1970 (kept on disk, so not a monotonic clock).
    path : Path, optional
        Where the state is kept.
    rng : random.Random
        For the jitter.
    """

    REFUSALS: Final = 3
    WINDOW: Final = 20
    SHARE: Final = 0.5
    FIRST_OPEN_S: Final = 60.0
    LONGEST_OPEN_S: Final = 900.0
    JITTER: Final = 0.2
    PROBE_S: Final = 60.0
    """A probe that has not reported by then is given up, and another may go."""

    def __init__(self, clock: Callable[[], float], path: Path | None, rng: random.Random) -> None:
        self._clock = clock
        self._path = path
        self._rng = rng
        self._lock = threading.Lock()
        self._recent: deque[bool] = deque(maxlen=self.WINDOW)  # True: went wrong
        self._refusals = 0
        self._open_s = 0.0  # 0: closed
        self._until = 0.0
        self._probe_until = 0.0  # a probe is on its way until then
        self._load()

    @property
    def is_open(self) -> bool:
        """Say whether requests are held back, a probe being due or not."""
        return self._open_s > 0.0

    def wait(self, take: bool = False) -> float:
        """Say for how many seconds more no request may go; 0 when one may.

        Parameters
        ----------
        take : bool
            The request goes now: where a probe is due, this is it, and nobody else's goes until it has reported.
        """
        with self._lock:
            if self._open_s == 0.0:
                return 0.0
            now = self._clock()
            left = min(self._until - now, self.LONGEST_OPEN_S * (1.0 + self.JITTER))  # however the clock was set
            if left > 0.0:
                return left
            if now < self._probe_until <= now + self.PROBE_S:
                return self._probe_until - now
            if take:
                self._probe_until = now + self.PROBE_S
            return 0.0

    def release(self) -> None:
        """Take note that a request told nothing about the source: if it was the probe, the next one is."""
        with self._lock:
            self._probe_until = 0.0

    def record(self, outcome: Outcome, retry_after: float = 0.0) -> None:
        """Take note of a request's outcome, and of the seconds that the source asked for."""
        with self._lock:
            if self._open_s > 0.0:
                self._after_probe(outcome, retry_after)
                return
            self._recent.append(outcome is not Outcome.OK)
            self._refusals = self._refusals + 1 if outcome is Outcome.THROTTLED else 0
            mostly_wrong = len(self._recent) == self.WINDOW and sum(self._recent) >= self.SHARE * self.WINDOW
            if self._refusals >= self.REFUSALS or mostly_wrong:
                self._open(self.FIRST_OPEN_S, retry_after)

    def _after_probe(self, outcome: Outcome, retry_after: float) -> None:
        if self._probe_until == 0.0:
            return  # a straggler that was sent before the breaker opened: it says nothing new
        if outcome is Outcome.OK:
            self._open_s = self._until = self._probe_until = 0.0
            self._refusals = 0
            self._recent.clear()
            _log.warning("the source answers again: breaker closed")
            self._save()
        else:
            self._open(min(2.0 * self._open_s, self.LONGEST_OPEN_S), retry_after)

    def _open(self, seconds: float, retry_after: float) -> None:
        self._open_s = seconds
        jitter = 1.0 + self.JITTER * (2.0 * self._rng.random() - 1.0)
        self._until = self._clock() + max(seconds * jitter, min(retry_after, self.LONGEST_OPEN_S))
        self._probe_until = 0.0
        _log.warning("the source refuses: breaker open for %.0f s", self._until - self._clock())
        self._save()

    def _load(self) -> None:
        if self._path is None:
            return
        try:
            state = json.loads(self._path.read_text())
            open_s, until = float(state["open_s"]), float(state["until"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("the breaker's state cannot be read: %s: %r", self._path, error)
            return
        if 0.0 < open_s <= self.LONGEST_OPEN_S:
            self._open_s, self._until = open_s, until

    def _save(self) -> None:
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            beside.write_text(json.dumps({"open_s": self._open_s, "until": self._until}))
            beside.replace(self._path)
        except OSError as error:  # a full disk must not stop the answers
            _log.warning("the breaker's state cannot be kept: %s: %r", self._path, error)
