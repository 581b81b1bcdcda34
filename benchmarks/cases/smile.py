"""SVI fits against scipy's least squares, densities against the same formulas in numpy and scipy."""

import numpy as np
from scipy.special import ndtr

from benchmarks.runner import Case, Contender
from kernels import density, smile
from tests.references import smile as reference

_N = 200


def cases() -> list[Case]:
    """Return the fit of a slice and the table of a density."""
    return [_fit_case(), _density_case()]


def _fit_case() -> Case:
    k, w, weight, tau, _, params = reference.random_slices(_N, seed=0)
    few = 5

    def scipy_fits() -> list[float]:
        use = [~np.isnan(k[i]) for i in range(few)]
        return [
            reference.least_squares_fit(k[i, u], w[i, u], weight[i, u], params[i])
            for i, u in zip(range(few), use, strict=True)
        ]

    def accuracy() -> str:
        fit = smile.fit(k, w, weight, tau)
        excess = [
            fit.fit_error[i] ** 2 * np.nansum(weight[i]) / best - 1
            for i, best in enumerate(scipy_fits())
            if fit.fitted_min_g[i] >= 0
        ]
        return f"sum of squares over scipy's, less 1: at most {max(excess):.0e} (scipy starts at the truth)"

    return Case(
        name="SVI slice, 12 to 44 quotes",
        ours=Contender(lambda: smile.fit(k, w, weight, tau), _N),
        references={"scipy least_squares from the truth": Contender(scipy_fits, few)},
        accuracy=accuracy,
        must_reach="<= 60 us",
        limits="scalar code: Gauss-Newton steps from two starts, each a pass over the quotes and small linear systems "
        "that branch; the grid of starts runs in lanes",
        rounds=9,
    )


def _density_case() -> Case:
    params = reference.CLEAN
    slices = smile.Svi(*(np.full(20, p) for p in params), *(np.zeros(20),) * 2, np.zeros(20, np.int8))
    points = np.linspace(-1, 1, 2048)

    def numpy_cdf() -> np.ndarray:
        a, b, rho, m, s = params
        root = np.sqrt((points - m) ** 2 + s * s)
        w, first = a + b * (rho * (points - m) + root), b * (rho + (points - m) / root)
        sd = np.sqrt(w)
        d2 = -points / sd - 0.5 * sd
        return ndtr(-d2) + np.exp(-0.5 * d2 * d2) / np.sqrt(2 * np.pi) * first / (2 * sd)

    return Case(
        name="distribution function of a smile, 2 048 points",
        ours=Contender(lambda: density.cdf(slices, points), 20),
        references={"numpy and scipy.special": Contender(numpy_cdf, 1)},
        accuracy=lambda: f"largest difference {np.abs(density.cdf(slices, points)[0] - numpy_cdf()).max():.0e}",
        notes="ours computes density and put value as well",
        limits="arithmetic: exponentials, normal distributions, roots and divisions of every point",
    )
