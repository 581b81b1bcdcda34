"""Every butterfly of one expiry: prices, expectations and probabilities, and which of them to keep.

Everything is stated for the put form: payoff `(K1-S)+ - 2(K2-S)+ + (K3-S)+`, which is `tail = K1 - 2 K2 + K3` below K1,
K3 - K2 at K2 and 0 above K3. The call form pays `tail` less, the iron form K3 - K2 less, in every state of the world;
so their costs plus those constants, discounted, are costs of the same thing, and the least is the one to pay.

Rule of the file: an expiry is one flat table, column c of strike i at `c * STRIDE + i`, and the lower strikes are the
lanes, in chunks that start at strike 0 (with the upper ones as lanes, from b + 1 on, LLVM could not prove any index
positive and vectorised nothing: 690 instead of 320 us for 60 strikes). A chunk is as wide as there are lower strikes,
up to 64, in steps of 16: what is left over by packed code is done one lane at a time. Its columns lie on the stack,
with unsigned indices, for the reasons in `kernels._blocks`.
There is no branch for a lane and nothing is looked up for one. The break-evens lie equally far from the middle strike,
so the limits of the probability of profit are limits of that distance, found once for each middle strike (`limit`);
looking up two values of two distributions for each butterfly took half of the time. Four in ten butterflies of a chain
pass all filters: lists of lanes, or doing less for some of them, cost more than they spare.
No contraction anywhere, so that the search and the description of one butterfly agree to the bit.
The doors are in `kernels.butterfly`.
"""

import math
from typing import Final

import numpy as np
from numba import carray

from kernels._arrays import F64, I64, Bool
from kernels._blocks import stack
from kernels._count import COUNT
from kernels._jit import helper, kernel, scalar
from kernels.butterfly_lanes import (
    BITS,
    BUY_CALL,
    BUY_PUT,
    CHUNK,
    COST,
    DISCOUNT,
    ERRORS,
    FIRST,
    FIRST_MEASURE,
    LANE_SUM_SE2,
    LANE_SUM_X,
    LANE_SUM_XX,
    LCB,
    LEAST_SHIFTS,
    LEFT,
    LINE,
    LOSS,
    MOST_LUCK,
    ONES,
    PER_SD,
    PER_STEP,
    POP_FROM,
    POP_HIGH,
    POP_LOW,
    SELL_CALL,
    SELL_PUT,
    SMILE,
    STRIDE,
    STRIKE,
    expect_exact_lanes,
    expect_lanes,
    price_lanes,
    spread_of,
    sum_lanes,
    sum_sd_lanes,
    vary_lanes,
)
from kernels.butterfly_limits import BAND, limit, probability
from kernels.butterfly_pool import KEPT, POP, RISK, SCORE, SPREAD, cut, front_of, insert, order_of

# Columns of the counts and sums of a row.
EXECUTABLE: Final = 0
SMALL_LOSS: Final = 1
SMALL_REWARD: Final = 2
POP_OUTSIDE: Final = 3
ELIGIBLE: Final = 4
POSITIVE: Final = 5
ARBITRAGES: Final = 6
FRONT_SIZE: Final = 7
SUM_X: Final = 8
SUM_XX: Final = 9
SUM_SE2: Final = 10
SUMS: Final = 11


