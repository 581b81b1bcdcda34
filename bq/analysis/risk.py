"""What can come of positions under each distribution: expected value, probability of profit, tail; a batch at a time.

`kernels.prospects` puts the positions under forecast and history; the market's smile is asked here, for all at once.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from bq.analysis import smiles
from bq.analysis.cash_dividends import Payments, call_may_be_exercised
from bq.analysis.design import Design
from bq.analysis.measures import Measure, Measures, Sample
from bq.analysis.position import Position
from bq.market.source import F64
from bq.schema import Interval, Risk
from kernels import density, outcomes, prospects, smile
from kernels.payoff import touch_probability

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


class Case(NamedTuple):
    """A position to assess, and under what."""

    design: Design
    measures: Measures
    spot: float
    sigma_total: float  # forecast standard deviation of the log price to expiry, for the touch probabilities
    payments: Payments  # the share's dividends to come
    sound: bool  # the history can carry a claim
    ev_shrunk: float | None = None  # what the search made of the expected value


class Assessed(NamedTuple):
    """What can come of a position, and how sure that is."""

    risk: Risk
    errors: Errors
    losing_half: float  # forecast probability of losing more than half of the maximum loss


def assess(cases: Sequence[Case]) -> list[Assessed]:
    """Put positions under every measure, all at once; each as if it were alone."""
    if not cases:
        return []
    positions = _positions([case.design for case in cases])
    forecast = _under_forecast(cases, positions)
    history = _under_history(cases, positions)
    implied: dict[int, float] = {}
    for case in cases:
        s = case.design.source
        if s is not None and id(s) not in implied:
            implied[id(s)] = s.iv_error
    noise = [0.0 if case.design.source is None else implied[id(case.design.source)] for case in cases]
    market = _under_market(cases, positions, noise)
    touches = _touches(cases, positions)
    return [
        _assessed(
            case,
            prospects.Forecast[float](*ahead),
            None if case.measures.empirical is None else prospects.History[float](*past),
            smile,
            error,
            touched,
        )
        for case, ahead, past, smile, error, touched in zip(
            cases,
            np.stack(forecast, axis=1).tolist(),
            np.stack(history, axis=1).tolist(),
            market,
            noise,
            touches,
            strict=True,
        )
    ]


def _positions(designs: Sequence[Design]) -> prospects.Positions:
    rows = []
    for d in designs:
        p = d.position
        low, high = profit_range(p) or (math.nan, math.nan)
        rows.append((p.lower, p.center, p.upper, p.put_type_constant, d.discount, p.debit, p.max_loss, low, high))
    return prospects.Positions(*np.ascontiguousarray(np.array(rows, dtype=np.float64).T))


def _samples(cases: Sequence[Case]) -> tuple[list[Case], np.ndarray]:
    """Take one case for each of the measures, and tell which of them each case has."""
    first: dict[int, int] = {}
    own: list[Case] = []
    for case in cases:
        if id(case.measures) not in first:
            first[id(case.measures)] = len(own)
            own.append(case)
    return own, np.array([first[id(case.measures)] for case in cases])


def _under_forecast(cases: Sequence[Case], positions: prospects.Positions) -> prospects.Forecast[F64]:
    own, sample = _samples(cases)
    return prospects.under_forecast(
        np.stack([case.measures.forecast.log_returns for case in own]),
        np.array([case.measures.forward for case in own]),
        np.array([case.measures.relative_error for case in own]),
        np.array([DRIFT_SHARPE * math.sqrt(case.design.tau) for case in own]),
        sample,
        positions,
        reach=SHORT,
        pin=PIN,
    )


def _under_history(cases: Sequence[Case], positions: prospects.Positions) -> prospects.History[F64]:
    """Resample blocks as long as the overlap of the windows (Künsch 1989)."""
    own, sample = _samples(cases)
    lengths = np.array([0 if c.measures.empirical is None else c.measures.empirical.prices.size for c in own])
    paths, logs = np.full((2, len(own), max(int(lengths.max()), 1)), np.nan)
    for i, (case, n) in enumerate(zip(own, lengths.tolist(), strict=True)):
        m = case.measures
        if m.empirical is not None and m.empirical_path is not None:
            paths[i, :n], logs[i, :n] = m.empirical_path, m.empirical.log_returns
    return prospects.under_history(
        paths,
        logs,
        lengths,
        np.array([case.measures.forward for case in own]),
        np.array([case.design.sessions for case in own]),
        np.array([case.measures.seed for case in own], dtype=np.uint64),
        BOOTSTRAPS,
        sample,
        positions,
    )


class _Smile(NamedTuple):
    """A position under the market's smile: its expected value, and probabilities of profit at three levels of it."""

    ev: float
    pops: tuple[float, float, float]  # as it is, and lower and higher by the error of its level


