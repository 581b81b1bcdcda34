"""The moving-block bootstrap of a mean (Künsch 1989, Annals of Statistics 17), with the generator of `simulate`."""

import numpy as np
import numpy.typing as npt

from kernels._arrays import F64
from kernels._jit import kernel
from kernels.simulate import draw, stream


@kernel("void(float64[::1], int64, uint64, float64[::1])", fast=frozenset())
def _block_means(values: F64, block: int, seed: int, out: F64) -> None:
    n = values.size
    sums = np.empty(n + 1)
    sums[0] = 0.0
    for i in range(n):
        sums[i + 1] = sums[i] + values[i]
    blocks, count = np.uint64(n - block + 1), max(n // block, 1)
    key = stream(np.uint64(seed))
    for j in range(out.size):
        total = 0.0
        for k in range(count):
            bits = draw(key, np.uint64(j), np.uint64(k)) >> np.uint64(32)
            start = np.int64((bits * blocks) >> np.uint64(32))
            total += sums[start + block] - sums[start]
        out[j] = total / (count * block)


def block_means(values: npt.ArrayLike, block: int, seed: int, draws: int) -> F64:
    """Resample the mean of serially dependent values by moving blocks.

    Parameters
    ----------
    values : (n,) float64
        At least one, in time order; fewer than 2**31.
    block : int
        Length of a block, cut to 1..n: as long as the dependence.
    seed : int
        0 to 2**64 - 1.
    draws : int
        How many means.

    Returns
    -------
    (draws,) float64
        The same for the same values, block and seed, however many draws follow.

    Raises
    ------
    ValueError
        Without values.

    Examples
    --------
    >>> block_means([1.0, 1.0, 1.0, 1.0], 2, seed=7, draws=3).tolist()
    [1.0, 1.0, 1.0]
    """
    array = np.require(np.asarray(values, dtype=np.float64).ravel(), requirements=["C", "W"])
    if array.size == 0:
        raise ValueError("no values to resample")
    out = np.empty(draws)
    _block_means(array, max(1, min(int(block), array.size)), seed, out)
    return out
