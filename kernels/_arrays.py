"""The coercion at the kernels' doors: whatever a caller has, as C-contiguous arrays of the agreed types and shapes."""

from collections.abc import Sequence
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

F64: TypeAlias = npt.NDArray[np.float64]
I64: TypeAlias = npt.NDArray[np.int64]
I8: TypeAlias = npt.NDArray[np.int8]
Bool: TypeAlias = npt.NDArray[np.bool_]

_FLOAT = np.dtype(np.float64)
_BOOL = np.dtype(np.bool_)


def _aligned(arrays: list[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """Give all arrays one length, contiguous and writable: as they are where they are so, as copies elsewhere.

    Compiled code takes writable arrays only, and pandas hands out read-only ones.
    """
    length = 1
    for array in arrays:
        if array.ndim > 1:
            raise ValueError(f"expected scalars or vectors, got shape {array.shape}")
        if array.ndim and array.size != 1 != length and array.size != length:
            raise ValueError(f"lengths do not fit: {sorted({a.size for a in arrays})}")
        length = array.size if array.size != 1 else length
    out = []
    for array in arrays:
        if array.shape != (length,) or not array.flags.carray:
            copy = np.empty(length, array.dtype)
            copy[:] = array
            array = copy
        out.append(array)
    return out


def _floats(values: npt.ArrayLike) -> F64:
    """Convert real numbers to float64; numpy would read strings and dates as numbers, and drop imaginary parts."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiubO":
        raise ValueError(f"expected real numbers, got {array.dtype}")
    # Objects once more, from what they came in: pandas turns its missing values into NaN.
    return np.asarray(values if array.dtype.kind == "O" else array, dtype=np.float64)


def _fit(columns: tuple[npt.ArrayLike, ...], shape: tuple[int, ...]) -> TypeGuard[tuple[F64, ...]]:
    """Tell whether all are vectors of this shape that compiled code takes as they are.

    Asked first: `np.broadcast_arrays` and `np.require` took 15 us a batch of 4,096 options, as long as it takes to
    price 1,200 of them, `_aligned` 10, this 2. So it is a guard: the answer needs no `cast`, which took a quarter more.
    """
    for c in columns:
        if type(c) is not np.ndarray or c.dtype is not _FLOAT or c.shape != shape or not c.flags.carray:
            return False
    return len(shape) == 1


def rows(*columns: npt.ArrayLike) -> Sequence[F64]:
    """Broadcast scalars and vectors against each other to contiguous float64 vectors of one length.

    Raises
    ------
    ValueError
        If the shapes do not fit, an input has more than one dimension or is not of real numbers.
    """
    if _fit(columns, np.shape(columns[0])):
        return columns
    return _aligned([_floats(c) for c in columns])


def option_rows(is_call: npt.ArrayLike, *columns: npt.ArrayLike) -> tuple[Bool, Sequence[F64]]:
    """Broadcast an option batch: `is_call` to bool, everything else to float64, all of one length.

    Raises
    ------
    ValueError
        If the shapes do not fit, an input has more than one dimension or is not of real numbers, or `is_call` is
        neither true nor false.
    """
    if (
        type(is_call) is np.ndarray  # before any conversion: with it this took twice as long
        and is_call.dtype is _BOOL
        and is_call.flags.carray
        and _fit(columns, is_call.shape)
    ):
        return is_call, columns
    flag = np.asarray(is_call)
    if flag.dtype != np.bool_ and (flag.dtype.kind not in "iuf" or not np.isin(flag, (0, 1)).all()):
        raise ValueError("is_call must be boolean")
    call, *rest = _aligned([flag.astype(np.bool_, copy=False), *map(_floats, columns)])
    return call, rest


def series(values: npt.ArrayLike, lengths: npt.ArrayLike | None) -> tuple[F64, I64]:
    """Coerce left-aligned series to (n, t) float64 and their lengths to (n,) int64 (all t when None).

    Raises
    ------
    ValueError
        If values are not one- or two-dimensional or no real numbers, or lengths do not fit, are not whole numbers or
        lie outside 0..t.
    """
    if type(values) is np.ndarray and values.dtype is _FLOAT and values.ndim == 2 and values.flags.carray:
        array = values  # as most come: one series at a time, the door costs as much as what is behind it
    else:
        array = np.require(np.atleast_2d(_floats(values)), requirements=["C", "W"])
    if array.ndim != 2:
        raise ValueError(f"expected series of shape (n, t), got {array.shape}")
    n, t = array.shape
    if lengths is None:
        return array, np.full(n, t)
    given = np.asarray(lengths)
    if given.shape not in ((n,), (1,), ()):
        raise ValueError(f"expected {n} lengths, got shape {given.shape}")
    if given.dtype.kind not in "iu":  # as pandas has them beside missing values; n of 0 may be an empty list
        given = _floats(given)
        if not (given == np.floor(given)).all():
            raise ValueError("lengths must be whole numbers")
    if given.size and not (given.min() >= 0 and given.max() <= t):
        raise ValueError(f"lengths must lie in 0..{t}")
    size = np.empty(n, np.int64)
    size[:] = given
    return array, size
