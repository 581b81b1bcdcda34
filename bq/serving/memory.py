"""How much memory this process takes, and how much it may.

Rules of this file: reading from the system; what to do about it is `service.py`'s.
"""

import ctypes
import enum
import os
from pathlib import Path
from typing import Final

SHRINK_AT: Final = 0.8
"""Share of the limit from which on stored answers give way."""

REFUSE_AT: Final = 0.9
"""Share of the limit from which on nothing new is begun: better to say so than to be killed."""

LARGE: Final = 1 << 20
"""Bytes from which on a piece of memory is given back when it is freed. glibc raises this by itself to 32 MiB, after
which the arrays of an analysis leave holes in heaps that only grow."""

ARENAS: Final = 4
"""Heaps for all threads; glibc takes eight a core, and each keeps what it once needed."""

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h

_CGROUP_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Pressure(enum.IntEnum):
    """How near the limit is."""

    NONE = 0
    SHRINK = 1
    REFUSE = 2


def limit_bytes(setting_mib: int) -> int | None:
    """Give the limit: the setting, else the container's, else None."""
    if setting_mib:
        return setting_mib << 20
    for path in _CGROUP_LIMITS:
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < 1 << 50:  # "max", or nearly 2^63, says that there is none
            return int(text)
    return None


def resident_bytes() -> int:
    """Give the resident memory of this process (Linux); 0 where it cannot be told."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0


def pressure(resident: int, limit: int | None) -> Pressure:
    """Judge the resident memory against the limit."""
    if limit is None or resident < SHRINK_AT * limit:
        return Pressure.NONE
    return Pressure.SHRINK if resident < REFUSE_AT * limit else Pressure.REFUSE


def settle_allocator() -> None:
    """Have the C library keep less of what is freed (glibc; nothing elsewhere): to be called before threads begin."""
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    if tune is not None:
        tune(_M_MMAP_THRESHOLD, LARGE)
        tune(_M_ARENA_MAX, ARENAS)


def trim() -> None:
    """Have the C library give freed pages back to the system (glibc; nothing elsewhere)."""
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back is not None:
        give_back(0)
