"""The spectrum with its p-values against numpy's FFT alone."""

import numpy as np

from benchmarks.runner import Case, Contender
from kernels import spectral
from tests.references import spectral as reference

LIMITS = (
    "folding the row, and the product with the folded matrix of the 69 frequencies; then an exponential for each. "
    "Other tiles of the product take 1.1 to 2.9 times as long, one OpenBLAS thread 0.9"
)


def _spectrum(t: int) -> Case:
    x = reference.white(np.random.default_rng(0), 500, t)

    def accuracy() -> str:
        power = spectral.spectrum(x).power
        expected = np.array([reference.periodogram(row) for row in x])
        return f"power within {np.max(np.abs(power - expected) / expected.max(axis=1, keepdims=True)):.0e} of numpy's"

    return Case(
        name=f"spectrum with p-values, {t} days",
        ours=Contender(lambda: spectral.spectrum(x), 500),
        references={
            "numpy rfft, whole batch": Contender(lambda: np.fft.rfft(x), 500),
            "numpy rfft, row by row": Contender(lambda: [np.fft.rfft(row) for row in x], 500),
        },
        accuracy=accuracy,
        must_reach="at most 3 rffts of 504 points (ratio 0.33)" if t == 504 else "",
        aim="1 rfft" if t == 504 else "",
        limits=LIMITS,
    )


def _cycles() -> Case:
    rng = np.random.default_rng(1)
    x = reference.white(rng, 500, 504)
    x[::10] += reference.wave(rng, 50, 504, 30.0, 0.06)
    return Case(
        name="cycles: one row in ten has one to confirm",
        ours=Contender(lambda: spectral.cycles(x, standardize="ewma"), 500),
        references={"numpy rfft, whole batch": Contender(lambda: np.fft.rfft(x), 500)},
        accuracy=lambda: f"{np.mean(spectral.cycles(x[::10]).significant.any(axis=1)):.0%} of the planted are found",
        limits="the spectra, then the tapers and half samples of the rows with something to confirm",
    )


def cases() -> list[Case]:
    return [_spectrum(504), _spectrum(503), _cycles()]
