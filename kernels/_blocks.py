"""Blocks of lanes: how a batch passes through a kernel's fixed-size scratch.

Rules of this file: a kernel works on blocks of LANES rows in one flat scratch array, column c at `c * LANES`; it
copies a block in, computes on all LANES (also where the batch has ended: old rows or zeros, never looked at), and
copies the rows that exist out. Three things follow. The lane loops have a constant length and no remainder, so a row
gets the same bits whatever the batch size and its place in it. LLVM sees one base pointer and constant distances, so
it needs no run-time alias checks; with 17 separate arrays it gave up and the Greeks were scalar code (71 instead of
20 ns). And columns a multiple of 4 KiB apart, as large arrays are, do not evict each other from the first-level cache
(the price kernel: 62 instead of 14 ns).

Indices are unsigned. A signed index that LLVM cannot prove to be non-negative carries Numba's code for counting from
the end, and a contiguous load becomes a gather: 30 of them in the price kernel.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kernels._arrays import F64
from kernels._jit import scalar

LANES: Final = 64


def columns(first: int, end: int) -> list[np.uint64]:
    """Name the places in the scratch where columns first .. end begin; a lane's index must be uint64 like them."""
    return [np.uint64(column * LANES) for column in range(first, end)]


@scalar
def load(scratch: F64, column: int, source: npt.NDArray[Any], start: int, count: int) -> None:
    """Copy rows start .. start + count of a column of the batch into a column of the scratch."""
    for lane in range(count):
        scratch[np.uint64(column * LANES + lane)] = source[np.uint64(start + lane)]


@scalar
def store(target: npt.NDArray[Any], start: int, count: int, scratch: F64, column: int) -> None:
    """Copy the first `count` lanes of a column of the scratch to rows start .. start + count of the batch."""
    for lane in range(count):
        target[np.uint64(start + lane)] = scratch[np.uint64(column * LANES + lane)]
