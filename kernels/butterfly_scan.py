"""Every butterfly of one expiry: prices, expectations and probabilities, and which of them to keep.

Everything is stated for the put form: payoff `(K1-S)+ - 2(K2-S)+ + (K3-S)+`, which is `tail = K1 - 2 K2 + K3` below K1,
K3 - K2 at K2 and 0 above K3. The call form pays `tail` less, the iron form K3 - K2 less, in every state of the world;
so their costs plus those constants, discounted, are costs of the same thing, and the least is the one to pay.

Rule of the file: an expiry is one flat table, column c of strike i at `c * STRIDE + i`, and the
lower strikes are the lanes, in chunks that start at strike 0 (with the upper ones as lanes, from b + 1 on, LLVM could
not prove any index positive and vectorised nothing: 690 instead of 320 us for 60 strikes).
No contraction anywhere, so that the search and the description of one butterfly agree to the bit.
The doors are in `kernels.butterfly`.
"""

import math
from typing import Final

import numpy as np

from kernels._arrays import F64, I64
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

CHUNK: Final = 16
# Columns of a chunk of lower strikes.
_COST: Final = 0
_SPREAD: Final = CHUNK
_LOSS: Final = 2 * CHUNK
_LOW: Final = 3 * CHUNK
_HIGH: Final = 4 * CHUNK
_EV: Final = 5 * CHUNK
_SE: Final = 6 * CHUNK
_LCB: Final = 7 * CHUNK
_POP: Final = 8 * CHUNK
_VARIANCE: Final = 9 * CHUNK

# Columns of the kept ones: lower, middle, upper, then what they are kept for.
KEPT: Final = 6
# Columns of the counts and sums of a row.
EXECUTABLE: Final = 0
SMALL_LOSS: Final = 1
POP_OUTSIDE: Final = 2
ELIGIBLE: Final = 3
ARBITRAGES: Final = 4
FRONT_SIZE: Final = 5
SUM_X: Final = 6
SUM_XX: Final = 7
SUM_SE2: Final = 8
KEPT_BEST: Final = 9
KEPT_ARBITRAGES: Final = 10
POSITIVE: Final = 11
SMALL_REWARD: Final = 12
SUMS: Final = 13


@scalar
def _add_simulation_error(
    t: F64, low: F64, strikes: F64, line: F64, b: int, c: int, k2: float, k3: float, scale: float
) -> None:
    """Add the variance of a mean over paths: the payoff's, from the moments I and J of puts, over their number.

    E[payoff**2] = J3 - 4 W2 I2 - J1 + 2 (W2 - W1) I1, W1 and W2 being the wings' widths.
    """
    high_wing = k3 - k2
    base = t[c] - 2.0 * t[b]
    constant = t[STRIDE + c] - 4.0 * high_wing * t[b]
    for i in range(CHUNK):
        mean = low[i] + base
        square = constant - low[STRIDE + i] + 2.0 * (high_wing - (k2 - strikes[i])) * low[i]
        line[_VARIANCE + i] += scale * max(square - mean * mean, 0.0)


