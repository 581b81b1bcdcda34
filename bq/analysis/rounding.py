"""Rounding numbers for the wire: once, and never one that is not finite."""

import math

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
    if not math.isfinite(value):
        raise NotFiniteError("a number of the analysis is not finite")
    return round(float(value), digits)


def numbers(values: F64, digits: int = 4) -> list[float]:
    """Round a vector of finite numbers."""
    if not np.isfinite(values).all():
        raise NotFiniteError("a series of the analysis holds numbers that are not finite")
    rounded: list[float] = np.round(values, digits).tolist()
    return rounded
