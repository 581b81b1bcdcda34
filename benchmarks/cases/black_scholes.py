"""European prices and Greeks against C, SciPy and QuantLib, all from (spot, strike, tau, rate, dividend, sigma)."""

from collections.abc import Mapping

import numpy as np

from benchmarks import c_reference
from benchmarks.runner import Case, Contender
from kernels import black_scholes
from tests.references import black_scholes as reference

_ROWS = 4096  # one thread's share: inputs and outputs stay in the second-level cache
_FEW = 128
_ROUNDS = 201  # a tenth of a millisecond each: the median of a few moves by a tenth from run to run
_LIMITS = (
    "arithmetic, some 190 packed operations and 3 divisions for a vector of rows, two thirds of them FMAs. Loops of "
    "one job each and inputs read in place gave 1.5x; two vectors a turn to share the constants gave nothing. The "
    "door, coercion and call, takes 2 to 8 % of 4,096 rows"
)
_LIMITS_OF_GREEKS = (
    "arithmetic: two thirds of the time the multiply-add unit is busy, a fifth the divider. Results stored as vectors "
    "(LLVM had unrolled that loop into single numbers) gave 1.14x, one square root kept instead of taken twice 1.07x; "
    "whether arrays begin at a cache line does not matter. C fills nine arrays that are there already; the door checks "
    "seven inputs, allocates one block and gives nine views of it: 7 % of 4,096 rows, and 10 to 20 more where what ran "
    "before gave its memory back, so that the block's pages are new. Called in a row it is 1.1 to 1.2 times as fast"
)


def market(n: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(1)
    days = rng.integers(7, 365, n)
    strike = 100 * np.exp(rng.uniform(-0.4, 0.4, n))
    sigma = rng.uniform(0.1, 0.8, n)
    return np.full(n, 100.0), strike, days / 365, np.full(n, 0.045), np.full(n, 0.013), sigma, rng.random(n) < 0.5


def in_c(name: str, rows: tuple[np.ndarray, ...], outputs: int) -> Mapping[str, Contender]:
    """C into arrays that are kept, the best it can have, and into fresh ones, which is what our callers get."""
    inputs, n = [*rows[:6], np.where(rows[6], 1.0, -1.0)], rows[0].size
    kept = c_reference.call(name, *inputs, *(np.empty(n) for _ in range(outputs)))
    fresh = c_reference.call_with_fresh(name, outputs, *inputs)
    if kept is None or fresh is None:
        return {}
    return {
        "C, -Ofast with libmvec": Contender(kept, n),
        "the same C into fresh arrays": Contender(fresh, n),
    }


def _accuracy(columns: tuple[np.ndarray, ...]) -> str:
    few = tuple(c[:500] for c in columns)
    exact, ours = reference.exact(*few), black_scholes.greeks(*few)
    errors = {name: np.abs(getattr(ours, name) - exact[name]).max() for name in reference.GREEKS}
    worst = max(errors, key=lambda name: errors[name])
    plain = np.abs(reference.scipy_price(*few) - exact["price"]).max()
    return (
        f"price {errors['price']:.0e} at spot 100 (SciPy {plain:.0e}), worst Greek {worst} {errors[worst]:.0e} (mpmath)"
    )


def cases() -> list[Case]:
    rows = market(_ROWS)
    few = tuple(c[:_FEW] for c in rows)
    days = np.rint(few[2] * 365).astype(np.int64)
    quantlib = reference.QuantLibOptions(few[0], few[1], days, 0.045, 0.013, few[5], few[6])
    return [
        Case(
            name="European price",
            ours=Contender(lambda: black_scholes.price(*rows), _ROWS),
            references={
                **in_c("price", rows, 1),
                "NumPy and SciPy": Contender(lambda: reference.scipy_price(*rows), _ROWS),
                "QuantLib, analytic engine": Contender(quantlib.values, _FEW),
            },
            accuracy=lambda: _accuracy(rows),
            must_reach=">= C with libmvec, then 2x; 1e-13 of spot",
            limits=_LIMITS,
            rounds=_ROUNDS,
        ),
        Case(
            name="European price and eight Greeks",
            ours=Contender(lambda: black_scholes.greeks(*rows), _ROWS),
            references={
                **in_c("greeks", rows, 9),
                "NumPy and SciPy": Contender(lambda: reference.scipy_greeks(*rows), _ROWS),
            },
            accuracy=lambda: _accuracy(rows),
            must_reach=">= C with libmvec, then 2x; <= 30 ns a row as a guide; 1e-12 of spot",
            limits=_LIMITS_OF_GREEKS,
            rounds=_ROUNDS,
        ),
    ]
