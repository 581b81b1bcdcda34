"""Whose turn it is to compute: slices that somebody waits for go on, the others pause at their next stage meanwhile.

Threads that compute share one interpreter and often one core, so a short slice beside two long ones takes three times
its time. Long slices are not cut short for that, since kernels want many tickers at once: they give way between two
stages of the analysis, and go on when nobody is in a hurry, or after four times as long as they have run.

Rules of this file: a lock and a count; it knows neither flights nor the event loop. Thread-safe.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Final

PATIENCE: Final = 4.0
"""Seconds that a slice pauses for each second that it runs, at most: a fifth of the time is its own."""


class Turns:
    """The slices that are in a hurry, and those that wait for them.

    Parameters
    ----------
    clock
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._paused_s = 0.0  # by all slices, in pauses that have ended
        self._pausing: dict[int, float] = {}  # threads and since when
        self._hurried = 0
        self._changed = threading.Condition()

    @property
    def paused_s(self) -> float:
        """Add up the seconds for which slices have paused, those that pause at the moment included."""
        with self._changed:
            now = self.clock()
            return self._paused_s + sum(now - since for since in self._pausing.values())

    @contextlib.contextmanager
    def hurried(self) -> Iterator[None]:
        """Have the others pause as long as this lasts."""
        with self._changed:
            self._hurried += 1
        try:
            yield
        finally:
            with self._changed:
                self._hurried -= 1
                self._changed.notify_all()

    def wait(self, longest_s: float) -> float:
        """Pause while somebody is in a hurry, but no longer than this; the seconds that it took."""
        if not self._hurried or longest_s <= 0.0:  # read without the lock: a slice may as well pause a stage later
            return 0.0
        me = threading.get_ident()
        with self._changed:
            began = self._pausing[me] = self.clock()
            self._changed.wait_for(lambda: not self._hurried, longest_s)
            del self._pausing[me]
            waited = self.clock() - began
            self._paused_s += waited
        return waited


class Patience:
    """One slice that nobody waits for."""

    def __init__(self, turns: Turns) -> None:
        self.paused_s = 0.0
        self._turns = turns
        self._began = turns.clock()

    def give_way(self) -> None:
        """Pause for those in a hurry; called between the stages of an analysis."""
        ran = self._turns.clock() - self._began - self.paused_s
        self.paused_s += self._turns.wait(PATIENCE * ran - self.paused_s)
