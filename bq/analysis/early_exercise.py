"""American quotes as European ones: what the right of early exercise is worth, and the volatility of the rest."""

from typing import Final, NamedTuple

import numpy as np

from bq.market.source import F64, Bool
from kernels import american, black_scholes, implied_vol

AT_ONCE: Final = 2e-4
"""Move of the volatility by a premium up to which the premium need not be taken again."""
ANY_VOL: Final = 0.2
"""Of a row that has none, so that a kernel has something to work on; its result is not used."""


class Terms(NamedTuple):
    """Options on a share with a continuous yield, each (n,)."""

    spot: F64
    strike: F64
    tau: F64
    rate: F64
    dividend: F64

    def part(self, rows: np.ndarray) -> "Terms":
        """Take some."""
        return Terms(*(column[rows] for column in self))


class European(NamedTuple):
    """American quotes as European ones, each (n,); NaN where there is no volatility."""

    sigma: F64
    premium: F64
    """Of early exercise, at that volatility: the American price less the European one."""


def removed(price: F64, terms: Terms, is_call: Bool) -> European:
    """Free prices of options out of the money, or near it, of what the right of early exercise is worth.

    Parameters
    ----------
    price, is_call : (n,)

    Returns
    -------
    European
        The volatilities are those of `american.implied_vol`, to 1e-5, in a third of the time.

    Notes
    -----
    Out of the money the premium is a small share of the price and hardly depends on the volatility, so the European
    volatility of the price less its premium at the last guess converges at once. Starting from the European volatility
    of the whole price, one premium leaves less than 1e-5 where it moved the volatility by less than `AT_ONCE`; the
    others take a second one and Aitken's step, which leaves less than 1e-7.
    """
    first = implied_vol.implied_vol(price, *terms, is_call).sigma
    paid = premium(terms, first, is_call)
    sigma = implied_vol.implied_vol(price - paid, *terms, is_call).sigma
    more = np.flatnonzero(np.abs(sigma - first) > AT_ONCE)
    if more.size:
        own, calls, second = terms.part(more), is_call[more], sigma[more]
        third = implied_vol.implied_vol(price[more] - premium(own, second, calls), *own, calls).sigma
        step, last = second - first[more], third - second
        sigma[more] = np.where(np.abs(last) < 0.5 * np.abs(step), third - last * last / (last - step), np.nan)
        paid[more] = price[more] - black_scholes.price(*own, known(sigma[more]), calls)
    return European(sigma, np.where(sigma > 0.0, paid, np.nan))


def premium(terms: Terms, sigma: F64, is_call: Bool) -> F64:
    """Value early exercise at these volatilities, (n,); NaN without one."""
    rows = (*terms, known(sigma), is_call)
    return np.where(sigma > 0.0, american.price(*rows).price - black_scholes.price(*rows), np.nan)


def known(sigma: F64) -> F64:
    """Put any volatility where there is none."""
    return np.where(sigma > 0.0, sigma, ANY_VOL)
