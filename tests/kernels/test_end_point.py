"""Where a series stands at its end: the phase of its cycle, its trend, the chart's two lines."""

import numpy as np
import pytest
from scipy.stats import binom

from kernels import spectral, status
from tests.references import spectral as reference
from tests.references.spectral import noise, ragged

# Phase


@pytest.mark.parametrize(("period", "amplitude"), [(20.4, 0.05), (30.3, 0.05), (60.7, 0.1)])
def test_phase_is_scipys_least_squares(period, amplitude):
    t = 505
    rng = np.random.default_rng(int(period))
    y = np.cumsum(
        np.pad(reference.white(rng, 1, t - 1) + reference.wave(rng, 1, t - 1, period, amplitude), ((0, 0), (1, 0)))
    )
    fourier_period = 504 / np.rint(504 / period)
    got = spectral.phase(y, fourier_period)
    angle, std_error, refined = reference.phase(y, fourier_period)
    assert got.angle[0] == pytest.approx(angle, abs=1e-4 * std_error)  # both stop within a small part of the error
    assert got.std_error[0] == pytest.approx(std_error, rel=1e-2)  # SciPy's curvature is by finite differences
    assert got.period[0] == pytest.approx(refined, rel=1e-6)


def test_determined_is_an_amplitude_beyond_twice_its_own_error():
    n, t, period = 400, 120, 50.3
    rng = np.random.default_rng(21)
    returns = reference.white(rng, n, t - 1) + reference.wave(rng, n, t - 1, period, 0.03)
    y = np.cumsum(np.pad(returns, ((0, 0), (1, 0))), axis=1)
    got = spectral.phase(y, period, refine=False)
    u = 2 * np.pi / period * (np.arange(t) - (t - 1.0))
    columns = np.stack([np.ones(t - 1), np.diff(np.cos(u)), np.diff(np.sin(u))], axis=1)
    determined, without_covariance = [], []
    for row in y:
        d = np.diff(row)
        rest = d - columns @ np.linalg.lstsq(columns, d, rcond=None)[0]
        ar1 = rest[1:] @ rest[:-1] / (rest @ rest)
        design, target = columns[1:] - ar1 * columns[:-1], d[1:] - ar1 * d[:-1]
        beta = np.linalg.lstsq(design, target, rcond=None)[0]
        noise = ((target - design @ beta) ** 2).sum() / (t - 2 - 3)
        covariance = noise * np.linalg.inv(design.T @ design)[1:, 1:]
        for found, matrix in ((determined, covariance), (without_covariance, np.diag(np.diag(covariance)))):
            found.append(beta[1:] @ beta[1:] > 2.0 * np.sqrt(beta[1:] @ matrix @ beta[1:]))
    np.testing.assert_array_equal(got.determined, determined)
    assert 0.2 < got.determined.mean() < 0.8
    assert (np.array(without_covariance) != determined).any()


def test_a_clean_wave_gives_its_angle_amplitude_and_period():
    t, angle = np.arange(505) - 504.0, np.array([-3.0, -1.0, 0.0, 2.0])
    y = 4.6 + 3e-4 * t + 0.05 * np.cos(2 * np.pi / 31.0 * t + angle[:, None])
    got = spectral.phase(y, 504 / 16)
    np.testing.assert_allclose(got.angle, angle, atol=1e-7)  # rounding of log prices of 5 over steps of 0.01
    np.testing.assert_allclose(got.amplitude, 0.05, rtol=1e-7)
    np.testing.assert_allclose(got.period, 31.0, rtol=1e-8)
    np.testing.assert_array_equal(got.position, [spectral.TROUGH, spectral.PEAK, spectral.PEAK, spectral.TROUGH])


def test_its_95_percent_interval_covers_the_angle():
    n, t, period = 400, 505, 30.3
    rng = np.random.default_rng(9)
    angle = rng.uniform(-np.pi, np.pi, n)
    y = np.cumsum(reference.white(rng, n, t), axis=1)
    y += 0.04 * np.cos(2 * np.pi / period * (np.arange(t) - t + 1) + angle[:, None])
    got = spectral.phase(y, 504 / 17)
    miss = np.abs(np.angle(np.exp(1j * (got.angle - angle))))
    low, high = binom.interval(0.998, n, 0.95)
    assert low - 0.02 * n <= (miss < 1.96 * got.std_error).sum() <= high  # linearised: up to two points short
    truth = np.where(np.cos(angle) > 0, spectral.PEAK, spectral.TROUGH)
    assert (got.position == -truth).mean() < 0.02
    assert (got.position == truth).mean() > 0.4


