"""American options against QuantLib, through Python."""

import numpy as np

from benchmarks.runner import Case, Contender
from kernels import american
from kernels.status import OK
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


def _inversion(inverse: tuple[np.ndarray, ...]) -> str:
    found = american.implied_vol(*inverse)
    ok = found.status == OK
    spot, strike, tau, rate, dividend, call = (column[ok] for column in inverse[1:])
    again = american.price(spot, strike, tau, rate, dividend, found.sigma[ok], call).price
    return f"round trip in price: max {np.abs(again - inverse[0][ok]).max():.0e} dollars at spot 100"


def _slopes(rows: tuple[np.ndarray, ...]) -> str:
    few = tuple(column[:32] for column in rows)
    ours = american.greeks(*_years(few))
    alive = ours.status == OK
    errors = []
    for place, step, name in ((0, 0.05, "delta"), (5, 1e-3, "vega")):
        up, down = list(few), list(few)
        up[place], down[place] = few[place] + step, few[place] - step
        slope = (quantlib.price(*up) - quantlib.price(*down)) / (2 * step)
        errors.append(f"{name} {np.abs(getattr(ours, name) - slope)[alive].max():.0e}")
    return f"against differences of QdFp high precision: {', '.join(errors)}"


def _dividends(strikes: np.ndarray, value: np.ndarray) -> str:
    some = [8, 24, 40, 56]
    truth = [
        quantlib.cash_dividends(
            100.0, float(strikes[k]), 91, 0.045, 0.3, bool(strikes[k] < 100), [36], [0.6], grid=1000
        )
        for k in some
    ]
    return f"max {np.abs(value[some] - truth).max():.0e} dollars at spot 100 (finite differences 1000 x 1000)"


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
    chain = (100.0, strikes, 91 / 365, 0.045, 0.3, strikes < 100, [36 / 365], [0.6])
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
            limits="arithmetic, 140 integrands of two exponentials and a Mills ratio a row, and a division and a "
            "square root each. Functions good to 1e-10 in the boundary gave a fifth, fewer points break the accuracy",
        ),
        Case(
            name="American price, accurate scheme",
            ours=Contender(lambda: american.price(*columns, scheme="accurate"), _ROWS),
            references={"QuantLib QdFp accurate": _engine(rows, "accurate", 64)},
            accuracy=lambda: _accuracy(few, truth, "accurate"),
            must_reach="2e-4 per $100",
            limits="as the default scheme, with 384 integrands in the sweeps; points pay more than sweeps or nodes",
        ),
        Case(
            name="American price and eight Greeks",
            ours=Contender(lambda: american.greeks(*columns), _ROWS),
            references={"seven QuantLib QdFp fast": Contender(_engine(rows, "fast", _FEW).run, _FEW // 7)},
            accuracy=lambda: _slopes(rows),
            limits="seven prices; delta, gamma and theta cost no boundary of their own",
        ),
        Case(
            name="American implied volatility",
            ours=Contender(lambda: american.implied_vol(*inverse), _ROWS),
            references={"five QuantLib QdFp fast": Contender(_engine(rows, "fast", _FEW).run, _FEW // 5)},
            accuracy=lambda: _inversion(inverse),
            must_reach="<= 12 us as a guide",
            limits="prices: four a row here, two to three on a listed chain. A secant of the price itself took "
            "four on the chain, and twenty to sixty for a row that was met to its rounding or lay next to the exercise "
            "value, which a small batch waited for: 14 prices a row in batches of 100, now 3",
        ),
        Case(
            name="American price with cash dividends",
            ours=Contender(lambda: american.price_cash_dividends(*chain), strikes.size),
            references={"QuantLib finite differences 400 x 400": fd},
            accuracy=lambda: _dividends(strikes, american.price_cash_dividends(*chain).price),
            limits="the latency of a tree's steps, 200 and 400 of them one after another",
        ),
    ]
