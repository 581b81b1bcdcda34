"""What the quotes say: per expiry the forward, the implied volatilities, the fitted smile, for a whole batch at once.

All slices (one expiry of one ticker) of a batch go through the kernels together. American quotes are inverted as
American and turned into European ones before parity, the smile or a density is read off them (de-Americanisation; see
Andersen, Lake & Offengenden 2016 for the pricing).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bq.analysis import smiles
from bq.analysis.slices import Side, Slice
from bq.market import calendar
from bq.market.quality import ChainQuality
from bq.market.source import F64, Chain, Days, Snapshot
from kernels import american, black_scholes, implied_vol, status

DTE_LOW, DTE_HIGH, DTE_TARGET = 7, 60, 30
PARITY_PAIRS = 8
FORWARD_PASSES = 3
MAX_LOG_MONEYNESS_SD = 4.0
SPOT_TOLERANCE = 0.004


def horizon_expiries(chain: Chain, as_of_day: np.datetime64) -> Days:
    """List the expiries 7 to 60 calendar days away."""
    days = np.unique(chain.expiry)
    dte = (days - as_of_day).astype(np.int64)
    return days[(dte >= DTE_LOW) & (dte <= DTE_HIGH)]


def _side(chain: Chain, rows: np.ndarray, strike: F64, usable: np.ndarray) -> Side:
    bid, ask = np.full(strike.size, np.nan), np.full(strike.size, np.nan)
    row = np.full(strike.size, -1)
    at = np.searchsorted(strike, chain.strike[rows])
    row[at] = rows
    good = usable[rows]
    bid[at[good]], ask[at[good]] = chain.bid[rows[good]], chain.ask[rows[good]]
    return Side(bid, ask, row)


def slices_of(owner: int, snapshot: Snapshot, quality: ChainQuality, expiries: Days | None = None) -> list[Slice]:
    """Cut a chain into its expiries (those in the horizon, unless told); only usable quotes carry prices."""
    chain = snapshot.chain
    if chain is None:
        return []
    today = np.datetime64(calendar.local_date(snapshot.as_of), "D")
    found = []
    for expiry in horizon_expiries(chain, today) if expiries is None else expiries:
        rows = np.flatnonzero(chain.expiry == expiry)
        strike = np.unique(chain.strike[rows])
        calls, puts = rows[chain.is_call[rows]], rows[~chain.is_call[rows]]
        # From the quotes' own moment: on a Sunday Friday's quotes still hold two days more than the calendar says.
        tau = float(calendar.tau(chain.quote_time, expiry))
        found.append(
            Slice(
                owner=owner,
                expiry=expiry,
                dte=int((expiry - today).astype(int)),
                tau=tau,
                sessions=calendar.sessions_to(snapshot.as_of, expiry),
                rate=snapshot.rates.rate(tau),
                strike=strike,
                call=_side(chain, calls, strike, quality.usable),
                put=_side(chain, puts, strike, quality.usable),
                spot=snapshot.spot,
            )
        )
    return found


def _weighted_median(values: F64, weights: F64) -> float:
    order = np.argsort(values)
    cumulated = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulated, 0.5 * cumulated[-1])])


class _Pairs(NamedTuple):
    strike: F64
    call: F64
    put: F64
    weight: F64


def _parity_pairs(s: Slice) -> _Pairs | None:
    """Take the strikes nearest the money where both sides are quoted tightly."""
    spread_call, spread_put = s.call.ask - s.call.bid, s.put.ask - s.put.bid
    good = (spread_call <= 0.25 * s.call.mid + 0.05) & (spread_put <= 0.25 * s.put.mid + 0.05)
    rows = np.flatnonzero(good)
    if rows.size < 2:
        return None
    # Nearest the money without knowing the spot: where call and put are worth the same.
    rows = rows[np.argsort(np.abs(s.call.mid[rows] - s.put.mid[rows]), kind="stable")][:PARITY_PAIRS]
    floor = 0.01
    weight = 1.0 / (np.maximum(spread_call[rows], floor) ** 2 + np.maximum(spread_put[rows], floor) ** 2)
    return _Pairs(s.strike[rows], s.call.mid[rows], s.put.mid[rows], weight)


def _forwards(slices: Sequence[Slice]) -> None:
    """Find each slice's forward from put-call parity, correcting for early exercise pass by pass."""
    pairs: list[_Pairs | None] = []
    for s in slices:
        p = _parity_pairs(s)
        pairs.append(p)
        if p is None:
            s.problem = "no_parity_pairs"
            continue
        s.pairs = p.strike.size
        s.forward = _weighted_median(p.strike + (p.call - p.put) / s.discount, p.weight)
        if not np.isfinite(s.spot):
            s.spot = s.forward * s.discount
    live = [(s, p) for s, p in zip(slices, pairs, strict=True) if p is not None]
    if not live:
        return
    sizes = [p.strike.size for _, p in live]
    owner = np.repeat(np.arange(len(live)), sizes)
    strike = np.concatenate([p.strike for _, p in live])
    call = np.concatenate([p.call for _, p in live])
    put = np.concatenate([p.put for _, p in live])
    tau = np.array([s.tau for s, _ in live])
    rate = np.array([s.rate for s, _ in live])
    spot = np.array([s.spot for s, _ in live])
    forward = np.array([s.forward for s, _ in live])
    for _ in range(FORWARD_PASSES):
        dividend = rate - np.log(forward / spot) / tau
        rows = (spot[owner], strike, tau[owner], rate[owner], dividend[owner])
        otm_call = strike >= forward[owner]
        sigma = implied_vol.implied_vol(np.where(otm_call, call, put), *rows, otm_call).sigma
        sigma = np.where(np.isfinite(sigma), sigma, 0.0)
        ok = sigma > 0.0
        safe = np.where(ok, sigma, 0.2)
        premium_call = american.price(*rows, safe, True).price - black_scholes.price(*rows, safe, True)
        premium_put = american.price(*rows, safe, False).price - black_scholes.price(*rows, safe, False)
        difference = (call - premium_call) - (put - premium_put)
        implied = strike + difference * np.exp(rate * tau)[owner]
        start = 0
        for i, (s, p) in enumerate(live):
            rows_i = slice(start, start + sizes[i])
            use = ok[rows_i] & np.isfinite(implied[rows_i])
            start += sizes[i]
            if use.sum() < 2:
                s.problem = "no_parity_pairs"
                continue
            values, weight = implied[rows_i][use], p.weight[use]
            forward[i] = _weighted_median(values, weight)
            s.parity_spread = _weighted_median(np.abs(values - forward[i]), weight) / forward[i]
            s.forward = float(forward[i])


