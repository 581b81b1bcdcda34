"""Five ARIMA orders of 120 days with a global search, against one local optimisation each by statsmodels and others."""

import numpy as np

from benchmarks.runner import Case, Contender
from kernels import arima
from tests.references import arima as reference

_ROWS = 200


LIMITS = (
    "the stores of the derivatives' sums: four observations a pass are 1.4 times faster than one, no gathers 6 times. "
    "A fifth less time with fewer starts going on misses three times as many maxima: not taken"
)


def _levels() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate(
        (reference.simulate(rng, _ROWS // 2, 120), reference.simulate(rng, _ROWS // 2, 120, (0.3,), (0.2,)))
    )


def _five_orders() -> Case:
    levels = _levels()
    few = levels[[0, _ROWS - 1]]

    def accuracy() -> str:
        ours = arima.fit(few, orders=arima.CLASSIC_ORDERS).all_loglik
        theirs = np.array([[reference.statsmodels_fit(x, p, q) for p, _, q in arima.CLASSIC_ORDERS] for x in few])
        return f"log-likelihood above statsmodels' by {np.min(ours - theirs):.0e} to {np.max(ours - theirs):.2f}"

    return Case(
        name="ARIMA, five orders, 120 days",
        ours=Contender(lambda: arima.fit(levels, orders=arima.CLASSIC_ORDERS), _ROWS),
        references={
            "statsmodels SARIMAX": Contender(
                lambda: [reference.statsmodels_fit(x, p, q) for x in few for p, _, q in arima.CLASSIC_ORDERS], 2
            ),
            "statsforecast ARIMA": Contender(
                lambda: [reference.statsforecast_fit(x, order) for x in few for order in arima.CLASSIC_ORDERS], 2
            ),
        },
        accuracy=accuracy,
        must_reach="200x statsmodels and 25x statsforecast",
        aim="500x statsmodels",
        limits=LIMITS,
        rounds=5,
    )


def _production() -> Case:
    levels = _levels()
    few = levels[[0, _ROWS - 1]]
    return Case(
        name=f"ARIMA, choice among {len(arima.ORDERS)} orders, 120 days",
        ours=Contender(lambda: arima.fit(levels), _ROWS),
        references={
            "statsforecast AutoARIMA": Contender(lambda: [reference.statsforecast_auto(x) for x in few], 2),
        },
        rounds=5,
        notes="AutoARIMA searches step by step and stops at local maxima",
        limits=LIMITS,
    )


def _forecast() -> Case:
    levels = _levels()
    fit = arima.fit(levels)
    return Case(
        name="ARIMA forecast, 30 steps",
        ours=Contender(lambda: arima.forecast(fit, levels, 30), _ROWS),
        references={
            "statsmodels": Contender(
                lambda: [reference.statsmodels_forecast(x, 1, 1, (0.3,), (0.2,), 1e-4, 30) for x in levels[:2]], 2
            ),
        },
        limits="one pass of the filter over the series, each observation waiting for the one before; lanes are series",
    )


def cases() -> list[Case]:
    return [_five_orders(), _production(), _forecast()]
