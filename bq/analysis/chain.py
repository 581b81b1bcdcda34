"""What the quotes say: per expiry the forward, the implied volatilities, the fitted smile, for a whole batch at once.

All slices (one expiry of one ticker) of a batch go through the kernels together. American quotes are inverted as
American and turned into European ones before parity, the smile or a density is read off them (de-Americanisation; see
Andersen, Lake & Offengenden 2016 for the pricing).
"""

import datetime as dt
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from bq.analysis import early_exercise, parity, smiles
from bq.analysis.early_exercise import Terms
from bq.analysis.slices import Side, Slice, table
from bq.market import calendar
from bq.market.quality import ChainQuality, adjusted_contracts
from bq.market.source import F64, Bool, Chain, Days, Snapshot
from kernels import black_scholes, implied_vol

Counts: TypeAlias = npt.NDArray[np.int64]

DTE_LOW, DTE_HIGH, DTE_TARGET = 7, 60, 30
MAX_LOG_MONEYNESS_SD: Final = 4.0
NOISIEST: Final = 0.05
"""Half a spread, in volatility, beyond which a quote says nothing of the smile."""


def horizon_expiries(chain: Chain, as_of_day: np.datetime64) -> Days:
    """List the expiries 7 to 60 calendar days away."""
    return np.unique(chain.expiry[_in_horizon(chain.expiry, as_of_day)])


def _in_horizon(expiry: Days, as_of_day: np.datetime64) -> Bool:
    dte = (expiry - as_of_day).astype(np.int64)
    return (dte >= DTE_LOW) & (dte <= DTE_HIGH)


def slices_of(owner: int, snapshot: Snapshot, quality: ChainQuality, expiries: Days | None = None) -> list[Slice]:
    """Cut a chain into its expiries (those in the horizon, unless told); only usable quotes carry prices."""
    chain = snapshot.chain
    if chain is None:
        return []
    if expiries is None:
        kept = _in_horizon(chain.expiry, np.datetime64(calendar.local_date(snapshot.as_of), "D"))
    else:
        kept = np.isin(chain.expiry, expiries)
    if chain.symbol is not None:
        kept &= ~adjusted_contracts(chain)  # other contracts, though of the same strikes
    wanted = np.flatnonzero(kept)
    if not wanted.size:
        return []
    order = wanted[np.lexsort((chain.strike[wanted], chain.expiry[wanted]))]
    expiry, strike, is_call = chain.expiry[order], chain.strike[order], chain.is_call[order]
    later, new = np.ones(order.size, np.bool_), np.ones(order.size, np.bool_)
    later[1:] = expiry[1:] != expiry[:-1]
    new[1:] = (strike[1:] != strike[:-1]) | later[1:]
    at = np.cumsum(new) - 1
    days, listed, ends = expiry[later], strike[new], [*at[later].tolist(), int(at[-1]) + 1]
    quotes = np.full((4, listed.size), np.nan)
    places = np.full((2, listed.size), -1)
    good = quality.usable[order]
    for side, own in enumerate((is_call, ~is_call)):
        places[side, at[own]] = order[own]
        own &= good
        places[side, at[own]] = order[own]  # of two rows of one contract, that of the quotes
        quotes[2 * side, at[own]], quotes[2 * side + 1, at[own]] = chain.bid[order[own]], chain.ask[order[own]]
    dte, years, sessions = _distances(snapshot.as_of, chain.quote_time, days.tobytes())
    rates = snapshot.rates.rates(years)
    found = []
    for i, expiry_day in enumerate(days):
        part = slice(ends[i], ends[i + 1])
        call_bid, call_ask, put_bid, put_ask = quotes[:, part]
        found.append(
            Slice(
                owner=owner,
                expiry=expiry_day,
                dte=int(dte[i]),
                tau=float(years[i]),
                sessions=int(sessions[i]),
                rate=float(rates[i]),
                strike=listed[part],
                call=Side(call_bid, call_ask, places[0, part]),
                put=Side(put_bid, put_ask, places[1, part]),
                spot=snapshot.spot,
            )
        )
    return found


