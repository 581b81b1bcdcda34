"""The numbers that the spectral kernels need for one series length: cosines, sines and Slepian tapers.

They depend on the length and on nothing else, are built on first use and kept for the lengths used last. Two threads
that ask for a new length at once may both build it; they get equal tables, and nobody ever writes to one.
"""

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from kernels._arrays import F64, I64

SHORTEST: Final = 7
LONGEST: Final = 180
"""The band of periods, in observations (trading days), that is searched for cycles."""

BIN_TILE: Final = 6
TIME_TILE: Final = 4
"""The projection kernel works on tiles of this many frequencies and moments; the tables are padded to whole tiles."""

OVERSAMPLING: Final = 4
"""The line test looks between the Fourier frequencies, in steps of 1/4 of their distance."""

BANDWIDTH: Final = 3.0
TAPERS: Final = 5


class Fourier(NamedTuple):
    """The Fourier frequencies of one length whose periods lie in the band, k from `first` on: the period is length / k.

    For an even length the even and the odd k have tables of their own, over a quarter of the moments; for an odd length
    the first pair holds all k over half of the moments, and the second is empty. Tables are padded with zeros to tiles.
    """

    first: int
    band_cosine: F64
    """(m,): cos(2 pi k / length), for the spectrum of the noise."""
    cosines: F64
    """cos(2 pi k t / length) for the even (or all) k."""
    sines: F64
    odd_cosines: F64
    odd_sines: F64


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


def bins(length: int) -> I64:
    """List the k whose periods length / k lie in the band."""
    return np.arange(-(-length // LONGEST), length // SHORTEST + 1)


def _table(turn: F64, k: I64, moments: int) -> F64:
    """Tabulate one function of 2 pi k t / length, padded to tiles; k * t modulo length is exact."""
    out = np.zeros((-(-k.size // BIN_TILE) * BIN_TILE, -(-moments // TIME_TILE) * TIME_TILE))
    out[: k.size, :moments] = turn[np.outer(k, np.arange(moments)) % turn.size]
    return out


@lru_cache(maxsize=32)
def fourier(length: int) -> Fourier:
    """Build the cosine and sine matrices of the band for series of one length (0.15 MB for 504 days, 0.3 for 503)."""
    cosine, sine = _turn(length)
    k = bins(length)
    if length % 2:
        own, other, moments = k, k[:0], length // 2 + 1
    else:
        own, other, moments = k[k % 2 == 0], k[k % 2 == 1], length // 4 + 1
    tables = (_table(turn, part, moments) for part in (own, other) for turn in (cosine, sine))
    return Fourier(int(k[0]), cosine[k], *tables)


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
    # Here, since SciPy takes as long to load as all kernels, and a start need not wait for it.
    from scipy.linalg import eigh_tridiagonal

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
