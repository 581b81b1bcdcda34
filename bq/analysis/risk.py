"""What can come of a position under each distribution: expected value, probability of profit, tail."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bq.analysis.cash_dividends import Payments, call_may_be_exercised
from bq.analysis.design import Design, strikes_of
from bq.analysis.measures import Market, Measure, Sample, quantiles
from bq.analysis.position import Position
from bq.market.source import F64
from bq.schema import Interval, Risk
from kernels import outcomes
from kernels.bootstrap import block_means

PIN = 0.005
BOOTSTRAPS = 200
SHORT = 1.959963984540054
SIMULTANEOUS_95 = 2.4477468306808166
"""sqrt of the 95 % quantile of chi-squared with two degrees of freedom.

The error of every expected value is a combination of two errors, of the forecast's volatility and of its mean, so this
many standard errors bound all of them at once (Scheffé 1953, Biometrika 40): no choice among them escapes it.
"""
SIMULTANEOUS_99 = 3.0348542587702925
DRIFT_SHARPE = 0.4
"""Standard error, in yearly Sharpe ratios, of the claim that a share's mean is its forward."""


class Measures(NamedTuple):
    """The distributions of the price at the trade's expiry; a missing one is None, never a stand-in."""

    market: Market | None
    forecast: Sample
    empirical: Sample | None
    empirical_path: F64 | None  # log returns in time order, centred like the sample
    relative_error: float  # of the forecast volatility
    seed: int
    moved: tuple[Sample, Sample]  # the forecast with its volatility one standard error lower and higher
    far_moved: tuple[Sample, Sample]  # the same for a 95 % interval
    sd: float  # of the forecast's log return

    @classmethod
    def of(
        cls,
        market: Market | None,
        forecast: Sample,
        empirical: Sample | None,
        empirical_path: F64 | None,
        relative_error: float,
        seed: int,
    ) -> "Measures":
        """Complete the measures with the moved forecasts, which every position on them is tried under."""
        near, far = (
            (forecast.scaled(1.0 - by * relative_error), forecast.scaled(1.0 + by * relative_error))
            for by in (1.0, SHORT)
        )
        sd = float(np.std(forecast.log_returns))
        return cls(market, forecast, empirical, empirical_path, relative_error, seed, near, far, sd)


class Errors(NamedTuple):
    """Standard errors behind the numbers of a position."""

    vol: float  # of the forecast volatility, relative
    implied: float  # of the implied one, relative
    ev_moved: tuple[float, float]  # ev_forecast with the forecast volatility one standard error lower and higher
    ev_drifted: tuple[float, float]  # ev_forecast with its mean one standard error of drift lower and higher
    ev_sampling: float  # of ev_forecast, from the number of simulated paths

    def of_ev(self, ev: float) -> float:
        """Give the standard error of ev_forecast: what each source moves it by, up and down, and sampling."""
        moves = [value - ev for pair in (self.ev_moved, self.ev_drifted) for value in pair]
        return math.hypot(*(move * math.sqrt(0.5) for move in moves), self.ev_sampling)


def expected_value(position: Position, measure: Measure, discount: float) -> float:
    """Discounted expected payoff minus the cost: I(K1) - 2 I(K2) + I(K3) plus the form's constant."""
    i = measure.put_value(np.array([position.lower, position.center, position.upper]))
    payoff = float(i[0] - 2.0 * i[1] + i[2]) + position.put_type_constant
    return discount * payoff - position.debit


def profit_of(position: Position, sample: Sample, discount: float) -> outcomes.Profit:
    """Describe the position's profit over a sample: spread, tail, shares of bad outcomes."""
    strikes = position.lower, position.center, position.upper
    return outcomes.profit(
        sample.prices, strikes, position.put_type_constant, discount, position.debit, position.max_loss
    )


def profit_range(position: Position) -> tuple[float, float] | None:
    """Find the prices between which the position profits; None where it never does."""
    if position.max_profit <= 0.0:
        return None
    low, high = position.breakeven_lower, position.breakeven_upper
    if low is None:
        if position.left_tail < position.debit:
            return None
        low = 0.0
    if high is None:
        if position.right_tail < position.debit:
            return None
        high = math.inf
    return low, high


