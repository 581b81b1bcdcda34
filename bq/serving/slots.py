"""What may begin now, and which flights it takes: slots for fetches and slices, ranks in turns, sizes by cost.

Rules of this file: decisions from counts and predictions; it starts nothing and waits for nothing (`batcher.py` does).

Slices that somebody sits and waits for have as many slots again as all slices have, so that none waits for the slices
of a list. A suspect (`suspects.py`) is computed while nothing else is.
"""

from typing import Generic

from bq.serving.admission import Limits
from bq.serving.cost import CostLine
from bq.serving.flights import Flight, K, Rank, S
from bq.serving.register import Register


class Slots(Generic[K, S]):
    """The slots that are taken, and what goes into those that are free.

    Parameters
    ----------
    compute_cost
        Predicts the seconds of a slice by its weight.
    """

    def __init__(self, register: Register[K, S], compute_cost: CostLine, limits: Limits) -> None:
        self.limits = limits
        self.fetches = 0
        self.slices = 0
        self.hurried = 0  # slices that somebody sits and waits for
        self._alone = 0  # suspects that are being computed
        self._register = register
        self._compute_cost = compute_cost

    @property
    def patient(self) -> int:
        """How many slices run that nobody sits and waits for."""
        return self.slices - self.hurried

    def take(self, is_slice: bool, hurried: bool, alone: bool, by: int = 1) -> None:
        """Note that a batch has begun; with `by` -1, that it has ended."""
        if not is_slice:
            self.fetches += by
            return
        self.slices += by
        self.hurried += by * hurried
        self._alone += by * alone

    def can_fetch(self) -> bool:
        """Tell whether a fetch may begin now."""
        waiting = self._register.waiting
        if waiting.lanes[Rank.INTERACTIVE]:
            return self.fetches < self.limits.fetch_slots
        # One slot is kept for whoever sits and waits: the groups of a long list take seconds.
        kept = 0 if self.limits.fetch_slots == 1 else 1
        return bool(waiting) and self.fetches < self.limits.fetch_slots - kept and not self._is_ahead()

    def can_compute(self) -> bool:
        """Tell whether a slice may begin now."""
        if self._register.apart:  # a suspect goes before all others, or it would wait for ever for a quiet moment
            return not self.slices
        if self._alone or not self._register.ready:
            return False
        return self.slices < self.limits.compute_slots or self._can_hurry()

    def pick_group(self) -> list[Flight[K, S]]:
        """Take the flights of the next fetch out of their lanes."""
        waiting = self._register.waiting
        free = self.limits.fetch_slots - self.fetches
        last = free == 1 and self.limits.fetch_slots > 1
        first = waiting.lanes[Rank.INTERACTIVE] and (last or self._is_ahead())
        rank = Rank.INTERACTIVE if first else waiting.lead()
        size = min(self.limits.fetch_group, -(-len(waiting.lanes[rank]) // free))
        return waiting.take(rank, size, size)

    def pick_slice(self) -> list[Flight[K, S]]:
        """Take the flights of the next slice out of their lanes."""
        if self._register.apart:
            return self._register.apart.take(self._register.apart.lead(), 1, 1)
        ready, slots = self._register.ready, self.limits.compute_slots
        rank = ready.lead() if self.slices < slots else Rank.INTERACTIVE
        hurried = rank is Rank.INTERACTIVE
        free = slots - (self.hurried if hurried else self.slices)
        size = self._hurried_size() if hurried else self._patient_size()
        return ready.take(rank, size, min(self.limits.max_slice, -(-len(ready.lanes[rank]) // free)))

    def _is_ahead(self) -> bool:
        """Tell whether the computing threads have enough for a while: more would only grow old in memory."""
        lanes, limits = self._register.ready.lanes, self.limits
        weight = sum(lanes[rank].weight for rank in Rank if rank is not Rank.INTERACTIVE)
        return self._compute_cost.each * weight > limits.fetch_ahead_s * limits.compute_slots

    def _can_hurry(self) -> bool:
        waiting = self._register.ready.lanes[Rank.INTERACTIVE]
        return bool(waiting) and self.hurried < self.limits.compute_slots

    def _hurried_size(self) -> int:
        return self._compute_cost.size_within(self.limits.slice_s)

    def _patient_size(self) -> int:
        cost, limits = self._compute_cost, self.limits
        least = min(limits.patient_least, cost.size_within(limits.patient_longest_s))
        return max(cost.size_within(limits.patient_slice_s), least)
