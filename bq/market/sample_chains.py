"""The simulated option chains: an arbitrage-free smile, American prices, and quotes as dirty as real ones.

The smile is SSVI with the power-law phi of Gatheral & Jacquier (2014), "Arbitrage-free SVI volatility surfaces",
Quantitative Finance 14: total variance w(k) = theta/2 (1 + rho phi k + sqrt((phi k + rho)^2 + 1 - rho^2)) with
phi = eta / sqrt(theta (1 + theta)) and eta (1 + |rho|) <= 2, which admits neither butterfly nor calendar arbitrage
(their remark 4.4). theta is the variance that the symbol's own GARCH model expects until the expiry, times the square
of `vol_premium`: where that is 1, options are fairly priced. Each slice is also a raw SVI with the parameters that
`SliceTruth` tells.

A quote's middle is the American price at the smile's volatility, with the dividends until the expiry as a continuous
yield that gives the same forward. Around it stands a spread that grows with vega and distance; then ticks, bids that
vanish, and a few defects of known number.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bq.market import calendar
from bq.market.sample_paths import Path
from bq.market.sample_truth import Truth, generator
from bq.market.source import F64, Bool, Chain, Days, RateCurve
from kernels import american

WEEKLY_EXPIRIES: Final = 5
LONGEST_DAYS: Final = 90
STRIKES: Final = 41
"""Strikes of an expiry, the middle one nearest the forward."""
STEPS: Final = np.array([0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0])
"""Distances between listed strikes; the smallest that spans 2.5 standard deviations on each side is taken."""

CROSSED_SHARE: Final = 0.002
STALE_SHARE: Final = 0.004
STALE_MOVE: Final = 0.06
"""A stale quote is that of the day when the share stood so much higher or lower."""
PLACEHOLDERS: Final = np.array([1e-5, 0.0009765625, 0.001953125, 0.00390625, 0.0078125, 0.015625, 0.03125])
"""What stands in the volatility column where there is no bid: 0.00001 and powers of two, as in Yahoo's chains."""


class SliceTruth(NamedTuple):
    """One expiry's known smile and carry."""

    expiry: np.datetime64
    tau: float
    forward: float
    discount: float
    dividend_yield: float  # continuous: spot exp((rate - dividend_yield) tau) = forward
    theta: float  # total variance at the forward
    a: float  # raw SVI: w = a + b (rho (k - m) + sqrt((k - m)^2 + s^2))
    b: float
    rho: float
    m: float
    s: float


class QuoteTruth(NamedTuple):
    """What is known of each quote of a chain, row by row."""

    sigma: F64  # the smile's volatility
    mid: F64  # the American price at it
    crossed: Bool  # bid and ask were exchanged
    stale: Bool  # bid and ask are those of another day
    slices: tuple[SliceTruth, ...]


def expiries_after(session: np.datetime64) -> Days:
    """List the expiries on offer after a session: five Fridays, then the monthly ones, 90 days ahead at most."""
    tomorrow, end = session + 1, session + LONGEST_DAYS
    weekly = calendar.fridays(tomorrow, end)[:WEEKLY_EXPIRIES]
    return np.union1d(weekly, calendar.monthly_expiries(tomorrow, end))


class _Grid(NamedTuple):
    """Everything of a batch of chains, shape (symbol, expiry, call or put, strike)."""

    strike: F64
    is_call: Bool
    sigma: F64
    price: F64
    price_stale: F64
    half_spread: F64
    distance: F64  # from the forward, in standard deviations


def quote(
    seed: int, truths: Sequence[Truth], paths: Sequence[Path], rates: RateCurve
) -> list[tuple[Chain, QuoteTruth]]:
    """Quote the option chains of a batch of symbols at the close of their last bar."""
    session = paths[0].bars.date[-1]
    moment = calendar.session_close(session)
    expiry = expiries_after(session)
    slices = [_slices(truth, path, moment, expiry, rates) for truth, path in zip(truths, paths, strict=True)]
    draws = np.stack(
        [generator(seed, truth.ticker, "quotes", str(session)).random((expiry.size, 2, STRIKES, 8)) for truth in truths]
    )
    spot = np.array([path.bars.close[-1] for path in paths])
    stale_side = np.where(draws[..., 7] < 0.5, 1.0 - STALE_MOVE, 1.0 + STALE_MOVE)
    grid = _grid(truths, slices, spot, stale_side, draws[..., 1] < CROSSED_SHARE + STALE_SHARE)
    return [
        _chain(truth, slices[row], moment, expiry, float(spot[row]), _row(grid, row), draws[row])
        for row, truth in enumerate(truths)
    ]


