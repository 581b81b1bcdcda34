"""A caller's own legs on one ticker: resolved against the chain, priced, and put under the same measures as a trade.

Where the legs have several
expiries the block is about the first: what expires later counts with its model value then, at the volatility that it
has now for its strike.
"""

import math
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias, TypeGuard

import numpy as np

from bq.analysis import cash_dividends, engine, forecast, risk, strategy, volatility
from bq.analysis.cash_dividends import Payments, Terms
from bq.analysis.findings import Target
from bq.analysis.given_legs import PricedLeg, Study, Unresolved, resolve
from bq.analysis.legs import occ_symbol, payoff_grids
from bq.analysis.measures import Measure, Measures, bring_together
from bq.analysis.rounding import number, numbers
from bq.analysis.slices import Slice
from bq.analysis.soundness import closes_apart, is_sound
from bq.analysis.strategy import Curve, Strategy
from bq.errors import Problem, bad_request
from bq.market import calendar
from bq.market.source import F64, Bool, Snapshot
from bq.schema import Greeks, Interval, LegGreeks, Payoff, Reason
from bq.schema_what_if import LegGiven, Level, WhatIf, WhatIfLeg, WhatIfRisk
from kernels import garch, outcomes, status

IvSource: TypeAlias = Literal["quote", "smile", "price", "forecast"]

CURVE_POINTS: Final = 241
CURVE_REACH: Final = 7.0  # standard deviations of the share, for the value of legs that expire later


def assess(found: Study, legs: Sequence[LegGiven], commission: float = engine.COMMISSION) -> WhatIf | Problem:
    """Put legs under every measure.

    Parameters
    ----------
    commission : float
        $ a contract.

    Returns
    -------
    WhatIf or Problem
        `bad_request`, with a text that names the leg and what would do, where a leg is not listed, has expired, or
        cannot be traded at its quote and has no price of its own.
    """
    try:
        resolved = resolve(found, legs)
    except Unresolved as refused:
        return bad_request(f"{found.snapshot.ticker}: {refused}")
    return _block(found, resolved, commission / engine.SHARES)


class _Columns(NamedTuple):
    """The legs as arrays of (legs,)."""

    terms: Terms
    quantity: F64
    sigma: F64
    iv_source: list[IvSource]

    def part(self, chosen: Bool) -> "_Columns":
        """Take some of the legs."""
        sources = [source for source, take in zip(self.iv_source, chosen, strict=True) if take]
        return _Columns(self.terms.part(chosen), self.quantity[chosen], self.sigma[chosen], sources)


def _columns(found: Study, legs: Sequence[PricedLeg], payments: Payments, sigma_forecast: F64) -> _Columns:
    """Give each leg its carry and its volatility: of its own mid, else of the smile, its price, or the forecast."""
    snapshot = found.snapshot
    strike = np.array([leg.given.strike for leg in legs])
    is_call = np.array([leg.given.type == "call" for leg in legs])
    tau = np.array([_tau(snapshot, leg.expiry) for leg in legs])
    rate = np.array([snapshot.rates.rate(float(t)) for t in tau])
    dividend = np.array([_carry(leg.slice) for leg in legs])
    forward = np.array([leg.slice.forward if _implied(leg.slice) else math.nan for leg in legs])
    mid = np.array([0.5 * (leg.bid + leg.ask) for leg in legs])
    paid = np.array([leg.price for leg in legs])
    sigma = sigma_forecast.copy()
    for i, leg in enumerate(legs):
        if leg.slice is not None and leg.slice.svi is not None:
            sigma[i] = float(leg.slice.sigma(leg.given.strike)[0])
    spot = np.full(strike.size, found.spot)
    terms = Terms.of(spot, strike, tau, rate, dividend, is_call, [payments] * len(legs), forward, sigma)
    quoted = cash_dividends.implied_vol(mid, terms, sigma)
    traded = cash_dividends.implied_vol(paid, terms, sigma)
    sources: list[IvSource] = []
    for i, leg in enumerate(legs):
        source: IvSource = "forecast"
        if quoted.status[i] == status.OK:
            sigma[i], source = quoted.sigma[i], "quote"
        elif leg.slice is not None and leg.slice.svi is not None:
            source = "smile"
        elif leg.source == "given" and traded.status[i] == status.OK:
            sigma[i], source = traded.sigma[i], "price"
        sources.append(source)
    quantity = np.array([float(leg.given.quantity) for leg in legs])
    return _Columns(terms, quantity, sigma, sources)


