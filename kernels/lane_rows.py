"""Rows of lanes: reading, writing and combining numbers that lie LANES apart in one flat array.

The state of a block of lanes is one flat array of rows, `m[row * LANES + lane]`, at offsets known to the compiler: LLVM
then sees that rows do not overlap and vectorises a loop over lanes without run-time checks. These are the words for it.
They also keep compilation short: Numba's time goes by the statement, and here several rows are one statement.
"""

from typing import Final

from kernels._arrays import F64
from kernels._jit import scalar
from kernels.elementary import fma

LANES: Final = 16
"""Lanes in a block. 8, 16 and 32 measured the same; the smaller the block, the less a part-filled one wastes."""

_L: Final = LANES


@scalar
def rows3(m: F64, at: int) -> tuple[float, float, float]:
    """Read three rows."""
    return m[at], m[at + _L], m[at + 2 * _L]


@scalar
def rows4(m: F64, at: int) -> tuple[float, float, float, float]:
    """Read four rows."""
    return m[at], m[at + _L], m[at + 2 * _L], m[at + 3 * _L]


@scalar
def rows5(m: F64, at: int) -> tuple[float, float, float, float, float]:
    """Read five rows."""
    return m[at], m[at + _L], m[at + 2 * _L], m[at + 3 * _L], m[at + 4 * _L]


@scalar
def rows6(m: F64, at: int) -> tuple[float, float, float, float, float, float]:
    """Read six rows."""
    return m[at], m[at + _L], m[at + 2 * _L], m[at + 3 * _L], m[at + 4 * _L], m[at + 5 * _L]


@scalar
def rows9(m: F64, at: int) -> tuple[float, float, float, float, float, float, float, float, float]:
    """Read nine rows."""
    a, b, c = rows3(m, at)
    d, e, f = rows3(m, at + 3 * _L)
    g, h, i = rows3(m, at + 6 * _L)
    return a, b, c, d, e, f, g, h, i


@scalar
def set3(m: F64, at: int, a: float, b: float, c: float) -> None:
    """Write three rows."""
    m[at] = a
    m[at + _L] = b
    m[at + 2 * _L] = c


@scalar
def set4(m: F64, at: int, a: float, b: float, c: float, d: float) -> None:
    """Write four rows."""
    set3(m, at, a, b, c)
    m[at + 3 * _L] = d


@scalar
def set6(m: F64, at: int, a: float, b: float, c: float, d: float, e: float, f: float) -> None:
    """Write six rows."""
    set3(m, at, a, b, c)
    set3(m, at + 3 * _L, d, e, f)


@scalar
def set9(
    m: F64, at: int, a: float, b: float, c: float, d: float, e: float, f: float, g: float, h: float, i: float
) -> None:
    """Write nine rows."""
    set6(m, at, a, b, c, d, e, f)
    set3(m, at + 6 * _L, g, h, i)


@scalar
def product(m: F64, at: int, a: float, b: float, c: float) -> float:
    """Multiply three rows by a vector."""
    return fma(m[at + 2 * _L], c, fma(m[at + _L], b, m[at] * a))


@scalar
def product_down(m: F64, at: int, a: float, b: float, c: float) -> float:
    """Multiply a column of a 3 x 3 table of rows by a vector."""
    return fma(m[at + 6 * _L], c, fma(m[at + 3 * _L], b, m[at] * a))


@scalar
def recur(
    u1: float, u2: float, u3: float, u4: float, t1: float, t2: float, t3: float, y1: float, y2: float, y3: float
) -> tuple[float, float, float, float]:
    """Take four steps of y_t = u_t - t1 y_{t-1} - t2 y_{t-2} - t3 y_{t-3}; y1 is the last value, y3 the oldest."""
    a = fma(-t1, y1, fma(-t2, y2, fma(-t3, y3, u1)))
    b = fma(-t1, a, fma(-t2, y1, fma(-t3, y2, u2)))
    c = fma(-t1, b, fma(-t2, a, fma(-t3, y1, u3)))
    d = fma(-t1, c, fma(-t2, b, fma(-t3, a, u4)))
    return a, b, c, d


@scalar
def gather(
    m: F64, at: int,
    a1: float, a2: float, a3: float, a4: float, b1: float, b2: float, b3: float, b4: float,
) -> None:  # fmt: skip
    """Add four products to a row."""
    m[at] += fma(a4, b4, fma(a3, b3, fma(a2, b2, a1 * b1)))
