"""One key's failure is no other's: a batch that raises is halved until the poisonous key is alone.

Rules of this file: it calls one awaitable function and knows neither flights nor threads.
"""

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from bq.errors import Problem

K = TypeVar("K")
S = TypeVar("S")

_log = logging.getLogger(__name__)


class Worked(NamedTuple):
    """What a call of compute came to: an answer for each key, in order, and how long encoding them took."""

    answers: Sequence[bytes | Problem]
    encode_s: float
    p_values: Sequence[float] = ()
    """Of the answers, in order, where they have any: stored beside them."""
    paused_s: float = 0.0
    """Seconds for which it gave way to others."""

    def p_value(self, position: int) -> float:
        """Give the value of one answer; NaN where there are none."""
        return self.p_values[position] if self.p_values else math.nan


class Bisection(Generic[K, S]):
    """Compute batches whatever is in them.

    Parameters
    ----------
    compute
        Keys, their snapshots, and whether somebody waits for them, to encoded answers or problems, in order; may raise.
    """

    def __init__(self, compute: Callable[[Sequence[K], Sequence[S], bool], Awaitable[Worked]]) -> None:
        self.compute = compute
        self.calls = 0
        self.keys = 0  # in the calls
        self.halved = 0  # batches that raised and were halved
        self.poisoned = 0  # keys that raised alone

    async def work(self, keys: Sequence[K], snapshots: Sequence[S], hurried: bool) -> Worked:
        """Answer each key, in order; one that raises alone gets a problem."""
        self.calls += 1
        self.keys += len(keys)
        try:
            work = await self.compute(keys, snapshots, hurried)
            if len(work.answers) != len(keys):
                raise RuntimeError(f"{len(work.answers)} answers to {len(keys)} keys")
        except Exception as error:
            if len(keys) == 1:
                self.poisoned += 1
                _log.exception("%r is poisonous", keys[0])
                name = type(error).__name__
                return Worked([Problem("compute_failed", f"The analysis failed: {name}. This is a defect.")], 0.0)
            self.halved += 1
            half = len(keys) // 2
            first = await self.work(keys[:half], snapshots[:half], hurried)
            second = await self.work(keys[half:], snapshots[half:], hurried)
            return _joined(first, second)
        return work


def _joined(first: Worked, second: Worked) -> Worked:
    halves = (first, second)
    p_values = [half.p_value(i) for half in halves for i in range(len(half.answers))]
    answers, encode_s, paused_s = [*first.answers, *second.answers], first.encode_s + second.encode_s, first.paused_s
    return Worked(answers, encode_s, p_values, paused_s + second.paused_s)
