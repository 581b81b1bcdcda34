"""The compiled half of the second opinions: Thomson's line test, and the same frequency in each half of the sample.

Only few (row, frequency) pairs get here, on most days none, so this is plain code, one pair at a time.
"""

from typing import Final

import numpy as np

from kernels._arrays import F64, I64
from kernels._jit import helper, kernel
from kernels._periodogram import red_noise, red_noise_mean
from kernels.elementary import exp
from kernels.fourier_tables import OVERSAMPLING, TAPERS

REACH: Final = OVERSAMPLING // 2
"""The line is looked for up to half a bin beside the Fourier frequency."""


@helper
def _tapered(row: F64, mean: float, taper: F64, cosine: F64, sine: F64, step: int) -> tuple[float, float]:
    """Project the tapered series on one frequency, `step` in oversampled bins."""
    real = imaginary = 0.0
    position = 0
    for t in range(taper.size):
        value = taper[t] * (row[t] - mean)
        real += value * cosine[position]
        imaginary -= value * sine[position]
        position += step
        if position >= cosine.size:
            position -= cosine.size
    return real, imaginary


@helper
def _line_p(row: F64, mean: float, tapers: F64, sums: F64, cosine: F64, sine: F64, step: int) -> float:
    """Thomson's harmonic F-test at one frequency: its p-value under F(2, 2K - 2), which has a closed form."""
    real, imaginary = np.empty(TAPERS), np.empty(TAPERS)
    energy = line_real = line_imaginary = 0.0
    for j in range(TAPERS):
        real[j], imaginary[j] = _tapered(row, mean, tapers[j], cosine, sine, step)
        energy += sums[j] * sums[j]
        line_real += sums[j] * real[j]
        line_imaginary += sums[j] * imaginary[j]
    line_real /= energy
    line_imaginary /= energy
    rest = 0.0
    for j in range(TAPERS):
        rest += (real[j] - line_real * sums[j]) ** 2 + (imaginary[j] - line_imaginary * sums[j]) ** 2
    line = (line_real * line_real + line_imaginary * line_imaginary) * energy
    # F = (K - 1) line / rest, and P(F(2, d) > f) = (1 + 2 f / d)^(-d / 2) with d = 2K - 2.
    share = rest / (rest + line)
    return share ** (TAPERS - 1)


@helper
def _half_ratio(row: F64, start: int, stop: int, cosine: F64, sine: F64, k: int) -> float:
    """Periodogram of a part of the row at the frequency k of the whole row, over the part's variance."""
    size = stop - start
    mean = 0.0
    for t in range(start, stop):
        mean += row[t]
    mean /= size
    real = imaginary = total = 0.0
    step = OVERSAMPLING * k
    position = 0
    for t in range(start, stop):
        value = row[t] - mean
        total += value * value
        real += value * cosine[position]
        imaginary += value * sine[position]
        position += step
        if position >= cosine.size:
            position -= cosine.size
    return (real * real + imaginary * imaginary) / total if total > 0.0 else 0.0


@kernel(
    "void(float64[:,::1], int64[::1], int64[::1], int64, float64[::1], float64[:,::1], float64[::1], float64[::1],"
    "float64[::1], float64[::1], float64[:,::1])"
)
def confirmations(
    x: F64,
    rows: I64,
    bins: I64,
    n: int,
    ar1: F64,
    tapers: F64,
    sums: F64,
    cosine: F64,
    sine: F64,
    line_p: F64,
    half_p: F64,
) -> None:
    """Fill the p-values of the line test and of both halves for pairs (row, frequency) of series of length n."""
    half = n // 2
    for i in range(rows.size):
        row, k, a = x[rows[i], :n], bins[i], ar1[rows[i]]
        mean = 0.0
        for t in range(n):
            mean += row[t]
        mean /= n
        best = 1.0
        for offset in range(-REACH, REACH + 1):
            step = OVERSAMPLING * k + offset
            best = min(best, _line_p(row, mean, tapers, sums, cosine, sine, step))
        line_p[i] = best
        level = red_noise_mean(a, a**n, n)
        for part in range(2):
            start, stop = (0, half) if part == 0 else (half, n)
            ratio = 0.0
            for near in range(max(k - 1, 1), k + 2):
                expected = red_noise(a, cosine[OVERSAMPLING * near]) / level
                ratio = max(ratio, _half_ratio(row, start, stop, cosine, sine, near) / expected)
            half_p[i, part] = exp(-ratio)