@lru_cache(maxsize=256)
def _distances(as_of: dt.datetime, quoted: dt.datetime, expiries: bytes) -> tuple[Counts, F64, Counts]:
    """Measure how far expiries are: calendar days, years, sessions. Most tickers of a batch have the same ones."""
    days = np.frombuffer(expiries, "datetime64[D]")
    today = np.datetime64(calendar.local_date(as_of), "D")
    # Years from the quotes' own moment: on a Sunday Friday's quotes still hold two days more than the calendar says.
    return (days - today).astype(np.int64), calendar.tau(quoted, days), calendar.sessions_to(as_of, days)


def read(slices: Sequence[Slice]) -> None:
    """Fill in forwards, implied volatilities and smiles of all slices of a batch."""
    parity.find(slices)
    for s in slices:
        if s.problem is None and not 0.5 < s.forward / s.spot < 2.0:
            s.problem = "forward_far_from_spot"
    _implied_vols([s for s in slices if s.problem is None])
    smiles.fit(slices)


def _implied_vols(live: Sequence[Slice]) -> None:
    """Invert the out-of-the-money quotes of every slice as American options, in one kernel call."""
    if not live:
        return
    strikes, call_bid, call_ask, put_bid, put_ask = table(live)
    forward, tau = np.array([s.forward for s in live]), np.array([s.tau for s in live])
    spot, rate = np.array([s.spot for s in live]), np.array([s.rate for s in live])
    dividend = np.array([s.dividend for s in live])
    calls = strikes >= forward[:, None]
    bids, asks = np.where(calls, call_bid, put_bid), np.where(calls, call_ask, put_ask)
    quoted = np.isfinite(asks) & (bids > 0.0)
    owner = np.flatnonzero(quoted.ravel()) // quoted.shape[1]
    strike, is_call, bid, ask = strikes[quoted], calls[quoted], bids[quoted], asks[quoted]
    rows = Terms(spot[owner], strike, tau[owner], rate[owner], dividend[owner])
    sigma, premium = early_exercise.removed(0.5 * (bid + ask), rows, is_call)
    ok = sigma > 0.0
    vega = black_scholes.greeks(*rows, early_exercise.known(sigma), is_call).vega
    iv_bid = implied_vol.implied_vol(bid - premium, *rows, is_call).sigma
    iv_ask = implied_vol.implied_vol(ask - premium, *rows, is_call).sigma
    noise = 0.5 * (ask - bid) / np.maximum(vega, 1e-12)
    k = np.log(strike / forward[owner])
    use = ok & (noise < NOISIEST)
    use &= np.abs(k) <= (MAX_LOG_MONEYNESS_SD * np.sqrt(tau) * _near_the_money(quoted, k, sigma, use))[owner]
    ends = np.searchsorted(owner[use], np.arange(len(live) + 1))
    columns = [column[use] for column in (k, strike, sigma, iv_bid, iv_ask)]
    for i, s in enumerate(live):
        part = slice(ends[i], ends[i + 1])
        s.k, s.strikes_fitted, s.iv, s.iv_bid, s.iv_ask = (column[part] for column in columns)
        if ends[i + 1] - ends[i] < 2:
            s.problem = "too_few_quotes"


def _near_the_money(quoted: Bool, k: F64, sigma: F64, use: Bool) -> F64:
    """Give each slice the volatility of its used quote nearest the forward, (n,); NaN where it has none.

    Parameters
    ----------
    quoted : (n, m) bool
        Where the quotes, (q,), stand.
    """
    away, vols = np.full(quoted.shape, np.inf), np.full(quoted.shape, np.nan)
    away[quoted] = np.where(use, np.abs(k), np.inf)
    vols[quoted] = np.where(use, sigma, np.nan)
    found: F64 = vols[np.arange(len(vols)), np.argmin(away, axis=1)]
    return found
