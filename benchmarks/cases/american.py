"""American options against QuantLib, through Python."""

import numpy as np

from benchmarks.runner import Case, Contender
from kernels import american
from tests.references import american as quantlib

_ROWS = 4096
_FEW = 256  # as many as QuantLib is timed on


def _market(n: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(7)
    sigma = rng.uniform(0.1, 1.0, n)
    days = rng.integers(5, 500, n)
    strike = 100 * np.exp(rng.uniform(-1.5, 1.5, n) * sigma * np.sqrt(days / 365))
    dividend = np.where(rng.random(n) < 0.3, 0.0, rng.uniform(0, 0.08, n))
    return np.full(n, 100.0), strike, days, rng.uniform(0.005, 0.06, n), dividend, sigma, rng.random(n) < 0.5


def _years(rows: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    spot, strike, days, *rest = rows
    return (spot, strike, days / 365, *rest)


def _accuracy(few: tuple[np.ndarray, ...], truth: np.ndarray, scheme: str) -> str:
    error = american.price(*_years(few), scheme=scheme).price - truth
    worst, rms = np.max(np.abs(error)), np.sqrt(np.mean(error**2))
    return f"max {worst:.1e}, rms {rms:.1e} dollars at spot 100 (QdFp high precision)"


def _engine(rows: tuple[np.ndarray, ...], engine: str, n: int) -> Contender:
    part = tuple(column[:n] for column in rows)
    return Contender(quantlib.Prepared(*part, engine).price, n)


def _differences(strikes: np.ndarray) -> list[float]:
    return [
        quantlib.cash_dividends(100.0, float(strike), 91, 0.045, 0.3, True, [36], [0.6], grid=400) for strike in strikes
    ]


def cases() -> list[Case]:
    rows = _market(_ROWS)
    few = tuple(column[:_FEW] for column in rows)
    truth = quantlib.price(*few)
    columns = _years(rows)
    value = american.price(*columns).price
    inverse = (value, *columns[:5], columns[6])
    strikes = np.linspace(80, 120, 64)
    chain = (100.0, strikes, 0.25, 0.045, 0.3, strikes < 100, [0.1], [0.6])
    fd = Contender(lambda: _differences(strikes[[10, 20]]), 2)
    return [
        Case(
            name="American price, default scheme",
            ours=Contender(lambda: american.price(*columns), _ROWS),
            references={
                "QuantLib QdFp fast": _engine(rows, "fast", _FEW),
                "QuantLib QdFp accurate": _engine(rows, "accurate", 64),
                "QuantLib Barone-Adesi-Whaley": _engine(rows, "BAW", _FEW),
                "QuantLib CRR 801": _engine(rows, "CRR 801", 4),
            },
            accuracy=lambda: _accuracy(few, truth, "default"),
            must_reach=">= 15x QuantLib's QdFp engine, then 25x; 5e-4 per $100",
        ),
        Case(
            name="American price, accurate scheme",
            ours=Contender(lambda: american.price(*columns, scheme="accurate"), _ROWS),
            references={"QuantLib QdFp accurate": _engine(rows, "accurate", 64)},
            accuracy=lambda: _accuracy(few, truth, "accurate"),
            must_reach="2e-4 per $100",
        ),
        Case(
            name="American price and eight Greeks",
            ours=Contender(lambda: american.greeks(*columns), _ROWS),
            references={"seven QuantLib QdFp fast": Contender(_engine(rows, "fast", _FEW).run, _FEW // 7)},
            must_reach="",
        ),
        Case(
            name="American implied volatility",
            ours=Contender(lambda: american.implied_vol(*inverse), _ROWS),
            references={"five QuantLib QdFp fast": Contender(_engine(rows, "fast", _FEW).run, _FEW // 5)},
            must_reach="<= 12 us as a guide",
        ),
        Case(
            name="American price with cash dividends",
            ours=Contender(lambda: american.price_cash_dividends(*chain), strikes.size),
            references={"QuantLib finite differences 400 x 400": fd},
            must_reach="",
        ),
    ]