def probability_between(measure: Measure, low: float, high: float) -> float:
    """P(low < S <= high)."""
    ends = [x for x in (low, high) if x > 0.0 and not math.isinf(x)]
    values = iter(measure.cdf(np.array(ends)).tolist() if ends else ())
    lower = float(next(values)) if low > 0.0 else 0.0
    upper = 1.0 if math.isinf(high) else float(next(values)) if high > 0.0 else 0.0
    return min(max(upper - lower, 0.0), 1.0)


def probability_of_profit(position: Position, measure: Measure) -> float:
    """Probability of ending between the break-evens."""
    between = profit_range(position)
    return 0.0 if between is None else probability_between(measure, *between)


def _normal(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def touch(spot: float, level: float, sigma_total: float) -> float:
    """Probability of touching a level by expiry, by reflection for a lognormal martingale (Hull, ch. 26, barriers)."""
    if sigma_total <= 0.0:
        return float(level == spot)
    b = math.log(level / spot)
    drift = -0.5 * sigma_total**2
    sign = 1.0 if b > 0.0 else -1.0
    far = sign * (b - drift) / sigma_total
    reflected = sign * (b + drift) / sigma_total
    # exp(2 mu b / sigma^2) with mu = -sigma^2/2 is exp(-b).
    return min(1.0, _normal(-far) + math.exp(-b) * _normal(-reflected))


def _clip(p: float) -> float:
    return min(max(p, 0.0), 1.0)


def _forecast_interval(position: Position, m: Measures) -> Interval:
    """Vary the forecast volatility by its error, and add the sampling error of the simulation."""
    value = probability_of_profit(position, m.forecast)
    moved = [probability_of_profit(position, sample) for sample in m.far_moved]
    sampling = SHORT * math.sqrt(max(value * (1.0 - value), 0.0) / m.forecast.prices.size)
    return Interval(value, _clip(min(value, *moved) - sampling), _clip(max(value, *moved) + sampling))


def _market_interval(position: Position, market: Market, iv_error: float) -> Interval:
    """Vary the smile's level by the noise of its quotes."""
    value = probability_of_profit(position, market)
    moved = []
    for sign in (-1.0, 1.0):
        factor = max(1.0 + sign * SHORT * iv_error, 0.1) ** 2
        moved.append(probability_of_profit(position, market.scaled(factor)))
    return Interval(value, _clip(min(value, *moved)), _clip(max(value, *moved)))


def _empirical_interval(position: Position, m: Measures, sessions: int) -> Interval | None:
    """Resample blocks as long as the overlap of the windows (Künsch 1989)."""
    if m.empirical is None or m.empirical_path is None:
        return None
    value = probability_of_profit(position, m.empirical)
    between = profit_range(position)
    if between is None:
        return Interval(0.0, 0.0, 0.0)
    shift = math.log(m.empirical.prices[0]) - float(m.empirical.log_returns[0])
    first, last = (math.log(price) - shift if price > 0.0 else -math.inf for price in between)
    inside = ((m.empirical_path > first) & (m.empirical_path <= last)).astype(np.float64)
    low, high = quantiles(block_means(inside, sessions, m.seed, BOOTSTRAPS), (0.025, 0.975))
    return Interval(value, _clip(min(value, low)), _clip(max(value, high)))


def _pnl(position: Position, sample: Sample, discount: float) -> F64:
    return discount * position.payoff(sample.prices) - position.debit


def kelly(pnl: F64, max_loss: float) -> float:
    """Solve E[x / (1 + f x)] = 0 for the growth-optimal share of capital (Kelly 1956), x = profit over maximum loss."""
    x = pnl / max_loss
    mean = float(x.mean())
    if mean <= 0.0:
        return 0.0
    low, high = 0.0, 0.999
    f = min(mean / float(np.mean(x * x)), 0.5)
    for _ in range(60):  # Newton's method, kept inside the bracket
        term = x / (1.0 + f * x)
        value, slope = float(term.mean()), float(np.mean(term * term))
        low, high = (f, high) if value > 0.0 else (low, f)
        step = f + value / slope
        if not low < step < high:
            step = 0.5 * (low + high)
        if abs(step - f) <= 1e-12:
            break
        f = step
    return f


def _assignment_flags(design: Design, spot: float, payments: Payments) -> list[str]:
    """Name the short legs whose early exercise pays their holder more than waiting.

    A call before an ex-date when that dividend exceeds what is left of its time value by then; a put when the interest
    on the strike exceeds its time value.
    """
    p = design.position
    flags = []
    short_call = p.form in ("CALL", "IRON")
    short_put = p.form in ("PUT", "IRON")
    index = 1
    if short_call:
        quote = p.quotes[2 if p.form == "IRON" else index]
        time_value = quote.mid - max(spot - p.center, 0.0)
        if spot > p.center and call_may_be_exercised(payments, design.tau, time_value):
            flags.append("short_call_before_dividend")
    if short_put:
        quote = p.quotes[index]
        time_value = quote.mid - max(p.center - spot, 0.0)
        if spot < p.center and p.center * (1.0 - design.discount) > time_value:
            flags.append("short_put_interest")
    return flags


def assess(
    design: Design,
    m: Measures,
    spot: float,
    sigma_total: float,
    payments: Payments,
    ev_shrunk: float | None = None,
) -> tuple[Risk, Errors]:
    """Put a position under every measure.

    Parameters
    ----------
    sigma_total : float
        Forecast standard deviation of the log price to expiry, for the touch probabilities.
    payments : Payments
        The share's dividends to come.
    ev_shrunk : float, optional
        What the search made of the expected value.
    """
    p, discount = design.position, design.discount
    ev_forecast = expected_value(p, m.forecast, discount)
    ev_market = None if m.market is None else expected_value(p, m.market, discount)
    ev_empirical = None if m.empirical is None else expected_value(p, m.empirical, discount)
    profit = profit_of(p, m.forecast, discount)
    errors = errors_of(
        lambda sample: expected_value(p, sample, discount),
        m,
        design.tau,
        profit.sd,
        0.0 if design.source is None else design.source.iv_error,
    )
    error = errors.of_ev(ev_forecast)
    quoted = design.source is not None
    # A position cheaper than the smile of its neighbours is luck with a quote, or a mistake: no credit for it.
    luck = 0.0 if ev_market is None else max(ev_market + p.half_spreads + 4.0 * p.fee, 0.0)
    opinions = [ev_forecast - SIMULTANEOUS_95 * error] + ([] if ev_empirical is None else [ev_empirical])
    bound = min(opinions) - luck if quoted else None
    known = [ev for ev in (ev_forecast, ev_market, ev_empirical) if ev is not None]
    ev_worst = min(known) - error
    strikes = strikes_of(design)
    found = Risk(
        pop_market=None if m.market is None else _market_interval(p, m.market, errors.implied),
        pop_forecast=_forecast_interval(p, m),
        pop_empirical=_empirical_interval(p, m, design.sessions),
        ev_market=ev_market,
        ev_forecast=ev_forecast,
        ev_empirical=ev_empirical,
        ev_worst=ev_worst,
        ev_shrunk=ev_shrunk,
        ev_bound=bound,
        std_error=error,
        cvar_95=profit.tail,
        prob_max_loss=profit.at_worst,
        touch_center=touch(spot, float(strikes[1]), sigma_total),
        touch_lower=touch(spot, float(strikes[0]), sigma_total),
        touch_upper=touch(spot, float(strikes[2]), sigma_total),
        kelly_fraction=0.25 * kelly(_pnl(p, m.forecast, discount), p.max_loss)
        if bound is not None and bound > 0.0
        else 0.0,
        assignment_flags=_assignment_flags(design, spot, payments),
        pin_risk=probability_between(m.forecast, p.center * (1.0 - PIN), p.center * (1.0 + PIN)),
        cheapest_form=p.form,
        saving_vs_others=design.saving,
    )
    return found, errors


def errors_of(ev: Callable[[Sample], float], m: Measures, tau: float, sd: float, implied: float) -> Errors:
    """Move the forecast by its errors of volatility and of drift.

    Parameters
    ----------
    ev : callable
        Expected value of the position under a sample.
    sd : float
        Standard deviation of its profit.
    implied : float
        Relative error of the implied volatility.
    """
    sample = m.forecast
    moved = [ev(moved) for moved in m.moved]
    growth = math.exp(DRIFT_SHARPE * math.sqrt(tau) * m.sd)
    drifted = [ev(sample.grown(factor)) for factor in (1.0 / growth, growth)]
    return Errors(
        vol=m.relative_error,
        implied=implied,
        ev_moved=(moved[0], moved[1]),
        ev_drifted=(drifted[0], drifted[1]),
        ev_sampling=sd / math.sqrt(sample.prices.size),
    )


def probability_of_losing_half(position: Position, sample: Sample, discount: float) -> float:
    """Say how likely more than half of the maximum loss is, in the forecast."""
    return profit_of(position, sample, discount).losing_half
