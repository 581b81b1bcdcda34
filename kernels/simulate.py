"""Filtered historical simulation: paths of a GARCH model driven by the series' own standardised residuals.

Random numbers are a function of (seed, path, step) and of nothing else: no state is carried, so neither the batch, nor
the number of paths, nor the horizons asked for change a path. `stream`, `draw` and `uniform` are the generator, for
other kernels too: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014, OOPSLA) over a Weyl sequence, whose place
is the path and the step.
"""

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kernels._arrays import F64, I64, series
from kernels._garch_path import presample
from kernels._jit import helper, kernel, scalar
from kernels.elementary import fma
from kernels.garch import GarchFit, Start, _horizons, _same_rows, _sample_start

U64 = npt.NDArray[np.uint64]

MAX_HORIZON: Final = 1 << 20
_WEYL: Final = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio, odd
_MIX1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX2: Final = np.uint64(0x94D049BB133111EB)
_ONE: Final = np.uint64(1)
_STEP_BITS: Final = np.uint64(20)
_LOW32: Final = np.uint64(0xFFFFFFFF)
_LANES: Final = 64


@scalar
def mix(x: np.uint64) -> np.uint64:
    """Scramble 64 bits: a bijection in which every input bit moves every output bit."""
    x = (x ^ (x >> np.uint64(30))) * _MIX1
    x = (x ^ (x >> np.uint64(27))) * _MIX2
    return x ^ (x >> np.uint64(31))


@scalar
def stream(seed: np.uint64) -> np.uint64:
    """Turn a seed into the key of its stream; neighbouring seeds have unrelated streams."""
    return mix(seed + _WEYL)


@scalar
def draw(key: np.uint64, path: np.uint64, step: np.uint64) -> np.uint64:
    """Draw the 64 random bits of one path and step (step below 2**20) of a stream."""
    return mix(key + ((path << _STEP_BITS) + step + _ONE) * _WEYL)


@scalar
def uniform(bits: np.uint64) -> float:
    """Turn 64 random bits into a float in (0, 1), never 0 or 1, with 52 bits of it random."""
    return (np.float64(np.int64(bits >> np.uint64(12))) + 0.5) * 2.220446049250313e-16


@helper
def _residuals(returns: F64, row: int, n: int, parameters: F64, sample: bool, z: F64) -> bool:
    """Fill z[:n] with the standardised residuals, recentred and rescaled to mean 0 and variance 1."""
    mu, omega, alpha, gamma, beta = parameters[0], parameters[1], parameters[2], parameters[3], parameters[4]
    h = presample(returns, row, n, mu, sample)
    square = h
    response = alpha + 0.5 * gamma
    total = 0.0
    for t in range(n):
        h = omega + response * square + beta * h
        e = returns[row, t] - mu
        z[t] = e / math.sqrt(h)
        total += z[t]
        square = e * e
        response = alpha + gamma if e < 0.0 else alpha
    mean = total / n
    squares = 0.0
    for t in range(n):
        z[t] -= mean
        squares += z[t] * z[t]
    if not (squares > 0.0 and squares < np.inf):
        return False
    scale = math.sqrt(n / squares)
    for t in range(n):
        z[t] *= scale
    return True


@scalar
def _step(z: float, mu: float, omega: float, alpha: float, gamma: float, beta: float, h: float, x: float) -> Any:
    e = math.sqrt(h) * z
    response = alpha + gamma if e < 0.0 else alpha
    return fma(beta, h, fma(response, e * e, omega)), x + (mu + e)


@helper
def _block(key: np.uint64, first: int, steps: int, mirror: bool, n: int, z: F64, p: F64, h0: float, sums: F64) -> None:
    """Run _LANES paths from `first` for an even number of steps; sums[step, lane] are the summed returns."""
    mu, omega, alpha, gamma, beta = p[0], p[1], p[2], p[3], p[4]
    state = np.empty((2, _LANES))
    count = np.uint64(n)
    last = n - 1
    for j in range(_LANES):
        state[0, j] = h0
        state[1, j] = 0.0
    drawn = np.empty((2, _LANES))
    place = np.empty((2, _LANES), np.int64)
    for t in range(0, steps, 2):
        # three loops: of one, LLVM would make scalar code for the sake of the two look-ups
        for j in range(_LANES):
            path = first + j
            # antithetic paths share their draws, and take the residual of the opposite rank
            bits = draw(key, np.uint64(path >> 1 if mirror else path), np.uint64(t))
            i = np.int64(((bits >> np.uint64(32)) * count) >> np.uint64(32))
            k = np.int64(((bits & _LOW32) * count) >> np.uint64(32))
            flip = mirror and (path & 1) == 1
            place[0, j] = last - i if flip else i
            place[1, j] = last - k if flip else k
        for j in range(_LANES):
            drawn[0, j] = z[place[0, j]]
            drawn[1, j] = z[place[1, j]]
        for j in range(_LANES):
            h, x = _step(drawn[0, j], mu, omega, alpha, gamma, beta, state[0, j], state[1, j])
            sums[t, j] = x
            h, x = _step(drawn[1, j], mu, omega, alpha, gamma, beta, h, x)
            sums[t + 1, j] = x
            state[0, j] = h
            state[1, j] = x


