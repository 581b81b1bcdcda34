from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import stats

from kernels import garch, simulate, status
from tests.references import garch as reference

WEYL = 0x9E3779B97F4A7C15
FULL = 2**64 - 1


@pytest.fixture(scope="module")
def fitted():
    """Four series of different lengths, their lengths, and their GJR fits."""
    y = reference.simulate(np.random.default_rng(1), 4, 504, alpha=0.03, gamma=0.1, nu=6.0)
    lengths = np.array([504, 300, 411, 504])
    return y, lengths, garch.fit(y, lengths, model="gjr")


def run(fitted, horizons=(1, 5, 30), paths=300, seed=(1, 2, 3, 4), **options):
    y, lengths, fit = fitted
    return simulate.filtered_historical(fit, y, horizons, paths, np.array(seed), lengths, **options)


def bits(key, path, step):
    """SplitMix64 in Python's integers."""
    return mixed(key + ((path << 20) + step + 1) * WEYL)


def mixed(x):
    x &= FULL
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & FULL
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & FULL
    return x ^ (x >> 31)


# --- the generator --------------------------------------------------------------------------------------------------


def test_the_generator_is_splitmix64():
    # the first outputs for seed 1234567, as Rosetta Code's task "Pseudo-random numbers/Splitmix64" lists them
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    found = [int(simulate.mix(np.uint64((1234567 + k * WEYL) & FULL))) for k in (1, 2, 3, 4)]
    assert found == expected


def test_a_draw_depends_on_seed_path_and_step_only():
    key = int(simulate.stream(np.uint64(42)))
    assert key == mixed(42 + WEYL)
    assert int(simulate.draw(np.uint64(key), np.uint64(7), np.uint64(5))) == bits(key, 7, 5)


def test_uniforms_are_uniform_and_never_zero_or_one():
    key = np.uint64(simulate.stream(np.uint64(3)))

    def one(path, step):
        # numba hands out Python integers: say again that these are 64 unsigned bits
        return simulate.uniform(np.uint64(simulate.draw(key, np.uint64(path), np.uint64(step))))

    u = np.array([one(path, step) for path in range(200) for step in range(50)])
    assert stats.kstest(u, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(u[1:], u[:-1])[0, 1]) < 0.04  # 4 standard errors of 10,000
    assert 0.0 < simulate.uniform(np.uint64(0)) < 1e-15
    assert 1.0 - 1e-15 < simulate.uniform(np.uint64(FULL)) < 1.0


# --- the paths ------------------------------------------------------------------------------------------------------


def by_hand(y, fit, i, horizons, paths, seed):
    """Simulate one row path by path in plain Python."""
    mu, omega, alpha, gamma, beta = (float(field[i]) for field in fit[:5])
    h = garch.conditional_variance(garch.GarchFit(*(f[i : i + 1] for f in fit)), y[None])[0]
    z = (y - mu) / np.sqrt(h)
    z = (z - z.mean()) / z.std()
    key = mixed(seed + WEYL)
    out = np.empty((len(horizons), paths))
    for path in range(paths):
        variance, total, steps = float(fit.sigma2_next[i]), 0.0, []
        for step in range(max(horizons)):
            both = bits(key, path, step - step % 2)
            word = both & 0xFFFFFFFF if step % 2 else both >> 32
            e = np.sqrt(variance) * z[(word * y.size) >> 32]
            total += mu + e
            variance = omega + (alpha + gamma * (e < 0)) * e * e + beta * variance
            steps.append(total)
        out[:, path] = [steps[k - 1] for k in horizons]
    return out


@pytest.mark.parametrize("i", [0, 1])
def test_paths_are_those_of_the_plain_program(fitted, i):
    y, lengths, fit = fitted
    expected = by_hand(y[i, : lengths[i]], fit, i, (1, 2, 5, 30), 70, 1 + i)
    # thirty steps of rounding
    np.testing.assert_allclose(run(fitted, (1, 2, 5, 30), 70)[i], expected, rtol=1e-10, atol=1e-12)


def test_the_variance_of_the_sums_is_the_forecast_one(fitted):
    y, lengths, _ = fitted
    fit = garch.fit(y, lengths)  # symmetric: the innovations' mean is zero and their variance one, by rescaling
    sums = simulate.filtered_historical(fit, y, [1, 10, 30], 40_000, np.arange(4), lengths)
    error = np.sqrt((stats.kurtosis(sums, axis=2) + 2) / 40_000)
    gap = sums.var(axis=2) / garch.window_variance(fit, [1, 10, 30]) - 1
    assert (abs(gap) < 4 * error).all(), gap / error


def test_the_mean_of_the_sums_is_the_drift(fitted):
    sums = run(fitted, (1, 30), 40_000)
    error = sums.std(axis=2) / 200
    gap = sums.mean(axis=2) - fitted[2].mu[:, None] * np.array([1, 30])
    assert (abs(gap) < 4 * error).all()


def test_one_step_draws_each_residual_equally_often(fitted):
    _, lengths, _ = fitted
    sums = run(fitted, (1,), 60_000)[1, 0]
    values, counts = np.unique(sums.round(9), return_counts=True)
    assert values.size == lengths[1]
    assert stats.chisquare(counts).pvalue > 0.001


def test_falls_and_rises_breed_the_variance_that_the_model_gives_them(fitted):
    _, _, fit = fitted
    sums = run(fitted, (1, 2), 40_000)
    first = sums[:, 0] - fit.mu[:, None]
    second = sums[:, 1] - sums[:, 0] - fit.mu[:, None]
    for e, then, omega, alpha, gamma, beta, h in zip(
        first, second, fit.omega, fit.alpha, fit.gamma, fit.beta, fit.sigma2_next, strict=True
    ):
        for fell, response in ((e < 0, alpha + gamma), (e >= 0, alpha)):
            expected = omega + response * np.mean(e[fell] ** 2) + beta * h
            error = np.std(then[fell] ** 2) / np.sqrt(fell.sum())
            assert abs(np.mean(then[fell] ** 2) - expected) < 4 * error


