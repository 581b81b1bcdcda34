"""What is computed for the lanes of a chunk, one lower strike each: prices, expectations, sums.

See `kernels.butterfly_scan` for the rules. Here are also the names of the columns of everything that the scan works on.
"""

import math
from typing import Final

import numpy as np

from kernels._arrays import F64
from kernels._jit import scalar

MAX_STRIKES: Final = 512
STRIDE: Final = 520  # not a power of two, or the columns evict each other from the first-level cache

# Columns of an expiry's table; measures' columns follow from FIRST_MEASURE on.
STRIKE: Final = 0
BUY_CALL: Final = 1
SELL_CALL: Final = 2
BUY_PUT: Final = 3
SELL_PUT: Final = 4
HALF_CALL: Final = 5
HALF_PUT: Final = 6
POP_FROM: Final = 7  # between these distances of the break-evens from the middle the probability is within its limits
POP_TO: Final = 8
SMILE: Final = 9
FIRST_MEASURE: Final = 10
# A measure's columns: put values, their squares, and what each source of error changes, three at least.
LEAST_SHIFTS: Final = 3

CHUNK: Final = 64
# Columns of a chunk of lower strikes.
COST, LOSS, LEFT, _VARIANCE, FIRST, _EV, _SE, LCB, LANE_SUM_X, LANE_SUM_XX, LANE_SUM_SE2, _LUCK = (
    np.uint64(CHUNK * column) for column in range(12)
)
LINE: Final = 12 * CHUNK

# Terms of an expiry.
FEES: Final = 0
DISCOUNT: Final = 1
GRID_LOW: Final = 2
PER_STEP: Final = 3
LEAST_LOSS: Final = 4
POP_LOW: Final = 5
POP_HIGH: Final = 6
ERRORS: Final = 7
REWARD: Final = 8
PER_SD: Final = 9
MOST_LUCK: Final = 10  # infinite, or 0 where there is no smile to say what is luck
TERMS: Final = 11
# Counts of a chunk, each in 12 bits of one number.
BITS: Final = 12
ONES: Final = (1 << BITS) - 1
_UNIT: Final = tuple(1 << BITS * place for place in range(5))

_U_BUY_CALL, _U_BUY_PUT = np.uint64(STRIDE * BUY_CALL), np.uint64(STRIDE * BUY_PUT)
_U_HALF_CALL, _U_HALF_PUT = np.uint64(STRIDE * HALF_CALL), np.uint64(STRIDE * HALF_PUT)
_U_SMILE = np.uint64(STRIDE * SMILE)
_U_SQUARE, _U_SHIFT_0, _U_SHIFT_1, _U_SHIFT_2 = (np.uint64(STRIDE * column) for column in range(1, 5))


