"""Every butterfly of one expiry: prices, expectations and probabilities, and which of them to keep.

Everything is stated for the put form: payoff `(K1-S)+ - 2(K2-S)+ + (K3-S)+`, which is `tail = K1 - 2 K2 + K3` below K1,
K3 - K2 at K2 and 0 above K3. The call form pays `tail` less, the iron form K3 - K2 less, in every state of the world;
so their costs plus those constants, discounted, are costs of the same thing, and the least is the one to pay.

Rule of the file: an expiry is one flat table, column c of strike i at `c * STRIDE + i`, and the
lower strikes are the lanes, in chunks that start at strike 0 (with the upper ones as lanes, from b + 1 on, LLVM could
not prove any index positive and vectorised nothing: 690 instead of 320 us for 60 strikes).
A chunk is as wide as there are lower strikes, up to 64: of a fixed 16 LLVM unrolled everything and vectorised half.
The price alone refuses most: expectations are computed for a chunk only if some of it is left.
What most butterflies fall to is computed in lanes; break-evens, probabilities and spreads are looked up one at a time
for those that are left, and the best are kept in a heap, among whom the Pareto front is found at the end: whatever
beats one of the best by score is one of the best by score.
No contraction anywhere, so that the search and the description of one butterfly agree to the bit.
The doors are in `kernels.butterfly`.
"""

import math
from typing import Final

import numpy as np

from kernels._arrays import F64, I64, Bool
from kernels._jit import kernel, scalar

MAX_STRIKES: Final = 512
STRIDE: Final = 520  # not a power of two, or the columns evict each other from the first-level cache
CALL: Final = 0
PUT: Final = 1
IRON: Final = 2

# Columns of an expiry's table; measures' columns follow from FIRST_MEASURE on.
STRIKE: Final = 0
BUY_CALL: Final = 1
SELL_CALL: Final = 2
BUY_PUT: Final = 3
SELL_PUT: Final = 4
HALF_CALL: Final = 5
HALF_PUT: Final = 6
FIRST_MEASURE: Final = 7

CHUNK: Final = 64
# Columns of a chunk of lower strikes.
_COST: Final = 0
_LOSS: Final = CHUNK
_EV: Final = 2 * CHUNK
_SE: Final = 3 * CHUNK
_LCB: Final = 4 * CHUNK
_VARIANCE: Final = 5 * CHUNK
_SQUARE: Final = 6 * CHUNK
_FIRST: Final = 7 * CHUNK  # of the first measure
_LEFT: Final = 8 * CHUNK  # 1 where a lane has passed what its price alone decides, else 0
_LANES: Final = 9
_KINDS: Final = 4  # executable, cannot lose, loss too small, reward too small

# Columns of the kept ones: lower, middle, upper, score, probability, spread over maximum loss.
KEPT: Final = 6
# Columns of the counts and sums of a row.
EXECUTABLE: Final = 0
SMALL_LOSS: Final = 1
SMALL_REWARD: Final = 2
POP_OUTSIDE: Final = 3
ELIGIBLE: Final = 4
POSITIVE: Final = 5
ARBITRAGES: Final = 6
KEPT_BEST: Final = 7
KEPT_ARBITRAGES: Final = 8
SUM_X: Final = 9
SUM_XX: Final = 10
SUM_SE2: Final = 11
SUMS: Final = 12
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
TERMS: Final = 10


@scalar
def _price_lanes(t: F64, low: F64, line: F64, width: int, b: int, c: int, terms: F64) -> None:
    """Cost (inf where not executable) and maximum loss of the lower strikes of one chunk."""
    fees, d = terms[FEES], terms[DISCOUNT]
    k2, k3 = t[b], t[c]
    high_wing = k3 - k2
    call_bc = t[BUY_CALL * STRIDE + c] - 2.0 * t[SELL_CALL * STRIDE + b]
    put_bc = t[BUY_PUT * STRIDE + c] - 2.0 * t[SELL_PUT * STRIDE + b]
    iron_bc = t[BUY_CALL * STRIDE + c] - t[SELL_PUT * STRIDE + b] - t[SELL_CALL * STRIDE + b] + d * high_wing
    for i in range(width):
        low_wing = k2 - low[i]
        tail = high_wing - low_wing
        call = low[BUY_CALL * STRIDE + i] + call_bc + d * tail
        put = low[BUY_PUT * STRIDE + i] + put_bc
        iron = low[BUY_PUT * STRIDE + i] + iron_bc
        cost = min(min(call, put), iron) + fees if low_wing > 0.0 else math.inf
        line[_COST + i] = cost
        line[_LOSS + i] = cost - d * min(tail, 0.0)
        line[_LCB + i] = math.inf


