"""Measure our function and its references in turns, in one process, and tell the medians as ratios.

On a shared machine a single timing is a rumour. Each round runs every contender once, in turn, so that a slow moment
hits them alike, and every other round in the opposite order; the medians over the rounds are compared.
"""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Contender:
    """A way to do the work: `run()` handles `rows` rows (options, series, ...) a call."""

    run: Callable[[], object]
    rows: int


@dataclass(frozen=True)
class Case:
    """One line of the table: our kernel against its references on the same rows."""

    name: str
    ours: Contender
    references: Mapping[str, Contender]
    accuracy: Callable[[], str] = lambda: ""
    """Says, in words and figures, how far ours is from the truth or the reference; run once, outside the timing."""
    must_reach: str = ""
    """The figure of the design that this line answers, in words."""
    aim: str = ""
    """What comes after that."""
    limits: str = ""
    """What holds this kernel back, and what was tried."""
    rounds: int = 15
    notes: str = ""


@dataclass(frozen=True)
class Measured:
    """What a case came to: seconds a row (medians) and the ratios reference / ours."""

    case: Case
    seconds_per_row: float
    reference_seconds: Mapping[str, float] = field(default_factory=dict)
    accuracy: str = ""
    rounds: int = 0

    def ratios(self) -> dict[str, float]:
        """Times faster than each reference, per row."""
        return {name: seconds / self.seconds_per_row for name, seconds in self.reference_seconds.items()}


LEAST_ROUNDS = 3
BUDGET_S = 12.0


def measure(case: Case, clock: Callable[[], float] = time.perf_counter, budget_s: float = BUDGET_S) -> Measured:
    """Run a case: every contender once to warm up, then in turns; medians per row.

    Once the rounds have taken `budget_s` seconds, and there are three of them, no other begins: a busy machine makes
    the figures rougher, not the run endless.
    """
    contenders = {"ours": case.ours, **case.references}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for contender in contenders.values():
        contender.run()
    gc.disable()
    began, rounds = clock(), 0
    try:
        while rounds < case.rounds and (rounds < LEAST_ROUNDS or clock() - began < budget_s):
            rounds += 1
            # Back and forth: who comes after the slowest finds the inputs out of the caches, the next finds them there.
            for name, contender in list(contenders.items())[:: 1 if rounds % 2 else -1]:
                start = clock()
                contender.run()
                times[name].append((clock() - start) / contender.rows)
    finally:
        gc.enable()
    medians = {name: statistics.median(values) for name, values in times.items()}
    ours = medians.pop("ours")
    return Measured(case, ours, medians, case.accuracy(), rounds)
