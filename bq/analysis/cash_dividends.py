"""Legs whose value hangs on a dividend's date: volatility, Greeks and value from the cash-dividend tree.

A continuous yield spreads a dividend over the whole time to expiry, so that the holder of a call never has the one best
moment to exercise, the eve of the ex-date, and the holder of a put never the one to wait for. For options out of the
money and near the middle that is worth a cent or two; an option in the money across an ex-date is wrong by up to 0.2 %
of the share. Such legs, and only they, are priced with the known amounts at their dates
(`kernels.dividend_tree`); every other leg keeps the carry that the forward implies, which includes borrow.

The tree knows no borrow. So it is used only where the known dividends explain the forward that put-call parity implies:
where that disagrees by more than half of their present value, the market sees another dividend, or borrow, and the
implied carry stays.
"""

import datetime as dt
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from bq.market import calendar
from bq.market.source import F64, Bool, Snapshot
from kernels import american, status
from kernels.implied_vol import ImpliedVol

IN_THE_MONEY: Final = 0.5  # standard deviations beyond which a leg's value hangs on the date
UNEXPLAINED: Final = 0.5  # of the dividends' present value: how far the implied forward may lie from theirs
STEPS: Final = 200
"""Of the tree for volatilities and Greeks: within 2e-4 per $100 of twice as many."""
CURVE_STEPS: Final = 64
"""For whole curves of values: within 2e-3 per $100."""
SESSION: Final = dt.timedelta(hours=6.5).total_seconds() / calendar.SECONDS_PER_YEAR  # a share opens without it
HALF_TICK: Final = 0.005
TREE_ERROR: Final = 2e-5  # of the strike
HIGHEST: Final = 5.0  # volatility that is tried
WILDEST: Final = 7.9  # and its product with the root of tau, which the tree can take
VEGA_STEP: Final = 0.01  # of sigma
SECANTS: Final = 12  # then the bracket is halved
MOST_STEPS: Final = 60


class Payments(NamedTuple):
    """The dividends to come, (m,): years from the quotes to the open of the ex-date, and cash per share."""

    tau: F64
    cash: F64

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Payments":
        """Take a share's; those that are no payment, or gone ex by the time of the quotes, are left out."""
        moment = snapshot.as_of if snapshot.chain is None else snapshot.chain.quote_time
        days = np.array([d.ex_date for d in snapshot.dividends], "datetime64[D]")
        when = np.asarray(calendar.tau(moment, days)) - SESSION if days.size else np.empty(0)
        cash = np.array([d.cash for d in snapshot.dividends], np.float64)
        kept = (when > 0.0) & (cash > 0.0) & np.isfinite(cash)
        return cls(when[kept], cash[kept])


class Terms(NamedTuple):
    """Legs as the models see them, arrays of (n,); their dividends (n, m), NaN where there are fewer."""

    spot: F64
    strike: F64
    tau: F64
    rate: F64
    dividend: F64
    is_call: Bool
    div_tau: F64
    div_cash: F64
    by_tree: Bool

    @classmethod
    def of(
        cls,
        spot: F64,
        strike: F64,
        tau: F64,
        rate: F64,
        dividend: F64,
        is_call: Bool,
        payments: Sequence[Payments],
        forward: F64,
        sigma: F64,
    ) -> "Terms":
        """Put legs together and find those that need the tree.

        Parameters
        ----------
        payments : sequence of (n,)
            Of each leg's share.
        forward : (n,) float64
            Implied by put-call parity, NaN where it is not.
        sigma : (n,) float64
            Volatility of the smile or the forecast, which measures how far a leg is in the money.
        """
        width = max((p.tau.size for p in payments), default=0)
        whens, cashes = np.full((2, strike.size, max(width, 1)), np.nan)
        for i, p in enumerate(payments):
            whens[i, : p.tau.size], cashes[i, : p.tau.size] = p
        cashes[~(whens <= tau[:, None])] = np.nan  # after the expiry: no matter
        worth = np.nansum(cashes * np.exp(-rate[:, None] * whens), axis=1)
        known = (spot - worth) * np.exp(rate * tau)
        middle = np.where(np.isnan(forward), known, forward)
        explained = np.abs(known - middle) * np.exp(-rate * tau) <= UNEXPLAINED * worth
        with np.errstate(divide="ignore", invalid="ignore"):  # dividends of more than the share: not explained
            beyond = np.where(is_call, 1.0, -1.0) * np.log(middle / strike) > IN_THE_MONEY * sigma * np.sqrt(tau)
        by_tree = (worth > 0.0) & explained & beyond & (sigma * np.sqrt(tau) < WILDEST)
        return cls(spot, strike, tau, rate, dividend, is_call, whens, cashes, by_tree)

    def part(self, chosen: np.ndarray) -> "Terms":
        """Take some of the legs."""
        return Terms._make(field[chosen] for field in self)

    def later(self, years: float) -> "Terms":
        """Move on in time; what goes ex until then is paid."""
        return self._replace(tau=self.tau - years, div_tau=self.div_tau - years)


class Greeks(NamedTuple):
    """Sensitivities of n legs in base units, each (n,): vega per 1.00 of sigma, theta per year."""

    delta: F64
    gamma: F64
    vega: F64
    theta: F64