@scalar
def _price_lanes(t: F64, low: F64, line: F64, cell: I64, b: int, c: int, terms: F64, last: float) -> None:
    """Cost, spread, maximum loss and break-evens (as grid positions) of the lower strikes of one chunk."""
    fees, d, x0, ih = terms[0], terms[1], terms[2], terms[3]
    k2, k3 = t[b], t[c]
    high_wing = k3 - k2
    call_bc = t[BUY_CALL * STRIDE + c] - 2.0 * t[SELL_CALL * STRIDE + b]
    put_bc = t[BUY_PUT * STRIDE + c] - 2.0 * t[SELL_PUT * STRIDE + b]
    iron_bc = t[BUY_CALL * STRIDE + c] - t[SELL_PUT * STRIDE + b] - t[SELL_CALL * STRIDE + b] + d * high_wing
    half_call = t[HALF_CALL * STRIDE + c] + 2.0 * t[HALF_CALL * STRIDE + b]
    half_put = t[HALF_PUT * STRIDE + c] + 2.0 * t[HALF_PUT * STRIDE + b]
    half_iron = t[HALF_CALL * STRIDE + c] + t[HALF_PUT * STRIDE + b] + t[HALF_CALL * STRIDE + b]
    over = 1.0 / d
    for i in range(CHUNK):
        k1 = low[i]
        low_wing = k2 - k1
        tail = high_wing - low_wing
        call = low[BUY_CALL * STRIDE + i] + call_bc + d * tail
        put = low[BUY_PUT * STRIDE + i] + put_bc
        iron = low[BUY_PUT * STRIDE + i] + iron_bc
        spread_call = low[HALF_CALL * STRIDE + i] + half_call
        spread_put = low[HALF_PUT * STRIDE + i] + half_put
        spread_iron = low[HALF_PUT * STRIDE + i] + half_iron
        cheapest = min(min(call, put), iron)
        other = spread_put if put == cheapest else spread_iron
        cost = cheapest + fees if low_wing > 0.0 else math.inf
        x = cost * over
        line[_COST + i] = cost
        line[_SPREAD + i] = spread_call if call == cheapest else other
        line[_LOSS + i] = cost - d * min(tail, 0.0)
        low_end = min(max((k1 + (x - tail) - x0) * ih, 0.0), last) + 2.0 if x > tail else 0.0
        high_end = min(max((k3 - x - x0) * ih, 0.0), last) + 2.0 if x > 0.0 else last + 4.0
        low_cell, high_cell = np.int32(low_end), np.int32(high_end)
        cell[i] = low_cell
        cell[CHUNK + i] = high_cell
        line[_LOW + i] = low_end - low_cell
        line[_HIGH + i] = high_end - high_cell
        line[_LCB + i] = math.inf
        line[_POP + i] = math.inf


@scalar
def _expect_lanes(t: F64, low: F64, line: F64, b: int, c: int, d: float, factors: int, errors: float) -> None:
    """Value the lanes under one measure, with whose columns `t` and `low` begin, and keep the worst measure."""
    base = t[c] - 2.0 * t[b]
    for f in range(factors):
        shift = t[(2 + f) * STRIDE + c] - 2.0 * t[(2 + f) * STRIDE + b]
        column = low[(2 + f) * STRIDE :]
        for i in range(CHUNK):
            change = d * (shift + column[i])
            line[_VARIANCE + i] += change * change
    for i in range(CHUNK):
        ev = d * (low[i] + base) - line[_COST + i]
        se = math.sqrt(line[_VARIANCE + i])
        lcb = ev - errors * se
        worse = lcb < line[_LCB + i]
        line[_EV + i] = ev if worse else line[_EV + i]
        line[_SE + i] = se if worse else line[_SE + i]
        line[_LCB + i] = lcb if worse else line[_LCB + i]


@scalar
def _probability_lanes(line: F64, cell: I64, cdf: F64) -> None:
    """Probability of a profit under one measure; keeps the least.

    The lookups stay scalar: LLVM cannot tell that the stores do not change the table, so it makes no gathers of them.
    """
    for i in range(CHUNK):
        low, high = np.uint64(cell[i]), np.uint64(cell[CHUNK + i])
        below = cdf[low] + line[_LOW + i] * (cdf[low + np.uint64(1)] - cdf[low])
        above = cdf[high] + line[_HIGH + i] * (cdf[high + np.uint64(1)] - cdf[high])
        line[_POP + i] = min(line[_POP + i], max(above - below, 0.0))


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


@scalar
def _to_front(front: F64, size: int, a: int, b: int, c: int, score: float, pop: float, spread: float) -> int:
    """Add a butterfly to the Pareto front if no member is at least as good in everything; drop those it beats.

    A member that beats a newcomer moves one place up, so that the next ones meet it sooner.
    """
    i = 0
    while i < size:
        if front[i, 3] >= score and front[i, 4] >= pop and front[i, 5] <= spread:
            if i > 0:
                for j in range(KEPT):
                    front[i - 1, j], front[i, j] = front[i, j], front[i - 1, j]
            return size
        if score >= front[i, 3] and pop >= front[i, 4] and spread <= front[i, 5]:
            size -= 1
            for j in range(KEPT):
                front[i, j] = front[size, j]
        else:
            i += 1
    if size == front.shape[0]:
        return size
    front[size, 0], front[size, 1], front[size, 2] = a, b, c
    front[size, 3], front[size, 4], front[size, 5] = score, pop, spread
    return size + 1


