"""Any position at one date as what it pays over the price of the share: a curve of straight pieces.

With I(K) = E max(K - S, 0), the expected payoff of a piecewise linear curve is its right-hand line at the forward plus
the sum of its bends times I at the knots, exact under every measure (Carr & Madan 2001, "Optimal positioning in
derivative securities", Quantitative Finance 1). The butterfly's I(K1) - 2 I(K2) + I(K3) is a case of it.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bq.analysis.measures import Market, Measure, Measures, quantiles
from bq.analysis.risk import BOOTSTRAPS, probability_between
from bq.market.source import F64
from bq.schema import Interval
from kernels.bootstrap import block_means

NORMAL_95 = 1.959963984540054


class Curve(NamedTuple):
    """Payoff at one date, dollars a share: linear between its knots, the first at 0, and beyond the last."""

    knots: F64  # prices of the share, ascending, knots[0] = 0
    values: F64
    right_slope: float

    @classmethod
    def of_options(cls, strike: F64, is_call: npt.NDArray[np.bool_], quantity: F64) -> "Curve":
        """Make the curve of options that expire at the date."""
        knots = np.unique(np.concatenate(([0.0], strike)))
        gain = np.where(is_call, knots[:, None] - strike, strike - knots[:, None])
        return cls(knots, np.maximum(gain, 0.0) @ quantity, float(quantity[is_call].sum()))

    def plus(self, other: "Curve") -> "Curve":
        """Add two curves."""
        knots = np.union1d(self.knots, other.knots)
        return Curve(knots, self.at(knots) + other.at(knots), self.right_slope + other.right_slope)

    def at(self, price: F64) -> F64:
        """Evaluate the payoff."""
        beyond = np.maximum(price - self.knots[-1], 0.0) * self.right_slope
        return np.interp(price, self.knots, self.values) + beyond

    @property
    def slopes(self) -> F64:
        """Slope to the right of each knot."""
        return np.append(np.diff(self.values) / np.diff(self.knots), self.right_slope)

    @property
    def most(self) -> float:
        """Largest payoff: infinite where it has no bound."""
        return math.inf if self.right_slope > 0.0 else float(self.values.max())

    @property
    def least(self) -> float:
        """Smallest payoff: minus infinity where it has no bound."""
        return -math.inf if self.right_slope < 0.0 else float(self.values.min())

    def expected(self, measure: Measure, mean: float) -> float:
        """Integrate the payoff under a measure whose mean price is known."""
        slopes = self.slopes
        bends = np.diff(slopes)
        line = float(self.values[-1]) + self.right_slope * (mean - float(self.knots[-1]))
        return line + float(bends @ measure.put_value(self.knots[1:]))

    def profitable(self, cost: float) -> list[tuple[float, float]]:
        """Ranges of prices, each as long as it can be, in which the payoff exceeds the cost."""
        knots, gap = self.knots, self.values - cost
        ranges: list[tuple[float, float]] = []

        def add(low: float, high: float) -> None:
            if ranges and ranges[-1][1] == low and float(self.at(np.array([low]))[0]) > cost:
                low = ranges.pop()[0]
            ranges.append((low, high))

        for i in range(knots.size - 1):
            low, high, left, right = float(knots[i]), float(knots[i + 1]), float(gap[i]), float(gap[i + 1])
            if left <= 0.0 >= right:
                continue
            if left < 0.0 or right < 0.0:
                middle = min(max(low + (high - low) * left / (left - right), low), high)
                low, high = (middle, high) if right > 0.0 else (low, middle)
            add(low, high)
        last, end = float(knots[-1]), float(gap[-1])
        turn = last if self.right_slope == 0.0 else max(last - end / self.right_slope, last)
        if end > 0.0 and self.right_slope < 0.0:
            add(last, turn)
        elif end > 0.0 or self.right_slope > 0.0:
            add(last if end > 0.0 else turn, math.inf)
        return ranges

    def breakevens(self, cost: float) -> list[float]:
        """Prices at which profit begins or ends, ascending."""
        edges = {edge for span in self.profitable(cost) for edge in span}
        return sorted(edge for edge in edges if 0.0 < edge < math.inf)


class Strategy(NamedTuple):
    """A position: what it costs now and what it pays at the date of its risk block."""

    curve: Curve
    cost: float  # commission included; negative: received
    discount: float
    sessions: int  # to the date

    def expected_value(self, measure: Measure, mean: float) -> float:
        """Discounted expected payoff minus the cost."""
        return self.discount * self.curve.expected(measure, mean) - self.cost

    def profits(self, prices: F64) -> F64:
        """Discounted payoff minus the cost, for prices at the date."""
        return self.discount * self.curve.at(prices) - self.cost

    def probability(self, measure: Measure) -> float:
        """Probability that the payoff exceeds the cost."""
        return min(sum(probability_between(measure, *span) for span in self.curve.profitable(self.cost)), 1.0)


def _around(value: float, moved: list[float], margin: float = 0.0) -> Interval:
    low, high = min(value, *moved) - margin, max(value, *moved) + margin
    return Interval(value, min(max(low, 0.0), 1.0), min(max(high, 0.0), 1.0))


def forecast_interval(strategy: Strategy, m: Measures) -> Interval:
    """Vary the forecast volatility by its error, and add the sampling error of the simulation."""
    value = strategy.probability(m.forecast)
    moved = [strategy.probability(sample) for sample in m.moved(NORMAL_95)]
    return _around(value, moved, NORMAL_95 * math.sqrt(max(value * (1.0 - value), 0.0) / m.forecast.prices.size))


def market_interval(strategy: Strategy, moved: Callable[[float], Market], iv_error: float) -> Interval:
    """Vary the smile's level by its error; `moved(factor)` is the market at a multiple of variance."""
    value = strategy.probability(moved(1.0))
    factors = [max(1.0 + sign * NORMAL_95 * iv_error, 0.1) ** 2 for sign in (-1.0, 1.0)]
    return _around(value, [strategy.probability(moved(factor)) for factor in factors])


def empirical_interval(strategy: Strategy, m: Measures) -> Interval | None:
    """Resample blocks as long as the overlap of the windows (Künsch 1989)."""
    if m.empirical is None or m.empirical_path is None:
        return None
    value = strategy.probability(m.empirical)
    growth = np.exp(m.empirical_path)
    prices = growth * (m.empirical.sums[-1] / m.empirical.prices.size / growth.mean())
    inside = np.zeros(prices.size)
    for low, high in strategy.curve.profitable(strategy.cost):
        inside[(prices > low) & (prices <= high)] = 1.0
    low, high = quantiles(block_means(inside, strategy.sessions, m.seed, BOOTSTRAPS), (0.025, 0.975))
    return _around(value, [low, high])
