"""European implied volatility against C and py_lets_be_rational."""

import numpy as np

from benchmarks import c_reference
from benchmarks.runner import Case, Contender
from kernels import black_scholes
from kernels.implied_vol import implied_vol
from tests.references import black_scholes as reference

_ROWS = 4096
_FEW = 64


def cases() -> list[Case]:
    rng = np.random.default_rng(0)
    distance, s = np.abs(rng.normal(0, 0.15, 4 * _ROWS)), rng.uniform(0.03, 0.5, 4 * _ROWS)
    tau = rng.uniform(7 / 365, 1, 4 * _ROWS)
    strike, sigma = 100 * np.exp(distance), s / np.sqrt(tau)
    price = black_scholes.price(100, strike, tau, 0, 0, sigma, True)
    keep = np.flatnonzero(price >= 1e-7)[:_ROWS]
    price, strike, tau, sigma, distance, s = (c[keep].copy() for c in (price, strike, tau, sigma, distance, s))
    spot, call, zero = np.full(_ROWS, 100.0), np.ones(_ROWS, bool), np.zeros(_ROWS)

    solved = np.empty(_ROWS)
    in_c = c_reference.call("implied", price, spot, strike, tau, zero, zero, np.ones(_ROWS), solved)
    few = tuple(c[:_FEW] for c in (price, spot, strike, tau, call))

    def accuracy() -> str:
        exact = 100 * reference.exact_call(strike[:1000] / 100, s[:1000])
        ours = implied_vol(exact, 100, strike[:1000], tau[:1000], 0, 0, True).sigma
        theirs = reference.lets_be_rational(exact[:_FEW], *few[1:])
        off, other = np.abs(ours / sigma[:1000] - 1), np.abs(theirs / sigma[:_FEW] - 1)
        return f"relative error at most {off.max():.0e} (py_lets_be_rational {other.max():.0e}) on mpmath's prices"

    return [
        Case(
            name="European implied volatility",
            ours=Contender(lambda: implied_vol(price, spot, strike, tau, zero, zero, call), _ROWS),
            references={
                **({} if in_c is None else {"C, -Ofast with libmvec": Contender(in_c, _ROWS)}),
                "py_lets_be_rational": Contender(lambda: reference.lets_be_rational(*few), _FEW),
            },
            accuracy=accuracy,
            must_reach=">= C with libmvec, then 2x; <= 100 ns a row as a guide; 5e-14",
            notes="C: the same inputs, starts and objective, four steps with erfc",
            limits="arithmetic, a third of it the start. 3 steps for all and 4 more for the 1 % of rows that need them "
            "instead of 4 for all; a step has 4 divisions instead of 6",
        )
    ]