def _row(grid: _Grid, row: int) -> _Grid:
    return _Grid(
        grid.strike[row],
        grid.is_call[row],
        grid.sigma[row],
        grid.price[row],
        grid.price_stale[row],
        grid.half_spread[row],
        grid.distance[row],
    )


def _slices(truth: Truth, path: Path, moment: dt.datetime, expiry: Days, rates: RateCurve) -> tuple[SliceTruth, ...]:
    spot = float(path.bars.close[-1])
    ahead = calendar.count_sessions(path.bars.date[-1], expiry)
    return tuple(
        _slice(truth, path, spot, day, float(years), int(sessions), rates)
        for day, years, sessions in zip(expiry, calendar.tau(moment, expiry), ahead, strict=True)
    )


def _slice(
    truth: Truth, path: Path, spot: float, expiry: np.datetime64, tau: float, sessions: int, rates: RateCurve
) -> SliceTruth:
    rate = rates.rate(tau)
    value = sum(
        dividend.cash * np.exp(-rate * ((np.datetime64(dividend.ex_date) - path.bars.date[-1]).astype(int) / 365.0))
        for dividend in path.dividends
        if np.datetime64(dividend.ex_date) <= expiry
    )
    forward = (spot - value) * np.exp(rate * tau)
    p = truth.persistence
    expected = sessions * (truth.variance + truth.cycle_variance)
    expected += (path.next_variance - truth.variance) * (1.0 - p**sessions) / (1.0 - p)
    theta = truth.vol_premium**2 * expected / 1e4
    rho = truth.smile_rho
    phi = truth.smile_eta / np.sqrt(theta * (1.0 + theta))
    return SliceTruth(
        expiry=expiry,
        tau=tau,
        forward=float(forward),
        discount=float(np.exp(-rate * tau)),
        dividend_yield=float(rate - np.log(forward / spot) / tau),
        theta=theta,
        a=0.5 * theta * (1.0 - rho * rho),
        b=float(0.5 * theta * phi),
        rho=rho,
        m=float(-rho / phi),
        s=float(np.sqrt(1.0 - rho * rho) / phi),
    )


def _grid(
    truths: Sequence[Truth], slices: Sequence[Sequence[SliceTruth]], spot: F64, stale_side: F64, stale: Bool
) -> _Grid:
    def per_slice(field: str) -> F64:
        return np.array([[getattr(each, field) for each in row] for row in slices], np.float64)[:, :, None, None]

    tau, forward, theta = per_slice("tau"), per_slice("forward"), per_slice("theta")
    strike = np.broadcast_to(_strikes(forward, theta), (*stale.shape,))
    k = np.log(strike / forward)
    shifted = k - per_slice("m")
    w = per_slice("a") + per_slice("b") * (
        per_slice("rho") * shifted + np.sqrt(shifted * shifted + per_slice("s") ** 2)
    )
    sigma = np.sqrt(w / tau)
    is_call = np.broadcast_to(np.array([True, False])[None, None, :, None], stale.shape)
    shares = np.broadcast_to(spot[:, None, None, None], stale.shape)
    rate = -np.log(per_slice("discount")) / tau
    dividend = per_slice("dividend_yield")
    price = _american(shares, strike, tau, rate, dividend, sigma, is_call)
    price_stale = price.copy()
    if stale.any():
        years, rates, yields = (np.broadcast_to(column, stale.shape)[stale] for column in (tau, rate, dividend))
        price_stale[stale] = _american(
            (shares * stale_side)[stale], strike[stale], years, rates, yields, sigma[stale], is_call[stale]
        )
    distance = k / np.sqrt(w)
    vega = forward * np.sqrt(tau) * 0.3989422804014327 * np.exp(-0.5 * distance * distance)
    spread = np.array([truth.spread for truth in truths])[:, None, None, None]
    half_spread = spread * vega * (1.0 + 0.5 * distance * distance) + 0.02 * spread * np.abs(strike - forward)
    return _Grid(strike, is_call, sigma, price, price_stale, half_spread, distance)


def _american(spot: F64, strike: F64, tau: F64, rate: F64, dividend: F64, sigma: F64, is_call: Bool) -> F64:
    shape = sigma.shape

    def flat(values: F64) -> F64:
        return np.array(np.broadcast_to(values, shape)).ravel()  # a copy: what broadcast_to gives is read-only

    flags = np.array(is_call).ravel()
    price = american.price(flat(spot), flat(strike), flat(tau), flat(rate), flat(dividend), flat(sigma), flags)
    return price.price.reshape(shape)


