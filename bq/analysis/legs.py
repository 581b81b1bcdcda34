"""The legs of the chosen positions: their volatilities, Greeks and value today, for the whole batch at once."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bq import schema
from bq.analysis import cash_dividends
from bq.analysis.cash_dividends import Greeks, Payments, Terms
from bq.analysis.findings import Findings
from bq.analysis.position import LEGS
from bq.analysis.rounding import number
from bq.market.source import F64
from kernels import status

PAYOFF_POINTS = 41


class Legs(NamedTuple):
    """The contracts of one position, arrays of (legs,); values over a grid of prices, (points,)."""

    sigma: F64
    bid: F64
    ask: F64
    strike: F64
    is_call: np.ndarray
    quantity: F64
    greeks: Greeks
    across_ex_date: int  # how many of them are priced with the dividend at its date
    grid: F64  # prices of the share; empty where no curve was asked for
    today: F64  # value of the position over it


def price(found: Sequence[Findings], curves: Sequence[bool]) -> list[Legs]:
    """Give every leg of the batch its volatility, Greeks and, where it is asked for, value today, all at once."""
    if not found:
        return []
    specs = [LEGS[f.design.position.form] for f in found]
    sizes = [len(s) for s in specs]
    owner = np.repeat(np.arange(len(found)), sizes)
    strikes = [(f.design.position.lower, f.design.position.center, f.design.position.upper) for f in found]
    strike = np.array([strikes[i][leg.strike] for i, s in enumerate(specs) for leg in s])
    is_call = np.array([leg.is_call for s in specs for leg in s])
    quantity = np.array([float(leg.quantity) for s in specs for leg in s])
    bid = np.array([q.bid for f in found for q in f.design.position.quotes])
    ask = np.array([q.ask for f in found for q in f.design.position.quotes])

    def column(name: str) -> F64:
        return np.array([getattr(f.design, name) for f in found])[owner]

    spot = np.array([f.spot for f in found])[owner]
    tau, rate, dividend = column("tau"), column("rate"), column("dividend")
    fallback = np.concatenate(
        [
            np.full(n, f.sigma) if f.design.source is None else f.design.source.sigma(strike[owner == i])
            for i, (f, n) in enumerate(zip(found, sizes, strict=True))
        ]
    )
    quoted = np.array([f.design.source is not None for f in found])[owner]
    # Without quotes the prices themselves come from the forecast and the carry, and stay with them.
    none = Payments(np.empty(0), np.empty(0))
    paid = [found[i].payments if real else none for i, real in zip(owner.tolist(), quoted, strict=True)]
    terms = Terms.of(spot, strike, tau, rate, dividend, is_call, paid, column("forward"), fallback)
    own, code = cash_dividends.implied_vol(0.5 * (bid + ask), terms, fallback)
    sigma = np.where(quoted & (code == status.OK), own, fallback)
    greeks = cash_dividends.greeks(terms, sigma)
    grids = [payoff_grid(f.spot, math.sqrt(f.total_variance), s) for f, s in zip(found, strikes, strict=True)]
    values = np.empty((strike.size, len(grids[0])))
    asked = np.array(curves)[owner]
    if asked.any():
        values[asked] = cash_dividends.values(terms.part(asked), sigma[asked], np.array(grids)[owner[asked]])
    result = []
    start = 0
    for i, n in enumerate(sizes):
        part = slice(start, start + n)
        start += n
        own_greeks = Greeks._make(field[part] for field in greeks)
        grid, today = (grids[i], quantity[part] @ values[part]) if curves[i] else (np.empty(0), np.empty(0))
        result.append(
            Legs(
                sigma[part],
                bid[part],
                ask[part],
                strike[part],
                is_call[part],
                quantity[part],
                own_greeks,
                int(terms.by_tree[part].sum()),
                grid,
                today,
            )
        )
    return result


def payoff_grid(spot: float, sd: float, strikes: Sequence[float] | F64) -> F64:
    """Choose prices of the share for a payoff: evenly in logarithms, and the strikes, where it bends.

    Parameters
    ----------
    sd : float
        Standard deviation of the log price at expiry.

    Returns
    -------
    (PAYOFF_POINTS + len(strikes),) float64, ascending
    """
    return np.sort(np.append(spot * np.exp(np.linspace(-3.5, 3.5, PAYOFF_POINTS) * sd), strikes))


def net_greeks(legs: Legs) -> schema.Greeks:
    """Add up the Greeks of the position, in the units of the wire."""
    g, n = legs.greeks, legs.quantity
    return schema.Greeks(
        delta=number(float(n @ g.delta), 8),
        gamma=number(float(n @ g.gamma), 8),
        vega=number(float(n @ g.vega) / 100.0, 8),
        theta=number(float(n @ g.theta) / 365.0, 8),
    )


def occ_symbol(ticker: str, day: str, is_call: bool, strike: float) -> str:
    """Spell an option as the Options Clearing Corporation does: root, YYMMDD, C or P, strike in thousandths."""
    root = ticker if ticker.isalnum() else "".join(c for c in ticker if c.isalnum())
    return f"{root}{day[2:4]}{day[5:7]}{day[8:10]}{'C' if is_call else 'P'}{round(strike * 1000):08d}"


def legs_of(f: Findings, legs: Legs) -> list[schema.Leg]:
    """Write each leg as a listed contract."""
    quoted = f.design.source is not None
    g, day = legs.greeks, str(f.design.expiry)
    return [
        schema.Leg(
            occ_symbol=occ_symbol(f.snapshot.ticker, day, bool(legs.is_call[j]), float(legs.strike[j])),
            type="call" if legs.is_call[j] else "put",
            strike=number(legs.strike[j], 4),
            expiry=day,
            quantity=int(legs.quantity[j]),
            bid=number(legs.bid[j]) if quoted else None,
            ask=number(legs.ask[j]) if quoted else None,
            mid=number(0.5 * (legs.bid[j] + legs.ask[j])),
            iv=number(legs.sigma[j], 12),
            greeks=schema.LegGreeks(
                number(g.delta[j], 8),
                number(g.gamma[j], 8),
                number(g.vega[j] / 100.0, 8),
                number(g.theta[j] / 365.0, 8),
            ),
        )
        for j in range(legs.strike.size)
    ]