def test_noise_has_no_position():
    y = np.cumsum(noise(n=300, t=505), axis=1)
    got = spectral.phase(y, 30.0)
    assert not got.position[~got.determined].any()
    assert (got.position != 0).mean() < 0.75  # the best of the neighbouring frequencies always has some amplitude


def test_a_known_period_stays():
    got = spectral.phase(np.cumsum(noise(n=3), axis=1), [20.0, 30.0, 40.0], refine=False)
    np.testing.assert_allclose(got.period, [20.0, 30.0, 40.0], rtol=1e-15)


# Trend


@pytest.mark.parametrize(("t", "lags"), [(20, 2), (60, 3), (250, 4)])
def test_trend_is_statsmodels_newey_west(t, lags):
    x = reference.autoregressive(np.random.default_rng(t), 3, t + 50, 0.2)
    got = spectral.trend(x, window=t)
    for i in range(3):
        assert got.slope[i] == pytest.approx(x[i, -t:].mean(), rel=1e-12)
        assert got.t_stat[i] == pytest.approx(reference.newey_west_t(x[i, -t:], lags), rel=1e-10)
    assert (got.n == t).all()


@pytest.mark.parametrize(("t", "critical"), [(20, 2.412973), (60, 2.159651), (250, 2.019550)])
def test_critical_values_are_those_of_the_table(t, critical):
    # Kiefer & Vogelsang 2005, table 1, Bartlett, 97.5 %: 1.9600, 2.9694, 0.4160, -0.5324 in powers of lags + 1 over t
    assert spectral.trend(noise(n=1, t=t), window=t).critical[0] == pytest.approx(critical, abs=2e-6)


def test_without_a_trend_its_critical_value_is_passed_in_5_percent():
    got = spectral.trend(noise(n=20000, t=60))
    assert (np.abs(got.t_stat) > got.critical).mean() == pytest.approx(0.05, abs=0.01)
    assert (np.abs(got.t_stat) > 1.96).mean() > 0.06  # why 1.96 is not it


def test_trend_uses_the_end_of_each_row():
    x, _ = ragged(n=5)
    x[:, 64:] += 1.0
    got = spectral.trend(x, np.full(5, 64), window=30)
    np.testing.assert_allclose(got.slope, x[:, 34:64].mean(axis=1), rtol=1e-12)


# The chart's two lines


def test_low_is_the_one_sided_hodrick_prescott_trend():
    y = 4.0 + np.cumsum(noise(n=1, t=120)[0])
    low = spectral.band_signals(y).low[0]
    np.testing.assert_array_equal(low[:2], y[:2])
    np.testing.assert_allclose(low[2:], reference.one_sided_trend(y, 60), atol=1e-9)  # statsmodels solves with 1 + 6e4


def test_low_does_not_change_when_tomorrow_comes():
    y = 4.0 + np.cumsum(noise(n=1, t=200)[0])
    before, after = spectral.band_signals(y[:150]).low[0], spectral.band_signals(y).low[0]
    assert before.tobytes() == after[:150].tobytes()


def test_low_follows_a_straight_line():
    y = 4.0 + 0.001 * np.arange(300)
    np.testing.assert_allclose(spectral.band_signals(y).low[0], y, rtol=1e-13)


def test_mid_is_zero_without_a_cycle_and_the_fitted_wave_with_one():
    t = np.arange(505) - 504.0
    y = 4.0 + 0.05 * np.cos(2 * np.pi / 31.0 * t + 1.0)
    got = spectral.band_signals([y, y], [np.nan, 31.5])
    assert not got.mid[0].any()
    np.testing.assert_allclose(got.mid[1], y - 4.0, atol=1e-7)
    np.testing.assert_allclose(got.low[1], 4.0, atol=1e-7)


def test_both_lines_are_finite_for_every_usable_row():
    y = np.cumsum(noise(n=4, t=100), axis=1)
    y[1] = 3.0
    lengths = np.array([100, 100, 1, 2])
    got = spectral.band_signals(y, 25.0, lengths)
    assert (got.status == status.OK).all()
    for i, length in enumerate(lengths):
        assert np.isfinite(got.low[i, :length]).all()
        assert np.isfinite(got.mid[i, :length]).all()
        assert np.isnan(got.low[i, length:]).all()