def test_student_fits_draw_their_own_residuals(fitted):
    y, lengths, _ = fitted
    fit = garch.fit(y, lengths, dist="t")
    sums = simulate.filtered_historical(fit, y, [1], 100, 1, lengths)
    assert np.isfinite(sums).all()
    z = (y[0] - fit.mu[0]) / np.sqrt(garch.conditional_variance(fit, y, lengths)[0])
    allowed = fit.mu[0] + np.sqrt(fit.sigma2_next[0]) * (z - z.mean()) / z.std()
    assert np.isin(sums[0, 0].round(9), allowed.round(9)).all()


def test_the_sample_start_is_followed(fitted):
    y = fitted[0]
    fit = garch.fit(y, start="sample")
    one = simulate.filtered_historical(fit, y, [10], 64, 5, start="sample")
    other = simulate.filtered_historical(fit, y, [10], 64, 5)
    assert np.isfinite(one).all()
    assert (one != other).any()


# --- antithetic paths -----------------------------------------------------------------------------------------------


def test_antithetic_pairs_take_residuals_of_opposite_rank(fitted):
    _, lengths, _ = fitted
    sums = run(fitted, (1,), 200, antithetic=True)[0, 0]
    ladder = np.unique(run(fitted, (1,), 60_000)[0, 0].round(9))
    ranks = np.searchsorted(ladder, sums.round(9))
    assert (ranks[0::2] + ranks[1::2] == lengths[0] - 1).all()


def test_antithetic_pairs_halve_the_error_of_the_mean(fitted):
    def spread(antithetic):
        means = [run(fitted, (10,), 256, seed=[s] * 4, antithetic=antithetic).mean(axis=2) for s in range(60)]
        return np.std(means, axis=0)

    assert (spread(True) < 0.7 * spread(False)).all()


# --- rows are strangers ---------------------------------------------------------------------------------------------


def test_a_row_has_the_same_bits_alone_and_in_company(fitted):
    y, lengths, fit = fitted
    together = run(fitted)
    for i in range(4):
        alone = garch.GarchFit(*(f[i : i + 1] for f in fit))
        found = simulate.filtered_historical(alone, y[i : i + 1, : lengths[i]], (1, 5, 30), 300, [i + 1])
        np.testing.assert_array_equal(found[0], together[i])


@pytest.mark.parametrize("paths", [1, 2, 63, 64, 65, 299])
@pytest.mark.parametrize("antithetic", [False, True])
def test_fewer_paths_are_the_first_of_more(fitted, paths, antithetic):
    many = run(fitted, antithetic=antithetic)
    np.testing.assert_array_equal(run(fitted, paths=paths, antithetic=antithetic), many[:, :, :paths])


def test_a_horizon_does_not_depend_on_the_others(fitted):
    together = run(fitted, (30, 1, 7, 7))
    for place, horizon in enumerate((30, 1, 7, 7)):
        np.testing.assert_array_equal(run(fitted, (horizon,))[:, 0], together[:, place])


def test_threads_do_not_matter(fitted):
    expected = run(fitted)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: run(fitted), range(8)):
            np.testing.assert_array_equal(found, expected)


def test_seeds_name_the_numbers(fitted):
    one, other = run(fitted, seed=(1, 2, 3, 4)), run(fitted, seed=(1, 2, 3, 5))
    np.testing.assert_array_equal(one[:3], other[:3])
    assert np.mean(one[3] == other[3]) < 0.05


def test_signed_and_unsigned_seeds_are_the_same_bits(fitted):
    one = run(fitted, seed=np.full(4, -1))
    other = run(fitted, seed=np.full(4, FULL, dtype=np.uint64))
    np.testing.assert_array_equal(one, other)


def test_neighbouring_seeds_are_unrelated(fitted):
    sums = run(fitted, (1,), 4000, seed=(10, 11, 12, 13))[[0, 3], 0]
    assert abs(np.corrcoef(sums)[0, 1]) < 4 / np.sqrt(4000)


def test_a_row_without_a_fit_is_nan_and_its_neighbours_are_not(fitted):
    y, lengths, _ = fitted
    spoilt = y.copy()
    spoilt[2, 17] = np.nan
    fit = garch.fit(spoilt, lengths, model="gjr")
    assert fit.status[2] == status.BAD_INPUT
    found = simulate.filtered_historical(fit, spoilt, (1, 5, 30), 300, np.array([1, 2, 3, 4]), lengths)
    assert np.isnan(found[2]).all()
    np.testing.assert_array_equal(found[[0, 1, 3]], run(fitted)[[0, 1, 3]])


# --- the door -------------------------------------------------------------------------------------------------------


def test_an_empty_batch_is_an_empty_answer():
    fit = garch.fit(np.empty((0, 100)))
    assert simulate.filtered_historical(fit, np.empty((0, 100)), [1, 2], 10, np.empty(0, int)).shape == (0, 2, 10)


@pytest.mark.parametrize(
    "options",
    [
        {"horizons": (0,)},
        {"horizons": (1.5,)},
        {"horizons": (2**20 + 1,)},
        {"paths": 0},
        {"seed": (1.0, 2.0, 3.0, 4.0)},
        {"seed": (1, 2, 3)},
        {"start": "zero"},
    ],
)
def test_what_does_not_fit_is_refused(fitted, options):
    with pytest.raises(ValueError, match=r"."):
        run(fitted, **options)
