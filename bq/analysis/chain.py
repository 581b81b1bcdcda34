"""What the quotes say: per expiry the forward, the implied volatilities, the fitted smile, for a whole batch at once.

All slices (one expiry of one ticker) of a batch go through the kernels together. American quotes are inverted as
American and turned into European ones before parity, the smile or a density is read off them (de-Americanisation; see
Andersen, Lake & Offengenden 2016 for the pricing).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from bq.market import calendar
from bq.market.quality import ChainQuality
from bq.market.source import F64, Chain, Days, Snapshot
from kernels import american, black_scholes, density, implied_vol, smile, status
from kernels.smile import Svi

DTE_LOW, DTE_HIGH, DTE_TARGET = 7, 60, 30
LEAST_QUOTES = 6  # for a smile of five parameters
PARITY_PAIRS = 8
FORWARD_PASSES = 3
MAX_LOG_MONEYNESS_SD = 4.0
ANCHOR_NOISE = 0.3
SPOT_TOLERANCE = 0.004


class Side(NamedTuple):
    """Quotes of calls or puts by strike; NaN where there is no usable one."""

    bid: F64
    ask: F64
    row: np.ndarray  # position in the chain, -1 where there is none

    @property
    def mid(self) -> F64:
        """Middle of the spread."""
        return 0.5 * (self.bid + self.ask)


class Slice(msgspec.Struct):
    """One expiry of one ticker: its quotes by strike, then what was found in them."""

    owner: int  # row of the batch
    expiry: np.datetime64
    dte: int
    tau: float
    sessions: int
    rate: float
    strike: F64
    call: Side
    put: Side
    spot: float = np.nan
    forward: float = np.nan
    parity_spread: float = np.nan  # disagreement of the pairs about the forward, over the forward
    pairs: int = 0
    k: F64 | None = None  # ln(K / F) of the quotes that the smile was fitted to
    strikes_fitted: F64 | None = None
    iv: F64 | None = None  # of their mids
    iv_bid: F64 | None = None
    iv_ask: F64 | None = None
    svi: Svi | None = None  # of one row
    model: str = "none"
    fit_error: float = np.nan
    inside: float = np.nan
    atm_iv: float = np.nan
    model_free_vol: float = np.nan
    problem: str | None = None  # why this expiry gives no implied number
    spot_moved: bool = False  # the quotes belong to another moment than the spot: theirs is used

    @property
    def discount(self) -> float:
        """Value today of a dollar at expiry."""
        return float(np.exp(-self.rate * self.tau))

    @property
    def dividend(self) -> float:
        """Implied continuous carry: what the forward says the share pays, borrow included."""
        return self.rate - float(np.log(self.forward / self.spot)) / self.tau

    @property
    def iv_error(self) -> float:
        """Relative standard error of the smile's level: half a spread a quote, over the root of their number."""
        if self.iv is None or self.iv_ask is None or self.iv_bid is None:
            return 0.0
        spread = np.nanmedian(0.5 * (self.iv_ask - np.nan_to_num(self.iv_bid)) / self.iv)
        return float(min(spread / np.sqrt(max(self.iv.size, 1)), 0.5))

    def sigma(self, strike: F64 | float) -> F64:
        """Volatility of the fitted smile at strikes."""
        k = np.log(np.atleast_1d(np.asarray(strike, dtype=np.float64)) / self.forward)
        assert self.svi is not None
        return np.sqrt(smile.total_variance(self.svi, k[None, :])[0] / self.tau)


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


def _anchors(k: F64, w: F64) -> tuple[F64, F64]:
    """Extend the quotes by one point on each side, one quoted width out, along the slope of the outer quarter.

    Nothing else restrains a wing beyond the quotes: five parameters fit a week of SPY within 0.2 volatility points with
    a right wing at Lee's limit, whose model-free volatility is 420 %. The anchors are given an error of 30 %.
    """
    order = np.argsort(k)
    k, w = k[order], w[order]
    size = max(k.size // 4, 3)
    reach = k[-1] - k[0]
    left = float(np.clip(np.polyfit(k[:size], w[:size], 1)[0], -1.0, 0.0))
    right = float(np.clip(np.polyfit(k[-size:], w[-size:], 1)[0], 0.0, 1.0))
    return np.array([k[0] - reach, k[-1] + reach]), np.array([w[0] - left * reach, w[-1] + right * reach])


def _row(fit: Any, i: int) -> Svi:
    """Take one slice of a fitted batch."""
    return Svi(*(np.atleast_1d(column[i]) for column in fit))


def _fit_smiles(slices: Sequence[Slice]) -> None:
    """Fit every slice's smile, weighted by the noise of its quotes; few quotes get a level and a skew, by name."""
    for model, live in (
        ("svi", [s for s in slices if s.problem is None and s.k is not None and s.k.size >= LEAST_QUOTES]),
        ("level_skew", [s for s in slices if s.problem is None and s.k is not None and s.k.size < LEAST_QUOTES]),
    ):
        if not live:
            continue
        width = max(s.k.size for s in live if s.k is not None) + 2
        k, w, weight = (np.full((len(live), width), np.nan) for _ in range(3))
        tau = np.array([s.tau for s in live])
        for i, s in enumerate(live):
            assert s.k is not None and s.iv is not None and s.iv_bid is not None and s.iv_ask is not None
            n = s.k.size
            k[i, :n], w[i, :n] = s.k, s.iv**2 * s.tau
            low = np.where(np.isfinite(s.iv_bid), s.iv_bid, 0.0)
            sd = s.iv * s.tau * np.maximum(s.iv_ask - low, 1e-4)
            sd = np.where(np.isfinite(sd), sd, np.nanmax(sd) if np.isfinite(sd).any() else 1.0)
            weight[i, :n] = 1.0 / np.maximum(sd, 0.3 * np.median(sd)) ** 2
            if model == "svi":
                k[i, n : n + 2], w[i, n : n + 2] = _anchors(s.k, w[i, :n])
                weight[i, n : n + 2] = 1.0 / (ANCHOR_NOISE * w[i, n : n + 2]) ** 2
        fit = smile.fit(k, w, weight, tau) if model == "svi" else smile.fit_level_skew(k, w, weight, tau)
        at_money = smile.total_variance(fit, np.zeros((len(live), 1)))[:, 0]
        model_free = density.model_free_variance(fit, tau)
        fitted = smile.total_variance(fit, k)
        for i, s in enumerate(live):
            if int(fit.status[i]) not in status.FINITE or not at_money[i] > 0.0:
                s.problem = "smile_" + status.MEANING[int(fit.status[i])]
                continue
            s.svi = _row(fit, i)
            s.model = model
            s.fit_error = float(fit.fit_error[i])
            s.atm_iv = float(np.sqrt(at_money[i] / s.tau))
            s.model_free_vol = float(np.sqrt(model_free[i]))
            assert s.k is not None and s.iv_bid is not None and s.iv_ask is not None
            vol = np.sqrt(fitted[i, : s.k.size] / s.tau)
            above = ~(vol < s.iv_bid)  # a bid below intrinsic value has no volatility and bounds nothing
            s.inside = float(np.mean(above & ~(vol > s.iv_ask)))


def read(slices: Sequence[Slice]) -> None:
    """Fill in forwards, implied volatilities and smiles of all slices of a batch."""
    _forwards(slices)
    _forwards(_move_spots(slices))
    for s in slices:
        if s.problem is None and not 0.5 < s.forward / s.spot < 2.0:
            s.problem = "forward_far_from_spot"
    _implied_vols(slices)
    _fit_smiles(slices)