@scalar
def _sort_lanes(line: F64, width: int, tally: I64, peak: float, least_loss: float, reward: float) -> tuple[int, int]:
    """Count what the price alone refuses; returns how many lanes cannot lose and how many are left."""
    sure = left = 0
    for i in range(width):
        cost, loss = line[_COST + i], line[_LOSS + i]
        executable = cost < math.inf
        gains = executable & (loss <= 0.0)
        risks = executable & (loss > 0.0)
        small = risks & (loss < least_loss)
        poor = risks & (loss >= least_loss) & (peak - cost < reward * loss)
        stays = risks & (loss >= least_loss) & (peak - cost >= reward * loss)
        tally[i] += executable
        tally[CHUNK + i] += gains
        tally[2 * CHUNK + i] += small
        tally[3 * CHUNK + i] += poor
        line[_LEFT + i] = 1.0 if stays else 0.0
        sure += gains
        left += stays
    return sure, left


@scalar
def _spread_of(t: F64, a: int, b: int, c: int, d: float) -> float:
    """Add up the half spreads of the cheapest form, found as in `_price_lanes`."""
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


@scalar
def _square_lanes(
    t: F64, low: F64, strikes: F64, line: F64, width: int, b: int, c: int, k2: float, k3: float, d: float
) -> None:
    """Variance of the profit, from the moments I and J of puts.

    E[payoff**2] = J3 - 4 W2 I2 - J1 + 2 (W2 - W1) I1, W1 and W2 being the wings' widths.
    """
    high_wing = k3 - k2
    base = t[c] - 2.0 * t[b]
    constant = t[STRIDE + c] - 4.0 * high_wing * t[b]
    for i in range(width):
        mean = low[i] + base
        square = constant - low[STRIDE + i] + 2.0 * (high_wing - (k2 - strikes[i])) * low[i]
        line[_SQUARE + i] = d * d * max(square - mean * mean, 0.0)


@scalar
def _expect_lanes(
    t: F64, low: F64, line: F64, width: int, b: int, c: int, d: float, factors: int, errors: float
) -> None:
    """Value the lanes under one measure, with whose columns `t` and `low` begin, and keep the worst measure."""
    base = t[c] - 2.0 * t[b]
    for f in range(factors):
        shift = t[(2 + f) * STRIDE + c] - 2.0 * t[(2 + f) * STRIDE + b]
        column = low[(2 + f) * STRIDE :]
        for i in range(width):
            change = d * (shift + column[i])
            line[_VARIANCE + i] += change * change
    for i in range(width):
        ev = d * (low[i] + base) - line[_COST + i]
        se = math.sqrt(line[_VARIANCE + i])
        lcb = ev - errors * se
        worse = lcb < line[_LCB + i]
        line[_EV + i] = ev if worse else line[_EV + i]
        line[_SE + i] = se if worse else line[_SE + i]
        line[_LCB + i] = lcb if worse else line[_LCB + i]


@scalar
def _expect_exact_lanes(t: F64, low: F64, line: F64, width: int, b: int, c: int, d: float) -> None:
    """Do the same for a measure without error."""
    base = t[c] - 2.0 * t[b]
    for i in range(width):
        ev = d * (low[i] + base) - line[_COST + i]
        worse = ev < line[_LCB + i]
        line[_EV + i] = ev if worse else line[_EV + i]
        line[_SE + i] = 0.0 if worse else line[_SE + i]
        line[_LCB + i] = ev if worse else line[_LCB + i]


