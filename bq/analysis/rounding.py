"""Rounding numbers for the wire: once, and never one that is not finite."""

from typing import Any

import numpy as np

from bq.market.source import F64


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
