"""Which shares move together: clusters of correlated returns, so that a list need not be one bet twenty times.

Rules of this file: closes in, labels out. It stands in for sectors, for which there is no source; see
docs/decisions/0020-clusters-for-sectors.md for why, and for the threshold.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from bq.market.source import F64

TOGETHER: Final = 0.6
"""Mean correlation from which clusters are merged."""
LEAST: Final = 60
"""Common returns that two names need for a correlation: its standard error is then at most 0.13."""


def clusters(closes: Sequence[Mapping[str, float]]) -> npt.NDArray[np.int64]:
    """Label each name with its cluster.

    Parameters
    ----------
    closes : sequence of mappings
        Date to close, of each name in the order of importance; any text will do for a date that sorts within a year
        or not: they are matched, and taken in the order of the first mapping.

    Returns
    -------
    (n,) int64
        From 1 on, in the order of first appearance. A name with too few common returns is a cluster of its own.
    """
    from scipy.cluster import hierarchy  # only when a scan ends

    n = len(closes)
    if n < 2:
        return np.ones(n, np.int64)
    returns = _returns(closes)
    distance = 1.0 - _correlations(returns)
    tree = hierarchy.average(distance[np.triu_indices(n, 1)])
    labels = hierarchy.fcluster(tree, 1.0 - TOGETHER, criterion="distance")
    order: dict[int, int] = {}
    return np.array([order.setdefault(int(label), len(order) + 1) for label in labels], np.int64)


def _returns(closes: Sequence[Mapping[str, float]]) -> F64:
    """Align by date: (n, days) log returns, NaN where a name lacks either close."""
    longest = max(closes, key=len)
    days = list(longest)
    levels = np.array([[one.get(day, np.nan) for day in days] for one in closes], np.float64)
    levels[~(levels > 0.0)] = np.nan
    return np.diff(np.log(levels), axis=1)


def _correlations(returns: F64) -> F64:
    """Correlate pairwise over common days; 0 where there are too few of them, or nothing moves."""
    known = np.isfinite(returns)
    x = np.where(known, returns, 0.0)
    k = known.astype(np.float64)
    count = k @ k.T
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (x @ k.T) / count  # of the first over the days of both
        cross = (x @ x.T) / count - mean * mean.T
        spread = (x**2 @ k.T) / count - mean**2
        correlation = cross / np.sqrt(spread * spread.T)
    correlation = np.where((count >= LEAST) & np.isfinite(correlation), correlation, 0.0)
    np.fill_diagonal(correlation, 1.0)
    return np.clip(correlation, -1.0, 1.0)