@scalar
def _least_probability(t: F64, a: int, b: int, c: int, cost: float, terms: F64, cdf: F64) -> float:
    """Find the least probability of a profit among the measures, linear between grid points."""
    last = cdf.shape[1] - 5.000001  # the cell before the last point, whatever the rounding
    k1, k2, k3 = t[a], t[b], t[c]
    tail = (k3 - k2) - (k2 - k1)
    x = cost * (1.0 / terms[DISCOUNT])
    x0, ih = terms[GRID_LOW], terms[PER_STEP]
    low_end = min(max((k1 + (x - tail) - x0) * ih, 0.0), last) + 2.0 if x > tail else 0.0
    high_end = min(max((k3 - x - x0) * ih, 0.0), last) + 2.0 if x > 0.0 else last + 4.0
    low_cell, high_cell = int(low_end), int(high_end)
    low_share, high_share = low_end - low_cell, high_end - high_cell
    least = math.inf
    for j in range(cdf.shape[0]):
        below = cdf[j, low_cell] + low_share * (cdf[j, low_cell + 1] - cdf[j, low_cell])
        above = cdf[j, high_cell] + high_share * (cdf[j, high_cell + 1] - cdf[j, high_cell])
        least = min(least, max(above - below, 0.0))
    return least


@scalar
def _swap(pool: F64, i: int, j: int) -> None:
    for column in range(KEPT):
        pool[i, column], pool[j, column] = pool[j, column], pool[i, column]


