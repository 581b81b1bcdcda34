"""The compiled half of the spectrum: periodogram of the band and its p-values under red noise, rows as lanes.

A block of `LANES` rows of one length is folded (x[t] +- x[n - t], which halves the work) and multiplied with fixed
cosines and sines. The block is always full, so a row's bits do not depend on its batch, its lane or the thread; a BLAS
product does not promise that.
"""

from typing import Final

import numpy as np

from kernels import status as st
from kernels._arrays import F64, I8, I64
from kernels._jit import helper, kernel, scalar
from kernels.elementary import exp

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
    """Multiply (m, T) with (T, LANES), a tile of 4 frequencies and 8 moments at a time.

    While the lanes pass, the 32 coefficients of a tile stay put and 4 sums are loaded and stored once for 32 FMAs.
    1.0 us a row for 72 x 256, against 0.8 us for one OpenBLAS thread.
    """
    for k in range(0, table.shape[0], 4):
        o0, o1, o2, o3 = out[k], out[k + 1], out[k + 2], out[k + 3]
        for lane in range(LANES):
            o0[lane] = 0.0
            o1[lane] = 0.0
            o2[lane] = 0.0
            o3[lane] = 0.0
        for t in range(0, table.shape[1], 8):
            a, b, c, d = table[k, t : t + 8], table[k + 1, t : t + 8], table[k + 2, t : t + 8], table[k + 3, t : t + 8]
            a0, a1, a2, a3, a4, a5, a6, a7 = a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]
            b0, b1, b2, b3, b4, b5, b6, b7 = b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]
            c0, c1, c2, c3, c4, c5, c6, c7 = c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]
            d0, d1, d2, d3, d4, d5, d6, d7 = d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]
            for lane in range(LANES):
                x0, x1, x2, x3 = folded[t, lane], folded[t + 1, lane], folded[t + 2, lane], folded[t + 3, lane]
                x4, x5, x6, x7 = folded[t + 4, lane], folded[t + 5, lane], folded[t + 6, lane], folded[t + 7, lane]
                o0[lane] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3 + a4 * x4 + a5 * x5 + a6 * x6 + a7 * x7
                o1[lane] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3 + b4 * x4 + b5 * x5 + b6 * x6 + b7 * x7
                o2[lane] += c0 * x0 + c1 * x1 + c2 * x2 + c3 * x3 + c4 * x4 + c5 * x5 + c6 * x6 + c7 * x7
                o3[lane] += d0 * x0 + d1 * x1 + d2 * x2 + d3 * x3 + d4 * x4 + d5 * x5 + d6 * x6 + d7 * x7


@helper
def _gather(x: F64, index: I64, n: int, values: F64, peak: F64) -> None:
    """Copy rows to lanes. A row that cannot be used, and a lane without a row, becomes zeros."""
    for lane in range(LANES):
        largest = 0.0
        bad = lane >= index.size
        if not bad:
            row = x[index[lane]]
            for t in range(n):
                size = abs(row[t])
                bad = bad or not (size < _HUGE)
                largest = max(largest, size)
        if bad:
            for t in range(n):
                values[t, lane] = 0.0
        else:
            row = x[index[lane]]
            for t in range(n):
                values[t, lane] = row[t]
        peak[lane] = 0.0 if bad else largest


@helper
def _centre(values: F64, n: int, peak: F64, variance: F64, ar1: F64) -> None:
    """Take the mean out of each lane; find variance and lag-one autocorrelation, less its bias (both 0 if constant)."""
    mean = np.zeros(LANES)
    before = np.zeros(LANES)
    for t in range(n):
        for lane in range(LANES):
            mean[lane] += values[t, lane]
    for lane in range(LANES):
        mean[lane] /= n
        variance[lane] = 0.0
        ar1[lane] = 0.0
    for t in range(n):
        for lane in range(LANES):
            value = values[t, lane] - mean[lane]
            variance[lane] += value * value
            ar1[lane] += value * before[lane]
            before[lane] = value
            values[t, lane] = value
    for lane in range(LANES):
        total = variance[lane]
        usable = total > _CONSTANT * n * peak[lane] * peak[lane]
        correlation = ar1[lane] / (total if usable else 1.0) + 1.0 / n
        ar1[lane] = min(max(correlation, -MAX_AR1), MAX_AR1) if usable else 0.0
        variance[lane] = total / n if usable else 0.0


@helper
def _fold(values: F64, n: int, even: F64, odd: F64) -> None:
    """Add and subtract x[t] and x[n - t]: cosine is even and sine odd around the middle."""
    for t in range(1, (n + 1) // 2):
        for lane in range(LANES):
            left, right = values[t, lane], values[n - t, lane]
            even[t, lane] = left + right
            odd[t, lane] = left - right
    for lane in range(LANES):
        even[0, lane] = values[0, lane]
        if n % 2 == 0:
            even[n // 2, lane] = values[n // 2, lane]


@helper
def _expected(ar1: F64, variance: F64, n: int, scale: F64) -> None:
    """Find what `red_noise` is multiplied with to give the expected periodogram of each lane."""
    power = np.ones(LANES)
    base = ar1.copy()
    left = n
    while left > 0:
        for lane in range(LANES):
            power[lane] *= base[lane] if left % 2 == 1 else 1.0
            base[lane] *= base[lane]
        left //= 2
    for lane in range(LANES):
        scale[lane] = variance[lane] / red_noise_mean(ar1[lane], power[lane], n)


@kernel(
    "void(float64[:,::1], int64[::1], int64, float64[:,::1], float64[:,::1], float64[::1], float64[:,::1],"
    "float64[:,::1], float64[:,::1], float64[::1], float64[::1], int8[::1])"
)
def periodograms(
    x: F64,
    index: I64,
    n: int,
    cosines: F64,
    sines: F64,
    band_cosine: F64,
    power: F64,
    background: F64,
    p_value: F64,
    variance: F64,
    ar1: F64,
    status: I8,
) -> None:
    """Fill the band's power, its expectation and its p-values for the rows `index`, all of length n."""
    m = band_cosine.size
    values = np.empty((n, LANES))
    even = np.zeros((cosines.shape[1], LANES))
    odd = np.zeros((cosines.shape[1], LANES))
    real = np.empty((cosines.shape[0], LANES))
    imaginary = np.empty((cosines.shape[0], LANES))
    p_lane = np.empty((m, LANES))
    peak, var, phi, scale = np.empty(LANES), np.empty(LANES), np.empty(LANES), np.empty(LANES)
    for start in range(0, index.size, LANES):
        block = index[start : start + LANES]
        _gather(x, block, n, values, peak)
        _centre(values, n, peak, var, phi)
        _fold(values, n, even, odd)
        _project(cosines, even, real)
        _project(sines, odd, imaginary)
        _expected(phi, var, n, scale)
        for k in range(m):
            cosine = band_cosine[k]
            for lane in range(LANES):
                square = (real[k, lane] * real[k, lane] + imaginary[k, lane] * imaginary[k, lane]) / n
                expected = scale[lane] * red_noise(phi[lane], cosine)
                p_lane[k, lane] = exp(-square / (expected if expected > 0.0 else 1.0))
                real[k, lane] = square
                imaginary[k, lane] = expected
        for lane in range(block.size):
            row = block[lane]
            if var[lane] > 0.0:
                status[row] = _OK
                variance[row] = var[lane]
                ar1[row] = phi[lane]
                for k in range(m):
                    power[row, k] = real[k, lane]
                    background[row, k] = imaginary[k, lane]
                    p_value[row, k] = p_lane[k, lane]
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
