"""Keys that were being computed when the process died: computed apart at first, and after some deaths not at all.

Rules of this file: counting; no files (`blackbox.py` finds out who was under way and keeps the counts), no clock.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from bq.errors import Problem

FATAL: Final = 4
"""What a death of the process that it died of itself, by a fault or by a slice that hung, counts against a key."""

UNEXPLAINED: Final = 1
"""What one counts that may have come from outside: an operator, a machine short of memory."""

LIMIT: Final = 3 * FATAL
"""Where a key is condemned. Its first death may have been in company; it was computed alone when it came to others."""


@dataclasses.dataclass(frozen=True)
class Suspect:
    """What is held against a name."""

    points: int
    last: float  # seconds since 1970


class Suspects:
    """The names under suspicion.

    Parameters
    ----------
    name
        What of a key is suspected: all keys of one name are.
    on_change
        Told when somebody was acquitted.
    """

    def __init__(
        self, name: Callable[[Any], str] = str, on_change: Callable[[], object] = lambda: None, limit: int = LIMIT
    ) -> None:
        self.known: dict[str, Suspect] = {}
        self._name = name
        self._on_change = on_change
        self._limit = limit

    def accuse(self, before: Mapping[str, Suspect], under_way: Mapping[str, int], now: float) -> None:
        """Take up what was known, and count points against those that were under way."""
        self.known = dict(before)
        for name, points in under_way.items():
            old = self.known.get(name)
            self.known[name] = Suspect(points if old is None else old.points + points, now)

    @property
    def condemned(self) -> int:
        """How many are not computed any more."""
        return sum(suspect.points >= self._limit for suspect in self.known.values())

    def suspects(self, key: Any) -> bool:
        """Tell whether a key is to be computed while nothing else is."""
        return bool(self.known) and self._name(key) in self.known

    def verdict(self, key: Any) -> Problem | None:
        """Give the problem that stands in for a key that is not computed any more."""
        suspect = self.known.get(self._name(key)) if self.known else None
        if suspect is None or suspect.points < self._limit:
            return None
        text = "The server died again and again while it analysed this ticker. This is a defect."
        return Problem("compute_failed", text)

    def acquit(self, keys: Iterable[Any]) -> None:
        """Clear keys that were computed, and the process lives."""
        if not self.known:
            return
        cleared = [name for key in keys if (name := self._name(key)) in self.known]
        for name in cleared:
            del self.known[name]
        if cleared:
            self._on_change()
