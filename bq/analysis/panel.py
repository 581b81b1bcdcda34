"""Ragged data to arrays: the last so-many closes of each ticker, left-aligned, with their lengths."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bq.market.source import F64, Snapshot

ARIMA_CLOSES = 120
RETURNS = 504
LEAST_RETURNS = 250


class Panel(NamedTuple):
    """The series of a batch; row i belongs to snapshot i. What lies beyond a length is NaN."""

    log_close: F64  # (n, 120) natural logarithms of the adjusted closes
    log_close_length: np.ndarray
    returns: F64  # (n, 504) log returns in per cent
    returns_length: np.ndarray
    long_log_close: F64  # (n, 505) what the returns are the differences of


def stack(rows: Sequence[F64], width: int) -> tuple[F64, np.ndarray]:
    """Put the last `width` values of each row into one array, left-aligned, padded with NaN."""
    out = np.full((len(rows), width), np.nan)
    lengths = np.zeros(len(rows), dtype=np.int64)
    for i, row in enumerate(rows):
        tail = row[-width:]
        out[i, : tail.size] = tail
        lengths[i] = tail.size
    return out, lengths


def last(values: F64, lengths: npt.NDArray[np.int64], count: int) -> F64:
    """Take the last `count` values of left-aligned rows, each at least as long: (n, count)."""
    return values[np.arange(len(values))[:, None], lengths[:, None] + np.arange(-count, 0)]


def build(snapshots: Sequence[Snapshot]) -> Panel:
    """Stack a batch of snapshots."""
    logs = [np.log(s.bars.model_close) for s in snapshots]
    log_close, log_close_length = stack(logs, ARIMA_CLOSES)
    long_log_close, long_length = stack(logs, RETURNS + 1)
    returns = 100.0 * np.diff(long_log_close, axis=1)
    return Panel(log_close, log_close_length, returns, np.maximum(long_length - 1, 0), long_log_close)
