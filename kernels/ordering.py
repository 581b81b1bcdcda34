"""Sorting the rows of a batch: samples of returns, thousands of numbers each, of which many functions want the order.

A radix sort by the leading 33 bits, then an insertion sort of what is nearly in order: 4,096 normal numbers take 52 us,
165 with `numpy.sort`, which compares; 1,000 take 15 and 23, 300 take 8 and 4. Slow (quadratic) where many numbers agree
in those bits but not in all, which is to 5e-7 of their size: returns do not.
"""

import numpy as np
import numpy.typing as npt

from kernels._arrays import F64, I64, series
from kernels._jit import helper, kernel

_DIGITS = 3
_SIZE = 2048  # of a digit, 11 bits
_MASK = np.uint64(_SIZE - 1)
_SHIFTS = np.array([31, 42, 53], dtype=np.uint64)
_SIGN = np.uint64(1 << 63)
_ALL = np.uint64((1 << 64) - 1)
_SHORT = 64  # below which insertion alone is faster


@helper
def _insert(row: F64, n: int) -> None:
    for i in range(1, n):
        x = row[i]
        if row[i - 1] > x:
            j = i - 1
            while j >= 0 and row[j] > x:
                row[j + 1] = row[j]
                j -= 1
            row[j + 1] = x


@kernel("void(float64[:, ::1], int64[::1], uint64[::1])", fast=frozenset())
def _sort(rows: F64, lengths: I64, shifts: npt.NDArray[np.uint64]) -> None:
    width = rows.shape[1]
    keys = np.empty((2, width), np.uint64)
    counts = np.empty((_DIGITS, _SIZE), np.int64)
    for r in range(lengths.size):
        n = lengths[r]
        row = rows[r]
        if n < _SHORT:
            _insert(row, n)
            continue
        bits = row.view(np.uint64)
        counts[:] = 0
        for i in range(n):
            x = bits[i]
            # Ascending floats become ascending integers: negative ones turned around, positive ones above them.
            x = x ^ _ALL if x & _SIGN else x | _SIGN
            keys[0, i] = x
            for d in range(_DIGITS):
                counts[d, (x >> shifts[d]) & _MASK] += 1
        at = 0
        for d in range(_DIGITS):
            total = 0
            for k in range(_SIZE):
                count = counts[d, k]
                counts[d, k] = total
                total += count
            for i in range(n):
                x = keys[at, i]
                digit = (x >> shifts[d]) & _MASK
                keys[1 - at, counts[d, digit]] = x
                counts[d, digit] += 1
            at = 1 - at
        for i in range(n):
            x = keys[at, i]
            bits[i] = x ^ _SIGN if x & _SIGN else x ^ _ALL
        _insert(row, n)


def sorted_rows(values: F64, lengths: npt.ArrayLike | None = None) -> F64:
    """Sort each row, in a copy.

    Parameters
    ----------
    values : (n, t) float64
        Without NaN within the lengths.
    lengths : (n,) int64, optional
        Of the rows; what lies beyond stays as it is. All t when None.

    Returns
    -------
    (n, t) float64
        As `numpy.sort` would; in which order zeros of either sign come is not told.

    Raises
    ------
    ValueError
        If the shapes do not fit or a length is not a whole number of 0 to t.
    """
    given, size = series(values, lengths)
    rows = given.copy()
    _sort(rows, size, _SHIFTS)
    return rows
