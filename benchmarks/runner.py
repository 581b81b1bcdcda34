"""Measure our function and its references in turns, in one process, and tell the medians as ratios.

On a shared machine a single timing is a rumour. Each round runs every contender once, in turn, so that a slow moment
hits them alike; the medians over the rounds are compared.
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
    rounds: int = 15
    notes: str = ""


@dataclass(frozen=True)
class Measured:
    """What a case came to: seconds a row (medians) and the ratios reference / ours."""

    case: Case
    seconds_per_row: float
    reference_seconds: Mapping[str, float] = field(default_factory=dict)
    accuracy: str = ""

    def ratios(self) -> dict[str, float]:
        """Times faster than each reference, per row."""
        return {name: seconds / self.seconds_per_row for name, seconds in self.reference_seconds.items()}


def measure(case: Case, clock: Callable[[], float] = time.perf_counter) -> Measured:
    """Run a case: every contender once to warm up, then in turns; medians per row."""
    contenders = {"ours": case.ours, **case.references}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for contender in contenders.values():
        contender.run()
    gc.disable()
    try:
        for _ in range(case.rounds):
            for name, contender in contenders.items():
                start = clock()
                contender.run()
                times[name].append((clock() - start) / contender.rows)
    finally:
        gc.enable()
    medians = {name: statistics.median(values) for name, values in times.items()}
    ours = medians.pop("ours")
    return Measured(case, ours, medians, case.accuracy())