def _tau(snapshot: Snapshot, expiry: np.datetime64) -> float:
    moment = snapshot.as_of if snapshot.chain is None else snapshot.chain.quote_time
    return float(calendar.tau(moment, expiry))


def _carry(s: Slice | None) -> float:
    """Implied carry of the share until an expiry; 0 where no forward can be implied."""
    return s.dividend if _implied(s) else 0.0


def _implied(s: Slice | None) -> TypeGuard[Slice]:
    """Tell whether a forward is implied at an expiry."""
    return s is not None and s.problem is None and math.isfinite(s.forward)


def _block(found: Study, legs: Sequence[PricedLeg], fee: float) -> WhatIf:
    snapshot = found.snapshot
    first = min(leg.expiry for leg in legs)
    s = next(leg.slice for leg in legs if leg.expiry == first)
    tau = _tau(snapshot, first)
    sessions = calendar.sessions_to(snapshot.as_of, first)
    today = np.datetime64(calendar.local_date(snapshot.as_of), "D")
    usable = s if s is not None and s.svi is not None else None
    target = Target(first, int((first - today).astype(int)), tau, sessions, usable)
    rate = snapshot.rates.rate(tau)
    forward = found.spot * math.exp((rate - _carry(s)) * tau)
    longest = max(calendar.sessions_to(snapshot.as_of, leg.expiry) for leg in legs)
    ahead = garch.forecast(found.volatility.fit, max(longest, volatility.HORIZON))[0]
    total = volatility.total_variance(ahead, sessions)
    own = [volatility.total_variance(ahead, calendar.sessions_to(snapshot.as_of, leg.expiry)) for leg in legs]
    sigma_forecast = np.sqrt(np.array(own) / np.array([_tau(snapshot, leg.expiry) for leg in legs]))
    payments = Payments.of(snapshot)
    columns = _columns(found, legs, payments, sigma_forecast)
    simulated = forecast.simulate_returns(found.panel, found.volatility, [snapshot], [sessions])[sessions][0]
    error = volatility.error_to(found.volatility, 0, sessions)
    (m,) = bring_together([engine.outlook_on(snapshot, simulated, error, target, forward)])
    commission = fee * float(np.abs(columns.quantity).sum())
    cost = float(columns.quantity @ np.array([leg.price for leg in legs])) + commission
    curve = _curve(columns, found.spot, tau, math.sqrt(total))
    position = Strategy(curve, cost, math.exp(-rate * tau), sessions)
    greeks = cash_dividends.greeks(columns.terms, columns.sigma)
    strikes = np.unique(columns.terms.strike)
    grid = payoff_grids(np.array([found.spot]), np.array([math.sqrt(total)]), strikes[None, :])[0]
    return WhatIf(
        ticker=snapshot.ticker,
        as_of=snapshot.as_of.isoformat(),
        source=snapshot.source,
        engine_version=engine.ENGINE_VERSION,
        spot=number(found.spot, 4),
        expiry=str(first),
        dte=target.dte,
        tau=number(tau, 8),
        sessions=sessions,
        forward=number(forward, 4),
        grade=found.quality.grade,
        notes=_notes(found, legs, columns, curve, cost),
        cost=number(cost),
        commission=number(commission),
        max_profit=_bounded(curve.most - cost),
        max_loss=_bounded(cost - curve.least),
        breakevens=[number(price, 4) for price in curve.breakevens(cost)],
        greeks=Greeks(
            delta=number(float(columns.quantity @ greeks.delta), 8),
            gamma=number(float(columns.quantity @ greeks.gamma), 8),
            vega=number(float(columns.quantity @ greeks.vega) / 100.0, 8),
            theta=number(float(columns.quantity @ greeks.theta) / 365.0, 8),
        ),
        legs=_written(snapshot, legs, columns, greeks),
        risk=_risk(found, legs, columns, payments, position, m, forward, math.sqrt(total), tau, usable, commission),
        payoff=Payoff(
            spot=numbers(grid, 3),
            at_expiry=numbers(curve.at(grid) - cost),
            today=numbers(_values(columns, grid, 0.0) - cost),
        ),
    )


