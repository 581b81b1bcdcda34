"""Spectral references: numpy's FFT, SciPy's tapers and optimiser, statsmodels' filters and covariances."""

import numpy as np
from scipy.optimize import curve_fit
from scipy.signal.windows import dpss
from scipy.stats import f as f_distribution
from statsmodels.regression.linear_model import OLS
from statsmodels.tsa.filters.hp_filter import hpfilter


def band(length):
    """Fourier bins of periods from 7 to 180."""
    k = np.arange(1, (length - 1) // 2 + 1)
    return k[(length / k >= 7) & (length / k <= 180)]


def periodogram(x):
    """|X|^2 / n at the bins of the band, by numpy's FFT."""
    return np.abs(np.fft.rfft(x - x.mean())[band(x.size)]) ** 2 / x.size


def red_noise_p(x):
    """p-values of the band's bins under AR(1) noise (Torrence & Compo), term by term."""
    n = x.size
    d = x - x.mean()
    a = np.clip((d[1:] @ d[:-1]) / (d @ d) + 1 / n, -0.99, 0.99)
    k = np.arange(1, (n - 1) // 2 + 1)
    noise = (1 - a * a) / (1 + a * a - 2 * a * np.cos(2 * np.pi * k / n))
    noise /= noise.mean()
    return np.exp(-periodogram(x) / d.var() / noise[band(n) - 1])


def line_p(x, frequency):
    """Thomson's harmonic F-test at one frequency (cycles per observation), 5 tapers of NW = 3."""
    tapers = dpss(x.size, 3, 5)
    at_zero = np.where(np.arange(5) % 2 == 0, tapers.sum(1), 0.0)
    y = tapers @ ((x - x.mean()) * np.exp(-2j * np.pi * frequency * np.arange(x.size)))
    mu = at_zero @ y / (at_zero @ at_zero)
    ratio = 4 * abs(mu) ** 2 * (at_zero @ at_zero) / np.sum(np.abs(y - mu * at_zero) ** 2)
    return f_distribution.sf(ratio, 2, 8)


def newey_west_t(x, lags):
    """t-statistic of the mean with statsmodels' HAC covariance."""
    fit = OLS(x, np.ones(x.size)).fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": True})
    return fit.tvalues[0]


def one_sided_trend(y, period):
    """End points of the two-sided Hodrick-Prescott trends of y[:3], y[:4], ...: what a one-sided filter sees."""
    smoothing = (2 * np.sin(np.pi / period)) ** -4
    return np.array([hpfilter(y[: t + 1], smoothing)[1][-1] for t in range(2, y.size)])


def _wave(u, drift, a, b, omega):
    return drift * u + a * np.cos(omega * u) + b * np.sin(omega * u)


def phase(y, period):
    """Angle at the end point and its standard error: SciPy's nonlinear least squares on whitened differences."""
    u = np.arange(y.size) - (y.size - 1.0)

    def residual_ar1(omega):
        columns = np.diff(np.column_stack([u, np.cos(omega * u), np.sin(omega * u)]), axis=0)
        rest = np.diff(y) - columns @ np.linalg.lstsq(columns, np.diff(y), rcond=None)[0]
        return (rest[1:] @ rest[:-1]) / (rest @ rest)

    def whiten(values, ar1):
        d = np.diff(values)
        return d[1:] - ar1 * d[:-1]

    omega = 2 * np.pi / period
    for turn in range(2):
        ar1 = residual_ar1(omega)

        def model(_, *parameters, ar1=ar1):
            return whiten(_wave(u, *parameters), ar1)

        starts = [omega + step * 2 * np.pi / (y.size - 1) / 8 for step in range(-6, 7)] if turn == 0 else [omega]
        fits = [
            curve_fit(model, u[2:], whiten(y, ar1), p0=[0, 0.01, 0.01, start], x_scale=[1e-3, 1e-2, 1e-2, 1e-3],
                      ftol=1e-14, xtol=1e-14, gtol=1e-14, method="trf")
            for start in starts
        ]  # fmt: skip
        best, covariance = min(fits, key=lambda fit: np.sum((model(None, *fit[0]) - whiten(y, ar1)) ** 2))
        omega = best[3]
    _, a, b, _ = best
    gradient = np.array([b, -a]) / (a * a + b * b)
    return np.arctan2(-b, a), np.sqrt(gradient @ covariance[1:3, 1:3] @ gradient), 2 * np.pi / omega


def white(rng, n, t):
    """White noise, 2 % a day."""
    return 0.02 * rng.standard_normal((n, t))


def autoregressive(rng, n, t, ar1=0.1):
    """AR(1) noise."""
    shock = 0.02 * rng.standard_normal((n, t + 100))
    x = np.zeros_like(shock)
    for i in range(1, t + 100):
        x[:, i] = ar1 * x[:, i - 1] + shock[:, i]
    return x[:, 100:].copy()


def garch_t(rng, n, t, nu=5):
    """GARCH(1,1) with Student shocks: persistence 0.98, heavy tails."""
    z = rng.standard_t(nu, (n, t + 300)) * np.sqrt((nu - 2) / nu)
    x, sigma2 = np.zeros_like(z), np.ones(n)
    for i in range(t + 300):
        x[:, i] = np.sqrt(sigma2) * z[:, i]
        sigma2 = 0.02 + 0.08 * x[:, i] ** 2 + 0.9 * sigma2
    return 0.02 * x[:, 300:].copy()


def wave(rng, n, t, period, amplitude):
    """Log returns of a wave in the log price, of random phase."""
    start = rng.uniform(0, 2 * np.pi, (n, 1))
    return np.diff(amplitude * np.cos(2 * np.pi / period * np.arange(t + 1) + start))


def noise(n=6, t=504, seed=1):
    return white(np.random.default_rng(seed), n, t)


def ragged(n=70, t=260, seed=2):
    rng = np.random.default_rng(seed)
    x = white(rng, n, t) + wave(rng, n, t, 21.0, 0.05)
    return x, rng.integers(64, t + 1, n)
