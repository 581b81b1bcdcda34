"""Every door that takes options, with a mixture of rows: ordinary, far, expired, exercised at once, and bad ones."""

import numpy as np

from kernels import american, black_scholes
from kernels.implied_vol import implied_vol
from tests.kernels.isolation import Door

_ODD = (0.0, -1.0, 1e-300, 1e300, 1e-310, np.nan, np.inf)


def market(n: int, seed: int, odd: int) -> list[np.ndarray]:
    """Options within four standard deviations, `odd` of them with an extreme value in one column.

    Two hours to two years, sigma 1 to 150 %, rates and yields of either sign.
    """
    rng = np.random.default_rng(seed)
    sigma = np.exp(rng.uniform(np.log(0.01), np.log(1.5), n))
    tau = np.exp(rng.uniform(np.log(2e-4), np.log(2.0), n))
    spot = np.exp(rng.uniform(0, 7, n))
    strike = spot * np.exp(rng.uniform(-4, 4, n) * sigma * np.sqrt(tau))
    dividend = np.where(rng.random(n) < 0.3, 0.0, rng.uniform(-0.02, 0.12, n))
    columns = [spot, strike, tau, rng.uniform(-0.02, 0.12, n), dividend, sigma]
    for row in rng.choice(n, odd, replace=False):
        columns[rng.integers(6)][row] = rng.choice(_ODD)
    return [*columns, rng.random(n) < 0.5]


def quotes(n: int, seed: int, odd: int) -> list[np.ndarray]:
    """Prices of such options, some of them bent out of what any volatility can give."""
    rng = np.random.default_rng(seed)
    columns = market(n, seed, odd)
    price = np.nan_to_num(american.price(*columns).price, nan=1.0, posinf=1.0)
    price *= rng.choice([1.0, 1.0, 1.0, 1.0, 1.02, 0.9, -1.0, 100.0], n)
    return [price, *columns[:5], columns[6]]


def payers(n: int, seed: int, odd: int) -> list[np.ndarray]:
    """Such options with up to three cash dividends each."""
    rng = np.random.default_rng(seed)
    spot, strike, tau, rate, _, sigma, call = market(n, seed, odd)
    when = np.where(rng.random((n, 3)) < 0.3, np.nan, rng.uniform(-0.1, 1.2, (n, 3)) * tau[:, None])
    cash = np.where(rng.random((n, 3)) < 0.05, -1.0, rng.uniform(0, 0.03, (n, 3))) * spot[:, None]
    return [spot, strike, tau, rate, sigma, call, when, cash]


def _american(scheme: str) -> list[Door]:
    def price(*columns):
        return american.price(*columns, scheme=scheme)

    def greeks(*columns):
        return american.greeks(*columns, scheme=scheme)

    def solve(*columns):
        return american.implied_vol(*columns, scheme=scheme)

    return [
        Door(f"american.price {scheme}", price, lambda: market(200, 4, 40)),
        Door(f"american.greeks {scheme}", greeks, lambda: market(150, 5, 30)),
        Door(f"american.implied_vol {scheme}", solve, lambda: quotes(150, 6, 30)),
    ]


DOORS = (
    Door("black_scholes.price", black_scholes.price, lambda: market(500, 1, 100)),
    Door("black_scholes.greeks", black_scholes.greeks, lambda: market(500, 2, 100)),
    Door("implied_vol.implied_vol", implied_vol, lambda: quotes(500, 3, 100)),
    *_american("default"),
    *_american("accurate"),
    *_american("audit"),
    Door("american.price_cash_dividends", american.price_cash_dividends, lambda: payers(30, 7, 6), sizes=(1, 4, 17)),
)
