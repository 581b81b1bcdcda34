"""The best of many butterflies: a pool that keeps them, in what order they are listed, and which form the Pareto front.

Most candidates of a scan are worse than the worst that is kept, and a threshold refuses them; the others are appended,
and when twice as many as asked for have come together, the worse half is cut off. A heap with the worst on top moved
six numbers at each of eight levels for every candidate that entered: it took a third of a scan.
"""

from typing import Final

from kernels._arrays import F64, I64
from kernels._jit import helper, scalar

# Columns of a kept butterfly: lower, middle and upper strike (columns of the table), score, probability; then, of all
# kept at the end, half spreads and what the score is divided by, both over the maximum loss.
SCORE: Final = 3
POP: Final = 4
SPREAD: Final = 5
RISK: Final = 6
KEPT: Final = 7
_GAPS: Final = (701, 301, 132, 57, 23, 10, 4, 1)  # Ciura 2001


@scalar
def _largest(values: F64, size: int, rank: int) -> float:
    """Find the value of that rank, 0 the largest, among the first `size`, which change places (Hoare 1961)."""
    left, right = 0, size - 1
    while left < right:
        low, mid, high = values[left], values[(left + right) // 2], values[right]
        pivot = max(min(low, mid), min(max(low, mid), high))
        i, j = left, right
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if rank <= j:
            right = j
        elif rank >= i:
            left = i
        else:
            break
    return values[rank]


@helper
def cut(pool: F64, size: int, keep: int, work: F64) -> int:
    """Keep the best by score, of equals the earlier, in the order they came; returns how many are left."""
    if size <= keep:
        return size
    for i in range(size):
        work[i] = pool[i, SCORE]
    least = _largest(work, size, keep - 1)
    equals = keep
    for i in range(size):
        equals -= pool[i, SCORE] > least
    place = 0
    for i in range(size):
        if pool[i, SCORE] < least or (pool[i, SCORE] == least and equals == 0):
            continue
        equals -= pool[i, SCORE] == least
        for j in range(KEPT):
            pool[place, j] = pool[i, j]
        place += 1
    return place


@scalar
def _before(pool: F64, i: int, j: int) -> bool:
    """Say whether one is listed before another: by score, then probability, spread and risk, then by strikes."""
    if pool[i, SCORE] != pool[j, SCORE]:
        return pool[i, SCORE] > pool[j, SCORE]
    if pool[i, POP] != pool[j, POP]:
        return pool[i, POP] > pool[j, POP]
    for column in (SPREAD, RISK, 1, 2, 0):
        if pool[i, column] != pool[j, column]:
            return pool[i, column] < pool[j, column]
    return False


@helper
def order_of(pool: F64, size: int, order: I64) -> None:
    """List the kept ones, best first (Shell 1959): `order` is filled with their rows."""
    for i in range(size):
        order[i] = i
    for gap in _GAPS:
        for i in range(gap, size):
            row, place = order[i], i
            while place >= gap and _before(pool, row, order[place - gap]):
                order[place] = order[place - gap]
                place -= gap
            order[place] = row


@helper
def front_of(pool: F64, order: I64, size: int, front: I64) -> int:
    """Fill `front` with the rows that no other equals or beats in score, probability, spread and risk; their number.

    In the order of the list only an earlier one can.
    """
    members = 0
    for place in range(size):
        i = order[place]
        beaten = False
        for k in range(members):
            j = front[k]
            if pool[j, POP] >= pool[i, POP] and pool[j, SPREAD] <= pool[i, SPREAD] and pool[j, RISK] <= pool[i, RISK]:
                beaten = True
                break
        if not beaten:
            front[members] = i
            members += 1
    return members


@scalar
def insert(kept: F64, size: int, a: int, b: int, c: int, value: float) -> int:
    """Insert into a list sorted by value, largest first, earlier ones first among equals; returns its size."""
    if kept.shape[0] == 0 or (size == kept.shape[0] and not value > kept[size - 1, SCORE]):
        return size
    place = min(size, kept.shape[0] - 1)
    size = place + 1
    while place > 0 and value > kept[place - 1, SCORE]:
        for j in range(SCORE + 1):
            kept[place, j] = kept[place - 1, j]
        place -= 1
    kept[place, 0], kept[place, 1], kept[place, 2], kept[place, SCORE] = a, b, c, value
    return size
