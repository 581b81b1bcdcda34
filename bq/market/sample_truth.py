"""What the simulated market is made of: one record of known parameters for each symbol, drawn from the seed.

Every number here is decided by (seed, symbol) alone, so a test can ask a method to find it again.
"""

import hashlib
import math
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

POPULAR: Final = {
    # symbol: name, yearly volatility, dividend yield, sector
    "AAPL": ("Apple Inc.", 0.26, 0.004, "Technology"),
    "MSFT": ("Microsoft Corporation", 0.24, 0.007, "Technology"),
    "NVDA": ("NVIDIA Corporation", 0.45, 0.0, "Technology"),
    "GOOGL": ("Alphabet Inc.", 0.28, 0.004, "Communication Services"),
    "AMZN": ("Amazon.com, Inc.", 0.31, 0.0, "Consumer Discretionary"),
    "META": ("Meta Platforms, Inc.", 0.34, 0.003, "Communication Services"),
    "TSLA": ("Tesla, Inc.", 0.52, 0.0, "Consumer Discretionary"),
    "SPY": ("SPDR S&P 500 ETF Trust", 0.16, 0.012, "Fund"),
    "QQQ": ("Invesco QQQ Trust", 0.20, 0.006, "Fund"),
}
"""The popular symbols, with the volatility and dividend yield that their simulated namesakes have."""

FUNDS: Final = ("SPY", "QQQ")
SIMULATED: Final = tuple(f"SIM{number:03d}" for number in range(1, 501))
SIMULATED_SP500: Final = (*(name for name in POPULAR if name not in FUNDS), *SIMULATED[:493])
SIMULATED_NASDAQ: Final = (*(name for name in POPULAR if name not in FUNDS), *SIMULATED[407:])
"""Who is in the simulated indices: 500 and 100 names, 86 and the popular shares in both, as with the real ones."""
SECTORS: Final = ("Technology", "Health Care", "Financials", "Industrials", "Consumer Staples", "Energy", "Utilities")

CYCLE_PEAK: Final = 30.0
"""Expected height of a planted cycle in the periodogram of 504 returns, in multiples of the noise's mean power."""
CYCLE_OBSERVATIONS: Final = 504
RICH: Final = 1.25
CHEAP: Final = 0.80


class Truth(NamedTuple):
    """The parameters behind one symbol. GARCH is in per cent of log return, as `arch` has it."""

    ticker: str
    name: str
    sector: str
    first_price: float  # on the day the simulation starts
    mu: float  # per cent a session
    omega: float
    alpha: float
    gamma: float  # of negative shocks (GJR); 0 in three names of four
    beta: float
    nu: float  # degrees of freedom of the Student t shocks
    cycle_period: float  # sessions; NaN where there is none
    cycle_amplitude: float  # of the log price; 0 where there is none
    cycle_phase: float  # radians, at the first session of the simulation
    dividend_yield: float  # per year, paid quarterly in cash; 0 for those that pay none
    dividend_month: int  # first month of payment: 1, 2 or 3
    dividend_day: int  # paid on the first session on or after this day of the month
    vol_premium: float  # implied over expected volatility: 1 is fair, RICH and CHEAP are not
    smile_rho: float  # SSVI
    smile_eta: float  # SSVI, eta (1 + |rho|) <= 2: free of static arbitrage
    spread: float  # half the bid-ask spread at the money, in volatility
    penny: bool  # quoted in cents throughout; otherwise 0.05 from 3.00 upwards

    @property
    def variance(self) -> float:
        """The unconditional variance of a session's return, per cent squared, without the cycle."""
        return self.omega / (1.0 - self.persistence)

    @property
    def persistence(self) -> float:
        """How much of a variance shock is left after one session."""
        return self.alpha + 0.5 * self.gamma + self.beta

    @property
    def cycle_variance(self) -> float:
        """The variance that the planted cycle adds to a session's return, per cent squared."""
        if self.cycle_amplitude == 0.0:
            return 0.0
        return 0.5 * (200.0 * self.cycle_amplitude * math.sin(math.pi / self.cycle_period)) ** 2


def generator(seed: int, *words: str) -> np.random.Generator:
    """Make the random generator that belongs to a seed and some words, whoever asks and in whatever order."""
    digest = hashlib.sha256(":".join((str(seed), *words)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def knows(ticker: str) -> bool:
    """Say whether the simulation has a symbol."""
    return ticker in POPULAR or ticker in _SIMULATED_SET


_SIMULATED_SET: Final = frozenset(SIMULATED)


@lru_cache(maxsize=2048)
def truth_of(seed: int, ticker: str) -> Truth:
    """Draw the parameters of a symbol; a symbol that the simulation does not have raises KeyError."""
    if not knows(ticker):
        raise KeyError(ticker)
    u = generator(seed, ticker, "truth").random(16).tolist()
    number = int(ticker[3:]) if ticker in _SIMULATED_SET else -1
    name, volatility, payout, sector = POPULAR.get(
        ticker,
        (
            f"Simulated {number}",
            0.16 + 0.44 * u[0] ** 1.5,
            0.005 + 0.03 * u[1] if u[2] < 0.6 else 0.0,
            SECTORS[number % len(SECTORS)],
        ),
    )
    variance = (100.0 * volatility) ** 2 / 252.0
    alpha = 0.04 + 0.06 * u[3]
    gamma = 0.06 if number % 4 == 0 else 0.0
    beta = 0.94 + 0.045 * u[4] - alpha - 0.5 * gamma
    has_cycle = number % 10 == 5 or ticker == "NVDA"
    period = 12.0 + math.floor(29.0 * u[5]) if has_cycle else math.nan
    # A sine of amplitude a in n returns of variance s2 stands n a^2 / (4 s2) above the noise's mean power; a sine of
    # amplitude A in the log price has a = 2 A sin(pi / period).
    step = math.sqrt(4.0 * CYCLE_PEAK * variance / CYCLE_OBSERVATIONS) / 100.0
    rho = -0.15 - 0.5 * u[7]
    return Truth(
        ticker=ticker,
        name=name,
        sector=sector,
        first_price=round(25.0 * math.exp(2.6 * u[8]), 2),
        mu=0.02 + 0.03 * u[9],
        omega=variance * (1.0 - (alpha + 0.5 * gamma + beta)),
        alpha=alpha,
        gamma=gamma,
        beta=beta,
        nu=5.0 + 5.0 * u[10],
        cycle_period=period,
        cycle_amplitude=0.5 * step / math.sin(math.pi / period) if has_cycle else 0.0,
        cycle_phase=2.0 * math.pi * u[6] if has_cycle else 0.0,
        dividend_yield=payout,
        dividend_month=1 + int(3.0 * u[11]),
        dividend_day=(4, 9, 14, 19)[int(4.0 * u[12])],
        vol_premium=RICH if number % 10 == 3 or ticker == "TSLA" else CHEAP if number % 10 == 7 else 1.0,
        smile_rho=rho,
        smile_eta=(0.25 + 0.25 * u[13]) * 2.0 / (1.0 + abs(rho)),
        spread=(0.0015 if number < 0 else 0.003 + 0.009 * u[14] ** 2),
        penny=number < 0 or number % 3 == 0,
    )