@scalar
def price_lanes(t: F64, low: F64, line: F64, width: int, b: int, c: int, terms: F64, ends: F64) -> int:
    """Cost (inf where not executable), maximum loss, and what is left of the lower strikes of one chunk; the counts.

    Left is 1, or 2 where the probability of profit must be looked up; see `limit` for the limits of its distance.
    """
    fees, d, least_loss, reward = terms[FEES], terms[DISCOUNT], terms[LEAST_LOSS], terms[REWARD]
    k2, k3, over, band = t[b], t[c], 1.0 / terms[DISCOUNT], ends[4]
    high_wing = k3 - k2
    peak = d * high_wing
    call_bc = t[BUY_CALL * STRIDE + c] - 2.0 * t[SELL_CALL * STRIDE + b]
    put_bc = t[BUY_PUT * STRIDE + c] - 2.0 * t[SELL_PUT * STRIDE + b]
    iron_bc = t[BUY_CALL * STRIDE + c] - t[SELL_PUT * STRIDE + b] - t[SELL_CALL * STRIDE + b] + d * high_wing
    two_from, two_to = t[POP_FROM * STRIDE + b], t[POP_TO * STRIDE + b]
    left_from, left_to, right_from, right_to = ends[0] - k2, ends[1] - k2, k2 - ends[2], k2 - ends[3]
    half_call = t[HALF_CALL * STRIDE + c] + 2.0 * t[HALF_CALL * STRIDE + b]
    half_put = t[HALF_PUT * STRIDE + c] + 2.0 * t[HALF_PUT * STRIDE + b]
    half_iron = t[HALF_CALL * STRIDE + c] + t[HALF_PUT * STRIDE + b] + t[HALF_CALL * STRIDE + b]
    smile, most_luck = t[SMILE * STRIDE + c] - 2.0 * t[SMILE * STRIDE + b], terms[MOST_LUCK]
    counts = 0
    for lane in range(width):
        i = np.uint64(lane)
        low_wing = k2 - low[i]
        tail = high_wing - low_wing
        call = low[i + _U_BUY_CALL] + call_bc + d * tail
        put = low[i + _U_BUY_PUT] + put_bc
        iron = low[i + _U_BUY_PUT] + iron_bc
        cheapest = min(min(call, put), iron)
        half = low[i + _U_HALF_PUT] + (half_put if put == cheapest else half_iron)
        half = low[i + _U_HALF_CALL] + half_call if call == cheapest else half
        luck = d * (low[i + _U_SMILE] + smile) - cheapest + half
        line[i + _LUCK] = min(max(luck, 0.0), most_luck)
        cost = cheapest + fees
        cost = cost if low_wing > 0.0 else math.inf
        loss = cost - d * min(tail, 0.0)
        executable = cost < math.inf
        risks = executable & (loss > 0.0)
        large = risks & (loss >= least_loss)
        stays = large & (peak - cost >= reward * loss)
        x = cost * over
        reach = high_wing - x
        begin, end = (left_from if x <= tail else two_from), (left_to if x <= tail else two_to)
        begin, end = (right_from if x <= 0.0 else begin), (right_to if x <= 0.0 else end)
        near = stays & ((abs(reach - begin) <= band) | (abs(reach - end) <= band))
        inside = stays & (reach > begin) & (reach < end)
        counts += (
            (_UNIT[0] if executable else 0)
            + (_UNIT[1] if risks else 0)
            + (_UNIT[2] if large else 0)
            + (_UNIT[3] if stays else 0)
            + (_UNIT[4] if near else 0)
        )
        line[i + COST] = cost
        line[i + LOSS] = loss
        left = 1.0 if inside else 0.0
        line[i + LEFT] = 2.0 if near else left
    return counts


@scalar
def vary_lanes(m: F64, low: F64, line: F64, width: int, b: int, c: int, d: float, first: int, end: int) -> None:
    """Variance of the expected value from sources of error beyond the third, by column; 0 without."""
    for lane in range(width):
        line[np.uint64(lane) + _VARIANCE] = 0.0
    for f in range(first, end):
        shift = m[f * STRIDE + c] - 2.0 * m[f * STRIDE + b]
        column = low[f * STRIDE :]
        for lane in range(width):
            i = np.uint64(lane)
            change = d * (shift + column[i])
            line[i + _VARIANCE] += change * change


@scalar
def expect_lanes(
    m: F64,
    low: F64,
    strikes: F64,
    line: F64,
    width: int,
    b: int,
    c: int,
    k2: float,
    wing: float,
    d: float,
    share: float,
    errors: float,
    first: bool,
) -> None:
    """Value the lanes under one measure, with whose columns `m` and `low` begin, and keep the worst measure.

    The variance of the profit, of which the sampling error is a share, comes from the moments I and J of puts:
    E[payoff**2] = J3 - 4 W2 I2 - J1 + 2 (W2 - W1) I1, W1 and W2 being the wings' widths.
    """
    base = m[c] - 2.0 * m[b]
    constant = m[STRIDE + c] - 4.0 * wing * m[b]
    shift_0 = m[2 * STRIDE + c] - 2.0 * m[2 * STRIDE + b]
    shift_1 = m[3 * STRIDE + c] - 2.0 * m[3 * STRIDE + b]
    shift_2 = m[4 * STRIDE + c] - 2.0 * m[4 * STRIDE + b]
    dd, least = d * d, math.inf if first else -math.inf
    for lane in range(width):
        i = np.uint64(lane)
        mean = low[i] + base
        square = constant - low[i + _U_SQUARE] + 2.0 * (wing - (k2 - strikes[i])) * low[i]
        square = dd * max(square - mean * mean, 0.0)
        change_0, change_1, change_2 = (
            d * (shift_0 + low[i + _U_SHIFT_0]),
            d * (shift_1 + low[i + _U_SHIFT_1]),
            d * (shift_2 + low[i + _U_SHIFT_2]),
        )
        variance = change_0 * change_0 + change_1 * change_1 + change_2 * change_2 + line[i + _VARIANCE]
        ev = d * mean - line[i + COST]
        se = math.sqrt(variance + share * square)
        lcb = ev - errors * se
        worse = lcb < max(line[i + LCB], least)
        line[i + FIRST] = square if first else line[i + FIRST]
        line[i + _EV] = ev if worse else line[i + _EV]
        line[i + _SE] = se if worse else line[i + _SE]
        line[i + LCB] = lcb if worse else line[i + LCB]


