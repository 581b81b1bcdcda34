"""The algebra of one butterfly: legs, executable cost, payoff, break-evens, extremes.

Long one at K1, short two at K2, long one at K3. As calls, as puts, or as the iron form (long put K1, short put and call
K2, long call K3) the payoffs differ by a constant, so the form is a matter of execution, not of opinion
(Hull, Options, Futures, and Other Derivatives, ch. 12). Costs hold half of the bid-ask spread and the commission.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from bq.market.source import F64

Form: TypeAlias = Literal["CALL", "PUT", "IRON"]
FORMS: tuple[Form, ...] = ("CALL", "PUT", "IRON")


class LegSpec(NamedTuple):
    """One contract of a form: which strike (0, 1, 2), call or put, how many (negative: sold)."""

    strike: int
    is_call: bool
    quantity: int


LEGS: dict[Form, tuple[LegSpec, ...]] = {
    "CALL": (LegSpec(0, True, 1), LegSpec(1, True, -2), LegSpec(2, True, 1)),
    "PUT": (LegSpec(0, False, 1), LegSpec(1, False, -2), LegSpec(2, False, 1)),
    "IRON": (LegSpec(0, False, 1), LegSpec(1, False, -1), LegSpec(1, True, -1), LegSpec(2, True, 1)),
}


class Quote(NamedTuple):
    """What one leg trades at."""

    bid: float
    ask: float

    @property
    def mid(self) -> float:
        """Middle of the spread."""
        return 0.5 * (self.bid + self.ask)


class Position(NamedTuple):
    """A butterfly at executable prices, commission included, dollars a share."""

    form: Form
    lower: float
    center: float
    upper: float
    lower_cost: float
    center_credit: float  # of one short contract; half the straddle for the iron form
    upper_cost: float
    fee: float  # commission of one contract, a share
    quotes: tuple[Quote, ...]  # one a leg, in the order of LEGS[form]
    debit: float  # net cost: negative when the position is opened for a credit
    left_tail: float  # payoff below K1
    right_tail: float  # payoff above K3
    half_spreads: float  # what crossing the spreads costs at entry

    @property
    def peak(self) -> float:
        """Payoff at K2."""
        return self.left_tail + self.center - self.lower

    @property
    def max_profit(self) -> float:
        """Best profit, at K2."""
        return self.peak - self.debit

    @property
    def max_loss(self) -> float:
        """Worst loss: the payoff is linear between its knots, so its least value is a tail."""
        return self.debit - min(self.left_tail, self.right_tail)

    @property
    def breakeven_lower(self) -> float | None:
        """Price below K2 where nothing is won or lost; None where the position profits all the way down."""
        gap = self.debit - self.left_tail
        return self.lower + gap if 0.0 < gap < self.center - self.lower else None

    @property
    def breakeven_upper(self) -> float | None:
        """Price above K2 where nothing is won or lost; None where the position profits all the way up."""
        gap = self.debit - self.right_tail
        return self.upper - gap if 0.0 < gap < self.upper - self.center else None

    @property
    def put_type_constant(self) -> float:
        """Payoff minus the put-type payoff of the same strikes, the one that I(K1) - 2 I(K2) + I(K3) prices."""
        return self.left_tail - (self.upper + self.lower - 2.0 * self.center)

    def payoff(self, spot: npt.ArrayLike) -> F64:
        """Value at expiry for each price of the share."""
        s = np.asarray(spot, dtype=np.float64)
        return payoff(s, self.lower, self.center, self.upper, self.put_type_constant)


def payoff(spot: F64, lower: float | F64, center: float | F64, upper: float | F64, constant: float | F64) -> F64:
    """Value at expiry for prices of the share: that of puts at the three strikes, and a constant."""
    puts = np.maximum(lower - spot, 0.0) - 2.0 * np.maximum(center - spot, 0.0) + np.maximum(upper - spot, 0.0)
    return puts + constant


def open_position(form: Form, strikes: Sequence[float], quotes: Sequence[Quote], fee: float) -> Position:
    """Buy the wings at the ask and sell the centre at the bid, paying the commission on each of four contracts."""
    lower, center, upper = strikes
    first, last = quotes[0], quotes[-1]
    inner = quotes[1:-1]
    credit = sum(q.bid for q in inner) / len(inner) - fee
    lower_cost, upper_cost = first.ask + fee, last.ask + fee
    if form == "CALL":
        left, right = 0.0, 2.0 * center - lower - upper
    elif form == "PUT":
        left, right = upper + lower - 2.0 * center, 0.0
    else:
        left, right = lower - center, center - upper
    debit = lower_cost + upper_cost - 2.0 * credit
    shorts = sum(q.ask - q.bid for q in inner) * 2.0 / len(inner)  # one quote sold twice, or two once
    spreads = 0.5 * (first.ask - first.bid + shorts + last.ask - last.bid)
    costs = lower_cost, credit, upper_cost
    return Position(form, lower, center, upper, *costs, fee, tuple(quotes), debit, left, right, spreads)


def equivalent_cost(position: Position, discount: float) -> float:
    """Cost of the form as if it paid the call-type payoff: what makes the three forms comparable."""
    call_left = 0.0
    return position.debit - (position.left_tail - call_left) * discount
