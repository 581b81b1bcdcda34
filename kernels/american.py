"""American options: price, Greeks and implied volatility of a whole batch.

The work is done in `kernels.american_put` (one block of puts) and `kernels.american_rows` (a batch of any rows);
this file has the doors.

Accuracy, in dollars per $100 of strike against QuantLib's QdFp engine in its high-precision scheme (sigma 0.3 to 100 %,
rates and yields to 12 %, to two years): default at most 5e-4, accurate 2e-4, audit 1e-4.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels import american_bumps, dividend_tree
from kernels._arrays import F64, I8, option_rows
from kernels.american_boundary import LANES
from kernels.american_inversion import NEVER_EARLY, invert_rows
from kernels.american_rows import price_rows
from kernels.american_scheme import SCHEMES
from kernels.black_scholes import Greeks
from kernels.implied_vol import ImpliedVol
from kernels.implied_vol import implied_vol as european_implied_vol


class American(NamedTuple):
    """Prices and sensitivities, each (n,) float64 in base units; `status` int8 of `kernels.status`."""

    price: F64
    delta: F64
    gamma: F64
    theta: F64
    status: I8


def _known(scheme: str) -> None:
    if scheme not in SCHEMES:
        raise ValueError(f"scheme must be one of {', '.join(SCHEMES)}")


def price(
    spot: npt.ArrayLike,
    strike: npt.ArrayLike,
    tau: npt.ArrayLike,
    rate: npt.ArrayLike,
    dividend: npt.ArrayLike,
    sigma: npt.ArrayLike,
    is_call: npt.ArrayLike,
    scheme: str = "default",
) -> American:
    """Price American options on an asset with a continuous yield.

    Parameters
    ----------
    spot, strike, tau, rate, dividend, sigma : array_like
        Scalars or (n,) float64, broadcast: spot > 0, strike >= 0, years to expiry, continuous rate and yield,
        volatility.
    is_call : array_like
        Scalar or (n,) bool.
    scheme : {"default", "accurate", "audit"}
        Largest error 5e-4, 2e-4 and 1e-4 per $100, at about 1, 2 and 6 times the work.

    Returns
    -------
    American
        Each (n,). Status 0 ok; 4 expired (tau < 1e-8: the intrinsic value); 5 bad input, and the doubly bounded
        case (a put with dividend < rate < 0, a call with rate < dividend < 0); 7 no volatility: the limit, exercise at
        the best time of a known path; 10 exercise now (the intrinsic value and its delta, gamma and theta 0).

    Raises
    ------
    ValueError
        If the shapes do not fit or the scheme is unknown.

    Notes
    -----
    Andersen, Lake & Offengenden (2016), J. Computational Finance 20(1), fixed-point system A, with a Newton correction
    in every sweep. Theta is what the Black-Scholes equation leaves. Never below max(intrinsic, European).

    Examples
    --------
    >>> round(float(price(100, 100, 30 / 365, 0.045, 0.0, 0.25, False).price[0]), 3)
    2.698
    """
    _known(scheme)
    call, columns = option_rows(is_call, spot, strike, tau, rate, dividend, sigma)
    result = American._make([*(np.empty(call.size) for _ in range(4)), np.empty(call.size, np.int8)])
    arguments: tuple[Any, ...] = (*columns, call, *SCHEMES[scheme], *result, np.empty(call.size), np.empty(call.size))
    price_rows(*arguments)
    return result


def price_curves(
    points: npt.ArrayLike,
    strike: npt.ArrayLike,
    tau: npt.ArrayLike,
    rate: npt.ArrayLike,
    dividend: npt.ArrayLike,
    sigma: npt.ArrayLike,
    is_call: npt.ArrayLike,
    scheme: str = "default",
) -> F64:
    """Price each option for many prices of its asset: the exercise boundary, most of the work, is found once.

    Parameters
    ----------
    points : (n, p) float64
        Prices of the asset, above 0.
    strike, tau, rate, dividend, sigma, is_call, scheme
        As in `price`, each a scalar or (n,).

    Returns
    -------
    (n, p) float64
        The bits of `price`.

    Raises
    ------
    ValueError
        If the shapes do not fit or the scheme is unknown.
    """
    spots = np.asarray(points, dtype=np.float64)
    if spots.ndim != 2:
        raise ValueError(f"expected points of shape (n, p), got {spots.shape}")
    n, p = spots.shape
    call, columns = option_rows(is_call, np.ones(n), strike, tau, rate, dividend, sigma)
    if call.size != n:
        raise ValueError(f"expected {n} options, got {call.size}")
    out = np.empty((n, p))
    if not out.size:
        return out
    # Blocks of lanes with the same options in the same places, one after another: each lane keeps its boundary. Options
    # that are never exercised early apart: `price_rows` takes them out of the order.
    own, other = np.where(call, columns[4], columns[3]), np.where(call, columns[3], columns[4])
    never = (own <= 0.0) & (own <= other)
    for kind in (np.flatnonzero(never), np.flatnonzero(~never)):
        for first in range(0, kind.size, LANES):
            options = kind[first : first + LANES]
            each = LANES // options.size
            option = np.resize(np.tile(options, each), LANES)
            place = np.minimum(np.arange(LANES) // options.size, each - 1)
            at = np.minimum(np.arange(0, p, each)[:, None] + place, p - 1)
            rows = np.broadcast_to(option, at.shape)
            of = rows.ravel()
            _, k, t, r, q, v = (column[of] for column in columns)
            priced = price(spots[rows, at].ravel(), k, t, r, q, v, call[of], scheme).price
            out[rows, at] = priced.reshape(at.shape)
    return out


def greeks(
    spot: npt.ArrayLike,
    strike: npt.ArrayLike,
    tau: npt.ArrayLike,
    rate: npt.ArrayLike,
    dividend: npt.ArrayLike,
    sigma: npt.ArrayLike,
    is_call: npt.ArrayLike,
    scheme: str = "default",
) -> Greeks:
    """Price American options and differentiate the price.

    Parameters
    ----------
    spot, strike, tau, rate, dividend, sigma, is_call, scheme
        As in `price`.

    Returns
    -------
    Greeks
        As `black_scholes.greeks`: vega and volga per 1.00 of sigma, rho per 1.00 of rate, theta and charm per year.
        Status as in `price`; with status 10 and 4 everything but price and delta is 0, with status 7 vega, vanna,
        volga and gamma are 0.

    Raises
    ------
    ValueError
        If the shapes do not fit or the scheme is unknown.

    Notes
    -----
    Delta and gamma are integrals along the same boundary and theta follows from the Black-Scholes equation. The others
    are exact for the European part and central differences for the premium: seven times the work of `price`.

    Examples
    --------
    >>> round(float(greeks(100, 100, 30 / 365, 0.045, 0.0, 0.25, False).delta[0]), 3)
    -0.471
    """
    _known(scheme)
    call, columns = option_rows(is_call, spot, strike, tau, rate, dividend, sigma)
    return american_bumps.greeks(call, columns, scheme)


def implied_vol(
    price: npt.ArrayLike,
    spot: npt.ArrayLike,
    strike: npt.ArrayLike,
    tau: npt.ArrayLike,
    rate: npt.ArrayLike,
    dividend: npt.ArrayLike,
    is_call: npt.ArrayLike,
    scheme: str = "default",
) -> ImpliedVol:
    """Find the volatility at which an American option has this price.

    Black-Scholes at this volatility is the price of the European option: that is how a chain is de-Americanised.

    Parameters
    ----------
    price, spot, strike, tau, rate, dividend : array_like
        Scalars or (n,) float64, broadcast, as in `price`.
    is_call : array_like
        Scalar or (n,) bool.
    scheme : {"default", "accurate", "audit"}
        Of the pricing that is inverted.

    Returns
    -------
    ImpliedVol
        Each (n,). Status 0 ok; 1 below the price without volatility (at least the intrinsic value); 2 at or above the
        price with infinite volatility; 3 equal to the price without volatility, at expiry too; 5 bad input; 6 not
        converged. `price` at the answer repeats the given price to about 1e-10 of the strike.

    Raises
    ------
    ValueError
        If the shapes do not fit or the scheme is unknown.

    Notes
    -----
    From the European implied volatility, which is an upper bound, by steps that take the European part of the price as
    it is and of the premium's logarithm the secant, within a bracket; where the option is exercised at once and its
    price says nothing, by the distance of the spot from the boundary (`kernels.american_inversion`). An option that is
    never exercised early has its European implied volatility. No volatility gives a price above the exercise value
    by less than the scheme's error at the boundary: such a row gets the least at which exercise is not due.

    Examples
    --------
    >>> round(float(implied_vol(2.6981, 100, 100, 30 / 365, 0.045, 0.0, False).sigma[0]), 4)
    0.25
    """
    _known(scheme)
    call, columns = option_rows(is_call, price, spot, strike, tau, rate, dividend)
    result = ImpliedVol(np.empty(call.size), np.empty(call.size, np.int8))
    arguments: tuple[Any, ...] = (*columns, call, *SCHEMES[scheme], *result)
    invert_rows(*arguments)
    european = np.flatnonzero(result.status == NEVER_EARLY)
    if european.size:
        value, *rest = (column[european] for column in columns)
        exact = european_implied_vol(value, rest[0], rest[1], rest[2], rest[3], rest[4], call[european])
        result.sigma[european] = exact.sigma
        result.status[european] = exact.status
    return result


def price_cash_dividends(
    spot: npt.ArrayLike,
    strike: npt.ArrayLike,
    tau: npt.ArrayLike,
    rate: npt.ArrayLike,
    sigma: npt.ArrayLike,
    is_call: npt.ArrayLike,
    div_tau: npt.ArrayLike,
    div_cash: npt.ArrayLike,
    steps: int = dividend_tree.STEPS,
) -> American:
    """Price American options on a stock that pays known amounts of cash.

    Parameters
    ----------
    spot, strike, tau, rate, sigma : array_like
        Scalars or (n,) float64, broadcast, as in `price`, but strike > 0.
    is_call : array_like
        Scalar or (n,) bool.
    div_tau, div_cash : array_like
        (n, m) or (m,) float64: years to each ex-date and the cash paid; NaN in either where there is none. Those
        outside (0, tau] do not matter. The order is free.
    steps : int, optional
        Of the finer of the two trees, at least 16: the work grows with its power 1.5.

    Returns
    -------
    American
        Each (n,). Status as in `price`; 5 also for negative or infinite cash.

    Raises
    ------
    ValueError
        If the shapes do not fit or there are too few steps.

    Notes
    -----
    The "spot" model: lognormal between the ex-dates, lower by the cash at each; a payment of more than the spot takes
    all of it. Method in `kernels.dividend_tree`; errors 4e-4 rms and at most 2e-3 per $100. A row without dividends is
    `price` without yield, in its accurate scheme. Delta and gamma are read off the tree, theta follows from the
    Black-Scholes equation.

    Examples
    --------
    >>> round(float(price_cash_dividends(100, 90, 60 / 365, 0.045, 0.3, True, [30 / 365], [1.0]).price[0]), 2)
    11.21
    """
    if steps < 16:
        raise ValueError(f"a tree needs at least 16 steps, got {steps}")
    call, columns = option_rows(is_call, spot, strike, tau, rate, sigma)
    values, status = dividend_tree.price(call, columns, div_tau, div_cash, steps)
    plain = np.flatnonzero(status == dividend_tree.NO_DIVIDEND)
    if plain.size:
        spots, strikes, taus, rates, sigmas = (column[plain] for column in columns)
        without = price(spots, strikes, taus, rates, 0.0, sigmas, call[plain], scheme="accurate")
        for column, solved in zip(values, without[:4], strict=True):
            column[plain] = solved
        status[plain] = without.status
    return American._make([*values, status])