@scalar
def expect_exact_lanes(m: F64, low: F64, line: F64, width: int, b: int, c: int, d: float, first: bool) -> None:
    """Do the same for a measure without error."""
    base = m[c] - 2.0 * m[b]
    least = math.inf if first else -math.inf
    for lane in range(width):
        i = np.uint64(lane)
        ev = d * (low[i] + base) - line[i + COST]
        worse = ev < max(line[i + LCB], least)
        line[i + _EV] = ev if worse else line[i + _EV]
        line[i + _SE] = 0.0 if worse else line[i + _SE]
        line[i + LCB] = ev if worse else line[i + LCB]


@scalar
def sum_lanes(line: F64, width: int, threshold: float) -> int:
    """Add up what is left; counts: left, with a positive bound, maybe among the best kept."""
    counts = 0
    for lane in range(width):
        i = np.uint64(lane)
        left = line[i + LEFT] > 0.0
        over = 1.0 / line[i + LOSS]
        x, se, lcb = line[i + _EV] * over, line[i + _SE] * over, line[i + LCB] - line[i + _LUCK]
        line[i + LCB] = lcb
        line[i + LANE_SUM_X] += x if left else 0.0
        line[i + LANE_SUM_XX] += x * x if left else 0.0
        line[i + LANE_SUM_SE2] += se * se if left else 0.0
        near = lcb * over >= threshold
        counts += (_UNIT[0] if left else 0) + (_UNIT[1] if left & (lcb > 0.0) else 0) + (_UNIT[2] if left & near else 0)
    return counts


@scalar
def sum_sd_lanes(line: F64, width: int, beyond: float) -> int:
    """Do the same by the standard deviation: `beyond` is the square of a negative threshold, which spares a root."""
    counts = 0
    for lane in range(width):
        i = np.uint64(lane)
        left = line[i + LEFT] > 0.0
        over = 1.0 / line[i + LOSS]
        x, se, lcb = line[i + _EV] * over, line[i + _SE] * over, line[i + LCB] - line[i + _LUCK]
        line[i + LCB] = lcb
        line[i + LANE_SUM_X] += x if left else 0.0
        line[i + LANE_SUM_XX] += x * x if left else 0.0
        line[i + LANE_SUM_SE2] += se * se if left else 0.0
        near = (lcb >= 0.0) | (lcb * lcb <= beyond * line[i + FIRST])
        counts += (_UNIT[0] if left else 0) + (_UNIT[1] if left & (lcb > 0.0) else 0) + (_UNIT[2] if left & near else 0)
    return counts


@scalar
def spread_of(t: F64, a: int, b: int, c: int, d: float) -> float:
    """Add up the half spreads of the cheapest form, found as in `price_lanes`."""
    high_wing = t[c] - t[b]
    tail = high_wing - (t[b] - t[a])
    call = t[BUY_CALL * STRIDE + a] + (t[BUY_CALL * STRIDE + c] - 2.0 * t[SELL_CALL * STRIDE + b]) + d * tail
    put = t[BUY_PUT * STRIDE + a] + (t[BUY_PUT * STRIDE + c] - 2.0 * t[SELL_PUT * STRIDE + b])
    iron = t[BUY_PUT * STRIDE + a] + (
        t[BUY_CALL * STRIDE + c] - t[SELL_PUT * STRIDE + b] - t[SELL_CALL * STRIDE + b] + d * high_wing
    )
    cheapest = min(min(call, put), iron)
    if call == cheapest:
        return t[HALF_CALL * STRIDE + a] + (t[HALF_CALL * STRIDE + c] + 2.0 * t[HALF_CALL * STRIDE + b])
    if put == cheapest:
        return t[HALF_PUT * STRIDE + a] + (t[HALF_PUT * STRIDE + c] + 2.0 * t[HALF_PUT * STRIDE + b])
    return t[HALF_PUT * STRIDE + a] + (t[HALF_CALL * STRIDE + c] + t[HALF_PUT * STRIDE + b] + t[HALF_CALL * STRIDE + b])
