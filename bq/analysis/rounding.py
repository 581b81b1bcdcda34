"""Rounding numbers for the wire: once, and never one that is not finite.

A number by itself costs as much as thirty in an array, so what many tickers have is rounded for a whole batch and cut.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np

from bq.market.source import F64, Bool

T = TypeVar("T")
Row: TypeAlias = list[Any] | None
"""The rounded numbers of one row of a batch; None where one of them is not finite."""


class NotFiniteError(ArithmeticError):
    """A number of an analysis is missing: a defect, reported as such and never papered over."""


def number(value: float, digits: int = 6) -> float:
    """Round a finite number.

    Raises
    ------
    NotFiniteError
        If it is NaN or infinite.
    """
    rounded = round(float(value), digits)
    if rounded - rounded != 0.0:  # of NaN and of infinity it is NaN
        raise NotFiniteError("a number of the analysis is not finite")
    return rounded


def numbers(values: F64, digits: int = 4) -> list[Any]:
    """Round finite numbers: a vector to a list, rows of several to a list of lists."""
    if not np.isfinite(values).all():
        raise NotFiniteError("a series of the analysis holds numbers that are not finite")
    rounded: list[Any] = np.round(values, digits).tolist()
    return rounded


def rows(values: F64, digits: int = 4) -> list[Row]:
    """Round the rows of a batch, (n, ...): lists, None for a row that is not finite; `known` asks for it."""
    found: list[Row] = np.round(values, digits).tolist()
    finite = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    for i in np.flatnonzero(~finite).tolist():
        found[i] = None
    return found


def cut(values: F64, inside: Bool, digits: int = 4) -> list[Row]:
    """Round those numbers of each row of a batch that lie inside, both (n, m); None where one is not finite."""
    held = values[inside]
    flat = np.round(held, digits).tolist()
    ends = inside.sum(axis=1).cumsum().tolist()
    found: list[Row] = [flat[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    if not np.isfinite(held).all():
        for i in np.flatnonzero((inside & ~np.isfinite(values)).any(axis=1)).tolist():
            found[i] = None
    return found


def table(values: Sequence[Sequence[float | None]], digits: Sequence[int]) -> list[Row]:
    """Round the rows of a table, each column to its digits.

    A None stays one; a row with a number that is not finite is None, and `known` tells.
    """
    if not values:
        return []
    array = np.array(values, dtype=np.float64)
    places = np.array(digits)
    for own in set(digits):
        array[:, places == own] = np.round(array[:, places == own], own)
    found: list[Row] = array.tolist()
    missing = (~np.isfinite(array)).sum(axis=1)
    for i in np.flatnonzero(missing).tolist():
        absent = [j for j, value in enumerate(values[i]) if value is None]
        if len(absent) < missing[i]:
            found[i] = None
            continue
        for j in absent:
            found[i][j] = None  # type: ignore[index]
    return found


def known(written: T | None) -> T:
    """Take what was written of one ticker together with others.

    Raises
    ------
    NotFiniteError
        If it is None: a number of it is not finite.
    """
    if written is None:
        raise NotFiniteError("a number of the analysis is not finite")
    return written
