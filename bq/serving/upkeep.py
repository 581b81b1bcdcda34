"""What is done every second to stay well: room in memory, and an end to a slice that hangs.

Rules of this file: it looks at the parts and turns their knobs; it makes none of them and knows no HTTP.
"""

import contextlib
import faulthandler
import logging
import math
import sys
from collections.abc import Callable
from typing import Any, Final

from bq.errors import Problem
from bq.serving import memory
from bq.serving.batcher import Batcher
from bq.serving.cache import Cache
from bq.serving.compute import Pools
from bq.serving.memory import Pressure
from bq.serving.variants import Variants

_log = logging.getLogger(__name__)

STUCK_GRACE_S: Final = 15.0  # between finding a slice stuck and leaving the process to its supervisor
CUT_OFF_S: Final = 600.0  # with every fetch hanging, which no source that is merely slow or down comes to
STUCK_EXIT: Final = 70  # EX_SOFTWARE
TRIM_PAUSE_S: Final = 10.0  # between two times that freed memory is given back to the system, on an idle server
BUSY_TRIM_PAUSE_S: Final = 60.0  # and on one that always has something to do
SHRINK_PAUSE_S: Final = 10.0  # between two times that stored answers give way to a shortage of memory

SHORT_OF_MEMORY: Final = Problem("too_busy", "The server is short of memory.", 10.0)


class Upkeep:
    """Looks after memory and after slices that hang.

    Parameters
    ----------
    memory_limit
        Bytes near which stored answers give way; None for no limit.
    leave_stuck
        Ends the process with a code, when computing hangs beyond hope: what is being computed is to blame.
    leave
        Ends it when fetching does, which is nobody's fault.
    """

    def __init__(
        self,
        cache: Cache[Any],
        variants: Variants,
        batcher: Batcher[Any, Any],
        pools: Pools,
        memory_limit: int | None,
        clock: Callable[[], float],
        leave_stuck: Callable[[int], object],
        leave: Callable[[int], object],
    ) -> None:
        self.memory_limit = memory_limit
        self.pressure = Pressure.NONE
        self._cache = cache
        self._variants = variants
        self._batcher = batcher
        self._pools = pools
        self._clock = clock
        self._leave_stuck = leave_stuck
        self._leave = leave
        self._shrunk_at = self._trimmed_at = -math.inf
        self._computed_at_trim = -1
        self._stuck_since: float | None = None

    def beat(self) -> None:
        """Do all of it; to be called every second."""
        self.look_for_stuck_slices()
        self.look_for_hanging_fetches()
        self.watch_memory()
        self.trim_now_and_then()

    def watch_memory(self) -> None:
        """Make room when memory runs short, and begin nothing new when that is not enough; hits are always served."""
        before, self.pressure = self.pressure, memory.pressure(memory.resident_bytes(), self.memory_limit)
        self._batcher.refusal = SHORT_OF_MEMORY if self.pressure is Pressure.REFUSE else None
        now = self._clock()
        if self.pressure is Pressure.NONE or now - self._shrunk_at < SHRINK_PAUSE_S:
            return
        self._shrunk_at = now
        self._variants.clear()
        self._cache.shrink(self._cache.counts().size // 2)
        self._pools.aside(memory.trim)
        if before is not self.pressure:
            _log.warning("memory is short (%s): stored answers were given up", self.pressure.name.lower())

    def trim_now_and_then(self) -> None:
        """Give back what analyses have freed: the allocator keeps 50 MB of it, and small dynos have 512 MB."""
        now, computed = self._clock(), self._batcher.bisection.keys
        pause = BUSY_TRIM_PAUSE_S if self._batcher.flights else TRIM_PAUSE_S
        if computed == self._computed_at_trim or now - self._trimmed_at < pause:
            return
        self._trimmed_at, self._computed_at_trim = now, computed
        self._pools.aside(memory.trim)

    def look_for_stuck_slices(self) -> None:
        """Give a hanging slice some time, then leave: a thread cannot be killed, but a process can be replaced."""
        if not self._batcher.is_stuck:
            self._stuck_since = None
            return
        now = self._clock()
        if self._stuck_since is None:
            self._stuck_since = now
            with contextlib.suppress(OSError, ValueError, AttributeError):  # standard error may be no real file
                faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
        elif now - self._stuck_since > STUCK_GRACE_S:
            _log.critical("computing hangs; leaving")
            self._leave_stuck(STUCK_EXIT)

    def look_for_hanging_fetches(self) -> None:
        """Leave when every fetch has hung for long: nothing new could be answered, and nobody would notice."""
        if self._batcher.cut_off_s > CUT_OFF_S:
            _log.critical("every fetch hangs; leaving")
            self._leave(STUCK_EXIT)
