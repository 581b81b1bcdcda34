"""SVI by scipy: bounded least squares from the truth and from several starts."""

import numpy as np
from scipy.optimize import least_squares

VOGT = (-0.0410, 0.1331, 0.3060, 0.3586, 0.4153)
"""Axel Vogt's slice with butterfly arbitrage: a, b, rho, m, s (Gatheral & Jacquier 2014, Example 3.1)."""
CLEAN = (0.01, 0.08, -0.4, 0.0, 0.15)


def total_variance(params, k):
    a, b, rho, m, s = params
    return a + b * (rho * (k - m) + np.sqrt((k - m) ** 2 + s * s))


def durrleman(params, k):
    """Durrleman's g straight from its definition, with w's derivatives."""
    a, b, rho, m, s = params
    root = np.sqrt((k - m) ** 2 + s * s)
    w, first, second = a + b * (rho * (k - m) + root), b * (rho + (k - m) / root), b * s * s / root**3
    return (1 - k * first / (2 * w)) ** 2 - first**2 / 4 * (1 / w + 0.25) + second / 2


def least_squares_fit(k, w, weight, start):
    """Weighted sum of squares that scipy reaches within a >= 0, 0 <= b, |rho| < 1."""
    result = least_squares(
        lambda p: np.sqrt(weight) * (total_variance(p, k) - w),
        start,
        bounds=([0, 0, -0.999, -3, 1e-3], [2, 3, 0.999, 3, 5]),
        x_scale=[0.01, 0.1, 0.5, 0.1, 0.1],
        ftol=1e-14,
        xtol=1e-14,
        gtol=1e-14,
        max_nfev=600,
    )
    return 2 * result.cost


def random_slices(count, seed, noise=0.004):
    """Slices like a share's, with 12 to 44 noisy quotes: (k, w, weight, tau, exact w, parameters), NaN padded."""
    rng = np.random.default_rng(seed)
    out = [np.full((count, 45), np.nan) for _ in range(4)]
    tau, params = np.empty(count), np.empty((count, 5))
    for i in range(count):
        tau[i], vol = rng.uniform(0.02, 0.6), rng.uniform(0.15, 0.8)
        level, scale = vol * vol * tau[i], vol * np.sqrt(tau[i])
        rho, b = rng.uniform(-0.8, 0.2), rng.uniform(0.3, 1.2) * scale * 0.5
        s, m = rng.uniform(0.3, 1.5) * scale, rng.uniform(-0.3, 0.3) * scale
        params[i] = max(level - b * (np.hypot(m, s) - rho * m), 1e-5), b, rho, m, s
        n = rng.integers(12, 45)
        k = np.sort(rng.uniform(-2.5 * scale, 2 * scale, n))
        exact = total_variance(params[i], k)
        noisy = np.sqrt(exact / tau[i]) + rng.normal(0, noise, n)
        columns = k, noisy**2 * tau[i], 1 / (2 * noisy * tau[i] * noise) ** 2, exact
        for array, values in zip(out, columns, strict=True):
            array[i, :n] = values
    return (*out[:3], tau, out[3], params)