def implied_vol(price: F64, terms: Terms, start: F64) -> ImpliedVol:
    """Find the volatility of each leg at a price, with the model that suits it.

    Parameters
    ----------
    price, start : (n,) float64
        Prices; volatilities near which the tree's are sought, such as the smile's.

    Returns
    -------
    ImpliedVol
        Each (n,), status as `american.implied_vol`. With the tree, 3 (undefined) is also within half a tick, or the
        tree's error, of the price without volatility.
    """
    sigma, code = american.implied_vol(
        price, terms.spot, terms.strike, terms.tau, terms.rate, terms.dividend, terms.is_call
    )
    chosen = terms.by_tree
    if chosen.any():
        sigma[chosen], code[chosen] = _invert(price[chosen], terms.part(chosen), start[chosen])
    return ImpliedVol(sigma, code)


def greeks(terms: Terms, sigma: F64) -> Greeks:
    """Differentiate each leg's price with the model that suits it; the tree's vega is a central difference."""
    plain = american.greeks(terms.spot, terms.strike, terms.tau, terms.rate, terms.dividend, sigma, terms.is_call)
    found = Greeks(plain.delta, plain.gamma, plain.vega, plain.theta)
    chosen = np.flatnonzero(terms.by_tree)
    if chosen.size:
        own = sigma[chosen]
        n, h = chosen.size, VEGA_STEP * own
        three = terms.part(np.tile(chosen, 3))
        tree = _tree(three, np.concatenate([own, own + h, own - h]), STEPS)
        found.delta[chosen], found.gamma[chosen], found.theta[chosen] = tree.delta[:n], tree.gamma[:n], tree.theta[:n]
        found.vega[chosen] = (tree.price[n : 2 * n] - tree.price[2 * n :]) / (2.0 * h)
    return found


def values(terms: Terms, sigma: F64, points: F64) -> F64:
    """Price legs for other prices of their share.

    Parameters
    ----------
    points : (n, p) float64

    Returns
    -------
    (n, p) float64
    """
    size = points.shape[1]

    def wide(column: F64) -> F64:
        return np.repeat(column, size, axis=0)

    def rows(part: Terms, prices: F64) -> Terms:
        return part.part(np.repeat(np.arange(part.strike.size), size))._replace(spot=prices.ravel())

    found = american.price_curves(points, terms.strike, terms.tau, terms.rate, terms.dividend, sigma, terms.is_call)
    chosen = terms.by_tree
    if chosen.any():
        tree = _tree(rows(terms.part(chosen), points[chosen]), wide(sigma[chosen]), CURVE_STEPS)
        found[chosen] = tree.price.reshape(-1, points.shape[1])
    return found


def call_may_be_exercised(payments: Payments, tau: float, time_value: float) -> bool:
    """Tell whether some dividend is worth more to a call's holder than what is left of its time value on the eve.

    To first order: the time value shrinks with the root of the time to expiry.

    Parameters
    ----------
    tau : float
        Years to the call's expiry.
    time_value : float
        Of the call today: its price less the intrinsic value.
    """
    return any(
        cash > time_value * math.sqrt((tau - when) / tau)
        for when, cash in zip(payments.tau.tolist(), payments.cash.tolist(), strict=True)
        if when <= tau
    )


def _tree(terms: Terms, sigma: F64, steps: int) -> american.American:
    return american.price_cash_dividends(
        terms.spot, terms.strike, terms.tau, terms.rate, sigma, terms.is_call, terms.div_tau, terms.div_cash, steps
    )


def _invert(price: F64, terms: Terms, start: F64) -> ImpliedVol:
    """Find the tree's volatilities: secants from `start`, inside a bracket that every price narrows."""
    floor = _tree(terms, np.zeros(price.size), STEPS).price  # the best exercise of a share that does not move
    code = np.full(price.size, status.NOT_CONVERGED, np.int8)
    excess = price - floor
    blur = np.maximum(HALF_TICK, TREE_ERROR * terms.strike)
    code[np.abs(excess) <= blur] = status.NO_TIME_VALUE
    code[excess < -blur] = status.BELOW_INTRINSIC
    code[~np.isfinite(excess)] = status.BAD_INPUT
    sigma = np.full(price.size, np.nan)
    low = np.zeros(price.size)
    top = np.minimum(HIGHEST, WILDEST / np.sqrt(terms.tau))
    high, bounded = top.copy(), np.zeros(price.size, np.bool_)
    x = np.clip(start, 0.01, 0.5 * top)
    slope = terms.spot * np.sqrt(terms.tau) * 0.3  # of a European option not far from the money
    before, gap_before = np.full(price.size, np.nan), np.full(price.size, np.nan)
    for step in range(MOST_STEPS):
        at = np.flatnonzero(code == status.NOT_CONVERGED)
        if not at.size:
            break
        tried = x[at]
        gap = _tree(terms.part(at), tried, STEPS).price - price[at]
        over = gap > 0.0
        high[at[over]], bounded[at[over]], low[at[~over]] = tried[over], True, tried[~over]
        good = (np.abs(gap) <= 1e-8 * terms.strike[at]) | (
            (high[at] - low[at] <= 1e-10) & (np.abs(gap) <= TREE_ERROR * terms.strike[at])
        )
        sigma[at[good]], code[at[good]] = tried[good], status.OK
        code[at[~over & ~good & (tried >= top[at])]] = status.ABOVE_MAXIMUM
        with np.errstate(divide="ignore", invalid="ignore"):
            chord = (gap - gap_before[at]) / (tried - before[at])
            chord = np.where(np.isnan(chord), slope[at], chord)
            nearer = tried - gap / chord
        inside = (nearer > low[at]) & (nearer < high[at]) & (step < SECANTS)
        halved = np.where(bounded[at], 0.5 * (low[at] + high[at]), np.minimum(2.0 * tried, top[at]))
        before[at], gap_before[at] = tried, gap
        x[at] = np.where(inside, nearer, halved)
    return ImpliedVol(sigma, code)