def _strikes(forward: F64, theta: F64) -> F64:
    """List the strikes of each expiry on the exchange's grid; those that are not positive come out below 1e-9."""
    half = STRIKES // 2
    wanted = 2.5 * forward * np.sqrt(theta) / half
    step = STEPS[np.minimum(np.searchsorted(STEPS, wanted), STEPS.size - 1)]
    return np.maximum((np.round(forward / step) + np.arange(-half, half + 1)) * step, 1e-10)


def _chain(
    truth: Truth, slices: tuple[SliceTruth, ...], moment: dt.datetime, expiry: Days, spot: float, grid: _Grid, u: F64
) -> tuple[Chain, QuoteTruth]:
    listed = grid.strike > 0.15 * spot
    day = np.broadcast_to(expiry[:, None, None], listed.shape)[listed]
    strike, is_call, sigma = grid.strike[listed], grid.is_call[listed], grid.sigma[listed]
    price, half, distance = grid.price[listed], grid.half_spread[listed], grid.distance[listed]
    draw = u[listed]
    crossed = draw[:, 0] < CROSSED_SHARE
    stale = (draw[:, 1] < STALE_SHARE) & ~crossed
    shown = np.where(stale, grid.price_stale[listed], price) + 0.2 * half * (2.0 * draw[:, 2] - 1.0)
    bid, ask = _ticks(shown - half, shown + half, truth.penny)
    crossed &= bid > 0.0
    bid, ask = np.where(crossed, ask, bid), np.where(crossed, bid, ask)
    busy = np.exp(-0.5 * distance * distance) * (0.01 / truth.spread) ** 1.5
    volume = np.floor(2000.0 * busy * draw[:, 3] ** 4)
    interest = np.floor(20000.0 * busy * draw[:, 4] ** 2)
    volume[stale] = 0.0
    chain = Chain(
        quote_time=moment,
        spot=spot,
        expiry=day,
        strike=strike,
        is_call=is_call,
        bid=bid,
        ask=ask,
        bid_size=1.0 + np.floor(100.0 * draw[:, 5] ** 3),
        ask_size=1.0 + np.floor(100.0 * draw[:, 6] ** 3),
        last=np.where(interest > 0.0, np.maximum(np.round(shown, 2), 0.01), np.nan),
        last_trade=_last_trade(moment, volume, interest, stale, draw[:, 3]),
        volume=volume,
        open_interest=interest,
        vendor_iv=np.where(bid > 0.0, sigma * (1.0 + 0.02 * (draw[:, 7] - 0.5)), _placeholder(draw[:, 7])),
    )
    return chain, QuoteTruth(sigma, price, crossed, stale, slices)


def _ticks(bid: F64, ask: F64, penny: bool) -> tuple[F64, F64]:
    """Move bids down and asks up to the tick: a cent, or five from 3.00 upwards; there is no bid below one tick."""

    def in_cents(price: F64) -> npt.NDArray[np.float64]:
        return np.full(price.shape, 1.0) if penny else np.where(price < 3.0, 1.0, 5.0)

    bid_tick, ask_tick = in_cents(bid), in_cents(ask)
    down = np.floor(np.round(100.0 * bid, 6) / bid_tick) * bid_tick
    up = np.maximum(np.ceil(np.round(100.0 * ask, 6) / ask_tick) * ask_tick, np.maximum(down, 0.0) + ask_tick)
    return np.maximum(down, 0.0) / 100.0, up / 100.0


def _placeholder(u: F64) -> F64:
    return PLACEHOLDERS[(u * PLACEHOLDERS.size).astype(np.int64)]


def _last_trade(moment: dt.datetime, volume: F64, interest: F64, stale: Bool, u: F64) -> npt.NDArray[np.datetime64]:
    """Date the last trades: today where there was volume, days ago where there was none, two weeks where stale."""
    ago = np.where(volume > 0.0, 6.0 * 3600.0 * (1.0 - u), 86400.0 * np.floor(2.0 + 8.0 * (1.0 - u)))
    ago = np.where(stale, 15.0 * 86400.0, ago)
    time = np.datetime64(int(moment.timestamp()), "s") - ago.astype("timedelta64[s]")
    return np.where((interest > 0.0) | (volume > 0.0) | stale, time, np.datetime64("NaT", "s"))
