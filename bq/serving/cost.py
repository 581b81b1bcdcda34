"""What a batch will take: a line through the batches seen lately.

Rules of this file: arithmetic; no clock, no threads, no asyncio.
"""

import math
from typing import Final


class CostLine:
    """Predict the seconds of a batch of n as a + b n, from the batches seen lately.

    Least squares with weights that fade (64 batches), held up by a seed that does not: without variety in n a line
    cannot be fitted, and the first batches are not yet typical. The seed gives the line its direction only, and is
    scaled to the batches seen: or one measured in a bad moment would keep them small, and their costs would keep it.
    The unit of n is an ordinary row; one that is known to be heavier counts as several.

    Parameters
    ----------
    fixed, each
        The seed: seconds a batch, seconds a row.
    """

    FADE: Final = 1.0 - 1.0 / 64.0
    SEED_WEIGHT: Final = 0.1
    SEED_SIZES: Final = (1.0, 32.0)
    LEAST_EACH: Final = 50e-6  # a batch is never cut as if rows were free

    def __init__(self, fixed: float, each: float) -> None:
        self.fixed = fixed
        self.each = each
        self.seed(fixed, each)

    def seed(self, fixed: float, each: float) -> None:
        """Begin anew from a line that was measured (by the warm-up)."""
        self._seed = (fixed, each)
        self._sums = [0.0] * 5
        self._scale = [0.0, 0.0]  # weights and weighted logarithms of what batches took, in terms of the seed
        self.fixed, self.each = fixed, max(each, self.LEAST_EACH)

    def observe(self, size: float, seconds: float) -> None:
        """Learn from a batch."""
        row = (1.0, size, seconds, size * size, size * seconds)
        self._sums = [self.FADE * old + new for old, new in zip(self._sums, row, strict=True)]
        w, x, y, xx, xy = self._sums
        ratio = max(seconds, 1e-9) / max(self._seed[0] + self._seed[1] * size, 1e-9)
        self._scale = [self.FADE * old + new for old, new in zip(self._scale, (1.0, math.log(ratio)), strict=True)]
        scale = math.exp(self._scale[1] / self._scale[0])
        for n in self.SEED_SIZES:
            value = scale * (self._seed[0] + self._seed[1] * n)
            w, x, y = w + self.SEED_WEIGHT, x + self.SEED_WEIGHT * n, y + self.SEED_WEIGHT * value
            xx, xy = xx + self.SEED_WEIGHT * n * n, xy + self.SEED_WEIGHT * n * value
        each = (w * xy - x * y) / (w * xx - x * x)
        self.each = max(each, self.LEAST_EACH)
        self.fixed = max((y - self.each * x) / w, 0.0)

    def predict(self, size: float) -> float:
        """Seconds that a batch of `size` will take."""
        return self.fixed + self.each * size if size else 0.0

    def size_within(self, seconds: float) -> int:
        """Cut a batch: as many rows as fit into so many seconds, but enough to be worth the batch's fixed cost.

        Where the fixed cost is more than a fifth, the batch may take up to four times as long, or four times its fixed
        cost where that alone is longer: batches of one row would take it again and again and let the queue grow.
        """
        fitting = (seconds - self.fixed) / self.each
        longest = 4.0 * max(seconds, self.fixed)
        worthwhile = min(4.0 * self.fixed, longest - self.fixed) / self.each
        return max(int(fitting), int(worthwhile), 1)
