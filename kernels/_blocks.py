"""Blocks of lanes: how a batch passes through a kernel's fixed-size scratch.

Rules of this file: a kernel works on blocks of LANES rows. It reads its inputs where they are, keeps what it computes
in one flat scratch on its stack, column c at `c * LANES`, and copies results out column by column. A block that the
batch does not fill is copied to arrays of LANES rows first and goes through the same code. Three things follow. The
lane loops have a constant length and no remainder, so a row gets the same bits whatever the batch size and its place
in it. LLVM sees one base pointer at constant distances, of memory that nothing else points to, so it needs no run-time
alias checks; with 17 separate arrays it gave up and the Greeks were scalar code (71 instead of 20 ns). And results a
multiple of 4 KiB apart, as large arrays are, do not evict each other from the first-level cache (62 instead of 14 ns a
price when each row was written to all of them). Copying the inputs into the scratch as well cost 10 % of a price.

Indices are unsigned. A signed index that LLVM cannot prove to be non-negative carries Numba's code for counting from
the end, and a contiguous load becomes a gather: 30 of them in the price kernel.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels._arrays import F64
from kernels._jit import scalar

LANES: Final = 64
_VECTOR: Final = 8  # float64 of a load or store; the compiler makes two of it where the registers are half as wide


def columns(first: int, end: int) -> list[np.uint64]:
    """Name the places in the scratch where columns first .. end begin; a lane's index must be uint64 like them."""
    return [np.uint64(column * LANES) for column in range(first, end)]


@intrinsic(prefer_literal=True)
def stack(_typing: Any, size: Any) -> Any:
    """Reserve `size` float64, a constant, on the stack of the calling function; not initialised.

    Make an array of it where it is called, `carray(stack(n), n)`: the pointer must not outlive the call.
    """

    def generate(_context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
        place = cgutils.alloca_once(builder, ir.ArrayType(ir.DoubleType(), size.literal_value))
        place.align = 64
        return builder.bitcast(place, ir.DoubleType().as_pointer())

    return types.CPointer(types.float64)(size), generate


@scalar
def fill(target: npt.NDArray[Any], source: npt.NDArray[Any], start: int) -> None:
    """Copy the rows of a column of the batch from `start` on to the beginning of a block of its own."""
    for row in range(start, source.size):
        target[np.uint64(row - start)] = source[np.uint64(row)]


@scalar
def load(scratch: F64, column: int, source: npt.NDArray[Any], start: int, count: int) -> None:
    """Copy rows start .. start + count of a column of the batch into a column of the scratch."""
    for lane in range(count):
        scratch[np.uint64(column * LANES + lane)] = source[np.uint64(start + lane)]


@intrinsic
def store_block(_typing: Any, target: Any, _first: Any, scratch: Any, _column: Any) -> Any:
    """Copy a column of the scratch to LANES float64 of a contiguous array, from its flat index `first` on (uint64s).

    Written as a loop it is unrolled before LLVM looks for vectors, and then copied one number at a time: 64 loads and
    64 stores a column, an eighth of the time of the Greeks.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        goal, source = (
            builder.gep(context.make_array(kind)(context, builder, array).data, [index])
            for kind, array, index in (
                (target, args[0], args[1]),
                (scratch, args[2], builder.mul(args[3], ir.IntType(64)(LANES))),
            )
        )
        pointer = ir.VectorType(ir.DoubleType(), _VECTOR).as_pointer()
        for lane in range(0, LANES, _VECTOR):
            offset = [ir.IntType(64)(lane)]
            vector = builder.load(builder.bitcast(builder.gep(source, offset), pointer), align=8)
            builder.store(vector, builder.bitcast(builder.gep(goal, offset), pointer), align=8)
        return context.get_dummy_value()

    if not all(a.layout == "C" and a.dtype == types.float64 for a in (target, scratch)):
        return None
    return types.none(target, types.uint64, scratch, types.uint64), generate


@scalar
def store(target: npt.NDArray[Any], start: int, count: int, scratch: F64, column: int) -> None:
    """Copy the first `count` lanes of a column of the scratch to rows start .. start + count of the batch."""
    for lane in range(count):
        target[np.uint64(start + lane)] = scratch[np.uint64(column * LANES + lane)]


@scalar
def spill(target: npt.NDArray[Any], start: int, block: npt.NDArray[Any]) -> None:
    """Copy from a block of its own to the last rows of the batch, from `start` on."""
    for row in range(start, target.size):
        target[np.uint64(row)] = block[np.uint64(row - start)]
