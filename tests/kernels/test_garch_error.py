"""The standard error of a forecast volatility: against brute force, a simulation, and what it must do at the edges."""

import numpy as np
import pytest

from kernels import garch, garch_error


def simulate(n: int, t: int, seed: int, omega: float = 0.06, alpha: float = 0.08, beta: float = 0.88) -> np.ndarray:
    rng = np.random.default_rng(seed)
    h = np.full(n, omega / (1.0 - alpha - beta))
    out = np.empty((n, t))
    for i in range(t):
        out[:, i] = np.sqrt(h) * rng.standard_normal(n)
        h = omega + alpha * out[:, i] ** 2 + beta * h
    return out


def brute(y: np.ndarray, fit: garch.GarchFit, horizon: int) -> float:
    """The same delta method with numerical derivatives of likelihood terms and of the window variance."""
    theta = np.array([fit.omega[0], fit.alpha[0], fit.beta[0]])

    def path(p: np.ndarray) -> np.ndarray:
        moved = fit._replace(omega=p[:1], alpha=p[1:2], beta=p[2:])
        return garch.conditional_variance(moved, np.append(y, 0.0)[None, :])[0]

    # The backcast of the padded series must be that of the series: it looks at the first 75 returns about the mean.
    h = path(theta)
    d = np.empty((3, h.size))
    for i in range(3):
        step = 1e-5 * theta[i]
        up, down = theta.copy(), theta.copy()
        up[i] += step
        down[i] -= step
        d[i] = (path(up) - path(down)) / (2.0 * step)
    n = y.size
    u = ((y - fit.mu[0]) ** 2 / h[:n] - 1.0) / (2.0 * h[:n])
    information = (d[:, :n] / (2.0 * h[:n] ** 2)) @ d[:, :n].T
    scores = (d[:, :n] * u**2) @ d[:, :n].T
    inverse = np.linalg.inv(information)
    rho = theta[1] + theta[2]
    total, gradient, value, slope = 0.0, np.zeros(3), h[n], d[:, n].copy()
    for _ in range(horizon):
        total += value
        gradient += slope
        slope = np.array([1.0, value, value]) + rho * slope
        value = theta[0] + rho * value
    return float(0.5 * np.sqrt(gradient @ inverse @ scores @ inverse @ gradient) / total)


def test_it_is_the_delta_method() -> None:
    y = simulate(1, 504, 3)
    y -= y.mean()  # so that the padding of the brute force does not move the backcast's centre
    fit = garch.fit(y)
    got = garch_error.window_error(fit, y, 42)[0]
    for horizon in (1, 5, 21, 42):
        assert got[horizon - 1] == pytest.approx(brute(y[0], fit, horizon), rel=1e-6)


def test_it_is_what_repeated_samples_scatter() -> None:
    # One process, many histories that end in the same place: what differs is the estimate.
    n = 400
    y = simulate(n, 1004, 11)
    h = 0.06 / 0.04 * np.ones(n)
    for i in range(1004):
        h = 0.06 + 0.08 * y[:, i] ** 2 + 0.88 * h
    fit = garch.fit(y)
    horizon = 21
    truth, v = np.zeros(n), h.copy()
    for _ in range(horizon):
        truth += v
        v = 0.06 + 0.96 * v
    z = 0.5 * np.log(garch.window_variance(fit, [horizon])[:, 0] / truth)
    z /= garch_error.window_error(fit, y, horizon)[:, -1]
    # A linearisation of 1,004 returns: a robust spread of one, give or take a fifth.
    assert 0.8 < 1.4826 * np.median(np.abs(z)) < 1.25
    assert np.mean(np.abs(z) < 1.96) > 0.87


def test_no_arch_effect_leaves_the_error_of_a_constant_variance() -> None:
    y = np.random.default_rng(5).standard_normal((40, 504))
    fit = garch.fit(y)
    flat = fit.alpha == 0.0
    assert flat.any()
    got = garch_error.window_error(fit, y, 10)[flat]
    # sqrt((3 - 1) / 504) / 2 for normal returns.
    assert got == pytest.approx(np.full(got.shape, 0.0315), rel=0.25)
    square = ((y - fit.mu[:, None]) ** 2 / garch.conditional_variance(fit, y))[flat]
    kurtosis = (square**2).mean(axis=1) / square.mean(axis=1) ** 2
    assert got == pytest.approx(np.tile(0.5 * np.sqrt((kurtosis - 1.0) / 504), (10, 1)).T, rel=1e-11)


def test_a_bad_row_is_nan_and_changes_no_other() -> None:
    y = simulate(3, 504, 7)
    alone = garch_error.window_error(garch.fit(y[[0, 2]]), y[[0, 2]], 5)
    y[1, 10] = np.nan
    together = garch_error.window_error(garch.fit(y), y, 5)
    assert np.isnan(together[1]).all()
    assert (together[[0, 2]] == alone).all()


def test_shapes_that_do_not_fit_raise() -> None:
    y = simulate(2, 504, 9)
    fit = garch.fit(y)
    with pytest.raises(ValueError, match="not be negative"):
        garch_error.window_error(fit, y, -1)
    with pytest.raises(ValueError, match="2 series"):
        garch_error.window_error(fit, y[:1], 5)
