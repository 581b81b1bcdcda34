"""The numbers that the spectral kernels need for one series length: cosines, sines and Slepian tapers.

They depend on the length and on nothing else, are built on first use and kept for the lengths used last. Two threads
that ask for a new length at once may both build it; they get equal tables, and nobody ever writes to one.
"""

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from scipy.linalg import eigh_tridiagonal

from kernels._arrays import F64

SHORTEST: Final = 7
LONGEST: Final = 180
"""The band of periods, in observations (trading days), that is searched for cycles."""

BIN_TILE: Final = 4
TIME_TILE: Final = 8
"""The projection kernel works on tiles of this many frequencies and moments; the tables are padded to whole tiles."""

OVERSAMPLING: Final = 4
"""The line test looks between the Fourier frequencies, in steps of 1/4 of their distance."""

BANDWIDTH: Final = 3.0
TAPERS: Final = 5


class Fourier(NamedTuple):
    """The Fourier frequencies of one length whose periods lie in the band."""

    bins: F64
    """(m,) whole numbers k: the period is length / k."""
    cosines: F64
    """(m, length // 2 + 1), both padded with zeros to whole tiles: cos(2 pi k t / length)."""
    sines: F64
    """As `cosines`."""
    band_cosine: F64
    """(m,): cos(2 pi k / length), for the spectrum of the noise."""


class Tapers(NamedTuple):
    """What the line test needs for one length."""

    tapers: F64
    """(TAPERS, length), each of unit energy."""
    sums: F64
    """(TAPERS,): U_j(0), the sum of each taper; 0 for the antisymmetric ones."""
    cosine: F64
    """(OVERSAMPLING * length,): one turn of the cosine."""
    sine: F64


def _turn(steps: int) -> tuple[F64, F64]:
    """Tabulate cosine and sine at `steps` equal steps of one turn."""
    angle = np.arange(steps) * (2.0 * np.pi / steps)
    return np.cos(angle), np.sin(angle)


@lru_cache(maxsize=32)
def fourier(length: int) -> Fourier:
    """Build the cosine and sine matrices of the band for series of one length (at most 0.3 MB for 504 days).

    The angle is reduced exactly, as the whole number k * t modulo length, before its cosine is taken.
    """
    bins = np.arange(-(-length // LONGEST), length // SHORTEST + 1)
    moments = np.arange(length // 2 + 1)
    index = (bins[:, None] * moments) % length
    shape = tuple(-(-size // tile) * tile for size, tile in zip(index.shape, (BIN_TILE, TIME_TILE), strict=True))
    cosines, sines = np.zeros(shape), np.zeros(shape)
    cosine, sine = _turn(length)
    cosines[: bins.size, : moments.size] = cosine[index]
    sines[: bins.size, : moments.size] = sine[index]
    return Fourier(bins.astype(np.float64), cosines, sines, cosine[bins])


def dpss(length: int, bandwidth: float = BANDWIDTH, count: int = TAPERS) -> F64:
    """Compute the discrete prolate spheroidal sequences of largest energy concentration (Slepian tapers).

    Parameters
    ----------
    length : int
        Observations, at least `count`.
    bandwidth : float
        Half the bandwidth times the length (NW), in Fourier bins, below length / 2.
    count : int
        How many, from the best concentrated one.

    Returns
    -------
    (count, length) float64
        Rows of unit energy; the symmetric ones have a positive mean, the antisymmetric ones a positive first lobe.

    Notes
    -----
    Eigenvectors of Slepian's tridiagonal matrix, which commutes with the concentration operator: D. B. Percival and
    A. T. Walden, Spectral Analysis for Physical Applications (1993), section 8.3.
    """
    t = np.arange(length, dtype=np.float64)
    diagonal = ((length - 1.0 - 2.0 * t) / 2.0) ** 2 * np.cos(2.0 * np.pi * bandwidth / length)
    beside = t[1:] * (length - t[1:]) / 2.0
    _, vectors = eigh_tridiagonal(diagonal, beside, select="i", select_range=(length - count, length - 1))
    tapers = np.ascontiguousarray(vectors[:, ::-1].T)
    for order, taper in enumerate(tapers):
        # The first samples of an antisymmetric taper may be rounding noise around zero: the sign is that of its
        # first half, taken together.
        sign = taper.sum() if order % 2 == 0 else taper[: length // 2].sum()
        if sign < 0.0:
            taper *= -1.0
    return tapers


@lru_cache(maxsize=32)
def line_test(length: int) -> Tapers:
    """Build the tapers and the oversampled cosine and sine of the line test for series of one length."""
    tapers = dpss(length)
    sums = tapers.sum(axis=1)
    sums[1::2] = 0.0  # exactly zero by antisymmetry; what the sum leaves is rounding
    return Tapers(tapers, sums, *_turn(OVERSAMPLING * length))