@scalar
def _scan(
    t: F64,
    n: int,
    cells: F64,
    factors: I64,
    columns: int,
    over_paths: F64,
    terms: F64,
    ends: F64,
    keep: int,
    pool: F64,
    work: F64,
    arbitrage: F64,
    sums: F64,
) -> tuple[int, int]:
    """Go through all butterflies of one expiry; measure j has `factors[j]` sources of error, of `columns` laid out.

    Returns how many are in the pool and in the list of arbitrages.
    """
    d, errors, per_sd, pop_low, pop_high = (
        terms[DISCOUNT],
        terms[ERRORS],
        terms[PER_SD] > 0.0,
        terms[POP_LOW],
        terms[POP_HIGH],
    )
    measures = factors.size
    line = carray(stack(LINE), LINE)
    for i in range(LINE):
        line[i] = 0.0
    kept, kept_arbitrages = COUNT, COUNT
    executable = risky = large = passed = eligible = positive = 0
    threshold, beyond = -math.inf if keep > 0 else math.inf, math.inf
    for b in range(1, n - 1):
        if not (t[SELL_CALL * STRIDE + b] > -math.inf or t[SELL_PUT * STRIDE + b] > -math.inf):
            continue  # no form sells at the middle
        k2 = t[b]
        for c in range(b + 1, n):
            if not (t[BUY_CALL * STRIDE + c] < math.inf or t[BUY_PUT * STRIDE + c] < math.inf):
                continue
            wing = t[c] - k2
            for start in range(0, b, CHUNK):
                # Beyond b the wing has no width: no cost. A multiple of 16 leaves no lanes for a loop without packing.
                width = min(CHUNK, (b - start + 15) & ~15)
                low = t[start:]
                counts = price_lanes(t, low, line, width, b, c, terms, ends)
                chunk_executable, chunk_risky = counts & ONES, (counts >> BITS) & ONES
                executable += chunk_executable
                risky += chunk_risky
                large += (counts >> (2 * BITS)) & ONES
                passed += (counts >> (3 * BITS)) & ONES
                if chunk_executable > chunk_risky:
                    for i in range(width):
                        if line[LOSS + np.uint64(i)] <= 0.0:
                            gained = -line[LOSS + np.uint64(i)]
                            kept_arbitrages = insert(arbitrage, kept_arbitrages, start + i, b, c, gained)
                if (counts >> (3 * BITS)) & ONES == 0:
                    continue
                if counts >> (4 * BITS) > 0:
                    for i in range(width):
                        lane = np.uint64(i)
                        if line[LEFT + lane] > 1.0:
                            pop = probability(t, start + i, b, c, line[COST + lane], terms, cells, measures)
                            line[LEFT + lane] = 1.0 if pop >= pop_low and pop <= pop_high else 0.0
                for j in range(measures):
                    column = (FIRST_MEASURE + j * (2 + columns)) * STRIDE
                    m, low_m = t[column:], low[column:]
                    if factors[j] > 0 or over_paths[j] > 0.0 or (j == 0 and per_sd):
                        if columns > 3:
                            vary_lanes(m, low_m, line, width, b, c, d, 5, 2 + columns)
                        expect_lanes(m, low_m, low, line, width, b, c, k2, wing, d, over_paths[j], errors, j == 0)
                    else:
                        expect_exact_lanes(m, low_m, line, width, b, c, d, j == 0)
                counts = sum_sd_lanes(line, width, beyond) if per_sd else sum_lanes(line, width, threshold)
                eligible += counts & ONES
                positive += (counts >> BITS) & ONES
                if counts >> (2 * BITS) == 0:
                    continue
                for i in range(width):
                    lane = np.uint64(i)
                    lcb, loss = line[LCB + lane], line[LOSS + lane]
                    if line[LEFT + lane] == 0.0 or (per_sd and lcb < 0.0 and lcb * lcb > beyond * line[FIRST + lane]):
                        continue
                    divisor = max(math.sqrt(line[FIRST + lane]), 1e-300) if per_sd else loss
                    score = lcb / divisor
                    if score > threshold or (kept < keep and score >= threshold):  # nothing that is NaN
                        pool[kept, 0], pool[kept, 1], pool[kept, 2], pool[kept, SCORE] = start + i, b, c, score
                        pool[kept, POP], pool[kept, SPREAD], pool[kept, RISK] = line[COST + lane], loss, divisor
                        kept += 1
                        if kept == pool.shape[0]:
                            kept = cut(pool, kept, keep, work)
                            threshold = pool[0, SCORE]
                            for place in range(1, kept):
                                threshold = min(threshold, pool[place, SCORE])
                            beyond = min(threshold, 0.0) ** 2 * (1.0 + 1e-9)
    sums[EXECUTABLE], sums[ARBITRAGES], sums[SMALL_LOSS] = executable, executable - risky, risky - large
    sums[SMALL_REWARD], sums[POP_OUTSIDE], sums[ELIGIBLE] = large - passed, passed - eligible, eligible
    sums[POSITIVE] = positive
    for i in range(CHUNK):
        lane = np.uint64(i)
        sums[SUM_X] += line[LANE_SUM_X + lane]
        sums[SUM_XX] += line[LANE_SUM_XX + lane]
        sums[SUM_SE2] += line[LANE_SUM_SE2 + lane]
    return cut(pool, kept, keep, work), kept_arbitrages


@scalar
def _complete(t: F64, kept: F64, terms: F64, cells: F64, measures: int) -> None:
    """Turn a kept butterfly's cost, maximum loss and divisor into what lists and front are made by."""
    a, b, c = int(kept[0]), int(kept[1]), int(kept[2])
    cost, loss, divisor = kept[POP], kept[SPREAD], kept[RISK]
    kept[POP] = probability(t, a, b, c, cost, terms, cells, measures)
    kept[SPREAD] = spread_of(t, a, b, c, terms[DISCOUNT]) / loss
    kept[RISK] = divisor / loss


