"""The legs of the chosen positions: their volatilities, Greeks and value today, for the whole batch at once."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np

from bq import schema
from bq.analysis import cash_dividends, smiles
from bq.analysis.cash_dividends import Greeks, Payments, Terms
from bq.analysis.findings import Findings
from bq.analysis.position import LEGS, LegSpec, payoff
from bq.analysis.rounding import number
from bq.analysis.slices import Slice
from bq.market.source import F64
from kernels import smile, status

PAYOFF_POINTS: Final = 41
_REACH: Final = np.linspace(-3.5, 3.5, PAYOFF_POINTS)  # standard deviations


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
    of_smile: int  # how many have the volatility of the smile, because their own quotes have none
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
    fallback = np.array([f.sigma for f in found])[owner]
    of_smiles = [i for i, f in enumerate(found) if f.design.source is not None]
    if of_smiles:
        sources = [s for f in found if (s := f.design.source) is not None]
        for i, vols in zip(of_smiles, _smile_vols(sources, [strikes[i] for i in of_smiles]), strict=True):
            fallback[owner == i] = vols[[leg.strike for leg in specs[i]]]
    quoted = np.array([f.design.source is not None for f in found])[owner]
    # Without quotes the prices themselves come from the forecast and the carry, and stay with them.
    none = Payments(np.empty(0), np.empty(0))
    paid = [found[i].payments if real else none for i, real in zip(owner.tolist(), quoted, strict=True)]
    terms = Terms.of(spot, strike, tau, rate, dividend, is_call, paid, column("forward"), fallback)
    own, code = cash_dividends.implied_vol(0.5 * (bid + ask), terms, fallback)
    of_quote = quoted & (code == status.OK)
    sigma = np.where(of_quote, own, fallback)
    greeks = cash_dividends.greeks(terms, sigma)
    sd = np.sqrt([f.total_variance for f in found])
    grids = payoff_grids(np.array([f.spot for f in found]), sd, np.array(strikes))
    values = np.empty((strike.size, grids.shape[1]))
    asked = np.array(curves)[owner]
    if asked.any():
        values[asked] = cash_dividends.values(terms.part(asked), sigma[asked], grids[owner[asked]])
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
                int(np.count_nonzero(quoted[part] & ~of_quote[part])),
                grid,
                today,
            )
        )
    return result


def _smile_vols(slices: Sequence[Slice], strikes: Sequence[Sequence[float]]) -> F64:
    """Read the volatilities of each smile at its own three strikes, (n, 3)."""
    k = np.log(np.array(strikes) / np.array([s.forward for s in slices])[:, None])
    tau = np.array([s.tau for s in slices])
    vols: F64 = np.sqrt(smile.total_variance(smiles.stack(slices, splines=True), k) / tau[:, None])
    return vols


def payoff_grids(spot: F64, sd: F64, strikes: F64) -> F64:
    """Choose prices of the shares for a payoff: evenly in logarithms, and the strikes, where it bends.

    Parameters
    ----------
    spot, sd : (n,) float64
        And standard deviation of the log price at expiry.
    strikes : (n, k) float64

    Returns
    -------
    (n, PAYOFF_POINTS + k) float64, ascending
    """
    return np.sort(np.concatenate([spot[:, None] * np.exp(_REACH * sd[:, None]), strikes], axis=1), axis=1)


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


def write(found: Sequence[Findings], legs: Sequence[Legs]) -> list[list[schema.Leg] | None]:
    """Write each leg of every position as a listed contract; None for a position with a number that is not finite."""
    if not legs:
        return []

    def column(values: Iterable[F64], digits: int, units: float = 1.0) -> F64:
        return np.round(np.concatenate(list(values)) / units, digits)

    bid, ask = np.concatenate([own.bid for own in legs]), np.concatenate([own.ask for own in legs])
    columns = np.stack(
        [
            column((own.strike for own in legs), 4),
            column([bid], 6),
            column([ask], 6),
            column([0.5 * (bid + ask)], 6),
            np.concatenate([own.sigma for own in legs]),
            column((own.greeks.delta for own in legs), 8),
            column((own.greeks.gamma for own in legs), 8),
            column((own.greeks.vega for own in legs), 8, 100.0),
            column((own.greeks.theta for own in legs), 8, 365.0),
        ],
        axis=1,
    )
    rounded, finite = iter(columns.tolist()), iter(np.isfinite(columns).all(axis=1).tolist())
    written = []
    for f in found:
        day = str(f.design.expiry)
        listed = [_leg(f, day, *spec) for spec in zip(LEGS[f.design.position.form], rounded, strict=False)]
        written.append(listed if all([next(finite) for _ in listed]) else None)
    return written


def _leg(f: Findings, day: str, spec: LegSpec, numbers: Sequence[float]) -> schema.Leg:
    quoted = f.design.source is not None
    strike, bid, ask, mid, sigma, *greeks = numbers
    return schema.Leg(
        occ_symbol=occ_symbol(f.snapshot.ticker, day, spec.is_call, strike),
        type="call" if spec.is_call else "put",
        strike=strike,
        expiry=day,
        quantity=spec.quantity,
        bid=bid if quoted else None,
        ask=ask if quoted else None,
        mid=mid,
        iv=round(sigma, 12),  # by itself: in an array, where it is multiplied first, so many digits would not be exact
        greeks=schema.LegGreeks(*greeks),
    )


def payoffs(found: Sequence[Findings], legs: Sequence[Legs]) -> list[schema.Payoff | None]:
    """Write profit and loss over the price of the share, at expiry and today; None where one is not finite."""
    if not legs:
        return []
    positions = [f.design.position for f in found]
    grid = np.array([own.grid for own in legs])
    terms = np.array([(p.lower, p.center, p.upper, p.put_type_constant, p.debit) for p in positions])
    lower, center, upper, constant, debit = terms.T[:, :, None]
    at_expiry = payoff(grid, lower, center, upper, constant) - debit
    lines = np.stack(
        [np.round(grid, 3), np.round(at_expiry, 4), np.round([own.today for own in legs] - debit, 4)], axis=1
    )
    finite = np.isfinite(lines).all(axis=(1, 2)).tolist()
    return [schema.Payoff(*own) if good else None for own, good in zip(lines.tolist(), finite, strict=True)]
