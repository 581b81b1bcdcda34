"""European options by others: mpmath to 50 digits, SciPy's formula, QuantLib, py_lets_be_rational."""

from collections.abc import Sequence

import mpmath as mp
import numpy as np
import numpy.typing as npt
import QuantLib as ql  # noqa: N813 - the name its documentation uses
from scipy import special

F64 = npt.NDArray[np.float64]

GREEKS = ("price", "delta", "gamma", "vega", "theta", "rho", "vanna", "volga", "charm")


def _exact_row(row: Sequence[float]) -> list[float]:
    S, K, T, r, q, v, is_call = (mp.mpf(float(z)) for z in row)
    h = 1 if is_call else -1
    sd = v * mp.sqrt(T)
    d1 = (mp.log(S / K) + (r - q) * T) / sd + sd / 2
    d2 = d1 - sd
    fs, kd, phi = S * mp.exp(-q * T), K * mp.exp(-r * T), mp.npdf(d1)
    n1, n2 = fs * mp.ncdf(h * d1), kd * mp.ncdf(h * d2)
    return [
        float(z)
        for z in (
            h * (n1 - n2),
            h * n1 / S,
            fs * phi / (S * S * sd),
            fs * phi * mp.sqrt(T),
            -fs * phi * v / (2 * mp.sqrt(T)) - h * (r * n2 - q * n1),
            h * T * n2,
            -fs / S * phi * d2 / v,
            fs * phi * mp.sqrt(T) * d1 * d2 / v,
            h * q * n1 / S - fs / S * phi * (2 * (r - q) * T - d2 * sd) / (2 * T * sd),
        )
    ]


def exact(*columns: npt.ArrayLike) -> dict[str, F64]:
    """Price and Greeks of rows (spot, strike, tau, rate, dividend, sigma, is_call) in 50 digits, rounded once."""
    with mp.workdps(50):
        rows = [_exact_row(row) for row in zip(*np.broadcast_arrays(*columns), strict=True)]
    return dict(zip(GREEKS, np.array(rows).T, strict=True))


def exact_call(strike: npt.ArrayLike, sd: npt.ArrayLike) -> F64:
    """Calls on a unit forward, 50 digits."""
    with mp.workdps(50):
        prices = []
        for k, s in zip(*np.broadcast_arrays(strike, sd), strict=True):
            K, s = mp.mpf(float(k)), mp.mpf(float(s))
            d1 = -mp.log(K) / s + s / 2
            prices.append(float(mp.ncdf(d1) - K * mp.ncdf(d1 - s)))
    return np.array(prices)


def scipy_price(
    spot: F64, strike: F64, tau: F64, rate: F64, dividend: F64, sigma: F64, is_call: npt.NDArray[np.bool_]
) -> F64:
    """The formula as one writes it in NumPy and SciPy; complex arguments work for calls (complex-step derivatives)."""
    sd = sigma * np.sqrt(tau)
    d1 = (np.log(spot / strike) + (rate - dividend) * tau) / sd + 0.5 * sd
    sign = np.where(is_call, 1.0, -1.0)

    def cdf(x: F64) -> F64:
        return 0.5 * special.erfc(-x / np.sqrt(2)) if np.iscomplexobj(x) else special.ndtr(x)

    forward, owed = spot * np.exp(-dividend * tau), strike * np.exp(-rate * tau)
    return sign * (forward * cdf(sign * d1) - owed * cdf(sign * (d1 - sd)))


def scipy_greeks(
    spot: F64, strike: F64, tau: F64, rate: F64, dividend: F64, sigma: F64, is_call: npt.NDArray[np.bool_]
) -> tuple[F64, ...]:
    """Price and the eight Greeks in NumPy and SciPy."""
    sign = np.where(is_call, 1.0, -1.0)
    root = np.sqrt(tau)
    sd = sigma * root
    d1 = (np.log(spot / strike) + (rate - dividend) * tau) / sd + 0.5 * sd
    d2 = d1 - sd
    carry = np.exp(-dividend * tau)
    n1 = spot * carry * special.ndtr(sign * d1)
    n2 = strike * np.exp(-rate * tau) * special.ndtr(sign * d2)
    density = carry * np.exp(-0.5 * d1 * d1) / np.sqrt(2 * np.pi)
    vega = spot * density * root
    delta = sign * n1 / spot
    return (
        sign * (n1 - n2),
        delta,
        density / (spot * sd),
        vega,
        -spot * density * sigma / (2 * root) - sign * (rate * n2 - dividend * n1),
        sign * tau * n2,
        -density * d2 / sigma,
        vega * d1 * d2 / sigma,
        dividend * delta - density * ((rate - dividend) / sd - d2 / (2 * tau)),
    )


class QuantLibOptions:
    """Options of QuantLib with its analytic engine, built ahead so that only pricing is timed; expiries in days."""

    def __init__(
        self,
        spot: F64,
        strike: F64,
        days: npt.NDArray[np.int64],
        rate: float,
        dividend: float,
        sigma: F64,
        is_call: F64,
    ) -> None:
        today = ql.Date(2, 1, 2024)
        ql.Settings.instance().evaluationDate = today
        act = ql.Actual365Fixed()
        self._rate = ql.YieldTermStructureHandle(ql.FlatForward(today, rate, act))
        self._dividend = ql.YieldTermStructureHandle(ql.FlatForward(today, dividend, act))
        self._options = []
        for S, K, d, v, c in zip(spot, strike, days, sigma, is_call, strict=True):
            vol = ql.BlackVolTermStructureHandle(ql.BlackConstantVol(today, ql.NullCalendar(), float(v), act))
            quote = ql.QuoteHandle(ql.SimpleQuote(float(S)))
            process = ql.BlackScholesMertonProcess(quote, self._dividend, self._rate, vol)
            payoff = ql.PlainVanillaPayoff(ql.Option.Call if c else ql.Option.Put, float(K))
            option = ql.VanillaOption(payoff, ql.EuropeanExercise(today + int(d)))
            option.setPricingEngine(ql.AnalyticEuropeanEngine(process))
            self._options.append(option)

    def values(self) -> list[float]:
        """Price each afresh (QuantLib remembers results until told otherwise)."""
        for option in self._options:
            option.recalculate()
        return [option.NPV() for option in self._options]

    def greeks(self) -> dict[str, F64]:
        """The Greeks QuantLib has, in its units made ours (per 1.00 and per year)."""
        names = ("delta", "gamma", "vega", "theta", "rho")
        return {name: np.array([getattr(option, name)() for option in self._options]) for name in names}


def lets_be_rational(price: F64, forward: F64, strike: F64, tau: F64, is_call: npt.NDArray[np.bool_]) -> F64:
    """Undiscounted prices to volatilities by py_lets_be_rational, one at a time."""
    from py_lets_be_rational import implied_volatility_from_a_transformed_rational_guess as invert

    sign = np.where(is_call, 1.0, -1.0)
    return np.array([invert(*row) for row in zip(price, forward, strike, tau, sign, strict=True)])
