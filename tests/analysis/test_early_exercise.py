"""European volatilities of American quotes, against the kernel that inverts American prices."""

import numpy as np

from bq.analysis import early_exercise
from bq.analysis.early_exercise import Terms
from kernels import american, black_scholes

RNG = np.random.default_rng(4)
N = 4000


def quotes() -> tuple[np.ndarray, Terms, np.ndarray, np.ndarray]:
    """Options from three standard deviations out of the money to a quarter of one in the money."""
    tau, sigma = RNG.uniform(5 / 365, 0.35, N), RNG.uniform(0.08, 0.9, N)
    rate, dividend = RNG.uniform(0.0, 0.07, N), RNG.uniform(-0.03, 0.08, N)
    is_call = RNG.random(N) < 0.5
    away = RNG.uniform(-0.25, 3.0, N) * sigma * np.sqrt(tau)
    strike = 100.0 * np.exp((rate - dividend) * tau + np.where(is_call, away, -away))
    terms = Terms(np.full(N, 100.0), strike, tau, rate, dividend)
    return american.price(*terms, sigma, is_call).price, terms, is_call, sigma


def test_the_volatility_is_that_of_the_american_price() -> None:
    price, terms, is_call, _ = quotes()
    found = early_exercise.removed(price, terms, is_call)
    wanted = american.implied_vol(price, *terms, is_call)
    good = wanted.status == 0
    assert good.mean() > 0.98
    assert np.abs(found.sigma - wanted.sigma)[good].max() < 1e-4  # beyond the money, where exercise is near
    assert np.quantile(np.abs(found.sigma - wanted.sigma)[good], 0.998) < 1e-5


def test_what_is_left_is_the_european_price() -> None:
    price, terms, is_call, sigma = quotes()
    found = early_exercise.removed(price, terms, is_call)
    known = found.sigma > 0.0
    european = black_scholes.price(*terms, sigma, is_call)
    # A vega of at most 40 times 1e-4 of volatility.
    assert np.abs(price - found.premium - european)[known].max() < 4e-3
    assert np.abs(price - found.premium - european)[known].mean() < 1e-5


def test_a_price_without_a_volatility_has_none() -> None:
    terms = Terms(*np.full((5, 3), [[100.0], [110.0], [0.1], [0.04], [0.0]]))
    found = early_exercise.removed(np.array([-0.1, 100.5, np.nan]), terms, np.array([True, True, True]))
    assert np.isnan(found.sigma).all()
    assert np.isnan(found.premium).all()