@kernel(
    "void(float64[::1], int64, float64[:, ::1], int64[::1], int64, float64[::1], float64[::1], float64[:, ::1],"
    "float64[:, ::1], float64[:, ::1], float64[::1])",
    fast=frozenset(),
)
def scan_expiry(
    t: F64,
    n: int,
    cdf: F64,
    measures: I64,
    factors: int,
    over_paths: F64,
    terms: F64,
    best: F64,
    front: F64,
    arbitrage: F64,
    sums: F64,
) -> None:
    """Go through all butterflies. terms: fees, discount, grid low, 1/step, least loss, POP limits, errors, reward."""
    d, least_loss, pop_low, pop_high, errors = terms[1], terms[4], terms[5], terms[6], terms[7]
    reward = terms[8]
    last = cdf.shape[1] - 5.000001  # the cell before the last point, whatever the rounding
    line, cell = np.empty(10 * CHUNK), np.empty(2 * CHUNK, np.int64)
    kept = kept_arbitrages = front_size = executable = arbitrages = small = outside = eligible = positive = 0
    unrewarded = 0
    sum_x = sum_xx = sum_se2 = 0.0
    for b in range(1, n - 1):
        for c in range(b + 1, n):
            for start in range(0, b, CHUNK):
                low = t[start:]
                _price_lanes(t, low, line, cell, b, c, terms, last)
                for j in range(measures.size):
                    column = (FIRST_MEASURE + measures[j] * (2 + factors)) * STRIDE
                    for i in range(CHUNK):
                        line[_VARIANCE + i] = 0.0
                    if over_paths[measures[j]] > 0.0:
                        scale = d * d * over_paths[measures[j]]
                        _add_simulation_error(t[column:], low[column:], low, line, b, c, t[b], t[c], scale)
                    _expect_lanes(t[column:], low[column:], line, b, c, d, factors, errors)
                    _probability_lanes(line, cell, cdf[measures[j]])
                for i in range(min(CHUNK, b - start)):
                    if not line[_COST + i] < math.inf:
                        continue
                    executable += 1
                    a, loss, pop = start + i, line[_LOSS + i], line[_POP + i]
                    if loss <= 0.0:
                        arbitrages += 1
                        kept_arbitrages = _keep(arbitrage, kept_arbitrages, a, b, c, -loss)
                    elif loss < least_loss:
                        small += 1
                    elif d * (t[c] - t[b]) - line[_COST + i] < reward * loss:
                        unrewarded += 1
                    elif not (pop >= pop_low and pop <= pop_high):
                        outside += 1
                    else:
                        eligible += 1
                        over = 1.0 / loss
                        score, x, se = line[_LCB + i] * over, line[_EV + i] * over, line[_SE + i] * over
                        positive += score > 0.0
                        sum_x += x
                        sum_xx += x * x
                        sum_se2 += se * se
                        kept = _keep(best, kept, a, b, c, score)
                        if front.shape[0] > 0:
                            front_size = _to_front(front, front_size, a, b, c, score, pop, line[_SPREAD + i] * over)
    sums[EXECUTABLE], sums[ARBITRAGES], sums[SMALL_LOSS], sums[POP_OUTSIDE] = executable, arbitrages, small, outside
    sums[ELIGIBLE], sums[SUM_X], sums[SUM_XX], sums[SUM_SE2] = eligible, sum_x, sum_xx, sum_se2
    sums[KEPT_BEST], sums[KEPT_ARBITRAGES], sums[FRONT_SIZE] = kept, kept_arbitrages, front_size
    sums[POSITIVE], sums[SMALL_REWARD] = positive, unrewarded