def _move_spots(slices: Sequence[Slice]) -> list[Slice]:
    """Find tickers whose quotes imply another spot, and give them that one; returns their slices.

    ln F against tau is a line through ln spot whatever the carry is. Where it misses the given spot by more than 0.4 %
    and more than the pairs disagree, spot and quotes belong to different moments.
    """
    moved = []
    for owner in sorted({s.owner for s in slices}):
        own = [s for s in slices if s.owner == owner and s.problem is None]
        if len(own) < 2:
            continue
        tau, log_forward = np.array([s.tau for s in own]), np.log([s.forward for s in own])
        implied = float(np.exp(np.polyfit(tau, log_forward, 1)[1]))
        doubt = max(SPOT_TOLERANCE, 3.0 * float(np.median([s.parity_spread for s in own])))
        if abs(np.log(implied / own[0].spot)) > doubt:
            for s in slices:
                if s.owner == owner:
                    s.spot, s.spot_moved = implied, True
            moved += own
    return moved


def _out_of_the_money(s: Slice) -> tuple[np.ndarray, np.ndarray, F64, F64]:
    """Take the out-of-the-money side of every strike: its index, whether it is a call, its bid and ask."""
    is_call = s.strike >= s.forward
    bid = np.where(is_call, s.call.bid, s.put.bid)
    ask = np.where(is_call, s.call.ask, s.put.ask)
    rows = np.flatnonzero(np.isfinite(bid) & np.isfinite(ask) & (bid > 0.0))
    return rows, is_call[rows], bid[rows], ask[rows]


def _implied_vols(slices: Sequence[Slice]) -> None:
    """Invert the out-of-the-money quotes of every slice as American options, in one kernel call."""
    live = [s for s in slices if s.problem is None]
    parts = [_out_of_the_money(s) for s in live]
    if not parts:
        return
    sizes = np.array([p[0].size for p in parts])
    owner = np.repeat(np.arange(len(live)), sizes)

    def column(values: Sequence[float]) -> F64:
        return np.array(values, dtype=np.float64)[owner]

    strike = np.concatenate([s.strike[p[0]] for s, p in zip(live, parts, strict=True)])
    is_call = np.concatenate([p[1] for p in parts])
    bid, ask = np.concatenate([p[2] for p in parts]), np.concatenate([p[3] for p in parts])
    mid = 0.5 * (bid + ask)
    tau = column([s.tau for s in live])
    rows = (
        column([s.spot for s in live]),
        strike,
        tau,
        column([s.rate for s in live]),
        column([s.dividend for s in live]),
    )
    sigma, code = american.implied_vol(mid, *rows, is_call)
    ok = (code == status.OK) & (sigma > 0.0)
    safe = np.where(ok, sigma, 0.2)
    greeks = black_scholes.greeks(*rows, safe, is_call)
    premium = mid - greeks.price  # of early exercise, at the implied volatility
    iv_bid = implied_vol.implied_vol(bid - premium, *rows, is_call).sigma
    iv_ask = implied_vol.implied_vol(ask - premium, *rows, is_call).sigma
    noise = 0.5 * (ask - bid) / np.maximum(greeks.vega, 1e-12)
    start = 0
    for s, size in zip(live, sizes, strict=True):
        part = slice(start, start + size)
        start += size
        k = np.log(strike[part] / s.forward)
        use = ok[part] & (noise[part] < 0.05)
        if use.any():
            near = sigma[part][use][np.argmin(np.abs(k[use]))]
            use &= np.abs(k) <= MAX_LOG_MONEYNESS_SD * near * np.sqrt(s.tau)
        s.k, s.strikes_fitted = k[use], strike[part][use]
        s.iv, s.iv_bid, s.iv_ask = sigma[part][use], iv_bid[part][use], iv_ask[part][use]
        if use.sum() < 2:
            s.problem = "too_few_quotes"


def read(slices: Sequence[Slice]) -> None:
    """Fill in forwards, implied volatilities and smiles of all slices of a batch."""
    _forwards(slices)
    _forwards(_move_spots(slices))
    for s in slices:
        if s.problem is None and not 0.5 < s.forward / s.spot < 2.0:
            s.problem = "forward_far_from_spot"
    _implied_vols(slices)
    smiles.fit(slices)
