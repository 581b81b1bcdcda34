"""Whether a history can carry a claim: one with a split in it, or a price that stood still, makes any volatility.

What is found at the door is counted whatever comes of it. Here it is decided what it forbids: a feed that repeated its
last price for a month halves the forecast volatility, and then every butterfly sold looks cheap.
"""

import math
from typing import Final

from bq.market.quality import ChainQuality
from bq.market.source import Snapshot

UNSOUND: Final = frozenset(
    {
        "bars_split_like_jump",
        "bars_constant_stretch",
        "bars_not_positive",
        "bars_unsorted",
        "bars_duplicate",
        "bars_live_last",
    }
)
"""Defects of bars under which no edge is claimed: they move the forecast itself."""
APART: Final = 0.3  # log distance of the spot from the last close that no usual day explains


def closes_apart(snapshot: Snapshot, spot: float) -> bool:
    """Tell whether the spot is too far from the last close to be of the same share, as before and after a split."""
    return abs(math.log(spot / float(snapshot.bars.close[-1]))) > APART


def is_sound(snapshot: Snapshot, quality: ChainQuality, spot: float) -> bool:
    """Tell whether an edge may be claimed on a history, its defects and the price in force known."""
    return not closes_apart(snapshot, spot) and not any(r.code in UNSOUND for r in quality.reasons)
