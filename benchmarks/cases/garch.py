"""GARCH fits against arch and statsforecast, which take one series after another; and the simulation of paths."""

import numpy as np
from statsforecast.garch import garch_model

from benchmarks.runner import Case, Contender
from kernels import garch, simulate
from tests.references import garch as reference

_SERIES = 500
_SLOW = 6  # of them for the references, which take milliseconds each


LIMITS = (
    "the recursions of the variance and its derivatives: 31 fused operations an observation, each waiting for the one "
    "before. Blocks of 64 lanes run 8 % faster in bulk and make a lone series four times as dear: not taken"
)


def _series(**truth: float) -> np.ndarray:
    return reference.simulate(np.random.default_rng(0), _SERIES, 504, **truth)


def _fit(name: str, y: np.ndarray, *, gjr: bool = False, student: bool = False, must_reach: str = "") -> Case:
    model, dist = "gjr" if gjr else "garch", "t" if student else "normal"

    def accuracy() -> str:
        some = y[:60]
        theirs = np.array([reference.arch_fit(x, gjr, student).loglikelihood for x in some])
        gap = garch.fit(some, model=model, dist=dist).loglik - theirs
        return f"likelihood not below arch's - 1e-4 in {np.mean(gap >= -1e-4):.0%} of 60, worst {gap.min():.0e}"

    references = {"arch": Contender(lambda: [reference.arch_fit(x, gjr, student) for x in y[:_SLOW]], _SLOW)}
    if not gjr and not student:
        references["statsforecast"] = Contender(lambda: [garch_model(x, 1, 1) for x in y[:_SLOW]], _SLOW)
    return Case(
        name=name,
        ours=Contender(lambda: garch.fit(y, model=model, dist=dist), len(y)),
        references=references,
        accuracy=accuracy,
        must_reach=must_reach,
        aim="400x arch" if must_reach else "",
        limits=LIMITS,
        rounds=7,
        notes="statsforecast's model has no mean and another likelihood: time only" if not gjr and not student else "",
    )


def _one_series(y: np.ndarray) -> Case:
    return Case(
        name="GARCH(1,1) fit, 504 days, one series alone",
        ours=Contender(lambda: garch.fit(y[:1]), 1),
        references={"arch": Contender(lambda: reference.arch_fit(y[0]), 1)},
        limits="a lone series pays for a whole block of 16 lanes; blocks of 8 do not vectorise on AVX-512",
    )


def _simulation(y: np.ndarray) -> Case:
    fitted = garch.fit(y[:8])
    rng = np.random.default_rng(1)
    z = rng.standard_normal(504)

    def by_numpy() -> np.ndarray:
        h = np.full(4096, fitted.sigma2_next[0])
        total = np.zeros(4096)
        for _ in range(30):
            e = np.sqrt(h) * z[rng.integers(0, 504, 4096)]
            total += fitted.mu[0] + e
            h = fitted.omega[0] + fitted.alpha[0] * e * e + fitted.beta[0] * h
        return total

    def accuracy() -> str:
        ratio = simulate.filtered_historical(fitted, y[:8], [30], 100_000, np.arange(8)).var(axis=2)[:, 0]
        ratio /= garch.window_variance(fitted, [30])[:, 0]
        return f"variance over the forecast one {ratio.min():.3f} to {ratio.max():.3f} in 100,000 paths"

    return Case(
        name="filtered historical simulation, 4,096 paths of 30 days",
        ours=Contender(lambda: simulate.filtered_historical(fitted, y[:8], [30], 4096, np.arange(8)), 8),
        references={"numpy, vectorised over the paths": Contender(by_numpy, 1)},
        accuracy=accuracy,
        must_reach="1.5 ms a series",
        limits="looking up the drawn residuals; two 64-bit products a draw. Three loops are 2.6 times faster than one",
    )


def cases() -> list[Case]:
    plain = _series()
    tails = _series(alpha=0.03, gamma=0.08, nu=6.0)
    return [
        _fit("GARCH(1,1) fit, 504 days", plain, must_reach=">= 200x arch"),
        _one_series(plain),
        _fit("GJR-GARCH fit, 504 days", tails, gjr=True),
        _fit("GJR-GARCH fit with Student-t, 504 days", tails, gjr=True, student=True),
        _simulation(plain),
    ]
