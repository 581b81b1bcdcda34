"""The compiled half of the spectrum: periodogram of the band and its p-values under red noise, rows as lanes.

A block of `LANES` rows of one length is folded (x[t] +- x[n - t], which halves the work) and multiplied with fixed
cosines and sines. The block is always full, so a row's bits do not depend on its batch, its lane or the thread; a BLAS
product does not promise that.

Rule of this file: in a lane loop every product that is added is an explicit `fma`. Left to the compiler (`contract`), a
short loop is unrolled and each of its vectors may be fused in its own way: lanes 56 to 63 once differed from the
others in the last bit.
"""

from typing import Final

import numpy as np

from kernels import status as st
from kernels._arrays import F64, I8, I64
from kernels._jit import helper, kernel, scalar
from kernels.elementary import exp, fma

LANES: Final = 64
MAX_AR1: Final = 0.99
EWMA_DECAY: Final = 0.94
EWMA_FLOOR: Final = 0.01
"""The EWMA variance stays above this part of the sample's: a halted share must not explode when it moves again."""

_OK: Final = st.OK
_BAD_INPUT: Final = st.BAD_INPUT
_HUGE: Final = 1e140  # its square times any length is finite
_CONSTANT: Final = 1e-20  # a variance below this part of the largest square is the rounding of a constant


@scalar
def red_noise(ar1: float, cosine: float) -> float:
    """Evaluate the AR(1) spectrum at the frequency with this cosine, mean 1 over the circle."""
    return (1.0 - ar1 * ar1) / (1.0 + ar1 * ar1 - 2.0 * ar1 * cosine)


