"""Which butterfly: listed strikes of a listed expiry at executable prices, in the form that is cheapest to trade.

Without usable quotes the position is priced from the forecast volatility on an assumed strike grid, and says so.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bq.analysis.position import FORMS, LEGS, Form, Position, Quote, equivalent_cost, open_position
from bq.analysis.slices import Side, Slice
from bq.market.source import F64
from kernels import american


class Design(NamedTuple):
    """A position, the expiry it belongs to, and what the other forms would have cost."""

    position: Position
    expiry: np.datetime64
    dte: int
    tau: float
    sessions: int
    rate: float
    dividend: float
    forward: float
    source: Slice | None  # None: priced from the forecast volatility
    saving: float  # against the next cheapest form, $ a share

    @property
    def discount(self) -> float:
        """Value today of a dollar at expiry."""
        return float(np.exp(-self.rate * self.tau))


def _quotes(form: Form, s: Slice, at: tuple[int, int, int]) -> list[Quote] | None:
    """Collect a form's quotes, or None where a leg cannot be traded."""
    quotes = []
    for leg in LEGS[form]:
        side: Side = s.call if leg.is_call else s.put
        bid, ask = float(side.bid[at[leg.strike]]), float(side.ask[at[leg.strike]])
        if not ask > 0.0 or (leg.quantity < 0 and not bid > 0.0):
            return None
        quotes.append(Quote(bid if bid > 0.0 else 0.0, ask))
    return quotes


def cheapest(s: Slice, at: tuple[int, int, int], fee: float, form: Form | None = None) -> tuple[Position, float] | None:
    """Price the forms of three strikes and take the one that pays least for the same payoff, with its saving.

    A form whose worst outcome is a profit at executable prices is bad data or gone before it can be traded: not taken.
    """
    strikes = [float(s.strike[i]) for i in at]
    found: list[tuple[float, Position]] = []
    for candidate in FORMS if form is None else (form,):
        quotes = _quotes(candidate, s, at)
        if quotes is None:
            continue
        position = open_position(candidate, strikes, quotes, fee)
        if position.max_loss > 0.0 and position.max_profit > 0.0:
            found.append((equivalent_cost(position, s.discount), position))
    if not found:
        return None
    found.sort(key=lambda pair: (pair[0], pair[1].form))
    saving = found[1][0] - found[0][0] if len(found) > 1 else 0.0
    return found[0][1], saving


def of_slice(s: Slice, at: tuple[int, int, int], fee: float, form: Form | None = None) -> Design | None:
    """Make the design of three strikes (by index) of one expiry, or None where no form can be traded."""
    choice = cheapest(s, at, fee, form)
    if choice is None:
        return None
    position, saving = choice
    return Design(position, s.expiry, s.dte, s.tau, s.sessions, s.rate, s.dividend, s.forward, s, saving)


def near_median(s: Slice, median: float, sd: float, fee: float) -> Design | None:
    """Centre at the listed strike nearest the median, wings at those nearest one standard deviation away.

    Parameters
    ----------
    median, sd : float
        Of the forecast price at this expiry, and its standard deviation in dollars.
    """
    quoted = np.flatnonzero(np.isfinite(s.call.ask) | np.isfinite(s.put.ask))
    sellable = np.flatnonzero((s.call.bid > 0.0) | (s.put.bid > 0.0))
    for center in sellable[np.argsort(np.abs(s.strike[sellable] - median), kind="stable")][:3]:
        below, above = quoted[quoted < center], quoted[quoted > center]
        if not below.size or not above.size:
            continue
        lower = below[np.argmin(np.abs(s.strike[below] - (s.strike[center] - sd)))]
        upper = above[np.argmin(np.abs(s.strike[above] - (s.strike[center] + sd)))]
        design = of_slice(s, (int(lower), int(center), int(upper)), fee)
        if design is not None:
            return design
    return None


def assumed_step(spot: float) -> float:
    """Guess the strike interval of a share without a chain: the exchanges' usual ones near the money."""
    for limit, step in ((5.0, 0.5), (50.0, 1.0), (200.0, 2.5), (1000.0, 5.0)):
        if spot < limit:
            return step
    return 10.0 ** np.floor(np.log10(spot) - 2.0)


class Outlook(NamedTuple):
    """What a design without quotes is made from."""

    spot: float
    median: float  # of the forecast price at expiry
    sd: float  # of the same, dollars
    sigma: float
    expiry: np.datetime64
    dte: int
    tau: float
    sessions: int
    rate: float
    dividend: float


def assumed_strikes(outlook: Outlook) -> tuple[float, float, float]:
    """Round the median, and one standard deviation either side, to the assumed grid."""
    step = assumed_step(outlook.spot)
    center = max(round(outlook.median / step), 2) * step
    width = max(round(outlook.sd / step), 1) * step
    return max(center - width, step), center, center + width


def fair_ladders(outlooks: Sequence[Outlook]) -> list[F64]:
    """Price three calls and three puts of every outlook as American options, in one kernel call: (6,) each."""
    if not outlooks:
        return []
    strike = np.array([assumed_strikes(o) * 2 for o in outlooks]).ravel()
    is_call = np.tile(np.arange(6) < 3, len(outlooks))
    spot, tau, rate, dividend, sigma = (
        np.repeat([getattr(o, name) for o in outlooks], 6) for name in ("spot", "tau", "rate", "dividend", "sigma")
    )
    return list(american.price(spot, strike, tau, rate, dividend, sigma, is_call).price.reshape(-1, 6))


def from_forecast(outlook: Outlook, fair: F64, fee: float) -> Design:
    """Design without usable quotes: fair American prices at the forecast volatility, no spread, an assumed grid."""
    strikes, rate, tau, dividend = assumed_strikes(outlook), outlook.rate, outlook.tau, outlook.dividend
    choices = []
    for form in FORMS:
        prices = [float(fair[leg.strike if leg.is_call else leg.strike + 3]) for leg in LEGS[form]]
        position = open_position(form, strikes, [Quote(p, p) for p in prices], fee)
        choices.append((equivalent_cost(position, float(np.exp(-rate * tau))), position))
    choices.sort(key=lambda pair: (round(pair[0], 9), FORMS.index(pair[1].form)))
    forward = outlook.spot * float(np.exp((rate - dividend) * tau))
    return Design(choices[0][1], outlook.expiry, outlook.dte, tau, outlook.sessions, rate, dividend, forward, None, 0.0)