def _bounded(value: float) -> float | None:
    return number(value) if math.isfinite(value) else None


def _values(columns: _Columns, prices: F64, later: float) -> F64:
    """Model value of the legs for prices of the share, `later` years from now."""
    points = np.tile(prices, (columns.quantity.size, 1))
    value = cash_dividends.values(columns.terms.later(later), columns.sigma, points)
    worth: F64 = columns.quantity @ value
    return worth


def _curve(columns: _Columns, spot: float, tau: float, sd: float) -> Curve:
    """Make the payoff at the first expiry; legs that expire later count with their value then."""
    terms = columns.terms
    due = terms.tau <= tau
    curve = Curve.of_options(terms.strike[due], terms.is_call[due], columns.quantity[due])
    if due.all():
        return curve
    later = columns.part(~due)
    width = max(sd, float(np.max(later.sigma)) * math.sqrt(tau))
    prices = spot * np.exp(np.linspace(-CURVE_REACH, CURVE_REACH, CURVE_POINTS) * width)
    prices = np.union1d(prices, terms.strike)
    puts = ~later.terms.is_call
    at_zero = float(later.quantity[puts] @ later.terms.strike[puts])
    values = np.append(at_zero, _values(later, prices, tau))
    return curve.plus(Curve(np.append(0.0, prices), values, float(later.quantity[~puts].sum())))