def _under_market(cases: Sequence[Case], positions: prospects.Positions, noise: Sequence[float]) -> list[_Smile | None]:
    """Ask the smile of each position's expiry, and the same smile moved by the error of its level."""
    rows = [i for i, case in enumerate(cases) if case.measures.market is not None]
    found: list[_Smile | None] = [None] * len(cases)
    if not rows:
        return found
    markets = [m for i in rows if (m := cases[i].measures.market) is not None]
    forward = np.array([m.forward for m in markets])
    lower, center, upper, constant, discount, debit, _, low, high = (column[rows] for column in positions)
    as_it_is = smiles.joined([m.svi for m in markets])
    strikes = np.stack([lower, center, upper], axis=1)
    puts = density.put_value(as_it_is, np.log(strikes / forward[:, None])) * forward[:, None]
    ev = discount * (puts[:, 0] - 2.0 * puts[:, 1] + puts[:, 2] + constant) - debit
    factors = [np.array([max(1.0 + sign * SHORT * noise[i], 0.1) ** 2 for i in rows]) for sign in (-1.0, 1.0)]
    moved = [smile.scaled(as_it_is, factor) for factor in factors]
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.log(np.stack([low, high], axis=1) / forward[:, None])
    ends[np.isinf(ends)] = np.nan  # 0 and infinity, where the distribution function is known
    pops = []
    for svi in (as_it_is, *moved):
        below, above = density.cdf(svi, ends).T
        below, above = np.where(low > 0.0, below, 0.0), np.where(high < math.inf, above, 1.0)
        pops.append(np.where(np.isnan(low), 0.0, np.clip(above - below, 0.0, 1.0)))
    for i, value, *chances in zip(rows, ev.tolist(), *(p.tolist() for p in pops), strict=True):
        found[i] = _Smile(value, (chances[0], chances[1], chances[2]))
    return found


def _touches(cases: Sequence[Case], positions: prospects.Positions) -> list[list[float]]:
    """Compute the probabilities that the price meets the three strikes by expiry; see `touch`."""
    spot = np.repeat([case.spot for case in cases], 3)
    sd = np.repeat([case.sigma_total for case in cases], 3)
    level = np.stack([positions.lower, positions.center, positions.upper], axis=1).ravel()
    met = touch_probability(spot, level, -0.5 * sd * sd, sd)
    found: list[list[float]] = np.where(sd > 0.0, met, level == spot).reshape(-1, 3).tolist()
    return found


def _assessed(
    case: Case,
    ahead: prospects.Forecast[float],
    past: prospects.History[float] | None,
    smile: _Smile | None,
    implied: float,
    touched: list[float],
) -> Assessed:
    design, m, spot = case.design, case.measures, case.spot
    p = design.position
    size = m.forecast.prices.size
    errors = Errors(
        vol=m.relative_error,
        implied=implied,
        ev_moved=(ahead.ev_narrower, ahead.ev_wider),
        ev_drifted=(ahead.ev_lower, ahead.ev_higher),
        ev_sampling=ahead.sd / math.sqrt(size),
    )
    error = errors.of_ev(ahead.ev)
    ev_market = None if smile is None else smile.ev
    ev_empirical = None if past is None else past.ev
    quoted = design.source is not None
    bound = lower_bound(ahead.ev, ev_market, ev_empirical, error, p.half_spreads + 4.0 * p.fee) if quoted else None
    known = [ev for ev in (ahead.ev, ev_market, ev_empirical) if ev is not None]
    kelly_share = 0.0
    shrunk = ahead.ev if case.ev_shrunk is None else case.ev_shrunk
    if bound is not None and bound > 0.0 and shrunk > 0.0 and case.sound:  # no size beside an AVOID
        kelly_share = 0.25 * outcomes.kelly(design.discount * p.payoff(m.forecast.prices) - p.debit, p.max_loss)
    sampling = SHORT * math.sqrt(max(ahead.pop * (1.0 - ahead.pop), 0.0) / size)
    risk = Risk(
        pop_market=None if smile is None else _interval(*smile.pops),
        pop_forecast=_interval(ahead.pop, ahead.pop_narrowest, ahead.pop_widest, margin=sampling),
        pop_empirical=None if past is None else _interval(past.pop, past.pop_low, past.pop_high),
        ev_market=ev_market,
        ev_forecast=ahead.ev,
        ev_empirical=ev_empirical,
        ev_worst=min(known) - error,
        ev_shrunk=case.ev_shrunk,
        ev_bound=bound,
        std_error=error,
        cvar_95=ahead.tail,
        prob_max_loss=ahead.at_worst,
        touch_lower=touched[0],
        touch_center=touched[1],
        touch_upper=touched[2],
        kelly_fraction=kelly_share,
        assignment_flags=_assignment_flags(design, spot, case.payments),
        pin_risk=ahead.pin,
        cheapest_form=p.form,
        saving_vs_others=design.saving,
    )
    return Assessed(risk, errors, ahead.losing_half)


def lower_bound(
    ev_forecast: float, ev_market: float | None, ev_empirical: float | None, error: float, crossed: float
) -> float:
    """Bound the expected value from below, at 95 % for all positions at once; see `SIMULTANEOUS_95`.

    Parameters
    ----------
    error : float
        Standard error of ev_forecast.
    crossed : float
        What entering costs against the middles of the quotes: half spreads and commission.
    """
    # A position cheaper than the smile of its neighbours is luck with a quote, or a mistake: no credit for it.
    luck = 0.0 if ev_market is None else max(ev_market + crossed, 0.0)
    bound = ev_forecast - SIMULTANEOUS_95 * error
    return (bound if ev_empirical is None else min(bound, ev_empirical)) - luck


def _interval(value: float, *moved: float, margin: float = 0.0) -> Interval:
    """Bound a probability by what its errors make of it, and by the error of sampling it."""
    low, high = min(value, *moved) - margin, max(value, *moved) + margin
    return Interval(value, min(max(low, 0.0), 1.0), min(max(high, 0.0), 1.0))


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
    moved = [ev(moved) for moved in m.moved(1.0)]
    growth = math.exp(DRIFT_SHARPE * math.sqrt(tau) * float(np.std(sample.log_returns)))
    drifted = [ev(sample.grown(factor)) for factor in (1.0 / growth, growth)]
    return Errors(
        vol=m.relative_error,
        implied=implied,
        ev_moved=(moved[0], moved[1]),
        ev_drifted=(drifted[0], drifted[1]),
        ev_sampling=sd / math.sqrt(sample.prices.size),
    )
