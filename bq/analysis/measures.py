"""Distributions of the price at expiry, in the two forms that every payoff needs: put values and probabilities.

With I(K) = E max(K - S, 0) and G the distribution function, a butterfly's expected payoff is I(K1) - 2 I(K2) + I(K3) up
to its constant, and its probability of profit is a difference of two values of G (Breeden & Litzenberger 1978).
"""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from bq.market.source import F64
from kernels import density
from kernels.smile import Svi

BINS = 128


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

    prices: F64
    sums: F64  # sums[i] = sum of the first i prices

    @classmethod
    def of(cls, log_returns: F64, mean: float) -> "Sample":
        """Turn log returns into prices whose mean is `mean`."""
        return cls._sorted(np.sort(log_returns), mean)

    @classmethod
    def _sorted(cls, log_returns: F64, mean: float) -> "Sample":
        growth = np.exp(log_returns)
        prices = growth * (mean / growth.mean())
        sums = np.empty(prices.size + 1)
        sums[0] = 0.0
        np.cumsum(prices, out=sums[1:])
        return cls(prices, sums)

    def put_value(self, strike: npt.ArrayLike) -> F64:
        """E max(K - S, 0), exact for the sample."""
        k = np.asarray(strike, dtype=np.float64)
        below = np.searchsorted(self.prices, k, side="right")
        return (k * below - self.sums[below]) / self.prices.size

    def cdf(self, price: npt.ArrayLike) -> F64:
        """P(S <= price): the empirical function, linear between its middles."""
        n, x = self.prices.size, np.asarray(price, dtype=np.float64)
        above = np.clip(np.searchsorted(self.prices, x, side="right"), 1, n - 1)
        low, high = self.prices[above - 1], self.prices[above]
        share = np.where(high > low, (x - low) / np.where(high > low, high - low, 1.0), 1.0)
        inside = (above - 0.5 + np.clip(share, 0.0, 1.0)) / n
        return np.where(x < self.prices[0], 0.0, np.where(x > self.prices[-1], 1.0, inside))

    def scaled(self, factor: float) -> "Sample":
        """Stretch the log returns around their median by a factor, keeping the mean price."""
        log = np.log(self.prices)
        middle = log[log.size // 2]
        mean = self.sums[-1] / self.prices.size
        return Sample._sorted(middle + factor * (log - middle), float(mean))

    def density_on(self, grid: F64) -> F64:
        """Estimate the density per dollar with a Gaussian kernel in the log price (Silverman's bandwidth)."""
        log = np.log(self.prices)
        quarter = log.size // 4
        spread = min(float(np.std(log)), float(log[-1 - quarter] - log[quarter]) / 1.349)
        width = 0.9 * max(spread, 1e-6) * log.size**-0.2
        # Binning first makes this O(bins * grid) instead of O(sample * grid).
        edges = np.linspace(log[0], log[-1], BINS + 1)
        counts = np.diff(np.searchsorted(log, edges[1:-1], side="right"), prepend=0, append=log.size)
        centres = 0.5 * (edges[1:] + edges[:-1])
        z = (np.log(grid)[:, None] - centres[None, :]) / width
        kernel = np.exp(-0.5 * z * z) / (width * np.sqrt(2.0 * np.pi))
        return kernel @ counts / log.size / grid


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
        return Market(self.svi._replace(a=self.svi.a * factor, b=self.svi.b * factor), self.forward)

    def density_on(self, grid: F64) -> F64:
        """Evaluate the closed form of the smile's density, per dollar."""
        return density.density(self.svi, np.log(grid / self.forward)[None, :])[0] / grid


def overlapping_returns(log_close: F64, sessions: int) -> F64:
    """Log returns over every stretch of `sessions` sessions, in time order."""
    return log_close[sessions:] - log_close[:-sessions]


def block_bootstrap(values: F64, block: int, seed: int, draws: int = 200) -> F64:
    """Resample the mean of serially dependent values by moving blocks (Künsch 1989): (draws,) means."""
    n = values.size
    block = max(1, min(block, n))
    sums = np.concatenate(([0.0], np.cumsum(values)))
    blocks = sums[block:] - sums[:-block]
    count = max(1, n // block)
    starts = np.random.default_rng(seed).integers(0, blocks.size, size=(draws, count))
    return blocks[starts].sum(axis=1) / (count * block)