@helper
def _lay_out(
    book: F64,
    used: I64,
    n: int,
    factors: I64,
    columns: int,
    row: int,
    value: F64,
    square: F64,
    shift: F64,
    smile: F64,
    cdf: F64,
    present: Bool,
    terms: F64,
    t: F64,
    cells: F64,
) -> int:
    """Fill the table of one expiry, its tradable strikes only, and the distribution functions side by side.

    Returns how many measures the row has.
    """
    t[:] = 0.0
    for column in (STRIKE, BUY_CALL, BUY_PUT):
        t[column * STRIDE : (column + 1) * STRIDE] = math.inf  # no wing reaches the padding
    for column in range(POP_FROM):
        for i in range(n):
            t[column * STRIDE + i] = book[column, row, used[i]]
    if terms[MOST_LUCK] > 0.0:
        for i in range(n):
            t[SMILE * STRIDE + i] = smile[row, used[i]]
    measures = present[:, row].sum()
    points = cdf.shape[2]
    place = 0
    for j in range(value.shape[0]):
        if not present[j, row]:
            continue
        first = FIRST_MEASURE + place * (2 + columns)
        factors[place] = 0
        for i in range(n):
            t[first * STRIDE + i] = value[j, row, used[i]]
            if square.size:
                t[(first + 1) * STRIDE + i] = square[j, row, used[i]]
            for f in range(shift.shape[0]):
                moved = shift[f, j, row, used[i]]
                t[(first + 2 + f) * STRIDE + i] = moved
                if moved != 0.0:
                    factors[place] = columns
        begin = place * (points + 4)
        cells[begin : begin + 2], cells[begin + points + 2 : begin + points + 4] = 0.0, 1.0
        for g in range(points):
            cells[begin + 2 + g] = cdf[j, row, g]
        place += 1
    return measures


@kernel(
    "void(int64[::1], float64[:, :, ::1], float64[:, :, ::1], float64[:, :, ::1], float64[:, :, :, ::1],"
    "float64[:, ::1], float64[:, :, ::1], boolean[:, ::1], float64[:, ::1], float64[:, ::1], int64, int64,"
    "int64[:, :, ::1], int64[:, :, ::1], int64[:, :, ::1], float64[:, ::1], float64[:, ::1])",
    fast=frozenset(),
)
def search_rows(
    rows: I64,
    book: F64,
    value: F64,
    square: F64,
    shift: F64,
    smile: F64,
    cdf: F64,
    present: Bool,
    over_paths: F64,
    terms: F64,
    top: int,
    front_capacity: int,
    best: I64,
    front: I64,
    arbitrage: I64,
    gain: F64,
    sums: F64,
) -> None:
    """Search the given rows and fill in the columns of the strikes of the best, of the front and of arbitrages.

    book: the columns STRIKE to HALF_PUT, (7, n, m). square is empty where there is none. Results come as -1 and NaN.
    """
    keep, columns = max(top, front_capacity), max(shift.shape[0], LEAST_SHIFTS)
    t = np.empty((FIRST_MEASURE + value.shape[0] * (2 + columns) + 1) * STRIDE)
    cells = np.empty((cdf.shape[2] + 4) * value.shape[0])
    ends = np.empty(5)
    factors, paths = np.empty(value.shape[0], np.int64), np.empty(value.shape[0])
    pool, work = np.empty((2 * keep, KEPT)), np.empty(2 * keep)
    sure = np.empty((arbitrage.shape[1], KEPT))
    used, order, members = np.empty(book.shape[2], np.int64), np.empty(keep, np.int64), np.empty(keep, np.int64)
    for row in rows:
        n = COUNT
        for i in range(book.shape[2]):
            # a butterfly on a strike without a usable quote has no executable form
            quoted = book[BUY_CALL, row, i] < math.inf or book[BUY_PUT, row, i] < math.inf
            if quoted and book[STRIKE, row, i] < math.inf:
                used[n] = i
                n += 1
        measures = _lay_out(
            book, used, n, factors, columns, row, value, square, shift, smile, cdf, present, terms[row], t, cells
        )
        place = 0
        for j in range(value.shape[0]):
            if present[j, row]:
                paths[place] = over_paths[j, row]
                place += 1
        ends[4] = BAND / terms[row, PER_STEP]
        own = cells[: (cdf.shape[2] + 4) * measures]
        limit(t, n, terms[row], own, measures, ends)
        kept, found = _scan(
            t, n, own, factors[:measures], columns, paths, terms[row], ends, keep, pool, work, sure, sums[row]
        )
        for i in range(kept):
            _complete(t, pool[i], terms[row], own, measures)
        order_of(pool, kept, order)
        for i in range(min(top, kept)):
            for leg in range(3):
                best[row, i, leg] = used[int(pool[order[i], leg])]
        size = front_of(pool, order, min(front_capacity, kept), members)
        sums[row, FRONT_SIZE] = size
        for i in range(min(front.shape[1], size)):
            for leg in range(3):
                front[row, i, leg] = used[int(pool[members[i], leg])]
        for i in range(found):
            gain[row, i] = sure[i, SCORE]
            for leg in range(3):
                arbitrage[row, i, leg] = used[int(sure[i, leg])]