@kernel(
    "void(float64[:, ::1], int64[::1], float64[:, ::1], float64[::1], boolean, int64[::1], uint64[::1], boolean,"
    "float64[:, :, ::1])"
)
def _simulate(
    returns: F64,
    lengths: I64,
    parameters: F64,
    sigma2_next: F64,
    sample: bool,
    horizons: I64,
    seed: U64,
    antithetic: bool,
    out: F64,
) -> None:
    longest = 0
    for h in horizons:
        longest = max(longest, h)
    steps = (longest + 1) // 2 * 2
    sums = np.empty((steps, _LANES))
    z = np.empty(returns.shape[1])
    for row in range(lengths.size):
        n = lengths[row]
        if n < 2 or not sigma2_next[row] > 0.0 or not _residuals(returns, row, n, parameters[row], sample, z):
            continue
        if antithetic:
            z[:n].sort()
        key = stream(seed[row])
        for first in range(0, out.shape[2], _LANES):
            _block(key, first, steps, antithetic, n, z, parameters[row], sigma2_next[row], sums)
            for i in range(horizons.size):
                for j in range(min(_LANES, out.shape[2] - first)):
                    out[row, i, first + j] = sums[horizons[i] - 1, j]


def filtered_historical(
    fitted: GarchFit,
    returns: npt.ArrayLike,
    horizons: npt.ArrayLike,
    paths: int,
    seed: npt.ArrayLike,
    lengths: npt.ArrayLike | None = None,
    *,
    start: Start = "backcast",
    antithetic: bool = False,
) -> F64:
    """Simulate the summed returns of each series to each horizon.

    Parameters
    ----------
    fitted : GarchFit
        Of the same n series; rows without a fit give NaN.
    returns : (n, t) float64
        What was fitted, in per cent.
    horizons : (k,) int
        In steps, 1 to 2**20, in any order.
    paths : int
        At least 1. The first paths of a longer run are those of a shorter one.
    seed : (n,) int64 or uint64, or one for all
        Names the random numbers of a row.
    lengths, start
        As in `garch.fit`.
    antithetic : bool
        Paths 2i and 2i+1 share their draws and take residuals of opposite rank.

    Returns
    -------
    (n, k, paths) float64
        Sum of the returns of the first `horizons[k]` steps, in per cent. A path's value at a horizon is the same
        whatever other horizons, paths or rows are asked for.

    Raises
    ------
    ValueError
        If shapes do not fit, or horizons, paths or seeds are outside their domain.

    Notes
    -----
    Filtered historical simulation [1]_: z = (y - mu)/sqrt(h) of the sample, recentred and rescaled to mean 0 and
    variance 1, are drawn with replacement and drive the fitted recursion from `sigma2_next` on. Student-t fits draw
    the same way: the residuals carry the tails.

    References
    ----------
    .. [1] Barone-Adesi, Giannopoulos and Vosper (1999), Journal of Futures Markets 19, 583-602.
    """
    values, size = series(returns, lengths)
    fitted = _same_rows(fitted, size)
    steps = _horizons(horizons)
    if steps.size and steps.max() > MAX_HORIZON:
        raise ValueError(f"horizons must not exceed {MAX_HORIZON}")
    if paths < 1:
        raise ValueError(f"paths must be at least 1, got {paths}")
    seeds = np.asarray(seed)
    if seeds.dtype.kind not in "iu":
        raise ValueError(f"seeds must be integers, got {seeds.dtype}")
    seeds = np.array(np.broadcast_to(seeds, size.shape)).astype(np.uint64)
    parameters = np.stack([fitted.mu, fitted.omega, fitted.alpha, fitted.gamma, fitted.beta], axis=1)
    out = np.full((size.size, steps.size, paths), np.nan)
    sample = _sample_start(start)
    _simulate(values, size, np.ascontiguousarray(parameters), fitted.sigma2_next, sample, steps, seeds, antithetic, out)
    return out