def _risk(
    found: Study,
    legs: Sequence[PricedLeg],
    columns: _Columns,
    payments: Payments,
    position: Strategy,
    m: Measures,
    forward: float,
    sd: float,
    tau: float,
    source: Slice | None,
    commission: float,
) -> WhatIfRisk:
    def ev(measure: Measure | None) -> float | None:
        return None if measure is None else position.expected_value(measure, forward)

    ev_forecast = position.expected_value(m.forecast, forward)
    ev_market, ev_empirical = ev(m.market), ev(m.empirical)
    profits = position.profits(m.forecast.prices)
    errors = risk.errors_of(
        lambda sample: position.expected_value(sample, sample.mean), m, tau, float(np.std(profits)), 0.0
    )
    error = errors.of_ev(ev_forecast)
    worst = min(value for value in (ev_forecast, ev_market, ev_empirical) if value is not None) - error
    bound = risk.lower_bound(ev_forecast, ev_market, ev_empirical, error, _crossed(legs, commission))
    most = position.cost - position.curve.least
    bounded = math.isfinite(most) and most > 0.0
    sure = bound > 0.0 and is_sound(found.snapshot, found.quality, found.spot)
    kelly = 0.25 * outcomes.kelly(profits, most) if bounded and sure else 0.0
    market = None
    if m.market is not None and source is not None:
        market = _rounded(strategy.market_interval(position, m.market.scaled, source.iv_error))
    empirical = strategy.empirical_interval(position, m)
    tail = np.sort(profits)[: max(1, profits.size // 20)]
    return WhatIfRisk(
        pop_market=market,
        pop_forecast=_rounded(strategy.forecast_interval(position, m)),
        pop_empirical=None if empirical is None else _rounded(empirical),
        ev_market=None if ev_market is None else number(ev_market),
        ev_forecast=number(ev_forecast),
        ev_empirical=None if ev_empirical is None else number(ev_empirical),
        ev_worst=number(worst),
        ev_bound=number(bound),
        std_error=number(error),
        cvar_95=number(float(tail.mean())),
        prob_max_loss=number(float(np.mean(profits <= -0.98 * most))) if bounded else None,
        kelly_fraction=number(kelly) if bounded else None,
        levels=[
            Level(
                number(strike, 4),
                number(risk.touch(found.spot, strike, sd)),
                number(risk.probability_between(m.forecast, strike * (1.0 - risk.PIN), strike * (1.0 + risk.PIN))),
            )
            for strike in np.unique(columns.terms.strike).tolist()
        ],
        assignment_flags=_assignment_flags(found, legs, columns, payments),
    )


def _crossed(legs: Sequence[PricedLeg], commission: float) -> float:
    """Sum what entering costs against the middles of the quotes; a price that was given crosses none."""
    quoted = [leg for leg in legs if leg.source != "given"]
    return commission + sum(0.5 * (leg.ask - leg.bid) * abs(leg.given.quantity) for leg in quoted)


def _rounded(interval: Interval) -> Interval:
    return Interval(number(interval.value), number(interval.low), number(interval.high))


def _assignment_flags(found: Study, legs: Sequence[PricedLeg], columns: _Columns, payments: Payments) -> list[str]:
    """Name the short legs whose early exercise pays their holder more than waiting (see `risk`)."""
    flags = set()
    spot = found.spot
    for i, leg in enumerate(legs):
        if leg.given.quantity > 0:
            continue
        strike = leg.given.strike
        mid = 0.5 * (leg.bid + leg.ask)
        worth = mid if math.isfinite(mid) else leg.price
        if leg.given.type == "call" and spot > strike:
            tau = float(columns.terms.tau[i])
            if cash_dividends.call_may_be_exercised(payments, tau, worth - (spot - strike)):
                flags.add("short_call_before_dividend")
        interest = strike * -math.expm1(-float(columns.terms.rate[i] * columns.terms.tau[i]))
        if leg.given.type == "put" and spot < strike and interest > worth - (strike - spot):
            flags.add("short_put_interest")
    return sorted(flags)


def _notes(found: Study, legs: Sequence[PricedLeg], columns: _Columns, curve: Curve, cost: float) -> list[Reason]:
    """Count what a reader of the block must know."""
    counts = {reason.code: reason.count for reason in found.quality.reasons}
    extra = list(found.snapshot.notes)
    slices = {leg.expiry: leg.slice for leg in legs}
    extra += [f"expiry_{s.problem}" for s in slices.values() if s is not None and s.problem is not None]
    extra += ["no_implied_carry"] * sum(
        1 for s in slices.values() if s is None or s.problem is not None or not math.isfinite(s.forward)
    )
    extra += [f"volatility_of_{source}" for source in columns.iv_source if source != "quote"]
    if any(s is not None and s.spot_moved for s in found.slices):
        extra.append("spot_and_quotes_apart")
    if closes_apart(found.snapshot, found.spot):
        extra.append("spot_and_closes_apart")
    extra += ["legs_across_ex_date"] * int(columns.terms.by_tree.sum())
    if len(slices) > 1:
        extra.append("later_legs_at_model_value")
    if curve.least > cost:
        extra.append("profit_for_certain")  # the quotes are stale or gone, or the price given is not to be had
    if found.snapshot.rates.source == "default_rate":
        extra.append("default_rate")
    for code in extra:
        counts[code] = counts.get(code, 0) + 1
    return [Reason(code, count) for code, count in sorted(counts.items())]


def _written(
    snapshot: Snapshot, legs: Sequence[PricedLeg], columns: _Columns, greeks: cash_dividends.Greeks
) -> list[WhatIfLeg]:
    def quote(value: float) -> float | None:
        return number(value) if math.isfinite(value) else None

    return [
        WhatIfLeg(
            occ_symbol=occ_symbol(snapshot.ticker, str(leg.expiry), leg.given.type == "call", leg.given.strike),
            type=leg.given.type,
            strike=leg.given.strike,
            expiry=str(leg.expiry),
            quantity=leg.given.quantity,
            price=number(leg.price),
            price_source=leg.source,
            bid=quote(leg.bid),
            ask=quote(leg.ask),
            mid=quote(0.5 * (leg.bid + leg.ask)),
            iv=number(columns.sigma[i], 12),
            iv_source=columns.iv_source[i],
            greeks=LegGreeks(
                number(greeks.delta[i], 8),
                number(greeks.gamma[i], 8),
                number(greeks.vega[i] / 100.0, 8),
                number(greeks.theta[i] / 365.0, 8),
            ),
        )
        for i, leg in enumerate(legs)
    ]
