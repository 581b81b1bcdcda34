"""Keys that were being computed when the process died: computed apart at first, and after some deaths not at all.

Rules of this file: counting; no files (`blackbox.py` finds out who was under way and keeps the counts), no clock.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from bq.errors import Problem

DEATHS: Final = 3
"""Deaths of the process after which a key is condemned.

The first may have been in company, and any of them may have had another reason: an operator, a machine short of memory.
The later ones happened while nothing else was computed."""


@dataclasses.dataclass(frozen=True)
class Suspect:
    """What is held against a name."""

    deaths: int
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
        self, name: Callable[[Any], str] = str, on_change: Callable[[], object] = lambda: None, limit: int = DEATHS
    ) -> None:
        self.known: dict[str, Suspect] = {}
        self._name = name
        self._on_change = on_change
        self._limit = limit

    def accuse(self, before: Mapping[str, Suspect], under_way: Iterable[str], now: float) -> None:
        """Take up what was known, and count one death more against each of those that were under way."""
        self.known = dict(before)
        for name in set(under_way):
            old = self.known.get(name)
            self.known[name] = Suspect(1 if old is None else old.deaths + 1, now)

    @property
    def condemned(self) -> int:
        """How many are not computed any more."""
        return sum(suspect.deaths >= self._limit for suspect in self.known.values())

    def suspects(self, key: Any) -> bool:
        """Tell whether a key is to be computed while nothing else is."""
        return bool(self.known) and self._name(key) in self.known

    def verdict(self, key: Any) -> Problem | None:
        """Give the problem that stands in for a key that is not computed any more."""
        suspect = self.known.get(self._name(key)) if self.known else None
        if suspect is None or suspect.deaths < self._limit:
            return None
        text = f"The server died {suspect.deaths} times while it analysed this ticker. This is a defect."
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
