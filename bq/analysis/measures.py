"""Distributions of the price at expiry, in the two forms that every payoff needs: put values and probabilities.

With I(K) = E max(K - S, 0) and G the distribution function, a butterfly's expected payoff is I(K1) - 2 I(K2) + I(K3) up
to its constant, and its probability of profit is a difference of two values of G (Breeden & Litzenberger 1978).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from bq.market.source import F64
from kernels import density, outcomes, smile
from kernels.ordering import sorted_rows
from kernels.smile import Svi


class Measure(Protocol):
    """A distribution of the price of a share at one date."""

    def put_value(self, strike: npt.ArrayLike) -> F64:
        """E max(K - S, 0), undiscounted, for each strike."""
        ...

    def cdf(self, price: npt.ArrayLike) -> F64:
        """P(S <= price) for each price."""
        ...


class Sample(NamedTuple):
    """Equally likely prices, ascending, with their prefix sums."""

    log_returns: F64  # ascending; the log prices up to a constant
    prices: F64
    sums: F64  # sums[i] = sum of the first i prices

    @classmethod
    def of(cls, log_returns: F64, mean: float) -> "Sample":
        """Turn log returns into prices whose mean is `mean`."""
        return samples([log_returns], [mean])[0]

    def put_value(self, strike: npt.ArrayLike) -> F64:
        """E max(K - S, 0), exact for the sample."""
        return outcomes.put_value(self.prices, self.sums, np.atleast_1d(np.asarray(strike, dtype=np.float64)))

    def cdf(self, price: npt.ArrayLike) -> F64:
        """P(S <= price): the empirical function, linear between its middles."""
        return outcomes.cdf(self.prices, np.atleast_1d(np.asarray(price, dtype=np.float64)))

    @property
    def median(self) -> float:
        """The middle price."""
        n = self.prices.size
        return 0.5 * float(self.prices[(n - 1) // 2] + self.prices[n // 2])

    @property
    def mean(self) -> float:
        """The mean price."""
        return float(self.sums[-1]) / self.prices.size

    def scaled(self, factor: float) -> "Sample":
        """Stretch the log returns around their median by a factor, keeping the mean price."""
        prices, sums = outcomes.levels(self.log_returns, self.mean, factor)
        middle = self.log_returns[self.log_returns.size // 2]
        return Sample(middle + factor * (self.log_returns - middle), prices, sums)

    def grown(self, factor: float) -> "Sample":
        """Multiply all prices by a factor."""
        return Sample(self.log_returns, self.prices * factor, self.sums * factor)

    def density_on(self, grid: F64) -> F64:
        """Estimate the density per dollar with a Gaussian kernel in the log price (Silverman's bandwidth)."""
        shift = math.log(self.prices[0]) - float(self.log_returns[0])
        return outcomes.density(self.log_returns, grid, shift)


class Market(NamedTuple):
    """What the fitted smile of one expiry says."""

    svi: Svi  # of one row
    forward: float

    def put_value(self, strike: npt.ArrayLike) -> F64:
        """Undiscounted Black value with the smile's variance."""
        k = np.log(np.atleast_1d(np.asarray(strike, dtype=np.float64)) / self.forward)
        return density.put_value(self.svi, k[None, :])[0] * self.forward

    def cdf(self, price: npt.ArrayLike) -> F64:
        """Evaluate the closed form of the smile's distribution function."""
        k = np.log(np.atleast_1d(np.asarray(price, dtype=np.float64)) / self.forward)
        return density.cdf(self.svi, k[None, :])[0]

    def scaled(self, factor: float) -> "Market":
        """Multiply the smile's total variance by a factor, keeping the forward."""
        return Market(smile.scaled(self.svi, factor), self.forward)

    def density_on(self, grid: F64) -> F64:
        """Evaluate the closed form of the smile's density, per dollar."""
        return density.density(self.svi, np.log(grid / self.forward)[None, :])[0] / grid


class Measures(NamedTuple):
    """The distributions of the price at a date; a missing one is None, never a stand-in."""

    market: Market | None
    forecast: Sample
    empirical: Sample | None
    empirical_path: F64 | None  # log returns in time order, centred like the sample
    relative_error: float  # of the forecast volatility
    seed: int

    @property
    def forward(self) -> float:
        """The mean price, which forecast and history share."""
        return self.forecast.mean

    def moved(self, errors: float) -> tuple[Sample, Sample]:
        """Give the forecast with its volatility so many standard errors lower and higher."""
        by = errors * self.relative_error
        return self.forecast.scaled(max(1.0 - by, 0.0)), self.forecast.scaled(1.0 + by)


class Outlook(NamedTuple):
    """What the distributions of one share's price at one date are made from."""

    simulated: F64  # log returns to the date, in any order
    history: F64 | None  # overlapping log returns over as many sessions, in time order
    forward: float
    relative_error: float  # of the forecast volatility
    seed: int
    market: Market | None


def bring_together(outlooks: Sequence[Outlook]) -> list[Measures]:
    """Make the measures of many shares and dates at once."""
    forecasts = samples([o.simulated for o in outlooks], [o.forward for o in outlooks])
    known = [o for o in outlooks if o.history is not None]
    past = iter(samples([o.history for o in known], [o.forward for o in known]))  # type: ignore[misc]
    return [
        Measures(o.market, sample, None if o.history is None else next(past), o.history, o.relative_error, o.seed)
        for o, sample in zip(outlooks, forecasts, strict=True)
    ]


def samples(log_returns: Sequence[F64], means: Sequence[float]) -> list[Sample]:
    """Turn samples of log returns into prices of these means, all at once."""
    if not log_returns:
        return []
    lengths = np.array([row.size for row in log_returns])
    table = np.full((len(log_returns), int(lengths.max())), np.nan)
    for place, row in zip(table, log_returns, strict=True):
        place[: row.size] = row
    ascending = sorted_rows(table, lengths)
    prices, sums = outcomes.levels_of_rows(ascending, lengths, np.array(means, dtype=np.float64))
    return [Sample(ascending[i, :n], prices[i, :n], sums[i, : n + 1]) for i, n in enumerate(lengths.tolist())]


def overlapping_returns(log_close: F64, sessions: int) -> F64:
    """Log returns over every stretch of `sessions` sessions, in time order."""
    return log_close[sessions:] - log_close[:-sessions]


def quantiles(values: F64, levels: Sequence[float]) -> Any:
    """Quantiles with linear interpolation (Hyndman & Fan 1996, type 7): those of numpy without its checks.

    Parameters
    ----------
    values : (..., n) float64

    Returns
    -------
    list of float, one for each level; of such lists, one for each row, where there are rows
    """
    ordered = np.sort(values, axis=-1)
    last = ordered.shape[-1] - 1
    found = []
    for level in levels:
        at = level * last
        below = min(int(at), max(last - 1, 0))
        low, high = ordered[..., below], ordered[..., min(below + 1, last)]
        found.append(low + (at - below) * (high - low))
    return np.stack(found, axis=-1).tolist()