@scalar
def _push(pool: F64, size: int, a: int, b: int, c: int, score: float, pop: float, spread: float) -> int:
    """Put into a heap with the least score on top, in place of that one where it is full; returns its size."""
    if size < pool.shape[0]:
        i = size
        size += 1
    else:
        i = 0
    pool[i, 0], pool[i, 1], pool[i, 2], pool[i, 3], pool[i, 4], pool[i, 5] = a, b, c, score, pop, spread
    while i > 0 and pool[(i - 1) // 2, 3] > pool[i, 3]:
        _swap(pool, i, (i - 1) // 2)
        i = (i - 1) // 2
    while 2 * i + 1 < size:
        child = 2 * i + 1
        if child + 1 < size and pool[child + 1, 3] < pool[child, 3]:
            child += 1
        if not pool[child, 3] < pool[i, 3]:
            break
        _swap(pool, i, child)
        i = child
    return size


@scalar
def _keep(kept: F64, size: int, a: int, b: int, c: int, value: float) -> int:
    """Insert into a list sorted by value, largest first, earlier ones first among equals; returns its size."""
    if kept.shape[0] == 0 or (size == kept.shape[0] and not value > kept[size - 1, 3]):
        return size
    place = min(size, kept.shape[0] - 1)
    size = place + 1
    while place > 0 and value > kept[place - 1, 3]:
        for j in range(KEPT):
            kept[place, j] = kept[place - 1, j]
        place -= 1
    kept[place, 0], kept[place, 1], kept[place, 2], kept[place, 3] = a, b, c, value
    return size


@kernel("void(float64[:, ::1], boolean[::1])", fast=frozenset())
def find_front(points: F64, member: Bool) -> None:
    """Mark the rows that no earlier row equals or beats; sorted by score, probability, then spread, best first.

    points: score and probability (larger is better), spread (smaller is).
    """
    front = np.empty(points.shape[0], np.int64)
    size = 0
    for i in range(points.shape[0]):
        beaten = False
        for k in range(size):
            j = front[k]
            if points[j, 1] >= points[i, 1] and points[j, 2] <= points[i, 2]:
                beaten = True
                break
        member[i] = not beaten
        if not beaten:
            front[size] = i
            size += 1


@kernel(
    "void(float64[::1], int64, float64[:, ::1], int64[::1], int64, float64[::1], float64[::1], float64[:, ::1],"
    "float64[:, ::1], float64[::1])",
    fast=frozenset(),
)
def scan_expiry(
    t: F64,
    n: int,
    cdf: F64,
    factors: I64,
    columns: int,
    over_paths: F64,
    terms: F64,
    pool: F64,
    arbitrage: F64,
    sums: F64,
) -> None:
    """Go through all butterflies of one expiry; measure j has `factors[j]` sources of error, of `columns` laid out."""
    d, least_loss, errors, reward, per_sd = (
        terms[DISCOUNT],
        terms[LEAST_LOSS],
        terms[ERRORS],
        terms[REWARD],
        terms[PER_SD] > 0.0,
    )
    line = np.empty(_LANES * CHUNK)
    tally = np.zeros(_KINDS * CHUNK, np.int64)
    kept = kept_arbitrages = outside = eligible = positive = 0
    sum_x = sum_xx = sum_se2 = beyond = 0.0
    for b in range(1, n - 1):
        if not (t[SELL_CALL * STRIDE + b] > -math.inf or t[SELL_PUT * STRIDE + b] > -math.inf):
            continue  # no form sells at the middle
        for c in range(b + 1, n):
            if not (t[BUY_CALL * STRIDE + c] < math.inf or t[BUY_PUT * STRIDE + c] < math.inf):
                continue
            peak = d * (t[c] - t[b])
            for start in range(0, b, CHUNK):
                low = t[start:]
                width = min(CHUNK, (b - start + 7) // 8 * 8)  # beyond b the wing has no width: no cost
                _price_lanes(t, low, line, width, b, c, terms)
                sure, left = _sort_lanes(line, width, tally, peak, least_loss, reward)
                if sure:
                    for i in range(width):
                        if line[_LOSS + i] <= 0.0:
                            kept_arbitrages = _keep(arbitrage, kept_arbitrages, start + i, b, c, -line[_LOSS + i])
                if not left:
                    continue
                for j in range(factors.size):
                    column = (FIRST_MEASURE + j * (2 + columns)) * STRIDE
                    if over_paths[j] > 0.0 or (j == 0 and per_sd):
                        _square_lanes(t[column:], low[column:], low, line, width, b, c, t[b], t[c], d)
                    if factors[j] == 0 and not over_paths[j] > 0.0:
                        _expect_exact_lanes(t[column:], low[column:], line, width, b, c, d)
                    else:
                        for i in range(width):
                            line[_VARIANCE + i] = over_paths[j] * line[_SQUARE + i] if over_paths[j] > 0.0 else 0.0
                        _expect_lanes(t[column:], low[column:], line, width, b, c, d, factors[j], errors)
                    if j == 0 and per_sd:
                        for i in range(width):
                            line[_FIRST + i] = line[_SQUARE + i]
                for i in range(width):
                    if line[_LEFT + i] == 0.0:
                        continue
                    cost, loss = line[_COST + i], line[_LOSS + i]
                    pop = _least_probability(t, start + i, b, c, cost, terms, cdf)
                    if not (pop >= terms[POP_LOW] and pop <= terms[POP_HIGH]):
                        outside += 1
                        continue
                    eligible += 1
                    over = 1.0 / loss
                    x, se, lcb = line[_EV + i] * over, line[_SE + i] * over, line[_LCB + i]
                    sum_x += x
                    sum_xx += x * x
                    sum_se2 += se * se
                    score = lcb * over
                    positive += score > 0.0
                    if per_sd:
                        if kept > 0 and kept == pool.shape[0] and lcb < 0.0 and lcb * lcb > beyond * line[_FIRST + i]:
                            continue  # spared the root: worse than the worst kept
                        score = lcb / max(math.sqrt(line[_FIRST + i]), 1e-300)
                    if kept < pool.shape[0] or (kept > 0 and score > pool[0, 3]):
                        spread = _spread_of(t, start + i, b, c, d) * over
                        kept = _push(pool, kept, start + i, b, c, score, pop, spread)
                        beyond = min(pool[0, 3], 0.0) ** 2 * (1.0 + 1e-9)
    executable, arbitrages, small, unrewarded = (
        tally[:CHUNK].sum(),
        tally[CHUNK : 2 * CHUNK].sum(),
        tally[2 * CHUNK : 3 * CHUNK].sum(),
        tally[3 * CHUNK :].sum(),
    )
    sums[EXECUTABLE], sums[ARBITRAGES], sums[SMALL_LOSS], sums[POP_OUTSIDE] = executable, arbitrages, small, outside
    sums[ELIGIBLE], sums[SUM_X], sums[SUM_XX], sums[SUM_SE2] = eligible, sum_x, sum_xx, sum_se2
    sums[KEPT_BEST], sums[KEPT_ARBITRAGES], sums[POSITIVE], sums[SMALL_REWARD] = (
        kept,
        kept_arbitrages,
        positive,
        unrewarded,
    )
