"""Ranks, and how far they can be trusted.

Rules of this file: numbers in, numbers out. Equal scores share a rank. The interval of a rank comes from drawing every
score again within its own interval (Goldstein & Spiegelhalter 1996 rank institutions so): errors of different tickers
are taken as independent.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bq.market.source import F64

I64 = npt.NDArray[np.int64]

DRAWS: Final = 1000
LEVELS: Final = (0.025, 0.975)
NORMAL: Final = 1.959963984540054  # of which 95 % lie within


class Ranked(NamedTuple):
    """Ranks of some scores, in their order: 1 is the best."""

    rank: I64
    low: I64 | None
    """Ends of the 95 % interval, the better one first; None when the error of some score is not known."""
    high: I64 | None
    tier: I64 | None
    """Tier 1 cannot be told apart from the best score, tier 2 not from the best below tier 1, and so on."""


def rank(scores: F64) -> I64:
    """Count the better scores, and one more.

    Examples
    --------
    >>> rank(np.array([50.0, 70.0, 50.0, 10.0])).tolist()
    [2, 1, 2, 4]
    """
    ascending = np.sort(scores)
    better: I64 = scores.size - np.searchsorted(ascending, scores, side="right")
    return better + 1


def ranked(scores: F64, low: F64, high: F64, seed: int) -> Ranked:
    """Rank scores and find how far their order can be trusted.

    Parameters
    ----------
    scores, low, high : (n,) float64
        Points, and the ends of their 95 % intervals, which hold them; NaN where those are not known.
    seed : int
        Of the draws: the same scores and seed give the same intervals.
    """
    own = rank(scores)
    if scores.size == 0 or np.isnan(low).any() or np.isnan(high).any():
        return Ranked(own, None, None, None)
    below, above = (scores - low) / NORMAL, (high - scores) / NORMAL
    rng = np.random.default_rng(seed)
    drawn = np.empty((DRAWS, scores.size), np.int64)
    for i in range(DRAWS):
        z = rng.standard_normal(scores.size)
        # A split normal: an interval that ends at 0 or 100 is not the same on both sides.
        drawn[i] = rank(scores + z * np.where(z < 0.0, below, above))
    first, last = np.quantile(drawn, LEVELS, axis=0, method="inverted_cdf")
    return Ranked(own, np.minimum(first, own), np.maximum(last, own), _tiers(scores, below, above))


def _tiers(scores: F64, below: F64, above: F64) -> I64:
    """Walk down from the best: a tier ends at the first score that differs from its best by more than their errors."""
    tier = np.empty(scores.size, np.int64)
    current, best = 0, -1
    for i in np.lexsort((np.arange(scores.size), -scores)):
        if current == 0 or scores[best] - scores[i] > NORMAL * np.hypot(below[best], above[i]):
            current, best = current + 1, int(i)
        tier[i] = current
    return tier
