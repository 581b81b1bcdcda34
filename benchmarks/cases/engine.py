"""The whole analysis of a batch, against the same steps done with the usual libraries, ticker after ticker."""

import contextlib
import datetime as dt
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any
from unittest import mock

import msgspec
import numpy as np

from benchmarks.runner import Case, Contender
from bq.analysis import (
    chain,
    charts,
    cycles,
    design,
    engine,
    extended,
    forecast,
    legs,
    risk,
    score_error,
    search,
    volatility,
)
from bq.market import calendar, quality, sample_chains
from bq.market.sample import SampleMarket
from bq.market.source import Snapshot

MOMENT = dt.datetime(2026, 6, 30, 21, 0, tzinfo=dt.UTC)
ORDERS = ((1, 1, 1), (2, 1, 2), (1, 1, 2), (2, 1, 1), (3, 1, 2))


def one_after_another(snapshot: Snapshot) -> tuple[float, ...]:
    """Do the steps of one ticker with the usual libraries: five ARIMA orders, GARCH, periodogram, three prices."""
    from arch import arch_model
    from scipy.stats import norm
    from statsmodels.tsa.arima.model import ARIMA

    logs = np.log(snapshot.bars.model_close)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits = [ARIMA(logs[-120:], order=order).fit() for order in ORDERS]
        best = min(fits, key=lambda fit: fit.aicc)
        forecast = best.get_forecast(30)
        returns = 100.0 * np.diff(logs[-505:])
        garch = arch_model(returns, rescale=False).fit(disp="off", show_warning=False)
        variance = garch.forecast(horizon=30).variance.to_numpy()[-1]
    power = np.abs(np.fft.rfft(returns - returns.mean())) ** 2
    sd = float(np.sqrt(variance[:21].sum())) / 100.0
    spot = snapshot.spot
    prices = [
        spot * norm.cdf(np.log(spot / k) / sd + sd / 2) - k * norm.cdf(np.log(spot / k) / sd - sd / 2)
        for k in (0.95 * spot, spot, 1.05 * spot)
    ]
    return float(forecast.predicted_mean[-1]), sd, float(power.max()), *prices


STAGES = {
    "quality": (quality, "inspect_all"),
    "GARCH": (volatility, "study"),
    "ARIMA": (forecast, "study"),
    "spectrum": (cycles, "study"),
    "chain": (chain, "read"),
    "simulation": (forecast, "simulate_returns"),
    "search": (search, "look"),
    "assumed prices": (design, "fair_ladders"),
    "risk": (risk, "assess"),
    "legs": (legs, "price"),
    "charts": (charts, "draw"),
    "extended": (extended, "prepare"),
    "error of the score": (score_error, "of"),
}
"""Functions that the engine calls by these names, none from within another."""


def stage_shares(snapshots: list[Snapshot], rounds: int = 5) -> str:
    """Run the engine with a clock around each stage; say which part of the whole each takes, the largest first."""
    spent: dict[str, list[float]] = {name: [] for name in STAGES}
    whole = []
    with contextlib.ExitStack() as undo:
        running: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        for stage, (module, function) in STAGES.items():
            undo.enter_context(mock.patch.object(module, function, _timed(getattr(module, function), running, stage)))
        for _ in range(rounds):
            running.update(dict.fromkeys(STAGES, 0.0))
            began = time.perf_counter()
            engine.analyze(snapshots)
            whole.append(time.perf_counter() - began)
            for stage in STAGES:
                spent[stage].append(running[stage])
    total = statistics.median(whole)
    shares = {stage: statistics.median(values) / total for stage, values in spent.items()}
    shares["the rest"] = 1.0 - sum(shares.values())
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    return "shares: " + ", ".join(f"{stage} {100.0 * share:.0f} %" for stage, share in ordered if share >= 0.005)


def _timed(function: Callable[..., Any], running: dict[str, float], stage: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            running[stage] += time.perf_counter() - began

    return call


def of_the_design(names: list[str], expiries: int = 3, strikes: int = 61) -> list[Snapshot]:
    """Give sample snapshots with so many expiries in the horizon, of so many strikes (odd), a call and a put each."""
    with mock.patch.object(sample_chains, "STRIKES", strikes):
        snapshots = [s for s in SampleMarket(lambda: MOMENT, as_of=MOMENT).fetch(names) if isinstance(s, Snapshot)]
    cut = []
    for s in snapshots:
        assert s.chain is not None
        day = np.datetime64(calendar.local_date(s.as_of), "D")
        kept = np.isin(s.chain.expiry, chain.horizon_expiries(s.chain, day)[:expiries])
        rows = {
            name: value[kept]
            for name in s.chain.__struct_fields__
            if isinstance(value := getattr(s.chain, name), np.ndarray) and value.shape == kept.shape
        }
        cut.append(msgspec.structs.replace(s, chain=msgspec.structs.replace(s.chain, **rows)))
    return cut


def cases() -> list[Case]:
    """Measure 64 tickers at once; the reference runs two, since it takes a second for each."""
    names = [f"SIM{i:03d}" for i in range(1, 65)]
    market = SampleMarket(lambda: MOMENT, as_of=MOMENT)
    with_chain = [s for s in market.fetch(names) if isinstance(s, Snapshot)]
    without = [msgspec.structs.replace(s, chain=None) for s in with_chain]

    designed = of_the_design(names)

    def reference() -> object:
        return [one_after_another(s) for s in with_chain[:2]]

    return [
        Case(
            "whole analysis without chain, 64 tickers",
            Contender(lambda: engine.analyze(without), len(without)),
            {"statsmodels + arch + numpy, one after another": Contender(reference, 2)},
            accuracy=lambda: stage_shares(without),
            must_reach="<= 4 ms a ticker and core",
            aim="1 ms",
            limits="see the shares: the search of ten ARIMA orders, then a hundred small steps of an answer of 45 kB",
            rounds=5,
        ),
        Case(
            "whole analysis with chain (5 expiries, American), 64 tickers",
            Contender(lambda: engine.analyze(with_chain), len(with_chain)),
            {"statsmodels + arch + numpy, no chain, one after another": Contender(reference, 2)},
            accuracy=lambda: stage_shares(with_chain),
            must_reach="<= 10 ms a ticker and core",
            aim="3 ms",
            limits="see the shares",
            rounds=5,
        ),
        Case(
            "whole analysis with chain (3 expiries of 122 quotes, American), 64 tickers",
            Contender(lambda: engine.analyze(designed), len(designed)),
            {"statsmodels + arch + numpy, no chain, one after another": Contender(reference, 2)},
            accuracy=lambda: stage_shares(designed),
            must_reach="<= 10 ms a ticker and core",
            aim="3 ms",
            limits="see the shares",
            rounds=5,
        ),
    ]