@scalar
def red_noise_mean(ar1: float, ar1_to_n: float, n: int) -> float:
    """Average `red_noise` over the Fourier frequencies strictly between 0 and 1/2, in closed form.

    Sampling the AR(1) spectrum at all n frequencies folds its autocovariances: their sum is n (1 + a^n)/(1 - a^n).
    """
    total = n * (1.0 + ar1_to_n) / (1.0 - ar1_to_n) - (1.0 + ar1) / (1.0 - ar1)
    nyquist = (1.0 - ar1) / (1.0 + ar1)
    return (total - nyquist if n % 2 == 0 else total) / (2 * ((n - 1) // 2))


@helper
def _project(table: F64, folded: F64, out: F64) -> None:
    """Multiply (m, T) with (T, LANES), a tile of 6 frequencies and 4 moments at a time.

    While the lanes pass, the 24 coefficients of a tile stay in registers (of 32), and 6 sums are loaded and stored once
    for 24 FMAs. Tried, in time of this one: 4 x 8 1.1, 3 x 8 1.2, 2 x 12 1.6, 1 x 24 2.9; one OpenBLAS thread 0.9.
    """
    for k in range(0, table.shape[0], 6):
        o0, o1, o2, o3, o4, o5 = out[k], out[k + 1], out[k + 2], out[k + 3], out[k + 4], out[k + 5]
        for lane in range(LANES):
            o0[lane] = 0.0
            o1[lane] = 0.0
            o2[lane] = 0.0
            o3[lane] = 0.0
            o4[lane] = 0.0
            o5[lane] = 0.0
        for t in range(0, table.shape[1], 4):
            a0, a1, a2, a3 = table[k, t], table[k, t + 1], table[k, t + 2], table[k, t + 3]
            b0, b1, b2, b3 = table[k + 1, t], table[k + 1, t + 1], table[k + 1, t + 2], table[k + 1, t + 3]
            c0, c1, c2, c3 = table[k + 2, t], table[k + 2, t + 1], table[k + 2, t + 2], table[k + 2, t + 3]
            d0, d1, d2, d3 = table[k + 3, t], table[k + 3, t + 1], table[k + 3, t + 2], table[k + 3, t + 3]
            e0, e1, e2, e3 = table[k + 4, t], table[k + 4, t + 1], table[k + 4, t + 2], table[k + 4, t + 3]
            f0, f1, f2, f3 = table[k + 5, t], table[k + 5, t + 1], table[k + 5, t + 2], table[k + 5, t + 3]
            for lane in range(LANES):
                x0, x1, x2, x3 = folded[t, lane], folded[t + 1, lane], folded[t + 2, lane], folded[t + 3, lane]
                o0[lane] = fma(a3, x3, fma(a2, x2, fma(a1, x1, fma(a0, x0, o0[lane]))))
                o1[lane] = fma(b3, x3, fma(b2, x2, fma(b1, x1, fma(b0, x0, o1[lane]))))
                o2[lane] = fma(c3, x3, fma(c2, x2, fma(c1, x1, fma(c0, x0, o2[lane]))))
                o3[lane] = fma(d3, x3, fma(d2, x2, fma(d1, x1, fma(d0, x0, o3[lane]))))
                o4[lane] = fma(e3, x3, fma(e2, x2, fma(e1, x1, fma(e0, x0, o4[lane]))))
                o5[lane] = fma(f3, x3, fma(f2, x2, fma(f1, x1, fma(f0, x0, o5[lane]))))


@helper
def _gather(x: F64, rows: I64, n: int, values: F64) -> None:
    """Copy rows to lanes; a lane without a row is zeros. A bad row may come along: lanes do not mix."""
    for lane in range(LANES):
        if lane < rows.size:
            row = x[rows[lane]]
            for t in range(n):
                values[t, lane] = row[t]
        else:
            for t in range(n):
                values[t, lane] = 0.0


@helper
def _centre(values: F64, n: int, variance: F64, ar1: F64) -> None:
    """Take the mean out of each lane; find variance and lag-one autocorrelation, less its bias.

    Both are 0 in a lane that cannot be used: not finite, beyond all sense, or constant.
    """
    mean, peak, before = np.zeros(LANES), np.zeros(LANES), np.zeros(LANES)
    for t in range(n):
        for lane in range(LANES):
            mean[lane] += values[t, lane]
            peak[lane] = max(peak[lane], abs(values[t, lane]))
    for lane in range(LANES):
        mean[lane] /= n
        variance[lane] = 0.0
        ar1[lane] = 0.0
    for t in range(n):
        for lane in range(LANES):
            value = values[t, lane] - mean[lane]
            variance[lane] = fma(value, value, variance[lane])
            ar1[lane] = fma(value, before[lane], ar1[lane])
            before[lane] = value
            values[t, lane] = value
    for lane in range(LANES):
        total, largest = variance[lane], peak[lane]
        # A maximum may lose a NaN; the sum of squares cannot.
        usable = (total > _CONSTANT * n * largest * largest) & (largest < _HUGE) & (total < np.inf)
        correlation = ar1[lane] / (total if usable else 1.0) + 1.0 / n
        ar1[lane] = min(max(correlation, -MAX_AR1), MAX_AR1) if usable else 0.0
        variance[lane] = total / n if usable else 0.0


@helper
def _fold(values: F64, n: int, even: F64, odd: F64) -> None:
    """Add and subtract x[t] and x[n - t]: cosine is even and sine odd around the middle."""
    for t in range(1, (n + 1) // 2):
        left, right, plus, minus = values[t], values[n - t], even[t], odd[t]
        for lane in range(LANES):
            plus[lane] = left[lane] + right[lane]
            minus[lane] = left[lane] - right[lane]
    for lane in range(LANES):
        even[0, lane] = values[0, lane]
        odd[0, lane] = 0.0
        if n % 2 == 0:
            even[n // 2, lane] = values[n // 2, lane]
            odd[n // 2, lane] = 0.0


@helper
def _fold_again(folded: F64, half: int, plus: F64, minus: F64) -> None:
    """Add and subtract t and n/2 - t: for even n, cosine and sine differ there by a sign, given by the parity of k."""
    for t in range(half // 2 + 1):
        left, right, above, below = folded[t], folded[half - t], plus[t], minus[t]
        # The moment in the middle is its own mirror image, and counts once.
        weight = 0.5 if 2 * t == half else 1.0
        for lane in range(LANES):
            above[lane] = weight * (left[lane] + right[lane])
            below[lane] = weight * (left[lane] - right[lane])


@helper
def _noise_level(ar1: F64, variance: F64, n: int, numerator: F64) -> None:
    """Find the numerator of each lane's expected periodogram, numerator / (1 + a^2 - 2 a cos)."""
    power = np.ones(LANES)
    base = ar1.copy()
    left = n
    while left > 0:
        for lane in range(LANES):
            power[lane] *= base[lane] if left % 2 == 1 else 1.0
            base[lane] *= base[lane]
        left //= 2
    for lane in range(LANES):
        a = ar1[lane]
        numerator[lane] = variance[lane] * fma(-a, a, 1.0) / red_noise_mean(a, power[lane], n)


@helper
def _transform(
    values: F64, n: int, tables: tuple[F64, F64, F64, F64], even: F64, odd: F64, plus: F64, minus: F64, out: F64
) -> None:
    """Fill out with cosine and sine sums: of the first tables' frequencies, then of the second's (n even)."""
    cosines, sines, odd_cosines, odd_sines = tables
    m, m_odd = cosines.shape[0], odd_cosines.shape[0]
    _fold(values, n, even, odd)
    if n % 2 == 1:
        _project(cosines, even, out[:m])
        _project(sines, odd, out[m : 2 * m])
        return
    _fold_again(even, n // 2, plus, minus)
    _project(cosines, plus, out[:m])
    _project(odd_cosines, minus, out[2 * m : 2 * m + m_odd])
    _fold_again(odd, n // 2, plus, minus)
    _project(sines, minus, out[m : 2 * m])
    _project(odd_sines, plus, out[2 * m + m_odd :])


@kernel(
    "void(float64[:,::1], int64[::1], int64, int64, float64[::1], float64[:,::1], float64[:,::1], float64[:,::1],"
    "float64[:,::1], float64[:,::1], float64[:,::1], float64[:,::1], float64[:,::1], float64[::1], float64[::1],"
    "float64[::1], int8[::1])"
)
def periodograms(
    x: F64,
    index: I64,
    n: int,
    first: int,
    band_cosine: F64,
    cosines: F64,
    sines: F64,
    odd_cosines: F64,
    odd_sines: F64,
    period: F64,
    power: F64,
    background: F64,
    p_value: F64,
    smallest_p: F64,
    variance: F64,
    ar1: F64,
    status: I8,
) -> None:
    """Fill the band's periods, power, its expectation, p-values and their minimum for the rows `index` of length n."""
    m = band_cosine.size
    size, size_odd = cosines.shape[0], odd_cosines.shape[0]
    moments = n // 2 + 4  # and room for the padding of the tables, which must meet numbers
    values = np.empty((n, LANES))
    even, odd = np.zeros((moments, LANES)), np.zeros((moments, LANES))
    plus, minus = np.zeros((n // 4 + 4, LANES)), np.zeros((n // 4 + 4, LANES))
    sums = np.empty((2 * (size + size_odd), LANES))
    square, expected, p = np.empty((m, LANES)), np.empty((m, LANES)), np.empty((m, LANES))
    var, phi, numerator = np.empty(LANES), np.empty(LANES), np.empty(LANES)
    inverse, smallest = np.empty(LANES), np.empty(LANES)
    tables = (cosines, sines, odd_cosines, odd_sines)
    for start in range(0, index.size, LANES):
        rows = index[start : start + LANES]
        _gather(x, rows, n, values)
        _centre(values, n, var, phi)
        _noise_level(phi, var, n, numerator)
        _transform(values, n, tables, even, odd, plus, minus, sums)
        for lane in range(LANES):
            inverse[lane] = 1.0 / (n * (numerator[lane] if numerator[lane] > 0.0 else 1.0))
            smallest[lane] = 1.0
        for j in range(m):
            k = first + j
            if n % 2 == 1:
                real, imaginary = sums[j], sums[size + j]
            elif k % 2 == 0:
                at = k // 2 - (first + 1) // 2
                real, imaginary = sums[at], sums[size + at]
            else:
                at = 2 * size + k // 2 - first // 2
                real, imaginary = sums[at], sums[size_odd + at]
            to_square, to_expected, to_p = square[j], expected[j], p[j]
            cosine = 2.0 * band_cosine[j]
            for lane in range(LANES):
                energy = fma(real[lane], real[lane], imaginary[lane] * imaginary[lane])
                denominator = fma(phi[lane], phi[lane] - cosine, 1.0)
                to_square[lane] = energy / n
                to_expected[lane] = numerator[lane] / denominator
                to_p[lane] = exp(-energy * denominator * inverse[lane])
                smallest[lane] = min(smallest[lane], to_p[lane])
        for lane in range(rows.size):
            row = rows[lane]
            if var[lane] > 0.0:
                status[row] = _OK
                smallest_p[row] = smallest[lane]
                variance[row] = var[lane]
                ar1[row] = phi[lane]
                for j in range(m):
                    period[row, j] = n / (first + j)
                    power[row, j] = square[j, lane]
                    background[row, j] = expected[j, lane]
                    p_value[row, j] = p[j, lane]
            else:
                status[row] = _BAD_INPUT


@kernel("void(float64[:,::1], int64[::1], float64[:,::1])")
def ewma_standardise(x: F64, lengths: I64, out: F64) -> None:
    """Divide each centred row by the RiskMetrics volatility of the day before, started at the sample's."""
    variance = np.empty(x.shape[1])
    for i in range(x.shape[0]):
        n = lengths[i]
        row, answer = x[i], out[i]
        mean = 0.0
        for t in range(n):
            mean += row[t]
        mean /= n
        total = 0.0
        for t in range(n):
            total += (row[t] - mean) ** 2
        total /= n
        level, floor = total, EWMA_FLOOR * total
        for t in range(n):
            variance[t] = level
            level = max(EWMA_DECAY * level + (1.0 - EWMA_DECAY) * (row[t] - mean) ** 2, floor)
        for t in range(n):
            # A constant row stays as it is: 0 / 0 is no standardised return.
            answer[t] = (row[t] - mean) / np.sqrt(variance[t]) if total > 0.0 else row[t]
