"""Markets without an edge: option quotes are the expectations under the process that also made the history.

Histories are those of the sample market (GARCH and GJR-GARCH with Student t shocks). At their end the true process is
simulated on, 20,000 paths, and every option's fair value is its mean payoff over them: no smile model, no premium, no
rate, no dividend, so that American options are European ones and the chain is free of arbitrage by construction. Quotes
lie a half spread around the fair value moved by up to a fifth of it, rounded outwards to cents.
"""

import math
from collections.abc import Sequence

import numpy as np

from bq.market import calendar, sample_paths
from bq.market.sample import SEED
from bq.market.sample_truth import Truth, generator, truth_of
from bq.market.source import F64, Chain, RateCurve, Snapshot

PATHS = 20_000
STRIKES = 25
HORIZONS = (10, 21, 42)  # sessions
LAST = np.datetime64("2026-06-30")


def fair_names(count: int) -> list[str]:
    """Symbols without a planted cycle, which a volatility model does not know."""
    names = (f"SIM{number:03d}" for number in range(1, 501) if number % 10 != 5)
    return [name for name, _ in zip(names, range(count), strict=False)]


def markets(names: Sequence[str], seed: int = SEED) -> list[Snapshot]:
    """Make one snapshot a name."""
    truths = [truth_of(seed, name) for name in names]
    paths = sample_paths.simulate(seed, truths, LAST)
    return [_snapshot(seed, truth, path) for truth, path in zip(truths, paths, strict=True)]


def _snapshot(seed: int, truth: Truth, path: sample_paths.Path) -> Snapshot:
    moment = calendar.session_close(path.bars.date[-1])
    spot = float(path.bars.close[-1])
    rng = generator(seed, truth.ticker, "fair")
    days = calendar.sessions_between(LAST + 1, LAST + 90)
    growth = dict(zip(HORIZONS, _ends(truth, path.next_variance, rng), strict=True))
    columns: list[list[F64]] = []
    for sessions in HORIZONS:
        prices = spot * growth[sessions] / growth[sessions].mean()
        step = _step(2.5 * float(prices.std()) / (STRIKES // 2))
        strike = step * (round(spot / step) + np.arange(-(STRIKES // 2), STRIKES // 2 + 1))
        strike = strike[strike > 0.2 * spot]
        put = np.maximum(strike[:, None] - prices, 0.0).mean(axis=1)
        vega = (
            spot * math.sqrt(sessions / 252) * 0.4 * np.exp(-0.5 * (np.log(strike / spot) / prices.std() * spot) ** 2)
        )
        half = np.maximum(truth.spread * vega, 0.01)
        for is_call, value in ((True, put + spot - strike), (False, put)):
            shown = value + 0.2 * half * (2.0 * rng.random(strike.size) - 1.0)
            bid = np.floor(100.0 * np.maximum(shown - half, 0.0)) / 100.0
            ask = np.ceil(100.0 * (shown + half)) / 100.0
            columns.append([strike, bid, ask, np.full(strike.size, is_call), np.full(strike.size, days[sessions - 1])])
    strike, bid, ask, is_call, expiry = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    nothing = np.full(strike.size, np.nan)
    chain = Chain(
        quote_time=moment,
        spot=spot,
        expiry=expiry.astype("datetime64[D]"),
        strike=strike,
        is_call=is_call.astype(bool),
        bid=bid,
        ask=ask,
        bid_size=nothing,
        ask_size=nothing,
        last=nothing,
        last_trade=np.full(strike.size, np.datetime64("NaT", "s")),
        volume=nothing,
        open_interest=nothing,
        vendor_iv=nothing,
    )
    return Snapshot(truth.ticker, truth.name, "fair", moment, path.bars, spot, RateCurve.flat(0.0, "none"), chain)


def _step(wanted: float) -> float:
    """Round a distance of strikes to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(wanted))
    return power * min((1.0, 2.0, 5.0, 10.0), key=lambda x: abs(x - wanted / power))


def _ends(truth: Truth, variance: float, rng: np.random.Generator) -> list[F64]:
    """Simulate growth factors of the true process to each horizon."""
    h = np.full(PATHS, variance)
    total = np.zeros(PATHS)
    found = []
    for step in range(1, max(HORIZONS) + 1):
        e = np.sqrt(h) * rng.standard_t(truth.nu, PATHS) * math.sqrt((truth.nu - 2.0) / truth.nu)
        total += truth.mu + e
        h = truth.omega + (truth.alpha + truth.gamma * (e < 0.0)) * e**2 + truth.beta * h
        if step in HORIZONS:
            found.append(np.exp(0.01 * total))
    return found
