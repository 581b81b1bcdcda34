"""American prices by QuantLib: the same rows, one option at a time."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import QuantLib as ql  # noqa: N813 - the name its documentation uses

F64 = npt.NDArray[np.float64]

_TODAY = ql.Date(2, 1, 2024)
_DAYS = ql.Actual365Fixed()


def _curve(rate: float) -> ql.YieldTermStructureHandle:
    return ql.YieldTermStructureHandle(ql.FlatForward(_TODAY, rate, _DAYS))


def _process(spot: float, rate: float, dividend: float, sigma: float) -> ql.BlackScholesMertonProcess:
    vol = ql.BlackVolTermStructureHandle(ql.BlackConstantVol(_TODAY, ql.NullCalendar(), sigma, _DAYS))
    return ql.BlackScholesMertonProcess(ql.QuoteHandle(ql.SimpleQuote(spot)), _curve(dividend), _curve(rate), vol)


def _option(strike: float, days: int, is_call: bool) -> ql.VanillaOption:
    ql.Settings.instance().evaluationDate = _TODAY
    kind = ql.Option.Call if is_call else ql.Option.Put
    return ql.VanillaOption(ql.PlainVanillaPayoff(kind, strike), ql.AmericanExercise(_TODAY, _TODAY + days))


def _engine(name: str) -> Callable[[ql.BlackScholesMertonProcess], object]:
    scheme = ql.QdFpAmericanEngine
    return {
        "high precision": lambda p: scheme(p, scheme.highPrecisionScheme()),
        "accurate": lambda p: scheme(p, scheme.accurateScheme()),
        "fast": lambda p: scheme(p, scheme.fastScheme()),
        "BAW": ql.BaroneAdesiWhaleyApproximationEngine,
        "CRR 801": lambda p: ql.BinomialVanillaEngine(p, "crr", 801),
    }[name]


def price(
    spot: F64, strike: F64, days: npt.NDArray[np.int64], rate: F64, dividend: F64, sigma: F64,
    is_call: npt.NDArray[np.bool_], engine: str = "high precision",
) -> F64:  # fmt: skip
    """Price rows whose expiry is a whole number of days (QuantLib's clock)."""
    make = _engine(engine)
    out = np.empty(len(spot))
    rows = zip(spot, strike, days, rate, dividend, sigma, is_call, strict=True)
    for i, (s, k, d, r, q, v, c) in enumerate(rows):
        option = _option(float(k), int(d), bool(c))
        option.setPricingEngine(make(_process(float(s), float(r), float(q), float(v))))
        out[i] = option.NPV()
    return out


class Prepared:
    """Options built beforehand, so that a benchmark times the engine and not the construction of its objects."""

    def __init__(
        self, spot: F64, strike: F64, days: npt.NDArray[np.int64], rate: F64, dividend: F64, sigma: F64,
        is_call: npt.NDArray[np.bool_], engine: str,
    ) -> None:  # fmt: skip
        make = _engine(engine)
        self._options = []
        for s, k, d, r, q, v, c in zip(spot, strike, days, rate, dividend, sigma, is_call, strict=True):
            option = _option(float(k), int(d), bool(c))
            option.setPricingEngine(make(_process(float(s), float(r), float(q), float(v))))
            option.NPV()
            self._options.append(option)

    def price(self) -> list[float]:
        """Price every option anew."""
        values = []
        for option in self._options:
            option.recalculate()
            values.append(option.NPV())
        return values


def cash_dividends(
    spot: float, strike: float, days: int, rate: float, sigma: float, is_call: bool, ex_days: Sequence[int],
    cash: Sequence[float], *, model: str = "spot", grid: int = 1000,
) -> float:  # fmt: skip
    """Price one option on a stock that pays cash, by finite differences on a grid x grid lattice."""
    option = _option(strike, days, is_call)
    dividends = ql.DividendVector([_TODAY + int(d) for d in ex_days], [float(c) for c in cash])
    kinds = ql.FdBlackScholesVanillaEngine
    which = kinds.Spot if model == "spot" else kinds.Escrowed
    engine = ql.FdBlackScholesVanillaEngine(
        _process(spot, rate, 0.0, sigma), dividends, grid, grid, 0, ql.FdmSchemeDesc.Douglas(), False, -1.0, which
    )
    option.setPricingEngine(engine)
    return float(option.NPV())
