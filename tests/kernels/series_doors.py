"""Every door that takes series, with a mixture of rows: ordinary, short, flat, wild, and bad ones."""

from typing import Any

import numpy as np

from kernels import arima, garch, simulate, spectral
from tests.kernels.isolation import Door

WIDTH = 300


def returns(n: int, seed: int, odd: int, shortest: int = 60) -> list[np.ndarray]:
    """Returns in per cent with clusters of volatility, and their lengths; `odd` rows no model was made for."""
    rng = np.random.default_rng(seed)
    z = rng.standard_t(6, (n, WIDTH)) * np.sqrt(4 / 6)
    h = np.ones(n)
    y = np.empty((n, WIDTH))
    alpha, beta = rng.uniform(0.0, 0.15, n), rng.uniform(0.5, 0.84, n)
    for t in range(WIDTH):
        y[:, t] = 0.05 + np.sqrt(h) * z[:, t]
        h = (1.0 - alpha - beta) + (alpha * z[:, t] ** 2 + beta) * h
    y *= np.exp(rng.uniform(-1.0, 1.5, n))[:, None]
    y[::5] += np.sin(2 * np.pi * np.arange(WIDTH) / rng.uniform(8, 60, len(y[::5]))[:, None])
    lengths = np.where(rng.random(n) < 0.5, WIDTH, rng.integers(shortest, WIDTH + 1, n))
    for k, row in enumerate(rng.choice(n, odd, replace=False)):
        _spoil(y, lengths, row, k, rng)
    y[np.arange(WIDTH) >= lengths[:, None]] = np.nan
    return [y, lengths]


def _spoil(y: np.ndarray, lengths: np.ndarray, row: int, kind: int, rng: np.random.Generator) -> None:
    match kind % 8:
        case 0:
            y[row] = 0.0
        case 1:
            y[row, lengths[row] // 2] = np.nan
        case 2:
            lengths[row] = rng.integers(0, 12)
        case 3:
            y[row, 40] *= 1e6
        case 4:
            y[row] *= 1e-150
        case 5:
            y[row] *= 1e120
        case 6:
            y[row] = rng.standard_normal(WIDTH)
        case 7:
            y[row] = (-1.0) ** np.arange(WIDTH)


def levels(n: int, seed: int, odd: int) -> list[np.ndarray]:
    """Log prices of such returns, at most 120 of them."""
    y, lengths = returns(n, seed, odd)
    return [np.ascontiguousarray(4.6 + np.cumsum(0.01 * y, axis=1)[:, :120]), np.minimum(lengths, 120)]


def long_levels(n: int, seed: int, odd: int) -> list[np.ndarray]:
    """Log prices of such returns, over the whole width."""
    y, lengths = returns(n, seed, odd)
    return [4.6 + np.cumsum(0.01 * y, axis=1), lengths]


def with_parameters(n: int, seed: int, odd: int) -> list[np.ndarray]:
    """Returns and a point of the GARCH parameters for each."""
    rng = np.random.default_rng(seed + 100)
    mu, omega, alpha, beta = rng.normal(0, 0.1, n), rng.uniform(0, 0.3, n), rng.uniform(0, 0.2, n), rng.uniform(0, 1, n)
    return [*returns(n, seed, odd), mu, omega, alpha, beta]


def with_arma(n: int, seed: int, odd: int) -> list[np.ndarray]:
    """Levels and ARMA coefficients for each."""
    rng = np.random.default_rng(seed + 200)
    return [*levels(n, seed, odd), rng.uniform(-0.5, 0.5, (n, 3)), rng.uniform(-0.6, 0.6, (n, 3)), rng.uniform(0, 2, n)]


def _spectrum(standardize: Any) -> Any:
    def answer(x, lengths):
        found = spectral.spectrum(x, lengths, standardize=standardize)
        width = WIDTH // 7 + 1  # of the widest row a batch could have: the door's own depends on the batch
        return tuple(
            np.pad(f, ((0, 0), (0, width - f.shape[1])), constant_values=np.nan) if f.ndim == 2 else f for f in found
        )

    return answer


def _cycles(x, lengths):
    return spectral.cycles(x, lengths, standardize="ewma", peaks_only=True)


def _confirm(x, lengths):
    return spectral.confirm(x, np.full((len(x), 2), [21.0, 9.0]), lengths)


def _simulate(x, lengths, seeds):
    fit = garch.fit(x, lengths)
    return simulate.filtered_historical(fit, x, [1, 5, 22], 100, seeds, lengths)


def _garch_loglikelihood(x, lengths, mu, omega, alpha, beta):
    return garch.loglikelihood(x, mu, omega, alpha, beta, lengths=lengths)


def _arima_loglikelihood(x, lengths, ar, ma, sigma2):
    return arima.loglikelihood(x, ar, ma, sigma2, lengths)


SMALL = (1, 15, 16, 17)
DOORS = (
    Door("garch.fit", garch.fit, lambda: returns(70, 1, 24)),
    Door(
        "garch.fit auto",
        lambda x, lengths: garch.fit(x, lengths, model="auto", dist="auto"),
        lambda: returns(40, 2, 16),
        sizes=SMALL,
    ),
    Door(
        "garch.fit sample start",
        lambda x, lengths: garch.fit(x, lengths, start="sample"),
        lambda: returns(40, 3, 16),
        sizes=SMALL,
    ),
    Door("garch.loglikelihood", _garch_loglikelihood, lambda: with_parameters(70, 4, 24)),
    Door(
        "garch.conditional_variance",
        lambda x, lengths: garch.conditional_variance(garch.fit(x, lengths), x, lengths),
        lambda: returns(40, 5, 16),
        sizes=SMALL,
    ),
    Door(
        "garch.forecast",
        lambda x, lengths: garch.forecast(garch.fit(x, lengths), 30),
        lambda: returns(40, 6, 16),
        sizes=SMALL,
    ),
    Door(
        "simulate.filtered_historical",
        _simulate,
        lambda: [*returns(40, 7, 16), np.arange(40, dtype=np.int64)],
        sizes=SMALL,
    ),
    Door("arima.fit", arima.fit, lambda: levels(36, 8, 16), sizes=SMALL),
    Door("arima.loglikelihood", _arima_loglikelihood, lambda: with_arma(70, 9, 24)),
    Door(
        "arima.forecast",
        lambda x, lengths: arima.forecast(arima.fit(x, lengths, orders=((0, 1, 1), (1, 1, 0))), x, 30, lengths),
        lambda: levels(36, 10, 16),
        sizes=SMALL,
    ),
    Door("spectral.cycles", spectral.cycles, lambda: returns(150, 11, 40)),
    Door("spectral.cycles ewma", _cycles, lambda: returns(150, 12, 40)),
    Door("spectral.spectrum", _spectrum(None), lambda: returns(150, 13, 40)),
    Door("spectral.spectrum ewma", _spectrum("ewma"), lambda: returns(150, 14, 40)),
    Door("spectral.confirm", _confirm, lambda: returns(150, 15, 40)),
    Door("spectral.trend", spectral.trend, lambda: returns(150, 16, 40)),
    Door("spectral.phase", lambda x, lengths: spectral.phase(x, 21.0, lengths), lambda: long_levels(80, 17, 24)),
    Door(
        "spectral.band_signals",
        lambda x, lengths: spectral.band_signals(x, 21.0, lengths),
        lambda: long_levels(80, 18, 24),
    ),
)
