"""The probability of a profit, and the limits that a search sets to it, as limits of the break-evens' distance."""

import math
from typing import Final

from kernels._arrays import F64
from kernels._jit import helper, scalar
from kernels.butterfly_lanes import DISCOUNT, GRID_LOW, PER_STEP, POP_FROM, POP_HIGH, POP_LOW, STRIDE

BAND: Final = 1.0 / 16.0  # of a step of the grid: what a limit of a distance may be off


@scalar
def least_between(low: float, high: float, terms: F64, cells: F64, measures: int) -> float:
    """Find the least probability, among the measures, of a price between these (or infinity); linear in cells."""
    size = cells.size // measures
    last = size - 5.000001  # the cell before the last point, whatever the rounding
    x0, ih = terms[GRID_LOW], terms[PER_STEP]
    first = min(max((low - x0) * ih, 0.0), last) + 2.0 if low > -math.inf else 0.0
    second = min(max((high - x0) * ih, 0.0), last) + 2.0 if high < math.inf else last + 4.0
    left, right = int(first), int(second)
    left_share, right_share = first - left, second - right
    least = math.inf
    for _ in range(measures):
        from_left, from_right = cells[left], cells[right]
        below = from_left + left_share * (cells[left + 1] - from_left)
        above = from_right + right_share * (cells[right + 1] - from_right)
        least = min(least, max(above - below, 0.0))
        left, right = left + size, right + size
    return least


@scalar
def probability(t: F64, a: int, b: int, c: int, cost: float, terms: F64, cells: F64, measures: int) -> float:
    """Find the least probability of a profit among the measures."""
    k1, k2, k3 = t[a], t[b], t[c]
    tail = (k3 - k2) - (k2 - k1)
    x = cost * (1.0 / terms[DISCOUNT])
    low = k1 + (x - tail) if x > tail else -math.inf
    high = k3 - x if x > 0.0 else math.inf
    return least_between(low, high, terms, cells, measures)


@helper
def crossing(
    below: float, above: float, target: float, terms: F64, cells: F64, measures: int, low: float, high: float
) -> float:
    """Find the distance from `below` (downwards) and `above` (upwards) at which the probability reaches a target.

    By bisection between two distances; -inf where it is reached at the less, inf where not at the greater. An infinite
    end stays.
    """
    if least_between(below - low, above + low, terms, cells, measures) >= target:
        return -math.inf
    if not least_between(below - high, above + high, terms, cells, measures) >= target:
        return math.inf
    while (high - low) * terms[PER_STEP] > 2.0 * BAND:
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break  # of a grid finer than the rounding of prices
        if least_between(below - middle, above + middle, terms, cells, measures) >= target:
            high = middle
        else:
            low = middle
    return 0.5 * (low + high)


@helper
def limit(t: F64, n: int, terms: F64, cells: F64, measures: int, ends: F64) -> None:
    """Turn the limits of the probability of profit into limits of the break-evens' distance from the middle strike.

    Both break-evens lie K3 - K2 - x away from it, x being the cost at expiry, so that the probability rises with that
    distance. Where there is no lower one, or no upper one, a price that the other must reach is all there is:
    ends[0], ends[1] and ends[2], ends[3]. ends[4] is by how much all these may be off.
    """
    span = (cells.size // measures - 5) / terms[PER_STEP]
    first, last = terms[GRID_LOW], terms[GRID_LOW] + span
    for place in range(2):
        target = terms[POP_LOW] if place == 0 else math.nextafter(terms[POP_HIGH], math.inf)
        found = math.inf
        for b in range(n):
            # A middle that is moved moves the distance by no more.
            by = t[b] - t[b - 1] if b > 0 else math.inf
            known = abs(found) < math.inf and by < math.inf
            begin, end = (max(found - by - ends[4], 0.0), found + by + ends[4]) if known else (0.0, span)
            found = crossing(t[b], t[b], target, terms, cells, measures, begin, end)
            if known and abs(found) == math.inf:
                found = crossing(t[b], t[b], target, terms, cells, measures, 0.0, span)
            t[(POP_FROM + place) * STRIDE + b] = found
        ends[place] = first + crossing(-math.inf, first, target, terms, cells, measures, 0.0, span)
        ends[2 + place] = last - crossing(last, math.inf, target, terms, cells, measures, 0.0, span)
